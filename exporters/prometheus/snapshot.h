/* SPDX-License-Identifier: Apache-2.0 */
/* One family's points, copied at one moment, so that it is written as of that moment however long that takes. Some 150
 * bytes a series, histograms packed. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_SNAPSHOT_H
#define SONDE_EXPORTERS_PROMETHEUS_SNAPSHOT_H

#include "exporters/prometheus/histogram.h"
#include "exporters/prometheus/labels.h"
#include "exporters/prometheus/plan.h"

struct snapshot_metric { /* what its points share */
    size_t base_at, bounds_at;
    uint32_t base_size, bound_count;
    bool is_double, is_over, is_gauge, is_exponential;
};
struct snapshot_point {
    uint64_t hash;  /* of its labels, once that is known */
    uint64_t value; /* int64, or the bits of a double */
    uint64_t start_unix_ns;
    size_t at; /* in bytes: its attributes, its histogram, its exemplars */
    uint32_t attributes_size, metric;
    uint32_t next;        /* another one with the same labels: index + 1 */
    uint32_t labels_size; /* as LabelPairs, once that is known */
    uint16_t exemplar_count;
    bool is_follower; /* one before it has the same labels */
};

struct snapshot {
    struct buffer metrics, points, bytes;
    struct buffer slots;              /* uint32_t, index + 1; a power of two: points by hash */
    struct buffer help, unit, dotted; /* dotted: the metric's own name */
    struct labels_kind kind;
    struct powers powers; /* of all exponential histograms */
    bool unit_is_unclear;
};

void snapshot_init(struct snapshot *snapshot, const struct sonde_alloc *alloc);
void snapshot_deinit(struct snapshot *snapshot);
bool snapshot_failed(const struct snapshot *snapshot);

/** Copies a family. labels: for those of resources and scopes. */
void snapshot_take(struct snapshot *snapshot, const struct sonde_metric_feed *feed, const struct plan *plan,
                   const struct plan_family *family, struct labels *labels, bool exemplars);
static inline size_t snapshot_count(const struct snapshot *snapshot) {
    return snapshot->points.size / sizeof(struct snapshot_point);
}
static inline struct snapshot_point *snapshot_point(const struct snapshot *snapshot, size_t index) {
    return &((struct snapshot_point *)(void *)snapshot->points.data)[index];
}
static inline const struct snapshot_metric *snapshot_metric(const struct snapshot *snapshot,
                                                            const struct snapshot_point *point) {
    return &((const struct snapshot_metric *)(const void *)snapshot->metrics.data)[point->metric];
}
/** A point's labels into labels. */
void snapshot_labels(const struct snapshot *snapshot, const struct snapshot_point *point, struct labels *labels);
/** Notes the point's hash, and the point before it with the same labels, if there is one. */
void snapshot_match(struct snapshot *snapshot, size_t index, uint64_t hash,
                    bool (*same)(void *user, const struct snapshot_point *a, const struct snapshot_point *b),
                    void *user);
/** A histogram; explicit ones have bounds. */
void snapshot_histogram(const struct snapshot *snapshot, const struct snapshot_point *point,
                        struct sonde__metric_histogram *ret_histogram);
double snapshot_bound(const struct snapshot *snapshot, const struct snapshot_metric *metric, uint32_t index);
bool snapshot_same_buckets(const struct snapshot *snapshot, const struct snapshot_point *a,
                           const struct snapshot_point *b);
/** Exemplar number index of a point; its attributes point into the snapshot. */
void snapshot_exemplar(const struct snapshot *snapshot, const struct snapshot_point *point, uint32_t index,
                       struct sonde__metric_exemplar *ret_exemplar);

#endif
