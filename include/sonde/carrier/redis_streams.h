/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a Redis Streams entry as a carrier: the arguments of XADD on the way out, an entry's field and value pairs
 * on the way in. Plain arrays, no client library; names compare exactly (Redis fields have case).
 *
 *     const char *argv[16] = {"XADD", "orders", "*", "order_id", id};
 *     size_t argvlen[16] = {4, 6, 1, 8, strlen(id)};
 *     char text[SONDE_REDIS_INJECT_SIZE];
 *     struct sonde_redis_fields fields = {argv, argvlen, 3, 5, 16, text, sizeof text, 0};
 *     struct sonde_carrier carrier = sonde_redis_carrier(&fields);
 *     (void)sonde_inject(NULL, &carrier);
 *     redisCommandArgv(redis, (int)fields.count, argv, argvlen);
 *
 * Source: Redis documentation, XADD and XREADGROUP. */
#ifndef SONDE_CARRIER_REDIS_STREAMS_H
#define SONDE_CARRIER_REDIS_STREAMS_H

#include <sonde/carrier.h>
#include <sonde/limits.h>

SONDE_BEGIN

/** Room that sonde_inject() needs in `text` for the default formats: traceparent, tracestate, baggage. */
#define SONDE_REDIS_INJECT_SIZE (12u + 56u + 11u + SONDE_TRACESTATE_SIZE_MAX + 1u + 8u + SONDE_BAGGAGE_SIZE_MAX + 1u)

/** The arguments. argv[first], argv[first + 1] are the first field and its value, and so on in pairs up to count.
 *  argv, argvlen  borrowed while a carrier of it is used; not written when only extracted from.
 *  first          where the fields begin; 3 for XADD key id, more with options, 0 for an entry read.
 *  count          arguments in use, those before `first` included; inject adds six at most by default.
 *  capacity       arguments there is room for; 0 when only extracted from.
 *  text, text_size, text_used  as in sonde/carrier/http.h: where set copies to; NULL, 0, 0 when only extracted from. */
struct sonde_redis_fields {
    const char **argv;
    size_t *argvlen;
    size_t first, count, capacity;
    char *text;
    size_t text_size, text_used;
};

/** A carrier of fields (kept until the carrier is no longer used). set: SONDE_ETOOBIG when there is no room; the fields
 *  are then unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_redis_carrier(struct sonde_redis_fields *fields);

SONDE_END

#endif
