/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of one collector: the loop's timer moves when told, and series go to a table. Included by the test itself, so
 * that the linker takes these and not the agent's. Behind <cmocka.h>. */
#ifndef SONDE_TESTS_COLLECT_FAKES_H
#define SONDE_TESTS_COLLECT_FAKES_H

#include "agent/loop/loop.h"
#include "agent/series/series.h"
#include "tests/lib/fakes.h"
#include <stdio.h>
#include <string.h>

/* --- the loop's timer, by hand --- */

struct sonde_timer {
    sonde_timer_fn fn;
    void *user;
    uint64_t at_ns;
};
static struct sonde_timer the_timer;
static bool timer_exists;
static int timer_error;

int sonde_timer_create(struct sonde_loop *loop, sonde_timer_fn fn, void *user, struct sonde_timer **ret_timer) {
    (void)loop;
    if (timer_error)
        return timer_error;
    assert_false(timer_exists);
    timer_exists = true;
    the_timer = (struct sonde_timer){fn, user, UINT64_MAX};
    *ret_timer = &the_timer;
    return 0;
}
void sonde_timer_set(struct sonde_timer *timer, uint64_t monotonic_ns) {
    timer->at_ns = monotonic_ns;
}
void sonde_timer_clear(struct sonde_timer *timer) {
    timer->at_ns = UINT64_MAX;
}
void sonde_timer_destroy(struct sonde_timer *timer) {
    timer_exists = timer_exists && !timer;
}

/* --- the table of series --- */

static struct {
    char name[64], labels[320];
    double value;
    uint64_t start_unix_ns;
    bool set, start_is_unknown;
} table[256];
static size_t table_count, sweeps;
static int set_error; /* what setting gives */

int sonde_series_set(struct sonde_series_source *source, const struct sonde_series_value *value) {
    char labels[320] = "";
    size_t at = 0, i = 0;
    (void)source;
    if (set_error)
        return set_error;
    for (size_t k = 0; k < value->attribute_count; k++) {
        const struct sonde_attribute *a = &value->attributes[k];
        if (a->type == SONDE_VALUE_STRING)
            at += (size_t)snprintf(labels + at, sizeof labels - at, "%.*s=%.*s;", (int)a->key.length, a->key.text,
                                   (int)a->size, a->value.string);
        else
            at += (size_t)snprintf(labels + at, sizeof labels - at, "%.*s=%lld;", (int)a->key.length, a->key.text,
                                   (long long)a->value.int64);
        assert_true(at < sizeof labels);
    }
    while (i < table_count && (strcmp(table[i].name, value->name) != 0 || strcmp(table[i].labels, labels) != 0))
        i++;
    assert_true(i < sizeof table / sizeof *table);
    table_count += i == table_count;
    (void)snprintf(table[i].name, sizeof table[i].name, "%s", value->name);
    memcpy(table[i].labels, labels, sizeof labels);
    table[i].value = value->is_double ? value->float64 : (double)value->int64;
    table[i].start_unix_ns = value->start_unix_ns;
    table[i].start_is_unknown = value->start_is_unknown;
    table[i].set = true;
    return 0;
}
void sonde_series_sweep(struct sonde_series_source *source) {
    size_t kept = 0;
    (void)source;
    for (size_t i = 0; i < table_count; i++)
        if (table[i].set) {
            table[kept] = table[i];
            table[kept++].set = false;
        }
    table_count = kept;
    sweeps++;
}

static inline size_t find(const char *name, const char *word) {
    size_t i = 0;
    while (i < table_count && (strcmp(table[i].name, name) != 0 || (word && !strstr(table[i].labels, word))))
        i++;
    return i;
}
static inline bool has(const char *name, const char *word) {
    return find(name, word) < table_count;
}
static inline double value_of(const char *name, const char *word) {
    size_t i = find(name, word);
    if (i == table_count)
        fail_msg("no series %s %s", name, word ? word : "");
    return table[i].value;
}

/** To the timer's time, and its call. */
static inline void timer_runs_out_at(struct fakes *clock) {
    assert_true(the_timer.at_ns != UINT64_MAX);
    if (the_timer.at_ns > clock->monotonic_ns)
        fakes_advance(clock, the_timer.at_ns - clock->monotonic_ns);
    the_timer.fn(the_timer.user);
}

#endif
