/* SPDX-License-Identifier: Apache-2.0 */
/* The resource, published in memory that a reader outside (an eBPF profiler, say) finds by its name in
 * /proc/PID/maps, so that its samples carry the same service.name and service.instance.id as our spans.
 *
 *   mapping "OTEL_CTX":  header (below), then the payload: a ProcessContext message whose field 1 is the Resource
 *
 * Nothing secret is in it that does not go to the backend; who can read it can read all of the process.
 * Source: OpenTelemetry specification, oteps/profiles/4719-process-ctx.md, version 2 of the format. */
#ifndef SONDE_RESOURCE_PROCESS_CONTEXT_H
#define SONDE_RESOURCE_PROCESS_CONTEXT_H

#include <stdint.h>

#define SONDE__PROCESS_CONTEXT_SIGNATURE "OTEL_CTX"
#define SONDE__PROCESS_CONTEXT_VERSION   2u

struct sonde__process_context {
    char signature[8]; /* without a NUL */
    uint32_t version;
    uint32_t payload_size;
    _Atomic uint64_t published_ns; /* CLOCK_BOOTTIME; 0 while it is being changed; different with each change */
    uint64_t payload;              /* address in this process */
};
_Static_assert(sizeof(struct sonde__process_context) == 32, "the header of OTEP 4719");

/** Publishes the resource, or what it has become.
 *  resource  borrowed; encoded Resource message of size bytes, at most SONDE_RESOURCE_SIZE_MAX.
 *  Returns 0; -EEXIST (somebody else in this process publishes one: there must not be two); -errno of what the system
 *  refused. Link thread only. */
int sonde__process_context_publish(const uint8_t *resource, uint32_t size);
/** In a forked child: the mapping is not there (MADV_DONTFORK), and what may be in its place is not ours. */
void sonde__process_context_forget(void);

#endif
