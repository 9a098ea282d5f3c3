/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of a span. The short ones are encoded straight into the slot; the rest goes by the thread's scratch.
 * A key that was set before is replaced: two masks of 64 bits prove nearly every key new without a search. */
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/encode.h"
#include "instrumentation/wire/writer.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

static inline bool key_is_known(const struct sonde__slot *slot, struct sonde_key key) {
    return (slot->key_bits[0] >> (key.bits[0] & 63)) & (slot->key_bits[1] >> (key.bits[1] & 63)) & 1;
}
/* May be noted before the attribute is there, and for nothing: then a search finds nothing, that is all. The barrier
 * keeps the two from being joined into one vector, which takes longer. */
static inline void note_key(struct sonde__slot *slot, struct sonde_key key) {
    slot->key_bits[0] |= (uint64_t)1 << (key.bits[0] & 63);
    SONDE__COMPILER_BARRIER();
    slot->key_bits[1] |= (uint64_t)1 << (key.bits[1] & 63);
}

/* Publishes an attribute that was encoded from `at` to `end`. */
static inline void publish(struct sonde__slot *slot, uint64_t fill, const uint8_t *at, const uint8_t *end) {
    sonde__slot_fill_publish(slot, fill + (uint64_t)(end - at) + SONDE__FILL_ATTRIBUTE);
}

static inline bool key_is_perhaps_known(const struct sonde__slot *slot, struct sonde_key key) {
    return (slot->key_bits[0] >> (key.bits[0] & 63)) & 1;
}
/* Where a short attribute with a new key may be encoded, or NULL: no room for any in the slot, limit reached. */
static inline uint8_t *short_room(struct sonde__slot *slot, struct sonde_key key, uint64_t fill) {
    uint32_t length = (uint32_t)fill;
    if (SONDE__UNLIKELY(length > SONDE__SLOT_BODY - SONDE__ENCODE_TEXT_MAX - SONDE__ENCODE_OVERHEAD ||
                        fill >> 48 >= sonde__settings.span_attribute_count_limit))
        return NULL;
    note_key(slot, key);
    return slot->body + length;
}

/* Short attributes with a new key. put_*: false when it is not short after all; nothing is published then. */
static inline bool string_is_short(struct sonde_key key, size_t size) {
    return sonde__key_fits(key) && size + key.length <= SONDE__ENCODE_TEXT_MAX;
}
static ALWAYS_INLINE bool put_string(struct sonde__slot *slot, struct sonde_key key, int padded, const char *value,
                                     size_t size) {
    uint64_t seen, fill = sonde__slot_fill(slot);
    uint8_t *at = short_room(slot, key, fill);
    if (SONDE__UNLIKELY(!at || size > sonde__settings.attribute_value_length_limit))
        return false;
    uint8_t *end = sonde__encode_string(at, SONDE__TAG_ATTRIBUTE, key, padded, value, size, &seen);
    if (SONDE__LIKELY(!seen))
        publish(slot, fill, at, end);
    return !seen;
}
#define NUMBER_SIZE 9u /* with SONDE__ENCODE_OVERHEAD: tags, lengths and a varint of 10 bytes */
static inline bool number_is_short(struct sonde_key key) {
    return key.length - 1u < SONDE__ENCODE_TEXT_MAX - NUMBER_SIZE;
}
static ALWAYS_INLINE bool put_int64(struct sonde__slot *slot, struct sonde_key key, int padded, int64_t value) {
    uint64_t seen, fill = sonde__slot_fill(slot);
    uint8_t *at = short_room(slot, key, fill);
    if (SONDE__UNLIKELY(!at))
        return false;
    uint8_t *end = sonde__encode_int64(at, SONDE__TAG_ATTRIBUTE, key, padded, value, &seen);
    if (SONDE__LIKELY(!seen))
        publish(slot, fill, at, end);
    return !seen;
}
static ALWAYS_INLINE bool put_double(struct sonde__slot *slot, struct sonde_key key, int padded, double value) {
    uint64_t seen, fill = sonde__slot_fill(slot);
    uint8_t *at = short_room(slot, key, fill);
    if (SONDE__UNLIKELY(!at))
        return false;
    uint8_t *end = sonde__encode_double(at, SONDE__TAG_ATTRIBUTE, key, padded, value, &seen);
    if (SONDE__LIKELY(!seen))
        publish(slot, fill, at, end);
    return !seen;
}
static ALWAYS_INLINE bool put_bool(struct sonde__slot *slot, struct sonde_key key, int padded, bool value) {
    uint64_t seen, fill = sonde__slot_fill(slot);
    uint8_t *at = short_room(slot, key, fill);
    if (SONDE__UNLIKELY(!at))
        return false;
    uint8_t *end = sonde__encode_bool(at, SONDE__TAG_ATTRIBUTE, key, padded, value, &seen);
    if (SONDE__LIKELY(!seen))
        publish(slot, fill, at, end);
    return !seen;
}

