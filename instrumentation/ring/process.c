/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/process.h"

#include "instrumentation/link/link.h"
#include "instrumentation/ring/breakers.h"
#include "instrumentation/resource/settings.h"
#include <sonde/err.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Each fresh start leaves its address space mapped (some 16 MiB, and 39 MiB per 16 threads; no memory), because a
 * thread may be inside a call for as long as the scheduler likes. An agent that evicts us more often than this is not
 * worth it. */
#define RENEWALS_MAX 8u

struct sonde__registry sonde__registry = {.process.file = {.fd = -1, .event_id = -1}};
struct sonde__process *_Atomic sonde__process_page;
uint8_t *_Atomic sonde__thread_memories[SONDE__THREAD_MEMORIES_MAX];

static uint32_t *guard; /* reads 0 in a forked child */
static _Atomic uint32_t callbacks;

bool sonde__process_is_current(void) {
    return guard && __atomic_load_n(guard, __ATOMIC_ACQUIRE);
}

uint32_t sonde__process_generation(void) {
    return __atomic_load_n(&sonde__registry.generation, __ATOMIC_RELAXED);
}

uint32_t sonde__process_callbacks(void) {
    return atomic_load_explicit(&callbacks, memory_order_relaxed);
}

void sonde__process_callbacks_set(uint32_t count) {
    sonde__lock_take(&sonde__registry.lock); /* no memory is made meanwhile */
    atomic_store_explicit(&callbacks, count, memory_order_relaxed);
    struct sonde__process *page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    if (page && sonde__process_is_current())
        atomic_store_explicit(&page->callbacks, count, memory_order_relaxed);
    sonde__lock_release(&sonde__registry.lock);
}

/* A fresh identity and the PROCESS memory; without it the process counts and nothing more. */
static void memory_make(const uint8_t *previous) {
    struct sonde__registry *r = &sonde__registry;
    sonde__random_fill(r->id, sizeof r->id);
    __atomic_store_n(&r->generation, r->generation + 1u, __ATOMIC_RELAXED);
    struct sonde__memory memory = {.file = SONDE__FD_NONE};
    int error = sonde__memory_create(SONDE__MEMORY_PROCESS, 0, r->id, &memory);
    r->memory_refused = error != 0;
    r->process = memory;
    struct sonde__process *page = (struct sonde__process *)memory.base;
    if (page) {
        struct timespec now = {0};
        (void)clock_gettime(CLOCK_REALTIME, &now);
        page->start_unix_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        atomic_store_explicit(&page->callbacks, sonde__process_callbacks(), memory_order_relaxed);
        sonde__descriptors_carry(previous);
    } else {
        sonde__report("no shared memory (%s): nothing is recorded, drops are counted", sonde_strerror(error));
    }
    sonde__breakers_carry(memory.base);
    atomic_store_explicit(&sonde__process_page, page, memory_order_release);
}

/* In a forked child: everything of the parent's goes, but what was described stays described. */
static void inherited_drop(struct sonde__memory *ret_process) {
    struct sonde__registry *r = &sonde__registry;
    *ret_process = r->process;
    for (uint32_t i = 0; i < r->thread_memories; i++) {
        atomic_store_explicit(&sonde__thread_memories[i], NULL, memory_order_relaxed);
        sonde__memory_drop(&r->threads[i], SONDE__MEMORY_THREADS);
    }
    r->thread_memories = 0;
    r->renewals = 0;
    sonde__link_forget();
    sonde__stats_reset();
    sonde__extents_reset();
    sonde__regions_forget(true);
}

bool sonde__process_begin(void) {
    struct sonde__registry *r = &sonde__registry;
    if (atomic_load_explicit(&r->run, memory_order_relaxed) == SONDE__OFF)
        return false;
    const uint32_t pid = (uint32_t)getpid();
    if (sonde__process_is_current())
        return r->pid == pid; /* else a vfork() child: our memory, another table of descriptors */
    if (sonde__settings_get()->disabled) {
        atomic_store_explicit(&r->run, SONDE__OFF, memory_order_relaxed);
        return false;
    }
    struct sonde__memory previous = {.file = SONDE__FD_NONE};
    const bool fork = guard != NULL;
    if (fork)
        inherited_drop(&previous);
    else if (!(guard = sonde__pages_create(SONDE__PAGE)))
        return false;
    r->pid = pid;
    memory_make(previous.base);
    sonde__memory_drop(&previous, SONDE__MEMORY_PROCESS);
    __atomic_store_n(guard, 1u, __ATOMIC_RELEASE);
    atomic_store_explicit(&r->run, SONDE__ON, memory_order_relaxed);
    if (!r->memory_refused)
        sonde__link_start();
    return true;
}

