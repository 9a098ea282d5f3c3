/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/queue/queue.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

#define TRACES  (1u << SONDE_SIGNAL_TRACES)
#define LOGS    (1u << SONDE_SIGNAL_LOGS)
#define METRICS (1u << SONDE_SIGNAL_METRICS)

struct world {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_queue *queue;
    uint32_t resource, scope;
    uint64_t released, released_calls, appended_calls;
};

static void on_released(void *user, uint64_t sequence) {
    struct world *world = user;
    world->released = sequence;
    world->released_calls++;
}
static void on_appended(void *user, enum sonde_signal signal) {
    (void)signal;
    ((struct world *)user)->appended_calls++;
}
static struct sonde_bytes text(const char *string) {
    return (struct sonde_bytes){(const uint8_t *)string, strlen(string)};
}
static void open_world(struct world *world, uint64_t size_max) {
    memset(world, 0, sizeof *world);
    fakes_init(&world->fakes);
    world->seams = fakes_seams(&world->fakes);
    struct sonde_queue_options options = {
        .size_max = size_max, .released = on_released, .appended = on_appended, .user = world};
    assert_int_equal(sonde_queue_create(&options, &world->seams, &world->queue), 0);
    assert_int_equal(sonde_queue_resource(world->queue, text("resource"), 1000, &world->resource), 0);
    assert_int_equal(sonde_queue_scope(world->queue, text("scope"), text("schema"), &world->scope), 0);
}
static void close_world(struct world *world) {
    sonde_queue_destroy(world->queue);
    assert_int_equal(world->fakes.live, 0);
}
static uint64_t append(struct world *world, enum sonde_signal signal, uint32_t count, const char *data) {
    uint64_t sequence = 0;
    assert_int_equal(
        sonde_queue_append(world->queue, signal, world->resource, world->scope, count, text(data), &sequence), 0);
    return sequence;
}

static void record_carries_its_resource_and_scope(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    uint32_t cursor;
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES, &cursor), 0);
    uint64_t sequence = append(&world, SONDE_SIGNAL_TRACES, 3, "spans");
    struct sonde_record_log log = sonde_queue_log(world.queue);
    struct sonde_record_view view;
    assert_true(log.next(log.self, cursor, 0, &view));
    assert_int_equal(view.sequence, sequence);
    assert_int_equal(view.count, 3);
    assert_int_equal(view.uid, 1000);
    assert_memory_equal(view.resource.data, "resource", 8);
    assert_int_equal(view.resource.size, 8);
    assert_memory_equal(view.scope.data, "scope", 5);
    assert_memory_equal(view.schema_url.data, "schema", 6);
    assert_memory_equal(view.data.data, "spans", 5);
    assert_int_equal(view.data.size, 5);
    assert_false(log.next(log.self, cursor, sequence, &view));
    close_world(&world);
}

static void cursor_sees_only_signals_of_its_mask(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    uint32_t traces, both;
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES, &traces), 0);
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES | LOGS, &both), 0);
    uint64_t t1 = append(&world, SONDE_SIGNAL_TRACES, 1, "t1"), l1 = append(&world, SONDE_SIGNAL_LOGS, 2, "l1");
    uint64_t m1 = append(&world, SONDE_SIGNAL_METRICS, 1, "m1"), t2 = append(&world, SONDE_SIGNAL_TRACES, 4, "t2");
    assert_true(t1 < l1 && l1 < m1 && m1 < t2);
    struct sonde_record_log log = sonde_queue_log(world.queue);
    struct sonde_record_view view;
    assert_true(log.next(log.self, traces, t1, &view));
    assert_int_equal(view.sequence, t2);
    assert_true(log.next(log.self, both, t1, &view));
    assert_int_equal(view.sequence, l1);
    assert_true(log.next(log.self, both, l1, &view));
    assert_int_equal(view.sequence, t2);
    assert_int_equal(sonde_queue_items(world.queue, traces, SONDE_SIGNAL_TRACES), 5);
    assert_int_equal(sonde_queue_items(world.queue, traces, SONDE_SIGNAL_LOGS), 0);
    assert_int_equal(sonde_queue_items(world.queue, both, SONDE_SIGNAL_LOGS), 2);
    close_world(&world);
}

