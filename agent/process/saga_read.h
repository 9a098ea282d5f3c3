/* SPDX-License-Identifier: Apache-2.0 */
/* What a span or a log record says of a saga (the contract: sonde/resilience/saga.h, "What a collector can rely on").
 * Spans may not be sampled, the library's log events are not; services without the library have spans only. Both are
 * read, and a step that is told twice has one key. */
#ifndef SONDE_AGENT_SAGA_READ_H
#define SONDE_AGENT_SAGA_READ_H

#include "exporters/record_log.h"
#include <stdbool.h>

/* The longest id, type or name of a step that is kept: the library's are shorter. */
#define SONDE__SAGA_TEXT_SIZE_MAX 64u

enum sonde__saga_action { SONDE__SAGA_FORWARD = 0, SONDE__SAGA_COMPENSATE, SONDE__SAGA_ACTIONS };
enum sonde__saga_outcome {
    SONDE__SAGA_COMPLETED = 0,
    SONDE__SAGA_COMPENSATED,
    SONDE__SAGA_FAILED,
    SONDE__SAGA_OUTCOMES, /* not told */
};

struct sonde__saga_event {
    struct sonde_bytes id, type, step; /* in the record; size 0 = not told */
    const uint8_t *trace_id, *span_id; /* in the record; NULL = none */
    uint64_t start_unix_ns;
    uint64_t duration_ns; /* of the step */
    uint64_t step_key;    /* the same in all that tell of this attempt of this step of this saga; of steps only */
    enum sonde__saga_action action;
    enum sonde__saga_outcome outcome;
    bool is_step; /* of a step that is over */
};

/** Reads a valid Span or LogRecord. Returns false when it tells of no saga; an id that cannot be kept is left to the
 *  caller. ret_event points into the body. */
bool sonde__saga_read(enum sonde_signal signal, struct sonde_bytes body, struct sonde__saga_event *ret_event);

/** "completed" and so on; static. */
const char *sonde__saga_outcome_name(enum sonde__saga_outcome outcome);
const char *sonde__saga_action_name(enum sonde__saga_action action);

#endif
