/* SPDX-License-Identifier: Apache-2.0 */
/* Who polls, where many agents could: the one that holds the lease. Kept as long as its holder lives, and taken by another
 * within an interval when it is gone. Nobody waits: an agent that does not have it asks again at its next poll. */
#ifndef SONDE_AGENT_COLLECT_LEASE_H
#define SONDE_AGENT_COLLECT_LEASE_H

#include "agent/collect/collector.h"

struct sonde__lease;

/** env->lease: "file:/PATH" (a lock on a file that all agents share; the kernel gives it back when its holder dies) or
 *  "kubernetes:NAMESPACE/NAME" (lease_kubernetes.h; it runs out when its holder dies) or
 *  "kafka:HOST:PORT[,HOST:PORT...]/GROUP/TOPIC" (lease_kafka.h; as that). env: kept until destroyed.
 *  interval_ns: of the poll. error_text: what is wrong with it. Returns 0, SONDE_EINVALID, -ENOMEM. */
int sonde__lease_create(const struct sonde_collector_env *env, uint64_t interval_ns, struct sonde__lease **ret_lease,
                        char *error_text, size_t error_text_size);
void sonde__lease_destroy(struct sonde__lease *lease); /* NULL is fine; gives it back */
/** Whether we have it, having tried to take it. ret_trouble: why it cannot be tried (borrowed), or NULL. */
bool sonde__lease_hold(struct sonde__lease *lease, const char **ret_trouble);

#endif
