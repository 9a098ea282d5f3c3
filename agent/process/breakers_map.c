/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/process/breakers_map.h"
#include <string.h>

const char *const breakers_state_names[BREAKERS_STATE_COUNT + 1] = {
    "closed", "open", "half_open", "forced_open", "disabled", "metrics_only", NULL,
};

#define BREAKER_NAME "sonde.circuit_breaker.name"
#define OTHER_NAME   "sonde.resilience.name"
#define CALL(outcome_)                                                                                                 \
    {                                                                                                                  \
        "sonde.circuit_breaker.call", "{call}", "Calls that asked a circuit breaker, by outcome.", SONDE_COUNTER,      \
            BREAKER_NAME, {"sonde.circuit_breaker.outcome"}, {                                                         \
            outcome_                                                                                                   \
        }                                                                                                              \
    }
#define TO(state_)                                                                                                     \
    {                                                                                                                  \
        "sonde.circuit_breaker.transition", "{transition}", "Changes of state, by states and reason.", SONDE_COUNTER,  \
            BREAKER_NAME, {"sonde.circuit_breaker.to"}, {                                                              \
            state_                                                                                                     \
        }                                                                                                              \
    }
#define REJECTED(resource_)                                                                                            \
    {                                                                                                                  \
        "sonde.resilience.bulkhead.rejected", "{call}", "Calls for which there was no place.", SONDE_COUNTER,          \
            OTHER_NAME, {"sonde.resilience.resource"}, {                                                               \
            resource_                                                                                                  \
        }                                                                                                              \
    }
#define SATURATED(priority_, resource_)                                                                                \
    {                                                                                                                  \
        "sonde.resilience.bulkhead.saturated", "", "1 while a limit on what is under way is reached, else 0.",         \
            SONDE_GAUGE, OTHER_NAME, {"sonde.resilience.priority", "sonde.resilience.resource"}, {                     \
            priority_, resource_                                                                                       \
        }                                                                                                              \
    }
#define OF_RESOURCE(metric_, description_, resource_)                                                                  \
    {                                                                                                                  \
        "sonde.resilience.bulkhead." metric_, "{call}", description_, SONDE_UP_DOWN_COUNTER, OTHER_NAME,               \
            {"sonde.resilience.resource"}, {                                                                           \
            resource_                                                                                                  \
        }                                                                                                              \
    }
#define FALLBACK(outcome_)                                                                                             \
    {                                                                                                                  \
        "sonde.resilience.fallback", "{call}", "Calls that were answered by a fallback, by its outcome.",              \
            SONDE_COUNTER, OTHER_NAME, {"sonde.resilience.outcome"}, {                                                 \
            outcome_                                                                                                   \
        }                                                                                                              \
    }
#define RETRY(outcome_)                                                                                                \
    {                                                                                                                  \
        "sonde.resilience.retry", "{call}", "Calls that may be retried, by outcome.", SONDE_COUNTER, OTHER_NAME,       \
            {"sonde.resilience.outcome"}, {                                                                            \
            outcome_                                                                                                   \
        }                                                                                                              \
    }
#define PLAIN(metric_, unit_, kind_, name_key_, description_)                                                          \
    {                                                                                                                  \
        metric_, unit_, description_, kind_, name_key_, {NULL}, {                                                      \
            NULL                                                                                                       \
        }                                                                                                              \
    }

