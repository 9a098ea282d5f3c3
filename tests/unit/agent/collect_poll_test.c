/* SPDX-License-Identifier: Apache-2.0 */
/* What every collector does beside asking: on a clock and a timer that move when told. Series go to a table here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/collect/poll.h"
#include "agent/log.h"
#include "tests/lib/fakes.h"
#include "tests/unit/agent/collect_fakes.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000000)

#define UP        value_of("sonde.messaging.poll.up", NULL)
#define ERRORS(t) value_of("sonde.messaging.poll.errors", "error.type=" t ";")

/* --- a collector --- */

static struct fakes fakes;
static struct sonde_seams seams;
static struct sonde_collector_env env;
static struct sonde__poll *poll;
static unsigned starts, aborts;
static void (*on_start)(void);

static void start(void *user) {
    assert_ptr_equal(user, &starts);
    assert_true(sonde__poll_is_active(poll));
    starts++;
    if (on_start)
        on_start();
}
static void stop_asking(void *user) {
    assert_ptr_equal(user, &starts);
    assert_true(sonde__poll_is_active(poll));
    aborts++;
}

static int create(void) {
    struct sonde__poll_config config = {.env = &env,
                                        .system = "kafka",
                                        .address = "b:9092",
                                        .common = {sonde_attribute_string(SONDE_KEY("server.address"), "b")},
                                        .common_count = 1,
                                        .interval_ns = 15 * S,
                                        .timeout_ns = 5 * S,
                                        .start = start,
                                        .abort = stop_asking,
                                        .user = &starts};
    return sonde__poll_create(&config, &poll);
}

static int setup(void **state) {
    (void)state;
    fakes_init(&fakes);
    seams = fakes_seams(&fakes);
    env = (struct sonde_collector_env){.name = "kafka/a", .seams = &seams};
    table_count = sweeps = 0;
    starts = aborts = 0;
    set_error = timer_error = 0;
    on_start = NULL;
    sonde_agent_log_level_set(SONDE_LOG_ERROR);
    assert_int_equal(create(), 0);
    assert_int_equal(starts, 0); /* from the loop only */
    assert_int_equal(the_timer.at_ns, 0);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    sonde__poll_destroy(poll);
    poll = NULL;
    assert_int_equal(fakes.live, 0);
    return 0;
}

static void timer_runs_out(void) {
    timer_runs_out_at(&fakes);
}

/* --- what it does --- */

static void poll_starts_at_once_and_again_by_the_interval(void **state) {
    (void)state;
    timer_runs_out();
    assert_int_equal(starts, 1);
    uint64_t started = fakes.monotonic_ns;
    fakes_advance(&fakes, 2 * S);
    sonde__poll_set(poll, SONDE__MESSAGING_LAG, &(struct sonde__messaging_of){.group = {"g", 1}}, 7);
    sonde__poll_done(poll);
    assert_false(sonde__poll_is_active(poll));
    assert_int_equal(the_timer.at_ns, started + 15 * S); /* start to start */
    assert_true(UP == 1);
    assert_true(value_of("sonde.messaging.poll.duration", NULL) == 2);
    assert_true(value_of("sonde.messaging.poll.last_success.timestamp", NULL) == (double)fakes.unix_ns / 1e9);
    assert_true(value_of("sonde.messaging.poll.truncated", NULL) == 0);
    assert_true(value_of("sonde.messaging.consumer.lag", NULL) == 7);
    assert_string_equal(table[find("sonde.messaging.consumer.lag", NULL)].labels,
                        "messaging.system=kafka;server.address=b;messaging.consumer.group.name=g;");
    assert_false(has("sonde.messaging.poll.errors", NULL));
    assert_int_equal(sweeps, 1);
    assert_int_equal(aborts, 0);
    timer_runs_out();
    assert_int_equal(starts, 2);
}

static void series_not_set_again_is_swept(void **state) {
    (void)state;
    timer_runs_out();
    sonde__poll_set(poll, SONDE__MESSAGING_LAG, NULL, 7);
    sonde__poll_done(poll);
    timer_runs_out();
    sonde__poll_done(poll);
    assert_false(has("sonde.messaging.consumer.lag", NULL));
    assert_true(UP == 1);
}

