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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refresh_keeps_what_was_good_before_a_lie),
        cmocka_unit_test(refresh_checks_every_length_of_the_log),
        cmocka_unit_test_setup_teardown(histograms_that_cannot_be_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(work_is_bounded_when_a_histogram_never_rests, setup, teardown),
        cmocka_unit_test(merge_brings_both_to_one_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
