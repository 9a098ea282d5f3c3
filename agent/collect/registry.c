/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of collectors, sorted by name. */
#include "agent/collect/collector.h"
#include <stddef.h>

const struct sonde_option sonde_collector_common_options[] = {
    {.key = "lease",
     .type = SONDE_OPTION_STRING,
     .offset = offsetof(struct sonde_collector_common, lease),
     .default_text = "",
     .sentence =
         "Where many agents could poll a broker, whoever has this polls, and another when it is gone: file:/PATH, a "
         "file that they share and lock; kubernetes:NAMESPACE/NAME, a Lease of the cluster they run in (token and "
         "ca.crt are read from /var/run/secrets/kubernetes.io/serviceaccount, or the directory that the "
         "environment's SONDE_KUBERNETES_ACCOUNT names); or kafka:HOST:PORT[,HOST:PORT...]/GROUP/TOPIC, a consumer "
         "group of the lease's own on a topic that exists, of which nothing is read: who is assigned partition 0 "
         "has it. One a broker. Empty = this agent polls."},
    {.key = "lease_properties",
     .type = SONDE_OPTION_STRING_MAP,
     .offset = offsetof(struct sonde_collector_common, lease_properties),
     .default_text = "",
     .secret = true,
     .sentence =
         "Properties of librdkafka, by its own names, for a lease by Kafka: security.protocol, sasl.* and ssl.* for "
         "brokers that want them, session.timeout.ms (three intervals, from 6 s to 45 s) for when the lease of "
         "one that died is free."},
    SONDE_OPTION_END,
};

#ifdef SONDE_WITH_KAFKA
extern const struct sonde_collector_ops sonde_collector_kafka;
#endif
#ifdef SONDE_WITH_MQTT
extern const struct sonde_collector_ops sonde_collector_mqtt;
#endif
#ifdef SONDE_WITH_NATS
extern const struct sonde_collector_ops sonde_collector_nats;
#endif
#ifdef SONDE_WITH_PULSAR
extern const struct sonde_collector_ops sonde_collector_pulsar;
#endif
#ifdef SONDE_WITH_RABBITMQ
extern const struct sonde_collector_ops sonde_collector_rabbitmq;
#endif
#ifdef SONDE_WITH_REDIS
extern const struct sonde_collector_ops sonde_collector_redis;
#endif
#ifdef SONDE_WITH_SERVICEBUS
extern const struct sonde_collector_ops sonde_collector_servicebus;
#endif
#ifdef SONDE_WITH_AWS
extern const struct sonde_collector_ops sonde_collector_sns;
extern const struct sonde_collector_ops sonde_collector_sqs;
#endif

const struct sonde_collector_ops *const sonde_collectors[] = {
#ifdef SONDE_WITH_KAFKA
    &sonde_collector_kafka,
#endif
#ifdef SONDE_WITH_MQTT
    &sonde_collector_mqtt,
#endif
#ifdef SONDE_WITH_NATS
    &sonde_collector_nats,
#endif
#ifdef SONDE_WITH_PULSAR
    &sonde_collector_pulsar,
#endif
#ifdef SONDE_WITH_RABBITMQ
    &sonde_collector_rabbitmq,
#endif
#ifdef SONDE_WITH_REDIS
    &sonde_collector_redis,
#endif
#ifdef SONDE_WITH_SERVICEBUS
    &sonde_collector_servicebus,
#endif
#ifdef SONDE_WITH_AWS
    &sonde_collector_sns,
    &sonde_collector_sqs,
#endif
    NULL,
};
