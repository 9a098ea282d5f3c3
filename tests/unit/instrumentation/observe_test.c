/* SPDX-License-Identifier: Apache-2.0 */
/* Observable instruments: callbacks run on a thread of the library's when the agent pulls, and what they report is what
 * the agent reads. Source: metrics/api.md#asynchronous-instrument-api. */
#include "fake_agent.h"

#include "instrumentation/link/link.h"
#include "instrumentation/link/puller.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
/* cmocka.h needs those */
#include <cmocka.h>
#include <sonde/err.h>
#include <sys/syscall.h>

#include "tests/unit/instrumentation/read_back.h"

static struct fake_agent agent;
static uint64_t pull_number;

static void begin(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    CHECK(setup(NULL) == 0);
    CHECK(sonde_flush(10000) == 0);
}
static void end(void) {
    teardown(NULL);
    fake_agent_stop(&agent);
    fake_agent_deinit(&agent);
}

static void pull(void) {
    fake_agent_pull(&agent, ++pull_number);
    CHECK_SOON(atomic_load(&agent.pulled) == pull_number);
}

static struct sonde_instrument make_number(const char *name, enum sonde_instrument_kind kind,
                                           enum sonde_number number) {
    struct sonde_instrument_options options = {.size = sizeof options, .kind = kind, .number = number, .name = name};
    struct sonde_instrument instrument;
    CHECK(sonde_instrument_create(&options, &instrument) == 0);
    return instrument;
}
static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind) {
    return make_number(name, kind, SONDE_NUMBER_INT64);
}

static uint64_t observations_dropped(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats.observations_dropped;
}

static struct sonde_observable register_one(sonde_observe_fn callback, void *user, struct sonde_instrument instrument) {
    struct sonde_observable observable;
    CHECK(sonde_observable_register(callback, user, &instrument, 1, &observable) == 0 && observable.index);
    return observable;
}

/* Reports how often it was called. */
struct counted {
    struct sonde_instrument instrument;
    _Atomic uint32_t calls, tid;
    sigset_t blocked;
};
static void report_calls(struct sonde_observer *observer, void *user) {
    struct counted *counted = user;
    pthread_sigmask(SIG_SETMASK, NULL, &counted->blocked);
    atomic_store(&counted->tid, (uint32_t)syscall(SYS_gettid));
    sonde_observer_set(observer, counted->instrument, atomic_fetch_add(&counted->calls, 1) + 1, NULL, 0);
}

static void callback_runs_when_the_agent_pulls_and_on_no_thread_of_the_service(void) {
    begin();
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    register_one(report_calls, &counted, counted.instrument);
    CHECK(atomic_load(&sonde__process_get()->callbacks) == 1);
    CHECK(child_threads("sonde-callbacks") == 0 && series_count(counted.instrument) == 0);
    for (int i = 1; i <= 3; i++) {
        pull();
        CHECK(value_of(counted.instrument, NULL) == i);
        CHECK(atomic_load(&counted.calls) == (uint32_t)i);
    }
    CHECK(child_threads("sonde-callbacks") == 1 && child_threads("sonde-link") == 1);
    CHECK(atomic_load(&counted.tid) && atomic_load(&counted.tid) != (uint32_t)syscall(SYS_gettid));
    CHECK(sigismember(&counted.blocked, SIGTERM) == 1 && sigismember(&counted.blocked, SIGUSR1) == 1);
    end();
}

static void pull_without_callbacks_is_answered_at_once(void) {
    begin();
    CHECK(atomic_load(&sonde__process_get()->callbacks) == 0);
    pull();
    CHECK(child_threads("sonde-callbacks") == 0);
    end();
}

/* ---- what is reported ---- */

static struct kinds {
    struct sonde_instrument counter, up_down, gauge, other;
    int step;
} kinds;

