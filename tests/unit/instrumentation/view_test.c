/* SPDX-License-Identifier: Apache-2.0 */
/* Views: which instruments they match, and what becomes of those. Source: metrics/sdk.md#view. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka.h needs those */
#include <cmocka.h>
#include <sonde/err.h>

#include "tests/unit/instrumentation/read_back.h"

static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind, const char *unit) {
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = kind, .name = name, .unit = unit, .description = "its own"};
    struct sonde_instrument instrument;
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    return instrument;
}

static struct sonde__metric_instrument described(struct sonde_instrument instrument) {
    struct sonde__metric_instrument ret;
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    assert_true(sonde__metric_reader_instrument(reader, instrument.index, &ret));
    return ret;
}
static void assert_text(struct sonde_string text, const char *expected) {
    assert_int_equal(text.size, strlen(expected));
    assert_memory_equal(text.data, expected, text.size);
}

static void view_renames_one_instrument_made_after_it(void **state) {
    (void)state;
    struct sonde_instrument before = make("rename.before", SONDE_COUNTER, NULL);
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "rename.BEFORE", .name = "rename.no", .description = "no"};
    assert_int_equal(sonde_view_add(&view), 0);
    assert_text(described(before).name, "rename.before");
    view.instrument_name = "rename.After";
    view.name = "renamed";
    view.description = "the view's";
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument after = make("rename.after", SONDE_COUNTER, "By");
    assert_text(described(after).name, "renamed");
    assert_text(described(after).description, "the view's");
    assert_text(described(after).unit, "By");
    assert_int_equal(make("rename.after", SONDE_COUNTER, "By").index, after.index);
}

static void view_matches_by_every_criterion_it_has(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view,
                                      .instrument_name = "m*tch.?.x",
                                      .instrument_kind = SONDE_GAUGE,
                                      .instrument_unit = "s",
                                      .description = "seen"};
    assert_int_equal(sonde_view_add(&view), 0);
    static const struct {
        const char *name;
        enum sonde_instrument_kind kind;
        const char *unit;
        bool seen;
    } rows[] = {
        {"match.1.x", SONDE_GAUGE, "s", true},      {"M/any/number/tch.2.X", SONDE_GAUGE, "s", true},
        {"mtch.3.x", SONDE_GAUGE, "s", true},       {"match.33.x", SONDE_GAUGE, "s", false},
        {"match.4.xy", SONDE_GAUGE, "s", false},    {"amatch.5.x", SONDE_GAUGE, "s", false},
        {"match.6.x", SONDE_COUNTER, "s", false},   {"match.7.x", SONDE_GAUGE, "ms", false},
        {"match.8.x", SONDE_GAUGE, NULL, false},    {"mtch.tch.9.x", SONDE_GAUGE, "s", true},
        {"match.1.x.1.x", SONDE_GAUGE, "s", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_text(described(make(rows[i].name, rows[i].kind, rows[i].unit)).description,
                    rows[i].seen ? "seen" : "its own");
}

static void view_leaves_keys_out_and_adds_up(void **state) {
    (void)state;
    static const char *const keep[] = {"route", "method"}, *const drop[] = {"user"};
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "keys.keep", .keep_keys = keep, .keep_key_count = 2};
    assert_int_equal(sonde_view_add(&view), 0);
    view = (struct sonde_view_options){
        .size = sizeof view, .instrument_name = "keys.drop", .drop_keys = drop, .drop_key_count = 1};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument kept = make("keys.keep", SONDE_COUNTER, NULL);
    struct sonde_instrument dropped = make("keys.drop", SONDE_COUNTER, NULL);
    struct sonde_stats stats = {.size = sizeof stats};
    for (int64_t user = 0; user < 100; user++) {
        struct sonde_attribute a[] = {sonde_attribute_int64(SONDE_KEY("user"), user),
                                      sonde_attribute_string(SONDE_KEY("method"), "GET"),
                                      sonde_attribute_bool(SONDE_KEY("other"), user % 2 == 0)};
        sonde_instrument_add(kept, 1, a, 3);
        sonde_instrument_add(dropped, 1, a, 3);
        sonde_counter_add(sonde_series_bind(kept, a, 3), 1);
    }
    assert_int_equal(series_count(kept), 1);
    assert_int_equal(value_of(kept, "method"), 200);
    assert_int_equal(series_count(dropped), 2);
    assert_int_equal(value_of(dropped, NULL), 50);
    sonde_stats_get(&stats);
    assert_int_equal(stats.attributes_dropped, 0);
}

static void view_drops_an_instrument(void **state) {
    (void)state;
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "unwanted.*", .aggregation = SONDE_AGGREGATION_DROP};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument instrument = make("unwanted.counter", SONDE_COUNTER, NULL);
    assert_int_equal(instrument.index, 0);
    uint64_t before = measurements_dropped();
    sonde_instrument_add(instrument, 1, NULL, 0);
    sonde_counter_add(sonde_series_bind(instrument, NULL, 0), 1);
    assert_int_equal(measurements_dropped(), before);
}

