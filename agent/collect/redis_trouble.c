/* SPDX-License-Identifier: Apache-2.0 */
/* What a server's error replies mean. */
#include "agent/collect/redis_client.h"
#include <string.h>

static bool starts_with(const redisReply *reply, const char *word) {
    size_t size = strlen(word);
    return (size_t)reply->len >= size && memcmp(reply->str, word, size) == 0;
}

const char *sonde__redis_reply_trouble(const redisReply *reply) {
    static const struct {
        const char *word;
        const char *trouble;
    } words[] = {
        {"NOAUTH", SONDE__TROUBLE_AUTH},
        {"WRONGPASS", SONDE__TROUBLE_AUTH},
        {"NOPERM", SONDE__TROUBLE_AUTH},
        {"ERR invalid password", SONDE__TROUBLE_AUTH}, /* Redis 5 */
        {"ERR AUTH", SONDE__TROUBLE_AUTH},             /* a password where none is set */
        {"ERR Client sent AUTH", SONDE__TROUBLE_AUTH},
        {"LOADING", SONDE__REDIS_LOADING},
        {"WRONGTYPE", SONDE__REDIS_WRONG_TYPE},
        {"ERR no such key", SONDE__TROUBLE_NOT_FOUND},
        {"MOVED ", SONDE__REDIS_MOVED},
        {"ASK ", SONDE__REDIS_MOVED},
        {"NOGROUP", SONDE__TROUBLE_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (starts_with(reply, words[i].word))
            return words[i].trouble;
    return SONDE__TROUBLE_SERVER;
}
