/* SPDX-License-Identifier: Apache-2.0 */
/* sonde_flush() and sonde_shutdown() as sonde/options.h promises them. The agent is a process of its own here, so that
 * it can be stopped. Every case has the deadline of child_run(): one that blocks beyond its own fails. */
#include "tests/unit/instrumentation/fake_agent.h"
#include <setjmp.h>
#include <signal.h>
#include <sonde/err.h>
#include <sonde/sonde.h>
#include <stdarg.h>

#include <cmocka.h>

#define LONG_MS 20000u /* longer than any agent here needs */

static struct fake_agent *agent; /* shared with its process */
static pid_t agent_pid;

static void agent_make(void) {
    agent = mmap(NULL, sizeof *agent, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(agent != MAP_FAILED);
    fake_agent_init(agent);
}
static void agent_begin(void) {
    if (!agent)
        agent_make();
    agent_pid = child_fork();
    CHECK(agent_pid >= 0);
    if (agent_pid == 0) {
        fake_agent_start(agent);
        for (;;)
            pause();
    }
    struct stat st;
    CHECK_SOON(stat(agent->path, &st) == 0);
}
static void agent_end(void) {
    int status;
    if (agent_pid)
        CHECK(kill(agent_pid, SIGKILL) == 0 && waitpid(agent_pid, &status, 0) == agent_pid);
    agent_pid = 0;
    fake_agent_deinit(agent);
}

/* Stopped, when this returns: the signal alone lets a thread go on for a moment. */
static void agent_stop(void) {
    int status;
    CHECK(kill(agent_pid, SIGSTOP) == 0 && waitpid(agent_pid, &status, WUNTRACED) == agent_pid && WIFSTOPPED(status));
}

static void record(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_end(&span);
}
static uint64_t now_ms(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void flush_and_shutdown_without_an_agent_do_not_wait_for_one(void) {
    agent_make();
    record();
    CHECK(sonde_flush(UINT32_MAX) == SONDE_ENOAGENT); /* at once, not in 49 days */
    CHECK(sonde_shutdown(UINT32_MAX) == SONDE_ENOAGENT);
    agent_end();
}

static void flush_times_out_on_a_stopped_agent_and_works_when_it_goes_on(void) {
    agent_begin();
    record();
    CHECK(sonde_flush(LONG_MS) == 0);
    agent_stop();
    record();
    uint64_t begun = now_ms();
    CHECK(sonde_flush(100) == -ETIMEDOUT);
    CHECK(now_ms() - begun >= 100);
    CHECK(sonde_flush(0) == -ETIMEDOUT);
    CHECK(kill(agent_pid, SIGCONT) == 0);
    CHECK(sonde_flush(LONG_MS) == 0);
    agent_end();
}

static void shutdown_times_out_on_a_stopped_agent_and_is_done_all_the_same(void) {
    agent_begin();
    record();
    CHECK(sonde_flush(LONG_MS) == 0);
    agent_stop();
    CHECK(sonde_shutdown(100) == -ETIMEDOUT);
    CHECK(sonde_shutdown(LONG_MS) == SONDE_EDISABLED && sonde_flush(LONG_MS) == SONDE_EDISABLED);
    CHECK(kill(agent_pid, SIGCONT) == 0);
    agent_end();
}

/* A socket that nobody serves: connect() works, or says that it is full, but nothing ever answers. */
static void flush_and_shutdown_time_out_on_a_half_open_socket(void) {
    agent_make();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", agent->path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 0) == 0);
    record();
    CHECK(sonde_flush(100) == -ETIMEDOUT);
    CHECK(sonde_shutdown(100) == -ETIMEDOUT);
    close(listener);
    agent_end();
}
static void flush_of_a_full_backlog_is_no_agent(void) {
    agent_make();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", agent->path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 0) == 0);
    int fd, connected;
    do { /* until it is full */
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connected = connect(fd, (struct sockaddr *)&address, sizeof address);
    } while (connected == 0);
    CHECK(errno == EAGAIN);
    record();
    CHECK(sonde_flush(UINT32_MAX) == SONDE_ENOAGENT);
    agent_end();
}

static void flush_ends_when_the_agent_dies_meanwhile(void) {
    agent_begin();
    record();
    CHECK(sonde_flush(LONG_MS) == 0);
    agent_stop();
    pid_t killer = child_fork();
    if (killer == 0) /* while the flush is under way, or before: the answer is the same */
        _exit(kill(agent_pid, SIGKILL) ? 1 : 0);
    CHECK(sonde_flush(UINT32_MAX) == SONDE_ENOAGENT);
    int status;
    CHECK(waitpid(killer, &status, 0) == killer && status == 0);
    agent_end();
}

static void *flusher(void *timeout_ms) {
    record();
    return (void *)(intptr_t)sonde_flush(*(uint32_t *)timeout_ms);
}
static void flush_all(uint32_t timeout_ms, int wanted) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, flusher, &timeout_ms) == 0);
    for (int i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && (int)(intptr_t)result == wanted);
    }
}
static void flush_serves_many_callers_at_once(void) {
    agent_begin();
    record();
    CHECK(sonde_flush(LONG_MS) == 0);
    flush_all(LONG_MS, 0);
    agent_stop();
    flush_all(100, -ETIMEDOUT);
    CHECK(kill(agent_pid, SIGCONT) == 0);
    flush_all(LONG_MS, 0);
    agent_end();
}

