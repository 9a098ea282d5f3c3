/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/process/processor.h"
#include "agent/process/saga_table.h"
#include "instrumentation/wire/validate.h"
#include "instrumentation/wire/writer.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <sonde/err.h>
#include <sonde/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND     UINT64_C(1000000000)
#define START      UINT64_C(1767225600000000000)
#define NOT_TOLD   SONDE__SAGA_OUTCOMES
#define BODY_MAX   1024
#define TIMEOUT_NS (300 * SECOND)
#define FORGET_NS  (3600 * SECOND)

/* ---- records, written as a service writes them ---- */

struct record {
    uint8_t bytes[BODY_MAX];
    struct sonde__writer out;
    unsigned attribute_field;
};
static void text_add(struct record *record, const char *key, const char *value) {
    const struct sonde_attribute attribute = sonde_attribute_string(sonde_key_cstr(key), value);
    sonde__write_attribute(&record->out, record->attribute_field, &attribute, SIZE_MAX);
}
static void number_add(struct record *record, const char *key, int64_t value) {
    const struct sonde_attribute attribute = sonde_attribute_int64(sonde_key_cstr(key), value);
    sonde__write_attribute(&record->out, record->attribute_field, &attribute, SIZE_MAX);
}
static struct sonde_bytes body_of(const struct record *record) {
    return (struct sonde_bytes){record->bytes, sonde__writer_size(&record->out)};
}

static void span_begin(struct record *record, uint64_t span, uint64_t start_ns, uint64_t end_ns) {
    static const uint8_t trace[16] = {1, 2, 3};
    sonde__writer_init(&record->out, record->bytes, sizeof record->bytes);
    record->attribute_field = 9;
    sonde__write_bytes(&record->out, 1, trace, 16);
    sonde__write_bytes(&record->out, 2, &span, 8);
    sonde__write_fixed64(&record->out, 7, start_ns);
    sonde__write_fixed64(&record->out, 8, end_ns);
    sonde__write_uint(&record->out, 6, 3);
    sonde__write_raw(&record->out, "\x85\x01\x01\x01\0\0", 6);
    sonde__write_string(&record->out, 5, "a step", 6, SIZE_MAX);
    text_add(record, "http.route", "/v1/orders");
}
static void log_begin(struct record *record, const char *event, uint64_t span, uint64_t time_ns) {
    static const uint8_t trace[16] = {1, 2, 3};
    sonde__writer_init(&record->out, record->bytes, sizeof record->bytes);
    record->attribute_field = 6;
    sonde__write_fixed64(&record->out, 1, time_ns);
    sonde__write_uint(&record->out, 2, 9);
    sonde__write_bytes(&record->out, 9, trace, 16);
    sonde__write_bytes(&record->out, 10, &span, 8);
    sonde__write_string(&record->out, 12, event, strlen(event), SIZE_MAX);
}
static void step_add(struct record *record, const char *id, const char *step, int64_t index, const char *action) {
    text_add(record, "sonde.saga.id", id);
    text_add(record, "sonde.saga.type", "order");
    text_add(record, "sonde.saga.step", step);
    number_add(record, "sonde.saga.step.index", index);
    text_add(record, "sonde.saga.action", action);
    number_add(record, "sonde.saga.attempt", 1);
    text_add(record, "sonde.saga.outcome", "success");
}
static void is_text(struct sonde_bytes bytes, const char *text) {
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

static void saga_read_takes_a_step_of_a_span_and_of_its_event_as_one(void **state) {
    struct record span, log;
    struct sonde__saga_event of_span, of_log;
    (void)state;
    span_begin(&span, 7, START, START + 2 * SECOND);
    step_add(&span, "s-1", "charge", 2, "compensate");
    log_begin(&log, "sonde.saga.step", 7, START + 2 * SECOND);
    step_add(&log, "s-1", "charge", 2, "compensate");
    const struct sonde_attribute duration = sonde_attribute_double(SONDE_KEY("sonde.saga.duration"), 2);
    sonde__write_attribute(&log.out, 6, &duration, SIZE_MAX);
    assert_true(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&span), &of_span));
    assert_true(sonde__saga_read(SONDE_SIGNAL_LOGS, body_of(&log), &of_log));
    const struct sonde__saga_event *const both[] = {&of_span, &of_log};
    for (int i = 0; i < 2; i++) {
        is_text(both[i]->id, "s-1");
        is_text(both[i]->type, "order");
        is_text(both[i]->step, "charge");
        assert_true(both[i]->is_step);
        assert_int_equal(both[i]->action, SONDE__SAGA_COMPENSATE);
        assert_int_equal(both[i]->outcome, NOT_TOLD); /* of the step, not of the saga */
        assert_int_equal(both[i]->duration_ns, 2 * SECOND);
        assert_int_equal(both[i]->start_unix_ns, START);
        assert_int_equal(both[i]->span_id[0], 7);
    }
    assert_true(of_span.step_key == of_log.step_key);
}

static void saga_read_tells_attempts_apart_by_their_spans_when_nothing_numbers_them(void **state) {
    struct record record;
    struct sonde__saga_event events[2];
    (void)state;
    for (uint64_t i = 0; i < 2; i++) {
        span_begin(&record, 7 + i, START, START + 1);
        text_add(&record, "sonde.saga.id", "s");
        text_add(&record, "sonde.saga.step", "charge");
        assert_true(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&record), &events[i]));
    }
    assert_false(events[0].step_key == events[1].step_key);
}

