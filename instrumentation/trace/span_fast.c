/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end as they nearly always are: a child of this thread's current span, ended by the thread that started it.
 * Nothing is called here, so nothing is saved on a stack; whatever else there is to do is found out before anything was
 * changed, and span.c does it all from the start. */
#include "instrumentation/context/clock.h"
#include "instrumentation/context/context.h"
#include "instrumentation/ring/producer.h"
#include "instrumentation/trace/slot.h"

static const struct sonde_span_options default_options = SONDE_SPAN_OPTIONS_INIT;

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Options that ask for nothing out of the way. */
static ALWAYS_INLINE bool options_are_plain(const struct sonde_span_options *options) {
    return options->size >= sizeof *options && options->scope < SONDE_SCOPES_MAX &&
           !((uintptr_t)options->parent | (uintptr_t)options->links | (uintptr_t)options->attributes |
             options->start_unix_ns);
}

/* Fills and opens a free slot. False: nothing has changed that anybody sees. */
static ALWAYS_INLINE bool slot_open(struct sonde__slot *slot, const struct sonde__stack_entry *parent, uint64_t span_id,
                                    uint32_t generation, struct sonde_key name,
                                    const struct sonde_span_options *options) {
    uint8_t *body = slot->body;
    uint64_t start_unix_ns = sonde__clock_try(&slot->start_ticks);
    if (SONDE__UNLIKELY(!start_unix_ns || !body[0] || name.length >= 128))
        return false;
    sonde__store16(body + SONDE__BODY_CHILD, SONDE__TAG_NAME | name.length << 8);
    if (SONDE__UNLIKELY(sonde__copy_key(body + SONDE__BODY_CHILD + 2, name, name.padded)))
        return false;
    sonde__store64(body + SONDE__BODY_TRACE_ID, parent->trace_id[0]);
    sonde__store64(body + SONDE__BODY_TRACE_ID + 8, parent->trace_id[1]);
    sonde__store64(body + SONDE__BODY_SPAN_ID, span_id);
    sonde__store64(body + SONDE__BODY_START, start_unix_ns);
    body[SONDE__BODY_KIND] = sonde__span_kind(options->kind);
    sonde__store32(body + SONDE__BODY_FLAGS, sonde__span_body_flags(parent->flags));
    sonde__store16(body + SONDE__BODY_PARENT - 2, 0x0822);
    sonde__store64(body + SONDE__BODY_PARENT, parent->span_id);
    atomic_store_explicit(&slot->commit_position, 0, memory_order_relaxed);
    slot->key_bits[0] = slot->key_bits[1] = *sonde__slot_extra(slot) = 0;
    slot->events = slot->links = 0;
    slot->scope = (uint16_t)options->scope;
    sonde__slot_fill_publish(slot, (SONDE__BODY_CHILD + 2 + name.length) | (uint64_t)SONDE__BODY_CHILD
                                                                               << SONDE__FILL_NAME_AT);
    __atomic_store_n(sonde__slot_word(slot), (uint64_t)generation << 32 | SONDE__SLOT_OPEN, __ATOMIC_RELEASE);
    return true;
}

static ALWAYS_INLINE void push(struct sonde__thread *thread, const struct sonde__stack_entry *parent,
                               struct sonde_span *span, uint64_t span_id, uint32_t generation) {
    struct sonde__stack_entry *entry = (struct sonde__stack_entry *)(uintptr_t)(parent + 1);
    uint32_t depth = thread->depth + 1;
    entry->trace_id[0] = parent->trace_id[0];
    entry->trace_id[1] = parent->trace_id[1];
    entry->span_id = span_id;
    entry->texts = parent->texts;
    entry->flags = parent->flags & SONDE__ENTRY_CHILD;
    entry->generation = generation;
    thread->depth = depth;
    span->token = (struct sonde_context_token){depth, generation};
}

/* Fills the handle and makes the span current. Leaves the library. */
static ALWAYS_INLINE void start_done(struct sonde__thread *thread, const struct sonde__stack_entry *parent,
                                     struct sonde_span *ret_span, uint64_t span_id, uint32_t generation,
                                     bool not_current) {
    thread->generation = generation;
    memcpy(ret_span->context.trace_id, parent->trace_id, 16);
    memcpy(ret_span->context.span_id, &span_id, 8);
    sonde__store64(&ret_span->context.flags, parent->flags & SONDE__ENTRY_CHILD); /* the other bytes are 0 */
    ret_span->generation = generation;
    if (SONDE__LIKELY(!not_current))
        push(thread, parent, ret_span, span_id, generation);
    else
        ret_span->token = (struct sonde_context_token){0, 0};
    sonde__thread_leave(thread);
}

static __attribute__((noinline)) SONDE__HOT void start_recorded(struct sonde_span *ret_span, const char *name_text,
                                                                uint64_t name_rest,
                                                                const struct sonde_span_options *options,
                                                                struct sonde__thread *thread) {
    const struct sonde__stack_entry *parent = &thread->stack[thread->depth];
    struct sonde_key name = sonde__key_whole(name_text, name_rest);
    uint32_t generation = thread->generation + 1, left = thread->free_count - 1;
    if (SONDE__LIKELY(generation != 0 && left != UINT32_MAX)) {
        uint64_t span_id = sonde__thread_draw_span_id(thread);
        uint32_t i = thread->free_slots[left];
        if (SONDE__LIKELY(slot_open(&thread->slots[i], parent, span_id, generation, name, options))) {
            thread->free_count = left;
            ret_span->slot =
                (thread->region_number * SONDE__SLOTS + i + 1) | (options->one_thread ? SONDE__HANDLE_ONE_THREAD : 0);
            start_done(thread, parent, ret_span, span_id, generation, options->not_current);
            return;
        }
    }
    sonde__thread_leave(thread);
    sonde__span_start_slow(ret_span, name, options);
}

