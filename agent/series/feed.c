/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a feed of metrics (exporters/metric_feed.h), and its way out as OTLP records. */
#include "agent/series/source.h"
#include "exporters/otlp/metrics.h"
#include <errno.h>
#include <sonde/err.h>

static struct sonde_bytes bytes_of(struct sonde_string text) {
    return (struct sonde_bytes){(const uint8_t *)text.data, text.size};
}
static struct sonde_string text_of(const char *text) {
    return (struct sonde_string){text, strlen(text)};
}

/* The metric `number` (from 1) of a source; false when it has none of that number. */
static bool metric_at(const struct sonde_series_source *source, uint32_t number, struct sonde_metric *ret) {
    *ret = (struct sonde_metric){.resource = {source->resource, source->resource_size},
                                 .uid = source->uid,
                                 .is_over = source->is_dead,
                                 .source = source,
                                 .number = number};
    if (series_is_pushed(source, number)) {
        const struct series_metric *metric =
            &source->points.metrics[source->reader ? number - SONDE_INSTRUMENTS_MAX - 1 : number - 1];
        ret->id = source->reader ? SONDE_INSTRUMENTS_MAX + 1 + metric->id : metric->id;
        ret->is_observed = source->reader != NULL;
        ret->kind = metric->kind;
        ret->is_double = metric->is_double;
        ret->name = text_of(metric->name);
        ret->unit = text_of(metric->unit);
        ret->description = text_of(metric->description);
        ret->bounds = (const uint8_t *)metric->bounds;
        ret->bound_count = metric->bound_count;
        ret->is_unbounded = metric->kind == SONDE_HISTOGRAM && !metric->bound_count;
        return true;
    }
    struct sonde__metric_instrument instrument;
    struct sonde_string scope, schema_url;
    if (!sonde__metric_reader_instrument(source->reader, number, &instrument))
        return false;
    sonde__metric_reader_scope(source->reader, instrument.scope, &scope, &schema_url);
    ret->id = number;
    ret->scope = bytes_of(scope);
    ret->schema_url = bytes_of(schema_url);
    ret->kind = instrument.kind;
    ret->is_double = instrument.number == SONDE_NUMBER_DOUBLE;
    ret->is_observed = instrument.is_observed;
    ret->name = instrument.name;
    ret->unit = instrument.unit;
    ret->description = instrument.description;
    ret->bounds = instrument.bounds;
    ret->bound_count = instrument.bound_count;
    return true;
}

static uint32_t metric_max(const struct sonde_series_source *source) {
    if (!source->reader)
        return source->points.metric_count;
    return source->points.metric_count ? SONDE_INSTRUMENTS_MAX + source->points.metric_count
                                       : sonde__metric_reader_instrument_max(source->reader);
}

static bool next_metric(void *self, struct sonde_metric_cursor *at, struct sonde_metric *ret_metric) {
    struct sonde_series_store *store = self;
    const struct sonde_series_source *source = at->source;
    if (!source) {
        source = series_living(store->first);
        at->number = 0;
    }
    for (; source; source = series_living(source->next), at->number = 0) {
        at->source = source;
        while (at->number < metric_max(source))
            if (metric_at(source, ++at->number, ret_metric))
                return true;
        if (!series_living(source->next))
            return false; /* the cursor stays on the last one: asking again is false again */
    }
    return false;
}

static bool pushed_point(const struct sonde_series_source *source, uint32_t number, uint32_t *at,
                         struct sonde_metric_point *ret_point) {
    uint32_t metric = source->reader ? number - SONDE_INSTRUMENTS_MAX - 1 : number - 1;
    uint32_t index = *at ? source->points.points[*at - 1].next : source->points.metrics[metric].first_point;
    if (!index)
        return false;
    *at = index;
    const struct series_point *point = &source->points.points[index - 1];
    *ret_point = (struct sonde_metric_point){.attributes = {point->attributes, point->attributes_size},
                                             .start_unix_ns = point->start_unix_ns,
                                             .time_unix_ns = point->set_unix_ns,
                                             .int64 = point->int64,
                                             .float64 = point->float64,
                                             .histogram = point->histogram,
                                             .min_unknown = true,
                                             .max_unknown = true};
    return true;
}

static bool next_point(void *self, const struct sonde_metric *metric, uint32_t *at,
                       struct sonde_metric_point *ret_point) {
    (void)self;
    const struct sonde_series_source *source = metric->source;
    if (series_is_pushed(source, metric->number))
        return pushed_point(source, metric->number, at, ret_point);
    struct sonde__metric_series series;
    if (!sonde__metric_reader_series(source->reader, metric->number, at, &series))
        return false;
    *ret_point = (struct sonde_metric_point){.attributes = {series.attributes, series.attributes_size},
                                             .start_unix_ns = series.start_unix_ns,
                                             .time_unix_ns = source->read_unix_ns,
                                             .int64 = (int64_t)series.value,
                                             .histogram = series.histogram,
                                             .exemplars = series.exemplars,
                                             .exemplar_count = series.exemplar_count};
    memcpy(&ret_point->float64, &series.value, sizeof series.value);
    return true;
}

