/* SPDX-License-Identifier: Apache-2.0 */
/* A table that is only added to: an entry is claimed, filled, and then published by its series; after that it never
 * changes, so readers need no lock and a forked child may use it (its parent's half-filled entries stay unused). When
 * an entry's neighbourhood is full, or its texts are too long, the set is looked up the long way each time. */
#include "instrumentation/conventions/seen.h"

#define ENTRIES    512u
#define PROBES     8u
#define TEXT_MAX   160u
#define VALUES_MAX 8u
#define IS_NUMBER  UINT32_MAX

enum { EMPTY = 0, CLAIMED = 1 }; /* a bound series' index is larger: it holds a kind in its upper bits */

struct value {
    const char *key;
    int64_t number;
    uint32_t size; /* of a text; IS_NUMBER */
};
struct entry {
    _Atomic uint32_t series;
    uint32_t metric, count;
    uint64_t fingerprint;
    struct value values[VALUES_MAX];
    char text[TEXT_MAX]; /* the texts, one behind the other */
};
static struct entry entries[ENTRIES];

static inline uint64_t word(const char *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}
/* A text of 1..7 bytes as a number. */
static inline uint64_t word_short(const char *at, size_t size) {
    uint32_t low, high;
    if (size < 4)
        return (uint64_t)(uint8_t)at[0] << 16 | (uint64_t)(uint8_t)at[size / 2] << 8 | (uint8_t)at[size - 1];
    memcpy(&low, at, 4);
    memcpy(&high, at + size - 4, 4);
    return (uint64_t)high << 32 | low;
}

static inline bool text_equal(const char *a, const char *b, size_t size) {
    if (size < 8)
        return word_short(a, size) == word_short(b, size);
    for (size_t i = 8; i < size; i += 8)
        if (word(a + i - 8) != word(b + i - 8))
            return false;
    return word(a + size - 8) == word(b + size - 8);
}

/* Of begin, middle and end of each text: products that do not wait for each other. */
static inline uint64_t fingerprint_of(enum sonde__convention_metric metric, const struct sonde__set *set) {
    uint64_t sum = ((uint64_t)metric + 1) * UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < set->count; i++) {
        const struct sonde_attribute *a = &set->attributes[i];
        uint64_t x = (uint64_t)(uintptr_t)a->key.text, y;
        if (a->type != SONDE_VALUE_STRING)
            y = (uint64_t)a->value.int64;
        else if (a->size < 8)
            y = word_short(a->value.string, a->size);
        else
            y = (word(a->value.string) + word(a->value.string + a->size / 2 - 4) * 3) ^
                word(a->value.string + a->size - 8) * 5;
        sum += (x * UINT64_C(0x2d358dccaa6c78a5) + a->size + i) * (y * 2 + 1);
        sum ^= sum >> 29;
    }
    return sum * UINT64_C(0xd6e8feb86659fd93);
}

static inline bool is(const struct entry *entry, enum sonde__convention_metric metric, const struct sonde__set *set,
                      uint64_t fingerprint) {
    if (entry->fingerprint != fingerprint || entry->metric != (uint32_t)metric || entry->count != set->count)
        return false;
    const char *text = entry->text;
    for (size_t i = 0; i < set->count; i++) {
        const struct sonde_attribute *a = &set->attributes[i];
        const struct value *value = &entry->values[i];
        if (a->key.text != value->key)
            return false;
        if (a->type != SONDE_VALUE_STRING) {
            if (value->size != IS_NUMBER || value->number != a->value.int64)
                return false;
        } else if (value->size != a->size || !text_equal(text, a->value.string, a->size)) {
            return false;
        } else {
            text += a->size;
        }
    }
    return true;
}

/* Fills a claimed entry. False: it has no room for these texts. */
static bool fill(struct entry *entry, enum sonde__convention_metric metric, const struct sonde__set *set,
                 uint64_t fingerprint) {
    size_t used = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct sonde_attribute *a = &set->attributes[i];
        bool is_text = a->type == SONDE_VALUE_STRING;
        if (is_text && a->size > TEXT_MAX - used)
            return false;
        entry->values[i] =
            (struct value){a->key.text, is_text ? 0 : a->value.int64, is_text ? (uint32_t)a->size : IS_NUMBER};
        if (is_text) {
            memcpy(entry->text + used, a->value.string, a->size);
            used += a->size;
        }
    }
    entry->metric = metric;
    entry->count = (uint32_t)set->count;
    entry->fingerprint = fingerprint;
    return true;
}

/* Binds the series, and keeps it in the first empty entry of the neighbourhood. */
static __attribute__((noinline)) struct sonde_series bind(enum sonde__convention_metric metric,
                                                          const struct sonde__set *set, uint64_t fingerprint) {
    struct sonde_series series = sonde_series_bind(sonde__convention_instrument(metric), set->attributes, set->count);
    if (series.index <= CLAIMED)
        return series; /* off, or full */
    for (uint32_t i = 0; i < PROBES; i++) {
        struct entry *entry = &entries[(fingerprint + i) % ENTRIES];
        uint32_t empty = EMPTY;
        if (!atomic_compare_exchange_strong_explicit(&entry->series, &empty, CLAIMED, memory_order_relaxed,
                                                     memory_order_relaxed))
            continue;
        /* Release: the entry is whole before its series says so. */
        bool filled = fill(entry, metric, set, fingerprint);
        atomic_store_explicit(&entry->series, filled ? series.index : EMPTY, memory_order_release);
        break;
    }
    return series;
}

struct sonde_series sonde__series_of(enum sonde__convention_metric metric, const struct sonde__set *set) {
    uint64_t fingerprint = fingerprint_of(metric, set);
    for (uint32_t i = 0; i < PROBES; i++) {
        const struct entry *entry = &entries[(fingerprint + i) % ENTRIES];
        struct sonde_series series = {atomic_load_explicit(&entry->series, memory_order_acquire)};
        if (series.index > CLAIMED && is(entry, metric, set, fingerprint))
            return series;
        if (series.index == EMPTY)
            break;
    }
    return bind(metric, set, fingerprint);
}
