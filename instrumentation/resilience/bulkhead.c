/* SPDX-License-Identifier: Apache-2.0 */
/* Bulkheads: a word that counts calls under way. What it holds is read when the agent asks (an observable instrument). */
#include "instrumentation/resilience/table.h"
#include <pthread.h>
#include <sonde/err.h>
#include <sonde/resilience/bulkhead.h>
#include <stdatomic.h>
#include <string.h>

static struct bulkhead {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    _Alignas(64) _Atomic uint32_t inflight;
    _Atomic uint32_t limit, queued;
    uint32_t queue_max;
    struct sonde_series rejected;
} bulkheads[SONDE_BULKHEADS_MAX];
static struct sonde__kit_table table = {
    .capacity = SONDE_BULKHEADS_MAX, .element_size = sizeof bulkheads[0], .elements = bulkheads};

/* The calls of its parent are no child's to end: they would keep their places for good. */
static void fork_child(void) {
    for (uint32_t i = 0; i < SONDE_BULKHEADS_MAX; i++) {
        atomic_store(&bulkheads[i].inflight, 0);
        atomic_store(&bulkheads[i].queued, 0);
    }
}

/* One less, and not below none: who leaves twice, or left in a child what was taken before its fork, takes no place from
 * others for good. */
static void give_back(_Atomic uint32_t *count) {
    uint32_t seen = atomic_load_explicit(count, memory_order_relaxed);
    while (seen && !atomic_compare_exchange_weak(count, &seen, seen - 1))
        ;
}

static void observe(struct sonde_observer *observer, void *unused) {
    (void)unused;
    for (uint32_t index = 1; index <= atomic_load_explicit(&table.count, memory_order_acquire); index++) {
        const struct bulkhead *b = sonde__kit_get(&table, index);
        const struct sonde_attribute name = sonde_attribute_string(SONDE_KEY("sonde.resilience.name"), b->name);
        sonde_observer_set(observer, sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_INFLIGHT),
                           atomic_load(&b->inflight), &name, 1);
        sonde_observer_set(observer, sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_LIMIT),
                           atomic_load(&b->limit), &name, 1);
        sonde_observer_set(observer, sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_QUEUED),
                           atomic_load(&b->queued), &name, 1);
    }
}

/* Under the table's lock. */
static void fill(void *at, const void *options) {
    static bool is_observed;
    struct bulkhead *bulkhead = at;
    const struct sonde_bulkhead_options *o = options;
    const struct sonde_attribute name = sonde_attribute_string(SONDE_KEY("sonde.resilience.name"), bulkhead->name);
    atomic_store(&bulkhead->limit, o->limit ? o->limit : 25);
    bulkhead->queue_max = o->queue_max;
    bulkhead->rejected = sonde_series_bind(sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_REJECTED), &name, 1);
    if (!is_observed) {
        const struct sonde_instrument instruments[3] = {
            sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_INFLIGHT),
            sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_LIMIT),
            sonde__resilience_instrument(SONDE__RESILIENCE_BULKHEAD_QUEUED)};
        struct sonde_observable observable;
        (void)sonde_observable_register(observe, NULL, instruments, 3, &observable); /* without metrics: no matter */
        (void)pthread_atfork(NULL, NULL, fork_child); /* refused: a child has its parent's counts */
        is_observed = true;
    }
}

int sonde_bulkhead_create(const struct sonde_bulkhead_options *options, struct sonde_bulkhead *ret_bulkhead) {
    struct sonde_bulkhead_options o = SONDE_BULKHEAD_OPTIONS_INIT;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_bulkhead->index = 0;
    if (o.limit > INT32_MAX)
        return SONDE_EINVALID;
    return sonde__kit_find_or_make(&table, o.name, fill, &o, &ret_bulkhead->index);
}

static bool take(struct bulkhead *bulkhead) {
    uint32_t inflight = atomic_load_explicit(&bulkhead->inflight, memory_order_relaxed);
    do {
        if (inflight >= atomic_load_explicit(&bulkhead->limit, memory_order_relaxed))
            return false;
    } while (!atomic_compare_exchange_weak(&bulkhead->inflight, &inflight, inflight + 1));
    return true;
}

bool sonde_bulkhead_try(struct sonde_bulkhead bulkhead) {
    struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    return !b || take(b);
}

bool sonde_bulkhead_enter(struct sonde_bulkhead bulkhead) {
    struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    if (!b || take(b))
        return true;
    sonde_counter_add(b->rejected, 1);
    return false;
}

void sonde_bulkhead_leave(struct sonde_bulkhead bulkhead) {
    struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    if (b)
        give_back(&b->inflight);
}

bool sonde_bulkhead_queue(struct sonde_bulkhead bulkhead) {
    struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    if (!b)
        return true;
    uint32_t queued = atomic_load(&b->queued);
    do {
        if (queued >= b->queue_max) {
            sonde_counter_add(b->rejected, 1);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&b->queued, &queued, queued + 1));
    return true;
}

void sonde_bulkhead_unqueue(struct sonde_bulkhead bulkhead) {
    struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    if (b)
        give_back(&b->queued);
}

int sonde_bulkhead_limit_set(struct sonde_bulkhead bulkhead, uint32_t limit) {
    struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    if (!b || limit < 1 || limit > INT32_MAX)
        return SONDE_EINVALID;
    atomic_store(&b->limit, limit);
    return 0;
}

uint32_t sonde_bulkhead_inflight(struct sonde_bulkhead bulkhead) {
    const struct bulkhead *b = sonde__kit_get(&table, bulkhead.index);
    return b ? atomic_load(&b->inflight) : 0;
}
