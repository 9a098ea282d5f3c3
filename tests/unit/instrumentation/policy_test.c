/* SPDX-License-Identifier: Apache-2.0 */
/* Policies under a clock of the test's own: who is asked in which order, what comes back, how a call ends. */
#include "tests/lib/records.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/resilience/policy.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/read_back.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

static _Atomic uint64_t time_ns = 1000 * SECOND;
static uint64_t fake_clock(void *user) {
    (void)user;
    return time_ns;
}
static uint64_t half(void *user) {
    (void)user;
    return UINT64_C(1) << 63;
}
static const struct sonde_deadline none = {0};

/* Every part: 5 s in all, 2 s an attempt, 3 attempts with waits of 100 ms, a breaker that opens after 4 failures of 4
 * for 1 s, 2 places, 10 a second. */
static struct sonde_policy make(void) {
    static unsigned number;
    char name[16];
    snprintf(name, sizeof name, "p%u.", number++);
    struct sonde_policy policy = SONDE_POLICY_INIT;
    struct sonde_timeout_options timeout = SONDE_TIMEOUT_OPTIONS_INIT;
    struct sonde_retry_options retry = SONDE_RETRY_OPTIONS_INIT;
    struct sonde_breaker_options breaker = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_bulkhead_options bulkhead = SONDE_BULKHEAD_OPTIONS_INIT;
    struct sonde_rate_limit_options rate = SONDE_RATE_LIMIT_OPTIONS_INIT;
    timeout.name = retry.name = breaker.name = bulkhead.name = rate.name = name;
    timeout.clock = retry.clock = breaker.clock = rate.clock = fake_clock;
    timeout.overall_ns = 5 * SECOND;
    timeout.attempt_ns = 2 * SECOND;
    retry.attempts = 3;
    retry.jitter = SONDE_JITTER_NONE;
    retry.factor = 1;
    retry.random = half;
    breaker.minimum_calls = breaker.window_calls = 4;
    breaker.failure_rate = 1;
    breaker.wait_ns = SECOND;
    breaker.probes = 1;
    bulkhead.limit = 2;
    rate.per_second = 10;
    assert_int_equal(sonde_timeout_create(&timeout, &policy.timeout), 0);
    assert_int_equal(sonde_retry_create(&retry, &policy.retry), 0);
    assert_int_equal(sonde_breaker_create(&breaker, &policy.breaker), 0);
    assert_int_equal(sonde_bulkhead_create(&bulkhead, &policy.bulkhead), 0);
    assert_int_equal(sonde_rate_limit_create(&rate, &policy.rate_limit), 0);
    assert_int_equal(sonde_fallback_create(name, &policy.fallback), 0);
    return policy;
}
static void trip(struct sonde_breaker breaker) {
    for (int i = 0; i < 4; i++) {
        struct sonde_breaker_permit permit;
        assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_ADMITTED);
        sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_FAILURE, 1);
    }
    assert_int_equal(sonde_breaker_state_get(breaker), SONDE_BREAKER_OPEN);
}

static void a_success_is_done(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_CALL);
    assert_int_equal(call.attempt, 1);
    assert_true(call.timeout_ns == 2 * SECOND && call.deadline.monotonic_ns == time_ns + 5 * SECOND);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 1);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_DONE);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 0);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_FAILED); /* over */
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_FAILED);
    sonde_policy_abandon(&call);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 0);
}

static void an_empty_policy_makes_one_attempt(void **state) {
    (void)state;
    struct sonde_policy policy = SONDE_POLICY_INIT;
    struct sonde_policy_call call;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_CALL);
    assert_true(call.timeout_ns == SONDE_TIMEOUT_NONE);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, 0), SONDE_POLICY_FAILED);
    assert_int_equal(call.cause, SONDE_POLICY_BY_OUTCOME);
}

