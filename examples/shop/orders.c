/* SPDX-License-Identifier: Apache-2.0 */
/* orders: POST /orders {"order": "id", "amount": 12.5}. Has it paid by `payments` (payment.c), then appends it to the
 * Redis stream for `shipping`. 201 means: paid or on account, and in the stream. PAYMENTS_URL and REDIS_PORT say where
 * these are. */
#include "redis.h"
#include "shop.h"
#include <pthread.h>
#include <sonde/carrier/redis_streams.h>
#include <stdio.h>
#include <stdlib.h>

static struct shop_redis redis; /* one connection, one user at a time */
static pthread_mutex_t redis_lock = PTHREAD_MUTEX_INITIALIZER;

/* XADD orders MAXLEN ~ 100000 * order <id> amount <n>, and the context of the span round it as further fields. */
static bool append(const char *id, const char *amount) {
    const char *argv[16] = {"XADD", SHOP_STREAM, "MAXLEN", "~", "100000", "*", "order", id, "amount", amount};
    size_t argvlen[16], count = 10;
    for (size_t i = 0; i < count; i++)
        argvlen[i] = strlen(argv[i]);
    char text[SONDE_REDIS_INJECT_SIZE];
    struct sonde_redis_fields fields = {argv, argvlen, 6, count, 16, text, sizeof text, 0};
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

static unsigned post_orders(const struct shop_request *request, json_t **ret_body) {
    const char *id = json_string_value(json_object_get(request->body, "order"));
    double amount = json_number_value(json_object_get(request->body, "amount"));
    char amount_text[32];
    if (!id || strlen(id) > 64 || amount <= 0)
        return 400;
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.order.id"), id);
    sonde_span_set_double(request->span, SONDE_KEY("shop.order.amount"), amount);
    enum shop_payment payment = shop_payment_take(request->body);
    if (payment == SHOP_UNPAID) {
        sonde_span_record_exception(request->span, "PaymentFailed", "not paid, and too much for an account", NULL);
        return 502;
    }
    sonde_span_set_cstr(request->span, SONDE_KEY("shop.payment.method"), payment == SHOP_PAID ? "card" : "account");
    (void)snprintf(amount_text, sizeof amount_text, "%.2f", amount);
    if (!append(id, amount_text))
        return 503;
    log_order(id, amount);
    *ret_body = json_pack("{s:s}", "accepted", id);
    return 201;
}

int main(void) {
    static const struct shop_route routes[] = {{"POST", "/orders", post_orders}, {0}};
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
