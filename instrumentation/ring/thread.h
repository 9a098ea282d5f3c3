/* SPDX-License-Identifier: Apache-2.0 */
/* This thread's side of shared memory: private state, and how every call enters and leaves the library.
 *
 *   struct sonde__thread *thread = sonde__thread_enter();   // NULL: disabled, no memory, or called from a signal
 *   if (!thread) { ...give a no-op... return; }             //   handler while this thread is inside. A call that loses
 *   ...                                                     //   a record here counts it: sonde__drop_refused(signal)
 *   sonde__thread_leave(thread);
 *
 * The page is private, mapped with MADV_WIPEONFORK: in a forked child `ready` reads 0, and the first call there makes
 * new memory (ids, rings and all) before anything could touch the parent's.
 * `region` is NULL when the thread has no ring of its own (pool used up, memory refused): spans then are not
 * recorded and are counted; contexts still propagate.
 * The page outlives its thread together with the region: the next thread that gets the region finds everything as
 * new.
 * vfork(): the child runs on its sleeping parent's thread and memory, so its spans are that thread's. exec() closes
 * our descriptors. clone(CLONE_VM) without CLONE_THREAD and with both sides running must not trace. */
#ifndef SONDE_RING_THREAD_H
#define SONDE_RING_THREAD_H

#include "instrumentation/ring/layout.h"
#include <sonde/context.h>
#include <sonde/options.h>
#include <stdbool.h>

/* Where the texts of an entry lie in thread->tracestates and thread->baggages. Copied as one word. */
struct sonde__texts {
    uint16_t tracestate_at, tracestate_length, baggage_at, baggage_length;
};

/* One entry of the context stack. */
struct sonde__stack_entry {
    uint64_t trace_id[2]; /* wire bytes, as loaded */
    uint64_t span_id;     /* 0 = no context */
    struct sonde__texts texts;
    uint32_t flags;      /* SONDE__ENTRY_* */
    uint32_t generation; /* of the attach, for tokens */
};
/* Flags of an entry: bytes 0 to 2 as flags, is_remote and decision lie in a span context. */
#define SONDE__ENTRY_REMOTE     0x100u
#define SONDE__ENTRY_DECISION   0x70000u
#define SONDE__ENTRY_DEBUG      0x40000u    /* SONDE_DECISION_DEBUG */
#define SONDE__ENTRY_CHILD      0x400FFu    /* what a span has in its own context */
#define SONDE__ENTRY_TRACESTATE 0x40000000u /* of a span of this thread that has one: its children copy it */
#define SONDE__ENTRY_RESOLVE    0x80000000u /* a child needs more than copying: who knows what the tracestate says, or
                                               a decision is to be made */
/* Bits of sonde__thread.ready; the others only with the first. */
#define SONDE__THREAD_READY     1u
#define SONDE__THREAD_HAS_CELLS 2u
#define SONDE__THREAD_OFFERS    4u /* measurements are offered as exemplars even where no context is current */
#define SONDE__TRACESTATES_SIZE 8192u
#define SONDE__BAGGAGES_SIZE    57344u /* seven of the longest; positions and lengths are 16 bits */

/* A thread's part in filling a lane of a reservoir (metric/exemplar.c). */
struct sonde__lane {
    uint32_t collection; /* that the rest is of */
    uint32_t left;       /* measurements to let pass before the next candidate */
    double threshold;    /* the candidate's key lies below it */
};
/* Values of lane_of: a lane's number, with ALIGNED the first of one for each bucket. */
#define SONDE__LANES_MAX    8192u
#define SONDE__LANE_ALIGNED 0x8000u
#define SONDE__LANE_NONE    0xFFFFu