static void report_kinds(struct sonde_observer *observer, void *user) {
    CHECK(user == &kinds);
    struct sonde_attribute a = sonde_attribute_string(SONDE_KEY("pool"), "a"),
                           b = sonde_attribute_string(SONDE_KEY("pool"), "b");
    if (kinds.step == 0) {
        sonde_observer_set(observer, kinds.counter, 5, &a, 1);
        sonde_observer_set(observer, kinds.counter, 7, &a, 1); /* the last counts */
        sonde_observer_set(observer, kinds.counter, 9, &b, 1);
        sonde_observer_set(observer, kinds.up_down, -4, NULL, 0);
        sonde_observer_set_double(observer, kinds.gauge, 0.25, &a, 1);
    } else if (kinds.step == 1) {
        sonde_observer_set(observer, kinds.counter, 8, &a, 1);
        sonde_observer_set(observer, kinds.gauge, -3, &a, 1); /* integers do for doubles */
    } else {
        sonde_observer_set(observer, kinds.counter, -1, &a, 1);
        sonde_observer_set_double(observer, kinds.counter, 1, &a, 1);
        sonde_observer_set_double(observer, kinds.gauge, (double)NAN, &a, 1);
        sonde_observer_set(observer, kinds.other, 1, NULL, 0);
        sonde_observer_set(observer, (struct sonde_instrument){0}, 1, NULL, 0); /* a no-op: nothing lost */
    }
}

static void one_callback_serves_several_instruments_of_all_kinds(void) {
    begin();
    kinds = (struct kinds){make("counter", SONDE_OBSERVABLE_COUNTER), make("up_down", SONDE_OBSERVABLE_UP_DOWN_COUNTER),
                           make_number("gauge", SONDE_OBSERVABLE_GAUGE, SONDE_NUMBER_DOUBLE),
                           make("other", SONDE_OBSERVABLE_GAUGE), 0};
    struct sonde_instrument served[] = {kinds.counter, {0}, kinds.up_down, kinds.gauge};
    struct sonde_observable observable;
    CHECK(sonde_observable_register(report_kinds, &kinds, served, 4, &observable) == 0);
    pull();
    CHECK(value_of(kinds.counter, "a") == 7 && value_of(kinds.counter, "b") == 9);
    CHECK(value_of(kinds.up_down, NULL) == -4 && double_value_of(kinds.gauge, "a") == 0.25);
    /* On the wire they are what the synchronous ones are. */
    struct sonde__metric_instrument told;
    CHECK(sonde__metric_reader_instrument(reader, kinds.counter.index, &told) && told.kind == SONDE_COUNTER);
    CHECK(sonde__metric_reader_instrument(reader, kinds.up_down.index, &told) && told.kind == SONDE_UP_DOWN_COUNTER);
    CHECK(sonde__metric_reader_instrument(reader, kinds.gauge.index, &told) && told.kind == SONDE_GAUGE);
    /* What is not reported any more is gone, and comes back when it is. */
    kinds.step = 1;
    pull();
    CHECK(value_of(kinds.counter, "a") == 8 && series_count(kinds.counter) == 1);
    CHECK(series_count(kinds.up_down) == 0 && double_value_of(kinds.gauge, "a") == -3);
    kinds.step = 0;
    pull();
    CHECK(value_of(kinds.counter, "b") == 9 && value_of(kinds.up_down, NULL) == -4);
    CHECK(observations_dropped() == 0);
    kinds.step = 2;
    pull();
    CHECK(observations_dropped() == 4);
    CHECK(series_count(kinds.counter) == 0 && series_count(kinds.gauge) == 0 && series_count(kinds.other) == 0);
    end();
}

static struct sonde_observer *kept;
static void keep_observer(struct sonde_observer *observer, void *user) {
    (void)user;
    kept = observer;
}

static void what_is_no_observation_is_dropped_and_counted(void) {
    begin();
    struct sonde_instrument observable = make("observable", SONDE_OBSERVABLE_COUNTER), plain = make("p", SONDE_COUNTER);
    register_one(keep_observer, NULL, observable);
    pull();
    sonde_observer_set(kept, observable, 1, NULL, 0); /* after the call, on another thread */
    sonde_observer_set(NULL, observable, 1, NULL, 0);
    CHECK(observations_dropped() == 2);
    sonde_counter_add(sonde_series_bind(observable, NULL, 0), 1);
    sonde_instrument_add(observable, 1, NULL, 0);
    sonde_instrument_record(observable, 1, NULL, 0);
    CHECK(measurements_dropped() == 3);
    pull();
    CHECK(series_count(observable) == 0);
    struct sonde_observable none;
    CHECK(sonde_observable_register(keep_observer, NULL, &plain, 1, &none) == SONDE_EINVALID && !none.index);
    CHECK(sonde_observable_register(NULL, NULL, &observable, 1, &none) == SONDE_EINVALID);
    CHECK(sonde_observable_register(keep_observer, NULL, &observable, 0, &none) == SONDE_EINVALID);
    CHECK(sonde_observable_register(keep_observer, NULL, &(struct sonde_instrument){0}, 1, &none) == 0 && !none.index);
    sonde_observable_unregister(none);
    sonde_observable_unregister((struct sonde_observable){UINT32_MAX, 1});
    struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_COUNTER, .name = "observable"};
    struct sonde_instrument again;
    struct sonde_stats stats = {.size = sizeof stats};
    CHECK(sonde_instrument_create(&options, &again) == 0); /* not the same kind */
    sonde_stats_get(&stats);
    CHECK(stats.instrument_conflicts == 1);
    end();
}

