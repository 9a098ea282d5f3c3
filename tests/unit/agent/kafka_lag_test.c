/* SPDX-License-Identifier: Apache-2.0 */
/* What the Kafka collector works out without a broker: ages by history, lags, sums, progress. A clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/kafka_lag.h"
#include "tests/lib/fakes.h"
#include <math.h>
#include <string.h>

#define S INT64_C(1000000000)

static struct fakes fakes;
static struct sonde_alloc alloc;
static struct sonde__kafka_history history;

static int setup(void **state) {
    (void)state;
    fakes_init(&fakes);
    alloc = fakes_seams(&fakes).alloc;
    return 0;
}
static int teardown(void **state) {
    (void)state;
    sonde__kafka_history_deinit(&history, &alloc);
    return fakes.live == 0 ? 0 : -1;
}

static void add(int64_t second, int64_t offset) {
    assert_int_equal(sonde__kafka_history_add(&history, &alloc, 120, second * S, offset), 0);
}
static void expect_age(int64_t offset, int64_t now, enum sonde__kafka_estimate estimate, double seconds) {
    struct sonde__kafka_age age = sonde__kafka_history_age(&history, offset, now * S);
    assert_int_equal(age.estimate, estimate);
    assert_true(fabs(age.seconds - seconds) < 1e-6);
}

static void age_is_unknown_below_two_points_unless_caught_up(void **state) {
    (void)state;
    expect_age(0, 10, SONDE__KAFKA_UNKNOWN, 0);
    add(10, 100);
    expect_age(99, 10, SONDE__KAFKA_UNKNOWN, 0);
    expect_age(100, 10, SONDE__KAFKA_INTERPOLATED, 0);
    expect_age(150, 10, SONDE__KAFKA_INTERPOLATED, 0); /* committed past the end: the topic was made again */
}
static void age_is_interpolated_in_the_middle_of_a_records_share(void **state) {
    (void)state;
    add(10, 100);
    add(20, 110);
    expect_age(100, 20, SONDE__KAFKA_INTERPOLATED, 9.5);
    expect_age(109, 20, SONDE__KAFKA_INTERPOLATED, 0.5);
    expect_age(110, 20, SONDE__KAFKA_INTERPOLATED, 0);
}
static void age_before_the_first_point_is_a_floor(void **state) {
    (void)state;
    add(10, 100);
    add(20, 110);
    expect_age(99, 30, SONDE__KAFKA_FLOOR, 20);
    expect_age(0, 30, SONDE__KAFKA_FLOOR, 20);
}
static void flat_runs_are_two_points_and_end_late(void **state) {
    (void)state;
    add(0, 5);
    for (int64_t second = 1; second <= 1000; second++)
        add(second, 7);
    assert_int_equal(history.count, 3);
    add(1001, 9);
    /* 7 was written after the whole run, not at its start */
    expect_age(7, 1001, SONDE__KAFKA_INTERPOLATED, 0.75);
    expect_age(6, 1001, SONDE__KAFKA_INTERPOLATED, 1000.25);
}
static void history_begins_again_when_the_end_falls(void **state) {
    (void)state;
    add(0, 100);
    add(1, 200);
    add(2, 50);
    assert_int_equal(history.count, 1);
    add(3, 60);
    expect_age(55, 3, SONDE__KAFKA_INTERPOLATED, 0.45);
}
static void time_that_does_not_rise_is_left_out(void **state) {
    (void)state;
    add(5, 100);
    add(5, 101);
    add(4, 102);
    assert_int_equal(history.count, 1);
}
static void history_forgets_the_oldest(void **state) {
    (void)state;
    for (int64_t i = 0; i < 500; i++)
        add(i, i * 10);
    assert_int_equal(history.count, 120);
    assert_int_equal(history.points[0].offset, 3800);
    expect_age(3799, 500, SONDE__KAFKA_FLOOR, 120);
    /* with fewer points than it has: a file of another configuration */
    assert_int_equal(sonde__kafka_history_add(&history, &alloc, 2, 501 * S, 9000), 0);
    assert_int_equal(history.count, 2);
}
static void history_lives_without_memory(void **state) {
    (void)state;
    fakes.allocations_until_failure = 0;
    assert_int_equal(sonde__kafka_history_add(&history, &alloc, 120, S, 1), -12);
    fakes.allocations_until_failure = 1;
    for (int64_t i = 0; i < 4; i++)
        add(i, i);
    assert_int_equal(sonde__kafka_history_add(&history, &alloc, 120, 9 * S, 9), -12);
    assert_int_equal(history.count, 4);
    fakes.allocations_until_failure = -1;
}

