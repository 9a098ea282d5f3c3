/* SPDX-License-Identifier: Apache-2.0 */
/* orders: POST /orders {"order": "id", "amount": 12.5}. A saga of three steps: reserve takes the goods from the shelf,
 * charge has `payments` paid (payment.c), ship appends the order to the Redis stream for `shipping`. When a step fails,
 * those before it are undone. 201 means: paid or on account, and in the stream. PAYMENTS_URL and REDIS_PORT say where
 * these are, ORDERS_STOCK how many orders the shelf is good for. */
#include "redis.h"
#include "shop.h"
#include <pthread.h>
#include <sonde/carrier/redis_streams.h>
#include <sonde/resilience/saga.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* An order on its way through the steps. */
struct order {
    json_t *json; /* as it came; borrowed */
    const char *id;
    double amount;
    enum shop_payment payment;
};

static atomic_long shelf;
static struct shop_redis redis; /* one connection, one user at a time */
static pthread_mutex_t redis_lock = PTHREAD_MUTEX_INITIALIZER;

/* XADD orders MAXLEN ~ 100000 * order <id> amount <n>, and the context of the span round it as further fields. */
static bool append(const char *id, const char *amount) {
    const char *argv[24] = {"XADD", SHOP_STREAM, "MAXLEN", "~", "100000", "*", "order", id, "amount", amount};
    size_t argvlen[24], count = 10;
    for (size_t i = 0; i < count; i++)
        argvlen[i] = strlen(argv[i]);
    char text[SONDE_REDIS_INJECT_SIZE];
    struct sonde_redis_fields fields = {argv, argvlen, 6, count, 24, text, sizeof text, 0};
    struct sonde_message message = {.carrier = sonde_redis_carrier(&fields)};
    struct sonde_messaging send;
    sonde_messaging_init(&send, SONDE_MESSAGING_SEND);
    send.system = sonde_text("redis");
    send.destination = sonde_text(SHOP_STREAM);
    send.server_address = sonde_text(redis.host);
    send.server_port = (uint16_t)redis.port;
    send.messages = &message;
    send.message_count = 1;
    sonde_messaging_start(&send); /* its context is in the fields now, and the time */

    char error[128];
    pthread_mutex_lock(&redis_lock);
    redisReply *reply = shop_redis_command(&redis, (int)fields.count, argv, argvlen, error, sizeof error);
    pthread_mutex_unlock(&redis_lock);
    if (reply) {
        message.id = (struct sonde_string){reply->str, (size_t)reply->len};
    } else {
        send.error_type = "RedisError";
        sonde_span_record_exception(&send.span, send.error_type, error, NULL);
    }
    sonde_messaging_end(&send);
    freeReplyObject(reply);
    return reply != NULL;
}

static void log_order(const char *id, double amount) {
    char text[160];
    int size = snprintf(text, sizeof text, "order %s accepted", id);
    struct sonde_attribute attributes[] = {
        SHOP_STRING("shop.order.id", id),
        sonde_attribute_double(SONDE_KEY("shop.order.amount"), amount),
    };
    sonde_log(SONDE_SEVERITY_INFO, text, (size_t)size, attributes, 2);
}

/* --- the steps; each gives NULL, or what went wrong --- */

static const char *reserve(struct order *order) {
    long left = atomic_load(&shelf);
    (void)order;
    do {
        if (left <= 0)
            return "OutOfStock";
    } while (!atomic_compare_exchange_weak(&shelf, &left, left - 1));
    return NULL;
}
static const char *put_back(struct order *order) {
    (void)order;
    atomic_fetch_add(&shelf, 1);
    return NULL;
}

static const char *charge(struct order *order) {
    order->payment = shop_payment_take(order->json);
    return order->payment == SHOP_UNPAID ? "PaymentFailed" : NULL;
}
static const char *refund(struct order *order) {
    return order->payment == SHOP_ON_ACCOUNT || shop_payment_refund(order->json) ? NULL : "RefundFailed";
}

