/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker under every order of its atomic operations, for a few threads and calls:
 *   - of the permits of HALF_OPEN never one too many is given;
 *   - each change of state has one winner, who tells of it once;
 *   - a result of an older epoch counts nowhere but in the totals of calls;
 *   - totals of the window never run over or under, and in the end are what the ring holds;
 *   - a permit that comes back twice lets one probe more in at most;
 *   - a state is never over before its time, and every call is accounted for by one outcome.
 * usage: breaker_model [--deep]   prints orders explored per model; then plants a bug and must find it. */
#include "tests/model/scheduler.h"

#include "instrumentation/resilience/breaker.c"
#include "instrumentation/resilience/breaker_window.c"

#include <stdio.h>
#include <stdlib.h>

#define EPOCHS 16u
#define SECOND UINT64_C(1000000000)

struct sonde__breakers sonde__breakers;
static struct sonde__breaker_place place;
struct sonde__breaker_place *_Atomic sonde__breaker_place = &place;
struct sonde__breaker_cell *sonde__breaker_cell_find(struct sonde_breaker unknown) {
    (void)unknown;
    return NULL;
}
static _Alignas(64) struct {
    uint8_t cell[SONDE__BREAKER_CELL_SIZE];
    _Atomic uint64_t time_ns;
} world;
static const struct sonde_breaker breaker = {1};
static struct sonde__breaker_cell *cell;

/* What the checks remember of a run. */
static struct {
    uint32_t counts[SONDE__CALL_OUTCOME_COUNT]; /* of calls, by outcome */
    uint32_t asked, admitted, told, metrics_only_told;
    uint32_t probes[EPOCHS], returned[EPOCHS]; /* admitted, and given back, by epoch */
    uint32_t results[EPOCHS];                  /* reports begun, by epoch of their permit */
} ghost;
static struct sonde_breaker_permit early[MODEL_THREADS_MAX]; /* permits that were there before the threads */
static uint32_t first_epoch;

/* ---- what the breaker calls ---- */

void sonde_counter_add(struct sonde_series series, uint64_t value) {
    ghost.counts[series.index - 1u] += (uint32_t)value;
}
void sonde_histogram_record(struct sonde_series series, double value) {
    (void)series, (void)value;
}
void sonde__breaker_tell(const struct sonde__breaker_own *own, const struct sonde_breaker_change *change) {
    (void)own;
    if (change->from == SONDE_BREAKER_METRICS_ONLY && change->to == SONDE_BREAKER_METRICS_ONLY &&
        change->reason != SONDE_BREAKER_MANUAL)
        ghost.metrics_only_told++;
    else
        ghost.told++;
    MODEL_CHECK(change->failure_ratio <= 1 && change->slow_ratio <= 1);
    MODEL_CHECK(change->from != SONDE_BREAKER_HALF_OPEN || change->calls <= cell->probes);
}
static uint64_t model_clock(void *user) {
    (void)user;
    return atomic_load(&world.time_ns);
}

/* ---- calls ---- */

static enum sonde_admission admit(struct sonde_breaker_permit *ret_permit) {
    enum sonde_admission admission = sonde_breaker_admit(breaker, ret_permit);
    ghost.asked++;
    ghost.admitted += admission != SONDE_REJECTED;
    if (admission == SONDE_ADMITTED_PROBE)
        ghost.probes[ret_permit->epoch]++;
    return admission;
}
static void report(const struct sonde_breaker_permit *permit, enum sonde_outcome outcome) {
    if (outcome == SONDE_OUTCOME_IGNORED)
        ghost.returned[permit->epoch] += permit->admission == SONDE_ADMITTED_PROBE;
    else
        ghost.results[permit->epoch]++;
    sonde_breaker_report(breaker, permit, outcome, 1);
}
static void call(enum sonde_outcome outcome) {
    struct sonde_breaker_permit permit;
    if (admit(&permit) != SONDE_REJECTED)
        report(&permit, outcome);
}
static void calls(const char *outcomes) {
    for (; *outcomes; outcomes++)
        call(*outcomes == 'F'   ? SONDE_OUTCOME_FAILURE
             : *outcomes == 'I' ? SONDE_OUTCOME_IGNORED
                                : SONDE_OUTCOME_SUCCESS);
}
static void call_early(unsigned number, enum sonde_outcome outcome) {
    report(&early[number], outcome);
}

