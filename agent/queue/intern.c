/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/queue/intern.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

#define PART_SIZE_MAX  (1u << 20)
#define CAPACITY_FIRST 16u

static uint64_t hash_bytes(uint64_t state, struct sonde_bytes bytes) {
    for (size_t i = 0; i < bytes.size; i++) {
        state = (state ^ bytes.data[i]) * 0x9E3779B97F4A7C15u;
        state ^= state >> 29;
    }
    return (state ^ bytes.size) * 0xBF58476D1CE4E5B9u;
}

struct sonde__intern_entry *sonde__intern_get(const struct sonde__intern *intern, uint32_t id) {
    if (id == 0 || id > intern->count || !intern->entries[id - 1].bytes)
        return NULL;
    return &intern->entries[id - 1];
}

static bool same_bytes(const uint8_t *kept, struct sonde_bytes bytes) {
    return bytes.size == 0 || memcmp(kept, bytes.data, bytes.size) == 0;
}

static uint32_t find(const struct sonde__intern *intern, uint64_t hash, struct sonde_bytes first,
                     struct sonde_bytes second, uint32_t owner) {
    if (intern->capacity == 0)
        return 0;
    uint32_t id = intern->buckets[hash & (intern->capacity - 1)];
    while (id) {
        const struct sonde__intern_entry *entry = &intern->entries[id - 1];
        if (entry->hash == hash && entry->owner == owner && entry->first_size == first.size &&
            entry->second_size == second.size && same_bytes(entry->bytes, first) &&
            same_bytes(entry->bytes + first.size, second))
            return id;
        id = entry->next;
    }
    return 0;
}

static int grow(struct sonde__intern *intern) {
    uint32_t capacity = intern->capacity ? intern->capacity * 2 : CAPACITY_FIRST;
    uint32_t *buckets = sonde_alloc_new(&intern->alloc, capacity * sizeof *buckets);
    if (!buckets)
        return -ENOMEM;
    void *entries = intern->alloc.resize(intern->alloc.self, intern->entries, capacity * sizeof *intern->entries);
    if (!entries) {
        sonde_alloc_free(&intern->alloc, buckets);
        return -ENOMEM;
    }
    intern->entries = entries;
    memset(buckets, 0, capacity * sizeof *buckets);
    for (uint32_t i = 0; i < intern->count; i++) { /* grown only when no entry is free */
        struct sonde__intern_entry *entry = &intern->entries[i];
        entry->next = buckets[entry->hash & (capacity - 1)];
        buckets[entry->hash & (capacity - 1)] = i + 1;
    }
    sonde_alloc_free(&intern->alloc, intern->buckets);
    intern->buckets = buckets;
    intern->capacity = capacity;
    return 0;
}

static uint32_t take_entry(struct sonde__intern *intern) {
    uint32_t id = intern->free_head;
    if (id)
        intern->free_head = intern->entries[id - 1].next;
    else
        id = ++intern->count;
    return id;
}

int sonde__intern_ref(struct sonde__intern *intern, struct sonde_bytes first, struct sonde_bytes second, uint32_t owner,
                      uint32_t *ret_id) {
    if (first.size > PART_SIZE_MAX || second.size > PART_SIZE_MAX)
        return SONDE_ETOOBIG;
    uint64_t hash = hash_bytes(hash_bytes(intern->seed ^ owner, first), second);
    hash ^= hash >> 32;
    uint32_t id = find(intern, hash, first, second, owner);
    if (id) {
        intern->entries[id - 1].references++;
        *ret_id = id;
        return 0;
    }
    if (!intern->free_head && intern->count == intern->capacity && grow(intern) != 0)
        return -ENOMEM;
    uint8_t *bytes = sonde_alloc_new(&intern->alloc, first.size + second.size + 1); /* never size 0: that frees */
    if (!bytes)
        return -ENOMEM;
    if (first.size)
        memcpy(bytes, first.data, first.size);
    if (second.size)
        memcpy(bytes + first.size, second.data, second.size);
    id = take_entry(intern);
    uint32_t *bucket = &intern->buckets[hash & (intern->capacity - 1)];
    intern->entries[id - 1] = (struct sonde__intern_entry){.references = 1,
                                                           .hash = hash,
                                                           .next = *bucket,
                                                           .owner = owner,
                                                           .first_size = (uint32_t)first.size,
                                                           .second_size = (uint32_t)second.size,
                                                           .bytes = bytes};
    *bucket = id;
    *ret_id = id;
    return 0;
}

bool sonde__intern_ref_id(struct sonde__intern *intern, uint32_t id) {
    if (!sonde__intern_get(intern, id))
        return false;
    intern->entries[id - 1].references++;
    return true;
}

void sonde__intern_unref(struct sonde__intern *intern, uint32_t id) {
    if (!sonde__intern_get(intern, id))
        return;
    struct sonde__intern_entry *entry = &intern->entries[id - 1];
    if (--entry->references > 0)
        return;
    uint32_t *link = &intern->buckets[entry->hash & (intern->capacity - 1)];
    while (*link != id)
        link = &intern->entries[*link - 1].next;
    *link = entry->next;
    sonde_alloc_free(&intern->alloc, entry->bytes);
    *entry = (struct sonde__intern_entry){.next = intern->free_head};
    intern->free_head = id;
}

void sonde__intern_deinit(struct sonde__intern *intern) {
    for (uint32_t i = 0; i < intern->count; i++)
        sonde_alloc_free(&intern->alloc, intern->entries[i].bytes);
    sonde_alloc_free(&intern->alloc, intern->entries);
    sonde_alloc_free(&intern->alloc, intern->buckets);
    struct sonde_alloc alloc = intern->alloc;
    *intern = (struct sonde__intern){.alloc = alloc, .seed = intern->seed};
}
