/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/snapshot.h"
#include "exporters/prometheus/name.h"

/* Beyond that many no bucket gains by another. */
#define EXEMPLARS_MAX 1000u

void snapshot_init(struct snapshot *snapshot, const struct sonde_alloc *alloc) {
    *snapshot = (struct snapshot){.powers = POWERS_NONE};
    struct buffer *buffers[] = {&snapshot->metrics, &snapshot->points, &snapshot->bytes, &snapshot->slots,
                                &snapshot->help,    &snapshot->unit,   &snapshot->dotted};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_init(buffers[i], alloc);
}

void snapshot_deinit(struct snapshot *snapshot) {
    struct buffer *buffers[] = {&snapshot->metrics, &snapshot->points, &snapshot->bytes, &snapshot->slots,
                                &snapshot->help,    &snapshot->unit,   &snapshot->dotted};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_deinit(buffers[i]);
}

bool snapshot_failed(const struct snapshot *snapshot) {
    return snapshot->metrics.failed || snapshot->points.failed || snapshot->bytes.failed || snapshot->slots.failed ||
           snapshot->help.failed || snapshot->unit.failed || snapshot->dotted.failed;
}

static void clear(struct snapshot *snapshot) {
    snapshot->metrics.size = snapshot->points.size = snapshot->bytes.size = 0;
    snapshot->slots.size = snapshot->help.size = snapshot->unit.size = snapshot->dotted.size = 0;
    snapshot->powers = POWERS_NONE;
    snapshot->unit_is_unclear = false;
}

/* A metric's part: labels that its points share, boundaries, HELP and UNIT unless another said so before. */
static void take_metric(struct snapshot *snapshot, const struct sonde_metric *metric, struct labels *labels) {
    struct snapshot_metric copy = {.base_at = snapshot->bytes.size,
                                   .bound_count = metric->kind == SONDE_HISTOGRAM ? metric->bound_count : 0,
                                   .is_double = metric->is_double,
                                   .is_over = metric->is_over,
                                   .is_gauge = metric->kind == SONDE_GAUGE,
                                   .is_exponential = sonde_metric_is_exponential(metric)};
    size_t from = snapshot->unit.size;
    labels_base(labels, metric, &snapshot->bytes);
    copy.base_size = (uint32_t)(snapshot->bytes.size - copy.base_at);
    copy.bounds_at = snapshot->bytes.size;
    buffer_put(&snapshot->bytes, metric->bounds, copy.bound_count * sizeof(double));
    bool is_first = snapshot->metrics.size == 0;
    if (is_first)
        buffer_put(&snapshot->dotted, metric->name.data, metric->name.size);
    buffer_put(&snapshot->metrics, &copy, sizeof copy);
    if (!snapshot->help.size)
        buffer_put(&snapshot->help, metric->description.data, metric->description.size);
    sonde_prometheus_unit_word(&snapshot->unit, metric->unit, metric->kind);
    if (!is_first && !snapshot->unit.failed) {
        size_t size = snapshot->unit.size - from;
        snapshot->unit_is_unclear |=
            size != from || (size && memcmp(snapshot->unit.data, snapshot->unit.data + from, size));
        snapshot->unit.size = from;
    }
}

static void take_exemplar(struct snapshot *snapshot, const struct sonde__metric_exemplar *exemplar) {
    buffer_put(&snapshot->bytes, exemplar, sizeof *exemplar);
    buffer_put(&snapshot->bytes, exemplar->attributes, exemplar->attributes_size);
}

static void take_point(struct snapshot *snapshot, const struct sonde_metric *metric,
                       const struct sonde_metric_point *point, bool exemplars) {
    struct buffer *bytes = &snapshot->bytes;
    struct snapshot_point copy = {.at = bytes->size,
                                  .start_unix_ns = point->start_unix_ns,
                                  .attributes_size = (uint32_t)point->attributes.size,
                                  .metric = (uint32_t)(snapshot->metrics.size / sizeof(struct snapshot_metric)) - 1};
    buffer_put(bytes, point->attributes.data, point->attributes.size);
    if (metric->kind == SONDE_HISTOGRAM) {
        histogram_pack(point->histogram, bytes);
        if (sonde_metric_is_exponential(metric))
            powers_widen(&snapshot->powers, point->histogram);
    } else if (metric->is_double) {
        memcpy(&copy.value, &point->float64, sizeof copy.value);
    } else {
        copy.value = (uint64_t)point->int64;
    }
    bool has = exemplars && (metric->kind == SONDE_COUNTER || metric->kind == SONDE_HISTOGRAM);
    for (uint32_t i = 0; has && i < point->exemplar_count && i < EXEMPLARS_MAX; i++, copy.exemplar_count++)
        take_exemplar(snapshot, &point->exemplars[i]);
    buffer_put(&snapshot->points, &copy, sizeof copy);
}

static void slots_make(struct snapshot *snapshot) {
    size_t count = 64;
    while (count < 2 * snapshot_count(snapshot))
        count *= 2;
    if (!buffer_reserve(&snapshot->slots, count * sizeof(uint32_t)))
        return;
    snapshot->slots.size = count * sizeof(uint32_t);
    memset(snapshot->slots.data, 0, snapshot->slots.size);
}

