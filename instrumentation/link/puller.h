/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that callbacks of observable instruments run on. Not the link thread: a callback is the service's code,
 * needs a stack of the usual size, and may take its time, while hand-over and flush go on. One thread per process, made
 * when the agent first asks, asleep on a futex between rounds, all signals blocked.
 *
 *   PULL -> link thread: ask() -> this thread: a round of all callbacks -> link thread: PULLED
 *
 * A round answers everybody who asked before it began. What runs in a round is metric/observe.c's. */
#ifndef SONDE_LINK_PULLER_H
#define SONDE_LINK_PULLER_H

#include <stdbool.h>
#include <stdint.h>

/** What a round does. Set once, before anybody asks; called on the puller's thread. */
void sonde__puller_round_set(void (*round)(void));

/** Asks for a round that begins from now on. Returns its number. Makes the thread at need, does not wait. */
uint32_t sonde__puller_ask(void);
/** Is that round over? Also when there will be none: stopped, no callbacks, no thread. Any thread. */
bool sonde__puller_is_done(uint32_t number);

/** No callback begins from here on; waits up to timeout_ms for one that runs (not if called from within it). */
void sonde__puller_stop(uint32_t timeout_ms);
bool sonde__puller_is_stopped(void);
/** A last round, then the end; timeout_ms for both, at most sonde__puller_finish_ms. */
void sonde__puller_finish(uint32_t timeout_ms);
/* As long as the agent waits. Tests lengthen it. */
extern uint32_t sonde__puller_finish_ms __attribute__((visibility("hidden")));

/** Is this the puller's thread? */
bool sonde__puller_is_self(void);

/** In a forked child: the thread stayed behind in the parent. */
void sonde__puller_forget(void);

#endif
