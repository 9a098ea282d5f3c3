/* SPDX-License-Identifier: Apache-2.0 */
/* What is chosen for which Accept header; names by strategy and escaping scheme. The expected ones are those of
 * prometheus/common (expfmt.Negotiate, model.EscapeName) and prometheus/otlptranslator. */
#include "exporters/prometheus/dialect.h"
#include "exporters/prometheus/escape.h"
#include "exporters/prometheus/name.h"
#include "tests/lib/fakes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

#define TEXT        "text/plain; version=0.0.4; charset=utf-8"
#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PROTOBUF    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

static struct fakes fakes;
static struct sonde_seams seams;
static struct buffer text;

static int setup(void **state) {
    (void)state;
    fakes_init(&fakes);
    seams = fakes_seams(&fakes);
    buffer_init(&text, &seams.alloc);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    buffer_deinit(&text);
    return fakes.live != 0;
}
static const char *take(void) {
    buffer_put(&text, "", 1);
    text.size = 0;
    return text.data;
}

static void formats_are_chosen_as_prometheus_means_it(void **state) {
    (void)state;
    static const struct {
        const char *accept, *expected;
        enum sonde_prometheus_format format;
        enum sonde_prometheus_escaping escaping;
    } rows[] = {
        {NULL, TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"*/*", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"text/html,application/xhtml+xml,*/*;q=0.8", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        /* Prometheus 2.42, without and with native histograms */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         OPENMETRICS, SONDE_PROMETHEUS_OPENMETRICS, SONDE_PROMETHEUS_UNDERSCORES},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
         "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         PROTOBUF, SONDE_PROMETHEUS_PROTOBUF, SONDE_PROMETHEUS_UNDERSCORES},
        /* Prometheus 3 */
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
         "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         OPENMETRICS "; escaping=allow-utf-8", SONDE_PROMETHEUS_OPENMETRICS, SONDE_PROMETHEUS_ALLOW_UTF8},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=dots",
         PROTOBUF "; escaping=dots", SONDE_PROMETHEUS_PROTOBUF, SONDE_PROMETHEUS_DOTS},
        {"text/plain;version=1.0.0;escaping=values", "text/plain; version=1.0.0; charset=utf-8; escaping=values",
         SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_VALUES},
        {"text/plain;escaping=underscores", TEXT "; escaping=underscores", SONDE_PROMETHEUS_TEXT,
         SONDE_PROMETHEUS_UNDERSCORES},
        {"text/plain;escaping=whatever", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        /* the first of those with the highest q */
        {"text/plain;q=0.5,application/openmetrics-text;q=0.9", OPENMETRICS, SONDE_PROMETHEUS_OPENMETRICS,
         SONDE_PROMETHEUS_UNDERSCORES},
        {"text/plain,application/openmetrics-text", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"application/openmetrics-text;q=0", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {" Application/OpenMetrics-Text ; Version=\"1.0.0\" ; q=0.001 ", OPENMETRICS, SONDE_PROMETHEUS_OPENMETRICS,
         SONDE_PROMETHEUS_UNDERSCORES},
        {"application/openmetrics-text;version=0.0.1", "application/openmetrics-text; version=0.0.1; charset=utf-8",
         SONDE_PROMETHEUS_OPENMETRICS, SONDE_PROMETHEUS_UNDERSCORES},
        /* what we do not have */
        {"application/openmetrics-text;version=2.0.0", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT,
         SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"application/vnd.google.protobuf", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"application/json", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        /* what follows no grammar */
        {",,;;q=,;=\"", TEXT, SONDE_PROMETHEUS_TEXT, SONDE_PROMETHEUS_UNDERSCORES},
        {"x;a=\"text/plain,\",application/openmetrics-text;q=0.2", OPENMETRICS, SONDE_PROMETHEUS_OPENMETRICS,
         SONDE_PROMETHEUS_UNDERSCORES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sonde_prometheus_dialect dialect;
        sonde_prometheus_negotiate(rows[i].accept, &dialect);
        assert_string_equal(dialect.content_type, rows[i].expected);
        assert_int_equal(dialect.format, rows[i].format);
        assert_int_equal(dialect.escaping, rows[i].escaping);
    }
}

static void gzip_is_sent_to_those_who_take_it(void **state) {
    (void)state;
    static const struct {
        const char *header;
        bool takes;
    } rows[] = {{NULL, false},        {"", false},         {"gzip", true},        {"deflate, gzip;q=0.5", true},
                {"gzip;q=0", false},  {"*", true},         {"*;q=0", false},      {"*, gzip;q=0", false},
                {"identity", false},  {"zstd,GZIP", true}, {"gzip;q=0.0", false}, {"x-gzip", true},
                {"gzip;q=1.0", true}, {"br;q=1.0", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(sonde_prometheus_takes_gzip(rows[i].header), rows[i].takes);
}

static void names_follow_the_strategy(void **state) {
    (void)state;
    static const struct {
        const char *name, *unit;
        enum sonde_instrument_kind kind;
        const char *expected[4]; /* NULL: nothing is left */
    } rows[] = {
        {"http.server.duration",
         "s",
         SONDE_HISTOGRAM,
         {"http_server_duration_seconds", "http_server_duration", "http.server.duration_seconds",
          "http.server.duration"}},
        {"jobs.done", "{job}", SONDE_COUNTER, {"jobs_done_total", "jobs_done", "jobs.done_total", "jobs.done"}},
        {"jobs.total", "", SONDE_COUNTER, {"jobs_total", "jobs_total", "jobs_total", "jobs.total"}},
        {"use", "1", SONDE_GAUGE, {"use_ratio", "use", "use_ratio", "use"}},
        {"use.ratio", "1", SONDE_GAUGE, {"use_ratio", "use_ratio", "use_ratio", "use.ratio"}},
        {"io", "By/s", SONDE_COUNTER, {"io_bytes_per_second_total", "io", "io_bytes_per_second_total", "io"}},
        {"io.per_second",
         "By/s",
         SONDE_GAUGE,
         {"io_per_second_bytes_per_second", "io_per_second", "io_bytes_per_second", "io.per_second"}},
        {"time.seconds", "s", SONDE_GAUGE, {"time_seconds", "time_seconds", "time.seconds", "time.seconds"}},
        {"3.a__b", "", SONDE_GAUGE, {"_3_a_b", "_3_a__b", "3.a__b", "3.a__b"}},
        {"\xC3\xBC.\xC3\xA4.x", "", SONDE_GAUGE, {"x", "x", "\xC3\xBC.\xC3\xA4.x", "\xC3\xBC.\xC3\xA4.x"}},
        {"..", "", SONDE_GAUGE, {NULL, NULL, "..", ".."}},
        {"", "", SONDE_GAUGE, {NULL, NULL, NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned k = 0; k < 4; k++) {
            const struct sonde_string name = {rows[i].name, strlen(rows[i].name)};
            const struct sonde_string unit = {rows[i].unit, strlen(rows[i].unit)};
            bool good =
                sonde_prometheus_metric_name(&text, name, unit, rows[i].kind, (enum sonde_prometheus_strategy)k);
            assert_int_equal(good, rows[i].expected[k] != NULL);
            if (good)
                assert_string_equal(take(), rows[i].expected[k]);
            assert_int_equal(text.size, 0);
        }
    }
}

static void labels_follow_the_strategy(void **state) {
    (void)state;
    assert_true(sonde_prometheus_label_name(&text, "http.route", 10, SONDE_PROMETHEUS_UTF8_WITH_SUFFIXES));
    assert_string_equal(take(), "http.route");
    assert_true(sonde_prometheus_label_name(&text, "3.x", 3, SONDE_PROMETHEUS_NO_TRANSLATION));
    assert_string_equal(take(), "3.x");
    assert_true(sonde_prometheus_label_name(&text, "3.x", 3, SONDE_PROMETHEUS_UNDERSCORE_WITHOUT_SUFFIXES));
    assert_string_equal(take(), "key_3_x");
    assert_false(sonde_prometheus_label_name(&text, "__", 2, SONDE_PROMETHEUS_NO_TRANSLATION));
}

static void names_are_escaped_by_scheme(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool is_label;
        const char *expected[4]; /* underscores, allow-utf-8, dots, values */
    } rows[] = {
        {"no:escaping_required",
         false,
         {"no:escaping_required", "no:escaping_required", "no:escaping_required", "no:escaping_required"}},
        {"mysystem.prod.west.cpu.load",
         false,
         {"mysystem_prod_west_cpu_load", "mysystem.prod.west.cpu.load", "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
          "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load"}},
        {"mysystem.prod.west.cpu.load_total",
         false,
         {"mysystem_prod_west_cpu_load_total", "mysystem.prod.west.cpu.load_total",
          "mysystem_dot_prod_dot_west_dot_cpu_dot_load__total", "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load__total"}},
        {"http.status:sum",
         false,
         {"http_status:sum", "http.status:sum", "http_dot_status:sum", "U__http_2e_status:sum"}},
        {"label with \xF0\x9F\x98\xB1",
         true,
         {"label_with__", "label with \xF0\x9F\x98\xB1", "label__with____", "U__label_20_with_20__1f631_"}},
        {"\xE8\x8A\xB1\xE7\x81\xAB", false, {"__", "\xE8\x8A\xB1\xE7\x81\xAB", "____", "U___82b1__706b_"}},
        {"3d", true, {"_d", "3d", "__d", "U___33_d"}},
        {"a:b", true, {"a_b", "a:b", "a__b", "U__a_3a_b"}},
        {"bad\xFF\xC3", true, {"bad__", "bad\xEF\xBF\xBD\xEF\xBF\xBD", "bad____", "U__bad_fffd__fffd_"}},
        {"\xED\xA0\x80", true, {"___", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "______", "U___fffd__fffd__fffd_"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned k = 0; k < 4; k++) {
            escape_name(&text, rows[i].name, strlen(rows[i].name), rows[i].is_label, (enum sonde_prometheus_escaping)k);
            assert_string_equal(take(), rows[i].expected[k]);
        }
    }
}

static void units_are_told_as_names_have_them(void **state) {
    (void)state;
    static const struct {
        const char *unit;
        enum sonde_instrument_kind kind;
        const char *expected;
    } rows[] = {{"s", SONDE_COUNTER, "seconds"},
                {"By/s", SONDE_GAUGE, "bytes_per_second"},
                {"{job}/s", SONDE_GAUGE, "per_second"},
                {"{job}", SONDE_GAUGE, ""},
                {"1", SONDE_GAUGE, "ratio"},
                {"1", SONDE_COUNTER, ""}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sonde_prometheus_unit_word(&text, (struct sonde_string){rows[i].unit, strlen(rows[i].unit)}, rows[i].kind);
        assert_string_equal(take(), rows[i].expected);
    }
}

static void boundaries_are_canonical(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } rows[] = {{0, "0.0"},
                {1, "1.0"},
                {-1, "-1.0"},
                {0.25, "0.25"},
                {999999, "999999.0"},
                {1e6, "1e+06"},
                {1048576, "1.048576e+06"},
                {1e-5, "1e-05"},
                {0.0001, "0.0001"},
                {0x1p-20, "9.5367431640625e-07"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buffer_bound(&text, rows[i].value);
        assert_string_equal(take(), rows[i].expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(formats_are_chosen_as_prometheus_means_it, setup, teardown),
        cmocka_unit_test_setup_teardown(gzip_is_sent_to_those_who_take_it, setup, teardown),
        cmocka_unit_test_setup_teardown(names_follow_the_strategy, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_follow_the_strategy, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_escaped_by_scheme, setup, teardown),
        cmocka_unit_test_setup_teardown(units_are_told_as_names_have_them, setup, teardown),
        cmocka_unit_test_setup_teardown(boundaries_are_canonical, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
