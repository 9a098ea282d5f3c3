/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of metrics: what the agent's reader is given, here on this process's own shared memory, by pread. */
#ifndef SONDE_TESTS_OWN_MEMORY_H
#define SONDE_TESTS_OWN_MEMORY_H

#include "instrumentation/ring/process.h"
#include <stdlib.h>
#include <unistd.h>

static inline int memory_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    (void)self;
    int fd = -1;
    if (memory == 0)
        fd = sonde__registry.process.file.fd;
    else if (memory <= sonde__registry.thread_memories)
        fd = sonde__registry.threads[memory - 1].file.fd;
    return fd >= 0 && pread(fd, buffer, size, (off_t)offset) == (ssize_t)size ? 0 : -1;
}
static inline void *memory_resize(void *self, void *old, size_t size) {
    (void)self;
    if (size)
        return realloc(old, size);
    free(old);
    return NULL;
}

#endif
