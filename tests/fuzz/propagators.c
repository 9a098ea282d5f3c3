/* SPDX-License-Identifier: Apache-2.0 */
/* Every extractor, from hostile headers. Input: a first byte that chooses a format, then lines "name: value" (and
 * values alone, which go to the parser of the format directly). What must hold beside memory safety: the reason fits
 * the context; baggage that is kept is a list that reads back as it is; and what is injected is extracted as the same.
 */
#include "instrumentation/context/baggage.h"
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/propagation/tracestate.h"
#include <sonde/baggage.h>
#include <sonde/carrier/http.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS_MAX = 64 };

static const char *const formats[] = {
    "tracecontext,baggage",
    "baggage",
    "b3",
    "b3multi",
    "jaeger",
    "xray",
    "gcloud",
    "datadog",
    "ottrace",
    "grpc-trace-bin",
    "tracecontext,baggage,b3,jaeger,xray,gcloud,datadog,ottrace,grpc-trace-bin",
};

static void require(int condition) {
    if (!condition)
        abort();
}

static char *copy_of(const char *text, size_t size) { /* of the exact size, so that the sanitizer sees a read past it */
    char *copy = malloc(size ? size : 1);
    require(copy != NULL);
    if (size)
        memcpy(copy, text, size);
    return copy;
}

static void check_baggage(const struct sonde_context *context) {
    static struct sonde_context again;
    struct sonde_http_header header = {{"baggage", 7}, {context->baggage, context->baggage_length}};
    struct sonde_http_headers list = {.headers = &header, .count = 1};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = "baggage";
    require(context->baggage_length <= SONDE_BAGGAGE_SIZE_MAX);
    enum sonde_extract_reason reason = sonde_extract_with(&carrier, &options, &again);
    require(reason == SONDE_EXTRACT_BAGGAGE && again.baggage_length == context->baggage_length);
    require(memcmp(again.baggage, context->baggage, again.baggage_length) == 0);
    struct sonde_baggage_entry entry;
    static char text[3 * SONDE_BAGGAGE_SIZE_MAX];
    for (uint32_t at = 0, count = 0; sonde_baggage_next(context, &at, &entry);) {
        require(++count <= SONDE_BAGGAGE_ENTRIES_MAX && entry.key.size > 0);
        require(sonde_baggage_decode(entry.value, text, sizeof text) <= sizeof text);
    }
}

static void check_round(const char *format, const struct sonde_context *context) {
    static struct sonde_http_header headers[2 * HEADERS_MAX];
    static char text[32768];
    static struct sonde_context again;
    struct sonde_http_headers list = {headers, 0, 2 * HEADERS_MAX, text, sizeof text, 0};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = format;
    (void)sonde_inject_as(format, context, &carrier);
    enum sonde_extract_reason reason = sonde_extract_with(&carrier, &options, &again);
    if (!sonde_span_context_is_valid(&context->span))
        return;
    if (strcmp(format, "ottrace") == 0 || strcmp(format, "datadog") == 0) { /* low halves of zero are no id there */
        static const uint8_t zero[8];
        if (memcmp(context->span.trace_id + 8, zero, 8) == 0)
            return;
    }
    if (strcmp(format, "baggage") == 0)
        return;
    require(sonde__reason_is_found(reason));
    require(memcmp(again.span.span_id, context->span.span_id, 8) == 0);
    require(memcmp(again.span.trace_id + 8, context->span.trace_id + 8, 8) == 0);
    require(((again.span.flags ^ context->span.flags) & SONDE_TRACE_FLAG_SAMPLED) == 0);
}

/* One value read in one pass, and member by member (which an empty value before it makes it). */
static void check_tracestate(const char *text, size_t size) {
    static struct sonde_context whole, members;
    struct sonde__tracestate_reader reader;
    sonde_context_init(&whole);
    sonde_context_init(&members);
    sonde__tracestate_reader_init(&reader, &members);
    bool good = sonde__tracestate_reader_feed(&reader, "", 0) && sonde__tracestate_reader_feed(&reader, text, size);
    /* The empty value counts as a byte: at the limit of what is looked at the two differ. */
    require(sonde_tracestate_append(&whole, text, size) == good || size > 32000);
    require(!good || (whole.tracestate_length == members.tracestate_length &&
                      memcmp(whole.tracestate, members.tracestate, whole.tracestate_length) == 0));
}

static void check_baggage_ways(const char *text, size_t size) {
    static struct sonde_context whole, members;
    struct sonde__baggage_reader once, by_members;
    sonde_context_init(&whole);
    sonde_context_init(&members);
    sonde__baggage_reader_init(&once, &whole);
    sonde__baggage_reader_init(&by_members, &members);
    sonde__baggage_reader_feed(&once, text, size);
    sonde__baggage_reader_feed(&by_members, "", 0);
    sonde__baggage_reader_feed(&by_members, text, size);
    if (size >= 2 * SONDE_BAGGAGE_SIZE_MAX - 1) /* the empty value counts as a byte of what is looked at */
        return;
    require(once.partial == by_members.partial && once.count == by_members.count);
    require(whole.baggage_length == members.baggage_length &&
            memcmp(whole.baggage, members.baggage, whole.baggage_length) == 0);
}

static void parse_directly(const char *text, size_t size) {
    struct sonde_span_context span;
    struct sonde_string lineage;
    (void)sonde__b3_read(text, size, &span);
    (void)sonde__jaeger_read(text, size, &span);
    (void)sonde__xray_read(text, size, &span, &lineage);
    (void)sonde__gcloud_read(text, size, &span);
    (void)sonde__grpc_text_read(text, size, &span);
    (void)sonde__grpc_bin_read((const uint8_t *)text, size, &span);
    check_tracestate(text, size);
    check_baggage_ways(text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sonde_context context;
    struct sonde_http_header headers[HEADERS_MAX];
    struct sonde_http_headers list = {.headers = headers};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    if (size == 0)
        return 0;
    const char *format = formats[data[0] % (sizeof formats / sizeof *formats)];
    const char *text = (const char *)data + 1, *end = (const char *)data + size;
    while (text < end && list.count < HEADERS_MAX) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text)), *stop = line_end ? line_end : end;
        const char *colon = memchr(text, ':', (size_t)(stop - text));
        const char *value = colon ? colon + 1 : text;
        size_t value_size = (size_t)(stop - value);
        char *copy = copy_of(value, value_size);
        parse_directly(copy, value_size);
        if (colon)
            headers[list.count++] = (struct sonde_http_header){{text, (size_t)(colon - text)}, {copy, value_size}};
        else
            free(copy);
        text = line_end ? line_end + 1 : end;
    }
    options.propagators = format;
    enum sonde_extract_reason reason = sonde_extract_with(&carrier, &options, &context);
    require(sonde__reason_is_found(reason) == sonde_span_context_is_valid(&context.span));
    require(context.span.decision <= SONDE_DECISION_DEBUG);
    if (context.baggage_length)
        check_baggage(&context);
    for (size_t i = 0; i + 1 < sizeof formats / sizeof *formats; i++)
        check_round(formats[i], &context);
    for (size_t i = 0; i < list.count; i++)
        free((char *)(uintptr_t)headers[i].value.data);
    return 0;
}
