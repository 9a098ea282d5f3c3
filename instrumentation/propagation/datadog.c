/* SPDX-License-Identifier: Apache-2.0 */
/* Datadog: x-datadog-trace-id and -parent-id, decimal, 64 bits; the high half of the trace id is the tag _dd.p.tid in
 * x-datadog-tags; x-datadog-sampling-priority -1|0|1|2 (over 0 = keep); x-datadog-origin. What a W3C context has no
 * place for (priority -1 and 2, origin, the other _dd.p.* tags) is kept the way Datadog's own libraries keep it, as
 * the tracestate member dd=s:<priority>;p:<parent>;o:<origin>;t.<tag>:<value>, so it survives other formats too.
 * Source: DataDog/dd-trace-cpp, src/datadog; DataDog/system-tests, tests/parametric. */
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"

enum {
    TAGS_SIZE_MAX = 512, /* the whole header: Datadog's own limit, over it all tags go */
    MEMBER_SIZE_MAX = 256,
    KEEP_BY_USER = 2,
    DROP_BY_USER = -1,
};

#define TAG_PREFIX "_dd.p."
#define TAG_TID    "_dd.p.tid"

/** Text under construction; what does not fit is left out whole. */
struct text {
    char data[TAGS_SIZE_MAX];
    size_t size, most;
};

static bool put(struct text *text, const char *data, size_t size) {
    if (size > text->most - text->size)
        return false;
    if (size) /* an absent value has no address */
        memcpy(text->data + text->size, data, size);
    text->size += size;
    return true;
}

static bool next_part(struct sonde_string *rest, char separator, struct sonde_string *ret_part) {
    if (!rest->size)
        return false;
    const char *end = memchr(rest->data, separator, rest->size);
    ret_part->data = rest->data;
    ret_part->size = end ? (size_t)(end - rest->data) : rest->size;
    size_t used = ret_part->size + (end ? 1 : 0);
    rest->data += used;
    rest->size -= used;
    return true;
}

static bool begins(struct sonde_string text, struct sonde_string with) {
    return text.size >= with.size && memcmp(text.data, with.data, with.size) == 0;
}

/* ---- the member ---- */

/** One part of the member whose key begins so: "s:", "o:"; the rest of the first that does. */
static bool member_part(const struct sonde_context *context, struct sonde_string key, struct sonde_string *ret_rest) {
    struct sonde_string member, part;
    if (!context->tracestate_length || !sonde_tracestate_get(context, "dd", 2, &member))
        return false;
    while (next_part(&member, ';', &part)) {
        if (!begins(part, key))
            continue;
        *ret_rest = (struct sonde_string){part.data + key.size, part.size - key.size};
        return true;
    }
    return false;
}

static bool read_priority(struct sonde_string text, int *ret_priority) {
    bool negative = text.size == 2 && text.data[0] == '-';
    char digit = text.size == 1 || negative ? text.data[text.size - 1] : '\0';
    if (negative ? digit != '1' : digit < '0' || digit > '2')
        return false;
    *ret_priority = negative ? -1 : digit - '0';
    return true;
}

int sonde__datadog_priority(const struct sonde_context *context) {
    bool sampled = context->span.flags & SONDE_TRACE_FLAG_SAMPLED;
    struct sonde_string text;
    int priority;
    if (context->span.decision == SONDE_DECISION_DEBUG)
        return KEEP_BY_USER;
    /* Where flag and member differ, the flag is newer. */
    if (member_part(context, SONDE__TEXT("s:"), &text) && read_priority(text, &priority) && (priority > 0) == sampled)
        return priority;
    return sampled;
}

/** Puts a part into the member: bytes that may not stand there are '_', '=' is '~'. */
static void put_part(struct text *member, const char *key, struct sonde_string name, struct sonde_string value) {
    size_t before = member->size, key_size = strlen(key);
    bool fits = (member->size == 0 || put(member, ";", 1)) && put(member, key, key_size) &&
                put(member, name.data, name.size) && put(member, ":", 1) && put(member, value.data, value.size);
    if (!fits || value.size == 0) {
        member->size = before;
        return;
    }
    for (char *c = member->data + member->size - value.size, *end = member->data + member->size; c < end; c++)
        *c = (char)(*c == '=' ? '~' : *c < 0x20 || *c > 0x7e || *c == ',' || *c == ';' || *c == '~' ? '_' : *c);
    if (member->data[member->size - 1] == ' ')
        member->data[member->size - 1] = '_';
}

static bool tag_name_is_plain(struct sonde_string name) {
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (c <= 0x20 || c > 0x7e || c == ',' || c == ';' || c == '=' || c == ':' || c == '~')
            return false;
    }
    return name.size > 0;
}

/* ---- in ---- */

struct incoming {
    struct sonde__ids ids;
    int priority;
    bool has_priority;
    struct sonde_string origin, tags;
};

