/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of collectors, sorted by name. */
#include "agent/collect/collector.h"
#include <stddef.h>

const struct sonde_option sonde_collector_common_options[] = {
    {.key = "lease",
     .type = SONDE_OPTION_STRING,
     .offset = offsetof(struct sonde_collector_common, lease),
     .default_text = "",
     .sentence = "Where many agents could poll a broker, whoever has this polls, and another when it is gone: file:/PATH, a "
                 "file that they share and lock, or kubernetes:NAMESPACE/NAME, a Lease; one a broker. Empty = this agent "
                 "polls."},
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
