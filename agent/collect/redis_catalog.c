/* SPDX-License-Identifier: Apache-2.0 */
/* SCAN gives keys more than once and in no order, and a round over many keys takes several polls; so a stream is only
 * dropped when a whole round has not seen it. A few hundred streams: looked up one by one. */
#include "agent/collect/redis_catalog.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

int sonde__redis_catalog_init(struct sonde__redis_catalog *catalog, const struct sonde_alloc *alloc, size_t max) {
    *catalog = (struct sonde__redis_catalog){.alloc = alloc, .max = max, .round = 1, .cursor = "0"};
    catalog->streams = sonde_alloc_new(alloc, max * sizeof *catalog->streams);
    return catalog->streams ? 0 : -ENOMEM;
}

void sonde__redis_catalog_deinit(struct sonde__redis_catalog *catalog) {
    for (size_t i = 0; i < catalog->count; i++)
        sonde_alloc_free(catalog->alloc, catalog->streams[i].name);
    if (catalog->alloc)
        sonde_alloc_free(catalog->alloc, catalog->streams);
    *catalog = (struct sonde__redis_catalog){0};
}

int sonde__redis_catalog_add(struct sonde__redis_catalog *catalog, const char *name, size_t size, bool fixed) {
    for (size_t i = 0; i < catalog->count; i++) {
        struct sonde__redis_stream *stream = &catalog->streams[i];
        if (stream->size == size && memcmp(stream->name, name, size) == 0) {
            stream->seen_round = catalog->round;
            return 0;
        }
    }
    if (catalog->count == catalog->max) {
        catalog->full = true;
        return SONDE_EFULL;
    }
    char *copy = sonde_alloc_new(catalog->alloc, size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, name, size);
    copy[size] = '\0';
    catalog->streams[catalog->count++] = (struct sonde__redis_stream){copy, size, fixed, catalog->round};
    return 0;
}

static void round_end(struct sonde__redis_catalog *catalog) {
    size_t kept = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        struct sonde__redis_stream stream = catalog->streams[i];
        if (stream.fixed || stream.seen_round == catalog->round)
            catalog->streams[kept++] = stream;
        else
            sonde_alloc_free(catalog->alloc, stream.name);
    }
    catalog->count = kept;
    catalog->round++;
}

int sonde__redis_catalog_scanned(struct sonde__redis_catalog *catalog, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return SONDE_EMALFORMED;
    const redisReply *cursor = reply->element[0], *keys = reply->element[1];
    if (cursor->type != REDIS_REPLY_STRING || keys->type != REDIS_REPLY_ARRAY ||
        (size_t)cursor->len >= sizeof catalog->cursor)
        return SONDE_EMALFORMED;
    if (strcmp(catalog->cursor, "0") == 0)
        catalog->full = false;
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *key = keys->element[i];
        if (key->type != REDIS_REPLY_STRING)
            return SONDE_EMALFORMED;
        if (sonde__redis_catalog_add(catalog, key->str, (size_t)key->len, false) == -ENOMEM)
            return -ENOMEM;
    }
    memcpy(catalog->cursor, cursor->str, (size_t)cursor->len);
    catalog->cursor[cursor->len] = '\0';
    if (strcmp(catalog->cursor, "0") != 0)
        return 0;
    round_end(catalog);
    return 1;
}