static void saga_read_takes_the_outcome_of_the_end(void **state) {
    static const char *const outcomes[] = {"completed", "compensated", "failed",  "",
                                           "success",   "completedx",  "complete"};
    static const enum sonde__saga_outcome wanted[] = {
        SONDE__SAGA_COMPLETED, SONDE__SAGA_COMPENSATED, SONDE__SAGA_FAILED, NOT_TOLD, NOT_TOLD, NOT_TOLD, NOT_TOLD};
    struct record record;
    struct sonde__saga_event event;
    (void)state;
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        span_begin(&record, 7, START, START);
        text_add(&record, "sonde.saga.id", "s");
        text_add(&record, "sonde.saga.outcome", outcomes[i]);
        assert_true(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&record), &event));
        assert_int_equal(event.outcome, wanted[i]);
        assert_false(event.is_step);
    }
}

static void saga_read_passes_over_what_tells_of_no_saga(void **state) {
    struct record record;
    struct sonde__saga_event event;
    (void)state;
    span_begin(&record, 7, START, START);
    assert_false(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&record), &event));
    number_add(&record, "sonde.saga.id", 5); /* not a text */
    assert_false(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&record), &event));
    log_begin(&record, "order.placed", 7, START); /* carries the id, but is not the library's */
    text_add(&record, "sonde.saga.id", "s");
    assert_false(sonde__saga_read(SONDE_SIGNAL_LOGS, body_of(&record), &event));
    assert_false(sonde__saga_read(SONDE_SIGNAL_METRICS, body_of(&record), &event));
    assert_false(sonde__saga_read(SONDE_SIGNAL_TRACES, (struct sonde_bytes){0}, &event));
    assert_false(sonde__saga_read(SONDE_SIGNAL_LOGS, (struct sonde_bytes){0}, &event));
}

static void saga_read_bounds_durations_that_cannot_be(void **state) {
    static const double seconds[] = {-1, 1e300, 0.0 / 1.0};
    struct record record;
    struct sonde__saga_event event;
    (void)state;
    span_begin(&record, 7, START + SECOND, START); /* ends before it begins */
    text_add(&record, "sonde.saga.id", "s");
    assert_true(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&record), &event));
    assert_int_equal(event.duration_ns, 0);
    span_begin(&record, 7, 0, UINT64_MAX);
    text_add(&record, "sonde.saga.id", "s");
    assert_true(sonde__saga_read(SONDE_SIGNAL_TRACES, body_of(&record), &event));
    assert_true(event.duration_ns <= 367 * UINT64_C(86400) * SECOND);
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        const struct sonde_attribute duration = sonde_attribute_double(SONDE_KEY("sonde.saga.duration"), seconds[i]);
        log_begin(&record, "sonde.saga.step", 7, START);
        text_add(&record, "sonde.saga.id", "s");
        sonde__write_attribute(&record.out, 6, &duration, SIZE_MAX);
        assert_true(sonde__saga_read(SONDE_SIGNAL_LOGS, body_of(&record), &event));
        assert_true(event.duration_ns <= 367 * UINT64_C(86400) * SECOND);
    }
}

/* What the readers of rings look for, so that a record without such a name costs nothing. */
static void records_with_names_of_our_own_are_noticed_in_any_shape(void **state) {
    static const uint8_t value_first[] = "\x4A\x14\x12\x03\x0A\x01s\x0A\x0Dsonde.saga.id";
    static const uint8_t long_sizes[] = "\x4A\x97\x80\0\x0A\x8D\x80\0sonde.saga.id\x12\x03\x0A\x01s";
    char text[300];
    struct record record;
    (void)state;
    span_begin(&record, 7, START, START);
    assert_int_equal(sonde__span_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID);
    text_add(&record, "sonde.saga.id", "s");
    assert_int_equal(sonde__span_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID | SONDE__LOOK_OWN);
    text_add(&record, "db.system", "redis"); /* and not forgotten */
    number_add(&record, "http.status", 200);
    assert_int_equal(sonde__span_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID | SONDE__LOOK_OWN);
    span_begin(&record, 7, START, START);
    sonde__write_raw(&record.out, value_first, sizeof value_first - 1);
    assert_int_equal(sonde__span_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID | SONDE__LOOK_OWN);
    span_begin(&record, 7, START, START);
    sonde__write_raw(&record.out, long_sizes, sizeof long_sizes - 1);
    unsigned look = sonde__span_look(record.bytes, body_of(&record).size);
    assert_true(look == 0 || look == (SONDE__LOOK_VALID | SONDE__LOOK_OWN));
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    span_begin(&record, 7, START, START);
    text_add(&record, "sonde.saga.id", text); /* a size of two bytes */
    assert_int_equal(sonde__span_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID | SONDE__LOOK_OWN);
    span_begin(&record, 7, START, START);
    text_add(&record, "long", text);
    assert_int_equal(sonde__span_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID);
    log_begin(&record, "sonde.saga.end", 7, START);
    assert_int_equal(sonde__log_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID | SONDE__LOOK_OWN);
    log_begin(&record, "order.placed", 7, START);
    assert_int_equal(sonde__log_look(record.bytes, body_of(&record).size), SONDE__LOOK_VALID);
    assert_int_equal(sonde__log_look("\x62", 1), 0);
}

/* ---- the table ---- */

