/* SPDX-License-Identifier: Apache-2.0 */
/* Labels: of a resource (job, instance), a scope (otel_scope_*) and a point's attributes, sorted, colliding ones
 * joined. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_LABELS_H
#define SONDE_EXPORTERS_PROMETHEUS_LABELS_H

#include "exporters/metric_feed.h"
#include "exporters/prometheus/buffer.h"

struct label {
    size_t name_at, name_size, value_at, value_size; /* in text */
};

/** Working memory of one writing; nothing in it outlives a call but its allocations. */
struct labels {
    struct buffer text;  /* names and values */
    struct buffer pairs; /* struct label */
    uint64_t refused;    /* names of which nothing is left */
};

void labels_init(struct labels *labels, const struct sonde_alloc *alloc);
void labels_deinit(struct labels *labels);

/** Appends name="value",name="value",... of a point to `to`. Attributes called job, instance, and le of a histogram
 *  become exported_*. */
void labels_write_point(struct labels *labels, const struct sonde_metric *metric, struct sonde_bytes attributes,
                        struct buffer *to);

/** The labels of target_info: job, instance and all other attributes of the resource. Returns how many others. */
size_t labels_write_target(struct labels *labels, struct sonde_bytes resource, struct buffer *to);

/** Escapes for HELP (quotes stay) or for a label value. */
void labels_escape(struct buffer *to, const char *text, size_t size, bool quotes);

#endif
