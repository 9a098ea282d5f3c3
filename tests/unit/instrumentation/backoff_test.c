/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/backoff.h"
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static void delay_doubles_and_stops_at_the_cap(void **state) {
    (void)state;
    struct sonde__backoff backoff = {500 * MS, 30 * SECOND, 0};
    uint64_t ceiling = 500 * MS;
    for (int i = 0; i < 100; i++) {
        struct sonde__backoff low = backoff, high = backoff;
        assert_int_equal(sonde__backoff_next(&low, 0), ceiling / 2);
        assert_int_equal(sonde__backoff_next(&high, ceiling / 2), ceiling);
        (void)sonde__backoff_next(&backoff, 1);
        ceiling = ceiling * 2 < 30 * SECOND ? ceiling * 2 : 30 * SECOND;
    }
    sonde__backoff_reset(&backoff);
    assert_int_equal(sonde__backoff_next(&backoff, 0), 250 * MS);
}

static void extremes_stay_in_range(void **state) {
    (void)state;
    const uint64_t randoms[] = {0, 1, UINT64_MAX / 2, UINT64_MAX};
    const struct sonde__backoff cases[] = {{0, 0, 0},
                                           {1, 1, 0},
                                           {10, 3, 0},
                                           {1, UINT64_MAX, 0},
                                           {UINT64_MAX, UINT64_MAX, UINT32_MAX},
                                           {500 * MS, 30 * SECOND, UINT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t r = 0; r < sizeof randoms / sizeof *randoms; r++) {
            struct sonde__backoff backoff = cases[i];
            for (int n = 0; n < 70; n++) {
                uint64_t delay = sonde__backoff_next(&backoff, randoms[r]);
                uint64_t max = cases[i].max_ns > cases[i].initial_ns ? cases[i].max_ns : cases[i].initial_ns;
                assert_true(delay >= 1 && delay <= (max ? max : 1));
            }
        }
    }
}

/* A fixed generator: the same sequence in every run. */
static uint64_t mix(uint64_t *seed) {
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 1,000 clients fail at the same moment; after ten minutes their tries must not come in waves: in the next minute no
 * second sees three times the mean. */
static void clients_that_failed_together_spread(void **state) {
    (void)state;
    enum { CLIENTS = 1000, FROM_S = 600, SECONDS = 60 };
    uint64_t seed = 7, arrivals[SECONDS] = {0}, sum = 0, most = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct sonde__backoff backoff = {500 * MS, 30 * SECOND, 0};
        uint64_t now = 0;
        while (now < (FROM_S + SECONDS) * SECOND) {
            now += sonde__backoff_next(&backoff, mix(&seed));
            uint64_t second = now / SECOND;
            if (second >= FROM_S && second < FROM_S + SECONDS)
                arrivals[second - FROM_S]++;
        }
    }
    for (int i = 0; i < SECONDS; i++) {
        sum += arrivals[i];
        most = arrivals[i] > most ? arrivals[i] : most;
    }
    assert_true(sum > CLIENTS); /* each came more than once */
    assert_true(most * SECONDS < sum * 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(delay_doubles_and_stops_at_the_cap),
                                       cmocka_unit_test(extremes_stay_in_range),
                                       cmocka_unit_test(clients_that_failed_together_spread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
