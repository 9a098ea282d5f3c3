/* SPDX-License-Identifier: Apache-2.0 */
/* The service of the agent's figures: spans with four attributes (two strings of 16 bytes, two integers) at a rate.
 *   bench-load SPANS RATE     prints {"spans":N,"dropped":N,"clk_ns":X} when the agent has taken them all
 * It is no figure by itself: with --list it names none. */
#include "tests/bench/bench.h"
#include <sonde/sonde.h>

static void work(uint64_t number) {
    char route[17], user[17];
    struct sonde_span span;
    (void)snprintf(route, sizeof route, "/v1/route/%06u", (unsigned)(number % 64));
    (void)snprintf(user, sizeof user, "%016llx", (unsigned long long)(number * 0x9E3779B97F4A7C15u));
    sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), NULL);
    sonde_span_set_string(&span, SONDE_KEY("http.route"), route, 16);
    sonde_span_set_string(&span, SONDE_KEY("enduser.id"), user, 16);
    sonde_span_set_int64(&span, SONDE_KEY("http.response.status_code"), 200 + (int64_t)(number & 3) * 100);
    sonde_span_set_int64(&span, SONDE_KEY("http.response.body.size"), (int64_t)(number * 7919 & 0xfffff));
    sonde_span_end(&span);
}

static void pace(uint64_t start_ns, uint64_t rate, uint64_t done) {
    uint64_t due_ns = start_ns + done * 1000000000u / rate, now = bench_now_ns();
    if (due_ns > now) {
        struct timespec rest = {.tv_sec = (time_t)((due_ns - now) / 1000000000u),
                                .tv_nsec = (long)((due_ns - now) % 1000000000u)};
        (void)nanosleep(&rest, NULL);
    }
}

static uint64_t dropped(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    uint64_t sum = 0;
    sonde_stats_get(&stats);
    for (int reason = 0; reason < SONDE_DROP_REASON_COUNT; reason++)
        sum += stats.dropped[SONDE_SIGNAL_TRACES][reason];
    return sum;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return 0;
    if (argc != 3) {
        fprintf(stderr, "usage: bench-load SPANS RATE\n");
        return 2;
    }
    uint64_t spans = strtoull(argv[1], NULL, 10), rate = strtoull(argv[2], NULL, 10);
    struct sonde_stats stats = {.size = sizeof stats};
    for (uint64_t end_ns = bench_now_ns() + 10000000000u; !stats.connected && bench_now_ns() < end_ns;) {
        (void)sonde_flush(100); /* starts the library, and waits for the agent */
        sonde_stats_get(&stats);
    }
    uint64_t start_ns = bench_now_ns();
    for (uint64_t done = 0; done < spans; done++) {
        if (done % 128 == 0)
            pace(start_ns, rate, done);
        work(done);
    }
    int result = sonde_flush(10000);
    printf("{\"spans\":%llu,\"dropped\":%llu,\"clk_ns\":%.2f}\n", (unsigned long long)spans,
           (unsigned long long)dropped(), bench_clk());
    return result == 0 ? 0 : 1;
}