static void poll_that_takes_too_long_is_a_timeout(void **state) {
    (void)state;
    timer_runs_out();
    uint64_t started = fakes.monotonic_ns;
    assert_int_equal(the_timer.at_ns, started + 5 * S);
    timer_runs_out();
    assert_int_equal(aborts, 1);
    assert_true(UP == 0);
    assert_true(ERRORS("timeout") == 1);
    assert_true(the_timer.at_ns > fakes.monotonic_ns && the_timer.at_ns <= fakes.monotonic_ns + S);
    assert_false(has("sonde.messaging.poll.last_success.timestamp", NULL)); /* never: absent */
}

static void failure_takes_the_lags_of_before_with_it(void **state) {
    struct sonde_collector_status status = {0};
    (void)state;
    timer_runs_out();
    sonde__poll_set(poll, SONDE__MESSAGING_LAG, NULL, 7);
    sonde__poll_done(poll);
    double success = value_of("sonde.messaging.poll.last_success.timestamp", NULL);
    timer_runs_out();
    sonde__poll_set(poll, SONDE__MESSAGING_LAG, NULL, 8); /* half of the truth is not told either */
    sonde__poll_fail(poll, SONDE__TROUBLE_AUTH, "wrong password");
    assert_false(has("sonde.messaging.consumer.lag", NULL));
    assert_true(UP == 0);
    assert_true(value_of("sonde.messaging.poll.last_success.timestamp", NULL) == success);
    sonde__poll_status(poll, &status);
    assert_string_equal(status.trouble, "auth");
    assert_string_equal(status.address, "b:9092");
    assert_true(status.last_success_unix_ns > 0);
    /* What is late changes nothing. */
    sonde__poll_done(poll);
    sonde__poll_fail(poll, SONDE__TROUBLE_CLOSED, "late");
    assert_int_equal(aborts, 1);
    assert_false(has("sonde.messaging.poll.errors", "closed"));
    timer_runs_out();
    sonde__poll_done(poll);
    sonde__poll_status(poll, &status);
    assert_string_equal(status.trouble, "");
}

static void back_off_grows_to_a_minute_and_is_forgotten(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        timer_runs_out();
        sonde__poll_fail(poll, SONDE__TROUBLE_CONNECT, "refused");
        uint64_t delay = the_timer.at_ns - fakes.monotonic_ns, ceiling = i < 6 ? S << i : 60 * S;
        assert_in_range(delay, ceiling / 2, ceiling);
    }
    assert_true(ERRORS("connect") == 12);
    assert_int_equal(aborts, 12);
    timer_runs_out();
    sonde__poll_done(poll);
    timer_runs_out();
    sonde__poll_fail(poll, SONDE__TROUBLE_CONNECT, "refused");
    assert_true(the_timer.at_ns - fakes.monotonic_ns <= S);
}

static void throttled_waits_as_told_and_no_longer_than_an_hour(void **state) {
    static const struct {
        uint64_t asked_ns, wanted_ns;
    } cases[] = {{120 * S, 120 * S}, {86400 * S, 3600 * S}, {UINT64_MAX, 3600 * S}};
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        timer_runs_out();
        sonde__poll_throttled(poll, cases[c].asked_ns, "slow down");
        assert_int_equal(the_timer.at_ns - fakes.monotonic_ns, cases[c].wanted_ns);
        assert_true(value_of("sonde.messaging.poll.throttled", NULL) == (double)c + 1);
    }
    assert_true(ERRORS("throttled") == 3);
    timer_runs_out();
    sonde__poll_throttled(poll, 0, "slow down");
    assert_true(the_timer.at_ns > fakes.monotonic_ns);
}