static void *shutter(void *unused) {
    (void)unused;
    return (void *)(intptr_t)sonde_shutdown(LONG_MS);
}
static void shutdown_of_many_callers_happens_once(void) {
    pthread_t threads[8];
    int good = 0;
    agent_begin();
    record();
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, shutter, NULL) == 0);
    for (int i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0);
        int code = (int)(intptr_t)result;
        CHECK(code == 0 || code == SONDE_EDISABLED || code == SONDE_ENOAGENT); /* one that came as the link ended */
        good += code == 0;
    }
    CHECK(good >= 1);
    CHECK_SOON(atomic_load(&agent->byes) == 1);
    agent_end();
}

static void calls_after_shutdown_are_no_ops(void) {
    agent_begin();
    record();
    struct sonde_instrument_options wanted = {.size = sizeof wanted, .kind = SONDE_COUNTER, .name = "c"};
    struct sonde_instrument before, after;
    CHECK(sonde_instrument_create(&wanted, &before) == 0);
    struct sonde_series series = sonde_series_bind(before, NULL, 0);
    CHECK(sonde_shutdown(LONG_MS) == 0);
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("late"), NULL);
    CHECK(!sonde_span_is_recording(&span) && !sonde_span_context_is_valid(&span.context));
    sonde_span_set_cstr(&span, SONDE_KEY("k"), "v");
    sonde_span_end(&span);
    sonde_log(SONDE_SEVERITY_ERROR, "late", 4, NULL, 0);
    sonde_counter_add(series, 1);
    CHECK(sonde_instrument_create(&wanted, &after) == SONDE_EDISABLED && after.index == 0);
    CHECK(sonde_flush(LONG_MS) == SONDE_EDISABLED && sonde_shutdown(LONG_MS) == SONDE_EDISABLED);
    CHECK(sonde_start(NULL) == -EALREADY);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    CHECK(stats.dropped[SONDE_SIGNAL_TRACES][SONDE_DROP_NO_MEMORY] == 0);
    agent_end();
}

static void shutdown_of_a_forked_child_is_its_own(void) {
    agent_make();
    record();
    pid_t child = child_fork();
    if (child == 0) {
        CHECK(sonde_flush(LONG_MS) == SONDE_ENOAGENT);
        record();
        CHECK(sonde_shutdown(LONG_MS) == SONDE_ENOAGENT);
        CHECK(sonde_flush(LONG_MS) == SONDE_EDISABLED);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    agent_begin();
    record();
    CHECK(sonde_flush(LONG_MS) == 0 && sonde_shutdown(LONG_MS) == 0);
    agent_end();
}

static void shut_down_at_exit(void) {
    record();
    CHECK(sonde_shutdown(LONG_MS) == 0);
}
static void shutdown_works_in_an_atexit_handler(void) {
    agent_begin();
    pid_t child = child_fork();
    if (child == 0) {
        CHECK(atexit(shut_down_at_exit) == 0);
        record();
        exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_SOON(atomic_load(&agent->byes) == 1);
    CHECK(atomic_load(&agent->flushes) >= 1);
    agent_end();
}

static void flush_and_shutdown_of_a_disabled_library_say_so(void) {
    setenv("OTEL_SDK_DISABLED", "true", 1);
    record();
    CHECK(sonde_flush(LONG_MS) == SONDE_EDISABLED && sonde_shutdown(LONG_MS) == SONDE_EDISABLED);
}

CHILD_TEST(flush_and_shutdown_without_an_agent_do_not_wait_for_one)
CHILD_TEST(flush_times_out_on_a_stopped_agent_and_works_when_it_goes_on)
CHILD_TEST(shutdown_times_out_on_a_stopped_agent_and_is_done_all_the_same)
CHILD_TEST(flush_and_shutdown_time_out_on_a_half_open_socket)
CHILD_TEST(flush_of_a_full_backlog_is_no_agent)
CHILD_TEST(flush_ends_when_the_agent_dies_meanwhile)
CHILD_TEST(flush_serves_many_callers_at_once)
CHILD_TEST(shutdown_of_many_callers_happens_once)
CHILD_TEST(calls_after_shutdown_are_no_ops)
CHILD_TEST(shutdown_of_a_forked_child_is_its_own)
CHILD_TEST(shutdown_works_in_an_atexit_handler)
CHILD_TEST(flush_and_shutdown_of_a_disabled_library_say_so)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flush_and_shutdown_without_an_agent_do_not_wait_for_one_test),
        cmocka_unit_test(flush_times_out_on_a_stopped_agent_and_works_when_it_goes_on_test),
        cmocka_unit_test(shutdown_times_out_on_a_stopped_agent_and_is_done_all_the_same_test),
        cmocka_unit_test(flush_and_shutdown_time_out_on_a_half_open_socket_test),
        cmocka_unit_test(flush_of_a_full_backlog_is_no_agent_test),
        cmocka_unit_test(flush_ends_when_the_agent_dies_meanwhile_test),
        cmocka_unit_test(flush_serves_many_callers_at_once_test),
        cmocka_unit_test(shutdown_of_many_callers_happens_once_test),
        cmocka_unit_test(calls_after_shutdown_are_no_ops_test),
        cmocka_unit_test(shutdown_of_a_forked_child_is_its_own_test),
        cmocka_unit_test(shutdown_works_in_an_atexit_handler_test),
        cmocka_unit_test(flush_and_shutdown_of_a_disabled_library_say_so_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
