/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/reader.h"
#include "tests/lib/peer_fake.h"
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static uint8_t buffer[SONDE__RING_CHUNK_SIZE];

struct fixture {
    struct peer_fake peer;
    struct sonde__region *region;
    struct sonde__ring_reader reader;
    uint64_t seq, next;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || !peer_fake_init(&f->peer))
        return -1;
    peer_fake_attach(&f->peer, 0);
    f->region = peer_fake_region(&f->peer, 0);
    *state = f;
    return sonde__ring_reader_init(&f->reader, f->region, f->peer.threads_fd, SONDE__RINGS_AT, SONDE__RING_SIZE);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    peer_fake_deinit(&f->peer);
    free(f);
    return 0;
}

static bool write_one(struct fixture *f) {
    uint8_t body[256];
    uint32_t size = peer_fake_span(body, f->seq);
    if (!peer_fake_commit(&f->peer, 0, SONDE__RECORD_SPAN, 0, body, size))
        return false;
    f->seq++;
    return true;
}

/* Reads one chunk; every record must be the next in order. Returns how many there were. */
static unsigned read_chunk(struct fixture *f) {
    struct sonde__ring_chunk chunk;
    struct sonde__ring_record record;
    unsigned count = 0;
    assert_int_equal(sonde__ring_fetch(&f->reader, buffer, sizeof buffer, &chunk), 0);
    enum sonde__ring_step step;
    while ((step = sonde__ring_next(&chunk, &record)) == SONDE__RING_RECORD) {
        assert_int_equal(peer_fake_seq(record.body, record.size, false), (int64_t)f->next++);
        count++;
    }
    assert_int_equal(step, SONDE__RING_END);
    sonde__ring_advance(&f->reader, &chunk);
    return count;
}

static void ring_reader_reads_every_record_once_over_many_laps(void **state) {
    struct fixture *f = *state;
    for (int round = 0; round < 40; round++) {
        while (write_one(f)) { /* until the ring is full */
        }
        while (read_chunk(f) > 0) {
        }
        assert_int_equal(f->next, f->seq);
        sonde__ring_release(&f->reader, f->reader.read);
    }
    assert_true(f->reader.read > 30u * SONDE__RING_SIZE);
}

static void ring_reader_leaves_a_cut_record_for_the_next_fetch(void **state) {
    struct fixture *f = *state;
    while (write_one(f)) {
    }
    unsigned first = read_chunk(f);
    assert_true(first > 0);
    assert_true(f->reader.read <= sizeof buffer && f->reader.read > sizeof buffer - 256);
    assert_true(read_chunk(f) > 0);
}

static void ring_reader_follows_a_rewind(void **state) {
    struct fixture *f = *state;
    for (int lap = 0; lap < 5; lap++) {
        for (int i = 0; i < 20; i++)
            assert_true(write_one(f));
        assert_int_equal(read_chunk(f), 20);
        sonde__ring_release(&f->reader, f->reader.read);
        uint64_t head = (atomic_load(&f->region->head) | (SONDE__RING_SIZE - 1)) + 1;
        atomic_store(&f->region->base, head);
        if (lap % 2) { /* between the producer's two stores nothing may be read or lost */
            assert_int_equal(sonde__ring_pending(&f->reader), 0);
            assert_int_equal(read_chunk(f), 0);
        }
        atomic_store(&f->region->head, head);
    }
    assert_int_equal(f->next, 100);
}

static void ring_reader_starts_at_tail_after_a_restart(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++)
        assert_true(write_one(f));
    assert_int_equal(read_chunk(f), 10);
    sonde__ring_release(&f->reader, f->reader.read);
    for (int i = 0; i < 5; i++)
        assert_true(write_one(f));
    assert_int_equal(read_chunk(f), 5); /* read, but never released */
    f->next -= 5;
    assert_int_equal(
        sonde__ring_reader_init(&f->reader, f->region, f->peer.threads_fd, SONDE__RINGS_AT, SONDE__RING_SIZE), 0);
    assert_int_equal(read_chunk(f), 5);
}

static void ring_reader_refuses_positions_that_lie(void **state) {
    struct fixture *f = *state;
    static const struct {
        uint64_t head, base;
    } lies[] = {{UINT64_MAX, 0},          {SONDE__RING_SIZE + 8, 0}, {13, 0}, {64, 128}, {0, UINT64_MAX},
                {UINT64_MAX, UINT64_MAX}, {UINT64_MAX - 7, 1u << 30}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct sonde__ring_chunk chunk;
        f->reader.read = f->reader.tail = 0;
        atomic_store(&f->region->head, lies[i].head);
        atomic_store(&f->region->base, lies[i].base);
        int result = sonde__ring_fetch(&f->reader, buffer, sizeof buffer, &chunk);
        assert_true(result == SONDE_EMALFORMED || chunk.size == 0);
        assert_int_equal(f->reader.read % 8, 0);
    }
}

