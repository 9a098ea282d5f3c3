/* SPDX-License-Identifier: Apache-2.0 */
/* Exemplars, from a measurement to what the agent's reader says of it. Source: metrics/sdk.md#exemplar. */
#include "instrumentation/resilience/instruments.h"
#include "tests/lib/child.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <time.h>
/* cmocka.h needs those */
#include <cmocka.h>
#include <sonde/err.h>
#include <sonde/resilience/breaker.h>

#include "tests/unit/instrumentation/read_back.h"

static uint32_t collection; /* as of the last look */

/* Reads as the agent does before an export; of the only series of the instrument whose attributes contain text. */
static uint32_t look(struct sonde_instrument instrument, const char *text,
                     const struct sonde__metric_exemplar **ret_exemplars) {
    struct sonde__metric_series series;
    if (!reader)
        reader = sonde__metric_reader_create(memory_resize, NULL);
    CHECK(sonde__metric_reader_refresh(reader, &memory) == 0);
    CHECK(sonde__metric_reader_exemplars_refresh(reader, &memory, &collection) == 0);
    for (uint32_t at = 0; sonde__metric_reader_series(reader, instrument.index, &at, &series);)
        if (!text || memmem(series.attributes, series.attributes_size, text, strlen(text))) {
            *ret_exemplars = series.exemplars;
            return series.exemplar_count;
        }
    CHECK(false); /* there is no such series */
    return 0;
}
static uint32_t count_of(struct sonde_instrument instrument) {
    const struct sonde__metric_exemplar *exemplars;
    return look(instrument, NULL, &exemplars);
}
static struct sonde__process *page(void) {
    return sonde__process_get();
}
/* As the agent when it exported. */
static void period_end(void) {
    atomic_fetch_add(&page()->collection, 1);
}
static double value_at(const struct sonde__metric_exemplar *exemplar) {
    double value;
    memcpy(&value, &exemplar->value, sizeof value);
    return value;
}

static struct sonde_instrument make_with(const char *name, enum sonde_instrument_kind kind, const double *bounds,
                                         size_t bound_count) {
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = kind, .name = name, .bounds = bounds, .bound_count = bound_count};
    struct sonde_instrument instrument;
    options.number = kind == SONDE_HISTOGRAM ? SONDE_NUMBER_DOUBLE : SONDE_NUMBER_INT64;
    CHECK(sonde_instrument_create(&options, &instrument) == 0 && instrument.index);
    return instrument;
}
static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind) {
    return make_with(name, kind, NULL, 0);
}

static struct sonde_span_context context_of(uint8_t id, uint8_t flags) {
    struct sonde_span_context span = {.flags = flags};
    memset(span.trace_id, id, sizeof span.trace_id);
    memset(span.span_id, id, sizeof span.span_id);
    return span;
}
static struct sonde_context_token enter_span(uint8_t id, uint8_t flags) {
    struct sonde_context context;
    sonde_context_init(&context);
    context.span = context_of(id, flags);
    return sonde_context_attach(&context);
}

/* ---- the filter ---- */

static void exemplar_has_value_time_and_ids_of_the_span(void) {
    const struct sonde__metric_exemplar *exemplars;
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_series series = sonde_series_bind(histogram, NULL, 0);
    struct sonde_span span;
    struct timespec now;
    sonde_histogram_record(series, 1); /* outside of any span */
    struct sonde_context_token token = enter_span(9, 0);
    sonde_histogram_record(series, 2); /* not sampled */
    sonde_context_detach(token);
    CHECK(count_of(histogram) == 0);
    sonde_span_start(&span, SONDE_NAME("sampled"), NULL);
    struct sonde_span_context context = sonde_context_current_span();
    sonde_histogram_record(series, 0.25);
    sonde_span_end(&span);
    sonde_histogram_record(series, 3);
    CHECK(look(histogram, NULL, &exemplars) == 1);
    CHECK(exemplars[0].is_new && value_at(exemplars) == 0.25 && exemplars[0].attributes_size == 0);
    CHECK(memcmp(exemplars[0].trace_id, context.trace_id, 16) == 0);
    CHECK(memcmp(exemplars[0].span_id, context.span_id, 8) == 0);
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    CHECK(exemplars[0].time_unix_ns + UINT64_C(60000000000) > now_ns);
    CHECK(exemplars[0].time_unix_ns < now_ns + UINT64_C(1000000000));
}
CHILD_TEST(exemplar_has_value_time_and_ids_of_the_span)

