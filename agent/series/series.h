/* SPDX-License-Identifier: Apache-2.0 */
/* The store of metric series: what scrapes (Prometheus) and the OTLP interval read. Three kinds of writers:
 * services' shared memory (pulled when someone asks, so a scrape is never stale), the agent's own counters, and collectors.
 * A source is whoever the series belong to: it has a resource, and its series go when it does (final values of a dead
 * service stay until one OTLP interval and five minutes have passed).
 * Loop thread only. Names are OpenTelemetry's dotted ones; exporters translate. */
#ifndef SONDE_AGENT_SERIES_H
#define SONDE_AGENT_SERIES_H

#include "exporters/record_log.h"
#include "exporters/seam.h"
#include <sonde/attribute.h>
#include <sonde/metric.h>

struct sonde_series_store;
struct sonde_series_source;

int sonde_series_store_create(const struct sonde_seams *seams, struct sonde_series_store **ret_store);
void sonde_series_store_destroy(struct sonde_series_store *store);

/** A source whose values are pushed: the agent itself, a collector. resource: encoded Resource message, copied.
 *  Returns 0, -ENOMEM. */
int sonde_series_source_create(struct sonde_series_store *store, struct sonde_bytes resource,
                               struct sonde_series_source **ret_source);
/** Gone at once, with its series. NULL is fine. */
void sonde_series_source_destroy(struct sonde_series_source *source);

/** Sets the current value of a series (made when new). Cumulative for counters: the total since start_unix_ns.
 *  All strings NUL-terminated, borrowed; name, unit and description are those of sonde/metric.h.
 *  Returns 0, -ENOMEM, SONDE_EINVALID (kind conflict with the same name in this source). */
struct sonde_series_value {
    enum sonde_instrument_kind kind; /* not HISTOGRAM here */
    const char *name, *unit, *description;
    const struct sonde_attribute *attributes; /* string, bool, int64, double values */
    size_t attribute_count;
    bool is_double;
    int64_t int64;
    double float64;
    uint64_t start_unix_ns;
};
int sonde_series_set(struct sonde_series_source *source, const struct sonde_series_value *value);
/** Removes the source's series that were not set since the last call (a group that is gone). */
void sonde_series_sweep(struct sonde_series_source *source);

/** A source that is pulled: `pull` is called before each read and sets values (agent's own counters). */
void sonde_series_source_on_pull(struct sonde_series_source *source, void (*pull)(void *user), void *user);

#endif
