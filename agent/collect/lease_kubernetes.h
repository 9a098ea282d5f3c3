/* SPDX-License-Identifier: Apache-2.0 */
/* A lease that is an object of Kubernetes (coordination.k8s.io/v1, Lease), kept by its API. Source: Kubernetes API reference,
 * "Lease"; client-go tools/leaderelection. */
#ifndef SONDE_AGENT_COLLECT_LEASE_KUBERNETES_H
#define SONDE_AGENT_COLLECT_LEASE_KUBERNETES_H

#include "agent/collect/collector.h"

struct sonde__kubernetes_lease;
/** name: "NAMESPACE/NAME". interval_ns: of the poll; it lasts three of them, at least 5 s.
 *  Returns 0, SONDE_EINVALID (error_text: the name, or we are in no cluster), -ENOMEM. */
int sonde__kubernetes_lease_create(const char *name, const struct sonde_collector_env *env, uint64_t interval_ns,
                                   struct sonde__kubernetes_lease **ret_lease, char *error_text,
                                   size_t error_text_size);
void sonde__kubernetes_lease_destroy(struct sonde__kubernetes_lease *lease); /* NULL is fine */
bool sonde__kubernetes_lease_hold(struct sonde__kubernetes_lease *lease, const char **ret_trouble);

#endif
