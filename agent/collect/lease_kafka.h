/* SPDX-License-Identifier: Apache-2.0 */
/* A lease by membership of a consumer group of Kafka: whoever is assigned partition 0 of a topic has it. Nothing is read
 * from the topic and nothing is committed. It is kept while members come and go (cooperative-sticky); one that dies is
 * out after the session timeout, one that stops says so. */
#ifndef SONDE_AGENT_COLLECT_LEASE_KAFKA_H
#define SONDE_AGENT_COLLECT_LEASE_KAFKA_H

#include "agent/collect/collector.h"

/** What the name of a lease says. Group and topic are the lease's own: no consumer's. */
struct sonde__kafka_lease_name {
    char brokers[600]; /* HOST:PORT,... */
    char group[256], topic[250];
};
/** name: "HOST:PORT[,HOST:PORT...]/GROUP/TOPIC". Returns 0, SONDE_EINVALID with a text. */
int sonde__kafka_lease_parse(const char *name, struct sonde__kafka_lease_name *ret_name, char *error_text,
                             size_t error_text_size);

struct sonde__kafka_lease;
/** env->lease_properties: librdkafka's, for TLS and SASL. interval_ns: of the poll; the session timeout is three of them, at
 *  least 6 s (what brokers accept as delivered), at most 45 s. Returns 0, SONDE_EINVALID with a text, -ENOMEM, -EAGAIN. */
int sonde__kafka_lease_create(const char *name, const struct sonde_collector_env *env, uint64_t interval_ns,
                              struct sonde__kafka_lease **ret_lease, char *error_text, size_t error_text_size);
/** NULL is fine. Leaves the group, which takes a round trip to a broker; one that does not answer is left after 2 s. */
void sonde__kafka_lease_destroy(struct sonde__kafka_lease *lease);
/** Never waits: a thread of the lease's own speaks to the library. */
bool sonde__kafka_lease_hold(struct sonde__kafka_lease *lease, const char **ret_trouble);

#endif
