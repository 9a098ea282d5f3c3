/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/propagation/source.h"
#include <string.h>

const struct sonde_string sonde__field_names[SONDE__FIELD_COUNT] = {
#define FIELD_NAME(number, name) {name, sizeof(name) - 1},
    SONDE__FIELDS(FIELD_NAME)
#undef FIELD_NAME
};

/* One pass: the names asked for, and where their values go. */
struct gathering {
    struct sonde__source *source;
    uint8_t fields[SONDE__FIELD_COUNT];
};

static bool gather(void *user, size_t index, struct sonde_string text) {
    struct gathering *gathering = user;
    struct sonde__source *source = gathering->source;
    uint32_t field = gathering->fields[index];
    if (source->count == SONDE__GATHERED_MAX) {
        source->gathered = 0;
        return false;
    }
    if (!text.data) /* there, but not text: as good as empty */
        text = (struct sonde_string){"", 0};
    source->values[source->count].value = text;
    source->values[source->count++].field = field;
    source->present |= SONDE__FIELD_BIT(field);
    return true;
}

void sonde__source_init(struct sonde__source *source, const struct sonde_carrier *carrier, uint32_t fields) {
    struct sonde_string names[SONDE__FIELD_COUNT];
    struct gathering gathering;
    size_t count = 0;
    source->carrier = carrier;
    source->gathered = source->present = source->count = 0;
    if (!carrier->ops->each_of)
        return;
    gathering.source = source;
    source->gathered = fields;
    for (uint32_t rest = fields; rest; rest &= rest - 1) {
        unsigned field = (unsigned)__builtin_ctz(rest);
        gathering.fields[count] = (uint8_t)field;
        names[count++] = sonde__field_names[field];
    }
    carrier->ops->each_of(carrier->self, names, count, gather, &gathering);
}

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

bool sonde__source_get(const struct sonde__source *source, enum sonde__field field, struct sonde_string *ret_value) {
    if (source->gathered & SONDE__FIELD_BIT(field)) {
        if (!(source->present & SONDE__FIELD_BIT(field)))
            return false;
        uint32_t i = 0;
        while (source->values[i].field != field)
            i++;
        *ret_value = source->values[i].value;
        return true;
    }
    struct sonde_string value = {NULL, SIZE_MAX};
    const struct sonde_carrier *carrier = source->carrier;
    if (carrier && carrier->ops->get) {
        if (!carrier->ops->get(carrier->self, sonde__field_names[field], &value))
            return false;
    } else if (carrier && carrier->ops->each) {
        carrier->ops->each(carrier->self, sonde__field_names[field], keep_first, &value);
        if (value.size == SIZE_MAX)
            return false;
    } else {
        return false;
    }
    *ret_value = value.data ? value : (struct sonde_string){"", 0};
    return true;
}

void sonde__source_each(const struct sonde__source *source, enum sonde__field field, sonde_carrier_visit visit,
                        void *user) {
    struct sonde_string value;
    if (source->gathered & SONDE__FIELD_BIT(field)) {
        if (!(source->present & SONDE__FIELD_BIT(field)))
            return;
        for (uint32_t i = 0; i < source->count; i++)
            if (source->values[i].field == field && !visit(user, source->values[i].value))
                return;
        return;
    }
    const struct sonde_carrier *carrier = source->carrier;
    if (carrier && carrier->ops->each)
        carrier->ops->each(carrier->self, sonde__field_names[field], visit, user);
    else if (sonde__source_get(source, field, &value))
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