static void report_users(struct sonde_observer *observer, void *user) {
    const struct sonde_instrument *instruments = user;
    for (int64_t i = 1; i <= 3; i++) {
        struct sonde_attribute a[] = {sonde_attribute_int64(SONDE_KEY("user"), i),
                                      sonde_attribute_string(SONDE_KEY("zone"), "here")};
        sonde_observer_set(observer, instruments[0], i, a, 2);
        sonde_observer_set(observer, instruments[1], i, a, 2);
        sonde_observer_set(observer, instruments[2], i, a, 2);
    }
}

static void totals_of_sets_that_a_view_makes_one_are_added_up(void) {
    begin();
    static const char *const drop[] = {"user"};
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "viewed.*", .drop_keys = drop, .drop_key_count = 1};
    CHECK(sonde_view_add(&view) == 0);
    view = (struct sonde_view_options){.size = sizeof view, .instrument_name = "small", .series_max = 1};
    CHECK(sonde_view_add(&view) == 0);
    struct sonde_instrument instruments[] = {make("viewed.sum", SONDE_OBSERVABLE_COUNTER),
                                             make("viewed.last", SONDE_OBSERVABLE_GAUGE),
                                             make("small", SONDE_OBSERVABLE_UP_DOWN_COUNTER)};
    struct sonde_observable observables[2];
    for (int i = 0; i < 2; i++) { /* two callbacks: their totals add up, too */
        CHECK(sonde_observable_register(report_users, instruments, instruments, 3, &observables[i]) == 0);
        pull();
        CHECK(value_of(instruments[0], "zone") == 6 * (i + 1) && series_count(instruments[0]) == 1);
        CHECK(value_of(instruments[1], "zone") == 3);
        CHECK(value_of(instruments[2], "zone") == 1);
        CHECK(value_of(instruments[2], "otel.metric.overflow") == 5 * (i + 1));
    }
    end();
}

static uint64_t start_of(struct sonde_instrument instrument, const char *text) {
    struct sonde__metric_series series;
    CHECK(find(instrument, text, &series));
    return series.start_unix_ns;
}
static uint64_t unix_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
#define SLACK_NS 5000000u /* the library's clock is a calibrated one */

static void series_begin_with_their_instrument_or_with_the_pull_before(void) {
    begin();
    uint64_t before = unix_now();
    kinds = (struct kinds){.counter = make("counter", SONDE_OBSERVABLE_COUNTER),
                           .gauge = make("gauge", SONDE_OBSERVABLE_GAUGE),
                           .up_down = make("up_down", SONDE_OBSERVABLE_UP_DOWN_COUNTER)};
    uint64_t made = unix_now();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* lint-allow: nanosleep, so that the times differ */
    register_one(report_kinds, &kinds, kinds.counter);
    kinds.step = 1;
    pull();
    uint64_t pulled = unix_now();
    CHECK(start_of(kinds.counter, "a") >= before - SLACK_NS && start_of(kinds.counter, "a") <= made + SLACK_NS);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* lint-allow: nanosleep, so that the times differ */
    kinds.step = 0;
    pull();
    CHECK(start_of(kinds.counter, "b") > made && start_of(kinds.counter, "b") <= pulled + SLACK_NS);
    end();
}

/* ---- registrations ---- */

struct gate {
    struct sonde_instrument instrument;
    _Atomic uint32_t inside, open, ended;
    int64_t value;
    struct sonde_observable own; /* unregistered by the callback itself */
};
static void pass_gate(struct sonde_observer *observer, void *user) {
    struct gate *gate = user;
    sonde_observer_set(observer, gate->instrument, gate->value, NULL, 0);
    atomic_store(&gate->inside, 1);
    CHECK_SOON(atomic_load(&gate->open));
    if (gate->own.index) {
        sonde_observable_unregister(gate->own);
        sonde_observer_set(observer, gate->instrument, 99, NULL, 0);
    }
    atomic_store(&gate->ended, 1);
}

