/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: metrics. Each test is named after its item in items.tsv. Values are read back as the
 * agent reads them. */
#include "instrumentation/link/puller.h"
#include "tests/checklist/checklist.h"
/* after cmocka.h */
#include "tests/unit/instrumentation/read_back.h"
#include <pthread.h>
#include <sonde/err.h>

static struct sonde_instrument make_of(struct sonde_instrument_options options) {
    struct sonde_instrument instrument;
    options.size = sizeof options;
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    return instrument;
}
static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind) {
    return make_of((struct sonde_instrument_options){.kind = kind, .name = name});
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

/* ---- meter ---- */

static void get_a_meter_with_name_version_schema_url_attributes(void **state) {
    (void)state;
    struct sonde_string scope, schema_url;
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("library.part"), "meter-part");
    uint32_t meter =
        sonde_scope_register("checklist.meter", "1.2", "https://opentelemetry.io/schemas/1.44.0", &attribute, 1);
    struct sonde_instrument counter =
        make_of((struct sonde_instrument_options){.kind = SONDE_COUNTER, .name = "meter.own", .scope = meter});
    assert_int_equal(described(counter).scope, meter);
    sonde__metric_reader_scope(reader, meter, &scope, &schema_url);
    assert_non_null(memmem(scope.data, scope.size, "checklist.meter", 15));
    assert_non_null(memmem(scope.data, scope.size, "1.2", 3));
    assert_non_null(memmem(scope.data, scope.size, "meter-part", 10));
    assert_text(schema_url, "https://opentelemetry.io/schemas/1.44.0");
}

static void an_invalid_meter_name_gives_a_working_fallback(void **state) {
    (void)state;
    uint32_t meter = sonde_scope_register("", NULL, NULL, NULL, 0);
    struct sonde_instrument counter =
        make_of((struct sonde_instrument_options){.kind = SONDE_COUNTER, .name = "fallback.own", .scope = meter});
    sonde_instrument_add(counter, 1, NULL, 0);
    assert_int_equal(value_of(counter, NULL), 1);
}

static void the_same_name_under_two_meters(void **state) {
    (void)state;
    uint32_t one = sonde_scope_register("checklist.one", NULL, NULL, NULL, 0);
    uint32_t two = sonde_scope_register("checklist.two", NULL, NULL, NULL, 0);
    struct sonde_instrument a =
        make_of((struct sonde_instrument_options){.kind = SONDE_COUNTER, .name = "same.name", .scope = one});
    struct sonde_instrument b =
        make_of((struct sonde_instrument_options){.kind = SONDE_GAUGE, .name = "same.name", .scope = two});
    assert_int_not_equal(a.index, b.index);
    sonde_instrument_add(a, 5, NULL, 0);
    assert_int_equal(value_of(a, NULL), 5);
    assert_int_equal(described(b).kind, SONDE_GAUGE);
}

/* ---- instruments ---- */

static void counter(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("kind.counter", SONDE_COUNTER);
    sonde_instrument_add(instrument, 2, NULL, 0);
    sonde_instrument_add(instrument, 3, NULL, 0);
    uint64_t dropped = measurements_dropped();
    sonde_instrument_add(instrument, -1, NULL, 0); /* monotonic */
    assert_int_equal(measurements_dropped(), dropped + 1);
    assert_int_equal(value_of(instrument, NULL), 5);
}

static void up_down_counter(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("kind.updown", SONDE_UP_DOWN_COUNTER);
    sonde_instrument_add(instrument, 2, NULL, 0);
    sonde_instrument_add(instrument, -5, NULL, 0);
    assert_int_equal(value_of(instrument, NULL), -3);
}

static void gauge(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("kind.gauge", SONDE_GAUGE);
    struct sonde__metric_series series;
    struct sonde_series bound = sonde_series_bind(instrument, NULL, 0);
    assert_false(find(instrument, NULL, &series)); /* never set: no value */
    sonde_gauge_set(bound, 7);
    sonde_gauge_set(bound, -1);
    assert_int_equal(value_of(instrument, NULL), -1);
}

