/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/otlp/request.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

enum { FIELD_RESOURCE_ITEMS = 1, FIELD_RESOURCE = 1, FIELD_SCOPE_ITEMS = 2, FIELD_SCOPE = 1, FIELD_SCHEMA_URL = 3 };

static size_t varint_size(size_t value) {
    size_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}
/* A length-delimited field; all field numbers here fit a one-byte tag. */
static size_t field_size(size_t size) {
    return 1 + varint_size(size) + size;
}
static uint8_t *write_header(uint8_t *at, unsigned field, size_t size) {
    *at++ = (uint8_t)(field << 3 | 2);
    for (; size >= 0x80; size >>= 7)
        *at++ = (uint8_t)(size | 0x80);
    *at++ = (uint8_t)size;
    return at;
}
static uint8_t *write_bytes(uint8_t *at, struct sonde_bytes bytes) {
    if (bytes.size)
        memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}
static uint8_t *write_field(uint8_t *at, unsigned field, struct sonde_bytes bytes) {
    return write_bytes(write_header(at, field, bytes.size), bytes);
}

/* Groups of one resource, linked in order of their first piece: next_of[i] is the following group, heads are marked. */
struct plan {
    uint8_t is_head[SONDE__BATCH_GROUPS_MAX];
    uint32_t next_of[SONDE__BATCH_GROUPS_MAX];
    size_t size_of[SONDE__BATCH_GROUPS_MAX];          /* of the Scope* message of a group */
    size_t resource_size_of[SONDE__BATCH_GROUPS_MAX]; /* of the Resource* message, at its head */
};

static size_t group_size(const struct sonde__group *group) {
    size_t size = group->data_size;
    if (group->scope.size)
        size += field_size(group->scope.size);
    if (group->schema_url.size)
        size += field_size(group->schema_url.size);
    return size;
}

static size_t plan_make(const struct sonde__batch *batch, struct plan *plan) {
    size_t total = 0;
    for (uint32_t i = 0; i < batch->group_count; i++) {
        plan->is_head[i] = 1;
        plan->next_of[i] = UINT32_MAX;
        plan->size_of[i] = group_size(&batch->groups[i]);
    }
    for (uint32_t head = 0; head < batch->group_count; head++) {
        if (!plan->is_head[head])
            continue;
        size_t size = batch->groups[head].resource.size ? field_size(batch->groups[head].resource.size) : 0;
        uint32_t last = head;
        size += field_size(plan->size_of[head]);
        for (uint32_t i = head + 1; i < batch->group_count; i++) {
            if (batch->groups[i].resource_id != batch->groups[head].resource_id)
                continue;
            plan->is_head[i] = 0;
            plan->next_of[last] = i;
            last = i;
            size += field_size(plan->size_of[i]);
        }
        plan->resource_size_of[head] = size;
        total += field_size(size);
    }
    return total;
}

static uint8_t *write_group(uint8_t *at, const struct sonde__batch *batch, const struct plan *plan, uint32_t index) {
    const struct sonde__group *group = &batch->groups[index];
    at = write_header(at, FIELD_SCOPE_ITEMS, plan->size_of[index]);
    if (group->scope.size)
        at = write_field(at, FIELD_SCOPE, group->scope);
    for (uint32_t i = group->first; i != SONDE__PIECE_NONE; i = batch->pieces[i].next)
        at = write_bytes(at, batch->pieces[i].data);
    if (group->schema_url.size)
        at = write_field(at, FIELD_SCHEMA_URL, group->schema_url);
    return at;
}

int sonde__otlp_request_encode(const struct sonde_alloc *alloc, const struct sonde__batch *batch, uint8_t **ret_body,
                               size_t *ret_size) {
    struct plan plan;
    size_t size = plan_make(batch, &plan);
    uint8_t *body = sonde_alloc_new(alloc, size);
    if (!body)
        return -ENOMEM;
    uint8_t *at = body;
    for (uint32_t head = 0; head < batch->group_count; head++) {
        if (!plan.is_head[head])
            continue;
        at = write_header(at, FIELD_RESOURCE_ITEMS, plan.resource_size_of[head]);
        if (batch->groups[head].resource.size)
            at = write_field(at, FIELD_RESOURCE, batch->groups[head].resource);
        for (uint32_t i = head; i != UINT32_MAX; i = plan.next_of[i])
            at = write_group(at, batch, &plan, i);
    }
    assert(at == body + size && size <= batch->size);
    *ret_body = body;
    *ret_size = size;
    return 0;
}
