/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal, eight digits at a time in one word: pairs, then fours, then eights are joined (or split) in all lanes at
 * once. */
#include "instrumentation/propagation/number.h"

#define ONES 0x0101010101010101u
enum { EIGHT_DIGITS = 100000000 };

/** Eight digits, the first in the lowest byte, as a number. Returns false when one is none. */
static inline bool read_word(uint64_t x, uint64_t *ret_number) {
    x ^= ONES * '0';                                       /* digits become 0..9, all others more */
    bool good = ((x | (x + ONES * 6)) & ONES * 0xf0) == 0; /* neither above 15 nor 10..15 */
    x = (x * 10 + (x >> 8)) & 0x00ff00ff00ff00ffu;
    x = (x * 100 + (x >> 16)) & 0x0000ffff0000ffffu;
    *ret_number = (x * 10000 + (x >> 32)) & 0xffffffffu;
    return good;
}

/** Less than eight digits, of a text of eight at least: behind zeros, they are eight too. */
static inline bool read_first(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t x;
    memcpy(&x, text, sizeof x);
    *ret_number = 0;
    return size == 0 || read_word(x << (64 - 8 * size) | (ONES * '0') >> 8 * size, ret_number);
}

static int read_short(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t number = 0;
    unsigned most = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        most = digit > most ? digit : most;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return most > 9;
}

int sonde__decimal_read(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t number, eight, x;
    if (size == 0)
        return 1;
    while (size > 1 && *text == '0') /* leading zeros do not count */
        text++, size--;
    if (size < 8)
        return read_short(text, size, ret_number);
    bool over = size > SONDE__DECIMAL_MAX;
    size_t digits = over ? SONDE__DECIMAL_MAX : size, i = digits % 8; /* bounds the work */
    bool good = read_first(text, i, &number);
    for (; i < digits; i += 8) {
        memcpy(&x, text + i, sizeof x);
        good &= read_word(x, &eight);
        over |= __builtin_mul_overflow(number, (uint64_t)EIGHT_DIGITS, &number);
        over |= __builtin_add_overflow(number, eight, &number);
    }
    if (size > SONDE__DECIMAL_MAX) /* one more is looked at, so that what is no number is told from one too large */
        good &= (unsigned char)text[SONDE__DECIMAL_MAX] - (unsigned)'0' <= 9;
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
    const uint64_t words[3] = {digits8(number / EIGHT_DIGITS / EIGHT_DIGITS),
                               digits8(number / EIGHT_DIGITS % EIGHT_DIGITS), digits8(number % EIGHT_DIGITS)};
    size_t first = words[0] ? 0 : words[1] ? 1 : 2, size = 0;
    size_t zeros = words[first] ? (size_t)__builtin_ctzll(words[first]) / 8 : 7; /* 0 has one digit too */
    for (size_t i = first; i < 3; i++) { /* whole words: the next one begins over what is too much */
        uint64_t word = (words[i] | ONES * '0') >> 8 * zeros;
        memcpy(ret_text + size, &word, 8);
        size += 8 - zeros;
        zeros = 0;
    }
    return size;
}
