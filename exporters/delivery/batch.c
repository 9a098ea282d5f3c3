/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/delivery/batch.h"
#include "exporters/delivery/items.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

/* A group's framing at most: five headers (Resource*, resource, Scope*, scope, schema_url) of a tag and a length below
 * 2^35. */
#define GROUP_FRAMING 30u

struct sonde__batch *sonde__batch_create(const struct sonde_alloc *alloc, enum sonde_signal signal, uint32_t uid) {
    struct sonde__batch *batch = sonde_alloc_new(alloc, sizeof *batch);
    if (batch)
        *batch = (struct sonde__batch){.signal = signal, .uid = uid};
    return batch;
}

void sonde__batch_destroy(const struct sonde_alloc *alloc, struct sonde__batch *batch) {
    if (!batch)
        return;
    sonde_alloc_free(alloc, batch->pieces);
    sonde_alloc_free(alloc, batch->groups);
    sonde_alloc_free(alloc, batch);
}

/* The latest group first: records come in runs of one process. */
static uint32_t batch_find(const struct sonde__batch *batch, const struct sonde_record_view *record) {
    for (uint32_t i = batch->group_count; i-- > 0;) {
        if (batch->groups[i].resource_id == record->resource_id && batch->groups[i].scope_id == record->scope_id)
            return i;
    }
    return batch->group_count;
}

static size_t group_overhead(const struct sonde_record_view *record) {
    return GROUP_FRAMING + record->resource.size + record->scope.size + record->schema_url.size;
}

size_t sonde__batch_growth(const struct sonde__batch *batch, const struct sonde_record_view *record, size_t data_size) {
    return data_size + (batch_find(batch, record) == batch->group_count ? group_overhead(record) : 0);
}

static int grow(const struct sonde_alloc *alloc, void **array, uint32_t *capacity, uint32_t count, size_t item_size,
                uint32_t first_capacity) {
    if (count < *capacity)
        return 0;
    uint32_t larger = *capacity ? *capacity * 2 : first_capacity;
    void *memory = alloc->resize(alloc->self, *array, larger * item_size);
    if (!memory)
        return -ENOMEM;
    *array = memory;
    *capacity = larger;
    return 0;
}

int sonde__batch_add(const struct sonde_alloc *alloc, struct sonde__batch *batch,
                     const struct sonde_record_view *record, struct sonde_bytes data, uint32_t count,
                     uint64_t position) {
    uint32_t group_index = batch_find(batch, record);
    bool new_group = group_index == batch->group_count;
    if (new_group && group_index == SONDE__BATCH_GROUPS_MAX)
        return SONDE_EFULL;
    void *pieces = batch->pieces, *groups = batch->groups;
    int error = grow(alloc, &pieces, &batch->piece_capacity, batch->piece_count, sizeof *batch->pieces, 8);
    batch->pieces = pieces;
    if (!error && new_group)
        error = grow(alloc, &groups, &batch->group_capacity, group_index, sizeof *batch->groups, 2);
    batch->groups = groups;
    if (error)
        return error;
    if (new_group) {
        batch->groups[group_index] = (struct sonde__group){.resource_id = record->resource_id,
                                                           .scope_id = record->scope_id,
                                                           .resource = record->resource,
                                                           .scope = record->scope,
                                                           .schema_url = record->schema_url,
                                                           .first = batch->piece_count,
                                                           .last = batch->piece_count};
        batch->group_count++;
        batch->size += group_overhead(record);
    }
    struct sonde__group *group = &batch->groups[group_index];
    batch->pieces[batch->piece_count] = (struct sonde__piece){
        .data = data, .position = position, .count = count, .group = group_index, .next = SONDE__PIECE_NONE};
    if (!new_group)
        batch->pieces[group->last].next = batch->piece_count;
    group->last = batch->piece_count++;
    group->data_size += data.size;
    batch->items += count;
    batch->size += data.size;
    return 0;
}

/* Adds part of a piece of `from` to another batch. */
static int add_from(const struct sonde_alloc *alloc, struct sonde__batch *to, const struct sonde__batch *from,
                    uint32_t index, struct sonde_bytes data, uint32_t count) {
    const struct sonde__piece *piece = &from->pieces[index];
    const struct sonde__group *group = &from->groups[piece->group];
    const struct sonde_record_view record = {.resource_id = group->resource_id,
                                             .scope_id = group->scope_id,
                                             .resource = group->resource,
                                             .scope = group->scope,
                                             .schema_url = group->schema_url};
    return count ? sonde__batch_add(alloc, to, &record, data, count, piece->position) : 0;
}

/* Where the halves meet: inside (or at the edge of) piece `index`, before its item `count` at byte `size`. */
struct cut {
    uint32_t index, count;
    size_t size;
};

static int batch_middle(const struct sonde__batch *batch, struct cut *ret_cut) {
    uint64_t half = batch->items / 2, before = 0;
    if (half == 0)
        return SONDE_EINVALID;
    uint32_t index = 0;
    while (before + batch->pieces[index].count <= half)
        before += batch->pieces[index++].count;
    *ret_cut = (struct cut){.index = index};
    if (index > 0) /* between records: cheaper, and the guilty one is found among records first */
        return 0;
    const struct sonde__piece *piece = &batch->pieces[0];
    if (batch->piece_count > 1) {
        *ret_cut = (struct cut){.index = 1};
        return 0;
    }
    int error = sonde__items_cut(piece->data, (uint32_t)half, SIZE_MAX, &ret_cut->size, &ret_cut->count);
    return error || ret_cut->count < half || ret_cut->size >= piece->data.size ? SONDE_EINVALID : 0;
}

int sonde__batch_split(const struct sonde_alloc *alloc, const struct sonde__batch *batch,
                       struct sonde__batch **ret_left, struct sonde__batch **ret_right) {
    struct cut cut;
    int error = batch_middle(batch, &cut);
    if (error)
        return error;
    struct sonde__batch *left = sonde__batch_create(alloc, batch->signal, batch->uid);
    struct sonde__batch *right = sonde__batch_create(alloc, batch->signal, batch->uid);
    if (!left || !right)
        error = -ENOMEM;
    for (uint32_t i = 0; i < batch->piece_count && !error; i++) {
        const struct sonde__piece *piece = &batch->pieces[i];
        struct sonde_bytes head = {piece->data.data, cut.size};
        struct sonde_bytes tail = {piece->data.data + cut.size, piece->data.size - cut.size};
        if (i != cut.index || cut.count == 0) {
            error = add_from(alloc, i < cut.index ? left : right, batch, i, piece->data, piece->count);
            continue;
        }
        error = add_from(alloc, left, batch, i, head, cut.count);
        if (!error)
            error = add_from(alloc, right, batch, i, tail, piece->count - cut.count);
    }
    if (error) {
        sonde__batch_destroy(alloc, left);
        sonde__batch_destroy(alloc, right);
        return error;
    }
    *ret_left = left;
    *ret_right = right;
    return 0;
}
