/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind a struct sonde_sampler. */
#ifndef SONDE_TRACE_COMPOSED_H
#define SONDE_TRACE_COMPOSED_H

#include "instrumentation/context/rate.h"
#include "instrumentation/trace/sampler.h"

enum sonde__composed_kind {
    SONDE__COMPOSED_ALWAYS_ON = 0,
    SONDE__COMPOSED_ALWAYS_OFF,
    SONDE__COMPOSED_PROBABILITY,
    SONDE__COMPOSED_REMOTE,
    SONDE__COMPOSED_PARENT_THRESHOLD,
    SONDE__COMPOSED_PARENT_BASED,
    SONDE__COMPOSED_RULES,
    SONDE__COMPOSED_ANNOTATING,
    SONDE__COMPOSED_RATE,
    SONDE__COMPOSED_CUSTOM,
};

/* Indices of parents[]. */
enum { SONDE__PARENT_SAMPLED = 1, SONDE__PARENT_IS_REMOTE = 2 };

struct sonde_sampler {
    enum sonde__composed_kind kind;
    uint32_t depth;                         /* 1 = nothing inside */
    bool wants_baggage;                     /* code of the user's is inside */
    uint64_t threshold;                     /* PROBABILITY */
    const struct sonde_sampler *inner;      /* root, otherwise; RATE: NULL = all */
    const struct sonde_sampler *parents[4]; /* PARENT_BASED */
    const struct sonde__rule *rules;
    size_t rule_count;
    const struct sonde_attribute *attributes; /* ANNOTATING */
    size_t attribute_count;
    struct sonde__rate rate;
    bool has_rate; /* false: RATE lets nothing through */
    sonde_sampler_fn decide;
    void *user;
    _Alignas(64) _Atomic uint64_t next_ns; /* RATE: the one thing that changes */
};

#endif
