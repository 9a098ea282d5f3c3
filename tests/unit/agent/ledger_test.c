/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/ledger/ledger.h"
#include "tests/lib/fakes.h"
#include <string.h>

#define TRACES (1u << SONDE_SIGNAL_TRACES)

struct world {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_queue *queue;
    struct sonde_ledger ledger;
    struct sonde_export_account account;
    uint32_t cursor, resource, scope;
    char text[256];
};

static void open_world(struct world *world) {
    memset(world, 0, sizeof *world);
    fakes_init(&world->fakes);
    world->seams = fakes_seams(&world->fakes);
    struct sonde_queue_options options = {.size_max = 1 << 20};
    struct sonde_bytes empty = {NULL, 0};
    assert_int_equal(sonde_queue_create(&options, &world->seams, &world->queue), 0);
    assert_int_equal(sonde_queue_resource(world->queue, empty, 0, &world->resource), 0);
    assert_int_equal(sonde_queue_scope(world->queue, empty, empty, &world->scope), 0);
    assert_int_equal(sonde_queue_cursor_create(world->queue, TRACES, &world->cursor), 0);
    sonde_ledger_init(&world->ledger);
    world->account = sonde_ledger_exporter_add(&world->ledger, world->cursor, "otlp_http/one", TRACES);
}
static void close_world(struct world *world) {
    sonde_queue_destroy(world->queue);
    assert_int_equal(world->fakes.live, 0);
}
static uint64_t append(struct world *world, enum sonde_signal signal, uint32_t items) {
    uint64_t sequence;
    assert_int_equal(sonde_queue_append(world->queue, signal, world->resource, world->scope, items,
                                        (struct sonde_bytes){(const uint8_t *)"x", 1}, &sequence),
                     0);
    sonde_ledger_appended(&world->ledger, signal, items);
    return sequence;
}
static bool balances(struct world *world) {
    return sonde_ledger_balances(&world->ledger, world->queue, world->text, sizeof world->text);
}
static const struct sonde_ledger_exporter *traces(struct world *world) {
    return &world->ledger.exporters[world->cursor][SONDE_SIGNAL_TRACES];
}

static void ledger_balances_along_a_delivery(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    assert_true(balances(&world));
    uint64_t sequence = append(&world, SONDE_SIGNAL_TRACES, 10);
    (void)append(&world, SONDE_SIGNAL_LOGS, 5); /* no exporter takes logs */
    assert_true(balances(&world));
    assert_int_equal(sonde_ledger_queued(traces(&world)), 10);
    assert_string_equal(traces(&world)->name, "otlp_http/one");
    world.account.in_flight(world.account.self, SONDE_SIGNAL_TRACES, 10);
    assert_true(balances(&world));
    world.account.in_flight(world.account.self, SONDE_SIGNAL_TRACES, -10);
    world.account.delivered(world.account.self, SONDE_SIGNAL_TRACES, 7);
    world.account.refused(world.account.self, SONDE_SIGNAL_TRACES, 2);
    world.account.dropped(world.account.self, SONDE_SIGNAL_TRACES, SONDE_EXPORT_DROP_REJECTED, 1);
    assert_true(balances(&world)); /* settled, not yet released */
    struct sonde_record_log log = sonde_queue_log(world.queue);
    log.release(log.self, world.cursor, sequence);
    assert_true(balances(&world));
    assert_int_equal(sonde_ledger_queued(traces(&world)), 0);
    close_world(&world);
}

static void ledger_names_what_was_released_unaccounted(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    uint64_t sequence = append(&world, SONDE_SIGNAL_TRACES, 10);
    world.account.delivered(world.account.self, SONDE_SIGNAL_TRACES, 9);
    struct sonde_record_log log = sonde_queue_log(world.queue);
    log.release(log.self, world.cursor, sequence);
    assert_false(balances(&world));
    assert_non_null(strstr(world.text, "otlp_http/one traces"));
    close_world(&world);
}

static void ledger_names_what_was_settled_twice(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    (void)append(&world, SONDE_SIGNAL_TRACES, 3);
    world.account.in_flight(world.account.self, SONDE_SIGNAL_TRACES, 3);
    world.account.delivered(world.account.self, SONDE_SIGNAL_TRACES, 3);
    assert_false(balances(&world));
    assert_non_null(strstr(world.text, "is over appended 3"));
    close_world(&world);
}

static void ledger_sees_negative_in_flight(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    (void)append(&world, SONDE_SIGNAL_TRACES, 3);
    world.account.in_flight(world.account.self, SONDE_SIGNAL_TRACES, -1);
    assert_false(balances(&world));
    close_world(&world);
}

static void ledger_sees_an_append_that_was_not_accounted(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    uint64_t sequence;
    assert_int_equal(sonde_queue_append(world.queue, SONDE_SIGNAL_LOGS, world.resource, world.scope, 4,
                                        (struct sonde_bytes){(const uint8_t *)"x", 1}, &sequence),
                     0);
    assert_false(balances(&world));
    assert_non_null(strstr(world.text, "intake logs"));
    close_world(&world);
}

static void intake_drops_count_as_received(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    sonde_ledger_dropped(&world.ledger, SONDE_SIGNAL_TRACES, SONDE_INTAKE_RING_FULL, 6);
    assert_int_equal(world.ledger.intake[SONDE_SIGNAL_TRACES].received, 6);
    assert_true(balances(&world));
    world.ledger.intake[SONDE_SIGNAL_TRACES].received++;
    assert_false(balances(&world));
    close_world(&world);
}

static void every_reason_has_a_name(void **state) {
    (void)state;
    for (int r = 0; r < SONDE_INTAKE_DROP_COUNT; r++)
        assert_string_not_equal(sonde_intake_drop_name(r), "unknown");
    for (int r = 0; r < SONDE_EXPORT_DROP_COUNT; r++)
        assert_string_not_equal(sonde_export_drop_name(r), "unknown");
    assert_string_equal(sonde_intake_drop_name(SONDE_INTAKE_DROP_COUNT), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ledger_balances_along_a_delivery),
        cmocka_unit_test(ledger_names_what_was_released_unaccounted),
        cmocka_unit_test(ledger_names_what_was_settled_twice),
        cmocka_unit_test(ledger_sees_negative_in_flight),
        cmocka_unit_test(ledger_sees_an_append_that_was_not_accounted),
        cmocka_unit_test(intake_drops_count_as_received),
        cmocka_unit_test(every_reason_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
