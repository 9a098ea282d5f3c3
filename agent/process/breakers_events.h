/* SPDX-License-Identifier: Apache-2.0 */
/* Log records of changes of state of other libraries' breakers, named as our own breakers' are. They belong to the service
 * that was scraped; no trace is known. */
#ifndef SONDE_AGENT_PROCESS_BREAKERS_EVENTS_H
#define SONDE_AGENT_PROCESS_BREAKERS_EVENTS_H

#include "agent/process/breakers_table.h"
#include "agent/process/processor.h"
#include "instrumentation/wire/writer.h"

struct breakers_events {
    const struct sonde_processor_env *env;
    struct sonde_bytes resource; /* of the source at hand; borrowed */
    uint8_t *records;            /* owned, while some are told */
    struct sonde__writer out;
    uint32_t told;
};

/** A breaker changed its state; from = BREAKERS_STATE_COUNT when that is not known. What does not fit is dropped, and
 *  counted in the ledger. */
void breakers_events_add(struct breakers_events *events, const struct breaker *breaker, enum breakers_state from,
                         enum breakers_state to);
/** Hands what was told to the queue. */
void breakers_events_flush(struct breakers_events *events);

#endif
