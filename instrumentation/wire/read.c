/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/wire/read.h"

const uint8_t *sonde__read_varint_slow(const uint8_t *p, const uint8_t *end, uint64_t *ret_value) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) /* more than 64 bits */
            return NULL;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return p;
        }
    }
    return NULL;
}

const uint8_t *sonde__read_size_slow(const uint8_t *p, const uint8_t *end, size_t *ret_size) {
    const uint8_t *start = p;
    uint64_t value;
    p = sonde__read_varint_slow(p, end, &value);
    if (!p || p - start > 5 || value > (uint64_t)(end - p))
        return NULL;
    *ret_size = (size_t)value;
    return p;
}

const uint8_t *sonde__read_skip(const uint8_t *p, const uint8_t *end, unsigned wire_type) {
    uint64_t value;
    size_t size;
    switch (wire_type) {
    case SONDE__WIRE_VARINT:
        return sonde__read_varint(p, end, &value);
    case SONDE__WIRE_FIXED64:
        return end - p >= 8 ? p + 8 : NULL;
    case SONDE__WIRE_FIXED32:
        return end - p >= 4 ? p + 4 : NULL;
    case SONDE__WIRE_BYTES:
        p = sonde__read_size(p, end, &size);
        return p ? p + size : NULL;
    default:
        return NULL;
    }
}