static void attempts_are_made_anew_and_then_the_fallback_answers(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    enum sonde_policy_step step = sonde_policy_begin(&policy, none, &call);
    for (uint32_t attempt = 1; attempt < 3; attempt++) {
        assert_int_equal(step, SONDE_POLICY_CALL);
        assert_int_equal(call.attempt, attempt);
        time_ns += 50 * MS;
        assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, 50 * MS, 0), SONDE_POLICY_WAIT);
        assert_true(call.wait_ns == 100 * MS);
        assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 0); /* who waits has no place */
        time_ns += call.wait_ns;
        step = sonde_policy_resume(&call);
    }
    assert_int_equal(step, SONDE_POLICY_CALL);
    assert_int_equal(call.attempt, 3);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, 0), SONDE_POLICY_FALLBACK);
    assert_int_equal(call.cause, SONDE_POLICY_BY_OUTCOME);
}

static void the_callers_own_mistake_is_neither_retried_nor_covered_up(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_CALL);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_IGNORED, MS, 0), SONDE_POLICY_FAILED);
}

static void pushback_is_waited_for(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_CALL);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, (int64_t)SECOND), SONDE_POLICY_WAIT);
    assert_true(call.wait_ns == SECOND);
    time_ns += SECOND;
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_CALL);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, -1), SONDE_POLICY_FALLBACK);
}

static void a_rejection_by_the_breaker_uses_up_no_attempt(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    trip(policy.breaker);
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_WAIT);
    assert_int_equal(call.cause, SONDE_POLICY_BY_BREAKER);
    assert_int_equal(call.attempt, 1);
    assert_true(call.wait_ns >= SECOND && call.wait_ns < SECOND + 100 * MS);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 0); /* it was not asked */
    time_ns += call.wait_ns;
    for (uint32_t attempt = 1; attempt <= 2; attempt++) { /* the probe fails: open again */
        assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_CALL);
        assert_int_equal(call.attempt, attempt);
        assert_int_equal(call.permit.admission, SONDE_ADMITTED_PROBE);
        assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, 0), SONDE_POLICY_WAIT);
        time_ns += call.wait_ns;
        assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_WAIT);
        assert_int_equal(call.attempt, attempt + 1);
        time_ns += call.wait_ns;
    }
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_CALL);
    assert_int_equal(call.attempt, 3);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_DONE);
    assert_int_equal(sonde_breaker_state_get(policy.breaker), SONDE_BREAKER_CLOSED);
}

static void what_is_rejected_without_time_to_wait_fails_at_once(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    assert_int_equal(sonde_breaker_state_set(policy.breaker, SONDE_BREAKER_OPEN, 60 * SECOND), 0);
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_FALLBACK);
    assert_int_equal(call.cause, SONDE_POLICY_BY_BREAKER);
    policy.retry.index = policy.fallback.index = 0;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_FAILED);
}

static void the_bulkheads_refusal_gives_the_permit_back(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call calls[3];
    trip(policy.breaker);
    time_ns += SECOND;
    assert_true(sonde_bulkhead_enter(policy.bulkhead) && sonde_bulkhead_enter(policy.bulkhead));
    assert_int_equal(sonde_policy_begin(&policy, none, &calls[0]), SONDE_POLICY_WAIT);
    assert_int_equal(calls[0].cause, SONDE_POLICY_BY_BULKHEAD);
    sonde_bulkhead_leave(policy.bulkhead);
    assert_int_equal(sonde_policy_begin(&policy, none, &calls[1]), SONDE_POLICY_CALL); /* the only probe, still there */
    assert_int_equal(calls[1].permit.admission, SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_policy_begin(&policy, none, &calls[2]), SONDE_POLICY_WAIT);
    assert_int_equal(calls[2].cause, SONDE_POLICY_BY_BREAKER); /* asked before the bulkhead, which is full too */
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 2);
    for (size_t i = 0; i < 3; i++)
        sonde_policy_abandon(&calls[i]);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 1);
    sonde_bulkhead_leave(policy.bulkhead);
}

static void the_rate_limiters_refusal_gives_place_and_permit_back(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    while (sonde_rate_limit_admit(policy.rate_limit, NULL))
        ;
    trip(policy.breaker);
    time_ns += SECOND;
    while (sonde_rate_limit_admit(policy.rate_limit, NULL))
        ;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_WAIT);
    assert_int_equal(call.cause, SONDE_POLICY_BY_RATE_LIMIT);
    assert_true(call.wait_ns >= 100 * MS);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 0);
    time_ns += call.wait_ns;
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_CALL);
    assert_int_equal(call.permit.admission, SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_DONE);
}

