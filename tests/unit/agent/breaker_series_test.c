/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers' cells in a service's (scripted) shared memory, as series of that service. */
#include "agent/series/series.h"
#include "exporters/prometheus/text.h"
#include "instrumentation/resilience/breaker_cell.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

#define RESOURCE ((struct sonde_bytes){(const uint8_t *)"", 0})

struct fixture {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_series_store *store;
    struct sonde_series_source *source;
    uint8_t *memory;
    uint64_t restless; /* reads during which the first breaker changes its state */
    char *text;
    size_t text_size;
};

static struct sonde__breaker_cell *cell_of(struct fixture *f, unsigned index) {
    return (void *)(f->memory + SONDE__BREAKERS_AT + index * SONDE__BREAKER_CELL_SIZE);
}
static struct sonde__process *process_of(struct fixture *f) {
    return (void *)f->memory;
}

static int memory_read(void *self, uint32_t number, uint64_t offset, void *buffer, size_t size) {
    struct fixture *f = self;
    if (number || !f->memory || offset + size > SONDE__PROCESS_SIZE)
        return -ENOENT;
    memcpy(buffer, f->memory + offset, size);
    if (f->restless && offset == SONDE__BREAKERS_AT && size > 8) {
        f->restless--;
        cell_of(f, 0)->state += 1u << 3; /* the next epoch */
    }
    return 0;
}

static uint64_t now_us(struct fixture *f) {
    return f->seams.time.monotonic_ns(f->seams.time.self) / 1000u;
}
static void state_set(struct fixture *f, unsigned index, enum sonde_breaker_state state, uint32_t epoch,
                      uint64_t wait_us) {
    struct sonde__breaker_cell *cell = cell_of(f, index);
    cell->state = sonde__breaker_word(state, epoch, 0);
    cell->entered[epoch & 1] = sonde__breaker_time_word(epoch, now_us(f));
    cell->deadline[epoch & 1] = sonde__breaker_time_word(epoch, now_us(f) + wait_us);
}
static void breaker_add(struct fixture *f, const char *name, enum sonde__breaker_maker maker) {
    unsigned index = process_of(f)->breakers++;
    struct sonde__breaker_cell *cell = cell_of(f, index);
    cell->is_made = maker;
    cell->window_calls = cell->minimum_calls = 4;
    cell->probes = 2;
    cell->wait_ns = cell->half_open_max_ns = UINT64_C(10000000000);
    cell->slow_call_ns = UINT64_C(1500000000);
    cell->failure_rate = 0.5;
    cell->slow_call_rate = 1.5;
    cell->name_size = (uint32_t)strlen(name);
    memcpy(cell->name, name, cell->name_size);
    state_set(f, index, SONDE_BREAKER_CLOSED, 0, 0);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    fakes_init(&f->fakes);
    f->seams = fakes_seams(&f->fakes);
    f->memory = calloc(1, SONDE__PROCESS_SIZE);
    *state = f;
    struct sonde__metric_memory memory = {.read = memory_read, .self = f};
    return sonde_series_store_create(&f->seams, &f->store) ||
           sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &f->source);
}
static int teardown(void **state) {
    struct fixture *f = *state;
    sonde_series_store_destroy(f->store);
    free(f->memory);
    free(f->text);
    int leaked = f->fakes.live != 0;
    free(f);
    return leaked;
}

static int sink_write(void *self, const char *text, size_t size) {
    return fwrite(text, 1, size, self) == size ? 0 : -EIO;
}
static void scrape(struct fixture *f) {
    struct sonde_prometheus_stats stats;
    free(f->text);
    FILE *out = open_memstream(&f->text, &f->text_size);
    struct sonde_prometheus_sink sink = {sink_write, out};
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    sonde_series_refresh(f->store);
    assert_int_equal(sonde_prometheus_write(&feed, &f->seams.alloc, &sink, &stats), 0);
    fclose(out);
}
/* The value of a series as its line begins, or NAN. */
static double value(struct fixture *f, const char *series) {
    char line[256];
    snprintf(line, sizeof line, "\nsonde_circuit_breaker_%s ", series);
    const char *at = strstr(f->text, line);
    return at ? strtod(at + strlen(line), NULL) : (double)NAN;
}
#define ASSERT_VALUE(series, expected) assert_true(fabs(value(f, series) - (expected)) < 1e-6)
#define ASSERT_ABSENT(series)          assert_true(isnan(value(f, series)))

