/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics. An instrument has series, one per set of attributes. A bound series is the fast way: adding to
 * it is one store into a cell of this thread's. Attributes given per call find the series by hash.
 * The agent sums the cells when someone asks; nothing is sent from here, and a crash loses no count.
 * Source: OpenTelemetry specification, metrics/api.md and metrics/sdk.md. */
#ifndef SONDE_METRIC_H
#define SONDE_METRIC_H

#include <sonde/attribute.h>

SONDE_BEGIN

enum sonde_instrument_kind {
    SONDE_COUNTER = 1,       /* monotonic, value >= 0 */
    SONDE_UP_DOWN_COUNTER,   /* may fall */
    SONDE_GAUGE,             /* last value */
    SONDE_HISTOGRAM,         /* base-2 exponential */
};

enum sonde_number { SONDE_NUMBER_INT64 = 0, SONDE_NUMBER_DOUBLE = 1 };

/** What an instrument is; all strings NUL-terminated and borrowed.
 *  name  1..255 of [A-Za-z0-9_./-], first a letter (metrics/api.md#instrument-name-syntax).
 *  unit  UCUM, at most 63 ASCII characters; NULL = none.    description  UTF-8, at most 1023 bytes; NULL = none.
 *  number  what is added or recorded; a histogram is always SONDE_NUMBER_DOUBLE.
 *  bounds  advised bucket boundaries of a histogram, ascending; kept natively, may be NULL. */
struct sonde_instrument_options {
    size_t size;
    enum sonde_instrument_kind kind;
    enum sonde_number number;
    const char *name;
    const char *unit;
    const char *description;
    uint32_t scope;
    const double *bounds;
    size_t bound_count;
};

/** Handles, by value. index 0 = a working no-op. */
struct sonde_instrument { uint32_t index; };
struct sonde_series { uint32_t index; };

/** Makes an instrument, or finds the one of the same name and scope (same kind, number and unit; a conflict keeps
 *  the first, is counted in sonde_stats and told to the report hook).
 *  ret_instrument  always written; a no-op on failure.
 *  Returns 0, SONDE_EINVALID (a name, unit or kind that is not accepted), SONDE_EFULL, SONDE_EDISABLED, or -ENOMEM-like
 *  system errors. Takes a lock: once, not per measurement.
 *  Views (sonde/view.h) may change or drop it; dropped, it is a no-op and 0 is returned. */
SONDE_API int sonde_instrument_create(const struct sonde_instrument_options *options,
                                      struct sonde_instrument *ret_instrument);

/** Finds or makes the series of a set of attributes (order does not matter; last of a repeated key wins).
 *  Past SONDE_SERIES_PER_INSTRUMENT_MAX it is the series otel.metric.overflow=true. Takes a lock when it makes one.
 *  Returns a handle; a no-op when the instrument is. */
SONDE_API struct sonde_series sonde_series_bind(struct sonde_instrument instrument,
                                                const struct sonde_attribute *attributes, size_t attribute_count);

/* Bound: hot path, any thread, no lock. A wrong kind, a negative or non-finite value where it is not allowed is
 * dropped and counted. */
SONDE_API_HOT void sonde_counter_add(struct sonde_series series, uint64_t value);
SONDE_API_HOT void sonde_counter_add_double(struct sonde_series series, double value);
SONDE_API_HOT void sonde_up_down_counter_add(struct sonde_series series, int64_t value);
SONDE_API_HOT void sonde_up_down_counter_add_double(struct sonde_series series, double value);
SONDE_API_HOT void sonde_gauge_set(struct sonde_series series, int64_t value);
SONDE_API_HOT void sonde_gauge_set_double(struct sonde_series series, double value);
SONDE_API_HOT void sonde_histogram_record(struct sonde_series series, double value);

/* Attributes per call; a lock only when the set is seen for the first time. Cheapest with literal keys, always in the
 * same order. */
SONDE_API_HOT void sonde_instrument_add(struct sonde_instrument instrument, int64_t value,
                                        const struct sonde_attribute *attributes, size_t attribute_count);
SONDE_API_HOT void sonde_instrument_record(struct sonde_instrument instrument, double value,
                                           const struct sonde_attribute *attributes, size_t attribute_count);

SONDE_END

#endif