static void durations_of_guarded_calls_have_exemplars(void) {
    const struct sonde__metric_exemplar *exemplars;
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_breaker breaker;
    struct sonde_breaker_permit permit;
    struct sonde_span span;
    options.name = "payments";
    CHECK(sonde_breaker_create(&options, &breaker) == 0);
    sonde_span_start(&span, SONDE_NAME("guarded"), NULL);
    struct sonde_span_context context = sonde_context_current_span();
    CHECK(sonde_breaker_admit(breaker, &permit) == SONDE_ADMITTED);
    sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_FAILURE, UINT64_C(250000000));
    sonde_span_end(&span);
    CHECK(look(sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_DURATION), "payments", &exemplars) == 1);
    CHECK(exemplars[0].is_new && value_at(exemplars) == 0.25);
    CHECK(memcmp(exemplars[0].trace_id, context.trace_id, 16) == 0);
    CHECK(memcmp(exemplars[0].span_id, context.span_id, 8) == 0);
}
CHILD_TEST(durations_of_guarded_calls_have_exemplars)

static void every_synchronous_instrument_has_exemplars(void) {
    const struct sonde__metric_exemplar *exemplars;
    struct sonde_instrument_options real = {.size = sizeof real, .kind = SONDE_COUNTER, .number = SONDE_NUMBER_DOUBLE};
    struct sonde_instrument counter = make("counter", SONDE_COUNTER), counter_double, up_down_double, gauge_double;
    struct sonde_instrument up_down = make("up_down", SONDE_UP_DOWN_COUNTER), gauge = make("gauge", SONDE_GAUGE);
    real.name = "counter_double";
    CHECK(sonde_instrument_create(&real, &counter_double) == 0);
    real.name = "up_down_double";
    real.kind = SONDE_UP_DOWN_COUNTER;
    CHECK(sonde_instrument_create(&real, &up_down_double) == 0);
    real.name = "gauge_double";
    real.kind = SONDE_GAUGE;
    CHECK(sonde_instrument_create(&real, &gauge_double) == 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_counter_add(sonde_series_bind(counter, NULL, 0),
                      5); /* binding first: the thread's first use is another way */
    sonde_up_down_counter_add(sonde_series_bind(up_down, NULL, 0), -6);
    sonde_gauge_set(sonde_series_bind(gauge, NULL, 0), -7);
    sonde_counter_add_double(sonde_series_bind(counter_double, NULL, 0), 0.5);
    sonde_up_down_counter_add_double(sonde_series_bind(up_down_double, NULL, 0), -0.5);
    sonde_gauge_set_double(sonde_series_bind(gauge_double, NULL, 0), 1.5);
    const struct {
        struct sonde_instrument instrument;
        int64_t whole;
        double real;
    } rows[] = {{counter, 5, 0},          {up_down, -6, 0},          {gauge, -7, 0},
                {counter_double, 0, 0.5}, {up_down_double, 0, -0.5}, {gauge_double, 0, 1.5}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK(look(rows[i].instrument, NULL, &exemplars) == 1);
        CHECK(rows[i].whole ? (int64_t)exemplars[0].value == rows[i].whole : value_at(exemplars) == rows[i].real);
        CHECK(exemplars[0].trace_id[15] == 1 && exemplars[0].span_id[7] == 1);
    }
}
CHILD_TEST(every_synchronous_instrument_has_exemplars)

static void what_is_dropped_is_no_exemplar(void) {
    struct sonde_instrument counter = make("counter", SONDE_COUNTER), histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_series c = sonde_series_bind(counter, NULL, 0), h = sonde_series_bind(histogram, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_counter_add(c, UINT64_MAX);
    sonde_instrument_add(counter, -1, NULL, 0);
    sonde_histogram_record(h, -1);
    sonde_histogram_record(h, __builtin_inf());
    sonde_instrument_record(histogram, __builtin_nan(""), NULL, 0);
    sonde_histogram_record(c, 1);
    CHECK(measurements_dropped() == 6);
    CHECK(count_of(counter) == 0 && count_of(histogram) == 0);
}
CHILD_TEST(what_is_dropped_is_no_exemplar)

static uint32_t with_filter(const char *value, bool in_span) {
    static struct sonde_instrument counter;
    if (!counter.index) {
        setenv("OTEL_METRICS_EXEMPLAR_FILTER", value, 1);
        counter = make("filtered", SONDE_COUNTER);
    }
    struct sonde_series series = sonde_series_bind(counter, NULL, 0);
    struct sonde_context_token token = {0, 0};
    if (in_span)
        token = enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_counter_add(series, 1);
    sonde_instrument_add(counter, 1, NULL, 0);
    if (in_span)
        sonde_context_detach(token);
    return count_of(counter);
}
static void filter_always_on_takes_all(void) {
    const struct sonde__metric_exemplar *exemplars;
    static const uint8_t none[16];
    CHECK(with_filter("Always_On", false) == 1);
    CHECK(look((struct sonde_instrument){1}, NULL, &exemplars) == 1 && memcmp(exemplars[0].trace_id, none, 16) == 0);
}
CHILD_TEST(filter_always_on_takes_all)
static void filter_always_off_takes_none(void) {
    CHECK(with_filter("always_off", false) == 0 && with_filter(NULL, true) == 0);
}
CHILD_TEST(filter_always_off_takes_none)
static void filter_empty_is_trace_based(void) {
    CHECK(with_filter("", false) == 0 && with_filter(NULL, true) == 1);
}
CHILD_TEST(filter_empty_is_trace_based)

static uint32_t reports;
static void on_report(void *user, const char *message) {
    (void)user;
    reports += strstr(message, "OTEL_METRICS_EXEMPLAR_FILTER") != NULL;
}
static void filter_unknown_is_reported_and_trace_based(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.report = on_report;
    setenv("OTEL_METRICS_EXEMPLAR_FILTER", "sometimes", 1);
    CHECK(sonde_start(&options) == 0);
    CHECK(reports == 1);
    CHECK(with_filter("sometimes", false) == 0 && with_filter(NULL, true) == 1);
}
CHILD_TEST(filter_unknown_is_reported_and_trace_based)
static void filter_of_options_beats_the_environment(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.exemplar_filter = "always_on";
    setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_off", 1);
    CHECK(sonde_start(&options) == 0);
    CHECK(with_filter("always_off", false) == 1);
}
CHILD_TEST(filter_of_options_beats_the_environment)

static void measurement_in_another_context_has_its_ids(void) {
    const struct sonde__metric_exemplar *exemplars;
    struct sonde_instrument counter = make("counter", SONDE_COUNTER), histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_span_context other = context_of(7, SONDE_TRACE_FLAG_SAMPLED), silent = context_of(8, 0);
    sonde_instrument_add_in(&other, counter, 3, NULL, 0);
    CHECK(look(counter, NULL, &exemplars) == 1 && exemplars[0].trace_id[0] == 7 && exemplars[0].value == 3);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_instrument_record_in(&silent, histogram, 1, NULL, 0);
    CHECK(count_of(histogram) == 0);
    sonde_instrument_record_in(NULL, histogram, 2, NULL, 0);
    CHECK(look(histogram, NULL, &exemplars) == 1 && exemplars[0].span_id[0] == 1 && value_at(exemplars) == 2);
}
CHILD_TEST(measurement_in_another_context_has_its_ids)

/* ---- reservoirs ---- */

/* The thread's generator, so that a run is like the other. */
static void seed(uint64_t value) {
    sonde__thread_self->random = value;
}

#define TENTHS 10
/* Is every tenth of what was offered drawn as often, within a quarter? */
static void check_even(const uint32_t drawn[TENTHS], uint32_t all) {
    for (int i = 0; i < TENTHS; i++)
        if (drawn[i] * TENTHS * 4 < all * 3 || drawn[i] * TENTHS * 4 > all * 5) {
            fprintf(stderr, "tenth %d: %u of %u\n", i, drawn[i], all);
            CHECK(false);
        }
}

static void simple_reservoir_of_one_draws_each_as_likely(void) {
    const struct sonde__metric_exemplar *exemplars;
    uint32_t drawn[TENTHS] = {0};
    struct sonde_instrument gauge = make("gauge", SONDE_GAUGE);
    struct sonde_series series = sonde_series_bind(gauge, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    seed(1);
    for (int period = 0; period < 2000; period++, period_end()) {
        for (int i = 0; i < 50; i++)
            sonde_gauge_set(series, i);
        CHECK(look(gauge, NULL, &exemplars) == 1 && exemplars[0].is_new);
        drawn[exemplars[0].value / 5]++;
    }
    check_even(drawn, 2000);
}
CHILD_TEST(simple_reservoir_of_one_draws_each_as_likely)

static void first_period_is_like_others(void) {
    uint32_t drawn[TENTHS] = {0};
    struct sonde_instrument gauge = make("gauge", SONDE_GAUGE);
    struct sonde__metric_series series;
    const struct sonde__metric_exemplar *exemplars;
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    seed(5);
    for (int set = 0; set < 1500; set++) {
        struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("set"), set);
        for (int i = 0; i < 50; i++)
            sonde_instrument_record(gauge, i, &attribute, 1);
    }
    (void)look(gauge, NULL, &exemplars);
    for (uint32_t at = 0; sonde__metric_reader_series(reader, gauge.index, &at, &series);)
        drawn[series.exemplars[0].value / 5]++;
    check_even(drawn, 1500);
}
CHILD_TEST(first_period_is_like_others)

static void exponential_histogram_keeps_twenty_each_as_likely(void) {
    const struct sonde__metric_exemplar *exemplars;
    uint32_t drawn[TENTHS] = {0};
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_series series = sonde_series_bind(histogram, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    seed(2);
    for (int period = 0; period < 200; period++, period_end()) {
        for (int i = 0; i < 1000; i++)
            sonde_histogram_record(series, i + 1);
        CHECK(look(histogram, NULL, &exemplars) == SONDE_RESERVOIR_SIZE_MAX);
        uint64_t values = 0;
        for (int i = 0; i < (int)SONDE_RESERVOIR_SIZE_MAX; i++) {
            for (int k = 0; k < i; k++)
                values += exemplars[k].value == exemplars[i].value;
            CHECK(exemplars[i].is_new);
            drawn[((int)value_at(&exemplars[i]) - 1) / 100]++;
        }
        CHECK(values == 0); /* none twice */
    }
    check_even(drawn, 200 * SONDE_RESERVOIR_SIZE_MAX);
}
CHILD_TEST(exponential_histogram_keeps_twenty_each_as_likely)

static struct sonde_series shared_series;
static void *record_from(void *from) {
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    int first = *(int *)from;
    static uint64_t seeds;
    seed(++seeds);
    for (int i = first; i < first + 100; i++)
        sonde_histogram_record(shared_series, i + 1);
    return NULL;
}
/* Ten times a hundred measurements, by new threads and by one that went on all the time and knows old thresholds. */
static void threads_are_drawn_from_alike(void) {
    const struct sonde__metric_exemplar *exemplars;
    uint32_t drawn[TENTHS] = {0};
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    shared_series = sonde_series_bind(histogram, NULL, 0);
    for (int period = 0; period < 200; period++, period_end()) {
        for (int i = 0; i < TENTHS; i++) {
            pthread_t thread;
            int first = i * 100;
            if (i % 2) {
                CHECK(pthread_create(&thread, NULL, record_from, &first) == 0 && pthread_join(thread, NULL) == 0);
            } else {
                struct sonde_context_token token = enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
                if (!period && !i)
                    seed(77);
                for (int k = first; k < first + 100; k++)
                    sonde_histogram_record(shared_series, k + 1);
                sonde_context_detach(token);
            }
        }
        CHECK(look(histogram, NULL, &exemplars) == SONDE_RESERVOIR_SIZE_MAX);
        for (int i = 0; i < (int)SONDE_RESERVOIR_SIZE_MAX; i++)
            drawn[((int)value_at(&exemplars[i]) - 1) / 100]++;
    }
    check_even(drawn, 200 * SONDE_RESERVOIR_SIZE_MAX);
}
CHILD_TEST(threads_are_drawn_from_alike)

static void aligned_reservoir_keeps_one_for_each_bucket(void) {
    static const double bounds[] = {1, 2, 5};
    const struct sonde__metric_exemplar *exemplars;
    uint32_t drawn[TENTHS] = {0};
    struct sonde_instrument histogram = make_with("advised", SONDE_HISTOGRAM, bounds, 3);
    struct sonde_series series = sonde_series_bind(histogram, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    seed(4);
    for (int period = 0; period < 1000; period++, period_end()) {
        for (int i = 1; i <= 50; i++) {
            sonde_histogram_record(series, i / 50.0);
            sonde_instrument_record(histogram, 5.0 + i / 50.0, NULL, 0);
        }
        sonde_histogram_record(series, 2.5); /* once in its bucket: kept */
        CHECK(look(histogram, NULL, &exemplars) == 3);
        CHECK(value_at(&exemplars[0]) > 0 && value_at(&exemplars[0]) <= 1);
        CHECK(value_at(&exemplars[1]) == 2.5);
        CHECK(value_at(&exemplars[2]) > 5 && value_at(&exemplars[2]) <= 6);
        drawn[((int)(value_at(&exemplars[0]) * 50 + 0.5) - 1) / 5]++;
    }
    check_even(drawn, 1000);
}
CHILD_TEST(aligned_reservoir_keeps_one_for_each_bucket)

static void exemplars_are_of_their_collection_period(void) {
    const struct sonde__metric_exemplar *exemplars;
    struct sonde_instrument counter = make("counter", SONDE_COUNTER);
    struct sonde_series series = sonde_series_bind(counter, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (int i = 0; i < 100000; i++)
        sonde_counter_add(series, 1);
    CHECK(look(counter, NULL, &exemplars) == 1 && exemplars[0].is_new);
    period_end();
    CHECK(look(counter, NULL, &exemplars) == 1 && !exemplars[0].is_new); /* still there to be looked at */
    sonde_counter_add(series, 99);
    CHECK(look(counter, NULL, &exemplars) == 1 && exemplars[0].is_new && exemplars[0].value == 99);
}
CHILD_TEST(exemplars_are_of_their_collection_period)

/* ---- views ---- */

static void view_add(struct sonde_view_options view) {
    view.size = sizeof view;
    CHECK(sonde_view_add(&view) == 0);
}
static void view_chooses_the_reservoir(void) {
    static const double bounds[] = {1, 2};
    view_add((struct sonde_view_options){.instrument_name = "none", .reservoir = SONDE_RESERVOIR_NONE});
    view_add((struct sonde_view_options){
        .instrument_name = "three*", .reservoir = SONDE_RESERVOIR_SIMPLE, .reservoir_size = 3});
    view_add((struct sonde_view_options){.instrument_name = "one", .reservoir = SONDE_RESERVOIR_SIMPLE});
    view_add((struct sonde_view_options){.instrument_name = "aligned", .reservoir = SONDE_RESERVOIR_ALIGNED_BUCKETS});
    const struct {
        struct sonde_instrument instrument;
        uint32_t count;
    } rows[] = {{make("none", SONDE_HISTOGRAM), 0},
                {make("three.exponential", SONDE_HISTOGRAM), 3},
                {make_with("three.explicit", SONDE_HISTOGRAM, bounds, 2), 3},
                {make_with("one", SONDE_HISTOGRAM, bounds, 2), 1},
                {make("aligned", SONDE_HISTOGRAM), SONDE_RESERVOIR_SIZE_MAX}};
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sonde_series series = sonde_series_bind(rows[i].instrument, NULL, 0);
        for (int k = 1; k <= 100; k++)
            sonde_histogram_record(series, k);
        CHECK(count_of(rows[i].instrument) == rows[i].count);
    }
}
CHILD_TEST(view_chooses_the_reservoir)

static void view_refuses_reservoirs_that_are_none(void) {
    struct sonde_view_options view = {.size = sizeof view, .instrument_name = "x"};
    view.reservoir = (enum sonde_reservoir)9;
    CHECK(sonde_view_add(&view) == SONDE_EINVALID);
    view.reservoir = SONDE_RESERVOIR_SIMPLE;
    view.reservoir_size = SONDE_RESERVOIR_SIZE_MAX + 1;
    CHECK(sonde_view_add(&view) == SONDE_EINVALID);
    view.reservoir = SONDE_RESERVOIR_DEFAULT;
    view.reservoir_size = 1;
    CHECK(sonde_view_add(&view) == SONDE_EINVALID);
    view.size = offsetof(struct sonde_view_options, reservoir); /* of a caller that knows no reservoirs */
    CHECK(sonde_view_add(&view) == 0);
    view.size--;
    CHECK(sonde_view_add(&view) == SONDE_EINVALID);
}
CHILD_TEST(view_refuses_reservoirs_that_are_none)

static void exemplar_keeps_what_a_view_left_out(void) {
    static const char *const keep[] = {"route"};
    static char large[300];
    const struct sonde__metric_exemplar *exemplars;
    memset(large, 'x', sizeof large - 1);
    view_add((struct sonde_view_options){.instrument_name = "*", .keep_keys = keep, .keep_key_count = 1});
    struct sonde_attribute attributes[] = {
        sonde_attribute_string(SONDE_KEY("zone"), large), sonde_attribute_string(SONDE_KEY("user"), "of-before"),
        sonde_attribute_string(SONDE_KEY("route"), "/a"), sonde_attribute_string(SONDE_KEY("user"), "u-1")};
    static const char user[] = "\x0A\x0D\x0A\x04user\x12\x05\x0A\x03u-1";
    struct sonde_instrument counter = make("counter", SONDE_COUNTER), histogram = make("h", SONDE_HISTOGRAM);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (int i = 0; i < 3; i++, period_end()) { /* new, known, known again */
        sonde_instrument_add(counter, 1, attributes, 4);
        sonde_instrument_record(histogram, 1, attributes, 4);
        CHECK(look(histogram, "route", &exemplars) == 1 && exemplars[0].is_new);
        CHECK(exemplars[0].attributes_size == sizeof user - 1 &&
              memcmp(exemplars[0].attributes, user, sizeof user - 1) == 0);
        CHECK(look(counter, "route", &exemplars) == 1 && exemplars[0].is_new);
        CHECK(exemplars[0].attributes_size == sizeof user - 1 &&
              memcmp(exemplars[0].attributes, user, sizeof user - 1) == 0);
    }
}
CHILD_TEST(exemplar_keeps_what_a_view_left_out)

static void exemplar_of_the_overflow_series_says_whose_it_was(void) {
    const struct sonde__metric_exemplar *exemplars;
    view_add((struct sonde_view_options){.instrument_name = "*", .series_max = 1});
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("user"), "first");
    struct sonde_instrument counter = make("counter", SONDE_COUNTER);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_instrument_add(counter, 1, &attribute, 1);
    attribute.value.string = "second";
    attribute.size = 6;
    sonde_instrument_add(counter, 1, &attribute, 1);
    CHECK(look(counter, "user", &exemplars) == 1 && exemplars[0].attributes_size == 0);
    CHECK(look(counter, "overflow", &exemplars) == 1);
    CHECK(memmem(exemplars[0].attributes, exemplars[0].attributes_size, "second", 6));
}
CHILD_TEST(exemplar_of_the_overflow_series_says_whose_it_was)

/* ---- memory ---- */

/* The first reservoir of the arena; slots of size SONDE__EXEMPLAR_SIZE. */
static struct sonde__exemplar *slot(uint32_t index) {
    uint8_t *arena = (uint8_t *)page() + SONDE__EXEMPLAR_ARENA_AT + sizeof(struct sonde__reservoir);
    return (struct sonde__exemplar *)(void *)(arena + (size_t)index * SONDE__EXEMPLAR_SIZE);
}

static void slot_being_written_is_not_read(void) {
    const struct sonde__metric_exemplar *exemplars;
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_series series = sonde_series_bind(histogram, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (int i = 1; i <= 3; i++)
        sonde_histogram_record(series, i);
    CHECK(count_of(histogram) == 3);
    atomic_fetch_add(&slot(1)->sequence, 1);
    CHECK(look(histogram, NULL, &exemplars) == 2 && value_at(&exemplars[0]) == 1 && value_at(&exemplars[1]) == 3);
    atomic_fetch_add(&slot(1)->sequence, 1);
    CHECK(count_of(histogram) == 3);
}
CHILD_TEST(slot_being_written_is_not_read)

/* Changes a slot between the reader's two copies of it, as a writer that is between two steps looks. */
static int reads_of_slots;
static int restless_read(void *self, uint32_t number, uint64_t offset, void *buffer, size_t size) {
    if (offset == SONDE__EXEMPLAR_ARENA_AT + sizeof(struct sonde__reservoir) && ++reads_of_slots == 2)
        slot(0)->time_unix_ns++;
    return memory_read(self, number, offset, buffer, size);
}
static void slot_that_changes_between_copies_is_not_read(void) {
    static const struct sonde__metric_memory restless = {restless_read, NULL};
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_series series = sonde_series_bind(histogram, NULL, 0);
    struct sonde__metric_series found;
    uint32_t at = 0;
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_histogram_record(series, 1);
    sonde_histogram_record(series, 2);
    CHECK(count_of(histogram) == 2);
    CHECK(sonde__metric_reader_exemplars_refresh(reader, &restless, &collection) == 0);
    CHECK(reads_of_slots == 2 && sonde__metric_reader_series(reader, histogram.index, &at, &found));
    CHECK(found.exemplar_count == 1 && value_at(found.exemplars) == 2);
}
CHILD_TEST(slot_that_changes_between_copies_is_not_read)

static int old_read(void *self, uint32_t number, uint64_t offset, void *buffer, size_t size) {
    if (!number && offset + size > SONDE__PROCESS_SIZE_BEFORE_EXEMPLARS)
        return -1;
    return memory_read(self, number, offset, buffer, size);
}
static void memory_of_an_older_minor_version_has_none(void) {
    static const struct sonde__metric_memory old = {old_read, NULL};
    struct sonde_instrument counter = make("counter", SONDE_COUNTER);
    struct sonde__metric_series found;
    uint32_t at = 0;
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    sonde_counter_add(sonde_series_bind(counter, NULL, 0), 1);
    CHECK(count_of(counter) == 1);
    CHECK(sonde__metric_reader_refresh(reader, &old) == 0);
    CHECK(sonde__metric_reader_exemplars_refresh(reader, &old, &collection) == 0);
    CHECK(sonde__metric_reader_series(reader, counter.index, &at, &found));
    CHECK(found.value == 1 && found.exemplar_count == 0);
}
CHILD_TEST(memory_of_an_older_minor_version_has_none)

static void forked_child_and_fresh_memory_begin_anew(void) {
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    struct sonde_series series = sonde_series_bind(histogram, NULL, 0);
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (int i = 0; i < 100; i++)
        sonde_histogram_record(series, 1);
    pid_t child = child_fork();
    if (child == 0) {
        (void)enter_span(2, SONDE_TRACE_FLAG_SAMPLED);
        sonde_histogram_record(series, 2);
        CHECK(count_of(histogram) == 1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(sonde__process_renew());
    sonde_histogram_record(series, 2);
    sonde__metric_reader_destroy(reader);
    reader = NULL;
    CHECK(count_of(histogram) == 1);
}
CHILD_TEST(forked_child_and_fresh_memory_begin_anew)

/* More lanes than a thread has, and a full arena, cost exemplars and nothing else. */
static void exemplars_end_where_the_arena_does(void) {
    char name[16];
    struct sonde_instrument histograms[2] = {make("a", SONDE_HISTOGRAM), make("b", SONDE_HISTOGRAM)};
    const struct sonde__metric_exemplar *exemplars;
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 1900; i++) {
            (void)snprintf(name, sizeof name, "set-%d.", i);
            struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("set"), name);
            sonde_instrument_record(histograms[k], 3, &attribute, 1);
        }
    CHECK(look(histograms[0], "set-1899.", &exemplars) == 1);
    CHECK(look(histograms[1], "set-100.", &exemplars) == 1);
    CHECK(look(histograms[1], "set-1899.", &exemplars) == 0);
    CHECK(measurements_dropped() == 0);
}
CHILD_TEST(exemplars_end_where_the_arena_does)

static void exemplars_end_where_lanes_do(void) {
    static double bounds[SONDE__BOUNDS_MAX];
    char name[32];
    struct sonde_instrument last = {0};
    for (size_t i = 0; i < SONDE__BOUNDS_MAX; i++)
        bounds[i] = (double)i;
    (void)enter_span(1, SONDE_TRACE_FLAG_SAMPLED);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "h%d", i);
        last = make_with(name, SONDE_HISTOGRAM, bounds, SONDE__BOUNDS_MAX);
        sonde_instrument_record(last, 3, NULL, 0);
        if (i == 0)
            CHECK(count_of(last) == 1);
    }
    CHECK(count_of(last) == 0);
    CHECK(measurements_dropped() == 0);
}
CHILD_TEST(exemplars_end_where_lanes_do)

/* ---- killed at any moment ---- */

/* An exemplar whose ids are those of its value. */
static void record_numbered(struct sonde_instrument histogram, uint64_t i) {
    struct sonde_span_context span = {.flags = SONDE_TRACE_FLAG_SAMPLED};
    memcpy(span.trace_id, &i, 8);
    memcpy(span.trace_id + 8, &i, 8);
    memcpy(span.span_id, &i, 8);
    sonde_instrument_record_in(&span, histogram, (double)i, NULL, 0);
}
/* Every measurement makes one. */
static void write_without_end(int to_parent) {
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    for (uint64_t i = 1;; i++) {
        record_numbered(histogram, i);
        if (i % SONDE_RESERVOIR_SIZE_MAX == 0)
            period_end();
        if (i == 1000)
            CHECK(write(to_parent, &sonde__registry.process.file.fd, sizeof(int)) == sizeof(int));
    }
}
static int dead_read(void *self, uint32_t number, uint64_t offset, void *buffer, size_t size) {
    return !number && pread(*(int *)self, buffer, size, (off_t)offset) == (ssize_t)size ? 0 : -1;
}
/* Looks at the only series of another process: what there is is whole. Returns how many exemplars; *ret_most: the
 * highest value. */
static uint32_t check_whole(struct sonde__metric_reader *of_other, int fd, uint64_t *ret_most) {
    struct sonde__metric_memory other = {dead_read, &fd};
    struct sonde__metric_series series;
    uint32_t at = 0;
    *ret_most = 0;
    CHECK(sonde__metric_reader_exemplars_refresh(of_other, &other, &collection) == 0);
    CHECK(sonde__metric_reader_series(of_other, 1, &at, &series));
    for (uint32_t i = 0; i < series.exemplar_count; i++) {
        uint64_t value = (uint64_t)value_at(&series.exemplars[i]), ids[3];
        memcpy(ids, series.exemplars[i].trace_id, 16);
        memcpy(ids + 2, series.exemplars[i].span_id, 8);
        CHECK(value > 0 && ids[0] == value && ids[1] == value && ids[2] == value);
        *ret_most = value > *ret_most ? value : *ret_most;
    }
    return series.exemplar_count;
}
/* A child that runs `run`, and the PROCESS memory it tells of by the pipe. */
static pid_t child_with_memory(void (*run)(int to_parent), int channel[2], int *ret_fd) {
    int number = -1;
    char path[64];
    CHECK(pipe(channel) == 0);
    pid_t child = child_fork();
    if (child == 0)
        run(channel[1]);
    CHECK(read(channel[0], &number, sizeof number) == sizeof number);
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)child, number);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(*ret_fd >= 0);
    return child;
}
static struct sonde__metric_reader *reader_of(int fd) {
    struct sonde__metric_memory other = {dead_read, &fd};
    struct sonde__metric_reader *made = sonde__metric_reader_create(memory_resize, NULL);
    CHECK(made && sonde__metric_reader_refresh(made, &other) == 0);
    return made;
}

