/* SPDX-License-Identifier: Apache-2.0 */
/* io.prometheus.client.MetricFamily, by hand: proto/prometheus.proto. A message inside another is written behind a byte
 * for its length, and moved when that takes more. */
#include "exporters/prometheus/family.h"
#include "instrumentation/wire/read.h"
#include <math.h>

enum { /* fields */
       FAMILY_NAME = 1,
       FAMILY_HELP = 2,
       FAMILY_TYPE = 3,
       FAMILY_METRIC = 4,
       FAMILY_UNIT = 5,
       METRIC_GAUGE = 2,
       METRIC_COUNTER = 3,
       METRIC_HISTOGRAM = 7,
       NUMBER_VALUE = 1,
       COUNTER_EXEMPLAR = 2,
       COUNTER_CREATED = 3,
       EXEMPLAR_VALUE = 2,
       EXEMPLAR_TIMESTAMP = 3,
       TIMESTAMP_SECONDS = 1,
       TIMESTAMP_NANOS = 2,
       HISTOGRAM_COUNT = 1,
       HISTOGRAM_SUM = 2,
       HISTOGRAM_BUCKET = 3,
       HISTOGRAM_SCHEMA = 5,
       HISTOGRAM_ZERO_THRESHOLD = 6,
       HISTOGRAM_ZERO_COUNT = 7,
       HISTOGRAM_SPAN = 12,
       HISTOGRAM_DELTA = 13,
       HISTOGRAM_CREATED = 15,
       HISTOGRAM_EXEMPLAR = 16,
       BUCKET_COUNT = 1,
       BUCKET_BOUND = 2,
       BUCKET_EXEMPLAR = 3,
       SPAN_OFFSET = 1,
       SPAN_LENGTH = 2
};
enum { TYPE_COUNTER = 0, TYPE_GAUGE = 1, TYPE_HISTOGRAM = 4 };
#define NS_PER_SECOND        1000000000u
/* A series' newest, of all its buckets; more are not kept by Prometheus either. */
#define NATIVE_EXEMPLARS_MAX 10u

static void number(struct buffer *out, unsigned field, uint64_t value) {
    buffer_varint(out, SONDE__TAG(field, SONDE__WIRE_VARINT));
    buffer_varint(out, value);
}

static void real(struct buffer *out, unsigned field, double value) {
    uint8_t bytes[8];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(bits >> (8 * i));
    buffer_varint(out, SONDE__TAG(field, SONDE__WIRE_FIXED64));
    buffer_put(out, bytes, sizeof bytes);
}

static void bytes(struct buffer *out, unsigned field, const char *data, size_t size) {
    buffer_varint(out, SONDE__TAG(field, SONDE__WIRE_BYTES));
    buffer_varint(out, size);
    buffer_put(out, data, size);
}

/* Begins a message; what it returns is for message_end(). */
static size_t message_begin(struct buffer *out, unsigned field) {
    buffer_varint(out, SONDE__TAG(field, SONDE__WIRE_BYTES));
    buffer_char(out, 0);
    return out->size;
}

static void message_end(struct buffer *out, size_t from) {
    size_t size = out->size - from, more = 0;
    for (size_t rest = size; rest >= 0x80; rest >>= 7)
        more++;
    if (out->failed || !buffer_reserve(out, more))
        return;
    if (more)
        memmove(out->data + from + more, out->data + from, size);
    char *at = out->data + from - 1;
    for (; size >= 0x80; size >>= 7)
        *at++ = (char)(uint8_t)(size | 0x80);
    *at = (char)(uint8_t)size;
    out->size += more;
}

