/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cells of circuit breakers lie: in memory that the agent reads, moved when that is made anew, a forked child's
 * own from its first call on, private where there is none. Each test runs in a process of its own. */
#include "instrumentation/resilience/breaker.h"
#include "instrumentation/ring/process.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR UINT64_C(3600000000000)
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* exit() runs the library's destructor; a sanitizer's leak check has no place in a forked child. */
static void finish(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}
static void alone(void (*body)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static struct sonde_breaker make(const char *name) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_breaker breaker;
    options.name = name;
    options.window_calls = options.minimum_calls = 4;
    options.wait_ns = HOUR;
    CHECK(sonde_breaker_create(&options, &breaker) == 0);
    return breaker;
}
static void fails(struct sonde_breaker breaker, int times) {
    struct sonde_breaker_permit permit;
    while (times--)
        if (sonde_breaker_admit(breaker, &permit) != SONDE_REJECTED)
            sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_FAILURE, 1);
}
static struct sonde__breaker_cell *shared_cell(uint32_t index) {
    uint8_t *base = sonde__registry.process.base;
    CHECK(base);
    return (void *)(base + SONDE__BREAKERS_AT + (index - 1u) * (size_t)SONDE__BREAKER_CELL_SIZE);
}
static enum sonde_breaker_state shared_state(uint32_t index) {
    return SONDE__BREAKER_STATE(atomic_load(&shared_cell(index)->state));
}

static void lie_shared(void) {
    struct sonde_breaker a = make("a"), b = make("b");
    CHECK(atomic_load(&sonde__process_get()->breakers) == 2);
    CHECK(strcmp(shared_cell(2)->name, "b") == 0 && shared_state(1) == SONDE_BREAKER_CLOSED);
    fails(a, 4);
    CHECK(shared_state(1) == SONDE_BREAKER_OPEN && sonde_breaker_state_get(b) == SONDE_BREAKER_CLOSED);
    CHECK(sonde__breaker_cell(a) == shared_cell(1));
}
static void cells_lie_in_the_process_memory(void **state) {
    (void)state;
    alone(lie_shared);
}

/* What the child finds, and that neither touches the other's. */
static void child_of(struct sonde_breaker opened, struct sonde_breaker counting, int told) {
    char byte;
    const struct sonde__breaker_cell *parents = shared_cell(1);
    CHECK(read(told, &byte, 1) == 1); /* the parent has changed its own */
    CHECK(sonde_breaker_state_get(opened) == SONDE_BREAKER_OPEN);
    CHECK(sonde__breaker_cell(opened) != parents);
    fails(counting, 1); /* the fourth; the library begins anew here */
    CHECK(sonde_breaker_state_get(counting) == SONDE_BREAKER_OPEN);
    CHECK(sonde_breaker_state_set(opened, SONDE_BREAKER_FORCED_OPEN, 0) == 0);
    CHECK(shared_state(1) == SONDE_BREAKER_FORCED_OPEN && shared_state(2) == SONDE_BREAKER_OPEN);
    CHECK(atomic_load(&sonde__process_get()->breakers) == 2);
    struct sonde_breaker third = make("third");
    CHECK(third.index == 3 && shared_state(3) == SONDE_BREAKER_CLOSED);
    pid_t grandchild = fork();
    if (grandchild == 0) {
        CHECK(sonde_breaker_state_get(opened) == SONDE_BREAKER_FORCED_OPEN);
        fails(third, 4);
        CHECK(sonde_breaker_state_get(third) == SONDE_BREAKER_OPEN);
        _exit(0);
    }
    finish(grandchild);
    CHECK(sonde_breaker_state_get(third) == SONDE_BREAKER_CLOSED);
}
static void fork_and_go_on(void) {
    int pipes[2];
    struct sonde_breaker opened = make("opened"), counting = make("counting");
    fails(opened, 4);
    fails(counting, 3);
    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    if (child == 0) {
        child_of(opened, counting, pipes[0]);
        _exit(0);
    }
    CHECK(sonde_breaker_state_set(opened, SONDE_BREAKER_CLOSED, 0) == 0);
    CHECK(write(pipes[1], "", 1) == 1);
    finish(child);
    CHECK(sonde_breaker_state_get(opened) == SONDE_BREAKER_CLOSED && shared_state(1) == SONDE_BREAKER_CLOSED);
    CHECK(sonde_breaker_state_get(counting) == SONDE_BREAKER_CLOSED);
    fails(counting, 1);
    CHECK(sonde_breaker_state_get(counting) == SONDE_BREAKER_OPEN);
}
static void a_forked_child_goes_on_with_the_states_at_its_fork(void **state) {
    (void)state;
    alone(fork_and_go_on);
}

