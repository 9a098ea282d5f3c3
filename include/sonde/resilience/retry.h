/* SPDX-License-Identifier: Apache-2.0 */
/* Retries: whether a failed call is tried again, and when. Nothing here sleeps: the caller does, or sets a timer.
 *
 *   struct sonde_retry_call call;
 *   uint64_t wait_ns;
 *   sonde_retry_begin(retry, 0, &call);
 *   do {
 *       outcome = attempt(call.attempt - 1);                     // the resend count of its client span
 *   } while (sonde_retry_next(&call, outcome, 0, &wait_ns) == SONDE_RETRY_AGAIN && sleep_ns(wait_ns) == 0);
 *
 * Each attempt is a client span of its own beside the others, under the same parent, with its resend count
 * (sonde/conventions/http.h, rpc.h). Waits have jitter, so that clients that failed together do not come back together;
 * a budget keeps retries from being most of the load of a peer that is unwell.
 * A forked child's budgets begin with no call under way; their tokens stay.
 * Telemetry: sonde.resilience.retry (calls by outcome), sonde.resilience.retry.suppressed (retries not made, by reason).
 * Source: gRPC proposal A6; "Exponential Backoff And Jitter" (AWS Architecture Blog); RFC 9110, 10.2.3. */
#ifndef SONDE_RESILIENCE_RETRY_H
#define SONDE_RESILIENCE_RETRY_H

#include <sonde/resilience/breaker.h>

SONDE_BEGIN

/** Of a wait whose ceiling is initial * factor^n, at most max. */
enum sonde_jitter {
    SONDE_JITTER_FULL = 0,     /* 0..ceiling */
    SONDE_JITTER_DECORRELATED, /* initial..three times the last wait, at most max */
    SONDE_JITTER_FIFTH,        /* 0.8..1.2 of the ceiling, as gRPC has it */
    SONDE_JITTER_NONE,
};

/** Handles, by value; index 0 = none: one attempt, no limits. */
struct sonde_retry { uint32_t index; };
struct sonde_retry_budget { uint32_t index; };

/** What retries may add to the load; share one among all calls to one peer. Set up with SONDE_RETRY_BUDGET_OPTIONS_INIT.
 *  tokens_max    a failure takes a token, a success gives token_ratio back; retries only while more than half are there.
 *                0 = not limited so; up to 1000.
 *  token_ratio   [0.1], 0.001..1000.
 *  share         retries under way are at most so much of the calls under way, or share_min of them. 0 = not limited so;
 *                0..1.
 *  share_min     [3]. */
struct sonde_retry_budget_options {
    size_t size;
    const char *name;
    double tokens_max, token_ratio, share;
    uint32_t share_min;
};
#ifdef __cplusplus
#define SONDE_RETRY_BUDGET_OPTIONS_INIT { sizeof(struct sonde_retry_budget_options), nullptr, 0, 0, 0, 0 }
#else
#define SONDE_RETRY_BUDGET_OPTIONS_INIT { .size = sizeof(struct sonde_retry_budget_options) }
#endif

/** Makes a budget, or finds the one of that name (1..127 bytes of UTF-8; its options stay).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_RETRY_BUDGETS_MAX). Takes a lock. */
SONDE_API int sonde_retry_budget_create(const struct sonde_retry_budget_options *options,
                                        struct sonde_retry_budget *ret_budget);

/** Set up with SONDE_RETRY_OPTIONS_INIT; zero = the default in brackets.
 *  name        1..127 bytes of UTF-8, NUL-terminated: label of its series.
 *  attempts    all of a call [3]; 1..100.
 *  initial_ns  [100 ms].   max_ns  [10 s].   factor  [2.0], 1..100.   jitter  see there.
 *  deadline_ns of a call from its begin, waits included; 0 = none. What would end after it is not tried.
 *  budget      handle 0 = none.
 *  clock       NULL, or monotonic ns.   random  NULL, or 64 uniform bits.   user  of both; kept. */