static uint64_t zigzag(int64_t value) {
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static void timestamp(struct buffer *out, unsigned field, uint64_t unix_ns) {
    size_t at = message_begin(out, field);
    number(out, TIMESTAMP_SECONDS, unix_ns / NS_PER_SECOND);
    number(out, TIMESTAMP_NANOS, unix_ns % NS_PER_SECOND);
    message_end(out, at);
}

static void put_exemplar(struct family *family, unsigned field, const struct snapshot_point *point,
                         const struct sonde__metric_exemplar *exemplar, struct buffer *out) {
    size_t at = message_begin(out, field);
    labels_exemplar(&family->others, exemplar);
    labels_write_proto(&family->others, out);
    real(out, EXEMPLAR_VALUE, family_exemplar_value(family, point, exemplar));
    timestamp(out, EXEMPLAR_TIMESTAMP, exemplar->time_unix_ns);
    message_end(out, at);
}

static void exemplar(struct family *family, unsigned field, const struct snapshot_point *point, double above,
                     double upto, struct buffer *out) {
    struct sonde__metric_exemplar found;
    if (family_exemplar(family, point, above, upto, &found))
        put_exemplar(family, field, point, &found, out);
}

static void bucket(struct family *family, const struct snapshot_point *point, double above, double bound,
                   uint64_t count, struct buffer *out) {
    size_t at = message_begin(out, HISTOGRAM_BUCKET);
    number(out, BUCKET_COUNT, count);
    real(out, BUCKET_BOUND, bound);
    exemplar(family, BUCKET_EXEMPLAR, point, above, bound, out);
    message_end(out, at);
}

static void classic(struct family *family, const struct snapshot_point *point, const struct family_value *value,
                    struct buffer *out) {
    const struct powers *powers = &family->snapshot.powers;
    double above = -(double)INFINITY;
    uint64_t total = 0;
    struct powers_place place = {0, 0};
    for (uint32_t i = 0; i < value->metric->bound_count; i++) {
        double bound = snapshot_bound(&family->snapshot, value->metric, i);
        total += value->histogram.buckets[i];
        bucket(family, point, above, bound, total, out);
        above = bound;
    }
    for (int power = powers->low; value->metric->is_exponential && power <= powers->high; power++) {
        bucket(family, point, above, ldexp(1, power), powers_count(&value->histogram, power, &place), out);
        above = ldexp(1, power);
    }
    bucket(family, point, above, (double)INFINITY, value->histogram.count, out);
}

static void span(int32_t offset, uint32_t length, struct buffer *out) {
    size_t at = message_begin(out, HISTOGRAM_SPAN);
    number(out, SPAN_OFFSET, zigzag(offset));
    number(out, SPAN_LENGTH, length);
    message_end(out, at);
}

static void native(struct family *family, const struct snapshot_point *point, const struct family_value *value,
                   struct buffer *out) {
    struct native_histogram made;
    if (!native_histogram_make(&value->histogram, &made))
        return;
    number(out, HISTOGRAM_SCHEMA, zigzag(made.schema));
    real(out, HISTOGRAM_ZERO_THRESHOLD, NATIVE_ZERO_THRESHOLD);
    number(out, HISTOGRAM_ZERO_COUNT, value->histogram.zero_count);
    if (!made.span_count) /* says that it is native, though nothing is in it */
        span(0, 0, out);
    for (uint32_t i = 0; i < made.span_count; i++)
        span(made.spans[i].offset, made.spans[i].length, out);
    if (made.count) {
        size_t at = message_begin(out, HISTOGRAM_DELTA); /* packed */
        for (uint32_t i = 0; i < made.count; i++)
            buffer_varint(out, zigzag(made.deltas[i]));
        message_end(out, at);
    }
    for (uint32_t i = 0; i < point->exemplar_count && i < NATIVE_EXEMPLARS_MAX; i++) {
        struct sonde__metric_exemplar one;
        snapshot_exemplar(&family->snapshot, point, i, &one);
        put_exemplar(family, HISTOGRAM_EXEMPLAR, point, &one, out);
    }
}

static void histogram(struct family *family, const struct snapshot_point *point, const struct family_value *value,
                      struct buffer *out) {
    number(out, HISTOGRAM_COUNT, value->histogram.count);
    real(out, HISTOGRAM_SUM, value->histogram.sum);
    classic(family, point, value, out);
    if (value->metric->is_exponential)
        native(family, point, value, out);
    if (value->start_unix_ns)
        timestamp(out, HISTOGRAM_CREATED, value->start_unix_ns);
}

/* The value's message into family->value. */
static void make_value(struct family *family, const struct snapshot_point *point) {
    static const unsigned fields[] = {
        [PLAN_COUNTER] = METRIC_COUNTER, [PLAN_GAUGE] = METRIC_GAUGE, [PLAN_HISTOGRAM] = METRIC_HISTOGRAM};
    struct family_value value;
    struct buffer *out = &family->value;
    family_value(family, point, &value);
    out->size = 0;
    size_t at = message_begin(out, fields[family->type]);
    if (family->type == PLAN_HISTOGRAM)
        histogram(family, point, &value, out);
    else
        real(out, NUMBER_VALUE, value.is_double ? value.real : (double)value.whole);
    if (family->type == PLAN_COUNTER) {
        exemplar(family, COUNTER_EXEMPLAR, point, -(double)INFINITY, (double)INFINITY, out);
        if (value.start_unix_ns)
            timestamp(out, COUNTER_CREATED, value.start_unix_ns);
    }
    message_end(out, at);
}

static size_t with_head(size_t size) {
    size_t varint = 1;
    for (size_t rest = size; rest >= 0x80; rest >>= 7)
        varint++;
    return 1 + varint + size;
}

size_t family_proto_size(struct family *family, const struct snapshot_point *point) {
    make_value(family, point);
    return with_head(point->labels_size + family->value.size);
}

void family_proto_series(struct family *family, const struct snapshot_point *point, struct buffer *out) {
    make_value(family, point);
    snapshot_labels(&family->snapshot, point, &family->labels);
    buffer_char(out, SONDE__TAG(FAMILY_METRIC, SONDE__WIRE_BYTES));
    buffer_varint(out, point->labels_size + family->value.size);
    labels_write_proto(&family->labels, out);
    buffer_put(out, family->value.data, family->value.size);
}

void family_proto_head(struct family *family, size_t size, struct buffer *out) {
    static const unsigned types[] = {
        [PLAN_COUNTER] = TYPE_COUNTER, [PLAN_GAUGE] = TYPE_GAUGE, [PLAN_HISTOGRAM] = TYPE_HISTOGRAM};
    const struct snapshot *snapshot = &family->snapshot;
    struct buffer *head = &family->value;
    head->size = 0;
    bytes(head, FAMILY_NAME, family->name, family->name_size);
    bytes(head, FAMILY_HELP, snapshot->help.data, snapshot->help.size);
    number(head, FAMILY_TYPE, types[family->type]);
    if (snapshot->unit.size && !snapshot->unit_is_unclear)
        bytes(head, FAMILY_UNIT, snapshot->unit.data, snapshot->unit.size);
    buffer_varint(out, head->size + size);
    buffer_put(out, head->data, head->size);
}

void family_proto_target(struct family *family, const struct buffer *rows, struct buffer *out) {
    static const char name[] = "target_info", help[] = "Attributes of the resource that job and instance name";
    struct buffer *head = &family->value;
    head->size = 0;
    bytes(head, FAMILY_NAME, name, sizeof name - 1);
    bytes(head, FAMILY_HELP, help, sizeof help - 1);
    number(head, FAMILY_TYPE, TYPE_GAUGE);
    buffer_varint(out, head->size + rows->size);
    buffer_put(out, head->data, head->size);
    buffer_put(out, rows->data, rows->size);
}

void family_proto_target_row(struct family *family, struct buffer *rows) {
    size_t at = message_begin(rows, FAMILY_METRIC);
    labels_write_proto(&family->labels, rows);
    size_t gauge = message_begin(rows, METRIC_GAUGE);
    real(rows, NUMBER_VALUE, 1);
    message_end(rows, gauge);
    message_end(rows, at);
}
