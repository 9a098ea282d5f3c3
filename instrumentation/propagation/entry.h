/* SPDX-License-Identifier: Apache-2.0 */
/* What an entry point believes of a context that came from a peer. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_ENTRY_H
#define SONDE_INSTRUMENTATION_PROPAGATION_ENTRY_H

#include <sonde/propagation.h>

/** Leaves the decision to our own sampler where the peer's is not believed: always with RESAMPLE; else where it asks to
 *  keep the trace and the budget (may be NULL) has run out. Reads the clock only for such an asking with a budget. */
void sonde__entry_judge(struct sonde_context *context, enum sonde_entry entry, struct sonde_entry_budget *budget);

#endif
