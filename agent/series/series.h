/* SPDX-License-Identifier: Apache-2.0 */
/* The store of metric series: what scrapes (Prometheus) and the OTLP interval read. Three kinds of writers:
 * services' shared memory (pulled when someone asks, so a scrape is never stale), the agent's own counters, and
 * collectors. A source is whoever the series belong to: it has a resource, and its series go when it does (final values
 * of a dead service stay until one OTLP interval and five minutes have passed). Loop thread only. Names are
 * OpenTelemetry's dotted ones; exporters translate. */
#ifndef SONDE_AGENT_SERIES_H
#define SONDE_AGENT_SERIES_H

#include "agent/ledger/ledger.h"
#include "agent/queue/queue.h"
#include "exporters/metric_feed.h"
#include "exporters/seam.h"
#include <sonde/attribute.h>
#include <sonde/metric.h>

struct sonde_series_store;
struct sonde_series_source;

int sonde_series_store_create(const struct sonde_seams *seams, struct sonde_series_store **ret_store);
void sonde_series_store_destroy(struct sonde_series_store *store);
/** What sonde_series_export() appends from now on. Cumulative before; set once, before the first export. */
void sonde_series_store_set_temporality(struct sonde_series_store *store, enum sonde_temporality temporality);

/** A source whose values are pushed: the agent itself, a collector. resource: encoded Resource message, copied.
 *  Returns 0, -ENOMEM. */
int sonde_series_source_create(struct sonde_series_store *store, struct sonde_bytes resource,
                               struct sonde_series_source **ret_source);
/** Gone at once, with its series. NULL is fine. */
void sonde_series_source_destroy(struct sonde_series_source *source);

/** Sets the current value of a series (made when new). Cumulative for counters: the total since start_unix_ns.
 *  All strings NUL-terminated, borrowed; name, unit and description are those of sonde/metric.h.
 *  Returns 0, -ENOMEM, SONDE_EINVALID (kind conflict with the same name in this source; bounds). */
struct sonde_series_value {
    enum sonde_instrument_kind kind;
    const char *name, *unit, *description;
    const struct sonde_attribute *attributes; /* string, bool, int64, double values */
    size_t attribute_count;
    bool is_double;
    int64_t int64;
    double float64;
    uint64_t start_unix_ns;
    bool start_is_unknown; /* another's total: it begins when it was first set, and again when it falls */
    /* HISTOGRAM: float64 is the sum. bounds ascend and are finite; counts has one more, each of its bucket alone. Without
     * bounds only count and sum are known. Series of a name may differ in their bounds. */
    const double *bounds;
    uint32_t bound_count; /* SONDE__BOUNDS_MAX at most */
    const uint64_t *counts;
};
int sonde_series_set(struct sonde_series_source *source, const struct sonde_series_value *value);
/** Says when a series that was set began. Attributes as there. */
void sonde_series_start(struct sonde_series_source *source, const char *name, const struct sonde_attribute *attributes,
                        size_t count, uint64_t start_unix_ns);
/** All that is set so far counts as not set: the next sweep removes it. */
void sonde_series_expire(struct sonde_series_source *source);
/** Lets the stages look at the source, then removes its series that were not set since the last call (a group that is
 *  gone). */
void sonde_series_sweep(struct sonde_series_source *source);

/* ---- stages: processors that make series of series ---- */

#define SONDE_SERIES_STAGES_MAX 32u
struct sonde_series_stage {
    /** All of a pushed source's values are set: looks at them (sonde_series_each()), and sets what it makes of them in
     *  the same source. */
    void (*look)(void *self, struct sonde_series_source *source);
    /** The source is about to go. Optional. */
    void (*gone)(void *self, struct sonde_series_source *source);
    void *self;
};
/** Returns 0, SONDE_EFULL. */
int sonde_series_stage_add(struct sonde_series_store *store, const struct sonde_series_stage *stage);
void sonde_series_stage_remove(struct sonde_series_store *store, const void *self);
/** Visits the series of a pushed source that were set since its last sweep, metric by metric. Nothing may be set
 *  meanwhile. */
void sonde_series_each(const struct sonde_series_source *source,
                       void (*visit)(void *user, const struct sonde_metric *metric,
                                     const struct sonde_metric_point *point),
                       void *user);

/** A source that is pulled: `pull` is called before each read and sets values (agent's own counters). */
void sonde_series_source_on_pull(struct sonde_series_source *source, void (*pull)(void *user), void *user);

/* ---- services: their shared memory ---- */

/* What dead services leave behind at most; the oldest go first. */
#define SONDE_SERIES_DEAD_MAX 1024u
/* How long their final values stay for scrapes. */
#define SONDE_SERIES_DEAD_NS  (UINT64_C(300) * 1000000000u)

/** A process whose metrics are read whenever someone asks. memory: its struct copied, self kept until the removal; a
 *  memory that the agent does not have (yet) is one whose read fails. resource: copied.
 *  Returns 0, -ENOMEM. */
int sonde_series_service_add(struct sonde_series_store *store, const struct sonde__metric_memory *memory,
                             struct sonde_bytes resource, uint32_t uid, struct sonde_series_source **ret_source);
/** Has `exported` called with the memory's self when exemplars of a collection period were exported: the process shall
 *  begin another. */
void sonde_series_service_on_export(struct sonde_series_source *source,
                                    void (*exported)(void *self, uint32_t collection));
/** Clocks that its circuit breakers were given are the store's: the agent's own process. */
void sonde_series_service_shares_clock(struct sonde_series_source *source);
/** The process is gone: reads its memory a last time, then keeps the values until they were exported once (if anyone
 *  exports) and SONDE_SERIES_DEAD_NS have passed. The source is the store's from now on. NULL is fine. */
void sonde_series_service_remove(struct sonde_series_source *source);
/** How often its memory said what cannot be. */
uint32_t sonde_series_service_violations(const struct sonde_series_source *source);

/* ---- reading ---- */

/** Brings all values up to date: pulls, reads services' memory, lets go of the dead. Before each use of the feed. */
void sonde_series_refresh(struct sonde_series_store *store);
/** Lets go of the dead only. Before a scrape that refreshes source by source. */
void sonde_series_expire_dead(struct sonde_series_store *store);
/** The store as a feed; good as long as the store is. Who reads it in pieces tells of exemplars that were shown: their
 *  period ends then, if nobody exports metrics. */
struct sonde_metric_feed sonde_series_feed(struct sonde_series_store *store);
/** Sources, dead ones included; and series as of the last refresh. */
void sonde_series_counts(const struct sonde_series_store *store, uint32_t *ret_sources, uint64_t *ret_series);

/** Refreshes, and appends every series' value to the queue as OTLP metrics: one OTLP interval. Counted in the ledger by
 *  data point.
 *  Returns 0, or the queue's first error (SONDE_EFULL): the rest is left out this time, which loses nothing but
 *  resolution since values are cumulative, and deltas then cover both intervals; -ENOMEM. */
int sonde_series_export(struct sonde_series_store *store, struct sonde_queue *queue, struct sonde_ledger *ledger);

#endif