static void view_chooses_the_aggregation_of_histograms(void **state) {
    (void)state;
    static const double bounds[] = {1, 2.5}, advised[] = {7, 8, 9};
    struct sonde_view_options view = {.size = sizeof view,
                                      .instrument_name = "buckets.explicit*",
                                      .aggregation = SONDE_AGGREGATION_EXPLICIT_BUCKETS,
                                      .bounds = bounds,
                                      .bound_count = 2};
    assert_int_equal(sonde_view_add(&view), 0);
    view = (struct sonde_view_options){
        .size = sizeof view, .instrument_name = "buckets.exponential", .aggregation = SONDE_AGGREGATION_EXPONENTIAL};
    assert_int_equal(sonde_view_add(&view), 0);
    view.instrument_name = "buckets.default";
    view.aggregation = SONDE_AGGREGATION_EXPLICIT_BUCKETS;
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = SONDE_HISTOGRAM, .bounds = advised, .bound_count = 3};
    struct sonde_instrument explicit, exponential;
    options.name = "buckets.explicit";
    assert_int_equal(sonde_instrument_create(&options, &explicit), 0);
    options.name = "buckets.exponential";
    assert_int_equal(sonde_instrument_create(&options, &exponential), 0);
    assert_int_equal(described(explicit).bound_count, 2);
    assert_memory_equal(described(explicit).bounds, bounds, sizeof bounds);
    assert_int_equal(described(exponential).bound_count, 0);
    assert_int_equal(described(make("buckets.default", SONDE_HISTOGRAM, NULL)).bound_count, 15);
    sonde_histogram_record(sonde_series_bind(explicit, NULL, 0), 2);
    struct sonde__metric_series series;
    assert_true(find(explicit, NULL, &series));
    assert_int_equal(series.histogram->buckets[1], 1);
    /* of a counter it cannot be: its own stands */
    assert_int_equal(described(make("buckets.explicit.not", SONDE_COUNTER, NULL)).kind, SONDE_COUNTER);
}

static void view_limits_series(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view, .instrument_name = "few", .series_max = 3};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument few = make("few", SONDE_COUNTER, NULL);
    for (int64_t i = 0; i < 10; i++) {
        struct sonde_attribute a = sonde_attribute_int64(SONDE_KEY("i"), i);
        sonde_instrument_add(few, 1, &a, 1);
        sonde_instrument_add(few, 1, &a, 1);
    }
    assert_int_equal(series_count(few), 4);
    assert_int_equal(value_of(few, "otel.metric.overflow"), 14);
}

static void view_added_first_counts(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view, .instrument_name = "two.views", .description = "first"};
    assert_int_equal(sonde_view_add(&view), 0);
    view.description = "second";
    assert_int_equal(sonde_view_add(&view), 0);
    assert_text(described(make("two.views", SONDE_COUNTER, NULL)).description, "first");
}

static void view_add_refuses_what_is_no_view(void **state) {
    (void)state;
    static const double falling[] = {2, 1};
    static const char *const missing[] = {"a", NULL};
    const struct sonde_view_options good = {.size = sizeof good, .instrument_name = "x"};
    struct sonde_view_options bad[] = {good, good, good, good, good, good, good, good, good, good, good};
    bad[0].instrument_name = NULL; /* selects nothing */
    bad[1].size = 8;
    bad[2].name = "1digit";
    bad[3].instrument_name = "x*";
    bad[3].name = "many.to.one";
    bad[4].keep_keys = missing;
    bad[4].keep_key_count = 2;
    bad[5].drop_key_count = 1;
    bad[6].aggregation = (enum sonde_aggregation)9;
    bad[7].aggregation = SONDE_AGGREGATION_EXPLICIT_BUCKETS;
    bad[7].bounds = falling;
    bad[7].bound_count = 2;
    bad[8].series_max = SONDE_SERIES_PER_INSTRUMENT_MAX + 1;
    bad[9].description = "\xFF";
    bad[10].bounds = falling; /* without explicit buckets */
    bad[10].bound_count = 1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sonde_view_add(&bad[i]), SONDE_EINVALID);
    assert_int_equal(sonde_view_add(NULL), SONDE_EINVALID);
}

static void view_add_is_full_after_the_last(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view, .instrument_name = "no.such.instrument"};
    int err = 0;
    for (uint32_t i = 0; i <= SONDE_VIEWS_MAX && !err; i++)
        err = sonde_view_add(&view);
    assert_int_equal(err, SONDE_EFULL);
}

int main(void) {
    (void)setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(view_renames_one_instrument_made_after_it, setup, teardown),
        cmocka_unit_test_setup_teardown(view_matches_by_every_criterion_it_has, setup, teardown),
        cmocka_unit_test_setup_teardown(view_leaves_keys_out_and_adds_up, setup, teardown),
        cmocka_unit_test_setup_teardown(view_drops_an_instrument, setup, teardown),
        cmocka_unit_test_setup_teardown(view_chooses_the_aggregation_of_histograms, setup, teardown),
        cmocka_unit_test_setup_teardown(view_limits_series, setup, teardown),
        cmocka_unit_test_setup_teardown(view_added_first_counts, setup, teardown),
        cmocka_unit_test(view_add_refuses_what_is_no_view),
        cmocka_unit_test(view_add_is_full_after_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
