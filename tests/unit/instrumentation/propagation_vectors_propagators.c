/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of the formats beside W3C trace context: each through the HTTP carrier and the propagator of its name. */
#include "instrumentation/propagation/propagator.h"
#include "tests/unit/instrumentation/propagation_vectors.h"
#include <sonde/baggage.h>
#include <stdio.h>
#include <string.h>

static struct sonde_context context;

static enum sonde_extract_reason extract(const struct row *row, const char *propagators) {
    struct sonde_http_header headers[PAIRS_MAX];
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    for (size_t i = 0; i < row->count; i++)
        headers[i] = (struct sonde_http_header){row->pairs[i].name, row->pairs[i].value};
    struct sonde_http_headers list = {.headers = headers, .count = row->count};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    options.propagators = propagators;
    return sonde_extract_with(&carrier, &options, &context);
}

static void result_baggage(void) {
    struct sonde_baggage_entry entry;
    char value[SONDE_BAGGAGE_SIZE_MAX];
    uint32_t at = 0;
    for (int i = 0; sonde_baggage_next(&context, &at, &entry); i++) {
        result_text(i ? "," : "baggage:");
        result_add(entry.key.data, entry.key.size);
        result_text("=");
        result_add(value, sonde_baggage_decode(entry.value, value, sizeof value));
        if (entry.metadata.size) {
            result_text(";");
            result_add(entry.metadata.data, entry.metadata.size);
        }
    }
}

static void run_baggage(const struct row *row) {
    (void)extract(row, "baggage");
    if (context.baggage_length == 0)
        result_text("none");
    result_baggage();
}

static const char *decision_name(void) {
    static const char *const names[] = {"none", "defer", "deny", "accept", "debug"};
    return names[context.span.decision];
}

/** Ids and B3's state, or the state alone. */
static void result_b3(enum sonde_extract_reason reason) {
    if (reason == SONDE_EXTRACT_DECISION) {
        result_text("none;decision=");
        result_text(decision_name());
    } else if (result_extracted(&context, reason) && context.span.decision != SONDE_DECISION_NONE) {
        result_text(";b3=");
        result_text(decision_name());
    }
}

/* Values of B3 reach the parser as they stand in the row: a carrier trims white space, which one row means to keep. */
static void run_b3(const struct row *row) {
    struct sonde_span_context span;
    if (row->count == 1 && row->pairs[0].value.size && row->pairs[0].value.data[0] == ' ') {
        enum sonde_extract_reason reason = sonde__b3_read(row->pairs[0].value.data, row->pairs[0].value.size, &span);
        result_text(reason == SONDE_EXTRACT_OK ? "accepted" : "reject");
        return;
    }
    result_b3(extract(row, "b3"));
}

static void run_jaeger(const struct row *row) {
    enum sonde_extract_reason reason = extract(row, "jaeger");
    if (reason == SONDE_EXTRACT_BAGGAGE)
        result_text("none");
    else if (!result_extracted(&context, reason))
        return;
    if (context.span.decision == SONDE_DECISION_DEBUG)
        result_text(";debug");
    if (context.baggage_length)
        result_text(";");
    result_baggage();
}

static void extract_plain(const struct row *row, const char *propagator) {
    if (!result_extracted(&context, extract(row, propagator)))
        return;
    if (context.span.decision == SONDE_DECISION_DEFER)
        result_text(";decision=defer");
    if (context.baggage_length)
        result_text(";");
    result_baggage();
}
static void run_xray(const struct row *row) {
    extract_plain(row, "xray");
}
static void run_gcloud(const struct row *row) {
    extract_plain(row, "gcloud");
}
static void run_ottrace(const struct row *row) {
    extract_plain(row, "ottrace");
}
static void run_grpc(const struct row *row) {
    extract_plain(row, "grpc-trace-bin");
}

