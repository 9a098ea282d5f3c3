/* SPDX-License-Identifier: Apache-2.0 */
/* Hedges under a clock of the test's own: when the next one goes out, whose answer is used, pushback, budgets. */
#include "tests/lib/records.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/hedge.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/read_back.h"

#define MS UINT64_C(1000000)

static uint64_t time_ns;
static uint64_t fake_clock(void *user) {
    (void)user;
    return time_ns;
}
static struct sonde_hedge_options base(void) {
    static unsigned number;
    static char names[64][16];
    struct sonde_hedge_options options = SONDE_HEDGE_OPTIONS_INIT;
    snprintf(names[number % 64], sizeof names[0], "h%u", number);
    options.name = names[number++ % 64];
    options.clock = fake_clock;
    options.delay_ns = 50 * MS;
    options.extra = 2;
    return options;
}
static struct sonde_hedge make(struct sonde_hedge_options options) {
    struct sonde_hedge hedge;
    assert_int_equal(sonde_hedge_create(&options, &hedge), 0);
    return hedge;
}
static struct sonde_hedge_call begin(struct sonde_hedge hedge) {
    struct sonde_hedge_call call;
    sonde_hedge_begin(hedge, &call);
    assert_int_equal(call.pending, 1);
    return call;
}
#define ASSERT_NEXT(call, attempt, wait_ns)                                                                            \
    do {                                                                                                               \
        uint64_t wait_;                                                                                                \
        assert_int_equal(sonde_hedge_next(call, &wait_), attempt);                                                     \
        assert_true(wait_ == (wait_ns));                                                                               \
    } while (0)

static void hedges_go_out_one_delay_apart(void **state) {
    (void)state;
    struct sonde_hedge_call call = begin(make(base()));
    ASSERT_NEXT(&call, 0, 50 * MS);
    time_ns += 20 * MS;
    ASSERT_NEXT(&call, 0, 30 * MS);
    time_ns += 30 * MS;
    ASSERT_NEXT(&call, 2, 50 * MS);
    ASSERT_NEXT(&call, 0, 50 * MS);
    time_ns += 60 * MS;
    ASSERT_NEXT(&call, 3, SONDE_HEDGE_NEVER); /* as many as there may be */
    time_ns += 60 * MS;
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER);
    assert_int_equal(call.pending, 7);
    sonde_hedge_abandon(&call);
}

static void the_first_answer_is_used_and_the_others_are_cancelled(void **state) {
    (void)state;
    struct sonde_hedge_call call = begin(make(base()));
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 2, 50 * MS);
    assert_int_equal(sonde_hedge_report(&call, 2, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_ANSWER);
    assert_int_equal(call.winner, 2);
    assert_int_equal(call.pending, 1); /* to cancel */
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_LOST);
    assert_int_equal(sonde_hedge_report(&call, 2, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_LOST); /* twice */
    assert_int_equal(sonde_hedge_report(&call, 9, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_LOST); /* never sent */
    assert_int_equal(call.winner, 2);
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER);
}

static void a_failure_sends_the_next_at_once(void **state) {
    (void)state;
    struct sonde_hedge_call call = begin(make(base()));
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_PENDING);
    ASSERT_NEXT(&call, 2, 50 * MS);
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 3, SONDE_HEDGE_NEVER);
    assert_int_equal(sonde_hedge_report(&call, 2, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_PENDING);
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER);
    assert_int_equal(sonde_hedge_report(&call, 3, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_FAILED);
    assert_int_equal(call.winner, 0);
}

static void a_failure_that_nobody_would_mend_is_the_answer(void **state) {
    (void)state;
    struct sonde_hedge_call call = begin(make(base()));
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_IGNORED, 0), SONDE_HEDGE_ANSWER);
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER);
}

static void pushback_delays_or_ends_hedging(void **state) {
    (void)state;
    struct sonde_hedge hedge = make(base());
    struct sonde_hedge_call call = begin(hedge);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, (int64_t)(200 * MS)), SONDE_HEDGE_PENDING);
    ASSERT_NEXT(&call, 0, 200 * MS);
    time_ns += 200 * MS;
    ASSERT_NEXT(&call, 2, 50 * MS); /* then as usual */
    sonde_hedge_abandon(&call);
    call = begin(hedge);
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 2, 50 * MS);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, -1), SONDE_HEDGE_PENDING);
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER); /* what is under way goes on */
    assert_int_equal(sonde_hedge_report(&call, 2, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_ANSWER);
    call = begin(hedge);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, -1), SONDE_HEDGE_FAILED);
}

