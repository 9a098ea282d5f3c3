/* SPDX-License-Identifier: Apache-2.0 */
/* Redis Streams: an entry is written by the fields of XADD's arguments, and read by those of hiredis' reply. */
#include "sonde_peer.h"
#include <hiredis/hiredis.h>
#include <sonde/carrier/hiredis.h>
#include <sonde/carrier/redis_streams.h>

static redisContext *redis;
static const char *stream;

static void open_redis(int port, const char *queue, bool consume) {
    (void)consume; /* an entry stays: it is read from the beginning */
    stream = queue;
    redis = redisConnect("127.0.0.1", port);
    require(redis && redis->err == 0, "connect");
}

static void send_redis(const struct round *round) {
    const char *argv[16] = {"XADD", stream, "*", "body", "hello"};
    size_t argvlen[16] = {4, strlen(stream), 1, 4, 5};
    char text[2 * SONDE_REDIS_INJECT_SIZE];
    struct sonde_redis_fields fields = {argv, argvlen, 3, 5, 16, text, sizeof text, 0};
    round->fill(sonde_redis_carrier(&fields));
    redisReply *reply = redisCommandArgv(redis, (int)fields.count, argv, argvlen);
    require(reply && reply->type == REDIS_REPLY_STRING, "XADD");
    freeReplyObject(reply);
}

/** The reply is [[stream, [[id, [field, value, ...]]]]], or nil when the time is over. */
static redisReply *first_fields(redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 || reply->element[0]->elements != 2)
        return NULL;
    redisReply *entries = reply->element[0]->element[1];
    return entries->elements && entries->element[0]->elements == 2 ? entries->element[0]->element[1] : NULL;
}

static void receive_redis(const struct round *round) {
    redisReply *reply = redisCommand(redis, "XREAD COUNT 1 BLOCK %d STREAMS %s 0", PATIENCE_MS, stream);
    require(reply != NULL, "XREAD");
    redisReply *fields = first_fields(reply);
    require(fields != NULL, "an entry");
    round->check(sonde_hiredis_carrier(fields));
    freeReplyObject(reply);
}

static void close_redis(void) {
    redisFree(redis);
}

const struct protocol protocol_redis = {"redis", open_redis, send_redis, receive_redis, close_redis, NULL};
