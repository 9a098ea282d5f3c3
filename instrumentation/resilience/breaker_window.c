/* SPDX-License-Identifier: Apache-2.0 */
/* The windows of a circuit breaker; see breaker_cell.h for the words. Two rules keep the totals from ever running over
 * or under, whoever is interrupted where: what lies in the ring was added to the totals before, and is taken out of them
 * only by who took it out of the ring; and totals are changed by compare-and-swap, which sees the epoch too, so that who
 * comes late does not touch those of a newer one. While calls are under way the totals have them twice at most. */
#include "instrumentation/resilience/breaker_cell.h"
#include <string.h>

#define CALL_RECORDED 4u /* in the ring: there is an outcome */
#define HEAD_ONE      ((uint64_t)1 << SONDE__WINDOW_HEAD_AT)

static inline uint8_t epoch_of(uint64_t window) {
    return (uint8_t)(window >> SONDE__WINDOW_EPOCH_AT);
}
static inline struct sonde__breaker_totals totals_of(uint64_t window) {
    struct sonde__breaker_totals totals = {SONDE__WINDOW_COUNT(window, SONDE__WINDOW_CALLS_AT),
                                           SONDE__WINDOW_COUNT(window, SONDE__WINDOW_FAILURES_AT),
                                           SONDE__WINDOW_COUNT(window, SONDE__WINDOW_SLOW_AT)};
    return totals;
}
/* What an outcome is worth in the totals. */
static inline uint64_t worth(unsigned call) {
    return (uint64_t)1 << SONDE__WINDOW_CALLS_AT |
           (uint64_t)(call & SONDE__CALL_FAILED ? 1 : 0) << SONDE__WINDOW_FAILURES_AT |
           (uint64_t)(call & SONDE__CALL_SLOW ? 1 : 0) << SONDE__WINDOW_SLOW_AT;
}

/* Eight bits of an epoch suffice, since each change of state begins the window anew: it is never far behind. */
static bool is_newer(uint8_t epoch, uint8_t than) {
    return (int8_t)(uint8_t)(epoch - than) > 0;
}

/* Makes the word one of the epoch. *seen: as last loaded. False when it is a newer one's. */
static bool word_begin(_Atomic uint64_t *word, uint8_t epoch, uint64_t *seen) {
    while (epoch_of(*seen) != epoch) {
        if (is_newer(epoch_of(*seen), epoch))
            return false;
        uint64_t fresh = (*seen & ~(HEAD_ONE - 1)) | (uint64_t)epoch << SONDE__WINDOW_EPOCH_AT;
        if (atomic_compare_exchange_weak(word, seen, fresh))
            *seen = fresh;
    }
    return true;
}

/* Adds to the totals of the epoch; false when they are a newer one's. */
static bool totals_add(_Atomic uint64_t *word, uint8_t epoch, uint64_t delta,
                       struct sonde__breaker_totals *ret_totals) {
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    do {
        if (!word_begin(word, epoch, &seen))
            return false;
    } while (!atomic_compare_exchange_weak(word, &seen, seen + delta));
    *ret_totals = totals_of(seen + delta);
    return true;
}

/* The place is taken with one addition, whatever the epoch: of a newer one it makes one outcome leave early at most. An
 * outcome that takes the place of one like it changes nothing, so in the steady state that addition is all. */
static bool count_add(struct sonde__breaker_cell *cell, uint32_t epoch, uint32_t size, unsigned call,
                      struct sonde__breaker_totals *ret_totals) {
    const uint32_t mine = epoch << 3 | CALL_RECORDED | call;
    uint64_t before = atomic_fetch_add(&cell->window, HEAD_ONE);
    if (epoch_of(before) == (uint8_t)epoch)
        *ret_totals = totals_of(before);
    _Atomic uint32_t *place = &cell->ring[(uint32_t)(before >> SONDE__WINDOW_HEAD_AT) % size];
    uint32_t old = atomic_load_explicit(place, memory_order_relaxed);
    if (old == mine || !totals_add(&cell->window, (uint8_t)epoch, worth(call), ret_totals))
        return false;
    do {
        if (old & CALL_RECORDED && (int32_t)((old & ~7u) - (mine & ~7u)) > 0)
            return false; /* late: the place is a newer epoch's, and so are the totals */
    } while (!atomic_compare_exchange_weak(place, &old, mine));
    if (old >> 3 != epoch || !(old & CALL_RECORDED))
        return true;
    return totals_add(&cell->window, (uint8_t)epoch, -worth(old & (SONDE__CALL_FAILED | SONDE__CALL_SLOW)), ret_totals);
}

bool sonde__breaker_round_add(struct sonde__breaker_cell *cell, uint32_t epoch, unsigned call,
                              struct sonde__breaker_totals *ret_totals) {
    memset(ret_totals, 0, sizeof *ret_totals);
    return totals_add(&cell->window, (uint8_t)epoch, worth(call), ret_totals);
}

void sonde__breaker_window_begin(struct sonde__breaker_cell *cell, uint32_t epoch) {
    uint64_t seen = atomic_load_explicit(&cell->window, memory_order_relaxed);
    (void)word_begin(&cell->window, (uint8_t)epoch, &seen);
    uint32_t consecutive = atomic_load_explicit(&cell->consecutive, memory_order_relaxed);
    while (is_newer((uint8_t)epoch, (uint8_t)(consecutive >> 24)) &&
           !atomic_compare_exchange_weak(&cell->consecutive, &consecutive, (epoch & 0xFFu) << 24))
        ;
}

