/* SPDX-License-Identifier: Apache-2.0 */
/* The streams to look at: those the configuration names, and those that SCAN finds, a part of the keys per poll. */
#ifndef SONDE_AGENT_REDIS_CATALOG_H
#define SONDE_AGENT_REDIS_CATALOG_H

#include "exporters/seam.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>

struct sonde__redis_stream {
    char *name; /* owned, NUL-terminated behind size bytes */
    size_t size;
    bool fixed;          /* the configuration names it: never dropped */
    uint32_t seen_round; /* the round of SCAN that last saw it */
};

struct sonde__redis_catalog {
    const struct sonde_alloc *alloc;
    struct sonde__redis_stream *streams; /* owned, `max` of them */
    size_t count, max;
    uint32_t round;  /* of SCAN, from 1 */
    char cursor[24]; /* where SCAN goes on; "0" = at a round's start */
    bool full;       /* a stream was left out in this round */
};

int sonde__redis_catalog_init(struct sonde__redis_catalog *catalog, const struct sonde_alloc *alloc, size_t max);
void sonde__redis_catalog_deinit(struct sonde__redis_catalog *catalog);
/** Returns 0 (it may have been there), SONDE_EFULL, -ENOMEM. */
int sonde__redis_catalog_add(struct sonde__redis_catalog *catalog, const char *name, size_t size, bool fixed);
/** Takes SCAN's reply: [cursor, [key, ...]]. At a round's end, streams that it did not see are dropped.
 *  Returns 1 when a round is complete, 0, SONDE_EMALFORMED, -ENOMEM. */
int sonde__redis_catalog_scanned(struct sonde__redis_catalog *catalog, const redisReply *reply);

#endif
