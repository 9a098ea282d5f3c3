/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/delivery/items.h"
#include <sonde/err.h>

size_t sonde__item_size(struct sonde_bytes data) {
    const uint8_t tag = 0x12; /* field 2, length-delimited: the same in all three signals */
    if (data.size < 2 || data.data[0] != tag)
        return 0;
    uint64_t length = 0;
    for (size_t i = 1; i < data.size && i <= 5; i++) { /* 5 bytes: lengths below 2^35, far over a record's limit */
        length |= (uint64_t)(data.data[i] & 0x7f) << (7 * (i - 1));
        if ((data.data[i] & 0x80) == 0)
            return length <= data.size - i - 1 ? (size_t)length + i + 1 : 0;
    }
    return 0;
}

int sonde__items_cut(struct sonde_bytes data, uint32_t count_max, size_t size_max, size_t *ret_size,
                     uint32_t *ret_count) {
    size_t size = 0;
    uint32_t count = 0;
    while (size < data.size && count < count_max) {
        size_t item = sonde__item_size((struct sonde_bytes){data.data + size, data.size - size});
        if (item == 0)
            return SONDE_EMALFORMED;
        if (size + item > size_max)
            break;
        size += item;
        count++;
    }
    *ret_size = size;
    *ret_count = count;
    return 0;
}
