/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic time for deadlines, where a system's clock is good enough. */
#ifndef SONDE_CONTEXT_MONOTONIC_H
#define SONDE_CONTEXT_MONOTONIC_H

#include <stdint.h>
#include <time.h>

static inline uint64_t sonde__monotonic_of(clockid_t clock) {
    struct timespec now = {0};
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
static inline uint64_t sonde__monotonic_ms(void) {
    return sonde__monotonic_of(CLOCK_MONOTONIC) / 1000000u;
}
/** ns, up to one tick of the kernel old (4 ms), at a quarter of the price; by a function of the user's, when there is
 *  one. */
static inline uint64_t sonde__monotonic_coarse_by(uint64_t (*clock)(void *user), void *user) {
    return clock ? clock(user) : sonde__monotonic_of(CLOCK_MONOTONIC_COARSE);
}

#endif
