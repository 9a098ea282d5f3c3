/* SPDX-License-Identifier: Apache-2.0 */
/* A process that is its own agent: it counts with libsonde like any service, and reads its memory itself, by the reader
 * that reads a service's. So circuit breakers and retries of the agent are the same series, made by the same code. It
 * has no link, and neither spans nor log records: nobody would take them out of its rings. */
#ifndef SONDE_RING_OWN_H
#define SONDE_RING_OWN_H

#include <stddef.h>
#include <stdint.h>

/** Before the library's first use in the process. */
void sonde__own_begin(void);

/** As `read` of struct sonde__metric_memory (metric/read.h), of the process's own memory; self is not looked at. Fails
 *  while nothing was counted yet, and where the system refused the memory. */
int sonde__own_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size);

#endif
