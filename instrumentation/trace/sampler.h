/* SPDX-License-Identifier: Apache-2.0 */
/* Samplers, by thresholds. A trace has 56 bits of randomness R (the tracestate's ot=rv, else the low 56 bits of its
 * trace id); a sampler has a threshold T and samples iff R >= T, so that every sampler with the same or a larger ratio
 * keeps the same traces. What a ratio sampler keeps says so in the tracestate (ot=th), which makes counts add up.
 * Source: OpenTelemetry specification, trace/tracestate-probability-sampling.md, tracestate-handling.md. */
#ifndef SONDE_TRACE_SAMPLER_H
#define SONDE_TRACE_SAMPLER_H

#include "instrumentation/resource/settings.h"
#include <sonde/context.h>

#define SONDE__THRESHOLD_MAX ((uint64_t)1 << 56) /* nothing is sampled */

/** Threshold of a ratio 0..1, rounded to so many significant hex digits (4 is usual). */
uint64_t sonde__sampler_threshold(double ratio, int precision);
/** A threshold below SONDE__THRESHOLD_MAX as ot=th says it. Returns the digits, 1..14. */
unsigned sonde__sampler_threshold_text(uint64_t threshold, char ret_text[14]);

/** What a tracestate's ot member says. */
struct sonde__ot {
    bool has_th, bad_th; /* present and good; present and malformed */
    uint64_t threshold;
    uint64_t randomness; /* of rv, or of the trace id */
    bool has_rv, bad_rv;
};
void sonde__ot_read(const struct sonde_context *context, struct sonde__ot *ret_ot);

/** Decides for a new span and brings its tracestate in line.
 *  context     trace id of the span; span id and flags of the parent, or zero for a root; a decision that was carried;
 *              tracestate of the parent, in the end that of the span.
 *  Returns true: sampled. No side effects, any thread. */
bool sonde__sampler_decide(const struct sonde__settings *settings, struct sonde_context *context);

#endif
