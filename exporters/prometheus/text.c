/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics are collected and sorted by their Prometheus name; then family by family the points are read, their labels
 * written, sorted, and the family goes out. Memory is that of the largest family. */
#include "exporters/prometheus/text.h"
#include "exporters/prometheus/histogram.h"
#include "exporters/prometheus/labels.h"
#include "exporters/prometheus/name.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct entry {
    struct sonde_metric metric;
    const char *name; /* while sorting and after: in names */
    size_t name_at;
    size_t order;
};
struct row {
    const char *labels;
    size_t labels_at, labels_size;
    size_t value_at, value_size; /* of target_info: all its labels; `labels` are then job and instance */
    size_t order;
    const struct entry *entry;
    struct sonde_metric_point point;
};

struct writing {
    const struct sonde_metric_feed *feed;
    const struct sonde_prometheus_sink *sink;
    struct sonde_prometheus_stats *stats;
    struct buffer names, entries, labels_text, rows, out;
    struct labels labels;
};

#define TARGET_INFO "target_info"

static const char *type_of(enum sonde_instrument_kind kind) {
    return kind == SONDE_COUNTER ? "counter" : kind == SONDE_HISTOGRAM ? "histogram" : "gauge";
}

static int entry_order(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int row_order(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    size_t size = x->labels_size < y->labels_size ? x->labels_size : y->labels_size;
    int order = size ? memcmp(x->labels, y->labels, size) : 0;
    if (!order)
        order = (x->labels_size > y->labels_size) - (x->labels_size < y->labels_size);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static struct entry *collect(struct writing *w, size_t *ret_count) {
    struct sonde_metric_cursor at = {0};
    struct entry entry;
    while (w->feed->next_metric(w->feed->self, &at, &entry.metric)) {
        entry.name_at = w->names.size;
        entry.order = w->entries.size;
        if (!sonde_prometheus_metric_name(&w->names, entry.metric.name, entry.metric.unit, entry.metric.kind)) {
            w->names.size = entry.name_at;
            w->stats->names_refused++;
            continue;
        }
        buffer_put(&w->names, "", 1);
        buffer_put(&w->entries, &entry, sizeof entry);
    }
    struct entry *entries = (struct entry *)(void *)w->entries.data;
    *ret_count = w->names.failed || w->entries.failed ? 0 : w->entries.size / sizeof *entries;
    for (size_t i = 0; i < *ret_count; i++)
        entries[i].name = w->names.data + entries[i].name_at;
    if (*ret_count)
        qsort(entries, *ret_count, sizeof *entries, entry_order);
    return entries;
}

/* ---- one family ---- */

static void head(struct buffer *out, const char *name, const char *type, struct sonde_string help,
                 struct sonde_string fallback) {
    buffer_text(out, "# HELP ");
    buffer_text(out, name);
    buffer_text(out, " ");
    if (help.size) {
        labels_escape(out, help.data, help.size, false);
    } else { /* an empty HELP is complained about; the dotted name helps to find it */
        buffer_text(out, "OpenTelemetry metric ");
        buffer_put(out, fallback.data, fallback.size);
    }
    buffer_text(out, "\n# TYPE ");
    buffer_text(out, name);
    buffer_text(out, " ");
    buffer_text(out, type);
    buffer_text(out, "\n");
}

/* name_suffix{labels,le="..."} */
static void sample(struct buffer *out, const char *name, const char *suffix, const struct row *row) {
    buffer_text(out, name);
    buffer_text(out, suffix);
    if (row->labels_size) {
        buffer_text(out, "{");
        buffer_put(out, row->labels, row->labels_size);
        buffer_text(out, "}");
    }
    buffer_text(out, " ");
}

static void bucket(struct buffer *out, const char *name, const struct row *row, double bound, uint64_t count) {
    buffer_text(out, name);
    buffer_text(out, "_bucket{");
    buffer_put(out, row->labels, row->labels_size);
    buffer_text(out, row->labels_size ? ",le=\"" : "le=\"");
    buffer_double(out, bound);
    buffer_text(out, "\"} ");
    buffer_uint(out, count);
    buffer_text(out, "\n");
}

static bool same_buckets(const struct sonde_metric *a, const struct sonde_metric *b) {
    return a->bound_count == b->bound_count && a->is_unbounded == b->is_unbounded &&
           (!a->bound_count || memcmp(a->bounds, b->bounds, a->bound_count * sizeof(double)) == 0);
}

static void explicit_buckets(struct buffer *out, const char *name, const struct row *rows, size_t count) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < rows->entry->metric.bound_count; i++) {
        double bound;
        memcpy(&bound, rows->entry->metric.bounds + i * sizeof bound, sizeof bound);
        for (size_t k = 0; k < count; k++)
            if (same_buckets(&rows->entry->metric, &rows[k].entry->metric))
                total += rows[k].point.histogram->buckets[i];
        bucket(out, name, rows, bound, total);
    }
}

