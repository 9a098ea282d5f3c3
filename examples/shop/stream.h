/* SPDX-License-Identifier: Apache-2.0 */
/* Redis streams with spans: append to one, and consume one as a member of a group. The context of the producer's span
 * and its baggage go in fields of their own. */
#ifndef SHOP_STREAM_H
#define SHOP_STREAM_H

#include "redis.h"
#include "shop.h"
#include <sonde/resilience/idempotency.h>

/** XADD stream MAXLEN ~ 100000 * field value ..., with the current context. Not for use by two threads at once.
 *  pairs: field, value, ...; count: strings in it, at most 12. Returns false when it was not sent. */
bool shop_stream_append(struct shop_redis *redis, const char *stream, const char *const *pairs, size_t count);

/** One entry, as a handler gets it; the `process` span of its batch is current. All borrowed. */
struct shop_entry {
    const char *id;
    const redisReply *fields;
    struct sonde_carrier carrier;
};
/** The text of a field; "" when there is none. */
const char *shop_entry_field(const struct shop_entry *entry, const char *name);

/** A member of a consumer group. All borrowed.
 *  handle   called for each entry, once though the stream gives it again; a batch is acknowledged after its last.
 *  seen     the entries that were handled; shop_consumer_run() makes it, by the stream's name.
 *  stopped  true = end; waits up to timeout_ms for that. */
struct shop_consumer {
    struct shop_redis redis;
    struct sonde_dedup seen;
    const char *stream, *group, *name;
    void (*handle)(struct shop_consumer *consumer, const struct shop_entry *entry);
    bool (*stopped)(int timeout_ms);
};
/** Makes the stream and the group when they are not there. Returns false when Redis is not. */
bool shop_consumer_join(struct shop_consumer *consumer);
/** Takes batches until it is stopped, beginning with those that it took and never acknowledged in an earlier life. */
void shop_consumer_run(struct shop_consumer *consumer);

#endif
