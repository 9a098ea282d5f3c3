/* SPDX-License-Identifier: Apache-2.0 */
/* Bulkheads: at most so many calls at once, so that one slow peer does not take all threads or connections.
 *
 *   if (!sonde_bulkhead_enter(bulkhead))
 *       return busy();
 *   call(peer);
 *   sonde_bulkhead_leave(bulkhead);
 *
 * A forked child begins with no call under way and none waiting: its parent's are not its own.
 * Nothing here blocks. Who wants to wait for a place does so himself, between sonde_bulkhead_queue() and _unqueue(),
 * which bound how many wait and show them.
 * Telemetry: sonde.resilience.bulkhead.inflight, .limit, .queued, .rejected. */
#ifndef SONDE_RESILIENCE_BULKHEAD_H
#define SONDE_RESILIENCE_BULKHEAD_H

#include <sonde/api.h>

SONDE_BEGIN

/** A handle, by value. index 0 = none: there is always a place. */
struct sonde_bulkhead { uint32_t index; };

/** Set up with SONDE_BULKHEAD_OPTIONS_INIT.
 *  name       1..127 bytes of UTF-8, NUL-terminated: label of its series.
 *  limit      calls at once, 1..2^31-1; 0 = the default [25].
 *  queue_max  that may wait at once; 0 = none. */
struct sonde_bulkhead_options {
    size_t size;
    const char *name;
    uint32_t limit, queue_max;
};
#ifdef __cplusplus
#define SONDE_BULKHEAD_OPTIONS_INIT { sizeof(struct sonde_bulkhead_options), nullptr, 0, 0 }
#else
#define SONDE_BULKHEAD_OPTIONS_INIT { .size = sizeof(struct sonde_bulkhead_options) }
#endif

/** Makes a bulkhead, or finds the one of that name (whose options stay).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_BULKHEADS_MAX). Takes a lock: once, not per call. */
SONDE_API int sonde_bulkhead_create(const struct sonde_bulkhead_options *options, struct sonde_bulkhead *ret_bulkhead);

/** Takes a place. Returns false when there is none (counted as rejected). Any thread, never blocks; leave must follow a
 *  true, from any thread. */
SONDE_API_HOT bool sonde_bulkhead_enter(struct sonde_bulkhead bulkhead);
SONDE_API_HOT void sonde_bulkhead_leave(struct sonde_bulkhead bulkhead);

/** Begins to wait for a place: false when queue_max wait already (counted as rejected). One who has a place of the queue
 *  tries sonde_bulkhead_try(), and leaves the queue by _unqueue() whether he got one or not. */
SONDE_API bool sonde_bulkhead_queue(struct sonde_bulkhead bulkhead);
SONDE_API bool sonde_bulkhead_try(struct sonde_bulkhead bulkhead); /* as enter, but a refusal is not counted */
SONDE_API void sonde_bulkhead_unqueue(struct sonde_bulkhead bulkhead);

/** Changes the limit (1..2^31-1); calls over a smaller one finish. Returns 0, SONDE_EINVALID. */
SONDE_API int sonde_bulkhead_limit_set(struct sonde_bulkhead bulkhead, uint32_t limit);
SONDE_API uint32_t sonde_bulkhead_inflight(struct sonde_bulkhead bulkhead);

SONDE_END

#endif
