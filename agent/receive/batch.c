/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/receive/batch.h"
#include "instrumentation/wire/block.h"
#include <errno.h>
#include <string.h>

#define RUN_CAPACITY_FIRST (16u << 10)
#define FRAME_SIZE_MAX     6u  /* tag and a length of up to 5 bytes */
#define SLACK              64u /* block copies may read or write this far past a record */

void sonde__intake_init(struct sonde__intake *batch, const struct sonde_alloc *alloc) {
    *batch = (struct sonde__intake){.alloc = *alloc};
}

void sonde__intake_deinit(struct sonde__intake *batch) {
    for (uint32_t i = 0; i < batch->run_capacity; i++)
        sonde_alloc_free(&batch->alloc, batch->runs[i].data);
    sonde_alloc_free(&batch->alloc, batch->runs);
    sonde__intake_init(batch, &batch->alloc);
}

void sonde__intake_reset(struct sonde__intake *batch) {
    for (uint32_t i = 0; i < batch->run_count; i++) {
        batch->runs[i].size = 0;
        batch->runs[i].count = 0;
        batch->runs[i].appended = false;
    }
    batch->run_count = batch->last = 0;
    batch->size = 0;
    batch->sequence = 0;
}

static struct sonde__run *run_make(struct sonde__intake *batch, enum sonde_signal signal, uint32_t scope_id) {
    if (batch->run_count == batch->run_capacity) {
        uint32_t capacity = batch->run_capacity ? batch->run_capacity * 2 : 4;
        struct sonde__run *runs = batch->alloc.resize(batch->alloc.self, batch->runs, capacity * sizeof *runs);
        if (!runs)
            return NULL;
        memset(runs + batch->run_capacity, 0, (capacity - batch->run_capacity) * sizeof *runs);
        batch->runs = runs;
        batch->run_capacity = capacity;
    }
    struct sonde__run *run = &batch->runs[batch->run_count++];
    run->signal = signal;
    run->scope_id = scope_id;
    return run;
}

static struct sonde__run *run_find(struct sonde__intake *batch, enum sonde_signal signal, uint32_t scope_id) {
    uint32_t i = batch->last;
    if (i < batch->run_count && batch->runs[i].signal == (uint32_t)signal && batch->runs[i].scope_id == scope_id)
        return &batch->runs[i];
    for (i = 0; i < batch->run_count; i++) {
        if (batch->runs[i].signal == (uint32_t)signal && batch->runs[i].scope_id == scope_id) {
            batch->last = i;
            return &batch->runs[i];
        }
    }
    return run_make(batch, signal, scope_id);
}

static int run_reserve(struct sonde__intake *batch, struct sonde__run *run, size_t more) {
    if (__builtin_expect(run->capacity - run->size >= more, 1))
        return 0;
    size_t capacity = run->capacity ? run->capacity * 2 : RUN_CAPACITY_FIRST;
    while (capacity - run->size < more)
        capacity *= 2;
    uint8_t *data = batch->alloc.resize(batch->alloc.self, run->data, capacity);
    if (!data)
        return -ENOMEM;
    run->data = data;
    run->capacity = capacity;
    return 0;
}

uint8_t *sonde__intake_room(struct sonde__intake *batch, size_t size) {
    if (batch->run_capacity == 0) {
        if (!run_make(batch, SONDE_SIGNAL_TRACES, 0))
            return NULL;
        batch->run_count = 0; /* the buffer of the next run, whatever that will be for */
    }
    struct sonde__run *run = &batch->runs[batch->last];
    return run_reserve(batch, run, size + SLACK) == 0 ? run->data + run->size : NULL;
}

/* Copies to a lower place, which may overlap; blocks may write into the gap between the two. */
static inline void move_down(uint8_t *to, const uint8_t *from, uint32_t size) {
    if (__builtin_expect(from - to >= 64, 1))
        sonde__copy_over64(to, from, size);
    else
        memmove(to, from, size);
}

static inline uint8_t *put_size(uint8_t *p, uint32_t size) {
    if (__builtin_expect(size >= 0x80 && size < 0x4000, 1)) {
        sonde__store16(p, (size & 0x7F) | 0x80 | (size >> 7) << 8);
        return p + 2;
    }
    for (; size >= 0x80; size >>= 7)
        *p++ = (uint8_t)(size | 0x80);
    *p++ = (uint8_t)size;
    return p;
}

int sonde__intake_add(struct sonde__intake *batch, enum sonde_signal signal, uint32_t scope_id, const void *body,
                      uint32_t size) {
    struct sonde__run *run = run_find(batch, signal, scope_id);
    if (!run)
        return -ENOMEM;
    uintptr_t from = (uintptr_t)body, room = (uintptr_t)run->data + run->size;
    bool in_room = from >= room && from < (uintptr_t)run->data + run->capacity;
    if (!in_room && run_reserve(batch, run, size + FRAME_SIZE_MAX) != 0)
        return -ENOMEM;
    uint8_t *start = run->data + run->size;
    *start = 0x12;
    uint8_t *p = put_size(start + 1, size);
    if (in_room)
        move_down(p, body, size);
    else
        memcpy(p, body, size);
    size_t added = (size_t)(p - start) + size;
    run->size += added;
    run->count++;
    batch->size += added;
    return 0;
}
