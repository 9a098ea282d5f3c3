/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/backoff.h"

static uint64_t backoff_ceiling(const struct sonde__backoff *backoff) {
    uint64_t initial = backoff->initial_ns ? backoff->initial_ns : 1;
    uint64_t max = backoff->max_ns > initial ? backoff->max_ns : initial;
    uint64_t ceiling = initial;
    for (uint32_t i = 1; i < backoff->failures; i++) {
        if (ceiling > max / 2) /* doubling would pass the cap (or the type) */
            return max;
        ceiling *= 2;
    }
    return ceiling;
}

uint64_t sonde__backoff_next(struct sonde__backoff *backoff, uint64_t random) {
    if (backoff->failures < UINT32_MAX)
        backoff->failures++;
    uint64_t ceiling = backoff_ceiling(backoff);
    uint64_t spread = ceiling / 2;
    uint64_t fixed = ceiling - spread;
    /* spread + 1 values; the bias of the remainder is below 2^-29 for delays under 30 s. */
    return spread == UINT64_MAX ? fixed : fixed + random % (spread + 1);
}

void sonde__backoff_reset(struct sonde__backoff *backoff) {
    backoff->failures = 0;
}
