/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/clock.h"
#include <time.h>

struct sonde__kit_clock sonde__kit_clock = {.sequence = 1};
static atomic_flag is_writing = ATOMIC_FLAG_INIT; /* a fork may leave it set: then the child asks the system */

uint64_t sonde__kit_now_slow(void) {
    struct timespec now = {0};
    uint64_t ticks;
    (void)sonde__clock_now(&ticks); /* calibrates when that is due */
    uint32_t before = atomic_load(&sonde__clock.sequence);
    uint64_t from_ns = sonde__clock_try(&ticks);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t to_ns = sonde__clock_try(&ticks);
    uint64_t monotonic_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    /* Not when we were interrupted in between, or calibrated anew: the next one tries again. */
    if (from_ns && to_ns >= from_ns && to_ns - from_ns < 1000 && !(before & 1) &&
        before == atomic_load(&sonde__clock.sequence) && !atomic_flag_test_and_set(&is_writing)) {
        atomic_store(&sonde__kit_clock.sequence, 1);
        atomic_store(&sonde__kit_clock.distance_ns, from_ns + (to_ns - from_ns) / 2 - monotonic_ns);
        atomic_store(&sonde__kit_clock.sequence, before);
        atomic_flag_clear(&is_writing);
    }
    return monotonic_ns;
}
