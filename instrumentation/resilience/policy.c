/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: who is asked in which order, and what is given back when one of them refuses. The clock is read once a
 * step, for the deadline and the rate limiter alike, and not at all without either. */
#include "instrumentation/resilience/clock.h"
#include "instrumentation/resilience/rate_limit.h"
#include "instrumentation/resilience/retry.h"
#include "instrumentation/resilience/timeout.h"
#include <sonde/resilience/policy.h>
#include <string.h>

/* Flags of a call. */
#define IS_UNDER_WAY 1u /* an attempt is */
#define IS_WAITING   2u
#define IS_BOUNDED   4u /* the attempt's timeout is the deadline's */
#define IS_DESCRIBED 8u /* there is a permit to tell of */

static enum sonde_policy_step fail(struct sonde_policy_call *call) {
    call->flags &= IS_DESCRIBED;
    return call->policy.fallback.index ? SONDE_POLICY_FALLBACK : SONDE_POLICY_FAILED;
}
static enum sonde_policy_step wait_for(struct sonde_policy_call *call, uint64_t wait_ns) {
    call->flags = (call->flags & IS_DESCRIBED) | IS_WAITING;
    call->wait_ns = wait_ns;
    call->attempt = call->retry.attempt;
    return SONDE_POLICY_WAIT;
}
static enum sonde_policy_step refused(struct sonde_policy_call *call, enum sonde__refuser refuser, uint64_t after_ns) {
    static const enum sonde_policy_cause causes[] = {
        [SONDE__REFUSED_BY_BREAKER] = SONDE_POLICY_BY_BREAKER,
        [SONDE__REFUSED_BY_BULKHEAD] = SONDE_POLICY_BY_BULKHEAD,
        [SONDE__REFUSED_BY_RATE_LIMIT] = SONDE_POLICY_BY_RATE_LIMIT,
    };
    uint64_t wait_ns;
    call->cause = causes[refuser];
    if (sonde__retry_refused(&call->retry, refuser, after_ns, &wait_ns) == SONDE_RETRY_AGAIN)
        return wait_for(call, wait_ns);
    return fail(call);
}
static enum sonde_policy_step out_of_time(struct sonde_policy_call *call) {
    call->cause = SONDE_POLICY_BY_TIMEOUT;
    sonde__timeout_count(call->policy.timeout, SONDE__TIMEOUT_OVERALL);
    return fail(call);
}

/* now_ns: of sonde__kit_now(), 0 = not read. */
static enum sonde_policy_step attempt_begin(struct sonde_policy_call *call, uint64_t attempt_ns, uint64_t left_ns,
                                            uint64_t now_ns) {
    const struct sonde_policy *policy = &call->policy;
    uint64_t wait_ns;
    call->flags = IS_DESCRIBED;
    if (sonde_breaker_admit(policy->breaker, &call->permit) == SONDE_REJECTED) {
        sonde_breaker_rejection_record(policy->breaker, &call->permit);
        return refused(call, SONDE__REFUSED_BY_BREAKER, call->permit.retry_after_ns);
    }
    if (!sonde_bulkhead_enter(policy->bulkhead)) {
        sonde_breaker_cancel(policy->breaker, &call->permit);
        return refused(call, SONDE__REFUSED_BY_BULKHEAD, 0);
    }
    if (!sonde__rate_limit_admit_at(policy->rate_limit, now_ns, &wait_ns)) {
        sonde_bulkhead_leave(policy->bulkhead);
        sonde_breaker_cancel(policy->breaker, &call->permit);
        return refused(call, SONDE__REFUSED_BY_RATE_LIMIT, wait_ns);
    }
    const bool is_bounded = left_ns != SONDE_TIMEOUT_NONE && (!attempt_ns || left_ns <= attempt_ns);
    call->timeout_ns = is_bounded ? left_ns : attempt_ns ? attempt_ns : SONDE_TIMEOUT_NONE;
    call->flags |= IS_UNDER_WAY | (is_bounded ? IS_BOUNDED : 0);
    return SONDE_POLICY_CALL;
}

