/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fakes.h"
#include <stdlib.h>

static uint64_t fake_monotonic(void *self) {
    return ((struct fakes *)self)->monotonic_ns;
}
static uint64_t fake_unix(void *self) {
    return ((struct fakes *)self)->unix_ns;
}
static uint64_t fake_random(void *self) { /* splitmix64 */
    struct fakes *fakes = self;
    uint64_t z = fakes->random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static void *fake_resize(void *self, void *old, size_t size) {
    struct fakes *fakes = self;
    if (size == 0) {
        if (old)
            fakes->live--;
        free(old);
        return NULL;
    }
    if (fakes->allocations_until_failure == 0)
        return NULL;
    if (fakes->allocations_until_failure > 0)
        fakes->allocations_until_failure--;
    void *memory = realloc(old, size);
    fakes->allocations++;
    if (memory && !old)
        fakes->live++;
    return memory;
}

void fakes_init(struct fakes *fakes) {
    *fakes = (struct fakes){.monotonic_ns = 1000000000u, .unix_ns = 1767225600000000000u, .random_state = 1,
                            .allocations_until_failure = -1};
}
void fakes_advance(struct fakes *fakes, uint64_t ns) {
    fakes->monotonic_ns += ns;
    fakes->unix_ns += ns;
}
struct sonde_seams fakes_seams(struct fakes *fakes) {
    return (struct sonde_seams){.time = {fake_monotonic, fake_unix, fakes},
                                .random = {fake_random, fakes},
                                .alloc = {fake_resize, fakes}};
}