static void record_is_held_until_every_cursor_released_it(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    uint32_t a, b;
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES, &a), 0);
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES | LOGS, &b), 0);
    uint64_t first = append(&world, SONDE_SIGNAL_TRACES, 1, "one"),
             second = append(&world, SONDE_SIGNAL_LOGS, 1, "two");
    uint64_t third = append(&world, SONDE_SIGNAL_TRACES, 1, "three");
    struct sonde_record_log log = sonde_queue_log(world.queue);
    struct sonde_record_view view;
    log.release(log.self, a, third);
    assert_int_equal(sonde_queue_released(world.queue), 0);
    assert_true(log.next(log.self, b, 0, &view));
    assert_false(log.next(log.self, a, 0, &view));
    log.release(log.self, b, first);
    assert_int_equal(world.released, first);
    log.release(log.self, b, second);
    assert_int_equal(world.released, second);
    log.release(log.self, b, first); /* going back is ignored */
    assert_int_equal(sonde_queue_released(world.queue), second);
    log.release(log.self, b, UINT64_MAX);
    assert_int_equal(world.released, third);
    assert_int_equal(sonde_queue_size(world.queue), 0);
    assert_int_equal(sonde_queue_items(world.queue, b, SONDE_SIGNAL_TRACES), 0);
    close_world(&world);
}

static void record_is_let_go_at_once_when_no_cursor_takes_it(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    uint64_t sequence = append(&world, SONDE_SIGNAL_LOGS, 7, "log");
    assert_int_equal(world.released, sequence);
    assert_int_equal(world.appended_calls, 1);
    assert_int_equal(sonde_queue_size(world.queue), 0);
    assert_int_equal(sonde_queue_appended(world.queue, SONDE_SIGNAL_LOGS), 7);
    uint32_t cursor;
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES, &cursor), 0);
    sequence = append(&world, SONDE_SIGNAL_LOGS, 1, "log");
    assert_int_equal(sonde_queue_released(world.queue), sequence);
    close_world(&world);
}

static void append_refuses_when_full_and_takes_again_after_release(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 4000);
    uint32_t cursor;
    assert_int_equal(sonde_queue_cursor_create(world.queue, METRICS, &cursor), 0);
    static const uint8_t block[1000];
    struct sonde_bytes data = {block, sizeof block};
    uint64_t sequence = 0, appended = 0;
    int error;
    while ((error = sonde_queue_append(world.queue, SONDE_SIGNAL_METRICS, world.resource, world.scope, 1, data,
                                       &sequence)) == 0)
        appended++;
    assert_int_equal(error, SONDE_EFULL);
    assert_int_equal(appended, 3);
    assert_true(sonde_queue_size(world.queue) <= 4000);
    assert_int_equal(sonde_queue_items(world.queue, cursor, SONDE_SIGNAL_METRICS), 3);
    struct sonde_record_log log = sonde_queue_log(world.queue);
    log.release(log.self, cursor, 1);
    assert_int_equal(
        sonde_queue_append(world.queue, SONDE_SIGNAL_METRICS, world.resource, world.scope, 1, data, &sequence), 0);
    close_world(&world);
}

static void resource_over_its_share_waits_in_a_nearly_full_queue(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 4u << 20);
    uint32_t cursor, other;
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES, &cursor), 0);
    assert_int_equal(sonde_queue_resource(world.queue, text("other"), 1000, &other), 0);
    static const uint8_t block[1u << 20];
    struct sonde_bytes data = {block, sizeof block};
    uint64_t sequence = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(sonde_queue_has_share(world.queue, world.resource, 2));
        assert_int_equal(
            sonde_queue_append(world.queue, SONDE_SIGNAL_TRACES, world.resource, world.scope, 1, data, &sequence), 0);
    }
    assert_false(sonde_queue_has_share(world.queue, world.resource, 2));
    assert_true(sonde_queue_has_share(world.queue, world.resource, 1)); /* nobody to share with */
    assert_true(sonde_queue_has_share(world.queue, other, 2));
    struct sonde_record_log log = sonde_queue_log(world.queue);
    log.release(log.self, cursor, 1);
    assert_true(sonde_queue_has_share(world.queue, world.resource, 2));
    close_world(&world);
}

