/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets of retries and hedges: three words, changed without a lock. */
#include "instrumentation/resilience/retry.h"
#include "instrumentation/resilience/table.h"
#include <pthread.h>
#include <sonde/err.h>
#include <stdatomic.h>
#include <string.h>

#define MILLI 1000 /* tokens are counted in thousandths */

static struct sonde__retry_budget {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    int64_t tokens_max, token_ratio;
    double share;
    uint32_t share_min;
    _Alignas(64) _Atomic int64_t tokens;
    _Atomic uint32_t active, retrying;
} budgets[SONDE_RETRY_BUDGETS_MAX];
static struct sonde__kit_table budget_table = {
    .capacity = SONDE_RETRY_BUDGETS_MAX, .element_size = sizeof budgets[0], .elements = budgets};

/* The calls of its parent are no child's to end. Tokens stay: what was learnt of the peer. */
static void fork_child(void) {
    for (uint32_t i = 0; i < SONDE_RETRY_BUDGETS_MAX; i++) {
        atomic_store(&budgets[i].active, 0);
        atomic_store(&budgets[i].retrying, 0);
    }
}

/* One less, and not below none: a child may end what its parent began before the fork. */
static void give_back(_Atomic uint32_t *count) {
    uint32_t seen = atomic_load_explicit(count, memory_order_relaxed);
    while (seen && !atomic_compare_exchange_weak(count, &seen, seen - 1))
        ;
}

/* Under the table's lock. */
static void budget_fill(void *at, const void *options) {
    static bool is_watched;
    struct sonde__retry_budget *budget = at;
    const struct sonde_retry_budget_options *o = options;
    budget->tokens_max = (int64_t)(o->tokens_max * MILLI);
    budget->token_ratio = (int64_t)((o->token_ratio > 0 ? o->token_ratio : 0.1) * MILLI);
    budget->share = o->share;
    budget->share_min = o->share_min ? o->share_min : 3;
    atomic_store(&budget->tokens, budget->tokens_max);
    if (!is_watched)
        (void)pthread_atfork(NULL, NULL, fork_child); /* refused: a child has its parent's counts */
    is_watched = true;
}

int sonde_retry_budget_create(const struct sonde_retry_budget_options *options, struct sonde_retry_budget *ret_budget) {
    struct sonde_retry_budget_options o = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_budget->index = 0;
    if (!(o.tokens_max >= 0 && o.tokens_max <= 1000 && o.token_ratio >= 0 && o.token_ratio <= 1000 && o.share >= 0 &&
          o.share <= 1))
        return SONDE_EINVALID;
    return sonde__kit_find_or_make(&budget_table, o.name, budget_fill, &o, &ret_budget->index);
}

struct sonde__retry_budget *sonde__retry_budget(struct sonde_retry_budget handle) {
    return sonde__kit_get(&budget_table, handle.index);
}

void sonde__retry_budget_result(struct sonde__retry_budget *budget, enum sonde_outcome outcome) {
    if (!budget || !budget->tokens_max || outcome == SONDE_OUTCOME_IGNORED)
        return;
    int64_t seen = atomic_load_explicit(&budget->tokens, memory_order_relaxed), next;
    do {
        next = outcome == SONDE_OUTCOME_SUCCESS ? seen + budget->token_ratio : seen - MILLI;
        next = next < 0 ? 0 : next > budget->tokens_max ? budget->tokens_max : next;
    } while (next != seen && !atomic_compare_exchange_weak(&budget->tokens, &seen, next));
}

bool sonde__retry_budget_allows(struct sonde__retry_budget *budget) {
    if (!budget)
        return true;
    if (budget->tokens_max && atomic_load(&budget->tokens) * 2 <= budget->tokens_max)
        return false;
    uint32_t retrying = atomic_load(&budget->retrying);
    do {
        double most = budget->share * (double)atomic_load(&budget->active);
        if (budget->share > 0 && retrying >= (most > budget->share_min ? (uint32_t)most : budget->share_min))
            return false;
    } while (!atomic_compare_exchange_weak(&budget->retrying, &retrying, retrying + 1));
    return true;
}

void sonde__retry_budget_retry_end(struct sonde__retry_budget *budget) {
    if (budget)
        give_back(&budget->retrying);
}

bool sonde__retry_budget_call_begin(struct sonde__retry_budget *budget) {
    if (!budget || !(budget->share > 0))
        return false;
    atomic_fetch_add(&budget->active, 1);
    return true;
}
void sonde__retry_budget_call_end(struct sonde__retry_budget *budget) {
    if (budget)
        give_back(&budget->active);
}