static void histogram(struct writing *w, const char *name, const struct row *rows, size_t count,
                      const struct powers *powers) {
    uint64_t total = 0;
    double sum = 0;
    for (size_t k = 0; k < count; k++) {
        if (!same_buckets(&rows->entry->metric, &rows[k].entry->metric)) {
            w->stats->points_refused++;
            continue;
        }
        total += rows[k].point.histogram->count;
        sum += rows[k].point.histogram->sum;
    }
    if (rows->entry->metric.bound_count)
        explicit_buckets(&w->out, name, rows, count);
    for (int power = powers->low; sonde_metric_is_exponential(&rows->entry->metric) && power <= powers->high; power++) {
        uint64_t below = 0;
        for (size_t k = 0; k < count; k++)
            if (same_buckets(&rows->entry->metric, &rows[k].entry->metric))
                below += powers_count(rows[k].point.histogram, power);
        bucket(&w->out, name, rows, ldexp(1, power), below);
    }
    bucket(&w->out, name, rows, (double)INFINITY, total);
    sample(&w->out, name, "_sum", rows);
    buffer_double(&w->out, sum);
    buffer_text(&w->out, "\n");
    sample(&w->out, name, "_count", rows);
    buffer_uint(&w->out, total);
    buffer_text(&w->out, "\n");
}

/* Sums of what has the same labels; of gauges the last, preferring processes that live. */
static void number(struct writing *w, const char *name, const struct row *rows, size_t count) {
    bool is_double = false;
    int64_t whole = 0;
    double real = 0;
    size_t from = 0;
    if (rows->entry->metric.kind == SONDE_GAUGE) {
        for (size_t k = 0; k < count; k++)
            if (!rows[k].entry->metric.is_over || rows[from].entry->metric.is_over)
                from = k;
        count = from + 1;
    }
    for (size_t k = from; k < count; k++) {
        is_double |= rows[k].entry->metric.is_double;
        if (rows[k].entry->metric.is_double)
            real += rows[k].point.float64;
        else
            whole = (int64_t)((uint64_t)whole + (uint64_t)rows[k].point.int64);
    }
    sample(&w->out, name, "", rows);
    if (is_double)
        buffer_double(&w->out, real + (double)whole);
    else
        buffer_int(&w->out, whole);
    buffer_text(&w->out, "\n");
}

static void read_rows(struct writing *w, const struct entry *entries, size_t count, struct powers *powers) {
    w->rows.size = w->labels_text.size = 0;
    for (size_t i = 0; i < count; i++) {
        struct row row = {.entry = &entries[i]};
        if (strcmp(type_of(entries[i].metric.kind), type_of(entries->metric.kind)) != 0) {
            w->stats->type_conflicts++;
            continue;
        }
        for (uint32_t at = 0; w->feed->next_point(w->feed->self, &entries[i].metric, &at, &row.point);) {
            row.order = w->rows.size;
            row.labels_at = w->labels_text.size;
            labels_write_point(&w->labels, &entries[i].metric, row.point.attributes, &w->labels_text);
            row.labels_size = w->labels_text.size - row.labels_at;
            buffer_put(&w->rows, &row, sizeof row);
            if (sonde_metric_is_exponential(&entries[i].metric))
                powers_widen(powers, row.point.histogram);
        }
    }
}

static int send(struct writing *w) {
    if (w->out.failed || w->rows.failed || w->labels_text.failed)
        return -ENOMEM;
    int err = w->out.size ? w->sink->write(w->sink->self, w->out.data, w->out.size) : 0;
    w->out.size = 0;
    return err;
}