static void append_refuses_what_is_too_big_or_names_nothing(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 64 << 20);
    static const uint8_t block[SONDE_QUEUE_RECORD_SIZE_MAX + 1];
    uint64_t sequence = 77;
    assert_int_equal(sonde_queue_append(world.queue, SONDE_SIGNAL_TRACES, world.resource, world.scope, 1,
                                        (struct sonde_bytes){block, sizeof block}, &sequence),
                     SONDE_ETOOBIG);
    assert_int_equal(sonde_queue_append(world.queue, SONDE_SIGNAL_TRACES, 99, world.scope, 1, text("x"), &sequence),
                     SONDE_EINVALID);
    assert_int_equal(sequence, 77);
    close_world(&world);
}

static void resource_is_kept_once_and_goes_with_its_last_record(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    uint32_t cursor, again, other_user, reused;
    assert_int_equal(sonde_queue_cursor_create(world.queue, TRACES, &cursor), 0);
    assert_int_equal(sonde_queue_resource(world.queue, text("resource"), 1000, &again), 0);
    assert_int_equal(again, world.resource);
    assert_int_equal(sonde_queue_resource(world.queue, text("resource"), 1001, &other_user), 0);
    assert_int_not_equal(other_user, world.resource);
    uint64_t sequence = append(&world, SONDE_SIGNAL_TRACES, 1, "span");
    sonde_queue_resource_unref(world.queue, world.resource);
    sonde_queue_resource_unref(world.queue, world.resource);
    struct sonde_record_log log = sonde_queue_log(world.queue);
    struct sonde_record_view view;
    assert_true(log.next(log.self, cursor, 0, &view));
    assert_memory_equal(view.resource.data, "resource", 8);
    log.release(log.self, cursor, sequence);
    uint64_t ignored;
    assert_int_equal(
        sonde_queue_append(world.queue, SONDE_SIGNAL_TRACES, world.resource, world.scope, 1, text("x"), &ignored),
        SONDE_EINVALID);
    assert_int_equal(sonde_queue_resource(world.queue, text("new"), 0, &reused), 0);
    assert_int_equal(reused, world.resource); /* the slot is used again */
    close_world(&world);
}

static void many_resources_are_found_again(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    uint32_t ids[500];
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 500; i++) {
            uint32_t id;
            assert_int_equal(
                sonde_queue_resource(world.queue, (struct sonde_bytes){(const uint8_t *)&i, sizeof i}, 0, &id), 0);
            if (round == 0)
                ids[i] = id;
            assert_int_equal(id, ids[i]);
        }
    for (uint32_t i = 0; i < 500; i += 2) {
        sonde_queue_resource_unref(world.queue, ids[i]);
        sonde_queue_resource_unref(world.queue, ids[i]);
    }
    for (uint32_t i = 1; i < 500; i += 2) {
        uint32_t id;
        assert_int_equal(sonde_queue_resource(world.queue, (struct sonde_bytes){(const uint8_t *)&i, sizeof i}, 0, &id),
                         0);
        assert_int_equal(id, ids[i]);
    }
    close_world(&world);
}

static void queue_agrees_with_a_plain_model(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 1 << 20);
    enum { CURSORS = 3, RECORDS = 4000 };
    static const uint32_t masks[CURSORS] = {TRACES, TRACES | LOGS, TRACES | LOGS | METRICS};
    static unsigned char signal_of[RECORDS + 1];
    uint64_t released[CURSORS] = {0}, last = 0;
    uint32_t cursors[CURSORS];
    for (int c = 0; c < CURSORS; c++)
        assert_int_equal(sonde_queue_cursor_create(world.queue, masks[c], &cursors[c]), 0);
    struct sonde_record_log log = sonde_queue_log(world.queue);
    while (last < RECORDS) {
        uint64_t random = world.seams.random.next(world.seams.random.self);
        if (random % 3) {
            unsigned char signal = (unsigned char)((random >> 8) % 3);
            last = append(&world, signal, 1, "data");
            signal_of[last] = signal;
            continue;
        }
        int c = (int)((random >> 8) % CURSORS);
        uint64_t after = last ? (random >> 16) % (last + 1) : 0, want = 0;
        struct sonde_record_view view;
        for (uint64_t s = (after > released[c] ? after : released[c]) + 1; s <= last && !want; s++)
            if (masks[c] & (1u << signal_of[s]))
                want = s;
        bool found = log.next(log.self, cursors[c], after, &view);
        assert_int_equal(found, want != 0);
        if (!found)
            continue;
        assert_int_equal(view.sequence, want);
        released[c] = want;
        log.release(log.self, cursors[c], want);
        for (unsigned signal = 0; signal < SONDE_SIGNAL_COUNT; signal++) {
            uint64_t items = 0;
            for (uint64_t s = released[c] + 1; s <= last; s++)
                items += (masks[c] & (1u << signal)) && signal_of[s] == signal;
            assert_int_equal(sonde_queue_items(world.queue, cursors[c], signal), items);
        }
    }
    for (int c = 0; c < CURSORS; c++)
        log.release(log.self, cursors[c], last);
    assert_int_equal(sonde_queue_size(world.queue), 0);
    assert_int_equal(sonde_queue_released(world.queue), last);
    close_world(&world);
}

