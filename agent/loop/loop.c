/* SPDX-License-Identifier: Apache-2.0 */
/* libuv behind agent/loop/loop.h, and the real seams: the one place of the agent that asks the system for time, random
 * and memory. */
#include "agent/loop/loop.h"
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define NS_PER_MS 1000000u

TAILQ_HEAD(due_list, sonde_timer);

struct sonde_loop {
    uv_loop_t uv;
    uv_idle_t idle; /* active while `due` holds something, so that the loop does not wait */
    /* Timers of the past: libuv would call one that is re-armed in its own callback again in the same pass, for ever.
     */
    struct due_list due, firing;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_async_t keeper; /* keeps uv_run() going with nothing else armed; wakes it for stop */
    struct sonde_seams seams;
    uint64_t random_state;
    void (*before)(void *user);
    void (*after)(void *user);
    void *sleep_user;
    uint64_t wakeups;
    bool stopped;
};
struct sonde_timer {
    uv_timer_t uv;
    TAILQ_ENTRY(sonde_timer) link;
    struct due_list *list; /* it is in, or NULL */
    struct sonde_loop *loop;
    sonde_timer_fn fn;
    void *user;
};
struct sonde_watch {
    uv_poll_t uv;
    int events;
    sonde_watch_fn fn;
    void *user;
};
struct pool_job {
    uv_work_t uv;
    void (*work)(void *job);
    void (*done)(void *job);
    void *job;
};

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
static uint64_t real_monotonic(void *self) {
    (void)self;
    return clock_ns(CLOCK_MONOTONIC);
}
static uint64_t real_unix(void *self) {
    (void)self;
    return clock_ns(CLOCK_REALTIME);
}
static uint64_t
real_random(void *self) { /* splitmix64 over a seed of the kernel's: jitter and hash seeds, no secrets */
    struct sonde_loop *loop = self;
    uint64_t z = loop->random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static void *real_resize(void *self, void *old, size_t size) {
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

const struct sonde_alloc sonde_heap = {.resize = real_resize};

void sonde_heap_settle(void) {
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20); /* a request and its compressed form are smaller */
    (void)mallopt(M_TRIM_THRESHOLD, 8 << 20); /* a spike of the queue still goes at once; the rest when all is quiet */
#endif
}

void sonde_heap_trim(void) {
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

static void on_idle(uv_idle_t *handle) {
    (void)handle;
}

static void timer_unlist(struct sonde_timer *timer) {
    if (timer->list)
        TAILQ_REMOVE(timer->list, timer, link);
    timer->list = NULL;
}

static void timer_list(struct sonde_timer *timer, struct due_list *list) {
    TAILQ_INSERT_TAIL(list, timer, link);
    timer->list = list;
}

static void fire_due(struct sonde_loop *loop) {
    struct sonde_timer *timer;
    while ((timer = TAILQ_FIRST(&loop->due))) {
        timer_unlist(timer);
        timer_list(timer, &loop->firing);
    }
    (void)uv_idle_stop(&loop->idle);
    while ((timer = TAILQ_FIRST(&loop->firing))) {
        timer_unlist(timer);
        timer->fn(timer->user);
    }
}

static void on_prepare(uv_prepare_t *handle) {
    struct sonde_loop *loop = handle->data;
    if (loop->before)
        loop->before(loop->sleep_user);
}
static void on_check(uv_check_t *handle) {
    struct sonde_loop *loop = handle->data;
    loop->wakeups++;
    if (loop->after)
        loop->after(loop->sleep_user);
    fire_due(loop);
}
static void on_keeper(uv_async_t *handle) {
    struct sonde_loop *loop = handle->data;
    if (loop->stopped)
        uv_stop(&loop->uv);
}

static void start_handles(struct sonde_loop *loop) { /* none of these can fail on a fresh loop */
    (void)uv_prepare_init(&loop->uv, &loop->prepare);
    (void)uv_check_init(&loop->uv, &loop->check);
    (void)uv_idle_init(&loop->uv, &loop->idle);
    TAILQ_INIT(&loop->due);
    TAILQ_INIT(&loop->firing);
    loop->prepare.data = loop->check.data = loop->keeper.data = loop;
    (void)uv_prepare_start(&loop->prepare, on_prepare);
    (void)uv_check_start(&loop->check, on_check);
}

int sonde_loop_create(struct sonde_loop **ret_loop) {
    /* Only compression runs there; two threads serve the machine's other work better than libuv's four. */
    (void)setenv("UV_THREADPOOL_SIZE", "2", 1);
    struct sonde_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return -ENOMEM;
    int error = uv_loop_init(&loop->uv);
    if (error) {
        free(loop);
        return error; /* libuv's codes are -errno */
    }
    error = uv_async_init(&loop->uv, &loop->keeper, on_keeper);
    if (error) {
        (void)uv_loop_close(&loop->uv);
        free(loop);
        return error;
    }
    start_handles(loop);
    if (getrandom(&loop->random_state, sizeof loop->random_state, GRND_NONBLOCK) != sizeof loop->random_state)
        loop->random_state = clock_ns(CLOCK_REALTIME) ^ ((uint64_t)getpid() << 40);
    loop->seams = (struct sonde_seams){
        .time = {real_monotonic, real_unix, loop}, .random = {real_random, loop}, .alloc = {real_resize, loop}};
    *ret_loop = loop;
    return 0;
}

void sonde_loop_destroy(struct sonde_loop *loop) {
    if (!loop)
        return;
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->keeper, NULL);
    while (uv_loop_alive(&loop->uv)) /* closing handles, and jobs the pool still has */
        (void)uv_run(&loop->uv, UV_RUN_ONCE);
    (void)uv_loop_close(&loop->uv);
    free(loop);
}

int sonde_loop_run(struct sonde_loop *loop) {
    loop->stopped = false;
    while (!loop->stopped)
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    return 0;
}

void sonde_loop_stop(struct sonde_loop *loop) {
    loop->stopped = true;
    (void)uv_async_send(&loop->keeper);
}

const struct sonde_seams *sonde_loop_seams(struct sonde_loop *loop) {
    return &loop->seams;
}

uint64_t sonde_loop_wakeups(const struct sonde_loop *loop) {
    return loop->wakeups;
}

void sonde_loop_on_sleep(struct sonde_loop *loop, void (*before)(void *user), void (*after)(void *user), void *user) {
    loop->before = before;
    loop->after = after;
    loop->sleep_user = user;
}

static void on_pool_work(uv_work_t *request) {
    struct pool_job *job = request->data;
    job->work(job->job);
}
static void on_pool_done(uv_work_t *request, int status) {
    struct pool_job *job = request->data;
    (void)status; /* jobs are never cancelled */
    job->done(job->job);
    free(job);
}
static int pool_submit(void *self, void (*work)(void *job), void (*done)(void *job), void *argument) {
    struct sonde_loop *loop = self;
    struct pool_job *job = calloc(1, sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = (struct pool_job){.work = work, .done = done, .job = argument};
    job->uv.data = job;
    int error = uv_queue_work(&loop->uv, &job->uv, on_pool_work, on_pool_done);
    if (error)
        free(job);
    return error;
}
struct sonde_pool sonde_loop_pool(struct sonde_loop *loop) {
    return (struct sonde_pool){.submit = pool_submit, .self = loop};
}

static void on_timer(uv_timer_t *handle) {
    struct sonde_timer *timer = handle->data;
    timer->fn(timer->user);
}
static void free_handle(uv_handle_t *handle) {
    free(handle->data);
}

int sonde_timer_create(struct sonde_loop *loop, sonde_timer_fn fn, void *user, struct sonde_timer **ret_timer) {
    struct sonde_timer *timer = calloc(1, sizeof *timer);
    if (!timer)
        return -ENOMEM;
    timer->loop = loop;
    timer->fn = fn;
    timer->user = user;
    (void)uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    *ret_timer = timer;
    return 0;
}

void sonde_timer_set(struct sonde_timer *timer, uint64_t monotonic_ns) {
    struct sonde_loop *loop = timer->loop;
    sonde_timer_clear(timer);
    if (monotonic_ns == UINT64_MAX)
        return;
    uint64_t now_ns = real_monotonic(NULL);
    if (monotonic_ns <= now_ns) {
        timer_list(timer, &loop->due);
        (void)uv_idle_start(&loop->idle, on_idle);
        return;
    }
    uv_update_time(&loop->uv); /* libuv counts from its cached time, which may be a long callback old */
    (void)uv_timer_start(&timer->uv, on_timer, (monotonic_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS, 0);
}

void sonde_timer_clear(struct sonde_timer *timer) {
    timer_unlist(timer);
    (void)uv_timer_stop(&timer->uv);
}

void sonde_timer_destroy(struct sonde_timer *timer) {
    if (!timer)
        return;
    sonde_timer_clear(timer);
    uv_close((uv_handle_t *)&timer->uv, free_handle);
}

static int poll_start(struct sonde_watch *watch);

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct sonde_watch *watch = handle->data;
    int seen = 0;
    if (status < 0) {
        /* libuv stopped watching because of POLLERR: go on, and let the owner meet the error at its next read or write.
         */
        (void)poll_start(watch);
        seen = watch->events;
    }
    if (events & (UV_READABLE | UV_DISCONNECT))
        seen |= SONDE_WATCH_READ;
    if (events & UV_WRITABLE)
        seen |= SONDE_WATCH_WRITE;
    if (seen)
        watch->fn(watch->user, seen);
}

static int poll_start(struct sonde_watch *watch) {
    int events = ((watch->events & SONDE_WATCH_READ) ? UV_READABLE : 0) |
                 ((watch->events & SONDE_WATCH_WRITE) ? UV_WRITABLE : 0);
    return events ? uv_poll_start(&watch->uv, events, on_poll) : uv_poll_stop(&watch->uv);
}

int sonde_watch_create(struct sonde_loop *loop, int fd, int events, sonde_watch_fn fn, void *user,
                       struct sonde_watch **ret_watch) {
    struct sonde_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return -ENOMEM;
    watch->events = events;
    watch->fn = fn;
    watch->user = user;
    int error = uv_poll_init(&loop->uv, &watch->uv, fd);
    if (error) {
        free(watch);
        return error;
    }
    watch->uv.data = watch;
    error = poll_start(watch);
    if (error) {
        sonde_watch_destroy(watch);
        return error;
    }
    *ret_watch = watch;
    return 0;
}

int sonde_watch_change(struct sonde_watch *watch, int events) {
    watch->events = events;
    return poll_start(watch);
}

void sonde_watch_destroy(struct sonde_watch *watch) {
    if (!watch)
        return;
    (void)uv_poll_stop(&watch->uv);
    uv_close((uv_handle_t *)&watch->uv, free_handle);
}
