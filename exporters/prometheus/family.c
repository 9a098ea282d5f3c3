/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/family.h"
#include "exporters/prometheus/escape.h"
#include <math.h>

void family_init(struct family *family, const struct sonde_alloc *alloc, const struct sonde_prometheus_dialect *dialect,
                 const struct sonde_prometheus_settings *settings, struct sonde_prometheus_stats *stats) {
    *family = (struct family){.dialect = *dialect, .settings = *settings, .stats = stats};
    snapshot_init(&family->snapshot, alloc);
    labels_init(&family->labels, alloc, settings, dialect->escaping);
    labels_init(&family->others, alloc, settings, dialect->escaping);
    buffer_init(&family->label_text, alloc);
    buffer_init(&family->other_text, alloc);
    buffer_init(&family->value, alloc);
}

void family_deinit(struct family *family) {
    snapshot_deinit(&family->snapshot);
    labels_deinit(&family->labels);
    labels_deinit(&family->others);
    buffer_deinit(&family->label_text);
    buffer_deinit(&family->other_text);
    buffer_deinit(&family->value);
}

bool family_failed(const struct family *family) {
    return snapshot_failed(&family->snapshot) || labels_failed(&family->labels) || labels_failed(&family->others) ||
           family->label_text.failed || family->other_text.failed || family->value.failed;
}

void family_name(struct family *family, const struct plan *plan, const struct plan_family *planned) {
    static const char total[] = "_total";
    const size_t size = sizeof total - 1;
    family->name = plan_name(plan, planned);
    family->name_size = family->stem_size = planned->name_size;
    family->type = (enum plan_type)planned->type;
    family->is_plain = escape_is_plain(family->name, family->name_size, false);
    family->is_unknown = false;
    if (family->dialect.format != SONDE_PROMETHEUS_OPENMETRICS || family->type != PLAN_COUNTER)
        return;
    bool has_total = family->name_size > size && memcmp(family->name + family->name_size - size, total, size) == 0;
    if (has_total && !plan_find(plan, family->name, family->name_size - size))
        family->stem_size = (uint32_t)(family->name_size - size);
    else /* another family is called like what it would be called */
        family->is_unknown = true;
}

static const struct snapshot_point *next_of(const struct family *family, const struct snapshot_point *point) {
    return point->next ? snapshot_point(&family->snapshot, point->next - 1) : NULL;
}

/* Of several gauges one is shown: the one that came last, of processes that live if there are any. */
static const struct snapshot_point *gauge_of(const struct family *family, const struct snapshot_point *point) {
    const struct snapshot_point *found = point;
    for (; point; point = next_of(family, point)) {
        bool over = snapshot_metric(&family->snapshot, point)->is_over;
        bool found_over = snapshot_metric(&family->snapshot, found)->is_over;
        if (over == found_over ? point > found : found_over)
            found = point;
    }
    return found;
}

static void add_number(const struct family *family, const struct snapshot_point *point, struct family_value *value) {
    if (snapshot_metric(&family->snapshot, point)->is_double) {
        double real;
        memcpy(&real, &point->value, sizeof real);
        value->is_double = true;
        value->real += real;
    } else {
        value->whole = (int64_t)((uint64_t)value->whole + point->value);
    }
}

static void add_histogram(struct family *family, const struct snapshot_point *first, const struct snapshot_point *point,
                          struct family_value *value) {
    struct sonde__metric_histogram other;
    if (point == first) {
        snapshot_histogram(&family->snapshot, point, &value->histogram);
    } else if (snapshot_same_buckets(&family->snapshot, first, point)) {
        snapshot_histogram(&family->snapshot, point, &other);
        histogram_add(&value->histogram, &other, !value->metric->is_exponential);
    } else {
        family->stats->points_refused++;
    }
}

void family_value(struct family *family, const struct snapshot_point *point, struct family_value *ret_value) {
    struct family_value *value = ret_value;
    bool is_gauge = snapshot_metric(&family->snapshot, point)->is_gauge;
    if (is_gauge)
        point = gauge_of(family, point);
    value->is_double = false;
    value->whole = 0;
    value->real = 0;
    value->start_unix_ns = point->start_unix_ns;
    value->metric = snapshot_metric(&family->snapshot, point);
    for (const struct snapshot_point *one = point; one; one = is_gauge ? NULL : next_of(family, one)) {
        if (one->start_unix_ns < value->start_unix_ns)
            value->start_unix_ns = one->start_unix_ns;
        if (family->type == PLAN_HISTOGRAM)
            add_histogram(family, point, one, value);
        else
            add_number(family, one, value);
    }
    if (value->is_double)
        value->real += (double)value->whole;
}

double family_exemplar_value(const struct family *family, const struct snapshot_point *point,
                             const struct sonde__metric_exemplar *exemplar) {
    double value;
    if (family->type != PLAN_HISTOGRAM && !snapshot_metric(&family->snapshot, point)->is_double)
        return (double)(int64_t)exemplar->value;
    memcpy(&value, &exemplar->value, sizeof value);
    return value;
}

bool family_exemplar(const struct family *family, const struct snapshot_point *point, double above, double upto,
                     struct sonde__metric_exemplar *ret_exemplar) {
    bool found = false;
    for (; point; point = next_of(family, point)) {
        for (uint32_t i = 0; i < point->exemplar_count; i++) {
            struct sonde__metric_exemplar exemplar;
            snapshot_exemplar(&family->snapshot, point, i, &exemplar);
            double value = family_exemplar_value(family, point, &exemplar);
            if (!(value > above && value <= upto) || (found && exemplar.time_unix_ns <= ret_exemplar->time_unix_ns))
                continue;
            *ret_exemplar = exemplar;
            found = true;
        }
    }
    return found;
}
