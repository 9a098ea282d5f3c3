/* SPDX-License-Identifier: Apache-2.0 */
/* shipping: a consumer of the group "shipping" on the stream of orders. It takes batches; each batch is one `process`
 * span that links to every producer's span. Spans: receive (CLIENT), process (CONSUMER), ack (CLIENT). Source: semantic
 * conventions, messaging/messaging-spans.md. REDIS_PORT and SHIPPING_CONSUMER say where and who. */
#include "redis.h"
#include "shop.h"
#include <sonde/carrier/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH_MAX 16

static struct shop_redis redis;
static const char *consumer;

/* What came out of one XREADGROUP. */
struct batch {
    redisReply *reply; /* owned */
    redisReply **entries;
    size_t count;
    struct sonde_message messages[BATCH_MAX];
};

static uint64_t unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static redisReply *command(char *error, size_t error_size, int argc, const char **argv) {
    size_t sizes[BATCH_MAX + 8];
    for (int i = 0; i < argc; i++)
        sizes[i] = strlen(argv[i]);
    return shop_redis_command(&redis, argc, argv, sizes, error, error_size);
}

static void prepare(struct sonde_messaging *operation, enum sonde_messaging_operation what, const struct batch *batch) {
    sonde_messaging_init(operation, what);
    operation->system = sonde_text("redis");
    operation->destination = sonde_text(SHOP_STREAM);
    operation->consumer_group = sonde_text(SHOP_GROUP);
    operation->client_id = sonde_text(consumer);
    operation->server_address = sonde_text(redis.host);
    operation->server_port = (uint16_t)redis.port;
    operation->batch = true;
    operation->messages = batch->messages;
    operation->message_count = batch->count;
}

static void ship(const redisReply *entry) {
    const redisReply *fields = entry->element[1];
    char text[160];
    int size = snprintf(text, sizeof text, "order %.64s shipped", fields->elements > 1 ? fields->element[1]->str : "?");
    struct sonde_attribute id[] = {SHOP_STRING("messaging.message.id", entry->element[0]->str)};
    sonde_log(SONDE_SEVERITY_INFO, text, (size_t)size, id, 1);
}

/* XACK: from here on the group will not see these again. */
static bool acknowledge(const struct batch *batch) {
    const char *argv[BATCH_MAX + 3] = {"XACK", SHOP_STREAM, SHOP_GROUP};
    char error[128];
    struct sonde_messaging settle;
    prepare(&settle, SONDE_MESSAGING_SETTLE, batch);
    settle.operation_name = sonde_text("ack");
    sonde_messaging_start(&settle);
    for (size_t i = 0; i < batch->count; i++)
        argv[3 + i] = batch->entries[i]->element[0]->str;
    redisReply *reply = command(error, sizeof error, (int)batch->count + 3, argv);
    if (!reply) {
        settle.error_type = "RedisError";
        sonde_span_record_exception(&settle.span, settle.error_type, error, NULL);
    }
    sonde_messaging_end(&settle);
    freeReplyObject(reply);
    return reply != NULL;
}

static void process(struct batch *batch) {
    struct sonde_messaging process;
    prepare(&process, SONDE_MESSAGING_PROCESS, batch);
    process.pulled = true; /* receive() has counted them, and measured how long they lay in the stream */
    sonde_messaging_start(&process);
    for (size_t i = 0; i < batch->count; i++)
        ship(batch->entries[i]);
    sonde_span_add_event(&process.span, SONDE_NAME("parcels.packed"), 0, NULL, 0);
    if (!acknowledge(batch))
        process.error_type = "NotAcknowledged"; /* the group will see these again */
    sonde_messaging_end(&process);
}

/* XREADGROUP GROUP shipping <consumer> COUNT 16 BLOCK 200 STREAMS orders <from>. from: ">" for new messages, "0" for
 * those this consumer took earlier and never acknowledged. False when there was nothing. */
static bool receive(const char *from, struct batch *batch) {
    const char *argv[] = {"XREADGROUP", "GROUP", SHOP_GROUP, consumer,    "COUNT", "16",
                          "BLOCK",      "200",   "STREAMS",  SHOP_STREAM, from};
    char error[128] = "";
    uint64_t begun = unix_ns();
    *batch = (struct batch){.reply = command(error, sizeof error, 11, argv)};
    if (!batch->reply) {
        (void)fprintf(stderr, "shipping: %s; trying again in 0.5 s\n", error);
        return false;
    }
    /* [[stream, [[id, [field, value, ...]], ...]]] or nil */
    const redisReply *streams = batch->reply;
    if (streams->type != REDIS_REPLY_ARRAY || streams->elements == 0 || streams->element[0]->element[1]->elements == 0)
        return false;
    batch->entries = streams->element[0]->element[1]->element;
    batch->count = streams->element[0]->element[1]->elements;
    for (size_t i = 0; i < batch->count; i++) {
        const redisReply *id = batch->entries[i]->element[0];
        batch->messages[i] = (struct sonde_message){.carrier = sonde_hiredis_carrier(batch->entries[i]->element[1]),
                                                    .id = {id->str, (size_t)id->len}};
    }
    struct sonde_messaging receive; /* an empty poll makes no span: this one starts in the past */
    prepare(&receive, SONDE_MESSAGING_RECEIVE, batch);
    receive.start_unix_ns = begun;
    sonde_messaging_start(&receive);
    sonde_messaging_end(&receive);
    return true;
}

static void group_create(void) {
    const char *argv[] = {"XGROUP", "CREATE", SHOP_STREAM, SHOP_GROUP, "0", "MKSTREAM"};
    char error[128];
    freeReplyObject(command(error, sizeof error, 6, argv)); /* BUSYGROUP: it is there already */
}

int main(void) {
    struct batch batch;
    consumer = shop_env("SHIPPING_CONSUMER", "shipping-1");
    redis.host = "127.0.0.1";
    redis.port = (int)shop_env_number("REDIS_PORT", 6379);
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "shipping";
    options.service_namespace = "shop";
    (void)sonde_start(&options);
    group_create();
    printf("shipping: consumes %s as %s\n", SHOP_STREAM, consumer);
    (void)fflush(stdout);

    const char *from = "0";
    while (!shop_stop_requested(0)) {
        if (receive(from, &batch))
            process(&batch);
        else if (batch.reply)
            from = ">"; /* nothing left of an earlier life */
        else if (shop_stop_requested(500))
            break;
        else
            group_create(); /* Redis may have come back empty */
        freeReplyObject(batch.reply);
    }
    shop_redis_close(&redis);
    (void)sonde_shutdown(2000);
    return EXIT_SUCCESS;
}
