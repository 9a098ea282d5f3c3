/* SPDX-License-Identifier: Apache-2.0 */
/* Names of what can go wrong, and what a server's error replies mean. */
#include "agent/collect/redis_client.h"
#include <string.h>

const char *sonde__redis_trouble_name(enum sonde__redis_trouble trouble) {
    static const char *const names[] = {
#define NAME(name, text) text,
        SONDE__REDIS_TROUBLES(NAME)
#undef NAME
    };
    return names[trouble];
}

static bool starts_with(const redisReply *reply, const char *word) {
    size_t size = strlen(word);
    return (size_t)reply->len >= size && memcmp(reply->str, word, size) == 0;
}

enum sonde__redis_trouble sonde__redis_reply_trouble(const redisReply *reply) {
    static const struct {
        const char *word;
        enum sonde__redis_trouble trouble;
    } words[] = {
        {"NOAUTH", SONDE__REDIS_AUTH},
        {"WRONGPASS", SONDE__REDIS_AUTH},
        {"NOPERM", SONDE__REDIS_AUTH},
        {"ERR invalid password", SONDE__REDIS_AUTH}, /* Redis 5 */
        {"ERR AUTH", SONDE__REDIS_AUTH},             /* a password where none is set */
        {"ERR Client sent AUTH", SONDE__REDIS_AUTH},
        {"LOADING", SONDE__REDIS_LOADING},
        {"WRONGTYPE", SONDE__REDIS_WRONG_TYPE},
        {"ERR no such key", SONDE__REDIS_NOT_FOUND},
        {"NOGROUP", SONDE__REDIS_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (starts_with(reply, words[i].word))
            return words[i].trouble;
    return SONDE__REDIS_SERVER;
}
