/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics API through real shared memory, read back as the agent reads it: by pread. */
#include "instrumentation/metric/table.h"
#include "tests/lib/child.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
/* cmocka.h needs those */
#include <cmocka.h>
#include <sonde/err.h>

#include "tests/unit/instrumentation/read_back.h"

static _Atomic uint32_t reports;
static void on_report(void *user, const char *message) {
    (void)user;
    if (strstr(message, "same.name"))
        reports++;
}

static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind, enum sonde_number number) {
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = kind, .number = number, .name = name, .unit = "1", .description = "a test"};
    struct sonde_instrument instrument;
    assert_int_equal(sonde_instrument_create(&options, &instrument), 0);
    assert_true(instrument.index > 0);
    return instrument;
}

static void create_refuses_what_the_specification_refuses(void **state) {
    (void)state;
    static const double falling[] = {1, 1}, endless[] = {1, __builtin_inf()};
    char long_name[257];
    memset(long_name, 'a', 256);
    long_name[256] = 0;
    struct sonde_instrument_options good = {.size = sizeof good, .kind = SONDE_COUNTER, .name = "create.good"};
    struct sonde_instrument_options bad[] = {good, good, good, good, good, good, good, good, good, good};
    bad[0].name = "";
    bad[1].name = "1digit";
    bad[2].name = "with space";
    bad[3].name = long_name;
    bad[4].name = NULL;
    bad[5].unit = "no\xC3\xA9";
    bad[6].kind = (enum sonde_instrument_kind)9;
    bad[7].description = "\xFF";
    bad[8].kind = bad[9].kind = SONDE_HISTOGRAM;
    bad[8].bounds = falling;
    bad[9].bounds = endless;
    bad[8].bound_count = bad[9].bound_count = 2;
    struct sonde_instrument instrument;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(sonde_instrument_create(&bad[i], &instrument), SONDE_EINVALID);
        assert_int_equal(instrument.index, 0);
    }
    long_name[255] = 0;
    good.name = long_name;
    assert_int_equal(sonde_instrument_create(&good, &instrument), 0);
    /* no-ops do nothing and count nothing */
    uint64_t before = measurements_dropped();
    sonde_counter_add((struct sonde_series){0}, 1);
    sonde_histogram_record((struct sonde_series){0}, 1);
    sonde_instrument_add((struct sonde_instrument){0}, 1, NULL, 0);
    assert_int_equal(measurements_dropped(), before);
}

static void create_keeps_the_first_of_a_name(void **state) {
    (void)state;
    struct sonde_instrument first = make("same.name", SONDE_COUNTER, SONDE_NUMBER_INT64);
    struct sonde_stats stats = {.size = sizeof stats};
    uint32_t told = reports;
    assert_int_equal(make("Same.Name", SONDE_COUNTER, SONDE_NUMBER_INT64).index, first.index);
    sonde_stats_get(&stats);
    assert_int_equal(stats.instrument_conflicts, 0);
    assert_int_equal(reports, told);
    assert_int_equal(make("same.name", SONDE_GAUGE, SONDE_NUMBER_INT64).index, first.index);
    sonde_stats_get(&stats);
    assert_int_equal(stats.instrument_conflicts, 1);
    assert_int_equal(reports, told + 1);
}

static void every_kind_reads_back(void **state) {
    (void)state;
    struct sonde_instrument counter = make("kind.counter", SONDE_COUNTER, SONDE_NUMBER_INT64);
    struct sonde_instrument real = make("kind.counter_double", SONDE_COUNTER, SONDE_NUMBER_DOUBLE);
    struct sonde_instrument up_down = make("kind.up_down", SONDE_UP_DOWN_COUNTER, SONDE_NUMBER_INT64);
    struct sonde_instrument up_down_real = make("kind.up_down_double", SONDE_UP_DOWN_COUNTER, SONDE_NUMBER_DOUBLE);
    struct sonde_instrument gauge = make("kind.gauge", SONDE_GAUGE, SONDE_NUMBER_DOUBLE);
    struct sonde_instrument whole = make("kind.gauge_int", SONDE_GAUGE, SONDE_NUMBER_INT64);
    sonde_counter_add(sonde_series_bind(counter, NULL, 0), 5);
    sonde_instrument_add(counter, 2, NULL, 0);
    sonde_counter_add_double(sonde_series_bind(real, NULL, 0), 0.5);
    sonde_instrument_add(real, 1, NULL, 0);
    sonde_instrument_record(real, 0.25, NULL, 0);
    sonde_up_down_counter_add(sonde_series_bind(up_down, NULL, 0), -7);
    sonde_instrument_add(up_down, -1, NULL, 0);
    sonde_up_down_counter_add_double(sonde_series_bind(up_down_real, NULL, 0), -1.5);
    assert_int_equal(value_of(counter, NULL), 7);
    assert_true(double_value_of(real, NULL) == 1.75);
    assert_int_equal(value_of(up_down, NULL), -8);
    assert_true(double_value_of(up_down_real, NULL) == -1.5);

    struct sonde_series bound = sonde_series_bind(gauge, NULL, 0);
    assert_int_equal(series_count(gauge), 0); /* never set: no value */
    sonde_gauge_set_double(bound, -2.5);
    sonde_gauge_set(sonde_series_bind(whole, NULL, 0), 4);
    sonde_instrument_record(whole, 9.0, NULL, 0);
    assert_true(double_value_of(gauge, NULL) == -2.5);
    assert_int_equal(value_of(whole, NULL), 9);
}