const struct breakers_shown breakers_shown[BREAKERS_OUTPUT_COUNT] = {
    [BREAKERS_CALL_SUCCESS] = CALL("success"),
    [BREAKERS_CALL_FAILURE] = CALL("failure"),
    [BREAKERS_CALL_IGNORED] = CALL("ignored"),
    [BREAKERS_CALL_REJECTED] = CALL("rejected"),
    [BREAKERS_FAILURE_RATIO] = PLAIN("sonde.circuit_breaker.failure_ratio", "1", SONDE_GAUGE, BREAKER_NAME,
                                     "Share of calls in the window that failed; absent below the minimum of calls."),
    [BREAKERS_SLOW_RATIO] = PLAIN("sonde.circuit_breaker.slow_call_ratio", "1", SONDE_GAUGE, BREAKER_NAME,
                                  "Share of calls in the window that were slow; absent below the minimum of calls."),
    [BREAKERS_TO_CLOSED] = TO("closed"),
    [BREAKERS_TO_OPEN] = TO("open"),
    [BREAKERS_TO_HALF_OPEN] = TO("half_open"),
    [BREAKERS_RETRY] = RETRY("success_without_retry"),
    [BREAKERS_RETRY + 1] = RETRY("success_with_retry"),
    [BREAKERS_RETRY + 2] = RETRY("failure_without_retry"),
    [BREAKERS_RETRY + 3] = RETRY("failure_with_retry"),
    [BREAKERS_RETRY_SUPPRESSED] = {"sonde.resilience.retry.suppressed",
                                   "{retry}",
                                   "Retries that were not made, by reason.",
                                   SONDE_COUNTER,
                                   OTHER_NAME,
                                   {"sonde.resilience.reason"},
                                   {"budget"}},
    [BREAKERS_RETRY_EXCEEDED] = {"sonde.resilience.retry.suppressed",
                                 "{retry}",
                                 "Retries that were not made, by reason.",
                                 SONDE_COUNTER,
                                 OTHER_NAME,
                                 {"sonde.resilience.reason"},
                                 {"attempts"}},
    [BREAKERS_TIMEOUT] =
        PLAIN("sonde.resilience.timeout", "{timeout}", SONDE_COUNTER, OTHER_NAME, "Calls that timed out, by scope."),
    [BREAKERS_RATE_REJECTED] = PLAIN("sonde.resilience.rate_limit.rejected", "{call}", SONDE_COUNTER, OTHER_NAME,
                                     "Calls for which there was no token."),
    [BREAKERS_FALLBACK_SUCCESS] = FALLBACK("success"),
    [BREAKERS_FALLBACK_FAILURE] = FALLBACK("failure"),
    [BREAKERS_BULKHEAD_LIMIT] = PLAIN("sonde.resilience.bulkhead.limit", "{call}", SONDE_UP_DOWN_COUNTER, OTHER_NAME,
                                      "Calls that may be under way at once."),
    [BREAKERS_BULKHEAD_INFLIGHT] =
        PLAIN("sonde.resilience.bulkhead.inflight", "{call}", SONDE_UP_DOWN_COUNTER, OTHER_NAME, "Calls under way."),
    [BREAKERS_BULKHEAD_QUEUED] =
        PLAIN("sonde.resilience.bulkhead.queued", "{call}", SONDE_UP_DOWN_COUNTER, OTHER_NAME, "Calls that wait."),
    [BREAKERS_LIMIT_CX] = OF_RESOURCE("limit", "Calls that may be under way at once.", "cx"),
    [BREAKERS_LIMIT_RQ] = OF_RESOURCE("limit", "Calls that may be under way at once.", "rq"),
    [BREAKERS_LIMIT_RQ_PENDING] = OF_RESOURCE("limit", "Calls that may be under way at once.", "rq_pending"),
    [BREAKERS_INFLIGHT_CX] = OF_RESOURCE("inflight", "Calls under way.", "cx"),
    [BREAKERS_INFLIGHT_RQ] = OF_RESOURCE("inflight", "Calls under way.", "rq"),
    [BREAKERS_QUEUED_RQ_PENDING] = OF_RESOURCE("queued", "Calls that wait.", "rq_pending"),
    [BREAKERS_REJECTED_THREAD_POOL] = REJECTED("thread_pool"),
    [BREAKERS_REJECTED_SEMAPHORE] = REJECTED("semaphore"),
    [BREAKERS_REJECTED_CX] = REJECTED("cx"),
    [BREAKERS_REJECTED_CX_POOL] = REJECTED("cx_pool"),
    [BREAKERS_REJECTED_RQ_PENDING] = REJECTED("rq_pending"),
    [BREAKERS_REJECTED_RQ] = REJECTED("rq"),
    [BREAKERS_SATURATED] = SATURATED("default", "cx"),
    [BREAKERS_SATURATED + 1] = SATURATED("default", "cx_pool"),
    [BREAKERS_SATURATED + 2] = SATURATED("default", "rq_pending"),
    [BREAKERS_SATURATED + 3] = SATURATED("default", "rq"),
    [BREAKERS_SATURATED + 4] = SATURATED("default", "rq_retry"),
    [BREAKERS_SATURATED + 5] = SATURATED("high", "cx"),
    [BREAKERS_SATURATED + 6] = SATURATED("high", "cx_pool"),
    [BREAKERS_SATURATED + 7] = SATURATED("high", "rq_pending"),
    [BREAKERS_SATURATED + 8] = SATURATED("high", "rq"),
    [BREAKERS_SATURATED + 9] = SATURATED("high", "rq_retry"),
    [BREAKERS_EJECTED] = PLAIN("sonde.resilience.endpoint.ejected", "{endpoint}", SONDE_GAUGE, OTHER_NAME,
                               "Endpoints that get no calls because they failed."),
    [BREAKERS_EJECTED_RATIO] = PLAIN("sonde.resilience.endpoint.ejected_ratio", "1", SONDE_GAUGE, OTHER_NAME,
                                     "Share of endpoints that get no calls because they failed."),
    [BREAKERS_UNAVAILABLE] = {"sonde.resilience.endpoint.unavailable",
                              "{endpoint}",
                              "Endpoints that get no calls now: ejected, or still connecting.",
                              SONDE_GAUGE,
                              OTHER_NAME,
                              {"sonde.resilience.reason"},
                              {"unknown"}},
};