struct sonde__thread {
    /* hot line */
    _Alignas(8) uint32_t ready; /* SONDE__THREAD_*; one word with depth: see sonde__thread_is_plain() */
    uint32_t depth;      /* entries in use; stack[depth] is current, stack[0] is the empty bottom */
    uint32_t busy;
    uint32_t free_count; /* of free_slots; 0 without a region */
    uint64_t random;     /* state of the generator of ids, and of what is left to chance */
    uint64_t head;       /* private copy of region->head */
    uint64_t limit;      /* a record that ends behind it may leave its page, fill the ring, or be due a look */
    uint64_t tail_seen;  /* last tail read */
    uint64_t base;
    struct sonde__region *region; /* control page, or NULL */
    uint8_t *ring;                /* mapped twice in a row, so no record is split */
    struct sonde__slot *slots;
    _Atomic uint64_t *cells; /* SONDE_SERIES_MAX counter cells of this region, or NULL */
    uint8_t *histograms;     /* histogram arena of this region, or NULL */
    uint32_t region_number;  /* memory index * 16 + region; UINT32_MAX without a region */
    uint32_t generation;     /* changes with every push; starts at random, so that no other thread's token fits */
    uint64_t bell_at;        /* head at which the next quarter of the ring is looked at */
    uint32_t exemplar_least; /* the current context's sampled flag must be that much: 0 always, 1, 2 never */
    uint32_t lanes_used;     /* of lanes; [0] is none */
    struct sonde__process *process; /* page of the memory that the thread works in, or NULL */
    uint8_t free_slots[SONDE__SLOTS];
    struct sonde__stack_entry stack[SONDE_CONTEXT_DEPTH_MAX + 1];
    char tracestates[SONDE__TRACESTATES_SIZE];
    char baggages[SONDE__BAGGAGES_SIZE]; /* untouched pages cost nothing, here and in scratch */
    uint64_t trace_salt; /* of trace ids, made at need: the generator alone has 2^64 states for a whole fleet */
    /* Where large values, events and links are encoded before they are copied to a slot; untouched pages cost nothing.
     */
    uint8_t scratch[SONDE_SPAN_SIZE_MAX + SONDE__SLACK];
    uint16_t lane_of[SONDE_SERIES_MAX]; /* SONDE__LANE_*; 0 = not looked up */
    struct sonde__lane lanes[SONDE__LANES_MAX];
};

/* TLS model by the build: -ftls-model=initial-exec, or global-dynamic (meson option tls_model). */
extern __thread struct sonde__thread *sonde__thread_self __attribute__((visibility("hidden")));

/** First use in this thread or process, in a forked child, or re-entry: attaches or returns NULL. Cold. */
struct sonde__thread *sonde__thread_enter_slow(struct sonde__thread *thread);

#define SONDE__LIKELY(x)          __builtin_expect(!!(x), 1)
#define SONDE__UNLIKELY(x)        __builtin_expect(!!(x), 0)
/* Keeps the compiler from moving stores across; the order matters to a signal handler and to whoever reads our
 * memory after a kill, not to another core. */
#define SONDE__COMPILER_BARRIER() __asm__ volatile("" ::: "memory")

static inline struct sonde__thread *sonde__thread_enter(void) {
    struct sonde__thread *thread = sonde__thread_self;
    /* ready may be cleared by the link thread (fresh start) and by sonde_shutdown() */
    if (SONDE__UNLIKELY(!thread || !__atomic_load_n(&thread->ready, __ATOMIC_RELAXED) || thread->busy)) {
        thread = sonde__thread_enter_slow(thread);
        if (!thread)
            return NULL;
    }
    thread->busy = 1;
    SONDE__COMPILER_BARRIER();
    return thread;
}

/** The same for a function that makes no calls and so needs no stack: NULL when anything at all is in the way. */
static inline struct sonde__thread *sonde__thread_try(void) {
    struct sonde__thread *thread = sonde__thread_self;
    if (SONDE__UNLIKELY(!thread || !__atomic_load_n(&thread->ready, __ATOMIC_RELAXED) || thread->busy))
        return NULL;
    thread->busy = 1;
    SONDE__COMPILER_BARRIER();
    return thread;
}

static inline void sonde__thread_leave(struct sonde__thread *thread) {
    SONDE__COMPILER_BARRIER();
    thread->busy = 0;
}

