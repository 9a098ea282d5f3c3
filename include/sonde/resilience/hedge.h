/* SPDX-License-Identifier: Apache-2.0 */
/* Hedges: when a call has no answer after a while it is sent again, and the first answer is used. Only for calls that
 * may be made twice (idempotent ones). Nothing here sleeps or sends: an event loop does, told by this.
 *
 *   sonde_hedge_begin(hedge, &call);                       // attempt 1 goes out
 *   on a timer, and after each PENDING:
 *       attempt = sonde_hedge_next(&call, &wait_ns);       // not 0: send that attempt; then ask again
 *       set the timer to wait_ns, unless SONDE_HEDGE_NEVER
 *   when an attempt ends:
 *       switch (sonde_hedge_report(&call, attempt, outcome, pushback_ns))
 *       ANSWER: use it; cancel those in call.pending       // the losers
 *       LOST: throw it away    PENDING: wait    FAILED: the call has failed
 *
 * Each attempt is a client span of its own beside the others; sonde_hedge_describe() tells the winner's from the losers'.
 * A call is either retried or hedged (as gRPC has it), so no policy contains a hedge.
 * Telemetry: sonde.resilience.hedge (winner: first, hedge, none), sonde.resilience.retry.suppressed (reason: budget).
 * Source: gRPC proposal A6, hedging; "The Tail at Scale" (Dean, Barroso). */
#ifndef SONDE_RESILIENCE_HEDGE_H
#define SONDE_RESILIENCE_HEDGE_H

#include <sonde/resilience/retry.h>

SONDE_BEGIN

/** A handle, by value. index 0 = none: no hedges. */
struct sonde_hedge { uint32_t index; };

/** Set up with SONDE_HEDGE_OPTIONS_INIT; zero = the default in brackets.
 *  name      1..127 bytes of UTF-8, NUL-terminated: label of its series.
 *  delay_ns  between one attempt and the next [2 s]; 1 = all at once.
 *  extra     attempts beside the first, at most [1]; 1..15.
 *  budget    handle 0 = none; shared with retries of the same peer. Hedges are its retries.
 *  clock     NULL, or monotonic ns (for tests).   user  of it; kept. */
struct sonde_hedge_options {
    size_t size;
    const char *name;
    uint64_t delay_ns;
    uint32_t extra;
    struct sonde_retry_budget budget;
    uint64_t (*clock)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_HEDGE_OPTIONS_INIT { sizeof(struct sonde_hedge_options), nullptr, 0, 0, { 0 }, nullptr, nullptr }
#else
#define SONDE_HEDGE_OPTIONS_INIT { .size = sizeof(struct sonde_hedge_options) }
#endif

/** Makes a way of hedging, or finds the one of that name (whose options stay).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_HEDGES_MAX). Takes a lock. */
SONDE_API int sonde_hedge_create(const struct sonde_hedge_options *options, struct sonde_hedge *ret_hedge);

/** One call and its attempts; a value of the caller's, of one thread at a time (lock it, if several report). Only
 *  pending and winner are to be read.
 *  pending  bit n - 1: attempt n is under way; once there is an answer, those to cancel.
 *  winner   the attempt whose answer is used; 0 = none. */
struct sonde_hedge_call {
    struct sonde_hedge hedge;
    uint32_t attempts, pending, winner, flags;
    uint64_t next_ns; /* monotonic; UINT64_MAX = never */
};

#define SONDE_HEDGE_NEVER UINT64_MAX

enum sonde_hedge_verdict {
    SONDE_HEDGE_ANSWER = 0, /* the call's answer: it is over */
    SONDE_HEDGE_LOST,       /* it was over already */
    SONDE_HEDGE_PENDING,    /* others are under way, or to be sent */
    SONDE_HEDGE_FAILED,     /* and it was the last: the call is over */
};

/** Begins a call and its first attempt. */
SONDE_API_HOT void sonde_hedge_begin(struct sonde_hedge hedge, struct sonde_hedge_call *ret_call);

/** Begins the next attempt, when it is time.
 *  ret_wait_ns  written always: when to ask again; SONDE_HEDGE_NEVER = there will be none, unless an attempt fails.
 *  Returns its number, from 2 (resend count + 1); 0 = not now. */
SONDE_API uint32_t sonde_hedge_next(struct sonde_hedge_call *call, uint64_t *ret_wait_ns);

/** Tells how an attempt ended. SUCCESS and IGNORED (nobody else would get another answer) are answers; after a FAILURE
 *  the next attempt goes out at once.
 *  pushback_ns  what the peer asked for: > 0 the next attempt goes out after so long, < 0 there is to be none, 0 =
 *               nothing asked. */
SONDE_API_HOT enum sonde_hedge_verdict sonde_hedge_report(struct sonde_hedge_call *call, uint32_t attempt,
                                                          enum sonde_outcome outcome, int64_t pushback_ns);

/** The caller gives up by itself. Of a call that is over: nothing. */
SONDE_API void sonde_hedge_abandon(struct sonde_hedge_call *call);

/** Puts sonde.resilience.hedge.attempt (1 = the first) and .outcome on an attempt's span before its end: won, lost
 *  (another's answer is used), or failed. */
SONDE_API void sonde_hedge_describe(const struct sonde_hedge_call *call, uint32_t attempt, struct sonde_span *span);

SONDE_END

#endif
