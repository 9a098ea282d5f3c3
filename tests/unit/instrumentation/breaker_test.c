/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers under a clock of the test's own: thresholds, windows, waits, probes, late results, manual states. */
#include "instrumentation/resilience/breaker.h"
#include "instrumentation/resilience/instruments.h"
#include "tests/lib/records.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/breaker.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/read_back.h"

#define SECOND UINT64_C(1000000000)

static _Atomic uint64_t time_ns;
static uint64_t fake_clock(void *user) {
    (void)user;
    return time_ns;
}
static struct sonde_breaker_change changes[64];
static _Atomic uint32_t change_count;
static void on_change(void *user, const struct sonde_breaker_change *change) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    (void)user;
    pthread_mutex_lock(&mutex);
    changes[change_count++ % 64] = *change;
    pthread_mutex_unlock(&mutex);
}
#define LAST changes[(change_count - 1) % 64]

static struct sonde_breaker_options base(void) {
    static unsigned number;
    static char names[256][16];
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    snprintf(names[number % 256], sizeof names[0], "b%u", number);
    options.name = names[number++ % 256];
    options.clock = fake_clock;
    options.on_change = on_change;
    options.minimum_calls = 4;
    options.window_calls = 8;
    options.probes = 2;
    options.wait_ns = 10 * SECOND;
    return options;
}
static struct sonde_breaker make(struct sonde_breaker_options options) {
    struct sonde_breaker breaker;
    assert_int_equal(sonde_breaker_create(&options, &breaker), 0);
    assert_int_not_equal(breaker.index, 0);
    return breaker;
}
static enum sonde_admission call(struct sonde_breaker breaker, enum sonde_outcome outcome) {
    struct sonde_breaker_permit permit;
    enum sonde_admission admission = sonde_breaker_admit(breaker, &permit);
    if (admission != SONDE_REJECTED)
        sonde_breaker_report(breaker, &permit, outcome, 1000);
    return admission;
}
static void calls(struct sonde_breaker breaker, const char *outcomes) {
    for (const char *at = outcomes; *at; at++)
        assert_int_not_equal(call(breaker, *at == 'F'   ? SONDE_OUTCOME_FAILURE
                                           : *at == 'I' ? SONDE_OUTCOME_IGNORED
                                                        : SONDE_OUTCOME_SUCCESS),
                             SONDE_REJECTED);
}
#define ASSERT_STATE(breaker, state) assert_int_equal(sonde_breaker_state_get(breaker), SONDE_BREAKER_##state)

static void opens_when_failures_reach_their_rate(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    calls(breaker, "FFF");
    ASSERT_STATE(breaker, CLOSED); /* below the minimum of calls */
    calls(breaker, "F");
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.reason, SONDE_BREAKER_FAILURE_RATE);
    assert_int_equal(LAST.calls, 4);
    assert_true(LAST.failure_ratio == 1.0 && LAST.wait_ns == 10 * SECOND);
    assert_int_equal(call(breaker, SONDE_OUTCOME_SUCCESS), SONDE_REJECTED);
}

static void a_success_that_reaches_the_minimum_opens_too(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    calls(breaker, "FFSS"); /* 2 of 4 reach one half */
    ASSERT_STATE(breaker, OPEN);
}

static void a_count_window_forgets_the_oldest(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    calls(breaker, "SSSSSFFF"); /* 3 of 8 */
    calls(breaker, "SSSSS");    /* the same 3 */
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "FFF"); /* for each that comes one goes */
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "F");
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.calls, 8);
    assert_true(LAST.failure_ratio == 0.5);
}

static void rates_are_reached_exactly(void **state) {
    (void)state;
    static const double rates[] = {0.07, 0.1, 0.29, 0.57, 0.9};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct sonde_breaker_options options = base();
        options.window_calls = options.minimum_calls = 100;
        options.failure_rate = rates[i];
        struct sonde_breaker breaker = make(options);
        int failures = (int)(rates[i] * 100 + 0.5);
        for (int n = 0; n < 100 - failures; n++)
            calls(breaker, "S");
        for (int n = 1; n < failures; n++)
            calls(breaker, "F");
        ASSERT_STATE(breaker, CLOSED);
        calls(breaker, "F");
        ASSERT_STATE(breaker, OPEN);
    }
}

