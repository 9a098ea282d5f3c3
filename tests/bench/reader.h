/* SPDX-License-Identifier: Apache-2.0 */
/* A reader in the process that writes: it maps the ring from the memfd that the library would hand to an agent, and
 * advances the tail between bursts of 256. */
#ifndef SONDE_TESTS_BENCH_READER_H
#define SONDE_TESTS_BENCH_READER_H

#include "instrumentation/ring/layout.h"
#include "tests/bench/bench.h"
#include <dirent.h>
#include <sonde/sonde.h>
#include <sys/mman.h>
#include <unistd.h>

#define BURST 256u

static _Thread_local struct sonde__region *region; /* of this thread, mapped by us */
static _Thread_local const uint8_t *ring;
static uint8_t *threads_memory;

/* Maps the library's THREADS memfd a second time. */
static inline uint8_t *map_threads(void) {
    DIR *fds = opendir("/proc/self/fd");
    uint8_t *found = NULL;
    for (struct dirent *entry; fds && !found && (entry = readdir(fds));) {
        char target[64];
        ssize_t size = readlinkat(dirfd(fds), entry->d_name, target, sizeof target);
        if (size < 12 || memcmp(target, "/memfd:sonde", 12) != 0)
            continue;
        uint8_t *base = mmap(NULL, SONDE__THREADS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                             (int)strtol(entry->d_name, NULL, 10), 0);
        if (base == MAP_FAILED)
            continue;
        if (((struct sonde__memory_header *)(void *)base)->kind == SONDE__MEMORY_THREADS)
            found = base;
        else
            munmap(base, SONDE__THREADS_SIZE);
    }
    if (fds)
        closedir(fds);
    return found;
}

/* Finds this thread's region by its tid. */
static inline void reader_attach(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("attach"), NULL);
    sonde_span_end(&span);
    if (!threads_memory)
        threads_memory = map_threads();
    for (uint32_t i = 0; threads_memory && i < SONDE__REGIONS_PER_MEMORY; i++) {
        struct sonde__region *r = (void *)(threads_memory + SONDE__CONTROL_AT + i * SONDE__PAGE);
        if (r->tid == (uint32_t)gettid() && atomic_load(&r->state) == SONDE__REGION_ATTACHED) {
            region = r;
            ring = threads_memory + SONDE__RINGS_AT + (size_t)i * SONDE__RING_SIZE;
        }
    }
    if (!region) {
        fprintf(stderr, "cannot find the thread's ring\n");
        exit(1);
    }
}
static inline void reader_advance(void) {
    atomic_store_explicit(&region->tail, atomic_load_explicit(&region->head, memory_order_relaxed),
                          memory_order_release);
}
static inline void after(uint64_t i) {
    if (i % BURST == BURST - 1)
        reader_advance();
}

static inline uint64_t drops(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    uint64_t sum = 0;
    sonde_stats_get(&stats);
    for (int s = 0; s < SONDE_SIGNAL_COUNT; s++)
        for (int r = 0; r < SONDE_DROP_REASON_COUNT; r++)
            sum += stats.dropped[s][r];
    return sum + stats.attributes_dropped;
}

#endif