/* Stopped after each single instruction of a measurement that replaces an exemplar: a reader never sees half of one,
 * and misses no more than that one. */
#ifndef __SANITIZE_THREAD__
static void write_stepwise(int to_parent) {
    struct sonde_instrument histogram = make("h", SONDE_HISTOGRAM);
    for (uint64_t i = 1; i <= SONDE_RESERVOIR_SIZE_MAX; i++)
        record_numbered(histogram, i);
    period_end();
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    CHECK(write(to_parent, &sonde__registry.process.file.fd, sizeof(int)) == sizeof(int));
    (void)raise(SIGSTOP);
    record_numbered(histogram, UINT64_C(0x0102030405060));
    (void)raise(SIGSTOP);
    _exit(0);
}
static void exemplar_is_whole_after_every_instruction(void) {
    if (getenv("SONDE_TEST_VALGRIND")) /* whose instructions these would be */
        return;
    int channel[2], fd, status, steps = 0, partial = 0;
    uint64_t most = 0;
    pid_t child = child_with_memory(write_stepwise, channel, &fd);
    struct sonde__metric_reader *of_child = reader_of(fd);
    CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    for (; ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 && waitpid(child, &status, 0) == child; steps++) {
        CHECK(WIFSTOPPED(status));
        if (WSTOPSIG(status) == SIGSTOP)
            break;
        uint32_t count = check_whole(of_child, fd, &most);
        CHECK(count >= SONDE_RESERVOIR_SIZE_MAX - 1);
        partial += count < SONDE_RESERVOIR_SIZE_MAX;
    }
    CHECK(steps > 100 && partial > 3 && most == UINT64_C(0x0102030405060));
    CHECK(check_whole(of_child, fd, &most) == SONDE_RESERVOIR_SIZE_MAX);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    sonde__metric_reader_destroy(of_child);
}
CHILD_TEST(exemplar_is_whole_after_every_instruction)
#endif

