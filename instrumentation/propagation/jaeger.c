/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger: uber-trace-id: trace id ":" span id ":" parent (unused, "0") ":" flags, ids of up to 32 and 16 hex digits,
 * padded on the left; flags 1 = sampled, 2 = debug (only with 1). The whole may be percent-coded. Baggage comes as
 * uberctx-<key> fields and as `jaeger-baggage: k=v, k2=v2`; `jaeger-debug-id` asks for a debug trace.
 * Source: jaegertracing.io, client libraries, propagation format. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"

enum {
    TRACE_ID_MAX = 32,
    SPAN_ID_MAX = 16,
    FLAGS_MAX = 2,
    VALUE_SIZE_MAX = 128, /* 32:16:16:2 with every colon as %3A is 75 */
    FLAG_SAMPLED = 1,
    FLAG_DEBUG = 2,
    PARTS = 4,
};

/** Replaces %3A and %3a by colons. Returns the size. */
static size_t decode_colons(const char *text, size_t size, char *ret_text) {
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        bool colon = text[i] == '%' && size - i >= 3 && text[i + 1] == '3' && (text[i + 2] | 0x20) == 'a';
        ret_text[used++] = colon ? ':' : text[i];
        i += colon ? 2 : 0;
    }
    return used;
}

static bool split(const char *text, size_t size, struct sonde_string ret_parts[PARTS]) {
    for (int i = 0; i < PARTS; i++) {
        const char *colon = i < PARTS - 1 ? memchr(text, ':', size) : text + size;
        if (!colon)
            return false;
        ret_parts[i] = (struct sonde_string){text, (size_t)(colon - text)};
        size -= ret_parts[i].size + (i < PARTS - 1);
        text = colon + 1;
    }
    return true;
}

static inline uint64_t state_word(uint64_t flags) {
    bool debug = (flags & (FLAG_SAMPLED | FLAG_DEBUG)) == (FLAG_SAMPLED | FLAG_DEBUG);
    return SONDE__STATE_REMOTE | SONDE__STATE_DECISION(debug ? SONDE_DECISION_DEBUG : SONDE_DECISION_NONE) |
           (flags & FLAG_SAMPLED ? SONDE_TRACE_FLAG_SAMPLED : 0);
}

static enum sonde_extract_reason read_parts(const struct sonde_string parts[PARTS], struct sonde__ids *ids) {
    uint64_t high = 0, low, id, flags;
    size_t size = parts[0].size, high_size = size > 16 ? size - 16 : 0;
    if (size == 0 || size > TRACE_ID_MAX || parts[1].size == 0 || parts[1].size > SPAN_ID_MAX)
        return SONDE_EXTRACT_LENGTH;
    if ((high_size && !sonde__hex_number(parts[0].data, high_size, &high)) ||
        !sonde__hex_number(parts[0].data + high_size, size - high_size, &low) ||
        !sonde__hex_number(parts[1].data, parts[1].size, &id))
        return SONDE_EXTRACT_HEX;
    if ((high | low) == 0 || id == 0)
        return SONDE_EXTRACT_ZERO_ID;
    if (parts[3].size > FLAGS_MAX || !sonde__hex_number(parts[3].data, parts[3].size, &flags))
        return SONDE_EXTRACT_SAMPLED;
    *ids =
        (struct sonde__ids){__builtin_bswap64(high), __builtin_bswap64(low), __builtin_bswap64(id), state_word(flags)};
    return SONDE_EXTRACT_OK;
}

/** Values of other lengths than the usual, or coded. */
static __attribute__((noinline)) enum sonde_extract_reason read_any(const char *text, size_t size,
                                                                    struct sonde__ids *ids) {
    char decoded[VALUE_SIZE_MAX];
    struct sonde_string parts[PARTS];
    if (size > VALUE_SIZE_MAX)
        return SONDE_EXTRACT_LENGTH;
    if (!memchr(text, ':', size)) {
        size = decode_colons(text, size, decoded);
        text = decoded;
    }
    return split(text, size, parts) ? read_parts(parts, ids) : SONDE_EXTRACT_FIELDS;
}

static inline enum sonde_extract_reason read_value(const char *text, size_t size, struct sonde__ids *ids) {
    /* As all writers write it: full ids, no parent, one digit of flags. */
    if (size != SONDE__JAEGER_SIZE || text[32] != ':' || memcmp(text + 49, ":0:", 3) != 0 ||
        sonde__hex_digit(text[52]) < 0)
        return read_any(text, size, ids);
    bool hex = sonde__hex_read8(text, &ids->high);
    hex &= sonde__hex_read8(text + 16, &ids->low);
    hex &= sonde__hex_read8(text + 33, &ids->span);
    if (!hex || (ids->high | ids->low) == 0 || ids->span == 0)
        return read_any(text, size, ids);
    ids->state = state_word((unsigned)sonde__hex_digit(text[52]));
    return SONDE_EXTRACT_OK;
}

