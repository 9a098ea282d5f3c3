/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/propagation/entry.h"
#include "instrumentation/context/clock.h"
#include "instrumentation/context/rate.h"
#include <sonde/err.h>
#include <string.h>

/* internal: the interval and the slack of struct sonde__rate, and the word that moves. All zero: nothing is believed. */
enum { INTERVAL, SLACK, WORD };

int sonde_entry_budget_init(struct sonde_entry_budget *ret_budget, double per_second, uint32_t burst) {
    struct sonde__rate rate;
    memset(ret_budget, 0, sizeof *ret_budget);
    if (per_second == 0)
        return 0;
    if (!sonde__rate_set(&rate, per_second, burst))
        return SONDE_EINVALID;
    ret_budget->internal[INTERVAL] = rate.interval_ns;
    ret_budget->internal[SLACK] = rate.slack_ns;
    return 0;
}

static bool budget_take(struct sonde_entry_budget *budget) {
    struct sonde__rate rate = {budget->internal[INTERVAL], budget->internal[SLACK]};
    uint64_t ticks;
    return rate.interval_ns &&
           sonde__rate_take(&rate, (_Atomic uint64_t *)(uintptr_t)&budget->internal[WORD], sonde__clock_now(&ticks));
}

static bool asks_to_keep(const struct sonde_span_context *span) {
    return (span->flags & SONDE_TRACE_FLAG_SAMPLED) || span->decision >= SONDE_DECISION_ACCEPT;
}

void sonde__entry_judge(struct sonde_context *context, enum sonde_entry entry, struct sonde_entry_budget *budget) {
    struct sonde_span_context *span = &context->span;
    if (entry != SONDE_ENTRY_RESAMPLE && (!budget || !asks_to_keep(span) || budget_take(budget)))
        return;
    span->flags &= (uint8_t)~SONDE_TRACE_FLAG_SAMPLED;
    span->decision = sonde_span_context_is_valid(span) ? SONDE_DECISION_DEFER : SONDE_DECISION_NONE;
}
