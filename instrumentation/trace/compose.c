/* SPDX-License-Identifier: Apache-2.0 */
/* Making samplers (sonde/sampler.h). All they are made of lies in one pool that is never given back: a sampler may be
 * in use by any thread for as long as the process lives. */
#include "instrumentation/ring/lock.h"
#include "instrumentation/trace/composed.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>
#include <string.h>

#define ATTRIBUTES_MAX 256u
#define TEXTS_SIZE     32768u
#define TEXT_MAX       127u

static struct sonde__lock lock;
static struct pool { /* under the lock */
    uint32_t samplers, rules, attributes, texts;
} used;
static struct sonde_sampler samplers[SONDE_SAMPLERS_MAX];
static struct sonde__rule rules_of_all[SONDE_SAMPLER_RULES_MAX];
static struct sonde_attribute attributes_of_all[ATTRIBUTES_MAX];
static char texts[TEXTS_SIZE];

/* Puts a filled one into the pool. Returns 0, SONDE_EINVALID (too deep), SONDE_EFULL. Under the lock. */
static int keep(const struct sonde_sampler *sampler, const struct sonde_sampler **ret_sampler) {
    if (sampler->depth > SONDE_SAMPLER_DEPTH_MAX)
        return SONDE_EINVALID;
    if (used.samplers == SONDE_SAMPLERS_MAX)
        return SONDE_EFULL;
    samplers[used.samplers] = *sampler;
    *ret_sampler = &samplers[used.samplers++];
    return 0;
}

static int keep_locked(const struct sonde_sampler *sampler, const struct sonde_sampler **ret_sampler) {
    sonde__lock_take(&lock);
    int error = keep(sampler, ret_sampler);
    sonde__lock_release(&lock);
    return error;
}

static void contain(struct sonde_sampler *sampler, const struct sonde_sampler *inner) {
    if (!inner)
        return;
    sampler->depth = inner->depth >= sampler->depth ? inner->depth + 1 : sampler->depth;
    sampler->wants_baggage |= inner->wants_baggage;
}

static int wrap(enum sonde__composed_kind kind, const struct sonde_sampler *inner,
                const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler sampler = {.kind = kind, .depth = 1, .inner = inner};
    if (!inner)
        return SONDE_EINVALID;
    contain(&sampler, inner);
    return keep_locked(&sampler, ret_sampler);
}

/* ---- copies; under the lock, size checked before ---- */

static const char *copy_text(const char *text, size_t size) {
    if (size + 1 > TEXTS_SIZE - used.texts)
        return NULL;
    char *to = texts + used.texts;
    memcpy(to, text, size);
    to[size] = 0;
    used.texts += (uint32_t)size + 1;
    return to;
}

static int copy_attributes(const struct sonde_attribute *from, size_t count, const struct sonde_attribute **ret_copy) {
    if (count > ATTRIBUTES_MAX - used.attributes)
        return SONDE_EFULL;
    struct sonde_attribute *to = &attributes_of_all[used.attributes];
    for (size_t i = 0; i < count; i++) {
        const char *key = copy_text(from[i].key.text, from[i].key.length);
        to[i] = from[i];
        if (key && from[i].type == SONDE_VALUE_STRING)
            to[i].value.string = copy_text(from[i].value.string, from[i].size);
        if (!key || (from[i].type == SONDE_VALUE_STRING && !to[i].value.string))
            return SONDE_EFULL;
        to[i].key = sonde_key_n(key, from[i].key.length);
    }
    used.attributes += (uint32_t)count;
    *ret_copy = to;
    return 0;
}

static bool attributes_are_good(const struct sonde_attribute *attributes, size_t count) {
    if (count && !attributes)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct sonde_attribute *a = &attributes[i];
        bool text = a->type == SONDE_VALUE_STRING && a->value.string && a->size <= TEXT_MAX;
        if (!a->key.text || !sonde__key_fits(a->key) ||
            !(text || a->type == SONDE_VALUE_BOOL || a->type == SONDE_VALUE_INT64 || a->type == SONDE_VALUE_DOUBLE))
            return false;
    }
    return true;
}

