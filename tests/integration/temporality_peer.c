/* SPDX-License-Identifier: Apache-2.0 */
/* A service that counts, for temporality_test.py. Each line of its standard input, a number N, adds N to a counter, records
 * N values in two histograms and moves an up-down counter; it answers "done". Ends with its input. */
#include <sonde/sonde.h>
#include <stdio.h>

static struct sonde_series series(enum sonde_instrument_kind kind, const char *name, const double *bounds,
                                  size_t bound_count) {
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = kind, .name = name, .bounds = bounds, .bound_count = bound_count};
    struct sonde_instrument instrument;
    (void)sonde_instrument_create(&options, &instrument); /* a no-op on failure, which the test sees */
    return sonde_series_bind(instrument, NULL, 0);
}

int main(void) {
    static const double bounds[] = {10, 100};
    struct sonde_series counter = series(SONDE_COUNTER, "test.counter", NULL, 0);
    struct sonde_series up_down = series(SONDE_UP_DOWN_COUNTER, "test.up_down", NULL, 0);
    struct sonde_series exponential = series(SONDE_HISTOGRAM, "test.exponential", NULL, 0);
    struct sonde_series explicit = series(SONDE_HISTOGRAM, "test.explicit", bounds, 2);
    int number;
    while (scanf("%d", &number) == 1) {
        for (int i = 1; i <= number; i++) {
            sonde_counter_add(counter, 1);
            sonde_histogram_record(exponential, i * 1.5);
            sonde_histogram_record(explicit, i);
        }
        sonde_up_down_counter_add(up_down, number % 2 ? 1 : -1);
        (void)puts("done");
        (void)fflush(stdout);
    }
    return 0;
}
