/* SPDX-License-Identifier: Apache-2.0 */
/* Which measurements become exemplars. Reservoirs are the process's, in shared memory (layout: ring/cells.h); every
 * measurement of a collection period shall be in its lane with the same chance, whatever thread it was made on.
 *
 * Each measurement has a key, drawn from (0, 1); a lane of n slots holds the n lowest keys of the period, the highest
 * of which is its threshold. Nothing below the threshold need be known of a key, so a thread does not draw keys but how
 * many measurements are to pass until the next with a key below the threshold it knew last (a geometric gap): mostly an
 * offer is a decrement of a number of this thread's. That measurement, the candidate, draws its key below that same
 * threshold, and is in when it is below the one that holds now: other threads have only lowered it.
 *
 * A period ends when the agent has exported and counts `collection` on; keys of an earlier one count for nothing, but
 * exemplars stay readable until they are replaced. Without an agent the period does not end.
 * Source: OpenTelemetry specification, metrics/sdk.md#exemplar. */
#include "instrumentation/metric/exemplar.h"
#include "instrumentation/context/clock.h"
#include "instrumentation/metric/attributes.h"
#include "instrumentation/metric/histogram_fast.h"
#include "instrumentation/metric/table.h"
#include "instrumentation/metric/view.h"
#include "instrumentation/wire/read.h"
#include <math.h>

/* Looks at a reservoir that another thread writes to: it takes some 100 ns, so longer means that it was preempted. */
#define SPIN_MAX 64
#define GAP_MAX  (1u << 31)

static inline uint32_t collection_of(struct sonde__thread *thread) {
    return atomic_load_explicit(&thread->process->collection, memory_order_relaxed);
}

/* (0, 1) */
static double draw(struct sonde__thread *thread) {
    return ((double)(sonde__thread_draw(thread) >> 12) + 0.5) * 0x1p-52;
}

/* ---- reservoirs ---- */

static _Atomic uint32_t *place_of(struct sonde__thread *thread, uint32_t series) {
    uint8_t *places = (uint8_t *)thread->process + SONDE__EXEMPLARS_AT;
    return (_Atomic uint32_t *)(void *)places + series;
}

static struct sonde__reservoir *reservoir_at(struct sonde__thread *thread, uint32_t place) {
    uint8_t *arena = (uint8_t *)thread->process + SONDE__EXEMPLAR_ARENA_AT;
    return (struct sonde__reservoir *)(void *)(arena + (size_t)(place - 1) * SONDE__ARENA_UNIT);
}

/* Made by whoever comes first; 0 when the arena is full. */
static uint32_t reservoir_make(struct sonde__thread *thread, uint32_t series,
                               const struct sonde__reservoir_plan *plan) {
    _Atomic uint32_t *place = place_of(thread, series);
    uint32_t found = atomic_load_explicit(place, memory_order_acquire);
    if (found)
        return found;
    const struct sonde__arena arena = {(uint8_t *)thread->process + SONDE__EXEMPLAR_ARENA_AT,
                                       &thread->process->exemplars_head, SONDE__EXEMPLAR_ARENA_SIZE};
    uint32_t slot_size = plan->has_attributes ? SONDE__EXEMPLAR_SIZE_WITH_ATTRIBUTES : SONDE__EXEMPLAR_SIZE;
    uint32_t made = sonde__arena_take(&arena, SONDE__ARENA_UNIT + (uint64_t)slot_size * plan->lanes * plan->per_lane);
    if (!made)
        return 0;
    struct sonde__reservoir *reservoir = reservoir_at(thread, made);
    reservoir->series = series;
    reservoir->lanes = plan->lanes;
    reservoir->per_lane = plan->per_lane;
    reservoir->slot_size = slot_size;
    /* Release: its header is whole. The loser's stays unused: a race per series at most. */
    if (atomic_compare_exchange_strong_explicit(place, &found, made, memory_order_release, memory_order_acquire))
        return made;
    return found;
}

