/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what Pulsar's admin API answers. What is not of the documented type is unknown (below 0); an answer that is no
 * such document is refused.
 * A broker's own sum over partitions leaves out the earliest publish time and the blocked flag, and merges consumers of
 * partitions with one another (SubscriptionStatsImpl.add), so the sum is made here, from the partitions.
 * Source: pulsar.apache.org/docs/administration-stats; TopicStatsImpl, SubscriptionStatsImpl. */
#ifndef SONDE_AGENT_COLLECT_PULSAR_REPLY_H
#define SONDE_AGENT_COLLECT_PULSAR_REPLY_H

#include <sonde/attribute.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE__PULSAR_NAME_SIZE_MAX 512u /* longer names are cut: of a series' attribute */

/** A list of names: tenants, namespaces, topics. name: called for each, NUL-terminated, not empty.
 *  Returns 0, SONDE_EMALFORMED. */
int sonde__pulsar_read_names(const void *body, size_t size, void (*name)(void *user, const char *text), void *user);

struct sonde__pulsar_subscription {
    struct sonde_string name;
    int64_t backlog, unacked, delayed, delivered, expired; /* below 0 = unknown */
    int64_t consumers;                                     /* by name: one that reads all partitions is one */
    int64_t earliest_unix_ms;                              /* of what is in the backlog; 0 = unknown */
    bool blocked;                                          /* one of its partitions: too many are unacknowledged */
};

/** Where stats go. partition: of one partition, "" = of the whole topic. All borrowed during the call. */
struct sonde__pulsar_take {
    void (*topic)(void *user, int64_t published, int64_t stored_bytes);
    void (*subscription)(void *user, const char *partition, const struct sonde__pulsar_subscription *subscription);
    void *user;
};
/** .../stats, or .../partitioned-stats?perPartition=true. per_partition: hands on partitions too.
 *  Returns 0, SONDE_EMALFORMED. */
int sonde__pulsar_read_stats(const void *body, size_t size, bool partitioned, bool per_partition,
                             const struct sonde__pulsar_take *take);

#endif
