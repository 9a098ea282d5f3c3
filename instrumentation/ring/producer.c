/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/producer.h"

_Static_assert(sizeof(struct sonde__record) == 8 && offsetof(struct sonde__record, scope) == 6, "record header");

/* tail is the one word of ours that another process writes: it is taken only within [base, head]. */
static void tail_refresh(struct sonde__thread *thread) {
    uint64_t tail = atomic_load_explicit(&thread->region->tail, memory_order_acquire);
    if (tail < thread->base)
        tail = thread->base;
    thread->tail_seen = tail > thread->head ? thread->head : tail;
}

/* A record would leave its page. If the ring is empty the next record goes to the first page again, so that a quiet
 * thread keeps two pages of ring resident instead of all. base first, then head: a reader loads head, then base, so
 * whoever sees the new head sees the new base. */
static void new_page(struct sonde__thread *thread) {
    const uint64_t mask = SONDE__RING_SIZE - 1u;
    if ((thread->head & mask) < SONDE__PAGE / 2u)
        return;
    tail_refresh(thread);
    if (thread->tail_seen != thread->head)
        return;
    uint64_t head = (thread->head | mask) + 1u;
    thread->head = thread->base = thread->tail_seen = head;
    thread->bell_at = head + SONDE__RING_SIZE / 4u;
    atomic_store_explicit(&thread->region->base, head, memory_order_release);
    atomic_store_explicit(&thread->region->head, head, memory_order_release);
}

static bool make_room(struct sonde__thread *thread, uint32_t need) {
    tail_refresh(thread);
    if (thread->head + need + SONDE__SLACK - thread->tail_seen <= SONDE__RING_SIZE)
        return true;
    sonde__doorbell_ring(); /* it may have gone to sleep since we last looked */
    return false;
}

/* A quarter of the ring is written since the last look (with the record of size `need` that comes), or one is urgent.
 */
void sonde__ring_look(struct sonde__thread *thread, uint32_t need, bool urgent) {
    const uint64_t quarter = SONDE__RING_SIZE / 4u;
    tail_refresh(thread);
    uint64_t held = thread->head + need - thread->tail_seen;
    bool full = held >= quarter;
    if (full || urgent)
        sonde__doorbell_ring();
    /* The agent may hold a quarter for long (a slow disk, a slow backend); then look four times as often, not always.
     */
    thread->bell_at = thread->head + need + (full ? quarter / 4u : quarter - held);
    thread->limit = 0;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* About once in 20 spans. The new limit is the end of the page that the record ends in, if nothing comes before: of a
 * large record, which may be committed smaller, the page it begins in. */
bool sonde__ring_reserve_slow(struct sonde__thread *thread, uint32_t need) {
    if ((thread->head ^ (thread->head + need)) >= SONDE__PAGE)
        new_page(thread);
    if (thread->head + need + SONDE__SLACK - thread->tail_seen > SONDE__RING_SIZE && !make_room(thread, need))
        return false;
    if (thread->head + need >= thread->bell_at)
        sonde__ring_look(thread, need, false);
    uint64_t page_of = need <= SONDE__PAGE ? thread->head + need : thread->head;
    thread->limit = least(page_of | (SONDE__PAGE - 1u),
                          least(thread->bell_at - 1u, thread->tail_seen + SONDE__RING_SIZE - SONDE__SLACK));
    return true;
}
