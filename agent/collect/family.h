/* SPDX-License-Identifier: Apache-2.0 */
/* The one family of metrics that every collector sets: sonde.messaging.*. A row is a metric; what it means is the same
 * for every broker. Unknown is absent, never 0. Seconds and messages are never mixed in one metric, and no total exists
 * beside its parts under the same name, so that sums are never twice too large. */
#ifndef SONDE_AGENT_COLLECT_FAMILY_H
#define SONDE_AGENT_COLLECT_FAMILY_H

#include "agent/series/series.h"

/* id, kind, number, name, unit, description. */
#define SONDE__MESSAGING_METRICS(X)                                                                                    \
    X(LAG, GAUGE, INT, "sonde.messaging.consumer.lag", "{message}",                                                    \
      "Messages a consumer group has not been given yet.")                                                             \
    X(PARTITION_LAG, GAUGE, INT, "sonde.messaging.partition.lag", "{message}",                                         \
      "Messages of one partition that a consumer group has not been given yet.")                                       \
    X(LAG_TIME, GAUGE, DOUBLE, "sonde.messaging.consumer.lag.time", "s",                                               \
      "How long ago what a consumer group reads next was written; of the partition that is furthest behind. "          \
      "estimate: exact, interpolated, floor (a lower bound), or measured: the mean of what consumers were given.")     \
    X(LAG_EXPIRED, GAUGE, INT, "sonde.messaging.consumer.lag.expired", "{message}",                                    \
      "Messages that were deleted before a consumer group read them.")                                                 \
    X(QUEUE_MESSAGE, UP_DOWN_COUNTER, INT, "sonde.messaging.queue.message", "{message}",                               \
      "Messages by state: ready, unacked, scheduled, dead_lettered, transfer, retained.")                              \
    X(QUEUE_SIZE, UP_DOWN_COUNTER, INT, "sonde.messaging.queue.size", "By", "Bytes the messages of a queue take.")     \
    X(OLDEST_AGE, GAUGE, DOUBLE, "sonde.messaging.queue.oldest_message.age", "s",                                      \
      "Age of the oldest message in a state; 0 when there is none.")                                                   \
    X(CONSUMERS, GAUGE, INT, "sonde.messaging.consumer.active", "{consumer}",                                          \
      "Consumers that a queue or group has: members, consumers, waiting pulls.")                                       \
    X(CLIENTS, GAUGE, INT, "sonde.messaging.client.active", "{client}",                                                \
      "Clients of a broker that does not tell who consumes, by state: connected, the agent among them; disconnected, " \
      "whose messages are kept.")                                                                                      \
    X(GROUP_STATE, GAUGE, INT, "sonde.messaging.consumer.group.state", "",                                             \
      "1 for the state a consumer group is in, 0 for the others.")                                                     \
    X(PROGRESS, GAUGE, INT, "sonde.messaging.consumer.progress", "",                                                   \
      "1 for how a consumer group advances, 0 for the others: ok, warning, stall, stop, rewind.")                      \
    X(PARTITIONS, GAUGE, INT, "sonde.messaging.consumer.partitions", "{partition}",                                    \
      "Partitions a consumer group has, by state: committed, uncommitted, expired.")                                   \
    X(PUBLISHED, COUNTER, INT, "sonde.messaging.queue.published", "{message}", "Messages published.")                  \
    X(DELIVERED, COUNTER, INT, "sonde.messaging.queue.delivered", "{message}", "Messages given to consumers.")         \
    X(ACKED, COUNTER, INT, "sonde.messaging.queue.acked", "{message}", "Messages acknowledged by consumers.")          \
    X(REDELIVERED, COUNTER, INT, "sonde.messaging.queue.redelivered", "{message}",                                     \
      "Messages given to consumers again.")                                                                            \
    X(DROPPED, COUNTER, INT, "sonde.messaging.queue.dropped", "{message}", "Messages the broker dropped.")             \
    X(PARTITION_OFFSET, GAUGE, INT, "sonde.messaging.partition.offset", "{message}",                                   \
      "Offsets of a partition: earliest, end, stable (last stable offset).")                                           \
    X(CONSUMER_OFFSET, GAUGE, INT, "sonde.messaging.consumer.offset", "{message}",                                     \
      "Offset a consumer group has committed.")                                                                        \
    X(SUBSCRIPTIONS, GAUGE, INT, "sonde.messaging.queue.subscription", "{subscription}",                               \
      "Subscriptions a broker has, by kind: plain, shared.")                                                           \
    X(REDELIVERING, GAUGE, INT, "sonde.messaging.consumer.redelivering", "{message}",                                  \
      "Messages that a consumer group was given more than once and has not acknowledged yet.")                         \
    X(SINCE_PROGRESS, GAUGE, DOUBLE, "sonde.messaging.consumer.since_progress", "s",                                   \
      "Time since a consumer group was last given, or acknowledged, a message; absent when it never was.")             \
    X(ACCESSED, GAUGE, DOUBLE, "sonde.messaging.queue.accessed.timestamp", "s",                                        \
      "Unix time at which a queue or subscription was last sent to or received from.")                                 \
    X(POLL_LEADER, GAUGE, INT, "sonde.messaging.poll.leader", "",                                                      \
      "1 when this agent has the lease and polls the broker, 0 when another may; absent without a lease.")             \
    X(POLL_UP, GAUGE, INT, "sonde.messaging.poll.up", "", "1 when the last poll of the broker was answered, else 0.")  \
    X(POLL_DURATION, GAUGE, DOUBLE, "sonde.messaging.poll.duration", "s", "Time the last poll of the broker took.")    \
    X(POLL_INTERVAL, GAUGE, DOUBLE, "sonde.messaging.poll.interval", "s",                                              \
      "Time between the starts of two polls, as configured.")                                                          \
    X(POLL_LAST_SUCCESS, GAUGE, DOUBLE, "sonde.messaging.poll.last_success.timestamp", "s",                            \
      "Unix time of the last poll that was answered.")                                                                 \
    X(POLL_TRUNCATED, GAUGE, INT, "sonde.messaging.poll.truncated", "",                                                \
      "1 when something was left out because of a limit, else 0.")                                                     \
    X(POLL_FALLBACKS, COUNTER, INT, "sonde.messaging.poll.fallbacks", "{fallback}",                                    \
      "Lags counted entry by entry because the broker did not know them.")                                             \
    X(POLL_THROTTLED, COUNTER, INT, "sonde.messaging.poll.throttled", "{request}",                                     \
      "Requests that the broker's side put off.")                                                                      \
    X(POLL_ERRORS, COUNTER, INT, "sonde.messaging.poll.errors", "{error}", "What went wrong when polling the broker.")

