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

SONDE_BEGIN

enum sonde_trace_flags {
    SONDE_TRACE_FLAG_SAMPLED = 1, /* W3C trace-context, bit 0 */
    SONDE_TRACE_FLAG_RANDOM = 2,  /* W3C trace-context level 2, bit 1 */
};

/** Identity of a span. All-zero is the invalid context.
 *  trace_id  16 bytes, big-endian as on the wire; all zero = invalid.
 *  span_id   8 bytes, likewise.
 *  flags     SONDE_TRACE_FLAG_* bits.
 *  is_remote 1 when it came out of a carrier. */
struct sonde_span_context {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t flags;
    uint8_t is_remote;
    uint8_t reserved[6];
};

/** A context as a value: the span context and the tracestate that travels with it.
 *  tracestate_length  bytes, 0..SONDE_TRACESTATE_SIZE_MAX.
 *  tracestate         W3C list, ASCII, not NUL-terminated, always valid; bytes past the length are undefined. */
struct sonde_context {
    struct sonde_span_context span;
    uint32_t tracestate_length;
    uint32_t reserved;
    char tracestate[SONDE_TRACESTATE_SIZE_MAX];
};

/** What sonde_context_attach() gives and sonde_context_detach() takes. */
struct sonde_context_token {
    uint32_t depth;
    uint32_t generation;
};

/** True when both ids are non-zero. Any thread, never blocks. */
SONDE_API bool sonde_span_context_is_valid(const struct sonde_span_context *context);

/** Copies the calling thread's current context.
 *  ret_context  written whole up to the tracestate's length; the invalid context when nothing is current.
 *  Never blocks, no allocation after the thread's first use of the library. */
SONDE_API void sonde_context_current(struct sonde_context *ret_context);

/** Copies the calling thread's current span context only (no tracestate); cheaper than sonde_context_current(). */
SONDE_API struct sonde_span_context sonde_context_current_span(void);

/** Makes a context current on this thread until it is detached. An invalid context is allowed: the next span
 *  is then a root. Copies; the argument is borrowed.
 *  Returns a token for sonde_context_detach(). When the stack is full (SONDE_CONTEXT_DEPTH_MAX) the
 *  context is not attached, the case is counted, and the token is harmless. */
SONDE_API struct sonde_context_token sonde_context_attach(const struct sonde_context *context);

/** Takes a context off again, together with whatever was attached after it and left behind.
 *  A token of another thread, of before a fork(), or used twice does nothing. Same thread as the attach. */
SONDE_API void sonde_context_detach(struct sonde_context_token token);

SONDE_END

#endif