/** Tags but tid go into the member; tid into the id. Returns false when tid is malformed. */
static bool read_tags(struct incoming *in, struct text *member) {
    struct sonde_string rest = in->tags, pair;
    bool good = true;
    while (next_part(&rest, ',', &pair)) {
        const char *equals = pair.size ? memchr(pair.data, '=', pair.size) : NULL;
        if (!equals)
            continue;
        struct sonde_string name = {pair.data, (size_t)(equals - pair.data)};
        struct sonde_string value = {equals + 1, pair.size - name.size - 1};
        if (name.size == sizeof TAG_TID - 1 && begins(name, SONDE__TEXT(TAG_TID))) {
            good = value.size == 16 && sonde__hex_read8(value.data, &in->ids.high);
            if (!good)
                in->ids.high = 0;
        } else if (begins(name, SONDE__TEXT(TAG_PREFIX))) {
            name.data += sizeof TAG_PREFIX - 1;
            name.size -= sizeof TAG_PREFIX - 1;
            if (tag_name_is_plain(name))
                put_part(member, "t.", name, value);
        }
    }
    return good;
}

static enum sonde_extract_reason read_ids(const struct sonde__source *source, struct incoming *in) {
    struct sonde_string trace_id, parent_id;
    uint64_t low, id;
    if (!sonde__source_get(source, SONDE__FIELD_DATADOG_TRACE_ID, &trace_id) ||
        !sonde__source_get(source, SONDE__FIELD_DATADOG_PARENT_ID, &parent_id))
        return SONDE_EXTRACT_ABSENT;
    int bad = sonde__decimal_read(trace_id.data, trace_id.size, &low);
    if (!bad)
        bad = sonde__decimal_read(parent_id.data, parent_id.size, &id);
    if (bad)
        return bad == 1 ? SONDE_EXTRACT_FIELDS : SONDE_EXTRACT_RANGE;
    if (low == 0 || id == 0)
        return SONDE_EXTRACT_ZERO_ID;
    in->ids.low = __builtin_bswap64(low);
    in->ids.span = __builtin_bswap64(id);
    in->ids.state = SONDE__STATE_REMOTE;
    return SONDE_EXTRACT_OK;
}

static enum sonde_extract_reason read_rest(const struct sonde__source *source, struct incoming *in) {
    struct sonde_string text;
    enum sonde_extract_reason reason = SONDE_EXTRACT_OK;
    if (sonde__source_get(source, SONDE__FIELD_DATADOG_PRIORITY, &text)) {
        if (!read_priority(text, &in->priority))
            return SONDE_EXTRACT_SAMPLED;
        in->has_priority = true;
    }
    in->ids.state |= in->priority > 0 ? SONDE_TRACE_FLAG_SAMPLED : 0;
    if (!in->has_priority)
        in->ids.state |= SONDE__STATE_DECISION(SONDE_DECISION_DEFER);
    (void)sonde__source_get(source, SONDE__FIELD_DATADOG_ORIGIN, &in->origin);
    if (sonde__source_get(source, SONDE__FIELD_DATADOG_TAGS, &in->tags) && in->tags.size > TAGS_SIZE_MAX) {
        in->tags.size = 0;
        reason = SONDE_EXTRACT_TAGS_LENGTH;
    }
    return reason;
}

/** Keeps what a W3C context does not say. The member begins with the state and the last Datadog span. */
static void keep(struct sonde_context *context, const struct incoming *in, const struct text *tags) {
    static const char *const states[] = {"-1", "0", "1", "2"};
    struct text member = {.most = MEMBER_SIZE_MAX};
    const struct sonde_string none = {"", 0};
    if (in->priority != DROP_BY_USER && in->priority != KEEP_BY_USER && !in->origin.size && !tags->size)
        return;
    if (in->has_priority) {
        const char *state = states[in->priority + 1];
        put_part(&member, "s", none, (struct sonde_string){state, strlen(state)});
    }
    char parent[16];
    sonde__hex_write8((const uint8_t *)&in->ids.span, parent);
    put_part(&member, "p", none, (struct sonde_string){parent, sizeof parent});
    put_part(&member, "o", none, in->origin);
    if (tags->size && tags->size + 1 <= member.most - member.size) {
        (void)put(&member, ";", 1);
        (void)put(&member, tags->data, tags->size);
    }
    (void)sonde_tracestate_set(context, "dd", 2, member.data, member.size); /* one that it refuses stays out */
}

static enum sonde_extract_reason datadog_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct incoming in = {.priority = 0};
    struct text tags;
    enum sonde_extract_reason reason = read_ids(source, &in);
    if (reason != SONDE_EXTRACT_OK)
        return reason;
    reason = read_rest(source, &in);
    if (reason == SONDE_EXTRACT_SAMPLED)
        return reason;
    tags.size = 0;
    tags.most = MEMBER_SIZE_MAX - sizeof "s:-1;p:0123456789abcdef;"; /* the fixed parts come first */
    if (!read_tags(&in, &tags))
        reason = SONDE_EXTRACT_TAGS_MALFORMED;
    sonde__context_found(context, &in.ids);
    keep(context, &in, &tags);
    return reason;
}

