/* SPDX-License-Identifier: Apache-2.0 */
/* The labels of one series: of its resource (job, instance), its scope (otel_scope_*) and its own attributes, sorted,
 * colliding ones joined.
 *
 *   labels_base()   resource and scope: once a metric, kept as bytes
 *   labels_point()  those and a point's attributes -> list  -> labels_hash(), labels_write_text(), ..._proto() */
#ifndef SONDE_EXPORTERS_PROMETHEUS_LABELS_H
#define SONDE_EXPORTERS_PROMETHEUS_LABELS_H

#include "exporters/metric_feed.h"
#include "exporters/prometheus/label_names.h"

struct label {
    const char *name, *value; /* value: NULL = at value_at in text */
    uint32_t name_size, value_size;
    size_t value_at;
    uint64_t name_hash;
    bool is_quoted;
};

/** Working memory; the list is good until the next call. */
struct labels {
    struct label_names names;
    bool scope_labels;
    struct buffer text; /* values that do not stand somewhere as they are */
    struct buffer list; /* struct label */
    uint64_t refused;   /* names of which nothing is left */
};

void labels_init(struct labels *labels, const struct sonde_alloc *alloc,
                 const struct sonde_prometheus_settings *settings, enum sonde_prometheus_escaping escaping);
void labels_deinit(struct labels *labels);
bool labels_failed(const struct labels *labels);

/** Appends the labels of a metric's resource and scope to `to`, in a form that labels_point() takes. */
void labels_base(struct labels *labels, const struct sonde_metric *metric, struct buffer *to);

/* What matters of a metric for the names of its points' labels. */
struct labels_kind {
    bool is_histogram;  /* le is taken */
    bool is_of_breaker; /* its attributes are within its name space */
};
struct labels_kind labels_kind_of(const struct sonde_metric *metric);
/** The labels of a point. Attributes called job, instance, and le of a histogram become exported_*. base: what
 *  labels_base() wrote. */
void labels_point(struct labels *labels, struct labels_kind kind, struct sonde_bytes base,
                  struct sonde_bytes attributes);
/** The labels of target_info: job, instance and all other attributes of the resource. Returns how many others. */
size_t labels_target(struct labels *labels, struct sonde_bytes resource);
/** The labels of an exemplar: trace_id and span_id in hex, and of the attributes those that there is room for. */
void labels_exemplar(struct labels *labels, const struct sonde__metric_exemplar *exemplar);

uint64_t labels_hash(const struct labels *labels);
/** Appends name="value",name="value". */
void labels_write_text(const struct labels *labels, struct buffer *to);
/** Appends LabelPairs, as field 1. */
void labels_write_proto(const struct labels *labels, struct buffer *to);
size_t labels_proto_size(const struct labels *labels);

#endif
