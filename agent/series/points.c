/* SPDX-License-Identifier: Apache-2.0 */
/* Pushed values of one source. */
#include "agent/series/source.h"
#include "instrumentation/metric/attributes.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>

static void *grow(const struct sonde_alloc *alloc, void *old, uint32_t *capacity, size_t item_size) {
    uint32_t wanted = *capacity ? *capacity * 2 : 8;
    void *grown = alloc->resize(alloc->self, old, wanted * item_size);
    if (grown)
        *capacity = wanted;
    return grown;
}

static bool same_bounds(const struct series_metric *metric, const struct sonde_series_value *value) {
    return metric->bound_count == value->bound_count &&
           (!metric->bound_count || memcmp(metric->bounds, value->bounds, metric->bound_count * sizeof(double)) == 0);
}

static int metric_find(struct series_points *points, const struct sonde_series_value *value, uint32_t *ret_metric) {
    /* Values come family by family, whose few names take turns: from a little before the last one it is not far. */
    uint32_t first = points->metric_last > 4 ? points->metric_last - 4 : 0;
    for (uint32_t n = 0; n < points->metric_count; n++) {
        uint32_t i = first + n < points->metric_count ? first + n : first + n - points->metric_count;
        if (strcmp(points->metrics[i].name, value->name) != 0)
            continue;
        if (value->kind == SONDE_HISTOGRAM && points->metrics[i].kind == SONDE_HISTOGRAM &&
            !same_bounds(&points->metrics[i], value))
            continue;
        points->metric_last = i;
        if (points->metrics[i].kind != value->kind || points->metrics[i].is_double != value->is_double)
            return SONDE_EINVALID;
        *ret_metric = i;
        return 0;
    }
    return SONDE_ENOTFOUND;
}

static int metric_add(struct series_points *points, const struct sonde_alloc *alloc,
                      const struct sonde_series_value *value, uint32_t *ret_metric) {
    if (points->metric_count == points->metric_capacity) {
        struct series_metric *grown = grow(alloc, points->metrics, &points->metric_capacity, sizeof *grown);
        if (!grown)
            return -ENOMEM;
        points->metrics = grown;
    }
    const char *unit = value->unit ? value->unit : "", *description = value->description ? value->description : "";
    size_t name_size = strlen(value->name) + 1, unit_size = strlen(unit) + 1;
    size_t description_size = strlen(description) + 1;
    size_t bounds_size = value->kind == SONDE_HISTOGRAM ? value->bound_count * sizeof(double) : 0;
    double *bounds = sonde_alloc_new(alloc, bounds_size + name_size + unit_size + description_size);
    if (!bounds)
        return -ENOMEM;
    if (bounds_size)
        memcpy(bounds, value->bounds, bounds_size);
    char *text = (char *)bounds + bounds_size;
    struct series_metric *metric = &points->metrics[points->metric_count];
    *metric = (struct series_metric){.id = points->metric_ids++,
                                     .bounds = bounds,
                                     .bound_count = (uint32_t)(bounds_size / sizeof(double)),
                                     .name = memcpy(text, value->name, name_size),
                                     .unit = memcpy(text + name_size, unit, unit_size),
                                     .description = memcpy(text + name_size + unit_size, description, description_size),
                                     .kind = value->kind,
                                     .is_double = value->is_double};
    points->metric_last = points->metric_count;
    *ret_metric = points->metric_count++;
    return 0;
}

static void point_free(struct series_point *point, const struct sonde_alloc *alloc) {
    sonde_alloc_free(alloc, point->attributes);
    sonde_alloc_free(alloc, point->histogram);
    sonde_alloc_free(alloc, point->previous.histogram);
}

static void slot_insert(struct series_points *points, uint32_t index) {
    uint32_t at = (uint32_t)points->points[index].hash & (points->slot_count - 1);
    while (points->slots[at])
        at = (at + 1) & (points->slot_count - 1);
    points->slots[at] = index + 1;
}

static void slots_rebuild(struct series_points *points) {
    memset(points->slots, 0, points->slot_count * sizeof *points->slots);
    for (uint32_t i = 0; i < points->point_count; i++)
        slot_insert(points, i);
}

static struct series_point *point_find(const struct series_points *points, uint32_t metric, uint64_t hash,
                                       const uint8_t *attributes, size_t size) {
    if (!points->slot_count)
        return NULL;
    for (uint32_t at = (uint32_t)hash & (points->slot_count - 1); points->slots[at];
         at = (at + 1) & (points->slot_count - 1)) {
        struct series_point *point = &points->points[points->slots[at] - 1];
        if (point->hash == hash && point->metric == metric && point->attributes_size == size &&
            memcmp(point->attributes, attributes, size) == 0)
            return point;
    }
    return NULL;
}