static struct sonde_retry_budget budget_of(const char *name, double tokens, double share) {
    struct sonde_retry_budget_options options = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_budget budget;
    options.name = name;
    options.tokens_max = tokens;
    options.share = share;
    options.share_min = 1;
    assert_int_equal(sonde_retry_budget_create(&options, &budget), 0);
    return budget;
}
static void hedges_use_the_budget_of_retries(void **state) {
    (void)state;
    struct sonde_hedge_options options = base();
    options.budget = budget_of(options.name, 2, 0); /* one failure, and half is gone */
    struct sonde_hedge hedge = make(options);
    struct sonde_hedge_call call = begin(hedge);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_FAILED);
    call = begin(hedge);
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_ANSWER);
}

static void a_share_of_the_calls_at_most_is_hedged(void **state) {
    (void)state;
    struct sonde_hedge_options options = base();
    options.budget = budget_of(options.name, 0, 0.1);
    struct sonde_hedge hedge = make(options);
    struct sonde_hedge_call first = begin(hedge), second = begin(hedge);
    time_ns += 50 * MS;
    ASSERT_NEXT(&first, 2, 50 * MS);
    ASSERT_NEXT(&second, 0, SONDE_HEDGE_NEVER); /* the only place is taken */
    assert_int_equal(sonde_hedge_report(&first, 1, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_ANSWER);
    assert_int_equal(sonde_hedge_report(&first, 2, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_LOST);
    struct sonde_hedge_call third = begin(hedge); /* the loser gave its place back, once */
    assert_int_equal(sonde_hedge_report(&third, 1, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_PENDING);
    struct sonde_hedge_call fourth = begin(hedge); /* it is promised to the third, though not yet sent */
    assert_int_equal(sonde_hedge_report(&fourth, 1, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_FAILED);
    sonde_hedge_abandon(&third);
    sonde_hedge_abandon(&third);
    struct sonde_hedge_call fifth = begin(hedge);
    assert_int_equal(sonde_hedge_report(&fifth, 1, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_PENDING);
    ASSERT_NEXT(&fifth, 2, 50 * MS);
    sonde_hedge_abandon(&fifth);
    sonde_hedge_abandon(&second);
}

static void none_never_hedges_and_bad_options_are_refused(void **state) {
    (void)state;
    struct sonde_hedge hedge = {9};
    struct sonde_hedge_options options = base(), bad[3] = {options, options, options};
    bad[0].name = NULL;
    bad[1].extra = 16;
    bad[2].budget.index = 1000;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sonde_hedge_create(&bad[i], &hedge), SONDE_EINVALID);
        assert_int_equal(hedge.index, 0);
    }
    struct sonde_hedge_call call = begin(hedge);
    ASSERT_NEXT(&call, 0, SONDE_HEDGE_NEVER);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, 0), SONDE_HEDGE_FAILED);
    call = begin(hedge);
    assert_int_equal(sonde_hedge_report(&call, 1, SONDE_OUTCOME_SUCCESS, 0), SONDE_HEDGE_ANSWER);
}

static void winners_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *winner;
        int64_t calls;
    } rows[] = {{"first", 2}, {"hedge", 1}, {"none", 1}};
    struct sonde_instrument_options named = {
        .size = sizeof named, .kind = SONDE_COUNTER, .name = "sonde.resilience.hedge", .unit = "{call}"};
    struct sonde_instrument instrument;
    struct sonde_hedge_options options = base();
    options.name = "winners";
    options.extra = 1;
    struct sonde_hedge hedge = make(options);
    for (int i = 0; i < 4; i++) {
        struct sonde_hedge_call call = begin(hedge);
        time_ns += 50 * MS;
        ASSERT_NEXT(&call, 2, SONDE_HEDGE_NEVER);
        if (i == 3)
            (void)sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, 0);
        (void)sonde_hedge_report(&call, i < 2 ? 1 : 2, i == 3 ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_SUCCESS, 0);
    }
    assert_int_equal(sonde_instrument_create(&named, &instrument), 0);
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    for (size_t i = 0; i < 3; i++) {
        struct sonde__metric_series series;
        bool found = false;
        for (uint32_t at = 0; sonde__metric_reader_series(reader, instrument.index, &at, &series);)
            if (memmem(series.attributes, series.attributes_size, "winners", 7) &&
                memmem(series.attributes, series.attributes_size, rows[i].winner, strlen(rows[i].winner))) {
                assert_int_equal(series.value, rows[i].calls);
                found = true;
            }
        assert_true(found);
    }
}

