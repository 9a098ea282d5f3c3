/* SPDX-License-Identifier: Apache-2.0 */
/* The process pool of 4 KiB extents that spans grow into. The map of what is in use is private: the agent finds a
 * dead span's extents by its slot, not by this map. */
#include "instrumentation/ring/process.h"

#define WORDS (SONDE__EXTENTS / 64u)

static _Atomic uint64_t used[WORDS];

int sonde__extent_take(void) {
    if (!sonde__registry.process.base)
        return -1;
    for (uint32_t i = 0; i < WORDS; i++) { /* lowest first, so that few of them ever become resident */
        uint64_t word = atomic_load_explicit(&used[i], memory_order_relaxed);
        while (~word) {
            uint32_t bit = (uint32_t)__builtin_ctzll(~word);
            if (atomic_compare_exchange_weak_explicit(&used[i], &word, word | 1ull << bit, memory_order_acquire,
                                                      memory_order_relaxed))
                return (int)(i * 64u + bit);
        }
    }
    return -1;
}

void sonde__extent_give(int extent) {
    if (extent < 0 || (uint32_t)extent >= SONDE__EXTENTS)
        return;
    atomic_fetch_and_explicit(&used[(uint32_t)extent / 64u], ~(1ull << ((uint32_t)extent % 64u)), memory_order_release);
}

uint8_t *sonde__extent_at(int extent) {
    return sonde__registry.process.base + SONDE__EXTENTS_AT + (size_t)extent * SONDE__EXTENT_SIZE;
}

void sonde__extents_reset(void) {
    for (uint32_t i = 0; i < WORDS; i++)
        atomic_store_explicit(&used[i], 0, memory_order_relaxed);
}
