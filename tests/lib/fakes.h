/* SPDX-License-Identifier: Apache-2.0 */
/* Fakes for the seams: a clock that moves when told, a seeded random, an allocator that fails when told. */
#ifndef SONDE_TESTS_FAKES_H
#define SONDE_TESTS_FAKES_H

#include "exporters/seam.h"
#include <stdint.h>

struct fakes {
    uint64_t monotonic_ns, unix_ns; /* advance by hand or with fakes_advance() */
    uint64_t random_state;
    int64_t allocations_until_failure; /* -1 = never; 0 = the next one and all after it fail */
    uint64_t allocations, live;        /* made so far; not yet freed */
};

/** Sets monotonic to 1 s, wall time to 2026-01-01, seed 1, no failure. */
void fakes_init(struct fakes *fakes);
void fakes_advance(struct fakes *fakes, uint64_t ns);
/** The seams on these fakes; valid as long as they are. */
struct sonde_seams fakes_seams(struct fakes *fakes);

#endif