/* A partition whose end goes its way at random, each record's time known: never negative, never more than the error of
 * one poll interval, never rising with the offset, a floor never above the truth. */
enum { RECORDS = 4000, INTERVAL = 10 };
static int64_t written[RECORDS];

static void write_records(const struct sonde_random *random) {
    int64_t now = 0;
    for (int i = 0; i < RECORDS; i++) {
        uint64_t kind = random->next(random->self) % 100;
        now += kind < 90 ? (int64_t)(random->next(random->self) % (uint64_t)(S / 2)) : 0;
        now += kind == 99 ? (int64_t)(random->next(random->self) % 200) * S : 0; /* it was quiet for long */
        written[i] = now;
    }
}
static int64_t end_at(int64_t time) {
    int64_t end = 0;
    while (end < RECORDS && written[end] <= time)
        end++;
    return end;
}
static void check_all_offsets(int64_t end, int64_t now) {
    double before = 1e18;
    for (int64_t offset = 0; offset <= end; offset++) {
        struct sonde__kafka_age age = sonde__kafka_history_age(&history, offset, now);
        assert_true(age.seconds >= 0);
        assert_true(age.seconds <= before);
        assert_int_equal(age.seconds == 0, offset >= end);
        before = age.seconds;
        if (offset == end)
            continue;
        double truth = (double)(now - written[offset]) / (double)S;
        if (age.estimate == SONDE__KAFKA_FLOOR)
            assert_true(age.seconds <= truth + 1e-6);
        else
            assert_true(fabs(age.seconds - truth) <= INTERVAL);
    }
}
static void ages_are_true_within_a_poll_interval(void **state) {
    (void)state;
    const struct sonde_random random = fakes_seams(&fakes).random;
    for (int round = 0; round < 5; round++) {
        write_records(&random);
        for (int64_t now = 0, polls = 0; now < written[RECORDS - 1] && polls < 400; now += INTERVAL * S, polls++) {
            int64_t end = end_at(now);
            assert_int_equal(sonde__kafka_history_add(&history, &alloc, 120, now, end), 0);
            if (history.count >= 2 && polls % 16 == 0)
                check_all_offsets(end, now);
        }
        sonde__kafka_history_deinit(&history, &alloc);
    }
}

/* --- lag --- */

static void expect_lag(struct sonde__kafka_offsets offsets, int64_t committed, int64_t lag, int64_t expired) {
    struct sonde__kafka_lag found = sonde__kafka_lag_of(&offsets, committed, false);
    assert_int_equal(found.lag, lag);
    assert_int_equal(found.expired, expired);
}
static void lag_is_what_lies_between(void **state) {
    (void)state;
    expect_lag((struct sonde__kafka_offsets){0, 100, 90}, 40, 60, 0);
    expect_lag((struct sonde__kafka_offsets){0, 100, 90}, 100, 0, 0);
    expect_lag((struct sonde__kafka_offsets){0, 100, 90}, 120, 0, 0); /* never negative */
    expect_lag((struct sonde__kafka_offsets){-1, 100, -1}, 40, 60, -1);
    expect_lag((struct sonde__kafka_offsets){0, -1, 90}, 40, -1, 0);
    expect_lag((struct sonde__kafka_offsets){0, 100, 90}, -1, -1, -1);
    struct sonde__kafka_offsets offsets = {0, 100, 90};
    assert_int_equal(sonde__kafka_lag_of(&offsets, 40, true).lag, 50);
    assert_int_equal(sonde__kafka_lag_of(&offsets, 95, true).lag, 0);
}
static void lag_ends_where_retention_is(void **state) {
    (void)state;
    expect_lag((struct sonde__kafka_offsets){70, 100, 90}, 40, 30, 30);
    struct sonde__kafka_offsets offsets = {70, 100, 90};
    assert_int_equal(sonde__kafka_lag_of(&offsets, 40, false).next, 70);
    expect_lag((struct sonde__kafka_offsets){170, 100, 90}, 40, 0, 130); /* the end is older than the start */
}