SONDE__HOT void sonde_span_start(struct sonde_span *ret_span, struct sonde_key name,
                                 const struct sonde_span_options *options) {
    struct sonde__thread *thread = sonde__thread_try();
    if (SONDE__UNLIKELY(!options))
        options = &default_options;
    if (SONDE__LIKELY(thread != NULL)) {
        const struct sonde__stack_entry *parent = &thread->stack[thread->depth];
        uint32_t flags = parent->flags;
        if (SONDE__LIKELY(options_are_plain(options) && parent->span_id &&
                          !(flags & (SONDE__ENTRY_RESOLVE | SONDE__ENTRY_TRACESTATE)) &&
                          thread->depth < SONDE_CONTEXT_DEPTH_MAX && sonde__settings.children_are_plain)) {
            if (flags & SONDE_TRACE_FLAG_SAMPLED) {
                start_recorded(ret_span, name.text, sonde__key_rest(name), options, thread);
                return;
            }
            ret_span->slot = 0;
            start_done(thread, parent, ret_span, sonde__thread_draw_span_id(thread), thread->generation + 1,
                       options->not_current);
            return;
        }
        sonde__thread_leave(thread);
    }
    sonde__span_start_slow(ret_span, name, options);
}

/* Copies the body to the ring and publishes it. False: nothing has changed. */
static ALWAYS_INLINE bool commit(struct sonde__thread *thread, struct sonde__slot *slot, uint64_t end_ticks) {
    uint32_t length = sonde__slot_length(slot), need = sonde__ring_need(length);
    uint64_t mult = atomic_load_explicit(&sonde__clock.mult, memory_order_relaxed), start_ticks = slot->start_ticks;
    uint64_t at = thread->head, head = at + need;
    if (SONDE__UNLIKELY(*sonde__slot_extra(slot) || !mult || !start_ticks || head > thread->limit))
        return false;
    uint64_t ticks = end_ticks > start_ticks ? end_ticks - start_ticks : 0;
    uint64_t end_unix_ns =
        sonde__load64(slot->body + SONDE__BODY_START) + (uint64_t)(((unsigned __int128)ticks * mult) >> 32);
    uint8_t *to = thread->ring + (at & (SONDE__RING_SIZE - 1u));
    sonde__copy_over64(to + sizeof(struct sonde__record), slot->body, length);
    sonde__store64(to + sizeof(struct sonde__record) + SONDE__BODY_END, end_unix_ns);
    sonde__store64(to, (uint64_t)length | (uint64_t)SONDE__RECORD_SPAN << 32 | (uint64_t)slot->scope << 48);
    thread->head = head;
    atomic_store_explicit(&slot->commit_position, head, memory_order_relaxed); /* commit_region is ours already */
    atomic_store_explicit(&thread->region->head, head, memory_order_release);
    return true;
}

/* A span of this thread, recorded. */
static ALWAYS_INLINE bool end_own(struct sonde__thread *thread, const struct sonde_span *span, uint32_t i,
                                  uint64_t end_ticks) {
    struct sonde__slot *slot = &thread->slots[i];
    bool locked = sonde__span_is_locked(span);
    if (locked && SONDE__UNLIKELY(atomic_exchange_explicit(&slot->spin, 1, memory_order_acquire)))
        return false;
    bool done = SONDE__LIKELY(sonde__slot_is_of(slot, span)) && commit(thread, slot, end_ticks);
    if (SONDE__LIKELY(done)) {
        atomic_store_explicit(&slot->state, SONDE__SLOT_FREE, memory_order_release);
        thread->free_slots[thread->free_count++] = (uint8_t)i;
    }
    if (locked)
        atomic_store_explicit(&slot->spin, 0, memory_order_release);
    return done;
}

SONDE__HOT void sonde_span_end(struct sonde_span *span) {
    uint64_t end_ticks = 0;
    uint32_t handle = span->slot, number = (handle & ~SONDE__HANDLE_ONE_THREAD) - 1;
    if (SONDE__LIKELY(handle))
        end_ticks = sonde__clock_counter(); /* early: the reading overlaps with what follows */
    struct sonde__thread *thread = sonde__thread_try();
    if (SONDE__LIKELY(thread != NULL)) {
        bool done = !handle || (SONDE__LIKELY(number / SONDE__SLOTS == thread->region_number) &&
                                end_own(thread, span, number % SONDE__SLOTS, end_ticks));
        if (SONDE__LIKELY(done)) {
            sonde__context_pop(thread, span->token);
            span->slot = span->token.depth = 0;
        }
        sonde__thread_leave(thread);
        if (SONDE__LIKELY(done))
            return;
    }
    sonde__span_end_slow(span, 0);
}
