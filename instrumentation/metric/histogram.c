/* SPDX-License-Identifier: Apache-2.0 */
/* Base-2 exponential histograms: index of a value, rescaling, growing.
 *
 * Index. Up to scale 8 a table of 512 entries, addressed by the leading bits of the mantissa, gives a bucket of scale 8
 * that is at most one too low; coarser scales are that, shifted. Above, a logarithm. Buckets include their upper
 * boundary. The table holds, for each boundary, the largest double not above it, so "x > entry" is exact.
 *
 * Rescaling. The new block is filled first and made active by one store (see ring/cells.h). A histogram begins at scale
 * 20 with 32 buckets. When they would have to be coarser than scale 3 it moves to 160, which is what the specification
 * asks for; one whose values lie close together never needs them.
 * Source: OpenTelemetry specification, metrics/data-model.md#exponentialhistogram. */
#include "instrumentation/metric/histogram_fast.h"
#include <math.h>

uint64_t sonde__bound_mantissas[TABLE_BOUNDS + 2];
uint16_t sonde__first_bounds[2 * TABLE_BOUNDS];

void sonde__histogram_tables_init(void) {
    for (uint32_t i = 0; i < TABLE_BOUNDS; i++) {
        long double bound = exp2l((long double)i / TABLE_BOUNDS);
        /* Truncation: the boundaries but the first are irrational, so the double below one tells both sides apart. */
        sonde__bound_mantissas[i] = (uint64_t)ldexpl(bound - 1.0L, MANTISSA_BITS);
    }
    sonde__bound_mantissas[TABLE_BOUNDS] = sonde__bound_mantissas[TABLE_BOUNDS + 1] = MANTISSA_MASK + 1;
    uint32_t bound = 0;
    for (uint32_t i = 0; i < 2 * TABLE_BOUNDS; i++) {
        uint64_t mantissa = (uint64_t)i << (MANTISSA_BITS - TABLE_SCALE - 1);
        while (sonde__bound_mantissas[bound + 1] < mantissa)
            bound++;
        sonde__first_bounds[i] = (uint16_t)bound;
    }
}

int32_t sonde__histogram_index_fine(uint64_t bits, int32_t scale) {
    int32_t exponent = (int32_t)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
    uint64_t mantissa = bits & MANTISSA_MASK;
    if (!mantissa)
        return exponent * (1 << scale) - 1;
    double fraction = log2(sonde__double_of(mantissa | ((uint64_t)EXPONENT_BIAS << MANTISSA_BITS)));
    return exponent * (1 << scale) + (int32_t)ceil(fraction * (double)(1 << scale)) - 1;
}

static inline uint64_t normal_bits(double value) {
    uint64_t bits = sonde__bits_of(value);
    return bits < NORMAL_MIN ? NORMAL_MIN : bits;
}

int32_t sonde__histogram_index(double value, int32_t scale) {
    return index_of(normal_bits(value), scale);
}

uint32_t sonde__arena_take(const struct sonde__arena *arena, uint64_t size) {
    uint64_t at = atomic_load_explicit(arena->head, memory_order_relaxed);
    do {
        if (at > arena->size || arena->size - at < size)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(arena->head, &at, at + size, memory_order_relaxed,
                                                    memory_order_relaxed));
    return (uint32_t)(at / SONDE__ARENA_UNIT) + 1;
}

static inline uint32_t block_size(uint32_t capacity) {
    return SONDE__ARENA_UNIT + (capacity * 8u + SONDE__ARENA_UNIT - 1u) / SONDE__ARENA_UNIT * SONDE__ARENA_UNIT;
}

uint32_t sonde__histogram_create(const struct sonde__arena *arena, uint32_t series, uint32_t bound_count,
                                 double first) {
    uint32_t capacity = bound_count ? bound_count + 1 : SONDE__BUCKETS_SMALL;
    uint32_t size = block_size(capacity);
    uint32_t place = sonde__arena_take(arena, SONDE__ARENA_UNIT + size * (bound_count ? 1u : 2u));
    if (!place)
        return 0;
    struct sonde__histogram *histogram = (void *)block_at(arena->base, place - 1);
    histogram->series = series;
    histogram->bound_count = bound_count;
    histogram->spare = place + size / SONDE__ARENA_UNIT;
    struct sonde__histogram_block *block = block_at(arena->base, place);
    block->capacity = capacity;
    if (!bound_count) {
        block->scale = SONDE__SCALE_MAX;
        block->offset = (first > 0 ? sonde__histogram_index(first, SONDE__SCALE_MAX) : 0) - (int32_t)capacity / 2;
    }
    store(&histogram->min, sonde__bits_of((double)INFINITY));
    store(&histogram->max, sonde__bits_of(-(double)INFINITY));
    store(&histogram->active, place);
    return place;
}