/** One life of a queue; returns 0 when nothing failed. Whatever fails, nothing is lost or half done. */
static int life(struct fakes *fakes) {
    struct sonde_seams seams = fakes_seams(fakes);
    struct sonde_queue_options options = {.size_max = 1 << 20};
    struct sonde_queue *queue = NULL;
    int failed = sonde_queue_create(&options, &seams, &queue);
    if (failed)
        return failed;
    uint32_t cursor, resource, scope;
    assert_int_equal(sonde_queue_cursor_create(queue, TRACES | LOGS, &cursor), 0);
    uint64_t appended = 0, sequence;
    for (uint32_t i = 0; i < 100; i++) {
        struct sonde_bytes name = {(const uint8_t *)&i, sizeof i};
        int error = sonde_queue_resource(queue, name, 0, &resource);
        if (!error) {
            error = sonde_queue_scope(queue, name, (struct sonde_bytes){NULL, 0}, &scope);
            if (!error) {
                error = sonde_queue_append(queue, SONDE_SIGNAL_LOGS, resource, scope, 1, name, &sequence);
                appended += !error;
                sonde_queue_scope_unref(queue, scope);
            }
            sonde_queue_resource_unref(queue, resource);
        }
        assert_true(error == 0 || error == -ENOMEM);
        failed = failed ? failed : error;
    }
    assert_int_equal(sonde_queue_items(queue, cursor, SONDE_SIGNAL_LOGS), appended);
    struct sonde_record_log log = sonde_queue_log(queue);
    struct sonde_record_view view;
    uint64_t seen = 0;
    for (uint64_t after = 0; log.next(log.self, cursor, after, &view); after = view.sequence)
        seen++;
    assert_int_equal(seen, appended);
    log.release(log.self, cursor, UINT64_MAX);
    assert_int_equal(sonde_queue_size(queue), 0);
    sonde_queue_destroy(queue);
    return failed;
}

static void queue_survives_every_allocation_failing(void **state) {
    (void)state;
    int64_t failing = 0;
    for (int error = -1; error != 0; failing++) {
        struct fakes fakes;
        fakes_init(&fakes);
        fakes.allocations_until_failure = failing;
        error = life(&fakes);
        assert_int_equal(fakes.live, 0);
        assert_true(failing < 10000);
    }
    assert_true(failing > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_carries_its_resource_and_scope),
        cmocka_unit_test(cursor_sees_only_signals_of_its_mask),
        cmocka_unit_test(record_is_held_until_every_cursor_released_it),
        cmocka_unit_test(record_is_let_go_at_once_when_no_cursor_takes_it),
        cmocka_unit_test(append_refuses_when_full_and_takes_again_after_release),
        cmocka_unit_test(resource_over_its_share_waits_in_a_nearly_full_queue),
        cmocka_unit_test(append_refuses_what_is_too_big_or_names_nothing),
        cmocka_unit_test(resource_is_kept_once_and_goes_with_its_last_record),
        cmocka_unit_test(many_resources_are_found_again),
        cmocka_unit_test(queue_agrees_with_a_plain_model),
        cmocka_unit_test(queue_survives_every_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
