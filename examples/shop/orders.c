/* SPDX-License-Identifier: Apache-2.0 */
/* orders: POST /orders {"order": "id", "amount": 12.5}. Has it paid by `payments` (up to three attempts), then appends
 * it to the Redis stream for `shipping`. 201 means: paid, and in the stream. PAYMENTS_URL and REDIS_PORT say where
 * these are. */
#include "redis.h"
#include "shop.h"
#include <pthread.h>
#include <sonde/carrier/redis_streams.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ATTEMPTS 3

static char payments_url[256];
static struct shop_redis redis; /* one connection, one user at a time */
static pthread_mutex_t redis_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sonde_instrument send_duration, sent;

static bool pay(json_t *order) {
    char *json = json_dumps(order, JSON_COMPACT);
    long status = 0;
    for (int attempt = 0; json && attempt < ATTEMPTS; attempt++) {
        status = shop_post(payments_url, json, attempt);
        if (status != 0 && status != 503)
            break;
        struct timespec wait = {0, (10L << attempt) * 1000000L};
        (void)nanosleep(&wait, NULL);
    }
    free(json);
    return status == 200;
}

/* The producer span's attributes are also the measurements' ones: take care that these stay few. */
static void finish(struct sonde_span *span, const char *error, double seconds) {
    struct sonde_attribute attributes[4] = {
        SHOP_STRING("messaging.operation.name", "send"),
        SHOP_STRING("messaging.system", "redis"),
        SHOP_STRING("messaging.destination.name", SHOP_STREAM),
    };
    size_t count = 3;
    if (error) {
        shop_span_fail(span, "RedisError", error);
        attributes[count++] = SHOP_STRING("error.type", "RedisError");
    }
    sonde_span_end(span);
    sonde_instrument_record(send_duration, seconds, attributes, count);
    sonde_instrument_add(sent, 1, attributes, count);
}

/* XADD orders MAXLEN ~ 100000 * order <id> amount <n>, and the context of the span round it as further fields. */
static bool append(const char *id, const char *amount) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.kind = SONDE_SPAN_KIND_PRODUCER;
    struct sonde_span span;
    double started = shop_seconds();
    sonde_span_start(&span, SONDE_NAME("send " SHOP_STREAM), &options);
    sonde_span_set_cstr(&span, SONDE_KEY("messaging.system"), "redis");
    sonde_span_set_cstr(&span, SONDE_KEY("messaging.operation.name"), "send");
    sonde_span_set_cstr(&span, SONDE_KEY("messaging.operation.type"), "send");
    sonde_span_set_cstr(&span, SONDE_KEY("messaging.destination.name"), SHOP_STREAM);
    sonde_span_set_cstr(&span, SONDE_KEY("server.address"), redis.host);
    sonde_span_set_int64(&span, SONDE_KEY("server.port"), redis.port);

    const char *argv[16] = {"XADD", SHOP_STREAM, "MAXLEN", "~", "100000", "*", "order", id, "amount", amount};
    size_t argvlen[16], count = 10;
    for (size_t i = 0; i < count; i++)
        argvlen[i] = strlen(argv[i]);
    char text[SONDE_REDIS_INJECT_SIZE];
    struct sonde_redis_fields fields = {argv, argvlen, 6, count, 16, text, sizeof text, 0};
    struct sonde_carrier carrier = sonde_redis_carrier(&fields);
    (void)sonde_inject(NULL, &carrier); /* NULL: the current context, which is this span */

    char error[128];
    pthread_mutex_lock(&redis_lock);
    redisReply *reply = shop_redis_command(&redis, (int)fields.count, argv, argvlen, error, sizeof error);
    pthread_mutex_unlock(&redis_lock);
    if (reply)
        sonde_span_set_string(&span, SONDE_KEY("messaging.message.id"), reply->str, (size_t)reply->len);
    finish(&span, reply ? NULL : error, shop_seconds() - started);
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
    if (!pay(request->body)) {
        sonde_span_record_exception(request->span, "PaymentFailed", "no attempt was paid", NULL);
        return 502;
    }
    (void)snprintf(amount_text, sizeof amount_text, "%.2f", amount);
    if (!append(id, amount_text))
        return 503;
    log_order(id, amount);
    *ret_body = json_pack("{s:s}", "accepted", id);
    return 201;
}

static void instruments(void) {
    send_duration = shop_duration_histogram("messaging.client.operation.duration", "Duration of messaging operations.");
    struct sonde_instrument_options counter = {
        .size = sizeof counter,
        .kind = SONDE_COUNTER,
        .name = "messaging.client.sent.messages",
        .unit = "{message}",
        .description = "Messages sent.",
    };
    (void)sonde_instrument_create(&counter, &sent);
}

int main(void) {
    static const struct shop_route routes[] = {{"POST", "/orders", "POST /orders", post_orders}, {0}};
    (void)snprintf(payments_url, sizeof payments_url, "%s/payments", shop_env("PAYMENTS_URL", "http://127.0.0.1:8081"));
    redis.host = "127.0.0.1";
    redis.port = (int)shop_env_number("REDIS_PORT", 6379);
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "orders";
    options.service_namespace = "shop";
    (void)sonde_start(&options); /* the service works without telemetry: nothing to do on an error */
    instruments();

    struct shop_server *server = shop_server_start("orders", (unsigned)shop_env_number("ORDERS_PORT", 0), routes);
    if (!server)
        return EXIT_FAILURE;
    shop_stop_wait();
    shop_server_stop(server);
    shop_redis_close(&redis);
    (void)sonde_shutdown(2000);
    return EXIT_SUCCESS;
}
