/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka for a collector: its handles (one per isolation level and use, made when needed), what it says (into the
 * agent's log, a few lines a minute), why it fails, and the cluster's metadata. Worker thread only, but for create and
 * destroy. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_CLIENT_H
#define SONDE_AGENT_COLLECT_KAFKA_CLIENT_H

#include "agent/collect/kafka_config.h"
#include "exporters/seam.h"
#include <pthread.h>

struct sonde__kafka_client {
    const struct sonde__kafka_config *config;
    const struct sonde_seams *seams;
    const char *name; /* of the collector, for the log */
    rd_kafka_t *handles[SONDE__KAFKA_PURPOSE_COUNT];
    const struct rd_kafka_metadata *metadata;             /* NULL = never had */
    const struct rd_kafka_metadata_topic **topics_sorted; /* of it, by name */
    uint64_t metadata_ns;
    char cluster[256]; /* id; "" = not known */
    /* what the library told beside results: a broker that refuses a password shows as a time-out */
    rd_kafka_resp_err_t told;
    char told_text[256];
    pthread_mutex_t log_lock;
    uint64_t log_minute_ns;
    unsigned log_lines, log_left_out;
    bool left;         /* requests under way were given up: see sonde__kafka_client_refresh() */
    char failure[256]; /* why a connection failed last; under log_lock */
};

/** Returns 0, -ENOMEM, SONDE_EINVALID with a text. config, seams, name: kept until destroyed. */
int sonde__kafka_client_create(const struct sonde__kafka_config *config, const struct sonde_seams *seams,
                               const char *name, struct sonde__kafka_client **ret_client, char *text, size_t text_size);
void sonde__kafka_client_destroy(struct sonde__kafka_client *client); /* NULL is fine */
/** NULL = it cannot be made. */
rd_kafka_t *sonde__kafka_client_handle(struct sonde__kafka_client *client, enum sonde__kafka_purpose purpose);
/** A new handle in place of one on which requests were given up, which ends them. Until then they must not run into a
 *  time-out of the library's own: 2.0.2 fails an assertion, and ends the process, when a coordinator comes up after a
 *  request that waited for it timed out (rd_kafka_admin_coord_request() gives back what coord_req_fail() takes again).
 *  Returns false when there is none. */
bool sonde__kafka_client_refresh(struct sonde__kafka_client *client);
/** Asks for all topics and the cluster's id. */
rd_kafka_resp_err_t sonde__kafka_client_metadata(struct sonde__kafka_client *client, int timeout_ms);
/** NULL = there is no such topic. */
const struct rd_kafka_metadata_topic *sonde__kafka_client_topic(const struct sonde__kafka_client *client,
                                                                const char *name);

/** The trouble of an error; static, one of SONDE__TROUBLE_*. */
const char *sonde__kafka_trouble(rd_kafka_resp_err_t error);
/** As that, but of what the library told meanwhile when that says more. ret_text for people. */
const char *sonde__kafka_client_trouble(struct sonde__kafka_client *client, rd_kafka_resp_err_t error, char *ret_text,
                                        size_t text_size);

#endif