static void wrong_measurements_are_dropped_and_counted(void **state) {
    (void)state;
    struct sonde_instrument counter = make("wrong.counter", SONDE_COUNTER, SONDE_NUMBER_INT64);
    struct sonde_instrument real = make("wrong.double", SONDE_COUNTER, SONDE_NUMBER_DOUBLE);
    struct sonde_instrument histogram = make("wrong.histogram", SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE);
    struct sonde_instrument gauge = make("wrong.gauge", SONDE_GAUGE, SONDE_NUMBER_INT64);
    struct sonde_series c = sonde_series_bind(counter, NULL, 0), r = sonde_series_bind(real, NULL, 0),
                        h = sonde_series_bind(histogram, NULL, 0);
    uint64_t before = measurements_dropped();
    sonde_counter_add(c, UINT64_MAX);
    sonde_counter_add_double(c, 1);
    sonde_up_down_counter_add(c, 1);
    sonde_gauge_set(c, 1);
    sonde_histogram_record(c, 1);
    sonde_counter_add_double(r, -1);
    sonde_counter_add_double(r, __builtin_nan(""));
    sonde_counter_add_double(r, __builtin_inf());
    sonde_histogram_record(h, -1);
    sonde_histogram_record(h, __builtin_inf());
    sonde_histogram_record(h, __builtin_nan(""));
    sonde_instrument_add(counter, -1, NULL, 0);
    sonde_instrument_record(counter, 1, NULL, 0);
    sonde_instrument_add(gauge, 1, NULL, 0);
    sonde_instrument_record(gauge, 1e30, NULL, 0);
    sonde_counter_add((struct sonde_series){UINT32_MAX}, 1);
    sonde_counter_add((struct sonde_series){SONDE_SERIES_MAX - 1}, 1);
    assert_int_equal(measurements_dropped() - before, 17);
    assert_int_equal(value_of(counter, NULL), 0);
    struct sonde__metric_series series;
    assert_true(find(histogram, NULL, &series));
    assert_int_equal(series.histogram->count, 0);
}

static void attribute_order_does_not_matter_and_the_last_wins(void **state) {
    (void)state;
    struct sonde_instrument counter = make("attributes", SONDE_COUNTER, SONDE_NUMBER_INT64);
    struct sonde_attribute a = sonde_attribute_string(SONDE_KEY("alpha"), "one");
    struct sonde_attribute b = sonde_attribute_int64(sonde_key_cstr("beta"), 2);
    struct sonde_attribute old = sonde_attribute_string(SONDE_KEY("alpha"), "old");
    sonde_instrument_add(counter, 1, (struct sonde_attribute[]){a, b}, 2);
    sonde_instrument_add(counter, 1, (struct sonde_attribute[]){b, a}, 2);
    sonde_instrument_add(counter, 1, (struct sonde_attribute[]){old, b, a}, 3);
    sonde_counter_add(sonde_series_bind(counter, (struct sonde_attribute[]){b, old, a}, 3), 1);
    assert_int_equal(series_count(counter), 1);
    assert_int_equal(value_of(counter, "one"), 4);
    sonde_instrument_add(counter, 1, &a, 1);
    assert_int_equal(series_count(counter), 2);
}

