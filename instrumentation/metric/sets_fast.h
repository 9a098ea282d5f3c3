/* SPDX-License-Identifier: Apache-2.0 */
/* The hot side of sets, inlined into sonde_instrument_add(); what it is about is told in sets.c. Written so that the
 * usual way, short strings and literal keys, has no jumps. */
#ifndef SONDE_METRIC_SETS_FAST_H
#define SONDE_METRIC_SETS_FAST_H

#include "instrumentation/metric/attributes.h"
#include "instrumentation/metric/sets.h"
#include "instrumentation/ring/thread.h"
#include <stdatomic.h>

#define SETS_MAX   SONDE_SERIES_MAX
#define SETS_SLOTS (2u * SETS_MAX) /* half full at most */

struct set_part {
    uint32_t key_size;
    uint32_t type;
    uint64_t string_size;
    uint64_t word; /* the value's bits, or set_bytes_hash() of a string */
    char text[];   /* key, string */
};
/* Parts begin at multiples of 8. */
static inline size_t set_part_size(const struct set_part *part) {
    return (sizeof *part + part->key_size + part->string_size + 7u) & ~(size_t)7u;
}
struct set {
    uint64_t hash;
    uint32_t instrument, series;
    uint64_t count;
    uint8_t parts[];
};

extern struct set *_Atomic sonde__set_slots[SETS_SLOTS] __attribute__((visibility("hidden")));

static inline uint64_t set_mix(uint64_t a, uint64_t b) {
    unsigned __int128 product =
        (unsigned __int128)(a ^ UINT64_C(0x2d358dccaa6c78a5)) * (b ^ UINT64_C(0x8bb84b93962eacc9));
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
static inline uint64_t word8(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}
static inline uint64_t word4(const char *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}
/* 0..3 bytes. */
static inline uint64_t word_short(const char *p, size_t size) {
    if (!size)
        return 0;
    return (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[size / 2] << 8 | (unsigned char)p[size - 1];
}

/* Up to SETS_WORD_MAX bytes it is another word for each string of a size, so no bytes need be compared again. */
#define SETS_WORD_MAX 8u
static inline __attribute__((always_inline)) uint64_t set_bytes_hash(const char *p, size_t size) {
    if (SONDE__LIKELY(size < 4))
        return word_short(p, size);
    if (SONDE__LIKELY(size <= 8))
        return word4(p) << 32 | word4(p + size - 4);
    if (SONDE__LIKELY(size <= 16))
        return set_mix(word8(p), word8(p + size - 8));
    return sonde__bytes_hash(p, size, 0);
}

/* 0 when the bytes are the same. 8..32 in words that overlap. */
static inline __attribute__((always_inline)) uint64_t set_bytes_differ(const char *a, const char *p, size_t size) {
    if (SONDE__UNLIKELY(size - 8 > 24))
        return (uint64_t)(memcmp(a, p, size) != 0);
    const char *a_end = a + size, *p_end = p + size;
    uint64_t differ = (word8(a) ^ word8(p)) | (word8(a_end - 8) ^ word8(p_end - 8));
    if (SONDE__LIKELY(size > 16))
        differ |= (word8(a + 8) ^ word8(p + 8)) | (word8(a_end - 16) ^ word8(p_end - 16));
    return differ;
}

/* Of any set that can be read, kept or not; 0 = it cannot. The table is addressed by the high bits.
 * ret_words: what stands for the values. */
static inline __attribute__((always_inline)) uint64_t
set_hash(uint32_t instrument, const struct sonde_attribute *attributes, size_t count, uint64_t *ret_words) {
    uint64_t hash = (uint64_t)instrument << 40 | 1;
    if (SONDE__UNLIKELY(count > SONDE_SERIES_ATTRIBUTES_MAX))
        return 0;
    for (const struct sonde_attribute *a = attributes, *end = attributes + count; a < end; a++) {
        uint64_t key = (uint64_t)(uintptr_t)a->key.text, word = (uint64_t)a->value.int64;
        if (SONDE__UNLIKELY(!a->key.padded)) {
            if (a->key.length > SONDE_KEY_SIZE_MAX)
                return 0;
            key = set_bytes_hash(a->key.text, a->key.length);
        }
        if (a->type == SONDE_VALUE_STRING) {
            if (SONDE__UNLIKELY(!word))
                return 0;
            word = set_bytes_hash(a->value.string, a->size);
        } else if (SONDE__UNLIKELY(a->type == SONDE_VALUE_BOOL)) {
            word = a->value.boolean;
        }
        *ret_words++ = word;
        hash += set_mix(key + a->type, word) << 1; /* a sum: the parts are worked out side by side */
    }
    return hash;
}

static inline __attribute__((always_inline)) bool
set_is(const struct set *set, const struct sonde_attribute *attributes, size_t count, const uint64_t *words) {
    const uint8_t *at = set->parts;
    if (SONDE__UNLIKELY(set->count != count))
        return false;
    for (const struct sonde_attribute *a = attributes, *end = attributes + count; a < end; a++) {
        const struct set_part *kept = (const void *)at;
        if (SONDE__UNLIKELY(kept->key_size != a->key.length || kept->type != a->type || kept->word != *words++ ||
                            set_bytes_differ(kept->text, a->key.text, kept->key_size)))
            return false;
        at += set_part_size(kept);
        if (kept->type == SONDE_VALUE_STRING &&
            SONDE__UNLIKELY(
                kept->string_size != a->size ||
                (a->size > SETS_WORD_MAX && set_bytes_differ(kept->text + kept->key_size, a->value.string, a->size))))
            return false;
    }
    return true;
}

static inline uint32_t set_slot(uint64_t hash) {
    return (uint32_t)(hash >> 32) & (SETS_SLOTS - 1);
}

/** The bound handle of a set, index 0 when it is not known. */
static inline __attribute__((always_inline)) struct sonde_series
sets_find(uint32_t instrument, const struct sonde_attribute *attributes, size_t count) {
    uint64_t words[SONDE_SERIES_ATTRIBUTES_MAX];
    uint64_t hash = set_hash(instrument, attributes, count, words);
    for (uint32_t at = set_slot(hash);; at = (at + 1) & (SETS_SLOTS - 1)) {
        /* Acquire: the entry is whole before its slot points to it. */
        const struct set *set = atomic_load_explicit(&sonde__set_slots[at], memory_order_acquire);
        if (SONDE__UNLIKELY(!set))
            return (struct sonde_series){0};
        if (SONDE__LIKELY(set->hash == hash && set->instrument == instrument && set_is(set, attributes, count, words)))
            return (struct sonde_series){set->series};
    }
}

#endif