static void note_does_not_end_a_poll_and_limits_are_of_one_poll(void **state) {
    (void)state;
    timer_runs_out();
    sonde__poll_note(poll, "lag_unknown", "nil");
    sonde__poll_note(poll, "lag_unknown", "nil");
    sonde__poll_truncated(poll);
    sonde__poll_fallback(poll);
    assert_true(sonde__poll_is_active(poll));
    sonde__poll_done(poll);
    assert_true(UP == 1);
    assert_true(ERRORS("lag_unknown") == 2);
    assert_true(value_of("sonde.messaging.poll.truncated", NULL) == 1);
    assert_true(value_of("sonde.messaging.poll.fallbacks", NULL) == 1);
    timer_runs_out();
    sonde__poll_done(poll);
    assert_true(value_of("sonde.messaging.poll.truncated", NULL) == 0);
    assert_true(value_of("sonde.messaging.poll.fallbacks", NULL) == 1); /* a total */
    assert_true(ERRORS("lag_unknown") == 2);
}

static void counters_of_ours_have_a_start_and_the_brokers_do_not(void **state) {
    (void)state;
    uint64_t created = fakes.unix_ns;
    timer_runs_out();
    sonde__poll_set(poll, SONDE__MESSAGING_PUBLISHED, NULL, 4);
    sonde__poll_note(poll, "x", "y");
    sonde__poll_done(poll);
    assert_true(table[find("sonde.messaging.queue.published", NULL)].start_is_unknown);
    assert_int_equal(table[find("sonde.messaging.poll.errors", NULL)].start_unix_ns, created);
    assert_false(table[find("sonde.messaging.poll.fallbacks", NULL)].start_is_unknown);
}

static void value_that_is_no_number_is_absent(void **state) {
    (void)state;
    timer_runs_out();
    sonde__poll_set(poll, SONDE__MESSAGING_LAG_TIME, NULL, NAN);
    sonde__poll_set(poll, SONDE__MESSAGING_LAG_TIME, NULL, INFINITY);
    sonde__poll_done(poll);
    assert_false(has("sonde.messaging.consumer.lag.time", NULL));
}

static void identity_known_late_replaces_and_adds(void **state) {
    (void)state;
    timer_runs_out();
    sonde__poll_identify(poll, sonde_attribute_string(SONDE_KEY("messaging.kafka.cluster.id"), "c1"));
    sonde__poll_identify(poll, sonde_attribute_string(SONDE_KEY("messaging.kafka.cluster.id"), "c2"));
    sonde__poll_set(poll, SONDE__MESSAGING_LAG, NULL, 1);
    sonde__poll_done(poll);
    assert_string_equal(table[find("sonde.messaging.consumer.lag", NULL)].labels,
                        "messaging.system=kafka;server.address=b;messaging.kafka.cluster.id=c2;");
}

static void no_memory_for_series_is_counted(void **state) {
    (void)state;
    timer_runs_out();
    set_error = -ENOMEM;
    sonde__poll_set(poll, SONDE__MESSAGING_LAG, NULL, 1);
    set_error = 0;
    sonde__poll_done(poll);
    assert_true(ERRORS("memory") == 1);
    assert_true(UP == 1);
}

static void troubles_beyond_the_table_are_counted_with_the_last(void **state) {
    static char names[40][8];
    (void)state;
    timer_runs_out();
    for (int i = 0; i < 40; i++) {
        (void)snprintf(names[i], sizeof names[i], "t%d", i);
        sonde__poll_note(poll, names[i], "x");
    }
    sonde__poll_done(poll);
    double sum = 0;
    for (size_t i = 0; i < table_count; i++)
        sum += strcmp(table[i].name, "sonde.messaging.poll.errors") == 0 ? table[i].value : 0;
    assert_true(sum == 40);
}

static void fail_at_once(void) {
    sonde__poll_fail(poll, SONDE__TROUBLE_MEMORY, "from inside start");
}
static void done_at_once(void) {
    sonde__poll_done(poll);
}
static void end_from_inside_start_is_fine(void **state) {
    (void)state;
    on_start = fail_at_once;
    timer_runs_out();
    assert_true(UP == 0);
    assert_true(the_timer.at_ns > fakes.monotonic_ns);
    on_start = done_at_once;
    timer_runs_out();
    assert_true(UP == 1);
    assert_int_equal(starts, 2);
}

