/* SPDX-License-Identifier: Apache-2.0 */
/* The metric reader on memory that lies: no crash, no endless work, and what was good stays. */
#include "instrumentation/metric/read.h"
#include <math.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

static uint8_t *process, *threads;
static uint64_t reads;
static _Atomic uint64_t *restless; /* a word that changes with every read, or NULL */

static int memory_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    (void)self;
    uint64_t limit = memory ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE;
    reads++;
    assert_true(memory <= SONDE__THREAD_MEMORIES_MAX);
    if (memory > 1)
        return -1;
    assert_true(offset <= limit && size <= limit - offset);
    memcpy(buffer, (memory ? threads : process) + offset, size);
    if (restless)
        *restless += UINT64_C(1) << 32;
    return 0;
}
static void *resize(void *self, void *old, size_t size) {
    (void)self;
    if (size)
        return realloc(old, size);
    free(old);
    return NULL;
}
static const struct sonde__metric_memory memory = {memory_read, NULL};
static struct sonde__metric_reader *reader;

static int setup(void **state) {
    (void)state;
    process = calloc(1, SONDE__PROCESS_SIZE);
    threads = calloc(1, SONDE__THREADS_SIZE);
    reader = sonde__metric_reader_create(resize, NULL);
    restless = NULL;
    reads = 0;
    ((struct sonde__region *)(void *)(threads + SONDE__CONTROL_AT))->state = SONDE__REGION_ATTACHED;
    return process && threads && reader ? 0 : -1;
}
static int teardown(void **state) {
    (void)state;
    sonde__metric_reader_destroy(reader);
    free(process);
    free(threads);
    return 0;
}

static void describe(uint16_t type, uint16_t index, const void *body, uint32_t body_size, const void *extra,
                     uint32_t extra_size) {
    struct sonde__process *page = (void *)process;
    struct sonde__descriptor head = {(uint32_t)((sizeof head + body_size + extra_size + 7) & ~7u), type, index,
                                     body_size, extra_size};
    uint8_t *at = process + SONDE__DESCRIPTORS_AT + page->descriptors_head;
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, body, body_size);
    if (extra_size)
        memcpy(at + sizeof head + body_size, extra, extra_size);
    page->descriptors_head += head.size;
}
static void instrument(uint16_t index, uint8_t kind, uint8_t number, const char *name) {
    uint8_t body[300];
    struct sonde__instrument_descriptor d = {.kind = kind, .number = number, .name_size = (uint16_t)strlen(name)};
    memcpy(body, &d, sizeof d);
    memcpy(body + sizeof d, name, d.name_size);
    describe(SONDE__DESCRIPTOR_INSTRUMENT, index, body, (uint32_t)sizeof d + d.name_size, NULL, 0);
}
static void series(uint16_t index, uint16_t of, const void *attributes, uint32_t size) {
    struct sonde__series_descriptor d = {.instrument = of, .start_unix_ns = 1};
    describe(SONDE__DESCRIPTOR_SERIES, index, &d, sizeof d, attributes, size);
}
static void good(void) {
    instrument(1, SONDE_COUNTER, SONDE_NUMBER_INT64, "good");
    instrument(2, SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "histogram");
    series(1, 1, "", 0);
    series(2, 2, "", 0);
    ((_Atomic uint64_t *)(void *)(threads + SONDE__CELLS_AT))[1] = 5;
}
static int refresh(void) {
    return sonde__metric_reader_refresh(reader, &memory);
}
static uint64_t good_value(void) {
    struct sonde__metric_series found;
    uint32_t at = 0;
    assert_true(sonde__metric_reader_series(reader, 1, &at, &found));
    return found.value;
}

