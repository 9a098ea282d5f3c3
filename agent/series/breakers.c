/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers of services: their cells are read out of shared memory whenever someone asks, and become series of the
 * service. The memory is another's: copied, then checked; a lie costs the liar that breaker. So that an OPEN shorter
 * than the scrape interval is seen too, the time in each state is a counter: what the cell has added up, and the stay
 * that is going on. */
#include "agent/series/source.h"
#include "instrumentation/resilience/breaker_cell.h"
#include "instrumentation/wire/writer.h"
#include <math.h>
#include <sonde/err.h>

/* What a cell has in front of its ring, which is nobody's business here. */
#define HEAD_SIZE offsetof(struct sonde__breaker_cell, ring)
/* A state that changes while it is copied is copied again; one that always does is told without its current stay. */
#define TRIES     4

struct series_breakers {
    uint64_t told_ns[SONDE_BREAKERS_MAX][SONDE_BREAKER_STATE_COUNT]; /* never less than was told before */
};

struct reading {
    struct sonde_series_source *source;
    const struct sonde__breaker_cell *cell;
    uint64_t now_us, start_unix_ns;
    enum sonde_breaker_state state;
    uint32_t epoch;
    bool is_whole; /* the state did not change while the cell was copied */
    struct sonde_attribute attributes[2];
};

static const char *const state_texts[SONDE_BREAKER_STATE_COUNT] = {"closed",      "open",     "half_open",
                                                                   "forced_open", "disabled", "metrics_only"};

static bool is_rate(double rate) {
    return rate > 0 && rate < 1e6;
}

static bool cell_is_good(const struct sonde__breaker_cell *cell) {
    const bool is_ours = cell->is_made == SONDE__BREAKER_OURS;
    return (is_ours || cell->is_made == SONDE__BREAKER_FOREIGN) &&
           SONDE__BREAKER_STATE(cell->state) < SONDE_BREAKER_STATE_COUNT && cell->name_size &&
           cell->name_size <= SONDE__BREAKER_NAME_SIZE_MAX && !memchr(cell->name, 0, cell->name_size) &&
           sonde__utf8_is_valid(cell->name, cell->name_size) && cell->window_calls &&
           cell->window_calls <= SONDE_BREAKER_WINDOW_CALLS_MAX && cell->window_seconds <= 60 && cell->minimum_calls &&
           cell->probes && cell->probes <= SONDE_BREAKER_WINDOW_CALLS_MAX && is_rate(cell->failure_rate) &&
           is_rate(cell->slow_call_rate);
}

/* Copies a cell's head. Returns 0, SONDE_EMALFORMED. */
static int cell_read(const struct sonde__metric_memory *memory, uint32_t index, struct sonde__breaker_cell *ret_cell,
                     bool *ret_whole) {
    const uint64_t at = SONDE__BREAKERS_AT + (uint64_t)index * SONDE__BREAKER_CELL_SIZE;
    uint64_t again;
    *ret_whole = false;
    for (int i = 0; i < TRIES && !*ret_whole; i++) {
        if (memory->read(memory->self, 0, at, ret_cell, HEAD_SIZE) ||
            memory->read(memory->self, 0, at, &again, sizeof again))
            return SONDE_EMALFORMED;
        *ret_whole = SONDE__BREAKER_EPOCH(again) == SONDE__BREAKER_EPOCH(ret_cell->state);
    }
    return cell_is_good(ret_cell) ? 0 : SONDE_EMALFORMED;
}

static int set(struct reading *reading, struct sonde_series_value value, const char *key, const char *text) {
    if (key)
        reading->attributes[1] = sonde_attribute_string(sonde_key_cstr(key), text);
    value.attributes = reading->attributes;
    value.attribute_count = key ? 2 : 1;
    value.start_unix_ns = reading->start_unix_ns;
    return sonde_series_set(reading->source, &value);
}

#define INTEGER(kind_, name_, unit_, description_, value_)                                                             \
    (struct sonde_series_value) {                                                                                      \
        .kind = kind_, .name = "sonde.circuit_breaker." name_, .unit = unit_, .description = description_,             \
        .int64 = (int64_t)(value_)                                                                                     \
    }
#define NUMBER(kind_, name_, unit_, description_, value_)                                                              \
    (struct sonde_series_value) {                                                                                      \
        .kind = kind_, .name = "sonde.circuit_breaker." name_, .unit = unit_, .description = description_,             \
        .is_double = true, .float64 = (value_)                                                                         \
    }

/* Its times are those of a clock that we cannot ask. */
static bool is_timeless(const struct reading *reading) {
    return reading->cell->has_clock && !reading->source->shares_clock;
}