static void histogram(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("kind.histogram", SONDE_HISTOGRAM);
    struct sonde__metric_series series;
    sonde_instrument_record(instrument, 1.5, NULL, 0);
    sonde_instrument_record(instrument, 0, NULL, 0);
    sonde_instrument_record(instrument, 4, NULL, 0);
    assert_true(find(instrument, NULL, &series));
    assert_int_equal(series.histogram->count, 3);
    assert_int_equal(series.histogram->zero_count, 1);
    assert_true(series.histogram->sum == 5.5 && series.histogram->min == 0 && series.histogram->max == 4);
}

/* One round of the callbacks, as when the agent pulls; no agent is needed for it. */
static struct sonde_instrument observed[3];
static void observe(struct sonde_observer *observer, void *value) {
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("pool"), "a");
    for (int i = 0; i < 3; i++)
        sonde_observer_set(observer, observed[i], *(int64_t *)value, &attribute, 1);
}
static void observe_once(struct sonde_instrument instrument, int64_t value) {
    struct sonde_observable observable;
    for (int i = 0; i < 3; i++)
        observed[i] = instrument;
    assert_int_equal(sonde_observable_register(observe, &value, &instrument, 1, &observable), 0);
    uint32_t round = sonde__puller_ask();
    CHECK_SOON(sonde__puller_is_done(round));
    assert_int_equal(value_of(instrument, "pool"), value);
    sonde_observable_unregister(observable);
}
static void asynchronous_counter(void **state) {
    (void)state;
    observe_once(make("async.counter", SONDE_OBSERVABLE_COUNTER), 5); /* the total, three times reported */
}
static void asynchronous_up_down_counter(void **state) {
    (void)state;
    observe_once(make("async.updown", SONDE_OBSERVABLE_UP_DOWN_COUNTER), -5);
}
static void asynchronous_gauge(void **state) {
    (void)state;
    observe_once(make("async.gauge", SONDE_OBSERVABLE_GAUGE), -7);
}

static void instruments_have_name_kind_unit_description(void **state) {
    (void)state;
    struct sonde_instrument instrument = make_of((struct sonde_instrument_options){
        .kind = SONDE_COUNTER, .name = "has.all", .unit = "By", .description = "all \xC3\xBC of it"});
    struct sonde__metric_instrument all = described(instrument);
    assert_text(all.name, "has.all");
    assert_text(all.unit, "By");
    assert_text(all.description, "all \xC3\xBC of it");
    assert_int_equal(all.kind, SONDE_COUNTER);
}

static void name_and_unit_syntax(void **state) {
    (void)state;
    static const char *const bad[] = {"", "1digit", "with space", "_under", "a\xC3\xA9"};
    struct sonde_instrument instrument;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_COUNTER, .name = bad[i]};
        assert_int_equal(sonde_instrument_create(&options, &instrument), SONDE_EINVALID);
        sonde_instrument_add(instrument, 1, NULL, 0); /* a no-op, no crash */
    }
    (void)make("a.b_c-d/e0", SONDE_COUNTER);
    struct sonde_instrument_options options = {.size = sizeof options,
                                               .kind = SONDE_COUNTER,
                                               .name = "unit.long",
                                               .unit =
                                                   "0123456789012345678901234567890123456789012345678901234567890123"};
    assert_int_equal(sonde_instrument_create(&options, &instrument), SONDE_EINVALID); /* 64 of at most 63 */
    options.unit = "\xC3\xA9";
    assert_int_equal(sonde_instrument_create(&options, &instrument), SONDE_EINVALID);
}

static void duplicate_registration_keeps_the_first_and_warns(void **state) {
    (void)state;
    struct sonde_stats before = {.size = sizeof before}, after = {.size = sizeof after};
    sonde_stats_get(&before);
    struct sonde_instrument first = make("twice.made", SONDE_COUNTER);
    assert_int_equal(make("TWICE.made", SONDE_COUNTER).index, first.index);
    assert_int_equal(make("twice.made", SONDE_GAUGE).index, first.index);
    sonde_stats_get(&after);
    assert_int_equal(after.instrument_conflicts, before.instrument_conflicts + 1);
    sonde_instrument_add(first, 3, NULL, 0);
    assert_int_equal(value_of(first, NULL), 3);
}