/* A packed histogram, mostly; an entry's labels, mostly. More makes the room grow as usual. */
#define HISTOGRAM_SIZE 120u
#define METRIC_SIZE    300u

/* Makes room for a family: growing by doubling would take twice as much of large ones. */
static void reserve(struct snapshot *snapshot, const struct sonde_metric_feed *feed, const struct plan *plan,
                    const struct plan_family *family) {
    size_t points = 0, bytes = 0;
    for (const struct plan_entry *entry = plan_entry(plan, family->first); entry;
         entry = plan_entry(plan, entry->next)) {
        struct sonde_metric metric;
        struct sonde_metric_point point;
        if (!feed->find(feed->self, entry->source, entry->id, &metric))
            continue;
        bytes += METRIC_SIZE;
        for (uint32_t at = 0; feed->next_point(feed->self, &metric, &at, &point); points++)
            bytes += point.attributes.size + (point.histogram ? HISTOGRAM_SIZE : 0);
    }
    buffer_fit(&snapshot->points, points * sizeof(struct snapshot_point));
    buffer_fit(&snapshot->bytes, bytes);
}

void snapshot_take(struct snapshot *snapshot, const struct sonde_metric_feed *feed, const struct plan *plan,
                   const struct plan_family *family, struct labels *labels, bool exemplars) {
    clear(snapshot);
    reserve(snapshot, feed, plan, family);
    for (const struct plan_entry *entry = plan_entry(plan, family->first); entry;
         entry = plan_entry(plan, entry->next)) {
        struct sonde_metric metric;
        struct sonde_metric_point point;
        uint32_t at = 0;
        if (!feed->find(feed->self, entry->source, entry->id, &metric) || plan_type_of(metric.kind) != family->type ||
            !feed->next_point(feed->self, &metric, &at, &point))
            continue;
        snapshot->kind = labels_kind_of(&metric);
        take_metric(snapshot, &metric, labels);
        do
            take_point(snapshot, &metric, &point, exemplars);
        while (feed->next_point(feed->self, &metric, &at, &point));
    }
    slots_make(snapshot);
}

void snapshot_labels(const struct snapshot *snapshot, const struct snapshot_point *point, struct labels *labels) {
    const struct snapshot_metric *metric = snapshot_metric(snapshot, point);
    const uint8_t *bytes = (const uint8_t *)snapshot->bytes.data;
    labels_point(labels, snapshot->kind, (struct sonde_bytes){bytes + metric->base_at, metric->base_size},
                 (struct sonde_bytes){bytes + point->at, point->attributes_size});
}

void snapshot_match(struct snapshot *snapshot, size_t index, uint64_t hash,
                    bool (*same)(void *user, const struct snapshot_point *a, const struct snapshot_point *b),
                    void *user) {
    uint32_t *slots = (uint32_t *)(void *)snapshot->slots.data;
    size_t mask = snapshot->slots.size / sizeof *slots - 1, at = (size_t)hash & mask;
    struct snapshot_point *point = snapshot_point(snapshot, index);
    point->hash = hash;
    for (; slots[at]; at = (at + 1) & mask) {
        struct snapshot_point *other = snapshot_point(snapshot, slots[at] - 1);
        if (other->hash != hash || !same(user, other, point))
            continue;
        point->next = other->next;
        other->next = (uint32_t)index + 1;
        point->is_follower = true;
        return;
    }
    slots[at] = (uint32_t)index + 1;
}

static const uint8_t *behind_attributes(const struct snapshot *snapshot, const struct snapshot_point *point) {
    return (const uint8_t *)snapshot->bytes.data + point->at + point->attributes_size;
}

void snapshot_histogram(const struct snapshot *snapshot, const struct snapshot_point *point,
                        struct sonde__metric_histogram *ret_histogram) {
    (void)histogram_unpack(behind_attributes(snapshot, point), ret_histogram);
}

double snapshot_bound(const struct snapshot *snapshot, const struct snapshot_metric *metric, uint32_t index) {
    double bound;
    memcpy(&bound, snapshot->bytes.data + metric->bounds_at + index * sizeof bound, sizeof bound);
    return bound;
}

bool snapshot_same_buckets(const struct snapshot *snapshot, const struct snapshot_point *a,
                           const struct snapshot_point *b) {
    const struct snapshot_metric *x = snapshot_metric(snapshot, a), *y = snapshot_metric(snapshot, b);
    const char *bytes = snapshot->bytes.data;
    return x->bound_count == y->bound_count && x->is_exponential == y->is_exponential &&
           memcmp(bytes + x->bounds_at, bytes + y->bounds_at, x->bound_count * sizeof(double)) == 0;
}

void snapshot_exemplar(const struct snapshot *snapshot, const struct snapshot_point *point, uint32_t index,
                       struct sonde__metric_exemplar *ret_exemplar) {
    struct sonde__metric_histogram skipped;
    const uint8_t *at = behind_attributes(snapshot, point);
    if (snapshot->kind.is_histogram)
        at = histogram_unpack(at, &skipped);
    for (uint32_t i = 0;; i++) {
        memcpy(ret_exemplar, at, sizeof *ret_exemplar);
        at += sizeof *ret_exemplar;
        ret_exemplar->attributes = at;
        if (i == index)
            return;
        at += ret_exemplar->attributes_size;
    }
}
