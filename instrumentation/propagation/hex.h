/* SPDX-License-Identifier: Apache-2.0 */
/* Lower-case hex of identifiers, eight bytes at a time. Two ways with the same results: SSE2 (every x86-64 has it) and
 * plain C. Both are always compiled where they can be, so that a test holds one against the other; SONDE_NO_SIMD
 * (-Dsimd=false) selects the plain one. No locale, no strtol: those accept spaces, signs, "0x" and upper case. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_HEX_H
#define SONDE_INSTRUMENTATION_PROPAGATION_HEX_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/** Value of a lower-case hex digit, or -1. */
static inline int sonde__hex_digit(char c) {
    unsigned digit = (unsigned char)c - (unsigned)'0', letter = (unsigned char)c - (unsigned)'a';
    return digit < 10u ? (int)digit : letter < 6u ? (int)letter + 10 : -1;
}

/** Writes 8 bytes as 16 digits, no NUL. */
static inline void sonde__hex_write8_plain(const uint8_t *bytes, char *ret_text) {
    static const char digits[16] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
    for (int i = 0; i < 8; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
}

/** Reads 16 digits as 8 bytes, in memory order; a word, so that it stays in a register. Returns false (word undefined)
 *  when one is not a lower-case hex digit. */
static inline bool sonde__hex_read8_plain(const char *text, uint64_t *ret_bytes) {
    uint8_t bytes[8];
    int bad = 0;
    for (int i = 0; i < 8; i++) {
        int high = sonde__hex_digit(text[2 * i]), low = sonde__hex_digit(text[2 * i + 1]);
        bad |= high | low; /* -1 has the sign bit, a value has not */
        bytes[i] = (uint8_t)((unsigned)high << 4 | ((unsigned)low & 15u));
    }
    memcpy(ret_bytes, bytes, sizeof bytes);
    return bad >= 0;
}

/** The same of eight digits here and eight there. */
static inline bool sonde__hex_read_halves_plain(const char *first, const char *second, uint64_t *ret_bytes) {
    char text[16];
    memcpy(text, first, 8);
    memcpy(text + 8, second, 8);
    return sonde__hex_read8_plain(text, ret_bytes);
}

/** Reads the last `size` (1..16) of the 16 characters before `end`, all of which may be looked at, as a number. Returns
 *  false (number undefined) when one is not a lower-case hex digit. */
static inline bool sonde__hex_tail_plain(const char *end, size_t size, uint64_t *ret_number) {
    uint64_t number = 0;
    int bad = 0;
    for (size_t i = size; i > 0; i--) {
        int digit = sonde__hex_digit(*(end - i));
        bad |= digit;
        number = number << 4 | ((unsigned)digit & 15u);
    }
    *ret_number = number;
    return bad >= 0;
}

#if defined(__SSE2__)
#include <emmintrin.h>

static inline void sonde__hex_write8_sse2(const uint8_t *bytes, char *ret_text) {
    __m128i packed = _mm_loadl_epi64((const __m128i *)(const void *)bytes), nibble = _mm_set1_epi8(15);
    __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), nibble), low = _mm_and_si128(packed, nibble);
    __m128i digits = _mm_unpacklo_epi8(high, low);
    /* 39 = 'a' - '0' - 10 */
    __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(digits, _mm_set1_epi8(9)), _mm_set1_epi8(39));
    digits = _mm_add_epi8(_mm_add_epi8(digits, _mm_set1_epi8('0')), letters);
    _mm_storeu_si128((__m128i *)(void *)ret_text, digits);
}

/* Sixteen digits, of which those with bits set in `skip` count as 0. */
static inline bool sonde__hex_read_masked(__m128i x, __m128i skip, uint64_t *ret_bytes) {
    /* '0'..'9' become 0xf6..0xff, less 6 (saturating) 0xf0..0xf9, then 0..9; all others end above 15. */
    __m128i digit = _mm_add_epi8(x, _mm_set1_epi8((char)(0xff - '9')));
    digit = _mm_sub_epi8(_mm_subs_epu8(digit, _mm_set1_epi8(6)), _mm_set1_epi8((char)0xf0));
    /* 'a'..'f' become 10..15; all others end above 15. */
    __m128i letter = _mm_adds_epu8(_mm_sub_epi8(x, _mm_set1_epi8('a')), _mm_set1_epi8(10));
    __m128i value = _mm_andnot_si128(skip, _mm_min_epu8(digit, letter));
    /* The even byte of each pair is the high nibble. */
    __m128i joined = _mm_or_si128(_mm_slli_epi16(value, 4), _mm_srli_epi16(value, 8));
    __m128i low_bytes = _mm_and_si128(joined, _mm_set1_epi16(0xFF));
    _mm_storel_epi64((__m128i *)(void *)ret_bytes, _mm_packus_epi16(low_bytes, low_bytes));
    return _mm_movemask_epi8(_mm_adds_epu8(value, _mm_set1_epi8(0x7f - 15))) == 0; /* sign bit = above 15 */
}
static inline bool sonde__hex_read8_sse2(const char *text, uint64_t *ret_bytes) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)text);
    return sonde__hex_read_masked(x, _mm_setzero_si128(), ret_bytes);
}
static inline bool sonde__hex_read_halves_sse2(const char *first, const char *second, uint64_t *ret_bytes) {
    __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)first);
    __m128i high = _mm_loadl_epi64((const __m128i *)(const void *)second);
    return sonde__hex_read_masked(_mm_unpacklo_epi64(low, high), _mm_setzero_si128(), ret_bytes);
}
static inline bool sonde__hex_tail_sse2(const char *end, size_t size, uint64_t *ret_number) {
    static const uint8_t skips[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(end - 16));
    __m128i skip = _mm_loadu_si128((const __m128i *)(const void *)(skips + size));
    bool good = sonde__hex_read_masked(x, skip, ret_number);
    *ret_number = __builtin_bswap64(*ret_number);
    return good;
}
#endif

#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
#define sonde__hex_write8      sonde__hex_write8_sse2
#define sonde__hex_read8       sonde__hex_read8_sse2
#define sonde__hex_tail        sonde__hex_tail_sse2
#define sonde__hex_read_halves sonde__hex_read_halves_sse2
#else
#define sonde__hex_write8      sonde__hex_write8_plain
#define sonde__hex_read8       sonde__hex_read8_plain
#define sonde__hex_tail        sonde__hex_tail_plain
#define sonde__hex_read_halves sonde__hex_read_halves_plain
#endif

#endif
