/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/label_names.h"
#include "exporters/prometheus/escape.h"
#include "exporters/prometheus/name.h"

/* Some hundred bytes each. */
#define NAMES_MAX 1024u

static const char *const prefixes[] = {"", "otel_scope_", "exported_"};

void label_names_init(struct label_names *names, const struct sonde_alloc *alloc,
                      enum sonde_prometheus_strategy strategy, enum sonde_prometheus_escaping escaping) {
    *names = (struct label_names){.alloc = alloc, .strategy = strategy, .escaping = escaping};
    buffer_init(&names->scratch, alloc);
    buffer_init(&names->escaped, alloc);
}

static void forget(struct label_names *names) {
    for (size_t i = 0; i < names->slot_count; i++)
        sonde_alloc_free(names->alloc, names->slots[i]);
    sonde_alloc_free(names->alloc, names->slots);
    names->slots = NULL;
    names->count = names->slot_count = 0;
    memset(names->hints, 0, sizeof names->hints);
}

void label_names_deinit(struct label_names *names) {
    forget(names);
    buffer_deinit(&names->scratch);
    buffer_deinit(&names->escaped);
}

void label_names_trim(struct label_names *names) {
    if (names->count > NAMES_MAX)
        forget(names);
}

static void slot_put(struct label_name **slots, size_t slot_count, struct label_name *name) {
    size_t at = (size_t)name->key_hash & (slot_count - 1);
    while (slots[at])
        at = (at + 1) & (slot_count - 1);
    slots[at] = name;
}

static bool slots_reserve(struct label_names *names) {
    if (names->slot_count > 2 * names->count)
        return true;
    size_t count = names->slot_count ? names->slot_count * 2 : 64;
    struct label_name **slots = sonde_alloc_new(names->alloc, count * sizeof(struct label_name *));
    if (!slots)
        return false;
    memset(slots, 0, count * sizeof(struct label_name *));
    for (size_t i = 0; i < names->slot_count; i++)
        if (names->slots[i])
            slot_put(slots, count, names->slots[i]);
    sonde_alloc_free(names->alloc, names->slots);
    names->slots = slots;
    names->slot_count = count;
    return true;
}

static bool is(const char *key, size_t size, const char *text) {
    return size == strlen(text) && memcmp(key, text, size) == 0;
}

static struct label_name *add(struct label_names *names, enum label_prefix prefix, const char *key, size_t size,
                              uint64_t hash) {
    struct buffer *text = &names->escaped;
    names->scratch.size = text->size = 0;
    buffer_text(&names->scratch, prefixes[prefix]);
    if (sonde_prometheus_label_name(&names->scratch, key, size, names->strategy))
        escape_name(text, names->scratch.data, names->scratch.size, true, names->escaping);
    if (names->scratch.failed || text->failed || !slots_reserve(names))
        return NULL;
    struct label_name *name = sonde_alloc_new(names->alloc, sizeof *name + size + text->size + 1);
    if (!name)
        return NULL;
    char *copy = (char *)(name + 1);
    if (size)
        memcpy(copy, key, size);
    if (text->size)
        memcpy(copy + size, text->data, text->size);
    *name = (struct label_name){.key_hash = hash,
                                .hash = label_hash(text->data, text->size, 1),
                                .key = copy,
                                .text = copy + size,
                                .key_size = (uint32_t)size,
                                .size = (uint32_t)text->size,
                                .is_quoted = !escape_is_plain(text->data, text->size, true),
                                .is_identity = is(key, size, "job") || is(key, size, "instance"),
                                .is_le = is(key, size, "le"),
                                .prefix = (unsigned char)prefix};
    slot_put(names->slots, names->slot_count, name);
    names->count++;
    return name;
}

const struct label_name *label_names_find(struct label_names *names, enum label_prefix prefix, const char *key,
                                          size_t size) {
    uint64_t hash = label_hash(key, size, prefix);
    for (size_t at = (size_t)hash; names->slot_count; at++) {
        struct label_name *name = names->slots[at & (names->slot_count - 1)];
        if (!name)
            break;
        if (name->key_hash == hash && name->prefix == prefix && name->key_size == size &&
            memcmp(name->key, key, size) == 0)
            return name;
    }
    return add(names, prefix, key, size, hash);
}