/* The thread's lanes for a series, made at its first offer. */
static uint32_t lanes_open(struct sonde__thread *thread, uint32_t series) {
    uint32_t lanes = SONDE__LANE_NONE;
    if (!thread->process)
        return lanes;
    const struct sonde__reservoir_plan plan = sonde__series_reservoir(series);
    if (plan.lanes && thread->lanes_used + plan.lanes < SONDE__LANES_MAX && reservoir_make(thread, series, &plan)) {
        lanes = thread->lanes_used + 1;
        for (uint32_t i = 0; i < plan.lanes; i++)
            thread->lanes[lanes + i] = (struct sonde__lane){.threshold = 1};
        thread->lanes_used += plan.lanes;
        if (plan.lanes > 1)
            lanes |= SONDE__LANE_ALIGNED;
    }
    thread->lane_of[series] = (uint16_t)lanes;
    return lanes;
}

static struct sonde__exemplar *slot_at(struct sonde__reservoir *reservoir, uint32_t index) {
    return (struct sonde__exemplar *)(void *)((uint8_t *)(reservoir + 1) + (size_t)index * reservoir->slot_size);
}

/* The slot that goes next, and its key: one of another period (1), else that with the highest key. */
static struct sonde__exemplar *highest(struct sonde__reservoir *reservoir, uint32_t lane, uint32_t collection,
                                       double *ret_key) {
    struct sonde__exemplar *found = NULL;
    *ret_key = -1;
    for (uint32_t i = 0; i < reservoir->per_lane; i++) {
        struct sonde__exemplar *slot = slot_at(reservoir, lane * reservoir->per_lane + i);
        bool is_free = !atomic_load_explicit(&slot->sequence, memory_order_relaxed) || slot->collection != collection;
        double key = is_free ? 1 : slot->key;
        if (key > *ret_key) {
            *ret_key = key;
            found = slot;
        }
    }
    return found;
}

/* ---- what an exemplar keeps ---- */

struct left_out {
    uint8_t bytes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    size_t size;
};

/* What the call has and the series does not: in the order of keys, as many whole attributes as fit a slot. */
static void left_out_encode(const struct sonde__offer *offer, struct left_out *ret) {
    const struct sonde_view_options *view = sonde__series_view(offer->series);
    bool all = sonde__series_is_overflow(offer->series);
    struct sonde_attribute attributes[SONDE_SERIES_ATTRIBUTES_MAX];
    size_t count = 0, unfit, size = 0;
    ret->size = 0;
    for (size_t i = 0; i < offer->attribute_count && count < SONDE_SERIES_ATTRIBUTES_MAX; i++)
        if (all || (view && !sonde__view_keeps(view, &offer->attributes[i].key)))
            attributes[count++] = offer->attributes[i];
    if (!count || sonde__attributes_encode(attributes, count, ret->bytes, &size, &unfit))
        return;
    const uint8_t *at = ret->bytes, *end = at + size;
    while (at < end && (at = sonde__read_size(at + 1, end, &size)) != NULL) {
        at += size;
        if (at - ret->bytes > (ptrdiff_t)SONDE__EXEMPLAR_ATTRIBUTES_SIZE)
            break;
        ret->size = (size_t)(at - ret->bytes);
    }
}

/* Under the spin bit. The sequence is odd from before the first store to after the last. */
static void slot_write(struct sonde__exemplar *slot, const struct sonde__offer *offer, const struct left_out *left_out,
                       uint32_t collection, double key) {
    uint64_t ticks;
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed) | 1u;
    atomic_store_explicit(&slot->sequence, sequence, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    slot->collection = collection;
    slot->key = key;
    slot->time_unix_ns = sonde__clock_now(&ticks);
    slot->value = offer->bits;
    memcpy(slot->trace_id, offer->context->trace_id, sizeof slot->trace_id);
    memcpy(slot->span_id, &offer->context->span_id, sizeof slot->span_id);
    slot->attributes_size = (uint16_t)left_out->size;
    if (left_out->size)
        memcpy(slot->attributes, left_out->bytes, left_out->size);
    sequence += 1u + 2u * (sequence == UINT32_MAX); /* never 0 again */
    atomic_store_explicit(&slot->sequence, sequence, memory_order_release);
}

