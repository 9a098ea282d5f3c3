/* SPDX-License-Identifier: Apache-2.0 */
/* Scrapes in every format, of a feed that is written down here. */
#include "exporters/prometheus/histogram.h"
#include "exporters/prometheus/scrape.h"
#include "prometheus.pb-c.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

#define SECOND  UINT64_C(1000000000)
#define POINTS  4
#define METRICS 8

struct row {
    struct sonde_metric metric;
    struct sonde_metric_point points[POINTS];
    uint32_t count;
    bool gone;
};
struct feed {
    struct row rows[METRICS];
    uint32_t count, refreshed, holds, shown;
};

static const uint8_t resource[] = "\x0A\x13\x0A\x0Cservice.name\x12\x03\x0A\x01j"
                                  "\x0A\x1A\x0A\x13service.instance.id\x12\x03\x0A\x01i"
                                  "\x0A\x10\x0A\x09host.name\x12\x03\x0A\x01h";
static const uint8_t scope[] = "\x0A\x03lib";
#define BYTES(text) ((struct sonde_bytes){(const uint8_t *)(text), sizeof(text) - 1})
#define KEY_VALUE   BYTES("\x0A\x0C\x0A\x05k.\xC3\xA4x\x12\x03\x0A\x01v")
#define KEY_ONLY    BYTES("\x0A\x0A\x0A\x03k.x\x12\x03\x0A\x01v")

static bool next_metric(void *self, struct sonde_metric_cursor *at, struct sonde_metric *ret_metric) {
    struct feed *feed = self;
    if (at->number >= feed->count)
        return false;
    *ret_metric = feed->rows[at->number++].metric;
    return true;
}
static bool next_point(void *self, const struct sonde_metric *metric, uint32_t *at,
                       struct sonde_metric_point *ret_point) {
    const struct row *row = &((struct feed *)self)->rows[metric->id];
    if (*at >= row->count)
        return false;
    *ret_point = row->points[(*at)++];
    return true;
}
static void hold(void *self, bool is_held) {
    ((struct feed *)self)->holds += is_held ? 1 : UINT32_MAX;
}
static bool next_source(void *self, const void **at) {
    bool first = *at == NULL;
    *at = self;
    return first;
}
static void refresh(void *self, const void *source, bool exemplars) {
    (void)source;
    (void)exemplars;
    ((struct feed *)self)->refreshed++;
}
static bool source_metric(void *self, const void *source, uint32_t *number, struct sonde_metric *ret_metric) {
    struct sonde_metric_cursor at = {source, *number};
    bool found = next_metric(self, &at, ret_metric);
    *number = at.number;
    return found;
}
static bool find(void *self, const void *source, uint32_t id, struct sonde_metric *ret_metric) {
    const struct row *row = &((struct feed *)self)->rows[id];
    (void)source;
    *ret_metric = row->metric;
    return !row->gone;
}
static void exemplars_shown(void *self, const void *source) {
    (void)source;
    ((struct feed *)self)->shown++;
}

static struct fakes fakes;
static struct sonde_seams seams;
static struct feed feed;
static struct buffer text;
static struct sonde_prometheus_stats stats;
static struct sonde__metric_histogram explicit_histogram, exponential;
static struct sonde__metric_exemplar exemplars[3];
static const double bounds[] = {0.5, 2};

static struct row *add(enum sonde_instrument_kind kind, const char *name, const char *unit) {
    struct row *row = &feed.rows[feed.count];
    *row = (struct row){.metric = {.resource = {resource, sizeof resource - 1},
                                   .scope = {scope, sizeof scope - 1},
                                   .kind = kind,
                                   .name = {name, strlen(name)},
                                   .unit = {unit, strlen(unit)},
                                   .description = {"A \"help\"\n", 9},
                                   .source = &feed,
                                   .id = feed.count}};
    feed.count++;
    return row;
}
static struct sonde_metric_point *point(struct row *row, struct sonde_bytes attributes, int64_t value) {
    struct sonde_metric_point *added = &row->points[row->count++];
    *added =
        (struct sonde_metric_point){.attributes = attributes, .start_unix_ns = 5 * SECOND + 1000000, .int64 = value};
    return added;
}

