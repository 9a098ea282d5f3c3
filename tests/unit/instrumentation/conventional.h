/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of conventional spans look at: the last span's attributes, and series of this process by instrument name
 * and a part of their attributes. */
#ifndef SONDE_TESTS_CONVENTIONAL_H
#define SONDE_TESTS_CONVENTIONAL_H

#include "instrumentation/metric/read.h"
#include "instrumentation/ring/process.h"
#include "own_memory.h"
#include "tests/lib/records.h"
#include <setjmp.h>
#include <sonde/carrier/http.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static Pb__Span *span_pb;

/* Takes the next span out of the ring and checks name and kind. */
static inline void span_take(const char *name, int kind) {
    if (span_pb)
        pb__span__free_unpacked(span_pb, NULL);
    span_pb = records_span();
    assert_string_equal(span_pb->name, name);
    assert_int_equal(span_pb->kind, kind);
}
static inline const Pb__AnyValue *span_value(const char *key) {
    return records_value(span_pb->attributes, span_pb->n_attributes, key);
}
static inline void span_has_text(const char *key, const char *text) {
    const Pb__AnyValue *value = span_value(key);
    if (!value || strcmp(value->string_value, text) != 0)
        fail_msg("%s is %s, not %s", key, value ? value->string_value : "absent", text);
}
static inline void span_has_number(const char *key, int64_t number) {
    const Pb__AnyValue *value = span_value(key);
    assert_non_null(value);
    assert_int_equal(value->int_value, number);
}
static inline void span_has_not(const char *key) {
    if (span_value(key))
        fail_msg("%s is there", key);
}
static inline int span_status(void) {
    return span_pb->status ? (int)span_pb->status->code : 0;
}

/* ---- metrics ---- */

struct measured {
    uint64_t count; /* of a histogram's values; a counter's sum */
    double sum;
    uint32_t series, bounds;
};

/* Adds up the series of an instrument whose encoded attributes hold all the texts (ended by NULL). */
static inline struct measured measured(const char *name, ...) {
    static const struct sonde__metric_memory memory = {memory_read, NULL};
    struct sonde__metric_reader *reader = sonde__metric_reader_create(memory_resize, NULL);
    struct measured result = {0};
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    for (uint32_t number = 1; number <= sonde__metric_reader_instrument_max(reader); number++) {
        struct sonde__metric_instrument instrument;
        struct sonde__metric_series series;
        if (!sonde__metric_reader_instrument(reader, number, &instrument) || instrument.name.size != strlen(name) ||
            memcmp(instrument.name.data, name, instrument.name.size) != 0)
            continue;
        result.bounds = instrument.bound_count;
        for (uint32_t at = 0; sonde__metric_reader_series(reader, number, &at, &series);) {
            bool all = true;
            va_list texts;
            va_start(texts, name);
            for (const char *text; all && (text = va_arg(texts, const char *)) != NULL;)
                all = memmem(series.attributes, series.attributes_size, text, strlen(text)) != NULL;
            va_end(texts);
            if (!all)
                continue;
            result.series++;
            result.count += series.histogram ? series.histogram->count : series.value;
            result.sum += series.histogram ? series.histogram->sum : 0;
        }
    }
    sonde__metric_reader_destroy(reader);
    return result;
}

/* ---- a carrier with room ---- */

struct envelope {
    struct sonde_http_header items[6];
    char text[SONDE_HTTP_INJECT_SIZE];
    struct sonde_http_headers headers;
};
static inline struct sonde_carrier envelope_open(struct envelope *envelope) {
    memset(envelope, 0, sizeof *envelope);
    envelope->headers = (struct sonde_http_headers){envelope->items, 0, 6, envelope->text, sizeof envelope->text, 0};
    return sonde_http_carrier(&envelope->headers);
}
static inline void envelope_put(struct envelope *envelope, const char *name, const char *value) {
    envelope->items[envelope->headers.count++] = (struct sonde_http_header){sonde_text(name), sonde_text(value)};
}
static inline struct sonde_string envelope_get(struct envelope *envelope, const char *name) {
    struct sonde_carrier carrier = sonde_http_carrier(&envelope->headers);
    struct sonde_string value = {"", 0};
    (void)carrier.ops->get(carrier.self, sonde_text(name), &value);
    return value;
}

#define PARENT    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define TRACE_ID  "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36"
#define PARENT_ID "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7"

static inline int conventional_setup(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("first use"), NULL);
    sonde_span_end(&span);
    (void)records_skip();
    return 0;
}
static inline int conventional_teardown(void **state) {
    (void)state;
    if (span_pb)
        pb__span__free_unpacked(span_pb, NULL);
    span_pb = NULL;
    return 0;
}

#endif