static void refresh_keeps_what_was_good_before_a_lie(void **state) {
    struct {
        uint16_t type, index;
        const char *extra;
        uint32_t extra_size;
        uint16_t instrument;
    } lies[] = {
        {SONDE__DESCRIPTOR_SERIES, 0, "", 0, 1},
        {SONDE__DESCRIPTOR_SERIES, SONDE_SERIES_MAX, "", 0, 1},
        {SONDE__DESCRIPTOR_SERIES, 3, "", 0, 0},
        {SONDE__DESCRIPTOR_SERIES, 3, "", 0, 9},
        {SONDE__DESCRIPTOR_SERIES, 3, "", 0, 65535},
        {SONDE__DESCRIPTOR_SERIES, 1, "", 0, 2},             /* again, of another instrument */
        {SONDE__DESCRIPTOR_SERIES, 3, "\x0A\x05\x0A", 3, 1}, /* attributes cut off */
        {SONDE__DESCRIPTOR_SERIES, 3, "\x10\x01", 2, 1},     /* a field that is no attribute */
        {SONDE__DESCRIPTOR_SERIES, 3, "\x0A\x03\x0A\x01\xFF", 5, 1},
        {SONDE__DESCRIPTOR_SCOPE, 300, "", 0, 1},
        {SONDE__DESCRIPTOR_INSTRUMENT, 3, "12345678", 8, 1},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        assert_int_equal(setup(state), 0);
        good();
        struct sonde__series_descriptor d = {.instrument = lies[i].instrument};
        describe(lies[i].type, lies[i].index, &d, sizeof d, lies[i].extra, lies[i].extra_size);
        assert_int_equal(refresh(), SONDE_EMALFORMED);
        assert_int_equal(good_value(), 5);
        ((_Atomic uint64_t *)(void *)(threads + SONDE__CELLS_AT))[1] = 6;
        assert_int_equal(refresh(), SONDE_EMALFORMED);
        assert_int_equal(good_value(), 6);
        (void)teardown(state);
    }
}

static void refresh_checks_every_length_of_the_log(void **state) {
    static const uint32_t sizes[][3] = {
        /* size, body_size, extra_size */
        {0, 0, 0},    {8, 0, 0},   {16, 1, 0},          {20, 0, 0},          {UINT32_MAX, 0, 0},
        {4096, 0, 0}, {32, 16, 1}, {32, UINT32_MAX, 8}, {32, 8, UINT32_MAX}, {UINT32_MAX - 7, UINT32_MAX - 24, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(setup(state), 0);
        good();
        struct sonde__process *page = (void *)process;
        struct sonde__descriptor head = {sizes[i][0], SONDE__DESCRIPTOR_SERIES, 3, sizes[i][1], sizes[i][2]};
        memcpy(process + SONDE__DESCRIPTORS_AT + page->descriptors_head, &head, sizeof head);
        page->descriptors_head += 32;
        assert_int_equal(refresh(), SONDE_EMALFORMED);
        assert_int_equal(good_value(), 5);
        (void)teardown(state);
    }
    static const uint64_t heads[] = {SONDE__DESCRIPTORS_SIZE + 1, UINT64_MAX, 8, 3};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        assert_int_equal(setup(state), 0);
        good();
        assert_int_equal(refresh(), 0);
        ((struct sonde__process *)(void *)process)->descriptors_head = heads[i];
        assert_int_equal(refresh(), SONDE_EMALFORMED);
        assert_int_equal(good_value(), 5);
        (void)teardown(state);
    }
}

static struct sonde__histogram *histogram_at(uint32_t unit) {
    return (void *)(threads + SONDE__HISTOGRAMS_AT + unit * 64);
}
static struct sonde__histogram_block *block_at(uint32_t unit) {
    return (void *)(threads + SONDE__HISTOGRAMS_AT + unit * 64);
}

