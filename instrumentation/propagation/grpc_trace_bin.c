/* SPDX-License-Identifier: Apache-2.0 */
/* OpenCensus' binary format, as gRPC metadata carries it: 00 | 00 trace id[16] | 01 span id[8] | 02 flags[1], 29 bytes,
 * in base64 under the name grpc-trace-bin. Fields come in the order of their numbers; an unknown one ends the reading
 * and what came before it counts. Source: census-instrumentation/opencensus-specs, encodings/BinaryEncoding.md;
 * grpc/grpc, doc/PROTOCOL-HTTP2.md (base64, padded or not; a proxy may join repeated values by a comma). */
#include "instrumentation/propagation/propagator.h"
#include <string.h>

enum {
    FIELD_TRACE_ID = 0,
    FIELD_SPAN_ID = 1,
    FIELD_FLAGS = 2,
    SPAN_ID_AT = 18, /* of its number */
    FLAGS_AT = 27,
    FLAGS_KNOWN = SONDE_TRACE_FLAG_SAMPLED | SONDE_TRACE_FLAG_RANDOM,
    TEXT_SIZE_MAX = 256,
};

bool sonde__grpc_bin_write(const struct sonde_span_context *span, uint8_t ret_bytes[SONDE__GRPC_BIN_SIZE]) {
    if (!sonde_span_context_is_valid(span))
        return false;
    ret_bytes[0] = 0; /* version */
    ret_bytes[1] = FIELD_TRACE_ID;
    memcpy(ret_bytes + 2, span->trace_id, 16);
    ret_bytes[SPAN_ID_AT] = FIELD_SPAN_ID;
    memcpy(ret_bytes + SPAN_ID_AT + 1, span->span_id, 8);
    ret_bytes[FLAGS_AT] = FIELD_FLAGS;
    ret_bytes[FLAGS_AT + 1] = span->flags & FLAGS_KNOWN;
    return true;
}

enum sonde_extract_reason sonde__grpc_bin_read(const uint8_t *bytes, size_t size, struct sonde_span_context *ret_span) {
    struct sonde_span_context span = {.is_remote = 1};
    if (size < 2)
        return SONDE_EXTRACT_LENGTH;
    if (bytes[0] != 0)
        return SONDE_EXTRACT_VERSION;
    if (bytes[1] != FIELD_TRACE_ID)
        return SONDE_EXTRACT_FIELDS;
    if (size < SPAN_ID_AT || (size > SPAN_ID_AT && bytes[SPAN_ID_AT] == FIELD_SPAN_ID && size < FLAGS_AT))
        return SONDE_EXTRACT_LENGTH;
    if (size == SPAN_ID_AT || bytes[SPAN_ID_AT] != FIELD_SPAN_ID)
        return SONDE_EXTRACT_FIELDS; /* a trace without a span to be a child of */
    memcpy(span.trace_id, bytes + 2, 16);
    memcpy(span.span_id, bytes + SPAN_ID_AT + 1, 8);
    if (size > FLAGS_AT && bytes[FLAGS_AT] == FIELD_FLAGS) {
        if (size == FLAGS_AT + 1)
            return SONDE_EXTRACT_LENGTH;
        span.flags = bytes[FLAGS_AT + 1] & FLAGS_KNOWN;
    }
    if (!sonde_span_context_is_valid(&span))
        return SONDE_EXTRACT_ZERO_ID;
    *ret_span = span;
    return SONDE_EXTRACT_OK;
}

/* ---- base64 ---- */

static const char alphabet[64] = {'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P',
                                  'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f',
                                  'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v',
                                  'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/'};

/* Value of a digit + 1; 0 = none. */
#define DIGITS(first, value)                                                                                           \
    [first] = value, [(first) + 1] = (value) + 1, [(first) + 2] = (value) + 2, [(first) + 3] = (value) + 3,            \
    [(first) + 4] = (value) + 4
static const uint8_t values[256] = {
    DIGITS('A', 1),  DIGITS('F', 6),  DIGITS('K', 11), DIGITS('P', 16), DIGITS('U', 21), ['Z'] = 26,
    DIGITS('a', 27), DIGITS('f', 32), DIGITS('k', 37), DIGITS('p', 42), DIGITS('u', 47), ['z'] = 52,
    DIGITS('0', 53), DIGITS('5', 58), ['+'] = 63,      ['/'] = 64,
};