/* ---- what must hold ---- */

static uint32_t epoch_now(void) {
    return SONDE__BREAKER_EPOCH(cell->state);
}

static void always(void) {
    const struct sonde__breaker_totals totals = totals_of(cell->window);
    MODEL_CHECK(totals.failures <= totals.calls && totals.slow <= totals.calls);
    MODEL_CHECK(totals.calls <=
                (cell->window_calls > cell->probes ? cell->window_calls : cell->probes) + MODEL_THREADS_MAX);
    MODEL_CHECK(SONDE__BREAKER_STATE(cell->state) != SONDE_BREAKER_HALF_OPEN ||
                SONDE__BREAKER_ADMITTED(cell->state) <= cell->probes);
    MODEL_CHECK((int8_t)(uint8_t)(epoch_of(cell->window) - (uint8_t)epoch_now()) <= 0);
    uint32_t epoch = (uint32_t)(cell->state_ns[SONDE_BREAKER_OPEN] >> 62);
    MODEL_CHECK(epoch == 0); /* no time ran under */
}

/* The ring's outcomes of an epoch, added up. */
static struct sonde__breaker_totals ring_totals(uint32_t epoch) {
    struct sonde__breaker_totals totals = {0};
    for (uint32_t i = 0; i < cell->window_calls; i++) {
        uint32_t outcome = cell->ring[i];
        if (outcome >> 3 != epoch || !(outcome & CALL_RECORDED))
            continue;
        totals.calls++;
        totals.failures += outcome & SONDE__CALL_FAILED ? 1 : 0;
        totals.slow += outcome & SONDE__CALL_SLOW ? 1 : 0;
    }
    return totals;
}

static void finally(void) {
    const enum sonde_breaker_state state = SONDE__BREAKER_STATE(cell->state);
    const uint32_t epoch = epoch_now();
    uint32_t sum = 0;
    for (int i = 0; i < SONDE__CALL_OUTCOME_COUNT; i++)
        sum += ghost.counts[i];
    MODEL_CHECK(sum == ghost.asked);
    MODEL_CHECK(ghost.counts[SONDE__CALL_REJECTED] == ghost.asked - ghost.admitted);
    MODEL_CHECK(ghost.told == epoch - first_epoch);
    MODEL_CHECK(ghost.metrics_only_told <= 1);
    for (uint32_t i = 0; i < EPOCHS; i++)
        MODEL_CHECK(ghost.probes[i] <= cell->probes + ghost.returned[i]);
    struct sonde__breaker_totals totals = {0}, ring = ring_totals(epoch);
    sonde__breaker_window_totals(cell, epoch, false, 0, &totals);
    MODEL_CHECK(totals.calls <= ghost.results[epoch]);
    if (state == SONDE_BREAKER_HALF_OPEN) {
        MODEL_CHECK(totals.calls == ghost.results[epoch]);
        MODEL_CHECK(SONDE__BREAKER_ADMITTED(cell->state) == ghost.probes[epoch] - ghost.returned[epoch]);
    } else {
        MODEL_CHECK(totals.calls == ring.calls && totals.failures == ring.failures && totals.slow == ring.slow);
    }
}

/* ---- models ---- */

static void as_new(enum sonde_breaker_state state) {
    memset(&world, 0, sizeof world);
    memset(&ghost, 0, sizeof ghost);
    first_epoch = 0;
    cell = (struct sonde__breaker_cell *)(void *)world.cell;
    world.time_ns = 1000 * SECOND;
    cell->window_calls = 2;
    cell->minimum_calls = 2;
    cell->probes = 2;
    cell->failure_rate = 0.5;
    cell->slow_call_rate = 2;
    cell->slow_call_ns = SECOND;
    cell->wait_ns = cell->half_open_max_ns = 10 * SECOND;
    cell->wait_max_ns = 100 * SECOND;
    cell->wait_factor = 1;
    cell->is_made = SONDE__BREAKER_OURS;
    cell->entered[0] = sonde__breaker_time_word(0, world.time_ns / 1000u);
    cell->state = sonde__breaker_word(state, 0, 0);
    place.cells = world.cell;
    place.count = 1;
    sonde__breakers.own[0].clock = model_clock;
    for (uint32_t i = 0; i < SONDE__CALL_OUTCOME_COUNT; i++)
        sonde__breakers.own[0].calls[i].index = i + 1;
}
static void step_nothing(void) {
}
/* Before the threads begin nothing is an operation: what is called here just happens. */
static void opened(void) {
    MODEL_CHECK(sonde_breaker_state_set(breaker, SONDE_BREAKER_OPEN, 0) == 0);
}
static void half_opened(uint32_t probes) {
    cell->probes = probes;
    opened();
    world.time_ns += 10 * SECOND;
    call(SONDE_OUTCOME_IGNORED); /* the first call after the wait; its permit comes back */
    MODEL_CHECK(SONDE__BREAKER_STATE(cell->state) == SONDE_BREAKER_HALF_OPEN && !SONDE__BREAKER_ADMITTED(cell->state));
}

