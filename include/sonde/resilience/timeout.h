/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts and deadlines. A deadline is a point of time by value, handed from function to function and, as time that is
 * left, from process to process: nobody works for a caller that has given up.
 *
 *   deadline = sonde_timeout_begin(timeout, deadline_of_my_caller);        // the earlier one holds
 *   size = sonde_timeout_grpc_write(sonde_timeout_attempt_ns(timeout, deadline), text);   // metadata grpc-timeout
 *   if (call(peer, sonde_timeout_attempt_ns(timeout, deadline)) == TIMED_OUT)
 *       sonde_timeout_record(timeout, deadline);
 *
 * Nothing here sleeps, or ends a call: the caller's own timer or socket does.
 * HTTP has no header for deadlines. Milliseconds as decimal digits are what x-envoy-expected-rq-timeout-ms (which Envoy
 * sends to upstreams) and Connect-Timeout-Ms (Connect protocol) hold: sonde_timeout_ms_write() and _read().
 * Telemetry: sonde.resilience.timeout (scope: attempt, overall).
 * Source: gRPC over HTTP2 (PROTOCOL-HTTP2.md), Timeout. */
#ifndef SONDE_RESILIENCE_TIMEOUT_H
#define SONDE_RESILIENCE_TIMEOUT_H

#include <sonde/api.h>

SONDE_BEGIN

/** CLOCK_MONOTONIC; 0 = none. */
struct sonde_deadline { uint64_t monotonic_ns; };

#define SONDE_TIMEOUT_NONE UINT64_MAX /* of time left: no deadline */

/** So long from now; 0 or SONDE_TIMEOUT_NONE = none. What is read from a peer's header belongs here; but a 0 that was
 *  read is a deadline that has passed. */
SONDE_API_HOT struct sonde_deadline sonde_deadline_in(uint64_t left_ns);
/** SONDE_TIMEOUT_NONE without a deadline, 0 once it has passed. */
SONDE_API_HOT uint64_t sonde_deadline_left_ns(struct sonde_deadline deadline);
static inline struct sonde_deadline sonde_deadline_earlier(struct sonde_deadline a, struct sonde_deadline b) {
    return !a.monotonic_ns || (b.monotonic_ns && b.monotonic_ns < a.monotonic_ns) ? b : a;
}

/** A handle, by value; index 0 = no timeouts of its own. */
struct sonde_timeout { uint32_t index; };

/** Set up with SONDE_TIMEOUT_OPTIONS_INIT.
 *  name        1..127 bytes of UTF-8, NUL-terminated: label of its series.
 *  overall_ns  of a call with all its attempts and waits; 0 = none.   attempt_ns  of each attempt; 0 = none.
 *  clock       NULL, or monotonic ns (for tests).   user  of it; kept. */
struct sonde_timeout_options {
    size_t size;
    const char *name;
    uint64_t overall_ns, attempt_ns;
    uint64_t (*clock)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_TIMEOUT_OPTIONS_INIT { sizeof(struct sonde_timeout_options), nullptr, 0, 0, nullptr, nullptr }
#else
#define SONDE_TIMEOUT_OPTIONS_INIT { .size = sizeof(struct sonde_timeout_options) }
#endif

/** Makes a timeout, or finds the one of that name (whose options stay).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_TIMEOUTS_MAX). Takes a lock. */
SONDE_API int sonde_timeout_create(const struct sonde_timeout_options *options, struct sonde_timeout *ret_timeout);

/** The deadline of a call that begins now: the earlier of the caller's (outer) and its own. */
SONDE_API_HOT struct sonde_deadline sonde_timeout_begin(struct sonde_timeout timeout, struct sonde_deadline outer);
/** How long an attempt that begins now may take: min(attempt_ns, left), or SONDE_TIMEOUT_NONE. 0 = no time is left. */
SONDE_API_HOT uint64_t sonde_timeout_attempt_ns(struct sonde_timeout timeout, struct sonde_deadline deadline);
/** Counts a call that timed out: as overall once the deadline has passed, else as an attempt. */
SONDE_API void sonde_timeout_record(struct sonde_timeout timeout, struct sonde_deadline deadline);

/* ---- on the wire ---- */

#define SONDE_TIMEOUT_TEXT_SIZE 24u

/** Writes a value of the metadata grpc-timeout, NUL-terminated: at most eight digits of the finest unit that holds it,
 *  rounded down, so that the peer gives up no later than we do (by less than a hundred-thousandth of it).
 *  Returns its size, at most 9. 0 = nothing to send: SONDE_TIMEOUT_NONE, or 0, which the format does not have (do not
 *  call then). */
SONDE_API size_t sonde_timeout_grpc_write(uint64_t left_ns, char ret_text[SONDE_TIMEOUT_TEXT_SIZE]);
/** Reads one. What is longer than 2^64 - 2 ns is that. Returns 0, SONDE_EMALFORMED (ret_left_ns is untouched). */
SONDE_API int sonde_timeout_grpc_read(const char *text, size_t size, uint64_t *ret_left_ns);

/** The same as decimal milliseconds: at most ten digits, rounded down, but at least 1.
 *  Returns its size; 0 = nothing to send (as above). */
SONDE_API size_t sonde_timeout_ms_write(uint64_t left_ns, char ret_text[SONDE_TIMEOUT_TEXT_SIZE]);
SONDE_API int sonde_timeout_ms_read(const char *text, size_t size, uint64_t *ret_left_ns);

SONDE_END

#endif
