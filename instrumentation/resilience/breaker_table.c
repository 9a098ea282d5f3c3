/* SPDX-License-Identifier: Apache-2.0 */
/* Which breakers there are: made under a lock, found by name, never freed. */
#include "instrumentation/context/monotonic.h"
#include "instrumentation/resilience/breaker.h"
#include "instrumentation/ring/lock.h"
#include "instrumentation/ring/thread.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

struct sonde__breakers sonde__breakers;
static struct sonde__lock lock;
static _Alignas(64) uint8_t private_cells[(size_t)SONDE_BREAKERS_MAX * SONDE__BREAKER_CELL_SIZE];

static uint32_t or_default(uint32_t value, uint32_t otherwise) {
    return value ? value : otherwise;
}
static uint64_t or_ns(uint64_t value, uint64_t otherwise) {
    return value ? value : otherwise;
}
static double or_rate(double value, double otherwise) {
    return value > 0 ? value : otherwise;
}

static bool rate_is_good(double rate) {
    return rate >= 0 && rate < 1e6; /* NAN is not */
}
static bool options_are_good(const struct sonde_breaker_options *o) {
    size_t size = o->name ? strnlen(o->name, SONDE__BREAKER_NAME_SIZE_MAX + 1) : 0;
    return size > 0 && size <= SONDE__BREAKER_NAME_SIZE_MAX && sonde__utf8_is_valid(o->name, size) &&
           o->window_calls <= SONDE_BREAKER_WINDOW_CALLS_MAX && o->window_seconds <= 60 &&
           !(o->window_calls && o->window_seconds) && o->probes <= SONDE_BREAKER_WINDOW_CALLS_MAX &&
           rate_is_good(o->failure_rate) && rate_is_good(o->slow_call_rate) && rate_is_good(o->wait_factor) &&
           (o->wait_factor == 0 || o->wait_factor >= 1) && o->consecutive_failures < 0xFFFFFFu &&
           (unsigned)o->state < SONDE_BREAKER_STATE_COUNT && o->state != SONDE_BREAKER_OPEN &&
           o->state != SONDE_BREAKER_HALF_OPEN;
}

static void cell_fill(struct sonde__breaker_cell *cell, const struct sonde_breaker_options *o) {
    cell->window_seconds = o->window_seconds;
    cell->window_calls = or_default(o->window_calls, 100);
    cell->minimum_calls = or_default(o->minimum_calls, 100);
    cell->probes = or_default(o->probes, 10);
    cell->consecutive_failures = o->consecutive_failures;
    cell->failure_rate = or_rate(o->failure_rate, 0.5);
    cell->slow_call_rate = or_rate(o->slow_call_rate, 1.0);
    cell->has_clock = o->clock != NULL;
    cell->slow_call_ns = or_ns(o->slow_call_ns, 60 * SECOND);
    cell->wait_ns = or_ns(o->wait_ns, 60 * SECOND);
    cell->wait_max_ns = or_ns(o->wait_max_ns, 3600 * SECOND);
    cell->wait_factor = or_rate(o->wait_factor, 1.0);
    cell->half_open_max_ns = or_ns(o->half_open_max_ns, cell->wait_ns);
    cell->is_half_open_bounded = o->half_open_max_ns != 0;
    cell->name_size = (uint32_t)strlen(o->name);
    memcpy(cell->name, o->name, cell->name_size + 1u);
}

static struct sonde__breaker_cell *cell_at(uint8_t *cells, struct sonde_breaker breaker) {
    return (void *)(cells + (breaker.index - 1u) * (size_t)SONDE__BREAKER_CELL_SIZE);
}

static uint64_t clock_us(const struct sonde__breaker_own *own) {
    return sonde__monotonic_coarse_by(own->clock, own->user) / 1000u;
}

/* A child's times begin at its fork: what was before is its parent's. */
static void forked(uint8_t *cells, uint32_t count) {
    for (struct sonde_breaker breaker = {1}; breaker.index <= count; breaker.index++) {
        struct sonde__breaker_cell *cell = cell_at(cells, breaker);
        uint32_t epoch = SONDE__BREAKER_EPOCH(atomic_load(&cell->state));
        for (int i = 0; i < SONDE_BREAKER_STATE_COUNT; i++)
            atomic_store(&cell->state_ns[i], 0);
        atomic_store(&cell->entered[epoch & 1],
                     sonde__breaker_time_word(epoch, clock_us(&sonde__breakers.own[breaker.index - 1u])));
    }
}

