/* SPDX-License-Identifier: Apache-2.0 */
/* Redis Streams: an entry is written by the fields of XADD's arguments, and read by those of hiredis' reply. */
#include "round_trip.h"
#include <hiredis/hiredis.h>
#include <sonde/carrier/hiredis.h>
#include <sonde/carrier/redis_streams.h>
#include <stdio.h>

static redisContext *redis;
static const char *stream;
static char last_id[64] = "0"; /* the entry before the one to receive */

static void open_redis(int port, const char *queue, bool consume) {
    (void)consume; /* an entry stays: it is read from the beginning */
    stream = queue;
    redis = redisConnect("127.0.0.1", port);
    require(redis && redis->err == 0, "connect");
}

static void send_redis(const struct round *round) {
    const char *argv[16] = {"XADD", stream, "*", "body", BODY};
    size_t argvlen[16] = {4, strlen(stream), 1, 4, 5};
    char text[2 * SONDE_REDIS_INJECT_SIZE];
    struct sonde_redis_fields fields = {argv, argvlen, 3, 5, 16, text, sizeof text, 0};
    round->fill(sonde_redis_carrier(&fields));
    redisReply *reply = redisCommandArgv(redis, (int)fields.count, argv, argvlen);
    require(reply && reply->type == REDIS_REPLY_STRING, "XADD");
    freeReplyObject(reply);
}

/** The one entry of a reply, [id, [field, value, ...]]. The reply is [[stream, [entry]]], or nil when the time is over. */
static const redisReply *entry_of(const redisReply *reply) {
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 || reply->element[0]->elements != 2)
        return NULL;
    const redisReply *entries = reply->element[0]->element[1];
    return entries->elements == 1 && entries->element[0]->elements == 2 ? entries->element[0] : NULL;
}

static void receive_redis(const struct round *round) {
    redisReply *reply = redisCommand(redis, "XREAD COUNT 1 BLOCK %d STREAMS %s %s", PATIENCE_MS, stream, last_id);
    const redisReply *entry = entry_of(reply);
    require(entry != NULL, "an entry");
    (void)snprintf(last_id, sizeof last_id, "%s", entry->element[0]->str);
    round->check(sonde_hiredis_carrier(entry->element[1]));
    freeReplyObject(reply);
}

static void close_redis(void) {
    redisFree(redis);
}

/* A field may be there twice; XADD takes it as it is. */
static void fill_duplicate(struct sonde_carrier carrier) {
    struct sonde_redis_fields *fields = (struct sonde_redis_fields *)carrier.self;
    inject_context(carrier);
    fields->argv[fields->count] = "traceparent";
    fields->argvlen[fields->count++] = strlen("traceparent");
    fields->argv[fields->count] = other_traceparent;
    fields->argvlen[fields->count++] = strlen(other_traceparent);
}

static void check_duplicate(struct sonde_carrier carrier) {
    struct sonde_context context;
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_DUPLICATE, "duplicate traceparent");
}

static const struct round rounds[] = {{"two traceparents", fill_duplicate, check_duplicate}, {NULL, NULL, NULL}};
const struct protocol protocol_redis = {"redis", open_redis, send_redis, receive_redis, close_redis, rounds};
