/* SPDX-License-Identifier: Apache-2.0 */
/* Retries. A call's state is the caller's; what is shared is the budget (retry_budget.c). */
#include "instrumentation/resilience/retry.h"
#include "instrumentation/resilience/clock.h"
#include "instrumentation/resilience/retry_after.h"
#include "instrumentation/resilience/table.h"
#include "instrumentation/ring/fd.h"
#include "instrumentation/ring/thread.h"
#include <math.h>
#include <sonde/err.h>
#include <string.h>
#include <time.h>

#define MS        UINT64_C(1000000)
#define IS_ACTIVE 1u /* counted in its budget */
#define IS_RETRY  2u /* its attempt is a retry, counted in its budget */

/* ---- ways of retrying ---- */

enum outcome { DONE_AT_ONCE = 0, DONE_BY_RETRY, FAILED_AT_ONCE, FAILED_AFTER_RETRY, OUTCOME_COUNT };
enum reason {
    BY_BREAKER = 0, /* these three as in enum sonde__refuser */
    BY_BULKHEAD,
    BY_RATE_LIMIT,
    BY_BUDGET,
    BY_ATTEMPTS,
    BY_DEADLINE,
    BY_PUSHBACK,
    REASON_COUNT
};
static const char *const outcome_texts[OUTCOME_COUNT] = {"success_without_retry", "success_with_retry",
                                                         "failure_without_retry", "failure_with_retry"};
static const char *const reason_texts[REASON_COUNT] = {"breaker",  "bulkhead", "rate_limit", "budget",
                                                       "attempts", "deadline", "pushback"};

static struct retry {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    struct sonde_retry_options options;
    struct sonde_series outcomes[OUTCOME_COUNT], suppressed[REASON_COUNT];
} retries[SONDE_RETRIES_MAX];
static struct sonde__kit_table retry_table = {
    .capacity = SONDE_RETRIES_MAX, .element_size = sizeof retries[0], .elements = retries};

static void retry_fill(void *at, const void *options) {
    struct retry *retry = at;
    struct sonde_retry_options *o = &retry->options;
    *o = *(const struct sonde_retry_options *)options;
    o->name = retry->name;
    o->attempts = o->attempts ? o->attempts : 3;
    o->initial_ns = o->initial_ns ? o->initial_ns : 100 * MS;
    o->max_ns = o->max_ns ? o->max_ns : 10000 * MS;
    o->factor = o->factor > 0 ? o->factor : 2.0;
    sonde__kit_series(SONDE__RESILIENCE_RETRY, "sonde.resilience.name", retry->name, "sonde.resilience.outcome",
                      outcome_texts, OUTCOME_COUNT, retry->outcomes);
    sonde__kit_series(SONDE__RESILIENCE_RETRY_SUPPRESSED, "sonde.resilience.name", retry->name,
                      "sonde.resilience.reason", reason_texts, REASON_COUNT, retry->suppressed);
}

int sonde_retry_create(const struct sonde_retry_options *options, struct sonde_retry *ret_retry) {
    struct sonde_retry_options o = SONDE_RETRY_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_retry->index = 0;
    if (o.attempts > 100 || !(o.factor == 0 || (o.factor >= 1 && o.factor <= 100)) ||
        (unsigned)o.jitter > SONDE_JITTER_NONE || (o.budget.index && !sonde__retry_budget(o.budget)))
        return SONDE_EINVALID;
    return sonde__kit_find_or_make(&retry_table, o.name, retry_fill, &o, &ret_retry->index);
}

/* ---- a call ---- */

static uint64_t now_ns(const struct retry *retry) {
    return retry ? sonde__kit_now_by(retry->options.clock, retry->options.user) : sonde__kit_now();
}

/* 0 <= random < 1 */
static double random_get(const struct retry *retry) {
    uint64_t bits;
    struct sonde__thread *thread = NULL;
    if (retry->options.random) {
        bits = retry->options.random(retry->options.user);
    } else if ((thread = sonde__thread_try())) { /* a forked child's are others than its parent's */
        bits = sonde__thread_draw(thread);
        sonde__thread_leave(thread);
    } else {
        sonde__random_fill(&bits, sizeof bits);
    }
    return (double)(bits >> 11) * 0x1p-53;
}

