/* SPDX-License-Identifier: Apache-2.0 */
/* Fallbacks: what answers when the call cannot (a cached value, a default, another peer). The answer is the caller's own
 * code; this counts it, so that nobody takes degraded answers for good ones.
 * Telemetry: sonde.resilience.fallback (outcome: success, failure). */
#ifndef SONDE_RESILIENCE_FALLBACK_H
#define SONDE_RESILIENCE_FALLBACK_H

#include <sonde/resilience/breaker.h>

SONDE_BEGIN

/** A handle, by value. index 0 = none. */
struct sonde_fallback { uint32_t index; };

/** Makes a fallback, or finds the one of that name (1..127 bytes of UTF-8, NUL-terminated: label of its series).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_FALLBACKS_MAX). Takes a lock: once, not per call. */
SONDE_API int sonde_fallback_create(const char *name, struct sonde_fallback *ret_fallback);

/** Counts an answer of the fallback; whatever is not a success is a failure. Any thread, never blocks. */
SONDE_API_HOT void sonde_fallback_record(struct sonde_fallback fallback, enum sonde_outcome outcome);

SONDE_END

#endif
