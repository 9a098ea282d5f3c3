/* SPDX-License-Identifier: Apache-2.0 */
/* Making and mapping the memory a service shares with its agent (layout.h), and the private pages beside it.
 * Everything here may be refused by the system (seccomp, limits, no address space); then there is no memory and the
 * service goes on without. */
#ifndef SONDE_RING_MEMORY_H
#define SONDE_RING_MEMORY_H

#include "instrumentation/ring/fd.h"
#include "instrumentation/ring/layout.h"
#include <stddef.h>

struct sonde__memory {
    uint8_t *base; /* NULL = none */
    struct sonde__fd file;
};
/* Address space of a THREADS memory: everything up to the rings as in the file, then each ring twice in a row. */
#define SONDE__THREADS_SPAN ((size_t)SONDE__RINGS_AT + 2u * SONDE__REGIONS_PER_MEMORY * SONDE__RING_SIZE)

/** Makes a memfd of a kind, sealed and mapped (a THREADS memory without its rings), its header written.
 *  process_id 16 bytes, borrowed.   ret_memory  close with sonde__memory_drop().   Returns 0 or -errno. */
int sonde__memory_create(enum sonde__memory_kind kind, uint32_t index, const uint8_t *process_id,
                         struct sonde__memory *ret_memory);

/** Maps ring `region` (0..15) of a THREADS memory twice in a row. Returns it, or NULL. */
uint8_t *sonde__memory_map_ring(const struct sonde__memory *memory, uint32_t region);

/** Unmaps and closes; for a memory that no thread can be using. */
void sonde__memory_drop(struct sonde__memory *memory, enum sonde__memory_kind kind);

/** Zeroed private pages that read as zero in a forked child. NULL when refused or when the kernel cannot wipe. */
void *sonde__pages_create(size_t size);

#endif
