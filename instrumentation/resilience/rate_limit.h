/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SONDE_RESILIENCE_RATE_LIMIT_INTERNAL_H
#define SONDE_RESILIENCE_RATE_LIMIT_INTERNAL_H

#include <sonde/resilience/rate_limit.h>

/** As sonde_rate_limit_admit(), by a reading of sonde__kit_now() that is at hand; 0 = none is. */
bool sonde__rate_limit_admit_at(struct sonde_rate_limit limit, uint64_t now_ns, uint64_t *ret_wait_ns);

#endif
