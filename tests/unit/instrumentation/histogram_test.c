/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential histograms: indices against the definition in long double, rescaling, growing, full arenas. */
#include "instrumentation/metric/histogram_fast.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

static uint64_t random_state = 1;
static uint64_t random_next(void) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 11;
}
static double random_unit(void) {
    return (double)random_next() / 0x1p53;
}

struct fixture {
    uint8_t *memory;
    _Atomic uint64_t head;
    struct sonde__arena arena;
    struct sonde__histogram *histogram;
};

static void fixture_init(struct fixture *f, uint64_t size, double first) {
    sonde__histogram_tables_init();
    f->memory = aligned_alloc(64, size);
    assert_non_null(f->memory);
    memset(f->memory, 0, size);
    f->head = 0;
    f->arena = (struct sonde__arena){f->memory, &f->head, size};
    uint32_t place = sonde__histogram_create(&f->arena, 7, 0, first);
    assert_int_equal(place, 1);
    f->histogram = (struct sonde__histogram *)(void *)f->memory;
}
static void fixture_deinit(struct fixture *f) {
    free(f->memory);
}
static struct sonde__histogram_block *block_of(const struct fixture *f) {
    return (struct sonde__histogram_block *)(void *)(f->memory + (f->histogram->active & UINT32_MAX) * 64);
}
static void record(struct fixture *f, double value) {
    if (!histogram_record_fast(f->memory, f->histogram, value))
        sonde__histogram_record_slow(&f->arena, f->histogram, value);
}
static uint64_t count_of(const struct fixture *f) {
    uint64_t count = f->histogram->zero_count;
    for (uint32_t i = 0; i < block_of(f)->capacity; i++)
        count += block_of(f)->buckets[i];
    return count;
}

static void index_is_that_of_the_definition(void **state) {
    (void)state;
    sonde__histogram_tables_init();
    for (int scale = -10; scale <= 20; scale++) {
        for (int i = 0; i < 20000; i++) {
            double value = ldexp(1.0 + random_unit(), (int)(random_next() % 2040) - 1020);
            if (i % 5 == 0)
                value = ldexp(1.0, (int)(random_next() % 2040) - 1020);
            int32_t index = sonde__histogram_index(value, scale);
            long double log2_value = log2l((long double)value);
            long double low = ldexpl((long double)index, -scale), high = ldexpl((long double)index + 1, -scale);
            /* long double itself errs by some 1e-16 near 2^+-1000 */
            long double slack = 1e-15L + fabsl(log2_value) * 2e-19L;
            assert_true(low < log2_value + slack && log2_value <= high + slack);
        }
    }
}

static void index_puts_a_boundary_below(void **state) {
    (void)state;
    sonde__histogram_tables_init();
    for (int scale = -10; scale <= 20; scale++) {
        assert_int_equal(sonde__histogram_index(1.0, scale), -1);
        assert_int_equal(sonde__histogram_index(nextafter(1.0, 2.0), scale), 0);
    }
    for (int scale = 0; scale <= 20; scale++) {
        assert_int_equal(sonde__histogram_index(2.0, scale), (1 << scale) - 1);
        assert_int_equal(sonde__histogram_index(nextafter(2.0, 3.0), scale), 1 << scale);
        assert_int_equal(sonde__histogram_index(nextafter(2.0, 1.0), scale), (1 << scale) - 1);
    }
    /* subnormals count as the smallest normal double */
    assert_int_equal(sonde__histogram_index(0x1p-1074, 0), sonde__histogram_index(0x1p-1022, 0));
}

/* Every table boundary, from both sides. */
static void index_is_exact_beside_every_boundary(void **state) {
    (void)state;
    sonde__histogram_tables_init();
    for (int i = 1; i < 256; i++) {
        long double bound = exp2l((long double)i / 256);
        double below = (double)bound;
        if ((long double)below > bound)
            below = nextafter(below, 0.0);
        assert_int_equal(sonde__histogram_index(below, 8), i - 1);
        assert_int_equal(sonde__histogram_index(nextafter(below, 4.0), 8), i);
    }
}

