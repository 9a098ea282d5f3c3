/* SPDX-License-Identifier: Apache-2.0 */
/* Seams: time, random and memory as arguments. Core code (batching, retry, queue, series, config) takes these and
 * calls nothing past them, so that tests run it with a fake clock, a fixed seed and a failing allocator.
 * agent/loop/ gives the real ones, tests/lib/ the fakes. The lint refuses clock_gettime, time, rand, getrandom,
 * malloc and friends elsewhere in exporters/ and agent/ (allocation goes through sonde_alloc). */
#ifndef SONDE_EXPORTERS_SEAM_H
#define SONDE_EXPORTERS_SEAM_H

#include <stddef.h>
#include <stdint.h>

/** The two clocks. monotonic_ns never goes back and drives every timer; unix_ns is wall time for display and data. */
struct sonde_time {
    uint64_t (*monotonic_ns)(void *self);
    uint64_t (*unix_ns)(void *self);
    void *self;
};

/** Uniform 64 random bits. */
struct sonde_random {
    uint64_t (*next)(void *self);
    void *self;
};

/** realloc-like: size 0 frees; NULL old allocates; returns NULL when out of memory (old stays valid). */
struct sonde_alloc {
    void *(*resize)(void *self, void *old, size_t size);
    void *self;
};

static inline void *sonde_alloc_new(const struct sonde_alloc *a, size_t size) {
    return a->resize(a->self, NULL, size);
}
static inline void sonde_alloc_free(const struct sonde_alloc *a, void *memory) {
    if (memory)
        (void)a->resize(a->self, memory, 0);
}

/** What a component of core code gets. All borrowed, valid until it is destroyed. */
struct sonde_seams {
    struct sonde_time time;
    struct sonde_random random;
    struct sonde_alloc alloc;
};

#endif
