/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/process.h"

#include "instrumentation/link/link.h"
#include "instrumentation/resource/settings.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Destructors of other keys may use the library after ours ran; each time the thread attaches again, and the system
 * runs destructors at least this often (PTHREAD_DESTRUCTOR_ITERATIONS). After that it may not, or the region would be
 * lost. */
#define DETACHES_MAX     3u
/* When the system refuses even private pages we ask again only now and then. */
#define REFUSALS_SKIPPED 256u

__thread struct sonde__thread *sonde__thread_self;
static __thread uint32_t entering; /* pid while in the slow path: a signal handler must not follow */
static __thread uint32_t detaches;

static _Atomic uint32_t refusals;
static pthread_key_t exit_key;
static bool exit_key_made;

static void thread_detach(void *pages) {
    struct sonde__thread *thread = pages;
    sonde__thread_self = NULL;
    detaches++;
    if (!sonde__process_is_current()) /* a forked child that did not use us: sonde__regions_forget() unmaps */
        return;
    struct sonde__registry *r = &sonde__registry;
    sonde__lock_take(&r->lock);
    if (thread->region && r->pages[thread->region_number] == thread) {
        __atomic_store_n(&thread->ready, 0u, __ATOMIC_RELAXED);
        atomic_store_explicit(&thread->region->state, SONDE__REGION_DETACHED, memory_order_release);
        atomic_store_explicit(&r->region_states[thread->region_number], SONDE__REGION_DETACHED, memory_order_relaxed);
    } else {
        (void)munmap(thread, sizeof *thread);
    }
    sonde__lock_release(&r->lock);
}

/* A region for this thread: one that a thread left, else the next new one; -1 when there is none. A thread with pages
 * of its own takes new ones only, since a left region has pages too. */
static int region_find(bool has_pages) {
    struct sonde__registry *r = &sonde__registry;
    int fresh = -1;
    for (uint32_t i = 0; i < SONDE_THREADS_MAX; i++) {
        uint8_t state = atomic_load_explicit(&r->region_states[i], memory_order_relaxed);
        if (state == SONDE__REGION_DETACHED && !has_pages)
            return (int)i;
        if (state == SONDE__REGION_FREE) { /* they are used in order: nothing but FREE follows */
            fresh = (int)i;
            break;
        }
    }
    return fresh;
}

/* The mapped memory and ring of a new region, made if need be. */
static bool region_map(uint32_t number) {
    struct sonde__registry *r = &sonde__registry;
    uint32_t index = number / SONDE__REGIONS_PER_MEMORY;
    if (r->memory_refused)
        return false;
    if (index == r->thread_memories) {
        struct sonde__memory memory = {.file = SONDE__FD_NONE};
        if (sonde__memory_create(SONDE__MEMORY_THREADS, index, r->id, &memory))
            return false;
        r->threads[index] = memory;
        r->thread_memories++;
        atomic_store_explicit(&sonde__thread_memories[index], memory.base, memory_order_release);
        sonde__link_wake();
    }
    return sonde__memory_map_ring(&r->threads[index], number % SONDE__REGIONS_PER_MEMORY) != NULL;
}

static void region_wire(struct sonde__thread *thread, uint32_t number) {
    uint8_t *base = sonde__registry.threads[number / SONDE__REGIONS_PER_MEMORY].base;
    size_t i = number % SONDE__REGIONS_PER_MEMORY;
    thread->region = (struct sonde__region *)(base + SONDE__CONTROL_AT + i * SONDE__PAGE);
    thread->ring = base + SONDE__RINGS_AT + i * 2u * SONDE__RING_SIZE;
    thread->slots = (struct sonde__slot *)(base + SONDE__SLOTS_AT + i * SONDE__SLOTS_SIZE);
    thread->cells = (_Atomic uint64_t *)(base + SONDE__CELLS_AT + i * SONDE__REGION_CELLS_SIZE);
    thread->histograms = base + SONDE__HISTOGRAMS_AT + i * SONDE__REGION_HISTOGRAMS_SIZE;
    thread->region_number = number;
}

/* Lowest slot on top, so that a thread keeps using the same few pages. */
static void slots_all_free(struct sonde__thread *thread) {
    for (uint32_t i = 0; i < SONDE__SLOTS; i++)
        thread->free_slots[i] = (uint8_t)(SONDE__SLOTS - 1u - i);
    thread->free_count = SONDE__SLOTS;
}

/* The slots that the region's last thread left open may have been ended by others since. Only these are looked at. */
static void slots_recount(struct sonde__thread *thread) {
    uint64_t listed = 0;
    for (uint32_t i = 0; i < thread->free_count; i++)
        listed |= 1ull << thread->free_slots[i];
    for (uint32_t i = 0; i < SONDE__SLOTS; i++) {
        if (listed >> i & 1u || atomic_load_explicit(&thread->slots[i].state, memory_order_acquire) == SONDE__SLOT_OPEN)
            continue;
        thread->slots[i].commit_region = thread->region_number;
        atomic_store_explicit(&thread->slots[i].state, SONDE__SLOT_FREE, memory_order_relaxed);
        thread->free_slots[thread->free_count++] = (uint8_t)i;
    }
}