static void a_small_window_does_not_make_rounds_smaller(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    options.window_calls = 1;
    options.minimum_calls = 8;
    options.probes = 3;
    struct sonde_breaker breaker = make(options);
    calls(breaker, "F"); /* a full window decides */
    ASSERT_STATE(breaker, OPEN);
    time_ns += 10 * SECOND;
    calls(breaker, "SS");
    ASSERT_STATE(breaker, HALF_OPEN); /* as many as there are probes decide, not as many as the window holds */
    calls(breaker, "S");
    ASSERT_STATE(breaker, CLOSED);
    assert_true(LAST.failure_ratio == 0 && LAST.calls == 3);
}

static void a_wait_of_its_own_makes_later_ones_no_longer(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    options.wait_factor = 2;
    options.probes = 1;
    struct sonde_breaker breaker = make(options);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_OPEN, SECOND), 0);
    time_ns += SECOND;
    calls(breaker, "F");
    assert_true(LAST.to == SONDE_BREAKER_OPEN && LAST.wait_ns == 10 * SECOND);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_FORCED_OPEN, 0), 0);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_OPEN, 0), 0);
    assert_true(LAST.wait_ns == 40 * SECOND);
}

static void slow_calls_open(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    struct sonde_breaker_permit permit;
    options.slow_call_ns = SECOND;
    options.slow_call_rate = 0.5;
    struct sonde_breaker breaker = make(options);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_ADMITTED);
        sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_SUCCESS, SECOND); /* not slow: longer is */
    }
    for (int i = 0; i < 4; i++) {
        ASSERT_STATE(breaker, CLOSED);
        assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_ADMITTED);
        sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_SUCCESS, SECOND + 1);
    }
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.reason, SONDE_BREAKER_SLOW_CALL_RATE);
}

static void consecutive_failures_open_whatever_the_minimum(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    options.consecutive_failures = 3;
    options.failure_rate = 2; /* never */
    struct sonde_breaker breaker = make(options);
    calls(breaker, "FFSFF");
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "F");
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.reason, SONDE_BREAKER_CONSECUTIVE_FAILURES);
    time_ns += 10 * SECOND;
    calls(breaker, "F"); /* half-open: one is enough */
    ASSERT_STATE(breaker, OPEN);
}

static void ignored_calls_count_nowhere(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    calls(breaker, "IIIIIIIIFFF");
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "IF");
    ASSERT_STATE(breaker, OPEN);
}

static void a_time_window_forgets_by_the_clock(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    options.window_calls = 0;
    options.window_seconds = 5;
    time_ns = 1000 * SECOND;
    struct sonde_breaker breaker = make(options);
    calls(breaker, "FF");
    time_ns += 5 * SECOND; /* these are out now */
    calls(breaker, "FF");
    ASSERT_STATE(breaker, CLOSED);
    time_ns += 2 * SECOND;
    calls(breaker, "SS"); /* 2 of 4 */
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.calls, 4);
}

static void waits_then_probes_then_closes(void **state) {
    (void)state;
    struct sonde_breaker_permit permit, probes[2];
    struct sonde_breaker breaker = make(base());
    calls(breaker, "FFFF");
    time_ns += 9 * SECOND;
    assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED);
    assert_true(permit.retry_after_ns == SECOND);
    time_ns += SECOND;
    ASSERT_STATE(breaker, OPEN); /* nobody asked yet */
    assert_int_equal(sonde_breaker_admit(breaker, &probes[0]), SONDE_ADMITTED_PROBE);
    ASSERT_STATE(breaker, HALF_OPEN);
    assert_int_equal(sonde_breaker_admit(breaker, &probes[1]), SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED);
    sonde_breaker_report(breaker, &probes[0], SONDE_OUTCOME_SUCCESS, 1);
    ASSERT_STATE(breaker, HALF_OPEN);
    sonde_breaker_report(breaker, &probes[1], SONDE_OUTCOME_SUCCESS, 1);
    ASSERT_STATE(breaker, CLOSED);
    assert_int_equal(LAST.reason, SONDE_BREAKER_PROBE_SUCCEEDED);
    calls(breaker, "FFF");
    ASSERT_STATE(breaker, CLOSED); /* counts from nothing */
}

