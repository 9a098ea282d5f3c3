/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/link/puller.h"
#include "tests/lib/child.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/bulkhead.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/read_back.h"

static struct sonde_bulkhead make(const char *name, uint32_t limit, uint32_t queue_max) {
    struct sonde_bulkhead_options options = SONDE_BULKHEAD_OPTIONS_INIT;
    struct sonde_bulkhead bulkhead;
    options.name = name;
    options.limit = limit;
    options.queue_max = queue_max;
    assert_int_equal(sonde_bulkhead_create(&options, &bulkhead), 0);
    return bulkhead;
}

static void as_many_places_as_the_limit(void **state) {
    (void)state;
    struct sonde_bulkhead bulkhead = make("places", 2, 0);
    assert_true(sonde_bulkhead_enter(bulkhead));
    assert_true(sonde_bulkhead_enter(bulkhead));
    assert_false(sonde_bulkhead_enter(bulkhead));
    assert_int_equal(sonde_bulkhead_inflight(bulkhead), 2);
    sonde_bulkhead_leave(bulkhead);
    assert_true(sonde_bulkhead_enter(bulkhead));
    assert_int_equal(sonde_bulkhead_limit_set(bulkhead, 1), 0);
    sonde_bulkhead_leave(bulkhead);
    assert_false(sonde_bulkhead_enter(bulkhead));
    sonde_bulkhead_leave(bulkhead);
    assert_true(sonde_bulkhead_enter(bulkhead));
    sonde_bulkhead_leave(bulkhead);
    assert_true(sonde_bulkhead_enter((struct sonde_bulkhead){0}));
    sonde_bulkhead_leave((struct sonde_bulkhead){0});
}

static void the_queue_is_bounded_too(void **state) {
    (void)state;
    struct sonde_bulkhead bulkhead = make("queue", 1, 1);
    assert_true(sonde_bulkhead_enter(bulkhead));
    assert_true(sonde_bulkhead_queue(bulkhead));
    assert_false(sonde_bulkhead_queue(bulkhead));
    assert_false(sonde_bulkhead_try(bulkhead));
    sonde_bulkhead_leave(bulkhead);
    assert_true(sonde_bulkhead_try(bulkhead));
    sonde_bulkhead_unqueue(bulkhead);
    assert_true(sonde_bulkhead_queue(bulkhead));
    sonde_bulkhead_unqueue(bulkhead);
    sonde_bulkhead_leave(bulkhead);
}

static void a_stray_leave_takes_no_place_from_others(void **state) {
    (void)state;
    struct sonde_bulkhead bulkhead = make("stray", 2, 1);
    sonde_bulkhead_leave(bulkhead);
    sonde_bulkhead_unqueue(bulkhead);
    assert_int_equal(sonde_bulkhead_inflight(bulkhead), 0);
    assert_true(sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_queue(bulkhead));
    assert_false(sonde_bulkhead_enter(bulkhead) || sonde_bulkhead_queue(bulkhead));
    sonde_bulkhead_leave(bulkhead);
    sonde_bulkhead_leave(bulkhead);
    sonde_bulkhead_unqueue(bulkhead);
}

static void a_child_begins_with_no_call_under_way(void **state) {
    (void)state;
    int status = -1;
    struct sonde_bulkhead bulkhead = make("parent's", 2, 1);
    assert_true(sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_queue(bulkhead));
    pid_t child = fork();
    if (child == 0) {
        bool good = sonde_bulkhead_inflight(bulkhead) == 0 && sonde_bulkhead_enter(bulkhead) &&
                    sonde_bulkhead_enter(bulkhead) && !sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_queue(bulkhead);
        _exit(good ? 0 : 1);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
    assert_int_equal(sonde_bulkhead_inflight(bulkhead), 2);
    sonde_bulkhead_leave(bulkhead);
    sonde_bulkhead_leave(bulkhead);
    sonde_bulkhead_unqueue(bulkhead);
}

static struct sonde_bulkhead shared;
static _Atomic int inside, most;
static void *come_and_go(void *unused) {
    for (int i = 0; i < 20000; i++) {
        if (!sonde_bulkhead_enter(shared))
            continue;
        int now = ++inside, seen = most;
        while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
            ;
        --inside;
        sonde_bulkhead_leave(shared);
    }
    return unused;
}
static void never_one_too_many_with_eight_threads(void **state) {
    (void)state;
    pthread_t threads[8];
    shared = make("shared", 3, 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(most >= 1 && most <= 3);
    assert_int_equal(sonde_bulkhead_inflight(shared), 0);
}

/* The value of a bulkhead's series; the instrument is found again by its name. */
static int64_t series_value(const char *name, enum sonde_instrument_kind kind, const char *bulkhead) {
    struct sonde_instrument_options options = {.size = sizeof options, .kind = kind, .name = name, .unit = "{call}"};
    struct sonde_instrument instrument;
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    return value_of(instrument, bulkhead);
}
static void its_series_are_read_when_the_agent_asks(void **state) {
    (void)state;
    struct sonde_bulkhead bulkhead = make("observed", 2, 5);
    assert_true(sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_enter(bulkhead) && sonde_bulkhead_queue(bulkhead));
    assert_false(sonde_bulkhead_enter(bulkhead));
    uint32_t round = sonde__puller_ask();
    CHECK_SOON(sonde__puller_is_done(round));
    static const enum sonde_instrument_kind observed = SONDE_OBSERVABLE_UP_DOWN_COUNTER;
    assert_int_equal(series_value("sonde.resilience.bulkhead.inflight", observed, "observed"), 2);
    assert_int_equal(series_value("sonde.resilience.bulkhead.limit", observed, "observed"), 2);
    assert_int_equal(series_value("sonde.resilience.bulkhead.queued", observed, "observed"), 1);
    assert_int_equal(series_value("sonde.resilience.bulkhead.rejected", SONDE_COUNTER, "observed"), 1);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    struct sonde_bulkhead_options options = SONDE_BULKHEAD_OPTIONS_INIT;
    struct sonde_bulkhead bulkhead;
    assert_int_equal(sonde_bulkhead_create(&options, &bulkhead), SONDE_EINVALID);
    options.name = "bad";
    options.limit = UINT32_MAX;
    assert_int_equal(sonde_bulkhead_create(&options, &bulkhead), SONDE_EINVALID);
    assert_int_equal(bulkhead.index, 0);
    assert_int_equal(sonde_bulkhead_limit_set(make("good", 1, 0), 0), SONDE_EINVALID);
    assert_int_equal(make("good", 7, 0).index, make("good", 1, 0).index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_places_as_the_limit),
        cmocka_unit_test(the_queue_is_bounded_too),
        cmocka_unit_test(a_stray_leave_takes_no_place_from_others),
        cmocka_unit_test(a_child_begins_with_no_call_under_way),
        cmocka_unit_test(never_one_too_many_with_eight_threads),
        cmocka_unit_test_setup_teardown(its_series_are_read_when_the_agent_asks, setup, teardown),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