static void process_killed_in_the_middle_leaves_whole_exemplars(void) {
    for (int round = 0; round < 20; round++) {
        int channel[2], fd, status;
        uint64_t most;
        pid_t child = child_with_memory(write_without_end, channel, &fd);
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
        struct sonde__metric_reader *of_dead = reader_of(fd);
        CHECK(check_whole(of_dead, fd, &most) >= SONDE_RESERVOIR_SIZE_MAX - 1);
        sonde__metric_reader_destroy(of_dead);
        close(fd);
        close(channel[0]);
        close(channel[1]);
    }
}
CHILD_TEST(process_killed_in_the_middle_leaves_whole_exemplars)

/* Four threads write into the same twenty slots while periods end; what is read is whole all the time. */
static _Atomic bool threads_end;
static struct sonde_instrument together;
static void *record_together(void *number) {
    for (uint64_t i = (uint64_t)(uintptr_t)number; !threads_end; i += 4)
        record_numbered(together, i);
    return NULL;
}
static void threads_offer_at_the_same_time(void) {
    pthread_t threads[4];
    uint64_t most = 0, seen = 0;
    together = make("h", SONDE_HISTOGRAM);
    (void)sonde_series_bind(together, NULL, 0);
    int fd = sonde__registry.process.file.fd;
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, record_together, (void *)(i + 1)) == 0);
    CHECK_SOON(count_of(together) == SONDE_RESERVOIR_SIZE_MAX);
    struct sonde__metric_reader *other = reader_of(fd);
    const int rounds = getenv("SONDE_TEST_VALGRIND") ? 20 : 2000; /* whose threads take turns */
    for (int i = 0; i < rounds || (seen < 5 && i < 100000); i++, period_end()) {
        uint64_t before = most;
        (void)check_whole(other, fd, &most);
        seen += most > before;
    }
    threads_end = true;
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(seen >= 5);
    sonde__metric_reader_destroy(other);
}
CHILD_TEST(threads_offer_at_the_same_time)

