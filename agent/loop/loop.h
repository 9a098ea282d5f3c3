/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop as the rest of the agent sees it: timers, descriptors, work on the pool. <uv.h> stays behind this
 * header (and in agent/net/). One thread owns the loop and all state; callbacks are never called from inside the call
 * that armed them. */
#ifndef SONDE_AGENT_LOOP_H
#define SONDE_AGENT_LOOP_H

#include "exporters/exporter.h"
#include "exporters/seam.h"
#include <stdbool.h>
#include <stdint.h>

struct sonde_loop;
struct sonde_timer; /* heap, owned by its creator */
struct sonde_watch;

int sonde_loop_create(struct sonde_loop **ret_loop);
void sonde_loop_destroy(struct sonde_loop *loop); /* NULL is fine; everything armed must be destroyed before */
/** Runs until sonde_loop_stop(). Returns 0. */
int sonde_loop_run(struct sonde_loop *loop);
void sonde_loop_stop(struct sonde_loop *loop);
/** The real seams: clocks, random, heap. */
const struct sonde_seams *sonde_loop_seams(struct sonde_loop *loop);
/** The heap without a loop, for commands. */
extern const struct sonde_alloc sonde_heap;
/** Times the loop came back from waiting, since its creation. */
/** Once, at the start: buffers of requests are kept for the next ones, not mapped and given back each time. */
void sonde_heap_settle(void);
/** Gives what the real heap has free back to the system; costs about 0.1 ms and the page faults of the next burst. */
void sonde_heap_trim(void);

uint64_t sonde_loop_wakeups(const struct sonde_loop *loop);
/** The pool for compression (libuv's). */
struct sonde_pool sonde_loop_pool(struct sonde_loop *loop);
/** Called just before the loop blocks and just after it woke (the control page's sleep word). One each; NULL clears. */
void sonde_loop_on_sleep(struct sonde_loop *loop, void (*before)(void *user), void (*after)(void *user), void *user);

typedef void (*sonde_timer_fn)(void *user);
int sonde_timer_create(struct sonde_loop *loop, sonde_timer_fn fn, void *user, struct sonde_timer **ret_timer);
/** Arms (or re-arms) for a monotonic time in ns; in the past = next turn of the loop; UINT64_MAX clears. Resolution 1
 * ms. */
void sonde_timer_set(struct sonde_timer *timer, uint64_t monotonic_ns);
void sonde_timer_clear(struct sonde_timer *timer);
void sonde_timer_destroy(struct sonde_timer *timer); /* NULL is fine; freed when the loop allows */

enum { SONDE_WATCH_READ = 1, SONDE_WATCH_WRITE = 2 };
typedef void (*sonde_watch_fn)(void *user, int events);
/** Watches a descriptor (socket, eventfd, pidfd, ...), level-triggered. The descriptor stays the caller's; close it
 * only after sonde_watch_destroy(). */
int sonde_watch_create(struct sonde_loop *loop, int fd, int events, sonde_watch_fn fn, void *user,
                       struct sonde_watch **ret_watch);
int sonde_watch_change(struct sonde_watch *watch, int events); /* 0 = pause */
void sonde_watch_destroy(struct sonde_watch *watch);

#endif