static void cardinality_overflows_into_one_series(void **state) {
    (void)state;
    struct sonde_instrument counter = make("cardinality", SONDE_COUNTER, SONDE_NUMBER_INT64);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < (int)SONDE_SERIES_PER_INSTRUMENT_MAX + 500; i++) {
            struct sonde_attribute user = sonde_attribute_int64(SONDE_KEY("user"), i);
            sonde_instrument_add(counter, 1, &user, 1);
        }
    }
    assert_int_equal(series_count(counter), SONDE_SERIES_PER_INSTRUMENT_MAX + 1);
    assert_int_equal(value_of(counter, "otel.metric.overflow"), 1000);
    struct sonde_attribute huge = sonde_attribute_string_n(SONDE_KEY("huge"), calloc(1, 4096), 4096);
    sonde_instrument_add(counter, 1, &huge, 1);
    free((void *)(uintptr_t)huge.value.string);
    assert_int_equal(value_of(counter, "otel.metric.overflow"), 1001);
}

static void bounds_are_kept_as_advised(void **state) {
    (void)state;
    static const double bounds[] = {0.1, 1, 10};
    struct sonde_instrument_options options = {.size = sizeof options,
                                               .kind = SONDE_HISTOGRAM,
                                               .name = "advised",
                                               .unit = "s",
                                               .bounds = bounds,
                                               .bound_count = 3};
    struct sonde_instrument histogram;
    assert_int_equal(sonde_instrument_create(&options, &histogram), 0);
    sonde_histogram_record(sonde_series_bind(histogram, NULL, 0), 0.1);
    sonde_histogram_record(sonde_series_bind(histogram, NULL, 0), 0);
    sonde_instrument_record(histogram, 5, NULL, 0);
    sonde_instrument_record(histogram, 50, NULL, 0);
    struct sonde__metric_series series;
    assert_true(find(histogram, NULL, &series));
    static const uint64_t expected[] = {2, 0, 1, 1};
    assert_int_equal(series.histogram->bucket_count, 4);
    assert_memory_equal(series.histogram->buckets, expected, sizeof expected);
    assert_int_equal(series.histogram->count, 4);
    assert_true(series.histogram->min == 0 && series.histogram->max == 50 && series.histogram->sum == 55.1);
    struct sonde__metric_instrument read;
    assert_true(sonde__metric_reader_instrument(reader, histogram.index, &read));
    assert_int_equal(read.bound_count, 3);
    assert_memory_equal(read.bounds, bounds, sizeof bounds);
}

/* ---- sets given per call ---- */

static void a_set_is_found_however_it_is_written(void **state) {
    (void)state;
    struct sonde_instrument counter = make("sets.counter", SONDE_COUNTER, SONDE_NUMBER_INT64);
    static const size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257};
    char text[260], other[260], key[40];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        for (int again = 0; again < 3; again++) {
            memcpy(key, "a.key.that.is.made.anew", 24);
            struct sonde_attribute a[] = {sonde_attribute_string_n(sonde_key_n(key, strlen(key)), text, size),
                                          sonde_attribute_int64(SONDE_KEY("size"), (int64_t)size),
                                          sonde_attribute_bool(SONDE_KEY("flag"), true),
                                          sonde_attribute_double(SONDE_KEY("real"), 0.5)};
            sonde_instrument_add(counter, 1, a, 4);
            struct sonde_attribute turned[] = {a[3], a[1], a[0], a[2]};
            sonde_instrument_add(counter, 1, turned, 4);
        }
        assert_int_equal(series_count(counter), i + 1);
    }
    /* one byte more or less, in each place */
    struct sonde_instrument bytes = make("sets.bytes", SONDE_COUNTER, SONDE_NUMBER_INT64);
    uint32_t expected = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && sizes[i] <= 64; i++) {
        struct sonde_attribute a = sonde_attribute_string_n(SONDE_KEY("text"), other, sizes[i]);
        memcpy(other, text, sizeof other);
        sonde_instrument_add(bytes, 1, &a, 1);
        for (size_t at = 0; at < sizes[i]; at++) {
            other[at] = 'y';
            sonde_instrument_add(bytes, 1, &a, 1);
            sonde_instrument_add(bytes, 1, &a, 1);
            other[at] = 'x';
        }
        expected += (uint32_t)sizes[i] + 1;
    }
    assert_int_equal(series_count(bytes), expected);
}

static void a_set_is_not_taken_for_another_of_its_address(void **state) {
    (void)state;
    struct sonde_instrument counter = make("sets.address", SONDE_COUNTER, SONDE_NUMBER_INT64);
    char text[64] = "the.first.library"; /* as a literal of a library that is unloaded, and of its successor */
    struct sonde_key key = sonde_key_make(text, 17, 0, 1);
    struct sonde_attribute a = sonde_attribute_int64(key, 1);
    sonde_instrument_add(counter, 1, &a, 1);
    sonde_instrument_add(counter, 1, &a, 1);
    memcpy(text, "the.other.library", 17);
    sonde_instrument_add(counter, 5, &a, 1);
    a = sonde_attribute_bool(key, true); /* the same bits, another type */
    sonde_instrument_add(counter, 7, &a, 1);
    assert_int_equal(value_of(counter, "the.first.library"), 2);
    assert_int_equal(series_count(counter), 3);
}

