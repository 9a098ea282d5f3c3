/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters of services: burst, rate, waits, eight threads, what telemetry says; and the clock that the kit reads. */
#include "instrumentation/resilience/clock.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/rate_limit.h>
#include <stdarg.h>
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
static struct sonde_rate_limit make(const char *name, double per_second, uint32_t burst) {
    struct sonde_rate_limit_options options = SONDE_RATE_LIMIT_OPTIONS_INIT;
    struct sonde_rate_limit limit;
    options.name = name;
    options.per_second = per_second;
    options.burst = burst;
    options.clock = fake_clock;
    assert_int_equal(sonde_rate_limit_create(&options, &limit), 0);
    return limit;
}

static void a_burst_and_then_the_rate(void **state) {
    (void)state;
    struct sonde_rate_limit limit = make("burst", 10, 3);
    uint64_t wait = 1;
    for (int i = 0; i < 3; i++) {
        assert_true(sonde_rate_limit_admit(limit, &wait));
        assert_true(wait == 0);
    }
    assert_false(sonde_rate_limit_admit(limit, &wait));
    assert_true(wait == 100 * MS);
    time_ns += 40 * MS;
    assert_false(sonde_rate_limit_admit(limit, &wait));
    assert_true(wait == 60 * MS);
    time_ns += wait;
    assert_true(sonde_rate_limit_admit(limit, &wait));
    assert_false(sonde_rate_limit_admit(limit, NULL));
    time_ns += 3600 * SECOND; /* it fills up to its burst and no further */
    for (int i = 0; i < 4; i++)
        assert_int_equal(sonde_rate_limit_admit(limit, &wait), i < 3);
}

static void a_rate_below_one_a_second(void **state) {
    (void)state;
    struct sonde_rate_limit limit = make("slow", 1.0 / 60, 0);
    uint64_t wait;
    assert_true(sonde_rate_limit_admit(limit, &wait));
    assert_false(sonde_rate_limit_admit(limit, &wait));
    assert_true(wait > 59 * SECOND && wait <= 60 * SECOND + 1);
}

static void what_was_rejected_is_counted(void **state) {
    (void)state;
    struct sonde_instrument_options options = {.size = sizeof options,
                                               .kind = SONDE_COUNTER,
                                               .name = "sonde.resilience.rate_limit.rejected",
                                               .unit = "{call}"};
    struct sonde_instrument instrument;
    struct sonde_rate_limit limit = make("counted", 1, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(sonde_rate_limit_admit(limit, NULL), i == 0);
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    assert_int_equal(value_of(instrument, "counted"), 4);
}

static struct sonde_rate_limit shared;
static _Atomic uint32_t admitted;
static void *ask_often(void *unused) {
    for (int i = 0; i < 20000; i++) {
        if (i % 10 == 0)
            time_ns += 1000; /* 8 threads: 16 ms in all */
        admitted += sonde_rate_limit_admit(shared, NULL);
    }
    return unused;
}
static void never_one_too_many_with_eight_threads(void **state) {
    (void)state;
    pthread_t threads[8];
    shared = make("shared", 100000, 20); /* one in 10 us */
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_in_range(admitted, 1600, 1620);
}

static void none_admits_and_bad_options_are_refused(void **state) {
    (void)state;
    static const double bad[] = {0, -1, 1e6 + 1};
    struct sonde_rate_limit_options options = SONDE_RATE_LIMIT_OPTIONS_INIT;
    struct sonde_rate_limit limit = {7};
    uint64_t wait = 1;
    options.per_second = 1;
    assert_int_equal(sonde_rate_limit_create(&options, &limit), SONDE_EINVALID); /* no name */
    options.name = "bad";
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.per_second = bad[i];
        assert_int_equal(sonde_rate_limit_create(&options, &limit), SONDE_EINVALID);
        assert_int_equal(limit.index, 0);
    }
    options.per_second = __builtin_nan("");
    assert_int_equal(sonde_rate_limit_create(&options, &limit), SONDE_EINVALID);
    assert_true(sonde_rate_limit_admit(limit, &wait));
    assert_true(wait == 0);
    assert_int_equal(make("same", 1, 1).index, make("same", 5, 2).index);
}

/* By the ticks as by the system: within a millisecond, for longer than one calibration is good. */
static void the_kits_clock_is_the_monotonic_one(void **state) {
    (void)state;
    uint64_t until = 0, checked = 0;
    for (uint64_t now = 0; !until || now < until; checked++) {
        struct timespec from, to;
        assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &from), 0);
        now = sonde__kit_now();
        assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &to), 0);
        until = until ? until : now + 2500 * MS;
        assert_true(now + MS >= (uint64_t)from.tv_sec * SECOND + (uint64_t)from.tv_nsec);
        assert_true(now <= (uint64_t)to.tv_sec * SECOND + (uint64_t)to.tv_nsec + MS);
    }
    assert_true(checked > 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_rate),
        cmocka_unit_test(a_rate_below_one_a_second),
        cmocka_unit_test_setup_teardown(what_was_rejected_is_counted, setup, teardown),
        cmocka_unit_test(never_one_too_many_with_eight_threads),
        cmocka_unit_test(none_admits_and_bad_options_are_refused),
        cmocka_unit_test(the_kits_clock_is_the_monotonic_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
