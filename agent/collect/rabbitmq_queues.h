/* SPDX-License-Identifier: Apache-2.0 */
/* What a RabbitMQ collector knows of queues. A source (management, Prometheus endpoint, AMQP) fills rows; one place makes
 * series of them. A listing tells which queues there are and their messages; details cost the broker more, are asked for
 * more rarely, and are remembered between. */
#ifndef SONDE_AGENT_COLLECT_RABBITMQ_QUEUES_H
#define SONDE_AGENT_COLLECT_RABBITMQ_QUEUES_H

#include "agent/collect/filter.h"
#include "agent/collect/poll.h"

#define SONDE__RABBITMQ_NAME_SIZE_MAX 256u /* of AMQP's short strings, with a NUL */
#define SONDE__RABBITMQ_READERS_MAX   1024u
#define SONDE__RABBITMQ_UNKNOWN       (-1)

enum sonde__rabbitmq_type {
    SONDE__RABBITMQ_TYPE_UNKNOWN = 0,
    SONDE__RABBITMQ_CLASSIC,
    SONDE__RABBITMQ_QUORUM,
    SONDE__RABBITMQ_STREAM,
};

/** One queue. Numbers are SONDE__RABBITMQ_UNKNOWN (any below 0) until they are known. */
struct sonde__rabbitmq_queue {
    enum sonde__rabbitmq_type type;
    uint32_t round; /* of the listing that had it last */
    int64_t ready, unacked;
    struct sonde__rabbitmq_details {
        int64_t messages, consumers, bytes, head_unix_s, published, delivered, acked, redelivered;
    } details;
    size_t hash;
    const char *vhost, *name; /* in text */
    size_t vhost_size, name_size;
    char text[];
};

/** Who reads a stream, by the name it stores its offset under ("" = it has none). */
struct sonde__rabbitmq_reader {
    char vhost[SONDE__RABBITMQ_NAME_SIZE_MAX], stream[SONDE__RABBITMQ_NAME_SIZE_MAX],
        name[SONDE__RABBITMQ_NAME_SIZE_MAX];
    int64_t lag, offset;
    bool stored; /* nobody reads now: only a stored offset is there */
};

struct sonde__rabbitmq_queues {
    /* set by the owner */
    const struct sonde_alloc *alloc;
    const struct sonde__filter *filter;
    const struct sonde_string_list *vhosts; /* none = all */
    const struct sonde__patterns *streams;  /* names of streams, where the source does not tell */
    size_t max;
    /* its own */
    struct sonde__rabbitmq_queue **rows;
    uint32_t *slots; /* index + 1 of a row; open addressing */
    size_t count, capacity, slot_count;
    uint32_t round;
    bool truncated, no_memory, has_streams;
    struct sonde__rabbitmq_reader *readers;
    size_t reader_count, reader_capacity;
};

void sonde__rabbitmq_queues_deinit(struct sonde__rabbitmq_queues *queues);
/** A listing begins: what it does not have by its end is gone. */
void sonde__rabbitmq_queues_begin(struct sonde__rabbitmq_queues *queues);
/** Details are about to come anew: what was known of them is not any more. */
void sonde__rabbitmq_details_begin(struct sonde__rabbitmq_queues *queues);
/** The row of a queue, made when new. NULL: the filter leaves it out, a name is too long, there are max already
 *  (truncated is set), or no memory (no_memory is). Strings borrowed, NUL-terminated. */
struct sonde__rabbitmq_queue *sonde__rabbitmq_queue_at(struct sonde__rabbitmq_queues *queues, const char *vhost,
                                                       const char *name);
/** As before, or NULL when there is none. */
struct sonde__rabbitmq_queue *sonde__rabbitmq_queue_find(const struct sonde__rabbitmq_queues *queues, const char *vhost,
                                                         const char *name);
/** The listing has it. */
void sonde__rabbitmq_queue_seen(struct sonde__rabbitmq_queues *queues, struct sonde__rabbitmq_queue *queue);
/** Rows that the listing did not have go. */
void sonde__rabbitmq_queues_end(struct sonde__rabbitmq_queues *queues);

void sonde__rabbitmq_readers_clear(struct sonde__rabbitmq_queues *queues);
/** A subscription: of several of one name the one furthest behind counts. stored: only when nobody of that name reads. */
void sonde__rabbitmq_reader_add(struct sonde__rabbitmq_queues *queues, const struct sonde__rabbitmq_reader *reader);

/** Sets the series of rows from..from+count, as far as there are, and of readers with the last of them. Returns whether
 *  rows are left. */
bool sonde__rabbitmq_queues_put(const struct sonde__rabbitmq_queues *queues, struct sonde__poll *poll, size_t from,
                                size_t count);

#endif
