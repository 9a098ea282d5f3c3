/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/carrier/first.h"

bool sonde__first_ask(struct sonde__first *first, const struct sonde_carrier *carrier, const char *propagators) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    struct sonde_context found, *context = first->context;
    if (!carrier)
        return false;
    options.propagators = propagators;
    enum sonde_extract_reason reason = sonde_extract_with(carrier, &options, &found);
    if (sonde_span_context_is_valid(&found.span)) {
        context->span = found.span;
        context->tracestate_length = found.tracestate_length;
        memcpy(context->tracestate, found.tracestate, found.tracestate_length);
        if (found.baggage_length) {
            context->baggage_length = found.baggage_length;
            memcpy(context->baggage, found.baggage, found.baggage_length);
        }
        first->reason = reason;
        return true;
    }
    if (first->reason == SONDE_EXTRACT_ABSENT && reason != SONDE_EXTRACT_ABSENT) {
        sonde_context_copy(context, &found);
        first->reason = reason;
    }
    return false;
}