void sonde_series_each(const struct sonde_series_source *source,
                       void (*visit)(void *user, const struct sonde_metric *metric,
                                     const struct sonde_metric_point *point),
                       void *user) {
    struct sonde_metric metric;
    struct sonde_metric_point point;
    for (uint32_t number = 1; !source->reader && number <= source->points.metric_count; number++) {
        if (!metric_at(source, number, &metric))
            continue;
        for (uint32_t at = 0; pushed_point(source, number, &at, &point);)
            if (source->points.points[at - 1].generation == source->points.generation)
                visit(user, &metric, &point);
    }
}

/* ---- a piece at a time ---- */

static void hold(void *self, bool is_held) {
    series_hold(self, is_held);
}

static bool next_source(void *self, const void **at) {
    struct sonde_series_store *store = self;
    const struct sonde_series_source *last = *at;
    const struct sonde_series_source *next = series_living(last ? last->next : store->first);
    if (next)
        *at = next;
    return next != NULL;
}

static void refresh(void *self, const void *handle, bool exemplars) {
    (void)self;
    series_source_refresh((struct sonde_series_source *)(uintptr_t)handle, exemplars); /* ours: next_source() */
}

static bool source_metric(void *self, const void *handle, uint32_t *number, struct sonde_metric *ret_metric) {
    (void)self;
    while (*number < metric_max(handle))
        if (metric_at(handle, ++*number, ret_metric))
            return true;
    return false;
}

/* Pushed metrics come and go, and move up then; ids ascend. */
static bool find(void *self, const void *handle, uint32_t id, struct sonde_metric *ret_metric) {
    const struct sonde_series_source *source = handle;
    (void)self;
    if (source->is_gone)
        return false;
    if (source->reader && id <= SONDE_INSTRUMENTS_MAX)
        return metric_at(source, id, ret_metric);
    const uint32_t before = source->reader ? SONDE_INSTRUMENTS_MAX + 1 : 0, wanted = id - before;
    uint32_t low = 0, high = source->points.metric_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (source->points.metrics[middle].id < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < source->points.metric_count && source->points.metrics[low].id == wanted &&
           metric_at(source, before + low + (source->reader ? 0 : 1), ret_metric);
}

static void exemplars_shown(void *self, const void *handle) {
    const struct sonde_series_store *store = self;
    struct sonde_series_source *source = (struct sonde_series_source *)(uintptr_t)handle; /* ours: next_source() */
    if (!store->exports) /* else it is the export that ends the period */
        series_exemplars_exported(source);
}

struct sonde_metric_feed sonde_series_feed(struct sonde_series_store *store) {
    return (struct sonde_metric_feed){.next_metric = next_metric,
                                      .next_point = next_point,
                                      .hold = hold,
                                      .next_source = next_source,
                                      .refresh = refresh,
                                      .source_metric = source_metric,
                                      .find = find,
                                      .exemplars_shown = exemplars_shown,
                                      .self = store};
}

uint64_t series_count_read(const struct sonde_series_source *source) {
    struct sonde__metric_series series;
    uint64_t count = 0;
    for (uint32_t number = 1; number <= sonde__metric_reader_instrument_max(source->reader); number++) {
        struct sonde__metric_instrument instrument;
        if (sonde__metric_reader_instrument(source->reader, number, &instrument))
            for (uint32_t at = 0; sonde__metric_reader_series(source->reader, number, &at, &series);)
                count++;
    }
    return count;
}

void sonde_series_counts(const struct sonde_series_store *store, uint32_t *ret_sources, uint64_t *ret_series) {
    *ret_sources = store->source_count;
    *ret_series = 0;
    for (const struct sonde_series_source *source = series_living(store->first); source;
         source = series_living(source->next))
        *ret_series += source->series_count + source->points.point_count;
}

/* ---- OTLP ---- */

/* Deltas that are in the builder: taken when the queue has them. A place is where next_point() began. */
#define PENDING_MAX 4096u
struct pending {
    uint32_t metric, at;
};

struct export {
    struct sonde_series_source *source;
    struct pending pending[PENDING_MAX];
    uint32_t pending_count;
    bool is_marked; /* that deltas were taken of the source */
    struct sonde__metric_histogram scratch;
    struct sonde_queue *queue;
    struct sonde_ledger *ledger;
    struct sonde_otlp_metrics builder;
    uint32_t resource_id;
    struct sonde_bytes scope, schema_url; /* of what is in the builder */
};

static bool same(struct sonde_bytes a, struct sonde_bytes b) {
    return a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0);
}

static void pending_taken(struct export *export) {
    struct sonde_metric metric = {.number = 0};
    struct sonde_metric_point point;
    for (uint32_t i = 0; i < export->pending_count; i++) {
        uint32_t at = export->pending[i].at;
        if ((metric.number == export->pending[i].metric ||
             metric_at(export->source, export->pending[i].metric, &metric)) &&
            next_point(NULL, &metric, &at, &point))
            series_delta_taken(export->source, &metric, at, &point);
    }
    export->is_marked |= export->pending_count > 0;
}

