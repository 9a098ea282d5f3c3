/* SPDX-License-Identifier: Apache-2.0 */
/* Hedges. What is under way is a set of bits, so that a call is a value. */
#include "instrumentation/resilience/clock.h"
#include "instrumentation/resilience/retry.h"
#include "instrumentation/resilience/table.h"
#include <sonde/err.h>
#include <sonde/resilience/hedge.h>
#include <string.h>

#define EXTRA_MAX    15u
#define BIT(attempt) (1u << ((attempt)-1))

/* Flags of a call. */
#define IS_ACTIVE  1u /* counted in its budget */
#define IS_ALLOWED 2u /* the next attempt has its place in the budget already */
#define IS_OVER    4u

enum winner { FIRST = 0, HEDGE, NONE, WINNER_COUNT };

static struct hedge {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    struct sonde_hedge_options options;
    struct sonde_series winners[WINNER_COUNT], suppressed;
} hedges[SONDE_HEDGES_MAX];
static struct sonde__kit_table table = {
    .capacity = SONDE_HEDGES_MAX, .element_size = sizeof hedges[0], .elements = hedges};

static void fill(void *at, const void *options) {
    static const char *const texts[WINNER_COUNT] = {"first", "hedge", "none"}, *const reasons[1] = {"budget"};
    struct hedge *hedge = at;
    struct sonde_hedge_options *o = &hedge->options;
    *o = *(const struct sonde_hedge_options *)options;
    o->name = hedge->name;
    o->delay_ns = o->delay_ns ? o->delay_ns : UINT64_C(2000000000);
    o->extra = o->extra ? o->extra : 1;
    sonde__kit_series(SONDE__RESILIENCE_HEDGE, "sonde.resilience.name", hedge->name, "sonde.resilience.winner", texts,
                      WINNER_COUNT, hedge->winners);
    sonde__kit_series(SONDE__RESILIENCE_RETRY_SUPPRESSED, "sonde.resilience.name", hedge->name,
                      "sonde.resilience.reason", reasons, 1, &hedge->suppressed);
}

int sonde_hedge_create(const struct sonde_hedge_options *options, struct sonde_hedge *ret_hedge) {
    struct sonde_hedge_options o = SONDE_HEDGE_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_hedge->index = 0;
    if (o.extra > EXTRA_MAX || (o.budget.index && !sonde__retry_budget(o.budget)))
        return SONDE_EINVALID;
    return sonde__kit_find_or_make(&table, o.name, fill, &o, &ret_hedge->index);
}

static struct sonde__retry_budget *budget_of(const struct hedge *hedge) {
    return hedge ? sonde__retry_budget(hedge->options.budget) : NULL;
}
static uint64_t later(const struct hedge *hedge, uint64_t wait_ns) {
    uint64_t now_ns = sonde__kit_now_by(hedge->options.clock, hedge->options.user), at_ns = now_ns + wait_ns;
    return at_ns < now_ns ? SONDE_HEDGE_NEVER : at_ns;
}

/* Ends a call; attempts that are still under way have lost. */
static void call_end(struct sonde_hedge_call *call, const struct hedge *hedge, enum winner winner) {
    struct sonde__retry_budget *budget = budget_of(hedge);
    for (uint32_t attempt = 2; attempt <= call->attempts; attempt++)
        if (call->pending & BIT(attempt))
            sonde__retry_budget_retry_end(budget);
    if (call->flags & IS_ALLOWED)
        sonde__retry_budget_retry_end(budget);
    if (call->flags & IS_ACTIVE)
        sonde__retry_budget_call_end(budget);
    call->flags = IS_OVER;
    call->next_ns = SONDE_HEDGE_NEVER;
    if (hedge)
        sonde_counter_add(hedge->winners[winner], 1);
}

