/* SPDX-License-Identifier: Apache-2.0 */
/* What a new span gets from its parent, the id generator and the sampler. */
#ifndef SONDE_TRACE_BIRTH_H
#define SONDE_TRACE_BIRTH_H

#include "instrumentation/trace/sampler.h"
#include "instrumentation/trace/slot.h"

/* What a new span is born with. */
struct sonde__birth {
    uint64_t trace_id[2], parent_id; /* parent_id 0 = root */
    struct sonde__texts texts;
    uint32_t flags;                      /* SONDE__ENTRY_*: REMOTE is of the parent, the others of the span */
    uint64_t start_unix_ns, start_ticks; /* the clock, when the sampler has read it; else 0 */
};

/** Everything but the plain child of the thread's current span: explicit parent, root, tracestate, other samplers.
 *  sampling: name, options (complete), and a clock that was not read. */
void sonde__birth_resolve(struct sonde__thread *thread, struct sonde__sampling *sampling,
                          struct sonde__birth *ret_birth);

#endif
