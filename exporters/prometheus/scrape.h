/* SPDX-License-Identifier: Apache-2.0 */
/* A scrape: everything of a metric feed in one of the formats, a piece at a time.
 *
 *   sources, one after the other: brought up to date, their metrics noted -> families by name
 *   each family: copied at one moment -> equal series found -> written, series by series
 *
 * So a family is of one moment, whatever the feed does meanwhile, and memory is that of the largest family. Equal series
 * of several processes (children that share an instance id, say) are summed, since a scrape may not show one twice.
 * Between two pieces the feed may change: what went is left out, what came is for the next scrape.
 * Source: prometheus.io/docs/instrumenting/exposition_formats; OpenMetrics 1.0.0; proto/prometheus.proto. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_SCRAPE_H
#define SONDE_EXPORTERS_PROMETHEUS_SCRAPE_H

#include "exporters/metric_feed.h"
#include "exporters/prometheus/dialect.h"
#include "exporters/seam.h"

struct sonde_prometheus_stats {
    uint64_t families, series;
    uint64_t type_conflicts; /* metrics left out: their name stands for another type already */
    uint64_t names_refused;  /* metrics and labels of whose name nothing is left */
    uint64_t points_refused; /* equal series whose buckets cannot be added */
};

struct sonde_prometheus_scrape;

struct sonde_prometheus_scrape_options {
    const struct sonde_metric_feed *feed; /* borrowed until the scrape is destroyed, as is what it refers to */
    const struct sonde_alloc *alloc;      /* same */
    const struct sonde_time *time;        /* same; NULL = pieces as large as they come */
    const struct sonde_prometheus_dialect *dialect;
    const struct sonde_prometheus_settings *settings;
    bool refresh; /* sources are brought up to date as their turn comes; else they are as they were */
};

/** Returns 0, -ENOMEM. */
int sonde_prometheus_scrape_create(const struct sonde_prometheus_scrape_options *options,
                                   struct sonde_prometheus_scrape **ret_scrape);
void sonde_prometheus_scrape_destroy(struct sonde_prometheus_scrape *scrape); /* NULL is fine; at any time */

/** Works for a millisecond at most (a source's values are read in one go, a family copied in one: tens of nanoseconds a
 *  series), or until some 32 KiB are written.
 *  ret_text, ret_size  what was written, perhaps nothing; good until the next call.
 *  ret_done            that was all.
 *  Returns 0, -ENOMEM: what was written so far is not to be taken for a scrape. */
int sonde_prometheus_scrape_next(struct sonde_prometheus_scrape *scrape, const char **ret_text, size_t *ret_size,
                                 bool *ret_done);
/** All of it reached the scraper: exemplars count as shown. */
void sonde_prometheus_scrape_taken(struct sonde_prometheus_scrape *scrape);
void sonde_prometheus_scrape_stats(const struct sonde_prometheus_scrape *scrape,
                                   struct sonde_prometheus_stats *ret_stats);

#endif
