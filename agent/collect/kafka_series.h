/* SPDX-License-Identifier: Apache-2.0 */
/* What a look at a cluster learnt, as series: group by group, so that ten thousand of them do not hold up the loop. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_SERIES_H
#define SONDE_AGENT_COLLECT_KAFKA_SERIES_H

#include "agent/collect/kafka_book.h"
#include "agent/collect/kafka_config.h"
#include "agent/collect/poll.h"

struct sonde__kafka_series {
    const struct sonde__kafka_config *config;
    const struct sonde__kafka_book *book;
    struct sonde__poll *poll;
    size_t next_group, next_topic;
};

/** Begins with the first group. */
void sonde__kafka_series_start(struct sonde__kafka_series *series);
/** Sets at least one more group's (or topic's) series, and more until about that many are set. Returns whether there are
 *  more to come. */
bool sonde__kafka_series_next(struct sonde__kafka_series *series, unsigned count);

#endif