static int flush_points(struct export *export) {
    uint32_t points, scope_id;
    struct sonde_bytes record = sonde_otlp_metrics_finish(&export->builder, &points);
    if (!points)
        return 0;
    int err = sonde_queue_scope(export->queue, export->scope, export->schema_url, &scope_id);
    if (err)
        return err;
    uint64_t sequence;
    err = sonde_queue_append(export->queue, SONDE_SIGNAL_METRICS, export->resource_id, scope_id, points, record,
                             &sequence);
    sonde_queue_scope_unref(export->queue, scope_id);
    if (!err)
        sonde_ledger_appended(export->ledger, SONDE_SIGNAL_METRICS, points);
    return err;
}

static int flush(struct export *export) {
    int err = flush_points(export);
    if (!err)
        pending_taken(export);
    export->pending_count = 0;
    return err;
}

/* Begins a metric in a record that has room for it. */
static int begin(struct export *export, const struct sonde_metric *metric) {
    if (sonde_otlp_metrics_begin(&export->builder, metric))
        return 0;
    int err = flush(export);
    if (!err && !sonde_otlp_metrics_begin(&export->builder, metric))
        err = SONDE_ETOOBIG; /* cannot be: an empty record holds any head */
    return err;
}

/* Writes a point; when the record is full, that one goes first. */
static int write_point(struct export *export, const struct sonde_metric *metric,
                       const struct sonde_metric_point *point) {
    if (export->pending_count < PENDING_MAX && sonde_otlp_metrics_point(&export->builder, point))
        return 0;
    int err = flush(export);
    if (!err)
        err = begin(export, metric);
    if (!err && !sonde_otlp_metrics_point(&export->builder, point))
        err = SONDE_ETOOBIG; /* cannot be either */
    return err;
}

static int export_delta(struct export *export, const struct sonde_metric *metric, uint32_t from, uint32_t at,
                        struct sonde_metric_point *point) {
    int err = series_delta(export->source, metric, at, point, &export->scratch);
    if (err)
        return err == SERIES_DELTA_NONE ? 0 : err;
    err = write_point(export, metric, point);
    if (!err)
        export->pending[export->pending_count++] = (struct pending){metric->number, from};
    return err;
}

static int export_metric(struct export *export, struct sonde_metric *metric) {
    struct sonde_metric_point point;
    int err = 0;
    metric->is_delta = series_delta_wanted(export->source, metric);
    if (!same(metric->scope, export->scope) || !same(metric->schema_url, export->schema_url))
        err = flush(export);
    export->scope = metric->scope;
    export->schema_url = metric->schema_url;
    if (!err)
        err = begin(export, metric);
    for (uint32_t at = 0, from = 0; !err && next_point(NULL, metric, &at, &point); from = at)
        err = metric->is_delta ? export_delta(export, metric, from, at, &point) : write_point(export, metric, &point);
    return err;
}

static int export_source(struct export *export, struct sonde_series_source *source) {
    struct sonde_metric metric;
    struct sonde_bytes resource = {source->resource, source->resource_size};
    int err = sonde_queue_resource(export->queue, resource, source->uid, &export->resource_id);
    if (err)
        return err;
    export->scope = export->schema_url = (struct sonde_bytes){NULL, 0};
    export->source = source;
    export->is_marked = false;
    for (uint32_t number = 1; !err && number <= metric_max(source); number++)
        if (metric_at(source, number, &metric))
            err = export_metric(export, &metric);
    if (!err)
        err = flush(export);
    sonde_queue_resource_unref(export->queue, export->resource_id);
    if (export->is_marked && source->memory.deltas_taken)
        source->memory.deltas_taken(source->memory.self, source->read_unix_ns);
    if (!err)
        source->is_exported = source->is_dead;
    if (!err)
        series_exemplars_exported(source);
    return err;
}

int sonde_series_export(struct sonde_series_store *store, struct sonde_queue *queue, struct sonde_ledger *ledger) {
    const struct sonde_alloc *alloc = &store->seams->alloc;
    struct export *export = sonde_alloc_new(alloc, sizeof *export + SONDE_QUEUE_RECORD_SIZE_MAX);
    if (!export)
        return -ENOMEM;
    export->queue = queue;
    export->ledger = ledger;
    export->pending_count = 0;
    int err = 0;
    sonde_otlp_metrics_init(&export->builder, (uint8_t *)(export + 1), SONDE_QUEUE_RECORD_SIZE_MAX);
    store->exports = true;
    sonde_series_refresh(store);
    series_exemplars_refresh(store);
    for (struct sonde_series_source *source = series_living(store->first); source && !err;
         source = series_living(source->next))
        if (!source->is_exported)
            err = export_source(export, source);
    sonde_alloc_free(alloc, export);
    return err;
}
