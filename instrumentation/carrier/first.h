/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that may hold a context in more than one place: the first that is good counts, and a bad one stands in
 * nobody's way. */
#ifndef SONDE_INSTRUMENTATION_CARRIER_FIRST_H
#define SONDE_INSTRUMENTATION_CARRIER_FIRST_H

#include <sonde/propagation.h>

/** What is known so far: the reason of the first place that held anything, and what it gave. Begin with _init(). */
struct sonde__first {
    struct sonde_context *context; /* borrowed */
    enum sonde_extract_reason reason;
};

static inline void sonde__first_init(struct sonde__first *first, struct sonde_context *context) {
    sonde_context_init(context);
    *first = (struct sonde__first){context, SONDE_EXTRACT_ABSENT};
}

/** Asks one place. Baggage and a decision of an earlier one stay when this one brings none.
 *  carrier      borrowed; NULL = there is no such place.
 *  propagators  as in sonde_extract_with(); NULL = the configured ones.
 *  Returns whether there is a span context now: then ask no further. */
bool sonde__first_ask(struct sonde__first *first, const struct sonde_carrier *carrier, const char *propagators);

#endif