static void a_failed_probe_opens_again_and_waits_longer(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    options.wait_factor = 2;
    options.wait_max_ns = 35 * SECOND;
    struct sonde_breaker breaker = make(options);
    calls(breaker, "FFFF");
    static const uint64_t waits[] = {10, 20, 35, 35};
    for (size_t i = 0; i < 4; i++) {
        assert_true(LAST.to == SONDE_BREAKER_OPEN && LAST.wait_ns == waits[i] * SECOND);
        time_ns += waits[i] * SECOND;
        calls(breaker, "SF"); /* half reach one half */
    }
    assert_int_equal(LAST.reason, SONDE_BREAKER_PROBE_FAILED);
    time_ns += 35 * SECOND;
    calls(breaker, "SS");
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "FFFF");
    assert_true(LAST.wait_ns == 10 * SECOND); /* a CLOSED in between */
}

static void permits_come_back_from_probes_that_say_nothing(void **state) {
    (void)state;
    struct sonde_breaker_permit permits[3];
    struct sonde_breaker breaker = make(base());
    calls(breaker, "FFFF");
    time_ns += 10 * SECOND;
    assert_int_equal(sonde_breaker_admit(breaker, &permits[0]), SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_breaker_admit(breaker, &permits[1]), SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_breaker_admit(breaker, &permits[2]), SONDE_REJECTED);
    sonde_breaker_cancel(breaker, &permits[0]);
    assert_int_equal(sonde_breaker_admit(breaker, &permits[0]), SONDE_ADMITTED_PROBE);
    sonde_breaker_report(breaker, &permits[1], SONDE_OUTCOME_IGNORED, 1);
    assert_int_equal(sonde_breaker_admit(breaker, &permits[1]), SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_breaker_admit(breaker, &permits[2]), SONDE_REJECTED);
}

static void a_leaked_permit_heals(void **state) {
    (void)state;
    struct sonde_breaker_permit leaked[2], permit;
    struct sonde_breaker breaker = make(base());
    calls(breaker, "FFFF");
    time_ns += 10 * SECOND;
    assert_int_equal(sonde_breaker_admit(breaker, &leaked[0]), SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_breaker_admit(breaker, &leaked[1]), SONDE_ADMITTED_PROBE);
    time_ns += 10 * SECOND; /* half_open_max_ns is wait_ns */
    assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED);
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.reason, SONDE_BREAKER_PROBE_TIMEOUT);
    time_ns += 10 * SECOND;
    calls(breaker, "S");
    sonde_breaker_report(breaker, &leaked[0], SONDE_OUTCOME_FAILURE, 1); /* of another epoch: counts for nothing */
    calls(breaker, "S");
    ASSERT_STATE(breaker, CLOSED);
}

static void late_results_of_an_older_epoch_do_not_count(void **state) {
    (void)state;
    struct sonde_breaker_permit late[8];
    struct sonde_breaker breaker = make(base());
    for (int i = 0; i < 8; i++)
        assert_int_equal(sonde_breaker_admit(breaker, &late[i]), SONDE_ADMITTED);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_CLOSED, 0), 0); /* counts from nothing */
    for (int i = 0; i < 8; i++)
        sonde_breaker_report(breaker, &late[i], SONDE_OUTCOME_FAILURE, 1);
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "FFF");
    ASSERT_STATE(breaker, CLOSED);
    calls(breaker, "F");
    ASSERT_STATE(breaker, OPEN);
}

