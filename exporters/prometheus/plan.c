/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/plan.h"
#include "exporters/prometheus/escape.h"
#include "exporters/prometheus/label_names.h"
#include "exporters/prometheus/name.h"
#include <stdlib.h>

#define TARGET_INFO "target_info"

void plan_init(struct plan *plan, const struct sonde_alloc *alloc, enum sonde_prometheus_strategy strategy,
               enum sonde_prometheus_escaping escaping) {
    *plan = (struct plan){.strategy = strategy, .escaping = escaping};
    struct buffer *buffers[] = {&plan->names, &plan->families, &plan->entries, &plan->slots, &plan->translated};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_init(buffers[i], alloc);
}

void plan_deinit(struct plan *plan) {
    struct buffer *buffers[] = {&plan->names, &plan->families, &plan->entries, &plan->slots, &plan->translated};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        buffer_deinit(buffers[i]);
}

bool plan_failed(const struct plan *plan) {
    return plan->names.failed || plan->families.failed || plan->entries.failed || plan->slots.failed ||
           plan->translated.failed;
}

enum plan_type plan_type_of(enum sonde_instrument_kind kind) {
    return kind == SONDE_COUNTER ? PLAN_COUNTER : kind == SONDE_HISTOGRAM ? PLAN_HISTOGRAM : PLAN_GAUGE;
}

size_t plan_count(const struct plan *plan) {
    return plan->families.size / sizeof(struct plan_family);
}
static struct plan_family *families_of(const struct plan *plan) {
    return (struct plan_family *)(void *)plan->families.data;
}
const struct plan_family *plan_at(const struct plan *plan, size_t index) {
    return &families_of(plan)[index];
}
const char *plan_name(const struct plan *plan, const struct plan_family *family) {
    return plan->names.data + family->name_at;
}
const struct plan_entry *plan_entry(const struct plan *plan, uint32_t number) {
    return number ? &((const struct plan_entry *)(const void *)plan->entries.data)[number - 1] : NULL;
}

static uint32_t *slots_of(const struct plan *plan, size_t *ret_count) {
    *ret_count = plan->slots.size / sizeof(uint32_t);
    return (uint32_t *)(void *)plan->slots.data;
}

static void slot_put(struct plan *plan, uint32_t index) {
    size_t count;
    uint32_t *slots = slots_of(plan, &count);
    size_t at = (size_t)families_of(plan)[index].hash & (count - 1);
    while (slots[at])
        at = (at + 1) & (count - 1);
    slots[at] = index + 1;
}

static void slots_rebuild(struct plan *plan) {
    memset(plan->slots.data, 0, plan->slots.size);
    for (uint32_t i = 0; i < plan_count(plan); i++)
        slot_put(plan, i);
}

static bool slots_reserve(struct plan *plan) {
    size_t count;
    (void)slots_of(plan, &count);
    if (count > 2 * plan_count(plan))
        return true;
    size_t wanted = count ? 2 * count : 128;
    if (!buffer_reserve(&plan->slots, wanted * sizeof(uint32_t) - plan->slots.size))
        return false;
    plan->slots.size = wanted * sizeof(uint32_t);
    slots_rebuild(plan);
    return true;
}

static struct plan_family *find(const struct plan *plan, const char *name, size_t size, uint64_t hash) {
    size_t count;
    const uint32_t *slots = slots_of(plan, &count);
    for (size_t at = (size_t)hash; count && slots[at & (count - 1)]; at++) {
        struct plan_family *family = &families_of(plan)[slots[at & (count - 1)] - 1];
        if (family->hash == hash && family->name_size == size && memcmp(plan_name(plan, family), name, size) == 0)
            return family;
    }
    return NULL;
}

const struct plan_family *plan_find(const struct plan *plan, const char *name, size_t size) {
    return find(plan, name, size, label_hash(name, size, 0));
}

static struct plan_family *family_add(struct plan *plan, const char *name, size_t size, uint64_t hash) {
    if (!slots_reserve(plan) || !buffer_reserve(&plan->names, size + 1) ||
        !buffer_reserve(&plan->families, sizeof(struct plan_family)))
        return NULL;
    struct plan_family family = {.hash = hash, .name_at = plan->names.size, .name_size = (uint32_t)size};
    buffer_put(&plan->names, name, size);
    buffer_char(&plan->names, '\0');
    buffer_put(&plan->families, &family, sizeof family);
    slot_put(plan, (uint32_t)plan_count(plan) - 1);
    return &families_of(plan)[plan_count(plan) - 1];
}

