/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the circuit breakers.
 *   breaker.c           the state machine, on one cell
 *   breaker_window.c    what the state machine counts
 *   breaker_table.c     which breakers there are, and where their cells lie
 *   breaker_telemetry.c their metrics, log records and spans */
#ifndef SONDE_RESILIENCE_BREAKER_INTERNAL_H
#define SONDE_RESILIENCE_BREAKER_INTERNAL_H

#include "instrumentation/resilience/breaker_cell.h"
#include "instrumentation/ring/breakers.h"
#include <sonde/metric.h>

/* How calls end, as sonde.circuit_breaker.call counts them. */
enum sonde__call_outcome {
    SONDE__CALL_SUCCESS = 0,
    SONDE__CALL_FAILURE,
    SONDE__CALL_SLOW_SUCCESS,
    SONDE__CALL_SLOW_FAILURE,
    SONDE__CALL_IGNORED,
    SONDE__CALL_REJECTED,
    SONDE__CALL_CANCELLED,
    SONDE__CALL_OUTCOME_COUNT,
};

/* What of a breaker is this process's own: functions, and handles of metrics. */
struct sonde__breaker_own {
    enum sonde_outcome (*classify)(void *user, int error, const void *result);
    void (*on_change)(void *user, const struct sonde_breaker_change *change);
    uint64_t (*clock)(void *user);
    void *user;
    struct sonde_series calls[SONDE__CALL_OUTCOME_COUNT], duration;
};

/* The table. Where cells lie is ring/breakers.h's. */
struct sonde__breakers {
    _Atomic uint32_t count; /* index 1..count are made */
    struct sonde__breaker_own own[SONDE_BREAKERS_MAX];
};
extern struct sonde__breakers sonde__breakers __attribute__((visibility("hidden")));

/** The same, out of line: no such breaker, or a forked child's first call. */
struct sonde__breaker_cell *sonde__breaker_cell_find(struct sonde_breaker breaker);

/** Of a handle; NULL for none. Cells may move (fork, fresh start): a pointer to one is good for one call. */
static inline struct sonde__breaker_cell *sonde__breaker_cell(struct sonde_breaker breaker) {
    const struct sonde__breaker_place *place = atomic_load_explicit(&sonde__breaker_place, memory_order_acquire);
    if (__builtin_expect(breaker.index - 1u >= atomic_load_explicit(&place->count, memory_order_acquire), 0))
        return sonde__breaker_cell_find(breaker);
    uint8_t *cells = atomic_load_explicit(&place->cells, memory_order_acquire);
    return (struct sonde__breaker_cell *)(void *)(cells + (breaker.index - 1u) * (size_t)SONDE__BREAKER_CELL_SIZE);
}
/** Of a handle that has a cell. */
static inline const struct sonde__breaker_own *sonde__breaker_own(struct sonde_breaker breaker) {
    return &sonde__breakers.own[breaker.index - 1u];
}

/** Takes over the state of another library's breaker. Returns 0; SONDE_EINVALID when it is one of ours. */
int sonde__breaker_observed(struct sonde_breaker breaker, enum sonde_breaker_state state);
/** A probe that was not made, or says nothing: its permit may be taken by another. */
void sonde__breaker_permit_return(struct sonde__breaker_cell *cell, const struct sonde_breaker_permit *permit);

/* breaker_telemetry.c */
void sonde__breaker_instruments(const char *name, struct sonde__breaker_own *own);
void sonde__breaker_tell(const struct sonde__breaker_own *own, const struct sonde_breaker_change *change);

/** The text of a state and of a reason, as telemetry has them. Static. */
const char *sonde__breaker_state_text(enum sonde_breaker_state state);
const char *sonde__breaker_reason_text(enum sonde_breaker_reason reason);

#endif
