/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as exporters see them: instruments with their points, borrowed from whoever keeps them (agent/series/).
 * One metric is one instrument of one resource and scope; points are its series. Values are cumulative. */
#ifndef SONDE_EXPORTERS_METRIC_FEED_H
#define SONDE_EXPORTERS_METRIC_FEED_H

#include "exporters/record_log.h"
#include "instrumentation/metric/read.h"

/* How OTLP exporters want sums and histograms. metrics/sdk_exporters/otlp.md says which kinds each is about. */
enum sonde_temporality { SONDE_TEMPORALITY_CUMULATIVE = 0, SONDE_TEMPORALITY_DELTA, SONDE_TEMPORALITY_LOW_MEMORY };

struct sonde_metric {
    struct sonde_bytes resource;          /* encoded Resource message */
    struct sonde_bytes scope, schema_url; /* encoded InstrumentationScope message; both may be empty */
    uint32_t uid;                         /* user the resource belongs to */
    enum sonde_instrument_kind kind;
    bool is_double;                              /* of a sum or gauge */
    struct sonde_string name, unit, description; /* dotted OpenTelemetry names; UTF-8, no NUL */
    const uint8_t *bounds;                       /* bound_count doubles, unaligned */
    uint32_t bound_count;                        /* 0 = exponential, if it is a histogram and not unbounded */
    bool is_unbounded;                           /* a histogram of which only count and sum are known */
    bool is_over;                                /* its process is gone: final values */
    bool is_observed;                            /* by a callback */
    bool is_delta;                               /* its points were made deltas (OTLP); the feed's are cumulative */
    const void *source;                          /* the feed's own */
    uint32_t number;
    uint32_t id; /* of the source; stays the metric's, whatever else comes and goes */
};

static inline bool sonde_metric_is_exponential(const struct sonde_metric *metric) {
    return metric->kind == SONDE_HISTOGRAM && !metric->bound_count && !metric->is_unbounded;
}

struct sonde_metric_point {
    struct sonde_bytes attributes; /* KeyValue messages as field 1, sorted by key */
    uint64_t start_unix_ns, time_unix_ns;
    int64_t int64;
    double float64;
    const struct sonde__metric_histogram *histogram;
    /* Borrowed; int64 or bits of a double as the metric is, of histograms double. OTLP sends those that are new; formats
     * that are scraped (OpenMetrics) show the latest of each bucket, old ones too. */
    const struct sonde__metric_exemplar *exemplars;
    uint32_t exemplar_count;
    bool min_unknown, max_unknown; /* of a delta: the extreme may be of an earlier time; nobody told */
};

/* Where an iteration is; the feed's own. Nothing may be added to or removed from the feed meanwhile. */
struct sonde_metric_cursor {
    const void *source;
    uint32_t number;
};

struct sonde_metric_feed {
    /** The next metric; *at begins as zeros. All of a source come together, all of a scope mostly. */
    bool (*next_metric)(void *self, struct sonde_metric_cursor *at, struct sonde_metric *ret_metric);
    /** The next point of a metric; *at begins as 0. */
    bool (*next_point)(void *self, const struct sonde_metric *metric, uint32_t *at,
                       struct sonde_metric_point *ret_point);

    /* For those who read a piece at a time, while the feed changes in between. */

    /** From hold(true) on, what source handles stand for is not freed, though it may be gone. hold(false) gives it up;
     *  holds count. */
    void (*hold)(void *self, bool is_held);
    /** The next source; *at begins as NULL. Between two calls sources may come (those are left out) and go. */
    bool (*next_source)(void *self, const void **at);
    /** Brings a source's values up to date; exemplars: those, too. */
    void (*refresh)(void *self, const void *source, bool exemplars);
    /** The next metric of a source; *number begins as 0. Not to be gone on with after a piece. */
    bool (*source_metric)(void *self, const void *source, uint32_t *number, struct sonde_metric *ret_metric);
    /** A metric, as it is now. False: it is gone, or its source is. */
    bool (*find)(void *self, const void *source, uint32_t id, struct sonde_metric *ret_metric);
    /** Whoever reads has got the source's exemplars. */
    void (*exemplars_shown)(void *self, const void *source);
    void *self;
};

#endif