static void all_states_are_there_and_one_is_true(void **state) {
    struct fixture *f = *state;
    static const char *const others[] = {"half_open", "forced_open", "disabled", "metrics_only", "open"};
    char series[128];
    breaker_add(f, "payments", SONDE__BREAKER_OURS);
    scrape(f);
    ASSERT_VALUE("state{name=\"payments\",state=\"closed\"}", 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(series, sizeof series, "state{name=\"payments\",state=\"%s\"}", others[i]);
        ASSERT_VALUE(series, 0);
        snprintf(series, sizeof series, "state_time_seconds_total{name=\"payments\",state=\"%s\"}", others[i]);
        ASSERT_VALUE(series, 0);
    }
    state_set(f, 0, SONDE_BREAKER_OPEN, 1, 10000000);
    scrape(f);
    ASSERT_VALUE("state{name=\"payments\",state=\"closed\"}", 0);
    ASSERT_VALUE("state{name=\"payments\",state=\"open\"}", 1);
    assert_int_equal(sonde_series_service_violations(f->source), 0);
}

static void time_in_a_state_has_the_current_stay_and_never_falls(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "b", SONDE__BREAKER_OURS);
    fakes_advance(&f->fakes, UINT64_C(5000000000));
    scrape(f);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"closed\"}", 5);
    state_set(f, 0, SONDE_BREAKER_OPEN, 1, 1000000); /* the winner has not added up yet */
    scrape(f);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"closed\"}", 5);
    cell_of(f, 0)->state_ns[SONDE_BREAKER_CLOSED] = UINT64_C(5000000000);
    fakes_advance(&f->fakes, UINT64_C(250000000));
    scrape(f);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"open\"}", 0.25);
    ASSERT_VALUE("retry_after_seconds{name=\"b\"}", 0.75);
    fakes_advance(&f->fakes, UINT64_C(2000000000));
    scrape(f);
    ASSERT_VALUE("retry_after_seconds{name=\"b\"}", 0);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"closed\"}", 5);
    cell_of(f, 0)->entered[1] = 0; /* of another epoch: the stay is not known */
    scrape(f);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"open\"}", 2.25);
}

static void a_state_that_changes_while_it_is_read_counts_no_stay_twice(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "b", SONDE__BREAKER_OURS);
    fakes_advance(&f->fakes, UINT64_C(5000000000));
    cell_of(f, 0)->state_ns[SONDE_BREAKER_CLOSED] = UINT64_C(5000000000); /* as of the change that is to come */
    f->restless = 100;
    scrape(f);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"closed\"}", 5);
    assert_int_equal(f->restless, 96);
}