static void *open_later(void *user) {
    struct gate *gate = user;
    for (int i = 0; i < 50; i++)
        sched_yield();
    /* lint-allow: nanosleep, it gives unregister the time to be wrong */
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    atomic_store(&gate->open, 1);
    return NULL;
}

static void unregister_waits_for_a_running_callback(void) {
    begin();
    struct gate gate = {.instrument = make("gate", SONDE_OBSERVABLE_GAUGE), .value = 5};
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    struct sonde_observable observable = register_one(pass_gate, &gate, gate.instrument);
    register_one(report_calls, &counted, counted.instrument);
    atomic_store(&gate.open, 1);
    pull();
    CHECK(value_of(gate.instrument, NULL) == 5);
    atomic_store(&gate.open, 0);
    atomic_store(&gate.inside, 0);
    atomic_store(&gate.ended, 0);
    fake_agent_pull(&agent, ++pull_number);
    CHECK_SOON(atomic_load(&gate.inside));
    pthread_t opener;
    CHECK(pthread_create(&opener, NULL, open_later, &gate) == 0);
    sonde_observable_unregister(observable);
    CHECK(atomic_load(&gate.ended)); /* not before */
    CHECK(series_count(gate.instrument) == 0);
    pthread_join(opener, NULL);
    CHECK_SOON(atomic_load(&agent.pulled) == pull_number);
    CHECK(series_count(gate.instrument) == 0 && value_of(counted.instrument, NULL) == 2);
    atomic_store(&gate.inside, 0);
    sonde_observable_unregister(observable); /* ended: nothing */
    pull();
    CHECK(!atomic_load(&gate.inside) && atomic_load(&sonde__process_get()->callbacks) == 1);
    end();
}

static void callback_may_unregister_itself(void) {
    begin();
    struct gate gate = {.instrument = make("gate", SONDE_OBSERVABLE_GAUGE), .value = 5, .open = 1};
    gate.own = register_one(pass_gate, &gate, gate.instrument);
    pull();
    CHECK(atomic_load(&gate.ended) && series_count(gate.instrument) == 0);
    CHECK(observations_dropped() == 1); /* what it reported after that */
    atomic_store(&gate.ended, 0);
    pull();
    CHECK(!atomic_load(&gate.ended) && atomic_load(&sonde__process_get()->callbacks) == 0);
    end();
}

static void series_stay_while_another_callback_reports_them(void) {
    begin();
    struct gate a = {.instrument = make("gate", SONDE_OBSERVABLE_GAUGE), .value = 1, .open = 1}, b = a;
    b.value = 2;
    struct sonde_observable of_a = register_one(pass_gate, &a, a.instrument);
    struct sonde_observable of_b = register_one(pass_gate, &b, b.instrument);
    pull();
    CHECK(value_of(a.instrument, NULL) == 2); /* the last one's */
    sonde_observable_unregister(of_b);
    CHECK(value_of(a.instrument, NULL) == 2);
    pull();
    CHECK(value_of(a.instrument, NULL) == 1);
    sonde_observable_unregister(of_a);
    CHECK(series_count(a.instrument) == 0);
    end();
}

static void registrations_have_a_limit(void) {
    begin();
    struct sonde_instrument instrument = make("many", SONDE_OBSERVABLE_GAUGE);
    struct sonde_observable first = register_one(keep_observer, NULL, instrument), more;
    for (uint32_t i = 1; i < SONDE_OBSERVABLES_MAX; i++)
        register_one(keep_observer, NULL, instrument);
    CHECK(sonde_observable_register(keep_observer, NULL, &instrument, 1, &more) == SONDE_EFULL && !more.index);
    sonde_observable_unregister(first);
    more = register_one(keep_observer, NULL, instrument);
    CHECK(more.index == first.index && more.generation != first.generation);
    sonde_observable_unregister(first); /* not the one in its place */
    CHECK(atomic_load(&sonde__process_get()->callbacks) == SONDE_OBSERVABLES_MAX);
    end();
}

/* ---- what goes on meanwhile, and ends ---- */

