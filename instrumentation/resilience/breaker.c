/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of circuit breakers. A change of state is one compare-and-swap of the state word; who wins it does
 * what belongs to the change, right behind it: times, an empty window, telling. Contenders may want different states,
 * so nothing of it can be written before. */
#include "instrumentation/resilience/breaker.h"
#include "instrumentation/context/monotonic.h"
#include <sonde/err.h>

static uint64_t now_us(const struct sonde__breaker_own *own) {
    return SONDE__TIME_US(sonde__monotonic_coarse_by(own->clock, own->user) / 1000u);
}

/* ---- times of an epoch ---- */

/* Longer waits are never over anyway, and times go round. */
#define WAIT_US_MAX (SONDE__TIME_US_MAX / 4)

/* Writes a time of an epoch, unless a newer one's is there. */
static void time_set(_Atomic uint64_t slots[2], uint32_t epoch, uint64_t us) {
    _Atomic uint64_t *slot = &slots[epoch & 1];
    uint64_t seen = atomic_load(slot);
    do {
        if ((int16_t)(uint16_t)(SONDE__TIME_TAG(seen) - (uint16_t)epoch) > 0)
            return;
    } while (!atomic_compare_exchange_weak(slot, &seen, sonde__breaker_time_word(epoch, us)));
}
static uint64_t time_get(const _Atomic uint64_t slots[2], uint32_t epoch, uint64_t otherwise_us) {
    uint64_t seen = atomic_load_explicit(&slots[epoch & 1], memory_order_acquire);
    return SONDE__TIME_TAG(seen) == (uint16_t)epoch ? SONDE__TIME_US(seen) : otherwise_us;
}
/* How long the state lasts still. Who changed it may not have written that yet (or be left behind by a fork): then we
 * write what it would have. */
static uint64_t time_left(struct sonde__breaker_cell *cell, uint32_t epoch, uint64_t now, uint64_t wait_us) {
    _Atomic uint64_t *slot = &cell->deadline[epoch & 1];
    uint64_t seen = atomic_load_explicit(slot, memory_order_acquire);
    while (SONDE__TIME_TAG(seen) != (uint16_t)epoch) {
        uint64_t mine = sonde__breaker_time_word(epoch, now + wait_us);
        if (atomic_compare_exchange_weak(slot, &seen, mine))
            seen = mine;
    }
    return sonde__breaker_us_between(now, SONDE__TIME_US(seen));
}

/* ---- changes of state ---- */

static uint64_t open_wait_us(const struct sonde__breaker_cell *cell) {
    uint32_t opens = atomic_load_explicit(&cell->opens, memory_order_relaxed);
    double wait = (double)cell->wait_ns;
    for (uint32_t i = 0; i < opens && i < 64 && wait < (double)cell->wait_max_ns; i++)
        wait *= cell->wait_factor;
    if (cell->wait_factor > 1 && wait > (double)cell->wait_max_ns)
        wait = (double)cell->wait_max_ns;
    return wait / 1000 < (double)WAIT_US_MAX ? (uint64_t)(wait / 1000) : WAIT_US_MAX;
}
static uint64_t half_open_max_us(const struct sonde__breaker_cell *cell) {
    uint64_t us = cell->half_open_max_ns / 1000u;
    return us < WAIT_US_MAX ? us : WAIT_US_MAX;
}

static double ratio(uint32_t part, const struct sonde__breaker_totals *totals, uint32_t least) {
    return totals->calls && totals->calls >= least ? (double)part / (double)totals->calls : -1;
}

struct change {
    enum sonde_breaker_state to;
    enum sonde_breaker_reason reason;
    uint32_t admitted;    /* with the change */
    uint64_t wait_us;     /* until the state is over; 0 = never */
    bool has_wait_of_own; /* OPEN for so long by hand: makes later waits no longer */
    struct sonde__breaker_totals totals;
};