static uint64_t wait_choose(const struct retry *retry, const struct sonde_retry_call *call, uint32_t retry_number) {
    const struct sonde_retry_options *o = &retry->options;
    const double max = (double)o->max_ns, initial = (double)o->initial_ns;
    double ceiling = fmin(initial * pow(o->factor, (double)(retry_number - 1)), max), last = (double)call->last_wait_ns;
    switch (o->jitter) {
    case SONDE_JITTER_FULL:
        return (uint64_t)(ceiling * random_get(retry));
    case SONDE_JITTER_DECORRELATED:
        last = last > initial ? last : initial;
        return (uint64_t)fmin(initial + (last * 3 - initial) * random_get(retry), max);
    case SONDE_JITTER_FIFTH:
        return (uint64_t)(ceiling * (0.8 + 0.4 * random_get(retry)));
    default:
        return (uint64_t)ceiling;
    }
}

/* All that were told the same shall not come at the same time. */
static uint64_t wait_spread(const struct retry *retry, uint64_t retry_after_ns) {
    const uint64_t eighth_ns = retry_after_ns / 8;
    const uint64_t most_ns = eighth_ns > retry->options.initial_ns ? eighth_ns : retry->options.initial_ns;
    return retry->options.jitter == SONDE_JITTER_NONE ? 0 : (uint64_t)((double)most_ns * random_get(retry));
}

static void attempt_end(struct sonde_retry_call *call, struct sonde__retry_budget *budget) {
    if (call->flags & IS_RETRY)
        sonde__retry_budget_retry_end(budget);
    call->flags &= ~IS_RETRY;
}
static void call_end(struct sonde_retry_call *call, struct retry *retry, struct sonde__retry_budget *budget,
                     bool is_done) {
    attempt_end(call, budget);
    if (call->flags & IS_ACTIVE)
        sonde__retry_budget_call_end(budget);
    call->flags = 0;
    call->retry.index = 0;
    sonde_counter_add(retry->outcomes[(is_done ? DONE_AT_ONCE : FAILED_AT_ONCE) + (call->attempt > 1)], 1);
}
static enum sonde_retry_decision give_up(struct sonde_retry_call *call, struct retry *retry,
                                         struct sonde__retry_budget *budget, enum reason reason) {
    sonde_counter_add(retry->suppressed[reason], 1);
    call_end(call, retry, budget, false);
    return SONDE_RETRY_GIVE_UP;
}

void sonde_retry_begin(struct sonde_retry retry, uint64_t left_ns, struct sonde_retry_call *ret_call) {
    sonde__retry_begin_at(retry, 0, left_ns, ret_call);
}
void sonde__retry_begin_at(struct sonde_retry retry, uint64_t now, uint64_t left_ns,
                           struct sonde_retry_call *ret_call) {
    const struct retry *way = sonde__kit_get(&retry_table, retry.index);
    *ret_call = (struct sonde_retry_call){.retry = retry, .attempt = 1, .deadline_ns = UINT64_MAX};
    if (!way)
        return;
    uint64_t left = way->options.deadline_ns;
    if (left_ns && (!left || left_ns < left))
        left = left_ns;
    if (left)
        ret_call->deadline_ns = (now && !way->options.clock ? now : now_ns(way)) + left;
    if (ret_call->deadline_ns < left) /* too late to be counted */
        ret_call->deadline_ns = UINT64_MAX;
    if (sonde__retry_budget_call_begin(sonde__retry_budget(way->options.budget)))
        ret_call->flags = IS_ACTIVE;
}

/* Does the wait end before the deadline? */
static bool is_in_time(const struct retry *retry, const struct sonde_retry_call *call, uint64_t wait_ns) {
    if (call->deadline_ns == UINT64_MAX)
        return true;
    uint64_t now = now_ns(retry);
    return now < call->deadline_ns && wait_ns < call->deadline_ns - now;
}

