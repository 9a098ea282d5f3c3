/* SPDX-License-Identifier: Apache-2.0 */
/* Where an operation that is served comes from, by the rules of its entry point. */
#ifndef SONDE_CONVENTIONS_ORIGIN_H
#define SONDE_CONVENTIONS_ORIGIN_H

#include "instrumentation/conventions/conventions.h"
#include <sonde/propagation.h>

/* parent  what the span begins under; the empty context when a trace begins here.
 * link    a remote span to link; invalid when there is none. Only the span context and the tracestate are used. */
struct sonde__origin {
    struct sonde_context parent, link;
};

/** entry  borrowed; NULL = the peer is trusted. */
void sonde__origin_read(struct sonde__origin *ret_origin, const struct sonde_carrier *carrier,
                        const struct sonde_extract_options *entry);

/** Records what the parent alone does not say: the link, and a Root of X-Ray of which no span is known. */
void sonde__origin_note(const struct sonde__origin *origin, struct sonde_span *span);

#endif