enum sonde__messaging_metric {
#define SONDE__MESSAGING_ENUM(id, kind, number, name, unit, description) SONDE__MESSAGING_##id,
    SONDE__MESSAGING_METRICS(SONDE__MESSAGING_ENUM)
#undef SONDE__MESSAGING_ENUM
        SONDE__MESSAGING_METRIC_COUNT
};

/** What a series is about. All borrowed; data NULL, or more_count 0, = not said.
 *  destination   messaging.destination.name: queue, topic, stream
 *  subscription  messaging.destination.subscription.name: of Service Bus, Pulsar, SNS, MQTT's shared ones
 *  group         messaging.consumer.group.name: of Kafka, Redis, NATS (the consumer)
 *  partition     messaging.destination.partition.id
 *  state, estimate, kind, error_type: the attributes of those names; static text or NULL
 *  more          the broker's own, after the family's: "messaging.rabbitmq.vhost", say. At most
 *                SONDE__MESSAGING_MORE_MAX. */
enum { SONDE__MESSAGING_MORE_MAX = 4 };
struct sonde__messaging_of {
    struct sonde_string destination, subscription, group, partition;
    const char *state, *estimate, *kind, *error_type;
    const struct sonde_attribute *more;
    size_t more_count;
};

/** Kind, name, unit and description of a metric; the rest is zero. Static text. */
struct sonde_series_value sonde__messaging_value(enum sonde__messaging_metric metric);

/** Sets a series of the family in a source. common: the broker's identity, on every series (messaging.system,
 *  server.address, ...), at most SONDE__MESSAGING_COMMON_MAX. value: of an INT metric whole and within +-2^53.
 *  since_unix_ns: of counters, when the total began; 0 = unknown: the broker's own total, which may fall (a reset).
 *  Returns 0, -ENOMEM. */
enum { SONDE__MESSAGING_COMMON_MAX = 6 };
int sonde__messaging_set(struct sonde_series_source *source, const struct sonde_attribute *common, size_t common_count,
                         enum sonde__messaging_metric metric, const struct sonde__messaging_of *of, double value,
                         uint64_t since_unix_ns);

#endif
