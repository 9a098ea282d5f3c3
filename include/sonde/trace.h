/* SPDX-License-Identifier: Apache-2.0 */
/* Spans. Between start and end: no malloc, no mutex, no system call but the clock and the doorbell.
 * A refused or unsampled span is a valid handle whose calls do nothing; tracing never breaks the host.
 *
 *   struct sonde_span span;
 *   sonde_span_start(&span, SONDE_NAME("GET /users"), NULL);     // child of the current context; now current
 *   sonde_span_set_string(&span, SONDE_KEY("http.route"), route, strlen(route));
 *   sonde_span_end(&span);                                        // recorded; the parent is current again
 *
 * Source: OpenTelemetry specification, trace/api.md; opentelemetry-proto, trace/v1/trace.proto. */
#ifndef SONDE_TRACE_H
#define SONDE_TRACE_H

#include <sonde/attribute.h>
#include <sonde/context.h>

SONDE_BEGIN

enum sonde_span_kind { /* values of opentelemetry-proto */
    SONDE_SPAN_KIND_INTERNAL = 1,
    SONDE_SPAN_KIND_SERVER = 2,
    SONDE_SPAN_KIND_CLIENT = 3,
    SONDE_SPAN_KIND_PRODUCER = 4,
    SONDE_SPAN_KIND_CONSUMER = 5,
};

enum sonde_status {
    SONDE_STATUS_UNSET = 0,
    SONDE_STATUS_OK = 1,
    SONDE_STATUS_ERROR = 2,
};

/** Handle of a span: a value, may be copied; a stale copy (ended, forked, thread gone) is harmless.
 *  Only `context` is for users to read. */
struct sonde_span {
    struct sonde_span_context context;
    uint32_t slot;       /* 0 = not recording */
    uint32_t generation; /* of the slot */
    struct sonde_context_token token;
};

/** A link to another span (consumer to producer, say). All borrowed.
 *  context     ids and flags of the other span.
 *  tracestate  of it, as in sonde_context; size 0 = none.
 *  attributes  attribute_count of them; NULL with 0 = none. */
struct sonde_link {
    struct sonde_span_context context;
    struct sonde_string tracestate;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
};

/** A link to the span of a context, which is borrowed as long as the link is used; attributes may be added. */
static inline struct sonde_link sonde_link_to(const struct sonde_context *context) {
    struct sonde_link link;
    link.context = context->span;
    link.tracestate.data = context->tracestate;
    link.tracestate.size = context->tracestate_length;
    link.attributes = NULL;
    link.attribute_count = 0;
    return link;
}

/** How to start a span; zero means the default. Set up with SONDE_SPAN_OPTIONS_INIT.
 *  size           sizeof(struct sonde_span_options), so that the struct can grow.
 *  kind           INTERNAL when 0.
 *  parent         borrowed; NULL = the current context. An invalid one makes a root span.
 *  start_unix_ns  wall clock, ns since 1970; 0 = now.
 *  scope          from sonde_scope_register(); 0 = the default scope.
 *  not_current    true: the span is not made current on this thread (asynchronous work).
 *  one_thread     true: all calls on this span come from the starting thread; they skip the spin bit.
 *  links          borrowed array of link_count; seen by the sampler.
 *  attributes     borrowed array of attribute_count; seen by the sampler and set as by sonde_span_set():
 *                 better given here than later where they are known, since a sampler sees no others. */
struct sonde_span_options {
    size_t size;
    enum sonde_span_kind kind;
    uint32_t scope;
    const struct sonde_context *parent;
    uint64_t start_unix_ns;
    const struct sonde_link *links;
    size_t link_count;
    bool not_current;
    bool one_thread;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
};

#ifdef __cplusplus
#define SONDE_SPAN_OPTIONS_INIT { sizeof(struct sonde_span_options), SONDE_SPAN_KIND_INTERNAL, 0, nullptr, 0, nullptr, 0, false, false, nullptr, 0 }
#else
#define SONDE_SPAN_OPTIONS_INIT { .size = sizeof(struct sonde_span_options), .kind = SONDE_SPAN_KIND_INTERNAL }
#endif

/** Starts a span: a child of the current context (or of options->parent), and makes it current.
 *  ret_span  written always; a valid handle even when the span is not recorded.
 *  name      borrowed, UTF-8, cut at SONDE_NAME_SIZE_MAX.
 *  options   borrowed; may be NULL.
 *  No errors: what can't be recorded is counted (sonde_stats_get()). Any thread, never blocks.
 *  Source: trace/api.md#span-creation. */
