/* SPDX-License-Identifier: Apache-2.0 */
/* One family at work, inside exporters/prometheus/: its snapshot, and what writes its series. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_FAMILY_H
#define SONDE_EXPORTERS_PROMETHEUS_FAMILY_H

#include "exporters/prometheus/scrape.h"
#include "exporters/prometheus/snapshot.h"

struct family {
    struct sonde_prometheus_dialect dialect;
    struct sonde_prometheus_settings settings;
    struct sonde_prometheus_stats *stats;
    const char *name;
    uint32_t name_size, stem_size; /* stem: without _total, where the format tells them apart */
    enum plan_type type;
    bool is_plain, is_unknown; /* plain: not to be quoted; unknown: a counter without _total in OpenMetrics */
    struct snapshot snapshot;
    struct labels labels, others;
    struct buffer label_text, other_text, value; /* of the series at hand */
};

void family_init(struct family *family, const struct sonde_alloc *alloc, const struct sonde_prometheus_dialect *dialect,
                 const struct sonde_prometheus_settings *settings, struct sonde_prometheus_stats *stats);
void family_deinit(struct family *family);
bool family_failed(const struct family *family);
/** The name, and how samples are called. */
void family_name(struct family *family, const struct plan *plan, const struct plan_family *planned);

/* What equal series add up to. */
struct family_value {
    bool is_double;
    int64_t whole;
    double real;
    uint64_t start_unix_ns;
    const struct snapshot_metric *metric;
    struct sonde__metric_histogram histogram;
};
void family_value(struct family *family, const struct snapshot_point *point, struct family_value *ret_value);
/** The latest exemplar of equal series with a value in (above, upto]. False: there is none. */
bool family_exemplar(const struct family *family, const struct snapshot_point *point, double above, double upto,
                     struct sonde__metric_exemplar *ret_exemplar);
double family_exemplar_value(const struct family *family, const struct snapshot_point *point,
                             const struct sonde__metric_exemplar *exemplar);

/* text.c: text 0.0.4 and OpenMetrics */
void family_text_head(struct family *family, const char *dotted, size_t dotted_size, struct buffer *out);
void family_text_series(struct family *family, const struct snapshot_point *point, struct buffer *out);
void family_text_target(struct family *family, struct buffer *out);
void family_text_target_head(struct family *family, struct buffer *out);

/* proto.c */
/** Size of the series as a Metric: its labels and its value. */
size_t family_proto_size(struct family *family, const struct snapshot_point *point);
/** size: of all Metrics with their tags and lengths. */
void family_proto_head(struct family *family, size_t size, struct buffer *out);
void family_proto_series(struct family *family, const struct snapshot_point *point, struct buffer *out);
/** A row of target_info, of the labels at hand, as a Metric; and all of it. */
void family_proto_target_row(struct family *family, struct buffer *rows);
void family_proto_target(struct family *family, const struct buffer *rows, struct buffer *out);

#endif