static void advice_bucket_boundaries(void **state) {
    (void)state;
    static const double bounds[] = {1, 10};
    struct sonde_instrument instrument = make_of((struct sonde_instrument_options){
        .kind = SONDE_HISTOGRAM, .name = "advised", .bounds = bounds, .bound_count = 2});
    struct sonde__metric_series series;
    sonde_instrument_record(instrument, 10, NULL, 0); /* upper bounds are inclusive */
    sonde_instrument_record(instrument, 11, NULL, 0);
    assert_true(find(instrument, NULL, &series));
    assert_int_equal(described(instrument).bound_count, 2);
    assert_int_equal(series.histogram->buckets[1], 1);
    assert_int_equal(series.histogram->buckets[2], 1);
}

static void bind(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("bound.counter", SONDE_COUNTER);
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("route"), "/users");
    struct sonde_series series = sonde_series_bind(instrument, &attribute, 1);
    sonde_counter_add(series, 2);
    sonde_instrument_add(instrument, 1, &attribute, 1); /* the same series */
    assert_int_equal(value_of(instrument, "/users"), 3);
    assert_int_equal(series_count(instrument), 1);
}

static struct sonde_instrument shared;
static void *add_all(void *unused) {
    struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_COUNTER, .name = "shared.counter"};
    struct sonde_instrument instrument;
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    assert_int_equal(instrument.index, shared.index);
    for (int i = 0; i < 1000; i++)
        sonde_instrument_add(instrument, 1, NULL, 0);
    return unused;
}
static void provider_meter_and_instruments_are_safe_for_concurrent_calls(void **state) {
    (void)state;
    pthread_t threads[4];
    shared = make("shared.counter", SONDE_COUNTER);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_all, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(value_of(shared, NULL), 4000);
}

/* ---- views ---- */

static void views_select_by_criteria_and_wildcard(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view,
                                      .instrument_name = "select.*",
                                      .instrument_kind = SONDE_COUNTER,
                                      .description = "selected"};
    assert_int_equal(sonde_view_add(&view), 0);
    assert_text(described(make("select.one", SONDE_COUNTER)).description, "selected");
    assert_text(described(make("select.two", SONDE_GAUGE)).description, "");
    assert_text(described(make("other.select", SONDE_COUNTER)).description, "");
}

static void match_all(void) {
    struct sonde_view_options view = {.size = sizeof view, .instrument_name = "*", .description = "all"};
    struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_COUNTER, .name = "anything"};
    struct sonde__metric_instrument seen;
    struct sonde_instrument instrument;
    CHECK(sonde_view_add(&view) == 0);
    CHECK(sonde_instrument_create(&options, &instrument) == 0);
    reader = sonde__metric_reader_create(memory_resize, NULL);
    CHECK(reader && sonde__metric_reader_refresh(reader, &memory) == 0);
    CHECK(sonde__metric_reader_instrument(reader, instrument.index, &seen));
    CHECK(seen.description.size == 3 && memcmp(seen.description.data, "all", 3) == 0);
}
static void a_view_for_all_instruments(void **state) {
    (void)state;
    assert_int_equal(child_run(match_all), 0);
}

static void views_change_name_and_description(void **state) {
    (void)state;
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "view.old", .name = "view.new", .description = "the view's"};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde__metric_instrument seen = described(make("view.old", SONDE_COUNTER));
    assert_text(seen.name, "view.new");
    assert_text(seen.description, "the view's");
}

