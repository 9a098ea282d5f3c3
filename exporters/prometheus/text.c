/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of text 0.0.4 and OpenMetrics 1.0.0. Those of one series differ in the name's suffix, le and the value: its
 * labels are written once, to label_text, and copied. */
#include "exporters/prometheus/text.h"
#include "exporters/prometheus/escape.h"
#include "exporters/prometheus/family.h"
#include <errno.h>
#include <math.h>

static bool is_openmetrics(const struct family *family) {
    return family->dialect.format == SONDE_PROMETHEUS_OPENMETRICS;
}

static void name(const struct family *family, size_t size, const char *suffix, struct buffer *out) {
    if (family->is_plain) {
        buffer_put(out, family->name, size);
        buffer_text(out, suffix);
        return;
    }
    buffer_char(out, '"');
    escape_text(out, family->name, size, true);
    buffer_text(out, suffix);
    buffer_char(out, '"');
}

static void comment(const struct family *family, const char *keyword, struct buffer *out) {
    buffer_text(out, keyword);
    name(family, family->stem_size, "", out);
    buffer_char(out, ' ');
}

/* The unit, when the name ends with it and all metrics agree. */
static bool has_unit(const struct family *family) {
    const struct buffer *unit = &family->snapshot.unit;
    return unit->size && !family->snapshot.unit_is_unclear && family->stem_size > unit->size &&
           family->name[family->stem_size - unit->size - 1] == '_' &&
           memcmp(family->name + family->stem_size - unit->size, unit->data, unit->size) == 0;
}

void family_text_head(struct family *family, const char *dotted, size_t dotted_size, struct buffer *out) {
    static const char *const types[] = {
        [PLAN_COUNTER] = "counter\n", [PLAN_GAUGE] = "gauge\n", [PLAN_HISTOGRAM] = "histogram\n"};
    const struct buffer *help = &family->snapshot.help;
    comment(family, "# HELP ", out);
    if (help->size) {
        escape_text(out, help->data, help->size, is_openmetrics(family));
    } else { /* an empty HELP is complained about; the dotted name helps to find it */
        buffer_text(out, "OpenTelemetry metric ");
        escape_text(out, dotted, dotted_size, is_openmetrics(family));
    }
    buffer_char(out, '\n');
    comment(family, "# TYPE ", out);
    buffer_text(out, family->is_unknown ? "unknown\n" : types[family->type]);
    if (is_openmetrics(family) && has_unit(family)) {
        comment(family, "# UNIT ", out);
        buffer_put(out, family->snapshot.unit.data, family->snapshot.unit.size);
        buffer_char(out, '\n');
    }
}

/* name_suffix{labels, and what leaves room for one more label. size: of the name. */
static void begin(const struct family *family, size_t size, const char *suffix, struct buffer *out) {
    bool has_labels = family->label_text.size > 0;
    if (!family->is_plain)
        buffer_char(out, '{');
    name(family, size, suffix, out);
    if (has_labels)
        buffer_char(out, family->is_plain ? '{' : ',');
    buffer_put(out, family->label_text.data, family->label_text.size);
}

static void sample(const struct family *family, size_t size, const char *suffix, struct buffer *out) {
    begin(family, size, suffix, out);
    if (family->label_text.size || !family->is_plain)
        buffer_char(out, '}');
    buffer_char(out, ' ');
}

static void bucket(const struct family *family, double bound, uint64_t count, struct buffer *out) {
    begin(family, family->stem_size, "_bucket", out);
    buffer_text(out, family->label_text.size || !family->is_plain ? ",le=\"" : "{le=\"");
    if (is_openmetrics(family))
        buffer_bound(out, bound);
    else
        buffer_double(out, bound);
    buffer_text(out, "\"} ");
    buffer_uint(out, count);
}

/* Ends a line, if there is one with the latest exemplar in (above, upto]. */
static void end(struct family *family, const struct snapshot_point *point, double above, double upto,
                struct buffer *out) {
    struct sonde__metric_exemplar exemplar;
    if (is_openmetrics(family) && !family->is_unknown && family_exemplar(family, point, above, upto, &exemplar)) {
        buffer_text(out, " # {");
        labels_exemplar(&family->others, &exemplar);
        labels_write_text(&family->others, out);
        buffer_text(out, "} ");
        buffer_double(out, family_exemplar_value(family, point, &exemplar));
        buffer_char(out, ' ');
        buffer_seconds(out, exemplar.time_unix_ns);
    }
    buffer_char(out, '\n');
}

