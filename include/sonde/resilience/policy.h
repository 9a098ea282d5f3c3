/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: the kit's parts round one call, in an order that is right. From outside in:
 *
 *   fallback > overall timeout > retry (with its budget) > breaker > bulkhead > rate limit > attempt timeout
 *
 * Every attempt asks breaker, bulkhead and rate limiter anew; what one of them refuses uses up no attempt: with a
 * deadline and a way of retrying the call waits and asks again, else it fails. A refused attempt is not counted by the
 * parts before it: the breaker's permit comes back, so does the place in the bulkhead.
 *
 *   step = sonde_policy_begin(&policy, deadline, &call);
 *   CALL: make attempt call.attempt, for at most call.timeout_ns; then
 *         step = sonde_policy_report(&call, outcome, duration_ns, pushback_ns)  or  sonde_policy_timed_out(...)
 *   WAIT: set a timer to call.wait_ns; then  step = sonde_policy_resume(&call)
 *   DONE, FALLBACK, FAILED: the call is over
 *
 * Nothing here sleeps or blocks, but for sonde_policy_run(). No allocation, no lock.
 * Each attempt is a client span of its own, beside the others and with the resend count call.attempt - 1
 * (sonde/conventions/http.h, rpc.h): make them where the attempt is made, and call sonde_policy_describe(). What a
 * breaker rejects is recorded as a span. Hedged calls (hedge.h) are made instead of retried ones. */
#ifndef SONDE_RESILIENCE_POLICY_H
#define SONDE_RESILIENCE_POLICY_H

#include <sonde/resilience/breaker.h>
#include <sonde/resilience/bulkhead.h>
#include <sonde/resilience/fallback.h>
#include <sonde/resilience/rate_limit.h>
#include <sonde/resilience/retry.h>
#include <sonde/resilience/timeout.h>

SONDE_BEGIN

/** What is composed; a value of the caller's, set up with SONDE_POLICY_INIT. A handle 0 is a part left out. The overall
 *  deadline is the timeout's and the caller's; a retry's own deadline_ns only bounds when its last retry may begin. */
struct sonde_policy {
    size_t size;
    struct sonde_fallback fallback;
    struct sonde_timeout timeout;
    struct sonde_retry retry;
    struct sonde_breaker breaker;
    struct sonde_bulkhead bulkhead;
    struct sonde_rate_limit rate_limit;
};
#ifdef __cplusplus
#define SONDE_POLICY_INIT { sizeof(struct sonde_policy), { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, { 0 } }
#else
#define SONDE_POLICY_INIT { .size = sizeof(struct sonde_policy) }
#endif

enum sonde_policy_step {
    SONDE_POLICY_CALL = 0, /* make an attempt */
    SONDE_POLICY_WAIT,     /* wait_ns, then resume */
    SONDE_POLICY_DONE,     /* a success */
    SONDE_POLICY_FALLBACK, /* a failure that the fallback is to answer: sonde_fallback_record() its outcome */
    SONDE_POLICY_FAILED,
};

/** What the last attempt came to, or why there was none. */
enum sonde_policy_cause {
    SONDE_POLICY_NOTHING = 0,
    SONDE_POLICY_BY_OUTCOME,    /* as reported */
    SONDE_POLICY_BY_TIMEOUT,    /* of the attempt, or no time is left */
    SONDE_POLICY_BY_BREAKER,    /* these three refused */
    SONDE_POLICY_BY_BULKHEAD,
    SONDE_POLICY_BY_RATE_LIMIT,
};

/** One call; a value of the caller's, of one thread at a time. To be read: attempt (1 = the first), cause, deadline,
 *  wait_ns (of WAIT), timeout_ns (of CALL; SONDE_TIMEOUT_NONE = no timeout). */
struct sonde_policy_call {
    struct sonde_policy policy;
    struct sonde_retry_call retry;
    struct sonde_breaker_permit permit;
    struct sonde_deadline deadline;
    uint64_t wait_ns, timeout_ns;
    uint32_t attempt, flags;
    enum sonde_policy_cause cause;
};

