/* SPDX-License-Identifier: Apache-2.0 */
/* See skim.h. An attribute is looked into only when a key of its length is asked for. */
#include "instrumentation/wire/skim.h"
#include "instrumentation/ring/layout.h"
#include "instrumentation/wire/read.h"
#include <sonde/err.h>
#include <string.h>

void sonde__skim_keys_init(struct sonde__skim_keys *keys) {
    memset(keys, 0, sizeof *keys);
}

int sonde__skim_keys_add(struct sonde__skim_keys *keys, const char *key) {
    size_t size = strlen(key);
    if (size == 0 || size > 255)
        return SONDE_EINVALID;
    if (keys->count == SONDE__SKIM_KEYS_MAX)
        return SONDE_EFULL;
    uint32_t i = keys->count++;
    keys->text[i] = key;
    keys->size[i] = (uint32_t)size;
    keys->by_size[size] = (uint8_t)(keys->by_size[size] | 1u << i);
    if (size >= 8) {
        memcpy(&keys->first[i], key, 8);
        memcpy(&keys->last[i], key + size - 8, 8);
    }
    return (int)i;
}

/* Keys of 8 to 16 bytes compare as two overlapping words. */
static inline bool key_is(const struct sonde__skim_keys *keys, unsigned i, const uint8_t *key, size_t size) {
    if (size < 8)
        return memcmp(keys->text[i], key, size) == 0;
    if ((sonde__load64(key) ^ keys->first[i]) | (sonde__load64(key + size - 8) ^ keys->last[i]))
        return false;
    return size <= 16 || memcmp(keys->text[i] + 8, key + 8, size - 16) == 0;
}

static int key_find(const struct sonde__skim_keys *keys, const uint8_t *key, size_t size) {
    unsigned candidates = size < 256 ? keys->by_size[size] : 0;
    while (candidates) {
        unsigned i = (unsigned)__builtin_ctz(candidates);
        if (key_is(keys, i, key, size))
            return (int)i;
        candidates &= candidates - 1;
    }
    return -1;
}

/* AnyValue. The last field counts. */
static bool value_read(const uint8_t *p, const uint8_t *end, struct sonde__value *ret_value) {
    while (p < end) {
        uint64_t tag, number = 0;
        size_t size = 0;
        if (!(p = sonde__read_varint(p, end, &tag)))
            return false;
        unsigned field = tag <= SONDE__TAG(7, 7) ? (unsigned)tag >> 3 : 0;
        switch (tag) {
        case SONDE__TAG(1, SONDE__WIRE_BYTES):
        case SONDE__TAG(5, SONDE__WIRE_BYTES):
        case SONDE__TAG(6, SONDE__WIRE_BYTES):
        case SONDE__TAG(7, SONDE__WIRE_BYTES):
            if (!(p = sonde__read_size(p, end, &size)))
                return false;
            *ret_value = (struct sonde__value){.type = field, .size = (uint32_t)size, .data = p};
            p += size;
            break;
        case SONDE__TAG(2, SONDE__WIRE_VARINT):
        case SONDE__TAG(3, SONDE__WIRE_VARINT):
            if (!(p = sonde__read_varint(p, end, &number)))
                return false;
            *ret_value = (struct sonde__value){.type = field, .integer = (int64_t)number};
            break;
        case SONDE__TAG(4, SONDE__WIRE_FIXED64):
            if (end - p < 8)
                return false;
            *ret_value = (struct sonde__value){.type = field};
            memcpy(&ret_value->real, p, 8);
            p += 8;
            break;
        default:
            if (!(p = sonde__read_skip(p, end, (unsigned)tag & 7)))
                return false;
        }
    }
    return true;
}

static bool pair_read_slow(const uint8_t *p, const uint8_t *end, const struct sonde__skim_keys *keys,
                           struct sonde__value *values) {
    const uint8_t *key = NULL, *value = NULL;
    size_t key_size = 0, value_size = 0;
    while (p < end) {
        uint64_t tag;
        if (!(p = sonde__read_varint(p, end, &tag)))
            return false;
        if (tag == SONDE__TAG(1, SONDE__WIRE_BYTES)) {
            if (!(p = sonde__read_size(p, end, &key_size)))
                return false;
            key = p;
            p += key_size;
        } else if (tag == SONDE__TAG(2, SONDE__WIRE_BYTES)) {
            if (!(p = sonde__read_size(p, end, &value_size)))
                return false;
            value = p;
            p += value_size;
        } else if (!(p = sonde__read_skip(p, end, (unsigned)tag & 7))) {
            return false;
        }
    }
    int i = key && value ? key_find(keys, key, key_size) : -1;
    return i < 0 || value_read(value, value + value_size, &values[i]);
}

