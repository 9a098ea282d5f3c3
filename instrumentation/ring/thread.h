/* SPDX-License-Identifier: Apache-2.0 */
/* This thread's side of shared memory: private state, and how every call enters and leaves the library.
 *
 *   struct sonde__thread *thread = sonde__thread_enter();   // NULL: disabled, no memory, or called from a signal
 *   if (!thread) { ...count, give a no-op... return; }      //   handler while this thread is inside (counted as BUSY)
 *   ...
 *   sonde__thread_leave(thread);
 *
 * The page is private, mapped with MADV_WIPEONFORK: in a forked child `ready` reads 0, and the first call there makes
 * new memory (ids, rings and all) before anything could touch the parent's.
 * `region` is NULL when the thread has no ring of its own (pool used up, memory refused): spans then are not
 * recorded and are counted; contexts still propagate. */
#ifndef SONDE_RING_THREAD_H
#define SONDE_RING_THREAD_H

#include "instrumentation/ring/layout.h"
#include <sonde/context.h>
#include <sonde/options.h>
#include <stdbool.h>

/* One entry of the context stack; its tracestate lies in thread->tracestates at tracestate_at. */
struct sonde__stack_entry {
    uint64_t trace_id[2]; /* wire bytes, as loaded */
    uint64_t span_id;     /* 0 = no context */
    uint32_t flags;       /* W3C flags; SONDE__ENTRY_REMOTE */
    uint16_t tracestate_at, tracestate_length;
    uint32_t generation; /* of the attach, for tokens */
    uint32_t slot;       /* handle slot of the span that pushed it, 0 = attached context */
};
#define SONDE__ENTRY_REMOTE 0x100u
#define SONDE__TRACESTATES_SIZE 8192u

struct sonde__thread {
    /* hot line */
    uint32_t ready, busy;
    uint32_t depth;      /* entries in use; stack[depth] is current, stack[0] is the empty bottom */
    uint32_t free_count; /* of free_slots */
    uint64_t random;     /* state of the id generator */
    uint64_t head;       /* private copy of region->head */
    uint64_t tail_seen;  /* last tail read */
    uint64_t base;
    struct sonde__region *region; /* control page, or NULL */
    uint8_t *ring;                /* mapped twice in a row, so no record is split */
    struct sonde__slot *slots;
    _Atomic uint64_t *cells;      /* SONDE_SERIES_MAX counter cells of this region, or NULL */
    uint8_t *histograms;          /* histogram arena of this region, or NULL */
    uint32_t region_number;       /* memory index * 16 + region */
    uint32_t generation;          /* changes with every push; tokens and forks */
    uint64_t bell_at;             /* head at which the next quarter of the ring is looked at */
    uint16_t histogram_at[SONDE_SERIES_MAX]; /* offset/64 + 1 of a series' histogram in the arena; see metric/ */
    uint8_t free_slots[SONDE__SLOTS];
    struct sonde__stack_entry stack[SONDE_CONTEXT_DEPTH_MAX + 1];
    uint32_t tracestates_used;
    char tracestates[SONDE__TRACESTATES_SIZE];
};

/* TLS model by the build: -ftls-model=initial-exec, or global-dynamic (meson option tls_model). */
extern __thread struct sonde__thread *sonde__thread_self __attribute__((visibility("hidden")));

/** First use in this thread or process, in a forked child, or re-entry: attaches or returns NULL. Cold. */
struct sonde__thread *sonde__thread_enter_slow(struct sonde__thread *thread);

#define SONDE__LIKELY(x) __builtin_expect(!!(x), 1)
#define SONDE__UNLIKELY(x) __builtin_expect(!!(x), 0)
/* Keeps the compiler from moving stores across; the order matters to a signal handler and to whoever reads our
 * memory after a kill, not to another core. */
#define SONDE__COMPILER_BARRIER() __asm__ volatile("" ::: "memory")

static inline struct sonde__thread *sonde__thread_enter(void) {
    struct sonde__thread *thread = sonde__thread_self;
    if (SONDE__UNLIKELY(!thread || !thread->ready || thread->busy)) {
        thread = sonde__thread_enter_slow(thread);
        if (!thread)
            return NULL;
    }
    thread->busy = 1;
    SONDE__COMPILER_BARRIER();
    return thread;
}

static inline void sonde__thread_leave(struct sonde__thread *thread) {
    SONDE__COMPILER_BARRIER();
    thread->busy = 0;
}

/** The slot behind a handle's `slot` number ((region_number << 6 | slot) + 1), of any thread of this process;
 *  NULL when it is 0 or its memory does not exist (a forked child, say). No check of the generation. */
struct sonde__slot *sonde__slot_find(uint32_t slot);

/** Extents of the process pool. take returns an extent number, or -1 when all are in use. give returns one.
 *  Lock-free, any thread. sonde__extent_at gives its SONDE__EXTENT_SIZE bytes (static for the process). */
int sonde__extent_take(void);
void sonde__extent_give(int extent);
uint8_t *sonde__extent_at(int extent);

/** Counts a drop in the thread's region (or, without one, in the process page). thread may be NULL. */
void sonde__drop(struct sonde__thread *thread, enum sonde_signal signal, enum sonde_drop_reason reason);

/** The process page, NULL when shared memory was refused. */
struct sonde__process *sonde__process_get(void);

/** Appends a descriptor (scope, instrument, series) to the log; the caller holds its own lock.
 *  Returns 0, SONDE_EFULL, SONDE_EDISABLED (no shared memory). */
int sonde__descriptor_append(enum sonde__descriptor_type type, uint32_t index, const void *body, uint32_t body_size,
                             const void *extra, uint32_t extra_size);

/* ---- the ring, producer side (ring/producer.c) ---- */

/** Room for a record with a body of up to `size` bytes (plus SONDE__SLACK that block copies may scribble on).
 *  Returns where the body goes (8 bytes behind the header), or NULL (ring full). Between reserve and commit nothing
 *  is published. Call inside enter/leave, thread->region not NULL. */
uint8_t *sonde__ring_reserve(struct sonde__thread *thread, uint32_t size);
/** Publishes the reserved record with its true size (<= reserved), rings the doorbell if it is due. Returns the ring
 *  position behind the record. before_head, if not NULL, receives that position before the head is stored
 *  (slot->commit_position). */
uint64_t sonde__ring_commit(struct sonde__thread *thread, uint32_t size, enum sonde__record_kind kind, uint32_t scope,
                            uint32_t flags, _Atomic uint64_t *before_head);

/** Rings the agent's doorbell if it sleeps and this process has not rung for this sleep. (link/) */
void sonde__doorbell_ring(void);

#endif
