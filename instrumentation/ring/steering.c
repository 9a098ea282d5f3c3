/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/steering.h"

#include <string.h>

#define NAME_WORDS ((SONDE__STEERING_NAME_MAX + 1) / 8)
#define TRIES      4u /* a table changes under a reader only when two changes come while it looks */

struct sonde__control *_Atomic sonde__control_page;
_Atomic uint64_t sonde__steering_found;

/* Written once by the link thread; the name is there once the hash is. */
static _Atomic uint64_t own_hash;
static uint64_t own_name[NAME_WORDS];
static const uint64_t all_name[NAME_WORDS] = {'*'};

uint64_t sonde__steering_hash(const char *name, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3u;
    return hash ? hash : 1;
}

void sonde__steering_name_set(const char *name, size_t size) {
    if (atomic_load_explicit(&own_hash, memory_order_relaxed) || !size || size > SONDE__STEERING_NAME_MAX)
        return;
    memcpy(own_name, name, size);
    atomic_store_explicit(&own_hash, sonde__steering_hash(name, size), memory_order_release);
}

static const struct sonde__steering *table_of(const struct sonde__control *page, uint64_t generation) {
    const uint8_t *tables = (const uint8_t *)page + SONDE__STEERING_AT;
    return (const struct sonde__steering *)(const void *)tables + (generation & 1 ? SONDE__STEERINGS : 0);
}

static bool is_row_of(const struct sonde__steering *row, const uint64_t *name) {
    for (size_t i = 0; i < NAME_WORDS; i++)
        if (atomic_load_explicit(&row->name[i], memory_order_relaxed) != name[i])
            return false;
    return true;
}

/* This service's row and that of all, as in sonde__steering_found. */
static uint64_t find(const struct sonde__control *page, uint64_t generation) {
    const struct sonde__steering *table = table_of(page, generation);
    const uint64_t all_hash = sonde__steering_hash("*", 1);
    const uint64_t mine = atomic_load_explicit(&own_hash, memory_order_acquire);
    uint64_t own = SONDE__STEERING_NONE, all = SONDE__STEERING_NONE;
    for (uint32_t i = 0; generation && i < SONDE__STEERINGS; i++) {
        uint64_t hash = atomic_load_explicit(&table[i].hash, memory_order_relaxed);
        if (!hash)
            break;
        if (hash == mine && own == SONDE__STEERING_NONE && is_row_of(&table[i], own_name))
            own = i;
        else if (hash == all_hash && all == SONDE__STEERING_NONE && is_row_of(&table[i], all_name))
            all = i;
    }
    return generation << 16 | own << 8 | all;
}

static uint64_t read_field(const struct sonde__steering *table, uint64_t number, size_t field) {
    if (number >= SONDE__STEERINGS)
        return 0;
    const uint8_t *row = (const uint8_t *)&table[number];
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)(row + field), memory_order_relaxed);
}

uint64_t sonde__steering_look(const struct sonde__control *page, size_t field) {
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t generation = atomic_load_explicit(&page->steering_generation, memory_order_acquire);
        uint64_t found = atomic_load_explicit(&sonde__steering_found, memory_order_relaxed);
        if (found >> 16 != generation << 16 >> 16 || !found)
            found = find(page, generation);
        const struct sonde__steering *table = table_of(page, generation);
        uint64_t value = read_field(table, found >> 8 & 0xFF, field);
        if (!value)
            value = read_field(table, found & 0xFF, field);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&page->steering_generation, memory_order_relaxed) == generation) {
            atomic_store_explicit(&sonde__steering_found, found, memory_order_relaxed);
            return value;
        }
    }
    return 0; /* changed four times while we looked: the next decision sees it */
}

/* ---- the writer ---- */

static void row_write(struct sonde__steering *row, const struct sonde__steering_row *from) {
    uint64_t name[NAME_WORDS] = {0};
    size_t size = strnlen(from->name, SONDE__STEERING_NAME_MAX);
    memcpy(name, from->name, size);
    for (size_t i = 0; i < NAME_WORDS; i++)
        atomic_store_explicit(&row->name[i], name[i], memory_order_relaxed);
    atomic_store_explicit(&row->sampling, from->sampling, memory_order_relaxed);
    atomic_store_explicit(&row->severity, from->severity, memory_order_relaxed);
    atomic_store_explicit(&row->hash, sonde__steering_hash(from->name, size), memory_order_relaxed);
}

void sonde__steering_publish(struct sonde__control *page, const struct sonde__steering_row *rows, size_t count) {
    uint64_t generation = atomic_load_explicit(&page->steering_generation, memory_order_relaxed);
    if (!generation)
        generation = atomic_load_explicit(&page->start_unix_ns, memory_order_relaxed);
    struct sonde__steering *table = (struct sonde__steering *)(uintptr_t)table_of(page, generation + 1);
    for (size_t i = 0; i < SONDE__STEERINGS; i++) {
        if (i < count)
            row_write(&table[i], &rows[i]);
        else
            atomic_store_explicit(&table[i].hash, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&page->steering_generation, generation + 1, memory_order_release);
}
