/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms in an arena of shared memory. One writer at a time: the thread whose region the arena is, or whoever
 * holds the spin bit of a process-wide one. Layout: ring/cells.h. */
#ifndef SONDE_METRIC_HISTOGRAM_H
#define SONDE_METRIC_HISTOGRAM_H

#include "instrumentation/ring/cells.h"
#include <stdbool.h>

struct sonde__arena {
    uint8_t *base;
    _Atomic uint64_t *head; /* bytes in use */
    uint64_t size;
};

/** Takes size bytes (a multiple of 64), zero. Returns their offset / 64 + 1, 0 when the arena is full. Lock-free. */
uint32_t sonde__arena_take(const struct sonde__arena *arena, uint64_t size);

/** Fills the tables behind sonde__histogram_index(); before the first record, once, under a lock. */
void sonde__histogram_tables_init(void);

/** Bucket of a positive finite value at a scale of -10..20; subnormal values count as the smallest normal one. */
int32_t sonde__histogram_index(double value, int32_t scale);

/** Makes an empty histogram of a series; exponential ones are placed around `first`.
 *  Returns its offset / 64 + 1, or 0 when the arena is full. Lock-free; no one else sees it yet. */
uint32_t sonde__histogram_create(const struct sonde__arena *arena, uint32_t series, uint32_t bound_count, double first);

/** Records any finite value >= 0 into an exponential histogram: zeros, subnormals, and values that need a rescale or
 *  larger blocks. The rest has a faster way: histogram_fast.h. */
void sonde__histogram_record_slow(const struct sonde__arena *arena, struct sonde__histogram *histogram, double value);

/** The explicit bucket of a value: the first bound that is not below it, or count. */
uint32_t sonde__bounds_index(const double *bounds, uint32_t count, double value);

/** Records into explicit buckets; bounds ascending, histogram->bound_count of them, borrowed. */
void sonde__histogram_record_bounds(uint8_t *base, struct sonde__histogram *histogram, const double *bounds,
                                    double value);

#endif