static void change_tell(struct sonde_breaker breaker, const struct sonde__breaker_cell *cell,
                        enum sonde_breaker_state from, uint32_t epoch, const struct change *change) {
    const struct sonde__breaker_own *own = sonde__breaker_own(breaker);
    const uint32_t least = sonde__breaker_least(cell, from == SONDE_BREAKER_HALF_OPEN);
    const struct sonde_breaker_change told = {
        .size = sizeof told,
        .breaker = breaker,
        .name = cell->name,
        .from = from,
        .to = change->to,
        .reason = change->reason,
        .calls = change->totals.calls,
        .failure_ratio = ratio(change->totals.failures, &change->totals, least),
        .slow_ratio = ratio(change->totals.slow, &change->totals, least),
        .wait_ns = change->to == SONDE_BREAKER_OPEN ? change->wait_us * 1000u : 0,
        .epoch = epoch,
    };
    sonde__breaker_tell(own, &told);
    if (own->on_change)
        own->on_change(own->user, &told);
}

/* One contender for a change from the state word `seen`. True when it won. */
static bool change_try(struct sonde_breaker breaker, struct sonde__breaker_cell *cell, uint64_t seen,
                       const struct change *change) {
    const uint64_t now = now_us(sonde__breaker_own(breaker));
    const uint32_t old = SONDE__BREAKER_EPOCH(seen), epoch = (old + 1) & 0x1FFFFFFFu;
    const enum sonde_breaker_state from = SONDE__BREAKER_STATE(seen);
    if (!atomic_compare_exchange_strong(&cell->state, &seen, sonde__breaker_word(change->to, epoch, change->admitted)))
        return false;
    time_set(cell->deadline, epoch, now + change->wait_us);
    time_set(cell->entered, epoch, now);
    sonde__breaker_window_begin(cell, epoch);
    const uint64_t entered =
        time_get(cell->entered, old, now); /* the other slot: there until the next change but one */
    atomic_fetch_add(&cell->state_ns[from], sonde__breaker_us_between(entered, now) * 1000u);
    if (change->to == SONDE_BREAKER_OPEN || change->to == SONDE_BREAKER_FORCED_OPEN)
        atomic_fetch_add(&cell->opens, change->has_wait_of_own ? 0 : 1);
    else if (change->to != SONDE_BREAKER_HALF_OPEN)
        atomic_store(&cell->opens, 0);
    change_tell(breaker, cell, from, epoch, change);
    return true;
}

/* ---- admission ---- */

static enum sonde_admission permit_give(struct sonde_breaker_permit *ret_permit, uint64_t word,
                                        enum sonde_admission admission, uint64_t retry_after_us) {
    ret_permit->epoch = SONDE__BREAKER_EPOCH(word);
    ret_permit->state = (uint8_t)SONDE__BREAKER_STATE(word);
    ret_permit->admission = (uint8_t)admission;
    ret_permit->reserved = 0;
    ret_permit->retry_after_ns = retry_after_us * 1000u;
    return admission;
}

/* OPEN: true when the state word is to be looked at again. */
static bool open_is_over(struct sonde_breaker breaker, struct sonde__breaker_cell *cell, uint64_t word,
                         uint64_t *ret_left_us) {
    uint64_t now = now_us(sonde__breaker_own(breaker));
    *ret_left_us = time_left(cell, SONDE__BREAKER_EPOCH(word), now, open_wait_us(cell));
    if (*ret_left_us)
        return false;
    const struct change half_open = {
        .to = SONDE_BREAKER_HALF_OPEN, .reason = SONDE_BREAKER_WAIT_ELAPSED, .wait_us = half_open_max_us(cell)};
    (void)change_try(breaker, cell, word, &half_open);
    return true;
}