static void exemplar(struct sonde__metric_exemplar *ret, double value, uint64_t seconds) {
    *ret = (struct sonde__metric_exemplar){.time_unix_ns = seconds * SECOND};
    memcpy(&ret->value, &value, sizeof value);
    memset(ret->trace_id, 0xAB, sizeof ret->trace_id);
    memset(ret->span_id, 0xCD, sizeof ret->span_id);
}

static int setup(void **state) {
    (void)state;
    fakes_init(&fakes);
    seams = fakes_seams(&fakes);
    buffer_init(&text, &seams.alloc);
    feed = (struct feed){.count = 0};
    explicit_histogram =
        (struct sonde__metric_histogram){.bucket_count = 3, .count = 6, .sum = 9.5, .buckets = {1, 2, 3}};
    exponential = (struct sonde__metric_histogram){.scale = 0,
                                                   .offset = -1,
                                                   .bucket_count = 6,
                                                   .zero_count = 2,
                                                   .count = 9,
                                                   .sum = 20,
                                                   .buckets = {1, 0, 0, 0, 5, 1}};
    exemplar(&exemplars[0], 0.25, 7);
    exemplar(&exemplars[1], 1.5, 8);
    exemplar(&exemplars[2], 1.75, 9);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    buffer_deinit(&text);
    return fakes.live != 0 || feed.holds != 0;
}

static const struct sonde_prometheus_settings defaults = SONDE_PROMETHEUS_SETTINGS_DEFAULT;

static int scrape(const char *accept, const struct sonde_prometheus_settings *settings, bool in_pieces) {
    const struct sonde_metric_feed interface = {.next_metric = next_metric,
                                                .next_point = next_point,
                                                .hold = hold,
                                                .next_source = next_source,
                                                .refresh = refresh,
                                                .source_metric = source_metric,
                                                .find = find,
                                                .exemplars_shown = exemplars_shown,
                                                .self = &feed};
    struct sonde_prometheus_dialect dialect;
    struct sonde_prometheus_scrape *scraping;
    sonde_prometheus_negotiate(accept, &dialect);
    const struct sonde_prometheus_scrape_options options = {.feed = &interface,
                                                            .alloc = &seams.alloc,
                                                            .time = in_pieces ? &seams.time : NULL,
                                                            .dialect = &dialect,
                                                            .settings = settings,
                                                            .refresh = true};
    text.size = 0;
    int err = sonde_prometheus_scrape_create(&options, &scraping);
    if (err)
        return err;
    for (bool done = false; !done && !err;) {
        const char *piece;
        size_t size;
        err = sonde_prometheus_scrape_next(scraping, &piece, &size, &done);
        if (!err)
            buffer_put(&text, piece, size);
    }
    if (!err)
        sonde_prometheus_scrape_taken(scraping);
    sonde_prometheus_scrape_stats(scraping, &stats);
    sonde_prometheus_scrape_destroy(scraping);
    buffer_put(&text, "", 1);
    return err;
}

static void fill(void) {
    struct row *counter = add(SONDE_COUNTER, "jobs.done", "{job}");
    struct sonde_metric_point *p = point(counter, KEY_ONLY, 3);
    exemplars[0].value = 2;
    p->exemplars = &exemplars[0];
    p->exemplar_count = 1;
    point(add(SONDE_GAUGE, "queue.size", "By"), BYTES(""), -7);
    struct row *histogram = add(SONDE_HISTOGRAM, "wait", "s");
    histogram->metric.bounds = (const uint8_t *)bounds;
    histogram->metric.bound_count = 2;
    p = point(histogram, KEY_ONLY, 0);
    p->histogram = &explicit_histogram;
    p->exemplars = &exemplars[1];
    p->exemplar_count = 2;
    point(add(SONDE_HISTOGRAM, "size", "By"), BYTES(""), 0)->histogram = &exponential;
}

#define LABELS "instance=\"i\",job=\"j\",otel_scope_name=\"lib\""
#define TRACE  "trace_id=\"abababababababababababababababab\""
#define SPAN   "span_id=\"cdcdcdcdcdcdcdcd\""

