/* SPDX-License-Identifier: Apache-2.0 */
/* The rate-limiting sampler: never more than its budget and burst, by a fake clock and by eight threads. */
#include "instrumentation/trace/composed.h"
#include "tests/lib/child.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND_NS UINT64_C(1000000000)
#define BEGIN_NS  UINT64_C(1700000000000000000)

static struct sonde__rate rate_of(double per_second, uint32_t burst) {
    struct sonde__rate rate;
    assert_true(sonde__rate_set(&rate, per_second, burst));
    return rate;
}

static void bucket_gives_its_burst_and_then_its_rate(void **state) {
    (void)state;
    static const struct {
        double per_second;
        uint32_t burst, at_once, in_ten_seconds;
    } rows[] = {{10, 0, 10, 110}, {10, 1, 1, 101}, {3, 5, 5, 34}, {0.5, 0, 1, 6}, {1000000, 0, 1000000, 1000000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde__rate rate = rate_of(rows[i].per_second, rows[i].burst);
        _Atomic uint64_t word = 0;
        uint32_t taken = 0;
        while (sonde__rate_take(&rate, &word, BEGIN_NS))
            taken++;
        assert_int_equal(taken, rows[i].at_once);
        if (rows[i].per_second > 1000)
            continue;
        for (uint64_t now = BEGIN_NS; now <= BEGIN_NS + 10 * SECOND_NS; now += SECOND_NS / 1000)
            taken += sonde__rate_take(&rate, &word, now);
        assert_in_range(taken, rows[i].in_ten_seconds - 1, rows[i].in_ten_seconds);
    }
}

static void idle_time_is_saved_up_to_the_burst(void **state) {
    (void)state;
    struct sonde__rate rate = rate_of(10, 3);
    _Atomic uint64_t word = 0;
    unsigned taken = 0;
    assert_true(sonde__rate_take(&rate, &word, BEGIN_NS));
    while (sonde__rate_take(&rate, &word, BEGIN_NS + 3600 * SECOND_NS))
        taken++;
    assert_int_equal(taken, 3);
}

static void clock_that_is_set_back_stops_it_for_seconds_only(void **state) {
    (void)state;
    struct sonde__rate rate = rate_of(10, 1);
    _Atomic uint64_t word = 0;
    assert_true(sonde__rate_take(&rate, &word, BEGIN_NS));
    assert_false(sonde__rate_take(&rate, &word, BEGIN_NS - SECOND_NS)); /* another thread's older reading */
    assert_true(sonde__rate_take(&rate, &word, BEGIN_NS - 3600 * SECOND_NS));
    assert_false(sonde__rate_take(&rate, &word, BEGIN_NS - 3600 * SECOND_NS));
}

/* The time is that of the request: the clock is not asked again. */
static bool decide(const struct sonde_sampler *sampler, uint64_t now_ns, uint8_t chance) {
    struct sonde__settings settings = {.composed_sampler = sampler};
    static struct sonde_context context;
    sonde_context_init(&context);
    context.span.trace_id[9] = chance;
    struct sonde__sampling sampling = {.context = &context, .unix_ns = now_ns};
    bool sampled = sonde__sampler_decide(&settings, &sampling);
    assert_int_equal(context.tracestate_length, 0); /* no th: what a span stands for is not known */
    return sampled;
}

static void spans_that_are_dropped_anyway_cost_no_budget(void **state) {
    (void)state;
    const struct sonde_sampler *half, *sampler;
    assert_int_equal(sonde_sampler_probability(0.5, &half), 0);
    assert_int_equal(sonde_sampler_rate_limiting(2, 2, half, &sampler), 0);
    for (int i = 0; i < 100; i++)
        assert_false(decide(sampler, BEGIN_NS, 0x7F));
    assert_true(decide(sampler, BEGIN_NS, 0x80));
    assert_true(decide(sampler, BEGIN_NS, 0xFF));
    assert_false(decide(sampler, BEGIN_NS, 0xFF));
    assert_true(decide(sampler, BEGIN_NS + SECOND_NS / 2, 0xFF));
    assert_int_equal(sonde_sampler_rate_limiting(0, 0, NULL, &sampler), 0);
    assert_false(decide(sampler, BEGIN_NS, 0xFF));
}

/* ---- threads ---- */

#define THREADS    8
#define PER_THREAD 20000
static const struct sonde__rate *shared_rate;
static _Atomic uint64_t shared_word, clock_now = BEGIN_NS, taken_by_all;

static void *take_many(void *unused) {
    (void)unused;
    for (int i = 0; i < PER_THREAD; i++) {
        uint64_t now = atomic_fetch_add(&clock_now, 1000) + 1000;
        atomic_fetch_add(&taken_by_all, sonde__rate_take(shared_rate, &shared_word, now));
    }
    return NULL;
}

static void eight_threads_never_get_more_than_budget_and_burst(void **state) {
    (void)state;
    struct sonde__rate rate = rate_of(5000, 100);
    pthread_t threads[THREADS];
    shared_rate = &rate;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t passed_ns = atomic_load(&clock_now) - BEGIN_NS; /* 160 ms: 800 tokens */
    uint64_t most = 100 + passed_ns / (SECOND_NS / 5000);
    assert_in_range(atomic_load(&taken_by_all), most - 10, most);
}

static void *spans_of_a_thread(void *unused) {
    uintptr_t recorded = 0;
    (void)unused;
    for (int i = 0; i < 500; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("root"), NULL);
        recorded += span.context.flags & SONDE_TRACE_FLAG_SAMPLED;
        sonde_span_end(&span);
    }
    return (void *)recorded;
}

static void rate_limiting_by_name(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    pthread_t threads[THREADS];
    uintptr_t sum = 0;
    options.sampler = "parentbased_sonde_rate_limiting";
    options.sampler_arg = 0.01; /* a burst of one, the next one in 100 s */
    options.has_sampler_arg = true;
    CHECK(sonde_start(&options) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, spans_of_a_thread, NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *recorded;
        pthread_join(threads[i], &recorded);
        sum += (uintptr_t)recorded;
    }
    CHECK(sum == 1);
}
CHILD_TEST(rate_limiting_by_name)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test(idle_time_is_saved_up_to_the_burst),
        cmocka_unit_test(clock_that_is_set_back_stops_it_for_seconds_only),
        cmocka_unit_test(spans_that_are_dropped_anyway_cost_no_budget),
        cmocka_unit_test(eight_threads_never_get_more_than_budget_and_burst),
        cmocka_unit_test(rate_limiting_by_name_test),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
