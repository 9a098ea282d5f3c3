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

/* Copies bytes into the stream, which has room for them. */
static void write_at(struct sonde__slot *slot, uint32_t at, const uint8_t *from, uint32_t size) {
    while (size) {
        uint32_t room;
        uint8_t *to = segment(slot, at, &room);
        uint32_t part = size < room ? size : room;
        memcpy(to, from, part);
        from += part;
        at += part;
        size -= part;
    }
}

bool sonde__slot_append(struct sonde__slot *slot, const void *bytes, uint32_t size) {
    return sonde__slot_replace(slot, 0, 0, bytes, size);
}

uint8_t *sonde__slot_row(const struct sonde__slot *slot, uint32_t *ret_size) {
    uint32_t at = sonde__slot_length(slot), left = SONDE_SPAN_SIZE_MAX - at;
    if (at >= SONDE_SPAN_SIZE_MAX ||
        (at >= SONDE__SLOT_BODY && !slot->extents[(at - SONDE__SLOT_BODY) / SONDE__EXTENT_SIZE]))
        return NULL;
    uint8_t *to = segment(slot, at, ret_size);
    *ret_size = *ret_size < left ? *ret_size : left;
    return to;
}

uint8_t *sonde__slot_room(const struct sonde__slot *slot, uint32_t size) {
    uint32_t room;
    uint8_t *to = sonde__slot_row(slot, &room);
    return to && room >= size ? to : NULL;
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

/* Takes `size` bytes at `at` out of a stream of `length` bytes. What is behind moves down in parts no larger than the
 * gap: a part only ever overwrites the gap, and then one store moves the gap behind it. So a process may be killed
 * between any two of these stores, and the stream without the gap is whole (layout.h, agent/receive/recover.c). */
static void close_gap(struct sonde__slot *slot, uint32_t at, uint32_t size, uint32_t length) {
    uint16_t name_offset = (uint16_t)(slot->name_offset > at ? slot->name_offset - size : slot->name_offset);
    atomic_store_explicit(&slot->edit, SONDE__EDIT(at, size, length), memory_order_release);
    SONDE__COMPILER_BARRIER(); /* nor may a part be written before the gap is there */
    while (at + size < length) {
        uint32_t from_room, to_room, left = length - at - size, part = size < left ? size : left;
        const uint8_t *from = segment(slot, at + size, &from_room);
        uint8_t *to = segment(slot, at, &to_room);
        part = part < from_room ? part : from_room;
        part = part < to_room ? part : to_room;
        memcpy(to, from, part);
        at += part;
        atomic_store_explicit(&slot->edit, SONDE__EDIT(at, size, length), memory_order_release);
        SONDE__COMPILER_BARRIER();
    }
    slot->name_offset = name_offset;
    sonde__slot_publish(slot, at);
    atomic_store_explicit(&slot->edit, 0, memory_order_release);
}

void sonde__slot_remove(struct sonde__slot *slot, uint32_t at, uint32_t size) {
    close_gap(slot, at, size, sonde__slot_length(slot));
}

bool sonde__slot_replace(struct sonde__slot *slot, uint32_t at, uint32_t size, const void *bytes, uint32_t new_size) {
    uint32_t length = sonde__slot_length(slot), end = length + new_size;
    if (new_size > SONDE_SPAN_SIZE_MAX || !grow(slot, end))
        return false;
    write_at(slot, length, bytes, new_size);
    if (size)
        close_gap(slot, at, size, end);
    else
        sonde__slot_publish(slot, end);
    return true;
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

bool sonde__slot_find_key(const struct sonde__slot *slot, struct sonde_key key, struct sonde__field *ret_field) {
    uint32_t at = SONDE__BODY_ROOT;
    if (sonde__slot_length(slot) <= SONDE__SLOT_BODY && !(at = find_key_nearby(slot, key)))
        return false;
    for (; sonde__slot_field(slot, at, ret_field); at += ret_field->size)
        if (ret_field->tag == SONDE__TAG_ATTRIBUTE && has_key(slot, ret_field, key))
            return true;
    return false;
}
