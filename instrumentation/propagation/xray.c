/* SPDX-License-Identifier: Apache-2.0 */
/* AWS X-Ray: x-amzn-trace-id: Root=1-8 digits-24 digits;Parent=16 digits;Sampled=0|1|?[;Lineage=..], in any order, with
 * fields of others in between (a load balancer puts Self first and leaves Parent out: then there is no span to be a
 * child of, and the trace id is left beside a span id of zero for who wants to note it). Lineage travels as the baggage entry of that name. `xray-lambda` reads the variable _X_AMZN_TRACE_ID,
 * which the runtime sets per invocation, unless an earlier format has found a context, and else the carrier.
 * Source: AWS X-Ray developer guide, tracing header; opentelemetry-java-contrib, aws-xray-propagator. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/propagation/stale.h"
#include <stdlib.h>

enum {
    ROOT_SIZE = 35,
    PLAIN_SIZE = 74,
    VALUE_SIZE_MAX = 256, /* what other readers take; whole fields beyond it are not seen */
    LINEAGE_SIZE_MAX = 18,
    LINEAGE_FIRST_MAX = 32767,
    LINEAGE_LAST_MAX = 255,
};

struct fields {
    struct sonde_string root, parent, sampled, lineage;
};

static bool is_key(const char *text, size_t size, struct sonde_string key) {
    return size == key.size && memcmp(text, key.data, size) == 0;
}

/** One "key=value". Returns false when it has no '='. */
static bool take_field(const char *text, size_t size, struct fields *fields) {
    while (size && (*text == ' ' || *text == '\t'))
        text++, size--;
    while (size && (text[size - 1] == ' ' || text[size - 1] == '\t'))
        size--;
    if (size == 0)
        return true; /* stray ';' */
    const char *equals = memchr(text, '=', size);
    if (!equals)
        return false;
    size_t key = (size_t)(equals - text);
    struct sonde_string value = {equals + 1, size - key - 1};
    if (is_key(text, key, SONDE__TEXT("Root")))
        fields->root = value;
    else if (is_key(text, key, SONDE__TEXT("Parent")))
        fields->parent = value;
    else if (is_key(text, key, SONDE__TEXT("Sampled")))
        fields->sampled = value;
    else if (is_key(text, key, SONDE__TEXT("Lineage")))
        fields->lineage = value;
    return true;
}

static bool split(const char *text, size_t size, struct fields *ret_fields) {
    if (size > VALUE_SIZE_MAX) {
        const char *last = memrchr(text, ';', VALUE_SIZE_MAX + 1);
        size = last ? (size_t)(last - text) : 0;
    }
    while (size) {
        const char *end = memchr(text, ';', size);
        size_t field = end ? (size_t)(end - text) : size;
        if (!take_field(text, field, ret_fields))
            return false;
        text += field + (end != NULL);
        size -= field + (end != NULL);
    }
    return true;
}

/** {0..32767}:{8 hex}:{0..255} */
static bool lineage_is_valid(struct sonde_string text) {
    uint64_t first, hash, last;
    if (text.size == 0 || text.size > LINEAGE_SIZE_MAX)
        return false;
    const char *colon = memchr(text.data, ':', text.size);
    size_t at = colon ? (size_t)(colon - text.data) : 0;
    if (!colon || text.size < at + 11 || text.data[at + 9] != ':')
        return false;
    return sonde__decimal_read(text.data, at, &first) == 0 && first <= LINEAGE_FIRST_MAX &&
           sonde__hex_number(text.data + at + 1, 8, &hash) &&
           sonde__decimal_read(text.data + at + 10, text.size - at - 10, &last) == 0 && last <= LINEAGE_LAST_MAX;
}

/** 1-8 digits-24 digits, of the size of a root. */
static inline enum sonde_extract_reason read_root(const char *root, struct sonde__ids *ids) {
    if (root[0] != '1' || root[1] != '-' || root[10] != '-')
        return SONDE_EXTRACT_FIELDS;
    bool hex = sonde__hex_read_halves(root + 2, root + 11, &ids->high);
    hex &= sonde__hex_read8(root + 19, &ids->low);
    if (!hex)
        return SONDE_EXTRACT_HEX;
    return (ids->high | ids->low) == 0 ? SONDE_EXTRACT_ZERO_ID : SONDE_EXTRACT_OK;
}

static inline bool read_sampled(char c, struct sonde__ids *ids) {
    ids->state = SONDE__STATE_REMOTE | (c == '1' ? SONDE_TRACE_FLAG_SAMPLED : 0) |
                 SONDE__STATE_DECISION(c == '?' ? SONDE_DECISION_DEFER : SONDE_DECISION_NONE);
    return c == '0' || c == '1' || c == '?';
}

/** Fields in any order, with others in between. */
static __attribute__((noinline)) enum sonde_extract_reason
read_any(const char *text, size_t size, struct sonde__ids *ids, struct sonde_string *ret_lineage) {
    struct fields fields = {.root.size = 0};
    ids->high = ids->low = 0;
    if (!split(text, size, &fields) || fields.root.size != ROOT_SIZE)
        return SONDE_EXTRACT_FIELDS;
    enum sonde_extract_reason reason = read_root(fields.root.data, ids);
    if (reason != SONDE_EXTRACT_OK)
        return reason;
    if (fields.parent.size != 16)
        return fields.parent.size ? SONDE_EXTRACT_LENGTH : SONDE_EXTRACT_FIELDS;
    if (!sonde__hex_read8(fields.parent.data, &ids->span))
        return SONDE_EXTRACT_HEX;
    if (ids->span == 0)
        return SONDE_EXTRACT_ZERO_ID;
    ids->state = SONDE__STATE_REMOTE | SONDE__STATE_DECISION(SONDE_DECISION_DEFER);
    if (fields.sampled.size && (fields.sampled.size != 1 || !read_sampled(fields.sampled.data[0], ids)))
        return SONDE_EXTRACT_SAMPLED;
    *ret_lineage = fields.lineage;
    if (!lineage_is_valid(fields.lineage))
        ret_lineage->size = 0;
    return SONDE_EXTRACT_OK;
}