static void create_without_memory_or_timer_leaves_nothing(void **state) {
    struct sonde__poll *kept = poll;
    (void)state;
    uint64_t live = fakes.live;
    fakes.allocations_until_failure = 0;
    assert_int_equal(create(), -ENOMEM);
    fakes.allocations_until_failure = -1;
    timer_error = -ENOMEM;
    assert_int_equal(create(), -ENOMEM);
    assert_int_equal(fakes.live, live);
    assert_ptr_equal(poll, kept);
    sonde__poll_destroy(NULL);
}

/* --- HTTP --- */

static void http_answers_mean_what_they_say(void **state) {
    static const struct {
        int error, status;
        const char *type;
    } cases[] = {
        {0, 200, NULL},
        {0, 401, "auth"},
        {0, 403, "auth"},
        {0, 404, "not_found"},
        {0, 429, "throttled"},
        {0, 500, "server"},
        {0, 503, "server"},
        {0, 302, "protocol"},
        {0, 204, "protocol"},
        {-ETIMEDOUT, 0, "timeout"},
        {-EHOSTUNREACH, 0, "resolve"},
        {-ECONNREFUSED, 0, "connect"},
        {-ECONNRESET, 0, "closed"},
        {-EPROTO, 0, "protocol"},
        {SONDE_ETOOBIG, 0, "too_big"},
        {-ENOMEM, 0, "memory"},
    };
    char text[256];
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sonde_http_response response = {.error = cases[c].error,
                                               .error_text = "said so",
                                               .status = cases[c].status,
                                               .content_type = "",
                                               .retry_after = "",
                                               .date = "",
                                               .body = (const uint8_t *)"why",
                                               .body_size = 3};
        const char *type = sonde__poll_http_trouble(&response, text, sizeof text);
        if (!cases[c].type)
            assert_null(type);
        else
            assert_string_equal(type, cases[c].type);
        if (type)
            assert_non_null(strstr(text, cases[c].error ? "said so" : "why"));
    }
}

static void http_retry_after_is_kept(void **state) {
    static const struct {
        const char *said;
        uint64_t least_ns, most_ns;
    } cases[] = {{"30", 30 * S, 30 * S}, {"999999999999999999999", 3600 * S, 3600 * S}, {"Wed, 21 Oct", 1, 8 * S}};
    struct sonde_http_response response = {
        .status = 429, .content_type = "", .date = "", .error_text = "", .body = NULL};
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        timer_runs_out();
        response.retry_after = cases[c].said;
        assert_true(sonde__poll_http_fail(poll, &response));
        assert_in_range(the_timer.at_ns - fakes.monotonic_ns, cases[c].least_ns, cases[c].most_ns);
    }
    timer_runs_out();
    response.status = 200;
    assert_false(sonde__poll_http_fail(poll, &response));
    assert_true(sonde__poll_is_active(poll));
    response.status = 500;
    assert_true(sonde__poll_http_fail(poll, &response));
    assert_true(ERRORS("server") == 1);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(poll_starts_at_once_and_again_by_the_interval),
        CASE(series_not_set_again_is_swept),
        CASE(poll_that_takes_too_long_is_a_timeout),
        CASE(failure_takes_the_lags_of_before_with_it),
        CASE(back_off_grows_to_a_minute_and_is_forgotten),
        CASE(throttled_waits_as_told_and_no_longer_than_an_hour),
        CASE(note_does_not_end_a_poll_and_limits_are_of_one_poll),
        CASE(counters_of_ours_have_a_start_and_the_brokers_do_not),
        CASE(value_that_is_no_number_is_absent),
        CASE(identity_known_late_replaces_and_adds),
        CASE(no_memory_for_series_is_counted),
        CASE(troubles_beyond_the_table_are_counted_with_the_last),
        CASE(end_from_inside_start_is_fine),
        CASE(create_without_memory_or_timer_leaves_nothing),
        CASE(http_answers_mean_what_they_say),
        CASE(http_retry_after_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
