/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the deduplicators: a table of lines of 64 bytes. An id may lie in two lines, which its hash says; of these
 * it takes the emptier one. */
#ifndef SONDE_RESILIENCE_DEDUP_H
#define SONDE_RESILIENCE_DEDUP_H

#include <sonde/resilience/idempotency.h>
#include <stdatomic.h>

#define SONDE__DEDUP_WAYS 3u

/* One cache line. A known id is looked up without taking the lock; what changes more than a state does take it.
 *   states  what 2 | claim 24 | until 38 (ms): changed by compare-and-swap, so that done and forget need no lock. The
 *           claim is one more each time the slot is taken: an old ticket finds another one.
 *   lock    odd while it is held; otherwise a count of changes. */
struct sonde__dedup_line {
    _Alignas(64) _Atomic uint64_t tags[SONDE__DEDUP_WAYS]; /* hashes of ids */
    _Atomic uint64_t states[SONDE__DEDUP_WAYS];
    _Atomic uint32_t prints[SONDE__DEDUP_WAYS]; /* fingerprints; 0 = none */
    _Atomic uint32_t lock;
};
_Static_assert(sizeof(struct sonde__dedup_line) == 64, "a cache line");

/** Where an id lies and what it is called there. */
struct sonde__dedup_place {
    uint32_t lines[2];
    uint64_t tag;
};
/** Of a hash of 128 bits; lines: how many there are. */
static inline struct sonde__dedup_place sonde__dedup_place(const uint64_t hash[2], uint32_t lines) {
    struct sonde__dedup_place place = {
        {(uint32_t)((hash[0] >> 32) * lines >> 32), (uint32_t)((hash[0] & UINT32_MAX) * lines >> 32)}, hash[1]};
    return place;
}

/** For tests: the lines of a deduplicator (NULL: none); and another key, before the first id. */
struct sonde__dedup_line *sonde__dedup_lines(struct sonde_dedup dedup, uint32_t *ret_count);
void sonde__dedup_key_set(struct sonde_dedup dedup, const uint64_t key[2]);

#endif