static int64_t counted(const char *instrument_name, const char *unit, const char *name, const char *value) {
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = SONDE_COUNTER, .name = instrument_name, .unit = unit};
    struct sonde_instrument instrument;
    struct sonde__metric_series series;
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    for (uint32_t at = 0; sonde__metric_reader_series(reader, instrument.index, &at, &series);)
        if (memmem(series.attributes, series.attributes_size, name, strlen(name)) &&
            memmem(series.attributes, series.attributes_size, value, strlen(value)))
            return (int64_t)series.value;
    fail_msg("no %s{%s, %s}", instrument_name, name, value);
    return -1;
}
/* Of what was made last: of its series. */
static char last_name[16];
static struct sonde_policy make_named(void) {
    struct sonde_policy policy = make();
    snprintf(last_name, sizeof last_name, "p%u.", policy.fallback.index - 1); /* the fallbacks are all its own */
    return policy;
}

static void the_earlier_deadline_bounds_attempts_and_waits(void **state) {
    (void)state;
    struct sonde_policy policy = make_named();
    struct sonde_policy_call call;
    struct sonde_deadline outer = {time_ns + SECOND};
    assert_int_equal(sonde_policy_begin(&policy, outer, &call), SONDE_POLICY_CALL);
    assert_true(call.timeout_ns == SECOND && call.deadline.monotonic_ns == outer.monotonic_ns);
    time_ns += 950 * MS;
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, 0), SONDE_POLICY_FALLBACK); /* 100 > 50 ms */
    assert_int_equal(sonde_policy_begin(&policy, outer, &call), SONDE_POLICY_CALL);
    assert_true(call.timeout_ns == 50 * MS);
    sonde_policy_abandon(&call);
    time_ns += 50 * MS;
    assert_int_equal(sonde_policy_begin(&policy, outer, &call), SONDE_POLICY_FALLBACK);
    assert_int_equal(call.cause, SONDE_POLICY_BY_TIMEOUT);
    outer.monotonic_ns = time_ns + SECOND;
    assert_int_equal(sonde_policy_begin(&policy, outer, &call), SONDE_POLICY_CALL);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_FAILURE, MS, 0), SONDE_POLICY_WAIT);
    time_ns += 2 * SECOND; /* the caller's timer was late */
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_FALLBACK);
    assert_int_equal(call.cause, SONDE_POLICY_BY_TIMEOUT);
    assert_int_equal(sonde_bulkhead_inflight(policy.bulkhead), 0);
    assert_int_equal(counted("sonde.resilience.retry", "{call}", last_name, "failure_without_retry"), 2);
    assert_int_equal(counted("sonde.resilience.retry", "{call}", last_name, "failure_with_retry"), 1);
    assert_int_equal(counted("sonde.resilience.timeout", "{timeout}", last_name, "overall"), 2);
}

/* The policy reads the system's clock here, the rate limiter one of its own. */
static void parts_with_a_clock_of_their_own_go_by_it(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    struct sonde_deadline outer = sonde_deadline_in(3600 * SECOND);
    policy.timeout.index = 0;
    while (sonde_rate_limit_admit(policy.rate_limit, NULL))
        ;
    assert_int_equal(sonde_policy_begin(&policy, outer, &call), SONDE_POLICY_WAIT);
    assert_int_equal(call.cause, SONDE_POLICY_BY_RATE_LIMIT);
    time_ns += 100 * MS;
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_CALL);
    assert_true(call.timeout_ns > 3500 * SECOND && call.timeout_ns <= 3600 * SECOND + MS);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_DONE);
}