struct world {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde__saga_table *table;
    char stuck[8][SONDE__SAGA_TEXT_SIZE_MAX + 1];
    unsigned stuck_count;
};
static void open_world(struct world *world, uint32_t sagas_max) {
    memset(world, 0, sizeof *world);
    fakes_init(&world->fakes);
    world->seams = fakes_seams(&world->fakes);
    const struct sonde__saga_table_options options = {.sagas_max = sagas_max,
                                                      .timeout_ns = TIMEOUT_NS,
                                                      .forget_ns = FORGET_NS,
                                                      .seed = 5,
                                                      .alloc = world->seams.alloc};
    assert_int_equal(sonde__saga_table_create(&options, &world->table), 0);
}
static void close_world(struct world *world) {
    sonde__saga_table_destroy(world->table);
    assert_int_equal(world->fakes.live, 0);
}
static struct sonde_bytes bytes_of(const char *text) {
    return (struct sonde_bytes){(const uint8_t *)text, strlen(text)};
}
static void take_event(struct world *world, const struct sonde__saga_event *event) {
    sonde__saga_table_take(world->table, event, world->fakes.monotonic_ns, world->fakes.unix_ns);
}
static void take(struct world *world, const char *id, const char *type, enum sonde__saga_outcome outcome) {
    const struct sonde__saga_event event = {
        .id = bytes_of(id), .type = bytes_of(type), .start_unix_ns = world->fakes.unix_ns, .outcome = outcome};
    take_event(world, &event);
}
static void step(struct world *world, const char *id, const char *type, const char *name, uint64_t key) {
    const struct sonde__saga_event event = {.id = bytes_of(id),
                                            .type = bytes_of(type),
                                            .step = bytes_of(name),
                                            .is_step = true,
                                            .step_key = key << 33,
                                            .duration_ns = SECOND,
                                            .outcome = NOT_TOLD,
                                            .start_unix_ns = world->fakes.unix_ns};
    take_event(world, &event);
}
static void on_stuck(void *user, const struct sonde__saga *saga) {
    struct world *world = user;
    unsigned i = world->stuck_count++ % 8;
    memcpy(world->stuck[i], saga->id, saga->id_size);
    world->stuck[i][saga->id_size] = '\0';
}
/* Returns in how long it wants to be called again, UINT64_MAX = not. */
static uint64_t age(struct world *world, uint64_t ns, uint32_t limit) {
    fakes_advance(&world->fakes, ns);
    uint64_t next_ns = sonde__saga_table_age(world->table, world->fakes.monotonic_ns, limit, on_stuck, world);
    return next_ns == UINT64_MAX ? next_ns : next_ns - world->fakes.monotonic_ns;
}
static void counts_are(const struct world *world, uint32_t active, uint32_t stuck, uint32_t ended) {
    assert_int_equal(sonde__saga_table_count(world->table, SONDE__SAGA_ACTIVE), active);
    assert_int_equal(sonde__saga_table_count(world->table, SONDE__SAGA_STUCK), stuck);
    assert_int_equal(sonde__saga_table_count(world->table, SONDE__SAGA_ENDED), ended);
}
static const struct sonde__saga_type *type_named(const struct world *world, const char *name) {
    const struct sonde__saga_type *type;
    for (uint32_t i = 0; (type = sonde__saga_table_type(world->table, i)) != NULL; i++)
        if (strcmp(type->name, name) == 0)
            return type;
    fail_msg("no type %s", name);
    return NULL;
}
static bool has(const struct world *world, const char *id) {
    return sonde__saga_table_find(world->table, id, strlen(id)) != NULL;
}
static uint64_t lost(const struct world *world, enum sonde__saga_lost reason) {
    return sonde__saga_table_lost(world->table, reason);
}

static void saga_ends_once_and_is_not_begun_anew_by_late_records(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 100);
    take(&world, "a", "order", NOT_TOLD);
    counts_are(&world, 1, 0, 0);
    take(&world, "a", "order", SONDE__SAGA_COMPENSATED);
    take(&world, "a", "order", SONDE__SAGA_COMPENSATED); /* span and event of the end */
    take(&world, "a", "order", NOT_TOLD);
    step(&world, "a", "order", "late", 1);
    counts_are(&world, 0, 0, 1);
    const struct sonde__saga_type *type = type_named(&world, "order");
    assert_int_equal(type->ended[SONDE__SAGA_COMPENSATED], 1);
    assert_int_equal(type->ended[SONDE__SAGA_COMPLETED] + type->ended[SONDE__SAGA_FAILED], 0);
    assert_int_equal(type->kept[SONDE__SAGA_ACTIVE], 0);
    assert_int_equal(type->steps[1].count[SONDE__SAGA_FORWARD], 1); /* but the step counts */
    (void)age(&world, TIMEOUT_NS, 100);
    counts_are(&world, 0, 0, 0);
    close_world(&world);
}

static void saga_is_stuck_after_the_timeout_and_no_longer_when_something_happens(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 100);
    take(&world, "a", "order", NOT_TOLD);
    fakes_advance(&world.fakes, 10 * SECOND);
    take(&world, "b", "order", NOT_TOLD);
    assert_int_equal(age(&world, TIMEOUT_NS - 10 * SECOND - 1, 100), 1);
    assert_int_equal(world.stuck_count, 0);
    (void)age(&world, 1, 100);
    assert_int_equal(world.stuck_count, 1);
    assert_string_equal(world.stuck[0], "a");
    counts_are(&world, 1, 1, 0);
    const struct sonde__saga_type *type = type_named(&world, "order");
    assert_int_equal(type->kept[SONDE__SAGA_ACTIVE], 1);
    assert_int_equal(type->kept[SONDE__SAGA_STUCK], 1);
    (void)age(&world, SECOND, 100); /* told once */
    assert_int_equal(world.stuck_count, 1);
    take(&world, "a", "order", NOT_TOLD);
    counts_are(&world, 2, 0, 0);
    (void)age(&world, TIMEOUT_NS, 100); /* and again when it gets stuck again */
    assert_int_equal(world.stuck_count, 3);
    take(&world, "b", "order", SONDE__SAGA_COMPLETED); /* the stuck end, too */
    counts_are(&world, 0, 1, 1);
    assert_int_equal(type->kept[SONDE__SAGA_STUCK], 1);
    close_world(&world);
}

static void saga_that_nobody_waits_for_any_more_is_lost_and_counted(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 100);
    take(&world, "a", "order", NOT_TOLD);
    assert_int_equal(age(&world, TIMEOUT_NS, 100), FORGET_NS - TIMEOUT_NS);
    assert_int_equal(age(&world, FORGET_NS - TIMEOUT_NS, 100), UINT64_MAX);
    assert_false(has(&world, "a"));
    assert_int_equal(lost(&world, SONDE__SAGA_LOST_EXPIRED), 1);
    assert_int_equal(type_named(&world, "order")->kept[SONDE__SAGA_STUCK], 0);
    close_world(&world);
}

