/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters: at most so many calls a second, and a burst of so many at once (the generic cell rate algorithm: in any
 * stretch of time of W seconds at most burst + W * per_second calls are admitted).
 *
 *   uint64_t wait_ns;
 *   if (!sonde_rate_limit_admit(limit, &wait_ns))
 *       return busy(wait_ns);
 *
 * Nothing here sleeps: who wants to wait does so himself and asks again. One process's own limit; nothing is shared
 * between processes. Telemetry: sonde.resilience.rate_limit.rejected. */
#ifndef SONDE_RESILIENCE_RATE_LIMIT_H
#define SONDE_RESILIENCE_RATE_LIMIT_H

#include <sonde/api.h>

SONDE_BEGIN

/** A handle, by value. index 0 = none: it admits everything. */
struct sonde_rate_limit { uint32_t index; };

/** Set up with SONDE_RATE_LIMIT_OPTIONS_INIT.
 *  name        1..127 bytes of UTF-8, NUL-terminated: label of its series.
 *  per_second  above 0, up to 1e6; 1/60 is one a minute.
 *  burst       at once; 0 = a second's worth, at least one.
 *  clock       NULL, or monotonic ns (for tests).   user  of it; kept. */
struct sonde_rate_limit_options {
    size_t size;
    const char *name;
    double per_second;
    uint32_t burst;
    uint64_t (*clock)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_RATE_LIMIT_OPTIONS_INIT { sizeof(struct sonde_rate_limit_options), nullptr, 0, 0, nullptr, nullptr }
#else
#define SONDE_RATE_LIMIT_OPTIONS_INIT { .size = sizeof(struct sonde_rate_limit_options) }
#endif

/** Makes a rate limiter, or finds the one of that name (whose options stay).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_RATE_LIMITS_MAX). Takes a lock: once, not per call. */
SONDE_API int sonde_rate_limit_create(const struct sonde_rate_limit_options *options,
                                      struct sonde_rate_limit *ret_limit);

/** Takes a token. Any thread, no lock, never blocks.
 *  ret_wait_ns  NULL, or written always: 0, or on false how long until the next token, if nobody else takes it.
 *  Returns false when there is none (counted as rejected). */
SONDE_API_HOT bool sonde_rate_limit_admit(struct sonde_rate_limit limit, uint64_t *ret_wait_ns);

SONDE_END

#endif
