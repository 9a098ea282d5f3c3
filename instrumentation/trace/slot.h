/* SPDX-License-Identifier: Apache-2.0 */
/* Changing an open span: finding its slot, keeping other threads out, and its body as one stream of bytes that begins
 * in the slot and goes on in extents. The length is published after the bytes it covers, always, because the process
 * may be killed between any two instructions and the agent then reads what is there. */
#ifndef SONDE_TRACE_SLOT_H
#define SONDE_TRACE_SLOT_H

#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/thread.h"
#include "instrumentation/wire/block.h"
#include <sonde/trace.h>

/* Tags of the Span fields of variable length; all are one byte. Source: trace/v1/trace.proto. */
enum {
    SONDE__TAG_TRACESTATE = 0x1A,
    SONDE__TAG_NAME = 0x2A,
    SONDE__TAG_ATTRIBUTE = 0x4A,
    SONDE__TAG_EVENT = 0x5A,
    SONDE__TAG_LINK = 0x6A,
    SONDE__TAG_STATUS = 0x7A,
};

/* For the few functions of the hot path: none has a buffer in its frame, so there is nothing to protect. */
#define SONDE__HOT  __attribute__((no_stack_protector))
#define SONDE__COLD __attribute__((noinline, cold))

static inline uint32_t sonde__slot_length(const struct sonde__slot *slot) {
    return atomic_load_explicit(&slot->length, memory_order_relaxed);
}
/* length, name_offset and attributes as one word: an attribute is published by one store. */
#define SONDE__FILL_ATTRIBUTE ((uint64_t)1 << 48)
#define SONDE__FILL_NAME_AT   32
static inline uint64_t sonde__slot_fill(const struct sonde__slot *slot) {
    return __atomic_load_n((const uint64_t *)(const void *)&slot->length, __ATOMIC_RELAXED);
}
static inline void sonde__slot_fill_publish(struct sonde__slot *slot, uint64_t fill) {
    __atomic_store_n((uint64_t *)(void *)&slot->length, fill, __ATOMIC_RELEASE);
}
/* The word that is zero when the end has nothing to do but to copy the body. */
static inline uint64_t *sonde__slot_extra(struct sonde__slot *slot) {
    return (uint64_t *)(void *)&slot->attributes_dropped;
}
static inline void sonde__slot_publish(struct sonde__slot *slot, uint32_t length) {
    atomic_store_explicit(&slot->length, length, memory_order_release);
}

/* A key travels in two registers. Handed on as a struct it would be put together again from its fields, on the hot path
 * too; so the other halves of hot functions get the two words. */
static inline uint64_t sonde__key_rest(struct sonde_key key) {
    uint64_t rest;
    memcpy(&rest, &key.length, sizeof rest);
    return rest;
}
static inline struct sonde_key sonde__key_whole(const char *text, uint64_t rest) {
    struct sonde_key key = {.text = text};
    memcpy(&key.length, &rest, sizeof rest);
    return key;
}
_Static_assert(sizeof(struct sonde_key) == 16 && offsetof(struct sonde_key, length) == 8, "two words");

/* ---- start and end, the general way (span.c); the fast way is in span_fast.c ---- */

void sonde__span_start_slow(struct sonde_span *ret_span, struct sonde_key name,
                            const struct sonde_span_options *options);
void sonde__span_end_slow(struct sonde_span *span, uint64_t end_unix_ns);

static inline uint64_t sonde__thread_draw_span_id(struct sonde__thread *thread) {
    uint64_t id = sonde__thread_draw(thread);
    return SONDE__LIKELY(id != 0) ? id : 1;
}
static inline uint32_t sonde__thread_next_generation(struct sonde__thread *thread) {
    uint32_t generation = thread->generation + 1;
    return thread->generation = generation + !generation; /* 0 is no span's */
}
/* SpanFlags of trace.proto: whether the parent is remote is known, and is true. */
#define SONDE__SPAN_HAS_IS_REMOTE 0x100u
#define SONDE__SPAN_IS_REMOTE     0x200u
static inline uint32_t sonde__span_body_flags(uint32_t entry_flags) {
    return (entry_flags & 0xFF) | SONDE__SPAN_HAS_IS_REMOTE | (entry_flags & SONDE__ENTRY_REMOTE) << 1;
}
_Static_assert(SONDE__ENTRY_REMOTE << 1 == SONDE__SPAN_IS_REMOTE, "flags");

