/* SPDX-License-Identifier: Apache-2.0 */
/* The ring, producer side: reserve, write, commit. One producer, no lock, no system call but the doorbell.
 *
 *   uint8_t *body = sonde__ring_reserve(thread, size);  // NULL: full; count SONDE_DROP_RING_FULL
 *   ...write up to size bytes, block copies may run SONDE__SLACK past...
 *   sonde__ring_commit(thread, true_size, SONDE__RECORD_SPAN, scope, flags, &slot->commit_position);
 *
 * Inside enter/leave, thread->region not NULL, size <= SONDE__RECORD_BODY_MAX. What is reserved and not committed is
 * simply reserved again. */
#ifndef SONDE_RING_PRODUCER_H
#define SONDE_RING_PRODUCER_H

#include "instrumentation/ring/thread.h"

/* Cold halves, producer.c. The first: thread->limit is passed; false when the ring is full. */
bool sonde__ring_reserve_slow(struct sonde__thread *thread, uint32_t need);
void sonde__ring_look(struct sonde__thread *thread, uint32_t need, bool urgent);

static inline uint32_t sonde__ring_need(uint32_t size) {
    return ((size + 7u) & ~7u) + (uint32_t)sizeof(struct sonde__record);
}

/** Room for a record with a body of up to `size` bytes. Returns where the body goes, or NULL (ring full). */
static inline uint8_t *sonde__ring_reserve(struct sonde__thread *thread, uint32_t size) {
    const uint32_t need = sonde__ring_need(size);
    if (SONDE__UNLIKELY(thread->head + need > thread->limit) && !sonde__ring_reserve_slow(thread, need))
        return NULL;
    return thread->ring + (thread->head & (SONDE__RING_SIZE - 1u)) + sizeof(struct sonde__record);
}

/** Publishes the reserved record with its true size (<= reserved) and rings the doorbell if it is urgent.
 *  A full quarter of the ring is seen when room is reserved, an urgent record here.
 *  before_head, if not NULL, receives the ring position behind the record before the head is stored, so that who finds
 *  the memory of a killed process sees the span once: in the ring, or still open.
 *  Returns that position. */
static inline uint64_t sonde__ring_commit(struct sonde__thread *thread, uint32_t size, enum sonde__record_kind kind,
                                          uint32_t scope, uint32_t flags, _Atomic uint64_t *before_head) {
    /* one 8-byte store: length, kind, flags, scope as in struct sonde__record */
    const uint64_t header = (uint64_t)size | (uint64_t)kind << 32 | (uint64_t)flags << 40 | (uint64_t)scope << 48;
    const uint64_t head = thread->head + sonde__ring_need(size);
    *(uint64_t *)(void *)(thread->ring + (thread->head & (SONDE__RING_SIZE - 1u))) = header;
    thread->head = head;
    if (before_head)
        atomic_store_explicit(before_head, head, memory_order_relaxed);
    atomic_store_explicit(&thread->region->head, head, memory_order_release);
    if (SONDE__UNLIKELY(flags & SONDE__RECORD_FLAG_ERROR))
        sonde__ring_look(thread, 0, true);
    return head;
}

#endif
