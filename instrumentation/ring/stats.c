/* SPDX-License-Identifier: Apache-2.0 */
/* Counters: each is added where it happens (a region, the process page, or here when there is neither) and summed when
 * somebody asks. */
#include "instrumentation/ring/process.h"

#include "instrumentation/link/link.h"
#include <string.h>

/* Threads without any shared memory, and memories that were retired. */
static struct sonde__drops elsewhere;
static _Atomic uint64_t kept_attributes, kept_contexts, kept_measurements, kept_doorbells;
static _Atomic uint64_t conflicts, observations_dropped;

static _Atomic uint64_t ids_replaced;

void sonde__id_replaced_count(void) {
    atomic_fetch_add_explicit(&ids_replaced, 1, memory_order_relaxed);
}

void sonde__conflict_count(void) {
    atomic_fetch_add_explicit(&conflicts, 1, memory_order_relaxed);
}

void sonde__observation_dropped(void) {
    atomic_fetch_add_explicit(&observations_dropped, 1, memory_order_relaxed);
}

void sonde__drop(struct sonde__thread *thread, enum sonde_signal signal, enum sonde_drop_reason reason) {
    struct sonde__process *page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    struct sonde__drops *drops = thread && thread->region              ? &thread->region->drops
                                 : page && sonde__process_is_current() ? &page->drops
                                                                       : &elsewhere;
    atomic_fetch_add_explicit(&drops->count[signal][reason], 1, memory_order_relaxed);
}

void sonde__drop_refused(enum sonde_signal signal) {
    struct sonde__thread *thread = sonde__thread_self;
    if (atomic_load_explicit(&sonde__registry.run, memory_order_relaxed) == SONDE__OFF)
        return;
    bool inside = thread && __atomic_load_n(&thread->ready, __ATOMIC_RELAXED) && thread->busy;
    sonde__drop(NULL, signal, inside ? SONDE_DROP_BUSY : SONDE_DROP_NO_MEMORY);
}

static void drops_add(uint64_t (*sum)[SONDE_DROP_REASON_COUNT], const struct sonde__drops *drops) {
    for (uint32_t s = 0; s < SONDE_SIGNAL_COUNT; s++)
        for (uint32_t reason = 0; reason < SONDE_DROP_REASON_COUNT; reason++)
            sum[s][reason] += atomic_load_explicit(&drops->count[s][reason], memory_order_relaxed);
}

/* What the current shared memory counts. Retired memory stays mapped, so a pointer read here stays good. */
static void memory_add(uint64_t (*sum)[SONDE_DROP_REASON_COUNT]) {
    struct sonde__process *page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    if (!page)
        return;
    drops_add(sum, &page->drops);
    for (uint32_t i = 0; i < SONDE_THREADS_MAX; i++) {
        uint8_t *base =
            atomic_load_explicit(&sonde__thread_memories[i / SONDE__REGIONS_PER_MEMORY], memory_order_acquire);
        if (!base ||
            atomic_load_explicit(&sonde__registry.region_states[i], memory_order_relaxed) == SONDE__REGION_FREE)
            break; /* used in order */
        drops_add(sum, &((struct sonde__region *)(base + SONDE__CONTROL_AT +
                                                  (size_t)(i % SONDE__REGIONS_PER_MEMORY) * SONDE__PAGE))
                            ->drops);
    }
}

void sonde__stats_keep(void) {
    uint64_t sum[SONDE_SIGNAL_COUNT][SONDE_DROP_REASON_COUNT] = {0};
    memory_add(sum);
    for (uint32_t s = 0; s < SONDE_SIGNAL_COUNT; s++)
        for (uint32_t reason = 0; reason < SONDE_DROP_REASON_COUNT; reason++)
            atomic_fetch_add(&elsewhere.count[s][reason], sum[s][reason]);
    struct sonde__process *page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
    if (!page)
        return;
    atomic_fetch_add(&kept_attributes, atomic_load(&page->attributes_dropped));
    atomic_fetch_add(&kept_contexts, atomic_load(&page->contexts_dropped));
    atomic_fetch_add(&kept_measurements, atomic_load(&page->measurements_dropped));
    atomic_fetch_add(&kept_doorbells, atomic_load(&page->doorbells));
}

void sonde__stats_reset(void) {
    memset(&elsewhere, 0, sizeof elsewhere);
    atomic_store(&kept_attributes, 0);
    atomic_store(&kept_contexts, 0);
    atomic_store(&kept_measurements, 0);
    atomic_store(&kept_doorbells, 0);
    atomic_store(&conflicts, 0);
    atomic_store(&ids_replaced, 0);
    atomic_store(&observations_dropped, 0);
    atomic_store(&sonde__registry.threads_attached, 0);
}

void sonde_stats_get(struct sonde_stats *ret_stats) {
    struct sonde_stats stats = {.size = ret_stats->size < sizeof stats ? ret_stats->size : sizeof stats};
    bool fresh_child = atomic_load_explicit(&sonde__registry.run, memory_order_relaxed) == SONDE__ON &&
                       !sonde__process_is_current(); /* nothing of the parent's is ours to tell */
    if (!fresh_child) {
        drops_add(stats.dropped, &elsewhere);
        memory_add(stats.dropped);
        struct sonde__process *page = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
        stats.attributes_dropped = atomic_load(&kept_attributes) + (page ? atomic_load(&page->attributes_dropped) : 0);
        stats.contexts_dropped = atomic_load(&kept_contexts) + (page ? atomic_load(&page->contexts_dropped) : 0);
        stats.measurements_dropped =
            atomic_load(&kept_measurements) + (page ? atomic_load(&page->measurements_dropped) : 0);
        stats.doorbells = atomic_load(&kept_doorbells) + (page ? atomic_load(&page->doorbells) : 0);
        stats.instrument_conflicts = atomic_load(&conflicts);
        stats.ids_replaced = atomic_load(&ids_replaced);
        stats.observations_dropped = atomic_load(&observations_dropped);
        stats.threads_attached = atomic_load(&sonde__registry.threads_attached);
        stats.connects = sonde__link_connects(&stats.connected);
    }
    memcpy(ret_stats, &stats, stats.size);
}
