/* SPDX-License-Identifier: Apache-2.0 */
/* B3, in one header (`b3`) and in several (`x-b3-*`). Both propagators read both forms, one header before several;
 * their names say which they write. The state is one of accept, deny, debug and nothing at all (defer), and may come
 * without ids. Names go out in lower case, as most SDKs write them; on a carrier with case (Kafka, MQTT) those of SDKs
 * that write X-B3-TraceId are found too, and taken out when such a message is sent on. Source: openzipkin/b3-propagation, README; OpenTelemetry specification, context/api-propagators.md. */
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/propagation/stale.h"

#define SINGLE_FIELDS SONDE__FIELD_BIT(SONDE__FIELD_B3)
#define MULTI_FIELDS                                                                                                   \
    (SONDE__FIELD_BIT(SONDE__FIELD_B3_TRACE_ID) | SONDE__FIELD_BIT(SONDE__FIELD_B3_SPAN_ID) |                          \
     SONDE__FIELD_BIT(SONDE__FIELD_B3_SAMPLED) | SONDE__FIELD_BIT(SONDE__FIELD_B3_FLAGS))
#define MULTI_NAMES (MULTI_FIELDS | SONDE__FIELD_BIT(SONDE__FIELD_B3_PARENT_ID))

enum { TRACE_ID_SIZE = 32, SHORT_TRACE_ID_SIZE = 16, SPAN_ID_SIZE = 16 };

static uint64_t state_word(enum sonde_decision decision) {
    return SONDE__STATE_REMOTE | SONDE__STATE_DECISION(decision) |
           (decision >= SONDE_DECISION_ACCEPT ? SONDE_TRACE_FLAG_SAMPLED : 0);
}

/** 32 digits, or 16 that are padded on the left. */
static inline enum sonde_extract_reason read_trace_id(const char *text, size_t size, struct sonde__ids *ids) {
    ids->high = 0;
    if (size != TRACE_ID_SIZE && size != SHORT_TRACE_ID_SIZE)
        return SONDE_EXTRACT_LENGTH;
    bool hex = size == SHORT_TRACE_ID_SIZE || sonde__hex_read8(text, &ids->high);
    hex &= sonde__hex_read8(text + size - 16, &ids->low);
    if (!hex)
        return SONDE_EXTRACT_HEX;
    return (ids->high | ids->low) == 0 ? SONDE_EXTRACT_ZERO_ID : SONDE_EXTRACT_OK;
}

static inline enum sonde_extract_reason read_span_id(const char *text, size_t size, struct sonde__ids *ids) {
    if (size != SPAN_ID_SIZE)
        return SONDE_EXTRACT_LENGTH;
    if (!sonde__hex_read8(text, &ids->span))
        return SONDE_EXTRACT_HEX;
    return ids->span == 0 ? SONDE_EXTRACT_ZERO_ID : SONDE_EXTRACT_OK;
}

static bool read_state(char c, enum sonde_decision *ret_decision) {
    *ret_decision = c == '1' ? SONDE_DECISION_ACCEPT : c == 'd' ? SONDE_DECISION_DEBUG : SONDE_DECISION_DENY;
    return c == '0' || c == '1' || c == 'd';
}

/** What stands behind the ids: "-state", "-state-parent", or "-parent" (state left out). The parent is checked, and not
 *  used. */
static enum sonde_extract_reason read_tail(const char *text, size_t size, enum sonde_decision *ret_decision) {
    uint64_t parent;
    *ret_decision = SONDE_DECISION_DEFER;
    if (size == 0)
        return SONDE_EXTRACT_OK;
    if (size == 1 + SPAN_ID_SIZE)
        return sonde__hex_read8(text + 1, &parent) ? SONDE_EXTRACT_OK : SONDE_EXTRACT_HEX;
    if (size < 2 || !read_state(text[1], ret_decision) || (size > 2 && text[2] != '-'))
        return SONDE_EXTRACT_SAMPLED;
    if (size == 2)
        return SONDE_EXTRACT_OK;
    return size == 3 + SPAN_ID_SIZE && sonde__hex_read8(text + 3, &parent) ? SONDE_EXTRACT_OK : SONDE_EXTRACT_FIELDS;
}