enum sonde_retry_decision sonde_retry_next(struct sonde_retry_call *call, enum sonde_outcome outcome,
                                           int64_t pushback_ns, uint64_t *ret_wait_ns) {
    struct retry *retry = sonde__kit_get(&retry_table, call->retry.index);
    *ret_wait_ns = 0;
    if (!retry)
        return outcome == SONDE_OUTCOME_SUCCESS ? SONDE_RETRY_DONE : SONDE_RETRY_GIVE_UP;
    struct sonde__retry_budget *budget = sonde__retry_budget(retry->options.budget);
    attempt_end(call, budget);
    sonde__retry_budget_result(budget, outcome);
    if (outcome != SONDE_OUTCOME_FAILURE) {
        call_end(call, retry, budget, outcome == SONDE_OUTCOME_SUCCESS);
        return outcome == SONDE_OUTCOME_SUCCESS ? SONDE_RETRY_DONE : SONDE_RETRY_GIVE_UP;
    }
    if (pushback_ns < 0)
        return give_up(call, retry, budget, BY_PUSHBACK);
    if (call->attempt >= retry->options.attempts)
        return give_up(call, retry, budget, BY_ATTEMPTS);
    const uint64_t asked = (uint64_t)pushback_ns;
    uint64_t wait = asked ? asked + wait_spread(retry, asked) : wait_choose(retry, call, call->attempt - call->restart);
    if (!is_in_time(retry, call, wait))
        return give_up(call, retry, budget, BY_DEADLINE);
    if (!sonde__retry_budget_allows(budget))
        return give_up(call, retry, budget, BY_BUDGET);
    call->flags |= budget ? IS_RETRY : 0;
    if (pushback_ns) /* the back-off starts anew: the next wait is that of a first retry */
        call->restart = call->attempt;
    call->last_wait_ns = pushback_ns ? 0 : wait;
    call->attempt++;
    *ret_wait_ns = wait;
    return SONDE_RETRY_AGAIN;
}

enum sonde_retry_decision sonde_retry_rejected(struct sonde_retry_call *call, uint64_t retry_after_ns,
                                               uint64_t *ret_wait_ns) {
    return sonde__retry_refused(call, SONDE__REFUSED_BY_BREAKER, retry_after_ns, ret_wait_ns);
}
_Static_assert((int)SONDE__REFUSED_BY_BULKHEAD == BY_BULKHEAD && (int)SONDE__REFUSED_BY_RATE_LIMIT == BY_RATE_LIMIT,
               "refusers are reasons");
enum sonde_retry_decision sonde__retry_refused(struct sonde_retry_call *call, enum sonde__refuser refuser,
                                               uint64_t retry_after_ns, uint64_t *ret_wait_ns) {
    struct retry *retry = sonde__kit_get(&retry_table, call->retry.index);
    *ret_wait_ns = 0;
    if (!retry)
        return SONDE_RETRY_GIVE_UP;
    struct sonde__retry_budget *budget = sonde__retry_budget(retry->options.budget);
    uint64_t wait = wait_choose(retry, call, 1);
    if (retry_after_ns > UINT64_MAX / 2) /* never */
        wait = retry_after_ns;
    else if (wait < retry_after_ns)
        wait = retry_after_ns + wait_spread(retry, retry_after_ns);
    if (call->deadline_ns == UINT64_MAX || !is_in_time(retry, call, wait))
        return give_up(call, retry, budget, call->deadline_ns == UINT64_MAX ? (enum reason)refuser : BY_DEADLINE);
    *ret_wait_ns = wait;
    return SONDE_RETRY_AGAIN;
}

void sonde_retry_abandon(struct sonde_retry_call *call) {
    struct retry *retry = sonde__kit_get(&retry_table, call->retry.index);
    if (retry)
        call_end(call, retry, sonde__retry_budget(retry->options.budget), false);
}

uint64_t sonde_retry_left_ns(const struct sonde_retry_call *call) {
    if (call->deadline_ns == UINT64_MAX)
        return UINT64_MAX;
    uint64_t now = now_ns(sonde__kit_get(&retry_table, call->retry.index));
    return now < call->deadline_ns ? call->deadline_ns - now : 0;
}

int64_t sonde_retry_pushback_grpc(const char *text, size_t size) {
    const int64_t max_ms = (int64_t)(SONDE__RETRY_AFTER_NS_MAX / MS);
    int64_t ms = 0;
    if (size == 0)
        return 0;
    if (size > 10)
        return -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        ms = ms * 10 + (text[i] - '0');
    }
    ms = ms < max_ms ? ms : max_ms;
    return ms ? ms * (int64_t)MS : 1; /* at once, but asked for */
}

int64_t sonde_retry_after_http(const char *text, size_t size, const char *date, size_t date_size) {
    char after[64] = "", since[64] = ""; /* the longest of the three forms of a date has 33 bytes */
    struct timespec now = {0};
    uint64_t wait_ns;
    if (size < 1 || size >= sizeof after)
        return 0;
    memcpy(after, text, size);
    if (date && date_size < sizeof since)
        memcpy(since, date, date_size);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (!sonde__retry_after_parse(after, since, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, &wait_ns))
        return 0;
    return wait_ns ? (int64_t)wait_ns : 1; /* at once, but asked for */
}