/* ---- out ---- */

/** _dd.p.tid, then the tags of the member; '~' is '=' again. */
static void write_tags(const struct sonde_context *context, struct text *ret_tags) {
    struct sonde_string member, part;
    ret_tags->size = 0;
    ret_tags->most = TAGS_SIZE_MAX;
    if (sonde__id_number(context->span.trace_id)) {
        char high[16];
        sonde__hex_write8(context->span.trace_id, high);
        (void)put(ret_tags, TAG_TID "=", sizeof TAG_TID);
        (void)put(ret_tags, high, sizeof high);
    }
    if (!context->tracestate_length || !sonde_tracestate_get(context, "dd", 2, &member))
        return;
    while (next_part(&member, ';', &part)) {
        const char *colon = begins(part, SONDE__TEXT("t.")) ? memchr(part.data, ':', part.size) : NULL;
        size_t before = ret_tags->size, name = colon ? (size_t)(colon - part.data) - 2 : 0;
        if (!name || (name == 3 && memcmp(part.data + 2, "tid", 3) == 0))
            continue;
        bool fits = (!before || put(ret_tags, ",", 1)) && put(ret_tags, TAG_PREFIX, sizeof TAG_PREFIX - 1) &&
                    put(ret_tags, part.data + 2, name) && put(ret_tags, "=", 1);
        size_t value_at = ret_tags->size;
        if (!fits || !put(ret_tags, colon + 1, part.size - name - 3))
            ret_tags->size = before;
        for (size_t i = value_at; i < ret_tags->size; i++)
            if (ret_tags->data[i] == '~')
                ret_tags->data[i] = '=';
    }
}

static int set_or_remove(const struct sonde_carrier *carrier, enum sonde__field field, const char *text, size_t size) {
    if (size)
        return sonde__carrier_set(carrier, field, text, size);
    sonde__carrier_remove(carrier, field);
    return 0;
}

static int set_number(const struct sonde_carrier *carrier, enum sonde__field field, uint64_t number) {
    char text[SONDE__DECIMAL_MAX];
    return sonde__carrier_set(carrier, field, text, sonde__decimal_write(number, text));
}

/** What goes beside the ids. */
static int inject_rest(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    static const char *const states[] = {"-1", "0", "1", "2"};
    const char *state =
        context->span.decision == SONDE_DECISION_DEFER ? "" : states[sonde__datadog_priority(context) + 1];
    char origin[MEMBER_SIZE_MAX];
    struct sonde_string part = {NULL, 0};
    struct text tags;
    int error = set_or_remove(carrier, SONDE__FIELD_DATADOG_PRIORITY, state, strlen(state));
    if (member_part(context, SONDE__TEXT("o:"), &part))
        for (size_t i = 0; i < part.size; i++)
            origin[i] = (char)(part.data[i] == '~' ? '=' : part.data[i]);
    if (!error)
        error = set_or_remove(carrier, SONDE__FIELD_DATADOG_ORIGIN, origin, part.size);
    write_tags(context, &tags);
    return error ? error : set_or_remove(carrier, SONDE__FIELD_DATADOG_TAGS, tags.data, tags.size);
}

static int datadog_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    const struct sonde_span_context *span = &context->span;
    uint64_t low = sonde__id_number(span->trace_id + 8);
    if (!sonde_span_context_is_valid(span))
        return 0;
    if (low == 0) { /* 64 bits of zero are no id there; nor is what an earlier send left */
        sonde__carrier_remove(carrier, SONDE__FIELD_DATADOG_TRACE_ID);
        return 0;
    }
    int error = set_number(carrier, SONDE__FIELD_DATADOG_TRACE_ID, low);
    if (error)
        return error;
    error = set_number(carrier, SONDE__FIELD_DATADOG_PARENT_ID, sonde__id_number(span->span_id));
    if (!error)
        error = inject_rest(context, carrier);
    if (error) /* half a context is none */
        sonde__carrier_remove(carrier, SONDE__FIELD_DATADOG_TRACE_ID);
    return error;
}

#define FIELDS                                                                                                         \
    (SONDE__FIELD_BIT(SONDE__FIELD_DATADOG_TRACE_ID) | SONDE__FIELD_BIT(SONDE__FIELD_DATADOG_PARENT_ID) |              \
     SONDE__FIELD_BIT(SONDE__FIELD_DATADOG_PRIORITY) | SONDE__FIELD_BIT(SONDE__FIELD_DATADOG_ORIGIN) |                 \
     SONDE__FIELD_BIT(SONDE__FIELD_DATADOG_TAGS))

const struct sonde__propagator sonde__propagator_datadog = {
    .name = "datadog",
    .summary = "Datadog: x-datadog-*, with the tracestate member dd",
    .reads = FIELDS,
    .writes = FIELDS,
    .inject = datadog_inject,
    .extract = datadog_extract,
};