static void saga_table_ages_a_few_at_a_time(void **state) {
    struct world world;
    char id[16];
    (void)state;
    open_world(&world, 100);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        take(&world, id, "order", NOT_TOLD);
    }
    assert_int_equal(age(&world, TIMEOUT_NS, 4), 0);
    assert_int_equal(world.stuck_count, 4);
    assert_int_equal(age(&world, 0, 4), 0);
    assert_int_equal(age(&world, 0, 4), FORGET_NS - TIMEOUT_NS);
    assert_int_equal(world.stuck_count, 10);
    close_world(&world);
}

static void full_saga_table_lets_the_ended_go_then_the_stuck_then_the_oldest(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 4);
    take(&world, "quiet", "order", NOT_TOLD);
    (void)age(&world, TIMEOUT_NS, 100);
    take(&world, "old", "order", NOT_TOLD);
    take(&world, "done", "order", SONDE__SAGA_COMPLETED);
    take(&world, "new", "order", NOT_TOLD);
    counts_are(&world, 2, 1, 1);
    take(&world, "e", "order", NOT_TOLD);
    assert_false(has(&world, "done"));
    assert_int_equal(lost(&world, SONDE__SAGA_LOST_FULL), 0); /* that one was over */
    take(&world, "f", "order", NOT_TOLD);
    assert_false(has(&world, "quiet"));
    assert_int_equal(lost(&world, SONDE__SAGA_LOST_FULL), 1);
    take(&world, "old", "order", NOT_TOLD); /* now "new" was quiet for longest */
    take(&world, "g", "order", NOT_TOLD);
    assert_true(has(&world, "old"));
    assert_false(has(&world, "new"));
    assert_int_equal(lost(&world, SONDE__SAGA_LOST_FULL), 2);
    counts_are(&world, 4, 0, 0);
    assert_int_equal(type_named(&world, "order")->kept[SONDE__SAGA_ACTIVE], 4);
    close_world(&world);
}

static void saga_table_finds_each_of_many(void **state) {
    enum { MANY = 20000 };
    struct world world;
    char id[32];
    (void)state;
    open_world(&world, MANY);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(id, sizeof id, "saga-%08d", i);
        take(&world, id, "order", NOT_TOLD);
    }
    for (int i = 0; i < MANY; i += 3) {
        (void)snprintf(id, sizeof id, "saga-%08d", i);
        take(&world, id, "order", SONDE__SAGA_FAILED);
    }
    counts_are(&world, MANY - (MANY + 2) / 3, 0, (MANY + 2) / 3);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(id, sizeof id, "saga-%08d", i);
        const struct sonde__saga *saga = sonde__saga_table_find(world.table, id, strlen(id));
        assert_non_null(saga);
        assert_int_equal(saga->state, i % 3 ? SONDE__SAGA_ACTIVE : SONDE__SAGA_ENDED);
    }
    assert_true(sizeof(struct sonde__saga) <= 208); /* what 64 MiB for 100,000 have room for, by far */
    fakes_advance(&world.fakes, FORGET_NS);         /* a burst's memory goes with it */
    while (sonde__saga_table_age(world.table, world.fakes.monotonic_ns, 1000, on_stuck, &world) ==
           world.fakes.monotonic_ns) {
    }
    (void)age(&world, FORGET_NS, MANY * 2);
    counts_are(&world, 0, 0, 0);
    assert_true(world.fakes.live <= 5); /* the table and its types */
    close_world(&world);
}

static void saga_table_refuses_ids_that_cannot_be(void **state) {
    struct world world;
    char longest[SONDE__SAGA_TEXT_SIZE_MAX + 2];
    (void)state;
    open_world(&world, 100);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    take(&world, "", "order", NOT_TOLD);
    take(&world, longest, "order", NOT_TOLD);
    take(&world, "\xff", "order", NOT_TOLD);
    assert_int_equal(lost(&world, SONDE__SAGA_LOST_BAD_ID), 3);
    counts_are(&world, 0, 0, 0);
    take(&world, longest + 1, "order", NOT_TOLD);
    counts_are(&world, 1, 0, 0);
    close_world(&world);
}

