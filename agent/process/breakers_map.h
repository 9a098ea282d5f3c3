/* SPDX-License-Identifier: Apache-2.0 */
/* What other libraries call things, and what they are here. One row per series: a metric, and where one metric has
 * several meanings the label that tells them apart. Names are compared as Prometheus writes them, dots and a last
 * _total aside, so that rows fit what was scraped as well as what comes by OTLP.
 * Sources: Resilience4j AbstractCircuitBreakerMetrics.java; Polly docs/advanced/telemetry.md; Micrometer
 * MicrometerMetricsPublisherCommand.java; Envoy cluster_stats.rst; Linkerd reference/proxy-metrics.md;
 * opentelemetry-java-instrumentation failsafe-3.0. */
#ifndef SONDE_AGENT_PROCESS_BREAKERS_MAP_H
#define SONDE_AGENT_PROCESS_BREAKERS_MAP_H

#include <sonde/metric.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of enum sonde_breaker_state. */
enum breakers_state {
    BREAKERS_CLOSED = 0,
    BREAKERS_OPEN,
    BREAKERS_HALF_OPEN,
    BREAKERS_FORCED_OPEN,
    BREAKERS_DISABLED,
    BREAKERS_METRICS_ONLY,
    BREAKERS_STATE_COUNT, /* not known */
};
extern const char *const breakers_state_names[BREAKERS_STATE_COUNT + 1]; /* NULL-terminated */

/* What a breaker (or what is like one) has. */
enum breakers_output {
    BREAKERS_CALL_SUCCESS = 0,
    BREAKERS_CALL_FAILURE,
    BREAKERS_CALL_IGNORED,
    BREAKERS_CALL_REJECTED,
    BREAKERS_FAILURE_RATIO,
    BREAKERS_SLOW_RATIO,
    BREAKERS_TO_CLOSED,
    BREAKERS_TO_OPEN,
    BREAKERS_TO_HALF_OPEN,
    BREAKERS_RETRY, /* and three more: failed * 2 + retried */
    BREAKERS_RETRY_LAST = BREAKERS_RETRY + 3,
    BREAKERS_RETRY_SUPPRESSED, /* by the budget; one more: by the number of attempts */
    BREAKERS_RETRY_EXCEEDED,
    BREAKERS_TIMEOUT,
    BREAKERS_RATE_REJECTED,
    BREAKERS_FALLBACK_SUCCESS,
    BREAKERS_FALLBACK_FAILURE,
    BREAKERS_BULKHEAD_LIMIT,
    BREAKERS_BULKHEAD_INFLIGHT,
    BREAKERS_BULKHEAD_QUEUED,
    BREAKERS_LIMIT_CX, /* Envoy's: of those that are under way or wait */
    BREAKERS_LIMIT_RQ,
    BREAKERS_LIMIT_RQ_PENDING,
    BREAKERS_INFLIGHT_CX,
    BREAKERS_INFLIGHT_RQ,
    BREAKERS_QUEUED_RQ_PENDING,
    BREAKERS_REJECTED_THREAD_POOL,
    BREAKERS_REJECTED_SEMAPHORE,
    BREAKERS_REJECTED_CX,
    BREAKERS_REJECTED_CX_POOL,
    BREAKERS_REJECTED_RQ_PENDING,
    BREAKERS_REJECTED_RQ,
    BREAKERS_SATURATED, /* and nine more: priority * 5 + resource */
    BREAKERS_SATURATED_LAST = BREAKERS_SATURATED + 9,
    BREAKERS_EJECTED,
    BREAKERS_EJECTED_RATIO,
    BREAKERS_UNAVAILABLE,
    BREAKERS_OUTPUT_COUNT,
    /* not shown, but for what follows from them */
    BREAKERS_MEMBERS = BREAKERS_OUTPUT_COUNT,
    BREAKERS_STATE_IS, /* and five more: its value 1 says that it is that state */
    BREAKERS_STATE_IS_LAST = BREAKERS_STATE_IS + BREAKERS_STATE_COUNT - 1,
    BREAKERS_STATE_OPEN_FLAG, /* 1 = open, 0 = closed */
    BREAKERS_STATE_NUMBER,    /* by the configuration's state_map */
    BREAKERS_BULKHEAD_AVAILABLE,
    BREAKERS_REMAINING_CX, /* in the order of BREAKERS_LIMIT_CX */
    BREAKERS_REMAINING_RQ,
    BREAKERS_REMAINING_RQ_PENDING,
    BREAKERS_DURATION,       /* a histogram, in seconds when scaled */
    BREAKERS_DURATION_COUNT, /* or its count and sum alone */
    BREAKERS_DURATION_SUM,
    BREAKERS_SUM_COUNT,
};
_Static_assert(BREAKERS_SUM_COUNT <= 64, "bits of a word");

/* How an output is shown. */
struct breakers_shown {
    const char *metric, *unit, *description;
    enum sonde_instrument_kind kind;
    const char *name_key;            /* of the breaker's name */
    const char *keys[2], *values[2]; /* NULL = no more */
};
extern const struct breakers_shown breakers_shown[BREAKERS_OUTPUT_COUNT];

/* A library, and which of its labels make the name (joined by "/") and which tell nothing here. */
struct breakers_source {
    const char *name;
    const char *name_labels[4];
    const char *left_out[6];
};
struct breakers_row {
    const struct breakers_source *source;
    const char *metric;
    const char *label, *label_value; /* NULL = whatever; "a*" = begins so, "!a*" = does not, or
                                      * is not there, "+a*" = is there and does not; "" = is not there */
    int sum;                         /* enum breakers_output */
    double scale;
    bool is_of_histogram; /* its value is the count, but of BREAKERS_DURATION */
};
extern const struct breakers_row breakers_rows[];
extern const size_t breakers_row_count;

/** Whether a label (NULL = it is not there) is what the row asks for. */
bool breakers_row_matches(const struct breakers_row *row, const char *value);

/** Writes a name as rows have it. Returns false when it does not fit, and no row has it. */
bool breakers_name_normalize(const char *name, size_t size, char *to, size_t to_size);

#endif
