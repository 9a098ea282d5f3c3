/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of a span. The short ones are encoded straight into the slot; the rest goes by the thread's scratch.
 * A key that was set before is replaced: two masks of 64 bits prove nearly every key new without a search. */
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/encode.h"
#include "instrumentation/wire/writer.h"

static inline bool key_is_known(const struct sonde__slot *slot, struct sonde_key key) {
    return (slot->key_bits[0] >> key.bits[0]) & (slot->key_bits[1] >> key.bits[1]) & 1;
}

/* Publishes an attribute that was encoded up to `end`. */
static inline void publish(struct sonde__slot *slot, struct sonde_key key, const uint8_t *end) {
    slot->key_bits[0] |= (uint64_t)1 << key.bits[0];
    slot->key_bits[1] |= (uint64_t)1 << key.bits[1];
    slot->attributes++;
    sonde__slot_publish(slot, (uint32_t)(end - slot->body));
}

/* Where a short attribute may be encoded at once, or NULL: bad or known key, no room in the slot, limit reached. */
static inline uint8_t *short_room(struct sonde__slot *slot, struct sonde_key key, size_t value_size) {
    uint32_t length = sonde__slot_length(slot);
    if (SONDE__LIKELY(sonde__key_fits(key) && value_size + key.length <= SONDE__ENCODE_TEXT_MAX &&
                      length + value_size + key.length + SONDE__ENCODE_OVERHEAD <= SONDE__SLOT_BODY &&
                      slot->attributes < sonde__settings.span_attribute_count_limit && !key_is_known(slot, key)))
        return slot->body + length;
    return NULL;
}

static void drop(struct sonde__slot *slot) {
    sonde__count16(&slot->attributes_dropped);
    sonde__count_attributes_dropped(1);
}

/* Any attribute, with the slot taken. */
static __attribute__((noinline)) void set_slow(struct sonde__thread *thread, struct sonde__slot *slot,
                                               const struct sonde_attribute *attribute) {
    struct sonde_key key = attribute->key;
    struct sonde__writer writer;
    if (!sonde__attribute_fits(attribute)) {
        drop(slot);
        return;
    }
    if (!sonde__utf8_is_valid(key.text, key.length)) { /* compared as it will be recorded */
        char repaired[3 * SONDE_KEY_SIZE_MAX];
        size_t size = sonde__utf8_repaired_size(key.text, key.length);
        struct sonde_attribute copy = *attribute;
        sonde__utf8_repair((uint8_t *)repaired, key.text, key.length);
        copy.key = sonde_key_n(repaired, size);
        set_slow(thread, slot, &copy);
        return;
    }
    sonde__writer_init(&writer, thread->scratch, SONDE_SPAN_SIZE_MAX);
    sonde__write_attribute(&writer, SONDE__TAG_ATTRIBUTE >> 3, attribute, sonde__settings.attribute_value_length_limit);
    if (key_is_known(slot, key) && sonde__slot_remove_key(slot, key))
        slot->attributes--;
    if (writer.full || slot->attributes >= sonde__settings.span_attribute_count_limit ||
        !sonde__slot_append(slot, writer.start, (uint32_t)sonde__writer_size(&writer))) {
        drop(slot);
        return;
    }
    slot->key_bits[0] |= (uint64_t)1 << key.bits[0];
    slot->key_bits[1] |= (uint64_t)1 << key.bits[1];
    slot->attributes++;
}

void sonde_span_set_string(struct sonde_span *span, struct sonde_key key, const char *value, size_t size) {
    struct sonde__edit edit;
    if (!value || !sonde__edit_begin(&edit, span))
        return;
    uint64_t seen = 1;
    uint8_t *at = short_room(edit.slot, key, size);
    if (SONDE__LIKELY(at && size <= sonde__settings.attribute_value_length_limit))
        at = sonde__encode_string(at, SONDE__TAG_ATTRIBUTE, key, value, size, &seen);
    if (SONDE__LIKELY(!seen)) {
        publish(edit.slot, key, at);
    } else {
        struct sonde_attribute attribute = sonde_attribute_string_n(key, value, size);
        set_slow(edit.thread, edit.slot, &attribute);
    }
    sonde__edit_end(&edit);
}

void sonde_span_set_cstr(struct sonde_span *span, struct sonde_key key, const char *value) {
    if (value && span->slot)
        sonde_span_set_string(span, key, value, strlen(value));
}

void sonde_span_set_int64(struct sonde_span *span, struct sonde_key key, int64_t value) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    uint64_t seen = 1;
    uint8_t *at = short_room(edit.slot, key, 9); /* 9 + 4 = tags, lengths and 10 bytes of varint */
    if (SONDE__LIKELY(at))
        at = sonde__encode_int64(at, SONDE__TAG_ATTRIBUTE, key, value, &seen);
    if (SONDE__LIKELY(!seen)) {
        publish(edit.slot, key, at);
    } else {
        struct sonde_attribute attribute = sonde_attribute_int64(key, value);
        set_slow(edit.thread, edit.slot, &attribute);
    }
    sonde__edit_end(&edit);
}

void sonde_span_set_double(struct sonde_span *span, struct sonde_key key, double value) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    uint64_t seen = 1;
    uint8_t *at = short_room(edit.slot, key, 9);
    if (SONDE__LIKELY(at))
        at = sonde__encode_double(at, SONDE__TAG_ATTRIBUTE, key, value, &seen);
    if (SONDE__LIKELY(!seen)) {
        publish(edit.slot, key, at);
    } else {
        struct sonde_attribute attribute = sonde_attribute_double(key, value);
        set_slow(edit.thread, edit.slot, &attribute);
    }
    sonde__edit_end(&edit);
}

void sonde_span_set_bool(struct sonde_span *span, struct sonde_key key, bool value) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    uint64_t seen = 1;
    uint8_t *at = short_room(edit.slot, key, 0);
    if (SONDE__LIKELY(at))
        at = sonde__encode_bool(at, SONDE__TAG_ATTRIBUTE, key, value, &seen);
    if (SONDE__LIKELY(!seen)) {
        publish(edit.slot, key, at);
    } else {
        struct sonde_attribute attribute = sonde_attribute_bool(key, value);
        set_slow(edit.thread, edit.slot, &attribute);
    }
    sonde__edit_end(&edit);
}

void sonde_span_set(struct sonde_span *span, const struct sonde_attribute *attribute) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    set_slow(edit.thread, edit.slot, attribute);
    sonde__edit_end(&edit);
}

void sonde_span_set_bytes(struct sonde_span *span, struct sonde_key key, const void *value, size_t size) {
    struct sonde_attribute attribute = {.key = key, .type = SONDE_VALUE_BYTES, .size = size, .value.bytes = value};
    if (value || !size)
        sonde_span_set(span, &attribute);
}
