/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/trace/birth.h"

#include "instrumentation/context/context.h"
#include "instrumentation/trace/ids.h"

/* The parent without its baggage, which a new span passes on untouched: that goes to the entry's texts. */
static void take_parent(struct sonde__thread *thread, const struct sonde_context *parent,
                        struct sonde__stack_entry *entry, struct sonde_context *ret_context) {
    const struct sonde__stack_entry *top = &thread->stack[thread->depth];
    const char *tracestate = thread->tracestates + top->texts.tracestate_at;
    uint32_t length = top->texts.tracestate_length;
    entry->texts = top->texts;
    if (parent) {
        ret_context->span = parent->span;
        tracestate = parent->tracestate;
        length = parent->tracestate_length <= SONDE_TRACESTATE_SIZE_MAX ? parent->tracestate_length : 0;
        sonde__context_keep_baggage(thread, entry, parent->baggage, parent->baggage_length);
    } else {
        sonde__context_span(top, &ret_context->span);
    }
    if (length)
        memcpy(ret_context->tracestate, tracestate, length);
    ret_context->tracestate_length = length;
    ret_context->baggage_length = 0;
}

/* A sampler of the user's may read the baggage too. */
static void lend_baggage(const struct sonde__thread *thread, const struct sonde__stack_entry *entry,
                         const struct sonde_context *parent, struct sonde_context *context) {
    const char *text = parent ? parent->baggage : thread->baggages + entry->texts.baggage_at;
    uint32_t length = parent ? parent->baggage_length : entry->texts.baggage_length;
    context->baggage_length = length <= SONDE_BAGGAGE_SIZE_MAX ? length : 0;
    memcpy(context->baggage, text, context->baggage_length);
}

/* A trace of its own. Where its id is not random, samplers get randomness that is, and so do those behind us. */
static void begin_trace(struct sonde__thread *thread, struct sonde_context *context) {
    static const char digits[] = "0123456789abcdef";
    uint8_t decision = context->span.decision;
    uint64_t id[2];
    memset(&context->span, 0, sizeof context->span);
    context->span.decision = decision;
    context->tracestate_length = 0;
    bool random = sonde__trace_id_make(thread, id);
    memcpy(context->span.trace_id, id, 16);
    if (random) {
        context->span.flags = SONDE_TRACE_FLAG_RANDOM;
        return;
    }
    uint64_t r = sonde__thread_draw(thread);
    memcpy(context->tracestate, "ot=rv:", 6);
    for (unsigned i = 0; i < 14; i++, r >>= 4)
        context->tracestate[6 + i] = digits[r & 15];
    context->tracestate_length = 6 + 14;
}

void sonde__birth_resolve(struct sonde__thread *thread, struct sonde__sampling *sampling,
                          struct sonde__birth *ret_birth) {
    const struct sonde_span_options *options = sampling->options;
    struct sonde_context context;
    struct sonde__stack_entry entry;
    take_parent(thread, options->parent, &entry, &context);
    if (!sonde_span_context_is_valid(&context.span))
        begin_trace(thread, &context);
    memcpy(ret_birth->trace_id, context.span.trace_id, 16);
    memcpy(&ret_birth->parent_id, context.span.span_id, 8);
    if (SONDE__UNLIKELY(sonde__composed_wants_baggage(sonde__settings.composed_sampler)))
        lend_baggage(thread, &entry, options->parent, &context);
    sampling->context = &context;
    bool sampled = sonde__sampler_decide(&sonde__settings, sampling);
    ret_birth->start_unix_ns = sampling->unix_ns;
    ret_birth->start_ticks = sampling->ticks;
    ret_birth->flags = (context.span.flags & SONDE_TRACE_FLAG_RANDOM) | (sampled ? SONDE_TRACE_FLAG_SAMPLED : 0) |
                       (context.span.is_remote ? SONDE__ENTRY_REMOTE : 0) |
                       (context.span.decision == SONDE_DECISION_DEBUG ? SONDE__ENTRY_DEBUG : 0);
    sonde__context_keep_tracestate(thread, &entry, context.tracestate, context.tracestate_length);
    if (entry.texts.tracestate_length)
        ret_birth->flags |= SONDE__ENTRY_TRACESTATE;
    ret_birth->texts = entry.texts;
}
