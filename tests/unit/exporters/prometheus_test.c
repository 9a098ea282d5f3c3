/* SPDX-License-Identifier: Apache-2.0 */
/* Names, labels and values as Prometheus has them. */
#include "exporters/prometheus/histogram.h"
#include "exporters/prometheus/labels.h"
#include "exporters/prometheus/name.h"
#include "exporters/prometheus/value.h"
#include "tests/lib/fakes.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

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
static struct sonde_string string(const char *s) {
    return (struct sonde_string){s, strlen(s)};
}

static void metric_names_are_those_of_the_translator(void **state) {
    (void)state;
    static const struct {
        const char *name, *unit;
        enum sonde_instrument_kind kind;
        const char *expected;
    } rows[] = {
        {"http.server.request.duration", "s", SONDE_HISTOGRAM, "http_server_request_duration_seconds"},
        {"http.server.request.duration.seconds", "s", SONDE_HISTOGRAM, "http_server_request_duration_seconds"},
        {"seconds.of.what", "s", SONDE_GAUGE, "seconds_of_what"},
        {"system.io", "foo/bar", SONDE_COUNTER, "system_io_foo_per_bar_total"},
        {"system.io", "By/s", SONDE_COUNTER, "system_io_bytes_per_second_total"},
        {"rate", "{req}/s", SONDE_GAUGE, "rate_per_second"},
        {"rate", "/s", SONDE_GAUGE, "rate_per_second"},
        {"rate", "By/", SONDE_GAUGE, "rate_bytes"},
        {"requests", "{request}", SONDE_COUNTER, "requests_total"},
        {"total.requests", "1", SONDE_COUNTER, "requests_total"},
        {"requests.total", "", SONDE_COUNTER, "requests_total"},
        {"usage", "1", SONDE_GAUGE, "usage_ratio"},
        {"ratio.usage", "1", SONDE_GAUGE, "usage_ratio"},
        {"usage", "1", SONDE_UP_DOWN_COUNTER, "usage"},
        {"cpu", "%", SONDE_GAUGE, "cpu_percent"},
        {"a..b__c--d", "", SONDE_GAUGE, "a_b_c_d"},
        {"_x_", "", SONDE_GAUGE, "x"},
        {"3.things", "", SONDE_GAUGE, "_3_things"},
        {"memory", "KBy", SONDE_GAUGE, "memory_kilobytes"},
        {"memory", "kBy", SONDE_GAUGE, "memory_kilobytes"},
        {"memory", "TiBy", SONDE_GAUGE, "memory_tibibytes"},
        {"memory", "MiBy", SONDE_UP_DOWN_COUNTER, "memory_mebibytes"},
        {"latency", "ms", SONDE_HISTOGRAM, "latency_milliseconds"},
        {"a:b", "s", SONDE_GAUGE, "a:b_seconds"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(sonde_prometheus_metric_name(&text, string(rows[i].name), string(rows[i].unit), rows[i].kind,
                                                 SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES));
        assert_string_equal(take(), rows[i].expected);
    }
    assert_false(sonde_prometheus_metric_name(&text, string("._-"), string("s"), SONDE_GAUGE,
                                              SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES));
    assert_int_equal(text.size, 0);
}

static void label_names_are_sanitized(void **state) {
    (void)state;
    static const char *rows[][2] = {{"http.route", "http_route"}, {"a  b", "a_b"}, {"3rd", "key_3rd"}, {"a:b", "a_b"},
                                    {"\xC3\xA9t", "_t"},          {"x_", "x_"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(sonde_prometheus_label_name(&text, rows[i][0], strlen(rows[i][0]),
                                                SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES));
        assert_string_equal(take(), rows[i][1]);
    }
    assert_false(sonde_prometheus_label_name(&text, "..", 2, SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES));
    assert_false(sonde_prometheus_label_name(&text, "", 0, SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES));
}

static void values_are_written_as_text(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *expected;
    } rows[] = {
        {"\x0A\x02hi", 4, "hi"},
        {"\x10\x01", 2, "true"},
        {"\x18\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, "-1"},
        {"\x21\0\0\0\0\0\0\xF8\x3F", 9, "1.5"},
        {"\x3A\x04\x01\x02\x03\xFF", 6, "AQID/w=="},
        {"\x2A\x0C\x0A\x04\x0A\x02\x22\n\x0A\x02\x18\x07\x0A\x00", 14, "[\"\\\"\\u000a\",7,null]"},
        {"\x32\x09\x0A\x07\x0A\x01k\x12\x02\x10\x00", 11, "{\"k\":false}"},
        {"", 0, ""},
        {"\x0A\x09x", 3, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sonde_prometheus_value(&text, (struct sonde_bytes){(const uint8_t *)rows[i].bytes, rows[i].size});
        assert_string_equal(take(), rows[i].expected);
    }
}

static void doubles_are_shortest_and_exact(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } rows[] = {{0.1, "0.1"},
                {1, "1"},
                {1e-05, "1e-05"},
                {1.0 / 3, "0.3333333333333333"},
                {1e300, "1e+300"},
                {INFINITY, "+Inf"},
                {-INFINITY, "-Inf"},
                {NAN, "NaN"},
                {0x1p40, "1099511627776"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buffer_double(&text, rows[i].value);
        assert_string_equal(take(), rows[i].expected);
    }
}

static void colliding_labels_are_joined_and_reserved_ones_renamed(void **state) {
    (void)state;
    struct labels labels;
    struct sonde_metric metric = {.kind = SONDE_HISTOGRAM};
    static const char bytes[] = "\x0A\x0A\x0A\x03"
                                "a.b\x12\x03\x0A\x01"
                                "1"
                                "\x0A\x0A\x0A\x03"
                                "a_b\x12\x03\x0A\x01"
                                "2"
                                "\x0A\x0A\x0A\x03job\x12\x03\x0A\x01"
                                "3"
                                "\x0A\x09\x0A\x02le\x12\x03\x0A\x01"
                                "4"
                                "\x0A\x08\x0A\x01"
                                ".\x12\x03\x0A\x01"
                                "5";
    const struct sonde_prometheus_settings settings = SONDE_PROMETHEUS_SETTINGS_DEFAULT;
    labels_init(&labels, &seams.alloc, &settings, SONDE_PROMETHEUS_UNDERSCORES);
    labels_point(&labels, labels_kind_of(&metric), (struct sonde_bytes){NULL, 0},
                 (struct sonde_bytes){(const uint8_t *)bytes, sizeof bytes - 1});
    labels_write_text(&labels, &text);
    assert_string_equal(take(), "a_b=\"1;2\",exported_job=\"3\",exported_le=\"4\"");
    assert_int_equal(labels.refused, 1);
    labels_deinit(&labels);
}

static void powers_count_exactly(void **state) {
    (void)state;
    struct sonde__metric_histogram histogram = {.scale = 1, .offset = -3, .bucket_count = 5, .zero_count = 1};
    for (uint32_t i = 0; i < 5; i++) /* (2^-1.5,2^-1] (2^-1,2^-.5] (2^-.5,1] (1,2^.5] (2^.5,2] */
        histogram.buckets[i] = 1;
    struct powers powers = POWERS_NONE;
    powers_widen(&powers, &histogram);
    assert_int_equal(powers.low, -1);
    assert_int_equal(powers.high, 1);
    struct powers_place place = {0, 0};
    assert_int_equal(powers_count(&histogram, -2, &place), 1);
    assert_int_equal(powers_count(&histogram, -1, &place), 2);
    assert_int_equal(powers_count(&histogram, 0, &place), 4);
    assert_int_equal(powers_count(&histogram, 1, &place), 6);
    histogram.scale = -10; /* what lies may be clamped, not looped over */
    histogram.offset = 1 << 30;
    powers_widen(&powers, &histogram);
    assert_int_equal(powers.high, 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(metric_names_are_those_of_the_translator, setup, teardown),
        cmocka_unit_test_setup_teardown(label_names_are_sanitized, setup, teardown),
        cmocka_unit_test_setup_teardown(values_are_written_as_text, setup, teardown),
        cmocka_unit_test_setup_teardown(doubles_are_shortest_and_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(colliding_labels_are_joined_and_reserved_ones_renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(powers_count_exactly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
