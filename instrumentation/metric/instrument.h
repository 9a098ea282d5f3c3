/* SPDX-License-Identifier: Apache-2.0 */
/* What an instrument is: checked, copied, compared, encoded. No shared state. */
#ifndef SONDE_METRIC_INSTRUMENT_H
#define SONDE_METRIC_INSTRUMENT_H

#include "instrumentation/ring/cells.h"
#include <sonde/metric.h>
#include <sonde/view.h>
#include <stdbool.h>

#define SONDE__INSTRUMENT_NAME_MAX        255u
#define SONDE__INSTRUMENT_UNIT_MAX        63u
#define SONDE__INSTRUMENT_DESCRIPTION_MAX 1023u
#define SONDE__INSTRUMENT_TEXT_MAX                                                                                     \
    (SONDE__INSTRUMENT_NAME_MAX + SONDE__INSTRUMENT_UNIT_MAX + SONDE__INSTRUMENT_DESCRIPTION_MAX)

struct sonde__instrument {
    char *name, *unit, *description; /* owned */
    double *bounds;                  /* owned */
    uint32_t bound_count;
    uint32_t scope;
    enum sonde_instrument_kind kind;
    enum sonde_number number;
    const struct sonde_view_options *view; /* static; NULL = none */
    uint64_t created_unix_ns;
    uint32_t series_max;      /* without the overflow series */
    uint32_t series_count;    /* without the overflow series */
    uint16_t overflow_series; /* 0 = none yet */
    uint16_t full_series;     /* the overflow series, once no other can be added; read without the lock */
};

/** Are they? NULL is not. */
bool sonde__instrument_options_are_valid(const struct sonde_instrument_options *options);

/** Checks options and copies them, as the view (static, NULL = none) changes them. A histogram's number becomes double;
 * one without advised boundaries gets the specification's when OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION
 * asks for explicit buckets. Returns 0, SONDE_EINVALID, -ENOMEM. */
int sonde__instrument_init(struct sonde__instrument *instrument, const struct sonde_instrument_options *options,
                           const struct sonde_view_options *view);
void sonde__instrument_deinit(struct sonde__instrument *instrument);

/** The reservoir of each of its series. lanes 0 = none. */
struct sonde__reservoir_plan {
    uint16_t lanes, per_lane;
    bool has_attributes; /* something may be left out of a measurement that an exemplar is to keep */
};
struct sonde__reservoir_plan sonde__instrument_reservoir(const struct sonde__instrument *instrument);

/** What names, units, descriptions and boundaries must be. */
bool sonde__instrument_name_is_valid(const char *name);
bool sonde__instrument_unit_is_valid(const char *unit);
bool sonde__instrument_description_is_valid(const char *description);
bool sonde__instrument_bounds_are_valid(const double *bounds, size_t count);

/** What an observable instrument is besides that; others: themselves. */
enum sonde_instrument_kind sonde__instrument_base_kind(enum sonde_instrument_kind kind);

/** Same scope and name, case ignored (metrics/api.md#instrument-name-syntax). */
int sonde__instrument_same_name(const struct sonde__instrument *a, const struct sonde__instrument *b);
/** Same kind, number and unit. */
int sonde__instrument_same_type(const struct sonde__instrument *a, const struct sonde__instrument *b);

/** Body of its descriptor: sizeof(struct sonde__instrument_descriptor) + SONDE__INSTRUMENT_TEXT_MAX bytes are enough.
 */
size_t sonde__instrument_encode(const struct sonde__instrument *instrument, uint8_t *body);

#endif
