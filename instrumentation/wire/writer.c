/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf written by hand into bounded memory. Nested messages get one byte for their length first, as nearly all are
 * short; the rare long one is moved up when it is closed. */
#include "instrumentation/wire/writer.h"
#include "instrumentation/wire/encode.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
/* Fields of KeyValue and AnyValue. */
enum { KEY = 1, VALUE = 2 };
enum { ANY_STRING = 1, ANY_BOOL = 2, ANY_INT = 3, ANY_DOUBLE = 4, ANY_ARRAY = 5, ANY_BYTES = 7 };

unsigned sonde__varint_size(uint64_t value) {
    return sonde__varint_length(value);
}

/* True when `size` more bytes fit; else the writer is full. */
static bool has_room(struct sonde__writer *w, size_t size) {
    if (w->full || (size_t)(w->end - w->at) < size)
        w->full = true;
    return !w->full;
}

void sonde__write_varint(struct sonde__writer *w, uint64_t value) {
    if (has_room(w, sonde__varint_length(value)))
        w->at += sonde__put_varint_long(w->at, value);
}

void sonde__write_raw(struct sonde__writer *w, const void *bytes, size_t size) {
    if (has_room(w, size) && size) {
        memcpy(w->at, bytes, size);
        w->at += size;
    }
}

static void write_tag(struct sonde__writer *w, uint32_t field, uint32_t type) {
    sonde__write_varint(w, (uint64_t)field << 3 | type);
}

void sonde__write_uint(struct sonde__writer *w, uint32_t field, uint64_t value) {
    write_tag(w, field, WIRE_VARINT);
    sonde__write_varint(w, value);
}

