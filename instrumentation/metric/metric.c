/* SPDX-License-Identifier: Apache-2.0 */
/* Bound measurements, and the ways into cells. Which cell a measurement goes to:
 *
 *   counter                this thread's region cell (one plain load and store; only this thread writes it)
 *   bound histogram        this thread's histogram, in the region's arena, made at its first value
 *   gauge, histogram by attributes per call, thread without a region, region arena full
 *                          the process-wide cell (atomic add), the process-wide histogram (a bounded spin bit)
 *
 * Attributes per call: by_call.c. */
#include "instrumentation/metric/histogram_fast.h"
#include "instrumentation/metric/measure.h"
#include <math.h>
#include <sched.h>
#include <sonde/err.h>

/* As for spans: past this a measurement is dropped and counted rather than waited for. */
#define SPIN_MAX 1000

void sonde__measurement_dropped(void) {
    struct sonde__process *process = sonde__process_get();
    if (process)
        atomic_fetch_add_explicit(&process->measurements_dropped, 1, memory_order_relaxed);
}

static struct sonde__shared_cell *shared_cell(uint32_t series) {
    struct sonde__process *process = sonde__process_get();
    if (!process)
        return NULL;
    return (struct sonde__shared_cell *)(void *)((uint8_t *)process + SONDE__SHARED_CELLS_AT) + series;
}

/* Is the handle of one of the kinds the measurement is for? What does not fit is dropped and counted, but for no-ops.
 */
static bool kind_is(struct sonde_series series, enum sonde__cell_kind a, enum sonde__cell_kind b) {
    if (number_of(series, a) < SONDE_SERIES_MAX || number_of(series, b) < SONDE_SERIES_MAX)
        return true;
    if (series.index)
        sonde__measurement_dropped();
    return false;
}

/* ---- sums ---- */

static void shared_add_int64(uint32_t series, int64_t value) {
    struct sonde__shared_cell *cell = shared_cell(series);
    if (cell)
        atomic_fetch_add_explicit(&cell->value, (uint64_t)value, memory_order_relaxed);
}