struct sonde_retry_options {
    size_t size;
    const char *name;
    uint32_t attempts;
    uint64_t initial_ns, max_ns;
    double factor;
    enum sonde_jitter jitter;
    uint64_t deadline_ns;
    struct sonde_retry_budget budget;
    uint64_t (*clock)(void *user);
    uint64_t (*random)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_RETRY_OPTIONS_INIT { sizeof(struct sonde_retry_options), nullptr, 0, 0, 0, 0, SONDE_JITTER_FULL, 0, { 0 }, nullptr, nullptr, nullptr }
#else
#define SONDE_RETRY_OPTIONS_INIT { .size = sizeof(struct sonde_retry_options) }
#endif

/** Makes a way of retrying, or finds the one of that name (whose options stay).
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_RETRIES_MAX). Takes a lock. */
SONDE_API int sonde_retry_create(const struct sonde_retry_options *options, struct sonde_retry *ret_retry);

/** One call and its attempts; a value of the caller's, of one thread at a time. Only `attempt` is to be read. */
struct sonde_retry_call {
    struct sonde_retry retry;
    uint32_t attempt; /* under way: 1 = the first */
    uint32_t restart; /* attempt after which the back-off began anew */
    uint32_t flags;
    uint64_t deadline_ns; /* monotonic; UINT64_MAX = none */
    uint64_t last_wait_ns;
};

enum sonde_retry_decision {
    SONDE_RETRY_DONE = 0, /* a success */
    SONDE_RETRY_AGAIN,    /* another attempt, after the wait */
    SONDE_RETRY_GIVE_UP,
};

/** Begins a call and its first attempt.
 *  left_ns  the caller's own time left (deadline propagation); 0 = as configured. The earlier one holds. */
SONDE_API_HOT void sonde_retry_begin(struct sonde_retry retry, uint64_t left_ns, struct sonde_retry_call *ret_call);

/** Tells how an attempt ended. IGNORED: a failure that a retry would not mend.
 *  pushback_ns  what the peer asked for: > 0 waits so long, and with jitter up to an eighth of it or initial_ns more (all
 *               that were told the same shall not come at once), and starts the back-off anew; < 0 forbids a retry; 0 =
 *               nothing asked.
 *  ret_wait_ns  written always; until the next attempt, which has begun as far as this library is concerned.
 *  After DONE or GIVE_UP the call is over. */
SONDE_API_HOT enum sonde_retry_decision sonde_retry_next(struct sonde_retry_call *call, enum sonde_outcome outcome,
                                                         int64_t pushback_ns, uint64_t *ret_wait_ns);

/** The attempt was not made, since a breaker, bulkhead or rate limiter refused it: uses up no attempt and no budget. With
 *  a deadline the call waits and asks again (retry_after_ns, and with jitter up to an eighth of it or initial_ns more,
 *  so that all that were told the same do not come at once); without one it gives up. */
SONDE_API enum sonde_retry_decision sonde_retry_rejected(struct sonde_retry_call *call, uint64_t retry_after_ns,
                                                         uint64_t *ret_wait_ns);

/** The caller gives up by itself. Of a call that is over: nothing. */
SONDE_API void sonde_retry_abandon(struct sonde_retry_call *call);

/** Time left of a call, for the deadline of an attempt (grpc-timeout, a header); UINT64_MAX = no deadline. */
SONDE_API uint64_t sonde_retry_left_ns(const struct sonde_retry_call *call);

/** Reads the metadata value grpc-retry-pushback-ms: as pushback_ns, at most 300 s; 0 when it is absent (size 0): then
 *  nothing was asked; anything else but a number >= 0 forbids a retry. */
SONDE_API int64_t sonde_retry_pushback_grpc(const char *text, size_t size);

/** Reads the HTTP header Retry-After (seconds or a date): as pushback_ns, at most 300 s; 0 when it is neither, or absent
 *  (size 0): then nothing was asked.
 *  date  the answer's Date header, or NULL: a date is measured against the peer's own clock where it tells it.
 *  Source: RFC 9110, 10.2.3. */
SONDE_API int64_t sonde_retry_after_http(const char *text, size_t size, const char *date, size_t date_size);

SONDE_END

#endif
