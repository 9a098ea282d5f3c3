/* SPDX-License-Identifier: Apache-2.0 */
/* Carriers that are used again: a request that is sent a second time, one out of a pool, a message that is passed on.
 * What a propagator sets replaces what was there; this is about what it does not set any more. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_STALE_H
#define SONDE_INSTRUMENTATION_PROPAGATION_STALE_H

#include "instrumentation/propagation/propagator.h"

/** The field of a format that holds the ids, as a bit: where it is, a span context is. 0 = the format has none. */
static inline uint32_t sonde__stale_context_field(const struct sonde__propagator *row) {
    uint32_t fields = row->writes & ~SONDE__FIELD_BIT(SONDE__FIELD_BAGGAGE);
    return fields & -fields;
}
/** Whether a carrier holds a span context of this format. */
bool sonde__stale_is_context(const struct sonde__propagator *row, const struct sonde_carrier *carrier);

/** Takes out every name that begins with the format's prefix and is not an entry of the context's baggage.
 *  context  NULL = none is. */
void sonde__stale_remove_prefixed(const struct sonde__propagator *row, const struct sonde_context *context,
                                  const struct sonde_carrier *carrier);

/** Takes out these fields where other libraries wrote them in the spelling that is canonical, so that what is written in
 *  lower case does not stand beside them. Only on carriers with case that can be asked. */
void sonde__stale_remove_canonical(uint32_t fields, const struct sonde_carrier *carrier);

#endif