void sonde_hedge_begin(struct sonde_hedge handle, struct sonde_hedge_call *ret_call) {
    const struct hedge *hedge = sonde__kit_get(&table, handle.index);
    *ret_call =
        (struct sonde_hedge_call){.hedge = handle, .attempts = 1, .pending = BIT(1), .next_ns = SONDE_HEDGE_NEVER};
    if (!hedge)
        return;
    ret_call->next_ns = later(hedge, hedge->options.delay_ns);
    ret_call->flags = sonde__retry_budget_call_begin(budget_of(hedge)) ? IS_ACTIVE : 0;
}

/* Takes the next attempt's place in the budget; without one there are no more. */
static bool allow(struct sonde_hedge_call *call, const struct hedge *hedge) {
    if (call->flags & IS_ALLOWED || sonde__retry_budget_allows(budget_of(hedge))) {
        call->flags |= IS_ALLOWED;
        return true;
    }
    call->next_ns = SONDE_HEDGE_NEVER;
    sonde_counter_add(hedge->suppressed, 1);
    return false;
}

uint32_t sonde_hedge_next(struct sonde_hedge_call *call, uint64_t *ret_wait_ns) {
    const struct hedge *hedge = sonde__kit_get(&table, call->hedge.index);
    *ret_wait_ns = SONDE_HEDGE_NEVER;
    if (!hedge || call->flags & IS_OVER || call->next_ns == SONDE_HEDGE_NEVER)
        return 0;
    uint64_t now_ns = later(hedge, 0);
    if (now_ns < call->next_ns) {
        *ret_wait_ns = call->next_ns - now_ns;
        return 0;
    }
    if (!allow(call, hedge))
        return 0;
    call->flags &= ~IS_ALLOWED; /* it is under way now */
    call->attempts++;
    call->pending |= BIT(call->attempts);
    bool is_last = call->attempts > hedge->options.extra;
    call->next_ns = is_last ? SONDE_HEDGE_NEVER : later(hedge, hedge->options.delay_ns);
    *ret_wait_ns = is_last ? SONDE_HEDGE_NEVER : call->next_ns - now_ns;
    return call->attempts;
}

enum sonde_hedge_verdict sonde_hedge_report(struct sonde_hedge_call *call, uint32_t attempt, enum sonde_outcome outcome,
                                            int64_t pushback_ns) {
    const struct hedge *hedge = sonde__kit_get(&table, call->hedge.index);
    if (attempt < 1 || attempt > call->attempts || !(call->pending & BIT(attempt)))
        return SONDE_HEDGE_LOST; /* told already */
    call->pending &= ~BIT(attempt);
    if (call->flags & IS_OVER)
        return SONDE_HEDGE_LOST;
    struct sonde__retry_budget *budget = budget_of(hedge);
    if (attempt > 1)
        sonde__retry_budget_retry_end(budget);
    sonde__retry_budget_result(budget, outcome);
    if (outcome != SONDE_OUTCOME_FAILURE) {
        call->winner = attempt;
        call_end(call, hedge, attempt == 1 ? FIRST : HEDGE);
        return SONDE_HEDGE_ANSWER;
    }
    if (pushback_ns < 0)
        call->next_ns = SONDE_HEDGE_NEVER;
    else if (call->next_ns != SONDE_HEDGE_NEVER)
        call->next_ns = later(hedge, (uint64_t)pushback_ns);
    if (call->pending || (call->next_ns != SONDE_HEDGE_NEVER && allow(call, hedge)))
        return SONDE_HEDGE_PENDING;
    call_end(call, hedge, NONE);
    return SONDE_HEDGE_FAILED;
}

void sonde_hedge_abandon(struct sonde_hedge_call *call) {
    if (!(call->flags & IS_OVER))
        call_end(call, sonde__kit_get(&table, call->hedge.index), NONE);
}

void sonde_hedge_describe(const struct sonde_hedge_call *call, uint32_t attempt, struct sonde_span *span) {
    sonde_span_set_int64(span, SONDE_KEY("sonde.resilience.hedge.attempt"), attempt);
    sonde_span_set_cstr(span, SONDE_KEY("sonde.resilience.hedge.outcome"),
                        call->winner == attempt ? "won"
                        : call->winner          ? "lost"
                                                : "failed");
}
