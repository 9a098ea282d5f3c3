/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/wire/base64.h"
#include <stdint.h>

size_t sonde__base64_write(const void *bytes, size_t size, bool padded, char *ret_text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = bytes;
    size_t out = 0;
    uint32_t word = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < size; i++) {
        word = word << 8 | from[i];
        for (bits += 8; bits >= 6; bits -= 6)
            ret_text[out++] = digits[word >> (bits - 6) & 63];
    }
    if (bits)
        ret_text[out++] = digits[word << (6 - bits) & 63];
    while (padded && out % 4)
        ret_text[out++] = '=';
    return out;
}
