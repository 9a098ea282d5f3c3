/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/trace/slot.h"

#define SPINS_MAX 1000

bool sonde__slot_spin(struct sonde__slot *slot) {
    for (int i = 0; i < SPINS_MAX; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
        if (!atomic_load_explicit(&slot->spin, memory_order_relaxed) &&
            !atomic_exchange_explicit(&slot->spin, 1, memory_order_acquire))
            return true;
    }
    return false;
}

void sonde__count_attributes_dropped(uint64_t count) {
    struct sonde__process *process = sonde__process_get();
    if (process)
        atomic_fetch_add_explicit(&process->attributes_dropped, count, memory_order_relaxed);
}

/* The bytes at `at` that lie in a row, and how many they are. */
static uint8_t *segment(const struct sonde__slot *slot, uint32_t at, uint32_t *ret_size) {
    if (at < SONDE__SLOT_BODY) {
        *ret_size = SONDE__SLOT_BODY - at;
        return (uint8_t *)(uintptr_t)slot->body + at;
    }
    uint32_t past = at - SONDE__SLOT_BODY, within = past % SONDE__EXTENT_SIZE;
    *ret_size = SONDE__EXTENT_SIZE - within;
    return sonde__extent_at(slot->extents[past / SONDE__EXTENT_SIZE] - 1) + within;
}

/* Sees to it that the stream has room up to `end`. Extents taken stay with the slot even when a later one is missing.
 */
static bool grow(struct sonde__slot *slot, uint32_t end) {
    if (end <= SONDE__SLOT_BODY)
        return true;
    if (end > SONDE_SPAN_SIZE_MAX)
        return false;
    uint32_t last = (end - SONDE__SLOT_BODY - 1) / SONDE__EXTENT_SIZE;
    for (uint32_t i = 0; i <= last; i++) {
        if (slot->extents[i])
            continue;
        int extent = sonde__extent_take();
        if (extent < 0)
            return false;
        slot->has_extents = 1;
        slot->extents[i] = (uint16_t)(extent + 1);
    }
    return true;
}

bool sonde__slot_append(struct sonde__slot *slot, const void *bytes, uint32_t size) {
    const uint8_t *from = bytes;
    uint32_t at = sonde__slot_length(slot), end = at + size, room;
    if (size > SONDE_SPAN_SIZE_MAX || !grow(slot, end))
        return false;
    while (at < end) {
        uint8_t *to = segment(slot, at, &room);
        uint32_t part = end - at < room ? end - at : room;
        memcpy(to, from, part);
        from += part;
        at += part;
    }
    sonde__slot_publish(slot, end);
    return true;
}

uint8_t *sonde__slot_room(const struct sonde__slot *slot, uint32_t size) {
    uint32_t at = sonde__slot_length(slot), room;
    if (at + size > SONDE_SPAN_SIZE_MAX ||
        (at >= SONDE__SLOT_BODY && !slot->extents[(at - SONDE__SLOT_BODY) / SONDE__EXTENT_SIZE]))
        return NULL;
    uint8_t *to = segment(slot, at, &room);
    return room >= size ? to : NULL;
}

void sonde__slot_read(const struct sonde__slot *slot, uint32_t at, void *to, uint32_t size) {
    uint8_t *out = to;
    while (size) {
        uint32_t room;
        const uint8_t *from = segment(slot, at, &room);
        uint32_t part = size < room ? size : room;
        memcpy(out, from, part);
        out += part;
        at += part;
        size -= part;
    }
}

void sonde__slot_remove(struct sonde__slot *slot, uint32_t at, uint32_t size) {
    uint32_t end = sonde__slot_length(slot), from = at + size, to = at, from_room, to_room;
    sonde__slot_publish(slot, at); /* whoever looks while bytes move sees what is before them */
    SONDE__COMPILER_BARRIER();
    while (from < end) {
        const uint8_t *source = segment(slot, from, &from_room);
        uint8_t *target = segment(slot, to, &to_room);
        uint32_t part = end - from < from_room ? end - from : from_room;
        if (part > to_room)
            part = to_room;
        memmove(target, source, part);
        from += part;
        to += part;
    }
    if (slot->name_offset > at)
        slot->name_offset = (uint16_t)(slot->name_offset - size);
    sonde__slot_publish(slot, end - size);
}

bool sonde__slot_field(const struct sonde__slot *slot, uint32_t at, struct sonde__field *ret_field) {
    uint8_t head[6]; /* tag, length of up to 5 bytes */
    uint32_t length = sonde__slot_length(slot);
    if (at >= length)
        return false;
    uint32_t have = length - at < sizeof head ? length - at : (uint32_t)sizeof head, used = 1, size = 0;
    sonde__slot_read(slot, at, head, have);
    for (uint32_t shift = 0; used < have; shift += 7) {
        size |= (uint32_t)(head[used] & 0x7F) << shift;
        if (!(head[used++] & 0x80))
            break;
    }
    if (size > length - at - used)
        return false; /* our own bytes: cannot be */
    *ret_field = (struct sonde__field){head[0], at, used + size, at + used, size};
    return true;
}

bool sonde__slot_find_field(const struct sonde__slot *slot, uint32_t tag, struct sonde__field *ret_field) {
    for (uint32_t at = SONDE__BODY_ROOT; sonde__slot_field(slot, at, ret_field); at += ret_field->size)
        if (ret_field->tag == tag)
            return true;
    return false;
}

/* True when the KeyValue in the field has this key: 0A, one byte of length, the bytes. */
static bool has_key(const struct sonde__slot *slot, const struct sonde__field *field, struct sonde_key key) {
    uint8_t head[2 + SONDE_KEY_SIZE_MAX];
    if (field->content_size < 2 + key.length)
        return false;
    sonde__slot_read(slot, field->content_at, head, 2 + key.length);
    return head[1] == key.length && memcmp(head + 2, key.text, key.length) == 0;
}

/* The same search in a body that lies in one piece. Returns the attribute's position, or 0. */
static uint32_t find_key_nearby(const struct sonde__slot *slot, struct sonde_key key) {
    const uint8_t *at = slot->body + SONDE__BODY_ROOT, *end = slot->body + sonde__slot_length(slot);
    while (at < end) {
        const uint8_t *field = at++;
        uint32_t size = *at++;
        for (uint32_t shift = 7; at[-1] & 0x80; shift += 7)
            size = (size & ~(0x80u << (shift - 7))) | (uint32_t)*at++ << shift;
        if (*field == SONDE__TAG_ATTRIBUTE && at[1] == key.length && at[2] == (uint8_t)key.text[0] &&
            memcmp(at + 2, key.text, key.length) == 0)
            return (uint32_t)(field - slot->body);
        at += size;
    }
    return 0;
}

bool sonde__slot_remove_key(struct sonde__slot *slot, struct sonde_key key) {
    struct sonde__field field;
    uint32_t at = SONDE__BODY_ROOT;
    if (sonde__slot_length(slot) <= SONDE__SLOT_BODY && !(at = find_key_nearby(slot, key)))
        return false;
    for (; sonde__slot_field(slot, at, &field); at += field.size) {
        if (field.tag == SONDE__TAG_ATTRIBUTE && has_key(slot, &field, key)) {
            sonde__slot_remove(slot, at, field.size);
            return true;
        }
    }
    return false;
}