SONDE_API void sonde_span_start(struct sonde_span *ret_span, struct sonde_key name,
                                const struct sonde_span_options *options);

/** Ends a span now and hands it to the agent; the context current before its start is current again
 *  (on the thread that started it). Ending twice does nothing the second time. */
SONDE_API void sonde_span_end(struct sonde_span *span);

/** The same with an end time of the caller's: wall clock, ns since 1970; 0 = now. */
SONDE_API void sonde_span_end_at(struct sonde_span *span, uint64_t end_unix_ns);

/** True between start and end of a recorded span. */
SONDE_API bool sonde_span_is_recording(const struct sonde_span *span);

/** The span's context with its tracestate, to inject or to hand to another thread. */
SONDE_API void sonde_span_context_get(const struct sonde_span *span, struct sonde_context *ret_context);

/* Attributes. key and value are borrowed. Setting a key again replaces its value. Values longer than the
 * attribute value limit are cut; what goes over the count or size limit is dropped and counted in the span.
 * Safe from any thread (unless the span was started one_thread); no error: a no-op on a span not recording. */
SONDE_API void sonde_span_set_string(struct sonde_span *span, struct sonde_key key, const char *value, size_t size);
SONDE_API void sonde_span_set_cstr(struct sonde_span *span, struct sonde_key key, const char *value); /* NUL-terminated */
SONDE_API void sonde_span_set_bool(struct sonde_span *span, struct sonde_key key, bool value);
SONDE_API void sonde_span_set_int64(struct sonde_span *span, struct sonde_key key, int64_t value);
SONDE_API void sonde_span_set_double(struct sonde_span *span, struct sonde_key key, double value);
SONDE_API void sonde_span_set_bytes(struct sonde_span *span, struct sonde_key key, const void *value, size_t size);
SONDE_API void sonde_span_set(struct sonde_span *span, const struct sonde_attribute *attribute); /* any type, arrays too */

/** Adds an event. name, attributes borrowed; unix_ns 0 = now. Source: trace/api.md#add-events. */
SONDE_API void sonde_span_add_event(struct sonde_span *span, struct sonde_key name, uint64_t unix_ns,
                                    const struct sonde_attribute *attributes, size_t attribute_count);

/** Adds a link after the start. Borrowed. Source: trace/api.md#add-link. */
SONDE_API void sonde_span_add_link(struct sonde_span *span, const struct sonde_link *link);

/** Records an exception as the event "exception" (exception.type, .message, .stacktrace).
 *  All three NUL-terminated, borrowed; NULL or empty ones are left out; a type or a message is needed.
 *  Does not set the status. Source: trace/exceptions.md. */
SONDE_API void sonde_span_record_exception(struct sonde_span *span, const char *type, const char *message,
                                           const char *stacktrace);

/** The same with more attributes; one that has the key of the exception's own replaces that. Borrowed. */
SONDE_API void sonde_span_record_exception_with(struct sonde_span *span, const struct sonde_exception *exception,
                                                const struct sonde_attribute *attributes, size_t attribute_count);

/** Sets the status. OK is final; ERROR replaces UNSET and ERROR; UNSET is ignored.
 *  description  NUL-terminated, borrowed, used with ERROR only; may be NULL. Source: trace/api.md#set-status. */
SONDE_API void sonde_span_set_status(struct sonde_span *span, enum sonde_status status, const char *description);

/** Renames the span. Borrowed. Source: trace/api.md#updatename. */
SONDE_API void sonde_span_set_name(struct sonde_span *span, struct sonde_key name);

/** Registers an instrumentation scope (a library that makes spans, logs or metrics); the same name,
 *  version and schema give the same scope.
 *  name        NUL-terminated, borrowed, not empty.
 *  version, schema_url  NUL-terminated, borrowed; may be NULL.
 *  attributes  borrowed; may be NULL with count 0.
 *  Returns its number, 1..SONDE_SCOPES_MAX-1, or 0 (the default scope) when the table is full or the library is
 *  disabled. Takes a lock: call it once, not per span. Source: common/instrumentation-scope.md. */
SONDE_API uint32_t sonde_scope_register(const char *name, const char *version, const char *schema_url,
                                        const struct sonde_attribute *attributes, size_t attribute_count);

SONDE_END

#endif
