/* SPDX-License-Identifier: Apache-2.0 */
/* The instruments of the resilience kit; each is made when it is first used. */
#ifndef SONDE_RESILIENCE_INSTRUMENTS_H
#define SONDE_RESILIENCE_INSTRUMENTS_H

#include <sonde/metric.h>

enum sonde__resilience_metric {
    SONDE__RESILIENCE_BREAKER_CALL = 0,
    SONDE__RESILIENCE_BREAKER_DURATION,
    SONDE__RESILIENCE_BREAKER_TRANSITION,
    SONDE__RESILIENCE_RETRY,
    SONDE__RESILIENCE_RETRY_SUPPRESSED,
    SONDE__RESILIENCE_BULKHEAD_INFLIGHT,
    SONDE__RESILIENCE_BULKHEAD_LIMIT,
    SONDE__RESILIENCE_BULKHEAD_QUEUED,
    SONDE__RESILIENCE_BULKHEAD_REJECTED,
    SONDE__RESILIENCE_RATE_LIMIT_REJECTED,
    SONDE__RESILIENCE_TIMEOUT,
    SONDE__RESILIENCE_FALLBACK,
    SONDE__RESILIENCE_HEDGE,
    SONDE__RESILIENCE_METRIC_COUNT,
};

/** Never fails: a no-op instrument when there is no room, or the library is off. Any thread. */
struct sonde_instrument sonde__resilience_instrument(enum sonde__resilience_metric metric);

#endif
