/* SPDX-License-Identifier: Apache-2.0 */
/* How a consumer group advances on a partition, from its committed offset and lag at each poll; the rules are those of
 * Burrow (linkedin/Burrow, core/internal/evaluator/caching.go) over a window of polls, in constant memory. Kafka tells no
 * time of a commit: a group whose offset stands still has stopped when nobody is in it, and is stalled when someone is. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_PROGRESS_H
#define SONDE_AGENT_COLLECT_KAFKA_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* From best to worst: a group is as its worst partition. */
enum sonde__kafka_progress_state {
    SONDE__KAFKA_OK,
    SONDE__KAFKA_WARNING, /* it advances, but its lag has grown and never fallen */
    SONDE__KAFKA_REWIND,  /* its offset went back and is not yet where it was */
    SONDE__KAFKA_STALL,   /* it does not advance though it has members */
    SONDE__KAFKA_STOP,    /* it does not advance and has no members */
    SONDE__KAFKA_PROGRESS_COUNT
};
extern const char *const sonde__kafka_progress_names[SONDE__KAFKA_PROGRESS_COUNT];

/** All zero is one that has seen nothing. Counts are polls, they stop at UINT16_MAX. */
struct sonde__kafka_progress {
    int64_t committed, lag; /* of the last poll */
    int64_t peak;           /* where it was before it went back */
    int64_t least;          /* lag when it last fell */
    uint16_t polls, still, behind, growing, back;
};

struct sonde__kafka_sight {
    int64_t committed, lag; /* >= 0 */
    bool has_members;
};
/** window: polls, at least 2. lag_allowed: a lag up to this is none. */
enum sonde__kafka_progress_state sonde__kafka_progress_see(struct sonde__kafka_progress *progress,
                                                           struct sonde__kafka_sight sight, unsigned window,
                                                           int64_t lag_allowed);

#endif