void sonde__write_sint(struct sonde__writer *w, uint32_t field, int64_t value) {
    sonde__write_uint(w, field, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

void sonde__write_fixed64(struct sonde__writer *w, uint32_t field, uint64_t value) {
    write_tag(w, field, WIRE_FIXED64);
    sonde__write_raw(w, &value, sizeof value);
}

void sonde__write_fixed32(struct sonde__writer *w, uint32_t field, uint32_t value) {
    write_tag(w, field, WIRE_FIXED32);
    sonde__write_raw(w, &value, sizeof value);
}

void sonde__write_double(struct sonde__writer *w, uint32_t field, double value) {
    write_tag(w, field, WIRE_FIXED64);
    sonde__write_raw(w, &value, sizeof value);
}

void sonde__write_bytes(struct sonde__writer *w, uint32_t field, const void *bytes, size_t size) {
    write_tag(w, field, WIRE_BYTES);
    sonde__write_varint(w, size);
    sonde__write_raw(w, bytes, size);
}

/* Text that may be bad, repaired. */
static void write_text(struct sonde__writer *w, uint32_t field, const char *text, size_t size) {
    if (sonde__utf8_is_valid(text, size)) {
        sonde__write_bytes(w, field, text, size);
        return;
    }
    size_t repaired = sonde__utf8_repaired_size(text, size);
    write_tag(w, field, WIRE_BYTES);
    sonde__write_varint(w, repaired);
    if (has_room(w, repaired)) {
        sonde__utf8_repair(w->at, text, size);
        w->at += repaired;
    }
}

void sonde__write_string(struct sonde__writer *w, uint32_t field, const char *text, size_t size, size_t limit) {
    if (size > limit)
        size = sonde__utf8_cut(text, size, limit);
    if (!sonde__utf8_is_valid(text, size)) /* repairing makes text longer */
        size = sonde__utf8_cut_repaired(text, size, limit);
    write_text(w, field, text, size);
}

uint8_t *sonde__write_begin(struct sonde__writer *w, uint32_t field) {
    write_tag(w, field, WIRE_BYTES);
    if (has_room(w, 1))
        *w->at++ = 0;
    return w->at;
}

void sonde__write_end(struct sonde__writer *w, uint8_t *begin) {
    if (w->full)
        return;
    size_t size = (size_t)(w->at - begin);
    unsigned more = sonde__varint_length(size) - 1;
    if (!has_room(w, more))
        return;
    if (more) {
        memmove(begin + more, begin, size);
        w->at += more;
    }
    sonde__put_varint_long(begin - 1, size);
}

static void write_array(struct sonde__writer *w, const struct sonde_attribute *a, size_t value_limit) {
    uint8_t *array = sonde__write_begin(w, ANY_ARRAY);
    for (size_t i = 0; i < a->size && !w->full; i++) {
        uint8_t *element = sonde__write_begin(w, 1);
        if (a->type == SONDE_VALUE_STRING_ARRAY) {
            const struct sonde_string *s = &a->value.strings[i];
            write_text(w, ANY_STRING, s->data, sonde__utf8_cut_characters(s->data, s->size, value_limit));
        } else if (a->type == SONDE_VALUE_BOOL_ARRAY) {
            sonde__write_uint(w, ANY_BOOL, a->value.booleans[i]);
        } else if (a->type == SONDE_VALUE_INT64_ARRAY) {
            sonde__write_uint(w, ANY_INT, (uint64_t)a->value.int64s[i]);
        } else {
            sonde__write_double(w, ANY_DOUBLE, a->value.doubles[i]);
        }
        sonde__write_end(w, element);
    }
    sonde__write_end(w, array);
}

static void write_value(struct sonde__writer *w, const struct sonde_attribute *a, size_t value_limit) {
    switch (a->type) {
    case SONDE_VALUE_STRING: {
        size_t size =
            a->size <= value_limit ? a->size : sonde__utf8_cut_characters(a->value.string, a->size, value_limit);
        write_text(w, ANY_STRING, a->value.string, size);
        break;
    }
    case SONDE_VALUE_BOOL:
        sonde__write_uint(w, ANY_BOOL, a->value.boolean);
        break;
    case SONDE_VALUE_INT64:
        sonde__write_uint(w, ANY_INT, (uint64_t)a->value.int64);
        break;
    case SONDE_VALUE_DOUBLE:
        sonde__write_double(w, ANY_DOUBLE, a->value.float64);
        break;
    case SONDE_VALUE_BYTES:
        sonde__write_bytes(w, ANY_BYTES, a->value.bytes, a->size < value_limit ? a->size : value_limit);
        break;
    case SONDE_VALUE_STRING_ARRAY:
    case SONDE_VALUE_BOOL_ARRAY:
    case SONDE_VALUE_INT64_ARRAY:
    case SONDE_VALUE_DOUBLE_ARRAY:
        write_array(w, a, value_limit);
        break;
    default: /* an unknown type (a newer caller): the key with an empty value, as the specification's "empty" */
        break;
    }
}

/* The short scalars, or NULL when the general way is needed. */
static uint8_t *encode_short(uint8_t *at, uint32_t tag, const struct sonde_attribute *a, size_t value_limit) {
    uint64_t seen = 0;
    switch (a->type) {
    case SONDE_VALUE_STRING:
        if (a->size > value_limit || a->size + a->key.length > SONDE__ENCODE_TEXT_MAX)
            return NULL;
        at = sonde__encode_string(at, tag, a->key, a->key.padded, a->value.string, a->size, &seen);
        break;
    case SONDE_VALUE_INT64:
        at = sonde__encode_int64(at, tag, a->key, a->key.padded, a->value.int64, &seen);
        break;
    case SONDE_VALUE_BOOL:
        at = sonde__encode_bool(at, tag, a->key, a->key.padded, a->value.boolean, &seen);
        break;
    case SONDE_VALUE_DOUBLE:
        at = sonde__encode_double(at, tag, a->key, a->key.padded, a->value.float64, &seen);
        break;
    default:
        return NULL;
    }
    return seen ? NULL : at;
}

void sonde__write_attribute(struct sonde__writer *w, uint32_t field, const struct sonde_attribute *attribute,
                            size_t value_limit) {
    uint8_t *mark = w->at;
    /* 112: key and the longest scalar (14 bytes) stay below one byte's length. */
    if (!w->full && attribute->key.length <= 112 &&
        (size_t)(w->end - w->at) >= 128u + SONDE__ENCODE_OVERHEAD + SONDE__ENCODE_SLACK) {
        uint8_t *end = encode_short(w->at, field << 3 | WIRE_BYTES, attribute, value_limit);
        if (end) {
            w->at = end;
            return;
        }
    }
    uint8_t *pair = sonde__write_begin(w, field);
    write_text(w, KEY, attribute->key.text, attribute->key.length);
    uint8_t *any = sonde__write_begin(w, VALUE);
    write_value(w, attribute, value_limit);
    sonde__write_end(w, any);
    sonde__write_end(w, pair);
    if (w->full)
        w->at = mark;
}

bool sonde__attribute_fits(const struct sonde_attribute *attribute) {
    switch (attribute->type) {
    case SONDE_VALUE_STRING:
    case SONDE_VALUE_BYTES:
    case SONDE_VALUE_STRING_ARRAY:
    case SONDE_VALUE_BOOL_ARRAY:
    case SONDE_VALUE_INT64_ARRAY:
    case SONDE_VALUE_DOUBLE_ARRAY:
        if (attribute->size && !attribute->value.bytes)
            return false;
        break;
    default:
        break;
    }
    return sonde__key_fits(attribute->key);
}

size_t sonde__write_attributes(struct sonde__writer *w, uint32_t field, const struct sonde_attribute *attributes,
                               size_t count, size_t count_limit, size_t value_limit) {
    size_t written = 0;
    if (w->full) /* what came before is cut off: nothing may follow */
        return count;
    for (size_t i = 0; i < count && written < count_limit; i++) {
        if (!sonde__attribute_fits(&attributes[i]))
            continue;
        sonde__write_attribute(w, field, &attributes[i], value_limit);
        if (w->full) { /* a smaller one may still fit */
            w->full = false;
            continue;
        }
        written++;
    }
    return count - written;
}