static void views_choose_or_exclude_attribute_keys(void **state) {
    (void)state;
    static const char *const keep[] = {"route"}, *const drop[] = {"user"};
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "keys.kept", .keep_keys = keep, .keep_key_count = 1};
    assert_int_equal(sonde_view_add(&view), 0);
    view = (struct sonde_view_options){
        .size = sizeof view, .instrument_name = "keys.dropped", .drop_keys = drop, .drop_key_count = 1};
    assert_int_equal(sonde_view_add(&view), 0);
    static const char *const names[] = {"keys.kept", "keys.dropped"};
    for (int i = 0; i < 2; i++) {
        struct sonde_instrument instrument = make(names[i], SONDE_COUNTER);
        for (int user = 0; user < 3; user++) {
            struct sonde_attribute attributes[] = {sonde_attribute_string(SONDE_KEY("route"), "/users"),
                                                   sonde_attribute_int64(SONDE_KEY("user"), user)};
            sonde_instrument_add(instrument, 1, attributes, 2);
        }
        assert_int_equal(series_count(instrument), 1);
        assert_int_equal(value_of(instrument, "/users"), 3);
    }
}

static void views_change_the_aggregation(void **state) {
    (void)state;
    static const double bounds[] = {5};
    struct sonde_view_options view = {.size = sizeof view,
                                      .instrument_name = "aggregated",
                                      .aggregation = SONDE_AGGREGATION_EXPLICIT_BUCKETS,
                                      .bounds = bounds,
                                      .bound_count = 1};
    assert_int_equal(sonde_view_add(&view), 0);
    assert_int_equal(described(make("aggregated", SONDE_HISTOGRAM)).bound_count, 1);
}

static void drop_aggregation(void **state) {
    (void)state;
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "aggregated.drop", .aggregation = SONDE_AGGREGATION_DROP};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument instrument;
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = SONDE_COUNTER, .name = "aggregated.drop"};
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    assert_int_equal(instrument.index, 0);
}

/* Sum of counters, last value of gauges, base-2 exponential buckets of histograms. */
static void default_aggregation_by_instrument(void **state) {
    (void)state;
    struct sonde_instrument sum = make("default.sum", SONDE_COUNTER), last = make("default.last", SONDE_GAUGE);
    struct sonde_instrument buckets = make("default.buckets", SONDE_HISTOGRAM);
    sonde_instrument_add(sum, 1, NULL, 0);
    sonde_instrument_add(sum, 1, NULL, 0);
    sonde_gauge_set(sonde_series_bind(last, NULL, 0), 1);
    sonde_gauge_set(sonde_series_bind(last, NULL, 0), 9);
    sonde_instrument_record(buckets, 1, NULL, 0);
    assert_int_equal(value_of(sum, NULL), 2);
    assert_int_equal(value_of(last, NULL), 9);
    assert_int_equal(described(buckets).bound_count, 0);
}

static void explicit_bucket_aggregation(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view,
                                      .instrument_name = "aggregated.explicit",
                                      .aggregation = SONDE_AGGREGATION_EXPLICIT_BUCKETS};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde__metric_instrument seen = described(make("aggregated.explicit", SONDE_HISTOGRAM));
    double first, last;
    assert_int_equal(seen.bound_count, 15); /* the specification's 0, 5, 10, ..., 10000 */
    memcpy(&first, seen.bounds, sizeof first);
    memcpy(&last, seen.bounds + 14 * sizeof last, sizeof last);
    assert_true(first == 0 && last == 10000);
}

static void exponential_bucket_aggregation(void **state) {
    (void)state;
    static const double bounds[] = {1, 2};
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "aggregated.exponential", .aggregation = SONDE_AGGREGATION_EXPONENTIAL};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument instrument = make_of((struct sonde_instrument_options){
        .kind = SONDE_HISTOGRAM, .name = "aggregated.exponential", .bounds = bounds, .bound_count = 2});
    struct sonde__metric_series series;
    assert_int_equal(described(instrument).bound_count, 0);
    for (int i = 1; i <= 1000; i++)
        sonde_instrument_record(instrument, i, NULL, 0);
    assert_true(find(instrument, NULL, &series));
    assert_int_equal(series.histogram->count, 1000);
    assert_true(series.histogram->bucket_count <= SONDE__BUCKETS_LARGE && series.histogram->scale >= 0);
}

static void cardinality_limit_and_overflow_series(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view, .instrument_name = "limited", .series_max = 10};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument instrument = make("limited", SONDE_COUNTER);
    for (int user = 0; user < 50; user++) {
        struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("user"), user);
        sonde_instrument_add(instrument, 1, &attribute, 1);
    }
    assert_int_equal(value_of(instrument, "otel.metric.overflow"), 40);
}