static inline enum sonde_extract_reason read_single(const char *text, size_t size, struct sonde__ids *ids) {
    enum sonde_decision decision;
    if (size == 1 && read_state(text[0], &decision)) {
        *ids = (struct sonde__ids){.state = SONDE__STATE_DECISION(decision)};
        return SONDE_EXTRACT_DECISION;
    }
    size_t id = size > TRACE_ID_SIZE && text[TRACE_ID_SIZE] == '-'               ? TRACE_ID_SIZE
                : size > SHORT_TRACE_ID_SIZE && text[SHORT_TRACE_ID_SIZE] == '-' ? SHORT_TRACE_ID_SIZE
                                                                                 : 0;
    if (id == 0)
        return SONDE_EXTRACT_FIELDS;
    enum sonde_extract_reason reason = read_trace_id(text, id, ids);
    if (reason != SONDE_EXTRACT_OK)
        return reason;
    size_t end = id + 1 + SPAN_ID_SIZE;
    if (size < end || (size > end && text[end] != '-'))
        return SONDE_EXTRACT_LENGTH;
    if ((reason = read_span_id(text + id + 1, SPAN_ID_SIZE, ids)) != SONDE_EXTRACT_OK ||
        (reason = read_tail(text + end, size - end, &decision)) != SONDE_EXTRACT_OK)
        return reason;
    ids->state = state_word(decision);
    return SONDE_EXTRACT_OK;
}

enum sonde_extract_reason sonde__b3_read(const char *text, size_t size, struct sonde_span_context *ret_span) {
    struct sonde__ids ids = {.state = 0};
    enum sonde_extract_reason reason = read_single(text, size, &ids);
    if (reason == SONDE_EXTRACT_OK || reason == SONDE_EXTRACT_DECISION)
        sonde__ids_store(ret_span, &ids);
    return reason;
}

/** The state as one character, '\0' for none. Without ids only a decision is one; with ids the flag is newer. */
static char state_of(const struct sonde_span_context *span, bool valid) {
    static const char of_decision[] = {'\0', '\0', '0', '1', 'd'};
    unsigned decision = span->decision;
    if (decision > SONDE_DECISION_DEBUG)
        decision = SONDE_DECISION_NONE;
    if (!valid || decision == SONDE_DECISION_DEFER || decision == SONDE_DECISION_DEBUG)
        return of_decision[decision];
    return span->flags & SONDE_TRACE_FLAG_SAMPLED ? '1' : '0';
}

size_t sonde__b3_write(const struct sonde_span_context *span, char ret_text[SONDE__B3_SIZE]) {
    bool valid = sonde_span_context_is_valid(span);
    char state = state_of(span, valid);
    if (!valid) {
        ret_text[0] = state;
        return state != '\0';
    }
    sonde__hex_write8(span->trace_id, ret_text);
    sonde__hex_write8(span->trace_id + 8, ret_text + 16);
    ret_text[32] = '-';
    sonde__hex_write8(span->span_id, ret_text + 33);
    ret_text[49] = '-';
    ret_text[50] = state;
    return state ? 51 : 49;
}

static int b3_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char text[SONDE__B3_SIZE];
    size_t size = sonde__b3_write(&context->span, text);
    return size ? sonde__carrier_set(carrier, SONDE__FIELD_B3, text, size) : 0;
}

static int multi_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    const struct sonde_span_context *span = &context->span;
    bool valid = sonde_span_context_is_valid(span);
    char text[TRACE_ID_SIZE], state = state_of(span, valid);
    int error = 0;
    if (valid || state)
        sonde__stale_remove_canonical(MULTI_NAMES, carrier);
    if (valid) {
        sonde__hex_write8(span->trace_id, text);
        sonde__hex_write8(span->trace_id + 8, text + 16);
        error = sonde__carrier_set(carrier, SONDE__FIELD_B3_TRACE_ID, text, TRACE_ID_SIZE);
        if (error)
            return error;
        sonde__hex_write8(span->span_id, text);
        error = sonde__carrier_set(carrier, SONDE__FIELD_B3_SPAN_ID, text, SPAN_ID_SIZE);
        sonde__carrier_remove(carrier, SONDE__FIELD_B3_PARENT_ID); /* of the hop before us, in a forwarded message */
    } else if (!state) {
        return 0;
    }
    enum sonde__field field = state == 'd' ? SONDE__FIELD_B3_FLAGS : SONDE__FIELD_B3_SAMPLED;
    sonde__carrier_remove(carrier, state == 'd' ? SONDE__FIELD_B3_SAMPLED : SONDE__FIELD_B3_FLAGS);
    if (error || !state) {
        sonde__carrier_remove(carrier, field);
        if (error)
            sonde__carrier_remove(carrier, SONDE__FIELD_B3_TRACE_ID);
        return error;
    }
    return sonde__carrier_set(carrier, field, state == '0' ? "0" : "1", 1);
}

static bool is_text(struct sonde_string text, struct sonde_string other) {
    return text.size == other.size && memcmp(text.data, other.data, text.size) == 0;
}

