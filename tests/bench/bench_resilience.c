/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of the resilience kit. Durations are handed in, as callers that measure their calls anyway do. */
#include "tests/bench/bench.h"
#include "tests/bench/pair.h"
#include <sonde/resilience/breaker.h>
#include <sonde/sonde.h>

static struct sonde_breaker closed, open_breaker;

static void run_closed(uint64_t count) {
    struct sonde_breaker breaker = closed;
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_breaker_permit permit;
        if (sonde_breaker_admit(breaker, &permit) == SONDE_REJECTED)
            bench_dropped(1);
        sonde_breaker_report(breaker, &permit, SONDE_OUTCOME_SUCCESS, 2500000u + (i & 0xFFFF));
    }
}
static void run_open(uint64_t count) {
    struct sonde_breaker breaker = open_breaker;
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_breaker_permit permit;
        if (sonde_breaker_admit(breaker, &permit) != SONDE_REJECTED)
            bench_dropped(1);
    }
}
static double closed_2t(uint64_t count) {
    (void)count;
    return bench_threads(2, run_closed);
}
static bool closed_1t(double *ret_ns) {
    *ret_ns = bench_threads(1, run_closed);
    return true;
}

static struct sonde_breaker make(const char *name) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_breaker breaker;
    options.name = name;
    if (sonde_breaker_create(&options, &breaker)) {
        fprintf(stderr, "no breaker %s\n", name);
        exit(1);
    }
    return breaker;
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {"breaker_closed", run_closed, 2000000, NULL, NULL, NULL},
        {"breaker_open", run_open, 4000000, NULL, NULL, NULL},
        {"breaker_closed_2t", NULL, BENCH_PAIR_COUNT, NULL, closed_2t, closed_1t},
    };
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    bench_pin(0);
    closed = make("closed");
    open_breaker = make("open");
    if (sonde_breaker_state_set(open_breaker, SONDE_BREAKER_OPEN, UINT64_C(3600000000000)))
        return 1;
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