/** What is recorded for a kind; one that is none counts as INTERNAL: the agent would take the record for a lie. */
static inline uint8_t sonde__span_kind(enum sonde_span_kind kind) {
    return (uint8_t)((unsigned)kind - 1u < (unsigned)SONDE_SPAN_KIND_CONSUMER ? kind : SONDE_SPAN_KIND_INTERNAL);
}

/** Waits for the spin bit; false after 1,000 rounds. */
bool sonde__slot_spin(struct sonde__slot *slot);

/* ---- one call on a span ---- */

struct sonde__edit {
    struct sonde__thread *thread;
    struct sonde__slot *slot;
    bool locked;
};
/* State and generation as one word. */
static inline uint64_t *sonde__slot_word(struct sonde__slot *slot) {
    return (uint64_t *)(void *)&slot->state;
}
static inline bool sonde__slot_is_of(struct sonde__slot *slot, const struct sonde_span *span) {
    uint64_t open = (uint64_t)span->generation << 32 | SONDE__SLOT_OPEN;
    return __atomic_load_n(sonde__slot_word(slot), __ATOMIC_RELAXED) == open;
}
static inline bool sonde__span_is_locked(const struct sonde_span *span) {
    return !(span->slot & SONDE__HANDLE_ONE_THREAD);
}
/** Takes the slot of a handle for itself. False: not recording (any more), or busy; `*ret_busy` tells. No undo then. */
static inline bool sonde__slot_take(struct sonde__edit *edit, const struct sonde_span *span, bool *ret_busy) {
    struct sonde__slot *slot = edit->slot = sonde__slot_find(span->slot);
    *ret_busy = false;
    if (SONDE__UNLIKELY(!slot))
        return false;
    edit->locked = sonde__span_is_locked(span);
    if (edit->locked && SONDE__UNLIKELY(atomic_exchange_explicit(&slot->spin, 1, memory_order_acquire)))
        if ((*ret_busy = !sonde__slot_spin(slot)))
            return false;
    if (SONDE__LIKELY(sonde__slot_is_of(slot, span)))
        return true;
    if (edit->locked)
        atomic_store_explicit(&slot->spin, 0, memory_order_release);
    return false;
}
/** Takes the slot for a thread that has entered. False: the thread has left again; do nothing. */
static inline bool sonde__edit_take(struct sonde__edit *edit, struct sonde__thread *thread,
                                    const struct sonde_span *span) {
    bool busy;
    edit->thread = thread;
    if (SONDE__LIKELY(sonde__slot_take(edit, span, &busy)))
        return true;
    if (busy)
        sonde__drop(thread, SONDE_SIGNAL_TRACES, SONDE_DROP_BUSY);
    sonde__thread_leave(thread);
    return false;
}
/** Enters the library and takes the slot. False: do nothing. */
static inline bool sonde__edit_begin(struct sonde__edit *edit, const struct sonde_span *span) {
    edit->thread = span->slot ? sonde__thread_enter() : NULL;
    return SONDE__LIKELY(edit->thread != NULL) && sonde__edit_take(edit, edit->thread, span);
}
static inline void sonde__edit_end(const struct sonde__edit *edit) {
    if (edit->locked)
        atomic_store_explicit(&edit->slot->spin, 0, memory_order_release);
    sonde__thread_leave(edit->thread);
}

