/* SPDX-License-Identifier: Apache-2.0 */
/* The topics that a Pulsar collector asks about, as it found them: a partitioned topic is one. */
#ifndef SONDE_AGENT_COLLECT_PULSAR_TOPICS_H
#define SONDE_AGENT_COLLECT_PULSAR_TOPICS_H

#include "agent/collect/filter.h"

/** Names, each once. */
struct sonde__pulsar_names {
    char **items; /* owned */
    size_t count, capacity;
};
/** Returns 0, -ENOMEM, SONDE_EFULL (max). */
int sonde__pulsar_names_add(struct sonde__pulsar_names *names, const struct sonde_alloc *alloc, const char *name,
                            size_t max);
void sonde__pulsar_names_clear(struct sonde__pulsar_names *names, const struct sonde_alloc *alloc);

/** topic: "persistent://tenant/namespace/local". Whether it is one that is looked at: the filter matches
 *  "tenant/namespace/local"; those that Pulsar keeps for itself ("__change_events") are not. */
bool sonde__pulsar_topic_passes(const char *topic, const struct sonde__filter *filter);
/** Whether a topic is a partition of one of these. */
bool sonde__pulsar_is_partition(const char *topic, const struct sonde__pulsar_names *partitioned);
/** "persistent://tenant/namespace/a/b" as the path "/admin/v2/persistent/tenant/namespace/a%2Fb". Returns false when it is
 *  no such topic, or does not fit. */
bool sonde__pulsar_topic_path(const char *topic, char *ret_path, size_t size);

#endif