static inline bool pair_read(const uint8_t *p, const uint8_t *end, const struct sonde__skim_keys *keys,
                             struct sonde__value *values) {
    if (__builtin_expect(end - p >= 4 && p[0] == 0x0A && p[1] < 0x80 && p[1] + 4 <= end - p, 1)) {
        unsigned size = p[1];
        const uint8_t *value = p + 2 + size;
        if (value[0] == 0x12 && value[1] < 0x80 && value + 2 + value[1] == end) {
            if (!keys->by_size[size])
                return true; /* not asked for */
            int i = key_find(keys, p + 2, size);
            return i < 0 || value_read(value + 2, end, &values[i]);
        }
    }
    return pair_read_slow(p, end, keys, values);
}

/* A KeyValue field after its tag; NULL on bad bytes. */
static inline const uint8_t *read_pair(const uint8_t *p, const uint8_t *end, const struct sonde__skim_keys *keys,
                                       struct sonde__value *values) {
    size_t size;
    p = sonde__read_size(p, end, &size);
    if (!p || (keys && !pair_read(p, p + size, keys, values)))
        return NULL;
    return p + size;
}

static const uint8_t *read_bytes(const uint8_t *p, const uint8_t *end, const uint8_t **ret_bytes, uint32_t *ret_size) {
    size_t size;
    if (!(p = sonde__read_size(p, end, &size)))
        return NULL;
    *ret_bytes = p;
    *ret_size = (uint32_t)size;
    return p + size;
}

static const uint8_t *read_id(const uint8_t *p, const uint8_t *end, size_t want, const uint8_t **ret_id) {
    size_t size;
    p = sonde__read_size(p, end, &size);
    if (!p || (size && size != want))
        return NULL;
    *ret_id = size ? p : NULL;
    return p + size;
}

static const uint8_t *read_uint32(const uint8_t *p, const uint8_t *end, uint32_t *ret_value) {
    uint64_t value;
    if (!(p = sonde__read_varint(p, end, &value)))
        return NULL;
    *ret_value = (uint32_t)value;
    return p;
}

static const uint8_t *read_fixed64(const uint8_t *p, const uint8_t *end, uint64_t *ret_value) {
    if (end - p < 8)
        return NULL;
    *ret_value = sonde__load64(p);
    return p + 8;
}

static const uint8_t *read_fixed32(const uint8_t *p, const uint8_t *end, uint32_t *ret_value) {
    if (end - p < 4)
        return NULL;
    *ret_value = sonde__load32(p);
    return p + 4;
}

static const uint8_t *read_status(const uint8_t *p, const uint8_t *end, uint32_t *ret_code) {
    size_t size;
    if (!(p = sonde__read_size(p, end, &size)))
        return NULL;
    const uint8_t *q = p, *stop = p + size;
    while (q < stop) {
        uint64_t tag;
        if (!(q = sonde__read_varint(q, stop, &tag)))
            return NULL;
        q = tag == SONDE__TAG(3, SONDE__WIRE_VARINT) ? read_uint32(q, stop, ret_code)
                                                     : sonde__read_skip(q, stop, (unsigned)tag & 7);
        if (!q)
            return NULL;
    }
    return stop;
}

static inline const uint8_t *read_span_field(const uint8_t *p, const uint8_t *end, const struct sonde__skim_keys *keys,
                                             struct sonde__span_fields *f) {
    uint64_t tag;
    if (!(p = sonde__read_varint(p, end, &tag)))
        return NULL;
    switch (tag) {
    case SONDE__TAG(9, SONDE__WIRE_BYTES):
        return read_pair(p, end, keys, f->values);
    case SONDE__TAG(1, SONDE__WIRE_BYTES):
        return read_id(p, end, 16, &f->trace_id);
    case SONDE__TAG(2, SONDE__WIRE_BYTES):
        return read_id(p, end, 8, &f->span_id);
    case SONDE__TAG(3, SONDE__WIRE_BYTES):
        return read_bytes(p, end, &f->tracestate, &f->tracestate_size);
    case SONDE__TAG(4, SONDE__WIRE_BYTES):
        return read_id(p, end, 8, &f->parent_id);
    case SONDE__TAG(5, SONDE__WIRE_BYTES):
        return read_bytes(p, end, &f->name, &f->name_size);
    case SONDE__TAG(6, SONDE__WIRE_VARINT):
        return read_uint32(p, end, &f->kind);
    case SONDE__TAG(7, SONDE__WIRE_FIXED64):
        return read_fixed64(p, end, &f->start_unix_ns);
    case SONDE__TAG(8, SONDE__WIRE_FIXED64):
        return read_fixed64(p, end, &f->end_unix_ns);
    case SONDE__TAG(15, SONDE__WIRE_BYTES):
        return read_status(p, end, &f->status);
    case SONDE__TAG(16, SONDE__WIRE_FIXED32):
        return read_fixed32(p, end, &f->flags);
    default:
        return sonde__read_skip(p, end, (unsigned)tag & 7);
    }
}

