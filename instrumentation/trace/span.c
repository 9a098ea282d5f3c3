/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end of a span. The start writes most of the span at fixed positions of a slot in shared memory (layout.h);
 * the end copies the body into this thread's ring, stores the end time into the copy (a wide load of a field just
 * stored in the slot would stall), and publishes.
 *
 * A process may be killed anywhere. A slot is OPEN only while its body is whole; it stays OPEN until the record is
 * published, and commit_position tells the agent that the record is the slot's; only then it becomes FREE (on the
 * thread that owns it) or ENDED (elsewhere: the owner reclaims), and its extents go back. */
#include "instrumentation/context/clock.h"
#include "instrumentation/context/context.h"
#include "instrumentation/ring/producer.h"
#include "instrumentation/trace/birth.h"
#include "instrumentation/trace/ids.h"
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/writer.h"

#define TAIL_SIZE 16u /* dropped counts: three tags and varints of up to 3 bytes */

static const uint8_t template[SONDE__BODY_CHILD] = {
    [SONDE__BODY_TRACE_ID - 2] = 0x0A, [SONDE__BODY_TRACE_ID - 1] = 16, [SONDE__BODY_SPAN_ID - 2] = 0x12,
    [SONDE__BODY_SPAN_ID - 1] = 8,     [SONDE__BODY_START - 1] = 0x39,  [SONDE__BODY_END - 1] = 0x41,
    [SONDE__BODY_KIND - 1] = 0x30,     [SONDE__BODY_FLAGS - 2] = 0x85,  [SONDE__BODY_FLAGS - 1] = 0x01,
    [SONDE__BODY_PARENT - 2] = 0x22,   [SONDE__BODY_PARENT - 1] = 8};

static const struct sonde_span_options default_options = SONDE_SPAN_OPTIONS_INIT;

/* ---- slots ---- */

static void commit(struct sonde__thread *thread, struct sonde__slot *slot, uint64_t end_unix_ns);

/* Says that the slot is done. `own`: it is this thread's. */
static inline void set_done(struct sonde__thread *thread, struct sonde__slot *slot, uint32_t number, bool own) {
    if (SONDE__LIKELY(own)) {
        atomic_store_explicit(&slot->state, SONDE__SLOT_FREE, memory_order_release);
        thread->free_slots[thread->free_count++] = (uint8_t)(number % SONDE__SLOTS);
    } else {
        atomic_store_explicit(&slot->state, SONDE__SLOT_ENDED, memory_order_release);
    }
}

/* Extents go back last, from a copy: a new span may be in the slot as soon as its state says so. */
static SONDE__COLD void set_done_and_give(struct sonde__thread *thread, struct sonde__slot *slot, uint32_t number,
                                          bool own) {
    uint16_t extents[SONDE__SLOT_EXTENTS];
    memcpy(extents, slot->extents, sizeof extents);
    memset(slot->extents, 0, sizeof slot->extents);
    set_done(thread, slot, number, own);
    for (uint32_t i = 0; i < SONDE__SLOT_EXTENTS && extents[i]; i++)
        sonde__extent_give(extents[i] - 1);
}

/* The span is reported, or counted as dropped. With the slot taken. */
static inline void release(struct sonde__thread *thread, struct sonde__slot *slot, uint32_t number, bool own) {
    if (SONDE__UNLIKELY(slot->has_extents))
        set_done_and_give(thread, slot, number, own);
    else
        set_done(thread, slot, number, own);
}

/* End time by duration; by the wall clock for a start of the caller's. Never before the start, whoever tells it: what
 * reads spans takes the difference as unsigned. */
static inline uint64_t end_time(const struct sonde__slot *slot, uint64_t end_ticks, uint64_t told_unix_ns) {
    uint64_t start = sonde__load64(slot->body + SONDE__BODY_START), ticks;
    if (SONDE__LIKELY(slot->start_ticks && !told_unix_ns))
        return start + sonde__clock_duration(slot->start_ticks, end_ticks);
    uint64_t end = told_unix_ns ? told_unix_ns : sonde__clock_now(&ticks);
    return end > start ? end : start;
}

