/* SPDX-License-Identifier: Apache-2.0 */
/* The hot side of histograms, inlined into sonde_histogram_record(); how it works is told in histogram.c. */
#ifndef SONDE_METRIC_HISTOGRAM_FAST_H
#define SONDE_METRIC_HISTOGRAM_FAST_H

#include "instrumentation/metric/histogram.h"
#include "instrumentation/ring/thread.h"
#include <string.h>

#define TABLE_SCALE   8
#define TABLE_BOUNDS  (1u << TABLE_SCALE)
#define MANTISSA_BITS 52
#define MANTISSA_MASK ((UINT64_C(1) << MANTISSA_BITS) - 1)
#define EXPONENT_BIAS 1023
/* Bits of the smallest normal double, and how many bit patterns there are from it to the largest finite one. */
#define NORMAL_MIN    (UINT64_C(1) << MANTISSA_BITS)
#define NORMAL_RANGE  (UINT64_C(0x7FE) << MANTISSA_BITS)

extern uint64_t sonde__bound_mantissas[TABLE_BOUNDS + 2] __attribute__((visibility("hidden")));
extern uint16_t sonde__first_bounds[2 * TABLE_BOUNDS] __attribute__((visibility("hidden")));

static inline uint64_t load(_Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}
/* Relaxed: one writer; the reader needs words, not an order between them. */
static inline void store(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Scales above TABLE_SCALE: within 1e-15 of a boundary in log2. bits: a normal positive double. */
int32_t sonde__histogram_index_fine(uint64_t bits, int32_t scale);

/* Exact up to TABLE_SCALE. */
static inline int32_t index_of(uint64_t bits, int32_t scale) {
    if (SONDE__UNLIKELY(scale > TABLE_SCALE))
        return sonde__histogram_index_fine(bits, scale);
    int32_t exponent = (int32_t)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
    uint64_t mantissa = bits & MANTISSA_MASK;
    int32_t bound = sonde__first_bounds[mantissa >> (MANTISSA_BITS - TABLE_SCALE - 1)];
    bound += mantissa > sonde__bound_mantissas[bound + 1];
    /* A value equal to a boundary (only powers of two can be) belongs to the bucket below. */
    return (exponent * (1 << TABLE_SCALE) + bound - (mantissa <= sonde__bound_mantissas[bound])) >>
           (TABLE_SCALE - scale);
}

static inline struct sonde__histogram_block *block_at(uint8_t *base, uint32_t unit) {
    return (struct sonde__histogram_block *)(void *)(base + (size_t)unit * SONDE__ARENA_UNIT);
}

static inline void add_to(struct sonde__histogram *histogram, _Atomic uint64_t *bucket, double value) {
    store(bucket, load(bucket) + 1);
    store(&histogram->sum, sonde__bits_of(sonde__double_of(load(&histogram->sum)) + value));
    if (SONDE__UNLIKELY(value < sonde__double_of(load(&histogram->min))))
        store(&histogram->min, sonde__bits_of(value));
    if (SONDE__UNLIKELY(value > sonde__double_of(load(&histogram->max))))
        store(&histogram->max, sonde__bits_of(value));
}

/* Records into an exponential histogram, when the value is > 0, normal, and its bucket exists. False: nothing was done,
 * sonde__histogram_record_slow() then. */
static inline bool histogram_record_fast(uint8_t *base, struct sonde__histogram *histogram, double value) {
    uint64_t bits = sonde__bits_of(value);
    if (SONDE__UNLIKELY(bits - NORMAL_MIN >= NORMAL_RANGE))
        return false;
    struct sonde__histogram_block *block = block_at(base, (uint32_t)load(&histogram->active));
    uint32_t bucket = (uint32_t)index_of(bits, block->scale) - (uint32_t)block->offset;
    if (SONDE__UNLIKELY(bucket >= block->capacity))
        return false;
    add_to(histogram, &block->buckets[bucket], value);
    return true;
}

#endif
