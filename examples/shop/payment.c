/* SPDX-License-Identifier: Apache-2.0 */
/* The call of `payments`, guarded. From the outside in:
 *
 *   fallback   a small order goes on account when it cannot be paid now
 *   bulkhead   at most so many at once: slow payments do not take all threads of `orders`
 *   retry      up to three attempts, while the budget lasts; each is a client span beside the others
 *   breaker    when half of the last calls failed, none is made for a while; a call it rejects is a span of its own
 *
 * A rejection by the breaker uses up no attempt, and is not waited for: the customer gets the fallback at once. */
#include "shop.h"
#include <sonde/resilience/bulkhead.h>
#include <sonde/resilience/retry.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MS              UINT64_C(1000000)
#define ON_ACCOUNT_MOST 50.0

static char url[256];
static struct sonde_bulkhead bulkhead;
static struct sonde_breaker breaker;
static struct sonde_retry retry;

void shop_payment_prepare(const char *service_url) {
    (void)snprintf(url, sizeof url, "%s/payments", service_url);

    struct sonde_bulkhead_options places = SONDE_BULKHEAD_OPTIONS_INIT;
    places.name = "payments";
    places.limit = 6;                                /* of eight threads */
    (void)sonde_bulkhead_create(&places, &bulkhead); /* on an error: no limit; and so on */

    struct sonde_retry_budget_options budget = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    budget.name = "payments";
    budget.tokens_max = 20; /* gone after ten failures in a row */
    budget.token_ratio = 0.5;
    struct sonde_retry_options retries = SONDE_RETRY_OPTIONS_INIT;
    retries.name = "payments";
    retries.attempts = 3;
    retries.initial_ns = 20 * MS;
    retries.max_ns = 200 * MS;
    (void)sonde_retry_budget_create(&budget, &retries.budget);
    (void)sonde_retry_create(&retries, &retry);

    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    options.name = "payments";
    options.window_calls = 20;
    options.minimum_calls = 10;
    options.failure_rate = 0.5;
    options.slow_call_ns = 100 * MS;
    options.slow_call_rate = 2; /* slow calls are counted, and open nothing */
    options.probes = 3;
    options.wait_ns = 400 * MS; /* short, to be watched; a minute is more like it elsewhere */
    (void)sonde_breaker_create(&options, &breaker);
}

static enum sonde_outcome worth(long status) {
    if (status >= 200 && status < 300)
        return SONDE_OUTCOME_SUCCESS;
    return status == 0 || status >= 500 ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_IGNORED; /* 4xx: our own mistake */
}

static bool pause_ns(uint64_t ns) {
    struct timespec wait = {(time_t)(ns / (1000 * MS)), (long)(ns % (1000 * MS))};
    (void)nanosleep(&wait, NULL);
    return true;
}

static bool pay(const char *json) {
    struct sonde_retry_call call;
    enum sonde_retry_decision decision;
    uint64_t wait_ns;
    sonde_retry_begin(retry, 0, &call);
    do {
        struct sonde_breaker_permit permit;
        if (sonde_breaker_admit(breaker, &permit) == SONDE_REJECTED) {
            sonde_breaker_rejection_record(breaker, &permit);
            decision = sonde_retry_rejected(&call, permit.retry_after_ns, &wait_ns);
            continue;
        }
        struct shop_attempt attempt = {call.attempt - 1, breaker, &permit};
        double begun = shop_seconds();
        enum sonde_outcome outcome = worth(shop_post(url, json, &attempt));
        sonde_breaker_report(breaker, &permit, outcome, (uint64_t)((shop_seconds() - begun) * 1e9));
        decision = sonde_retry_next(&call, outcome, 0, &wait_ns);
    } while (decision == SONDE_RETRY_AGAIN && pause_ns(wait_ns));
    return decision == SONDE_RETRY_DONE;
}

enum shop_payment shop_payment_take(json_t *order) {
    char *json = json_dumps(order, JSON_COMPACT);
    bool is_paid = false;
    if (json && sonde_bulkhead_enter(bulkhead)) {
        is_paid = pay(json);
        sonde_bulkhead_leave(bulkhead);
    }
    free(json);
    if (is_paid)
        return SHOP_PAID;
    return json_number_value(json_object_get(order, "amount")) <= ON_ACCOUNT_MOST ? SHOP_ON_ACCOUNT : SHOP_UNPAID;
}