static void saga_types_and_steps_are_bounded(void **state) {
    struct world world;
    char name[100], id[16];
    (void)state;
    open_world(&world, 1000);
    for (unsigned i = 0; i < 2 * SONDE__SAGA_TYPES_MAX; i++) {
        (void)snprintf(id, sizeof id, "%u", i);
        (void)snprintf(name, sizeof name, "type-%u", i);
        take(&world, id, name, NOT_TOLD);
    }
    assert_null(sonde__saga_table_type(world.table, SONDE__SAGA_TYPES_MAX));
    assert_int_equal(type_named(&world, SONDE__SAGA_OTHER)->kept[SONDE__SAGA_ACTIVE], SONDE__SAGA_TYPES_MAX + 2);
    memset(name, 'y', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    take(&world, "long", name, NOT_TOLD);
    assert_int_equal(type_named(&world, SONDE__SAGA_OTHER)->kept[SONDE__SAGA_ACTIVE], SONDE__SAGA_TYPES_MAX + 3);
    for (unsigned i = 0; i < 2 * SONDE__SAGA_STEPS_MAX; i++) {
        (void)snprintf(name, sizeof name, "step-%u", i);
        step(&world, "0", "type-0", name, i + 1);
    }
    const struct sonde__saga_type *type = type_named(&world, "type-0");
    assert_int_equal(type->step_count, SONDE__SAGA_STEPS_MAX);
    assert_int_equal(type->steps[0].count[SONDE__SAGA_FORWARD], SONDE__SAGA_STEPS_MAX + 1);
    close_world(&world);
}

/* Types come from outside: such that nobody uses any more are not to keep the others out for ever. */
static void saga_type_takes_the_place_of_one_that_is_not_used(void **state) {
    const unsigned room = SONDE__SAGA_TYPES_MAX - 2;
    struct world world;
    char name[32];
    (void)state;
    open_world(&world, 1000);
    take(&world, "mine", "order", NOT_TOLD);
    for (unsigned i = 1; i < room; i++) {
        (void)snprintf(name, sizeof name, "junk-%u", i);
        fakes_advance(&world.fakes, SECOND);
        take(&world, name, name, SONDE__SAGA_COMPLETED);
    }
    take(&world, "late-0", "refund", NOT_TOLD); /* all of them are in the table yet */
    assert_int_equal(type_named(&world, SONDE__SAGA_OTHER)->kept[SONDE__SAGA_ACTIVE], 1);
    (void)age(&world, TIMEOUT_NS, 1000);
    counts_are(&world, 0, 2, 0);
    take(&world, "late-1", "refund", SONDE__SAGA_FAILED);
    const struct sonde__saga_type *refund = type_named(&world, "refund");
    assert_ptr_equal(refund, sonde__saga_table_type(world.table, 3)); /* junk-1 was quiet for longest */
    assert_int_equal(refund->ended[SONDE__SAGA_COMPLETED], 0);
    assert_int_equal(refund->ended[SONDE__SAGA_FAILED], 1);
    assert_true(refund->start_unix_ns == world.fakes.unix_ns);
    (void)type_named(&world, "junk-2");
    for (unsigned i = 0; i < 2 * room; i++) { /* what is used stays; those without room are counted together */
        (void)snprintf(name, sizeof name, "flood-%u", i);
        take(&world, name, name, NOT_TOLD);
    }
    (void)type_named(&world, "refund");
    assert_int_equal(type_named(&world, "order")->kept[SONDE__SAGA_STUCK], 1);
    assert_int_equal(type_named(&world, SONDE__SAGA_OTHER)->kept[SONDE__SAGA_ACTIVE], 2 * room - (room - 2));
    assert_null(sonde__saga_table_type(world.table, SONDE__SAGA_TYPES_MAX));
    assert_int_equal(sonde__saga_table_ended(world.table, SONDE__SAGA_COMPLETED), room - 1);
    assert_int_equal(sonde__saga_table_ended(world.table, SONDE__SAGA_FAILED), 1);
    close_world(&world);
}

static void saga_type_may_be_told_later(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 100);
    take(&world, "a", "", NOT_TOLD);
    assert_int_equal(type_named(&world, SONDE__SAGA_UNKNOWN)->kept[SONDE__SAGA_ACTIVE], 1);
    take(&world, "a", "order", NOT_TOLD);
    assert_int_equal(type_named(&world, SONDE__SAGA_UNKNOWN)->kept[SONDE__SAGA_ACTIVE], 0);
    assert_int_equal(type_named(&world, "order")->kept[SONDE__SAGA_ACTIVE], 1);
    take(&world, "a", "refund", NOT_TOLD); /* the first one counts */
    assert_int_equal(type_named(&world, "order")->kept[SONDE__SAGA_ACTIVE], 1);
    close_world(&world);
}

static void step_that_is_told_twice_counts_once(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 100);
    step(&world, "a", "order", "charge", 1);
    step(&world, "a", "order", "charge", 1);
    step(&world, "a", "order", "charge", 2);
    step(&world, "b", "order", "charge", 1); /* of another saga */
    for (int again = 0; again < 2;
         again++) /* the spans come when all events have come, of as many as libsonde remembers */
        for (uint64_t key = 1; key <= 16; key++)
            step(&world, "c", "order", "reserve", key);
    assert_int_equal(type_named(&world, "order")->steps[2].count[SONDE__SAGA_FORWARD], 16);
    const struct sonde__saga_step *charge = &type_named(&world, "order")->steps[1];
    assert_string_equal(charge->name, "charge");
    assert_int_equal(charge->count[SONDE__SAGA_FORWARD], 3);
    assert_int_equal(charge->time_ns[SONDE__SAGA_FORWARD], 3 * SECOND);
    close_world(&world);
}

static void oldest_saga_is_the_one_whose_first_span_began_first(void **state) {
    struct world world;
    (void)state;
    open_world(&world, 100);
    struct sonde__saga_event event = {.id = bytes_of("a"), .type = bytes_of("order"), .outcome = NOT_TOLD};
    event.start_unix_ns = world.fakes.unix_ns - 50 * SECOND;
    take_event(&world, &event);
    event.start_unix_ns = world.fakes.unix_ns - 90 * SECOND; /* its begin comes later */
    take_event(&world, &event);
    event.id = bytes_of("b");
    event.start_unix_ns = 1; /* nobody believes that */
    take_event(&world, &event);
    event.id = bytes_of("c");
    event.start_unix_ns = UINT64_MAX;
    take_event(&world, &event);
    sonde__saga_table_oldest(world.table);
    assert_true(type_named(&world, "order")->oldest_unix_ns == world.fakes.unix_ns - 90 * SECOND);
    take(&world, "a", "order", SONDE__SAGA_COMPLETED);
    sonde__saga_table_oldest(world.table);
    assert_true(type_named(&world, "order")->oldest_unix_ns == world.fakes.unix_ns);
    close_world(&world);
}

static void saga_table_bears_to_be_out_of_memory(void **state) {
    struct world world;
    char id[16];
    (void)state;
    for (int64_t allowed = 0; allowed < 8; allowed++) {
        open_world(&world, 5000);
        world.fakes.allocations_until_failure = allowed;
        for (int i = 0; i < 3000; i++) {
            (void)snprintf(id, sizeof id, "%d", i);
            take(&world, id, "order", NOT_TOLD);
        }
        uint32_t kept = sonde__saga_table_count(world.table, SONDE__SAGA_ACTIVE);
        assert_int_equal(kept + lost(&world, SONDE__SAGA_LOST_NO_MEMORY), 3000);
        world.fakes.allocations_until_failure = -1;
        take(&world, "after", "order", NOT_TOLD);
        assert_true(has(&world, "after"));
        close_world(&world);
    }
}

