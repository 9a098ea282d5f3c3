/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a NATS server's monitoring port: /varz (who it is) and /jsz (streams and consumers). Nothing in them is
 * trusted: what is missing or of another type is unknown, names are cut off at SONDE__NATS_NAME_SIZE_MAX. */
#ifndef SONDE_AGENT_COLLECT_NATS_JSZ_H
#define SONDE_AGENT_COLLECT_NATS_JSZ_H

#include "exporters/exporter.h"
#include <stdbool.h>
#include <stdint.h>

#define SONDE__NATS_NAME_SIZE_MAX 256u
#define SONDE__NATS_UNKNOWN       UINT64_MAX /* of a number */

struct sonde__nats_identity {
    char server_name[SONDE__NATS_NAME_SIZE_MAX], cluster_name[SONDE__NATS_NAME_SIZE_MAX]; /* "" = none */
};
/** Returns 0, SONDE_EMALFORMED. */
int sonde__nats_varz_read(const uint8_t *body, size_t size, struct sonde__nats_identity *ret_identity);

/** Borrowed during the visit. leader.data NULL = there is none to ask for: not replicated. Times 0 = unknown or never. */
struct sonde__nats_stream {
    struct sonde_string account, name, leader;
    uint64_t messages, bytes, first_seq, last_seq;
    uint64_t first_unix_ns, last_unix_ns;
};
struct sonde__nats_consumer {
    struct sonde_string name, leader;
    uint64_t pending, ack_pending, redelivered, waiting;
    uint64_t delivered, delivered_seq, acked_seq; /* deliveries; sequences of the stream */
    uint64_t created_unix_ns, delivered_unix_ns, acked_unix_ns;
    bool config_known, filtered, push, push_bound, paused;
};
struct sonde__nats_page {
    bool disabled;    /* JetStream is not switched on at this server */
    size_t accounts;  /* in this page */
    uint64_t unix_ns; /* the server's clock, 0 = unknown */
};
/** stream: returns whether its consumers are to be visited. */
struct sonde__nats_visitor {
    bool (*stream)(void *user, const struct sonde__nats_stream *stream);
    void (*consumer)(void *user, const struct sonde__nats_stream *stream, const struct sonde__nats_consumer *consumer);
    void *user;
};
/** Returns 0, SONDE_EMALFORMED (no JSON, or not as documented). */
int sonde__nats_jsz_read(const uint8_t *body, size_t size, const struct sonde__nats_visitor *visitor,
                         struct sonde__nats_page *ret_page);

/** "2026-01-02T03:04:05.678Z" or with an offset; 0 when it is none, or before 1970. */
uint64_t sonde__nats_time_read(const char *text);

#endif