/* Under the names in lower case, or on a carrier with case under the canonical ones (X-B3-TraceId). */
typedef bool multi_get(const struct sonde__source *source, enum sonde__field field, struct sonde_string *ret_value);

static inline enum sonde_extract_reason multi_state(const struct sonde__source *source, multi_get *get,
                                                    enum sonde_decision *ret_decision) {
    struct sonde_string text;
    *ret_decision = SONDE_DECISION_DEFER;
    if (get(source, SONDE__FIELD_B3_FLAGS, &text) && is_text(text, SONDE__TEXT("1"))) {
        *ret_decision = SONDE_DECISION_DEBUG;
        return SONDE_EXTRACT_OK;
    }
    if (!get(source, SONDE__FIELD_B3_SAMPLED, &text))
        return SONDE_EXTRACT_ABSENT;
    if (is_text(text, SONDE__TEXT("1")) || is_text(text, SONDE__TEXT("true"))) /* the words are of old libraries */
        *ret_decision = SONDE_DECISION_ACCEPT;
    else if (is_text(text, SONDE__TEXT("0")) || is_text(text, SONDE__TEXT("false")))
        *ret_decision = SONDE_DECISION_DENY;
    else
        return SONDE_EXTRACT_SAMPLED;
    return SONDE_EXTRACT_OK;
}

static inline enum sonde_extract_reason multi_read(const struct sonde__source *source, multi_get *get,
                                                   struct sonde__ids *ids) {
    struct sonde_string trace_id, span_id;
    enum sonde_decision decision;
    enum sonde_extract_reason state = multi_state(source, get, &decision), reason;
    if (state == SONDE_EXTRACT_SAMPLED)
        return state;
    bool has_trace_id = get(source, SONDE__FIELD_B3_TRACE_ID, &trace_id);
    bool has_span_id = get(source, SONDE__FIELD_B3_SPAN_ID, &span_id);
    if (!has_trace_id && !has_span_id) {
        if (state == SONDE_EXTRACT_ABSENT)
            return state;
        ids->state = SONDE__STATE_DECISION(decision);
        return SONDE_EXTRACT_DECISION;
    }
    if (!has_trace_id || !has_span_id)
        return SONDE_EXTRACT_FIELDS;
    if ((reason = read_trace_id(trace_id.data, trace_id.size, ids)) != SONDE_EXTRACT_OK ||
        (reason = read_span_id(span_id.data, span_id.size, ids)) != SONDE_EXTRACT_OK)
        return reason;
    ids->state = state_word(decision);
    return SONDE_EXTRACT_OK;
}

static __attribute__((noinline)) enum sonde_extract_reason multi_canonical(const struct sonde__source *source,
                                                                           struct sonde__ids *ids) {
    return source->ignore_case ? SONDE_EXTRACT_ABSENT : multi_read(source, sonde__source_ask_canonical, ids);
}

static enum sonde_extract_reason b3_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde__ids ids = {.state = 0};
    struct sonde_string text;
    enum sonde_extract_reason reason = SONDE_EXTRACT_ABSENT;
    if (sonde__source_get(source, SONDE__FIELD_B3, &text))
        reason = read_single(text.data, text.size, &ids);
    if (__builtin_expect(reason == SONDE_EXTRACT_OK, 1)) {
        sonde__context_found(context, &ids);
        return reason;
    }
    if (reason != SONDE_EXTRACT_DECISION) {
        enum sonde_extract_reason multi = multi_read(source, sonde__source_get, &ids);
        if (multi == SONDE_EXTRACT_ABSENT)
            multi = multi_canonical(source, &ids);
        if (reason == SONDE_EXTRACT_ABSENT || multi == SONDE_EXTRACT_OK || multi == SONDE_EXTRACT_DECISION)
            reason = multi;
    }
    if (reason == SONDE_EXTRACT_OK)
        sonde__context_found(context, &ids);
    else if (reason == SONDE_EXTRACT_DECISION)
        (void)sonde__decision_found(context, (enum sonde_decision)(ids.state >> 16));
    return reason;
}

const struct sonde__propagator sonde__propagator_b3 = {
    .name = "b3",
    .summary = "B3 of Zipkin: reads b3 and x-b3-*, writes b3",
    .reads = SINGLE_FIELDS | MULTI_FIELDS,
    .writes = SINGLE_FIELDS,
    .inject = b3_inject,
    .extract = b3_extract,
};

const struct sonde__propagator sonde__propagator_b3multi = {
    .name = "b3multi",
    .summary = "B3 of Zipkin: reads b3 and x-b3-*, writes x-b3-*",
    .reads = SINGLE_FIELDS | MULTI_FIELDS,
    .writes = MULTI_NAMES,
    .inject = multi_inject,
    .extract = b3_extract,
};
