/* SPDX-License-Identifier: Apache-2.0 */
/* What delivery.c, take.c and outcome.c share; nobody else includes this. */
#ifndef SONDE_EXPORTERS_DELIVERY_PARTS_H
#define SONDE_EXPORTERS_DELIVERY_PARTS_H

#include "exporters/delivery/delivery.h"

/* Wait after an allocation failed: memory comes back by requests ending, or not for a while. */
#define SONDE__MEMORY_PAUSE_NS (UINT64_C(100) * 1000000u)
/* When stopping: no pause is longer, and no request gets more time. The agent gives the whole drain 5 s. */
#define SONDE__STOP_PAUSE_NS   (UINT64_C(250) * 1000000u)
#define SONDE__STOP_TIMEOUT_NS (UINT64_C(2) * 1000000000u)

static inline uint64_t sonde__delivery_now(const struct sonde__delivery *delivery) {
    return delivery->env.seams.time.monotonic_ns(delivery->env.seams.time.self);
}

/** Reads the cursor into open batches; seals those that are full, old, or in the way. */
void sonde__delivery_take(struct sonde__delivery *delivery, uint64_t now_ns);
/** True when no more may be read for now: enough batches wait to be sent. */
bool sonde__delivery_is_full(const struct sonde__delivery *delivery);

/** Puts a batch into the list of sealed ones, at its front or end. */
void sonde__delivery_insert(struct sonde__delivery *delivery, struct sonde__batch *batch, bool front);
void sonde__delivery_remove(struct sonde__delivery *delivery, struct sonde__batch *batch);
/** Takes the batch out, gives all its items a fate (the first `refused` of them SONDE__FATE_REFUSED), frees it. */
void sonde__delivery_finish(struct sonde__delivery *delivery, struct sonde__batch *batch, enum sonde__fate fate,
                            uint64_t refused);
/** Counts items lost by the backend's will and says so, at most once a minute. */
void sonde__delivery_loss(struct sonde__delivery *delivery, uint64_t items, const char *why);
/** Says what was lost since it was last said, when a minute is over. Returns when to call again; UINT64_MAX = never. */
uint64_t sonde__delivery_loss_due(struct sonde__delivery *delivery, uint64_t now_ns);
/** Says it now: the end. */
void sonde__delivery_loss_tell(struct sonde__delivery *delivery);

#endif
