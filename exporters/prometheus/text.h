/* SPDX-License-Identifier: Apache-2.0 */
/* A whole scrape at once, in text format 0.0.4. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_TEXT_H
#define SONDE_EXPORTERS_PROMETHEUS_TEXT_H

#include "exporters/prometheus/scrape.h"

/** Where the text goes, in pieces. Returns 0, or an error that ends the writing. */
struct sonde_prometheus_sink {
    int (*write)(void *self, const char *text, size_t size);
    void *self;
};

/** Writes everything, as it was refreshed last. feed, alloc and sink borrowed.
 *  Returns 0, -ENOMEM, or the sink's error. Never blocks. */
int sonde_prometheus_write(const struct sonde_metric_feed *feed, const struct sonde_alloc *alloc,
                           const struct sonde_prometheus_sink *sink, struct sonde_prometheus_stats *ret_stats);

#endif