static void histogram_stays_small_when_values_are_close(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 64 << 10, 1.5);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double value = 1.5 + random_unit() * 0.5;
        record(&f, value);
        sum += value;
    }
    assert_int_equal(block_of(&f)->capacity, SONDE__BUCKETS_SMALL);
    assert_true(block_of(&f)->scale >= SONDE__SCALE_KEPT);
    assert_int_equal(count_of(&f), 10000);
    assert_true(sonde__double_of(f.histogram->sum) == sum);
    fixture_deinit(&f);
}

static void histogram_grows_and_counts_everything(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 64 << 10, 0.01);
    double *values = malloc(20000 * sizeof *values);
    assert_non_null(values);
    double min = INFINITY, max = 0, sum = 0;
    for (int i = 0; i < 20000; i++) { /* 2^-10 .. 2^10 */
        values[i] = exp2(random_unit() * 20 - 10);
        record(&f, values[i]);
        sum += values[i];
        min = fmin(min, values[i]);
        max = fmax(max, values[i]);
    }
    struct sonde__histogram_block *block = block_of(&f);
    assert_int_equal(block->capacity, SONDE__BUCKETS_LARGE);
    assert_int_equal(block->scale, 3); /* 20 doublings of 8 buckets are just 160 */
    uint64_t expected[SONDE__BUCKETS_LARGE] = {0};
    for (int i = 0; i < 20000; i++)
        expected[sonde__histogram_index(values[i], block->scale) - block->offset]++;
    for (uint32_t i = 0; i < SONDE__BUCKETS_LARGE; i++)
        assert_int_equal(block->buckets[i], expected[i]);
    assert_true(sonde__double_of(f.histogram->min) == min && sonde__double_of(f.histogram->max) == max &&
                sonde__double_of(f.histogram->sum) == sum);
    free(values);
    fixture_deinit(&f);
}

static void histogram_takes_all_doubles(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 64 << 10, 1.0);
    static const double values[] = {1.0, 0x1p-1074, 0x1.fffffffffffffp1023, 0.0, -0.0, 0x1p-1022, 1e300, 1e-300};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        record(&f, values[i]);
    assert_int_equal(count_of(&f), 8);
    assert_int_equal(f.histogram->zero_count, 2);
    assert_true(sonde__double_of(f.histogram->min) == 0.0);
    assert_true(sonde__double_of(f.histogram->max) == 0x1.fffffffffffffp1023);
    fixture_deinit(&f);
}

/* Room for the small blocks only: coarser buckets, nothing lost. */
static void histogram_rescales_when_the_arena_is_full(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 704, 1.0);
    assert_int_equal(sonde__histogram_create(&f.arena, 8, 0, 1.0), 0);
    for (int i = 0; i < 5000; i++)
        record(&f, exp2(random_unit() * 2000 - 1000));
    assert_int_equal(block_of(&f)->capacity, SONDE__BUCKETS_SMALL);
    assert_int_equal(count_of(&f), 5000);
    fixture_deinit(&f);
}

static void bounds_are_upper_inclusive(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 64 << 10, 1.0);
    static const double bounds[] = {1, 2, 5};
    uint32_t place = sonde__histogram_create(&f.arena, 9, 3, 0);
    assert_true(place > 0);
    struct sonde__histogram *histogram = (void *)(f.memory + (place - 1) * 64);
    static const double values[] = {0, 1, 1.5, 2, 5, 5.1, 1e9};
    for (size_t i = 0; i < 7; i++)
        sonde__histogram_record_bounds(f.memory, histogram, bounds, values[i]);
    struct sonde__histogram_block *block = (void *)(f.memory + (histogram->active & UINT32_MAX) * 64);
    assert_int_equal(block->capacity, 4);
    assert_int_equal(block->buckets[0], 2);
    assert_int_equal(block->buckets[1], 2);
    assert_int_equal(block->buckets[2], 1);
    assert_int_equal(block->buckets[3], 2);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_is_that_of_the_definition),
        cmocka_unit_test(index_puts_a_boundary_below),
        cmocka_unit_test(index_is_exact_beside_every_boundary),
        cmocka_unit_test(histogram_stays_small_when_values_are_close),
        cmocka_unit_test(histogram_grows_and_counts_everything),
        cmocka_unit_test(histogram_takes_all_doubles),
        cmocka_unit_test(histogram_rescales_when_the_arena_is_full),
        cmocka_unit_test(bounds_are_upper_inclusive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