/* Room for one more point and its slot. */
static int points_reserve(struct series_points *points, const struct sonde_alloc *alloc) {
    if (points->point_count == points->point_capacity) {
        struct series_point *grown = grow(alloc, points->points, &points->point_capacity, sizeof *grown);
        if (!grown)
            return -ENOMEM;
        points->points = grown;
    }
    if (points->slot_count < 2 * (points->point_count + 1)) {
        uint32_t count = points->slot_count ? points->slot_count * 2 : 32;
        uint32_t *grown = alloc->resize(alloc->self, points->slots, count * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        points->slots = grown;
        points->slot_count = count;
        slots_rebuild(points);
    }
    return 0;
}

/* Puts a point behind the others of its metric. */
static void point_link(struct series_points *points, uint32_t index) {
    struct series_metric *metric = &points->metrics[points->points[index].metric];
    points->points[index].next = 0;
    if (metric->last_point)
        points->points[metric->last_point - 1].next = index + 1;
    else
        metric->first_point = index + 1;
    metric->last_point = index + 1;
}

static struct series_point *point_add(struct series_points *points, const struct sonde_alloc *alloc, uint32_t metric,
                                      uint64_t hash, const uint8_t *attributes, size_t size) {
    if (points_reserve(points, alloc))
        return NULL;
    uint8_t *copy = sonde_alloc_new(alloc, size + 1);
    if (!copy)
        return NULL;
    memcpy(copy, attributes, size);
    uint32_t index = points->point_count++;
    struct series_point *point = &points->points[index];
    *point =
        (struct series_point){.attributes = copy, .attributes_size = (uint32_t)size, .metric = metric, .hash = hash};
    point_link(points, index);
    slot_insert(points, index);
    return point;
}

/* ---- histograms ---- */

static bool bounds_are_good(const struct sonde_series_value *value) {
    for (uint32_t i = 0; i < value->bound_count && i < SONDE__BOUNDS_MAX; i++)
        if (!isfinite(value->bounds[i]) || (i && value->bounds[i] <= value->bounds[i - 1]))
            return false;
    return value->bound_count <= SONDE__BOUNDS_MAX;
}

static void histogram_fill(struct sonde__metric_histogram *histogram, const struct sonde_series_value *value) {
    histogram->scale = histogram->offset = 0;
    histogram->zero_count = histogram->count = 0;
    histogram->min = histogram->max = 0;
    histogram->sum = value->float64;
    histogram->bucket_count = value->bound_count + 1;
    for (uint32_t i = 0; i < histogram->bucket_count; i++) {
        histogram->buckets[i] = value->counts[i];
        histogram->count += value->counts[i];
    }
}

/* A new point with room for its buckets, and for those that were exported last. */
static struct series_point *histogram_add(struct series_points *points, const struct sonde_alloc *alloc,
                                          const struct sonde_series_value *value, uint32_t metric, uint64_t hash,
                                          const uint8_t *attributes, size_t size) {
    size_t room = offsetof(struct sonde__metric_histogram, buckets) + (value->bound_count + 1) * sizeof(uint64_t);
    struct sonde__metric_histogram *now = sonde_alloc_new(alloc, room), *before = sonde_alloc_new(alloc, room);
    struct series_point *point = now && before ? point_add(points, alloc, metric, hash, attributes, size) : NULL;
    if (!point) {
        sonde_alloc_free(alloc, now);
        sonde_alloc_free(alloc, before);
        return NULL;
    }
    histogram_fill(now, value);
    histogram_fill(before, value);
    point->histogram = now;
    point->previous.histogram = before;
    return point;
}

static bool has_fallen(const struct series_point *point, const struct sonde_series_value *value) {
    uint64_t count = 0;
    if (value->kind == SONDE_HISTOGRAM) {
        for (uint32_t i = 0; i <= value->bound_count; i++)
            count += value->counts[i];
        return count < point->histogram->count;
    }
    return value->kind == SONDE_COUNTER &&
           (value->is_double ? value->float64 < point->float64 : value->int64 < point->int64);
}

/* A total whose beginning nobody told: it is when we saw it first, and what it was then is no news (the first delta
 * leaves it out); a total that fell began anew. */
static void point_start(struct series_point *point, const struct sonde_series_value *value, uint64_t now) {
    bool is_new = point->set_unix_ns == 0;
    if (is_new)
        point->previous = (struct series_previous){.value = (uint64_t)value->int64,
                                                   .start_unix_ns = now,
                                                   .time_unix_ns = now,
                                                   .histogram = point->previous.histogram,
                                                   .is_known = true};
    if (is_new && value->is_double)
        memcpy(&point->previous.value, &value->float64, sizeof value->float64);
    if (is_new || has_fallen(point, value))
        point->start_unix_ns = now;
}

int series_points_set(struct series_points *points, const struct sonde_seams *seams,
                      const struct sonde_series_value *value) {
    uint8_t attributes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    size_t size, left_out;
    uint32_t metric;
    if (value->kind == SONDE_HISTOGRAM && !bounds_are_good(value))
        return SONDE_EINVALID;
    int err = sonde__attributes_encode(value->attributes, value->attribute_count, attributes, &size, &left_out);
    if (!err)
        err = metric_find(points, value, &metric);
    if (err == SONDE_ENOTFOUND)
        err = metric_add(points, &seams->alloc, value, &metric);
    if (err)
        return err;
    uint64_t hash = sonde__bytes_hash(attributes, size, metric);
    struct series_point *point = point_find(points, metric, hash, attributes, size);
    if (!point && value->kind == SONDE_HISTOGRAM)
        point = histogram_add(points, &seams->alloc, value, metric, hash, attributes, size);
    else if (!point)
        point = point_add(points, &seams->alloc, metric, hash, attributes, size);
    if (!point)
        return -ENOMEM;
    uint64_t now = seams->time.unix_ns(seams->time.self);
    if (value->start_is_unknown)
        point_start(point, value, now);
    else
        point->start_unix_ns = value->start_unix_ns;
    point->generation = points->generation;
    point->set_unix_ns = now;
    point->int64 = value->int64;
    point->float64 = value->float64;
    if (point->histogram)
        histogram_fill(point->histogram, value);
    return 0;
}

/* NULL when there is none, or when the attributes cannot be those of a series. */
static struct series_point *point_named(struct series_points *points, const char *name,
                                        const struct sonde_attribute *attributes, size_t count) {
    uint8_t bytes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    size_t size, left_out;
    if (sonde__attributes_encode(attributes, count, bytes, &size, &left_out))
        return NULL;
    struct series_point *point = NULL;
    for (uint32_t metric = 0; !point && metric < points->metric_count; metric++) /* histograms: of other bounds, too */
        if (strcmp(points->metrics[metric].name, name) == 0)
            point = point_find(points, metric, sonde__bytes_hash(bytes, size, metric), bytes, size);
    return point;
}

void series_points_start(struct series_points *points, const char *name, const struct sonde_attribute *attributes,
                         size_t count, uint64_t start_unix_ns) {
    struct series_point *point = point_named(points, name, attributes, count);
    if (!point)
        return;
    if (point->previous.start_unix_ns == point->start_unix_ns) /* the same life, better known */
        point->previous.start_unix_ns = start_unix_ns;
    point->start_unix_ns = start_unix_ns;
}

/* Lets go of metrics without points: their names may be another kind's next time, and are not kept for ever. */
static void metrics_compact(struct series_points *points, const struct sonde_alloc *alloc) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < points->metric_count; i++) {
        struct series_metric metric = points->metrics[i];
        if (!metric.first_point) {
            sonde_alloc_free(alloc, metric.bounds);
            continue;
        }
        for (uint32_t at = kept == i ? 0 : metric.first_point; at; at = points->points[at - 1].next) {
            struct series_point *point = &points->points[at - 1];
            point->metric = kept;
            point->hash = sonde__bytes_hash(point->attributes, point->attributes_size, kept);
        }
        points->metrics[kept++] = metric;
    }
    points->metric_count = kept;
    points->metric_last = 0;
}

void series_points_sweep(struct series_points *points, const struct sonde_seams *seams) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < points->metric_count; i++)
        points->metrics[i].first_point = points->metrics[i].last_point = 0;
    for (uint32_t i = 0; i < points->point_count; i++) {
        if (points->points[i].generation != points->generation) {
            point_free(&points->points[i], &seams->alloc);
            continue;
        }
        points->points[kept] = points->points[i];
        point_link(points, kept++);
    }
    points->point_count = kept;
    metrics_compact(points, &seams->alloc);
    if (points->slot_count)
        slots_rebuild(points);
    points->generation++;
}

void series_points_deinit(struct series_points *points, const struct sonde_seams *seams) {
    for (uint32_t i = 0; i < points->point_count; i++)
        point_free(&points->points[i], &seams->alloc);
    for (uint32_t i = 0; i < points->metric_count; i++)
        sonde_alloc_free(&seams->alloc, points->metrics[i].bounds);
    sonde_alloc_free(&seams->alloc, points->points);
    sonde_alloc_free(&seams->alloc, points->metrics);
    sonde_alloc_free(&seams->alloc, points->slots);
    *points = (struct series_points){0};
}
