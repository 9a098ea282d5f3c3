/* SPDX-License-Identifier: Apache-2.0 */
/* Samplers, by thresholds. A trace has 56 bits of randomness R (the tracestate's ot=rv, else the low 56 bits of its
 * trace id); a sampler has a threshold T and samples iff R >= T, so that every sampler with the same or a larger ratio
 * keeps the same traces. What a ratio sampler keeps says so in the tracestate (ot=th), which makes counts add up.
 * Source: OpenTelemetry specification, trace/tracestate-probability-sampling.md, tracestate-handling.md. */
#ifndef SONDE_TRACE_SAMPLER_H
#define SONDE_TRACE_SAMPLER_H

#include "instrumentation/context/clock.h"
#include "instrumentation/resource/settings.h"
#include <sonde/context.h>
#include <sonde/sampler.h>

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

/* A decision as it is made. The caller fills the first part.
 *  context  trace id of the span; span id and flags of the parent, or zero for a root; a decision that was carried;
 *           tracestate of the parent, in the end that of the span.
 *  options  complete; NULL = none. */
struct sonde__sampling {
    struct sonde_context *context;
    struct sonde_key name;
    const struct sonde_span_options *options;

    struct sonde__ot ot;     /* of the parent's tracestate */
    uint64_t unix_ns, ticks; /* the clock, when it was read (unix_ns not 0): good as the span's start */
    uint32_t added_count;
    struct {
        const struct sonde_attribute *attributes;
        size_t count;
    } added[SONDE_SAMPLER_DEPTH_MAX]; /* to a sampled span */
};

/** The time, read once for the decision and the span's start. */
static inline uint64_t sonde__sampling_now(struct sonde__sampling *sampling) {
    if (!sampling->unix_ns)
        sampling->unix_ns = sonde__clock_now(&sampling->ticks);
    return sampling->unix_ns;
}

/** Decides for a new span and brings its tracestate in line. Returns true: sampled. Any thread; no lock, no memory. */
bool sonde__sampler_decide(const struct sonde__settings *settings, struct sonde__sampling *sampling);

/* ---- for samplers ---- */

/* threshold 0..SONDE__THRESHOLD_MAX. reliable: it may be told as th. kept: as the parent's, its tracestate stays. */
struct sonde__intent {
    uint64_t threshold;
    bool reliable, kept;
};
/** Whether what was carried along decides, and how: the parent's flag, or a decision without one. by_threshold: the
 *  parent's th is stronger than its flag. False: the root sampler is to decide. */
bool sonde__intent_carried(struct sonde__sampling *sampling, bool by_threshold, struct sonde__intent *ret_intent);
/** Whether the agent decides for this service's roots, and how. */
bool sonde__intent_steered(struct sonde__intent *ret_intent);
static inline bool sonde__intent_samples(const struct sonde__sampling *sampling, const struct sonde__intent *intent) {
    return sampling->ot.randomness >= intent->threshold;
}

/* composed.c */
struct sonde__intent sonde__composed_intent(const struct sonde_sampler *sampler, struct sonde__sampling *sampling);
/** A composed sampler that may read a parent's baggage. */
bool sonde__composed_wants_baggage(const struct sonde_sampler *sampler);

/* rule.c */
struct sonde__rule {
    int kind;
    enum sonde_sampler_parent parent;
    const char *name, *scope;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
    const struct sonde_sampler *sampler;
};
bool sonde__rule_holds(const struct sonde__rule *rule, const struct sonde__sampling *sampling);
#endif