static void ratios_are_there_from_the_minimum_of_calls_on(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "b", SONDE__BREAKER_OURS);
    struct sonde__breaker_totals totals;
    for (int i = 0; i < 3; i++)
        (void)sonde__breaker_window_add(cell_of(f, 0), 0, 4, i ? 0 : SONDE__CALL_FAILED, 0, &totals);
    scrape(f);
    ASSERT_VALUE("window_calls{name=\"b\"}", 3);
    ASSERT_ABSENT("failure_ratio{name=\"b\"}");
    (void)sonde__breaker_window_add(cell_of(f, 0), 0, 4, SONDE__CALL_SLOW, 0, &totals);
    scrape(f);
    ASSERT_VALUE("failure_ratio{name=\"b\"}", 0.25);
    ASSERT_VALUE("slow_call_ratio{name=\"b\"}", 0.25);
    ASSERT_VALUE("threshold{name=\"b\",reason=\"failure_rate\"}", 0.5);
    ASSERT_VALUE("threshold{name=\"b\",reason=\"minimum_calls\"}", 4);
    ASSERT_ABSENT("threshold{name=\"b\",reason=\"slow_call_rate\"}"); /* never */
    ASSERT_ABSENT("threshold{name=\"b\",reason=\"consecutive_failures\"}");
    ASSERT_VALUE("probe_permits{name=\"b\"}", 2);
    state_set(f, 0, SONDE_BREAKER_HALF_OPEN, 2, 0);
    cell_of(f, 0)->state += UINT64_C(1) << 32;
    scrape(f);
    ASSERT_VALUE("probe_permits{name=\"b\"}", 1);
    ASSERT_VALUE("window_calls{name=\"b\"}", 0);
    ASSERT_ABSENT("failure_ratio{name=\"b\"}"); /* gone, not stale */
}

static void what_is_configured_is_data_too(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "b", SONDE__BREAKER_OURS);
    scrape(f);
    ASSERT_VALUE("window_size{name=\"b\"}", 4);
    ASSERT_ABSENT("window_duration_seconds{name=\"b\"}");
    ASSERT_VALUE("probe_limit{name=\"b\"}", 2);
    ASSERT_VALUE("slow_call_duration_seconds{name=\"b\"}", 1.5);
    ASSERT_VALUE("wait_duration_seconds{name=\"b\"}", 10);
    ASSERT_ABSENT("half_open_duration_seconds{name=\"b\"}"); /* of leaked permits only */
    cell_of(f, 0)->window_seconds = 30;
    cell_of(f, 0)->is_half_open_bounded = 1;
    cell_of(f, 0)->wait_ns = UINT64_MAX; /* for ever */
    scrape(f);
    ASSERT_ABSENT("window_size{name=\"b\"}");
    ASSERT_VALUE("window_duration_seconds{name=\"b\"}", 30);
    ASSERT_VALUE("half_open_duration_seconds{name=\"b\"}", 10);
    ASSERT_ABSENT("wait_duration_seconds{name=\"b\"}");
}

static void a_time_window_is_added_up_by_the_machines_clock(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "b", SONDE__BREAKER_OURS);
    cell_of(f, 0)->window_seconds = 2;
    struct sonde__breaker_totals totals;
    for (int i = 0; i < 4; i++)
        (void)sonde__breaker_window_add(cell_of(f, 0), 0, 0, SONDE__CALL_FAILED, now_us(f), &totals);
    scrape(f);
    ASSERT_VALUE("failure_ratio{name=\"b\"}", 1);
    fakes_advance(&f->fakes, UINT64_C(3000000000));
    scrape(f);
    ASSERT_ABSENT("failure_ratio{name=\"b\"}");
    ASSERT_VALUE("window_calls{name=\"b\"}", 0);
    cell_of(f, 0)->has_clock = 1;
    scrape(f);
    ASSERT_ABSENT("retry_after_seconds{name=\"b\"}");
    ASSERT_VALUE("state{name=\"b\",state=\"closed\"}", 1);
}

static void foreign_ones_have_state_and_time_only(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "theirs", SONDE__BREAKER_FOREIGN);
    fakes_advance(&f->fakes, UINT64_C(1000000000));
    scrape(f);
    ASSERT_VALUE("state{name=\"theirs\",state=\"closed\"}", 1);
    ASSERT_VALUE("state_time_seconds_total{name=\"theirs\",state=\"closed\"}", 1);
    ASSERT_ABSENT("window_calls{name=\"theirs\"}");
    ASSERT_ABSENT("probe_permits{name=\"theirs\"}");
    ASSERT_ABSENT("window_size{name=\"theirs\"}");
    ASSERT_ABSENT("threshold{name=\"theirs\",reason=\"failure_rate\"}");
}

