/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a client that blocks, on a real loop: one job at a time, done from the loop, cancelled, destroyed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/collect/worker.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

struct client {
    sem_t entered, may_go;
    pthread_t loop_thread;
    unsigned jobs, done; /* jobs: the thread's until done */
    bool saw_cancel, waits, on_loop, signals_blocked;
    char name[16];
};

static struct sonde_loop *loop;
static struct sonde__worker *worker;
static struct client client;
static unsigned wanted;

static void job(void *user, const struct sonde__worker *self) {
    struct client *c = user;
    sigset_t mask;
    c->jobs++;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    c->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    (void)pthread_getname_np(pthread_self(), c->name, sizeof c->name);
    (void)sem_post(&c->entered);
    if (c->waits)
        while (sem_wait(&c->may_go) != 0)
            continue;
    c->saw_cancel = sonde__worker_is_cancelled(self);
}
static void done(void *user) {
    struct client *c = user;
    c->on_loop = pthread_equal(pthread_self(), c->loop_thread);
    assert_false(sonde__worker_is_busy(worker));
    if (++c->done == wanted)
        sonde_loop_stop(loop);
    else
        assert_int_equal(sonde__worker_run(worker), 0);
}

static int setup(void **state) {
    (void)state;
    memset(&client, 0, sizeof client);
    client.loop_thread = pthread_self();
    assert_int_equal(sem_init(&client.entered, 0, 0), 0);
    assert_int_equal(sem_init(&client.may_go, 0, 0), 0);
    assert_int_equal(sonde_loop_create(&loop), 0);
    struct sonde__worker_config config = {.loop = loop,
                                          .alloc = &sonde_loop_seams(loop)->alloc,
                                          .name = "collect-test",
                                          .job = job,
                                          .done = done,
                                          .user = &client};
    assert_int_equal(sonde__worker_create(&config, &worker), 0);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    sonde__worker_destroy(worker);
    worker = NULL;
    sonde_loop_destroy(loop);
    (void)sem_destroy(&client.entered);
    (void)sem_destroy(&client.may_go);
    return 0;
}

static void entered(void) {
    while (sem_wait(&client.entered) != 0)
        continue;
}

static void job_runs_on_a_thread_and_done_on_the_loop(void **state) {
    (void)state;
    wanted = 100; /* each starts the next from inside done */
    assert_int_equal(sonde__worker_run(worker), 0);
    (void)sonde_loop_run(loop);
    assert_int_equal(client.jobs, 100);
    assert_int_equal(client.done, 100);
    assert_true(client.on_loop);
    assert_true(client.signals_blocked);
    assert_string_equal(client.name, "collect-test");
    assert_false(client.saw_cancel);
}

static void second_job_is_refused_while_one_runs(void **state) {
    (void)state;
    wanted = 1;
    client.waits = true;
    assert_int_equal(sonde__worker_run(worker), 0);
    entered();
    assert_true(sonde__worker_is_busy(worker));
    assert_int_equal(sonde__worker_run(worker), -EBUSY);
    (void)sem_post(&client.may_go);
    (void)sonde_loop_run(loop);
    assert_int_equal(client.jobs, 1);
    assert_false(sonde__worker_is_busy(worker));
}

static void cancelled_job_sees_it_and_is_done_and_the_next_is_fresh(void **state) {
    (void)state;
    wanted = 1;
    client.waits = true;
    assert_int_equal(sonde__worker_run(worker), 0);
    entered();
    sonde__worker_cancel(worker);
    (void)sem_post(&client.may_go);
    (void)sonde_loop_run(loop);
    assert_int_equal(client.done, 1);
    assert_true(client.saw_cancel);
    client.waits = false;
    wanted = 2;
    assert_int_equal(sonde__worker_run(worker), 0);
    (void)sonde_loop_run(loop);
    assert_false(client.saw_cancel);
}

static void destroy_waits_for_the_job_and_done_is_not_called(void **state) {
    (void)state;
    assert_int_equal(sonde__worker_run(worker), 0);
    entered();
    sonde__worker_destroy(worker);
    worker = NULL;
    assert_int_equal(client.jobs, 1);
    assert_int_equal(client.done, 0);
    sonde__worker_destroy(NULL);
}

static void destroy_without_a_job_ends_the_thread(void **state) {
    (void)state; /* teardown does it */
    assert_false(sonde__worker_is_busy(worker));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(job_runs_on_a_thread_and_done_on_the_loop),
        CASE(second_job_is_refused_while_one_runs),
        CASE(cancelled_job_sees_it_and_is_done_and_the_next_is_fresh),
        CASE(destroy_waits_for_the_job_and_done_is_not_called),
        CASE(destroy_without_a_job_ends_the_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
