/* SPDX-License-Identifier: Apache-2.0 */
/* What breakers tell: counters and durations in metric cells, each change as a log record, names on spans. The state
 * itself, its times and ratios the agent reads from the cell. */
#include "instrumentation/resilience/breaker.h"
#include "instrumentation/resilience/instruments.h"
#include <sonde/log.h>
#include <stdio.h>
#include <string.h>

static const char *const state_texts[SONDE_BREAKER_STATE_COUNT] = {"closed",      "open",     "half_open",
                                                                   "forced_open", "disabled", "metrics_only"};
static const char *const reason_texts[SONDE_BREAKER_REASON_COUNT] = {
    "manual",          "failure_rate",  "slow_call_rate", "consecutive_failures", "wait_elapsed", "probe_failed",
    "probe_succeeded", "probe_timeout", "foreign"};

const char *sonde__breaker_state_text(enum sonde_breaker_state state) {
    return (unsigned)state < SONDE_BREAKER_STATE_COUNT ? state_texts[state] : "unknown";
}
const char *sonde__breaker_reason_text(enum sonde_breaker_reason reason) {
    return (unsigned)reason < SONDE_BREAKER_REASON_COUNT ? reason_texts[reason] : "unknown";
}

void sonde__breaker_instruments(const char *name, struct sonde__breaker_own *own) {
    static const char *const outcomes[SONDE__CALL_OUTCOME_COUNT] = {
        "success", "failure", "slow_success", "slow_failure", "ignored", "rejected", "cancelled"};
    struct sonde_attribute attributes[2] = {sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.name"), name)};
    struct sonde_instrument calls = sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_CALL);
    for (int i = 0; i < SONDE__CALL_OUTCOME_COUNT; i++) {
        attributes[1] = sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.outcome"), outcomes[i]);
        own->calls[i] = sonde_series_bind(calls, attributes, 2);
    }
    own->duration = sonde_series_bind(sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_DURATION), attributes, 1);
}

static void log_change(const struct sonde_breaker_change *change) {
    const char *from = sonde__breaker_state_text(change->from), *to = sonde__breaker_state_text(change->to);
    const char *reason = sonde__breaker_reason_text(change->reason);
    struct sonde_attribute attributes[8] = {
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.name"), change->name),
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.from"), from),
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.to"), to),
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.reason"), reason),
        sonde_attribute_int64(SONDE_KEY("sonde.circuit_breaker.window.calls"), change->calls),
    };
    size_t count = 5;
    if (change->failure_ratio >= 0)
        attributes[count++] =
            sonde_attribute_double(SONDE_KEY("sonde.circuit_breaker.failure_ratio"), change->failure_ratio);
    if (change->slow_ratio >= 0)
        attributes[count++] =
            sonde_attribute_double(SONDE_KEY("sonde.circuit_breaker.slow_call_ratio"), change->slow_ratio);
    if (change->wait_ns)
        attributes[count++] =
            sonde_attribute_double(SONDE_KEY("sonde.circuit_breaker.retry_after"), (double)change->wait_ns * 1e-9);
    char body[256];
    int size = snprintf(body, sizeof body, "circuit breaker %s: %s -> %s (%s)", change->name, from, to, reason);
    bool is_bad = change->to == SONDE_BREAKER_OPEN || change->to == SONDE_BREAKER_HALF_OPEN ||
                  change->to == SONDE_BREAKER_FORCED_OPEN || change->to == change->from;
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.severity = is_bad ? SONDE_SEVERITY_WARN : SONDE_SEVERITY_INFO;
    record.severity_text = is_bad ? "WARN" : "INFO";
    record.event_name = SONDE_NAME("sonde.circuit_breaker.state_change");
    record.body = body;
    record.body_size = size > 0 ? (size_t)size : 0;
    record.attributes = attributes;
    record.attribute_count = count;
    sonde_log_emit(&record);
}

void sonde__breaker_tell(const struct sonde__breaker_own *own, const struct sonde_breaker_change *change) {
    (void)own;
    const struct sonde_attribute attributes[] = {
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.name"), change->name),
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.from"), sonde__breaker_state_text(change->from)),
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.to"), sonde__breaker_state_text(change->to)),
        sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.reason"), sonde__breaker_reason_text(change->reason)),
    };
    if (change->from != change->to || change->reason == SONDE_BREAKER_MANUAL)
        sonde_instrument_add(sonde__resilience_instrument(SONDE__RESILIENCE_BREAKER_TRANSITION), 1, attributes, 4);
    log_change(change);
}

void sonde_breaker_describe(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit,
                            struct sonde_span *span) {
    const struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    if (!cell)
        return;
    sonde_span_set_string(span, SONDE_KEY("sonde.circuit_breaker.name"), cell->name, cell->name_size);
    sonde_span_set_cstr(span, SONDE_KEY("sonde.circuit_breaker.state"),
                        sonde__breaker_state_text((enum sonde_breaker_state)permit->state));
}

void sonde_breaker_rejection_record(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit) {
    struct sonde_span span;
    if (!sonde__breaker_cell(breaker) || permit->admission != SONDE_REJECTED)
        return;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.one_thread = true;
    options.not_current = true;
    sonde_span_start(&span, SONDE_NAME("circuit breaker rejection"), &options);
    sonde_breaker_describe(breaker, permit, &span);
    sonde_span_set_cstr(&span, SONDE_KEY("error.type"), "circuit_breaker_open");
    if (permit->retry_after_ns)
        sonde_span_set_double(&span, SONDE_KEY("sonde.circuit_breaker.retry_after"),
                              (double)permit->retry_after_ns * 1e-9);
    sonde_span_set_status(&span, SONDE_STATUS_ERROR, "rejected by the circuit breaker");
    sonde_span_end(&span);
}