/* No slot is free: takes back those that others ended, and ends those whose end could not get in. */
static SONDE__COLD void reclaim(struct sonde__thread *thread) {
    for (uint32_t i = 0; i < SONDE__SLOTS; i++) {
        struct sonde__slot *slot = &thread->slots[i];
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
        if (state == SONDE__SLOT_ENDED) {
            slot->commit_region = thread->region_number;
            atomic_store_explicit(&slot->state, SONDE__SLOT_FREE, memory_order_relaxed);
            thread->free_slots[thread->free_count++] = (uint8_t)i;
        } else if (state == SONDE__SLOT_OPEN &&
                   atomic_load_explicit(&slot->end_wanted, memory_order_acquire) == slot->generation &&
                   !atomic_exchange_explicit(&slot->spin, 1, memory_order_acquire)) {
            if (atomic_load_explicit(&slot->state, memory_order_relaxed) == SONDE__SLOT_OPEN) {
                commit(thread, slot, end_time(slot, 0, slot->end_wanted_ns));
                release(thread, slot, i, true);
            }
            atomic_store_explicit(&slot->spin, 0, memory_order_release);
        }
    }
}

static inline struct sonde__slot *take_free(struct sonde__thread *thread, uint32_t *ret_number) {
    if (SONDE__UNLIKELY(!thread->region)) {
        sonde__drop(thread, SONDE_SIGNAL_TRACES, SONDE_DROP_NO_MEMORY);
        return NULL;
    }
    if (SONDE__UNLIKELY(!thread->free_count)) {
        reclaim(thread);
        if (!thread->free_count) {
            sonde__drop(thread, SONDE_SIGNAL_TRACES, SONDE_DROP_NO_SLOT);
            return NULL;
        }
    }
    uint32_t i = thread->free_slots[--thread->free_count];
    *ret_number = (thread->region_number * SONDE__SLOTS + i) + 1;
    return &thread->slots[i];
}

/* The rare parts of a start: tracestate, a name that is long or not ASCII. The slot is not open yet. */
static __attribute__((noinline)) void write_rest(struct sonde__thread *thread, struct sonde__slot *slot,
                                                 struct sonde_string tracestate, struct sonde_key name) {
    struct sonde__writer writer;
    if (tracestate.size) {
        sonde__writer_init(&writer, thread->scratch, SONDE_SPAN_SIZE_MAX);
        sonde__write_string(&writer, SONDE__TAG_TRACESTATE >> 3, tracestate.data, tracestate.size, SIZE_MAX);
        (void)sonde__slot_append(slot, writer.start, (uint32_t)sonde__writer_size(&writer)); /* fits: the first field */
    }
    slot->name_offset = (uint16_t)sonde__slot_length(slot);
    sonde__writer_init(&writer, thread->scratch, SONDE_SPAN_SIZE_MAX);
    sonde__write_string(&writer, SONDE__TAG_NAME >> 3, name.text, name.length, SONDE_NAME_SIZE_MAX);
    bool fits = sonde__slot_append(slot, writer.start, (uint32_t)sonde__writer_size(&writer));
    if (!fits || name.length > SONDE_NAME_SIZE_MAX)
        sonde__count_attributes_dropped(1);
}

/* The tracestate, when it is short: a member of ours and one of somebody else's. It is ASCII, or would not be there.
 * Returns how many bytes it took. */
static inline uint32_t write_short_tracestate(struct sonde__slot *slot, uint32_t at, const char *text, uint32_t size) {
    uint8_t *to = slot->body + at;
    if (size >= 128)
        return 0;
    sonde__store16(to, SONDE__TAG_TRACESTATE | size << 8);
    memcpy(to + 2, text, size);
    return 2 + size;
}