enum sonde_extract_reason sonde__jaeger_read(const char *text, size_t size, struct sonde_span_context *ret_span) {
    struct sonde__ids ids;
    enum sonde_extract_reason reason = read_value(text, size, &ids);
    if (reason == SONDE_EXTRACT_OK)
        sonde__ids_store(ret_span, &ids);
    return reason;
}

size_t sonde__jaeger_write(const struct sonde_span_context *span, char ret_text[SONDE__JAEGER_SIZE]) {
    if (!sonde_span_context_is_valid(span))
        return 0;
    sonde__hex_write8(span->trace_id, ret_text);
    sonde__hex_write8(span->trace_id + 8, ret_text + 16);
    ret_text[32] = ':';
    sonde__hex_write8(span->span_id, ret_text + 33);
    memcpy(ret_text + 49, ":0:", 3);
    ret_text[52] = span->decision == SONDE_DECISION_DEBUG ? '3' : span->flags & SONDE_TRACE_FLAG_SAMPLED ? '1' : '0';
    return SONDE__JAEGER_SIZE;
}

static int jaeger_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char text[SONDE__JAEGER_SIZE], name[8 + SONDE__REST_MAX] = "uberctx-";
    size_t size = sonde__jaeger_write(&context->span, text);
    int first_error = size ? sonde__carrier_set(carrier, SONDE__FIELD_JAEGER, text, size) : 0;
    struct sonde_baggage_entry entry;
    for (uint32_t at = 0; context->baggage_length && sonde_baggage_next(context, &at, &entry);) {
        if (entry.key.size > SONDE__REST_MAX || !carrier->ops->set)
            continue;
        for (size_t i = 0; i < entry.key.size; i++) /* names in lower case, which is how they arrive */
            name[8 + i] = sonde__lower(entry.key.data[i]);
        int error = carrier->ops->set(carrier->self, (struct sonde_string){name, 8 + entry.key.size}, entry.value);
        if (first_error == 0)
            first_error = error;
    }
    return first_error;
}

static void add_coded(void *user, struct sonde_string key, struct sonde_string value) {
    sonde__baggage_add_coded(user, key, value);
}

static bool add_list(void *user, struct sonde_string text) {
    sonde__baggage_reader_feed(user, text.data, text.size);
    return true;
}

static void extract_baggage(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde__baggage_reader reader;
    struct sonde_string text;
    sonde__source_prefixed(source, SONDE__TEXT("uberctx-"), SONDE_BAGGAGE_ENTRIES_MAX, add_coded, context);
    if (!sonde__source_get(source, SONDE__FIELD_JAEGER_BAGGAGE, &text))
        return;
    sonde__baggage_reader_init(&reader, context);
    sonde__source_each(source, SONDE__FIELD_JAEGER_BAGGAGE, add_list, &reader);
}

static enum sonde_extract_reason jaeger_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde__ids ids;
    struct sonde_string text;
    uint32_t before = context->baggage_length;
    extract_baggage(source, context);
    if (sonde__source_get(source, SONDE__FIELD_JAEGER, &text)) {
        enum sonde_extract_reason reason = read_value(text.data, text.size, &ids);
        if (reason == SONDE_EXTRACT_OK)
            sonde__context_found(context, &ids);
        return reason;
    }
    if (sonde__source_get(source, SONDE__FIELD_JAEGER_DEBUG, &text) && text.size)
        return sonde__decision_found(context, SONDE_DECISION_DEBUG);
    return context->baggage_length != before ? SONDE_EXTRACT_BAGGAGE : SONDE_EXTRACT_ABSENT;
}

const struct sonde__propagator sonde__propagator_jaeger = {
    .name = "jaeger",
    .summary = "Jaeger: uber-trace-id, uberctx-*; reads jaeger-baggage and jaeger-debug-id too",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_JAEGER) | SONDE__FIELD_BIT(SONDE__FIELD_JAEGER_BAGGAGE) |
             SONDE__FIELD_BIT(SONDE__FIELD_JAEGER_DEBUG),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_JAEGER),
    .prefix = {"uberctx-", 8},
    .inject = jaeger_inject,
    .extract = jaeger_extract,
};
