/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/discover/discover.h"
#include "instrumentation/metric/attributes.h"
#include <errno.h>
#include <string.h>

struct sonde_discovered *sonde__discovered_copy(const struct sonde_alloc *alloc, const char *const *fields) {
    size_t sizes[SONDE_DISCOVERED_FIELDS], size = 0;
    for (int i = 0; i < SONDE_DISCOVERED_FIELDS; i++)
        size += sizes[i] = (fields[i] ? strlen(fields[i]) : 0) + 1;
    struct sonde_discovered *copy = sonde_alloc_new(alloc, sizeof *copy + size);
    if (!copy)
        return NULL;
    char *at = (char *)(copy + 1);
    for (int i = 0; i < SONDE_DISCOVERED_FIELDS; i++) {
        copy->fields[i] = at;
        memcpy(at, fields[i] ? fields[i] : "", sizes[i]);
        at += sizes[i];
    }
    copy->hash = sonde__bytes_hash(copy + 1, size, 0);
    return copy;
}

bool sonde__discovered_equals(const struct sonde_discovered *a, const struct sonde_discovered *b) {
    if (a->hash != b->hash)
        return false;
    for (int i = 0; i < SONDE_DISCOVERED_FIELDS; i++)
        if (strcmp(a->fields[i], b->fields[i]) != 0)
            return false;
    return true;
}

int sonde__discovered_add(struct sonde__discovered_set *set, const struct sonde_alloc *alloc,
                          const char *const fields[SONDE_DISCOVERED_FIELDS]) {
    if (set->count == SONDE_DISCOVERED_MAX) {
        set->left_out++;
        return 0;
    }
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 8;
        void *items = alloc->resize(alloc->self, set->items, capacity * sizeof *set->items);
        if (!items)
            return -ENOMEM;
        set->items = items;
        set->capacity = capacity;
    }
    struct sonde_discovered *copy = sonde__discovered_copy(alloc, fields);
    if (!copy)
        return -ENOMEM;
    set->items[set->count++] = copy;
    set->hash += copy->hash * UINT64_C(0x9e3779b97f4a7c15); /* a sum: the order does not matter */
    return 0;
}

void sonde__discovered_deinit(struct sonde__discovered_set *set, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < set->count; i++)
        sonde_alloc_free(alloc, set->items[i]);
    sonde_alloc_free(alloc, set->items);
    *set = (struct sonde__discovered_set){.items = NULL};
}