static int family(struct writing *w, const struct entry *entries, size_t count) {
    struct powers powers = POWERS_NONE;
    struct sonde_string help = entries->metric.description;
    for (size_t i = 1; i < count && !help.size; i++)
        help = entries[i].metric.description;
    read_rows(w, entries, count, &powers);
    if (w->rows.failed || w->labels_text.failed)
        return -ENOMEM;
    struct row *rows = (struct row *)(void *)w->rows.data;
    size_t row_count = w->rows.size / sizeof *rows;
    if (!row_count)
        return 0;
    for (size_t i = 0; i < row_count; i++)
        rows[i].labels = w->labels_text.data + rows[i].labels_at;
    qsort(rows, row_count, sizeof *rows, row_order);
    head(&w->out, entries->name, type_of(entries->metric.kind), help, entries->metric.name);
    w->stats->families++;
    for (size_t i = 0, next; i < row_count; i = next) {
        for (next = i + 1; next < row_count && rows[next].labels_size == rows[i].labels_size &&
                           (!rows[i].labels_size || !memcmp(rows[next].labels, rows[i].labels, rows[i].labels_size));)
            next++;
        w->stats->series++;
        if (entries->metric.kind == SONDE_HISTOGRAM)
            histogram(w, entries->name, &rows[i], next - i, &powers);
        else
            number(w, entries->name, &rows[i], next - i);
    }
    return send(w);
}

/* One line per job and instance: of several resources that share them, the first. */
static int target_info(struct writing *w, const struct entry *entries, size_t count) {
    w->rows.size = w->labels_text.size = 0;
    const uint8_t *previous = NULL;
    for (size_t i = 0; i < count; i++) {
        struct row row = {.order = i, .labels_at = w->labels_text.size, .entry = &entries[i]};
        if (entries[i].metric.resource.data == previous)
            continue;
        previous = entries[i].metric.resource.data;
        struct sonde_metric identity = {.resource = entries[i].metric.resource};
        labels_write_point(&w->labels, &identity, (struct sonde_bytes){NULL, 0}, &w->labels_text);
        row.value_at = w->labels_text.size;
        row.labels_size = row.value_at - row.labels_at;
        if (labels_write_target(&w->labels, identity.resource, &w->labels_text)) {
            row.value_size = w->labels_text.size - row.value_at;
            buffer_put(&w->rows, &row, sizeof row);
        }
    }
    if (w->rows.failed || w->labels_text.failed)
        return -ENOMEM;
    struct row *rows = (struct row *)(void *)w->rows.data;
    size_t row_count = w->rows.size / sizeof *rows;
    if (!row_count)
        return 0;
    for (size_t i = 0; i < row_count; i++)
        rows[i].labels = w->labels_text.data + rows[i].labels_at;
    qsort(rows, row_count, sizeof *rows, row_order);
    static const char help[] = "Attributes of the resource that job and instance name";
    head(&w->out, TARGET_INFO, "gauge", (struct sonde_string){help, sizeof help - 1}, (struct sonde_string){"", 0});
    for (size_t i = 0; i < row_count; i++) {
        if (i && rows[i].labels_size == rows[i - 1].labels_size &&
            (!rows[i].labels_size || memcmp(rows[i].labels, rows[i - 1].labels, rows[i].labels_size) == 0))
            continue;
        buffer_text(&w->out, TARGET_INFO "{");
        buffer_put(&w->out, w->labels_text.data + rows[i].value_at, rows[i].value_size);
        buffer_text(&w->out, "} 1\n");
    }
    return send(w);
}

static int write_all(struct writing *w) {
    size_t count;
    const struct entry *entries = collect(w, &count);
    if (w->names.failed || w->entries.failed)
        return -ENOMEM;
    int err = target_info(w, entries, count);
    for (size_t i = 0, next; i < count && !err; i = next) {
        for (next = i + 1; next < count && strcmp(entries[next].name, entries[i].name) == 0;)
            next++;
        if (strcmp(entries[i].name, TARGET_INFO) == 0)
            w->stats->type_conflicts += next - i;
        else
            err = family(w, &entries[i], next - i);
    }
    w->stats->names_refused += w->labels.refused;
    return err;
}

int sonde_prometheus_write(const struct sonde_metric_feed *feed, const struct sonde_alloc *alloc,
                           const struct sonde_prometheus_sink *sink, struct sonde_prometheus_stats *ret_stats) {
    *ret_stats = (struct sonde_prometheus_stats){0};
    struct writing w = {.feed = feed, .sink = sink, .stats = ret_stats};
    struct buffer *buffers[] = {&w.names, &w.entries, &w.labels_text, &w.rows, &w.out};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_init(buffers[i], alloc);
    labels_init(&w.labels, alloc);
    int err = write_all(&w);
    labels_deinit(&w.labels);
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_deinit(buffers[i]);
    return err;
}