static inline void write_name(struct sonde__thread *thread, struct sonde__slot *slot, const struct sonde__birth *birth,
                              struct sonde_key name) {
    uint32_t at = birth->parent_id ? SONDE__BODY_CHILD : SONDE__BODY_ROOT;
    struct sonde_string tracestate = {NULL, 0};
    if (SONDE__UNLIKELY(birth->flags & SONDE__ENTRY_TRACESTATE)) {
        tracestate.data = thread->tracestates + birth->texts.tracestate_at;
        tracestate.size = birth->texts.tracestate_length;
        uint32_t written = write_short_tracestate(slot, at, tracestate.data, (uint32_t)tracestate.size);
        tracestate.size = written ? 0 : tracestate.size;
        at += written;
    }
    slot->name_offset = (uint16_t)at;
    if (SONDE__LIKELY(name.length < 128 && !tracestate.size)) {
        sonde__store16(slot->body + at, SONDE__TAG_NAME | name.length << 8);
        if (SONDE__LIKELY(!sonde__copy_key(slot->body + at + 2, name, name.padded))) {
            atomic_store_explicit(&slot->length, at + 2 + name.length, memory_order_relaxed);
            return;
        }
    }
    atomic_store_explicit(&slot->length, at, memory_order_relaxed);
    write_rest(thread, slot, tracestate, name);
}

/* Fills a free slot and opens it. */
static inline void slot_open(struct sonde__thread *thread, struct sonde__slot *slot, const struct sonde__birth *birth,
                             uint64_t span_id, struct sonde_key name, const struct sonde_span_options *options) {
    uint8_t *body = slot->body;
    if (SONDE__UNLIKELY(!body[0])) { /* first use of this slot */
        memcpy(body, template, sizeof template);
        slot->commit_region = thread->region_number;
    }
    sonde__store64(body + SONDE__BODY_TRACE_ID, birth->trace_id[0]);
    sonde__store64(body + SONDE__BODY_TRACE_ID + 8, birth->trace_id[1]);
    sonde__store64(body + SONDE__BODY_SPAN_ID, span_id);
    body[SONDE__BODY_KIND] = sonde__span_kind(options->kind);
    sonde__store32(body + SONDE__BODY_FLAGS, sonde__span_body_flags(birth->flags));
    sonde__store16(body + SONDE__BODY_PARENT - 2, 0x0822);
    sonde__store64(body + SONDE__BODY_PARENT, birth->parent_id);
    atomic_store_explicit(&slot->commit_position, 0, memory_order_relaxed);
    slot->key_bits[0] = slot->key_bits[1] = *sonde__slot_extra(slot) = 0;
    slot->scope = (uint16_t)(options->scope < SONDE_SCOPES_MAX ? options->scope : 0);
    slot->attributes = slot->events = slot->links = 0;
    write_name(thread, slot, birth, name);
    for (size_t i = 0; SONDE__UNLIKELY(options->links) && i < options->link_count; i++)
        sonde__slot_add_link(thread, slot, &options->links[i]);
    uint64_t start = options->start_unix_ns;
    slot->start_ticks = 0; /* the end is then read from the wall clock */
    if (SONDE__LIKELY(!start)) {
        start = birth->start_unix_ns;
        slot->start_ticks = birth->start_ticks;
        if (SONDE__LIKELY(!start))
            start = sonde__clock_now(&slot->start_ticks);
    }
    sonde__store64(body + SONDE__BODY_START, start);
    uint64_t open = (uint64_t)sonde__thread_next_generation(thread) << 32 | SONDE__SLOT_OPEN;
    __atomic_store_n(sonde__slot_word(slot), open, __ATOMIC_RELEASE);
}

/* ---- start ---- */

/* The library is off or refuses: the context of the parent goes on. */
static SONDE__COLD void start_refused(struct sonde_span *span, const struct sonde_span_options *options) {
    memset(span, 0, sizeof *span);
    if (options && options->parent)
        span->context = options->parent->span;
    sonde__drop_refused(SONDE_SIGNAL_TRACES);
}

/* No spans are wanted of this process: the parent's context goes on, as if the process were not there. */
static SONDE__COLD void start_passed_on(struct sonde_span *span, const struct sonde_span_options *options) {
    memset(span, 0, sizeof *span);
    if (!options || !options->parent) {
        span->context = sonde_context_current_span();
        return;
    }
    span->context = options->parent->span;
    if (!options->not_current)
        span->token = sonde_context_attach(options->parent);
}

