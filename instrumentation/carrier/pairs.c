/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/carrier/pairs.h"
#include "instrumentation/carrier/text.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool same(struct sonde_string text, struct sonde_string want, bool ignore_case) {
    if (text.size != want.size)
        return false;
    if (!ignore_case)
        return memcmp(text.data, want.data, want.size) == 0;
    for (size_t i = 0; i < want.size; i++)
        if (lower(text.data[i]) != want.data[i])
            return false;
    return true;
}

static bool begins(struct sonde_string text, struct sonde_string prefix) {
    return prefix.size == 0 || (text.size >= prefix.size && memcmp(text.data, prefix.data, prefix.size) == 0);
}

static bool is_named(const struct sonde_pair *pair, const struct sonde__pairs_rule *rule, struct sonde_string name) {
    struct sonde_string have = pair->name;
    if (rule->prefix.size) {
        if (!begins(have, rule->prefix))
            return false;
        have.data += rule->prefix.size;
        have.size -= rule->prefix.size;
    }
    return same(have, name, rule->ignore_case);
}

/** Index of the first pair of a name at or after `from`, or count. */
static size_t find(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                   size_t from) {
    while (from < pairs->count && !is_named(&pairs->pairs[from], rule, name))
        from++;
    return from;
}

static size_t find_last(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule,
                        struct sonde_string name) {
    size_t i = pairs->count;
    while (i > 0 && !is_named(&pairs->pairs[i - 1], rule, name))
        i--;
    return i == 0 ? pairs->count : i - 1;
}

static struct sonde_string trimmed(struct sonde_string value) {
    while (value.size && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
        value.size--;
    while (value.size && (*value.data == ' ' || *value.data == '\t')) {
        value.data++;
        value.size--;
    }
    return value;
}

static bool is_bin(struct sonde_string name) {
    return name.size > 4 && memcmp(name.data + name.size - 4, "-bin", 4) == 0;
}

/** One stored value is one value, or several joined by commas. Returns false when the visitor stops. */
static bool visit_value(const struct sonde__pairs_rule *rule, struct sonde_string name, struct sonde_string value,
                        sonde_carrier_visit visit, void *user) {
    if (!value.data)
        return true;
    while (rule->split_bin && is_bin(name)) {
        const char *comma = memchr(value.data, ',', value.size);
        if (!comma)
            break;
        size_t size = (size_t)(comma - value.data);
        if (!visit(user, trimmed((struct sonde_string){value.data, size})))
            return false;
        value.data += size + 1;
        value.size -= size + 1;
    }
    return visit(user, rule->trim ? trimmed(value) : value);
}

void sonde__pairs_each(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                       sonde_carrier_visit visit, void *user) {
    size_t i = rule->last ? find_last(pairs, rule, name) : find(pairs, rule, name, 0);
    while (i < pairs->count && visit_value(rule, name, pairs->pairs[i].value, visit, user))
        i = find(pairs, rule, name, i + 1);
}

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

bool sonde__pairs_get(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                      struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    sonde__pairs_each(pairs, rule, name, keep_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

/** Takes out every pair of a name at or after `from`; the others keep their order. */
static void remove_from(struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                        size_t from) {
    size_t kept = from;
    for (size_t i = from; i < pairs->count; i++)
        if (!is_named(&pairs->pairs[i], rule, name))
            pairs->pairs[kept++] = pairs->pairs[i];
    pairs->count = kept;
}

void sonde__pairs_remove(struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name) {
    size_t i = find(pairs, rule, name, 0);
    if (i < pairs->count) /* else the array, which may be constant, is not written */
        remove_from(pairs, rule, name, i);
}

static bool value_is_sendable(enum sonde__pairs_text kind, struct sonde_string value) {
    if (kind != SONDE__PAIRS_ASCII)
        return !(value.size && memchr(value.data, '\0', value.size)) &&
               (kind == SONDE__PAIRS_BYTES || sonde__utf8_is_valid(value.data, value.size));
    for (size_t i = 0; i < value.size; i++)
        if ((value.data[i] < 0x20 || value.data[i] > 0x7e) && value.data[i] != '\t')
            return false;
    return true;
}

static bool name_is_sendable(const struct sonde__pairs_rule *rule, struct sonde_string name) {
    if (rule->name)
        return rule->name(name);
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= 0x20 || name.data[i] > 0x7e)
            return false;
    return name.size > 0;
}

static int add(struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, const struct sonde__text *text,
               struct sonde_string name, struct sonde_string value) {
    size_t name_size = rule->prefix.size + name.size;
    if ((rule->count_max && pairs->count >= rule->count_max) || pairs->count >= pairs->capacity ||
        !sonde__text_fits(text, name_size + value.size + 2))
        return SONDE_ETOOBIG;
    struct sonde_pair *pair = &pairs->pairs[pairs->count++];
    char *to = text->data + *text->used;
    if (rule->prefix.size) {
        memcpy(to, rule->prefix.data, rule->prefix.size);
        *text->used += rule->prefix.size;
    }
    (void)sonde__text_put(text, name);
    pair->name = (struct sonde_string){to, name_size};
    pair->value = (struct sonde_string){sonde__text_put(text, value), value.size};
    return 0;
}

/** Whether the pairs, with one value of this name, stay within the rule's sum. */
static bool total_fits(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                       struct sonde_string value) {
    enum { OVERHEAD = 32 };
    size_t total = rule->prefix.size + name.size + value.size + OVERHEAD;
    for (size_t i = 0; i < pairs->count && total <= rule->total_max; i++)
        if (!is_named(&pairs->pairs[i], rule, name))
            total += pairs->pairs[i].name.size + pairs->pairs[i].value.size + OVERHEAD;
    return total <= rule->total_max;
}

int sonde__pairs_set(struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, struct sonde_string name,
                     struct sonde_string value) {
    if (!name_is_sendable(rule, name) || !value_is_sendable(rule->text, value))
        return SONDE_EINVALID;
    if ((rule->name_max && rule->prefix.size + name.size > rule->name_max) ||
        (rule->value_max && value.size > rule->value_max) || (rule->total_max && !total_fits(pairs, rule, name, value)))
        return SONDE_ETOOBIG;
    struct sonde__text text = {pairs->text, pairs->text_size, &pairs->text_used};
    size_t i = find(pairs, rule, name, 0);
    if (i == pairs->count)
        return add(pairs, rule, &text, name, value);
    struct sonde_pair *pair = &pairs->pairs[i];
    if (!sonde__text_replace(&text, pair->value, value)) {
        if (!sonde__text_fits(&text, value.size + 1))
            return SONDE_ETOOBIG;
        pair->value.data = sonde__text_put(&text, value);
    }
    pair->value.size = value.size;
    remove_from(pairs, rule, name, i + 1);
    return 0;
}

void sonde__pairs_keys(const struct sonde_pairs *pairs, const struct sonde__pairs_rule *rule, sonde_carrier_visit visit,
                       void *user) {
    for (size_t i = 0; i < pairs->count; i++) {
        struct sonde_string name = pairs->pairs[i].name;
        if (!begins(name, rule->prefix))
            continue;
        name.data += rule->prefix.size;
        name.size -= rule->prefix.size;
        if (!visit(user, name))
            return;
    }
}