/* Buckets in use, as indices at the block's scale; false when all are empty. */
static bool used_range(struct sonde__histogram_block *block, int64_t *ret_low, int64_t *ret_high) {
    bool used = false;
    for (uint32_t i = 0; i < block->capacity; i++) {
        if (!load(&block->buckets[i]))
            continue;
        if (!used)
            *ret_low = (int64_t)block->offset + i;
        *ret_high = (int64_t)block->offset + i;
        used = true;
    }
    return used;
}

/* Powers of two by which buckets must be merged so that low..high fit. */
static int32_t shift_for(int64_t low, int64_t high, uint32_t capacity) {
    int32_t by = 0;
    while ((high >> by) - (low >> by) >= (int64_t)capacity)
        by++;
    return by;
}

static void fill(struct sonde__histogram_block *to, struct sonde__histogram_block *from, int64_t low, int64_t high,
                 int32_t by) {
    int64_t span = (high >> by) - (low >> by) + 1;
    to->scale = from->scale - by;
    /* Centred, so that values on either side find room. */
    to->offset = (int32_t)((low >> by) - ((int64_t)to->capacity - span) / 2);
    for (uint32_t i = 0; i < to->capacity; i++)
        store(&to->buckets[i], 0);
    for (uint32_t i = 0; i < from->capacity; i++) {
        uint64_t count = load(&from->buckets[i]);
        if (!count)
            continue;
        _Atomic uint64_t *bucket = &to->buckets[(((int64_t)from->offset + i) >> by) - to->offset];
        store(bucket, load(bucket) + count);
    }
}

/* Makes a block active in which there is a bucket for the value. */
static void make_room(const struct sonde__arena *arena, struct sonde__histogram *histogram, double value) {
    uint64_t active = load(&histogram->active);
    struct sonde__histogram_block *from = block_at(arena->base, (uint32_t)active);
    uint32_t to_unit = histogram->spare, spare_unit = (uint32_t)active, capacity = from->capacity;
    int64_t index = sonde__histogram_index(value, from->scale), low = index, high = index;
    if (used_range(from, &low, &high)) {
        low = index < low ? index : low;
        high = index > high ? index : high;
    } else {
        low = high = index;
    }
    int32_t by = shift_for(low, high, capacity);
    if (capacity == SONDE__BUCKETS_SMALL && from->scale - by < SONDE__SCALE_KEPT) {
        uint32_t size = block_size(SONDE__BUCKETS_LARGE), place = sonde__arena_take(arena, 2 * size);
        if (place) { /* else: coarser, but all is counted */
            capacity = SONDE__BUCKETS_LARGE;
            to_unit = place - 1;
            spare_unit = to_unit + size / SONDE__ARENA_UNIT;
            by = shift_for(low, high, capacity);
        }
    }
    struct sonde__histogram_block *to = block_at(arena->base, to_unit);
    to->capacity = capacity;
    fill(to, from, low, high, by);
    /* Release: whoever sees the block sees what is in it. */
    atomic_store_explicit(&histogram->active, ((active >> 32) + 1) << 32 | to_unit, memory_order_release);
    histogram->spare = spare_unit;
}

void sonde__histogram_record_slow(const struct sonde__arena *arena, struct sonde__histogram *histogram, double value) {
    if (value == 0) { /* minus zero too */
        add_to(histogram, &histogram->zero_count, 0.0);
        return;
    }
    for (;;) {
        struct sonde__histogram_block *block = block_at(arena->base, (uint32_t)load(&histogram->active));
        uint32_t bucket = (uint32_t)sonde__histogram_index(value, block->scale) - (uint32_t)block->offset;
        if (bucket < block->capacity) {
            add_to(histogram, &block->buckets[bucket], value);
            return;
        }
        make_room(arena, histogram, value);
    }
}

uint32_t sonde__bounds_index(const double *bounds, uint32_t count, double value) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void sonde__histogram_record_bounds(uint8_t *base, struct sonde__histogram *histogram, const double *bounds,
                                    double value) {
    uint32_t bucket = sonde__bounds_index(bounds, histogram->bound_count, value);
    add_to(histogram, &block_at(base, (uint32_t)load(&histogram->active))->buckets[bucket], value);
}
