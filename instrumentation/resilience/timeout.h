/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SONDE_RESILIENCE_TIMEOUT_INTERNAL_H
#define SONDE_RESILIENCE_TIMEOUT_INTERNAL_H

#include <sonde/resilience/timeout.h>

/* What a policy asks of a timeout: one look-up and one reading of the clock. */
struct sonde__timeout_view {
    uint64_t overall_ns, attempt_ns; /* 0 = none */
    uint64_t (*clock)(void *user);   /* NULL = sonde__kit_now() */
    void *user;
};
/** All zero for no timeout. */
struct sonde__timeout_view sonde__timeout_view(struct sonde_timeout timeout);

enum sonde__timeout_scope { SONDE__TIMEOUT_ATTEMPT = 0, SONDE__TIMEOUT_OVERALL, SONDE__TIMEOUT_SCOPE_COUNT };
void sonde__timeout_count(struct sonde_timeout timeout, enum sonde__timeout_scope scope);

/** Saturating, and never 0, which means none. */
static inline struct sonde_deadline sonde__deadline_at(uint64_t now_ns, uint64_t left_ns) {
    uint64_t at = now_ns + left_ns;
    return (struct sonde_deadline){at < now_ns ? UINT64_MAX : at ? at : 1};
}
static inline uint64_t sonde__deadline_left(struct sonde_deadline deadline, uint64_t now_ns) {
    if (!deadline.monotonic_ns)
        return SONDE_TIMEOUT_NONE;
    return deadline.monotonic_ns > now_ns ? deadline.monotonic_ns - now_ns : 0;
}

#endif
