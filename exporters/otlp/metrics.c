/* SPDX-License-Identifier: Apache-2.0 */
/* Field numbers are those of metrics.proto; a metric without points is taken back, since empty ones say nothing. */
#include "exporters/otlp/metrics.h"
#include "instrumentation/wire/read.h"

/* Room kept for the ends of two nested messages: their lengths and the fields behind the points. */
#define CLOSING 32u

enum { SCOPE_METRICS_METRICS = 2 };
enum { METRIC_NAME = 1, METRIC_DESCRIPTION = 2, METRIC_UNIT = 3 };
enum { METRIC_GAUGE = 5, METRIC_SUM = 7, METRIC_HISTOGRAM = 9, METRIC_EXPONENTIAL = 10 };
enum { DATA_POINTS = 1, DATA_TEMPORALITY = 2, SUM_MONOTONIC = 3 };
enum { POINT_START = 2, POINT_TIME = 3, NUMBER_DOUBLE = 4, NUMBER_INT = 6 };
enum { HISTOGRAM_COUNT = 4, HISTOGRAM_SUM = 5, BUCKET_COUNTS = 6, BOUNDS = 7, HISTOGRAM_MIN = 11, HISTOGRAM_MAX = 12 };
enum { SCALE = 6, ZERO_COUNT = 7, POSITIVE = 8, EXPONENTIAL_MIN = 12, EXPONENTIAL_MAX = 13 };
enum { BUCKETS_OFFSET = 1, BUCKETS_COUNTS = 2 };
enum { EXEMPLARS_OF_NUMBER = 5, EXEMPLARS_OF_HISTOGRAM = 8, EXEMPLARS_OF_EXPONENTIAL = 11 };
enum { EXEMPLAR_TIME = 2, EXEMPLAR_DOUBLE = 3, EXEMPLAR_SPAN = 4, EXEMPLAR_TRACE = 5, EXEMPLAR_INT = 6, LEFT_OUT = 7 };
enum { ATTRIBUTES_OF_NUMBER = 7, ATTRIBUTES_OF_HISTOGRAM = 9, ATTRIBUTES_OF_EXPONENTIAL = 1 };
enum { DELTA = 1, CUMULATIVE = 2 };

void sonde_otlp_metrics_init(struct sonde_otlp_metrics *builder, uint8_t *buffer, size_t size) {
    *builder = (struct sonde_otlp_metrics){0};
    sonde__writer_init(&builder->writer, buffer, size - CLOSING);
}

static uint32_t data_field(const struct sonde_metric *metric) {
    switch (metric->kind) {
    case SONDE_GAUGE:
        return METRIC_GAUGE;
    case SONDE_HISTOGRAM:
        return sonde_metric_is_exponential(metric) ? METRIC_EXPONENTIAL : METRIC_HISTOGRAM;
    default:
        return METRIC_SUM;
    }
}

static void metric_end(struct sonde_otlp_metrics *builder) {
    const struct sonde_metric *metric = &builder->metric;
    struct sonde__writer *writer = &builder->writer;
    if (!builder->is_begun)
        return;
    builder->is_begun = false;
    if (!builder->metric_points) {
        writer->at = builder->metric_at - 2; /* tag and length byte before the nested bytes */
        return;
    }
    writer->end += CLOSING;
    if (metric->kind != SONDE_GAUGE)
        sonde__write_uint(writer, DATA_TEMPORALITY, metric->is_delta ? DELTA : CUMULATIVE);
    if (metric->kind == SONDE_COUNTER)
        sonde__write_uint(writer, SUM_MONOTONIC, 1);
    sonde__write_end(writer, builder->data_at);
    sonde__write_end(writer, builder->metric_at);
    writer->end -= CLOSING;
}

static void text(struct sonde__writer *writer, uint32_t field, struct sonde_string value) {
    if (value.size)
        sonde__write_string(writer, field, value.data, value.size, SIZE_MAX);
}

bool sonde_otlp_metrics_begin(struct sonde_otlp_metrics *builder, const struct sonde_metric *metric) {
    struct sonde__writer *writer = &builder->writer;
    metric_end(builder);
    uint8_t *before = writer->at;
    /* One metric's closing may have eaten from the margin. */
    if (writer->at + CLOSING > writer->end)
        return false;
    builder->metric_at = sonde__write_begin(writer, SCOPE_METRICS_METRICS);
    text(writer, METRIC_NAME, metric->name);
    text(writer, METRIC_DESCRIPTION, metric->description);
    text(writer, METRIC_UNIT, metric->unit);
    builder->data_at = sonde__write_begin(writer, data_field(metric));
    if (writer->full) {
        writer->full = false;
        writer->at = before;
        return false;
    }
    builder->metric = *metric;
    builder->is_begun = true;
    builder->metric_points = 0;
    return true;
}

/* KeyValue messages that stand as field 1, as another field. */
static void attributes(struct sonde__writer *writer, uint32_t field, struct sonde_bytes bytes) {
    const uint8_t *p = bytes.data, *end = bytes.data + bytes.size;
    while (p < end) {
        size_t size;
        p = *p == SONDE__TAG(1, SONDE__WIRE_BYTES) ? sonde__read_size(p + 1, end, &size) : NULL;
        if (!p)
            return; /* cannot be: the feed's bytes are valid */
        sonde__write_bytes(writer, field, p, size);
        p += size;
    }
}

static bool has_span(const struct sonde__metric_exemplar *exemplar) {
    static const uint8_t none[sizeof exemplar->span_id];
    return memcmp(exemplar->span_id, none, sizeof none) != 0;
}

