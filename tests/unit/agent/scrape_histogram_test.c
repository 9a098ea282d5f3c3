/* SPDX-License-Identifier: Apache-2.0 */
/* Classic histograms that are scraped: from text to the store, and out as text again. */
#include "agent/receive/scrape.h"
#include "agent/series/series.h"
#include "exporters/prometheus/text.h"
#include "instrumentation/ring/cells.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

struct fixture {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_series_store *store;
    struct sonde_series_source *source;
    uint64_t left_out;
    char *text;
    size_t text_size;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    fakes_init(&f->fakes);
    f->seams = fakes_seams(&f->fakes);
    *state = f;
    return sonde_series_store_create(&f->seams, &f->store) ||
           sonde_series_source_create(f->store, (struct sonde_bytes){NULL, 0}, &f->source);
}
static int teardown(void **state) {
    struct fixture *f = *state;
    sonde_series_store_destroy(f->store);
    free(f->text);
    int leaked = f->fakes.live != 0;
    free(f);
    return leaked;
}

static int read_text(struct fixture *f, const char *text) {
    static struct sonde__exposition reader;
    static struct sonde__scrape_take take;
    static const struct sonde__scrape_config config;
    take = (struct sonde__scrape_take){.source = f->source, .config = &config};
    reader = (struct sonde__exposition){.is_openmetrics = strstr(text, "# EOF") != NULL,
                                        .samples_max = 10000,
                                        .sample = sonde__scrape_take_sample,
                                        .user = &take};
    int err = sonde__exposition_read(&reader, text, strlen(text));
    if (!err)
        err = sonde__scrape_histogram_end(&take);
    sonde_series_sweep(f->source);
    f->left_out = take.left_out;
    return err;
}
static void scraped(struct fixture *f, const char *text) {
    assert_int_equal(read_text(f, text), 0);
}

static int sink_write(void *self, const char *text, size_t size) {
    return fwrite(text, 1, size, self) == size ? 0 : -EIO;
}
static const char *shown(struct fixture *f) {
    free(f->text);
    FILE *out = open_memstream(&f->text, &f->text_size);
    assert_non_null(out);
    struct sonde_prometheus_sink sink = {sink_write, out};
    struct sonde_prometheus_stats stats;
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    sonde_series_refresh(f->store);
    assert_int_equal(sonde_prometheus_write(&feed, &f->seams.alloc, &sink, &stats), 0);
    assert_int_equal(stats.type_conflicts + stats.points_refused, 0);
    (void)fclose(out);
    return f->text;
}
static void shows(struct fixture *f, const char *text) {
    if (!strstr(shown(f), text))
        fail_msg("missing: %s\nin:\n%s", text, f->text);
}

static void a_histogram_comes_out_as_it_went_in(void **state) {
    static const char text[] = "# HELP t_seconds Times.\n# TYPE t_seconds histogram\n"
                               "t_seconds_bucket{a=\"1\",le=\"0.5\"} 3\nt_seconds_bucket{a=\"1\",le=\"2.5\"} 3\n"
                               "t_seconds_bucket{a=\"1\",le=\"+Inf\"} 4\nt_seconds_sum{a=\"1\"} 7.25\n"
                               "t_seconds_count{a=\"1\"} 4\n"
                               "t_seconds_bucket{a=\"2\",le=\"0.5\"} 0\nt_seconds_bucket{a=\"2\",le=\"2.5\"} 9\n"
                               "t_seconds_bucket{a=\"2\",le=\"+Inf\"} 9\nt_seconds_sum{a=\"2\"} 10\n"
                               "t_seconds_count{a=\"2\"} 9\n";
    struct fixture *f = *state;
    scraped(f, text);
    assert_string_equal(shown(f), text);
    assert_int_equal(f->left_out, 0);
}

static void a_gauge_behind_it_ends_it(void **state) {
    struct fixture *f = *state;
    scraped(f, "# TYPE t histogram\nt_count 2\nt_sum 3\nt_bucket{le=\"1\"} 1\n# TYPE g gauge\ng 5\n");
    shows(f, "t_bucket{le=\"1\"} 1\nt_bucket{le=\"+Inf\"} 2\nt_sum 3\nt_count 2\n");
    shows(f, "\ng 5\n");
}

static void without_bounds_there_are_count_and_sum(void **state) {
    struct fixture *f = *state;
    scraped(f, "# TYPE t histogram\nt_bucket{le=\"+Inf\"} 2\nt_sum 3\n");
    shows(f, "t_bucket{le=\"+Inf\"} 2\nt_sum 3\nt_count 2\n");
}

static void series_of_a_family_may_have_other_bounds(void **state) {
    struct fixture *f = *state;
    static const char text[] = "# TYPE t histogram\n"
                               "t_bucket{a=\"1\",le=\"1\"} 1\nt_bucket{a=\"1\",le=\"+Inf\"} 2\nt_sum{a=\"1\"} 3\n"
                               "t_count{a=\"1\"} 2\n"
                               "t_bucket{a=\"2\",le=\"7\"} 1\nt_bucket{a=\"2\",le=\"+Inf\"} 1\nt_sum{a=\"2\"} 5\n"
                               "t_count{a=\"2\"} 1\n";
    scraped(f, text);
    scraped(f, text);
    shows(f, strstr(text, "\n") + 1);
}

