/* SPDX-License-Identifier: Apache-2.0 */
/* The call of `payments`, guarded by a policy (sonde/resilience/policy.h). From the outside in:
 *
 *   fallback   a small order goes on account when it cannot be paid now
 *   retry      up to three attempts, while the budget lasts; each is a client span beside the others
 *   breaker    when half of the last calls failed, none is made for a while; a call it rejects is a span of its own
 *   bulkhead   at most so many at once: slow payments do not take all threads of `orders`
 *   timeout    of each attempt
 *
 * A payment has no deadline for the whole call, so that nobody waits for a breaker to close: the fallback answers at
 * once. A refund has one: it must be made, so it waits to be one of the breaker's probes.
 * An attempt that nobody heard the end of may have been made. So all attempts have one idempotency key, by which
 * `payments` knows them again. */
#include "shop.h"
#include <sonde/resilience/policy.h>
#include <stdio.h>
#include <stdlib.h>

#define MS              UINT64_C(1000000)
#define ON_ACCOUNT_MOST 50.0
#define REFUND_WITHIN   (10000 * MS)

static char payments_url[256], refunds_url[256];
static struct sonde_policy policy = SONDE_POLICY_INIT;

static void breaker_make(void) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    options.name = "payments";
    options.window_calls = 20;
    options.minimum_calls = 10;
    options.failure_rate = 0.5;
    options.slow_call_ns = 100 * MS;
    options.slow_call_rate = 2; /* slow calls are counted, and open nothing */
    options.probes = 3;
    options.wait_ns = 400 * MS; /* short, to be watched; elsewhere rather a minute */
    (void)sonde_breaker_create(&options, &policy.breaker);
}

static void retry_make(void) {
    struct sonde_retry_budget_options budget = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    budget.name = "payments";
    budget.tokens_max = 20; /* half of it is gone after ten failures in a row */
    budget.token_ratio = 0.5;
    struct sonde_retry_options options = SONDE_RETRY_OPTIONS_INIT;
    options.name = "payments";
    options.attempts = 3;
    options.initial_ns = 20 * MS;
    options.max_ns = 200 * MS;
    (void)sonde_retry_budget_create(&budget, &options.budget);
    (void)sonde_retry_create(&options, &policy.retry);
}

/* What cannot be made is left out of the policy. */
void shop_payment_prepare(const char *service_url) {
    (void)snprintf(payments_url, sizeof payments_url, "%s/payments", service_url);
    (void)snprintf(refunds_url, sizeof refunds_url, "%s/refunds", service_url);
    breaker_make();
    retry_make();
    struct sonde_bulkhead_options places = SONDE_BULKHEAD_OPTIONS_INIT;
    places.name = "payments";
    places.limit = 6; /* of eight threads */
    (void)sonde_bulkhead_create(&places, &policy.bulkhead);
    struct sonde_timeout_options timeout = SONDE_TIMEOUT_OPTIONS_INIT;
    timeout.name = "payments";
    timeout.attempt_ns = 2000 * MS;
    (void)sonde_timeout_create(&timeout, &policy.timeout);
    (void)sonde_fallback_create("payments", &policy.fallback);
}

struct payment {
    const char *url;
    const json_t *order;
    const struct sonde_idempotency_key *key;
    char *json;
};

static enum sonde_outcome attempt(void *arg, struct sonde_policy_attempt *attempt) {
    const struct payment *payment = arg;
    long status = shop_post(payment->url, payment->json, payment->key, attempt->call, &attempt->timed_out);
    if (status >= 200 && status < 300)
        return SONDE_OUTCOME_SUCCESS;
    bool is_theirs = status == 0 || status >= 500 || status == 409;   /* 409: an earlier attempt is still under way */
    return is_theirs ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_IGNORED; /* other 4xx: our own mistake */
}

static enum sonde_outcome on_account(void *arg, enum sonde_policy_cause cause) {
    const struct payment *payment = arg;
    (void)cause;
    bool is_small = json_number_value(json_object_get(payment->order, "amount")) <= ON_ACCOUNT_MOST;
    return is_small ? SONDE_OUTCOME_SUCCESS : SONDE_OUTCOME_FAILURE;
}

static enum sonde_policy_step run(struct payment payment, struct sonde_policy_work work) {
    payment.json = json_dumps(payment.order, JSON_COMPACT);
    work.attempt = attempt;
    work.arg = &payment;
    enum sonde_policy_step step = payment.json ? sonde_policy_run(&policy, &work) : SONDE_POLICY_FAILED;
    free(payment.json);
    return step;
}

enum shop_payment shop_payment_take(const json_t *order, const struct sonde_idempotency_key *key) {
    struct sonde_policy_work work = SONDE_POLICY_WORK_INIT;
    work.fallback = on_account;
    enum sonde_policy_step step = run((struct payment){.url = payments_url, .order = order, .key = key}, work);
    return step == SONDE_POLICY_DONE ? SHOP_PAID : step == SONDE_POLICY_FALLBACK ? SHOP_ON_ACCOUNT : SHOP_UNPAID;
}

bool shop_payment_refund(const json_t *order, const struct sonde_idempotency_key *key) {
    struct sonde_policy_work work = SONDE_POLICY_WORK_INIT;
    work.deadline = sonde_deadline_in(REFUND_WITHIN);
    return run((struct payment){.url = refunds_url, .order = order, .key = key}, work) == SONDE_POLICY_DONE;
}