static inline void push(struct sonde__thread *thread, struct sonde_span *span, const struct sonde__birth *birth,
                        uint64_t span_id) {
    struct sonde__stack_entry *entry = sonde__context_entry(thread);
    if (SONDE__UNLIKELY(!entry))
        return;
    entry->trace_id[0] = birth->trace_id[0];
    entry->trace_id[1] = birth->trace_id[1];
    entry->span_id = span_id;
    entry->flags = birth->flags & (SONDE__ENTRY_CHILD | SONDE__ENTRY_TRACESTATE);
    entry->texts = birth->texts;
    span->token = sonde__context_push(thread, entry);
}

static inline void begin(struct sonde__thread *thread, struct sonde_span *ret_span, struct sonde_key name,
                         const struct sonde_span_options *options, const struct sonde__birth *birth) {
    uint64_t span_id = sonde__span_id_make(thread);
    memcpy(ret_span->context.trace_id, birth->trace_id, 16);
    memcpy(ret_span->context.span_id, &span_id, 8);
    sonde__store64(&ret_span->context.flags, birth->flags & SONDE__ENTRY_CHILD); /* is_remote and reserved are 0 */
    ret_span->slot = ret_span->generation = 0;
    ret_span->token = (struct sonde_context_token){0, 0};
    if (birth->flags & SONDE_TRACE_FLAG_SAMPLED) {
        uint32_t number;
        struct sonde__slot *slot = take_free(thread, &number);
        if (SONDE__LIKELY(slot != NULL)) {
            slot_open(thread, slot, birth, span_id, name, options);
            ret_span->slot = number | (options->one_thread ? SONDE__HANDLE_ONE_THREAD : 0);
            ret_span->generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
        }
    }
    if (SONDE__LIKELY(!options->not_current))
        push(thread, ret_span, birth, span_id);
}

/* Options of a caller built against another version: what it does not know is default. */
static const struct sonde_span_options *whole(const struct sonde_span_options *options,
                                              struct sonde_span_options *copy) {
    if (SONDE__LIKELY(options->size >= sizeof *copy))
        return options;
    *copy = default_options;
    memcpy(copy, options, options->size);
    return copy;
}

/* Of the options, then of the samplers. Outside enter/leave. */
static SONDE__COLD void set_attributes(struct sonde_span *span, const struct sonde_span_options *options,
                                       const struct sonde__sampling *sampling) {
    for (size_t i = 0; options->attributes && i < options->attribute_count; i++)
        sonde_span_set(span, &options->attributes[i]);
    for (uint32_t i = 0; sampling && i < sampling->added_count; i++)
        for (size_t k = 0; k < sampling->added[i].count; k++)
            sonde_span_set(span, &sampling->added[i].attributes[k]);
}

static __attribute__((noinline)) void start_resolved(struct sonde__thread *thread, struct sonde_span *ret_span,
                                                     struct sonde_key name, const struct sonde_span_options *options) {
    struct sonde__sampling sampling; /* not zeroed: it has room for what samplers seldom add */
    struct sonde__birth birth;
    sampling.name = name;
    sampling.options = options;
    sampling.unix_ns = sampling.ticks = 0;
    sampling.added_count = 0;
    sonde__birth_resolve(thread, &sampling, &birth);
    begin(thread, ret_span, name, options, &birth);
    sonde__thread_leave(thread);
    if (ret_span->slot && (options->attributes || sampling.added_count))
        set_attributes(ret_span, options, &sampling);
}