/* ---- slices of a second ---- */

#define SLICE_TURN_BITS 18 /* of a turn through all slices: 194 days */
#define SLICE_LATE_MAX  1024u

static inline uint32_t tag_of(uint32_t epoch, uint64_t second) {
    return epoch << SLICE_TURN_BITS | (uint32_t)(second / SONDE__BREAKER_SLICES & ((1u << SLICE_TURN_BITS) - 1));
}

/* Is what the slice holds newer than mine? By a little in both: a slice that was not used for long may look newer in
 * one of them. */
static bool slice_is_newer(uint32_t seen, uint32_t mine) {
    uint32_t turns = (seen - mine) & ((1u << SLICE_TURN_BITS) - 1);
    uint32_t epochs = ((seen >> SLICE_TURN_BITS) - (mine >> SLICE_TURN_BITS)) & ((1u << (32 - SLICE_TURN_BITS)) - 1);
    return turns < SLICE_LATE_MAX && epochs < SLICE_LATE_MAX;
}

static void slice_add(_Atomic uint64_t *word, uint32_t tag) {
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed), next;
    do {
        uint32_t theirs = (uint32_t)(seen >> 32);
        if (theirs != tag && slice_is_newer(theirs, tag))
            return; /* late */
        next = theirs == tag ? seen + 1 : (uint64_t)tag << 32 | 1u;
    } while (!atomic_compare_exchange_weak(word, &seen, next));
}

static uint32_t slice_count(const _Atomic uint64_t *word, uint32_t tag) {
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    return (uint32_t)(seen >> 32) == tag ? (uint32_t)seen : 0;
}

static void time_totals(const struct sonde__breaker_cell *cell, uint32_t epoch, uint64_t second,
                        struct sonde__breaker_totals *ret_totals) {
    memset(ret_totals, 0, sizeof *ret_totals);
    for (uint32_t age = 0; age < cell->window_seconds && age < SONDE__BREAKER_SLICES && age <= second; age++) {
        const struct sonde__breaker_slice *slice = &cell->slices[(second - age) % SONDE__BREAKER_SLICES];
        uint32_t tag = tag_of(epoch, second - age);
        /* A call is counted before what it was: these first, or there were more of them than calls. */
        ret_totals->failures += slice_count(&slice->failures, tag);
        ret_totals->slow += slice_count(&slice->slow, tag);
        ret_totals->calls += slice_count(&slice->calls, tag);
    }
}

static bool time_add(struct sonde__breaker_cell *cell, uint32_t epoch, unsigned call, uint64_t now_us,
                     struct sonde__breaker_totals *ret_totals) {
    const uint64_t second = now_us / 1000000u;
    struct sonde__breaker_slice *slice = &cell->slices[second % SONDE__BREAKER_SLICES];
    const uint32_t tag = tag_of(epoch, second);
    slice_add(&slice->calls, tag);
    if (call & SONDE__CALL_FAILED)
        slice_add(&slice->failures, tag);
    if (call & SONDE__CALL_SLOW)
        slice_add(&slice->slow, tag);
    if (call)
        atomic_store_explicit(&cell->bad_second, (uint32_t)second, memory_order_relaxed);
    else if ((uint32_t)second - atomic_load_explicit(&cell->bad_second, memory_order_relaxed) >= cell->window_seconds)
        return false; /* nothing bad in the window: no need to add it up */
    time_totals(cell, epoch, second, ret_totals);
    return true;
}

bool sonde__breaker_window_add(struct sonde__breaker_cell *cell, uint32_t epoch, uint32_t size, unsigned call,
                               uint64_t now_us, struct sonde__breaker_totals *ret_totals) {
    memset(ret_totals, 0, sizeof *ret_totals);
    if (size)
        return count_add(cell, epoch, size, call, ret_totals);
    return time_add(cell, epoch, call, now_us, ret_totals);
}

void sonde__breaker_window_totals(const struct sonde__breaker_cell *cell, uint32_t epoch, bool by_time, uint64_t now_us,
                                  struct sonde__breaker_totals *ret_totals) {
    memset(ret_totals, 0, sizeof *ret_totals);
    if (by_time) {
        time_totals(cell, epoch, now_us / 1000000u, ret_totals);
    } else {
        uint64_t window = atomic_load_explicit(&cell->window, memory_order_relaxed);
        if (epoch_of(window) == (uint8_t)epoch)
            *ret_totals = totals_of(window);
    }
}

uint32_t sonde__breaker_consecutive(struct sonde__breaker_cell *cell, uint32_t epoch, bool failed) {
    const uint32_t tag = (epoch & 0xFFu) << 24;
    uint32_t seen = atomic_load_explicit(&cell->consecutive, memory_order_relaxed), next;
    do {
        bool same = (seen & 0xFF000000u) == tag;
        uint32_t count = same ? seen & 0xFFFFFFu : 0;
        if (!same && (int8_t)(uint8_t)((seen >> 24) - (tag >> 24)) > 0)
            return 0;
        next = tag | (failed ? (count < 0xFFFFFFu ? count + 1 : count) : 0);
        if (next == seen)
            break;
    } while (!atomic_compare_exchange_weak(&cell->consecutive, &seen, next));
    return next & 0xFFFFFFu;
}