#define CASE(name) cmocka_unit_test(name##_test)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(exemplar_has_value_time_and_ids_of_the_span),
        CASE(durations_of_guarded_calls_have_exemplars),
        CASE(every_synchronous_instrument_has_exemplars),
        CASE(what_is_dropped_is_no_exemplar),
        CASE(filter_always_on_takes_all),
        CASE(filter_always_off_takes_none),
        CASE(filter_empty_is_trace_based),
        CASE(filter_unknown_is_reported_and_trace_based),
        CASE(filter_of_options_beats_the_environment),
        CASE(measurement_in_another_context_has_its_ids),
        CASE(simple_reservoir_of_one_draws_each_as_likely),
        CASE(first_period_is_like_others),
        CASE(exponential_histogram_keeps_twenty_each_as_likely),
        CASE(threads_are_drawn_from_alike),
        CASE(aligned_reservoir_keeps_one_for_each_bucket),
        CASE(exemplars_are_of_their_collection_period),
        CASE(view_chooses_the_reservoir),
        CASE(view_refuses_reservoirs_that_are_none),
        CASE(exemplar_keeps_what_a_view_left_out),
        CASE(exemplar_of_the_overflow_series_says_whose_it_was),
        CASE(slot_being_written_is_not_read),
        CASE(slot_that_changes_between_copies_is_not_read),
        CASE(memory_of_an_older_minor_version_has_none),
        CASE(forked_child_and_fresh_memory_begin_anew),
        CASE(exemplars_end_where_the_arena_does),
        CASE(exemplars_end_where_lanes_do),
        CASE(threads_offer_at_the_same_time),
#ifndef __SANITIZE_THREAD__ /* a hundred times as many instructions */
        CASE(exemplar_is_whole_after_every_instruction),
#endif
        CASE(process_killed_in_the_middle_leaves_whole_exemplars),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    unsetenv("OTEL_METRICS_EXEMPLAR_FILTER");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
