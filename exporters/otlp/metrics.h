/* SPDX-License-Identifier: Apache-2.0 */
/* Builds records of OTLP metrics: Metric messages as field 2 of ScopeMetrics, ready for the queue.
 *
 *   sonde_otlp_metrics_init(&builder, buffer, size);
 *   for each metric:  begin, then point, point, ...   (point is false when it does not fit: finish, send, begin again)
 *   sonde_otlp_metrics_finish(&builder)  -> bytes, and how many points they hold
 *
 * Sums and histograms are cumulative unless the metric says is_delta; counters are monotonic.
 * Source: opentelemetry-proto, metrics/v1/metrics.proto. */
#ifndef SONDE_EXPORTERS_OTLP_METRICS_H
#define SONDE_EXPORTERS_OTLP_METRICS_H

#include "exporters/metric_feed.h"
#include "instrumentation/wire/writer.h"

/* A buffer that holds any one point with its metric's head: 161 buckets and bounds of 8 to 10 bytes, 2 KiB of
 * attributes, and as many exemplars as buckets with 192 bytes of attributes. */
#define SONDE_OTLP_METRICS_SIZE_MIN 65536u

struct sonde_otlp_metrics {
    struct sonde__writer writer;
    struct sonde_metric metric; /* begun, when is_begun; what it points to is borrowed until it ends */
    bool is_begun;
    uint8_t *metric_at, *data_at; /* where its nested messages begin */
    uint32_t metric_points;
    uint32_t points; /* data points of all metrics so far */
};

/** buffer  kept; at least SONDE_OTLP_METRICS_SIZE_MIN bytes. */
void sonde_otlp_metrics_init(struct sonde_otlp_metrics *builder, uint8_t *buffer, size_t size);
/** Starts a metric, ending the one before. Returns false when its head does not fit: finish first. */
bool sonde_otlp_metrics_begin(struct sonde_otlp_metrics *builder, const struct sonde_metric *metric);
/** Adds a point to the metric begun. Returns false when it does not fit: nothing changed. */
bool sonde_otlp_metrics_point(struct sonde_otlp_metrics *builder, const struct sonde_metric_point *point);
/** Ends the metric and gives the record; builder is empty again, the bytes stay until the next begin.
 *  ret_points: 0 = nothing to send. */
struct sonde_bytes sonde_otlp_metrics_finish(struct sonde_otlp_metrics *builder, uint32_t *ret_points);

#endif
