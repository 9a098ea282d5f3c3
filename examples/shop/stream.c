/* SPDX-License-Identifier: Apache-2.0 */
/* Spans: send (PRODUCER), receive (CLIENT), process (CONSUMER; one a batch, linked to every producer's span), ack
 * (CLIENT). Source: semantic conventions, messaging/messaging-spans.md. */
#include "stream.h"
#include <sonde/carrier/hiredis.h>
#include <sonde/carrier/redis_streams.h>
#include <stdio.h>
#include <time.h>

#define BATCH_MAX 16
#define PAIRS_MAX 12

/* --- producer --- */

static void sent(struct sonde_messaging *send, struct sonde_message *message, redisReply *reply, const char *error) {
    if (reply) {
        message->id = (struct sonde_string){reply->str, (size_t)reply->len};
    } else {
        send->error_type = "RedisError";
        sonde_span_record_exception(&send->span, send->error_type, error, NULL);
    }
    sonde_messaging_end(send);
    freeReplyObject(reply);
}

bool shop_stream_append(struct shop_redis *redis, const char *stream, const char *const *pairs, size_t count) {
    const char *argv[PAIRS_MAX + 20] = {"XADD", stream, "MAXLEN", "~", "100000", "*"};
    size_t argvlen[PAIRS_MAX + 20];
    if (count > PAIRS_MAX)
        return false;
    memcpy(argv + 6, pairs, count * sizeof *pairs);
    count += 6;
    for (size_t i = 0; i < count; i++)
        argvlen[i] = strlen(argv[i]);
    char text[SONDE_REDIS_INJECT_SIZE], error[128] = "";
    struct sonde_redis_fields fields = {argv, argvlen, 6, count, PAIRS_MAX + 20, text, sizeof text, 0};
    struct sonde_message message = {.carrier = sonde_redis_carrier(&fields)};
    struct sonde_messaging send;
    sonde_messaging_init(&send, SONDE_MESSAGING_SEND);
    send.system = sonde_text("redis");
    send.destination = sonde_text(stream);
    send.server_address = sonde_text(redis->host);
    send.server_port = (uint16_t)redis->port;
    send.messages = &message;
    send.message_count = 1;
    sonde_messaging_start(&send); /* its context is in the fields now, and the time */
    redisReply *reply = shop_redis_command(redis, (int)fields.count, argv, argvlen, error, sizeof error);
    bool is_sent = reply != NULL;
    sent(&send, &message, reply, error);
    return is_sent;
}

/* --- consumer --- */

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

static redisReply *command(struct shop_consumer *consumer, char *error, size_t error_size, int argc,
                           const char **argv) {
    size_t sizes[BATCH_MAX + 8];
    for (int i = 0; i < argc; i++)
        sizes[i] = strlen(argv[i]);
    return shop_redis_command(&consumer->redis, argc, argv, sizes, error, error_size);
}

static void prepare(struct sonde_messaging *operation, enum sonde_messaging_operation what,
                    const struct shop_consumer *consumer, const struct batch *batch) {
    sonde_messaging_init(operation, what);
    operation->system = sonde_text("redis");
    operation->destination = sonde_text(consumer->stream);
    operation->consumer_group = sonde_text(consumer->group);
    operation->client_id = sonde_text(consumer->name);
    operation->server_address = sonde_text(consumer->redis.host);
    operation->server_port = (uint16_t)consumer->redis.port;
    operation->batch = true;
    operation->messages = batch->messages;
    operation->message_count = batch->count;
}

/* XACK: from here on the group will not see these again. */
static bool acknowledge(struct shop_consumer *consumer, const struct batch *batch) {
    const char *argv[BATCH_MAX + 3] = {"XACK", consumer->stream, consumer->group};
    char error[128];
    struct sonde_messaging settle;
    prepare(&settle, SONDE_MESSAGING_SETTLE, consumer, batch);
    settle.operation_name = sonde_text("ack");
    sonde_messaging_start(&settle);
    for (size_t i = 0; i < batch->count; i++)
        argv[3 + i] = batch->entries[i]->element[0]->str;
    redisReply *reply = command(consumer, error, sizeof error, (int)batch->count + 3, argv);
    if (!reply) {
        settle.error_type = "RedisError";
        sonde_span_record_exception(&settle.span, settle.error_type, error, NULL);
    }
    sonde_messaging_end(&settle);
    freeReplyObject(reply);
    return reply != NULL;
}