static void histograms_that_cannot_be_are_left_out(void **state) {
    (void)state;
    _Atomic uint64_t *cell = (_Atomic uint64_t *)(void *)(threads + SONDE__CELLS_AT) + 2;
    good();
    assert_int_equal(refresh(), 0);
    static const uint64_t places[] = {UINT64_MAX, 4097, UINT32_MAX, (UINT64_C(1) << 63) + 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        *cell = places[i];
        assert_int_equal(refresh(), SONDE_EMALFORMED);
    }
    *cell = 4096; /* the last line: no room for a block behind it, but blocks may lie anywhere */
    histogram_at(4095)->series = 2;
    struct {
        uint64_t active;
        int32_t scale, offset;
        uint32_t capacity;
        int expected;
    } cases[] = {{0, 0, 0, 32, 0},
                 {4095, 0, 0, 32, SONDE_EMALFORMED},
                 {4096, 0, 0, 32, SONDE_EMALFORMED},
                 {UINT32_MAX, 0, 0, 32, SONDE_EMALFORMED},
                 {0, 21, 0, 32, SONDE_EMALFORMED},
                 {0, -11, 0, 32, SONDE_EMALFORMED},
                 {0, 0, INT32_MAX, 32, SONDE_EMALFORMED},
                 {0, 0, INT32_MIN, 32, SONDE_EMALFORMED},
                 {0, 0, 0, 0, SONDE_EMALFORMED},
                 {0, 0, 0, 161, SONDE_EMALFORMED},
                 {0, 0, 0, UINT32_MAX, SONDE_EMALFORMED},
                 {0, -10, 1 << 30, 160, 0},
                 {0, 20, -(1 << 30), 160, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        histogram_at(4095)->active = cases[i].active;
        block_at(0)->scale = cases[i].scale;
        block_at(0)->offset = cases[i].offset;
        block_at(0)->capacity = cases[i].capacity;
        block_at(0)->buckets[0] = block_at(0)->buckets[31] = 1;
        assert_int_equal(refresh(), cases[i].expected);
    }
    histogram_at(4095)->series = 1; /* another series' */
    assert_int_equal(refresh(), SONDE_EMALFORMED);
    assert_int_equal(good_value(), 5);
}

static void work_is_bounded_when_a_histogram_never_rests(void **state) {
    (void)state;
    good();
    ((_Atomic uint64_t *)(void *)(threads + SONDE__CELLS_AT))[2] = 1;
    histogram_at(0)->series = 2;
    histogram_at(0)->active = 1;
    block_at(1)->capacity = 32;
    restless = &histogram_at(0)->active;
    assert_int_equal(refresh(), SONDE_EMALFORMED);
    assert_true(reads < 200);
    assert_int_equal(good_value(), 5);
}

static void merge_brings_both_to_one_scale(void **state) {
    (void)state;
    struct sonde__metric_histogram to = {0};
    static const uint64_t fine[] = {0, 1, 2, 3, 4, 0}, coarse[] = {10, 20};
    sonde__metric_histogram_merge(&to, 2, 3, fine, 6); /* indices 4..7 */
    assert_int_equal(to.scale, 2);
    assert_int_equal(to.offset, 4);
    assert_int_equal(to.bucket_count, 4);
    sonde__metric_histogram_merge(&to, 0, 0, coarse, 2); /* 0, 1; ours are all in 1 */
    assert_int_equal(to.scale, 0);
    assert_int_equal(to.offset, 0);
    assert_int_equal(to.bucket_count, 2);
    assert_int_equal(to.buckets[0], 10);
    assert_int_equal(to.buckets[1], 30);
    sonde__metric_histogram_merge(&to, 0, -1000, coarse, 1); /* too far for 160: coarser */
    assert_int_equal(to.scale, -3);
    assert_int_equal(to.buckets[0], 10);
    assert_int_equal(to.buckets[to.bucket_count - 1], 40);
}

/* ---- exemplars ---- */

/* A reservoir of series `number` at `place`, its first slot good, the others never written. */
static void reservoir(uint32_t number, uint32_t place, uint16_t lanes, uint16_t per_lane, uint32_t slot_size) {
    ((uint32_t *)(void *)(process + SONDE__EXEMPLARS_AT))[number] = place;
    uint8_t *at = process + SONDE__EXEMPLAR_ARENA_AT + (size_t)(place - 1) * SONDE__ARENA_UNIT;
    *(struct sonde__reservoir *)(void *)at =
        (struct sonde__reservoir){.series = number, .lanes = lanes, .per_lane = per_lane, .slot_size = slot_size};
    struct sonde__exemplar *slot = (void *)(at + sizeof(struct sonde__reservoir));
    slot->sequence = 2;
    slot->time_unix_ns = 1;
    slot->attributes_size = 0;
}
static uint32_t exemplars_of(uint32_t instrument_number) {
    struct sonde__metric_series found;
    uint32_t at = 0;
    assert_true(sonde__metric_reader_series(reader, instrument_number, &at, &found));
    return found.exemplar_count;
}

static void exemplars_that_cannot_be_are_left_out(void **state) {
    enum { LAST = SONDE__EXEMPLAR_ARENA_SIZE / SONDE__ARENA_UNIT };
    const struct {
        uint32_t series, place;
        uint16_t lanes, per_lane;
        uint32_t slot_size;
        uint64_t value;
        uint16_t attributes_size;
        const char *attributes;
        uint64_t time;
        bool is_good;
    } rows[] = {
        {2, 5, 1, 2, 256, 0, 10, "\x0A\x08\x0A\x01k\x12\x03\x0A\x01v", 1, true},
        {2, 5, 161, 1, 64, 0, 0, "", 1, true},
        {2, LAST - 1, 1, 1, 64, 0, 0, "", 1, true},
        {2, LAST - 1, 1, 2, 64, 0, 0, "", 1, false}, /* ends behind the arena */
        {2, 5, 162, 1, 64, 0, 0, "", 1, false},
        {2, 5, 65535, 65535, 64, 0, 0, "", 1, false},
        {2, 5, 0, 1, 64, 0, 0, "", 1, false},
        {2, 5, 1, 1, 128, 0, 0, "", 1, false},
        {1, 5, 1, 1, 64, 0, 0, "", 1, false},                            /* of another series */
        {2, 5, 1, 1, 64, UINT64_C(0x7FF0000000000000), 0, "", 1, false}, /* infinite */
        {2, 5, 1, 1, 64, 0, 1, "\0", 1, false},                          /* longer than the slot */
        {2, 5, 1, 1, 256, 0, 65535, "", 1, false},
        {2, 5, 1, 1, 256, 0, 5, "\x0A\x05\x0A\x01k", 1, false}, /* cut off */
        {2, 5, 1, 1, 256, 0, 2, "\x10\x01", 1, false},          /* another field */
        {2, 5, 1, 1, 64, 0, 0, "", 0, false},                   /* no time */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t collection;
        assert_int_equal(setup(state), 0);
        good();
        reservoir(1, 1, 1, 1, 64);
        reservoir(2, rows[i].place, rows[i].lanes, rows[i].per_lane, rows[i].slot_size);
        uint8_t *at = process + SONDE__EXEMPLAR_ARENA_AT + (size_t)(rows[i].place - 1) * SONDE__ARENA_UNIT;
        ((struct sonde__reservoir *)(void *)at)->series = rows[i].series;
        struct sonde__exemplar *slot = (void *)(at + sizeof(struct sonde__reservoir));
        slot->value = rows[i].value;
        slot->time_unix_ns = rows[i].time;
        slot->attributes_size = rows[i].attributes_size;
        memcpy(slot->attributes, rows[i].attributes, strlen(rows[i].attributes));
        assert_int_equal(refresh(), 0);
        assert_int_equal(sonde__metric_reader_exemplars_refresh(reader, &memory, &collection),
                         rows[i].is_good ? 0 : SONDE_EMALFORMED);
        assert_int_equal(exemplars_of(2), rows[i].is_good);
        assert_int_equal(exemplars_of(1), 1); /* others stay */
        assert_int_equal(teardown(state), 0);
    }
}

static void place_behind_the_arena_is_a_lie(void **state) {
    (void)state;
    uint32_t collection;
    good();
    static const uint32_t places[] = {SONDE__EXEMPLAR_ARENA_SIZE / SONDE__ARENA_UNIT + 1, UINT32_MAX};
    for (size_t i = 0; i < 2; i++) {
        ((uint32_t *)(void *)(process + SONDE__EXEMPLARS_AT))[1] = places[i];
        assert_int_equal(refresh(), 0);
        assert_int_equal(sonde__metric_reader_exemplars_refresh(reader, &memory, &collection), SONDE_EMALFORMED);
    }
}

/* Reservoirs that lie over each other say more than the arena could hold. A head looks like a slot that is being
 * written. */
static void exemplars_are_no_more_than_the_arena_holds(void **state) {
    (void)state;
    struct sonde__metric_series found;
    uint32_t collection, all = 0;
    instrument(1, SONDE_COUNTER, SONDE_NUMBER_INT64, "good");
    for (uint16_t i = 1; i <= 2000; i++)
        series(i, 1, "", 0);
    for (uint32_t at = 0; at < 4000u * SONDE__ARENA_UNIT; at += SONDE__ARENA_UNIT) {
        struct sonde__exemplar *slot = (void *)(process + SONDE__EXEMPLAR_ARENA_AT + at);
        slot->sequence = 2;
        slot->time_unix_ns = 1;
    }
    for (uint16_t i = 1; i <= 2000; i += 2)
        reservoir(i, i, 161, 1, 64);
    (void)refresh();
    assert_int_equal(sonde__metric_reader_exemplars_refresh(reader, &memory, &collection), SONDE_EMALFORMED);
    for (uint32_t at = 0; sonde__metric_reader_series(reader, 1, &at, &found);)
        all += found.exemplar_count;
    assert_in_range(all, 1, SONDE__EXEMPLAR_ARENA_SIZE / SONDE__EXEMPLAR_SIZE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refresh_keeps_what_was_good_before_a_lie),
        cmocka_unit_test(refresh_checks_every_length_of_the_log),
        cmocka_unit_test_setup_teardown(histograms_that_cannot_be_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(work_is_bounded_when_a_histogram_never_rests, setup, teardown),
        cmocka_unit_test(exemplars_that_cannot_be_are_left_out),
        cmocka_unit_test_setup_teardown(place_behind_the_arena_is_a_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(exemplars_are_no_more_than_the_arena_holds, setup, teardown),
        cmocka_unit_test(merge_brings_both_to_one_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
