/* SPDX-License-Identifier: Apache-2.0 */
/* The one part of the kit that sleeps: a policy's call made from begin to end. */
#include "instrumentation/resilience/clock.h"
#include "instrumentation/resilience/timeout.h"
#include <errno.h>
#include <sonde/resilience/policy.h>
#include <string.h>
#include <time.h>

static void sleep_by(const struct sonde_policy_work *work, uint64_t wait_ns) {
    struct timespec until = {0};
    if (work->sleep) {
        work->sleep(work->arg, wait_ns);
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns % 1000000000u;
    until.tv_sec += (time_t)(wait_ns / 1000000000u + ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static enum sonde_policy_step attempt_make(struct sonde_policy_call *call, const struct sonde_policy_work *work) {
    const struct sonde__timeout_view timeout = sonde__timeout_view(call->policy.timeout);
    struct sonde_policy_attempt attempt = {.size = sizeof attempt, .call = call};
    uint64_t from_ns = sonde__kit_now_by(timeout.clock, timeout.user);
    enum sonde_outcome outcome = work->attempt(work->arg, &attempt);
    uint64_t to_ns = sonde__kit_now_by(timeout.clock, timeout.user),
             duration_ns = to_ns > from_ns ? to_ns - from_ns : 0;
    if (attempt.timed_out && outcome == SONDE_OUTCOME_FAILURE)
        return sonde_policy_timed_out(call, duration_ns);
    return sonde_policy_report(call, outcome, duration_ns, attempt.pushback_ns);
}

enum sonde_policy_step sonde_policy_run(const struct sonde_policy *policy, const struct sonde_policy_work *given) {
    struct sonde_policy_work work = SONDE_POLICY_WORK_INIT;
    struct sonde_policy_call call;
    memcpy(&work, given, given->size < sizeof work ? given->size : sizeof work);
    enum sonde_policy_step step = sonde_policy_begin(policy, work.deadline, &call);
    while (step == SONDE_POLICY_CALL || step == SONDE_POLICY_WAIT) {
        if (step == SONDE_POLICY_CALL) {
            step = attempt_make(&call, &work);
        } else {
            sleep_by(&work, call.wait_ns);
            step = sonde_policy_resume(&call);
        }
    }
    if (step != SONDE_POLICY_FALLBACK || !work.fallback)
        return step == SONDE_POLICY_DONE ? step : SONDE_POLICY_FAILED;
    enum sonde_outcome outcome = work.fallback(work.arg, call.cause);
    sonde_fallback_record(call.policy.fallback, outcome);
    return outcome == SONDE_OUTCOME_SUCCESS ? SONDE_POLICY_FALLBACK : SONDE_POLICY_FAILED;
}