/* A stream delivers at least once: an entry that was not acknowledged, or that somebody had delivered anew, comes again. */
static void handle(struct shop_consumer *consumer, const struct shop_entry *entry) {
    struct sonde_dedup_ticket ticket;
    if (sonde_dedup_begin(consumer->seen, sonde_text(entry->id), 0, &ticket) != SONDE_IDEMPOTENCY_FIRST)
        return;
    consumer->handle(consumer, entry);
    (void)sonde_dedup_done(&ticket);
}

static void process(struct shop_consumer *consumer, struct batch *batch) {
    struct sonde_messaging process;
    prepare(&process, SONDE_MESSAGING_PROCESS, consumer, batch);
    process.pulled = true; /* receive() has counted them, and measured how long they lay in the stream */
    sonde_messaging_start(&process);
    for (size_t i = 0; i < batch->count; i++) {
        const struct shop_entry entry = {batch->entries[i]->element[0]->str, batch->entries[i]->element[1],
                                         batch->messages[i].carrier};
        handle(consumer, &entry);
    }
    if (!acknowledge(consumer, batch))
        process.error_type = "NotAcknowledged"; /* the group will see these again */
    sonde_messaging_end(&process);
}

/* XREADGROUP GROUP <group> <name> COUNT 16 BLOCK 200 STREAMS <stream> <from>. from: ">" for new messages, "0" for
 * those this consumer took earlier and never acknowledged. False when there was nothing. */
static bool receive(struct shop_consumer *consumer, const char *from, struct batch *batch) {
    const char *argv[] = {"XREADGROUP", "GROUP", consumer->group, consumer->name,   "COUNT", "16",
                          "BLOCK",      "200",   "STREAMS",       consumer->stream, from};
    char error[128] = "";
    uint64_t begun = unix_ns();
    *batch = (struct batch){.reply = command(consumer, error, sizeof error, 11, argv)};
    if (!batch->reply) {
        (void)fprintf(stderr, "%s: %s; trying again in 0.5 s\n", consumer->name, error);
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
    prepare(&receive, SONDE_MESSAGING_RECEIVE, consumer, batch);
    receive.start_unix_ns = begun;
    sonde_messaging_start(&receive);
    sonde_messaging_end(&receive);
    return true;
}

const char *shop_entry_field(const struct shop_entry *entry, const char *name) {
    const redisReply *fields = entry->fields;
    for (size_t i = 0; fields->type == REDIS_REPLY_ARRAY && i + 1 < fields->elements; i += 2)
        if (strcmp(fields->element[i]->str, name) == 0)
            return fields->element[i + 1]->str;
    return "";
}

bool shop_consumer_join(struct shop_consumer *consumer) {
    const char *argv[] = {"XGROUP", "CREATE", consumer->stream, consumer->group, "0", "MKSTREAM"};
    char error[128] = "";
    redisReply *reply = command(consumer, error, sizeof error, 6, argv);
    bool is_there = reply || strncmp(error, "BUSYGROUP", 9) == 0;
    freeReplyObject(reply);
    return is_there;
}

void shop_consumer_run(struct shop_consumer *consumer) {
    struct batch batch;
    const char *from = "0";
    struct sonde_dedup_options options = SONDE_DEDUP_OPTIONS_INIT;
    options.name = consumer->stream;
    options.capacity = 10000;
    options.ttl_ns = UINT64_C(3600000000000);
    (void)sonde_dedup_create(&options, &consumer->seen);
    (void)shop_consumer_join(consumer);
    while (!consumer->stopped(0)) {
        if (receive(consumer, from, &batch))
            process(consumer, &batch);
        else if (batch.reply)
            from = ">"; /* nothing left of an earlier life */
        else if (consumer->stopped(500))
            break;
        else
            (void)shop_consumer_join(consumer); /* Redis may have come back empty */
        freeReplyObject(batch.reply);
    }
    shop_redis_close(&consumer->redis);
}