static void start_time_per_series_for_cumulative_values(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("started", SONDE_COUNTER);
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("late"), 1);
    struct sonde__metric_series early, late;
    sonde_instrument_add(instrument, 1, NULL, 0);
    sonde_instrument_add(instrument, 1, &attribute, 1);
    assert_true(find(instrument, NULL, &early));
    assert_true(find(instrument, "late", &late));
    assert_true(early.start_unix_ns > UINT64_C(1600000000000000000));
    assert_true(late.start_unix_ns >= early.start_unix_ns);
}

/* ---- exemplars: more of them in tests/unit/instrumentation/exemplar_test.c ---- */

static struct sonde_context_token enter_sampled(void) {
    struct sonde_context context = remote_parent(SONDE_TRACE_FLAG_SAMPLED);
    return sonde_context_attach(&context);
}
/* Those of the instrument's first series, all new. */
static uint32_t exemplars(struct sonde_instrument instrument, const struct sonde__metric_exemplar **ret_exemplars) {
    struct sonde__metric_series series;
    uint32_t collection;
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    assert_int_equal(sonde__metric_reader_exemplars_refresh(reader, &memory, &collection), 0);
    assert_true(find(instrument, NULL, &series));
    for (uint32_t i = 0; i < series.exemplar_count; i++)
        assert_true(series.exemplars[i].is_new);
    *ret_exemplars = series.exemplars;
    return series.exemplar_count;
}
static uint32_t count_after(struct sonde_instrument instrument, int measurements) {
    const struct sonde__metric_exemplar *found;
    struct sonde_context_token token = enter_sampled();
    for (int i = 0; i < measurements; i++)
        sonde_instrument_record(instrument, i, NULL, 0);
    sonde_context_detach(token);
    return exemplars(instrument, &found);
}

static void exemplars_are_sampled(void **state) {
    (void)state;
    struct sonde_instrument instrument = make("exemplar.sampled", SONDE_GAUGE);
    assert_int_equal(count_after(instrument, 1000), 1);
}

static void exemplars_can_be_disabled(void **state) {
    (void)state;
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "exemplar.none", .reservoir = SONDE_RESERVOIR_NONE};
    assert_int_equal(sonde_view_add(&view), 0);
    assert_int_equal(count_after(make("exemplar.none", SONDE_HISTOGRAM), 10), 0);
}

/* In a child. Measured outside of any span and under a sampled one. */
static void check_filter(const char *filter, uint32_t outside, uint32_t sampled) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    const struct sonde__metric_exemplar *found;
    options.exemplar_filter = filter;
    CHECK(sonde_start(&options) == 0 && setup(NULL) == 0);
    struct sonde_instrument instrument = make("exemplar.filter", SONDE_HISTOGRAM);
    sonde_instrument_record(instrument, 1, NULL, 0);
    CHECK(exemplars(instrument, &found) == outside);
    CHECK(count_after(instrument, 1) == sampled);
    (void)teardown(NULL);
}
static void filter_trace_based(void) {
    check_filter("trace_based", 0, 1);
}
static void filter_always_on(void) {
    check_filter("always_on", 1, 2);
}
static void filter_always_off(void) {
    check_filter("always_off", 0, 0);
}
static void exemplar_filter_of_the_whole_sdk_tracebased_alwayson_alwaysoff(void **state) {
    (void)state;
    assert_int_equal(child_run(filter_trace_based), 0);
    assert_int_equal(child_run(filter_always_on), 0);
    assert_int_equal(child_run(filter_always_off), 0);
}

static void exemplars_keep_dropped_attributes(void **state) {
    (void)state;
    static const char *const drop[] = {"user"};
    const struct sonde__metric_exemplar *found;
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "exemplar.keeps", .drop_keys = drop, .drop_key_count = 1};
    assert_int_equal(sonde_view_add(&view), 0);
    struct sonde_instrument instrument = make("exemplar.keeps", SONDE_COUNTER);
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("user"), "somebody");
    struct sonde_context_token token = enter_sampled();
    sonde_instrument_add(instrument, 1, &attribute, 1);
    sonde_context_detach(token);
    assert_int_equal(exemplars(instrument, &found), 1);
    assert_non_null(memmem(found[0].attributes, found[0].attributes_size, "somebody", 8));
}

