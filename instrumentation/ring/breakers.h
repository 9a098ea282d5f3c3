/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cells of circuit breakers lie: in the PROCESS memory, where the agent reads them, or in private memory when
 * there is none. What is in a cell is not known here (resilience/breaker_cell.h).
 *
 * Cells move: into the first memory, into a fresh one, into a forked child's. They are copied word by word and then
 * pointed to; a thread in the middle of a call goes on in the old place, which stays mapped, and what it counts there is
 * lost; a change of state that it made there is taken over.
 *
 * The place is told on a page that a forked child finds zeroed: the check of a handle's index fails there, and the
 * child's first call finds its cells anew, as they were at the fork. It never writes into its parent's memory. */
#ifndef SONDE_RING_BREAKERS_H
#define SONDE_RING_BREAKERS_H

#include "instrumentation/ring/layout.h"

struct sonde__breaker_place {
    uint8_t *_Atomic cells;
    _Atomic uint32_t count; /* index 1..count are made; cells is there before */
};
/* Never NULL. */
extern struct sonde__breaker_place *_Atomic sonde__breaker_place __attribute__((visibility("hidden")));

/** Where the cells lie; they stay there until sonde__breakers_unlock(). In a forked child, finds them first.
 *  private_cells  kept; room for all, zeroed, used while there is no shared memory.
 *  forked         kept; called once in a forked child with its cells, before anybody uses them.
 *  Takes the registry's lock. */
uint8_t *sonde__breakers_lock(uint8_t *private_cells, void (*forked)(uint8_t *cells, uint32_t count));
/** Index 1..count are made. Between lock and unlock. */
void sonde__breakers_publish(uint32_t count);
void sonde__breakers_unlock(void);

/** Moves the cells into this PROCESS memory (NULL = there is none). The registry's lock is held. */
void sonde__breakers_carry(uint8_t *memory);

#endif
