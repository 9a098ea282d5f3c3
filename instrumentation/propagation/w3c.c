/* SPDX-License-Identifier: Apache-2.0 */
/* The `tracecontext` propagator: traceparent and tracestate through a carrier.
 * A second traceparent, equal or not, means that two hops disagree: no context (the W3C harness tests it). tracestate
 * without a good traceparent is not looked at; a bad tracestate never harms a good traceparent.
 * Source: W3C trace-context, 3 and 4 (level 2). */
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/propagation/tracestate.h"
#include <string.h>

static int w3c_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char traceparent[SONDE_TRACEPARENT_SIZE];
    if (!sonde_traceparent_write(&context->span, traceparent))
        return 0;
    int error = sonde__carrier_set(carrier, SONDE__FIELD_TRACEPARENT, traceparent, sizeof traceparent);
    if (error)
        return error; /* what the carrier held before is a pair that belongs together: it stays */
    if (context->tracestate_length == 0 || context->tracestate_length > SONDE_TRACESTATE_SIZE_MAX) {
        sonde__carrier_remove(carrier, SONDE__FIELD_TRACESTATE); /* of an earlier send of this message */
        return 0;
    }
    error = sonde__carrier_set(carrier, SONDE__FIELD_TRACESTATE, context->tracestate, context->tracestate_length);
    if (error)
        sonde__carrier_remove(carrier, SONDE__FIELD_TRACESTATE);
    return error;
}

struct traceparent_visit {
    struct sonde_span_context span;
    enum sonde_extract_reason reason;
    unsigned count;
};

static bool visit_traceparent(void *user, struct sonde_string text) {
    struct traceparent_visit *visit = user;
    if (visit->count++ == 0) {
        visit->reason = sonde_traceparent_read(text.data, text.size, &visit->span);
        return true;
    }
    visit->reason = SONDE_EXTRACT_DUPLICATE;
    return false;
}

static bool visit_tracestate(void *user, struct sonde_string text) {
    return sonde__tracestate_reader_feed(user, text.data, text.size);
}

static enum sonde_extract_reason w3c_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct traceparent_visit found = {.reason = SONDE_EXTRACT_ABSENT};
    sonde__source_each(source, SONDE__FIELD_TRACEPARENT, visit_traceparent, &found);
    if (found.reason != SONDE_EXTRACT_OK)
        return found.reason;
    if (context->span.decision == SONDE_DECISION_DEBUG && memcmp(&context->span, &found.span, 24) == 0)
        found.span.decision = SONDE_DECISION_DEBUG; /* the same ids, of a format that can say so */
    context->span = found.span;
    context->tracestate_length = 0;
    if (source->gathered & SONDE__FIELD_BIT(SONDE__FIELD_TRACESTATE) & ~source->present)
        return SONDE_EXTRACT_OK;
    struct sonde__tracestate_reader reader;
    sonde__tracestate_reader_init(&reader, context);
    sonde__source_each(source, SONDE__FIELD_TRACESTATE, visit_tracestate, &reader);
    return reader.failed ? SONDE_EXTRACT_TRACESTATE : SONDE_EXTRACT_OK;
}

const struct sonde__propagator sonde__propagator_w3c = {
    .name = "tracecontext",
    .summary = "W3C trace context, levels 1 and 2: traceparent and tracestate",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_TRACEPARENT) | SONDE__FIELD_BIT(SONDE__FIELD_TRACESTATE),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_TRACEPARENT) | SONDE__FIELD_BIT(SONDE__FIELD_TRACESTATE),
    .inject = w3c_inject,
    .extract = w3c_extract,
};