/** Begins a call, and asks for its first attempt.
 *  policy    borrowed.
 *  deadline  the caller's own, or {0} = none. The earlier of this and the timeout's holds.
 *  CALL must be followed by report, timed_out or abandon; WAIT by resume or abandon. */
SONDE_API_HOT enum sonde_policy_step sonde_policy_begin(const struct sonde_policy *policy,
                                                        struct sonde_deadline deadline,
                                                        struct sonde_policy_call *ret_call);
/** Tells how the attempt ended (duration and pushback: as of sonde_breaker_report(), sonde_retry_next()). IGNORED, a
 *  failure of the caller's own, ends the call without a retry or a fallback. Never CALL. */
SONDE_API_HOT enum sonde_policy_step sonde_policy_report(struct sonde_policy_call *call, enum sonde_outcome outcome,
                                                         uint64_t duration_ns, int64_t pushback_ns);
/** The attempt took longer than timeout_ns: a failure, counted as sonde.resilience.timeout. */
SONDE_API enum sonde_policy_step sonde_policy_timed_out(struct sonde_policy_call *call, uint64_t duration_ns);
/** Asks for the next attempt after a WAIT. Never DONE. */
SONDE_API enum sonde_policy_step sonde_policy_resume(struct sonde_policy_call *call);
/** The caller gives up by itself; an attempt under way was not made. Of a call that is over: nothing. */
SONDE_API void sonde_policy_abandon(struct sonde_policy_call *call);

/** Puts sonde.circuit_breaker.name and .state on the span of the attempt. */
SONDE_API void sonde_policy_describe(const struct sonde_policy_call *call, struct sonde_span *span);

/* ---- blocking ---- */

/** An attempt, as the function that makes it sees it.
 *  call         to read, and for sonde_policy_describe().
 *  pushback_ns  to set, when the peer asks for it (sonde_retry_after_http(), sonde_retry_pushback_grpc()).
 *  timed_out    to set, when it took longer than call->timeout_ns; counts with FAILURE only. */
struct sonde_policy_attempt {
    size_t size;
    const struct sonde_policy_call *call;
    int64_t pushback_ns;
    bool timed_out;
};

/** Set up with SONDE_POLICY_WORK_INIT.
 *  attempt   makes one attempt, and ends it within call->timeout_ns by its own means.
 *  fallback  NULL, or answers instead, once, when the policy has a fallback, which counts what it returns.
 *  deadline  the caller's own, or {0}.
 *  sleep     NULL = sonde_policy_run() sleeps by itself; or waits so long (for tests, fibres).
 *  arg       of the three functions. */
struct sonde_policy_work {
    size_t size;
    enum sonde_outcome (*attempt)(void *arg, struct sonde_policy_attempt *attempt);
    enum sonde_outcome (*fallback)(void *arg, enum sonde_policy_cause cause);
    struct sonde_deadline deadline;
    void (*sleep)(void *arg, uint64_t wait_ns);
    void *arg;
};
#ifdef __cplusplus
#define SONDE_POLICY_WORK_INIT { sizeof(struct sonde_policy_work), nullptr, nullptr, { 0 }, nullptr, nullptr }
#else
#define SONDE_POLICY_WORK_INIT { .size = sizeof(struct sonde_policy_work) }
#endif

/** Makes a call from begin to end, for services with threads: blocks, and sleeps between attempts (through signals), but
 *  never past the deadline. Without a deadline the retry's attempts and waits bound it.
 *  policy, work  borrowed.
 *  Returns SONDE_POLICY_DONE, _FALLBACK (work->fallback answered with a success) or _FAILED. */
SONDE_API enum sonde_policy_step sonde_policy_run(const struct sonde_policy *policy,
                                                  const struct sonde_policy_work *work);

SONDE_END

#endif