/* HALF_OPEN: takes a permit when there is one, unless the state is over. *ret_again: the state word has changed. */
static bool probe_admit(struct sonde_breaker breaker, struct sonde__breaker_cell *cell, uint64_t word, bool *ret_again,
                        uint64_t *ret_left_us) {
    *ret_again = false;
    *ret_left_us = 0;
    const bool is_free = SONDE__BREAKER_ADMITTED(word) < cell->probes;
    uint64_t now = 0;
    if (!is_free || cell->is_half_open_bounded) {
        now = now_us(sonde__breaker_own(breaker));
        *ret_left_us = time_left(cell, SONDE__BREAKER_EPOCH(word), now, half_open_max_us(cell));
    }
    if (is_free && (*ret_left_us || !cell->is_half_open_bounded)) {
        bool taken = atomic_compare_exchange_strong(&cell->state, &word, word + ((uint64_t)1 << 32));
        *ret_again = !taken;
        return taken;
    }
    if (*ret_left_us)
        return false;
    struct change open = {
        .to = SONDE_BREAKER_OPEN, .reason = SONDE_BREAKER_PROBE_TIMEOUT, .wait_us = open_wait_us(cell)};
    sonde__breaker_window_totals(cell, SONDE__BREAKER_EPOCH(word), false, now, &open.totals);
    (void)change_try(breaker, cell, word, &open);
    *ret_again = true;
    return false;
}

static void count(const struct sonde__breaker_own *own, enum sonde__call_outcome outcome) {
    sonde_counter_add(own->calls[outcome], 1);
}

static enum sonde_admission admit_slow(struct sonde_breaker breaker, struct sonde__breaker_cell *cell, uint64_t word,
                                       struct sonde_breaker_permit *ret_permit) {
    for (;; word = atomic_load(&cell->state)) {
        bool again = false;
        uint64_t left_us = 0;
        switch (SONDE__BREAKER_STATE(word)) {
        case SONDE_BREAKER_OPEN:
            again = open_is_over(breaker, cell, word, &left_us);
            break;
        case SONDE_BREAKER_HALF_OPEN:
            if (probe_admit(breaker, cell, word, &again, &left_us))
                return permit_give(ret_permit, word, SONDE_ADMITTED_PROBE, 0);
            break;
        case SONDE_BREAKER_FORCED_OPEN:
            break;
        default:
            return permit_give(ret_permit, word, SONDE_ADMITTED, 0);
        }
        if (again)
            continue;
        count(sonde__breaker_own(breaker), SONDE__CALL_REJECTED);
        return permit_give(ret_permit, word, SONDE_REJECTED, left_us);
    }
}

enum sonde_admission sonde_breaker_admit(struct sonde_breaker breaker, struct sonde_breaker_permit *ret_permit) {
    struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    if (!cell)
        return permit_give(ret_permit, sonde__breaker_word(SONDE_BREAKER_DISABLED, 0, 0), SONDE_ADMITTED, 0);
    uint64_t word = atomic_load_explicit(&cell->state, memory_order_acquire);
    if (__builtin_expect(SONDE__BREAKER_STATE(word) == SONDE_BREAKER_CLOSED, 1))
        return permit_give(ret_permit, word, SONDE_ADMITTED, 0);
    if (atomic_load_explicit(&cell->is_made, memory_order_relaxed) == SONDE__BREAKER_FOREIGN) {
        word = sonde__breaker_word(SONDE_BREAKER_DISABLED, 0, 0);
        return permit_give(ret_permit, word, SONDE_ADMITTED, 0);
    }
    return admit_slow(breaker, cell, word, ret_permit);
}

/* ---- results ---- */

/* Ratios of small numbers: an error of rounding must not decide. */
static bool reaches(uint32_t part, uint32_t calls, double rate) {
    return part && (double)part + 1e-9 * (double)calls >= rate * (double)calls;
}