static uint64_t stay_us(const struct reading *reading) {
    const struct sonde__breaker_cell *cell = reading->cell;
    uint64_t entered = cell->entered[reading->epoch & 1];
    bool is_known = reading->is_whole && !is_timeless(reading) && SONDE__TIME_TAG(entered) == (uint16_t)reading->epoch;
    return is_known ? sonde__breaker_us_between(SONDE__TIME_US(entered), reading->now_us) : 0;
}

static int set_times(struct reading *reading, uint64_t told_ns[SONDE_BREAKER_STATE_COUNT]) {
    int err = 0;
    for (int i = 0; i < SONDE_BREAKER_STATE_COUNT && !err; i++) {
        uint64_t ns = reading->cell->state_ns[i];
        if (i == (int)reading->state)
            ns += stay_us(reading) * 1000u;
        if (ns > told_ns[i] && ns < UINT64_MAX / 2) /* else a change under way: not added yet */
            told_ns[i] = ns;
        err = set(reading,
                  NUMBER(SONDE_COUNTER, "state.time", "s", "Time that a circuit breaker was in a state.",
                         (double)told_ns[i] * 1e-9),
                  "sonde.circuit_breaker.state", state_texts[i]);
    }
    return err;
}

static int set_states(struct reading *reading) {
    int err = 0;
    for (int i = 0; i < SONDE_BREAKER_STATE_COUNT && !err; i++)
        err = set(reading,
                  INTEGER(SONDE_UP_DOWN_COUNTER, "state", "{breaker}", "1 for the state that a circuit breaker is in.",
                          i == (int)reading->state),
                  "sonde.circuit_breaker.state", state_texts[i]);
    return err;
}

/* A threshold is named as the reason that a transition has when it is reached. Over 1: never. Shares and numbers of calls
 * are of one family, since the reason tells them apart. */
static int set_threshold(struct reading *reading, const char *reason, double value, bool is_on) {
    if (!is_on)
        return 0;
    return set(reading,
               NUMBER(SONDE_GAUGE, "threshold", "",
                      "What opens a circuit breaker: failure_rate and slow_call_rate are shares of the window's calls, "
                      "consecutive_failures is a number of calls; fewer than minimum_calls decide nothing.",
                      value),
               "sonde.circuit_breaker.reason", reason);
}
static int set_thresholds(struct reading *reading) {
    const struct sonde__breaker_cell *cell = reading->cell;
    int err = set_threshold(reading, "failure_rate", cell->failure_rate, cell->failure_rate <= 1);
    if (!err)
        err = set_threshold(reading, "slow_call_rate", cell->slow_call_rate, cell->slow_call_rate <= 1);
    if (!err)
        err =
            set_threshold(reading, "consecutive_failures", cell->consecutive_failures, cell->consecutive_failures > 0);
    if (!err)
        err = set_threshold(reading, "minimum_calls", sonde__breaker_least(cell, false), true);
    return err;
}

/* What is configured, in its unit; the window's calls and the free permits of now are below. For ever: left out. */
static int set_seconds(struct reading *reading, struct sonde_series_value value, uint64_t ns) {
    value.float64 = (double)ns * 1e-9;
    return ns < UINT64_MAX / 2 ? set(reading, value, NULL, NULL) : 0;
}
static int set_config(struct reading *reading) {
    const struct sonde__breaker_cell *cell = reading->cell;
    int err = cell->window_seconds
                  ? set_seconds(reading,
                                NUMBER(SONDE_GAUGE, "window.duration", "s", "Configured: calls of so long count.", 0),
                                cell->window_seconds * UINT64_C(1000000000))
                  : set(reading,
                        INTEGER(SONDE_GAUGE, "window.size", "{call}", "Configured: the last so many calls count.",
                                cell->window_calls),
                        NULL, NULL);
    if (!err)
        err = set(
            reading,
            INTEGER(SONDE_GAUGE, "probe.limit", "{call}", "Configured: calls admitted when half-open.", cell->probes),
            NULL, NULL);
    if (!err)
        err = set_seconds(reading,
                          NUMBER(SONDE_GAUGE, "slow_call.duration", "s", "Configured: longer calls are slow.", 0),
                          cell->slow_call_ns);
    if (!err)
        err = set_seconds(reading,
                          NUMBER(SONDE_GAUGE, "wait.duration", "s",
                                 "Configured: stay in open, before the factor for opening again.", 0),
                          cell->wait_ns);
    if (!err && cell->is_half_open_bounded)
        err = set_seconds(
            reading, NUMBER(SONDE_GAUGE, "half_open.duration", "s", "Configured: longer in half-open opens again.", 0),
            cell->half_open_max_ns);
    return err;
}

static double ratio(uint32_t part, uint32_t calls) {
    return part < calls ? (double)part / (double)calls : 1;
}

