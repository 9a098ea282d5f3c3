/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to the agent, as the rest of the library sees it. One thread per process does all of it: asleep in
 * poll(), all signals blocked, a small stack. Nothing that happens to it can hurt the service: without a connection
 * rings fill up, drops are counted, and that is all. */
#ifndef SONDE_LINK_LINK_H
#define SONDE_LINK_LINK_H

#include <stdbool.h>
#include <stdint.h>

/** Starts the link thread of this process. The registry's lock is held. A refusal (no threads, no descriptors) is
 *  reported, and the process has no link. */
void sonde__link_start(void);
/** From now on sonde__link_start() starts none: the process has no agent to connect to. */
void sonde__link_renounce(void);
/** In a forked child: closes what was inherited. The registry's lock is held. */
void sonde__link_forget(void);
/** There is something to send: memory that the agent does not have yet, the answer to a PULL. Any thread. */
void sonde__link_wake(void);

/** See sonde_flush(). */
int sonde__link_flush(uint32_t timeout_ms);
/** At the end of the process: waits until the first connection has all of our memory, or an attempt failed, or up to
 *  timeout_ms. Without that, what a process that lives for a moment recorded would be gone with its memory. */
void sonde__link_settle(uint32_t timeout_ms);
/** Says BYE if connected, and ends the thread; waits for that up to timeout_ms. */
void sonde__link_stop(uint32_t timeout_ms);
/** Hand-overs completed so far; *ret_connected: is there one now. Any thread, never blocks. */
uint64_t sonde__link_connects(bool *ret_connected);

/* Between fresh starts, and before the one that follows an eviction: the agent keeps us out as long. Tests shorten it.
 */
extern uint32_t sonde__link_renew_ms __attribute__((visibility("hidden")));

#endif