/* Does it trip? Of HALF_OPEN: is the round decided, and how. */
static bool is_over(const struct sonde__breaker_cell *cell, enum sonde_breaker_state state,
                    const struct sonde__breaker_totals *totals, uint32_t consecutive, struct change *ret_change) {
    const bool half_open = state == SONDE_BREAKER_HALF_OPEN;
    const bool enough = totals->calls >= sonde__breaker_least(cell, half_open);
    ret_change->to = SONDE_BREAKER_OPEN;
    ret_change->totals = *totals;
    if (cell->consecutive_failures && consecutive >= (half_open ? 1 : cell->consecutive_failures))
        ret_change->reason = SONDE_BREAKER_CONSECUTIVE_FAILURES;
    else if (enough && reaches(totals->failures, totals->calls, cell->failure_rate))
        ret_change->reason = SONDE_BREAKER_FAILURE_RATE;
    else if (enough && reaches(totals->slow, totals->calls, cell->slow_call_rate))
        ret_change->reason = SONDE_BREAKER_SLOW_CALL_RATE;
    else if (half_open && enough)
        *ret_change =
            (struct change){.to = SONDE_BREAKER_CLOSED, .reason = SONDE_BREAKER_PROBE_SUCCEEDED, .totals = *totals};
    else
        return false;
    if (half_open && ret_change->to == SONDE_BREAKER_OPEN)
        ret_change->reason = SONDE_BREAKER_PROBE_FAILED;
    return true;
}

/* METRICS_ONLY tells the first time in its epoch that it would have opened. */
static void told_once(struct sonde_breaker breaker, struct sonde__breaker_cell *cell, uint32_t epoch,
                      struct change *change) {
    uint32_t told = atomic_load_explicit(&cell->told_epoch, memory_order_relaxed);
    if (told == epoch + 1 || !atomic_compare_exchange_strong(&cell->told_epoch, &told, epoch + 1))
        return;
    change->to = SONDE_BREAKER_METRICS_ONLY;
    change_tell(breaker, cell, SONDE_BREAKER_METRICS_ONLY, epoch, change);
}

static void decide(struct sonde_breaker breaker, struct sonde__breaker_cell *cell, uint64_t word, unsigned call) {
    const enum sonde_breaker_state state = SONDE__BREAKER_STATE(word);
    const uint32_t epoch = SONDE__BREAKER_EPOCH(word);
    const bool half_open = state == SONDE_BREAKER_HALF_OPEN;
    struct sonde__breaker_totals totals;
    struct change change = {0};
    const uint32_t size = cell->window_seconds ? 0 : cell->window_calls;
    uint32_t consecutive = 0;
    bool changed;
    if (cell->consecutive_failures)
        consecutive = sonde__breaker_consecutive(cell, epoch, call & SONDE__CALL_FAILED);
    if (half_open)
        changed = sonde__breaker_round_add(cell, epoch, call, &totals);
    else
        changed =
            sonde__breaker_window_add(cell, epoch, size, call, size ? 0 : now_us(sonde__breaker_own(breaker)), &totals);
    if (!(changed || consecutive) || !is_over(cell, state, &totals, consecutive, &change))
        return;
    if (atomic_load_explicit(&cell->is_made, memory_order_relaxed) == SONDE__BREAKER_FOREIGN)
        return; /* theirs to change */
    if (state == SONDE_BREAKER_METRICS_ONLY) {
        told_once(breaker, cell, epoch, &change);
        return;
    }
    if (change.to == SONDE_BREAKER_OPEN)
        change.wait_us = open_wait_us(cell);
    /* Of the same epoch only the permits taken may differ. */
    for (; SONDE__BREAKER_EPOCH(word) == epoch; word = atomic_load(&cell->state))
        if (change_try(breaker, cell, word, &change))
            return;
}

void sonde_breaker_cancel(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit) {
    struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    if (!cell || permit->admission == SONDE_REJECTED || permit->state == SONDE_BREAKER_DISABLED)
        return;
    count(sonde__breaker_own(breaker), SONDE__CALL_CANCELLED);
    sonde__breaker_permit_return(cell, permit);
}

void sonde__breaker_permit_return(struct sonde__breaker_cell *cell, const struct sonde_breaker_permit *permit) {
    if (permit->admission != SONDE_ADMITTED_PROBE)
        return;
    uint64_t word = atomic_load(&cell->state);
    while (SONDE__BREAKER_EPOCH(word) == permit->epoch && SONDE__BREAKER_ADMITTED(word))
        if (atomic_compare_exchange_weak(&cell->state, &word, word - ((uint64_t)1 << 32)))
            return;
}

