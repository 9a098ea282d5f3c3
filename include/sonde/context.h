/* SPDX-License-Identifier: Apache-2.0 */
/* Span context and the thread's current context.
 * A span context is a plain value: copied freely, never locked, never freed. Each thread has a stack of
 * contexts; the top one is current and is the parent of the next span. For callbacks and other threads,
 * take the current context as a value, keep it wherever you like, and attach it there.
 * Source: OpenTelemetry specification, context/README.md and trace/api.md#spancontext. */
#ifndef SONDE_CONTEXT_H
#define SONDE_CONTEXT_H

#include <sonde/api.h>
#include <sonde/limits.h>
#include <string.h>

SONDE_BEGIN

enum sonde_trace_flags {
    SONDE_TRACE_FLAG_SAMPLED = 1, /* W3C trace-context, bit 0 */
    SONDE_TRACE_FLAG_RANDOM = 2,  /* W3C trace-context level 2, bit 1 */
};

/** What a carrier said about sampling where the sampled flag cannot say it. DEFER: nobody has decided yet. DENY and
 *  ACCEPT count when there is no span context beside them (B3's `b3: 0`). DEBUG: sampled, and every later hop is told
 *  so. A new span obeys when the sampler is a parent-based one; of these only DEBUG goes on to the span itself. */
enum sonde_decision {
    SONDE_DECISION_NONE = 0, /* the sampled flag says it all */
    SONDE_DECISION_DEFER = 1,
    SONDE_DECISION_DENY = 2,
    SONDE_DECISION_ACCEPT = 3,
    SONDE_DECISION_DEBUG = 4,
};

/** Identity of a span. All-zero is the invalid context.
 *  trace_id  16 bytes, big-endian as on the wire; all zero = invalid.
 *  span_id   8 bytes, likewise.
 *  flags     SONDE_TRACE_FLAG_* bits.
 *  is_remote 1 when it came out of a carrier.
 *  decision  SONDE_DECISION_*; may stand beside ids that are zero. */
struct sonde_span_context {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t flags;
    uint8_t is_remote;
    uint8_t decision;
    uint8_t reserved[5];
};

/** A context as a value: the span context, and the tracestate and baggage that travel with it. Begin with
 *  sonde_context_init(), copy with sonde_context_copy(): assignment copies the unused kilobytes too.
 *  tracestate_length  bytes, 0..SONDE_TRACESTATE_SIZE_MAX.
 *  baggage_length     bytes, 0..SONDE_BAGGAGE_SIZE_MAX.
 *  tracestate         W3C list, ASCII, not NUL-terminated, always valid; bytes past the length are undefined.
 *  baggage            likewise; read and change it with sonde/baggage.h. */
struct sonde_context {
    struct sonde_span_context span;
    uint32_t tracestate_length;
    uint32_t baggage_length;
    char tracestate[SONDE_TRACESTATE_SIZE_MAX];
    char baggage[SONDE_BAGGAGE_SIZE_MAX];
};

/** Makes the invalid context, without tracestate and baggage. */
static inline void sonde_context_init(struct sonde_context *ret_context) {
    memset(ret_context, 0, offsetof(struct sonde_context, tracestate));
}

/** Copies a context, and of its texts what is used. */
static inline void sonde_context_copy(struct sonde_context *ret_context, const struct sonde_context *from) {
    memcpy(ret_context, from, offsetof(struct sonde_context, tracestate));
    if (from->tracestate_length > SONDE_TRACESTATE_SIZE_MAX)
        ret_context->tracestate_length = 0;
    if (from->baggage_length > SONDE_BAGGAGE_SIZE_MAX)
        ret_context->baggage_length = 0;
    memcpy(ret_context->tracestate, from->tracestate, ret_context->tracestate_length);
    memcpy(ret_context->baggage, from->baggage, ret_context->baggage_length);
}

/** What sonde_context_attach() gives and sonde_context_detach() takes. */
struct sonde_context_token {
    uint32_t depth;
    uint32_t generation;
};

/** True when both ids are non-zero. Any thread, never blocks. */
SONDE_API bool sonde_span_context_is_valid(const struct sonde_span_context *context);

/** Copies the calling thread's current context.
 *  ret_context  written but for the texts' unused bytes; the invalid context when nothing is current.
 *  Never blocks, no allocation after the thread's first use of the library. */
SONDE_API void sonde_context_current(struct sonde_context *ret_context);

/** Copies the calling thread's current span context only (no tracestate, no baggage); cheaper than sonde_context_current(). */
SONDE_API struct sonde_span_context sonde_context_current_span(void);

/** Makes a context current on this thread until it is detached. An invalid context is allowed: the next span
 *  is then a root, under the context's decision and with its baggage. Copies; the argument is borrowed.
 *  Returns a token for sonde_context_detach(). When the stack is full (SONDE_CONTEXT_DEPTH_MAX) the
 *  context is not attached, the case is counted, and the token is harmless. */
SONDE_API struct sonde_context_token sonde_context_attach(const struct sonde_context *context);

/** Takes a context off again, together with whatever was attached after it and left behind.
 *  A token of another thread, of before a fork(), or used twice does nothing. Same thread as the attach. */
SONDE_API void sonde_context_detach(struct sonde_context_token token);

SONDE_END

#endif