/* ---- the processor ---- */

struct sonde_sagas_config { /* as in sagas.c, by its rows */
    uint64_t timeout_ns, forget_ns;
    int64_t sagas_max;
    bool sees_all;
};
struct stage {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_loop *loop;
    struct sonde_timer *stop;
    struct sonde_queue *queue;
    struct sonde_ledger *ledger;
    struct sonde_series_store *store;
    struct sonde_series_source *source;
    uint32_t cursor;
    void *self;
    char text[200];
};
extern const struct sonde_processor_ops sonde_processor_sagas;

static void on_stop(void *user) {
    sonde_loop_stop(user);
}
static void open_stage(struct stage *stage, const struct sonde_sagas_config *config, uint64_t queue_size) {
    memset(stage, 0, sizeof *stage);
    fakes_init(&stage->fakes);
    stage->seams = fakes_seams(&stage->fakes);
    const struct sonde_queue_options options = {.size_max = queue_size};
    assert_int_equal(sonde_loop_create(&stage->loop), 0);
    assert_int_equal(sonde_timer_create(stage->loop, on_stop, stage->loop, &stage->stop), 0);
    assert_int_equal(sonde_queue_create(&options, &stage->seams, &stage->queue), 0);
    assert_int_equal(sonde_queue_cursor_create(stage->queue, 1u << SONDE_SIGNAL_LOGS, &stage->cursor), 0);
    stage->ledger = calloc(1, sizeof *stage->ledger);
    assert_non_null(stage->ledger);
    sonde_ledger_init(stage->ledger);
    assert_int_equal(sonde_series_store_create(&stage->seams, &stage->store), 0);
    assert_int_equal(sonde_series_source_create(stage->store, (struct sonde_bytes){0}, &stage->source), 0);
    const struct sonde_processor_env env = {.name = "sagas",
                                            .loop = stage->loop,
                                            .seams = &stage->seams,
                                            .queue = stage->queue,
                                            .ledger = stage->ledger,
                                            .series = stage->store,
                                            .source = stage->source};
    assert_int_equal(sonde_processor_sagas.config_size, sizeof *config);
    assert_int_equal(sonde_processor_sagas.create(config, &env, &stage->self, stage->text, sizeof stage->text), 0);
}
static void close_stage(struct stage *stage) {
    sonde_processor_sagas.destroy(stage->self);
    sonde_series_source_destroy(stage->source);
    sonde_series_store_destroy(stage->store);
    sonde_queue_destroy(stage->queue);
    sonde_timer_destroy(stage->stop);
    sonde_loop_destroy(stage->loop);
    free(stage->ledger);
    assert_int_equal(stage->fakes.live, 0);
}
/* The loop's own clock is far ahead of the fake one: what a timer waits for is due at once. */
static void let_timers_run(struct stage *stage) {
    const struct sonde_time *time = &sonde_loop_seams(stage->loop)->time;
    sonde_timer_set(stage->stop, time->monotonic_ns(time->self) + SECOND / 20);
    sonde_loop_run(stage->loop);
}
static void show_step(struct stage *stage, const char *id, const char *name, uint64_t span) {
    struct record record;
    span_begin(&record, span, stage->fakes.unix_ns - 4 * SECOND, stage->fakes.unix_ns - 2 * SECOND);
    step_add(&record, id, name, (int64_t)span, "forward");
    sonde_processor_sagas.record(stage->self, SONDE_SIGNAL_TRACES, body_of(&record));
}
static void show_end_of(struct stage *stage, const char *id, const char *type, const char *outcome) {
    struct record record;
    span_begin(&record, 99, stage->fakes.unix_ns, stage->fakes.unix_ns);
    text_add(&record, "sonde.saga.id", id);
    text_add(&record, "sonde.saga.type", type);
    text_add(&record, "sonde.saga.outcome", outcome);
    sonde_processor_sagas.record(stage->self, SONDE_SIGNAL_TRACES, body_of(&record));
}
static void show_end(struct stage *stage, const char *id, const char *outcome) {
    show_end_of(stage, id, "order", outcome);
}
static uint64_t figure(const struct stage *stage, const char *name) {
    struct sonde_processor_figure figures[SONDE_PROCESSOR_FIGURES_MAX];
    size_t count = sonde_processor_sagas.figures(stage->self, figures);
    for (size_t i = 0; i < count; i++)
        if (strcmp(figures[i].name, name) == 0)
            return figures[i].value;
    fail_msg("no figure %s", name);
    return 0;
}

/* The value of a series, by the bytes of its attributes: every text has to be in them. -1 = no such series. */
static double series(struct stage *stage, const char *name, const char *text, const char *other) {
    struct sonde_metric_feed feed = sonde_series_feed(stage->store);
    struct sonde_metric_cursor at = {0};
    struct sonde_metric metric;
    struct sonde_metric_point point;
    while (feed.next_metric(feed.self, &at, &metric)) {
        uint32_t number = 0;
        if (metric.name.size != strlen(name) || memcmp(metric.name.data, name, metric.name.size) != 0)
            continue;
        while (feed.next_point(feed.self, &metric, &number, &point))
            if (memmem(point.attributes.data, point.attributes.size, text, strlen(text)) &&
                memmem(point.attributes.data, point.attributes.size, other, strlen(other)))
                return metric.is_double ? point.float64 : (double)point.int64;
    }
    return -1;
}

static const struct sonde_sagas_config usual = {300 * SECOND, 3600 * SECOND, 1000, true};

