/* SPDX-License-Identifier: Apache-2.0 */
/* What offsets mean: messages a group has before it on a partition, and the sums of a topic's partitions. -1 is unknown;
 * unknown parts make a sum unknown, never smaller. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_LAG_H
#define SONDE_AGENT_COLLECT_KAFKA_LAG_H

#include "agent/collect/kafka_history.h"
#include "agent/collect/kafka_progress.h"

/** Of a partition; each -1 = unknown. end: high watermark. stable: last stable offset, up to which readers of committed
 *  transactions are let. */
struct sonde__kafka_offsets {
    int64_t earliest, end, stable;
};

struct sonde__kafka_lag {
    int64_t lag;     /* -1 = unknown */
    int64_t expired; /* deleted before they were read; -1 = unknown */
    int64_t next;    /* offset of what is read next */
};
/** committed -1: never committed, all is unknown. to_stable: count up to the last stable offset. */
struct sonde__kafka_lag sonde__kafka_lag_of(const struct sonde__kafka_offsets *offsets, int64_t committed,
                                            bool to_stable);

/** Sums of a group's partitions of one topic; all zero at first. */
struct sonde__kafka_sum {
    int64_t lag, expired;
    uint32_t committed, expired_partitions;
    bool lag_unknown, expired_unknown, age_unknown;
    struct sonde__kafka_age age; /* of the partition that is furthest behind */
    enum sonde__kafka_progress_state progress;
};
/** age: of what is read next; looked at when lag > 0. */
void sonde__kafka_sum_add(struct sonde__kafka_sum *sum, const struct sonde__kafka_lag *lag,
                          struct sonde__kafka_age age);
/** Of all that was added: a partition of unknown age makes the oldest known one a floor. */
struct sonde__kafka_age sonde__kafka_sum_age(const struct sonde__kafka_sum *sum);

#endif