static void openmetrics_is_whole(void **state) {
    (void)state;
    fill();
    assert_int_equal(scrape("application/openmetrics-text;version=1.0.0", &defaults, false), 0);
    assert_string_equal(
        text.data,
        "# HELP target Attributes of the resource that job and instance name\n"
        "# TYPE target info\n"
        "target_info{host_name=\"h\",instance=\"i\",job=\"j\"} 1\n"
        "# HELP jobs_done A \\\"help\\\"\\n\n"
        "# TYPE jobs_done counter\n"
        "jobs_done_total{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\"} 3 # {" SPAN "," TRACE "} 2 7.000\n"
        "jobs_done_created{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\"} 5.001\n"
        "# HELP queue_size_bytes A \\\"help\\\"\\n\n"
        "# TYPE queue_size_bytes gauge\n"
        "# UNIT queue_size_bytes bytes\n"
        "queue_size_bytes{" LABELS "} -7\n"
        "# HELP size_bytes A \\\"help\\\"\\n\n"
        "# TYPE size_bytes histogram\n"
        "# UNIT size_bytes bytes\n"
        "size_bytes_bucket{" LABELS ",le=\"1.0\"} 3\n"
        "size_bytes_bucket{" LABELS ",le=\"2.0\"} 3\n"
        "size_bytes_bucket{" LABELS ",le=\"4.0\"} 3\n"
        "size_bytes_bucket{" LABELS ",le=\"8.0\"} 3\n"
        "size_bytes_bucket{" LABELS ",le=\"16.0\"} 8\n"
        "size_bytes_bucket{" LABELS ",le=\"32.0\"} 9\n"
        "size_bytes_bucket{" LABELS ",le=\"+Inf\"} 9\n"
        "size_bytes_sum{" LABELS "} 20\n"
        "size_bytes_count{" LABELS "} 9\n"
        "size_bytes_created{" LABELS "} 5.001\n"
        "# HELP wait_seconds A \\\"help\\\"\\n\n"
        "# TYPE wait_seconds histogram\n"
        "# UNIT wait_seconds seconds\n"
        "wait_seconds_bucket{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\",le=\"0.5\"} 1\n"
        "wait_seconds_bucket{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\",le=\"2.0\"} 3"
        " # {" SPAN "," TRACE "} 1.75 9.000\n"
        "wait_seconds_bucket{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\",le=\"+Inf\"} 6\n"
        "wait_seconds_sum{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\"} 9.5\n"
        "wait_seconds_count{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\"} 6\n"
        "wait_seconds_created{instance=\"i\",job=\"j\",k_x=\"v\",otel_scope_name=\"lib\"} 5.001\n"
        "# EOF\n");
    assert_int_equal(stats.families, 4);
    assert_int_equal(stats.series, 4);
    assert_int_equal(feed.refreshed, 1);
    assert_int_equal(feed.shown, 1);
}

static void settings_leave_out_what_is_off(void **state) {
    (void)state;
    fill();
    const struct sonde_prometheus_settings none = {.strategy = SONDE_PROMETHEUS_UNDERSCORE_WITHOUT_SUFFIXES};
    feed.count = 2;
    assert_int_equal(scrape("application/openmetrics-text", &none, false), 0);
    assert_string_equal(text.data, "# HELP jobs_done A \\\"help\\\"\\n\n"
                                   "# TYPE jobs_done unknown\n" /* OpenMetrics' counters end with _total */
                                   "jobs_done{instance=\"i\",job=\"j\",k_x=\"v\"} 3\n"
                                   "# HELP queue_size A \\\"help\\\"\\n\n"
                                   "# TYPE queue_size gauge\n"
                                   "queue_size{instance=\"i\",job=\"j\"} -7\n"
                                   "# EOF\n");
    assert_int_equal(feed.shown, 0);
}