static void states_set_by_hand(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_FORCED_OPEN, 0), 0);
    time_ns += 1000 * SECOND;
    assert_int_equal(call(breaker, SONDE_OUTCOME_SUCCESS), SONDE_REJECTED);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_DISABLED, 0), 0);
    calls(breaker, "FFFFFFFFFF");
    ASSERT_STATE(breaker, DISABLED);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_METRICS_ONLY, 0), 0);
    uint32_t before = change_count;
    calls(breaker, "FFFFFFFFFF");
    ASSERT_STATE(breaker, METRICS_ONLY);
    assert_int_equal(change_count, before + 1); /* told once */
    assert_true(LAST.from == LAST.to && LAST.reason == SONDE_BREAKER_FAILURE_RATE);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_OPEN, 3 * SECOND), 0);
    assert_int_equal(call(breaker, SONDE_OUTCOME_SUCCESS), SONDE_REJECTED);
    time_ns += 3 * SECOND;
    assert_int_equal(call(breaker, SONDE_OUTCOME_SUCCESS), SONDE_ADMITTED_PROBE);
    assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_HALF_OPEN, 0), SONDE_EINVALID);
    assert_int_equal(sonde_breaker_state_set((struct sonde_breaker){0}, SONDE_BREAKER_CLOSED, 0), SONDE_EINVALID);
}

static void many_epochs_leave_the_window_right(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    for (int i = 0; i < 5000; i++) {
        calls(breaker, i % 3 ? "SSFSF" : "FSSSSSSSSFSF"); /* 2 of 5; 2 of the last 8 */
        ASSERT_STATE(breaker, CLOSED);
        assert_int_equal(sonde_breaker_state_set(breaker, SONDE_BREAKER_CLOSED, 0), 0);
    }
    calls(breaker, "FFFF");
    assert_int_equal(LAST.calls, 4);
}

static enum sonde_outcome classify(void *user, int error, const void *result) {
    (void)user;
    if (error == 404)
        return SONDE_OUTCOME_IGNORED;
    return error || (result && *(const int *)result < 0) ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_SUCCESS;
}
static void probes_that_say_nothing_for_long_do_no_harm(void **state) {
    (void)state;
    struct sonde_breaker_permit permit;
    for (int cycles = 60; cycles < 140; cycles += 4) { /* of two epochs each */
        struct sonde_breaker breaker = make(base());
        calls(breaker, "FFFF");
        for (int i = 0; i < cycles; i++) {
            ASSERT_STATE(breaker, OPEN);
            time_ns += 10 * SECOND;
            for (int probe = 0; probe < 2; probe++)
                assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_ADMITTED_PROBE);
            time_ns += 10 * SECOND;
            assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED); /* they leaked: open again */
        }
        time_ns += 10 * SECOND;
        calls(breaker, "SS");
        ASSERT_STATE(breaker, CLOSED);
        calls(breaker, "SFS");
        ASSERT_STATE(breaker, CLOSED);
        calls(breaker, "F");
        ASSERT_STATE(breaker, OPEN);
    }
}

static void any_clock_and_any_wait_will_do(void **state) {
    (void)state;
    struct sonde_breaker_permit permit;
    uint64_t before = time_ns;
    struct sonde_breaker_options options = base();
    options.wait_ns = UINT64_MAX; /* for ever */
    struct sonde_breaker endless = make(options);
    calls(endless, "FFFF");
    time_ns += UINT64_C(86400) * 365 * SECOND;
    assert_int_equal(sonde_breaker_admit(endless, &permit), SONDE_REJECTED);
    time_ns = UINT64_C(1764000000) * SECOND; /* since 1970 */
    struct sonde_breaker breaker = make(base());
    calls(breaker, "FFFF");
    assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED);
    assert_int_equal(permit.retry_after_ns, 10 * SECOND);
    time_ns += 10 * SECOND;
    calls(breaker, "SS");
    ASSERT_STATE(breaker, CLOSED);
    time_ns = (UINT64_C(1) << 48) * 1000 - SECOND; /* where ours go round */
    breaker = make(base());
    calls(breaker, "FFFF");
    assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED);
    time_ns += 10 * SECOND;
    calls(breaker, "SS");
    ASSERT_STATE(breaker, CLOSED);
    time_ns = before;
}

