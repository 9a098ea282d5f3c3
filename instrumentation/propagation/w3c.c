/* SPDX-License-Identifier: Apache-2.0 */
/* The `tracecontext` propagator: traceparent and tracestate through a carrier.
 * A second traceparent, equal or not, means that two hops disagree: no context (the W3C harness tests it). tracestate
 * without a good traceparent is not looked at; a bad tracestate never harms a good traceparent.
 * Source: W3C trace-context, 3 and 4 (level 2). */
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/propagation/tracestate.h"
#include <sonde/err.h>

#define TEXT(literal)                                                                                                  \
    (struct sonde_string) {                                                                                            \
        literal, sizeof(literal) - 1                                                                                   \
    }

static void remove_tracestate(const struct sonde_carrier *carrier) {
    if (carrier->ops->remove)
        carrier->ops->remove(carrier->self, TEXT("tracestate"));
}

static int w3c_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char traceparent[SONDE_TRACEPARENT_SIZE];
    if (!sonde_traceparent_write(&context->span, traceparent))
        return 0;
    if (!carrier->ops->set)
        return SONDE_EINVALID;
    struct sonde_string value = {traceparent, sizeof traceparent};
    int error = carrier->ops->set(carrier->self, TEXT("traceparent"), value);
    if (error)
        return error; /* what the carrier held before is a pair that belongs together: it stays */
    if (context->tracestate_length == 0 || context->tracestate_length > SONDE_TRACESTATE_SIZE_MAX) {
        remove_tracestate(carrier); /* of an earlier send of this message */
        return 0;
    }
    value = (struct sonde_string){context->tracestate, context->tracestate_length};
    error = carrier->ops->set(carrier->self, TEXT("tracestate"), value);
    if (error)
        remove_tracestate(carrier);
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

static void visit_values(const struct sonde_carrier *carrier, struct sonde_string name, sonde_carrier_visit visit,
                         void *user) {
    struct sonde_string value;
    if (carrier->ops->each)
        carrier->ops->each(carrier->self, name, visit, user);
    else if (carrier->ops->get && carrier->ops->get(carrier->self, name, &value))
        (void)visit(user, value);
}

static enum sonde_extract_reason w3c_extract(const struct sonde_carrier *carrier, struct sonde_context *ret_context) {
    struct traceparent_visit found = {.reason = SONDE_EXTRACT_ABSENT};
    visit_values(carrier, TEXT("traceparent"), visit_traceparent, &found);
    if (found.reason != SONDE_EXTRACT_OK)
        return found.reason;
    ret_context->span = found.span;
    ret_context->tracestate_length = 0;
    struct sonde__tracestate_reader reader;
    sonde__tracestate_reader_init(&reader, ret_context);
    visit_values(carrier, TEXT("tracestate"), visit_tracestate, &reader);
    return reader.failed ? SONDE_EXTRACT_TRACESTATE : SONDE_EXTRACT_OK;
}

const struct sonde__propagator sonde__propagator_w3c = {
    .name = "tracecontext",
    .summary = "W3C trace context, levels 1 and 2: traceparent and tracestate",
    .inject = w3c_inject,
    .extract = w3c_extract,
};