static int set_window(struct reading *reading) {
    const struct sonde__breaker_cell *cell = reading->cell;
    const bool half_open = reading->state == SONDE_BREAKER_HALF_OPEN, by_time = cell->window_seconds && !half_open;
    const uint32_t least = sonde__breaker_least(cell, half_open);
    struct sonde__breaker_totals totals = {0};
    if (!by_time || !is_timeless(reading))
        sonde__breaker_window_totals(cell, reading->epoch, by_time, reading->now_us, &totals);
    int err = set(reading, INTEGER(SONDE_GAUGE, "window.calls", "{call}", "Calls in the window now.", totals.calls),
                  NULL, NULL);
    if (!err && totals.calls >= least)
        err = set(reading,
                  NUMBER(SONDE_GAUGE, "failure_ratio", "1", "Failed share of the window's calls.",
                         ratio(totals.failures, totals.calls)),
                  NULL, NULL);
    if (!err && totals.calls >= least)
        err = set(reading,
                  NUMBER(SONDE_GAUGE, "slow_call_ratio", "1", "Slow share of the window's calls.",
                         ratio(totals.slow, totals.calls)),
                  NULL, NULL);
    return err;
}

static int set_outlook(struct reading *reading) {
    const struct sonde__breaker_cell *cell = reading->cell;
    const uint32_t admitted = reading->state == SONDE_BREAKER_HALF_OPEN ? SONDE__BREAKER_ADMITTED(cell->state) : 0;
    uint64_t deadline = cell->deadline[reading->epoch & 1], left_us = 0;
    int err = set(reading,
                  INTEGER(SONDE_GAUGE, "probe.permits", "{call}",
                          "Calls that may be admitted still, now or when half-open next.",
                          admitted < cell->probes ? cell->probes - admitted : 0),
                  NULL, NULL);
    if (err || is_timeless(reading) || reading->state == SONDE_BREAKER_FORCED_OPEN)
        return err; /* nobody can tell */
    if (reading->state == SONDE_BREAKER_OPEN && SONDE__TIME_TAG(deadline) == (uint16_t)reading->epoch)
        left_us = sonde__breaker_us_between(reading->now_us, SONDE__TIME_US(deadline));
    return set(reading,
               NUMBER(SONDE_GAUGE, "retry_after", "s", "Until an open circuit breaker may admit a call.",
                      (double)left_us * 1e-6),
               NULL, NULL);
}

static int breaker_set(struct reading *reading, uint64_t told_ns[SONDE_BREAKER_STATE_COUNT]) {
    int err = set_times(reading, told_ns);
    if (err || reading->source->is_dead) /* nobody is in a state any more */
        return err;
    err = set_states(reading);
    if (err || reading->cell->is_made == SONDE__BREAKER_FOREIGN)
        return err;
    err = set_thresholds(reading);
    if (!err)
        err = set_config(reading);
    if (!err)
        err = set_window(reading);
    return err ? err : set_outlook(reading);
}

static int breaker_read(struct reading *reading, uint32_t index) {
    struct sonde_series_source *source = reading->source;
    struct sonde__breaker_cell cell;
    char name[SONDE__BREAKER_NAME_SIZE_MAX + 1];
    int err = cell_read(&source->memory, index, &cell, &reading->is_whole);
    if (err)
        return err;
    memcpy(name, cell.name, cell.name_size);
    name[cell.name_size] = 0;
    reading->cell = &cell;
    reading->state = SONDE__BREAKER_STATE(cell.state);
    reading->epoch = SONDE__BREAKER_EPOCH(cell.state);
    reading->attributes[0] = sonde_attribute_string(SONDE_KEY("sonde.circuit_breaker.name"), name);
    return breaker_set(reading, source->breakers->told_ns[index]);
}

int series_breakers_read(struct sonde_series_source *source) {
    const struct sonde__metric_memory *memory = &source->memory;
    const struct sonde_seams *seams = source->store->seams;
    struct reading reading = {.source = source,
                              .now_us = SONDE__TIME_US(seams->time.monotonic_ns(seams->time.self) / 1000u)};
    uint32_t count;
    if (memory->read(memory->self, 0, offsetof(struct sonde__process, breakers), &count, sizeof count) ||
        memory->read(memory->self, 0, offsetof(struct sonde__process, start_unix_ns), &reading.start_unix_ns,
                     sizeof reading.start_unix_ns))
        return 0; /* not there (yet): what was read stays */
    int result = count > SONDE_BREAKERS_MAX ? SONDE_EMALFORMED : 0;
    if (result)
        count = 0;
    if (count && !source->breakers && (source->breakers = sonde_alloc_new(&seams->alloc, sizeof *source->breakers)))
        memset(source->breakers, 0, sizeof *source->breakers);
    if (count && !source->breakers)
        return 0; /* next time */
    for (uint32_t i = 0; i < count; i++)
        if (breaker_read(&reading, i) == SONDE_EMALFORMED)
            result = SONDE_EMALFORMED;
    series_points_sweep(&source->points, seams);
    return result;
}