/* wyrand: 2^64 period, passes the usual batteries; seeded by the system. */
static inline uint64_t sonde__thread_draw(struct sonde__thread *thread) {
    thread->random += 0x2d358dccaa6c78a5u;
    unsigned __int128 product = (unsigned __int128)thread->random * (thread->random ^ 0x8bb84b93962eacc9u);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* True when a measurement is nothing but an addition to a cell of this thread's: it has cells, and no context is current
 * whose exemplar it could be. */
static inline bool sonde__thread_is_plain(const struct sonde__thread *thread) {
    typedef uint64_t word __attribute__((may_alias));
    return __atomic_load_n((const word *)(const void *)&thread->ready, __ATOMIC_RELAXED) ==
           (SONDE__THREAD_READY | SONDE__THREAD_HAS_CELLS);
}
_Static_assert(offsetof(struct sonde__thread, depth) == offsetof(struct sonde__thread, ready) + 4, "one word");

/* Where the THREADS memories are mapped, NULL = not made. Read inside enter/leave: a forked child's first enter has
 * put its own memory here (or NULL) before anybody looks. */
extern uint8_t *_Atomic sonde__thread_memories[SONDE__THREAD_MEMORIES_MAX] __attribute__((visibility("hidden")));

/* In a handle's `slot`: the span was started as one thread's, its calls skip the spin bit. */
#define SONDE__HANDLE_ONE_THREAD 0x80000000u

/** The slot behind a handle's `slot` number ((region_number << 6 | slot) + 1), of any thread of this process;
 *  NULL when it is 0 or its memory does not exist (a forked child, say). No check of the generation: a slot of fresh
 *  memory has 0, so give slots a thread->generation, which starts at random in every thread and child.
 *  Call inside enter/leave. */
static inline struct sonde__slot *sonde__slot_find(uint32_t slot) {
    uint32_t number = (slot & ~SONDE__HANDLE_ONE_THREAD) - 1u; /* slot 0 goes out of range */
    if (SONDE__UNLIKELY(number >= SONDE_THREADS_MAX * SONDE__SLOTS))
        return NULL;
    const uint32_t per_memory = SONDE__REGIONS_PER_MEMORY * SONDE__SLOTS;
    uint8_t *base = atomic_load_explicit(&sonde__thread_memories[number / per_memory], memory_order_acquire);
    return SONDE__LIKELY(base != NULL)
               ? (struct sonde__slot *)(base + SONDE__SLOTS_AT + (size_t)(number % per_memory) * SONDE__SLOT_SIZE)
               : NULL;
}

/** Extents of the process pool. take returns an extent number, or -1 when all are in use. give returns one.
 *  Lock-free, any thread. sonde__extent_at gives its SONDE__EXTENT_SIZE bytes (static for the process). */
int sonde__extent_take(void);
void sonde__extent_give(int extent);
uint8_t *sonde__extent_at(int extent);

/** Counts a drop in the thread's region (or, without one, in the process page). thread may be NULL. */
void sonde__drop(struct sonde__thread *thread, enum sonde_signal signal, enum sonde_drop_reason reason);
/** Counts a record lost because sonde__thread_enter() gave NULL: BUSY, NO_MEMORY, or nothing when the library is off.
 */
void sonde__drop_refused(enum sonde_signal signal);

/** Counts an instrument made again as another (sonde_stats). */
void sonde__conflict_count(void);
/** Counts an id of zeros that a generator gave. */
void sonde__id_replaced_count(void);
void sonde__observation_dropped(void);

/** The process page, NULL when shared memory was refused or the library is off. Starts the library at first use. */
struct sonde__process *sonde__process_get(void);

/** Number of the memory behind sonde__process_get(): changes in a forked child and at a fresh start. The descriptor log
 *  (and series_count) is carried over, so scope, instrument and series numbers stay good; cells and histograms begin at
 *  zero, histograms_head of process and regions too. */
uint32_t sonde__process_generation(void);

/** Appends a descriptor (scope, instrument, series) to the log, and counts a series. Any thread (takes a lock).
 *  Returns 0, SONDE_EFULL, SONDE_EDISABLED (no shared memory). */
int sonde__descriptor_append(enum sonde__descriptor_type type, uint32_t index, const void *body, uint32_t body_size,
                             const void *extra, uint32_t extra_size);

/* The ring's producer side: ring/producer.h. */

/** Rings the agent's doorbell if it sleeps and this process has not rung for this sleep. (link/) */
void sonde__doorbell_ring(void);

#endif
