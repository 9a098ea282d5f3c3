/* SPDX-License-Identifier: Apache-2.0 */
/* CLOCK_MONOTONIC for the kit at half its price: the calibrated tick counter's wall time, less what lies between the two
 * clocks. That distance is good for one calibration, and measured anew with the next one, within a second; so a wall
 * clock that is set moves no deadline. */
#ifndef SONDE_RESILIENCE_CLOCK_H
#define SONDE_RESILIENCE_CLOCK_H

#include "instrumentation/context/clock.h"

struct sonde__kit_clock {
    _Atomic uint32_t sequence; /* of the calibration that the distance belongs to; odd = none */
    _Atomic uint64_t distance_ns;
};
extern struct sonde__kit_clock sonde__kit_clock __attribute__((visibility("hidden")));

uint64_t sonde__kit_now_slow(void);

/** Monotonic ns, as CLOCK_MONOTONIC has them; it may go back by less than a microsecond. */
static inline uint64_t sonde__kit_now(void) {
    uint64_t ticks;
    uint32_t sequence = atomic_load_explicit(&sonde__kit_clock.sequence, memory_order_acquire);
    uint64_t distance_ns = atomic_load_explicit(&sonde__kit_clock.distance_ns, memory_order_relaxed);
    uint64_t unix_ns = sonde__clock_try(&ticks); /* ends with a fence */
    if (__builtin_expect(!unix_ns || sequence != atomic_load_explicit(&sonde__clock.sequence, memory_order_relaxed) ||
                             sequence != atomic_load_explicit(&sonde__kit_clock.sequence, memory_order_relaxed),
                         0))
        return sonde__kit_now_slow();
    return unix_ns - distance_ns;
}

/** The same by a function of the user's, when there is one. */
static inline uint64_t sonde__kit_now_by(uint64_t (*clock)(void *user), void *user) {
    return clock ? clock(user) : sonde__kit_now();
}

#endif