static void slow_callback_holds_up_nothing_else(void) {
    begin();
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    struct gate gate = {.instrument = make("gate", SONDE_OBSERVABLE_GAUGE), .value = 1, .open = 1};
    register_one(report_calls, &counted, counted.instrument);
    register_one(pass_gate, &gate, gate.instrument);
    pull();
    atomic_store(&gate.open, 0);
    atomic_store(&gate.inside, 0);
    gate.value = 2;
    fake_agent_pull(&agent, ++pull_number);
    CHECK_SOON(atomic_load(&gate.inside));
    CHECK(sonde_flush(10000) == 0); /* the link thread is free */
    CHECK(atomic_load(&agent.pulled) == pull_number - 1);
    CHECK(value_of(gate.instrument, NULL) == 1); /* the old value stands */
    CHECK(value_of(counted.instrument, NULL) == 2);
    fake_agent_pull(&agent, ++pull_number); /* asked again: a round of its own */
    CHECK(sonde_flush(10000) == 0);
    atomic_store(&gate.open, 1);
    CHECK_SOON(atomic_load(&agent.pulled) == pull_number);
    CHECK(value_of(gate.instrument, NULL) == 2 && value_of(counted.instrument, NULL) == 3);
    end();
}

static void forked_child_has_its_own_callbacks(void) {
#ifdef __SANITIZE_THREAD__
    _exit(0); /* it ends a child whose threads get the stacks that the parent's had */
#endif
    begin();
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    struct sonde_observable observable = register_one(report_calls, &counted, counted.instrument);
    pull();
    fake_agent_stop(&agent); /* it knows one service at a time */
    pid_t child = child_fork();
    if (child == 0) {
        fake_agent_start(&agent); /* at the same place */
        CHECK(sonde_flush(10000) == 0);
        teardown(NULL);
        CHECK(setup(NULL) == 0);
        CHECK(atomic_load(&sonde__process_get()->callbacks) == 1 && series_count(counted.instrument) == 0);
        pull();
        CHECK(value_of(counted.instrument, NULL) == 2); /* its copy of the number */
        CHECK(child_threads("sonde-callbacks") == 1);
        sonde_observable_unregister(observable);
        CHECK(sonde_shutdown(10000) == 0);
        end();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(value_of(counted.instrument, NULL) == 1 && atomic_load(&counted.calls) == 1);
    sonde_observable_unregister(observable);
    CHECK(series_count(counted.instrument) == 0);
    teardown(NULL);
    fake_agent_deinit(&agent);
}

static void fork_inside_a_round_leaves_the_child_free(void) {
    begin();
    struct gate gate = {.instrument = make("gate", SONDE_OBSERVABLE_GAUGE), .value = 1};
    struct sonde_observable observable = register_one(pass_gate, &gate, gate.instrument);
    fake_agent_pull(&agent, ++pull_number);
    CHECK_SOON(atomic_load(&gate.inside));
    pid_t child = child_fork();
    if (child == 0) {
        sonde_observable_unregister(observable); /* nobody runs it here */
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    atomic_store(&gate.open, 1);
    CHECK_SOON(atomic_load(&agent.pulled) == pull_number);
    end();
}

static void shutdown_asks_a_last_time(void) {
    begin();
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    register_one(report_calls, &counted, counted.instrument);
    sonde__puller_finish_ms = 10000;
    CHECK(sonde_shutdown(30000) == 0); /* the agent never pulled */
    CHECK(atomic_load(&counted.calls) == 1 && value_of(counted.instrument, NULL) == 1);
    CHECK_SOON(atomic_load(&agent.byes) == 1 && child_threads("sonde-callbacks") == 0);
    struct sonde_observable none;
    CHECK(sonde_observable_register(report_calls, &counted, &counted.instrument, 1, &none) == SONDE_EDISABLED);
    end();
}

static void shutdown_does_not_wait_for_a_stuck_callback(void) {
    begin();
    struct gate gate = {.instrument = make("gate", SONDE_OBSERVABLE_GAUGE), .value = 1};
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    register_one(pass_gate, &gate, gate.instrument);
    register_one(report_calls, &counted, counted.instrument);
    CHECK(sonde_shutdown(9000) == 0); /* the gate opens after 10 s; the flush had its time */
    CHECK(atomic_load(&gate.inside) && !atomic_load(&gate.ended));
    atomic_store(&gate.open, 1);
    CHECK_SOON(child_threads("sonde-callbacks") == 0);
    CHECK(atomic_load(&counted.calls) == 0); /* none begins after the end */
    end();
}

static _Atomic uint32_t is_gone;
static void look_at_it(struct sonde_observer *observer, void *user) {
    (void)observer, (void)user;
    if (atomic_load(&is_gone))
        _exit(3);
}
static void gone(void) {
    atomic_store(&is_gone, 1);
    for (int i = 0; i < 20; i++) { /* the agent asks on, in vain */
        fake_agent_pull(&agent, ++pull_number);
        CHECK_SOON(atomic_load(&agent.pulled) == pull_number);
    }
    _exit(0); /* leak checkers have nothing to say here */
}

static void no_callback_runs_once_exit_comes_to_what_was_there_before(void) {
    begin();
    CHECK(atexit(gone) == 0); /* as the destructor of a static object */
    register_one(look_at_it, NULL, make("look", SONDE_OBSERVABLE_GAUGE));
    pull();
    exit(1);
}

static void fresh_memory_has_the_callbacks_too(void) {
    begin();
    sonde__link_renew_ms = 10;
    struct counted counted = {.instrument = make("calls", SONDE_OBSERVABLE_COUNTER)};
    register_one(report_calls, &counted, counted.instrument);
    pull();
    struct sonde__process *before = sonde__process_get();
    atomic_store(&agent.evict_next, 1);
    (void)sonde_flush(10000);
    CHECK_SOON(sonde__process_get() != before && atomic_load(&agent.processes) == 2);
    CHECK(atomic_load(&sonde__process_get()->callbacks) == 1);
    teardown(NULL);
    CHECK(setup(NULL) == 0); /* another log */
    CHECK(series_count(counted.instrument) == 0);
    CHECK(sonde_flush(10000) == 0);
    pull();
    CHECK(value_of(counted.instrument, NULL) == 2);
    end();
}

CHILD_TEST(callback_runs_when_the_agent_pulls_and_on_no_thread_of_the_service)
CHILD_TEST(pull_without_callbacks_is_answered_at_once)
CHILD_TEST(one_callback_serves_several_instruments_of_all_kinds)
CHILD_TEST(what_is_no_observation_is_dropped_and_counted)
CHILD_TEST(totals_of_sets_that_a_view_makes_one_are_added_up)
CHILD_TEST(series_begin_with_their_instrument_or_with_the_pull_before)
CHILD_TEST(unregister_waits_for_a_running_callback)
CHILD_TEST(callback_may_unregister_itself)
CHILD_TEST(series_stay_while_another_callback_reports_them)
CHILD_TEST(registrations_have_a_limit)
CHILD_TEST(slow_callback_holds_up_nothing_else)
CHILD_TEST(forked_child_has_its_own_callbacks)
CHILD_TEST(fork_inside_a_round_leaves_the_child_free)
CHILD_TEST(shutdown_asks_a_last_time)
CHILD_TEST(shutdown_does_not_wait_for_a_stuck_callback)
CHILD_TEST(no_callback_runs_once_exit_comes_to_what_was_there_before)
CHILD_TEST(fresh_memory_has_the_callbacks_too)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callback_runs_when_the_agent_pulls_and_on_no_thread_of_the_service_test),
        cmocka_unit_test(pull_without_callbacks_is_answered_at_once_test),
        cmocka_unit_test(one_callback_serves_several_instruments_of_all_kinds_test),
        cmocka_unit_test(what_is_no_observation_is_dropped_and_counted_test),
        cmocka_unit_test(totals_of_sets_that_a_view_makes_one_are_added_up_test),
        cmocka_unit_test(series_begin_with_their_instrument_or_with_the_pull_before_test),
        cmocka_unit_test(unregister_waits_for_a_running_callback_test),
        cmocka_unit_test(callback_may_unregister_itself_test),
        cmocka_unit_test(series_stay_while_another_callback_reports_them_test),
        cmocka_unit_test(registrations_have_a_limit_test),
        cmocka_unit_test(slow_callback_holds_up_nothing_else_test),
        cmocka_unit_test(forked_child_has_its_own_callbacks_test),
        cmocka_unit_test(fork_inside_a_round_leaves_the_child_free_test),
        cmocka_unit_test(shutdown_asks_a_last_time_test),
        cmocka_unit_test(shutdown_does_not_wait_for_a_stuck_callback_test),
        cmocka_unit_test(no_callback_runs_once_exit_comes_to_what_was_there_before_test),
        cmocka_unit_test(fresh_memory_has_the_callbacks_too_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
