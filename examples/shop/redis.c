/* SPDX-License-Identifier: Apache-2.0 */
#include "redis.h"
#include <stdio.h>
#include <sys/time.h>

static bool connected(struct shop_redis *redis, char *error, size_t error_size) {
    if (redis->context && redis->context->err == 0)
        return true;
    shop_redis_close(redis);
    redis->context = redisConnectWithTimeout(redis->host, redis->port, (struct timeval){1, 0});
    if (redis->context && redis->context->err == 0) {
        (void)redisSetTimeout(redis->context, (struct timeval){5, 0});
        return true;
    }
    (void)snprintf(error, error_size, "%s", redis->context ? redis->context->errstr : "out of memory");
    shop_redis_close(redis);
    return false;
}

redisReply *shop_redis_command(struct shop_redis *redis, int argc, const char **argv, const size_t *sizes, char *error,
                               size_t error_size) {
    if (!connected(redis, error, error_size))
        return NULL;
    redisReply *reply = redisCommandArgv(redis->context, argc, argv, sizes);
    if (!reply) {
        (void)snprintf(error, error_size, "%s", redis->context->errstr);
        shop_redis_close(redis);
        return NULL;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        (void)snprintf(error, error_size, "%s", reply->str);
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

void shop_redis_close(struct shop_redis *redis) {
    if (redis->context)
        redisFree(redis->context);
    redis->context = NULL;
}