static void shared_add_double(uint32_t series, double value) {
    struct sonde__shared_cell *cell = shared_cell(series);
    if (!cell)
        return;
    uint64_t bits = atomic_load_explicit(&cell->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&cell->value, &bits, sonde__bits_of(sonde__double_of(bits) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static inline void region_add_double(struct sonde__thread *thread, uint32_t series, double value) {
    _Atomic uint64_t *cell = &thread->cells[series];
    double sum = sonde__double_of(atomic_load_explicit(cell, memory_order_relaxed)) + value;
    atomic_store_explicit(cell, sonde__bits_of(sum), memory_order_relaxed);
}

/* No region, wrong kind, bad value. */
bool sonde__add_int64_inside(struct sonde__thread *thread, struct sonde_series series, int64_t value,
                             enum sonde__cell_kind kind) {
    if (!kind_is(series, kind, kind))
        return false;
    if (value < 0 && kind == SONDE__CELL_COUNTER_INT64) {
        sonde__measurement_dropped();
        return false;
    }
    if (thread->cells)
        region_add_whole(thread, number_of(series, kind), (uint64_t)value);
    else
        shared_add_int64(number_of(series, kind), value);
    return true;
}
__attribute__((noinline)) bool sonde__add_double_inside(struct sonde__thread *thread, struct sonde_series series,
                                                        double value, enum sonde__cell_kind kind) {
    if (!kind_is(series, kind, kind))
        return false;
    if (!isfinite(value) || (value < 0 && kind == SONDE__CELL_COUNTER_DOUBLE)) {
        sonde__measurement_dropped();
        return false;
    }
    if (thread->cells)
        region_add_double(thread, number_of(series, kind), value);
    else
        shared_add_double(number_of(series, kind), value);
    return true;
}

/* Inside; number of a series that exists. */
static inline void offer(struct sonde__thread *thread, uint32_t series, uint64_t bits) {
    if (SONDE__UNLIKELY(!sonde__thread_is_plain(thread) && sonde__exemplar_wanted_now(thread)))
        sonde__exemplar_offer_bound(thread, series, bits);
}

void sonde__add_int64(struct sonde_series series, int64_t value, enum sonde__cell_kind kind) {
    struct sonde__thread *thread = sonde__thread_self;
    uint32_t number = number_of(series, kind);
    bool whole = may_add(thread) && number < SONDE_SERIES_MAX && (value >= 0 || kind != SONDE__CELL_COUNTER_INT64);
    if (whole) { /* a signal handler's counts, its exemplar may not */
        region_add_whole(thread, number, (uint64_t)value);
        if (!sonde__exemplar_wanted_now(thread))
            return;
    }
    thread = sonde__thread_enter();
    if (!thread)
        return;
    if (whole || sonde__add_int64_inside(thread, series, value, kind))
        offer(thread, number, (uint64_t)value);
    sonde__thread_leave(thread);
}

/* Aligned: its whole way lies in one line of the instruction cache, which is worth a tenth of it. */
__attribute__((aligned(64))) void sonde_counter_add(struct sonde_series series, uint64_t value) {
    if (!counter_add_plain(series, value))
        sonde__add_int64(series, (int64_t)value, SONDE__CELL_COUNTER_INT64);
}

void sonde_counter_add_double(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    uint32_t number = number_of(series, SONDE__CELL_COUNTER_DOUBLE);
    bool added = true;
    if (SONDE__LIKELY(number < SONDE_SERIES_MAX && thread->cells && value >= 0 && value < (double)INFINITY))
        region_add_double(thread, number, value);
    else
        added = sonde__add_double_inside(thread, series, value, SONDE__CELL_COUNTER_DOUBLE);
    if (SONDE__LIKELY(added))
        offer(thread, number, sonde__bits_of(value));
    sonde__thread_leave(thread);
}

void sonde_up_down_counter_add(struct sonde_series series, int64_t value) {
    struct sonde__thread *thread = sonde__thread_self;
    uint32_t number = number_of(series, SONDE__CELL_UP_DOWN_INT64);
    if (may_add_plain(thread) && SONDE__LIKELY(number < SONDE_SERIES_MAX))
        region_add_whole(thread, number, (uint64_t)value);
    else
        sonde__add_int64(series, value, SONDE__CELL_UP_DOWN_INT64);
}

void sonde_up_down_counter_add_double(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    if (sonde__add_double_inside(thread, series, value, SONDE__CELL_UP_DOWN_DOUBLE))
        offer(thread, number_of(series, SONDE__CELL_UP_DOWN_DOUBLE), sonde__bits_of(value));
    sonde__thread_leave(thread);
}

/* ---- gauges ---- */

void sonde__shared_set(uint32_t series, uint64_t bits) {
    struct sonde__shared_cell *cell = shared_cell(series);
    if (!cell)
        return;
    atomic_store_explicit(&cell->value, bits, memory_order_relaxed);
    /* Release: a reader that sees `set` sees a value. */
    if (!atomic_load_explicit(&cell->set, memory_order_relaxed))
        atomic_store_explicit(&cell->set, 1, memory_order_release);
}

void sonde__shared_unset(uint32_t series) {
    struct sonde__shared_cell *cell = shared_cell(series);
    if (cell)
        atomic_store_explicit(&cell->set, 0, memory_order_release);
}

void sonde_gauge_set(struct sonde_series series, int64_t value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    if (kind_is(series, SONDE__CELL_GAUGE_INT64, SONDE__CELL_GAUGE_INT64)) {
        sonde__shared_set(number_of(series, SONDE__CELL_GAUGE_INT64), (uint64_t)value);
        offer(thread, number_of(series, SONDE__CELL_GAUGE_INT64), (uint64_t)value);
    }
    sonde__thread_leave(thread);
}

static void set_double(struct sonde__thread *thread, uint32_t series, double value) {
    if (!isfinite(value)) {
        sonde__measurement_dropped();
        return;
    }
    sonde__shared_set(series, sonde__bits_of(value));
    offer(thread, series, sonde__bits_of(value));
}

void sonde_gauge_set_double(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    if (kind_is(series, SONDE__CELL_GAUGE_DOUBLE, SONDE__CELL_GAUGE_DOUBLE))
        set_double(thread, number_of(series, SONDE__CELL_GAUGE_DOUBLE), value);
    sonde__thread_leave(thread);
}

/* ---- histograms ---- */

static void record_into(const struct sonde__arena *arena, uint32_t place, double value) {
    struct sonde__histogram *histogram =
        (struct sonde__histogram *)(void *)(arena->base + (size_t)(place - 1) * SONDE__ARENA_UNIT);
    uint32_t count = histogram->bound_count;
    if (count)
        sonde__histogram_record_bounds(arena->base, histogram, sonde__series_bounds(histogram->series, &count), value);
    else if (!histogram_record_fast(arena->base, histogram, value))
        sonde__histogram_record_slow(arena, histogram, value);
}

/* The place of the process-wide histogram, made by whoever comes first; 0 when the arena is full. */
static uint32_t shared_place(const struct sonde__arena *arena, uint32_t series, double value) {
    struct sonde__shared_cell *cell = shared_cell(series);
    uint64_t place = atomic_load_explicit(&cell->value, memory_order_acquire);
    if (place)
        return (uint32_t)place;
    uint32_t count;
    (void)sonde__series_bounds(series, &count);
    uint32_t made = sonde__histogram_create(arena, series, count, value);
    if (!made)
        return 0;
    /* Release: its header is whole. The loser's block stays unused: a race per series at most. */
    if (atomic_compare_exchange_strong_explicit(&cell->value, &place, made, memory_order_release, memory_order_acquire))
        return made;
    return (uint32_t)place;
}

static bool spin_take(_Atomic uint32_t *spin) {
    for (int i = 0; i < SPIN_MAX; i++) {
        if (!atomic_load_explicit(spin, memory_order_relaxed) &&
            !atomic_exchange_explicit(spin, 1, memory_order_acquire))
            return true;
        /* The holder may have lost its processor in the middle: let it have this one now and then. */
        if (i % 100 == 99)
            (void)sched_yield();
    }
    return false;
}

bool sonde__record_shared(struct sonde__thread *thread, uint32_t series, double value) {
    struct sonde__process *process = sonde__process_get();
    if (!process)
        return false;
    struct sonde__arena arena = {(uint8_t *)process + SONDE__SHARED_HISTOGRAMS_AT, &process->histograms_head,
                                 SONDE__SHARED_HISTOGRAMS_SIZE};
    uint32_t place = shared_place(&arena, series, value);
    if (!place) {
        sonde__measurement_dropped();
        return false;
    }
    struct sonde__histogram *histogram =
        (struct sonde__histogram *)(void *)(arena.base + (size_t)(place - 1) * SONDE__ARENA_UNIT);
    if (!spin_take(&histogram->spin)) {
        sonde__drop(thread, SONDE_SIGNAL_METRICS, SONDE_DROP_BUSY);
        return false;
    }
    record_into(&arena, place, value);
    atomic_store_explicit(&histogram->spin, 0, memory_order_release);
    return true;
}

/* First value of this region, zeros, rescales, explicit buckets, no region. */
static __attribute__((noinline)) bool record_slow(struct sonde__thread *thread, struct sonde_series handle,
                                                  double value) {
    uint32_t series = handle.index & (SONDE_SERIES_MAX - 1);
    if (!kind_is(handle, SONDE__CELL_EXPONENTIAL, SONDE__CELL_BOUNDS))
        return false;
    if (!isfinite(value) || value < 0) {
        sonde__measurement_dropped();
        return false;
    }
    if (!thread->cells || !thread->histograms || !thread->region)
        return sonde__record_shared(thread, series, value);
    struct sonde__arena arena = {thread->histograms, &thread->region->histograms_head, SONDE__REGION_HISTOGRAMS_SIZE};
    uint64_t place = atomic_load_explicit(&thread->cells[series], memory_order_relaxed);
    if (!place) {
        uint32_t count;
        (void)sonde__series_bounds(series, &count);
        place = sonde__histogram_create(&arena, series, count, value);
        if (!place)
            return sonde__record_shared(thread, series, value);
        atomic_store_explicit(&thread->cells[series], place, memory_order_release);
    }
    record_into(&arena, (uint32_t)place, value);
    return true;
}

void sonde_histogram_record(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    uint32_t number = number_of(series, SONDE__CELL_EXPONENTIAL);
    uint64_t place = 0;
    if (SONDE__LIKELY(number < SONDE_SERIES_MAX && thread->cells)) /* and then it has an arena too */
        place = atomic_load_explicit(&thread->cells[number], memory_order_relaxed);
    bool recorded =
        SONDE__LIKELY(place) &&
        histogram_record_fast(thread->histograms,
                              (struct sonde__histogram *)(void *)(thread->histograms + (place - 1) * SONDE__ARENA_UNIT),
                              value);
    if (SONDE__UNLIKELY(!recorded))
        recorded = record_slow(thread, series, value);
    if (SONDE__LIKELY(recorded))
        offer(thread, series.index & (SONDE_SERIES_MAX - 1), sonde__bits_of(value));
    sonde__thread_leave(thread);
}