bool sonde__span_skim(const void *body, size_t size, const struct sonde__skim_keys *keys,
                      struct sonde__span_fields *ret_fields) {
    const uint8_t *p = body, *end = p + size;
    struct sonde__span_fields *f = ret_fields;
    memset(f, 0, offsetof(struct sonde__span_fields, values));
    for (uint32_t i = 0; keys && i < keys->count; i++)
        f->values[i] = (struct sonde__value){.type = SONDE__VALUE_ABSENT};
    if (size >= SONDE__BODY_ROOT && sonde__load16(p) == 0x100A && sonde__load16(p + 18) == 0x0812 && p[28] == 0x39 &&
        p[37] == 0x41 && p[46] == 0x30 && p[SONDE__BODY_KIND] < 0x80 && sonde__load16(p + 48) == 0x0185) {
        f->trace_id = p + SONDE__BODY_TRACE_ID; /* our own bytes: fixed positions */
        f->span_id = p + SONDE__BODY_SPAN_ID;
        f->start_unix_ns = sonde__load64(p + SONDE__BODY_START);
        f->end_unix_ns = sonde__load64(p + SONDE__BODY_END);
        f->kind = p[SONDE__BODY_KIND];
        f->flags = sonde__load32(p + SONDE__BODY_FLAGS);
        p += SONDE__BODY_ROOT;
    }
    while (p && p < end)
        p = read_span_field(p, end, keys, f);
    return p && f->trace_id && f->span_id;
}

static const uint8_t *read_log_field(const uint8_t *p, const uint8_t *end, const struct sonde__skim_keys *keys,
                                     struct sonde__log_fields *f) {
    uint64_t tag;
    size_t size;
    if (!(p = sonde__read_varint(p, end, &tag)))
        return NULL;
    switch (tag) {
    case SONDE__TAG(1, SONDE__WIRE_FIXED64):
        return read_fixed64(p, end, &f->time_unix_ns);
    case SONDE__TAG(2, SONDE__WIRE_VARINT):
        return read_uint32(p, end, &f->severity);
    case SONDE__TAG(5, SONDE__WIRE_BYTES):
        p = sonde__read_size(p, end, &size);
        return p && value_read(p, p + size, &f->body) ? p + size : NULL;
    case SONDE__TAG(6, SONDE__WIRE_BYTES):
        return read_pair(p, end, keys, f->values);
    case SONDE__TAG(8, SONDE__WIRE_FIXED32):
        return read_fixed32(p, end, &f->flags);
    case SONDE__TAG(9, SONDE__WIRE_BYTES):
        return read_id(p, end, 16, &f->trace_id);
    case SONDE__TAG(10, SONDE__WIRE_BYTES):
        return read_id(p, end, 8, &f->span_id);
    case SONDE__TAG(11, SONDE__WIRE_FIXED64):
        return read_fixed64(p, end, &f->observed_unix_ns);
    case SONDE__TAG(12, SONDE__WIRE_BYTES):
        return read_bytes(p, end, &f->event_name, &f->event_name_size);
    default:
        return sonde__read_skip(p, end, (unsigned)tag & 7);
    }
}

bool sonde__log_skim(const void *body, size_t size, const struct sonde__skim_keys *keys,
                     struct sonde__log_fields *ret_fields) {
    const uint8_t *p = body, *end = p + size;
    memset(ret_fields, 0, sizeof *ret_fields);
    while (p && p < end)
        p = read_log_field(p, end, keys, ret_fields);
    return p != NULL || size == 0;
}

bool sonde__attributes_skim(const void *message, size_t size, unsigned field, const struct sonde__skim_keys *keys,
                            struct sonde__value *ret_values) {
    const uint8_t *p = message, *end = p + size;
    memset(ret_values, 0, SONDE__SKIM_KEYS_MAX * sizeof *ret_values);
    while (p && p < end) {
        uint64_t tag;
        if (!(p = sonde__read_varint(p, end, &tag)))
            return false;
        p = tag == SONDE__TAG(field, SONDE__WIRE_BYTES) ? read_pair(p, end, keys, ret_values)
                                                        : sonde__read_skip(p, end, (unsigned)tag & 7);
    }
    return p != NULL || size == 0;
}
