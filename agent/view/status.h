/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent does, as one JSON value: /api/status answers it, the page shows it, `sonde status` prints it. */
#ifndef SONDE_AGENT_STATUS_H
#define SONDE_AGENT_STATUS_H

#include "agent/daemon/daemon.h"
#include <jansson.h>

struct sonde__peer_sums {
    uint32_t peers, connected, rings;
};
void sonde__peers_sum(const struct sonde_daemon *daemon, struct sonde__peer_sums *ret_sums);

/** Owned (json_decref). NULL when out of memory. Its members are described in status.c. */
json_t *sonde__status_json(struct sonde_daemon *daemon);

#endif