static void ring_reader_passes_over_bad_records(void **state) {
    struct fixture *f = *state;
    struct sonde__ring_chunk chunk;
    struct sonde__ring_record record;
    assert_true(write_one(f));
    assert_true(peer_fake_commit(&f->peer, 0, SONDE__RECORD_SPAN, 0, "not a span", 10));
    assert_true(peer_fake_commit(&f->peer, 0, 77, 0, "what kind?", 10));
    assert_true(write_one(f));
    assert_int_equal(sonde__ring_fetch(&f->reader, buffer, sizeof buffer, &chunk), 0);
    assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_RECORD);
    assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_BAD_RECORD);
    assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_BAD_RECORD);
    assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_RECORD);
    assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_END);
}

static void ring_reader_gives_up_to_head_when_a_length_cannot_be(void **state) {
    struct fixture *f = *state;
    uint32_t *length = (void *)(f->peer.threads + SONDE__RINGS_AT);
    static const uint32_t lies[] = {0, SONDE__RECORD_BODY_MAX + 1, 5000, UINT32_MAX};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct sonde__ring_chunk chunk;
        struct sonde__ring_record record;
        f->reader.read = f->reader.tail = 0;
        atomic_store(&f->region->head, 0);
        for (int n = 0; n < 4; n++)
            assert_true(write_one(f));
        *length = lies[i];
        assert_int_equal(sonde__ring_fetch(&f->reader, buffer, sizeof buffer, &chunk), 0);
        assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_LOST);
        assert_int_equal(sonde__ring_next(&chunk, &record), SONDE__RING_END);
        sonde__ring_advance(&f->reader, &chunk);
        assert_int_equal(f->reader.read, atomic_load(&f->region->head));
    }
}

static void ring_release_returns_pages_of_a_burst_and_nothing_else(void **state) {
    struct fixture *f = *state;
    struct stat before, after;
    while (write_one(f)) {
    }
    while (read_chunk(f) > 0) {
    }
    assert_int_equal(fstat(f->peer.threads_fd, &before), 0);
    uint64_t half = f->reader.read / 2 & ~UINT64_C(7);
    sonde__ring_release(&f->reader, half); /* more lies behind it: kept */
    assert_int_equal(fstat(f->peer.threads_fd, &after), 0);
    assert_int_equal(after.st_blocks, before.st_blocks);
    sonde__ring_release(&f->reader, f->reader.read);
    assert_int_equal(fstat(f->peer.threads_fd, &after), 0);
    assert_true(after.st_blocks < before.st_blocks - 800); /* about half of 1 MiB, in blocks of 512 */
    for (int i = 0; i < 1000; i++)
        assert_true(write_one(f));
    assert_int_equal(read_chunk(f), 1000);
}

static void drops_take_counts_each_once_and_refuses_lies(void **state) {
    (void)state;
    struct sonde__drops drops = {0};
    uint64_t taken[SONDE__SIGNALS][SONDE__DROP_REASONS] = {0}, fresh[SONDE__SIGNALS][SONDE__DROP_REASONS];
    atomic_store(&drops.count[1][2], 7);
    assert_int_equal(sonde__drops_take(&drops, taken, fresh), 0);
    assert_int_equal(fresh[1][2], 7);
    assert_int_equal(sonde__drops_take(&drops, taken, fresh), 0);
    assert_int_equal(fresh[1][2], 0);
    atomic_store(&drops.count[1][2], 3);
    assert_int_equal(sonde__drops_take(&drops, taken, fresh), SONDE_EMALFORMED);
    assert_int_equal(fresh[1][2], 0);
    atomic_store(&drops.count[1][2], UINT64_MAX);
    assert_int_equal(sonde__drops_take(&drops, taken, fresh), SONDE_EMALFORMED);
    assert_int_equal(taken[1][2], 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ring_reader_reads_every_record_once_over_many_laps, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_reader_leaves_a_cut_record_for_the_next_fetch, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_reader_follows_a_rewind, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_reader_starts_at_tail_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_reader_refuses_positions_that_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_reader_passes_over_bad_records, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_reader_gives_up_to_head_when_a_length_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_release_returns_pages_of_a_burst_and_nothing_else, setup, teardown),
        cmocka_unit_test(drops_take_counts_each_once_and_refuses_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