static void created(const struct family *family, uint64_t start_unix_ns, struct buffer *out) {
    if (!is_openmetrics(family) || !family->settings.created || family->is_unknown || !start_unix_ns)
        return;
    sample(family, family->stem_size, "_created", out);
    buffer_seconds(out, start_unix_ns);
    buffer_char(out, '\n');
}

static void histogram(struct family *family, const struct snapshot_point *point, const struct family_value *value,
                      struct buffer *out) {
    const struct powers *powers = &family->snapshot.powers;
    const struct snapshot_metric *metric = value->metric;
    double above = -(double)INFINITY;
    uint64_t total = 0;
    struct powers_place place = {0, 0};
    for (uint32_t i = 0; i < metric->bound_count; i++) {
        double bound = snapshot_bound(&family->snapshot, metric, i);
        total += value->histogram.buckets[i];
        bucket(family, bound, total, out);
        end(family, point, above, bound, out);
        above = bound;
    }
    for (int power = powers->low; metric->is_exponential && power <= powers->high; power++) {
        bucket(family, ldexp(1, power), powers_count(&value->histogram, power, &place), out);
        end(family, point, above, ldexp(1, power), out);
        above = ldexp(1, power);
    }
    bucket(family, (double)INFINITY, value->histogram.count, out);
    end(family, point, above, (double)INFINITY, out);
    sample(family, family->stem_size, "_sum", out);
    buffer_double(out, value->histogram.sum);
    buffer_char(out, '\n');
    sample(family, family->stem_size, "_count", out);
    buffer_uint(out, value->histogram.count);
    buffer_char(out, '\n');
    created(family, value->start_unix_ns, out);
}

void family_text_series(struct family *family, const struct snapshot_point *point, struct buffer *out) {
    struct family_value value;
    family_value(family, point, &value);
    snapshot_labels(&family->snapshot, point, &family->labels);
    family->label_text.size = 0;
    labels_write_text(&family->labels, &family->label_text);
    if (family->type == PLAN_HISTOGRAM) {
        histogram(family, point, &value, out);
        return;
    }
    sample(family, family->name_size, "", out);
    if (value.is_double)
        buffer_double(out, value.real);
    else
        buffer_int(out, value.whole);
    if (family->type == PLAN_COUNTER) {
        end(family, point, -(double)INFINITY, (double)INFINITY, out);
        created(family, value.start_unix_ns, out);
    } else {
        buffer_char(out, '\n');
    }
}

#define TARGET_HELP "Attributes of the resource that job and instance name"

void family_text_target_head(struct family *family, struct buffer *out) {
    buffer_text(out, is_openmetrics(family) ? "# HELP target " TARGET_HELP "\n# TYPE target info\n"
                                            : "# HELP target_info " TARGET_HELP "\n# TYPE target_info gauge\n");
}

void family_text_target(struct family *family, struct buffer *out) {
    buffer_text(out, "target_info{");
    labels_write_text(&family->labels, out);
    buffer_text(out, "} 1\n");
}

int sonde_prometheus_write(const struct sonde_metric_feed *feed, const struct sonde_alloc *alloc,
                           const struct sonde_prometheus_sink *sink, struct sonde_prometheus_stats *ret_stats) {
    const struct sonde_prometheus_settings settings = SONDE_PROMETHEUS_SETTINGS_DEFAULT;
    struct sonde_prometheus_dialect dialect;
    struct sonde_prometheus_scrape *scrape;
    sonde_prometheus_negotiate(NULL, &dialect);
    const struct sonde_prometheus_scrape_options options = {
        .feed = feed, .alloc = alloc, .dialect = &dialect, .settings = &settings};
    *ret_stats = (struct sonde_prometheus_stats){0};
    int err = sonde_prometheus_scrape_create(&options, &scrape);
    if (err)
        return err;
    for (bool done = false; !done && !err;) {
        const char *text;
        size_t size;
        err = sonde_prometheus_scrape_next(scrape, &text, &size, &done);
        if (!err && size)
            err = sink->write(sink->self, text, size);
    }
    sonde_prometheus_scrape_stats(scrape, ret_stats);
    sonde_prometheus_scrape_destroy(scrape);
    return err;
}