static void timeouts_are_counted_and_retried(void **state) {
    (void)state;
    struct sonde_policy policy = make_named();
    struct sonde_policy_call call;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_CALL);
    time_ns += call.timeout_ns;
    assert_int_equal(sonde_policy_timed_out(&call, 2 * SECOND), SONDE_POLICY_WAIT);
    assert_int_equal(call.cause, SONDE_POLICY_BY_TIMEOUT);
    time_ns += call.wait_ns + SECOND;
    assert_int_equal(sonde_policy_resume(&call), SONDE_POLICY_CALL);
    assert_true(call.timeout_ns == 1900 * MS); /* the deadline's */
    time_ns += call.timeout_ns;
    assert_int_equal(sonde_policy_timed_out(&call, 1900 * MS), SONDE_POLICY_FALLBACK);
    assert_int_equal(call.cause, SONDE_POLICY_BY_TIMEOUT);
    assert_int_equal(counted("sonde.resilience.timeout", "{timeout}", last_name, "attempt"), 1);
    assert_int_equal(counted("sonde.resilience.timeout", "{timeout}", last_name, "overall"), 1);
    assert_int_equal(counted("sonde.circuit_breaker.call", "{call}", last_name, "failure"), 2);
    assert_int_equal(counted("sonde.resilience.retry", "{call}", last_name, "failure_with_retry"), 1);
    assert_int_equal(counted("sonde.resilience.retry.suppressed", "{retry}", last_name, "deadline"), 1);
}

static void who_refused_is_counted(void **state) {
    (void)state;
    struct sonde_policy policy = make_named();
    struct sonde_policy_call call;
    policy.timeout.index = 0; /* no deadline: a refused call does not wait */
    for (int i = 0; i < 2; i++)
        assert_true(sonde_bulkhead_enter(policy.bulkhead));
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_FALLBACK);
    for (int i = 0; i < 2; i++)
        sonde_bulkhead_leave(policy.bulkhead);
    while (sonde_rate_limit_admit(policy.rate_limit, NULL))
        ;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_FALLBACK);
    assert_int_equal(sonde_breaker_state_set(policy.breaker, SONDE_BREAKER_FORCED_OPEN, 0), 0);
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_FALLBACK);
    static const char *const reasons[] = {"bulkhead", "rate_limit", "breaker"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(counted("sonde.resilience.retry.suppressed", "{retry}", last_name, reasons[i]), 1);
    assert_int_equal(counted("sonde.circuit_breaker.call", "{call}", last_name, "cancelled"), 2);
    assert_int_equal(counted("sonde.circuit_breaker.call", "{call}", last_name, "rejected"), 1);
    assert_int_equal(counted("sonde.resilience.bulkhead.rejected", "{call}", last_name, last_name), 1);
    assert_int_equal(counted("sonde.resilience.rate_limit.rejected", "{call}", last_name, last_name), 2);
}

static const char *text_of(const Pb__Span *span, const char *key) {
    const Pb__AnyValue *value = records_value(span->attributes, span->n_attributes, key);
    return value ? value->string_value : NULL;
}
static void guarded_and_rejected_calls_are_spans(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct sonde_policy_call call;
    struct sonde_span span;
    (void)records_skip();
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_CALL);
    sonde_span_start(&span, SONDE_NAME("attempt"), NULL);
    sonde_policy_describe(&call, &span);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_DONE);
    sonde_span_end(&span);
    Pb__Span *attempt = records_span();
    assert_non_null(text_of(attempt, "sonde.circuit_breaker.name"));
    assert_string_equal(text_of(attempt, "sonde.circuit_breaker.state"), "closed");
    pb__span__free_unpacked(attempt, NULL);
    assert_int_equal(sonde_breaker_state_set(policy.breaker, SONDE_BREAKER_FORCED_OPEN, 0), 0);
    (void)records_skip();
    policy.retry.index = 0;
    assert_int_equal(sonde_policy_begin(&policy, none, &call), SONDE_POLICY_FALLBACK);
    Pb__Span *rejection = records_span();
    assert_string_equal(text_of(rejection, "error.type"), "circuit_breaker_open");
    assert_string_equal(text_of(rejection, "sonde.circuit_breaker.state"), "forced_open");
    pb__span__free_unpacked(rejection, NULL);
    assert_int_equal(records_skip(), 0);
}

/* ---- blocking ---- */