static void what_is_no_histogram_is_left_out(void **state) {
    static const char *const bad[] = {
        "t_bucket{le=\"1\"} 3\nt_bucket{le=\"2\"} 2\nt_bucket{le=\"+Inf\"} 4\n", /* falls */
        "t_bucket{le=\"1\"} 3\nt_bucket{le=\"1\"} 3\nt_bucket{le=\"+Inf\"} 4\n", /* twice */
        "t_bucket{le=\"2\"} 3\nt_bucket{le=\"1\"} 3\nt_bucket{le=\"+Inf\"} 4\n", /* not in order */
        "t_bucket{le=\"1\"} 3.5\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",            /* no whole number */
        "t_bucket{le=\"1\"} NaN\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",
        "t_bucket{le=\"1\"} -1\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",
        "t_bucket{le=\"x\"} 1\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",
        "t_bucket{le=\"NaN\"} 1\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",
        "t_bucket{le=\"-Inf\"} 1\nt_bucket{le=\"1\"} 4\nt_sum 1\n",
        "t_bucket 1\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",           /* no bound */
        "t_bucket{le=\"1\"} 5\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n", /* more below than there are */
        "t_bucket{le=\"1\"} 5\nt_bucket{le=\"2\"} 5\nt_sum 1\n",    /* neither count nor +Inf */
        "t_bucket{le=\"+Inf\"} 1e300\nt_bucket{le=\"+Inf\"} 4\nt_sum 1\n",
    };
    struct fixture *f = *state;
    char text[300];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(text, sizeof text, "# TYPE t histogram\n%s# TYPE g gauge\ng 1\n", bad[i]);
        scraped(f, text);
        if (f->left_out != 3 || strstr(shown(f), "t_count") || !strstr(f->text, "g 1\n"))
            fail_msg("row %zu: %llu left out\n%s", i, (unsigned long long)f->left_out, f->text);
    }
}

static void of_many_bounds_every_other_goes(void **state) {
    struct fixture *f = *state;
    size_t size = 1 << 16, at;
    char *text = malloc(size);
    assert_non_null(text);
    for (int count = 160; count <= 1025; count += 173) { /* 160, 333, 506, 679, 852, 1025 */
        at = (size_t)snprintf(text, size, "# TYPE t histogram\n");
        for (int i = 1; i <= count; i++)
            at += (size_t)snprintf(text + at, size - at, "t_bucket{le=\"%d\"} %d\n", i, i);
        (void)snprintf(text + at, size - at, "t_bucket{le=\"+Inf\"} %d\nt_sum 1\n", count + 5);
        scraped(f, text);
        if (count == 1025) { /* more than is read */
            assert_int_equal(f->left_out, 1027);
            continue;
        }
        char last[64];
        (void)snprintf(last, sizeof last, "t_bucket{le=\"%d\"} %d\n", count / 8 * 8, count / 8 * 8);
        shows(f, last); /* however often they were halved, what remains is right */
        (void)snprintf(last, sizeof last, "t_bucket{le=\"+Inf\"} %d\n", count + 5);
        shows(f, last);
    }
    free(text);
}

static void when_it_began_is_told(void **state) {
    struct fixture *f = *state;
    scraped(f, "# TYPE t histogram\nt_bucket{le=\"1\"} 1\nt_bucket{le=\"+Inf\"} 1\nt_sum 1\nt_count 1\n"
               "t_created 1700000000.5\n# EOF\n");
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    struct sonde_metric_cursor cursor = {0};
    struct sonde_metric metric;
    struct sonde_metric_point point;
    uint32_t at = 0;
    assert_true(feed.next_metric(feed.self, &cursor, &metric));
    assert_int_equal(metric.kind, SONDE_HISTOGRAM);
    assert_true(feed.next_point(feed.self, &metric, &at, &point));
    assert_int_equal(point.start_unix_ns, UINT64_C(1700000000500000000));
    assert_int_equal(point.histogram->count, 1);
    assert_int_equal(f->left_out, 0);
}

static void no_memory_leaks_nothing(void **state) {
    struct fixture *f = *state;
    for (int64_t at = 0; at < 30; at++) {
        f->fakes.allocations_until_failure = at;
        (void)read_text(f, "# TYPE t histogram\nt_bucket{le=\"1\"} 1\nt_bucket{le=\"+Inf\"} 1\nt_sum 1\n");
        f->fakes.allocations_until_failure = -1;
        (void)shown(f);
        scraped(f, "a 1\n");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_histogram_comes_out_as_it_went_in),
        TEST(a_gauge_behind_it_ends_it),
        TEST(without_bounds_there_are_count_and_sum),
        TEST(series_of_a_family_may_have_other_bounds),
        TEST(what_is_no_histogram_is_left_out),
        TEST(of_many_bounds_every_other_goes),
        TEST(when_it_began_is_told),
        TEST(no_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
