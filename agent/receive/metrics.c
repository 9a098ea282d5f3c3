/* SPDX-License-Identifier: Apache-2.0 */
/* A peer's metrics: the store of series reads them whenever someone asks, through this accessor. By pread, like all of
 * a peer's memory but its control pages. */
#include "agent/receive/services.h"
#include "instrumentation/metric/read.h"
#include <errno.h>
#include <unistd.h>

static int memory_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    const struct sonde__peer *peer = self;
    const struct sonde__peer_memory *from = peer->process;
    if (memory > 0)
        from = memory <= SONDE__THREAD_MEMORIES_MAX ? peer->threads[memory - 1] : NULL;
    if (!from || offset > from->size || size > from->size - offset)
        return -ENOENT;
    return pread(from->fd, buffer, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
}

/* The next period: keys of exemplars that were measured before count for nothing (instrumentation/metric/exemplar.c).
 */
static void exported(void *self, uint32_t collection) {
    const struct sonde__peer *peer = self;
    if (!peer->process || peer->process->size < SONDE__PROCESS_SIZE_BEFORE_BREAKERS) /* no exemplars */
        return;
    struct sonde__process *process = peer->process->pages;
    atomic_store_explicit(&process->collection, collection + 1u, memory_order_relaxed);
}

/* Deltas were taken: an agent that follows us must not send them again. */
static void deltas_taken(void *self, uint64_t unix_ns) {
    const struct sonde__peer *peer = self;
    if (!peer->process)
        return;
    struct sonde__process *process = peer->process->pages;
    atomic_store_explicit(&process->deltas_taken_ns, unix_ns, memory_order_relaxed);
}

int sonde__peer_series_add(struct sonde__peer *peer, struct sonde_bytes resource) {
    struct sonde_series_store *store = peer->services->env.series;
    if (!store)
        return 0;
    const struct sonde__metric_memory memory = {.read = memory_read, .self = peer, .deltas_taken = deltas_taken};
    int err = sonde_series_service_add(store, &memory, resource, peer->uid, &peer->series);
    if (!err)
        sonde_series_service_on_export(peer->series, exported);
    return err;
}

void sonde__peer_series_look(struct sonde__peer *peer) {
    uint32_t violations = peer->series ? sonde_series_service_violations(peer->series) : 0;
    if (violations != peer->series_violations)
        sonde__peer_violation(peer, "metrics that cannot be");
    peer->series_violations = violations;
}

void sonde__peer_series_remove(struct sonde__peer *peer) {
    sonde_series_service_remove(peer->series);
    peer->series = NULL;
}
