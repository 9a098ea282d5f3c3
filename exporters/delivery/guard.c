/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/delivery/guard.h"
#include "instrumentation/resilience/breaker.h"
#include <stdio.h>

/* Requests that fail in a row until the breaker opens; with the default concurrency one outage is enough at once. */
#define FAILURES_IN_A_ROW 3u
/* And the share of failures among so many, for a backend that answers now and then. */
#define WINDOW            20u
#define WINDOW_MINIMUM    10u
#define FAILURE_RATE      0.5
/* A failure takes a token, a success gives one back: retries end when there are more failures than successes. */
#define TOKENS            10.0
#define TOKEN_RATIO       1.0
/* For ever, as the kit counts: a call without a deadline does not wait for a breaker. */
#define ALWAYS_NS         (UINT64_MAX / 4)

/* The kit keeps clocks as long as its names: for the process. */
static struct sonde_time guard_time;
static struct sonde_random guard_random;

static uint64_t clock_read(void *user) {
    (void)user;
    return guard_time.monotonic_ns(guard_time.self);
}
static uint64_t random_read(void *user) {
    (void)user;
    return guard_random.next(guard_random.self);
}

static struct sonde_retry_budget budget_make(const char *name) {
    struct sonde_retry_budget_options options = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_budget budget;
    options.name = name;
    options.tokens_max = TOKENS;
    options.token_ratio = TOKEN_RATIO;
    (void)sonde_retry_budget_create(&options, &budget);
    return budget;
}

static struct sonde_retry retry_make(const char *name, uint64_t initial_ns, uint64_t max_ns) {
    struct sonde_retry_options options = SONDE_RETRY_OPTIONS_INIT;
    struct sonde_retry retry;
    options.name = name;
    options.attempts = 100;
    options.initial_ns = initial_ns;
    options.max_ns = max_ns;
    options.budget = budget_make(name);
    options.clock = clock_read;
    options.random = random_read;
    (void)sonde_retry_create(&options, &retry);
    return retry;
}

static struct sonde_breaker breaker_make(const char *name, uint64_t timeout_ns, uint64_t initial_ns, uint64_t max_ns) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_breaker breaker;
    options.name = name;
    options.window_calls = WINDOW;
    options.minimum_calls = WINDOW_MINIMUM;
    options.failure_rate = FAILURE_RATE;
    options.slow_call_rate = 2; /* never: timeouts are failures, and who is slow is not helped by waiting */
    options.consecutive_failures = FAILURES_IN_A_ROW;
    options.probes = 1;
    options.wait_ns = initial_ns;
    options.wait_factor = 2;
    options.wait_max_ns = max_ns - max_ns / 9 > initial_ns ? max_ns - max_ns / 9 : initial_ns; /* an eighth is spread */
    options.half_open_max_ns = 2 * timeout_ns + initial_ns;
    options.clock = clock_read;
    (void)sonde_breaker_create(&options, &breaker);
    return breaker;
}

void sonde__guard_make(struct sonde__guard *guard, const char *name, uint64_t timeout_ns, uint64_t retry_initial_ns,
                       uint64_t retry_max_ns, const struct sonde_seams *seams) {
    char full[SONDE__BREAKER_NAME_SIZE_MAX + 1];
    guard_time = seams->time;
    guard_random = seams->random;
    (void)snprintf(full, sizeof full, "exporter/%s", name);
    guard->retry = retry_make(full, retry_initial_ns, retry_max_ns);
    guard->breaker = breaker_make(full, timeout_ns, retry_initial_ns, retry_max_ns);
    guard->retry_max_ns = retry_max_ns;
    if (!sonde__guard_is_closed(guard)) /* of an exporter that was here before us */
        (void)sonde_breaker_state_set(guard->breaker, SONDE_BREAKER_CLOSED, 0);
}

static void call_begin(const struct sonde__guard *guard, struct sonde_retry_call *call) {
    if (!call->retry.index)
        sonde_retry_begin(guard->retry, ALWAYS_NS, call);
}

bool sonde__guard_admits(const struct sonde__guard *guard, struct sonde_retry_call *call,
                         struct sonde_breaker_permit *ret_permit, uint64_t *ret_wait_ns) {
    *ret_wait_ns = 0;
    call_begin(guard, call);
    if (sonde_breaker_admit(guard->breaker, ret_permit) != SONDE_REJECTED)
        return true;
    if (sonde_retry_rejected(call, ret_permit->retry_after_ns, ret_wait_ns) != SONDE_RETRY_AGAIN)
        *ret_wait_ns = guard->retry_max_ns;
    if (*ret_wait_ns > guard->retry_max_ns) /* the kit's spread comes on top of the wait */
        *ret_wait_ns =
            ret_permit->retry_after_ns > guard->retry_max_ns ? ret_permit->retry_after_ns : guard->retry_max_ns;
    return false;
}

void sonde__guard_insist(const struct sonde__guard *guard, struct sonde_retry_call *call,
                         struct sonde_breaker_permit *ret_permit) {
    call_begin(guard, call);
    if (sonde_breaker_state_get(guard->breaker) == SONDE_BREAKER_OPEN ||
        sonde_breaker_admit(guard->breaker, ret_permit) == SONDE_REJECTED)
        *ret_permit = SONDE__PERMIT_NONE;
}

uint64_t sonde__guard_failed(const struct sonde__guard *guard, struct sonde_retry_call *call,
                             const struct sonde_breaker_permit *permit, uint64_t duration_ns, uint64_t pushback_ns) {
    uint64_t wait_ns;
    sonde_breaker_report(guard->breaker, permit, SONDE_OUTCOME_FAILURE, duration_ns);
    if (sonde_retry_next(call, SONDE_OUTCOME_FAILURE, (int64_t)pushback_ns, &wait_ns) != SONDE_RETRY_AGAIN)
        wait_ns = pushback_ns ? pushback_ns : guard->retry_max_ns;
    return sonde__guard_is_closed(guard) || pushback_ns ? wait_ns : 0;
}

bool sonde__guard_answered(const struct sonde__guard *guard, struct sonde_retry_call *call,
                           const struct sonde_breaker_permit *permit, uint64_t duration_ns, bool is_final) {
    uint64_t wait_ns;
    bool was_closed = sonde__guard_is_closed(guard);
    sonde_breaker_report(guard->breaker, permit, SONDE_OUTCOME_SUCCESS, duration_ns);
    (void)sonde_retry_next(call, is_final ? SONDE_OUTCOME_IGNORED : SONDE_OUTCOME_SUCCESS, 0, &wait_ns);
    return !was_closed && sonde__guard_is_closed(guard);
}

const char *sonde__guard_state(const struct sonde__guard *guard) {
    return guard->breaker.index ? sonde__breaker_state_text(sonde_breaker_state_get(guard->breaker)) : "";
}
