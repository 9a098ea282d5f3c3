/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps an exporter from making it worse for a backend that is unwell: a circuit breaker, retries with back-off
 * and a retry budget of the resilience kit, all named `exporter/NAME`, on the seams' clock and random numbers.
 * A guard delays and never drops: what the kit gives up stays in the queue, and begins as a call of its own again. */
#ifndef SONDE_EXPORTERS_DELIVERY_GUARD_H
#define SONDE_EXPORTERS_DELIVERY_GUARD_H

#include "exporters/seam.h"
#include <sonde/resilience/retry.h>
#include <stdbool.h>

struct sonde__guard {
    struct sonde_breaker breaker;
    struct sonde_retry retry;
    uint64_t retry_max_ns;
};

/* A permit that nobody asked for: reporting it says nothing. */
#define SONDE__PERMIT_NONE ((struct sonde_breaker_permit){.admission = SONDE_REJECTED})

/** Never fails: without room for one more, nothing is ever rejected, and a failed batch waits retry_max_ns.
 *  The kit never forgets a name: who makes the guard of a known one finds its breaker closed again, and the first one's
 *  intervals. The seams' clock and random are those of all guards: one loop per process. */
void sonde__guard_make(struct sonde__guard *guard, const char *name, uint64_t timeout_ns, uint64_t retry_initial_ns,
                       uint64_t retry_max_ns, const struct sonde_seams *seams);

/** Asks for a request; begins the call when it has not begun.
 *  ret_wait_ns  of a rejection: ask again then. Written always. */
bool sonde__guard_admits(const struct sonde__guard *guard, struct sonde_retry_call *call,
                         struct sonde_breaker_permit *ret_permit, uint64_t *ret_wait_ns);
/** The same, and it is made whatever the breaker says: nothing will be tried after. */
void sonde__guard_insist(const struct sonde__guard *guard, struct sonde_retry_call *call,
                         struct sonde_breaker_permit *ret_permit);

/** A request failed. pushback_ns: what the backend asked for, 0 = nothing.
 *  Returns how long the batch waits on its own account; 0 while the breaker is not closed: then that one sets the pace. */
uint64_t sonde__guard_failed(const struct sonde__guard *guard, struct sonde_retry_call *call,
                             const struct sonde_breaker_permit *permit, uint64_t duration_ns, uint64_t pushback_ns);
/** The backend is well, and took the request or (is_final) refused it for good. The call is over.
 *  Returns true when that closed the breaker. */
bool sonde__guard_answered(const struct sonde__guard *guard, struct sonde_retry_call *call,
                           const struct sonde_breaker_permit *permit, uint64_t duration_ns, bool is_final);

static inline bool sonde__guard_is_closed(const struct sonde__guard *guard) {
    enum sonde_breaker_state state = sonde_breaker_state_get(guard->breaker);
    return state != SONDE_BREAKER_OPEN && state != SONDE_BREAKER_HALF_OPEN;
}
/** For people: the name of the state; "" without a breaker. Static. */
const char *sonde__guard_state(const struct sonde__guard *guard);

#endif
