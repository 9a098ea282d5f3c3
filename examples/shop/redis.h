/* SPDX-License-Identifier: Apache-2.0 */
/* A hiredis connection that comes back by itself, with just what the shop needs. Not for use by two threads at once. */
#ifndef SHOP_REDIS_H
#define SHOP_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

struct shop_redis {
    const char *host; /* borrowed */
    int port;
    redisContext *context;
};

/** Sends one command and waits for the answer (at most 5 s), connecting first when needed.
 *  Returns an owned reply (freeReplyObject) that is no error, or NULL; the reason is then in error. */
redisReply *shop_redis_command(struct shop_redis *redis, int argc, const char **argv, const size_t *sizes, char *error,
                               size_t error_size);
void shop_redis_close(struct shop_redis *redis);

#endif
