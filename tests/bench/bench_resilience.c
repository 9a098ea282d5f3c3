/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of the resilience kit. Durations are handed in, as callers that measure their calls anyway do. */
#include "tests/bench/bench.h"
#include "tests/bench/pair.h"
#include <sonde/resilience/idempotency.h>
#include <sonde/resilience/policy.h>
#include <sonde/sonde.h>

static struct sonde_breaker closed, open_breaker;

static void run_closed(uint64_t count) {
    struct sonde_breaker breaker = closed;
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_breaker_permit permit;
        if (sonde_breaker_admit(breaker, &permit) == SONDE_REJECTED)
            bench_dropped(1);
        sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_SUCCESS, 2500000u + (i & 0xFFFF));
    }
}
static void run_open(uint64_t count) {
    struct sonde_breaker breaker = open_breaker;
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_breaker_permit permit;
        if (sonde_breaker_admit(breaker, &permit) != SONDE_REJECTED)
            bench_dropped(1);
    }
}
static struct sonde_bulkhead bulkhead;
static struct sonde_rate_limit rate_limit;
static struct sonde_policy policy = SONDE_POLICY_INIT;

static void run_bulkhead(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        if (!sonde_bulkhead_enter(bulkhead))
            bench_dropped(1);
        sonde_bulkhead_leave(bulkhead);
    }
}
static void run_rate_limit(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t wait_ns;
        if (!sonde_rate_limit_admit(rate_limit, &wait_ns))
            bench_dropped(1);
    }
}
static void run_policy(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_policy_call call;
        struct sonde_deadline none = {0};
        if (sonde_policy_begin(&policy, none, &call) != SONDE_POLICY_CALL)
            bench_dropped(1);
        if (sonde_policy_report(&call, SONDE_OUTCOME_SUCCESS, 2500000u + (i & 0xFFFF), 0) != SONDE_POLICY_DONE)
            bench_dropped(1);
    }
}
static double closed_2t(uint64_t count) {
    (void)count;
    return bench_threads(2, run_closed);
}
static bool closed_1t(double *ret_ns) {
    *ret_ns = bench_threads(1, run_closed);
    return true;
}

static struct sonde_breaker make(const char *name) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_breaker breaker;
    options.name = name;
    if (sonde_breaker_create(&options, &breaker)) {
        fprintf(stderr, "no breaker %s\n", name);
        exit(1);
    }
    return breaker;
}

/* Every part there is, each with a limit that is not reached. */
static bool make_policy(void) {
    struct sonde_bulkhead_options places = SONDE_BULKHEAD_OPTIONS_INIT;
    struct sonde_rate_limit_options rate = SONDE_RATE_LIMIT_OPTIONS_INIT;
    struct sonde_timeout_options timeout = SONDE_TIMEOUT_OPTIONS_INIT;
    struct sonde_retry_budget_options budget = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_options retry = SONDE_RETRY_OPTIONS_INIT;
    places.name = rate.name = timeout.name = budget.name = retry.name = "bench";
    rate.per_second = 1e6;
    rate.burst = UINT32_MAX; /* an hour's worth */
    timeout.overall_ns = UINT64_C(5000000000);
    timeout.attempt_ns = UINT64_C(1000000000);
    budget.tokens_max = 10;
    budget.share = 0.2;
    policy.breaker = closed;
    return !sonde_bulkhead_create(&places, &bulkhead) && !sonde_rate_limit_create(&rate, &rate_limit) &&
           !sonde_timeout_create(&timeout, &policy.timeout) && !sonde_retry_budget_create(&budget, &retry.budget) &&
           !sonde_retry_create(&retry, &policy.retry) && !sonde_fallback_create("bench", &policy.fallback) &&
           (policy.bulkhead = bulkhead).index && (policy.rate_limit = rate_limit).index;
}

/* Look-ups among ids that are done, as UUIDs, in an order that has nothing to do with where they lie. */
enum { IDS = 100000, ID_SIZE = 36 };
static struct sonde_dedup dedup;
static char (*ids)[ID_SIZE];

static bool make_dedup(void) {
    struct sonde_dedup_options options = SONDE_DEDUP_OPTIONS_INIT;
    struct sonde_idempotency_key key;
    struct sonde_dedup_ticket ticket;
    options.name = "bench";
    options.ttl_ns = UINT64_C(3600000000000);
    ids = malloc(IDS * sizeof *ids);
    if (!ids || sonde_dedup_create(&options, &dedup))
        return false;
    for (int i = 0; i < IDS; i++) {
        sonde_idempotency_key_make(&key);
        memcpy(ids[i], key.text, ID_SIZE);
        if (sonde_dedup_begin(dedup, (struct sonde_string){ids[i], ID_SIZE}, 1, &ticket) != SONDE_IDEMPOTENCY_FIRST ||
            !sonde_dedup_done(&ticket))
            return false;
    }
    return true;
}
static void run_dedup(uint64_t count) {
    static uint64_t next;
    struct sonde_dedup_ticket ticket;
    uint64_t lost = 0;
    for (uint64_t i = 0; i < count; i++, next = next + 1 < IDS ? next + 1 : 0) {
        struct sonde_string id = {ids[next], ID_SIZE};
        if (sonde_dedup_begin(dedup, id, 1, &ticket) != SONDE_IDEMPOTENCY_REPLAY)
            lost += !sonde_dedup_done(&ticket) || ticket.dedup.index; /* evicted: one of some thousand */
    }
    if (lost > count / 1000)
        bench_dropped(lost);
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {"breaker_closed", run_closed, 2000000, NULL, NULL, NULL},
        {"breaker_open", run_open, 4000000, NULL, NULL, NULL},
        {"bulkhead", run_bulkhead, 4000000, NULL, NULL, NULL},
        {"rate_limit", run_rate_limit, 4000000, NULL, NULL, NULL},
        {"policy_success", run_policy, 1000000, NULL, NULL, NULL},
        {"dedup_100k", run_dedup, 500000, NULL, NULL, NULL},
        {"breaker_closed_2t", NULL, BENCH_PAIR_COUNT, NULL, closed_2t, closed_1t},
    };
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    bench_pin(0);
    closed = make("closed");
    open_breaker = make("open");
    if (sonde_breaker_state_set(open_breaker, SONDE_BREAKER_OPEN, UINT64_C(3600000000000)))
        return 1;
    if (!make_policy() || !make_dedup())
        return 1;
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