static void sagas_are_series_by_type_and_never_by_id(void **state) {
    struct stage stage;
    (void)state;
    open_stage(&stage, &usual, 1 << 20);
    show_step(&stage, "saga-one", "reserve", 1);
    show_step(&stage, "saga-two", "reserve", 1);
    show_step(&stage, "saga-two", "charge", 2);
    show_end(&stage, "saga-two", "completed");
    sonde_series_refresh(stage.store);
    assert_int_equal(series(&stage, "sonde.saga.active", "order", "sonde.saga.type"), 1);
    assert_int_equal(series(&stage, "sonde.saga.stuck", "order", "sonde.saga.type"), 0);
    assert_int_equal(series(&stage, "sonde.saga.oldest.age", "order", "sonde.saga.type"), 4);
    assert_int_equal(series(&stage, "sonde.saga.assembled", "order", "completed"), 1);
    assert_int_equal(series(&stage, "sonde.saga.assembled", "order", "failed"), 0);
    assert_int_equal(series(&stage, "sonde.saga.assembled.steps", "reserve", "forward"), 2);
    assert_int_equal(series(&stage, "sonde.saga.assembled.step.time", "reserve", "forward"), 4);
    assert_int_equal(series(&stage, "sonde.saga.lost", "full", "reason"), 0);
    assert_int_equal(series(&stage, "sonde.saga.active", "saga-one", ""), -1);
    assert_int_equal(series(&stage, "sonde.saga.active", SONDE__SAGA_UNKNOWN, ""), -1); /* none of those was seen */
    show_end(&stage, "saga-one", "failed");
    sonde_series_refresh(stage.store);
    assert_int_equal(series(&stage, "sonde.saga.active", "order", "sonde.saga.type"), 0);
    assert_int_equal(series(&stage, "sonde.saga.oldest.age", "order", ""), -1); /* absent, not 0 */
    assert_int_equal(series(&stage, "sonde.saga.assembled", "order", "failed"), 1);
    close_stage(&stage);
}

static void series_of_a_type_go_when_another_takes_its_place(void **state) {
    struct stage stage;
    char name[32];
    (void)state;
    open_stage(&stage, &usual, 1 << 20);
    show_end_of(&stage, "first", "quiet", "completed");
    fakes_advance(&stage.fakes, SECOND);
    for (unsigned i = 1; i < SONDE__SAGA_TYPES_MAX - 2; i++) {
        (void)snprintf(name, sizeof name, "type-%u", i);
        show_end_of(&stage, name, name, "completed");
    }
    sonde_series_refresh(stage.store);
    assert_int_equal(series(&stage, "sonde.saga.assembled", "quiet", "completed"), 1);
    fakes_advance(&stage.fakes, 301 * SECOND);
    let_timers_run(&stage);
    show_end_of(&stage, "second", "loud", "failed");
    sonde_series_refresh(stage.store);
    assert_int_equal(series(&stage, "sonde.saga.assembled", "quiet", ""), -1);
    assert_int_equal(series(&stage, "sonde.saga.assembled", "loud", "failed"), 1);
    assert_int_equal(figure(&stage, "completed"), SONDE__SAGA_TYPES_MAX - 2); /* what was counted stays counted */
    close_stage(&stage);
}

static void text_is(const Pb__LogRecord *log, const char *key, const char *value) {
    for (size_t i = 0; i < log->n_attributes; i++) {
        if (strcmp(log->attributes[i]->key, key) != 0)
            continue;
        assert_string_equal(log->attributes[i]->value->string_value, value);
        return;
    }
    fail_msg("no %s", key);
}

static void stuck_saga_is_told_in_a_log_record_that_the_ledger_has(void **state) {
    struct stage stage;
    struct sonde_record_view view;
    (void)state;
    open_stage(&stage, &usual, 1 << 20);
    show_step(&stage, "saga-one", "reserve", 1);
    show_step(&stage, "saga-one", "charge", 2);
    fakes_advance(&stage.fakes, 299 * SECOND);
    let_timers_run(&stage);
    assert_int_equal(figure(&stage, "stuck"), 0);
    fakes_advance(&stage.fakes, SECOND);
    let_timers_run(&stage);
    assert_int_equal(figure(&stage, "stuck"), 1);
    assert_int_equal(figure(&stage, "active"), 0);
    struct sonde_record_log log = sonde_queue_log(stage.queue);
    assert_true(log.next(log.self, stage.cursor, 0, &view));
    assert_int_equal(view.signal, SONDE_SIGNAL_LOGS);
    assert_int_equal(view.count, 1);
    assert_int_equal(view.data.data[0], 0x12);
    size_t head = view.data.data[1] < 0x80 ? 2 : 3;
    assert_true(sonde__log_is_valid(view.data.data + head, view.data.size - head));
    Pb__LogRecord *record = pb__log_record__unpack(NULL, view.data.size - head, view.data.data + head);
    assert_non_null(record);
    assert_string_equal(record->event_name, "sonde.saga.stuck");
    assert_int_equal(record->severity_number, SONDE_SEVERITY_WARN);
    assert_int_equal(record->trace_id.data[0], 1);
    assert_int_equal(record->span_id.data[0], 2); /* its last step */
    text_is(record, "sonde.saga.id", "saga-one");
    text_is(record, "sonde.saga.type", "order");
    text_is(record, "sonde.saga.step", "charge");
    pb__log_record__free_unpacked(record, NULL);
    assert_int_equal(stage.ledger->intake[SONDE_SIGNAL_LOGS].appended, 1);
    let_timers_run(&stage); /* told once */
    assert_int_equal(stage.ledger->intake[SONDE_SIGNAL_LOGS].received, 1);
    close_stage(&stage);
}

