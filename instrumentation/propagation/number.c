/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal, eight digits at a time in one word: pairs, then fours, then eights are joined (or split) in all lanes at
 * once. */
#include "instrumentation/propagation/number.h"

#define ONES 0x0101010101010101u
enum { EIGHT_DIGITS = 100000000 };

/** Eight digits as a number. Returns false when one is none. */
static inline bool read8(const char *text, uint64_t *ret_number) {
    uint64_t x;
    memcpy(&x, text, sizeof x);
    x ^= ONES * '0';                                       /* digits become 0..9, all others more */
    bool good = ((x | (x + ONES * 6)) & ONES * 0xf0) == 0; /* neither above 15 nor 10..15 */
    x = (x * 10 + (x >> 8)) & 0x00ff00ff00ff00ffu;
    x = (x * 100 + (x >> 16)) & 0x0000ffff0000ffffu;
    *ret_number = (x * 10000 + (x >> 32)) & 0xffffffffu;
    return good;
}

int sonde__decimal_read(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t number = 0, eight;
    if (size == 0)
        return 1;
    while (size > 1 && *text == '0') /* leading zeros do not count */
        text++, size--;
    size_t digits = size > SONDE__DECIMAL_MAX ? SONDE__DECIMAL_MAX + 1 : size, i = 0; /* bounds the work */
    bool good = true, over = digits > SONDE__DECIMAL_MAX;
    for (; i + 8 <= digits && i < 16; i += 8) {
        good &= read8(text + i, &eight);
        number = number * EIGHT_DIGITS + eight;
    }
    for (; i < digits; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        good &= digit <= 9;
        over |= __builtin_mul_overflow(number, (uint64_t)10, &number);
        over |= __builtin_add_overflow(number, (uint64_t)digit, &number);
    }
    *ret_number = number;
    return !good ? 1 : over ? 2 : 0;
}

/** Eight digits of a number below 10^8, the first in the lowest byte, each 0..9. */
static inline uint64_t digits8(uint64_t number) {
    uint64_t fours = number / 10000 | number % 10000 << 32;
    uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007fu;
    uint64_t pairs = hundreds | (fours - hundreds * 100) << 16;
    uint64_t tens = (pairs * 103 >> 10) & 0x000f000f000f000fu;
    return tens | (pairs - tens * 10) << 8;
}

size_t sonde__decimal_write(uint64_t number, char ret_text[SONDE__DECIMAL_MAX]) {
    char text[24];
    uint64_t words[3] = {digits8(number / EIGHT_DIGITS / EIGHT_DIGITS), digits8(number / EIGHT_DIGITS % EIGHT_DIGITS),
                         digits8(number % EIGHT_DIGITS)};
    size_t first = words[0] ? 0 : words[1] ? 1 : 2;
    size_t zeros = words[first] ? (size_t)__builtin_ctzll(words[first]) / 8 : 7; /* 0 has one digit too */
    for (size_t i = 0; i < 3; i++) {
        words[i] |= ONES * '0';
        memcpy(text + 8 * i, &words[i], 8);
    }
    size_t at = 8 * first + zeros;
    memcpy(ret_text, text + at, sizeof text - at);
    return sizeof text - at;
}