/* ---- the samplers ---- */

const struct sonde_sampler *sonde_sampler_always_on(void) {
    static const struct sonde_sampler always_on = {.kind = SONDE__COMPOSED_ALWAYS_ON, .depth = 1};
    return &always_on;
}

const struct sonde_sampler *sonde_sampler_always_off(void) {
    static const struct sonde_sampler always_off = {.kind = SONDE__COMPOSED_ALWAYS_OFF, .depth = 1};
    return &always_off;
}

int sonde_sampler_probability(double ratio, const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler sampler = {.kind = SONDE__COMPOSED_PROBABILITY, .depth = 1};
    if (!(ratio >= 0 && ratio <= 1))
        return SONDE_EINVALID;
    sampler.threshold = sonde__sampler_threshold(ratio, 4);
    return keep_locked(&sampler, ret_sampler);
}

int sonde_sampler_remote(const struct sonde_sampler *otherwise, const struct sonde_sampler **ret_sampler) {
    return wrap(SONDE__COMPOSED_REMOTE, otherwise, ret_sampler);
}

int sonde_sampler_parent_threshold(const struct sonde_sampler *root, const struct sonde_sampler **ret_sampler) {
    return wrap(SONDE__COMPOSED_PARENT_THRESHOLD, root, ret_sampler);
}

int sonde_sampler_parent_based(const struct sonde_sampler_parents *parents, const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler_parents p = SONDE_SAMPLER_PARENTS_INIT;
    memcpy(&p, parents, parents->size && parents->size < sizeof p ? parents->size : sizeof p);
    struct sonde_sampler sampler = {.kind = SONDE__COMPOSED_PARENT_BASED, .depth = 1, .inner = p.root};
    sampler.parents[0] = p.local_not_sampled;
    sampler.parents[SONDE__PARENT_SAMPLED] = p.local_sampled;
    sampler.parents[SONDE__PARENT_IS_REMOTE] = p.remote_not_sampled;
    sampler.parents[SONDE__PARENT_IS_REMOTE | SONDE__PARENT_SAMPLED] = p.remote_sampled;
    if (!p.root)
        return SONDE_EINVALID;
    contain(&sampler, p.root);
    for (unsigned i = 0; i < 4; i++)
        contain(&sampler, sampler.parents[i]);
    return keep_locked(&sampler, ret_sampler);
}

int sonde_sampler_annotating(const struct sonde_sampler *inner, const struct sonde_attribute *attributes, size_t count,
                             const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler sampler = {
        .kind = SONDE__COMPOSED_ANNOTATING, .depth = 1, .inner = inner, .attribute_count = count};
    if (!inner || !attributes_are_good(attributes, count))
        return SONDE_EINVALID;
    contain(&sampler, inner);
    sonde__lock_take(&lock);
    struct pool before = used;
    int error = copy_attributes(attributes, count, &sampler.attributes);
    if (!error)
        error = keep(&sampler, ret_sampler);
    if (error)
        used = before;
    sonde__lock_release(&lock);
    return error;
}

int sonde_sampler_rate_limiting(double per_second, uint32_t burst, const struct sonde_sampler *inner,
                                const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler sampler = {.kind = SONDE__COMPOSED_RATE, .depth = 1, .inner = inner};
    if (!(per_second >= 0 && per_second <= SONDE__RATE_MAX))
        return SONDE_EINVALID;
    sampler.has_rate = sonde__rate_set(&sampler.rate, per_second, burst);
    if (!sampler.has_rate && per_second > 0)
        return SONDE_EINVALID;
    contain(&sampler, inner);
    return keep_locked(&sampler, ret_sampler);
}

