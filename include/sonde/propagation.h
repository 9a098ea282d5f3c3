/* SPDX-License-Identifier: Apache-2.0 */
/* Trace context in and out of carriers. Neither direction allocates, logs, or can fail the caller's operation.
 * Source: W3C trace-context levels 1 and 2; OpenTelemetry specification, context/api-propagators.md. */
#ifndef SONDE_PROPAGATION_H
#define SONDE_PROPAGATION_H

#include <sonde/carrier.h>
#include <sonde/context.h>

SONDE_BEGIN

#define SONDE_TRACEPARENT_SIZE 55u

/** Why an extraction gave no context (or dropped the tracestate); for counters and tests, never an error. */
enum sonde_extract_reason {
    SONDE_EXTRACT_OK = 0,
    SONDE_EXTRACT_ABSENT,
    SONDE_EXTRACT_DUPLICATE,       /* more than one traceparent */
    SONDE_EXTRACT_LENGTH,
    SONDE_EXTRACT_VERSION,
    SONDE_EXTRACT_DELIMITER,
    SONDE_EXTRACT_HEX,
    SONDE_EXTRACT_ZERO_ID,
    SONDE_EXTRACT_TRACESTATE,      /* context is good, tracestate was bad and is dropped */
};

/** Writes a traceparent, version 00.
 *  ret_text  SONDE_TRACEPARENT_SIZE bytes, no NUL.
 *  Returns true, or false (nothing written) when the context is invalid. Any thread, never blocks. */
SONDE_API bool sonde_traceparent_write(const struct sonde_span_context *context,
                                       char ret_text[SONDE_TRACEPARENT_SIZE]);

/** Reads a traceparent value (white space round it allowed).
 *  text, size   borrowed, no NUL needed; work is bounded whatever the size.
 *  ret_context  written only on SONDE_EXTRACT_OK; is_remote set; flags masked to the known bits.
 *  Source: W3C trace-context, 2.2 (level 1) and 3.2 (level 2). */
SONDE_API enum sonde_extract_reason sonde_traceparent_read(const char *text, size_t size,
                                                           struct sonde_span_context *ret_context);

/** Reads and checks tracestate header values into a context's list; call once per header value, in order.
 *  Returns true, or false when the list so far is invalid or too long by members: the context's list is then empty
 *  and stays so for the caller to keep. Lists over SONDE_TRACESTATE_SIZE_MAX are shortened by whole members. */
SONDE_API bool sonde_tracestate_append(struct sonde_context *context, const char *text, size_t size);

/* One member of a tracestate: find, change (moved to the left end), remove. Strings borrowed, ASCII.
 * get: false when absent. set: 0, SONDE_EINVALID (key or value not accepted; nothing changed). */
SONDE_API bool sonde_tracestate_get(const struct sonde_context *context, const char *key, size_t key_size,
                                    struct sonde_string *ret_value);
SONDE_API int sonde_tracestate_set(struct sonde_context *context, const char *key, size_t key_size,
                                   const char *value, size_t value_size);
SONDE_API void sonde_tracestate_remove(struct sonde_context *context, const char *key, size_t key_size);

/** Puts a context into a carrier (traceparent, then tracestate if there is one; a stale tracestate is removed).
 *  context  borrowed; NULL = the current one. Invalid: the carrier is left alone.
 *  Returns 0 or the first error of the carrier's set; the caller's message is fit to send either way. */
SONDE_API int sonde_inject(const struct sonde_context *context, const struct sonde_carrier *carrier);

/** Reads a context out of a carrier.
 *  ret_context  always written: the remote context, or the invalid one.
 *  Returns SONDE_EXTRACT_OK, _TRACESTATE (context good), or why there is none. */
SONDE_API enum sonde_extract_reason sonde_extract(const struct sonde_carrier *carrier,
                                                  struct sonde_context *ret_context);

SONDE_END

#endif
