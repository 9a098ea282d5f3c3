/* SPDX-License-Identifier: Apache-2.0 */
/* The windows of a circuit breaker; see breaker_cell.h for the words. */
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

/* Adds to the window's word if it is of the epoch. A word of an older one is begun anew, one of a newer one left alone.
 * Returns false then, else the word before. */
static bool word_add(_Atomic uint64_t *word, uint8_t epoch, uint64_t delta, uint64_t *ret_before) {
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    for (;;) {
        if (epoch_of(seen) != epoch) {
            if ((int8_t)(uint8_t)(epoch_of(seen) - epoch) > 0)
                return false;
            uint64_t fresh = (seen & ~(HEAD_ONE - 1)) | (uint64_t)epoch << SONDE__WINDOW_EPOCH_AT;
            if (!atomic_compare_exchange_weak(word, &seen, fresh))
                continue;
        }
        seen = atomic_fetch_add(word, delta);
        if (epoch_of(seen) == epoch) {
            *ret_before = seen;
            return true;
        }
        seen = atomic_fetch_sub(word, delta) - delta; /* came late */
    }
}

static bool count_add(struct sonde__breaker_cell *cell, uint32_t epoch, uint32_t size, unsigned call,
                      struct sonde__breaker_totals *ret_totals) {
    uint64_t before;
    const uint32_t mine = epoch << 3 | CALL_RECORDED | call;
    if (!word_add(&cell->window, (uint8_t)epoch, HEAD_ONE, &before))
        return false;
    _Atomic uint32_t *place = &cell->ring[(uint32_t)(before >> SONDE__WINDOW_HEAD_AT) % size];
    uint32_t old = atomic_load_explicit(place, memory_order_relaxed);
    *ret_totals = totals_of(before);
    if (old == mine)
        return false; /* one like it leaves the window: nothing changes */
    while (!atomic_compare_exchange_weak(place, &old, mine))
        ;
    uint64_t delta = worth(call);
    if (old >> 3 == epoch && old & CALL_RECORDED)
        delta -= worth(old & (SONDE__CALL_FAILED | SONDE__CALL_SLOW));
    if (delta == 0 || !word_add(&cell->window, (uint8_t)epoch, delta, &before))
        return false;
    *ret_totals = totals_of(before + delta);
    return true;
}

/* ---- slices of a second ---- */

static inline uint32_t tag_of(uint32_t epoch, uint64_t second) {
    return (epoch & 0xFFu) << 24 | (uint32_t)(second & 0xFFFFFFu);
}

static void slice_add(_Atomic uint64_t *word, uint32_t tag) {
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    for (;;) {
        if ((uint32_t)(seen >> 32) != tag) {
            if (atomic_compare_exchange_weak(word, &seen, (uint64_t)tag << 32 | 1u))
                return;
            continue;
        }
        seen = atomic_fetch_add(word, 1);
        if ((uint32_t)(seen >> 32) == tag)
            return;
        seen = atomic_fetch_sub(word, 1) - 1;
    }
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
        ret_totals->calls += slice_count(&slice->calls, tag);
        ret_totals->failures += slice_count(&slice->failures, tag);
        ret_totals->slow += slice_count(&slice->slow, tag);
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
