/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/context/context.h"

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

void sonde__context_keep_tracestate(struct sonde__thread *thread, struct sonde__stack_entry *entry, const char *text,
                                    uint32_t size) {
    const struct sonde__stack_entry *top = &thread->stack[thread->depth];
    uint32_t at = (uint32_t)top->tracestate_at + top->tracestate_length;
    if (size > SONDE__TRACESTATES_SIZE - at) {
        count_dropped();
        size = 0;
    }
    memcpy(thread->tracestates + at, text, size);
    entry->tracestate_at = (uint16_t)at;
    entry->tracestate_length = (uint16_t)size;
}

void sonde__context_copy(const struct sonde__thread *thread, const struct sonde__stack_entry *entry,
                         struct sonde_context *ret_context) {
    memset(&ret_context->span, 0, sizeof ret_context->span);
    memcpy(ret_context->span.trace_id, entry->trace_id, 16);
    memcpy(ret_context->span.span_id, &entry->span_id, 8);
    ret_context->span.flags = (uint8_t)entry->flags;
    ret_context->span.is_remote = (entry->flags & SONDE__ENTRY_REMOTE) != 0;
    ret_context->reserved = 0;
    ret_context->tracestate_length = entry->tracestate_length;
    memcpy(ret_context->tracestate, thread->tracestates + entry->tracestate_at, entry->tracestate_length);
}

static void set_invalid(struct sonde_context *context) {
    memset(&context->span, 0, sizeof context->span);
    context->tracestate_length = context->reserved = 0;
}

void sonde_context_current(struct sonde_context *ret_context) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread) {
        set_invalid(ret_context);
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
    const struct sonde__stack_entry *entry = &thread->stack[thread->depth];
    memcpy(context.trace_id, entry->trace_id, 16);
    memcpy(context.span_id, &entry->span_id, 8);
    context.flags = (uint8_t)entry->flags;
    context.is_remote = (entry->flags & SONDE__ENTRY_REMOTE) != 0;
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
        bool valid = sonde_span_context_is_valid(&context->span);
        uint32_t length = context->tracestate_length;
        memset(entry, 0, sizeof *entry);
        if (valid) {
            memcpy(entry->trace_id, context->span.trace_id, 16);
            memcpy(&entry->span_id, context->span.span_id, 8);
            entry->flags = context->span.flags | (context->span.is_remote ? SONDE__ENTRY_REMOTE : 0);
        }
        sonde__context_keep_tracestate(thread, entry, context->tracestate,
                                       valid && length <= SONDE_TRACESTATE_SIZE_MAX ? length : 0);
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
