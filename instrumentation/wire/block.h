/* SPDX-License-Identifier: Apache-2.0 */
/* Unaligned stores and block copies: the few tricks that make encoding cheap. Each says how far it may read or write
 * past the bytes asked for; the caller guarantees the room. */
#ifndef SONDE_WIRE_BLOCK_H
#define SONDE_WIRE_BLOCK_H

#include <sonde/key.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t sonde__u64u __attribute__((aligned(1), may_alias));
typedef uint32_t sonde__u32u __attribute__((aligned(1), may_alias));
typedef uint16_t sonde__u16u __attribute__((aligned(1), may_alias));

static inline void sonde__store64(uint8_t *to, uint64_t value) {
    *(sonde__u64u *)to = value;
}
static inline void sonde__store32(uint8_t *to, uint32_t value) {
    *(sonde__u32u *)to = value;
}
static inline void sonde__store16(uint8_t *to, uint32_t value) {
    *(sonde__u16u *)to = (uint16_t)value;
}
static inline uint64_t sonde__load64(const uint8_t *from) {
    return *(const sonde__u64u *)from;
}
static inline uint32_t sonde__load32(const uint8_t *from) {
    return *(const sonde__u32u *)from;
}

#define SONDE__HIGH_BITS 0x8080808080808080u

#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
#include <emmintrin.h>

/** Copies blocks of 16: may read and write up to 15 bytes past size (16 when it is 0).
 *  Returns non-zero when a byte of the blocks, the padding included, is not ASCII. */
static inline int sonde__copy_over16(uint8_t *to, const uint8_t *from, size_t size) {
    __m128i seen = _mm_loadu_si128((const __m128i *)(const void *)from);
    _mm_storeu_si128((__m128i *)(void *)to, seen);
    for (size_t i = 16; i < size; i += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm_storeu_si128((__m128i *)(void *)(to + i), block);
        seen = _mm_or_si128(seen, block);
    }
    return _mm_movemask_epi8(seen);
}
/** Copies blocks of 64: may read and write up to 63 bytes past size. */
static inline void sonde__copy_over64(uint8_t *to, const uint8_t *from, size_t size) {
    for (size_t i = 0; i < size; i += 64) {
        const __m128i *in = (const __m128i *)(const void *)(from + i);
        __m128i *out = (__m128i *)(void *)(to + i);
        __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
        __m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
        _mm_storeu_si128(out, a), _mm_storeu_si128(out + 1, b);
        _mm_storeu_si128(out + 2, c), _mm_storeu_si128(out + 3, d);
    }
}
#else
static inline int sonde__copy_over16(uint8_t *to, const uint8_t *from, size_t size) {
    uint64_t seen = 0;
    size_t i = 0;
    do {
        uint64_t a = sonde__load64(from + i), b = sonde__load64(from + i + 8);
        sonde__store64(to + i, a), sonde__store64(to + i + 8, b);
        seen |= a | b;
        i += 16;
    } while (i < size);
    return (seen & SONDE__HIGH_BITS) != 0;
}
static inline void sonde__copy_over64(uint8_t *to, const uint8_t *from, size_t size) {
    for (size_t i = 0; i < size; i += 8)
        sonde__store64(to + i, sonde__load64(from + i));
}
#endif

/** Copies less than 16 bytes exactly. Non-zero when a byte is not ASCII. */
static inline uint64_t sonde__copy_ascii_short(uint8_t *to, const uint8_t *from, size_t size) {
    if (size >= 8) {
        uint64_t first = sonde__load64(from), last = sonde__load64(from + size - 8);
        sonde__store64(to, first), sonde__store64(to + size - 8, last);
        return (first | last) & SONDE__HIGH_BITS;
    }
    if (size >= 4) {
        uint32_t first = sonde__load32(from), last = sonde__load32(from + size - 4);
        sonde__store32(to, first), sonde__store32(to + size - 4, last);
        return (first | last) & 0x80808080u;
    }
    uint8_t seen = 0;
    if (size) { /* 1..3 */
        seen = from[0] | from[size / 2] | from[size - 1];
        to[0] = from[0], to[size / 2] = from[size / 2], to[size - 1] = from[size - 1];
    }
    return seen & 0x80u;
}
/** Copies exactly (reads and writes nothing past size). Returns non-zero when a byte is not ASCII. */
static inline uint64_t sonde__copy_ascii(uint8_t *to, const uint8_t *from, size_t size) {
    if (size < 16)
        return sonde__copy_ascii_short(to, from, size);
    int seen = sonde__copy_over16(to, from, 16) | sonde__copy_over16(to + size - 16, from + size - 16, 16);
    for (size_t i = 16; i + 16 < size; i += 16) /* between the first and the last 16, which may overlap */
        seen |= sonde__copy_over16(to + i, from + i, 16);
    return (uint64_t)seen;
}

/** Copies the bytes of a key or name, which may be padded; may write up to 16 bytes past them. Non-zero when a byte is
 * not ASCII. */
static inline uint64_t sonde__copy_key(uint8_t *to, struct sonde_key key, int padded) {
    const uint8_t *text = (const uint8_t *)key.text;
    return padded ? (uint64_t)sonde__copy_over16(to, text, key.length) : sonde__copy_ascii(to, text, key.length);
}

/** Bytes a varint takes, 1..10. */
static inline unsigned sonde__varint_length(uint64_t value) {
    return (unsigned)(9 * (63 - __builtin_clzll(value | 1)) + 73) / 64;
}
/** Writes a varint of any length, byte by byte. Returns its length. */
static inline unsigned sonde__put_varint_long(uint8_t *to, uint64_t value) {
    unsigned length = 0;
    while (value >= 0x80) {
        to[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[length++] = (uint8_t)value;
    return length;
}
/** The same below 2^56: 7-bit groups are spread over bytes in three steps, with neither a loop nor BMI2. Writes 8 bytes
 *  whatever the length. */
static inline unsigned sonde__put_varint_wide(uint8_t *to, uint64_t value) {
    unsigned length = sonde__varint_length(value);
    uint64_t x = value;
    x = (x & 0x000000000FFFFFFFu) | ((x & 0x00FFFFFFF0000000u) << 4);
    x = (x & 0x00003FFF00003FFFu) | ((x & 0x0FFFC0000FFFC000u) << 2);
    x = (x & 0x007F007F007F007Fu) | ((x & 0x3F803F803F803F80u) << 1);
    sonde__store64(to, x | (SONDE__HIGH_BITS & (((uint64_t)1 << (8 * (length - 1))) - 1)));
    return length;
}
/** Writes a varint; may write 8 bytes whatever its length (10 at most). Returns its length. */
static inline unsigned sonde__put_varint(uint8_t *to, uint64_t value) {
    if (__builtin_expect(value < (1u << 28), 1)) {
        unsigned length = sonde__varint_length(value);
        uint32_t x = (uint32_t)value;
        x = (x & 0x00003FFFu) | ((x & 0x0FFFC000u) << 2);
        x = (x & 0x007F007Fu) | ((x & 0x3F803F80u) << 1);
        sonde__store32(to, x | (0x80808080u & ((1u << (8 * (length - 1))) - 1)));
        return length;
    }
    return value >> 56 ? sonde__put_varint_long(to, value) : sonde__put_varint_wide(to, value);
}

#endif
