/* SPDX-License-Identifier: Apache-2.0 */
/* reserve takes the goods from the shelf, charge has `payments` paid (payment.c), ship appends the order to the stream. */
#include "order.h"
#include "stream.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_long shelf;
static struct shop_redis redis; /* one connection, one user at a time */
static pthread_mutex_t redis_lock = PTHREAD_MUTEX_INITIALIZER;

void shop_steps_prepare(const char *host, int port, long stock) {
    atomic_store(&shelf, stock);
    redis.host = host;
    redis.port = port;
}
void shop_steps_close(void) {
    shop_redis_close(&redis);
}

static const char *reserve(struct shop_order *order) {
    long left = atomic_load(&shelf);
    (void)order;
    do {
        if (left <= 0)
            return "OutOfStock";
    } while (!atomic_compare_exchange_weak(&shelf, &left, left - 1));
    return NULL;
}
static const char *put_back(struct shop_order *order) {
    (void)order;
    atomic_fetch_add(&shelf, 1);
    return NULL;
}

static const char *charge(struct shop_order *order) {
    order->payment = shop_payment_take(order->json, &order->key);
    return order->payment == SHOP_UNPAID ? "PaymentFailed" : NULL;
}
static const char *refund(struct shop_order *order) {
    return order->payment == SHOP_ON_ACCOUNT || shop_payment_refund(order->json, &order->key) ? NULL : "RefundFailed";
}

static const char *ship(struct shop_order *order) {
    char amount[32];
    (void)snprintf(amount, sizeof amount, "%.2f", order->amount);
    const char *pairs[] = {"order", order->id, "amount",
                           amount,  "payment", order->payment == SHOP_ON_ACCOUNT ? "account" : "card"};
    pthread_mutex_lock(&redis_lock);
    bool is_sent = shop_stream_append(&redis, SHOP_STREAM, pairs, sizeof pairs / sizeof *pairs);
    pthread_mutex_unlock(&redis_lock);
    return is_sent ? NULL : "NotSent";
}

const struct shop_step shop_steps[SHOP_STEP_COUNT] = {[SHOP_RESERVE] = {"reserve", reserve, put_back, 409, false},
                                                      [SHOP_CHARGE] = {"charge", charge, refund, 502, true},
                                                      [SHOP_SHIP] = {"ship", ship, NULL, 503, false}};

/* The same whenever this step of this saga is asked for again. Not of the order's id: a customer whose money went back
 * may order by that id anew. */
static void key_make(struct shop_order *order, const struct sonde_saga *saga, const struct shop_step *step,
                     const char *what) {
    const struct sonde_string parts[] = {sonde_text(saga->id), sonde_text(step->name), sonde_text(what)};
    sonde_idempotency_key_derive(parts, sizeof parts / sizeof *parts, &order->key);
}

const char *shop_steps_make(struct sonde_saga *saga, struct shop_order *order, int to, int *ret_failed) {
    const char *error = NULL;
    for (int i = 0; i < to && !error; i++) {
        struct sonde_saga_step_options options = SONDE_SAGA_STEP_OPTIONS_INIT;
        struct sonde_saga_step step;
        key_make(order, saga, &shop_steps[i], "make");
        if (shop_steps[i].is_asked)
            options.idempotency_key = (struct sonde_string){order->key.text, order->key.size};
        sonde_saga_step_begin(saga, &step, shop_steps[i].name, &options);
        error = shop_steps[i].make(order);
        sonde_saga_step_end(saga, &step, error);
        *ret_failed = i;
    }
    return error;
}

/* When undoing fails, somebody must look at it. */
void shop_steps_undo(struct sonde_saga *saga, struct shop_order *order) {
    struct sonde_saga_step step;
    const char *error = NULL;
    while (!error && sonde_saga_compensate(saga, &step, NULL)) {
        for (int i = 0; i < SHOP_STEP_COUNT; i++)
            if (strcmp(step.name, shop_steps[i].name) == 0) {
                key_make(order, saga, &shop_steps[i], "undo");
                error = shop_steps[i].undo(order);
            }
        sonde_saga_step_end(saga, &step, error);
    }
    sonde_saga_end(saga, error ? SONDE_SAGA_FAILED : SONDE_SAGA_COMPENSATED);
}
