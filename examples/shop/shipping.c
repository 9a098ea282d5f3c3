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
static struct sonde_instrument process_duration, operation_duration, consumed;

/* What came out of one XREADGROUP. */
struct batch {
    redisReply *reply; /* owned */
    redisReply **entries;
    size_t count;
    struct sonde_link links[BATCH_MAX];
    struct sonde_attribute ids[BATCH_MAX];
    size_t link_count;
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

/* One link per message, with its id; an entry without a context gets none. */
static void link_producers(struct batch *batch) {
    batch->link_count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct sonde_link *link = &batch->links[batch->link_count];
        struct sonde_carrier carrier = sonde_hiredis_carrier(batch->entries[i]->element[1]);
        (void)sonde_extract(&carrier, &link->context);
        if (!sonde_span_context_is_valid(&link->context.span))
            continue;
        struct sonde_attribute *id = &batch->ids[batch->link_count++];
        *id = SHOP_STRING("messaging.message.id", batch->entries[i]->element[0]->str);
        link->attributes = id;
        link->attribute_count = 1;
    }
}

static void span_start(struct sonde_span *span, struct sonde_key name, enum sonde_span_kind kind, const char *operation,
                       const char *type, const struct batch *batch, uint64_t started) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.kind = kind;
    options.links = batch->links;
    options.link_count = batch->link_count;
    options.start_unix_ns = started;
    sonde_span_start(span, name, &options);
    sonde_span_set_cstr(span, SONDE_KEY("messaging.system"), "redis");
    sonde_span_set_cstr(span, SONDE_KEY("messaging.operation.name"), operation);
    sonde_span_set_cstr(span, SONDE_KEY("messaging.operation.type"), type);
    sonde_span_set_cstr(span, SONDE_KEY("messaging.destination.name"), SHOP_STREAM);
    sonde_span_set_cstr(span, SONDE_KEY("messaging.consumer.group.name"), SHOP_GROUP);
    sonde_span_set_cstr(span, SONDE_KEY("messaging.client.id"), consumer);
    sonde_span_set_int64(span, SONDE_KEY("messaging.batch.message_count"), (int64_t)batch->count);
    sonde_span_set_cstr(span, SONDE_KEY("server.address"), redis.host);
    sonde_span_set_int64(span, SONDE_KEY("server.port"), redis.port);
}

static void measure(struct sonde_instrument histogram, const char *operation, double seconds) {
    struct sonde_attribute attributes[] = {
        SHOP_STRING("messaging.operation.name", operation),
        SHOP_STRING("messaging.system", "redis"),
        SHOP_STRING("messaging.destination.name", SHOP_STREAM),
        SHOP_STRING("messaging.consumer.group.name", SHOP_GROUP),
    };
    sonde_instrument_record(histogram, seconds, attributes, 4);
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
    struct sonde_span span;
    struct batch unlinked = {.count = batch->count}; /* its parent, the process span, has the links */
    double started = shop_seconds();
    span_start(&span, SONDE_NAME("ack " SHOP_STREAM), SONDE_SPAN_KIND_CLIENT, "ack", "settle", &unlinked, 0);
    for (size_t i = 0; i < batch->count; i++)
        argv[3 + i] = batch->entries[i]->element[0]->str;
    redisReply *reply = command(error, sizeof error, (int)batch->count + 3, argv);
    if (!reply)
        shop_span_fail(&span, "RedisError", error);
    sonde_span_end(&span);
    measure(operation_duration, "ack", shop_seconds() - started);
    freeReplyObject(reply);
    return reply != NULL;
}

static void process(struct batch *batch) {
    struct sonde_span span;
    double started = shop_seconds();
    span_start(&span, SONDE_NAME("process " SHOP_STREAM), SONDE_SPAN_KIND_CONSUMER, "process", "process", batch, 0);
    for (size_t i = 0; i < batch->count; i++)
        ship(batch->entries[i]);
    sonde_span_add_event(&span, SONDE_NAME("parcels.packed"), 0, NULL, 0);
    bool done = acknowledge(batch);
    if (!done)
        sonde_span_set_status(&span, SONDE_STATUS_ERROR, "not acknowledged; the group will see these again");
    sonde_span_end(&span);
    measure(process_duration, "process", shop_seconds() - started);
    if (done) {
        struct sonde_attribute attributes[] = {
            SHOP_STRING("messaging.operation.name", "process"),
            SHOP_STRING("messaging.system", "redis"),
            SHOP_STRING("messaging.destination.name", SHOP_STREAM),
            SHOP_STRING("messaging.consumer.group.name", SHOP_GROUP),
        };
        sonde_instrument_add(consumed, (int64_t)batch->count, attributes, 4);
    }
}

/* XREADGROUP GROUP shipping <consumer> COUNT 16 BLOCK 200 STREAMS orders <from>. from: ">" for new messages, "0" for
 * those this consumer took earlier and never acknowledged. False when there was nothing. */
static bool receive(const char *from, struct batch *batch) {
    const char *argv[] = {"XREADGROUP", "GROUP", SHOP_GROUP, consumer,    "COUNT", "16",
                          "BLOCK",      "200",   "STREAMS",  SHOP_STREAM, from};
    char error[128] = "";
    uint64_t begun = unix_ns();
    double started = shop_seconds();
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
    link_producers(batch);

    struct sonde_span span; /* an empty poll makes no span: this one starts in the past */
    span_start(&span, SONDE_NAME("receive " SHOP_STREAM), SONDE_SPAN_KIND_CLIENT, "receive", "receive", batch, begun);
    sonde_span_end(&span);
    measure(operation_duration, "receive", shop_seconds() - started);
    return true;
}

static void group_create(void) {
    const char *argv[] = {"XGROUP", "CREATE", SHOP_STREAM, SHOP_GROUP, "0", "MKSTREAM"};
    char error[128];
    freeReplyObject(command(error, sizeof error, 6, argv)); /* BUSYGROUP: it is there already */
}

static void instruments(void) {
    process_duration = shop_duration_histogram("messaging.process.duration", "Duration of processing.");
    operation_duration =
        shop_duration_histogram("messaging.client.operation.duration", "Duration of messaging operations.");
    struct sonde_instrument_options counter = {
        .size = sizeof counter,
        .kind = SONDE_COUNTER,
        .name = "messaging.client.consumed.messages",
        .unit = "{message}",
        .description = "Messages delivered to the application.",
    };
    (void)sonde_instrument_create(&counter, &consumed);
}

int main(void) {
    static struct batch batch; /* its links hold a tracestate each: 17 KB */
    consumer = shop_env("SHIPPING_CONSUMER", "shipping-1");
    redis.host = "127.0.0.1";
    redis.port = (int)shop_env_number("REDIS_PORT", 6379);
    shop_stop_prepare();

    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "shipping";
    options.service_namespace = "shop";
    (void)sonde_start(&options);
    instruments();
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
