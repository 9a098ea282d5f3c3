/* SPDX-License-Identifier: Apache-2.0 */
/* The process's instruments and series: private memory, found by hash without a lock, added to under one.
 * A forked child, and a process that had to start over with fresh memory, keep these tables: the descriptor log is
 * carried over (ring/process.h), so numbers mean the same there, while all cells begin at zero. Handles stay good. */
#ifndef SONDE_METRIC_TABLE_H
#define SONDE_METRIC_TABLE_H

#include "instrumentation/metric/instrument.h"
#include "instrumentation/ring/cells.h"
#include <sonde/view.h>
#include <stdbool.h>

/* What a cell holds; 0 = no such series. */
enum sonde__cell_kind {
    SONDE__CELL_NONE = 0,
    SONDE__CELL_COUNTER_INT64,
    SONDE__CELL_COUNTER_DOUBLE,
    SONDE__CELL_UP_DOWN_INT64,
    SONDE__CELL_UP_DOWN_DOUBLE,
    SONDE__CELL_GAUGE_INT64,
    SONDE__CELL_GAUGE_DOUBLE,
    SONDE__CELL_EXPONENTIAL,
    SONDE__CELL_BOUNDS,
    SONDE__CELL_OBSERVED_INT64, /* set by callbacks only */
    SONDE__CELL_OBSERVED_DOUBLE,
};

/* A bound handle carries its kind, so that a measurement checks it without a look at any table:
 * index = kind << SONDE__SERIES_BITS | number of the series. */
#define SONDE__SERIES_BITS 13
_Static_assert(SONDE_SERIES_MAX == 1u << SONDE__SERIES_BITS, "numbers fit");
static inline uint32_t sonde__handle_make(enum sonde__cell_kind kind, uint32_t number) {
    return (uint32_t)kind << SONDE__SERIES_BITS | number;
}

/** The series of an instrument and a canonical attribute set; size SIZE_MAX = the overflow series.
 *  Returns its number; 0 when there is no room at all. Inside enter/leave: a signal handler must not come here. */
uint32_t sonde__series_find(uint32_t instrument, const uint8_t *attributes, size_t size);

/** Is it its instrument's overflow series? */
bool sonde__series_is_overflow(uint32_t series);

/** The view of an instrument, NULL = none. Static. */
const struct sonde_view_options *sonde__instrument_view(uint32_t instrument);

/** The same of a series' instrument. */
const struct sonde_view_options *sonde__series_view(uint32_t series);

/** The reservoir a series is to have. */
struct sonde__reservoir_plan sonde__series_reservoir(uint32_t series);

/** Kind of an instrument's cells; SONDE__CELL_NONE for a no-op or unknown one. */
enum sonde__cell_kind sonde__instrument_cell_kind(uint32_t instrument);

/** Kind of an instrument that has cells. */
enum sonde_instrument_kind sonde__instrument_kind(uint32_t instrument);

/** A round of callbacks ended then: an observed series that appears later began there, or with its instrument
 *  (metrics/sdk.md#start-timestamps). */
void sonde__series_observed(uint64_t unix_ns);

/** Advised boundaries of a series (static for the process); ret_count 0 = exponential. */
const double *sonde__series_bounds(uint32_t series, uint32_t *ret_count);

#endif