static const struct breakers_source resilience4j = {"resilience4j", {"name"}, {NULL}};
static const struct breakers_source polly = {"polly",
                                             {"pipeline_name", "pipeline_instance", "strategy_name"},
                                             {"operation_key", "event_severity", "exception_type", "event_name"}};
static const struct breakers_source hystrix = {"hystrix", {"key"}, {"terminal"}};
static const struct breakers_source envoy = {"envoy", {"envoy_cluster_name", "cluster_name"}, {NULL}};
static const struct breakers_source linkerd = {"linkerd", {"backend_name", "parent_name"}, {NULL}};
static const struct breakers_source failsafe = {"failsafe", {"failsafe_circuit_breaker_name", "name"}, {NULL}};

#define ROW(source_, metric_, label_, value_, sum_)                                                                    \
    { &source_, metric_, label_, value_, sum_, 1, false }
/* Of a histogram: its values per second in `per_`. */
#define HISTOGRAM(source_, metric_, label_, value_, sum_, per_)                                                        \
    { &source_, metric_, label_, value_, sum_, 1.0 / (per_), true }
#define R4J_CALLS(kind_, sum_)                                                                                         \
    HISTOGRAM(resilience4j, "resilience4j_circuitbreaker_calls_seconds", "kind", kind_, sum_, 1)
/* Polly tells how calls ended of the whole pipeline, not of its breaker: they are counted by the pipeline's name, which
 * has the breaker's behind it in states and changes. Those that a breaker rejected were not made: they took no time of
 * the peer's. A result that the breaker counts as a failure, without an exception, is a success here. */
#define POLLY_REJECTION "Polly.CircuitBreaker.*"
#define POLLY_PIPELINE(metric_)                                                                                        \
    {&polly, metric_, "exception_type", "", BREAKERS_CALL_SUCCESS, 1, true},                                           \
        {&polly, metric_, "exception_type", "+" POLLY_REJECTION, BREAKERS_CALL_FAILURE, 1, true},                      \
        {&polly, metric_, "exception_type", POLLY_REJECTION, BREAKERS_CALL_REJECTED, 1, true},                         \
        HISTOGRAM(polly, metric_, "exception_type", "!" POLLY_REJECTION, BREAKERS_DURATION, 1000)
#define R4J(metric_, label_, value_, sum_) ROW(resilience4j, "resilience4j_" metric_, label_, value_, sum_)
#define POLLY(event_, sum_)                ROW(polly, "resilience_polly_strategy_events", "event_name", event_, sum_)
#define HYSTRIX(event_, sum_)              ROW(hystrix, "hystrix_execution", "event", event_, sum_)
#define ENVOY(metric_, sum_)               ROW(envoy, "envoy_cluster_" metric_, NULL, NULL, sum_)
#define FAILSAFE(metric_, label_, value_, sum_)                                                                        \
    ROW(failsafe, "failsafe_circuit_breaker_" metric_, "failsafe_circuit_breaker_" label_, value_, sum_)

