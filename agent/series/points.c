/* SPDX-License-Identifier: Apache-2.0 */
/* Pushed values of one source. */
#include "agent/series/source.h"
#include "instrumentation/metric/attributes.h"
#include <errno.h>
#include <sonde/err.h>

static void *grow(const struct sonde_alloc *alloc, void *old, uint32_t *capacity, size_t item_size) {
    uint32_t wanted = *capacity ? *capacity * 2 : 8;
    void *grown = alloc->resize(alloc->self, old, wanted * item_size);
    if (grown)
        *capacity = wanted;
    return grown;
}

static int metric_find(const struct series_points *points, const struct sonde_series_value *value,
                       uint32_t *ret_metric) {
    for (uint32_t i = 0; i < points->metric_count; i++) {
        if (strcmp(points->metrics[i].name, value->name) != 0)
            continue;
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
    char *text = sonde_alloc_new(alloc, name_size + unit_size + description_size);
    if (!text)
        return -ENOMEM;
    struct series_metric *metric = &points->metrics[points->metric_count];
    *metric = (struct series_metric){.name = memcpy(text, value->name, name_size),
                                     .unit = memcpy(text + name_size, unit, unit_size),
                                     .description = memcpy(text + name_size + unit_size, description, description_size),
                                     .kind = value->kind,
                                     .is_double = value->is_double};
    *ret_metric = points->metric_count++;
    return 0;
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
    *point = (struct series_point){.attributes = copy,
                                   .attributes_size = (uint32_t)size,
                                   .metric = metric,
                                   .next = points->metrics[metric].first_point,
                                   .hash = hash};
    points->metrics[metric].first_point = index + 1;
    slot_insert(points, index);
    return point;
}

int series_points_set(struct series_points *points, const struct sonde_seams *seams,
                      const struct sonde_series_value *value) {
    uint8_t attributes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    size_t size, left_out;
    uint32_t metric;
    if (value->kind == SONDE_HISTOGRAM)
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
    if (!point)
        point = point_add(points, &seams->alloc, metric, hash, attributes, size);
    if (!point)
        return -ENOMEM;
    point->generation = points->generation;
    point->start_unix_ns = value->start_unix_ns;
    point->set_unix_ns = seams->time.unix_ns(seams->time.self);
    point->int64 = value->int64;
    point->float64 = value->float64;
    return 0;
}

void series_points_sweep(struct series_points *points, const struct sonde_seams *seams) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < points->metric_count; i++)
        points->metrics[i].first_point = 0;
    for (uint32_t i = 0; i < points->point_count; i++) {
        if (points->points[i].generation != points->generation) {
            sonde_alloc_free(&seams->alloc, points->points[i].attributes);
            continue;
        }
        struct series_metric *metric = &points->metrics[points->points[i].metric];
        points->points[kept] = points->points[i];
        points->points[kept].next = metric->first_point;
        metric->first_point = ++kept;
    }
    points->point_count = kept;
    if (points->slot_count)
        slots_rebuild(points);
    points->generation++;
}

void series_points_deinit(struct series_points *points, const struct sonde_seams *seams) {
    for (uint32_t i = 0; i < points->point_count; i++)
        sonde_alloc_free(&seams->alloc, points->points[i].attributes);
    for (uint32_t i = 0; i < points->metric_count; i++)
        sonde_alloc_free(&seams->alloc, points->metrics[i].name);
    sonde_alloc_free(&seams->alloc, points->points);
    sonde_alloc_free(&seams->alloc, points->metrics);
    sonde_alloc_free(&seams->alloc, points->slots);
    *points = (struct series_points){0};
}
