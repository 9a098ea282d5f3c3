/* SPDX-License-Identifier: Apache-2.0 */
/* What a process has of shared memory, and its life: first use, forked child, fresh start, shutdown.
 *
 *   IDLE --first use--> ON --sonde_shutdown()--> OFF          disabled: IDLE --first use--> OFF
 *   ON --fork()--> ON with fresh memory, ids and link thread, made by the child's first call
 *   ON --agent evicted us, or our descriptors were closed--> ON with fresh memory (sonde__process_renew())
 *
 * A page that reads zero after fork() (the guard) tells a child from its parent without a system call. A vfork() child
 * shares the guard and all memory with its parent, which sleeps meanwhile: spans made there count as the parent's
 * thread's and do no harm; only attaching is refused to it (another getpid() behind an intact guard). */
#ifndef SONDE_RING_PROCESS_H
#define SONDE_RING_PROCESS_H

#include "instrumentation/ring/lock.h"
#include "instrumentation/ring/memory.h"
#include "instrumentation/ring/thread.h"

enum sonde__run { SONDE__IDLE = 0, SONDE__ON, SONDE__OFF };

struct sonde__registry {
    struct sonde__lock lock; /* of everything here but run */
    _Atomic uint32_t run;    /* enum sonde__run */
    uint32_t pid;
    uint8_t id[16];      /* random; a forked child and a fresh start have their own */
    uint32_t generation; /* changes with each of those */
    uint32_t renewals;   /* fresh starts so far */
    bool memory_refused; /* counters only */
    struct sonde__memory process;
    struct sonde__memory threads[SONDE__THREAD_MEMORIES_MAX];
    uint32_t thread_memories;
    _Atomic uint8_t region_states[SONDE_THREADS_MAX]; /* enum sonde__region_state; FREE = never used */
    struct sonde__thread *pages[SONDE_THREADS_MAX];   /* private pages of a region; they stay with it */
    _Atomic uint64_t threads_attached;
};
extern struct sonde__registry sonde__registry __attribute__((visibility("hidden")));
/* The process page, for who reads without the lock; NULL = none. */
extern struct sonde__process *_Atomic sonde__process_page __attribute__((visibility("hidden")));

/** True when the memory in the registry was made by this very process (false in a forked child, or before first use).
 */
bool sonde__process_is_current(void);

/** First use or forked child: settings, memory, link thread. The lock is held. False: OFF, or a vfork() child. */
bool sonde__process_begin(void);

/** Starts over with fresh memory; the old stays mapped for threads inside a call, its pages are given back.
 *  Link thread only. False when that was done too often (address space) or the library is off. */
bool sonde__process_renew(void);

/** How many callbacks of observable instruments there are: told to the agent, in this memory and in what replaces it.
 */
void sonde__process_callbacks_set(uint32_t count);
uint32_t sonde__process_callbacks(void);

/** Turns the library off for good; the end is marked as clean. Any thread. */
void sonde__process_stop(void);

/* Parts of begin and renew, each beside what it is about; the lock is held. */
void sonde__stats_keep(void);                           /* adds up what the current memory counted */
void sonde__stats_reset(void);                          /* a forked child counts from zero */
void sonde__descriptors_carry(const uint8_t *previous); /* log of the previous memory -> the current one */
void sonde__extents_reset(void);
void sonde__regions_forget(bool fork); /* no thread has a region any more */

#endif