void sonde__span_start_slow(struct sonde_span *ret_span, struct sonde_key name,
                            const struct sonde_span_options *options) {
    struct sonde_span_options copy;
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread)) {
        start_refused(ret_span, options);
        return;
    }
    if (SONDE__UNLIKELY(sonde__settings.signals_off & 1u << SONDE_SIGNAL_TRACES)) {
        sonde__thread_leave(thread);
        start_passed_on(ret_span, options);
        return;
    }
    options = options ? whole(options, &copy) : &default_options;
    const struct sonde__stack_entry *top = &thread->stack[thread->depth];
    if (SONDE__UNLIKELY(options->parent || !top->span_id || (top->flags & SONDE__ENTRY_RESOLVE) ||
                        !sonde__settings.children_are_plain)) {
        start_resolved(thread, ret_span, name, options);
        return;
    }
    struct sonde__birth birth = {{top->trace_id[0], top->trace_id[1]}, top->span_id, top->texts, top->flags, 0, 0};
    begin(thread, ret_span, name, options, &birth);
    sonde__thread_leave(thread);
    if (ret_span->slot && options->attributes)
        set_attributes(ret_span, options, NULL);
}

/* ---- end ---- */

static uint32_t write_dropped(const struct sonde__slot *slot, uint8_t tail[TAIL_SIZE]) {
    struct sonde__writer writer;
    sonde__writer_init(&writer, tail, TAIL_SIZE);
    if (slot->attributes_dropped)
        sonde__write_uint(&writer, 10, slot->attributes_dropped);
    if (slot->events_dropped)
        sonde__write_uint(&writer, 12, slot->events_dropped);
    if (slot->links_dropped)
        sonde__write_uint(&writer, 14, slot->links_dropped);
    return (uint32_t)sonde__writer_size(&writer);
}

/* Publishes what was copied to `to`. */
static inline void publish(struct sonde__thread *thread, struct sonde__slot *slot, uint8_t *to, uint32_t size,
                           uint64_t end_unix_ns) {
    sonde__store64(to + SONDE__BODY_END, end_unix_ns);
    slot->commit_region = thread->region_number;
    sonde__ring_commit(thread, size, SONDE__RECORD_SPAN, slot->scope,
                       slot->status == SONDE_STATUS_ERROR ? SONDE__RECORD_FLAG_ERROR : 0, &slot->commit_position);
}

static SONDE__COLD void count_lost(struct sonde__thread *thread) {
    sonde__drop(thread, SONDE_SIGNAL_TRACES, thread->region ? SONDE_DROP_RING_FULL : SONDE_DROP_NO_MEMORY);
}

/* A span that has extents or lost something. */
static SONDE__COLD void commit_large(struct sonde__thread *thread, struct sonde__slot *slot, uint64_t end_unix_ns) {
    uint8_t tail[TAIL_SIZE];
    uint32_t length = sonde__slot_length(slot), tail_size = write_dropped(slot, tail);
    uint8_t *to = thread->region ? sonde__ring_reserve(thread, length + tail_size) : NULL;
    if (!to) {
        count_lost(thread);
        return;
    }
    sonde__slot_read(slot, 0, to, length);
    memcpy(to + length, tail, tail_size);
    publish(thread, slot, to, length + tail_size, end_unix_ns);
}

/* Copies the span to the ring and publishes it; or counts it as dropped. With the slot taken. */
static inline void commit(struct sonde__thread *thread, struct sonde__slot *slot, uint64_t end_unix_ns) {
    uint32_t length = sonde__slot_length(slot);
    if (SONDE__UNLIKELY(length > SONDE__SLOT_BODY ||
                        (slot->attributes_dropped | slot->events_dropped | slot->links_dropped))) {
        commit_large(thread, slot, end_unix_ns);
        return;
    }
    uint8_t *to = SONDE__LIKELY(thread->region != NULL) ? sonde__ring_reserve(thread, length) : NULL;
    if (SONDE__UNLIKELY(!to)) {
        count_lost(thread);
        return;
    }
    sonde__copy_over64(to, slot->body, length);
    publish(thread, slot, to, length, end_unix_ns);
}

/* The spin bit was not to be had: somebody was put to sleep holding it. The owner ends the span when it needs slots. */
static SONDE__COLD void want_end(struct sonde__slot *slot, const struct sonde_span *span, uint64_t end_unix_ns) {
    uint64_t ticks;
    atomic_store_explicit(&slot->end_wanted_ns, end_unix_ns ? end_unix_ns : sonde__clock_now(&ticks),
                          memory_order_relaxed);
    atomic_store_explicit(&slot->end_wanted, span->generation, memory_order_release);
}

