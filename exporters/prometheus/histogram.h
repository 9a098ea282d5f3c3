/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential histograms as Prometheus has them.
 *
 * Classic: buckets at powers of two. All series of a family get the same boundaries, from the lowest to the highest
 * power that any of them has values in, so that they can be added up by le.
 *
 * Native: schemas are scales -4 to 8; finer ones are made coarser by joining buckets, which is exact. Bucket i of
 * OpenTelemetry is (base^(offset+i), base^(offset+i+1)], that of Prometheus (base^(i-1), base^i].
 * Source: prometheus.io/docs/specs/native_histograms; compatibility/prometheus_and_openmetrics.md. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_HISTOGRAM_H
#define SONDE_EXPORTERS_PROMETHEUS_HISTOGRAM_H

#include "exporters/prometheus/buffer.h"
#include "instrumentation/metric/read.h"

/* Boundaries are 2^low, ..., 2^high; none when low > high. */
struct powers {
    int low, high;
};
#define POWERS_NONE ((struct powers){1, 0})

/** Widens the powers by those a histogram uses. */
void powers_widen(struct powers *powers, const struct sonde__metric_histogram *histogram);
/* How far powers_count() has got; begins as zeros. */
struct powers_place {
    uint32_t bucket;
    uint64_t count;
};
/** Values <= 2^power, zeros included; exact at scales >= 0, never too many below. Powers must ascend. */
uint64_t powers_count(const struct sonde__metric_histogram *histogram, int power, struct powers_place *place);

#define NATIVE_SCHEMA_MIN     (-4)
#define NATIVE_SCHEMA_MAX     8
/* That of OpenTelemetry's data model for what was put into the zero bucket. */
#define NATIVE_ZERO_THRESHOLD 1e-128

/* Runs of buckets that are near each other: few empty ones between are cheaper than a span. */
struct native_span {
    int32_t offset; /* of the first: its index; of others: empty buckets since the last */
    uint32_t length;
};
struct native_histogram {
    int32_t schema;
    uint32_t span_count, count;
    struct native_span spans[SONDE__BUCKETS_MAX];
    int64_t deltas[SONDE__BUCKETS_MAX]; /* of counts, from one bucket to the next */
};
/** Returns false when its scale is below what native histograms can have. */
bool native_histogram_make(const struct sonde__metric_histogram *histogram, struct native_histogram *ret_native);

/** Appends it in short, for histogram_unpack(). */
void histogram_pack(const struct sonde__metric_histogram *histogram, struct buffer *to);
/** Returns what is behind it. */
const uint8_t *histogram_unpack(const uint8_t *from, struct sonde__metric_histogram *ret_histogram);
/** Adds one with the same boundaries (explicit), or any exponential one. */
void histogram_add(struct sonde__metric_histogram *to, const struct sonde__metric_histogram *from, bool is_explicit);

#endif