size_t sonde__grpc_text_write(const struct sonde_span_context *span, char ret_text[SONDE__GRPC_TEXT_SIZE]) {
    uint8_t bytes[SONDE__GRPC_BIN_SIZE + 1] = {0}; /* 29 = 9 x 3 + 2: the last group has one byte less */
    char text[SONDE__GRPC_TEXT_SIZE + 1];
    if (!sonde__grpc_bin_write(span, bytes))
        return 0;
    for (size_t i = 0, at = 0; i < sizeof bytes; i += 3, at += 4) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (unsigned k = 0; k < 4; k++)
            text[at + k] = alphabet[group >> (18 - 6 * k) & 63];
    }
    memcpy(ret_text, text, SONDE__GRPC_TEXT_SIZE);
    return SONDE__GRPC_TEXT_SIZE;
}

/** Returns false on what is not base64. Bits beyond the last byte are not looked at. */
static bool decode(const char *text, size_t size, uint8_t *ret_bytes, size_t *ret_size) {
    size_t at = 0, i = 0;
    uint32_t bad = 0, group = 0;
    for (; i + 4 <= size; i += 4, at += 3) {
        group = 0;
        for (size_t k = 0; k < 4; k++) {
            unsigned value = values[(uint8_t)text[i + k]] - 1u;
            bad |= value;
            group = group << 6 | (value & 63);
        }
        ret_bytes[at] = (uint8_t)(group >> 16);
        ret_bytes[at + 1] = (uint8_t)(group >> 8);
        ret_bytes[at + 2] = (uint8_t)group;
    }
    size_t rest = size - i;
    if (rest == 1 || bad > 63)
        return false;
    group = 0;
    for (size_t k = 0; k < rest; k++) {
        unsigned value = values[(uint8_t)text[i + k]] - 1u;
        bad |= value;
        group |= (value & 63) << (18 - 6 * k);
    }
    for (size_t k = 0; k + 1 < rest; k++)
        ret_bytes[at++] = (uint8_t)(group >> (16 - 8 * k));
    *ret_size = at;
    return bad <= 63;
}

enum sonde_extract_reason sonde__grpc_text_read(const char *text, size_t size, struct sonde_span_context *ret_span) {
    uint8_t bytes[TEXT_SIZE_MAX];
    if (size > TEXT_SIZE_MAX)
        return SONDE_EXTRACT_LENGTH;
    if (memchr(text, ',', size))
        return SONDE_EXTRACT_DUPLICATE;
    if (size && size % 4 == 0 && text[size - 1] == '=')
        size -= text[size - 2] == '=' ? 2 : 1;
    return decode(text, size, bytes, &size) ? sonde__grpc_bin_read(bytes, size, ret_span) : SONDE_EXTRACT_ENCODING;
}

/* ---- the propagator ---- */

static int grpc_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char text[SONDE__GRPC_TEXT_SIZE];
    size_t size = sonde__grpc_text_write(&context->span, text);
    return size ? sonde__carrier_set(carrier, SONDE__FIELD_GRPC_TRACE_BIN, text, size) : 0;
}

struct found {
    struct sonde_span_context span;
    enum sonde_extract_reason reason;
    unsigned count;
};

static bool visit(void *user, struct sonde_string text) {
    struct found *found = user;
    found->reason =
        found->count++ ? SONDE_EXTRACT_DUPLICATE : sonde__grpc_text_read(text.data, text.size, &found->span);
    return found->count < 2;
}

static enum sonde_extract_reason grpc_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct found found = {.reason = SONDE_EXTRACT_ABSENT};
    sonde__source_each(source, SONDE__FIELD_GRPC_TRACE_BIN, visit, &found);
    if (found.reason == SONDE_EXTRACT_OK)
        sonde__context_found(context, &found.span);
    return found.reason;
}

const struct sonde__propagator sonde__propagator_grpc_trace_bin = {
    .name = "grpc-trace-bin",
    .summary = "OpenCensus' binary format in gRPC metadata: grpc-trace-bin",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_GRPC_TRACE_BIN),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_GRPC_TRACE_BIN),
    .inject = grpc_inject,
    .extract = grpc_extract,
};
