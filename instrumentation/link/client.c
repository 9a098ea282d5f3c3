/* SPDX-License-Identifier: Apache-2.0 */
/* The link thread: connect (at once, after 1 s, then ever later up to 30 s), hand over, sleep; start over with fresh
 * memory when the agent evicted us or our descriptors were closed, once a minute at most.
 * Everything it waits for comes as the end of one poll(): the socket, or the wake eventfd. */
#include "instrumentation/link/link.h"

#include "instrumentation/context/monotonic.h"
#include "instrumentation/link/doorbell.h"
#include "instrumentation/link/puller.h"
#include "instrumentation/link/session.h"
#include "instrumentation/resource/process_context.h"
#include "instrumentation/resource/resource.h"
#include "instrumentation/ring/process.h"
#include "instrumentation/ring/steering.h"
#include "instrumentation/wire/skim.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sonde/err.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_SIZE         (64u << 10)
#define WELCOME_TIMEOUT_MS 5000u
#define BACKOFF_FIRST_MS   1000u
#define BACKOFF_LAST_MS    30000u
#define STEADY_MS          10000u /* a connection that lived as long is no part of a crash loop */
#define LOOK_MS            30000u /* longest sleep: then we look whether the wake descriptor is still ours */
#define NEVER              UINT64_MAX

uint32_t sonde__link_renew_ms = 60000;

static struct {
    struct sonde__lock wake_lock;
    struct sonde__fd wake;
    struct sonde__places places;
    _Atomic bool running, stop, connected, away; /* away: not trying, evicted */
    _Atomic uint64_t connects;
    _Atomic uint64_t flush_wanted, flushed;
    _Atomic uint64_t failures;     /* attempts that failed and connections that ended */
    _Atomic uint32_t handed;       /* memories that the agent has answered for */
    _Atomic uint32_t news;         /* futex word: changes with each of the above */
    struct sonde__session session; /* the link thread's own, from here on */
    uint32_t resource_size;
    uint8_t resource[SONDE_RESOURCE_SIZE_MAX];
} link_state = {.wake = {.fd = -1, .event_id = -1}, .session.socket = {.fd = -1, .event_id = -1}};

static void news_tell(void) {
    atomic_fetch_add(&link_state.news, 1);
    sonde__futex_wake(&link_state.news, INT_MAX);
}

static void thread_wake(void) {
    const uint64_t one = 1;
    sonde__lock_take(&link_state.wake_lock);
    if (sonde__fd_is_ours(&link_state.wake))
        (void)!write(link_state.wake.fd, &one, sizeof one); /* full means it is awake anyway */
    sonde__lock_release(&link_state.wake_lock);
}

