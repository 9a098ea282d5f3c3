/* SPDX-License-Identifier: Apache-2.0 */
/* What mosquitto says about itself under $SYS/broker/. Source: mosquitto(8), "Broker Status". */
#ifndef SONDE_AGENT_COLLECT_MQTT_SYS_H
#define SONDE_AGENT_COLLECT_MQTT_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* id, topic behind $SYS/broker/. */
#define SONDE__MQTT_VALUES(X)                                                                                          \
    X(STORED, "store/messages/count")                                                                                  \
    X(STORED_BYTES, "store/messages/bytes")                                                                            \
    X(RETAINED, "retained messages/count")                                                                             \
    X(RECEIVED, "publish/messages/received")                                                                           \
    X(SENT, "publish/messages/sent")                                                                                   \
    X(DROPPED, "publish/messages/dropped")                                                                             \
    X(CONNECTED, "clients/connected")                                                                                  \
    X(DISCONNECTED, "clients/disconnected")                                                                            \
    X(SUBSCRIPTIONS, "subscriptions/count")                                                                            \
    X(SHARED_SUBSCRIPTIONS, "shared_subscriptions/count")                                                              \
    X(UPTIME, "uptime") /* the last one: see mqtt_session.c */

enum sonde__mqtt_value {
#define SONDE__MQTT_ENUM(id, topic) SONDE__MQTT_##id,
    SONDE__MQTT_VALUES(SONDE__MQTT_ENUM)
#undef SONDE__MQTT_ENUM
        SONDE__MQTT_VALUE_COUNT
};

struct sonde__mqtt_values {
    bool known[SONDE__MQTT_VALUE_COUNT];
    uint64_t of[SONDE__MQTT_VALUE_COUNT];
};

/** $SYS/broker/ and all: the topic of a value. Static. */
const char *sonde__mqtt_topic(enum sonde__mqtt_value value);
/** Takes a message: topic NUL-terminated, payload "123" or "123 seconds". What is none of ours, or no number up to 2^53,
 *  is ignored. */
void sonde__mqtt_values_take(struct sonde__mqtt_values *values, const char *topic, const void *payload, size_t size);

#endif
