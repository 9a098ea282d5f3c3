/* SPDX-License-Identifier: Apache-2.0 */
/* Jittered exponential back-off, as a pure function of its state and of a random number given as an argument.
 * The ceiling doubles from `initial_ns` to `max_ns`; a delay is uniform in [ceiling / 2, ceiling]. Half of it is kept,
 * so that a delay is never near zero; the other half spreads many clients that failed at the same time. */
#ifndef SONDE_RESILIENCE_BACKOFF_H
#define SONDE_RESILIENCE_BACKOFF_H

#include <stdint.h>

struct sonde__backoff {
    uint64_t initial_ns, max_ns; /* initial_ns >= 1; a max_ns below it is taken as it */
    uint32_t failures;           /* in a row; saturates */
};

/** Counts one failure and gives the delay before the next try.
 *  backoff  borrowed, changed.
 *  random   uniform 64 bits.
 *  Returns ns, 1..max_ns. Never blocks; one thread per state. */
uint64_t sonde__backoff_next(struct sonde__backoff *backoff, uint64_t random);

/** Forgets the failures: the next delay starts from initial_ns again. */
void sonde__backoff_reset(struct sonde__backoff *backoff);

#endif