static void names_in_utf8_are_quoted_or_escaped(void **state) {
    (void)state;
    const struct sonde_prometheus_settings settings = {.strategy = SONDE_PROMETHEUS_NO_TRANSLATION, .created = true};
    point(add(SONDE_COUNTER, "jobs.\xC3\xA4\"_total", "{job}"), KEY_VALUE, 3);
    assert_int_equal(scrape("text/plain;version=1.0.0;escaping=allow-utf-8", &settings, false), 0);
    assert_string_equal(text.data, "# HELP \"jobs.\xC3\xA4\\\"_total\" A \"help\"\\n\n"
                                   "# TYPE \"jobs.\xC3\xA4\\\"_total\" counter\n"
                                   "{\"jobs.\xC3\xA4\\\"_total\",instance=\"i\",job=\"j\",\"k.\xC3\xA4x\"=\"v\"} 3\n");
    assert_int_equal(scrape("application/openmetrics-text;escaping=allow-utf-8", &settings, false), 0);
    assert_string_equal(text.data,
                        "# HELP \"jobs.\xC3\xA4\\\"\" A \\\"help\\\"\\n\n"
                        "# TYPE \"jobs.\xC3\xA4\\\"\" counter\n"
                        "{\"jobs.\xC3\xA4\\\"_total\",instance=\"i\",job=\"j\",\"k.\xC3\xA4x\"=\"v\"} 3\n"
                        "{\"jobs.\xC3\xA4\\\"_created\",instance=\"i\",job=\"j\",\"k.\xC3\xA4x\"=\"v\"} 5.001\n"
                        "# EOF\n");
    assert_int_equal(scrape("text/plain;escaping=values", &settings, false), 0);
    assert_non_null(
        strstr(text.data, "\nU__jobs_2e__e4__22___total{U__k_2e__e4_x=\"v\",instance=\"i\",job=\"j\"} 3\n"));
    assert_int_equal(scrape("text/plain;escaping=dots", &settings, false), 0);
    assert_non_null(strstr(text.data, "\njobs_dot_______total{instance=\"i\",job=\"j\",k_dot___x=\"v\"} 3\n"));
    assert_int_equal(scrape(NULL, &settings, false), 0);
    assert_non_null(strstr(text.data, "\njobs____total{instance=\"i\",job=\"j\",k__x=\"v\"} 3\n"));
}

/* ---- protobuf ---- */

#define PROTOBUF "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

static Io__Prometheus__Client__MetricFamily *next_family(const uint8_t **at) {
    uint64_t size = buffer_varint_read(at);
    Io__Prometheus__Client__MetricFamily *family = io__prometheus__client__metric_family__unpack(NULL, size, *at);
    assert_non_null(family);
    *at += size;
    return family;
}