struct run {
    enum sonde_outcome outcomes[8];
    int64_t pushback_ns;
    bool timed_out;
    enum sonde_outcome fallback;
    enum sonde_policy_cause cause;
    uint32_t made, answered, sleeps;
    uint64_t slept_ns;
};
static enum sonde_outcome run_attempt(void *arg, struct sonde_policy_attempt *attempt) {
    struct run *run = arg;
    assert_int_equal(attempt->call->attempt, run->made + 1);
    attempt->pushback_ns = run->pushback_ns;
    attempt->timed_out = run->timed_out;
    time_ns += 10 * MS;
    return run->outcomes[run->made++];
}
static enum sonde_outcome run_fallback(void *arg, enum sonde_policy_cause cause) {
    struct run *run = arg;
    run->answered++;
    run->cause = cause;
    return run->fallback;
}
static void run_sleep(void *arg, uint64_t wait_ns) {
    struct run *run = arg;
    run->sleeps++;
    run->slept_ns += wait_ns;
    time_ns += wait_ns;
}
static enum sonde_policy_step run_with(const struct sonde_policy *policy, struct run *run) {
    struct sonde_policy_work work = SONDE_POLICY_WORK_INIT;
    work.attempt = run_attempt;
    work.fallback = run_fallback;
    work.sleep = run_sleep;
    work.arg = run;
    return sonde_policy_run(policy, &work);
}

static void run_makes_a_call_from_begin_to_end(void **state) {
    (void)state;
    struct sonde_policy policy = make_named();
    struct run good = {.outcomes = {SONDE_OUTCOME_FAILURE, SONDE_OUTCOME_FAILURE, SONDE_OUTCOME_SUCCESS}};
    assert_int_equal(run_with(&policy, &good), SONDE_POLICY_DONE);
    assert_int_equal(good.made, 3);
    assert_true(good.slept_ns == 200 * MS && good.answered == 0);
    time_ns += SECOND;
    struct run bad = {.outcomes = {SONDE_OUTCOME_FAILURE}, .pushback_ns = -1, .fallback = SONDE_OUTCOME_SUCCESS};
    assert_int_equal(run_with(&policy, &bad), SONDE_POLICY_FALLBACK);
    assert_int_equal(bad.cause, SONDE_POLICY_BY_OUTCOME);
    struct run worse = {.outcomes = {SONDE_OUTCOME_FAILURE}, .pushback_ns = -1, .fallback = SONDE_OUTCOME_FAILURE};
    assert_int_equal(run_with(&policy, &worse), SONDE_POLICY_FAILED);
    assert_int_equal(worse.answered, 1);
    assert_int_equal(counted("sonde.resilience.fallback", "{call}", last_name, "success"), 1);
    assert_int_equal(counted("sonde.resilience.fallback", "{call}", last_name, "failure"), 1);
    struct run mistake = {.outcomes = {SONDE_OUTCOME_IGNORED}};
    assert_int_equal(run_with(&policy, &mistake), SONDE_POLICY_FAILED);
    assert_int_equal(mistake.answered, 0);
    struct run late = {.outcomes = {SONDE_OUTCOME_FAILURE, SONDE_OUTCOME_FAILURE, SONDE_OUTCOME_FAILURE},
                       .timed_out = true,
                       .fallback = SONDE_OUTCOME_SUCCESS};
    time_ns += SECOND;
    assert_int_equal(run_with(&policy, &late), SONDE_POLICY_FALLBACK);
    assert_int_equal(late.cause, SONDE_POLICY_BY_TIMEOUT);
    assert_int_equal(counted("sonde.resilience.timeout", "{timeout}", last_name, "attempt"), 3);
}

static void run_waits_for_an_open_breaker_within_the_deadline(void **state) {
    (void)state;
    struct sonde_policy policy = make();
    struct run run = {.outcomes = {SONDE_OUTCOME_SUCCESS}};
    trip(policy.breaker);
    assert_int_equal(run_with(&policy, &run), SONDE_POLICY_DONE);
    assert_int_equal(run.made, 1);
    assert_int_equal(run.sleeps, 1);
    struct run refused = {.fallback = SONDE_OUTCOME_SUCCESS};
    assert_int_equal(sonde_breaker_state_set(policy.breaker, SONDE_BREAKER_OPEN, 3600 * SECOND), 0);
    assert_int_equal(run_with(&policy, &refused), SONDE_POLICY_FALLBACK);
    assert_true(refused.made == 0 && refused.sleeps == 0);
    assert_int_equal(refused.cause, SONDE_POLICY_BY_BREAKER);
}

