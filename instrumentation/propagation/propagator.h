/* SPDX-License-Identifier: Apache-2.0 */
/* What a propagator is: one wire format of context. It reads and writes through a carrier and keeps no state. Adding
 * one: its file, its row in registry.c, its line in meson.build, its rows in tests/vectors/. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_PROPAGATOR_H
#define SONDE_INSTRUMENTATION_PROPAGATION_PROPAGATOR_H

#include <sonde/propagation.h>

/** name, summary  static; the name is the one OTEL_PROPAGATORS uses.
 *  inject   context is valid or not (then: leave the carrier alone). Returns 0 or the carrier's first error, and leaves
 * no pair of values that do not belong together. extract  writes *ret_context only on SONDE_EXTRACT_OK and _TRACESTATE.
 *  Both: any thread, never block, no allocation, carrier and context borrowed. */
struct sonde__propagator {
    const char *name, *summary;
    int (*inject)(const struct sonde_context *context, const struct sonde_carrier *carrier);
    enum sonde_extract_reason (*extract)(const struct sonde_carrier *carrier, struct sonde_context *ret_context);
};

extern const struct sonde__propagator sonde__propagator_w3c;

/** registry.c; in the order of use: all inject, the first that finds a context wins. NULL-terminated. */
extern const struct sonde__propagator *const sonde__propagators[];

#endif
