/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/propagation/source.h"
#include "instrumentation/wire/field.h"
#include <string.h>

const struct sonde_string sonde__field_names[SONDE__FIELD_COUNT] = {
#define FIELD_NAME(number, name) {name, sizeof(name) - 1},
    SONDE__FIELDS(FIELD_NAME)
#undef FIELD_NAME
};
const struct sonde_string sonde__field_canonical[SONDE__FIELD_COUNT] = {
#define CANONICAL(name)                                                                                                \
    { name, sizeof(name) - 1 }
    [SONDE__FIELD_B3_TRACE_ID] = CANONICAL("X-B3-TraceId"),
    [SONDE__FIELD_B3_SPAN_ID] = CANONICAL("X-B3-SpanId"),
    [SONDE__FIELD_B3_PARENT_ID] = CANONICAL("X-B3-ParentSpanId"),
    [SONDE__FIELD_B3_SAMPLED] = CANONICAL("X-B3-Sampled"),
    [SONDE__FIELD_B3_FLAGS] = CANONICAL("X-B3-Flags"),
    [SONDE__FIELD_XRAY] = CANONICAL("X-Amzn-Trace-Id"),
    [SONDE__FIELD_GCLOUD] = CANONICAL("X-Cloud-Trace-Context"),
#undef CANONICAL
};

/* ---- one pass ---- */

/* Where a name's field stands, plus 1, by its size, its first and its last but one byte in lower case: each name has a
 * slot of its own. */
#define SLOT(size, first, last_but_one) (((size) + ((first) | 0x20) + 8 * ((last_but_one) | 0x20)) & (SLOTS - 1))
enum { SLOTS = 64 };

static const uint8_t slots[SLOTS] = {
    [SLOT(11, 't', 'n')] = SONDE__FIELD_TRACEPARENT + 1,
    [SLOT(10, 't', 't')] = SONDE__FIELD_TRACESTATE + 1,
    [SLOT(7, 'b', 'g')] = SONDE__FIELD_BAGGAGE + 1,
    [SLOT(2, 'b', 'b')] = SONDE__FIELD_B3 + 1,
    [SLOT(12, 'x', 'i')] = SONDE__FIELD_B3_TRACE_ID + 1,
    [SLOT(11, 'x', 'i')] = SONDE__FIELD_B3_SPAN_ID + 1,
    [SLOT(17, 'x', 'i')] = SONDE__FIELD_B3_PARENT_ID + 1,
    [SLOT(12, 'x', 'e')] = SONDE__FIELD_B3_SAMPLED + 1,
    [SLOT(10, 'x', 'g')] = SONDE__FIELD_B3_FLAGS + 1,
    [SLOT(13, 'u', 'i')] = SONDE__FIELD_JAEGER + 1,
    [SLOT(14, 'j', 'g')] = SONDE__FIELD_JAEGER_BAGGAGE + 1,
    [SLOT(15, 'j', 'i')] = SONDE__FIELD_JAEGER_DEBUG + 1,
    [SLOT(15, 'x', 'i')] = SONDE__FIELD_XRAY + 1,
    [SLOT(21, 'x', 'x')] = SONDE__FIELD_GCLOUD + 1,
    [SLOT(18, 'x', 'i')] = SONDE__FIELD_DATADOG_TRACE_ID + 1,
    [SLOT(19, 'x', 'i')] = SONDE__FIELD_DATADOG_PARENT_ID + 1,
    [SLOT(27, 'x', 't')] = SONDE__FIELD_DATADOG_PRIORITY + 1,
    [SLOT(16, 'x', 'i')] = SONDE__FIELD_DATADOG_ORIGIN + 1,
    [SLOT(14, 'x', 'g')] = SONDE__FIELD_DATADOG_TAGS + 1,
    [SLOT(17, 'o', 'i')] = SONDE__FIELD_OT_TRACE_ID + 1,
    [SLOT(16, 'o', 'i')] = SONDE__FIELD_OT_SPAN_ID + 1,
    [SLOT(17, 'o', 'e')] = SONDE__FIELD_OT_SAMPLED + 1,
    [SLOT(14, 'g', 'i')] = SONDE__FIELD_GRPC_TRACE_BIN + 1,
};

/** The only field that a name can be, plus 1; 0 = none. */
static inline unsigned slot_of(struct sonde_string name) {
    if (name.size < 2)
        return 0;
    return slots[SLOT(name.size, (uint8_t)name.data[0], (uint8_t)name.data[name.size - 2])];
}

static inline bool is_named(struct sonde_string have, struct sonde_string name, bool ignore_case) {
    if (have.size != name.size)
        return false;
    return ignore_case ? sonde__lower_equals(have.data, name.data, name.size)
                       : memcmp(have.data, name.data, name.size) == 0;
}

/** The sizes of the names of some fields, as bits. Most names of a carrier are of another size, so their bytes, which
 *  may lie anywhere, are not touched. */
static inline uint32_t sizes_of(uint32_t fields) {
    uint32_t sizes = 0;
    for (; fields; fields &= fields - 1)
        sizes |= (uint32_t)1 << sonde__field_names[__builtin_ctz(fields)].size;
    return sizes;
}
_Static_assert(sizeof "x-datadog-sampling-priority" - 1 < 32, "the longest name's size has a bit");

static inline bool has_size(uint32_t sizes, struct sonde_string name) {
    return name.size < 32 && sizes >> name.size & 1;
}