/* By its own means and the system's clock; how long is not asserted but for the least. */
static void run_sleeps_by_itself(void **state) {
    (void)state;
    struct sonde_policy policy = SONDE_POLICY_INIT;
    struct sonde_retry_options retry = SONDE_RETRY_OPTIONS_INIT;
    struct sonde_policy_work work = SONDE_POLICY_WORK_INIT;
    struct run run = {.outcomes = {SONDE_OUTCOME_FAILURE, SONDE_OUTCOME_SUCCESS}};
    struct timespec from, to;
    retry.name = "sleeps";
    retry.initial_ns = 5 * MS;
    retry.jitter = SONDE_JITTER_NONE;
    assert_int_equal(sonde_retry_create(&retry, &policy.retry), 0);
    work.attempt = run_attempt;
    work.arg = &run;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &from), 0);
    assert_int_equal(sonde_policy_run(&policy, &work), SONDE_POLICY_DONE);
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &to), 0);
    assert_true((to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec >= 5000000L);
    struct run fails = {.outcomes = {SONDE_OUTCOME_FAILURE}, .pushback_ns = -1};
    work.arg = &fails; /* and without a fallback */
    assert_int_equal(sonde_policy_run(&policy, &work), SONDE_POLICY_FAILED);
}

static struct sonde_policy shared;
static _Atomic uint32_t inside, most;
static void *call_often(void *unused) {
    for (unsigned i = 0; i < 5000; i++) {
        struct sonde_policy_call call;
        enum sonde_policy_step step = sonde_policy_begin(&shared, none, &call);
        time_ns += 10000;
        while (step == SONDE_POLICY_CALL || step == SONDE_POLICY_WAIT) {
            if (i % 7 == 0) {
                sonde_policy_abandon(&call);
                break;
            }
            if (step == SONDE_POLICY_WAIT) {
                step = sonde_policy_resume(&call);
                time_ns += MS;
                continue;
            }
            uint32_t now = ++inside, seen = most;
            while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
                ;
            --inside;
            step = sonde_policy_report(&call, i % 3 ? SONDE_OUTCOME_SUCCESS : SONDE_OUTCOME_FAILURE, MS, 0);
        }
    }
    return unused;
}
static void places_add_up_with_eight_threads(void **state) {
    (void)state;
    pthread_t threads[8];
    struct sonde_policy_call call;
    shared = make();
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(sonde_bulkhead_inflight(shared.bulkhead), 0);
    assert_in_range(most, 1, 2);
    time_ns += 60 * SECOND; /* no permit was lost: whatever the state, a call goes through */
    assert_int_equal(sonde_policy_begin(&shared, none, &call), SONDE_POLICY_CALL);
    assert_int_equal(sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, MS, 0), SONDE_POLICY_DONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_success_is_done),
        cmocka_unit_test(an_empty_policy_makes_one_attempt),
        cmocka_unit_test(attempts_are_made_anew_and_then_the_fallback_answers),
        cmocka_unit_test(the_callers_own_mistake_is_neither_retried_nor_covered_up),
        cmocka_unit_test(pushback_is_waited_for),
        cmocka_unit_test(a_rejection_by_the_breaker_uses_up_no_attempt),
        cmocka_unit_test(what_is_rejected_without_time_to_wait_fails_at_once),
        cmocka_unit_test(the_bulkheads_refusal_gives_the_permit_back),
        cmocka_unit_test(the_rate_limiters_refusal_gives_place_and_permit_back),
        cmocka_unit_test_setup_teardown(the_earlier_deadline_bounds_attempts_and_waits, setup, teardown),
        cmocka_unit_test(parts_with_a_clock_of_their_own_go_by_it),
        cmocka_unit_test_setup_teardown(timeouts_are_counted_and_retried, setup, teardown),
        cmocka_unit_test_setup_teardown(who_refused_is_counted, setup, teardown),
        cmocka_unit_test(guarded_and_rejected_calls_are_spans),
        cmocka_unit_test_setup_teardown(run_makes_a_call_from_begin_to_end, setup, teardown),
        cmocka_unit_test(run_waits_for_an_open_breaker_within_the_deadline),
        cmocka_unit_test(run_sleeps_by_itself),
        cmocka_unit_test(places_add_up_with_eight_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