static inline enum sonde_extract_reason read_value(const char *text, size_t size, struct sonde__ids *ids,
                                                   struct sonde_string *ret_lineage) {
    *ret_lineage = (struct sonde_string){"", 0};
    /* As all writers write it: Root, Parent, Sampled. */
    if (size != PLAIN_SIZE || memcmp(text, "Root=", 5) != 0 || memcmp(text + 40, ";Parent=", 8) != 0 ||
        memcmp(text + 64, ";Sampled=", 9) != 0 || !sonde__hex_read8(text + 48, &ids->span) || ids->span == 0 ||
        read_root(text + 5, ids) != SONDE_EXTRACT_OK || !read_sampled(text[73], ids))
        return read_any(text, size, ids, ret_lineage);
    return SONDE_EXTRACT_OK;
}

enum sonde_extract_reason sonde__xray_read(const char *text, size_t size, struct sonde_span_context *ret_span,
                                           struct sonde_string *ret_lineage) {
    struct sonde__ids ids;
    enum sonde_extract_reason reason = read_value(text, size, &ids, ret_lineage);
    if (reason == SONDE_EXTRACT_OK)
        sonde__ids_store(ret_span, &ids);
    return reason;
}

size_t sonde__xray_write(const struct sonde_context *context, char ret_text[SONDE__XRAY_SIZE]) {
    const struct sonde_span_context *span = &context->span;
    char digits[16];
    struct sonde_baggage_entry lineage;
    if (!sonde_span_context_is_valid(span))
        return 0;
    sonde__hex_write8(span->trace_id, digits);
    memcpy(ret_text, "Root=1-", 7);
    memcpy(ret_text + 7, digits, 8);
    ret_text[15] = '-';
    memcpy(ret_text + 16, digits + 8, 8);
    sonde__hex_write8(span->trace_id + 8, ret_text + 24);
    memcpy(ret_text + 40, ";Parent=", 8);
    sonde__hex_write8(span->span_id, ret_text + 48);
    size_t size = 64;
    if (span->decision != SONDE_DECISION_DEFER) {
        memcpy(ret_text + size, ";Sampled=", 9);
        ret_text[size + 9] = span->flags & SONDE_TRACE_FLAG_SAMPLED ? '1' : '0';
        size += 10;
    }
    if (context->baggage_length && sonde_baggage_find(context, SONDE__TEXT("Lineage"), &lineage) &&
        lineage_is_valid(lineage.value)) {
        memcpy(ret_text + size, ";Lineage=", 9);
        memcpy(ret_text + size + 9, lineage.value.data, lineage.value.size);
        size += 9 + lineage.value.size;
    }
    return size;
}
_Static_assert(64 + 10 + 9 + LINEAGE_SIZE_MAX <= SONDE__XRAY_SIZE, "room for all fields");

static int xray_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char text[SONDE__XRAY_SIZE];
    size_t size = sonde__xray_write(context, text);
    if (!size)
        return 0;
    sonde__stale_remove_canonical(SONDE__FIELD_BIT(SONDE__FIELD_XRAY), carrier);
    return sonde__carrier_set(carrier, SONDE__FIELD_XRAY, text, size);
}

static enum sonde_extract_reason extract_text(struct sonde_string text, struct sonde_context *context) {
    struct sonde__ids ids;
    struct sonde_string lineage;
    enum sonde_extract_reason reason = read_value(text.data, text.size, &ids, &lineage);
    if (reason == SONDE_EXTRACT_FIELDS && (ids.high | ids.low) && !sonde_span_context_is_valid(&context->span)) {
        memcpy(context->span.trace_id, &ids.high, 8); /* a Root of whom no span is known */
        memcpy(context->span.trace_id + 8, &ids.low, 8);
    }
    if (reason != SONDE_EXTRACT_OK)
        return reason;
    sonde__context_found(context, &ids);
    if (lineage.size)
        (void)sonde_baggage_set(context, SONDE__TEXT("Lineage"), lineage, SONDE__TEXT(""));
    return SONDE_EXTRACT_OK;
}

static enum sonde_extract_reason xray_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde_string text;
    return sonde__source_get(source, SONDE__FIELD_XRAY, &text) ||
                   sonde__source_ask_canonical(source, SONDE__FIELD_XRAY, &text)
               ? extract_text(text, context)
               : SONDE_EXTRACT_ABSENT;
}

static enum sonde_extract_reason lambda_extract(const struct sonde__source *source, struct sonde_context *context) {
    if (sonde_span_context_is_valid(&context->span))
        return SONDE_EXTRACT_ABSENT;
    const char *value = getenv("_X_AMZN_TRACE_ID");
    if (!value || !*value)
        return xray_extract(source, context);
    return extract_text((struct sonde_string){value, strnlen(value, VALUE_SIZE_MAX + 1)}, context);
}

const struct sonde__propagator sonde__propagator_xray = {
    .name = "xray",
    .summary = "AWS X-Ray: x-amzn-trace-id",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_XRAY),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_XRAY),
    .inject = xray_inject,
    .extract = xray_extract,
};

const struct sonde__propagator sonde__propagator_xray_lambda = {
    .name = "xray-lambda",
    .summary = "AWS X-Ray in Lambda: the variable _X_AMZN_TRACE_ID, else x-amzn-trace-id",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_XRAY),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_XRAY),
    .inject = xray_inject,
    .extract = lambda_extract,
};