static struct sonde__kafka_sum sum_of(const struct sonde__kafka_lag *lags, const struct sonde__kafka_age *ages,
                                      size_t count) {
    struct sonde__kafka_sum sum = {0};
    for (size_t i = 0; i < count; i++)
        sonde__kafka_sum_add(&sum, &lags[i], ages[i]);
    return sum;
}
static void sums_are_of_the_partition_that_is_furthest_behind(void **state) {
    (void)state;
    const struct sonde__kafka_lag lags[] = {{10, 2, 0}, {0, 0, 0}, {5, 0, 0}};
    const struct sonde__kafka_age ages[] = {
        {SONDE__KAFKA_INTERPOLATED, 3}, {SONDE__KAFKA_INTERPOLATED, 0}, {SONDE__KAFKA_FLOOR, 7}};
    struct sonde__kafka_sum sum = sum_of(lags, ages, 3);
    assert_int_equal(sum.lag, 15);
    assert_int_equal(sum.expired, 2);
    assert_int_equal(sum.expired_partitions, 1);
    assert_int_equal(sum.committed, 3);
    struct sonde__kafka_age age = sonde__kafka_sum_age(&sum);
    assert_int_equal(age.estimate, SONDE__KAFKA_FLOOR);
    assert_true(age.seconds == 7);
}
static void sums_with_unknown_parts_are_unknown(void **state) {
    (void)state;
    const struct sonde__kafka_lag lags[] = {{10, 0, 0}, {-1, -1, 0}};
    const struct sonde__kafka_age ages[] = {{SONDE__KAFKA_INTERPOLATED, 3}, {SONDE__KAFKA_UNKNOWN, 0}};
    struct sonde__kafka_sum sum = sum_of(lags, ages, 2);
    assert_true(sum.lag_unknown && sum.expired_unknown);
    assert_int_equal(sonde__kafka_sum_age(&sum).estimate, SONDE__KAFKA_FLOOR);
    const struct sonde__kafka_lag none[] = {{0, 0, 0}, {5, 0, 0}};
    const struct sonde__kafka_age unknown[] = {{SONDE__KAFKA_INTERPOLATED, 0}, {SONDE__KAFKA_UNKNOWN, 0}};
    sum = sum_of(none, unknown, 2);
    assert_false(sum.lag_unknown);
    assert_int_equal(sonde__kafka_sum_age(&sum).estimate, SONDE__KAFKA_UNKNOWN); /* not 0 */
    sum = sum_of(none, unknown, 1);
    assert_int_equal(sonde__kafka_sum_age(&sum).estimate, SONDE__KAFKA_INTERPOLATED);
}

/* --- progress --- */

enum { WINDOW = 5 };
static struct sonde__kafka_progress progress;

static int progress_setup(void **state) {
    (void)state;
    progress = (struct sonde__kafka_progress){0};
    return 0;
}
static enum sonde__kafka_progress_state see(int64_t committed, int64_t lag, bool has_members) {
    return sonde__kafka_progress_see(&progress, (struct sonde__kafka_sight){committed, lag, has_members}, WINDOW, 0);
}