/* Gives the pages of a retired memory back; its mapping stays for who is just writing there. So do cells of breakers:
 * a call must not find zeros in the middle. */
static void memory_retire(struct sonde__memory *memory, enum sonde__memory_kind kind) {
    if (memory->base)
        (void)madvise(memory->base, kind == SONDE__MEMORY_THREADS ? SONDE__RINGS_AT : SONDE__BREAKERS_AT, MADV_REMOVE);
    for (uint32_t i = 0; memory->base && kind == SONDE__MEMORY_THREADS && i < SONDE__REGIONS_PER_MEMORY; i++)
        (void)madvise(memory->base + SONDE__RINGS_AT + (size_t)i * 2u * SONDE__RING_SIZE, SONDE__RING_SIZE,
                      MADV_REMOVE);
    memory->base = NULL;
    sonde__fd_close(&memory->file);
}

bool sonde__process_renew(void) {
    struct sonde__registry *r = &sonde__registry;
    sonde__lock_take(&r->lock);
    bool go = atomic_load_explicit(&r->run, memory_order_relaxed) == SONDE__ON && r->renewals < RENEWALS_MAX &&
              sonde__process_is_current();
    if (go) {
        r->renewals++;
        sonde__stats_keep();
        for (uint32_t i = 0; i < r->thread_memories; i++)
            atomic_store_explicit(&sonde__thread_memories[i], NULL, memory_order_release);
        struct sonde__memory previous = r->process;
        memory_make(previous.base);
        memory_retire(&previous, SONDE__MEMORY_PROCESS);
        for (uint32_t i = 0; i < r->thread_memories; i++)
            memory_retire(&r->threads[i], SONDE__MEMORY_THREADS);
        r->thread_memories = 0;
        sonde__regions_forget(false);
        go = !r->memory_refused;
    }
    sonde__lock_release(&r->lock);
    return go;
}

static void exit_mark(void) {
    struct sonde__process *page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    if (page && sonde__process_is_current() && sonde__registry.pid == (uint32_t)getpid())
        atomic_store_explicit(&page->exit_state, SONDE__EXITED_CLEANLY, memory_order_release);
}

void sonde__process_stop(void) {
    struct sonde__registry *r = &sonde__registry;
    sonde__lock_take(&r->lock);
    exit_mark();
    atomic_store_explicit(&r->run, SONDE__OFF, memory_order_relaxed);
    for (uint32_t i = 0; i < SONDE_THREADS_MAX; i++)
        if (r->pages[i])
            __atomic_store_n(&r->pages[i]->ready, 0u, __ATOMIC_RELAXED);
    sonde__lock_release(&r->lock);
}

struct sonde__process *sonde__process_get(void) {
    if (!sonde__process_is_current()) {
        struct sonde__thread *thread = sonde__thread_enter();
        if (!thread)
            return NULL;
        sonde__thread_leave(thread);
    }
    if (atomic_load_explicit(&sonde__registry.run, memory_order_relaxed) != SONDE__ON)
        return NULL;
    return atomic_load_explicit(&sonde__process_page, memory_order_acquire);
}

/* An agent that is there answers within a millisecond, and that nobody is there is known as soon. */
#define SETTLE_MS 250u

/* exit() and return from main(); _exit() and signals leave RUNNING behind, which is what the agent goes by. */
__attribute__((destructor)) static void process_exit(void) {
    if (sonde__process_is_current() && sonde__registry.pid == (uint32_t)getpid() &&
        atomic_load_explicit(&sonde__registry.run, memory_order_relaxed) == SONDE__ON)
        sonde__link_settle(SETTLE_MS);
    exit_mark();
}
