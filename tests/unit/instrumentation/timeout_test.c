/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines by value, what is left for an attempt, and how they go over the wire. */
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/retry.h>
#include <sonde/resilience/timeout.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/read_back.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

static uint64_t time_ns = 1000 * SECOND;
static uint64_t fake_clock(void *user) {
    (void)user;
    return time_ns;
}
static struct sonde_timeout make(const char *name, uint64_t overall_ns, uint64_t attempt_ns) {
    struct sonde_timeout_options options = SONDE_TIMEOUT_OPTIONS_INIT;
    struct sonde_timeout timeout;
    options.name = name;
    options.overall_ns = overall_ns;
    options.attempt_ns = attempt_ns;
    options.clock = fake_clock;
    assert_int_equal(sonde_timeout_create(&options, &timeout), 0);
    return timeout;
}

static void the_earlier_deadline_holds(void **state) {
    (void)state;
    struct sonde_timeout timeout = make("earlier", 5 * SECOND, 2 * SECOND);
    struct sonde_deadline none = {0}, early = {time_ns + SECOND}, late = {time_ns + 60 * SECOND};
    assert_true(sonde_timeout_begin(timeout, none).monotonic_ns == time_ns + 5 * SECOND);
    assert_true(sonde_timeout_begin(timeout, early).monotonic_ns == early.monotonic_ns);
    assert_true(sonde_timeout_begin(timeout, late).monotonic_ns == time_ns + 5 * SECOND);
    assert_true(sonde_timeout_begin((struct sonde_timeout){0}, late).monotonic_ns == late.monotonic_ns);
    assert_true(sonde_deadline_earlier(none, none).monotonic_ns == 0);
    assert_true(sonde_deadline_earlier(late, none).monotonic_ns == late.monotonic_ns);
    assert_true(sonde_deadline_earlier(late, early).monotonic_ns == early.monotonic_ns);
    struct sonde_timeout forever = make("forever", UINT64_MAX, 0);
    assert_true(sonde_timeout_begin(forever, none).monotonic_ns == UINT64_MAX);
}

static void an_attempt_has_its_own_time_or_what_is_left(void **state) {
    (void)state;
    struct sonde_timeout timeout = make("attempt", 5 * SECOND, 2 * SECOND), whole = make("whole", SECOND, 0);
    struct sonde_deadline none = {0}, deadline = sonde_timeout_begin(timeout, none);
    assert_true(sonde_timeout_attempt_ns(timeout, deadline) == 2 * SECOND);
    time_ns += 4 * SECOND;
    assert_true(sonde_timeout_attempt_ns(timeout, deadline) == SECOND);
    time_ns += SECOND;
    assert_true(sonde_timeout_attempt_ns(timeout, deadline) == 0);
    assert_true(sonde_timeout_attempt_ns(timeout, none) == 2 * SECOND);
    assert_true(sonde_timeout_attempt_ns(whole, none) == SONDE_TIMEOUT_NONE);
    assert_true(sonde_timeout_attempt_ns(whole, sonde_timeout_begin(whole, none)) == SECOND);
    assert_true(sonde_timeout_attempt_ns((struct sonde_timeout){0}, none) == SONDE_TIMEOUT_NONE);
}

static void deadlines_by_the_clock_of_the_system(void **state) {
    (void)state;
    assert_true(sonde_deadline_in(0).monotonic_ns == 0);
    assert_true(sonde_deadline_in(SONDE_TIMEOUT_NONE).monotonic_ns == 0);
    assert_true(sonde_deadline_in(SONDE_TIMEOUT_NONE - 1).monotonic_ns == UINT64_MAX);
    struct sonde_deadline deadline = sonde_deadline_in(3600 * SECOND);
    uint64_t left = sonde_deadline_left_ns(deadline);
    assert_true(left > 3500 * SECOND && left <= 3600 * SECOND + MS);
    assert_true(sonde_deadline_left_ns((struct sonde_deadline){1}) == 0);
    assert_true(sonde_deadline_left_ns((struct sonde_deadline){0}) == SONDE_TIMEOUT_NONE);
}

static void grpc_timeouts_are_written_and_read(void **state) {
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
        uint64_t back;
    } rows[] = {
        {1, "1n", 1},
        {99999999, "99999999n", 99999999},
        {100000000, "100000u", 100000000},
        {1234567890, "1234567u", 1234567000}, /* rounded down */
        {99999999999, "99999999u", 99999999000},
        {100000000000, "100000m", 100000000000},
        {UINT64_C(99999999999999), "99999999m", UINT64_C(99999999000000)},
        {UINT64_C(100000000000000), "100000S", UINT64_C(100000000000000)},
        {UINT64_C(100000000000000000), "1666666M", UINT64_C(99999960000000000)},
        {UINT64_C(10000000000000000000), "2777777H", UINT64_C(9999997200000000000)},
        {UINT64_MAX - 1, "5124095H", UINT64_C(18446742000000000000)},
    };
    char text[SONDE_TIMEOUT_TEXT_SIZE];
    uint64_t back;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = sonde_timeout_grpc_write(rows[i].ns, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(size, strlen(text));
        assert_int_equal(sonde_timeout_grpc_read(text, size, &back), 0);
        assert_true(back == rows[i].back);
    }
    assert_int_equal(sonde_timeout_grpc_write(0, text), 0);
    assert_int_equal(sonde_timeout_grpc_write(SONDE_TIMEOUT_NONE, text), 0);
    assert_string_equal(text, "");
    assert_int_equal(sonde_timeout_grpc_read("00000100m", 9, &back), 0);
    assert_true(back == 100 * MS);
    assert_int_equal(sonde_timeout_grpc_read("0n", 2, &back), 0); /* others do send it: no time is left */
    assert_true(back == 0);
    assert_int_equal(sonde_timeout_grpc_read("99999999H", 9, &back), 0);
    assert_true(back == UINT64_MAX - 1);
}