static bool region_attach(struct sonde__thread *thread, uint32_t number, bool used_before) {
    struct sonde__registry *r = &sonde__registry;
    if (!used_before && !region_map(number))
        return false;
    region_wire(thread, number);
    if (used_before) {
        slots_recount(thread);
    } else {
        sonde__random_fill(thread->region->ring_id, sizeof thread->region->ring_id);
        slots_all_free(thread);
    }
    thread->bell_at = thread->head; /* look at the first record */
    thread->limit = 0;
    thread->region->tid = (uint32_t)syscall(SYS_gettid);
    atomic_store_explicit(&thread->region->state, SONDE__REGION_ATTACHED, memory_order_release);
    atomic_store_explicit(&r->region_states[number], SONDE__REGION_ATTACHED, memory_order_relaxed);
    r->pages[number] = thread;
    atomic_fetch_add_explicit(&r->threads_attached, 1, memory_order_relaxed);
    return true;
}

static struct sonde__thread *thread_pages(struct sonde__thread *thread, int region) {
    if (thread)
        return thread;
    if (region >= 0 && sonde__registry.pages[region])
        return sonde__registry.pages[region];
    return sonde__pages_create(sizeof *thread);
}

/* What a new thread must find new, in pages that another may have had. A thread that starts over with fresh memory
 * keeps its contexts. */
static void thread_reset(struct sonde__thread *thread, bool keep_contexts) {
    thread->busy = 0;
    thread->region = NULL;
    thread->cells = NULL;
    thread->histograms = NULL;
    thread->region_number = UINT32_MAX;
    thread->process = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    /* The filter's answer in one comparison with the sampled flag. */
    thread->exemplar_least = sonde__settings.exemplar_filter == SONDE__EXEMPLARS_ALWAYS_ON    ? 0
                             : sonde__settings.exemplar_filter == SONDE__EXEMPLARS_ALWAYS_OFF ? 2
                                                                                              : 1;
    if (keep_contexts) {
        if (thread->lanes_used) /* of reservoirs in other memory */
            memset(thread->lane_of, 0, sizeof thread->lane_of);
        thread->lanes_used = 0;
        thread->head = thread->base = thread->tail_seen = thread->limit = 0;
        thread->free_count = 0;
        return;
    }
    thread->depth = 0;
    memset(&thread->stack[0], 0, sizeof thread->stack[0]);
    sonde__random_fill(&thread->random, sizeof thread->random);
    sonde__random_fill(&thread->generation, sizeof thread->generation);
}

/* The lock is held. */
static struct sonde__thread *thread_attach(struct sonde__thread *thread) {
    const bool had_pages = thread != NULL;
    int region = region_find(had_pages);
    thread = thread_pages(thread, region);
    if (!thread)
        return NULL;
    const bool used_before = region >= 0 && sonde__registry.pages[region] == thread;
    thread_reset(thread, had_pages && thread->random);
    if (!exit_key_made)
        exit_key_made = pthread_key_create(&exit_key, thread_detach) == 0;
    if (exit_key_made && pthread_setspecific(exit_key, thread) == 0 && region >= 0 &&
        !region_attach(thread, (uint32_t)region, used_before))
        thread->region = NULL;
    if (!thread->region)
        thread->free_count = 0;
    sonde__thread_self = thread;
    uint32_t ready = SONDE__THREAD_READY;
    ready |= thread->region ? SONDE__THREAD_HAS_CELLS : 0u;
    ready |= thread->exemplar_least == 0 ? SONDE__THREAD_OFFERS : 0u;
    __atomic_store_n(&thread->ready, ready, __ATOMIC_RELAXED);
    return thread;
}

struct sonde__thread *sonde__thread_enter_slow(struct sonde__thread *thread) {
    if (thread && __atomic_load_n(&thread->ready, __ATOMIC_RELAXED))
        return NULL; /* busy: a signal handler interrupted us */
    struct sonde__registry *r = &sonde__registry;
    if (atomic_load_explicit(&r->run, memory_order_relaxed) == SONDE__OFF || detaches >= DETACHES_MAX)
        return NULL;
    uint32_t refused = atomic_load_explicit(&refusals, memory_order_relaxed);
    if (refused && (refused = atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed)) % REFUSALS_SKIPPED)
        return NULL;
    const int saved_errno = errno;
    const uint32_t pid = (uint32_t)getpid();
    if (entering == pid)
        return NULL;
    entering = pid;
    SONDE__COMPILER_BARRIER();
    sonde__lock_take(&r->lock);
    bool begun = sonde__process_begin();
    struct sonde__thread *attached = begun ? thread_attach(thread) : NULL;
    if (!attached && atomic_load_explicit(&r->run, memory_order_relaxed) != SONDE__OFF)
        atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed);
    else
        atomic_store_explicit(&refusals, 0, memory_order_relaxed);
    sonde__lock_release(&r->lock);
    SONDE__COMPILER_BARRIER();
    entering = 0;
    errno = saved_errno;
    return attached;
}

void sonde__regions_forget(bool fork) {
    struct sonde__registry *r = &sonde__registry;
    for (uint32_t i = 0; i < SONDE_THREADS_MAX; i++) {
        struct sonde__thread *pages = r->pages[i];
        uint8_t state = atomic_load_explicit(&r->region_states[i], memory_order_relaxed);
        r->pages[i] = NULL;
        atomic_store_explicit(&r->region_states[i], SONDE__REGION_FREE, memory_order_relaxed);
        if (pages && (fork ? pages != sonde__thread_self : state == SONDE__REGION_DETACHED))
            (void)munmap(pages, sizeof *pages);
        else if (pages)
            __atomic_store_n(&pages->ready, 0u, __ATOMIC_RELAXED);
    }
}