static void agent_of_a_node_counts_ends_and_calls_no_saga_stuck(void **state) {
    static const struct sonde_sagas_config config = {300 * SECOND, 3600 * SECOND, 1000, false};
    struct stage stage;
    struct sonde_record_view view;
    (void)state;
    open_stage(&stage, &config, 1 << 20);
    show_step(&stage, "goes-on-elsewhere", "reserve", 1);
    show_step(&stage, "ends-here", "charge", 2);
    show_end(&stage, "ends-here", "completed");
    fakes_advance(&stage.fakes, 300 * SECOND);
    for (int i = 0; i < 200 && figure(&stage, "active") + figure(&stage, "stuck") > 0; i++) {
        fakes_advance(&stage.fakes, SECOND);
        let_timers_run(&stage);
    }
    assert_int_equal(figure(&stage, "active") + figure(&stage, "stuck") + figure(&stage, "lost"), 0);
    struct sonde_record_log log = sonde_queue_log(stage.queue);
    assert_false(log.next(log.self, stage.cursor, 0, &view));
    assert_int_equal(stage.ledger->intake[SONDE_SIGNAL_LOGS].received, 0);
    sonde_series_refresh(stage.store);
    assert_int_equal(series(&stage, "sonde.saga.assembled", "order", "completed"), 1);
    assert_int_equal(series(&stage, "sonde.saga.assembled.steps", "reserve", "forward"), 1);
    assert_int_equal(series(&stage, "sonde.saga.active", "", ""), -1);
    assert_int_equal(series(&stage, "sonde.saga.stuck", "", ""), -1);
    assert_int_equal(series(&stage, "sonde.saga.lost", "expired", ""), -1);
    assert_int_equal(series(&stage, "sonde.saga.lost", "full", ""), 0);
    close_stage(&stage);
}

static void many_that_get_stuck_at_once_are_all_told(void **state) {
    struct stage stage;
    char id[16];
    (void)state;
    open_stage(&stage, &usual, 4 << 20);
    for (int i = 0; i < 700; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        show_step(&stage, id, "reserve", 1);
    }
    fakes_advance(&stage.fakes, 300 * SECOND);
    for (int i = 0; i < 200 && figure(&stage, "stuck") < 700; i++) {
        fakes_advance(&stage.fakes, SECOND);
        let_timers_run(&stage);
    }
    assert_int_equal(figure(&stage, "stuck"), 700);
    assert_int_equal(stage.ledger->intake[SONDE_SIGNAL_LOGS].appended, 700);
    close_stage(&stage);
}

static void stuck_saga_that_the_queue_has_no_room_for_is_counted_as_dropped(void **state) {
    struct stage stage;
    (void)state;
    open_stage(&stage, &usual, 1);
    show_step(&stage, "saga-one", "reserve", 1);
    fakes_advance(&stage.fakes, 300 * SECOND);
    let_timers_run(&stage);
    assert_int_equal(figure(&stage, "stuck"), 1);
    assert_int_equal(stage.ledger->intake[SONDE_SIGNAL_LOGS].dropped[SONDE_INTAKE_NO_MEMORY], 1);
    close_stage(&stage);
}

static void sagas_refuse_to_forget_before_they_are_stuck(void **state) {
    const struct sonde_sagas_config config = {SECOND, SECOND, 10, true};
    struct fakes fakes;
    char text[200] = "";
    void *self;
    (void)state;
    fakes_init(&fakes);
    struct sonde_seams seams = fakes_seams(&fakes);
    const struct sonde_processor_env env = {.seams = &seams};
    assert_int_equal(sonde_processor_sagas.create(&config, &env, &self, text, sizeof text), SONDE_EINVALID);
    assert_non_null(strstr(text, "forget_after"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saga_read_takes_a_step_of_a_span_and_of_its_event_as_one),
        cmocka_unit_test(saga_read_tells_attempts_apart_by_their_spans_when_nothing_numbers_them),
        cmocka_unit_test(saga_read_takes_the_outcome_of_the_end),
        cmocka_unit_test(saga_read_passes_over_what_tells_of_no_saga),
        cmocka_unit_test(saga_read_bounds_durations_that_cannot_be),
        cmocka_unit_test(records_with_names_of_our_own_are_noticed_in_any_shape),
        cmocka_unit_test(saga_ends_once_and_is_not_begun_anew_by_late_records),
        cmocka_unit_test(saga_is_stuck_after_the_timeout_and_no_longer_when_something_happens),
        cmocka_unit_test(saga_that_nobody_waits_for_any_more_is_lost_and_counted),
        cmocka_unit_test(saga_table_ages_a_few_at_a_time),
        cmocka_unit_test(full_saga_table_lets_the_ended_go_then_the_stuck_then_the_oldest),
        cmocka_unit_test(saga_table_finds_each_of_many),
        cmocka_unit_test(saga_table_refuses_ids_that_cannot_be),
        cmocka_unit_test(saga_types_and_steps_are_bounded),
        cmocka_unit_test(saga_type_takes_the_place_of_one_that_is_not_used),
        cmocka_unit_test(saga_type_may_be_told_later),
        cmocka_unit_test(step_that_is_told_twice_counts_once),
        cmocka_unit_test(oldest_saga_is_the_one_whose_first_span_began_first),
        cmocka_unit_test(saga_table_bears_to_be_out_of_memory),
        cmocka_unit_test(sagas_are_series_by_type_and_never_by_id),
        cmocka_unit_test(series_of_a_type_go_when_another_takes_its_place),
        cmocka_unit_test(stuck_saga_is_told_in_a_log_record_that_the_ledger_has),
        cmocka_unit_test(agent_of_a_node_counts_ends_and_calls_no_saga_stuck),
        cmocka_unit_test(many_that_get_stuck_at_once_are_all_told),
        cmocka_unit_test(stuck_saga_that_the_queue_has_no_room_for_is_counted_as_dropped),
        cmocka_unit_test(sagas_refuse_to_forget_before_they_are_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
