/* SPDX-License-Identifier: Apache-2.0 */
/* Who has which keys in a Redis Cluster. Source: Redis documentation, "Redis cluster specification", CLUSTER SLOTS. */
#ifndef SONDE_AGENT_REDIS_CLUSTER_H
#define SONDE_AGENT_REDIS_CLUSTER_H

#include "agent/collect/redis_client.h"

#define SONDE__REDIS_SLOTS 16384u

/** The slot of a key: of what stands between its first { and the next }, if that is not empty. */
unsigned sonde__redis_slot(const char *key, size_t size);

/** Visits each range of the answer to CLUSTER SLOTS with its primary. An address that the server does not know is
 *  `asked`'s. Returns 0, SONDE_EMALFORMED (what came before it was visited). */
int sonde__redis_slots_read(const redisReply *reply, const struct sonde__redis_address *asked,
                            void (*range)(void *user, unsigned first, unsigned last,
                                          const struct sonde__redis_address *primary),
                            void *user);

/** "MOVED 3999 127.0.0.1:6381" or "ASK 3999 ...". Returns whether it is one of them, and can be followed. */
bool sonde__redis_redirect_read(const char *text, const struct sonde__redis_address *asked,
                                struct sonde__redis_address *ret_address, bool *ret_ask);

#endif