/* Appends the name as the scrape shows it. */
static bool translate(struct plan *plan, const struct sonde_metric *metric, struct buffer *to) {
    bool escapes = plan->strategy >= SONDE_PROMETHEUS_UTF8_WITH_SUFFIXES;
    struct buffer *first = escapes ? &plan->names : to; /* scratch at its end */
    size_t from = first->size;
    if (!sonde_prometheus_metric_name(first, metric->name, metric->unit, metric->kind, plan->strategy))
        return false;
    if (escapes) {
        escape_name(to, first->data + from, first->size - from, false, plan->escaping);
        first->size = from;
    }
    return true;
}

static bool is(const struct buffer *name, const char *text) {
    return name->size == strlen(text) && memcmp(name->data, text, name->size) == 0;
}

/* Its family is target_info; in OpenMetrics target, which a counter target_total would be, too. */
static bool is_target(const struct plan *plan, const struct buffer *name) {
    return is(name, TARGET_INFO) || (plan->is_openmetrics && (is(name, "target") || is(name, "target_total")));
}

void plan_add(struct plan *plan, const struct sonde_metric *metric) {
    struct buffer *name = &plan->translated;
    name->size = 0;
    if (!translate(plan, metric, name)) {
        plan->refused++;
        return;
    }
    if (is_target(plan, name)) {
        plan->conflicts++;
        return;
    }
    uint64_t hash = label_hash(name->data, name->size, 0);
    struct plan_family *family = find(plan, name->data, name->size, hash);
    if (family && family->type != plan_type_of(metric->kind)) {
        plan->conflicts++;
        return;
    }
    if (!buffer_reserve(&plan->entries, sizeof(struct plan_entry)))
        return;
    bool is_new = !family;
    if (is_new)
        family = family_add(plan, name->data, name->size, hash);
    if (!family)
        return;
    struct plan_entry entry = {.source = metric->source, .id = metric->id};
    buffer_put(&plan->entries, &entry, sizeof entry);
    struct plan_entry *entries = (struct plan_entry *)(void *)plan->entries.data;
    uint32_t number = (uint32_t)(plan->entries.size / sizeof entry);
    if (is_new) {
        family->type = (unsigned char)plan_type_of(metric->kind);
        family->first = number;
    } else {
        entries[family->last - 1].next = number;
    }
    family->last = number;
}

static int family_order(const void *a, const void *b, void *names) {
    return strcmp((const char *)names + ((const struct plan_family *)a)->name_at,
                  (const char *)names + ((const struct plan_family *)b)->name_at);
}

/* Would its name be that of a sample of another family? */
static bool clashes(const struct plan *plan, const struct plan_family *family, bool has_created) {
    static const struct {
        const char *suffix;
        bool of_counters;
    } rows[] = {{"_bucket", false}, {"_sum", false}, {"_count", false}, {"_created", true}};
    const char *name = plan_name(plan, family);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = strlen(rows[i].suffix);
        char total[300];
        if (family->name_size <= size || strcmp(name + family->name_size - size, rows[i].suffix) != 0 ||
            (rows[i].of_counters && !has_created))
            continue;
        size_t stem = family->name_size - size;
        const struct plan_family *other = plan_find(plan, name, stem);
        if (other && other->type == PLAN_HISTOGRAM)
            return true;
        if (!rows[i].of_counters || stem + 6 > sizeof total)
            continue;
        memcpy(total, name, stem);
        memcpy(total + stem, "_total", 6);
        other = plan_find(plan, total, stem + 6);
        if (other && other->type == PLAN_COUNTER)
            return true;
    }
    return false;
}

void plan_finish(struct plan *plan, bool has_created) {
    if (!plan_count(plan) || plan_failed(plan))
        return;
    qsort_r(plan->families.data, plan_count(plan), sizeof(struct plan_family), family_order, plan->names.data);
    slots_rebuild(plan);
    for (size_t i = 0; i < plan_count(plan); i++) {
        struct plan_family *family = &families_of(plan)[i];
        family->is_left_out = clashes(plan, family, has_created);
        plan->conflicts += family->is_left_out;
    }
}
