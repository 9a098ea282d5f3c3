/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/instruments.h"
#include <stdatomic.h>

/* As semantic conventions advise for durations of calls in seconds. */
static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};

#define OBSERVED(kind_, name_, unit_, description_)                                                                    \
    {                                                                                                                  \
        .size = sizeof(struct sonde_instrument_options), .kind = kind_, .name = name_, .unit = unit_,                  \
        .description = description_                                                                                    \
    }
#define COUNTER(name_, unit_, description_)                                                                            \
    {                                                                                                                  \
        .size = sizeof(struct sonde_instrument_options), .kind = SONDE_COUNTER, .name = name_, .unit = unit_,          \
        .description = description_                                                                                    \
    }

static const struct sonde_instrument_options options[SONDE__RESILIENCE_METRIC_COUNT] = {
    [SONDE__RESILIENCE_BREAKER_CALL] =
        COUNTER("sonde.circuit_breaker.call", "{call}", "Calls that asked a circuit breaker, by outcome."),
    [SONDE__RESILIENCE_BREAKER_DURATION] = {.size = sizeof(struct sonde_instrument_options),
                                            .kind = SONDE_HISTOGRAM,
                                            .number = SONDE_NUMBER_DOUBLE,
                                            .name = "sonde.circuit_breaker.call.duration",
                                            .unit = "s",
                                            .description = "Duration of calls that a circuit breaker admitted.",
                                            .bounds = bounds,
                                            .bound_count = sizeof bounds / sizeof *bounds},
    [SONDE__RESILIENCE_BREAKER_TRANSITION] =
        COUNTER("sonde.circuit_breaker.transition", "{transition}", "Changes of state, by states and reason."),
    [SONDE__RESILIENCE_RETRY] = COUNTER("sonde.resilience.retry", "{call}", "Calls that may be retried, by outcome."),
    [SONDE__RESILIENCE_RETRY_SUPPRESSED] =
        COUNTER("sonde.resilience.retry.suppressed", "{retry}", "Retries that were not made, by reason."),
    [SONDE__RESILIENCE_BULKHEAD_INFLIGHT] =
        OBSERVED(SONDE_OBSERVABLE_UP_DOWN_COUNTER, "sonde.resilience.bulkhead.inflight", "{call}", "Calls under way."),
    [SONDE__RESILIENCE_BULKHEAD_LIMIT] = OBSERVED(SONDE_OBSERVABLE_UP_DOWN_COUNTER, "sonde.resilience.bulkhead.limit",
                                                  "{call}", "Calls that may be under way at once."),
    [SONDE__RESILIENCE_BULKHEAD_QUEUED] =
        OBSERVED(SONDE_OBSERVABLE_UP_DOWN_COUNTER, "sonde.resilience.bulkhead.queued", "{call}", "Calls that wait."),
    [SONDE__RESILIENCE_BULKHEAD_REJECTED] =
        COUNTER("sonde.resilience.bulkhead.rejected", "{call}", "Calls for which there was no place."),
    [SONDE__RESILIENCE_RATE_LIMIT_REJECTED] =
        COUNTER("sonde.resilience.rate_limit.rejected", "{call}", "Calls for which there was no token."),
    [SONDE__RESILIENCE_TIMEOUT] = COUNTER("sonde.resilience.timeout", "{timeout}", "Calls that timed out, by scope."),
    [SONDE__RESILIENCE_FALLBACK] =
        COUNTER("sonde.resilience.fallback", "{call}", "Calls that were answered by a fallback, by its outcome."),
    [SONDE__RESILIENCE_HEDGE] = COUNTER("sonde.resilience.hedge", "{call}", "Hedged calls, by whose answer was used."),
    [SONDE__RESILIENCE_IDEMPOTENCY] =
        COUNTER("sonde.idempotency.request", "{request}", "Requests with an idempotency key, by what became of them."),
    [SONDE__RESILIENCE_IDEMPOTENCY_EVICTED] =
        COUNTER("sonde.idempotency.evicted", "{id}", "Ids that a full deduplicator forgot before their time."),
    [SONDE__RESILIENCE_SAGA_STARTED] = COUNTER("sonde.saga.started", "{saga}", "Sagas that began."),
    [SONDE__RESILIENCE_SAGA_ENDED] = COUNTER("sonde.saga.ended", "{saga}", "Sagas that ended, by outcome."),
    /* from milliseconds to weeks: exponential */
    [SONDE__RESILIENCE_SAGA_DURATION] = {.size = sizeof(struct sonde_instrument_options),
                                         .kind = SONDE_HISTOGRAM,
                                         .number = SONDE_NUMBER_DOUBLE,
                                         .name = "sonde.saga.duration",
                                         .unit = "s",
                                         .description = "Duration of sagas from begin to end."},
    [SONDE__RESILIENCE_SAGA_STEP_DURATION] = {.size = sizeof(struct sonde_instrument_options),
                                              .kind = SONDE_HISTOGRAM,
                                              .number = SONDE_NUMBER_DOUBLE,
                                              .name = "sonde.saga.step.duration",
                                              .unit = "s",
                                              .description = "Duration of attempts at steps of sagas.",
                                              .bounds = bounds,
                                              .bound_count = sizeof bounds / sizeof *bounds},
    [SONDE__RESILIENCE_SAGA_COMPENSATION] =
        COUNTER("sonde.saga.compensation", "{attempt}", "Attempts to undo steps of sagas, by outcome."),
};

#define FAILED UINT32_MAX
static _Atomic uint32_t made[SONDE__RESILIENCE_METRIC_COUNT]; /* 0 = not yet; the same for whoever makes it */

struct sonde_instrument sonde__resilience_instrument(enum sonde__resilience_metric metric) {
    struct sonde_instrument instrument = {atomic_load_explicit(&made[metric], memory_order_relaxed)};
    if (__builtin_expect(!instrument.index, 0)) {
        int err = sonde_instrument_create(&options[metric], &instrument);
        atomic_store_explicit(&made[metric], err ? FAILED : instrument.index, memory_order_relaxed);
    }
    if (instrument.index == FAILED)
        instrument.index = 0;
    return instrument;
}