enum sonde_policy_step sonde_policy_begin(const struct sonde_policy *policy, struct sonde_deadline deadline,
                                          struct sonde_policy_call *ret_call) {
    struct sonde_policy_call *call = ret_call;
    memset(call, 0, sizeof *call);
    memcpy(&call->policy, policy, policy->size < sizeof *policy ? policy->size : sizeof *policy);
    const struct sonde__timeout_view timeout = sonde__timeout_view(call->policy.timeout);
    uint64_t now_ns = 0, left_ns = SONDE_TIMEOUT_NONE;
    call->attempt = 1;
    call->deadline = deadline;
    if (timeout.overall_ns || deadline.monotonic_ns) {
        now_ns = sonde__kit_now_by(timeout.clock, timeout.user);
        if (timeout.overall_ns)
            call->deadline = sonde_deadline_earlier(sonde__deadline_at(now_ns, timeout.overall_ns), deadline);
        left_ns = sonde__deadline_left(call->deadline, now_ns);
        if (timeout.clock)
            now_ns = 0; /* says nothing to the others */
        if (!left_ns)
            return out_of_time(call);
    }
    sonde__retry_begin_at(call->policy.retry, now_ns, left_ns == SONDE_TIMEOUT_NONE ? 0 : left_ns, &call->retry);
    return attempt_begin(call, timeout.attempt_ns, left_ns, now_ns);
}

enum sonde_policy_step sonde_policy_resume(struct sonde_policy_call *call) {
    const struct sonde__timeout_view timeout = sonde__timeout_view(call->policy.timeout);
    uint64_t now_ns = 0, left_ns = SONDE_TIMEOUT_NONE;
    if (!(call->flags & IS_WAITING))
        return SONDE_POLICY_FAILED;
    if (call->deadline.monotonic_ns) {
        now_ns = sonde__kit_now_by(timeout.clock, timeout.user);
        left_ns = sonde__deadline_left(call->deadline, now_ns);
        if (timeout.clock)
            now_ns = 0;
        if (!left_ns) {
            sonde_retry_abandon(&call->retry);
            return out_of_time(call);
        }
    }
    return attempt_begin(call, timeout.attempt_ns, left_ns, now_ns);
}

enum sonde_policy_step sonde_policy_report(struct sonde_policy_call *call, enum sonde_outcome outcome,
                                           uint64_t duration_ns, int64_t pushback_ns) {
    uint64_t wait_ns;
    if (!(call->flags & IS_UNDER_WAY))
        return SONDE_POLICY_FAILED;
    call->flags = IS_DESCRIBED;
    call->cause = SONDE_POLICY_BY_OUTCOME;
    sonde_breaker_report(call->policy.breaker, &call->permit, outcome, duration_ns);
    sonde_bulkhead_leave(call->policy.bulkhead);
    switch (sonde_retry_next(&call->retry, outcome, pushback_ns, &wait_ns)) {
    case SONDE_RETRY_DONE:
        return SONDE_POLICY_DONE;
    case SONDE_RETRY_AGAIN:
        return wait_for(call, wait_ns);
    default:
        return outcome == SONDE_OUTCOME_IGNORED ? SONDE_POLICY_FAILED : fail(call);
    }
}

enum sonde_policy_step sonde_policy_timed_out(struct sonde_policy_call *call, uint64_t duration_ns) {
    if (!(call->flags & IS_UNDER_WAY))
        return SONDE_POLICY_FAILED;
    sonde__timeout_count(call->policy.timeout,
                         call->flags & IS_BOUNDED ? SONDE__TIMEOUT_OVERALL : SONDE__TIMEOUT_ATTEMPT);
    enum sonde_policy_step step = sonde_policy_report(call, SONDE_OUTCOME_FAILURE, duration_ns, 0);
    call->cause = SONDE_POLICY_BY_TIMEOUT;
    return step;
}

void sonde_policy_abandon(struct sonde_policy_call *call) {
    if (call->flags & IS_UNDER_WAY) {
        sonde_bulkhead_leave(call->policy.bulkhead);
        sonde_breaker_cancel(call->policy.breaker, &call->permit);
    }
    if (call->flags & (IS_UNDER_WAY | IS_WAITING))
        sonde_retry_abandon(&call->retry);
    call->flags &= IS_DESCRIBED;
}

void sonde_policy_describe(const struct sonde_policy_call *call, struct sonde_span *span) {
    if (call->flags & IS_DESCRIBED)
        sonde_breaker_describe(call->policy.breaker, &call->permit, span);
}