/* ---- offers ---- */

static bool spin_take(_Atomic uint32_t *spin) {
    for (int i = 0; i < SPIN_MAX; i++)
        if (!atomic_load_explicit(spin, memory_order_relaxed) &&
            !atomic_exchange_explicit(spin, 1, memory_order_acquire))
            return true;
    return false;
}

/* Measurements that pass before the next whose key is below the threshold. */
static uint32_t gap(struct sonde__thread *thread, double threshold) {
    if (threshold >= 1)
        return 0;
    double passing = log(draw(thread)) / log1p(-threshold);
    return passing < GAP_MAX ? (uint32_t)passing : GAP_MAX;
}

/* Not inlined: half of its stack is for attributes. */
static __attribute__((noinline)) void candidate(struct sonde__thread *thread, struct sonde__reservoir *reservoir,
                                                struct sonde__lane *lane, uint32_t bucket,
                                                const struct sonde__offer *offer) {
    const uint32_t collection = collection_of(thread);
    double key = draw(thread), most;
    struct left_out left_out;
    left_out.size = 0;
    if (lane->collection == collection)
        key *= lane->threshold;
    if (offer->attribute_count && reservoir->slot_size > SONDE__EXEMPLAR_SIZE)
        left_out_encode(offer, &left_out);
    if (!spin_take(&reservoir->spin))
        return; /* the next one is a candidate again */
    struct sonde__exemplar *slot = highest(reservoir, bucket, collection, &most);
    if (slot && key < most) {
        slot_write(slot, offer, &left_out, collection, key);
        (void)highest(reservoir, bucket, collection, &most);
    }
    atomic_store_explicit(&reservoir->spin, 0, memory_order_release);
    lane->collection = collection;
    lane->threshold = most;
    lane->left = gap(thread, most);
}

/* Lets a measurement pass; false when it is a candidate. */
static inline bool pass(struct sonde__thread *thread, struct sonde__lane *lane) {
    if (lane->collection != collection_of(thread) || !lane->left)
        return false;
    lane->left--;
    return true;
}

void sonde__exemplar_offer(struct sonde__thread *thread, const struct sonde__offer *offer) {
    uint32_t lanes = thread->lane_of[offer->series], bucket = 0, count;
    if (!lanes)
        lanes = lanes_open(thread, offer->series);
    if (lanes == SONDE__LANE_NONE)
        return;
    if (lanes & SONDE__LANE_ALIGNED) {
        const double *bounds = sonde__series_bounds(offer->series, &count);
        bucket = sonde__bounds_index(bounds, count, sonde__double_of(offer->bits));
    }
    struct sonde__lane *lane = &thread->lanes[(lanes & ~SONDE__LANE_ALIGNED) + bucket];
    if (!pass(thread, lane))
        candidate(thread,
                  reservoir_at(thread, atomic_load_explicit(place_of(thread, offer->series), memory_order_acquire)),
                  lane, bucket, offer);
}

static __attribute__((noinline)) void offer_slow(struct sonde__thread *thread, uint32_t series, uint64_t bits) {
    struct sonde__offer offer = {.series = series, .bits = bits, .context = &thread->stack[thread->depth]};
    sonde__exemplar_offer(thread, &offer);
}

void sonde__exemplar_offer_bound(struct sonde__thread *thread, uint32_t series, uint64_t bits) {
    uint32_t lane = thread->lane_of[series];
    if (SONDE__UNLIKELY(lane - 1u >= SONDE__LANES_MAX - 1u || !pass(thread, &thread->lanes[lane])))
        offer_slow(thread, series, bits);
}
