/* SPDX-License-Identifier: Apache-2.0 */
/* Log records: written straight into this thread's ring as OTLP bytes.
 * Source: OpenTelemetry specification, logs/api.md and logs/data-model.md; logs/v1/logs.proto. */
#ifndef SONDE_LOG_H
#define SONDE_LOG_H

#include <sonde/attribute.h>
#include <sonde/context.h>

SONDE_BEGIN

/* Severity numbers; the three between two names are finer steps (SONDE_SEVERITY_INFO + 1 is INFO2). */
enum sonde_severity {
    SONDE_SEVERITY_TRACE = 1,
    SONDE_SEVERITY_DEBUG = 5,
    SONDE_SEVERITY_INFO = 9,
    SONDE_SEVERITY_WARN = 13,
    SONDE_SEVERITY_ERROR = 17,
    SONDE_SEVERITY_FATAL = 21,
};

/** One log record; zero means absent. All pointers are borrowed. Set up with SONDE_LOG_RECORD_INIT.
 *  size             sizeof(struct sonde_log_record).
 *  severity         1..24, 0 = unspecified.
 *  scope            from sonde_scope_register(); 0 = the default scope.
 *  severity_text    NUL-terminated: what the caller's logger calls it; NULL = none, the number says it.
 *  body, body_size  UTF-8 text, no NUL needed; bad bytes become U+FFFD.
 *  event_name       length 0 = none.
 *  time_unix_ns     wall clock, ns since 1970; 0 = now (observed time is always now).
 *  context          NULL = the thread's current span.
 *  attributes       attribute_count of them.
 *  exception        NULL = none; its attributes come first, and count.
 *  The whole, encoded, is at most SONDE_LOG_SIZE_MAX: then the body is cut and attributes are dropped, counted. */
struct sonde_log_record {
    size_t size;
    int severity;
    uint32_t scope;
    const char *severity_text;
    const char *body;
    size_t body_size;
    struct sonde_key event_name;
    uint64_t time_unix_ns;
    const struct sonde_span_context *context;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
    const struct sonde_exception *exception;
};

#ifdef __cplusplus
#define SONDE_LOG_RECORD_INIT { sizeof(struct sonde_log_record), 0, 0, nullptr, nullptr, 0, { nullptr, 0, { 0, 0 }, 0, 0 }, 0, nullptr, nullptr, 0, nullptr }
#else
#define SONDE_LOG_RECORD_INIT { .size = sizeof(struct sonde_log_record) }
#endif

/** Emits one record. No errors: a full ring drops and counts. Any thread, never blocks, no allocation. */
SONDE_API void sonde_log_emit(const struct sonde_log_record *record);

/** The short form: severity, body and attributes, in the current context and the default scope. Borrowed. */
SONDE_API void sonde_log(int severity, const char *body, size_t body_size, const struct sonde_attribute *attributes,
                         size_t attribute_count);

/** Whether a record of this severity (0 = unspecified) would be taken: false when the library is disabled or shut down,
 *  logs are off (OTEL_LOGS_EXPORTER=none), or the agent wants none below a higher severity (`sonde log-level`). Asked before
 *  work that only the record needs; the answer may change at any time. Any thread, never blocks, no allocation.
 *  Source: OpenTelemetry specification, logs/api.md#enabled. */
SONDE_API bool sonde_log_enabled(int severity);

SONDE_END

#endif