/** The slot of a handle if it is one of this thread's own; NULL else. */
static inline struct sonde__slot *sonde__slot_own(const struct sonde__thread *thread, uint32_t handle) {
    uint32_t number = (handle & ~SONDE__HANDLE_ONE_THREAD) - 1u;
    return SONDE__LIKELY(number / SONDE__SLOTS == thread->region_number) ? &thread->slots[number % SONDE__SLOTS] : NULL;
}
/** The same for the fast half of a call, which makes no calls and so needs no stack: enters and takes the slot when it
 *  is this thread's and nothing at all is in the way. False: nothing happened; the slow half does it again from the
 *  start. */
static inline bool sonde__edit_try(struct sonde__edit *edit, const struct sonde_span *span) {
    struct sonde__thread *thread = edit->thread = sonde__thread_try();
    if (SONDE__UNLIKELY(!thread))
        return false;
    struct sonde__slot *slot = edit->slot = sonde__slot_own(thread, span->slot);
    if (SONDE__LIKELY(slot != NULL)) {
        edit->locked = sonde__span_is_locked(span);
        if (!edit->locked || SONDE__LIKELY(!atomic_exchange_explicit(&slot->spin, 1, memory_order_acquire))) {
            if (SONDE__LIKELY(sonde__slot_is_of(slot, span)))
                return true;
            if (edit->locked)
                atomic_store_explicit(&slot->spin, 0, memory_order_release);
        }
    }
    sonde__thread_leave(thread);
    return false;
}

/* ---- the body as a stream ---- */

/** Appends a whole field. False: it does not fit (limit reached, no extents left), nothing changed. */
bool sonde__slot_append(struct sonde__slot *slot, const void *bytes, uint32_t size);
/** Where the next `size` bytes may be written, to be published then; NULL when they would not lie in a row or have no
 *  place yet: sonde__slot_append() then. */
uint8_t *sonde__slot_room(const struct sonde__slot *slot, uint32_t size);
/** The same for any size: where the next bytes may be written, and how many in a row; NULL when there is none. */
uint8_t *sonde__slot_row(const struct sonde__slot *slot, uint32_t *ret_size);
/** Takes the field of `size` bytes at `at` out and appends another (or, with size 0, only that) in one step: whoever
 *  reads the memory of a killed process finds the old one or the new one. False: both do not fit, nothing changed. */
bool sonde__slot_replace(struct sonde__slot *slot, uint32_t at, uint32_t size, const void *bytes, uint32_t new_size);
/** Takes `size` bytes at `at` out, likewise; what is behind moves down. */
void sonde__slot_remove(struct sonde__slot *slot, uint32_t at, uint32_t size);
/** Copies bytes out of the stream, which must have them. */
void sonde__slot_read(const struct sonde__slot *slot, uint32_t at, void *to, uint32_t size);

/** A field of variable length: where it is, and its content. */
struct sonde__field {
    uint32_t tag, at, size; /* the whole field */
    uint32_t content_at, content_size;
};
/** The field at `at`; false at the end. The first is at SONDE__BODY_ROOT (a child's parent id is a field like any). */
bool sonde__slot_field(const struct sonde__slot *slot, uint32_t at, struct sonde__field *ret_field);
/** The first field with a tag. */
bool sonde__slot_find_field(const struct sonde__slot *slot, uint32_t tag, struct sonde__field *ret_field);
/** The attribute with this key. */
bool sonde__slot_find_key(const struct sonde__slot *slot, struct sonde_key key, struct sonde__field *ret_field);

static inline void sonde__count16(uint16_t *counter) {
    if (*counter != UINT16_MAX)
        ++*counter;
}
/** Counts `count` attributes lost by a limit, in the process (sonde_stats). */
void sonde__count_attributes_dropped(uint64_t count);

/* ---- parts of a span, each appended with the slot taken ---- */

void sonde__slot_add_link(struct sonde__thread *thread, struct sonde__slot *slot, const struct sonde_link *link);

/** Links to valid contexts without tracestate and attributes: what sonde_span_add_link() of each does, in one call. */
void sonde__span_add_links(const struct sonde_span *span, const struct sonde_span_context *contexts, size_t count);

#endif
