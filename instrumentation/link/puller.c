/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/link/puller.h"

#include "instrumentation/context/monotonic.h"
#include "instrumentation/link/link.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/process.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sonde/err.h>

static struct {
    struct sonde__lock lock; /* of making the thread */
    _Atomic bool running;    /* there is a thread */
    _Atomic bool busy;       /* it is in a round, or about to look whether it may begin one */
    _Atomic bool stop;
    _Atomic uint32_t asked; /* number of the last round that was asked for; futex word of the thread */
    _Atomic uint32_t done;  /* of the last that is over */
    _Atomic uint32_t news;  /* futex word of those who wait for the thread */
    void (*_Atomic round)(void);
} puller;

static __thread bool is_puller;

uint32_t sonde__puller_finish_ms = 250;

static void news_tell(void) {
    atomic_fetch_add(&puller.news, 1);
    sonde__futex_wake(&puller.news, INT_MAX);
    sonde__link_wake();
}

static void *puller_main(void *unused) {
    (void)unused;
    is_puller = true;
    for (;;) {
        const uint32_t asked = atomic_load(&puller.asked);
        /* Busy before the look at stop, as a stop is set before the look at busy. */
        atomic_store(&puller.busy, true);
        if (atomic_load(&puller.stop))
            break;
        if (asked != atomic_load(&puller.done)) {
            atomic_load (&puller.round)();
            atomic_store(&puller.done, asked);
        }
        atomic_store(&puller.busy, false);
        news_tell();
        sonde__futex_wait(&puller.asked, asked, UINT32_MAX);
    }
    atomic_store(&puller.running, false);
    atomic_store(&puller.busy, false);
    news_tell();
    return NULL;
}

/* The system's stack size: what runs on the service's own threads runs here. */
static int thread_create(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes))
        return ENOMEM;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it: signals are the service's */
    int error = pthread_create(&thread, &attributes, puller_main, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        (void)pthread_setname_np(thread, "sonde-callbacks");
    (void)pthread_attr_destroy(&attributes);
    return error;
}

static void thread_need(void) {
    if (atomic_load(&puller.running) || atomic_load(&puller.stop) || !sonde__process_callbacks())
        return;
    int error = 0;
    sonde__lock_take(&puller.lock);
    if (!atomic_load(&puller.running)) {
        atomic_store(&puller.running, true);
        error = thread_create();
        if (error)
            atomic_store(&puller.running, false);
    }
    sonde__lock_release(&puller.lock);
    if (error)
        sonde__report("no thread for callbacks (%s): observable instruments stay as they are", sonde_strerror(-error));
}

void sonde__puller_round_set(void (*round)(void)) {
    atomic_store(&puller.round, round);
}

uint32_t sonde__puller_ask(void) {
    const uint32_t number = atomic_fetch_add(&puller.asked, 1) + 1u;
    thread_need();
    sonde__futex_wake(&puller.asked, 1);
    return number;
}

bool sonde__puller_is_done(uint32_t number) {
    /* By difference: numbers wrap. */
    return (int32_t)(atomic_load(&puller.done) - number) >= 0 || !atomic_load(&puller.running);
}

bool sonde__puller_is_self(void) {
    return is_puller;
}

bool sonde__puller_is_stopped(void) {
    return atomic_load(&puller.stop);
}

void sonde__puller_stop(uint32_t timeout_ms) {
    const uint64_t deadline = sonde__monotonic_ms() + timeout_ms;
    atomic_store(&puller.stop, true);
    atomic_fetch_add(&puller.asked, 1); /* so that it does not fall asleep on the old number */
    sonde__futex_wake(&puller.asked, 1);
    for (;;) {
        uint32_t news = atomic_load(&puller.news);
        uint64_t now = sonde__monotonic_ms();
        if (is_puller || !atomic_load(&puller.running) || !atomic_load(&puller.busy) || now >= deadline)
            return;
        sonde__futex_wait(&puller.news, news, (uint32_t)(deadline - now));
    }
}

void sonde__puller_finish(uint32_t timeout_ms) {
    const uint64_t deadline =
        sonde__monotonic_ms() + (timeout_ms < sonde__puller_finish_ms ? timeout_ms : sonde__puller_finish_ms);
    const bool wanted = sonde__process_callbacks() && !is_puller && !atomic_load(&puller.stop);
    const uint32_t number = wanted ? sonde__puller_ask() : 0;
    while (wanted) {
        uint32_t news = atomic_load(&puller.news);
        uint64_t now = sonde__monotonic_ms();
        if (sonde__puller_is_done(number) || now >= deadline)
            break;
        sonde__futex_wait(&puller.news, news, (uint32_t)(deadline - now));
    }
    uint64_t now = sonde__monotonic_ms();
    sonde__puller_stop(now < deadline ? (uint32_t)(deadline - now) : 0);
}

void sonde__puller_forget(void) {
    is_puller = false; /* fork() inside a callback: the child's only thread is an ordinary one */
    atomic_store(&puller.running, false);
    atomic_store(&puller.busy, false);
    atomic_store(&puller.done, atomic_load(&puller.asked));
}