static void a_set_serves_each_kind(void **state) {
    (void)state;
    struct sonde_attribute a = sonde_attribute_string(SONDE_KEY("k"), "v");
    struct sonde_instrument up_down = make("sets.up_down", SONDE_UP_DOWN_COUNTER, SONDE_NUMBER_INT64);
    struct sonde_instrument real = make("sets.real", SONDE_COUNTER, SONDE_NUMBER_DOUBLE);
    struct sonde_instrument gauge = make("sets.gauge", SONDE_GAUGE, SONDE_NUMBER_INT64);
    struct sonde_instrument counter = make("sets.int", SONDE_COUNTER, SONDE_NUMBER_INT64);
    uint64_t before = measurements_dropped();
    for (int i = 0; i < 3; i++) {
        sonde_instrument_add(up_down, -2, &a, 1);
        sonde_instrument_add(real, 2, &a, 1);
        sonde_instrument_record(real, 0.25, &a, 1);
        sonde_instrument_record(gauge, i, &a, 1);
        sonde_instrument_add(counter, i - 1, &a, 1); /* -1 is dropped */
    }
    assert_int_equal(value_of(up_down, NULL), -6);
    assert_true(double_value_of(real, NULL) == 6.75);
    assert_int_equal(value_of(gauge, NULL), 2);
    assert_int_equal(value_of(counter, NULL), 1);
    assert_int_equal(measurements_dropped(), before + 1);
}

/* ---- threads ---- */

#define THREADS 8
#define ROUNDS  20000
struct shared {
    struct sonde_instrument counter, histogram, shared_histogram, real;
    pthread_barrier_t barrier;
    _Atomic int finished;
};

static void *hammer(void *argument) {
    struct shared *shared = argument;
    struct sonde_attribute a = sonde_attribute_string(SONDE_KEY("way"), "bound");
    struct sonde_attribute b = sonde_attribute_string(SONDE_KEY("way"), "call");
    pthread_barrier_wait(&shared->barrier);
    struct sonde_series counter = sonde_series_bind(shared->counter, &a, 1);
    struct sonde_series histogram = sonde_series_bind(shared->histogram, &a, 1);
    struct sonde_series real = sonde_series_bind(shared->real, NULL, 0);
    for (int i = 0; i < ROUNDS; i++) {
        sonde_counter_add(counter, 3);
        sonde_instrument_add(shared->counter, 1, &b, 1);
        sonde_counter_add_double(real, 0.5);
        sonde_instrument_record(shared->real, 0.5, NULL, 0);
        sonde_histogram_record(histogram, (double)(i % 1000) + 1);
        if (i % 16 == 0)
            sonde_instrument_record(shared->shared_histogram, (double)(i % 1000), NULL, 0);
    }
    shared->finished++;
    return NULL;
}

/* As the agent does: reading must not disturb, and sums never fall. */
static void read_while_they_run(struct shared *shared, int until) {
    struct sonde__metric_series series;
    uint64_t sum = 0, count = 0;
    while (shared->finished < until) {
        if (find(shared->counter, "bound", &series)) {
            assert_true(series.value >= sum);
            sum = series.value;
        }
        if (find(shared->histogram, NULL, &series)) {
            assert_true(series.histogram->count >= count);
            count = series.histogram->count;
        }
    }
}