static void spans_tell_the_winner_from_the_losers(void **state) {
    (void)state;
    static const char *const outcomes[] = {"failed", "lost", "won"};
    struct sonde_hedge_call call = begin(make(base()));
    struct sonde_span spans[3];
    (void)records_skip();
    for (uint32_t i = 0; i < 3; i++)
        sonde_span_start(&spans[i], SONDE_NAME("attempt"), NULL);
    (void)sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, 0);
    sonde_hedge_describe(&call, 1, &spans[0]);
    ASSERT_NEXT(&call, 2, 50 * MS);
    time_ns += 50 * MS;
    ASSERT_NEXT(&call, 3, SONDE_HEDGE_NEVER);
    (void)sonde_hedge_report(&call, 3, SONDE_OUTCOME_SUCCESS, 0);
    sonde_hedge_describe(&call, 2, &spans[1]);
    sonde_hedge_describe(&call, 3, &spans[2]);
    for (uint32_t i = 3; i > 0; i--)
        sonde_span_end(&spans[i - 1]);
    for (uint32_t i = 3; i > 0; i--) {
        Pb__Span *span = records_span();
        assert_string_equal(
            records_value(span->attributes, span->n_attributes, "sonde.resilience.hedge.outcome")->string_value,
            outcomes[i - 1]);
        assert_int_equal(
            records_value(span->attributes, span->n_attributes, "sonde.resilience.hedge.attempt")->int_value, i);
        pb__span__free_unpacked(span, NULL);
    }
}

static struct sonde_hedge shared;
static void *call_often(void *unused) {
    for (unsigned i = 0; i < 10000; i++) {
        struct sonde_hedge_call call;
        uint64_t wait;
        sonde_hedge_begin(shared, &call);
        uint32_t attempt = sonde_hedge_next(&call, &wait); /* its delay is over at once, when the budget lets it */
        if (i % 3 == 0 && attempt)
            (void)sonde_hedge_report(&call, attempt, SONDE_OUTCOME_SUCCESS, 0);
        else if (i % 3 == 1)
            (void)sonde_hedge_report(&call, 1, SONDE_OUTCOME_FAILURE, 0);
        sonde_hedge_abandon(&call);
    }
    return unused;
}
static uint64_t running_clock(void *user) {
    static _Atomic uint64_t now_ns;
    (void)user;
    return atomic_fetch_add(&now_ns, 10) + 10;
}
static void budgets_add_up_with_eight_threads(void **state) {
    (void)state;
    pthread_t threads[8];
    struct sonde_hedge_options options = base();
    options.budget = budget_of(options.name, 0, 0.1);
    options.clock = running_clock;
    options.delay_ns = 1;
    shared = make(options);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    struct sonde_hedge_call call = begin(shared), other = begin(shared);
    uint64_t wait;
    assert_int_equal(sonde_hedge_next(&call, &wait), 2); /* every place came back, and there is one */
    assert_int_equal(sonde_hedge_next(&other, &wait), 0);
    sonde_hedge_abandon(&call);
    sonde_hedge_abandon(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hedges_go_out_one_delay_apart),
        cmocka_unit_test(the_first_answer_is_used_and_the_others_are_cancelled),
        cmocka_unit_test(a_failure_sends_the_next_at_once),
        cmocka_unit_test(a_failure_that_nobody_would_mend_is_the_answer),
        cmocka_unit_test(pushback_delays_or_ends_hedging),
        cmocka_unit_test(hedges_use_the_budget_of_retries),
        cmocka_unit_test(a_share_of_the_calls_at_most_is_hedged),
        cmocka_unit_test(none_never_hedges_and_bad_options_are_refused),
        cmocka_unit_test_setup_teardown(winners_are_counted, setup, teardown),
        cmocka_unit_test(spans_tell_the_winner_from_the_losers),
        cmocka_unit_test(budgets_add_up_with_eight_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