static void protobuf_has_native_histograms(void **state) {
    (void)state;
    fill();
    assert_int_equal(scrape(PROTOBUF, &defaults, false), 0);
    const uint8_t *at = (const uint8_t *)text.data;
    Io__Prometheus__Client__MetricFamily *family = next_family(&at);
    assert_string_equal(family->name, "target_info");
    assert_true(family->metric[0]->gauge->value == 1);
    assert_int_equal(family->metric[0]->n_label, 3);
    io__prometheus__client__metric_family__free_unpacked(family, NULL);

    family = next_family(&at);
    assert_string_equal(family->name, "jobs_done_total");
    assert_string_equal(family->help, "A \"help\"\n");
    assert_int_equal(family->type, IO__PROMETHEUS__CLIENT__METRIC_TYPE__COUNTER);
    assert_true(family->metric[0]->counter->value == 3);
    assert_int_equal(family->metric[0]->counter->created_timestamp->seconds, 5);
    assert_int_equal(family->metric[0]->counter->created_timestamp->nanos, 1000000);
    assert_true(family->metric[0]->counter->exemplar->value == 2);
    assert_int_equal(family->metric[0]->counter->exemplar->timestamp->seconds, 7);
    assert_string_equal(family->metric[0]->counter->exemplar->label[1]->value, "abababababababababababababababab");
    assert_string_equal(family->metric[0]->label[2]->name, "k_x");
    io__prometheus__client__metric_family__free_unpacked(family, NULL);

    family = next_family(&at);
    assert_string_equal(family->name, "queue_size_bytes");
    assert_string_equal(family->unit, "bytes");
    assert_true(family->metric[0]->gauge->value == -7);
    io__prometheus__client__metric_family__free_unpacked(family, NULL);

    family = next_family(&at);
    assert_string_equal(family->name, "size_bytes");
    const Io__Prometheus__Client__Histogram *native = family->metric[0]->histogram;
    static const int64_t deltas[] = {1, 4, -4}; /* 1, then after a gap 5, 1 */
    assert_int_equal(native->sample_count, 9);
    assert_int_equal(native->zero_count, 2);
    assert_true(native->zero_threshold == 1e-128);
    assert_int_equal(native->schema, 0);
    assert_int_equal(native->n_positive_span, 2);
    assert_int_equal(native->positive_span[0]->offset, 0);
    assert_int_equal(native->positive_span[0]->length, 1);
    assert_int_equal(native->positive_span[1]->offset, 3);
    assert_int_equal(native->positive_span[1]->length, 2);
    assert_int_equal(native->n_positive_delta, 3);
    assert_memory_equal(native->positive_delta, deltas, sizeof deltas);
    assert_int_equal(native->n_bucket, 7); /* the classic ones beside */
    assert_int_equal(native->bucket[5]->cumulative_count, 9);
    assert_true(native->bucket[5]->upper_bound == 32);
    io__prometheus__client__metric_family__free_unpacked(family, NULL);

    family = next_family(&at);
    assert_string_equal(family->name, "wait_seconds");
    const Io__Prometheus__Client__Histogram *classic = family->metric[0]->histogram;
    assert_int_equal(classic->n_bucket, 3);
    assert_int_equal(classic->n_positive_span, 0);
    assert_true(classic->zero_threshold == 0);
    assert_null(classic->bucket[0]->exemplar);
    assert_true(classic->bucket[1]->exemplar->value == 1.75);
    io__prometheus__client__metric_family__free_unpacked(family, NULL);
    assert_ptr_equal(at, text.data + text.size - 1);
}

/* A bucket's values are those in (base^(i-1), base^i]. */
static void native_histograms_keep_every_count(void **state) {
    (void)state;
    struct native_histogram native;
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        struct sonde__metric_histogram h = {.scale = (int32_t)(seed >> 33) % 26 - 5};
        h.bucket_count = 1 + (uint32_t)(seed >> 40) % 160;
        h.offset = (int32_t)(seed >> 20) % 4000 - 2000;
        uint64_t total = 0;
        for (uint32_t i = 0; i < h.bucket_count; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            h.buckets[i] = (seed >> 60) < 9 ? 0 : seed >> 50;
            total += h.buckets[i];
        }
        bool made = native_histogram_make(&h, &native);
        assert_int_equal(made, h.scale >= -4);
        if (!made)
            continue;
        int shift = h.scale > 8 ? h.scale - 8 : 0;
        assert_int_equal(native.schema, h.scale - shift);
        int64_t index = 0, count = 0;
        uint32_t at = 0, from = 0;
        uint64_t sum = 0;
        for (uint32_t s = 0; s < native.span_count; s++) {
            index += native.spans[s].offset;
            assert_true(s == 0 || native.spans[s].offset > 2);
            for (uint32_t k = 0; k < native.spans[s].length; k++, index++) {
                uint64_t expected = 0;
                count += native.deltas[at++];
                for (; from < h.bucket_count && (((int64_t)h.offset + from) >> shift) + 1 <= index; from++)
                    expected += h.buckets[from];
                assert_int_equal(count, expected);
                sum += expected;
            }
        }
        assert_int_equal(at, native.count);
        assert_int_equal(sum, total);
    }
    const struct sonde__metric_histogram empty = {.scale = 20};
    assert_true(native_histogram_make(&empty, &native));
    assert_int_equal(native.span_count, 0);
}