static void classify_decides(void **state) {
    (void)state;
    struct sonde_breaker_permit permit;
    struct sonde_breaker_options options = base();
    const int bad = -1;
    options.classify = classify;
    struct sonde_breaker breaker = make(options);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_ADMITTED);
        sonde_breaker_report_error(breaker, &permit, 404, NULL, 1);
    }
    for (int i = 0; i < 4; i++) {
        ASSERT_STATE(breaker, CLOSED);
        assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_ADMITTED);
        sonde_breaker_report_error(breaker, &permit, 0, &bad, 1);
    }
    ASSERT_STATE(breaker, OPEN);
}

static void a_change_is_a_log_record_of_the_call(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_breaker breaker = make(base());
    (void)records_skip();
    sonde_span_start(&span, SONDE_NAME("call"), NULL);
    calls(breaker, "FFFF");
    Pb__LogRecord *pb = records_log();
    assert_string_equal(pb->event_name, "sonde.circuit_breaker.state_change");
    assert_memory_equal(pb->trace_id.data, span.context.trace_id, 16);
    assert_int_equal(pb->severity_number, SONDE_SEVERITY_WARN);
    assert_string_equal(records_value(pb->attributes, pb->n_attributes, "sonde.circuit_breaker.to")->string_value,
                        "open");
    pb__log_record__free_unpacked(pb, NULL);
    struct sonde_breaker_permit permit;
    assert_int_equal(sonde_breaker_admit(breaker, &permit), SONDE_REJECTED);
    sonde_breaker_rejection_record(breaker, &permit);
    Pb__Span *rejection = records_span();
    assert_memory_equal(rejection->parent_span_id.data, span.context.span_id, 8);
    assert_int_equal(rejection->status->code, SONDE_STATUS_ERROR);
    assert_string_equal(records_value(rejection->attributes, rejection->n_attributes, "error.type")->string_value,
                        "circuit_breaker_open");
    pb__span__free_unpacked(rejection, NULL);
    sonde_span_end(&span);
    (void)records_skip();
}

static void bad_options_are_refused(void **state) {
    (void)state;
    struct sonde_breaker breaker;
    struct sonde_breaker_options good = base();
    struct sonde_breaker_options bad[] = {good, good, good, good, good, good, good, good};
    char long_name[129];
    memset(long_name, 'n', 128);
    long_name[128] = 0;
    bad[0].name = NULL;
    bad[1].name = long_name;
    bad[2].name = "\xFF";
    bad[3].window_calls = SONDE_BREAKER_WINDOW_CALLS_MAX + 1;
    bad[4].window_seconds = 5; /* and calls */
    bad[5].failure_rate = -0.1;
    bad[6].wait_factor = 0.5;
    bad[7].state = SONDE_BREAKER_OPEN;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(sonde_breaker_create(&bad[i], &breaker), SONDE_EINVALID);
        assert_int_equal(breaker.index, 0);
    }
    struct sonde_breaker first = make(good);
    assert_int_equal(make(good).index, first.index); /* found by name */
    assert_int_equal(call((struct sonde_breaker){0}, SONDE_OUTCOME_FAILURE), SONDE_ADMITTED);
}

