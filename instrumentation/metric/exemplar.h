/* SPDX-License-Identifier: Apache-2.0 */
/* Exemplars: measurements that are kept whole, with the span they were made under. How they are chosen: exemplar.c. */
#ifndef SONDE_METRIC_EXEMPLAR_H
#define SONDE_METRIC_EXEMPLAR_H

#include "instrumentation/ring/cells.h"
#include "instrumentation/ring/thread.h"
#include <sonde/attribute.h>

/* A measurement that the filter lets through. */
struct sonde__offer {
    uint32_t series; /* number, 1..SONDE_SERIES_MAX-1, described */
    uint64_t bits;   /* the value as the instrument's number is */
    const struct sonde__stack_entry *context;
    const struct sonde_attribute *attributes; /* all of the call; those that the series has are left out */
    size_t attribute_count;
};

/** Offers a measurement to the series' reservoir. Inside enter/leave. No allocation, no system call; what is in the way
 *  (no room, another thread writing there) costs the exemplar and nothing else. */
void sonde__exemplar_offer(struct sonde__thread *thread, const struct sonde__offer *offer);

/** The same for a bound series and the current context. */
void sonde__exemplar_offer_bound(struct sonde__thread *thread, uint32_t series, uint64_t bits)
    __attribute__((noinline));

/* The filter: is what is measured in this context to be offered? */
static inline bool sonde__exemplar_wanted(const struct sonde__thread *thread,
                                          const struct sonde__stack_entry *context) {
    return (context->flags & SONDE_TRACE_FLAG_SAMPLED) >= thread->exemplar_least;
}
static inline bool sonde__exemplar_wanted_now(const struct sonde__thread *thread) {
    return sonde__exemplar_wanted(thread, &thread->stack[thread->depth]);
}

#endif
