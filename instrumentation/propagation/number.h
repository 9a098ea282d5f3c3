/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of identifiers as text: no locale, no strtol (which takes spaces, signs and "0x"). */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_NUMBER_H
#define SONDE_INSTRUMENTATION_PROPAGATION_NUMBER_H

#include "instrumentation/propagation/hex.h"
#include <stddef.h>

#define SONDE__DECIMAL_MAX 20u /* digits of 2^64 - 1 */

/** 8 bytes in the order of the wire, as a number, and back. */
static inline uint64_t sonde__id_number(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return __builtin_bswap64(value);
}
static inline void sonde__id_store(uint8_t *ret_bytes, uint64_t number) {
    number = __builtin_bswap64(number);
    memcpy(ret_bytes, &number, sizeof number);
}

/** Reads 1..16 lower-case hex digits as a number. Returns false when there are more, none, or others. */
static inline bool sonde__hex_number(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t number = 0;
    int bad = size - 1u > 15u ? -1 : 0;
    if (size == 16 && sonde__hex_read8(text, &number)) {
        *ret_number = __builtin_bswap64(number);
        return true;
    }
    number = 0;
    for (size_t i = 0; bad >= 0 && i < size; i++) {
        int digit = sonde__hex_digit(text[i]);
        bad |= digit;
        number = number << 4 | ((unsigned)digit & 15u);
    }
    *ret_number = number;
    return bad >= 0;
}

/** Reads decimal digits, all of the text. Returns 0, 1 when there are none or others, 2 when it is over 64 bits. */
int sonde__decimal_read(const char *text, size_t size, uint64_t *ret_number);
/** Writes decimal digits, no NUL. Returns how many. */
size_t sonde__decimal_write(uint64_t number, char ret_text[SONDE__DECIMAL_MAX]);

#endif
