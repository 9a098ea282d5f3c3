/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what RabbitMQ's management API and Prometheus endpoint answer, into the table of queues. The bytes are nobody's
 * promise: what is not of the documented type is unknown, a whole answer that is no such document is refused. A queue is
 * a page's row, so memory is bounded by a page.
 * Source: rabbitmq_management/priv/www/api/index.html; rabbitmq_prometheus' metrics-detailed.md. */
#ifndef SONDE_AGENT_COLLECT_RABBITMQ_REPLY_H
#define SONDE_AGENT_COLLECT_RABBITMQ_REPLY_H

#include "agent/collect/rabbitmq_queues.h"
#include "agent/receive/exposition.h"

/** A page of /api/queues, with or without stats. details: takes them, else messages by
 *  state.
 *  ret_pages: how many there are. ret_sick: a queue that does not work ("crashed", "down", ...), "" = none; at least
 *  SONDE__RABBITMQ_NAME_SIZE_MAX bytes. Returns 0, SONDE_EMALFORMED. */
int sonde__rabbitmq_read_queues(const void *body, size_t size, bool details, struct sonde__rabbitmq_queues *queues,
                                uint32_t *ret_pages, char *ret_sick);

/** /api/overview. unroutable: dropped for want of a route; SONDE__RABBITMQ_UNKNOWN = not said. */
struct sonde__rabbitmq_overview {
    char cluster[SONDE__RABBITMQ_NAME_SIZE_MAX]; /* "" = not said */
    int64_t unroutable;
};
int sonde__rabbitmq_read_overview(const void *body, size_t size, struct sonde__rabbitmq_overview *ret_overview);

/** /api/nodes. trouble: called for each thing that is wrong, with an error.type and the node. Returns 0,
 *  SONDE_EMALFORMED. */
int sonde__rabbitmq_read_nodes(const void *body, size_t size,
                               void (*trouble)(void *user, const char *error_type, const char *text), void *user);

/** /api/stream/consumers: readers of streams that are in the table. Returns 0, SONDE_EMALFORMED. */
int sonde__rabbitmq_read_consumers(const void *body, size_t size, struct sonde__rabbitmq_queues *queues);
/** /api/stream/VHOST/STREAM/tracking: stored offsets. Returns 0, SONDE_EMALFORMED. */
int sonde__rabbitmq_read_tracking(const void *body, size_t size, const char *vhost, const char *stream,
                                  struct sonde__rabbitmq_queues *queues);

/** The Prometheus endpoint. reader: working memory.
 *  ret_cluster: as in the overview, left alone when not said. Returns 0, SONDE_EMALFORMED, SONDE_ETOOBIG. */
int sonde__rabbitmq_read_exposition(const void *body, size_t size, struct sonde__exposition *reader,
                                    struct sonde__rabbitmq_queues *queues, char *ret_cluster);

#endif
