/* SPDX-License-Identifier: Apache-2.0 */
/* Full structural validation of encoded OTLP messages, where trust ends: one bad length or one byte that is not UTF-8
 * makes a backend refuse a whole request, so what passes here is what every decoder accepts.
 *
 * Checked: wire types, lengths, UTF-8, id sizes and that they are not zero, enums in range, nesting of values. Fields
 * that these messages do not have are refused: our producers are of one version of the message with us, and an
 * unknown field is the first sign that bytes are not what they claim. Singular fields may come twice where protobuf
 * says that the last one counts; a KeyValue has one key and at most one value, an AnyValue at most one kind.
 * Source: opentelemetry-proto 1.x, trace.proto, logs.proto, common.proto, resource.proto. */
#ifndef SONDE_WIRE_VALIDATE_H
#define SONDE_WIRE_VALIDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Arrays and maps in attribute values nest at most this deep (decoders stop at 100; nobody needs 16). */
#define SONDE__VALUE_DEPTH_MAX 16u

/** True when the bytes are one valid message of that type. body borrowed, private memory (never shared: what is
 *  checked here must not change afterwards), may be empty. Never reads outside body[0..size). Any thread. */
bool sonde__span_is_valid(const void *body, size_t size);
bool sonde__log_is_valid(const void *body, size_t size);
bool sonde__resource_is_valid(const void *body, size_t size);
bool sonde__scope_is_valid(const void *body, size_t size);

/* How names of our own begin, as far as it is looked at: those of attributes of spans, and of events. */
#define SONDE__OWN_PREFIX "sond"

/** The same, and whether it may bear a name of our own: 0 = not valid, else SONDE__LOOK_VALID, with SONDE__LOOK_OWN when
 *  an attribute of the span (the event name of the log) begins as SONDE__OWN_PREFIX, or its name was not looked at.
 *  Most have none, which costs next to nothing to know here, where the names are at hand. */
#define SONDE__LOOK_VALID 1u
#define SONDE__LOOK_OWN   2u
unsigned sonde__span_look(const void *body, size_t size);
unsigned sonde__log_look(const void *body, size_t size);

/** Bytes of the longest prefix of whole, valid Span fields that holds both ids; 0 when there is none. What a span
 * caught in the middle of a rewrite keeps. */
size_t sonde__span_valid_prefix(const void *body, size_t size);

#endif