static void packed_histograms_are_the_same(void **state) {
    (void)state;
    struct sonde__metric_histogram h = {.scale = -3, .offset = -70, .bucket_count = 9, .zero_count = 1, .sum = -0.5},
                                   out;
    h.buckets[2] = UINT64_MAX;
    h.buckets[7] = 1;
    histogram_pack(&h, &text);
    assert_ptr_equal(histogram_unpack((const uint8_t *)text.data, &out), text.data + text.size);
    assert_int_equal(out.scale, h.scale);
    assert_int_equal(out.offset, h.offset);
    assert_int_equal(out.bucket_count, h.bucket_count);
    size_t behind = offsetof(struct sonde__metric_histogram, zero_count); /* padding is nobody's */
    assert_memory_equal((const char *)&out + behind, (const char *)&h + behind, sizeof h - behind);
}

/* ---- what may not be shown as it is ---- */

static void equal_series_are_added(void **state) {
    (void)state;
    struct row *first = add(SONDE_HISTOGRAM, "size", ""), *second = add(SONDE_HISTOGRAM, "size", "");
    point(first, BYTES(""), 0)->histogram = &exponential;
    point(second, BYTES(""), 0)->histogram = &exponential;
    struct row *third = add(SONDE_HISTOGRAM, "size", "");
    third->metric.bounds = (const uint8_t *)bounds;
    third->metric.bound_count = 2;
    point(third, BYTES(""), 0)->histogram = &explicit_histogram;
    struct row *joined = add(SONDE_COUNTER, "a", "");
    point(joined, BYTES("\x0A\x08\x0A\x01k\x12\x03\x0A\x01v"), 4);
    point(joined, BYTES("\x0A\x09\x0A\x02k-\x12\x03\x0A\x01v"), 5); /* k_: another */
    point(joined, BYTES("\x0A\x09\x0A\x02k.\x12\x03\x0A\x01v"), 6); /* k_, too */
    assert_int_equal(scrape(NULL, &defaults, false), 0);
    assert_non_null(strstr(text.data, "size_bucket{" LABELS ",le=\"16\"} 16\n"));
    assert_non_null(strstr(text.data, "size_sum{" LABELS "} 40\n"));
    assert_int_equal(stats.points_refused, 1);
    assert_non_null(strstr(text.data, "a_total{instance=\"i\",job=\"j\",k=\"v\",otel_scope_name=\"lib\"} 4\n"));
    assert_non_null(strstr(text.data, "a_total{instance=\"i\",job=\"j\",k_=\"v\",otel_scope_name=\"lib\"} 11\n"));
    assert_int_equal(scrape(PROTOBUF, &defaults, false), 0);
    assert_int_equal(stats.points_refused, 1);
    assert_int_equal(stats.series, 3);
}

static void names_of_samples_are_nobody_elses(void **state) {
    (void)state;
    point(add(SONDE_HISTOGRAM, "x", ""), BYTES(""), 0)->histogram = &exponential;
    point(add(SONDE_GAUGE, "x.count", ""), BYTES(""), 1);
    point(add(SONDE_COUNTER, "y", ""), BYTES(""), 1);
    point(add(SONDE_GAUGE, "y.created", ""), BYTES(""), 1);
    point(add(SONDE_GAUGE, "target.info", ""), BYTES(""), 1);
    point(add(SONDE_GAUGE, "target", ""), BYTES(""), 1);
    point(add(SONDE_COUNTER, "z", ""), BYTES(""), 1);
    point(add(SONDE_GAUGE, "z", ""), BYTES(""), 1);
    assert_int_equal(scrape(NULL, &defaults, false), 0);
    assert_int_equal(stats.type_conflicts, 2); /* x_count, target_info */
    assert_non_null(strstr(text.data, "\ny_created{"));
    assert_non_null(strstr(text.data, "# TYPE target gauge\n"));
    assert_null(strstr(text.data, "# TYPE x_count"));
    assert_int_equal(scrape("application/openmetrics-text", &defaults, false), 0);
    assert_int_equal(stats.type_conflicts, 4); /* y_created, target, too */
    assert_null(strstr(text.data, "# TYPE target gauge"));
    assert_null(strstr(text.data, "# TYPE y_created"));
    assert_non_null(strstr(text.data, "# TYPE z gauge\n")); /* of that name there is one only */
    assert_non_null(strstr(text.data, "# TYPE z_total unknown\n"));
}