static void unused_until_grandchild(void) {
    struct sonde_breaker breaker = make("breaker");
    fails(breaker, 4);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork(); /* the child itself never used a breaker */
        if (grandchild == 0) {
            CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_OPEN);
            _exit(0);
        }
        finish(grandchild);
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("the library begins before the breaker is asked"), NULL);
        sonde_span_end(&span);
        CHECK(shared_state(1) == SONDE_BREAKER_OPEN && sonde__breaker_cell(breaker) == shared_cell(1));
        _exit(0);
    }
    finish(child);
}
static void a_grandchild_does_too(void **state) {
    (void)state;
    alone(unused_until_grandchild);
}

static void fork_behind(void) {
    struct sonde_breaker breaker = make("breaker");
    fails(breaker, 4);
    const struct sonde__breaker_cell *parents = sonde__breaker_cell(breaker);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        enum sonde_breaker_state found = sonde_breaker_state_get(breaker);
        bool is_own = sonde__breaker_cell(breaker) != parents;
        _exit(found == SONDE_BREAKER_OPEN && is_own ? 0 : 1);
    }
    finish(child);
}
static void a_child_that_was_forked_without_handlers_copies_its_parents(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__ /* it does not know of such a child, where the library cannot start its thread then */
    skip();
#endif
    alone(fork_behind);
}

static void renew(void) {
    struct sonde_breaker breaker = make("breaker");
    fails(breaker, 3);
    const struct sonde__breaker_cell *before = sonde__breaker_cell(breaker);
    CHECK(sonde__process_renew());
    CHECK(sonde__breaker_cell(breaker) == shared_cell(1) && shared_cell(1) != before);
    CHECK(strcmp(before->name, "breaker") == 0); /* the old place stays, for who is just there */
    CHECK(atomic_load(&sonde__process_get()->breakers) == 1);
    fails(breaker, 1);
    CHECK(shared_state(1) == SONDE_BREAKER_OPEN);
}
static void fresh_memory_gets_the_cells(void **state) {
    (void)state;
    alone(renew);
}

static _Atomic bool over;
static void *hammer(void *at) {
    struct sonde_breaker breaker = *(struct sonde_breaker *)at;
    struct sonde_breaker_permit permit;
    while (!over)
        if (sonde_breaker_admit(breaker, &permit) != SONDE_REJECTED)
            sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_SUCCESS, 1);
    return NULL;
}
static void renew_under_load(void) {
    pthread_t threads[3];
    struct sonde_breaker breaker = make("breaker");
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, &breaker) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(sonde__process_renew());
    over = true;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_CLOSED);
    fails(breaker, 4);
    CHECK(shared_state(1) == SONDE_BREAKER_OPEN);
}
static void calls_go_on_while_cells_move(void **state) {
    (void)state;
    alone(renew_under_load);
}

static void trips_in_private_memory(void) {
    struct sonde_breaker breaker = make("breaker");
    CHECK(!sonde__registry.process.base);
    fails(breaker, 4);
    CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_OPEN);
    pid_t child = fork();
    if (child == 0) {
        CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_OPEN);
        CHECK(sonde_breaker_state_set(breaker, SONDE_BREAKER_CLOSED, 0) == 0);
        _exit(0);
    }
    finish(child);
    CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_OPEN);
}
static void disabled(void) {
    setenv("OTEL_SDK_DISABLED", "true", 1);
    trips_in_private_memory();
}
static void refused(void) {
    struct rlimit limit = {4096, 4096};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    trips_in_private_memory();
}
static void breakers_work_without_shared_memory(void **state) {
    (void)state;
    alone(disabled);
    alone(refused);
}

static void shut_down(void) {
    struct sonde_breaker breaker = make("breaker");
    (void)sonde_shutdown(0);
    fails(breaker, 4);
    CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_OPEN);
    pid_t child = fork();
    if (child == 0) {
        CHECK(sonde_breaker_state_set(breaker, SONDE_BREAKER_CLOSED, 0) == 0);
        _exit(0);
    }
    finish(child);
    CHECK(sonde_breaker_state_get(breaker) == SONDE_BREAKER_OPEN);
}
static void breakers_outlive_the_library(void **state) {
    (void)state;
    alone(shut_down);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_lie_in_the_process_memory),
        cmocka_unit_test(a_forked_child_goes_on_with_the_states_at_its_fork),
        cmocka_unit_test(a_grandchild_does_too),
        cmocka_unit_test(a_child_that_was_forked_without_handlers_copies_its_parents),
        cmocka_unit_test(fresh_memory_gets_the_cells),
        cmocka_unit_test(calls_go_on_while_cells_move),
        cmocka_unit_test(breakers_work_without_shared_memory),
        cmocka_unit_test(breakers_outlive_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
