/* SPDX-License-Identifier: Apache-2.0 */
/* What was read and is not in the queue yet: records framed for the wire, a run per signal and scope.
 * A record becomes field 2 of its ScopeSpans or ScopeLogs (0x12, canonical length, body), see exporters/record_log.h.
 */
#ifndef SONDE_AGENT_RECEIVE_BATCH_H
#define SONDE_AGENT_RECEIVE_BATCH_H

#include "exporters/record_log.h"
#include "exporters/seam.h"

/* A batch is put into the queue before it gets larger, and takes up so much of a ring at a time: what is read, checked,
 * framed and appended stays in the processor's cache on the way. Any record fits. */
#define SONDE__INTAKE_SIZE      (256u << 10)
#define SONDE__INTAKE_ROOM_SIZE (128u << 10)

struct sonde__run {
    uint8_t *data; /* owned */
    size_t size, capacity;
    uint32_t signal; /* enum sonde_signal */
    uint32_t scope_id, count;
    bool appended; /* in the queue; waits for the others */
};

struct sonde__intake {
    struct sonde_alloc alloc;
    struct sonde__run *runs;                /* owned */
    uint32_t run_count, run_capacity, last; /* runs in use, made, and the one used last */
    size_t size;                            /* bytes of all runs */
    uint64_t sequence;                      /* highest that the queue gave to a run of this batch, 0 = none */
};

void sonde__intake_init(struct sonde__intake *batch, const struct sonde_alloc *alloc);
/** Gives all memory back; the batch stays usable. */
void sonde__intake_deinit(struct sonde__intake *batch);
/** Room for `size` bytes of records as a ring holds them (8 bytes in front of each body), behind the run that was used
 *  last: what of them is added to that run is only moved down. Given up by the next sonde__intake_reset() or room.
 *  Returns NULL when out of memory. */
uint8_t *sonde__intake_room(struct sonde__intake *batch, size_t size);
/** Frames one record into its run. body: borrowed, or in the room; bodies in the room come in their order.
 *  Returns 0, -ENOMEM (nothing added). */
int sonde__intake_add(struct sonde__intake *batch, enum sonde_signal signal, uint32_t scope_id, const void *body,
                      uint32_t size);
/** Empties it; keeps the buffers. */
void sonde__intake_reset(struct sonde__intake *batch);

#endif