static void progress_is_ok_until_the_window_is_full(void **state) {
    (void)state;
    for (int i = 0; i < WINDOW - 1; i++)
        assert_int_equal(see(10, 5, true), SONDE__KAFKA_OK);
    assert_int_equal(see(10, 5, true), SONDE__KAFKA_STALL);
    assert_int_equal(see(10, 5, false), SONDE__KAFKA_STOP);
    assert_int_equal(see(11, 5, true), SONDE__KAFKA_OK);
}
static void progress_is_ok_when_it_was_caught_up_within_the_window(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++)
        assert_int_equal(see(10, 0, false), SONDE__KAFKA_OK);
    for (int i = 0; i < WINDOW - 1; i++)
        assert_int_equal(see(10, 5 + i, true), SONDE__KAFKA_OK);
    assert_int_equal(see(10, 50, true), SONDE__KAFKA_STALL);
    assert_int_equal(see(60, 0, true), SONDE__KAFKA_OK);
}
static void progress_warns_when_lag_grows_though_it_advances(void **state) {
    (void)state;
    for (int i = 0; i < WINDOW - 1; i++)
        assert_int_equal(see(10 + i, 5 + i, true), SONDE__KAFKA_OK);
    assert_int_equal(see(20, 10, true), SONDE__KAFKA_WARNING);
    assert_int_equal(see(21, 11, true), SONDE__KAFKA_WARNING);
    assert_int_equal(see(29, 8, true), SONDE__KAFKA_OK);
}
static void progress_does_not_warn_of_a_lag_that_stays(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) /* a reader of transactions: their markers are never committed past */
        assert_int_equal(see(10 + i, 1, true), SONDE__KAFKA_OK);
}
static void progress_tells_a_rewind_until_it_is_made_up(void **state) {
    (void)state;
    assert_int_equal(see(100, 5, true), SONDE__KAFKA_OK);
    assert_int_equal(see(50, 55, true), SONDE__KAFKA_REWIND);
    assert_int_equal(see(40, 65, true), SONDE__KAFKA_REWIND);
    assert_int_equal(see(99, 7, true), SONDE__KAFKA_REWIND);
    assert_int_equal(see(100, 6, true), SONDE__KAFKA_OK);
    assert_int_equal(see(20, 86, true), SONDE__KAFKA_REWIND);
    for (int i = 0; i < WINDOW + 1; i++)
        (void)see(21 + i, 80 - i, true);
    assert_int_equal(see(30, 70, true), SONDE__KAFKA_OK); /* long ago */
}
static void progress_allows_the_lag_it_is_told_to(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++)
        assert_int_equal(sonde__kafka_progress_see(&progress, (struct sonde__kafka_sight){10, 3, false}, WINDOW, 3),
                         SONDE__KAFKA_OK);
}
static void progress_is_ok_whenever_lag_falls_at_each_poll(void **state) {
    (void)state;
    const struct sonde_random random = fakes_seams(&fakes).random;
    int64_t lag = 1000000, committed = 0;
    for (int i = 0; i < 100000 && lag > 0; i++) {
        int64_t step = 1 + (int64_t)(random.next(random.self) % 50);
        committed += step;
        lag -= step;
        assert_int_equal(see(committed, lag > 0 ? lag : 0, random.next(random.self) & 1), SONDE__KAFKA_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(age_is_unknown_below_two_points_unless_caught_up),
        CASE(age_is_interpolated_in_the_middle_of_a_records_share),
        CASE(age_before_the_first_point_is_a_floor),
        CASE(flat_runs_are_two_points_and_end_late),
        CASE(history_begins_again_when_the_end_falls),
        CASE(time_that_does_not_rise_is_left_out),
        CASE(history_forgets_the_oldest),
        CASE(history_lives_without_memory),
        CASE(ages_are_true_within_a_poll_interval),
        CASE(lag_is_what_lies_between),
        CASE(lag_ends_where_retention_is),
        CASE(sums_are_of_the_partition_that_is_furthest_behind),
        CASE(sums_with_unknown_parts_are_unknown),
#undef CASE
        cmocka_unit_test_setup(progress_is_ok_until_the_window_is_full, progress_setup),
        cmocka_unit_test_setup(progress_is_ok_when_it_was_caught_up_within_the_window, progress_setup),
        cmocka_unit_test_setup(progress_warns_when_lag_grows_though_it_advances, progress_setup),
        cmocka_unit_test_setup(progress_does_not_warn_of_a_lag_that_stays, progress_setup),
        cmocka_unit_test_setup(progress_tells_a_rewind_until_it_is_made_up, progress_setup),
        cmocka_unit_test_setup(progress_allows_the_lag_it_is_told_to, progress_setup),
        cmocka_unit_test_setup(progress_is_ok_whenever_lag_falls_at_each_poll, progress_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