struct sonde__breaker_cell *sonde__breaker_cell_find(struct sonde_breaker breaker) {
    if (breaker.index - 1u >= atomic_load_explicit(&sonde__breakers.count, memory_order_acquire))
        return NULL;
    (void)
        sonde__process_get(); /* begins the library in the child, which moves the cells: not in the middle of a call */
    struct sonde__breaker_cell *cell = cell_at(sonde__breakers_lock(private_cells, forked), breaker);
    sonde__breakers_unlock();
    return cell;
}

static struct sonde_breaker find(const char *name) {
    uint32_t count = atomic_load_explicit(&sonde__breakers.count, memory_order_acquire);
    for (struct sonde_breaker breaker = {1}; breaker.index <= count; breaker.index++)
        if (strcmp(sonde__breaker_cell(breaker)->name, name) == 0)
            return breaker;
    return (struct sonde_breaker){0};
}

/* The lock is held; there is room. Calls of a foreign one are its own library's to count. */
static struct sonde_breaker make(const struct sonde_breaker_options *o, uint32_t is_made,
                                 enum sonde_breaker_state state) {
    struct sonde_breaker breaker = {atomic_load(&sonde__breakers.count) + 1u};
    struct sonde__breaker_own *own = &sonde__breakers.own[breaker.index - 1u];
    own->classify = o->classify;
    own->on_change = o->on_change;
    own->clock = o->clock;
    own->user = o->user;
    if (is_made == SONDE__BREAKER_FOREIGN)
        (void)sonde__process_get();
    else
        sonde__breaker_instruments(o->name, own); /* begins the library, too, if it was not */
    struct sonde__breaker_cell *cell = cell_at(sonde__breakers_lock(private_cells, forked), breaker);
    cell_fill(cell, o);
    atomic_store(&cell->entered[0], sonde__breaker_time_word(0, clock_us(own)));
    atomic_store(&cell->state, sonde__breaker_word(state, 0, 0));
    atomic_store_explicit(&cell->is_made, is_made, memory_order_release);
    atomic_store_explicit(&sonde__breakers.count, breaker.index, memory_order_release);
    sonde__breakers_publish(breaker.index);
    sonde__breakers_unlock();
    return breaker;
}

/* state: NULL for one of ours, whose state at the start the options have. */
static int find_or_make(const struct sonde_breaker_options *options, const enum sonde_breaker_state *state,
                        struct sonde_breaker *ret_breaker) {
    const uint32_t is_made = state ? SONDE__BREAKER_FOREIGN : SONDE__BREAKER_OURS;
    struct sonde_breaker_options o = SONDE_BREAKER_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    *ret_breaker = (struct sonde_breaker){0};
    if (!options_are_good(&o))
        return SONDE_EINVALID;
    sonde__lock_take(&lock);
    *ret_breaker = find(o.name);
    if (!ret_breaker->index && atomic_load(&sonde__breakers.count) < SONDE_BREAKERS_MAX)
        *ret_breaker = make(&o, is_made, state ? *state : o.state);
    int error = ret_breaker->index ? 0 : SONDE_EFULL;
    if (!error && atomic_load(&sonde__breaker_cell(*ret_breaker)->is_made) != is_made) {
        *ret_breaker = (struct sonde_breaker){0};
        error = SONDE_EINVALID;
    }
    sonde__lock_release(&lock);
    return error;
}

int sonde_breaker_create(const struct sonde_breaker_options *options, struct sonde_breaker *ret_breaker) {
    return find_or_make(options, NULL, ret_breaker);
}

int sonde_breaker_observe(const char *name, enum sonde_breaker_state state) {
    if (!name || (unsigned)state >= SONDE_BREAKER_STATE_COUNT)
        return SONDE_EINVALID;
    struct sonde_breaker breaker = find(name);
    if (!breaker.index) {
        struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
        options.name = name;
        int error = find_or_make(&options, &state, &breaker);
        if (error)
            return error;
    }
    return sonde__breaker_observed(breaker, state);
}
