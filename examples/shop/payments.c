/* SPDX-License-Identifier: Apache-2.0 */
/* payments: takes the money, or is slow, or says 503; and gives it back. How often is set by PAYMENTS_FAIL_RATE and
 * PAYMENTS_SLOW_RATE (0..1), how slow by PAYMENTS_SLOW_MS. An outage, in which every payment fails, is played by
 * PAYMENTS_OUTAGE_AFTER, PAYMENTS_OUTAGE_FOR and PAYMENTS_OUTAGE_EVERY: seconds from the first payment to its begin, of
 * its length (0 = none), and from one to the next (0 = it does not come again). PAYMENTS_LOST_RATE (0..1) of those who
 * pay are not told: they get 504, though the money is taken.
 * What has an Idempotency-Key is done once: a repetition gets the same answer, or 409 while the first is under way. */
#include "shop.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double fail_rate, slow_rate, slow_ms, lost_rate;
static double outage_after, outage_for, outage_every;
static struct sonde_instrument taken, given_back;
static struct sonde_dedup dedup;

static double chance(void) {
    static _Thread_local unsigned seed;
    if (!seed)
        seed = (unsigned)time(NULL) ^ (unsigned)(uintptr_t)&seed;
    return (double)rand_r(&seed) / (double)RAND_MAX;
}

static double first_payment;
static void first_payment_note(void) {
    first_payment = shop_seconds();
}

static bool bank_is_down(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, first_payment_note);
    double at = shop_seconds() - first_payment;
    if (outage_every > 0)
        at = fmod(at, outage_every);
    return at >= outage_after && at < outage_after + outage_for;
}

/* Asks the bank; here a wait and a throw of dice. */
static bool authorize(double amount) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("authorize card"), NULL);
    sonde_span_set_double(&span, SONDE_KEY("shop.payment.amount"), amount);

    double wait_ms = 1 + 4 * chance();
    if (chance() < slow_rate) {
        wait_ms = slow_ms;
        struct sonde_attribute why[] = {SHOP_STRING("shop.payment.reason", "second factor asked for")};
        sonde_span_add_event(&span, SONDE_NAME("payment.delayed"), 0, why, 1);
    }
    struct timespec wait = {(time_t)(wait_ms / 1e3), (long)((uint64_t)(wait_ms * 1e6) % 1000000000u)};
    (void)nanosleep(&wait, NULL);

    bool ok = !bank_is_down() && chance() >= fail_rate;
    if (ok)
        sonde_span_add_event(&span, SONDE_NAME("payment.authorized"), 0, NULL, 0);
    else
        shop_span_fail(&span, "BankUnavailable", "the bank did not answer");
    sonde_span_end(&span);
    return ok;
}

static void count(struct sonde_instrument instrument) {
    struct sonde_attribute currency[] = {SHOP_STRING("shop.currency", "EUR")};
    sonde_instrument_add(instrument, 1, currency, 1);
}

/* Spread evenly, from the first on. */
static bool is_lost(void) {
    static atomic_uint number;
    double before = lost_rate * atomic_fetch_add(&number, 1);
    return ceil(before + lost_rate) > ceil(before);
}

static unsigned pay(double amount) {
    if (!authorize(amount))
        return 503;
    count(taken);
    return 200;
}
static unsigned give_back(double amount) {
    (void)amount;
    count(given_back);
    return 200;
}

/* Does what is asked for when it has not been done; what failed may be tried again. The answer follows from the request,
 * so there is none to keep. */
static unsigned do_once(const struct shop_request *request, const char *order, double amount,
                        unsigned (*work)(double amount)) {
    const struct sonde_string key = {request->key.text, request->key.size};
    char text[160];
    int size = snprintf(text, sizeof text, "%.100s %.2f", order, amount);
    struct sonde_dedup_ticket ticket;
    if (!key.size)
        return work(amount);
    enum sonde_idempotency_result result =
        sonde_dedup_begin(dedup, key, sonde_idempotency_fingerprint(text, (size_t)size), &ticket);
    sonde_idempotency_describe(request->span, key, result);
    if (result != SONDE_IDEMPOTENCY_FIRST)
        return result == SONDE_IDEMPOTENCY_REPLAY ? 200 : result == SONDE_IDEMPOTENCY_IN_FLIGHT ? 409 : 422;
    unsigned status = work(amount);
    (void)(status == 200 ? sonde_dedup_done(&ticket) : sonde_dedup_forget(&ticket));
    return status == 200 && work == pay && is_lost() ? 504 : status;
}

static unsigned post(const struct shop_request *request, const char *what, unsigned (*work)(double amount),
                     json_t **ret_body) {
    const char *order = json_string_value(json_object_get(request->body, "order"));
    double amount = json_number_value(json_object_get(request->body, "amount"));
    if (!order || amount <= 0)
        return 400;
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.order.id"), order);
    unsigned status = do_once(request, order, amount, work);
    if (status == 200)
        *ret_body = json_pack("{s:s}", what, order);
    return status;
}
static unsigned post_payments(const struct shop_request *request, json_t **ret_body) {
    return post(request, "paid", pay, ret_body);
}
static unsigned post_refunds(const struct shop_request *request, json_t **ret_body) {
    return post(request, "refunded", give_back, ret_body);
}

static void count_prepare(const char *name, const char *unit, const char *description, struct sonde_instrument *ret) {
    struct sonde_instrument_options counter = {
        .size = sizeof counter, .kind = SONDE_COUNTER, .name = name, .unit = unit, .description = description};
    (void)sonde_instrument_create(&counter, ret);
}

int main(void) {
    static const struct shop_route routes[] = {
        {"POST", "/payments", post_payments}, {"POST", "/refunds", post_refunds}, {0}};
    fail_rate = shop_env_number("PAYMENTS_FAIL_RATE", 0.1);
    slow_rate = shop_env_number("PAYMENTS_SLOW_RATE", 0.1);
    slow_ms = shop_env_number("PAYMENTS_SLOW_MS", 120);
    lost_rate = shop_env_number("PAYMENTS_LOST_RATE", 0);
    outage_after = shop_env_number("PAYMENTS_OUTAGE_AFTER", 0);
    outage_for = shop_env_number("PAYMENTS_OUTAGE_FOR", 0);
    outage_every = shop_env_number("PAYMENTS_OUTAGE_EVERY", 0);
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "payments";
    options.service_namespace = "shop";
    (void)sonde_start(&options);
    count_prepare("shop.payments", "{payment}", "Payments taken.", &taken);
    count_prepare("shop.refunds", "{refund}", "Payments given back.", &given_back);
    struct sonde_dedup_options keys = SONDE_DEDUP_OPTIONS_INIT;
    keys.name = "payments";
    keys.capacity = 10000;
    (void)sonde_dedup_create(&keys, &dedup);

    struct shop_server *server = shop_server_start("payments", (unsigned)shop_env_number("PAYMENTS_PORT", 0), routes);
    if (!server)
        return EXIT_FAILURE;
    shop_stop_wait();
    shop_server_stop(server);
    (void)sonde_shutdown(2000);
    return EXIT_SUCCESS;
}
