/* SPDX-License-Identifier: Apache-2.0 */
/* Is it ASCII? What most texts are, and cheaper to tell than UTF-8. */
#ifndef SONDE_WIRE_ASCII_H
#define SONDE_WIRE_ASCII_H

#include "instrumentation/wire/read.h"
#include <stdbool.h>
#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
#include <emmintrin.h>
#endif

#define SONDE__ASCII_HIGH_BITS 0x8080808080808080u

/* ASCII is told by the top bits of overlapping blocks: up to 64 bytes without a loop, whose end would be mispredicted.
 * Reads nothing outside of the text. */
#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
static inline __m128i sonde__ascii_load16(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
static inline bool sonde__is_ascii_16_up(const uint8_t *text, size_t size) {
    __m128i seen = _mm_or_si128(sonde__ascii_load16(text), sonde__ascii_load16(text + size - 16));
    if (size > 32) {
        seen = _mm_or_si128(seen, _mm_or_si128(sonde__ascii_load16(text + 16), sonde__ascii_load16(text + size - 32)));
        for (size_t i = 32; i + 32 < size; i += 16)
            seen = _mm_or_si128(seen, sonde__ascii_load16(text + i));
    }
    return _mm_movemask_epi8(seen) == 0;
}
#else
static inline bool sonde__is_ascii_16_up(const uint8_t *text, size_t size) {
    uint64_t seen = sonde__load64(text) | sonde__load64(text + 8);
    seen |= sonde__load64(text + size - 16) | sonde__load64(text + size - 8);
    for (size_t i = 16; i + 16 < size; i += 8)
        seen |= sonde__load64(text + i);
    return (seen & SONDE__ASCII_HIGH_BITS) == 0;
}
#endif
static inline bool sonde__is_ascii_8_up(const uint8_t *text, size_t size) {
    return size >= 16 ? sonde__is_ascii_16_up(text, size)
                      : ((sonde__load64(text) | sonde__load64(text + size - 8)) & SONDE__ASCII_HIGH_BITS) == 0;
}

static inline bool sonde__is_ascii(const uint8_t *text, size_t size) {
    if (size >= 8)
        return sonde__is_ascii_8_up(text, size);
    if (size >= 4)
        return ((sonde__load32(text) | sonde__load32(text + size - 4)) & (uint32_t)SONDE__ASCII_HIGH_BITS) == 0;
    uint8_t seen = 0;
    for (size_t i = 0; i < size; i++)
        seen |= text[i];
    return seen < 0x80;
}

/* Texts that were walked over: whether all of it was ASCII is asked once, at the end. Every text is at least 8 bytes
 * long, headers included. */
#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
struct sonde__seen {
    uint64_t word;
    __m128i block;
};
static inline void sonde__see(struct sonde__seen *seen, const uint8_t *text, size_t size) {
    if (size < 16) {
        seen->word |= sonde__load64(text) | sonde__load64(text + size - 8);
        return;
    }
    seen->block =
        _mm_or_si128(seen->block, _mm_or_si128(sonde__ascii_load16(text), sonde__ascii_load16(text + size - 16)));
    for (size_t i = 16; i + 16 < size; i += 16)
        seen->block = _mm_or_si128(seen->block, sonde__ascii_load16(text + i));
}
static inline bool sonde__seen_is_ascii(const struct sonde__seen *seen) {
    return (seen->word & SONDE__ASCII_HIGH_BITS) == 0 && _mm_movemask_epi8(seen->block) == 0;
}
#else
struct sonde__seen {
    uint64_t word;
};
static inline void sonde__see(struct sonde__seen *seen, const uint8_t *text, size_t size) {
    seen->word |= sonde__load64(text + size - 8);
    for (size_t i = 0; i + 8 < size; i += 8)
        seen->word |= sonde__load64(text + i);
}
static inline bool sonde__seen_is_ascii(const struct sonde__seen *seen) {
    return (seen->word & SONDE__ASCII_HIGH_BITS) == 0;
}
#endif

#endif