static void drop(struct sonde__slot *slot) {
    sonde__count16(&slot->attributes_dropped);
    sonde__count_attributes_dropped(1);
}

/* Appends an encoded attribute, or puts it in the place of the one with its key. False: the limit is reached, or it
 * does not fit; there is none with its key then. */
static bool put(struct sonde__slot *slot, struct sonde_key key, const struct sonde__writer *writer) {
    struct sonde__field old = {.size = 0};
    uint32_t size = (uint32_t)sonde__writer_size(writer);
    bool had = key_is_known(slot, key) && sonde__slot_find_key(slot, key, &old);
    bool done = !writer->full && (had || slot->attributes < sonde__settings.span_attribute_count_limit) &&
                sonde__slot_replace(slot, old.at, had ? old.size : 0, writer->start, size);
    if (!done && had) { /* no room for both of them: the old one goes first */
        sonde__slot_remove(slot, old.at, old.size);
        slot->attributes--;
        had = false;
        done = !writer->full && sonde__slot_append(slot, writer->start, size);
    }
    if (done) {
        note_key(slot, key);
        slot->attributes = (uint16_t)(slot->attributes + !had);
    }
    return done;
}

/* Any attribute, with the slot taken. */
static void set_slow(struct sonde__thread *thread, struct sonde__slot *slot, const struct sonde_attribute *attribute) {
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
    if (!put(slot, key, &writer))
        drop(slot);
}

/* Each setter in two halves: one that makes no calls, for an attribute that is short and new; and one for the rest. */
static SONDE__COLD void set_string_slow(struct sonde_span *span, const char *text, uint64_t rest, const char *value,
                                        size_t size) {
    struct sonde_key key = sonde__key_whole(text, rest);
    struct sonde_attribute attribute = sonde_attribute_string_n(key, value, size);
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    if (!string_is_short(key, size) || key_is_known(edit.slot, key) ||
        !put_string(edit.slot, key, key.padded, value, size))
        set_slow(edit.thread, edit.slot, &attribute);
    sonde__edit_end(&edit);
}

static ALWAYS_INLINE void set_string(struct sonde_span *span, struct sonde_key key, int padded, const char *value,
                                     size_t size) {
    const uint64_t rest = sonde__key_rest(key);
    struct sonde__edit edit;
    if (SONDE__LIKELY(string_is_short(key, size) && sonde__edit_try(&edit, span))) {
        bool done = !key_is_perhaps_known(edit.slot, key) && put_string(edit.slot, key, padded, value, size);
        sonde__edit_end(&edit);
        if (SONDE__LIKELY(done))
            return;
    }
    set_string_slow(span, key.text, rest, value, size);
}
/* The same for keys that were made at run time. */
static __attribute__((noinline)) SONDE__HOT void set_string_any(struct sonde_span *span, const char *text,
                                                                uint64_t rest, const char *value, size_t size) {
    struct sonde_key key = sonde__key_whole(text, rest);
    set_string(span, key, 0, value, size);
}

SONDE__HOT void sonde_span_set_string(struct sonde_span *span, struct sonde_key key, const char *value, size_t size) {
    if (!span->slot || !value)
        return;
    if (SONDE__LIKELY(key.padded))
        set_string(span, key, 1, value, size);
    else
        set_string_any(span, key.text, sonde__key_rest(key), value, size);
}

SONDE__HOT void sonde_span_set_cstr(struct sonde_span *span, struct sonde_key key, const char *value) {
    if (span->slot && value)
        sonde_span_set_string(span, key, value, strlen(value));
}

static SONDE__COLD void set_int64_slow(struct sonde_span *span, const char *text, uint64_t rest, int64_t value) {
    struct sonde_key key = sonde__key_whole(text, rest);
    struct sonde_attribute attribute = sonde_attribute_int64(key, value);
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    if (!number_is_short(key) || key_is_known(edit.slot, key) || !put_int64(edit.slot, key, key.padded, value))
        set_slow(edit.thread, edit.slot, &attribute);
    sonde__edit_end(&edit);
}