static int64_t counted(enum sonde__resilience_metric metric, const char *text) {
    struct sonde__metric_series series;
    return find(sonde__resilience_instrument(metric), text, &series) ? (int64_t)series.value : 0;
}
static void a_foreign_breaker_shows_its_state(void **state) {
    (void)state;
    struct sonde__metric_series series;
    struct sonde_breaker theirs;
    (void)make(base()); /* so that there are instruments */
    int64_t before = counted(SONDE__RESILIENCE_BREAKER_TRANSITION, "theirs");
    (void)records_skip();
    assert_int_equal(sonde_breaker_observe("theirs", SONDE_BREAKER_OPEN), 0);
    assert_int_equal(records_skip(), 0);
    assert_int_equal(counted(SONDE__RESILIENCE_BREAKER_TRANSITION, "theirs"), before); /* nothing was seen to change */
    theirs.index = (uint32_t)atomic_load(&sonde__breakers.count);
    ASSERT_STATE(theirs, OPEN);
    assert_int_equal(sonde_breaker_observe("theirs", SONDE_BREAKER_OPEN), 0);
    assert_int_equal(counted(SONDE__RESILIENCE_BREAKER_TRANSITION, "theirs"), before);
    assert_int_equal(sonde_breaker_observe("theirs", SONDE_BREAKER_HALF_OPEN), 0);
    ASSERT_STATE(theirs, HALF_OPEN);
    assert_int_equal(counted(SONDE__RESILIENCE_BREAKER_TRANSITION, "theirs"), before + 1);
    assert_true(find(sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_TRANSITION), "theirs", &series));
    assert_non_null(memmem(series.attributes, series.attributes_size, "foreign", strlen("foreign")));
    assert_false(find(sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_CALL), "theirs", &series));
    assert_false(find(sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_DURATION), "theirs", &series));
    assert_int_equal(sonde_breaker_state_set(theirs, SONDE_BREAKER_CLOSED, 0), SONDE_EINVALID);
    assert_int_equal(sonde_breaker_observe("theirs", (enum sonde_breaker_state)9), SONDE_EINVALID);
}

static void what_is_anothers_protects_nothing(void **state) {
    (void)state;
    struct sonde_breaker breaker = {7};
    struct sonde_breaker_options options = base();
    options.name = "not ours";
    assert_int_equal(sonde_breaker_observe("not ours", SONDE_BREAKER_OPEN), 0);
    assert_int_equal(sonde_breaker_create(&options, &breaker), SONDE_EINVALID);
    assert_int_equal(breaker.index, 0);
    options = base();
    (void)make(options);
    assert_int_equal(sonde_breaker_observe(options.name, SONDE_BREAKER_OPEN), SONDE_EINVALID);
}

static void a_bounded_half_open_ends_whether_permits_are_free_or_not(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    struct sonde_breaker_permit permit;
    options.half_open_max_ns = 30 * SECOND;
    struct sonde_breaker bounded = make(options), other = make(base()), *const both[] = {&bounded, &other};
    for (int i = 0; i < 2; i++)
        calls(*both[i], "FFFF");
    time_ns += 10 * SECOND;
    for (int i = 0; i < 2; i++)
        calls(*both[i], "S"); /* one permit is left */
    time_ns += 30 * SECOND;
    assert_int_equal(sonde_breaker_admit(bounded, &permit), SONDE_REJECTED);
    assert_true(permit.retry_after_ns == 10 * SECOND);
    ASSERT_STATE(bounded, OPEN);
    assert_int_equal(LAST.reason, SONDE_BREAKER_PROBE_TIMEOUT);
    calls(other, "S"); /* by default a peer that is seldom called is probed for as long as it takes */
    ASSERT_STATE(other, CLOSED);
    time_ns += 10 * SECOND;
    calls(bounded, "S");
    time_ns += 30 * SECOND - 1000;
    calls(bounded, "S");
    ASSERT_STATE(bounded, CLOSED);
}

static void a_failed_probe_is_a_failure_in_a_row(void **state) {
    (void)state;
    struct sonde_breaker_options options = base();
    options.consecutive_failures = 3;
    options.failure_rate = 2;
    struct sonde_breaker breaker = make(options);
    calls(breaker, "FFF");
    ASSERT_STATE(breaker, OPEN);
    time_ns += 10 * SECOND;
    calls(breaker, "F");
    ASSERT_STATE(breaker, OPEN);
    assert_int_equal(LAST.reason, SONDE_BREAKER_PROBE_FAILED);
}

