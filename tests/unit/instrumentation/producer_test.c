/* SPDX-License-Identifier: Apache-2.0 */
/* The ring from the producer's side, on private memory laid out as a region. */
#include "instrumentation/ring/producer.h"
#include "tests/lib/child.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct sonde__region region;
static uint8_t memory[2 * SONDE__RING_SIZE]; /* not mapped twice: the second half only catches what runs over */
static struct sonde__thread producer;

static int ring_new(void **state) {
    (void)state;
    memset(&region, 0, sizeof region);
    memset(&producer, 0, sizeof producer);
    producer.region = &region;
    producer.ring = memory;
    return 0;
}

static void *commit(uint32_t reserved, uint32_t size) {
    uint8_t *body = sonde__ring_reserve(&producer, reserved);
    if (body)
        (void)sonde__ring_commit(&producer, size, SONDE__RECORD_SPAN, 7, 0, NULL);
    return body;
}

static void record_has_header_and_padding(void **state) {
    (void)state;
    _Atomic uint64_t position = 0;
    uint8_t *body = sonde__ring_reserve(&producer, 100);
    assert_ptr_equal(body, memory + 8);
    assert_int_equal(atomic_load(&region.head), 0); /* nothing is published yet */
    assert_int_equal(sonde__ring_commit(&producer, 13, SONDE__RECORD_LOG, 300, SONDE__RECORD_FLAG_ERROR, &position),
                     24);
    assert_int_equal(atomic_load(&region.head), 24);
    assert_int_equal(position, 24);
    struct sonde__record record;
    memcpy(&record, memory, sizeof record);
    assert_int_equal(record.length, 13);
    assert_int_equal(record.kind, SONDE__RECORD_LOG);
    assert_int_equal(record.flags, SONDE__RECORD_FLAG_ERROR);
    assert_int_equal(record.scope, 300);
}

static void full_ring_refuses_until_the_tail_moves(void **state) {
    (void)state;
    uint64_t records = 0;
    while (commit(1000, 1000))
        records++;
    assert_true(records * 1008 + 1008 + SONDE__SLACK > SONDE__RING_SIZE);
    assert_true(producer.head + SONDE__SLACK <= SONDE__RING_SIZE);
    assert_null(commit(1000, 1000));
    atomic_store(&region.tail, 2016);
    assert_non_null(commit(1000, 1000));
    assert_true(producer.head + SONDE__SLACK - 2016 <= SONDE__RING_SIZE);
}

static void empty_ring_rewinds_to_its_first_page(void **state) {
    (void)state;
    for (int i = 0; i < 5000; i++) {
        assert_non_null(commit(200, 200));
        assert_true((producer.head & (SONDE__RING_SIZE - 1)) < 2 * SONDE__PAGE);
        atomic_store(&region.tail, producer.head); /* the agent keeps up */
    }
    assert_int_equal(atomic_load(&region.base) % SONDE__RING_SIZE, 0);
    assert_true(atomic_load(&region.base) >= 100u * SONDE__RING_SIZE);
    assert_int_equal(atomic_load(&region.head), producer.head);
}

static void ring_with_records_does_not_rewind(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_non_null(commit(200, 200));
        atomic_store(&region.tail, producer.head - 208); /* one is always left */
    }
    assert_int_equal(producer.head, 100 * 208);
    assert_int_equal(atomic_load(&region.base), 0);
}

static void lying_tail_is_kept_within_bounds(void **state) {
    (void)state;
    while (commit(1000, 1000))
        ;
    atomic_store(&region.tail, UINT64_MAX - 5);
    assert_non_null(commit(1000, 1000));
    assert_true(producer.tail_seen <= producer.head);
    atomic_store(&region.tail, 0);
    for (int i = 0; i < 3000; i++)
        (void)commit(1000, 1000);
    assert_true(producer.tail_seen >= producer.base && producer.head - producer.tail_seen <= SONDE__RING_SIZE);
}

static void largest_record_fits(void **state) {
    (void)state;
    assert_non_null(commit(SONDE__RECORD_BODY_MAX, SONDE__RECORD_BODY_MAX));
}

static void quarter_is_looked_at_again_after_a_while(void **state) {
    (void)state;
    while (producer.head < SONDE__RING_SIZE / 2)
        assert_non_null(commit(1000, 1000));
    /* no agent: nothing rings, but the next look is ahead, not at every record */
    assert_true(producer.bell_at > producer.head - 1008);
    assert_true(producer.bell_at <= producer.head + SONDE__RING_SIZE / 4);
}

#define CASE(name) cmocka_unit_test_setup(name, ring_new)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(record_has_header_and_padding),
        CASE(full_ring_refuses_until_the_tail_moves),
        CASE(empty_ring_rewinds_to_its_first_page),
        CASE(ring_with_records_does_not_rewind),
        CASE(lying_tail_is_kept_within_bounds),
        CASE(largest_record_fits),
        CASE(quarter_is_looked_at_again_after_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
