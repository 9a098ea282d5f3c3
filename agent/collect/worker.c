/* SPDX-License-Identifier: Apache-2.0 */
/* Two eventfds: one wakes the thread, one the loop. Their write and read order what the job wrote before what the loop
 * reads. */
#include "agent/collect/worker.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct sonde__worker {
    struct sonde__worker_config config;
    pthread_t thread;
    struct sonde_watch *watch;
    int wake_fd, done_fd;
    bool busy; /* the loop's */
    atomic_bool cancelled, stopping;
};

static void signal_fd(int fd) {
    /* A counter of 64 bits does not run full of ones. */
    while (eventfd_write(fd, 1) != 0 && errno == EINTR)
        continue;
}
static void wait_fd(int fd) {
    eventfd_t value;
    while (eventfd_read(fd, &value) != 0 && errno == EINTR)
        continue;
}

static void *run(void *argument) {
    struct sonde__worker *worker = argument;
    for (;;) {
        wait_fd(worker->wake_fd);
        if (atomic_load(&worker->stopping))
            return NULL;
        worker->config.job(worker->config.user, worker);
        signal_fd(worker->done_fd);
    }
}

static void on_done(void *user, int events) {
    (void)events;
    struct sonde__worker *worker = user;
    wait_fd(worker->done_fd);
    worker->busy = false;
    worker->config.done(worker->config.user);
}

int sonde__worker_run(struct sonde__worker *worker) {
    if (worker->busy)
        return -EBUSY;
    worker->busy = true;
    atomic_store(&worker->cancelled, false);
    signal_fd(worker->wake_fd);
    return 0;
}
bool sonde__worker_is_busy(const struct sonde__worker *worker) {
    return worker->busy;
}
void sonde__worker_cancel(struct sonde__worker *worker) {
    atomic_store(&worker->cancelled, true);
}
bool sonde__worker_is_cancelled(const struct sonde__worker *worker) {
    return atomic_load(&worker->cancelled);
}

static void fds_close(struct sonde__worker *worker) {
    sonde_watch_destroy(worker->watch);
    if (worker->wake_fd >= 0)
        (void)close(worker->wake_fd);
    if (worker->done_fd >= 0)
        (void)close(worker->done_fd);
    sonde_alloc_free(worker->config.alloc, worker);
}

static int thread_start(struct sonde__worker *worker) {
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&worker->thread, NULL, run, worker);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!error)
        (void)pthread_setname_np(worker->thread, worker->config.name);
    return -error;
}

int sonde__worker_create(const struct sonde__worker_config *config, struct sonde__worker **ret_worker) {
    struct sonde__worker *worker = sonde_alloc_new(config->alloc, sizeof *worker);
    if (!worker)
        return -ENOMEM;
    *worker = (struct sonde__worker){
        .config = *config, .wake_fd = eventfd(0, EFD_CLOEXEC), .done_fd = eventfd(0, EFD_CLOEXEC)};
    int error = worker->wake_fd < 0 || worker->done_fd < 0 ? -errno : 0;
    if (!error)
        error = sonde_watch_create(config->loop, worker->done_fd, SONDE_WATCH_READ, on_done, worker, &worker->watch);
    if (!error)
        error = thread_start(worker);
    if (error) {
        fds_close(worker);
        return error;
    }
    *ret_worker = worker;
    return 0;
}

void sonde__worker_destroy(struct sonde__worker *worker) {
    if (!worker)
        return;
    sonde__worker_cancel(worker);
    atomic_store(&worker->stopping, true);
    signal_fd(worker->wake_fd);
    (void)pthread_join(worker->thread, NULL);
    fds_close(worker);
}