static void exemplars_are_bounded(void **state) {
    (void)state;
    static uint8_t attributes[] = "\x0A\x20\x0A\x01q\x12\x1B\x0A\x19"
                                  "0123456789012345678901234"
                                  "\x0A\x4E\x0A\x01r\x12\x49\x0A\x47"
                                  "01234567890123456789012345678901234567890123456789012345678901234567890"
                                  "\x0A\x2E\x0A\x01s\x12\x29\x0A\x27"
                                  "\xC3\xA4 012345678901234567890123456789012345"
                                  "\x0A\x0F\x0A\x08trace_id\x12\x03\x0A\x01x";
    struct sonde_metric_point *p = point(add(SONDE_COUNTER, "n", ""), BYTES(""), 1);
    exemplars[0].attributes = attributes;
    exemplars[0].attributes_size = sizeof attributes - 1;
    p->exemplars = exemplars;
    p->exemplar_count = 1;
    assert_int_equal(scrape("application/openmetrics-text", &defaults, false), 0);
    /* 63 of trace_id and span_id, 26 of q; r would be 72, s has 39: 38 characters and its name */
    assert_non_null(strstr(
        text.data, " # {q=\"0123456789012345678901234\",s=\"\xC3\xA4 012345678901234567890123456789012345\"," SPAN
                   "," TRACE "} "));
    assert_null(strstr(text.data, ",r="));
}

/* ---- in pieces ---- */

static uint64_t hasty_ns(void *self) { /* each look at the clock is a millisecond later */
    struct fakes *f = self;
    return f->monotonic_ns += 1000000;
}

static void pieces_are_the_same_as_the_whole(void **state) {
    (void)state;
    static const char *const accepts[] = {NULL, "application/openmetrics-text", PROTOBUF};
    fill();
    for (size_t i = 0; i < sizeof accepts / sizeof accepts[0]; i++) {
        assert_int_equal(scrape(accepts[i], &defaults, false), 0);
        char *whole = malloc(text.size);
        assert_non_null(whole);
        memcpy(whole, text.data, text.size);
        size_t size = text.size;
        struct sonde_time time = seams.time;
        seams.time.monotonic_ns = hasty_ns;
        assert_int_equal(scrape(accepts[i], &defaults, true), 0);
        seams.time = time;
        assert_int_equal(text.size, size);
        assert_memory_equal(text.data, whole, size);
        free(whole);
    }
}

static void what_goes_meanwhile_is_left_out(void **state) {
    (void)state;
    fill();
    feed.rows[0].gone = true;
    assert_int_equal(scrape("application/openmetrics-text", &defaults, true), 0);
    assert_null(strstr(text.data, "jobs_done"));
    assert_non_null(strstr(text.data, "target_info{"));
    assert_non_null(strstr(text.data, "queue_size_bytes{"));
}

static void no_memory_is_told_and_nothing_leaks(void **state) {
    (void)state;
    static const char *const accepts[] = {"application/openmetrics-text", PROTOBUF};
    fill();
    for (size_t i = 0; i < sizeof accepts / sizeof accepts[0]; i++) {
        int err = -ENOMEM;
        for (int64_t after = 0; err; after++) {
            buffer_deinit(&text);
            fakes.allocations_until_failure = -1;
            assert_true(buffer_reserve(&text, 8192));
            fakes.allocations_until_failure = after;
            err = scrape(accepts[i], &defaults, false);
            assert_true(err == 0 || err == -ENOMEM);
            assert_true(after < 1000);
        }
        fakes.allocations_until_failure = -1;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(openmetrics_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_leave_out_what_is_off, setup, teardown),
        cmocka_unit_test_setup_teardown(names_in_utf8_are_quoted_or_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(protobuf_has_native_histograms, setup, teardown),
        cmocka_unit_test_setup_teardown(native_histograms_keep_every_count, setup, teardown),
        cmocka_unit_test_setup_teardown(packed_histograms_are_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_series_are_added, setup, teardown),
        cmocka_unit_test_setup_teardown(names_of_samples_are_nobody_elses, setup, teardown),
        cmocka_unit_test_setup_teardown(exemplars_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_are_the_same_as_the_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(what_goes_meanwhile_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory_is_told_and_nothing_leaks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
