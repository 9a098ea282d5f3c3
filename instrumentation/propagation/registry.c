/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of propagators, and the public calls that walk it. */
#include "instrumentation/propagation/propagator.h"
#include <string.h>

const struct sonde__propagator *const sonde__propagators[] = {
    &sonde__propagator_w3c,
    NULL,
};

int sonde_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    struct sonde_context current;
    if (!context) {
        sonde_context_current(&current);
        context = &current;
    }
    int first_error = 0;
    for (const struct sonde__propagator *const *row = sonde__propagators; *row; row++) {
        int error = (*row)->inject(context, carrier);
        if (first_error == 0)
            first_error = error;
    }
    return first_error;
}

enum sonde_extract_reason sonde_extract(const struct sonde_carrier *carrier, struct sonde_context *ret_context) {
    /* Not the whole: bytes of the list past its length are undefined, and there is a kilobyte of them. */
    memset(&ret_context->span, 0, sizeof ret_context->span);
    ret_context->tracestate_length = 0;
    ret_context->reserved = 0;
    enum sonde_extract_reason first = SONDE_EXTRACT_ABSENT;
    for (const struct sonde__propagator *const *row = sonde__propagators; *row; row++) {
        enum sonde_extract_reason reason = (*row)->extract(carrier, ret_context);
        if (reason == SONDE_EXTRACT_OK || reason == SONDE_EXTRACT_TRACESTATE)
            return reason;
        if (first == SONDE_EXTRACT_ABSENT)
            first = reason; /* why the first format that was there at all gave nothing */
    }
    return first;
}