static void changes_are_numbered(void **state) {
    (void)state;
    struct sonde_breaker breaker = make(base());
    uint64_t before = change_count;
    calls(breaker, "FFFF");
    time_ns += 10 * SECOND;
    calls(breaker, "SS");
    assert_int_equal(change_count - before, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(changes[(before + i) % 64].epoch, i + 1);
}

/* Eight threads on one breaker: of the permits never one too many is out, and totals add up. */
static struct sonde_breaker shared;
static _Atomic int probes_out, probes_most;
static void *hammer(void *seed) {
    uint64_t random = (uint64_t)(uintptr_t)seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (int i = 0; i < 20000; i++) {
        struct sonde_breaker_permit permit;
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        if (random % 64 == 0)
            time_ns += SECOND;
        enum sonde_admission admission = sonde_breaker_admit(shared, &permit);
        if (admission == SONDE_REJECTED)
            continue;
        if (admission == SONDE_ADMITTED_PROBE) {
            int out = ++probes_out, most = probes_most;
            while (out > most && !atomic_compare_exchange_weak(&probes_most, &most, out))
                ;
            --probes_out;
        }
        if (random % 7 == 0)
            sonde_breaker_cancel(shared, &permit);
        else
            sonde_breaker_report(shared, &permit, random % 3 ? SONDE_OUTCOME_SUCCESS : SONDE_OUTCOME_FAILURE, 1);
    }
    return NULL;
}
static void eight_threads(void **state) {
    (void)state;
    pthread_t threads[8];
    struct sonde_breaker_options options = base();
    options.probes = 3;
    options.failure_rate = 0.4;
    options.wait_ns = options.half_open_max_ns = SECOND;
    shared = make(options);
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(probes_most <= 3);
    assert_true(change_count > 100);
    assert_int_equal(sonde_breaker_state_set(shared, SONDE_BREAKER_CLOSED, 0), 0);
    calls(shared, "SSS");
    calls(shared, "F");
    ASSERT_STATE(shared, CLOSED); /* 1 of 4 */
}

int main(void) {
    time_ns = 1000 * SECOND;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_when_failures_reach_their_rate),
        cmocka_unit_test(a_success_that_reaches_the_minimum_opens_too),
        cmocka_unit_test(a_count_window_forgets_the_oldest),
        cmocka_unit_test(rates_are_reached_exactly),
        cmocka_unit_test(a_small_window_does_not_make_rounds_smaller),
        cmocka_unit_test(a_wait_of_its_own_makes_later_ones_no_longer),
        cmocka_unit_test(slow_calls_open),
        cmocka_unit_test(consecutive_failures_open_whatever_the_minimum),
        cmocka_unit_test(ignored_calls_count_nowhere),
        cmocka_unit_test(a_time_window_forgets_by_the_clock),
        cmocka_unit_test(waits_then_probes_then_closes),
        cmocka_unit_test(a_failed_probe_opens_again_and_waits_longer),
        cmocka_unit_test(permits_come_back_from_probes_that_say_nothing),
        cmocka_unit_test(a_leaked_permit_heals),
        cmocka_unit_test(late_results_of_an_older_epoch_do_not_count),
        cmocka_unit_test(states_set_by_hand),
        cmocka_unit_test(many_epochs_leave_the_window_right),
        cmocka_unit_test(probes_that_say_nothing_for_long_do_no_harm),
        cmocka_unit_test(any_clock_and_any_wait_will_do),
        cmocka_unit_test(classify_decides),
        cmocka_unit_test(a_change_is_a_log_record_of_the_call),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test_setup_teardown(a_foreign_breaker_shows_its_state, setup, teardown),
        cmocka_unit_test(what_is_anothers_protects_nothing),
        cmocka_unit_test(a_bounded_half_open_ends_whether_permits_are_free_or_not),
        cmocka_unit_test(a_failed_probe_is_a_failure_in_a_row),
        cmocka_unit_test(changes_are_numbered),
        cmocka_unit_test(eight_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
