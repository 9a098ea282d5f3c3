/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/context/context.h"
#include "instrumentation/resource/settings.h"
#include <sonde/err.h>

bool sonde_span_context_is_valid(const struct sonde_span_context *context) {
    uint64_t words[3];
    memcpy(words, context->trace_id, 16);
    memcpy(words + 2, context->span_id, 8);
    return (words[0] | words[1]) && words[2];
}

static void count_dropped(void) {
    struct sonde__process *process = sonde__process_get();
    if (process)
        atomic_fetch_add_explicit(&process->contexts_dropped, 1, memory_order_relaxed);
}

struct sonde__stack_entry *sonde__context_entry_slow(struct sonde__thread *thread) {
    (void)thread;
    count_dropped();
    return NULL;
}

/* Both halves of an entry's texts in one store, since they are copied as one word: loaded whole behind smaller stores,
 * it would stall. half: 0 = tracestate, 1 = baggage. */
static inline void texts_put(struct sonde__texts *texts, unsigned half, uint32_t at, uint32_t size) {
    uint64_t word;
    memcpy(&word, texts, sizeof word);
    word &= (uint64_t)UINT32_MAX << (half ? 0 : 32);
    word |= (uint64_t)((at & 0xFFFF) | size << 16) << (half ? 32 : 0);
    memcpy(texts, &word, sizeof word);
}
_Static_assert(sizeof(struct sonde__texts) == 8 && offsetof(struct sonde__texts, baggage_at) == 4, "halves of a word");

void sonde__context_keep_tracestate(struct sonde__thread *thread, struct sonde__stack_entry *entry, const char *text,
                                    uint32_t size) {
    const struct sonde__texts *top = &thread->stack[thread->depth].texts;
    uint32_t at = (uint32_t)top->tracestate_at + top->tracestate_length;
    if (size > SONDE__TRACESTATES_SIZE - at) {
        count_dropped();
        size = 0;
    }
    if (size)
        memcpy(thread->tracestates + at, text, size);
    texts_put(&entry->texts, 0, at, size);
}

void sonde__context_keep_baggage(struct sonde__thread *thread, struct sonde__stack_entry *entry, const char *text,
                                 uint32_t size) {
    const struct sonde__texts *top = &thread->stack[thread->depth].texts;
    uint32_t at = top->baggage_at;
    if (size > SONDE_BAGGAGE_SIZE_MAX)
        size = 0;
    if (size != top->baggage_length || (size && memcmp(thread->baggages + at, text, size) != 0)) {
        at += top->baggage_length;
        if (size > SONDE__BAGGAGES_SIZE - at) {
            count_dropped();
            size = 0;
        }
        memcpy(thread->baggages + at, text, size);
    }
    texts_put(&entry->texts, 1, at, size);
}

int sonde__context_replace_baggage(const char *text, uint32_t size) {
    struct sonde__thread *thread = sonde__thread_enter();
    int result = SONDE_ENOTFOUND;
    if (!thread)
        return result;
    if (thread->depth) {
        /* Behind that of the entry below: what was the current one's own is overwritten. */
        const struct sonde__texts *below = &thread->stack[thread->depth - 1].texts;
        struct sonde__texts *top = &thread->stack[thread->depth].texts;
        uint32_t at = (uint32_t)below->baggage_at + below->baggage_length;
        result = size > SONDE__BAGGAGES_SIZE - at ? SONDE_ETOOBIG : 0;
        if (!result) {
            memmove(thread->baggages + at, text, size);
            top->baggage_at = (uint16_t)at;
            top->baggage_length = (uint16_t)size;
        }
    }
    sonde__thread_leave(thread);
    return result;
}

void sonde__context_copy(const struct sonde__thread *thread, const struct sonde__stack_entry *entry,
                         struct sonde_context *ret_context) {
    const struct sonde__texts *texts = &entry->texts;
    sonde__context_span(entry, &ret_context->span);
    ret_context->tracestate_length = texts->tracestate_length;
    ret_context->baggage_length = texts->baggage_length;
    memcpy(ret_context->tracestate, thread->tracestates + texts->tracestate_at, texts->tracestate_length);
    memcpy(ret_context->baggage, thread->baggages + texts->baggage_at, texts->baggage_length);
}

void sonde_context_current(struct sonde_context *ret_context) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread) {
        sonde_context_init(ret_context);
        return;
    }
    sonde__context_copy(thread, &thread->stack[thread->depth], ret_context);
    sonde__thread_leave(thread);
}

struct sonde_span_context sonde_context_current_span(void) {
    struct sonde_span_context context = {.flags = 0};
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return context;
    sonde__context_span(&thread->stack[thread->depth], &context);
    sonde__thread_leave(thread);
    return context;
}

struct sonde_context_token sonde_context_attach(const struct sonde_context *context) {
    struct sonde_context_token token = {0, 0};
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return token;
    struct sonde__stack_entry *entry = sonde__context_entry(thread);
    if (entry) {
        const struct sonde_span_context *span = &context->span;
        bool valid = sonde_span_context_is_valid(span);
        uint32_t length = context->tracestate_length;
        memset(entry, 0, sizeof *entry);
        if (valid) {
            memcpy(entry->trace_id, span->trace_id, 16);
            memcpy(&entry->span_id, span->span_id, 8);
            entry->flags = span->flags | (span->is_remote ? SONDE__ENTRY_REMOTE : 0);
        }
        entry->flags |= (uint32_t)span->decision << 16 & SONDE__ENTRY_DECISION;
        sonde__context_keep_tracestate(thread, entry, context->tracestate,
                                       valid && length <= SONDE_TRACESTATE_SIZE_MAX ? length : 0);
        sonde__context_keep_baggage(thread, entry, context->baggage, context->baggage_length);
        if (entry->texts.tracestate_length || span->decision == SONDE_DECISION_DEFER ||
            (span->is_remote && sonde__settings.remote_is_asked))
            entry->flags |= SONDE__ENTRY_RESOLVE;
        token = sonde__context_push(thread, entry);
    }
    sonde__thread_leave(thread);
    return token;
}

void sonde_context_detach(struct sonde_context_token token) {
    struct sonde__thread *thread = token.depth ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    sonde__context_pop(thread, token);
    sonde__thread_leave(thread);
}