static void exemplars_have_value_time_trace_and_span_id(void **state) {
    (void)state;
    const struct sonde__metric_exemplar *found;
    struct sonde_instrument instrument = make("exemplar.whole", SONDE_COUNTER);
    struct sonde_context parent = remote_parent(SONDE_TRACE_FLAG_SAMPLED);
    struct sonde_context_token token = sonde_context_attach(&parent);
    sonde_instrument_add(instrument, 7, NULL, 0);
    sonde_context_detach(token);
    assert_int_equal(exemplars(instrument, &found), 1);
    assert_int_equal(found[0].value, 7);
    assert_true(found[0].time_unix_ns > UINT64_C(1600000000000000000));
    assert_memory_equal(found[0].trace_id, parent.span.trace_id, 16);
    assert_memory_equal(found[0].span_id, parent.span.span_id, 8);
}

static void simplefixedsize_reservoir(void **state) {
    (void)state;
    assert_int_equal(count_after(make("exemplar.exponential", SONDE_HISTOGRAM), 1000), 20);
}

static void alignedhistogrambucket_reservoir(void **state) {
    (void)state;
    static const double bounds[] = {10, 100};
    struct sonde_instrument_options options = {
        .kind = SONDE_HISTOGRAM, .name = "exemplar.aligned", .bounds = bounds, .bound_count = 2};
    assert_int_equal(count_after(make_of(options), 1000), 3);
}

static void views_choose_the_reservoir(void **state) {
    (void)state;
    struct sonde_view_options view = {.size = sizeof view,
                                      .instrument_name = "exemplar.five",
                                      .reservoir = SONDE_RESERVOIR_SIMPLE,
                                      .reservoir_size = 5};
    assert_int_equal(sonde_view_add(&view), 0);
    assert_int_equal(count_after(make("exemplar.five", SONDE_HISTOGRAM), 1000), 5);
}

#define WITH_READER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_for_all_instruments),
        cmocka_unit_test(exemplar_filter_of_the_whole_sdk_tracebased_alwayson_alwaysoff),
        WITH_READER(get_a_meter_with_name_version_schema_url_attributes),
        WITH_READER(an_invalid_meter_name_gives_a_working_fallback),
        WITH_READER(the_same_name_under_two_meters),
        WITH_READER(counter),
        WITH_READER(up_down_counter),
        WITH_READER(gauge),
        WITH_READER(histogram),
        WITH_READER(asynchronous_counter),
        WITH_READER(asynchronous_up_down_counter),
        WITH_READER(asynchronous_gauge),
        WITH_READER(instruments_have_name_kind_unit_description),
        WITH_READER(name_and_unit_syntax),
        WITH_READER(duplicate_registration_keeps_the_first_and_warns),
        WITH_READER(advice_bucket_boundaries),
        WITH_READER(bind),
        WITH_READER(provider_meter_and_instruments_are_safe_for_concurrent_calls),
        WITH_READER(views_select_by_criteria_and_wildcard),
        WITH_READER(views_change_name_and_description),
        WITH_READER(views_choose_or_exclude_attribute_keys),
        WITH_READER(views_change_the_aggregation),
        WITH_READER(drop_aggregation),
        WITH_READER(default_aggregation_by_instrument),
        WITH_READER(explicit_bucket_aggregation),
        WITH_READER(exponential_bucket_aggregation),
        WITH_READER(cardinality_limit_and_overflow_series),
        WITH_READER(start_time_per_series_for_cumulative_values),
        WITH_READER(exemplars_are_sampled),
        WITH_READER(exemplars_can_be_disabled),
        WITH_READER(exemplars_keep_dropped_attributes),
        WITH_READER(exemplars_have_value_time_trace_and_span_id),
        WITH_READER(simplefixedsize_reservoir),
        WITH_READER(alignedhistogrambucket_reservoir),
        WITH_READER(views_choose_the_reservoir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
