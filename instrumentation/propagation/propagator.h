/* SPDX-License-Identifier: Apache-2.0 */
/* What a propagator is: one wire format of context. It reads and writes through a carrier and keeps no state. Adding
 * one: its file, its row in registry.c, its names in fields.h, its line in meson.build, its rows in tests/vectors/. */
#ifndef SONDE_INSTRUMENTATION_PROPAGATION_PROPAGATOR_H
#define SONDE_INSTRUMENTATION_PROPAGATION_PROPAGATOR_H

#include "instrumentation/propagation/source.h"
#include <sonde/propagation.h>
#include <string.h>

/** name, summary  static; the name is the one OTEL_PROPAGATORS uses.
 *  reads    bits of the fields that extract asks for.
 *  writes   bits of the fields that inject may set.
 *  prefix   of further names that inject may set, or empty.
 *  inject   context may be without ids (then: only what goes without them). Returns 0 or the carrier's first error, and
 *           leaves no pair of values that do not belong together.
 *  extract  found a span context (sonde__reason_is_found()): has put it in with sonde__context_found(). Otherwise the
 *           span of *context is as it was, but for a decision put in with sonde__decision_found() (and a Root of X-Ray
 *           whose span is not known); baggage is added to what is there.
 *  Both: any thread, never block, no allocation, everything borrowed. */
struct sonde__propagator {
    const char *name, *summary;
    uint32_t reads, writes;
    struct sonde_string prefix;
    int (*inject)(const struct sonde_context *context, const struct sonde_carrier *carrier);
    enum sonde_extract_reason (*extract)(const struct sonde__source *source, struct sonde_context *context);
};

extern const struct sonde__propagator sonde__propagator_w3c, sonde__propagator_baggage, sonde__propagator_b3,
    sonde__propagator_b3multi, sonde__propagator_jaeger, sonde__propagator_xray, sonde__propagator_xray_lambda,
    sonde__propagator_gcloud, sonde__propagator_datadog, sonde__propagator_ottrace, sonde__propagator_grpc_trace_bin;

#define SONDE__TEXT(literal)                                                                                           \
    (struct sonde_string) {                                                                                            \
        literal, sizeof(literal) - 1                                                                                   \
    }

/** The reasons with which a span context is there. */
static inline bool sonde__reason_is_found(enum sonde_extract_reason reason) {
    return reason == SONDE_EXTRACT_OK || reason == SONDE_EXTRACT_TRACESTATE || reason == SONDE_EXTRACT_TAGS_MALFORMED ||
           reason == SONDE_EXTRACT_TAGS_LENGTH;
}

/** A span context as words, each in the order of the wire: kept in registers while it is read and stored once, since a
 *  struct put together from bytes and then copied in wider pieces stalls the processor.
 *  state  flags, is_remote and decision, as their bytes follow each other. */
struct sonde__ids {
    uint64_t high, low, span, state;
};
#define SONDE__STATE_REMOTE         ((uint64_t)1 << 8)
#define SONDE__STATE_DECISION(from) ((uint64_t)(from) << 16)

static inline void sonde__ids_store(struct sonde_span_context *ret_span, const struct sonde__ids *ids) {
    memcpy(ret_span->trace_id, &ids->high, 8);
    memcpy(ret_span->trace_id + 8, &ids->low, 8);
    memcpy(ret_span->span_id, &ids->span, 8);
    memcpy(&ret_span->flags, &ids->state, 8);
}
_Static_assert(offsetof(struct sonde_span_context, decision) == 26 && sizeof(struct sonde_span_context) == 32,
               "the state is one word");

/** Puts in a span context that replaces what an earlier format found. The same ids again are the same context in
 * another spelling: tracestate and the random flag, which other formats cannot say, stay. */
static inline void sonde__context_found(struct sonde_context *context, const struct sonde__ids *ids) {
    uint64_t old[3];
    struct sonde__ids fresh = *ids;
    memcpy(old, context->span.trace_id, sizeof old);
    if (((old[0] ^ ids->high) | (old[1] ^ ids->low) | (old[2] ^ ids->span)) == 0)
        fresh.state |= context->span.flags & SONDE_TRACE_FLAG_RANDOM;
    else
        context->tracestate_length = 0;
    sonde__ids_store(&context->span, &fresh);
}
/** Puts in a decision that came without ids; a span context found by another format stays as it is. */
enum sonde_extract_reason sonde__decision_found(struct sonde_context *context, enum sonde_decision decision);

/** Sets one field; SONDE_EINVALID when the carrier cannot. */
int sonde__carrier_set(const struct sonde_carrier *carrier, enum sonde__field field, const char *text, size_t size);
void sonde__carrier_remove(const struct sonde_carrier *carrier, enum sonde__field field);

/* The formats of one value as text; ret_text has room for the size named. */

#define SONDE__B3_SIZE 68u /* 32-16-1-16; we write no parent */
/** Writes ids and state, or the state alone. Returns the size, 0 when there is nothing to say. */
size_t sonde__b3_write(const struct sonde_span_context *span, char ret_text[SONDE__B3_SIZE]);
enum sonde_extract_reason sonde__b3_read(const char *text, size_t size, struct sonde_span_context *ret_span);

#define SONDE__JAEGER_SIZE 53u /* 32:16:0:1 */
size_t sonde__jaeger_write(const struct sonde_span_context *span, char ret_text[SONDE__JAEGER_SIZE]);
enum sonde_extract_reason sonde__jaeger_read(const char *text, size_t size, struct sonde_span_context *ret_span);

#define SONDE__XRAY_SIZE 101u /* Root=1-8-24;Parent=16;Sampled=1;Lineage=5:8:3 */
/** context: its baggage may hold a Lineage. */
size_t sonde__xray_write(const struct sonde_context *context, char ret_text[SONDE__XRAY_SIZE]);
/** ret_lineage: empty when there is none, or none that is valid. */
enum sonde_extract_reason sonde__xray_read(const char *text, size_t size, struct sonde_span_context *ret_span,
                                           struct sonde_string *ret_lineage);

#define SONDE__GCLOUD_SIZE 58u /* 32/20;o=1 */
size_t sonde__gcloud_write(const struct sonde_span_context *span, char ret_text[SONDE__GCLOUD_SIZE]);
enum sonde_extract_reason sonde__gcloud_read(const char *text, size_t size, struct sonde_span_context *ret_span);

#define SONDE__GRPC_BIN_SIZE 29u
/** The 29 bytes, and the same as base64 without padding. */
bool sonde__grpc_bin_write(const struct sonde_span_context *span, uint8_t ret_bytes[SONDE__GRPC_BIN_SIZE]);
enum sonde_extract_reason sonde__grpc_bin_read(const uint8_t *bytes, size_t size, struct sonde_span_context *ret_span);
#define SONDE__GRPC_TEXT_SIZE 39u
size_t sonde__grpc_text_write(const struct sonde_span_context *span, char ret_text[SONDE__GRPC_TEXT_SIZE]);
enum sonde_extract_reason sonde__grpc_text_read(const char *text, size_t size, struct sonde_span_context *ret_span);

/** Datadog's sampling priority of a context: -1, 0, 1, 2. */
int sonde__datadog_priority(const struct sonde_context *context);

#endif