uint32_t sonde__source_present(const struct sonde_carrier *carrier, uint32_t fields) {
    struct sonde_carrier_array array;
    uint32_t present = 0, sizes = sizes_of(fields);
    carrier->ops->array(carrier->self, &array);
    for (size_t i = 0; i < array.count; i++) {
        struct sonde_string name = array.pairs[i].name;
        if (__builtin_expect(!has_size(sizes, name), 1))
            continue;
        unsigned slot = slot_of(name);
        if ((uint64_t)fields << 1 >> slot & 1 && is_named(name, sonde__field_names[slot - 1], array.ignore_case))
            present |= SONDE__FIELD_BIT(slot - 1);
    }
    return present;
}

/** Keeps a value. False: there is no room. */
static inline bool gather(struct sonde__source *source, unsigned field, struct sonde_string value) {
    uint32_t index = source->count;
    if (index == SONDE__GATHERED_MAX)
        return false;
    if (!value.data) /* there, but not text: as good as empty */
        value = (struct sonde_string){"", 0};
    source->values[index].value = value;
    if (source->present & SONDE__FIELD_BIT(field))
        source->values[source->last[field]].next = index;
    else
        source->first[field] = (uint8_t)index;
    source->last[field] = (uint8_t)index;
    source->present |= SONDE__FIELD_BIT(field);
    source->count++;
    return true;
}

void sonde__source_init(struct sonde__source *source, const struct sonde_carrier *carrier, uint32_t fields) {
    struct sonde_carrier_array array;
    source->carrier = carrier;
    source->gathered = source->present = source->count = 0;
    source->ignore_case = false;
    if (!carrier->ops->array)
        return;
    carrier->ops->array(carrier->self, &array);
    source->ignore_case = array.ignore_case;
    const uint32_t sizes = sizes_of(fields);
    for (size_t i = 0; i < array.count; i++) {
        const struct sonde_carrier_pair *pair = &array.pairs[i];
        if (__builtin_expect(!has_size(sizes, pair->name), 1))
            continue;
        unsigned slot = slot_of(pair->name), field = slot - 1;
        if (__builtin_expect(!((uint64_t)fields << 1 >> slot & 1), 1) ||
            !is_named(pair->name, sonde__field_names[field], array.ignore_case))
            continue;
        if (!gather(source, field, array.trim ? sonde__trim(pair->value) : pair->value))
            return; /* gathered stays 0: the carrier is asked */
    }
    source->gathered = fields;
}

/* ---- asking ---- */

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

static inline bool ask(const struct sonde_carrier *carrier, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, SIZE_MAX};
    if (carrier && carrier->ops->get) { /* straight to its place: copied on, it would be loaded before it is stored */
        if (!carrier->ops->get(carrier->self, name, ret_value))
            return false;
        if (!ret_value->data)
            *ret_value = (struct sonde_string){"", 0};
        return true;
    }
    if (!carrier || !carrier->ops->each)
        return false;
    carrier->ops->each(carrier->self, name, keep_first, &value);
    if (value.size == SIZE_MAX)
        return false;
    *ret_value = value.data ? value : (struct sonde_string){"", 0};
    return true;
}

bool sonde__source_ask(const struct sonde__source *source, enum sonde__field field, struct sonde_string *ret_value) {
    return ask(source->carrier, sonde__field_names[field], ret_value);
}

bool sonde__source_ask_canonical(const struct sonde__source *source, enum sonde__field field,
                                 struct sonde_string *ret_value) {
    return !source->ignore_case && ask(source->carrier, sonde__field_canonical[field], ret_value);
}

void sonde__source_ask_each(const struct sonde__source *source, enum sonde__field field, sonde_carrier_visit visit,
                            void *user) {
    struct sonde_string value;
    const struct sonde_carrier *carrier = source->carrier;
    if (carrier && carrier->ops->each)
        carrier->ops->each(carrier->self, sonde__field_names[field], visit, user);
    else if (sonde__source_ask(source, field, &value))
        (void)visit(user, value);
}

/* ---- names that begin alike ---- */

struct prefixed {
    const struct sonde__source *source;
    struct sonde_string prefix;
    unsigned left;
    sonde__source_visit_rest visit;
    void *user;
};

static bool visit_name(void *user, struct sonde_string text) {
    struct prefixed *prefixed = user;
    const struct sonde_carrier *carrier = prefixed->source->carrier;
    char lower[64 + SONDE__REST_MAX];
    struct sonde_string value;
    size_t head = prefixed->prefix.size;
    if (text.size <= head || text.size > head + SONDE__REST_MAX || text.size > sizeof lower)
        return true;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        if (i < head && lower[i] != prefixed->prefix.data[i])
            return true;
    }
    /* By the name as it stands for a carrier with case, else by what it compares as. */
    if (!carrier->ops->get(carrier->self, (struct sonde_string){lower, text.size}, &value) &&
        !carrier->ops->get(carrier->self, text, &value))
        return true;
    prefixed->visit(prefixed->user, (struct sonde_string){lower + head, text.size - head}, value);
    return --prefixed->left > 0;
}

void sonde__source_prefixed(const struct sonde__source *source, struct sonde_string prefix, unsigned most,
                            sonde__source_visit_rest visit, void *user) {
    const struct sonde_carrier *carrier = source->carrier;
    struct prefixed prefixed = {source, prefix, most, visit, user};
    if (carrier && carrier->ops->keys && carrier->ops->get)
        carrier->ops->keys(carrier->self, visit_name, &prefixed);
}