void sonde__span_end_slow(struct sonde_span *span, uint64_t end_unix_ns) {
    struct sonde__edit edit;
    bool busy;
    uint32_t slot_number = span->slot & ~SONDE__HANDLE_ONE_THREAD;
    if (!(slot_number | span->token.depth)) /* neither recorded nor current */
        return;
    uint64_t end_ticks = slot_number ? sonde__clock_ticks() : 0; /* early: the read overlaps with what follows */
    struct sonde__thread *thread = edit.thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread)) /* not lost: the span stays open */
        return;
    sonde__context_pop(thread, span->token);
    if (SONDE__LIKELY(slot_number) && SONDE__LIKELY(sonde__slot_take(&edit, span, &busy))) {
        struct sonde__slot *slot = edit.slot;
        bool own = (slot_number - 1) / SONDE__SLOTS == thread->region_number;
        commit(thread, slot, end_time(slot, end_ticks, end_unix_ns));
        release(thread, slot, slot_number - 1, own);
        if (edit.locked)
            atomic_store_explicit(&slot->spin, 0, memory_order_release);
    } else if (slot_number && busy) {
        want_end(edit.slot, span, end_unix_ns);
    }
    span->slot = span->token.depth = 0;
    sonde__thread_leave(thread);
}

void sonde_span_end_at(struct sonde_span *span, uint64_t end_unix_ns) {
    sonde__span_end_slow(span, end_unix_ns);
}

/* ---- looking at a span ---- */

bool sonde_span_is_recording(const struct sonde_span *span) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return false;
    sonde__edit_end(&edit);
    return true;
}

/* The entry of a span on this thread's stack, or of its trace; NULL when there is none. */
static const struct sonde__stack_entry *find_entry(const struct sonde__thread *thread, const struct sonde_span *span) {
    const struct sonde__stack_entry *of_trace = NULL;
    for (uint32_t i = thread->depth; i > 0; i--) {
        const struct sonde__stack_entry *entry = &thread->stack[i];
        if (memcmp(entry->trace_id, span->context.trace_id, 16) != 0)
            continue;
        if (memcmp(&entry->span_id, span->context.span_id, 8) == 0)
            return entry;
        if (!of_trace)
            of_trace = entry;
    }
    return of_trace;
}

/* The texts of a span as the thread's stack knows them. A span that is not on it has the current baggage; its
 * tracestate is that of its trace. */
static void find_texts(const struct sonde__thread *thread, const struct sonde_span *span,
                       struct sonde_context *context) {
    const struct sonde__stack_entry *entry = find_entry(thread, span), *top = &thread->stack[thread->depth];
    if (entry) {
        context->tracestate_length = entry->texts.tracestate_length;
        memcpy(context->tracestate, thread->tracestates + entry->texts.tracestate_at, context->tracestate_length);
    }
    if (!entry || memcmp(&entry->span_id, span->context.span_id, 8) != 0)
        entry = top;
    context->baggage_length = entry->texts.baggage_length;
    memcpy(context->baggage, thread->baggages + entry->texts.baggage_at, context->baggage_length);
}

void sonde_span_context_get(const struct sonde_span *span, struct sonde_context *ret_context) {
    struct sonde__edit edit;
    struct sonde__field field;
    ret_context->span = span->context;
    ret_context->tracestate_length = ret_context->baggage_length = 0;
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return;
    find_texts(thread, span, ret_context);
    if (!span->slot || !sonde__edit_take(&edit, thread, span)) {
        if (!span->slot)
            sonde__thread_leave(thread);
        return;
    }
    ret_context->tracestate_length = 0;
    if (sonde__slot_find_field(edit.slot, SONDE__TAG_TRACESTATE, &field) &&
        field.content_size <= SONDE_TRACESTATE_SIZE_MAX) {
        ret_context->tracestate_length = field.content_size;
        sonde__slot_read(edit.slot, field.content_at, ret_context->tracestate, field.content_size);
    }
    sonde__edit_end(&edit);
}
