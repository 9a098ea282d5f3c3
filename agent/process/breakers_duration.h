/* SPDX-License-Identifier: Apache-2.0 */
/* Durations of calls of a foreign breaker: of one look, added up over what its library tells apart. */
#ifndef SONDE_AGENT_PROCESS_BREAKERS_DURATION_H
#define SONDE_AGENT_PROCESS_BREAKERS_DURATION_H

#include "agent/series/series.h"
#include "instrumentation/ring/cells.h"

struct breakers_duration {
    uint64_t look; /* added up in */
    uint32_t bound_count;
    double bounds[SONDE__BOUNDS_MAX], sum;
    uint64_t counts[SONDE__BUCKETS_MAX];
};

/** Begins (of another look) or adds. Where the bounds differ, count and sum remain.
 *  scale: to seconds. */
void breakers_duration_add(struct breakers_duration *duration, uint64_t look, const struct sonde_metric *metric,
                           const struct sonde__metric_histogram *histogram, double scale);
/** The same where only count and sum are told. */
void breakers_duration_add_plain(struct breakers_duration *duration, uint64_t look, uint64_t count, double sum);

#endif
