/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/redis_cluster.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

static unsigned crc16(const char *data, size_t size) { /* XMODEM's */
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned)(uint8_t)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
}

unsigned sonde__redis_slot(const char *key, size_t size) {
    const char *open = memchr(key, '{', size);
    const char *end = open ? memchr(open, '}', size - (size_t)(open - key)) : NULL;
    if (end && end > open + 1)
        return crc16(open + 1, (size_t)(end - open - 1)) % SONDE__REDIS_SLOTS;
    return crc16(key, size) % SONDE__REDIS_SLOTS;
}

static bool slot_of(const redisReply *reply, unsigned *ret_slot) {
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer < 0 || reply->integer >= (long long)SONDE__REDIS_SLOTS)
        return false;
    *ret_slot = (unsigned)reply->integer;
    return true;
}

/** [address, port, ...] */
static bool node_of(const redisReply *reply, const struct sonde__redis_address *asked,
                    struct sonde__redis_address *ret_address) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || reply->element[1]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->integer < 1 || reply->element[1]->integer > 65535)
        return false;
    const redisReply *host = reply->element[0];
    bool known = host->type == REDIS_REPLY_STRING && host->len > 0;
    if (!known && host->type != REDIS_REPLY_NIL && host->type != REDIS_REPLY_STRING)
        return false;
    if (known && ((size_t)host->len >= sizeof ret_address->host || memchr(host->str, '\0', (size_t)host->len)))
        return false;
    *ret_address = (struct sonde__redis_address){.port = (uint16_t)reply->element[1]->integer};
    (void)snprintf(ret_address->host, sizeof ret_address->host, "%s", known ? host->str : asked->host);
    return true;
}

int sonde__redis_slots_read(const redisReply *reply, const struct sonde__redis_address *asked,
                            void (*range)(void *user, unsigned first, unsigned last,
                                          const struct sonde__redis_address *primary),
                            void *user) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return SONDE_EMALFORMED;
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        struct sonde__redis_address address;
        unsigned first, last;
        if (row->type != REDIS_REPLY_ARRAY || row->elements < 3 || !slot_of(row->element[0], &first) ||
            !slot_of(row->element[1], &last) || first > last || !node_of(row->element[2], asked, &address))
            return SONDE_EMALFORMED;
        range(user, first, last, &address);
    }
    return 0;
}

bool sonde__redis_redirect_read(const char *text, const struct sonde__redis_address *asked,
                                struct sonde__redis_address *ret_address, bool *ret_ask) {
    *ret_ask = strncmp(text, "ASK ", 4) == 0;
    if (!*ret_ask && strncmp(text, "MOVED ", 6) != 0)
        return false;
    const char *at = strchr(strchr(text, ' ') + 1, ' ');
    /* The port stands behind the last colon: an IPv6 address has no brackets here. */
    const char *colon = at ? strrchr(++at, ':') : NULL;
    char whole[sizeof ret_address->host + 16];
    if (!colon || (size_t)(colon - at) >= sizeof ret_address->host)
        return false;
    if (colon == at)
        (void)snprintf(whole, sizeof whole, "[%s]:%.6s", asked->host, colon + 1);
    else
        (void)snprintf(whole, sizeof whole, "[%.*s]:%.6s", (int)(colon - at), at, colon + 1);
    return sonde__redis_address_parse(whole, ret_address) == 0;
}