/* The wake descriptor to poll, made anew if somebody closed it; -1 when refused (then only time wakes us). */
static int wake_fd(void) {
    sonde__lock_take(&link_state.wake_lock);
    if (!sonde__fd_is_ours(&link_state.wake))
        link_state.wake = sonde__fd_take(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    int fd = link_state.wake.fd;
    sonde__lock_release(&link_state.wake_lock);
    return fd;
}

/* Sleeps until woken, until the socket has something, or until a time. True when the socket has. */
static bool link_sleep(uint64_t until_ms) {
    uint64_t now = sonde__monotonic_ms();
    uint64_t wait = until_ms <= now ? 0 : until_ms - now;
    struct pollfd fds[2] = {{.fd = wake_fd(), .events = POLLIN},
                            {.fd = link_state.session.socket.fd, .events = POLLIN}};
    if (poll(fds, 2, (int)(wait > LOOK_MS ? LOOK_MS : wait)) <= 0)
        return false;
    uint64_t count;
    if (fds[0].revents & POLLIN && sonde__fd_is_ours(&link_state.wake))
        (void)!read(fds[0].fd, &count, sizeof count);
    return fds[1].revents != 0;
}

/* From HELLO to the end of one connection. */
static int session_run(struct sonde__session *session) {
    const uint64_t deadline = sonde__monotonic_ms() + WELCOME_TIMEOUT_MS;
    int error = 0;
    while (!error && !atomic_load(&link_state.stop)) {
        bool settled = session->state == SONDE__CONNECTED;
        if (link_sleep(settled ? NEVER : deadline) || !sonde__fd_is_ours(&session->socket))
            error = sonde__session_receive(session);
        if (!settled && session->state == SONDE__CONNECTED) {
            atomic_fetch_add(&link_state.connects, 1);
            atomic_store(&link_state.connected, true);
            news_tell();
        }
        if (session->answered != atomic_load(&link_state.handed)) {
            atomic_store(&link_state.handed, session->answered);
            news_tell();
        }
        if (session->flushed > atomic_load(&link_state.flushed)) {
            atomic_store(&link_state.flushed, session->flushed);
            news_tell();
        }
        if (!error)
            error = sonde__session_send(session, atomic_load(&link_state.flush_wanted));
        if (!error && session->state != SONDE__CONNECTED && sonde__monotonic_ms() >= deadline)
            error = -ETIMEDOUT;
    }
    if (!error)
        sonde__session_bye(session);
    return error;
}

/* Sleeps until a time, or a stop, or until somebody waits for a flush that was not asked for when the last attempt
 * began (flush_seen; NEVER: flushes do not end it). */
static void pause_until(uint64_t until_ms, uint64_t flush_seen) {
    while (sonde__monotonic_ms() < until_ms && !atomic_load(&link_state.stop) &&
           (flush_seen == NEVER || atomic_load(&link_state.flush_wanted) == flush_seen))
        (void)link_sleep(until_ms);
}

/* The next delay: doubled, capped, and shortened by up to a fifth so that a fleet does not come back in step. */
static uint64_t backoff_next(uint64_t *delay_ms) {
    uint32_t random;
    sonde__random_fill(&random, sizeof random);
    uint64_t delay = *delay_ms ? *delay_ms : BACKOFF_FIRST_MS;
    *delay_ms = delay * 2u > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : delay * 2u;
    return delay - delay * (random % 200u) / 1000u;
}

/* What came of an attempt. After a hand-over the next try comes in a second, so that a restarted agent is found before
 * rings fill; after a steady connection it comes at once. */
enum outcome { FAILED, HANDED_OVER, STEADY };

static enum outcome attempt(struct sonde__session *session) {
    const uint64_t begun = sonde__monotonic_ms();
    int error = sonde__session_open(session, &link_state.places, link_state.resource, link_state.resource_size);
    if (!error)
        error = session_run(session);
    const bool was_connected = atomic_exchange(&link_state.connected, false);
    if (error && error != SONDE_ENOAGENT)
        sonde__report("agent: %s", sonde_strerror(error));
    sonde__session_close(session);
    atomic_fetch_add(&link_state.failures, 1);
    news_tell();
    if (!was_connected)
        return FAILED;
    return sonde__monotonic_ms() - begun >= STEADY_MS ? STEADY : HANDED_OVER;
}

/* Here, so that it costs no thread of the service anything. */
static void context_publish(void) {
    if (sonde__settings_get()->process_context_disabled)
        return;
    int error = sonde__process_context_publish(link_state.resource, link_state.resource_size);
    if (error == -EEXIST)
        sonde__report_info("process context: another library publishes one, ours is left out");
    else if (error)
        sonde__report("process context: not published (%s)", sonde_strerror(error));
}

/* The name by which the agent's page speaks of this service is the one that the agent was told. */
static void name_tell(void) {
    struct sonde__skim_keys keys;
    struct sonde__value values[SONDE__SKIM_KEYS_MAX];
    sonde__skim_keys_init(&keys);
    int name = sonde__skim_keys_add(&keys, "service.name");
    if (name >= 0 && sonde__attributes_skim(link_state.resource, link_state.resource_size, 1, &keys, values) &&
        values[name].type == SONDE__VALUE_STRING)
        sonde__steering_name_set((const char *)values[name].data, values[name].size);
}

static void *link_main(void *unused) {
    (void)unused;
    struct sonde__session *session = &link_state.session;
    uint64_t delay_ms = 0, renewable_ms = 0;
    bool may_renew = true;
    link_state.resource_size = sonde__resource_encode(link_state.resource, sizeof link_state.resource);
    name_tell();
    context_publish();
    while (!atomic_load(&link_state.stop)) {
        const uint64_t flush_seen = atomic_load(&link_state.flush_wanted);
        const enum outcome outcome = attempt(session);
        if (outcome != FAILED)
            delay_ms = 0;
        if (session->evicted || session->memory_lost) {
            atomic_store(&link_state.away, true);
            news_tell();
            pause_until(session->evicted ? sonde__monotonic_ms() + sonde__link_renew_ms : renewable_ms, NEVER);
            renewable_ms = sonde__monotonic_ms() + sonde__link_renew_ms;
            may_renew = may_renew && sonde__process_renew();
            if (!may_renew) /* for good: no connection is worth having without memory to hand over */
                pause_until(NEVER, NEVER);
            atomic_store(&link_state.away, false);
        } else if (outcome != STEADY) {
            pause_until(sonde__monotonic_ms() + backoff_next(&delay_ms), flush_seen);
        }
    }
    sonde__lock_take(&link_state.wake_lock);
    sonde__fd_close(&link_state.wake);
    sonde__lock_release(&link_state.wake_lock);
    atomic_store(&link_state.running, false);
    news_tell();
    return NULL;
}

/* A small stack; more where the system's thread-local storage alone needs more. */
static int thread_create(void) {
    size_t sizes[] = {STACK_SIZE, 256u << 10, 0};
    long least = sysconf(_SC_THREAD_STACK_MIN);
    if (least > 0 && (size_t)least + (16u << 10) > sizes[0])
        sizes[0] = ((size_t)least + (16u << 10) + 4095u) & ~(size_t)4095u;
    int error = EINVAL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && error == EINVAL; i++) {
        pthread_attr_t attributes;
        pthread_t thread;
        if (pthread_attr_init(&attributes))
            return ENOMEM;
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        if (sizes[i])
            (void)pthread_attr_setstacksize(&attributes, sizes[i]);
        error = pthread_create(&thread, &attributes, link_main, NULL);
        if (!error)
            (void)pthread_setname_np(thread, "sonde-link");
        (void)pthread_attr_destroy(&attributes);
    }
    return error;
}