static void bad_grpc_timeouts_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",    "n",   "1",    "123456789n", "-1n", "+1n",
                                      " 1n", "1 n", "1.5S", "1N",         "1s",  "0x1n"};
    uint64_t left = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sonde_timeout_grpc_read(bad[i], strlen(bad[i]), &left), SONDE_EMALFORMED);
    assert_true(left == 77);
}

static void milliseconds_are_written_and_read(void **state) {
    (void)state;
    char text[SONDE_TIMEOUT_TEXT_SIZE];
    uint64_t left = 77;
    assert_int_equal(sonde_timeout_ms_write(1999999, text), 1);
    assert_string_equal(text, "1");
    assert_int_equal(sonde_timeout_ms_write(1, text), 1);
    assert_string_equal(text, "1");
    assert_int_equal(sonde_timeout_ms_write(30 * SECOND, text), 5);
    assert_string_equal(text, "30000");
    assert_int_equal(sonde_timeout_ms_write(UINT64_MAX - 1, text), 10);
    assert_string_equal(text, "9999999999");
    assert_int_equal(sonde_timeout_ms_write(0, text), 0);
    assert_int_equal(sonde_timeout_ms_write(SONDE_TIMEOUT_NONE, text), 0);
    static const char *const bad[] = {"", "1s", "-1", " 1", "12345678901"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sonde_timeout_ms_read(bad[i], strlen(bad[i]), &left), SONDE_EMALFORMED);
    assert_true(left == 77);
    assert_int_equal(sonde_timeout_ms_read("9999999999", 10, &left), 0);
    assert_true(left == UINT64_C(9999999999) * MS);
}

static void retry_after_is_a_pushback(void **state) {
    (void)state;
    static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT", then[] = "Sun, 06 Nov 1994 08:49:47 GMT";
    assert_true(sonde_retry_after_http("7", 1, NULL, 0) == (int64_t)(7 * SECOND));
    assert_true(sonde_retry_after_http("70", 1, NULL, 0) == (int64_t)(7 * SECOND)); /* no further than its size */
    assert_true(sonde_retry_after_http("0", 1, NULL, 0) == 1);
    assert_true(sonde_retry_after_http("99999", 5, NULL, 0) == (int64_t)(300 * SECOND));
    assert_true(sonde_retry_after_http(then, sizeof then - 1, date, sizeof date - 1) == (int64_t)(10 * SECOND));
    assert_true(sonde_retry_after_http(then, sizeof then - 1, NULL, 0) == 1); /* by our clock long ago */
    assert_true(sonde_retry_after_http("", 0, NULL, 0) == 0 && sonde_retry_after_http(NULL, 0, NULL, 0) == 0);
    assert_true(sonde_retry_after_http("later", 5, NULL, 0) == 0);
    assert_true(sonde_retry_after_http("7\0", 2, NULL, 0) == (int64_t)(7 * SECOND));
    char many[100];
    memset(many, '1', sizeof many);
    assert_true(sonde_retry_after_http(many, sizeof many, NULL, 0) == 0);
}

static void timeouts_are_counted_by_scope(void **state) {
    (void)state;
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = SONDE_COUNTER, .name = "sonde.resilience.timeout", .unit = "{timeout}"};
    struct sonde_instrument instrument;
    struct sonde_timeout timeout = make("counted", 5 * SECOND, SECOND);
    struct sonde_deadline deadline = sonde_timeout_begin(timeout, (struct sonde_deadline){0});
    sonde_timeout_record(timeout, deadline);
    sonde_timeout_record(timeout, deadline);
    time_ns += 5 * SECOND;
    sonde_timeout_record(timeout, deadline);
    sonde_timeout_record((struct sonde_timeout){0}, deadline);
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    struct sonde__metric_series series;
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    int64_t attempts = 0, overall = 0;
    for (uint32_t at = 0; sonde__metric_reader_series(reader, instrument.index, &at, &series);) {
        if (!memmem(series.attributes, series.attributes_size, "counted", 7))
            continue;
        bool is_attempt = memmem(series.attributes, series.attributes_size, "attempt", 7);
        *(is_attempt ? &attempts : &overall) += (int64_t)series.value;
    }
    assert_int_equal(attempts, 2);
    assert_int_equal(overall, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earlier_deadline_holds),
        cmocka_unit_test(an_attempt_has_its_own_time_or_what_is_left),
        cmocka_unit_test(deadlines_by_the_clock_of_the_system),
        cmocka_unit_test(grpc_timeouts_are_written_and_read),
        cmocka_unit_test(bad_grpc_timeouts_are_refused),
        cmocka_unit_test(milliseconds_are_written_and_read),
        cmocka_unit_test(retry_after_is_a_pushback),
        cmocka_unit_test_setup_teardown(timeouts_are_counted_by_scope, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
