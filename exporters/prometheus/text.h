/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text format 0.0.4 of a metric feed. One group per family across all resources; equal series of several
 * processes (children that share an instance id, say) are summed, since a scrape may not show one twice.
 * Source: prometheus.io/docs/instrumenting/exposition_formats. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_TEXT_H
#define SONDE_EXPORTERS_PROMETHEUS_TEXT_H

#include "exporters/metric_feed.h"
#include "exporters/seam.h"

#define SONDE_PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/** Where the text goes, in pieces of a family or less. Returns 0, or an error that ends the writing. */
struct sonde_prometheus_sink {
    int (*write)(void *self, const char *text, size_t size);
    void *self;
};

struct sonde_prometheus_stats {
    uint64_t families, series;
    uint64_t type_conflicts; /* metrics left out: their name stands for another type already */
    uint64_t names_refused;  /* metrics and labels of whose name nothing is left */
    uint64_t points_refused; /* equal series whose buckets cannot be added */
};

/** Writes everything. feed, alloc and sink borrowed.
 *  Returns 0, -ENOMEM (what was written ends with a whole family), or the sink's error. Never blocks. */
int sonde_prometheus_write(const struct sonde_metric_feed *feed, const struct sonde_alloc *alloc,
                           const struct sonde_prometheus_sink *sink, struct sonde_prometheus_stats *ret_stats);

#endif
