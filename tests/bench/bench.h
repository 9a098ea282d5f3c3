/* SPDX-License-Identifier: Apache-2.0 */
/* How a figure is taken. A round measures clk (a pair of clock_gettime(CLOCK_REALTIME) calls) before and after the
 * work, so that what else the machine does hits both; the figure is the median of the rounds, its ratio the median of
 * the rounds' ratios.
 *
 *   static const struct bench_row rows[] = {{"inject_w3c", run_inject, 1000000}, ...};
 *   int main(int argc, char **argv) { return bench_main(argc, argv, rows, sizeof rows / sizeof *rows); }
 *
 * run(count) does the work `count` times; bench_dropped() may be called by it when records were lost. */
#ifndef SONDE_TESTS_BENCH_H
#define SONDE_TESTS_BENCH_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_ROUNDS_MAX 101
#define BENCH_ROUNDS     21

struct bench_row {
    const char *name;
    void (*run)(uint64_t count);
    uint64_t count;                    /* of one round; some 20 ms */
    const char *(*check)(void);        /* after the rounds, may be NULL: what is wrong, or NULL */
    double (*measure)(uint64_t count); /* instead of run: ns of one piece of work by other means than a loop on this
                                          thread; may be NULL */
    bool (*against)(double *ret_ns);   /* instead of clk: what one piece is compared with; may be NULL */
};

static uint64_t bench_lost;
static inline void bench_dropped(uint64_t count) {
    bench_lost += count;
}
static inline uint64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
static inline void bench_pin(int cpu) { /* a refusal only makes the figure noisier */
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}
/* ns of one pair of clock_gettime(CLOCK_REALTIME) calls. */
static inline double bench_clk(void) {
    enum { PAIRS = 100000 };
    struct timespec now;
    uint64_t start = bench_now_ns();
    for (int i = 0; i < PAIRS; i++) {
        clock_gettime(CLOCK_REALTIME, &now);
        clock_gettime(CLOCK_REALTIME, &now);
    }
    return (double)(bench_now_ns() - start) / PAIRS;
}
static inline int bench_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static inline double bench_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, bench_compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
/* True when the kernel's clock source is tsc: the figures' promises are for that. */
static inline bool bench_clock_is_tsc(void) {
    char name[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");
    bool tsc = file && fgets(name, sizeof name, file) && strcmp(name, "tsc\n") == 0;
    if (file)
        fclose(file);
    return tsc;
}
static inline void bench_print(const char *name, double median, const char *unit, double ratio, int rounds,
                               uint64_t dropped) {
    printf("{\"bench\":\"%s\",\"median\":%.2f,\"unit\":\"%s\",\"x_clk\":%.3f,\"runs\":%d,\"dropped\":%llu}\n", name,
           median, unit, ratio, rounds, (unsigned long long)dropped);
    fflush(stdout);
}
static inline double bench_once(const struct bench_row *row) {
    if (row->measure)
        return row->measure(row->count);
    uint64_t start = bench_now_ns();
    row->run(row->count);
    return (double)(bench_now_ns() - start) / (double)row->count;
}
/* Takes one figure and prints its line. Returns false when its check failed. */
static inline bool bench_take(const struct bench_row *row) {
    double ns[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
    bench_lost = 0;
    (void)bench_once(row); /* warms up */
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        double before, after, other;
        if (row->against) {
            if (!row->against(&before))
                return false;
            ns[i] = bench_once(row);
            ratios[i] = ns[i] / before;
            continue;
        }
        before = bench_clk();
        ns[i] = bench_once(row);
        after = bench_clk();
        other = (before + after) / 2;
        ratios[i] = ns[i] / other;
    }
    const char *wrong = row->check ? row->check() : NULL;
    bench_print(row->name, bench_median(ns, BENCH_ROUNDS), "ns", bench_median(ratios, BENCH_ROUNDS), BENCH_ROUNDS,
                bench_lost);
    if (wrong)
        fprintf(stderr, "%s: %s\n", row->name, wrong);
    return !wrong;
}
/* --list prints the names; no arguments take all figures, else the named ones. */
static inline int bench_main(int argc, char **argv, const struct bench_row *rows, size_t count) {
    int status = 0;
    bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    if (!list && !bench_clock_is_tsc())
        fprintf(stderr, "note: the kernel's clock source is not tsc; time is clock_gettime's\n");
    if (!list)
        bench_pin(0);
    for (size_t i = 0; i < count; i++) {
        bool wanted = argc < 2 || list;
        for (int k = 1; k < argc; k++)
            wanted = wanted || strcmp(argv[k], rows[i].name) == 0;
        if (list)
            puts(rows[i].name);
        else if (wanted && !bench_take(&rows[i]))
            status = 1;
    }
    return status;
}

#endif
