/* SPDX-License-Identifier: Apache-2.0 */
/* Attribute keys as label names: few keys, many series, so each is translated once a scrape. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_LABEL_NAMES_H
#define SONDE_EXPORTERS_PROMETHEUS_LABEL_NAMES_H

#include "exporters/prometheus/buffer.h"
#include "exporters/prometheus/dialect.h"

struct label_name {
    uint64_t key_hash, hash; /* of what was asked for; of the name */
    const char *key, *text;  /* in the same block */
    uint32_t key_size, size; /* size 0: nothing is left of the name */
    bool is_quoted;          /* not [a-zA-Z_][a-zA-Z0-9_]* */
    bool is_identity, is_le; /* the key is job or instance; le */
    unsigned char prefix;    /* enum label_prefix */
};
enum label_prefix { LABEL_PREFIX_NONE = 0, LABEL_PREFIX_SCOPE, LABEL_PREFIX_EXPORTED };

struct label_names {
    const struct sonde_alloc *alloc;
    enum sonde_prometheus_strategy strategy;
    enum sonde_prometheus_escaping escaping;
    struct label_name **slots; /* open addressing; a power of two */
    size_t count, slot_count;
    const struct label_name *hints[8]; /* found last for a series' first, second, ... attribute; NULL = not yet */
    struct buffer scratch, escaped;
};

void label_names_init(struct label_names *names, const struct sonde_alloc *alloc,
                      enum sonde_prometheus_strategy strategy, enum sonde_prometheus_escaping escaping);
void label_names_deinit(struct label_names *names);
/** Forgets all when they are very many (keys made of data); what was found before is gone then. */
void label_names_trim(struct label_names *names);
/** NULL when out of memory. Good until the next trim. */
const struct label_name *label_names_find(struct label_names *names, enum label_prefix prefix, const char *key,
                                          size_t size);

/** The same without a prefix, for attribute number index of a series: mostly it is the one that the series before had. */
static inline const struct label_name *label_names_find_at(struct label_names *names, size_t index, const char *key,
                                                           size_t size) {
    const struct label_name **hint = &names->hints[index % (sizeof names->hints / sizeof names->hints[0])];
    if (*hint && (*hint)->key_size == size && memcmp((*hint)->key, key, size) == 0)
        return *hint;
    return *hint = label_names_find(names, LABEL_PREFIX_NONE, key, size);
}

/** Not for those who choose what they send: who needs to be sure compares. */
static inline uint64_t label_hash(const void *bytes, size_t size, uint64_t seed) {
    const uint64_t odd = UINT64_C(0x9E3779B97F4A7C15);
    const unsigned char *at = bytes;
    uint64_t hash = (seed ^ size) * odd, word;
    for (; size >= 8; size -= 8, at += 8) {
        memcpy(&word, at, 8);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 29;
    }
    word = 0;
    if (size)
        memcpy(&word, at, size);
    hash = (hash ^ word) * odd;
    return hash ^ hash >> 32;
}

#endif
