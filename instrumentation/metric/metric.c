/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements. Which cell a measurement goes to:
 *
 *   bound counter          this thread's region cell (one plain load and store; only this thread writes it)
 *   bound histogram        this thread's histogram, in the region's arena, made at its first value
 *   gauge, attributes per call, thread without a region, region arena full
 *                          the process-wide cell (atomic add), the process-wide histogram (a bounded spin bit)
 *
 * A set given per call is made canonical on the stack and looked up; see table.c. */
#include "instrumentation/metric/attributes.h"
#include "instrumentation/metric/histogram_fast.h"
#include "instrumentation/metric/table.h"
#include "instrumentation/ring/thread.h"
#include <math.h>
#include <sched.h>
#include <sonde/err.h>

/* As for spans: past this a measurement is dropped and counted rather than waited for. */
#define SPIN_MAX 1000

static void dropped(void) {
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

/* The series' number of a handle of this kind; large when it is of another. */
static inline uint32_t number_of(struct sonde_series series, enum sonde__cell_kind kind) {
    return series.index - sonde__handle_make(kind, 0);
}

/* Is the handle of one of the kinds the measurement is for? What does not fit is dropped and counted, but for no-ops.
 */
static bool kind_is(struct sonde_series series, enum sonde__cell_kind a, enum sonde__cell_kind b) {
    if (number_of(series, a) < SONDE_SERIES_MAX || number_of(series, b) < SONDE_SERIES_MAX)
        return true;
    if (series.index)
        dropped();
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
    while (!atomic_compare_exchange_weak_explicit(&cell->value, &bits, bits_of(double_of(bits) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static inline void region_add_int64(struct sonde__thread *thread, uint32_t series, uint64_t value) {
    _Atomic uint64_t *cell = &thread->cells[series];
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + value, memory_order_relaxed);
}
static inline void region_add_double(struct sonde__thread *thread, uint32_t series, double value) {
    _Atomic uint64_t *cell = &thread->cells[series];
    double sum = double_of(atomic_load_explicit(cell, memory_order_relaxed)) + value;
    atomic_store_explicit(cell, bits_of(sum), memory_order_relaxed);
}

/* One instruction where there is one, so that a signal handler that adds on this thread too comes before or after but
 * never into the middle. */
static inline void region_add_whole(struct sonde__thread *thread, uint32_t series, uint64_t value) {
#if defined(__x86_64__)
    __asm__ volatile("addq %1, (%0)" : : "r"(&thread->cells[series]), "r"(value) : "cc", "memory");
#else
    region_add_int64(thread, series, value);
#endif
}

/* No region, wrong kind, bad value. */
static __attribute__((noinline)) void add_int64_slow(struct sonde__thread *thread, struct sonde_series series,
                                                     int64_t value, enum sonde__cell_kind kind) {
    if (!kind_is(series, kind, kind))
        return;
    if (value < 0 && kind == SONDE__CELL_COUNTER_INT64)
        dropped();
    else if (thread->cells)
        region_add_whole(thread, number_of(series, kind), (uint64_t)value);
    else
        shared_add_int64(number_of(series, kind), value);
}
static __attribute__((noinline)) void add_double_slow(struct sonde__thread *thread, struct sonde_series series,
                                                      double value, enum sonde__cell_kind kind) {
    if (!kind_is(series, kind, kind))
        return;
    if (!isfinite(value) || (value < 0 && kind == SONDE__CELL_COUNTER_DOUBLE))
        dropped();
    else if (thread->cells)
        region_add_double(thread, number_of(series, kind), value);
    else
        shared_add_double(number_of(series, kind), value);
}

static __attribute__((noinline)) void add_int64(struct sonde_series series, int64_t value, enum sonde__cell_kind kind) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return;
    add_int64_slow(thread, series, value, kind);
    sonde__thread_leave(thread);
}

/* What sonde__thread_enter() checks, without entering: where adding is one instruction it needs no mark that keeps
 * signal handlers out, and may be done by one. */
static inline bool may_add(const struct sonde__thread *thread) {
#if defined(__x86_64__)
    return SONDE__LIKELY(thread && __atomic_load_n(&thread->ready, __ATOMIC_RELAXED) && thread->cells);
#else
    (void)thread;
    return false;
#endif
}

void sonde_counter_add(struct sonde_series series, uint64_t value) {
    struct sonde__thread *thread = sonde__thread_self;
    /* Past INT64_MAX it could not be told in OTLP: counts as negative. */
    uint32_t number = number_of(series, SONDE__CELL_COUNTER_INT64);
    if (may_add(thread) && SONDE__LIKELY(number < SONDE_SERIES_MAX && (int64_t)value >= 0))
        region_add_whole(thread, number, value);
    else
        add_int64(series, (int64_t)value, SONDE__CELL_COUNTER_INT64);
}

void sonde_counter_add_double(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    uint32_t number = number_of(series, SONDE__CELL_COUNTER_DOUBLE);
    if (SONDE__LIKELY(number < SONDE_SERIES_MAX && thread->cells && value >= 0 && value < (double)INFINITY))
        region_add_double(thread, number, value);
    else
        add_double_slow(thread, series, value, SONDE__CELL_COUNTER_DOUBLE);
    sonde__thread_leave(thread);
}

void sonde_up_down_counter_add(struct sonde_series series, int64_t value) {
    struct sonde__thread *thread = sonde__thread_self;
    uint32_t number = number_of(series, SONDE__CELL_UP_DOWN_INT64);
    if (may_add(thread) && SONDE__LIKELY(number < SONDE_SERIES_MAX))
        region_add_whole(thread, number, (uint64_t)value);
    else
        add_int64(series, value, SONDE__CELL_UP_DOWN_INT64);
}

void sonde_up_down_counter_add_double(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    add_double_slow(thread, series, value, SONDE__CELL_UP_DOWN_DOUBLE);
    sonde__thread_leave(thread);
}

/* ---- gauges ---- */

static void shared_set(uint32_t series, uint64_t bits) {
    struct sonde__shared_cell *cell = shared_cell(series);
    if (!cell)
        return;
    atomic_store_explicit(&cell->value, bits, memory_order_relaxed);
    /* Release: a reader that sees `set` sees a value. */
    if (!atomic_load_explicit(&cell->set, memory_order_relaxed))
        atomic_store_explicit(&cell->set, 1, memory_order_release);
}

void sonde_gauge_set(struct sonde_series series, int64_t value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    if (kind_is(series, SONDE__CELL_GAUGE_INT64, SONDE__CELL_GAUGE_INT64))
        shared_set(number_of(series, SONDE__CELL_GAUGE_INT64), (uint64_t)value);
    sonde__thread_leave(thread);
}

static void set_double(uint32_t series, double value) {
    if (isfinite(value))
        shared_set(series, bits_of(value));
    else
        dropped();
}

void sonde_gauge_set_double(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    if (kind_is(series, SONDE__CELL_GAUGE_DOUBLE, SONDE__CELL_GAUGE_DOUBLE))
        set_double(number_of(series, SONDE__CELL_GAUGE_DOUBLE), value);
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

static void record_shared(struct sonde__thread *thread, uint32_t series, double value) {
    struct sonde__process *process = sonde__process_get();
    if (!process)
        return;
    struct sonde__arena arena = {(uint8_t *)process + SONDE__SHARED_HISTOGRAMS_AT, &process->histograms_head,
                                 SONDE__SHARED_HISTOGRAMS_SIZE};
    uint32_t place = shared_place(&arena, series, value);
    if (!place) {
        dropped();
        return;
    }
    struct sonde__histogram *histogram =
        (struct sonde__histogram *)(void *)(arena.base + (size_t)(place - 1) * SONDE__ARENA_UNIT);
    if (!spin_take(&histogram->spin)) {
        sonde__drop(thread, SONDE_SIGNAL_METRICS, SONDE_DROP_BUSY);
        return;
    }
    record_into(&arena, place, value);
    atomic_store_explicit(&histogram->spin, 0, memory_order_release);
}

/* First value of this region, zeros, rescales, explicit buckets, no region. */
static __attribute__((noinline)) void record_slow(struct sonde__thread *thread, struct sonde_series handle,
                                                  double value) {
    uint32_t series = handle.index & (SONDE_SERIES_MAX - 1);
    if (!kind_is(handle, SONDE__CELL_EXPONENTIAL, SONDE__CELL_BOUNDS))
        return;
    if (!isfinite(value) || value < 0) {
        dropped();
        return;
    }
    if (!thread->cells || !thread->histograms || !thread->region) {
        record_shared(thread, series, value);
        return;
    }
    struct sonde__arena arena = {thread->histograms, &thread->region->histograms_head, SONDE__REGION_HISTOGRAMS_SIZE};
    uint64_t place = atomic_load_explicit(&thread->cells[series], memory_order_relaxed);
    if (!place) {
        uint32_t count;
        (void)sonde__series_bounds(series, &count);
        place = sonde__histogram_create(&arena, series, count, value);
        if (!place) {
            record_shared(thread, series, value);
            return;
        }
        atomic_store_explicit(&thread->cells[series], place, memory_order_release);
    }
    record_into(&arena, (uint32_t)place, value);
}

void sonde_histogram_record(struct sonde_series series, double value) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return;
    uint32_t number = number_of(series, SONDE__CELL_EXPONENTIAL);
    uint64_t place = 0;
    if (SONDE__LIKELY(number < SONDE_SERIES_MAX && thread->cells && thread->histograms))
        place = atomic_load_explicit(&thread->cells[number], memory_order_relaxed);
    if (SONDE__UNLIKELY(!place) ||
        !histogram_record_fast(
            thread->histograms,
            (struct sonde__histogram *)(void *)(thread->histograms + (place - 1) * SONDE__ARENA_UNIT), value))
        record_slow(thread, series, value);
    sonde__thread_leave(thread);
}

/* ---- binding, and attributes per call ---- */

/* The series of a set, counting what was left out; sets that are too large go to the overflow series, so that sums stay
 * true. */
static uint32_t series_of(uint32_t instrument, const struct sonde_attribute *attributes, size_t count) {
    uint8_t bytes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    size_t size = 0, left_out = 0;
    if (sonde__attributes_encode(attributes, count, bytes, &size, &left_out)) {
        size = SIZE_MAX;
        left_out = count;
    }
    struct sonde__process *process = sonde__process_get();
    if (SONDE__UNLIKELY(left_out && process))
        atomic_fetch_add_explicit(&process->attributes_dropped, left_out, memory_order_relaxed);
    return sonde__series_find(instrument, bytes, size);
}

struct sonde_series sonde_series_bind(struct sonde_instrument instrument, const struct sonde_attribute *attributes,
                                      size_t attribute_count) {
    struct sonde_series series = {0};
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return series;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    uint32_t number = kind ? series_of(instrument.index, attributes, attribute_count) : 0;
    if (number)
        series.index = sonde__handle_make(kind, number);
    sonde__thread_leave(thread);
    return series;
}

static void add_by_kind(enum sonde__cell_kind kind, uint32_t series, int64_t value) {
    if (kind == SONDE__CELL_COUNTER_INT64 || kind == SONDE__CELL_UP_DOWN_INT64)
        shared_add_int64(series, value);
    else
        shared_add_double(series, (double)value);
}

/* Adds to a counter or up-down counter of either number. */
void sonde_instrument_add(struct sonde_instrument instrument, int64_t value, const struct sonde_attribute *attributes,
                          size_t attribute_count) {
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    uint32_t series = 0;
    bool accepted = kind >= SONDE__CELL_COUNTER_INT64 && kind <= SONDE__CELL_UP_DOWN_DOUBLE &&
                    (value >= 0 || kind >= SONDE__CELL_UP_DOWN_INT64);
    if (accepted)
        series = series_of(instrument.index, attributes, attribute_count);
    if (series)
        add_by_kind(kind, series, value);
    else
        dropped();
    sonde__thread_leave(thread);
}

static bool record_is_valid(enum sonde__cell_kind kind, double value) {
    if (!isfinite(value))
        return false;
    switch (kind) {
    case SONDE__CELL_COUNTER_DOUBLE:
    case SONDE__CELL_EXPONENTIAL:
    case SONDE__CELL_BOUNDS:
        return value >= 0;
    case SONDE__CELL_UP_DOWN_DOUBLE:
    case SONDE__CELL_GAUGE_DOUBLE:
        return true;
    case SONDE__CELL_GAUGE_INT64: /* -2^63 .. below 2^63 */
        return value >= -0x1p63 && value < 0x1p63;
    default:
        return false;
    }
}

static void record_by_kind(struct sonde__thread *thread, enum sonde__cell_kind kind, uint32_t series, double value) {
    switch (kind) {
    case SONDE__CELL_COUNTER_DOUBLE:
    case SONDE__CELL_UP_DOWN_DOUBLE:
        shared_add_double(series, value);
        break;
    case SONDE__CELL_GAUGE_INT64:
        shared_set(series, (uint64_t)llrint(value));
        break;
    case SONDE__CELL_GAUGE_DOUBLE:
        shared_set(series, bits_of(value));
        break;
    default:
        record_shared(thread, series, value);
    }
}

/* Records into a histogram, sets a gauge (rounded when it is of int64), or adds to a counter of doubles. */
void sonde_instrument_record(struct sonde_instrument instrument, double value, const struct sonde_attribute *attributes,
                             size_t attribute_count) {
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    uint32_t series = record_is_valid(kind, value) ? series_of(instrument.index, attributes, attribute_count) : 0;
    if (series)
        record_by_kind(thread, kind, series, value);
    else
        dropped();
    sonde__thread_leave(thread);
}
