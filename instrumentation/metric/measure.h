/* SPDX-License-Identifier: Apache-2.0 */
/* What bound measurements (metric.c) and those with attributes per call (by_call.c) share: the ways into cells. All but
 * sonde__add_int64() and counter_add() are called inside enter/leave. */
#ifndef SONDE_METRIC_MEASURE_H
#define SONDE_METRIC_MEASURE_H

#include "instrumentation/metric/exemplar.h"
#include "instrumentation/metric/table.h"
#include "instrumentation/ring/thread.h"
#include <stdbool.h>

/** Counts a measurement that was not accepted. */
void sonde__measurement_dropped(void);

/** Adds to a series of that kind, or counts a drop: another kind, a value that is not allowed. Any kind of thread.
 *  Those inside return whether it was added, and leave exemplars to the caller. */
/* noinline: what it needs must not burden the way of those that do not call it. */
void sonde__add_int64(struct sonde_series series, int64_t value, enum sonde__cell_kind kind) __attribute__((noinline));
void sonde__add_int64_by_call(struct sonde_series series, int64_t value, const struct sonde_attribute *attributes,
                              size_t count) __attribute__((noinline)); /* to a counter */
bool sonde__add_int64_inside(struct sonde__thread *thread, struct sonde_series series, int64_t value,
                             enum sonde__cell_kind kind);
bool sonde__add_double_inside(struct sonde__thread *thread, struct sonde_series series, double value,
                              enum sonde__cell_kind kind);

/** Sets a gauge's cell, or an observed series'. */
void sonde__shared_set(uint32_t series, uint64_t bits);
/** An observed series that is no longer reported: it is not there until it is set again. */
void sonde__shared_unset(uint32_t series);

/** The series of an instrument and a set of attributes, made at need; a no-op when there is no room at all. */
struct sonde_series sonde__attributes_series(uint32_t instrument, enum sonde__cell_kind kind,
                                             const struct sonde_attribute *attributes, size_t count);

/** Records into the process-wide histogram of a series; value finite, >= 0. Returns whether it did. */
bool sonde__record_shared(struct sonde__thread *thread, uint32_t series, double value);

/* The series' number of a handle of this kind; large when it is of another. */
static inline uint32_t number_of(struct sonde_series series, enum sonde__cell_kind kind) {
    return series.index - sonde__handle_make(kind, 0);
}

/* One instruction where there is one, so that a signal handler that adds on this thread too comes before or after but
 * never into the middle. */
static inline void region_add_whole(struct sonde__thread *thread, uint32_t series, uint64_t value) {
#if defined(__x86_64__)
    __asm__ volatile("addq %1, %0" : "+m"(thread->cells[series]) : "r"(value) : "cc");
#else
    _Atomic uint64_t *cell = &thread->cells[series];
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + value, memory_order_relaxed);
#endif
}

/* What sonde__thread_enter() checks, without entering: where adding is one instruction it needs no mark that keeps
 * signal handlers out, and may be done by one. */
static inline bool may_add(const struct sonde__thread *thread) {
#if defined(__x86_64__)
    return SONDE__LIKELY(thread && __atomic_load_n(&thread->ready, __ATOMIC_RELAXED) & SONDE__THREAD_HAS_CELLS);
#else
    (void)thread;
    return false;
#endif
}
/* The same where no exemplar can come of it. */
static inline bool may_add_plain(const struct sonde__thread *thread) {
#if defined(__x86_64__)
    return SONDE__LIKELY(thread && sonde__thread_is_plain(thread));
#else
    (void)thread;
    return false;
#endif
}

/* False: nothing was done, there is more to it than an addition. */
static inline bool counter_add_plain(struct sonde_series series, uint64_t value) {
    struct sonde__thread *thread = sonde__thread_self;
    uint32_t number = number_of(series, SONDE__CELL_COUNTER_INT64);
    /* Past INT64_MAX it could not be told in OTLP: counts as negative. */
    if (!may_add_plain(thread) || SONDE__UNLIKELY(number >= SONDE_SERIES_MAX || (int64_t)value < 0))
        return false;
    region_add_whole(thread, number, value);
    return true;
}

#endif