const struct breakers_row breakers_rows[] = {
    R4J("circuitbreaker_state", "state", "closed", BREAKERS_STATE_IS + BREAKERS_CLOSED),
    R4J("circuitbreaker_state", "state", "open", BREAKERS_STATE_IS + BREAKERS_OPEN),
    R4J("circuitbreaker_state", "state", "half_open", BREAKERS_STATE_IS + BREAKERS_HALF_OPEN),
    R4J("circuitbreaker_state", "state", "forced_open", BREAKERS_STATE_IS + BREAKERS_FORCED_OPEN),
    R4J("circuitbreaker_state", "state", "disabled", BREAKERS_STATE_IS + BREAKERS_DISABLED),
    R4J("circuitbreaker_state", "state", "metrics_only", BREAKERS_STATE_IS + BREAKERS_METRICS_ONLY),
    R4J("circuitbreaker_calls_seconds_count", "kind", "successful", BREAKERS_CALL_SUCCESS),
    R4J("circuitbreaker_calls_seconds_count", "kind", "failed", BREAKERS_CALL_FAILURE),
    R4J("circuitbreaker_calls_seconds_count", "kind", "ignored", BREAKERS_CALL_IGNORED),
    R4J("circuitbreaker_calls_seconds_count", "kind", "successful", BREAKERS_DURATION_COUNT),
    R4J("circuitbreaker_calls_seconds_count", "kind", "failed", BREAKERS_DURATION_COUNT),
    R4J("circuitbreaker_calls_seconds_sum", "kind", "successful", BREAKERS_DURATION_SUM),
    R4J("circuitbreaker_calls_seconds_sum", "kind", "failed", BREAKERS_DURATION_SUM),
    R4J_CALLS("successful", BREAKERS_CALL_SUCCESS),
    R4J_CALLS("failed", BREAKERS_CALL_FAILURE),
    R4J_CALLS("ignored", BREAKERS_CALL_IGNORED),
    R4J_CALLS("successful", BREAKERS_DURATION),
    R4J_CALLS("failed", BREAKERS_DURATION),
    R4J("circuitbreaker_not_permitted_calls", "kind", "not_permitted", BREAKERS_CALL_REJECTED),
    {&resilience4j, "resilience4j_circuitbreaker_failure_rate", NULL, NULL, BREAKERS_FAILURE_RATIO, 0.01, false},
    {&resilience4j, "resilience4j_circuitbreaker_slow_call_rate", NULL, NULL, BREAKERS_SLOW_RATIO, 0.01, false},
    R4J("retry_calls", "kind", "successful_without_retry", BREAKERS_RETRY),
    R4J("retry_calls", "kind", "successful_with_retry", BREAKERS_RETRY + 1),
    R4J("retry_calls", "kind", "failed_without_retry", BREAKERS_RETRY + 2),
    R4J("retry_calls", "kind", "failed_with_retry", BREAKERS_RETRY + 3),
    R4J("bulkhead_max_allowed_concurrent_calls", NULL, NULL, BREAKERS_BULKHEAD_LIMIT),
    R4J("bulkhead_available_concurrent_calls", NULL, NULL, BREAKERS_BULKHEAD_AVAILABLE),
    R4J("bulkhead_queue_depth", NULL, NULL, BREAKERS_BULKHEAD_QUEUED),
    R4J("timelimiter_calls", "kind", "timeout", BREAKERS_TIMEOUT),
    POLLY("OnCircuitOpened", BREAKERS_TO_OPEN),
    POLLY("OnCircuitHalfOpened", BREAKERS_TO_HALF_OPEN),
    POLLY("OnCircuitClosed", BREAKERS_TO_CLOSED),
    POLLY("OnTimeout", BREAKERS_TIMEOUT),
    POLLY("OnRateLimiterRejected", BREAKERS_RATE_REJECTED),
    POLLY("OnFallback", BREAKERS_FALLBACK_SUCCESS),
    POLLY_PIPELINE("resilience_polly_pipeline_duration_milliseconds"),
    POLLY_PIPELINE("resilience_polly_pipeline_duration"),
    ROW(hystrix, "hystrix_circuit_breaker_open", NULL, NULL, BREAKERS_STATE_OPEN_FLAG),
    HYSTRIX("success", BREAKERS_CALL_SUCCESS),
    HYSTRIX("failure", BREAKERS_CALL_FAILURE),
    HYSTRIX("timeout", BREAKERS_CALL_FAILURE),
    HYSTRIX("timeout", BREAKERS_TIMEOUT),
    HYSTRIX("bad_request", BREAKERS_CALL_IGNORED),
    HYSTRIX("short_circuited", BREAKERS_CALL_REJECTED),
    HYSTRIX("thread_pool_rejected", BREAKERS_REJECTED_THREAD_POOL),
    HYSTRIX("semaphore_rejected", BREAKERS_REJECTED_SEMAPHORE),
    ROW(hystrix, "hystrix_fallback", "event", "fallback_success", BREAKERS_FALLBACK_SUCCESS),
    ROW(hystrix, "hystrix_fallback", "event", "fallback_failure", BREAKERS_FALLBACK_FAILURE),
    ROW(hystrix, "hystrix_fallback", "event", "fallback_rejection", BREAKERS_FALLBACK_FAILURE),
    ROW(hystrix, "hystrix_latency_execution_seconds_count", NULL, NULL, BREAKERS_DURATION_COUNT),
    ROW(hystrix, "hystrix_latency_execution_seconds_sum", NULL, NULL, BREAKERS_DURATION_SUM),
    HISTOGRAM(hystrix, "hystrix_latency_execution_seconds", NULL, NULL, BREAKERS_DURATION, 1),
    ENVOY("circuit_breakers_default_cx_open", BREAKERS_SATURATED),
    ENVOY("circuit_breakers_default_cx_pool_open", BREAKERS_SATURATED + 1),
    ENVOY("circuit_breakers_default_rq_pending_open", BREAKERS_SATURATED + 2),
    ENVOY("circuit_breakers_default_rq_open", BREAKERS_SATURATED + 3),
    ENVOY("circuit_breakers_default_rq_retry_open", BREAKERS_SATURATED + 4),
    ENVOY("circuit_breakers_high_cx_open", BREAKERS_SATURATED + 5),
    ENVOY("circuit_breakers_high_cx_pool_open", BREAKERS_SATURATED + 6),
    ENVOY("circuit_breakers_high_rq_pending_open", BREAKERS_SATURATED + 7),
    ENVOY("circuit_breakers_high_rq_open", BREAKERS_SATURATED + 8),
    ENVOY("circuit_breakers_high_rq_retry_open", BREAKERS_SATURATED + 9),
    ENVOY("circuit_breakers_default_remaining_cx", BREAKERS_REMAINING_CX),
    ENVOY("circuit_breakers_default_remaining_rq", BREAKERS_REMAINING_RQ),
    ENVOY("circuit_breakers_default_remaining_pending", BREAKERS_REMAINING_RQ_PENDING),
    ENVOY("upstream_cx_active", BREAKERS_INFLIGHT_CX),
    ENVOY("upstream_rq_active", BREAKERS_INFLIGHT_RQ),
    ENVOY("upstream_rq_pending_active", BREAKERS_QUEUED_RQ_PENDING),
    ENVOY("upstream_rq_retry_limit_exceeded", BREAKERS_RETRY_EXCEEDED),
    ENVOY("upstream_cx_overflow", BREAKERS_REJECTED_CX),
    ENVOY("upstream_cx_pool_overflow", BREAKERS_REJECTED_CX_POOL),
    ENVOY("upstream_rq_pending_overflow", BREAKERS_REJECTED_RQ_PENDING),
    ENVOY("upstream_rq_active_overflow", BREAKERS_REJECTED_RQ),
    ENVOY("upstream_rq_retry_overflow", BREAKERS_RETRY_SUPPRESSED),
    ENVOY("upstream_rq_timeout", BREAKERS_TIMEOUT),
    ENVOY("outlier_detection_ejections_active", BREAKERS_EJECTED),
    ENVOY("membership", BREAKERS_MEMBERS), /* membership_total: its _total is taken off */
    ROW(linkerd, "outbound_http_balancer_endpoints", "endpoint_state", "pending", BREAKERS_UNAVAILABLE),
    FAILSAFE("state_change_count", "state", "open", BREAKERS_TO_OPEN),
    FAILSAFE("state_change_count", "state", "half_open", BREAKERS_TO_HALF_OPEN),
    FAILSAFE("state_change_count", "state", "closed", BREAKERS_TO_CLOSED),
    FAILSAFE("execution_count", "outcome", "success", BREAKERS_CALL_SUCCESS),
    FAILSAFE("execution_count", "outcome", "failure", BREAKERS_CALL_FAILURE),
};
const size_t breakers_row_count = sizeof breakers_rows / sizeof *breakers_rows;

bool breakers_row_matches(const struct breakers_row *row, const char *value) {
    const char *wanted = row->label_value;
    if (!row->label)
        return true;
    const bool may_lack = *wanted == '!' || *wanted == '\0', is_not = *wanted == '!' || *wanted == '+';
    wanted += is_not;
    const size_t size = strlen(wanted);
    if (!value)
        return may_lack;
    bool is = size && wanted[size - 1] == '*' ? strncmp(value, wanted, size - 1) == 0 : strcmp(value, wanted) == 0;
    return is != is_not;
}

bool breakers_name_normalize(const char *name, size_t size, char *to, size_t to_size) {
    static const char total[] = "_total";
    if (size >= to_size)
        return false;
    for (size_t i = 0; i < size; i++)
        to[i] = name[i] == '.' ? '_' : name[i];
    if (size > sizeof total - 1 && memcmp(to + size - (sizeof total - 1), total, sizeof total - 1) == 0)
        size -= sizeof total - 1;
    to[size] = '\0';
    return true;
}