static void trip_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
}
static void trip_thread(unsigned number) {
    calls(number ? "F" : "FF");
}

static void laps_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->window_calls = cell->minimum_calls = 1;
    cell->failure_rate = 2;
}
static void laps_thread(unsigned number) {
    calls(number == 0 ? "FS" : number == 1 ? "F" : "S");
}

static void one_each_thread(unsigned number) {
    calls(number == 1 ? "S" : "F");
}

static void probes_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    half_opened(1);
}
static void probes_thread(unsigned number) {
    calls(number == 0 ? "I" : number == 1 ? "S" : "F");
}

static void two_probes_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    half_opened(2);
}

static void wait_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->probes = 1;
    opened();
    world.time_ns += 10 * SECOND;
}

/* One result closes, another opens: who loses must leave no trace, and OPEN not be over at once. */
static void contest_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->minimum_calls = 1;
    cell->consecutive_failures = 1;
    cell->failure_rate = 2;
    half_opened(2);
    (void)admit(&early[0]);
    (void)admit(&early[1]);
}
static void contest_thread(unsigned number) {
    struct sonde_breaker_permit permit;
    if (number < 2) {
        call_early(number, number ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_SUCCESS);
        return;
    }
    enum sonde_admission admission = admit(&permit);
    MODEL_CHECK(admission == SONDE_REJECTED || permit.state == SONDE_BREAKER_CLOSED);
    if (admission != SONDE_REJECTED)
        report(&permit, SONDE_OUTCOME_IGNORED);
}

/* A result that was admitted before others change the state twice. */
static void late_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->failure_rate = 2;
    (void)admit(&early[0]);
}
static void late_thread(unsigned number) {
    if (number == 0) {
        call_early(0, SONDE_OUTCOME_FAILURE);
    } else if (number == 1) {
        MODEL_CHECK(sonde_breaker_state_set(breaker, SONDE_BREAKER_CLOSED, 0) == 0);
        calls("S");
    } else {
        calls("F");
    }
}

static void leaked_begin(void) {
    struct sonde_breaker_permit permit;
    as_new(SONDE_BREAKER_CLOSED);
    half_opened(1);
    (void)admit(&permit);
    ghost.asked--; /* this one never reports */
    ghost.admitted--;
    world.time_ns += 10 * SECOND;
}

/* All permits are free, and the state is over all the same. */
static void bounded_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->is_half_open_bounded = 1;
    half_opened(2);
    world.time_ns += 10 * SECOND;
}
static void bounded_thread(unsigned number) {
    struct sonde_breaker_permit permit;
    (void)number;
    enum sonde_admission admission = admit(&permit);
    MODEL_CHECK(admission == SONDE_REJECTED);
    MODEL_CHECK(SONDE__BREAKER_STATE(cell->state) == SONDE_BREAKER_OPEN);
}

/* A permit that comes back twice: each time one probe more at most, and never below none. */
static void twice_thread(unsigned number) {
    struct sonde_breaker_permit permit;
    if (number == 1) {
        calls("S");
        return;
    }
    if (admit(&permit) == SONDE_REJECTED)
        return;
    for (int i = 0; i < 2; i++) {
        ghost.returned[permit.epoch] += permit.admission == SONDE_ADMITTED_PROBE;
        sonde_breaker_cancel(breaker, &permit);
    }
}
static void twice_end(void) {
    for (uint32_t i = 0; i < EPOCHS; i++)
        MODEL_CHECK(ghost.probes[i] <= cell->probes + ghost.returned[i]);
    MODEL_CHECK(SONDE__BREAKER_ADMITTED(cell->state) <= cell->probes);
}

