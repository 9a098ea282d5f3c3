/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of metrics: a bound counter on one thread and on two, a histogram of latencies, the same with each offered as
 * an exemplar, attributes given per call. */
#include "tests/bench/bench.h"
#include "tests/bench/pair.h"
#include <math.h>
#include <sonde/sonde.h>

#define VALUES 4096u
static double latencies[VALUES];
static struct sonde_series counter, histogram;
static struct sonde_instrument by_call;

static void run_counter(uint64_t count) {
    struct sonde_series series = counter;
#pragma GCC unroll 4 /* so that the loop is not what is measured */
    for (uint64_t i = 0; i < count; i++)
        sonde_counter_add(series, 1);
}
static void run_histogram(uint64_t count) {
    struct sonde_series series = histogram;
    for (uint64_t i = 0; i < count; i++)
        sonde_histogram_record(series, latencies[i % VALUES]);
}
static void run_lookup(uint64_t count) {
    static const struct sonde_string methods[] = {{"GET", 3}, {"POST", 4}, {"PUT", 3}, {"DELETE", 6}};
    for (uint64_t i = 0; i < count; i++) {
        const struct sonde_string *method = &methods[i & 3];
        const struct sonde_attribute attributes[] = {
            sonde_attribute_string_n(SONDE_KEY("http.request.method"), method->data, method->size),
            sonde_attribute_int64(SONDE_KEY("http.response.status_code"), 200 + (int64_t)(i & 1)),
        };
        sonde_instrument_add(by_call, 1, attributes, 2);
    }
}

/* Under a sampled span, so that each is offered as an exemplar. */
static void run_exemplar(uint64_t count) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("bench"), NULL);
    run_histogram(count);
    sonde_span_end(&span);
}

static const char *check_drops(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats.measurements_dropped || stats.dropped[SONDE_SIGNAL_METRICS][SONDE_DROP_BUSY]
               ? "measurements were dropped"
               : NULL;
}

static double counter_2t(uint64_t count) {
    (void)count;
    return bench_threads(2, run_counter);
}
static bool counter_1t(double *ret_ns) {
    *ret_ns = bench_threads(1, run_counter);
    return true;
}

static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind) {
    struct sonde_instrument_options options = {.size = sizeof options, .kind = kind, .name = name, .unit = "s"};
    struct sonde_instrument instrument;
    if (sonde_instrument_create(&options, &instrument)) {
        fprintf(stderr, "no instrument %s\n", name);
        exit(1);
    }
    return instrument;
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {"counter_bound", run_counter, 10000000, check_drops, NULL, NULL},
        {"histogram_record", run_histogram, 4000000, check_drops, NULL, NULL},
        {"histogram_exemplar", run_exemplar, 4000000, check_drops, NULL, NULL},
        {"counter_lookup", run_lookup, 2000000, check_drops, NULL, NULL},
        {"counter_bound_2t", NULL, BENCH_PAIR_COUNT, check_drops, counter_2t, counter_1t},
    };
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    bench_pin(0);
    srand(2);
    for (uint32_t i = 0; i < VALUES; i++) { /* log-normal about 2.5 ms, as latencies are */
        double u = (rand() + 1.0) / (RAND_MAX + 2.0), v = (rand() + 1.0) / (RAND_MAX + 2.0);
        latencies[i] = exp(-6 + sqrt(-2 * log(u)) * cos(2 * M_PI * v));
    }
    struct sonde_attribute method = sonde_attribute_string(SONDE_KEY("http.request.method"), "GET");
    counter = sonde_series_bind(make("bench.requests", SONDE_COUNTER), &method, 1);
    histogram = sonde_series_bind(make("bench.duration", SONDE_HISTOGRAM), &method, 1);
    by_call = make("bench.by_call", SONDE_COUNTER);
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