int sonde_sampler_custom(sonde_sampler_fn decide, void *user, const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler sampler = {
        .kind = SONDE__COMPOSED_CUSTOM, .depth = 1, .decide = decide, .user = user, .wants_baggage = true};
    return decide ? keep_locked(&sampler, ret_sampler) : SONDE_EINVALID;
}

/* ---- rules ---- */

static struct sonde_sampler_rule rule_at(const struct sonde_sampler_rule *rules, size_t i) {
    struct sonde_sampler_rule rule = SONDE_SAMPLER_RULE_INIT;
    size_t size = rules->size && rules->size < sizeof rule ? rules->size : sizeof rule;
    memcpy(&rule, (const char *)rules + i * (rules->size ? rules->size : sizeof rule), size);
    return rule;
}

static bool rule_is_good(const struct sonde_sampler_rule *rule) {
    return rule->sampler && rule->kind >= 0 && rule->kind <= SONDE_SPAN_KIND_CONSUMER &&
           rule->parent <= SONDE_PARENT_REMOTE && (!rule->name || strlen(rule->name) <= TEXT_MAX) &&
           (!rule->scope || strlen(rule->scope) <= TEXT_MAX) &&
           attributes_are_good(rule->attributes, rule->attribute_count);
}

/* Under the lock. */
static int keep_rule(const struct sonde_sampler_rule *rule) {
    struct sonde__rule *to = &rules_of_all[used.rules];
    if (used.rules == SONDE_SAMPLER_RULES_MAX)
        return SONDE_EFULL;
    *to = (struct sonde__rule){.kind = rule->kind, .parent = rule->parent, .sampler = rule->sampler};
    to->name = rule->name ? copy_text(rule->name, strlen(rule->name)) : NULL;
    to->scope = rule->scope ? copy_text(rule->scope, strlen(rule->scope)) : NULL;
    to->attribute_count = rule->attribute_count;
    if ((rule->name && !to->name) || (rule->scope && !to->scope))
        return SONDE_EFULL;
    used.rules++;
    return copy_attributes(rule->attributes, rule->attribute_count, &to->attributes);
}

int sonde_sampler_rule_based(const struct sonde_sampler_rule *rules, size_t count,
                             const struct sonde_sampler **ret_sampler) {
    struct sonde_sampler sampler = {.kind = SONDE__COMPOSED_RULES, .depth = 1, .rule_count = count};
    int error = count && !rules ? SONDE_EINVALID : 0;
    for (size_t i = 0; !error && i < count; i++) {
        struct sonde_sampler_rule rule = rule_at(rules, i);
        if (!rule_is_good(&rule))
            error = SONDE_EINVALID;
        contain(&sampler, rule.sampler);
    }
    if (error)
        return error;
    sonde__lock_take(&lock);
    struct pool before = used;
    sampler.rules = &rules_of_all[used.rules];
    for (size_t i = 0; !error && i < count; i++) {
        struct sonde_sampler_rule rule = rule_at(rules, i);
        error = keep_rule(&rule);
    }
    if (!error)
        error = keep(&sampler, ret_sampler);
    if (error)
        used = before;
    sonde__lock_release(&lock);
    return error;
}

/* ---- what the library asks at its start ---- */

bool sonde__sampler_follows_parents(const struct sonde_sampler *sampler) {
    return sampler->kind == SONDE__COMPOSED_PARENT_THRESHOLD ||
           (sampler->kind == SONDE__COMPOSED_PARENT_BASED && !sampler->parents[0] &&
            !sampler->parents[SONDE__PARENT_SAMPLED]);
}

bool sonde__sampler_asks_about_remote(const struct sonde_sampler *sampler) {
    return sampler->kind == SONDE__COMPOSED_PARENT_BASED &&
           (sampler->parents[SONDE__PARENT_IS_REMOTE] ||
            sampler->parents[SONDE__PARENT_IS_REMOTE | SONDE__PARENT_SAMPLED]);
}
