/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/context/pattern.h"
#include "instrumentation/trace/sampler.h"
#include "instrumentation/trace/scope.h"
#include <string.h>

static bool value_is(const struct sonde_attribute *a, const struct sonde_attribute *b) {
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case SONDE_VALUE_STRING:
        return a->size == b->size && memcmp(a->value.string, b->value.string, a->size) == 0;
    case SONDE_VALUE_BOOL:
        return a->value.boolean == b->value.boolean;
    case SONDE_VALUE_INT64:
        return a->value.int64 == b->value.int64;
    case SONDE_VALUE_DOUBLE:
        return a->value.float64 <= b->value.float64 && a->value.float64 >= b->value.float64;
    default:
        return false;
    }
}

/* The last of several with one key counts, as on the span. */
static bool has_attribute(const struct sonde_span_options *options, const struct sonde_attribute *wanted) {
    for (size_t i = options->attributes ? options->attribute_count : 0; i-- > 0;) {
        const struct sonde_attribute *given = &options->attributes[i];
        if (given->key.length == wanted->key.length &&
            memcmp(given->key.text, wanted->key.text, wanted->key.length) == 0)
            return value_is(given, wanted);
    }
    return false;
}

static bool parent_is(enum sonde_sampler_parent wanted, const struct sonde_span_context *span) {
    static const uint8_t none[8];
    bool root = memcmp(span->span_id, none, 8) == 0;
    switch (wanted) {
    case SONDE_PARENT_NONE:
        return root;
    case SONDE_PARENT_LOCAL:
        return !root && !span->is_remote;
    case SONDE_PARENT_REMOTE:
        return !root && span->is_remote;
    default:
        return true;
    }
}

bool sonde__rule_holds(const struct sonde__rule *rule, const struct sonde__sampling *sampling) {
    static const struct sonde_span_options no_options = SONDE_SPAN_OPTIONS_INIT;
    const struct sonde_span_options *options = sampling->options ? sampling->options : &no_options;
    int kind = options->kind ? (int)options->kind : (int)SONDE_SPAN_KIND_INTERNAL;
    if ((rule->kind && rule->kind != kind) || !parent_is(rule->parent, &sampling->context->span))
        return false;
    if (rule->name &&
        !sonde__pattern_fits(rule->name, (struct sonde_string){sampling->name.text, sampling->name.length}, false))
        return false;
    if (rule->scope && !sonde__pattern_fits(rule->scope, sonde__scope_name(options->scope), false))
        return false;
    for (size_t i = 0; i < rule->attribute_count; i++)
        if (!has_attribute(options, &rule->attributes[i]))
            return false;
    return true;
}