static ALWAYS_INLINE void set_int64(struct sonde_span *span, struct sonde_key key, int padded, int64_t value) {
    const uint64_t rest = sonde__key_rest(key);
    struct sonde__edit edit;
    if (SONDE__LIKELY(number_is_short(key) && sonde__edit_try(&edit, span))) {
        bool done = !key_is_perhaps_known(edit.slot, key) && put_int64(edit.slot, key, padded, value);
        sonde__edit_end(&edit);
        if (SONDE__LIKELY(done))
            return;
    }
    set_int64_slow(span, key.text, rest, value);
}
static __attribute__((noinline)) SONDE__HOT void set_int64_any(struct sonde_span *span, const char *text, uint64_t rest,
                                                               int64_t value) {
    struct sonde_key key = sonde__key_whole(text, rest);
    set_int64(span, key, 0, value);
}
SONDE__HOT void sonde_span_set_int64(struct sonde_span *span, struct sonde_key key, int64_t value) {
    if (!span->slot)
        return;
    if (SONDE__LIKELY(key.padded))
        set_int64(span, key, 1, value);
    else
        set_int64_any(span, key.text, sonde__key_rest(key), value);
}

static SONDE__COLD void set_double_slow(struct sonde_span *span, const char *text, uint64_t rest, double value) {
    struct sonde_key key = sonde__key_whole(text, rest);
    struct sonde_attribute attribute = sonde_attribute_double(key, value);
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    if (!number_is_short(key) || key_is_known(edit.slot, key) || !put_double(edit.slot, key, key.padded, value))
        set_slow(edit.thread, edit.slot, &attribute);
    sonde__edit_end(&edit);
}

static ALWAYS_INLINE void set_double(struct sonde_span *span, struct sonde_key key, int padded, double value) {
    const uint64_t rest = sonde__key_rest(key);
    struct sonde__edit edit;
    if (SONDE__LIKELY(number_is_short(key) && sonde__edit_try(&edit, span))) {
        bool done = !key_is_perhaps_known(edit.slot, key) && put_double(edit.slot, key, padded, value);
        sonde__edit_end(&edit);
        if (SONDE__LIKELY(done))
            return;
    }
    set_double_slow(span, key.text, rest, value);
}
static __attribute__((noinline)) SONDE__HOT void set_double_any(struct sonde_span *span, const char *text,
                                                                uint64_t rest, double value) {
    struct sonde_key key = sonde__key_whole(text, rest);
    set_double(span, key, 0, value);
}
SONDE__HOT void sonde_span_set_double(struct sonde_span *span, struct sonde_key key, double value) {
    if (!span->slot)
        return;
    if (SONDE__LIKELY(key.padded))
        set_double(span, key, 1, value);
    else
        set_double_any(span, key.text, sonde__key_rest(key), value);
}

static SONDE__COLD void set_bool_slow(struct sonde_span *span, const char *text, uint64_t rest, bool value) {
    struct sonde_key key = sonde__key_whole(text, rest);
    struct sonde_attribute attribute = sonde_attribute_bool(key, value);
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    if (!number_is_short(key) || key_is_known(edit.slot, key) || !put_bool(edit.slot, key, key.padded, value))
        set_slow(edit.thread, edit.slot, &attribute);
    sonde__edit_end(&edit);
}

static ALWAYS_INLINE void set_bool(struct sonde_span *span, struct sonde_key key, int padded, bool value) {
    const uint64_t rest = sonde__key_rest(key);
    struct sonde__edit edit;
    if (SONDE__LIKELY(number_is_short(key) && sonde__edit_try(&edit, span))) {
        bool done = !key_is_perhaps_known(edit.slot, key) && put_bool(edit.slot, key, padded, value);
        sonde__edit_end(&edit);
        if (SONDE__LIKELY(done))
            return;
    }
    set_bool_slow(span, key.text, rest, value);
}
static __attribute__((noinline)) SONDE__HOT void set_bool_any(struct sonde_span *span, const char *text, uint64_t rest,
                                                              bool value) {
    struct sonde_key key = sonde__key_whole(text, rest);
    set_bool(span, key, 0, value);
}
SONDE__HOT void sonde_span_set_bool(struct sonde_span *span, struct sonde_key key, bool value) {
    if (!span->slot)
        return;
    if (SONDE__LIKELY(key.padded))
        set_bool(span, key, 1, value);
    else
        set_bool_any(span, key.text, sonde__key_rest(key), value);
}

static void set(struct sonde_span *span, const struct sonde_attribute *attribute) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    set_slow(edit.thread, edit.slot, attribute);
    sonde__edit_end(&edit);
}

void sonde_span_set(struct sonde_span *span, const struct sonde_attribute *attribute) {
    set(span, attribute);
}

void sonde_span_set_bytes(struct sonde_span *span, struct sonde_key key, const void *value, size_t size) {
    struct sonde_attribute attribute = {.key = key, .type = SONDE_VALUE_BYTES, .size = size, .value.bytes = value};
    if (value || !size)
        set(span, &attribute);
}