/* Those that no record had before. */
static void exemplars(struct sonde__writer *writer, uint32_t field, bool is_double,
                      const struct sonde_metric_point *point) {
    for (uint32_t i = 0; i < point->exemplar_count && !writer->full; i++) {
        const struct sonde__metric_exemplar *exemplar = &point->exemplars[i];
        if (!exemplar->is_new)
            continue;
        uint8_t *nested = sonde__write_begin(writer, field);
        sonde__write_fixed64(writer, EXEMPLAR_TIME, exemplar->time_unix_ns);
        sonde__write_fixed64(writer, is_double ? EXEMPLAR_DOUBLE : EXEMPLAR_INT, exemplar->value);
        if (has_span(exemplar)) {
            sonde__write_bytes(writer, EXEMPLAR_SPAN, exemplar->span_id, sizeof exemplar->span_id);
            sonde__write_bytes(writer, EXEMPLAR_TRACE, exemplar->trace_id, sizeof exemplar->trace_id);
        }
        attributes(writer, LEFT_OUT, (struct sonde_bytes){exemplar->attributes, exemplar->attributes_size});
        if (!writer->full)
            sonde__write_end(writer, nested);
    }
}

static void number_point(struct sonde__writer *writer, const struct sonde_metric *metric,
                         const struct sonde_metric_point *point) {
    attributes(writer, ATTRIBUTES_OF_NUMBER, point->attributes);
    if (metric->kind != SONDE_GAUGE)
        sonde__write_fixed64(writer, POINT_START, point->start_unix_ns);
    sonde__write_fixed64(writer, POINT_TIME, point->time_unix_ns);
    if (metric->is_double)
        sonde__write_double(writer, NUMBER_DOUBLE, point->float64);
    else
        sonde__write_fixed64(writer, NUMBER_INT, (uint64_t)point->int64);
    exemplars(writer, EXEMPLARS_OF_NUMBER, metric->is_double, point);
}

static void summary(struct sonde__writer *writer, const struct sonde_metric_point *point) {
    sonde__write_fixed64(writer, POINT_START, point->start_unix_ns);
    sonde__write_fixed64(writer, POINT_TIME, point->time_unix_ns);
    sonde__write_fixed64(writer, HISTOGRAM_COUNT, point->histogram->count);
    sonde__write_double(writer, HISTOGRAM_SUM, point->histogram->sum);
}

static void extremes(struct sonde__writer *writer, const struct sonde_metric_point *point, uint32_t min_field,
                     uint32_t max_field) {
    if (!point->min_unknown)
        sonde__write_double(writer, min_field, point->histogram->min);
    if (!point->max_unknown)
        sonde__write_double(writer, max_field, point->histogram->max);
}

static void explicit_point(struct sonde__writer *writer, const struct sonde_metric *metric,
                           const struct sonde_metric_point *point) {
    const struct sonde__metric_histogram *histogram = point->histogram;
    attributes(writer, ATTRIBUTES_OF_HISTOGRAM, point->attributes);
    summary(writer, point);
    if (!metric
             ->is_unbounded) { /* "if explicit_bounds is empty and bucket_counts is too, only sum and count are known" */
        sonde__write_bytes(writer, BUCKET_COUNTS, histogram->buckets, histogram->bucket_count * sizeof(uint64_t));
        sonde__write_bytes(writer, BOUNDS, metric->bounds, metric->bound_count * sizeof(double));
    }
    if (histogram->count)
        extremes(writer, point, HISTOGRAM_MIN, HISTOGRAM_MAX);
    exemplars(writer, EXEMPLARS_OF_HISTOGRAM, true, point);
}

static void exponential_point(struct sonde__writer *writer, const struct sonde_metric_point *point) {
    const struct sonde__metric_histogram *histogram = point->histogram;
    attributes(writer, ATTRIBUTES_OF_EXPONENTIAL, point->attributes);
    summary(writer, point);
    sonde__write_sint(writer, SCALE, histogram->scale);
    sonde__write_fixed64(writer, ZERO_COUNT, histogram->zero_count);
    if (histogram->bucket_count) {
        uint8_t *positive = sonde__write_begin(writer, POSITIVE);
        sonde__write_sint(writer, BUCKETS_OFFSET, histogram->offset);
        uint8_t *counts = sonde__write_begin(writer, BUCKETS_COUNTS);
        for (uint32_t i = 0; i < histogram->bucket_count; i++)
            sonde__write_varint(writer, histogram->buckets[i]);
        if (!writer->full) {
            sonde__write_end(writer, counts);
            sonde__write_end(writer, positive);
        }
    }
    if (histogram->count)
        extremes(writer, point, EXPONENTIAL_MIN, EXPONENTIAL_MAX);
    exemplars(writer, EXEMPLARS_OF_EXPONENTIAL, true, point);
}

bool sonde_otlp_metrics_point(struct sonde_otlp_metrics *builder, const struct sonde_metric_point *point) {
    struct sonde__writer *writer = &builder->writer;
    const struct sonde_metric *metric = &builder->metric;
    uint8_t *before = writer->at, *nested = sonde__write_begin(writer, DATA_POINTS);
    if (metric->kind != SONDE_HISTOGRAM)
        number_point(writer, metric, point);
    else if (sonde_metric_is_exponential(metric))
        exponential_point(writer, point);
    else
        explicit_point(writer, metric, point);
    if (!writer->full)
        sonde__write_end(writer, nested);
    if (writer->full) {
        writer->full = false;
        writer->at = before;
        return false;
    }
    builder->metric_points++;
    builder->points++;
    return true;
}

struct sonde_bytes sonde_otlp_metrics_finish(struct sonde_otlp_metrics *builder, uint32_t *ret_points) {
    metric_end(builder);
    struct sonde_bytes record = {builder->writer.start, sonde__writer_size(&builder->writer)};
    *ret_points = builder->points;
    builder->points = 0;
    builder->writer.at = builder->writer.start;
    return record;
}