static const char *ship(struct order *order) {
    char amount[32];
    (void)snprintf(amount, sizeof amount, "%.2f", order->amount);
    return append(order->id, amount) ? NULL : "NotSent";
}

static const struct step {
    const char *name;
    const char *(*make)(struct order *order), *(*undo)(struct order *order);
    unsigned status; /* when it fails */
} steps[] = {{"reserve", reserve, put_back, 409}, {"charge", charge, refund, 502}, {"ship", ship, NULL, 503}};
#define STEP_COUNT (sizeof steps / sizeof *steps)

/* Undoes what was done, the last first. False when that failed: then somebody must look at it. */
static bool compensate(struct sonde_saga *saga, struct order *order) {
    struct sonde_saga_step step;
    const char *error = NULL;
    while (!error && sonde_saga_compensate(saga, &step, NULL)) {
        for (size_t i = 0; i < STEP_COUNT; i++)
            if (strcmp(step.name, steps[i].name) == 0)
                error = steps[i].undo(order);
        sonde_saga_step_end(saga, &step, error);
    }
    return !error;
}

/* Makes the steps of an order. Returns the status of the answer; *ret_error is what went wrong, or NULL. */
static unsigned order_run(struct order *order, const char **ret_error) {
    struct sonde_saga saga;
    struct sonde_saga_step step;
    *ret_error = NULL;
    sonde_saga_begin(&saga, "order", NULL);
    for (size_t i = 0; i < STEP_COUNT; i++) {
        sonde_saga_step_begin(&saga, &step, steps[i].name, NULL);
        *ret_error = steps[i].make(order);
        sonde_saga_step_end(&saga, &step, *ret_error);
        if (*ret_error) {
            bool is_undone = compensate(&saga, order);
            sonde_saga_end(&saga, is_undone ? SONDE_SAGA_COMPENSATED : SONDE_SAGA_FAILED);
            return steps[i].status;
        }
    }
    sonde_saga_end(&saga, SONDE_SAGA_COMPLETED);
    return 201;
}

static unsigned post_orders(const struct shop_request *request, json_t **ret_body) {
    struct order order = {.json = request->body,
                          .id = json_string_value(json_object_get(request->body, "order")),
                          .amount = json_number_value(json_object_get(request->body, "amount"))};
    const char *error;
    if (!order.id || strlen(order.id) > 64 || order.amount <= 0)
        return 400;
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.order.id"), order.id);
    sonde_span_set_double(request->span, SONDE_KEY("shop.order.amount"), order.amount);
    unsigned status = order_run(&order, &error);
    if (error) {
        sonde_span_record_exception(request->span, error, "the order was not accepted", NULL);
        return status;
    }
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.payment.method"),
                        order.payment == SHOP_PAID ? "card" : "account");
    log_order(order.id, order.amount);
    *ret_body = json_pack("{s:s}", "accepted", order.id);
    return status;
}

int main(void) {
    static const struct shop_route routes[] = {{"POST", "/orders", post_orders}, {0}};
    atomic_store(&shelf, (long)shop_env_number("ORDERS_STOCK", 1e6));
    redis.host = "127.0.0.1";
    redis.port = (int)shop_env_number("REDIS_PORT", 6379);
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "orders";
    options.service_namespace = "shop";
    (void)sonde_start(&options); /* the service works without telemetry: nothing to do on an error */
    shop_payment_prepare(shop_env("PAYMENTS_URL", "http://127.0.0.1:8081"));

    struct shop_server *server = shop_server_start("orders", (unsigned)shop_env_number("ORDERS_PORT", 0), routes);
    if (!server)
        return EXIT_FAILURE;
    shop_stop_wait();
    shop_server_stop(server);
    shop_redis_close(&redis);
    (void)sonde_shutdown(2000);
    return EXIT_SUCCESS;
}