static void threads_add_up_exactly_and_after_they_are_gone(void **state) {
    (void)state;
    struct shared shared = {.counter = make("threads.counter", SONDE_COUNTER, SONDE_NUMBER_INT64),
                            .histogram = make("threads.histogram", SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE),
                            .shared_histogram = make("threads.shared", SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE),
                            .real = make("threads.real", SONDE_COUNTER, SONDE_NUMBER_DOUBLE)};
    struct sonde_stats stats = {.size = sizeof stats};
    for (int round = 1; round <= 2; round++) { /* the second round continues the regions of the first */
        pthread_t threads[THREADS];
        pthread_barrier_init(&shared.barrier, NULL, THREADS);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, hammer, &shared), 0);
        read_while_they_run(&shared, THREADS * round);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        pthread_barrier_destroy(&shared.barrier);
        struct sonde__metric_series series;
        assert_int_equal(value_of(shared.counter, "bound"), (int64_t)round * THREADS * ROUNDS * 3);
        assert_int_equal(value_of(shared.counter, "call"), (int64_t)round * THREADS * ROUNDS);
        assert_true(double_value_of(shared.real, NULL) == round * THREADS * ROUNDS);
        assert_true(find(shared.histogram, NULL, &series));
        assert_int_equal(series.histogram->count, (uint64_t)round * THREADS * ROUNDS);
        assert_true(series.histogram->sum == (double)round * THREADS * (ROUNDS / 1000) * 500500);
        assert_true(series.histogram->min == 1 && series.histogram->max == 1000);
        sonde_stats_get(&stats);
        assert_true(find(shared.shared_histogram, NULL, &series));
        assert_int_equal(series.histogram->count + stats.dropped[SONDE_SIGNAL_METRICS][SONDE_DROP_BUSY],
                         (uint64_t)round * THREADS * (ROUNDS / 16));
    }
}

/* ---- fork ---- */

static struct sonde_instrument fork_counter, fork_histogram;
static struct sonde_series fork_series;

static int child_adds(void) {
    struct sonde__metric_reader *own = sonde__metric_reader_create(memory_resize, NULL);
    struct sonde__metric_series series;
    uint32_t at = 0;
    sonde_counter_add(fork_series, 2);
    if (sonde__metric_reader_refresh(own, &memory))
        return 2;
    if (!sonde__metric_reader_series(own, fork_counter.index, &at, &series) || series.value != 2)
        return 3;
    if (series.start_unix_ns == 0)
        return 4;
    at = 0; /* inherited, but not used here: not this process's */
    if (sonde__metric_reader_series(own, fork_histogram.index, &at, &series))
        return 5;
    sonde_instrument_record(fork_histogram, 1.5, NULL, 0);
    struct sonde_attribute fresh = sonde_attribute_string(SONDE_KEY("fresh"), "yes");
    sonde_instrument_add(fork_counter, 4, &fresh, 1);
    if (sonde__metric_reader_refresh(own, &memory))
        return 6;
    at = 0;
    if (!sonde__metric_reader_series(own, fork_histogram.index, &at, &series) || series.histogram->count != 1)
        return 7;
    int64_t sum = 0;
    for (at = 0; sonde__metric_reader_series(own, fork_counter.index, &at, &series);)
        sum += (int64_t)series.value;
    sonde__metric_reader_destroy(own);
    return sum == 6 ? 0 : 8;
}

static void child_begins_at_zero_with_its_parents_handles(void **state) {
    (void)state;
    fork_counter = make("fork.counter", SONDE_COUNTER, SONDE_NUMBER_INT64);
    fork_histogram = make("fork.histogram", SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE);
    fork_series = sonde_series_bind(fork_counter, NULL, 0);
    sonde_counter_add(fork_series, 100);
    sonde_histogram_record(sonde_series_bind(fork_histogram, NULL, 0), 3);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child_adds());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(value_of(fork_counter, NULL), 100);
    assert_int_equal(series_count(fork_counter), 1);
}

static void create_is_full_after_the_last_instrument(void **state) {
    (void)state;
    char name[32];
    struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_COUNTER, .name = name};
    struct sonde_instrument instrument;
    int err = 0;
    for (uint32_t i = 0; i <= SONDE_INSTRUMENTS_MAX && !err; i++) {
        (void)snprintf(name, sizeof name, "many.%u", i);
        err = sonde_instrument_create(&options, &instrument);
    }
    assert_int_equal(err, SONDE_EFULL);
    assert_int_equal(instrument.index, 0);
}

int main(void) {
    (void)setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    struct sonde_options options = {.size = sizeof options, .report = on_report};
    if (sonde_start(&options))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_refuses_what_the_specification_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(create_keeps_the_first_of_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(every_kind_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_measurements_are_dropped_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(attribute_order_does_not_matter_and_the_last_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_are_kept_as_advised, setup, teardown),
        cmocka_unit_test_setup_teardown(a_set_is_found_however_it_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_set_is_not_taken_for_another_of_its_address, setup, teardown),
        cmocka_unit_test_setup_teardown(a_set_serves_each_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_add_up_exactly_and_after_they_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(child_begins_at_zero_with_its_parents_handles, setup, teardown),
        cmocka_unit_test_setup_teardown(cardinality_overflows_into_one_series, setup, teardown),
        cmocka_unit_test_setup_teardown(create_is_full_after_the_last_instrument, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