static _Atomic bool renounced;

void sonde__link_renounce(void) {
    atomic_store(&renounced, true);
}

void sonde__link_start(void) {
    if (atomic_load(&renounced))
        return;
    sonde__places_list(sonde__settings_get(), &link_state.places);
    if (wake_fd() < 0 || sonde__doorbell_fd() < 0) {
        sonde__report("no descriptors: not connected to the agent");
        return;
    }
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it: signals are the service's */
    atomic_store(&link_state.running, true);
    int error = thread_create();
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        atomic_store(&link_state.running, false);
        sonde__report("no link thread (%s): not connected to the agent", sonde_strerror(-error));
    }
}

void sonde__link_forget(void) {
    sonde__fd_close(&link_state.session.socket);
    sonde__fd_close(&link_state.wake);
    sonde__doorbell_forget();
    sonde__puller_forget();
    sonde__process_context_forget();
    memset(&link_state, 0, sizeof link_state);
    link_state.wake = link_state.session.socket = SONDE__FD_NONE;
}

void sonde__link_wake(void) {
    if (atomic_load(&link_state.running))
        thread_wake();
}

uint64_t sonde__link_connects(bool *ret_connected) {
    *ret_connected = atomic_load(&link_state.connected);
    return atomic_load(&link_state.connects);
}

int sonde__link_flush(uint32_t timeout_ms) {
    const uint64_t deadline = sonde__monotonic_ms() + timeout_ms;
    const uint64_t failures = atomic_load(&link_state.failures);
    const uint64_t number = atomic_fetch_add(&link_state.flush_wanted, 1) + 1;
    thread_wake();
    for (;;) {
        uint32_t news = atomic_load(&link_state.news);
        if (atomic_load(&link_state.flushed) >= number)
            return 0;
        if (!atomic_load(&link_state.running) || atomic_load(&link_state.away) ||
            atomic_load(&link_state.failures) != failures)
            return SONDE_ENOAGENT;
        uint64_t now = sonde__monotonic_ms();
        if (now >= deadline)
            return -ETIMEDOUT;
        sonde__futex_wait(&link_state.news, news, (uint32_t)(deadline - now));
    }
}

void sonde__link_settle(uint32_t timeout_ms) {
    const uint64_t deadline = sonde__monotonic_ms() + timeout_ms;
    for (;;) {
        uint32_t news = atomic_load(&link_state.news);
        uint32_t memories = 1u + __atomic_load_n(&sonde__registry.thread_memories, __ATOMIC_RELAXED);
        uint64_t now = sonde__monotonic_ms();
        if (!atomic_load(&link_state.running) || atomic_load(&link_state.stop) || atomic_load(&link_state.failures) ||
            atomic_load(&link_state.handed) >= memories || now >= deadline)
            return;
        sonde__futex_wait(&link_state.news, news, (uint32_t)(deadline - now));
    }
}

void sonde__link_stop(uint32_t timeout_ms) {
    const uint64_t deadline = sonde__monotonic_ms() + timeout_ms;
    atomic_store(&link_state.stop, true);
    thread_wake();
    for (;;) {
        uint32_t news = atomic_load(&link_state.news);
        uint64_t now = sonde__monotonic_ms();
        if (!atomic_load(&link_state.running) || now >= deadline)
            return;
        sonde__futex_wait(&link_state.news, news, (uint32_t)(deadline - now));
    }
}
