/* SPDX-License-Identifier: Apache-2.0 */
/* The service of the scrapes' figures: counters of many series, with three attributes each, that stand still.
 *   bench-series PREFIX INSTRUMENTS SERIES     prints {"series":N} when the agent knows of it, and stays until it is ended
 * It is no figure by itself: with --list it names none. */
#include "tests/bench/bench.h"
#include <sonde/sonde.h>
#include <unistd.h>

static int fill(const char *prefix, unsigned instrument, unsigned series) {
    char name[64], route[32];
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    struct sonde_instrument_options options = SONDE_INSTRUMENT_OPTIONS_INIT;
    struct sonde_instrument handle;
    (void)snprintf(name, sizeof name, "%s.requests%u", prefix, instrument);
    options.name = name;
    options.unit = "{request}";
    options.description = "Requests answered.";
    int err = sonde_instrument_create(&options, &handle);
    for (unsigned i = 0; i < series && !err; i++) {
        (void)snprintf(route, sizeof route, "/v1/route/%06u", i / 4);
        const struct sonde_attribute attributes[] = {
            sonde_attribute_string(SONDE_KEY("http.request.method"), methods[i % 4]),
            sonde_attribute_int64(SONDE_KEY("http.response.status_code"), 200 + (int64_t)(i % 3) * 100),
            sonde_attribute_string(SONDE_KEY("http.route"), route)};
        sonde_counter_add(sonde_series_bind(handle, attributes, 3), i * 7919u);
    }
    return err;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return 0;
    if (argc != 4) {
        fprintf(stderr, "usage: bench-series PREFIX INSTRUMENTS SERIES\n");
        return 2;
    }
    unsigned instruments = (unsigned)strtoul(argv[2], NULL, 10), series = (unsigned)strtoul(argv[3], NULL, 10);
    struct sonde_stats stats = {.size = sizeof stats};
    for (uint64_t end_ns = bench_now_ns() + 10000000000u; !stats.connected && bench_now_ns() < end_ns;) {
        (void)sonde_flush(100); /* starts the library, and waits for the agent */
        sonde_stats_get(&stats);
    }
    for (unsigned i = 0; i < instruments; i++)
        if (fill(argv[1], i, series))
            return 1;
    printf("{\"series\":%u}\n", instruments * series);
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}