static void told_begin(void) {
    as_new(SONDE_BREAKER_METRICS_ONLY);
}

static void by_hand_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->probes = 1;
}
static void by_hand_thread(unsigned number) {
    if (number == 0)
        calls("FF");
    else
        MODEL_CHECK(sonde_breaker_state_set(breaker, number == 1 ? SONDE_BREAKER_FORCED_OPEN : SONDE_BREAKER_OPEN, 0) ==
                    0);
}

static void slices_begin(void) {
    as_new(SONDE_BREAKER_CLOSED);
    cell->window_seconds = 2;
    cell->failure_rate = 2;
}
static void slices_thread(unsigned number) {
    if (number == 0)
        atomic_store(&world.time_ns, (1000 + SONDE__BREAKER_SLICES) * SECOND); /* the same slice, a turn later */
    else
        calls("F");
}
static void slices_end(void) {
    struct sonde__breaker_totals now = {0}, then = {0};
    time_totals(cell, 0, 1000, &then);
    time_totals(cell, 0, 1000 + SONDE__BREAKER_SLICES, &now);
    MODEL_CHECK(then.failures <= then.calls && now.failures <= now.calls);
    MODEL_CHECK(now.calls + then.calls <= 2 && (now.calls == 0 || then.calls == 0));
}

static void cancel_thread(unsigned number) {
    struct sonde_breaker_permit permit;
    if (number == 0) {
        if (admit(&permit) == SONDE_REJECTED)
            return;
        ghost.returned[permit.epoch] += permit.admission == SONDE_ADMITTED_PROBE;
        sonde_breaker_cancel(breaker, &permit);
    } else {
        calls("S");
    }
}

#define MODEL(name_, threads_, deep_)                                                                                  \
    { {#name_, threads_, name_##_thread, name_##_begin, always, finally, &world, sizeof world}, deep_ }
#define MODEL_AS(name_, threads_, thread_, begin_, deep_)                                                              \
    { {#name_, threads_, thread_##_thread, begin_##_begin, always, finally, &world, sizeof world}, deep_ }
static const struct {
    struct model model;
    bool is_deep;
} models[] = {
    MODEL(trip, 2, false),
    MODEL(laps, 2, false),
    MODEL(probes, 2, false),
    MODEL_AS(two_probes, 2, probes, two_probes, false),
    MODEL_AS(wait_is_over, 2, trip, wait, false),
    MODEL(contest, 3, false),
    MODEL(late, 2, false),
    MODEL_AS(leaked_permit, 2, probes, leaked, false),
    MODEL_AS(told_once, 2, trip, told, false),
    MODEL(by_hand, 2, false),
    MODEL_AS(cancelled, 2, cancel, probes, false),
    MODEL(bounded, 3, false),
    {{"twice", 2, twice_thread, probes_begin, always, twice_end, &world, sizeof world}, false},
    {{"slices", 3, slices_thread, slices_begin, step_nothing, slices_end, &world, sizeof world}, false},
    MODEL_AS(probes_3, 3, probes, probes, true),
    MODEL_AS(two_probes_3, 3, probes, two_probes, true),
    MODEL_AS(leaked_permit_3, 3, one_each, leaked, true),
    MODEL_AS(late_3, 3, late, late, true),
};

static bool explore(const struct model *model, uint64_t runs_max, bool expect_violation) {
    struct model_result result = model_explore(model, runs_max);
    printf("%-16s %u threads %9llu orders (%llu cut, %llu operations)%s%s\n", model->name, model->thread_count,
           (unsigned long long)result.runs, (unsigned long long)result.cut, (unsigned long long)result.operations,
           result.violation          ? ": "
           : result.runs == runs_max ? ", not all"
                                     : "",
           result.violation ? result.violation : "");
    (void)fflush(stdout);
    return (result.violation != NULL) == expect_violation && (result.violation || result.runs < runs_max);
}

int main(int argc, char **argv) {
    const bool deep = argc == 2 && strcmp(argv[1], "--deep") == 0;
    bool good = true;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (deep || !models[i].is_deep)
            good &= explore(&models[i].model, UINT64_MAX, false);
    /* Would it find a bug? With read-modify-writes that are not atomic each of these must break. */
    model_torn = true;
    puts("with a bug:");
    for (size_t i = 0; i < 3; i++)
        good &= explore(&models[i].model, UINT64_MAX, true);
    return good ? 0 : 1;
}