void sonde_breaker_report(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit,
                          enum sonde_outcome outcome, uint64_t duration_ns) {
    struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    if (!cell || permit->admission == SONDE_REJECTED || permit->state == SONDE_BREAKER_DISABLED)
        return;
    const struct sonde__breaker_own *own = sonde__breaker_own(breaker);
    const unsigned call = (outcome == SONDE_OUTCOME_FAILURE ? SONDE__CALL_FAILED : 0u) |
                          (duration_ns > cell->slow_call_ns ? SONDE__CALL_SLOW : 0u);
    if (outcome == SONDE_OUTCOME_IGNORED) {
        count(own, SONDE__CALL_IGNORED);
        sonde__breaker_permit_return(cell, permit);
        return;
    }
    count(own, (enum sonde__call_outcome)call); /* the bits are the numbers */
    sonde_histogram_record(own->duration, (double)duration_ns * 1e-9);
    uint64_t word = atomic_load_explicit(&cell->state, memory_order_acquire);
    if (SONDE__BREAKER_EPOCH(word) == permit->epoch)
        decide(breaker, cell, word, call);
}
_Static_assert((int)SONDE__CALL_FAILURE == SONDE__CALL_FAILED && (int)SONDE__CALL_SLOW_SUCCESS == SONDE__CALL_SLOW &&
                   (int)SONDE__CALL_SLOW_FAILURE == (SONDE__CALL_FAILED | SONDE__CALL_SLOW),
               "bits are numbers");

void sonde_breaker_report_error(struct sonde_breaker breaker, const struct sonde_breaker_permit *permit, int error,
                                const void *result, uint64_t duration_ns) {
    const struct sonde__breaker_own *own = sonde__breaker_cell(breaker) ? sonde__breaker_own(breaker) : NULL;
    enum sonde_outcome outcome = error ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_SUCCESS;
    if (own && own->classify)
        outcome = own->classify(own->user, error, result);
    sonde_breaker_report(breaker, permit, outcome, duration_ns);
}

/* ---- from outside ---- */

enum sonde_breaker_state sonde_breaker_state_get(struct sonde_breaker breaker) {
    const struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    return cell ? SONDE__BREAKER_STATE(atomic_load(&cell->state)) : SONDE_BREAKER_DISABLED;
}

int sonde_breaker_state_set(struct sonde_breaker breaker, enum sonde_breaker_state state, uint64_t wait_ns) {
    struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    if (!cell || atomic_load(&cell->is_made) != SONDE__BREAKER_OURS || state == SONDE_BREAKER_HALF_OPEN ||
        (unsigned)state >= SONDE_BREAKER_STATE_COUNT)
        return SONDE_EINVALID;
    struct change change = {
        .to = state, .reason = SONDE_BREAKER_MANUAL, .has_wait_of_own = state == SONDE_BREAKER_OPEN && wait_ns};
    uint64_t word;
    do {
        word = atomic_load(&cell->state);
        if (state == SONDE_BREAKER_OPEN)
            change.wait_us = !wait_ns                        ? open_wait_us(cell)
                             : wait_ns / 1000u < WAIT_US_MAX ? wait_ns / 1000u
                                                             : WAIT_US_MAX;
        sonde__breaker_window_totals(cell, SONDE__BREAKER_EPOCH(word), cell->window_seconds > 0,
                                     now_us(sonde__breaker_own(breaker)), &change.totals);
    } while (!change_try(breaker, cell, word, &change));
    return 0;
}

int sonde__breaker_observed(struct sonde_breaker breaker, enum sonde_breaker_state state) {
    struct sonde__breaker_cell *cell = sonde__breaker_cell(breaker);
    if (atomic_load(&cell->is_made) != SONDE__BREAKER_FOREIGN)
        return SONDE_EINVALID;
    const struct change change = {.to = state, .reason = SONDE_BREAKER_FOREIGN};
    uint64_t word = atomic_load(&cell->state);
    while (SONDE__BREAKER_STATE(word) != state && !change_try(breaker, cell, word, &change))
        word = atomic_load(&cell->state);
    return 0;
}