static void the_dead_are_in_no_state(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "b", SONDE__BREAKER_OURS);
    fakes_advance(&f->fakes, UINT64_C(1000000000));
    scrape(f);
    fakes_advance(&f->fakes, UINT64_C(1000000000));
    sonde_series_service_remove(f->source);
    scrape(f);
    ASSERT_VALUE("state_time_seconds_total{name=\"b\",state=\"closed\"}", 2); /* final */
    ASSERT_ABSENT("state{name=\"b\",state=\"closed\"}");
    ASSERT_ABSENT("window_calls{name=\"b\"}");
    ASSERT_ABSENT("retry_after_seconds{name=\"b\"}");
}

static void lies_cost_the_liar_its_own(void **state) {
    struct fixture *f = *state;
    breaker_add(f, "good", SONDE__BREAKER_OURS);
    breaker_add(f, "bad", SONDE__BREAKER_OURS);
    struct sonde__breaker_cell good = {0}, *bad = cell_of(f, 1);
    memcpy(&good, bad, sizeof good);
    const struct {
        size_t at;
        uint64_t value;
        size_t size;
    } lies[] = {{offsetof(struct sonde__breaker_cell, is_made), 0, 4},
                {offsetof(struct sonde__breaker_cell, is_made), 3, 4},
                {offsetof(struct sonde__breaker_cell, state), 7, 8},
                {offsetof(struct sonde__breaker_cell, name_size), 0, 4},
                {offsetof(struct sonde__breaker_cell, name_size), UINT32_MAX, 4},
                {offsetof(struct sonde__breaker_cell, name), 0xFF, 1},
                {offsetof(struct sonde__breaker_cell, name), 0, 1},
                {offsetof(struct sonde__breaker_cell, window_calls), 0, 4},
                {offsetof(struct sonde__breaker_cell, window_calls), 1u << 31, 4},
                {offsetof(struct sonde__breaker_cell, window_seconds), UINT32_MAX, 4},
                {offsetof(struct sonde__breaker_cell, minimum_calls), 0, 4},
                {offsetof(struct sonde__breaker_cell, probes), 0, 4},
                {offsetof(struct sonde__breaker_cell, failure_rate), UINT64_MAX, 8}, /* NaN */
                {offsetof(struct sonde__breaker_cell, slow_call_rate), 0, 8}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        memcpy(bad, &good, sizeof good);
        memcpy((uint8_t *)bad + lies[i].at, &lies[i].value, lies[i].size);
        scrape(f);
        assert_int_equal(sonde_series_service_violations(f->source), i + 1);
        ASSERT_VALUE("state{name=\"good\",state=\"closed\"}", 1);
        ASSERT_ABSENT("state{name=\"bad\",state=\"closed\"}");
    }
    memcpy(bad, &good, sizeof good);
    bad->state_ns[0] = UINT64_MAX; /* more than a life */
    scrape(f);
    assert_true(value(f, "state_time_seconds_total{name=\"bad\",state=\"closed\"}") < 1e9);
    process_of(f)->breakers = UINT32_MAX;
    scrape(f);
    ASSERT_ABSENT("state{name=\"good\",state=\"closed\"}");
}

static void memory_without_breakers_is_fine(void **state) {
    struct fixture *f = *state;
    scrape(f);
    assert_string_equal(f->text, "");
    free(f->memory);
    f->memory = NULL; /* not handed over yet */
    scrape(f);
    assert_int_equal(sonde_series_service_violations(f->source), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(all_states_are_there_and_one_is_true),
        CASE(time_in_a_state_has_the_current_stay_and_never_falls),
        CASE(a_state_that_changes_while_it_is_read_counts_no_stay_twice),
        CASE(ratios_are_there_from_the_minimum_of_calls_on),
        CASE(what_is_configured_is_data_too),
        CASE(a_time_window_is_added_up_by_the_machines_clock),
        CASE(foreign_ones_have_state_and_time_only),
        CASE(the_dead_are_in_no_state),
        CASE(lies_cost_the_liar_its_own),
        CASE(memory_without_breakers_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
