/* SPDX-License-Identifier: Apache-2.0 */
/* An entry holds, for each attribute in the caller's order, a part: sizes, type, value; then the key's bytes and a
 * string's. The hash takes a literal key by its address; the comparison takes its bytes, because a library that was
 * unloaded may have left its addresses to another. */
#include "instrumentation/metric/sets_fast.h"
#include "instrumentation/ring/lock.h"
#include <stdlib.h>

/* The same series comes in other orders, or with keys made anew each time: so many of them are remembered. */
#define PER_SERIES_MAX 4u
#define STRING_MAX     256u

struct set *_Atomic sonde__set_slots[SETS_SLOTS];

static struct sonde__lock sets_lock;
static uint32_t set_total;
static uint8_t series_sets[SONDE_SERIES_MAX];

struct sonde_series sonde__sets_find(uint32_t instrument, const struct sonde_attribute *attributes, size_t count) {
    return sets_find(instrument, attributes, count);
}

static bool may_keep(const struct sonde_attribute *attributes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct sonde_attribute *a = &attributes[i];
        if (a->type < SONDE_VALUE_STRING || a->type > SONDE_VALUE_DOUBLE || a->key.length > SONDE_KEY_SIZE_MAX ||
            (a->type == SONDE_VALUE_STRING && a->size > STRING_MAX))
            return false;
    }
    return true;
}

/* The part's head; its text follows. */
static void part_head(struct set_part *part, const struct sonde_attribute *attribute, uint64_t word) {
    part->key_size = attribute->key.length;
    part->type = attribute->type;
    part->string_size = attribute->type == SONDE_VALUE_STRING ? attribute->size : 0;
    part->word = word;
}

static struct set *set_make(uint32_t instrument, const struct sonde_attribute *attributes, size_t count,
                            struct sonde_series series) {
    size_t size = sizeof(struct set);
    for (size_t i = 0; i < count; i++) {
        struct set_part part;
        part_head(&part, &attributes[i], 0);
        size += set_part_size(&part);
    }
    struct set *set = malloc(size); /* kept for the life of the process */
    if (!set)
        return NULL;
    uint64_t words[SONDE_SERIES_ATTRIBUTES_MAX];
    uint64_t hash = set_hash(instrument, attributes, count, words);
    *set = (struct set){.hash = hash, .instrument = instrument, .series = series.index, .count = count};
    uint8_t *at = set->parts;
    for (size_t i = 0; i < count; i++) {
        struct set_part *part = (void *)at;
        part_head(part, &attributes[i], words[i]);
        memcpy(part->text, attributes[i].key.text, part->key_size);
        if (part->string_size)
            memcpy(part->text + part->key_size, attributes[i].value.string, part->string_size);
        at += set_part_size(part);
    }
    return set;
}

void sonde__sets_add(uint32_t instrument, const struct sonde_attribute *attributes, size_t count,
                     struct sonde_series series) {
    uint32_t number = series.index & (SONDE_SERIES_MAX - 1);
    if (!may_keep(attributes, count))
        return;
    sonde__lock_take(&sets_lock);
    bool wanted = set_total < SETS_MAX && series_sets[number] < PER_SERIES_MAX &&
                  !sonde__sets_find(instrument, attributes, count).index;
    struct set *set = wanted ? set_make(instrument, attributes, count, series) : NULL;
    if (set) {
        uint32_t at = set_slot(set->hash);
        while (atomic_load_explicit(&sonde__set_slots[at], memory_order_relaxed))
            at = (at + 1) & (SETS_SLOTS - 1);
        /* Counted first: a fork in between costs a place, not the bound. */
        set_total++;
        series_sets[number]++;
        atomic_store_explicit(&sonde__set_slots[at], set, memory_order_release);
    }
    sonde__lock_release(&sets_lock);
}