static void run_datadog(const struct row *row) {
    enum sonde_extract_reason reason = extract(row, "datadog");
    char priority[24];
    if (!result_extracted(&context, reason))
        return;
    (void)snprintf(priority, sizeof priority, ";priority=%d", sonde__datadog_priority(&context));
    result_text(priority);
    result_text(reason == SONDE_EXTRACT_TAGS_MALFORMED ? ";tid_malformed"
                : reason == SONDE_EXTRACT_TAGS_LENGTH  ? ";tags_too_long"
                                                       : "");
}

/** The row's first pair names the propagators; B3's state shows when B3 won. */
static void run_precedence(const struct row *row) {
    char names[64];
    struct row rest = *row;
    (void)snprintf(names, sizeof names, "%.*s", (int)row->pairs[0].value.size, row->pairs[0].value.data);
    memmove(rest.pairs, rest.pairs + 1, (rest.count - 1) * sizeof *rest.pairs);
    rest.count--;
    result_b3(extract(&rest, names));
}

/* ---- out ---- */

static void inject(const char *propagator) {
    struct sonde_http_header headers[PAIRS_MAX];
    char text[SONDE_HTTP_INJECT_SIZE];
    struct sonde_http_headers list = {headers, 0, PAIRS_MAX, text, sizeof text, 0};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    if (sonde_inject_as(propagator, &context, &carrier))
        result_text("(the carrier refused)");
    result_headers(&list);
}

static void inject_row(const struct row *row, const char *propagator) {
    const struct sonde_string *state = row_find(row, "b3");
    sonde_context_init(&context);
    row_unhex(row_find(row, "trace_id"), context.span.trace_id, 16);
    row_unhex(row_find(row, "span_id"), context.span.span_id, 8);
    row_unhex(row_find(row, "flags"), &context.span.flags, 1);
    if (state && state->size == 5 && memcmp(state->data, "debug", 5) == 0)
        context.span.decision = SONDE_DECISION_DEBUG;
    inject(propagator);
}
static void run_inject_b3(const struct row *row) {
    inject_row(row, "b3");
}
static void run_inject_b3multi(const struct row *row) {
    inject_row(row, "b3multi");
}
static void run_inject_jaeger(const struct row *row) {
    inject_row(row, "jaeger");
}
static void run_inject_xray(const struct row *row) {
    inject_row(row, "xray");
}
static void run_inject_gcloud(const struct row *row) {
    inject_row(row, "gcloud");
}
static void run_inject_datadog(const struct row *row) {
    inject_row(row, "datadog");
}
static void run_inject_ottrace(const struct row *row) {
    inject_row(row, "ottrace");
}
static void run_inject_grpc(const struct row *row) {
    inject_row(row, "grpc-trace-bin");
}

static void run_inject_baggage(const struct row *row) {
    const struct sonde_string *key = row_find(row, "key"), *value = row_find(row, "value");
    sonde_context_init(&context);
    if (!key || !value || sonde_baggage_set(&context, *key, *value, (struct sonde_string){"", 0}) != 0)
        result_text("refused");
    inject("baggage");
}

const struct format propagator_formats[] = {
    {"b3", run_b3},
    {"baggage", run_baggage},
    {"datadog", run_datadog},
    {"gcloud", run_gcloud},
    {"grpcbin", run_grpc},
    {"inject-b3", run_inject_b3},
    {"inject-b3multi", run_inject_b3multi},
    {"inject-baggage", run_inject_baggage},
    {"inject-datadog", run_inject_datadog},
    {"inject-gcloud", run_inject_gcloud},
    {"inject-grpcbin", run_inject_grpc},
    {"inject-jaeger", run_inject_jaeger},
    {"inject-ottrace", run_inject_ottrace},
    {"inject-xray", run_inject_xray},
    {"jaeger", run_jaeger},
    {"ottrace", run_ottrace},
    {"precedence", run_precedence},
    {"xray", run_xray},
    {NULL, NULL},
};
