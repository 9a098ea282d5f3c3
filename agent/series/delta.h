/* SPDX-License-Identifier: Apache-2.0 */
/* Cumulative to delta, for OTLP exporters that ask for it. What a series had when it was exported last stays here; it
 * changes only when the queue took the point (series_delta_taken()), so that a full queue makes the next delta larger
 * and loses nothing.
 *
 *   for each point:  series_delta()  -> written   ...   queue took them: series_delta_taken() for each
 *
 * A point goes from the last one's time to its own; the first from the series' start. A value that fell, buckets that
 * do not contain the old ones, or another start mean that it began anew: then all of it is new. Unchanged series are
 * left out. min and max are told where they must be of this interval: when they changed, or all is new.
 *
 * A series older than this agent was perhaps exported by the agent before; that one left the time of its last export in
 * the service's memory. Then its first value here is where we begin, and nothing is sent: what was added in between is
 * missing, rather than all there ever was comes twice.
 * Source: OpenTelemetry specification, metrics/data-model.md, temporality; metrics/sdk_exporters/otlp.md. */
#ifndef SONDE_AGENT_SERIES_DELTA_H
#define SONDE_AGENT_SERIES_DELTA_H

#include "exporters/metric_feed.h"
#include "exporters/seam.h"

struct sonde_series_source;

/* What was exported last of a series. */
struct series_previous {
    uint64_t value; /* int64, or the bits of a double */
    uint64_t start_unix_ns, time_unix_ns;
    struct sonde__metric_histogram *histogram; /* owned */
    bool is_known;
};

/* Those of a service, by series number. */
struct series_deltas {
    struct series_previous *previous;
    uint32_t capacity;
};

/** The service's memory was read: finds out whether an agent before us exported from it. */
void series_deltas_begin(struct sonde_series_source *source);
/** True when points of the metric are to be sent as deltas. */
bool series_delta_wanted(const struct sonde_series_source *source, const struct sonde_metric *metric);
/** Turns a cumulative point into what is new. at: as next_point() left it. scratch: borrowed until the point is written.
 *  Returns 0, SERIES_DELTA_NONE (nothing to send), -ENOMEM. */
enum { SERIES_DELTA_NONE = 1 };
int series_delta(struct sonde_series_source *source, const struct sonde_metric *metric, uint32_t at,
                 struct sonde_metric_point *point, struct sonde__metric_histogram *scratch);
/** The queue has it. point: the cumulative one. */
void series_delta_taken(struct sonde_series_source *source, const struct sonde_metric *metric, uint32_t at,
                        const struct sonde_metric_point *point);
void series_deltas_deinit(struct series_deltas *deltas, const struct sonde_seams *seams);

#endif
