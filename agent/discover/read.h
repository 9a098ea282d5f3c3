/* SPDX-License-Identifier: Apache-2.0 */
/* What registries answer, as sets of instances. The bytes are nobody's promise: an answer of another shape is refused as
 * a whole; an instance without a usable host or port is left out and counted.
 * Of an instance's metadata these choose where its metrics are: prometheus.path, prometheus.port, prometheus.scheme,
 * management.port; and these tell of it: service.version or version, service.namespace, zone. ".", "-" and "_" are the
 * same in their names (Consul's have no dots).
 * Source: developer.hashicorp.com/consul/api-docs/catalog and .../health; Netflix/eureka wiki, Eureka REST operations. */
#ifndef SONDE_AGENT_DISCOVER_READ_H
#define SONDE_AGENT_DISCOVER_READ_H

#include "agent/discover/discover.h"

/* Services that are watched at most. */
#define SONDE__CONSUL_SERVICES_MAX 2048u

/** Names of services: owned strings, sorted, no name twice. All zero is none. */
struct sonde__discover_names {
    char **items;
    size_t count;
    uint64_t left_out; /* beyond SONDE__CONSUL_SERVICES_MAX */
};
void sonde__discover_names_deinit(struct sonde__discover_names *names, const struct sonde_alloc *alloc);

/** /v1/catalog/services: those that have all tags that are wanted, but not Consul itself. ret_names: zeroed by the
 *  caller; to be deinitialised in any case.
 *  Returns 0, SONDE_EMALFORMED, -ENOMEM. */
int sonde__consul_read_services(const struct sonde__consul_config *config, const struct sonde_alloc *alloc,
                                const void *body, size_t size, struct sonde__discover_names *ret_names);
/** /v1/health/service/NAME. ret_set: as above. */
int sonde__consul_read_health(const struct sonde__consul_config *config, const struct sonde_alloc *alloc,
                              const void *body, size_t size, struct sonde__discovered_set *ret_set);
/** SERVER/apps as JSON. ret_set: as above. */
int sonde__eureka_read(const struct sonde__eureka_config *config, const struct sonde_alloc *alloc, const void *body,
                       size_t size, struct sonde__discovered_set *ret_set);

#endif
