/* SPDX-License-Identifier: Apache-2.0 */
/* See validate.h. The speed comes from two shapes that our own bytes nearly always have: the 54 fixed bytes in front
 * of a span, and attributes whose lengths are one byte each. Everything else goes field by field. */
#include "instrumentation/wire/validate.h"
#include "instrumentation/ring/layout.h"
#include "instrumentation/wire/read.h"
#include "instrumentation/wire/writer.h"

/* Field seen, for what must be there or must not be twice. */
enum { SEEN_TRACE_ID = 1, SEEN_SPAN_ID = 2, SEEN_IDS = 3 };

/* ASCII is told by the top bits of overlapping words: up to 32 bytes without a loop, whose end would be mispredicted.
 */
static inline bool text_is_valid(const uint8_t *text, size_t size) {
    uint64_t bits = 0;
    if (size >= 8) {
        bits = sonde__load64(text) | sonde__load64(text + size - 8);
        if (size > 16) {
            bits |= sonde__load64(text + 8) | sonde__load64(text + size - 16);
            for (size_t i = 16; i + 16 < size; i += 8)
                bits |= sonde__load64(text + i);
        }
    } else if (size >= 4) {
        bits = (uint64_t)sonde__load32(text) | sonde__load32(text + size - 4);
    } else {
        for (size_t i = 0; i < size; i++)
            bits |= text[i];
    }
    return __builtin_expect(!(bits & 0x8080808080808080u), 1) || sonde__utf8_is_valid(text, size);
}

static inline bool trace_id_is_valid(const uint8_t *id) {
    return (sonde__load64(id) | sonde__load64(id + 8)) != 0;
}

static inline const uint8_t *read_text(const uint8_t *p, const uint8_t *end) {
    size_t size;
    p = sonde__read_size(p, end, &size);
    return p && text_is_valid(p, size) ? p + size : NULL;
}

/* A varint no larger than max: enums, and counts (uint32). */
static inline const uint8_t *read_number(const uint8_t *p, const uint8_t *end, uint64_t max) {
    uint64_t value;
    p = sonde__read_varint(p, end, &value);
    return p && value <= max ? p : NULL;
}

static inline const uint8_t *read_fixed(const uint8_t *p, const uint8_t *end, size_t size) {
    return (size_t)(end - p) >= size ? p + size : NULL;
}

/* An id of `size` bytes (8 or 16) that is not zero; empty is fine where `optional`. */
static inline const uint8_t *read_id(const uint8_t *p, const uint8_t *end, size_t want, bool optional) {
    size_t size;
    p = sonde__read_size(p, end, &size);
    if (!p || (size != want && !(optional && size == 0)))
        return NULL;
    if (size && !(want == 16 ? trace_id_is_valid(p) : sonde__load64(p) != 0))
        return NULL;
    return p + size;
}

/* Tags of known fields take one byte, or two from field 16 on; longer spellings of the same number are refused. */
static inline const uint8_t *read_tag(const uint8_t *p, const uint8_t *end, unsigned *ret_tag) {
    if (__builtin_expect(*p < 0x80, 1)) {
        *ret_tag = *p;
        return p + 1;
    }
    if (end - p < 2 || p[1] == 0 || p[1] >= 0x80)
        return NULL;
    *ret_tag = (*p & 0x7Fu) | (unsigned)p[1] << 7;
    return p + 2;
}

static bool value_is_valid(const uint8_t *p, const uint8_t *end, unsigned depth);
static bool pair_is_valid(const uint8_t *p, const uint8_t *end, unsigned depth);

/* ArrayValue and KeyValueList: field 1, repeated. */
static bool list_is_valid(const uint8_t *p, const uint8_t *end, bool pairs, unsigned depth) {
    if (depth > SONDE__VALUE_DEPTH_MAX)
        return false;
    while (p < end) {
        size_t size;
        if (*p != SONDE__TAG(1, SONDE__WIRE_BYTES) || !(p = sonde__read_size(p + 1, end, &size)))
            return false;
        if (!(pairs ? pair_is_valid(p, p + size, depth) : value_is_valid(p, p + size, depth)))
            return false;
        p += size;
    }
    return true;
}

/* AnyValue: nothing (the empty value) or one field. */
static bool value_is_valid(const uint8_t *p, const uint8_t *end, unsigned depth) {
    if (p == end)
        return true;
    unsigned tag = *p++;
    size_t size;
    switch (tag) {
    case SONDE__TAG(1, SONDE__WIRE_BYTES):
        p = read_text(p, end);
        break;
    case SONDE__TAG(2, SONDE__WIRE_VARINT):
        p = read_number(p, end, 1);
        break;
    case SONDE__TAG(3, SONDE__WIRE_VARINT):
        p = read_number(p, end, UINT64_MAX);
        break;
    case SONDE__TAG(4, SONDE__WIRE_FIXED64):
        p = read_fixed(p, end, 8);
        break;
    case SONDE__TAG(5, SONDE__WIRE_BYTES):
    case SONDE__TAG(6, SONDE__WIRE_BYTES):
        p = sonde__read_size(p, end, &size);
        if (!p || !list_is_valid(p, p + size, tag == SONDE__TAG(6, SONDE__WIRE_BYTES), depth + 1))
            return false;
        p += size;
        break;
    case SONDE__TAG(7, SONDE__WIRE_BYTES):
        p = sonde__read_size(p, end, &size);
        p = p ? p + size : NULL;
        break;
    default:
        return false;
    }
    return p == end;
}

static bool pair_is_valid_slow(const uint8_t *p, const uint8_t *end, unsigned depth) {
    unsigned seen = 0;
    while (p < end) {
        unsigned tag = *p++, bit;
        size_t size;
        if (!(p = sonde__read_size(p, end, &size)))
            return false;
        if (tag == SONDE__TAG(1, SONDE__WIRE_BYTES) && text_is_valid(p, size))
            bit = 1;
        else if (tag == SONDE__TAG(2, SONDE__WIRE_BYTES) && value_is_valid(p, p + size, depth))
            bit = 2;
        else
            return false;
        if (seen & bit)
            return false;
        seen |= bit;
        p += size;
    }
    return (seen & 1) != 0;
}

/* A varint that fills size bytes, 1 to 8. */
static inline bool varint_fills(const uint8_t *p, size_t size) {
    if (size == 1)
        return *p < 0x80;
    uint64_t value;
    return sonde__read_varint_slow(p, p + size, &value) == p + size;
}

/* KeyValue. Fast: 0A key-size key 12 value-size value, one-byte sizes; and within it a string or an int. */
static inline bool pair_is_valid(const uint8_t *p, const uint8_t *end, unsigned depth) {
    if (__builtin_expect(end - p >= 6 && p[0] == 0x0A && p[1] + 6 <= end - p, 1)) {
        unsigned key_size = p[1];
        const uint8_t *value = p + 2 + key_size;
        if (key_size < 0x80 && value[0] == 0x12 && value[1] < 0x80 && value + 2 + value[1] == end &&
            text_is_valid(p + 2, key_size)) {
            if (value[2] == 0x0A && value[3] < 0x80 && value + 4 + value[3] == end)
                return text_is_valid(value + 4, value[3]);
            if (value[2] == SONDE__TAG(3, SONDE__WIRE_VARINT))
                return varint_fills(value + 3, (size_t)(end - value) - 3);
            return value_is_valid(value + 2, end, depth);
        }
    }
    return pair_is_valid_slow(p, end, depth);
}

static inline const uint8_t *read_pair(const uint8_t *p, const uint8_t *end) {
    size_t size;
    p = sonde__read_size(p, end, &size);
    return p && pair_is_valid(p, p + size, 0) ? p + size : NULL;
}

static bool event_is_valid(const uint8_t *p, const uint8_t *end) {
    while (p && p < end) {
        switch (*p++) {
        case SONDE__TAG(1, SONDE__WIRE_FIXED64): /* time */
            p = read_fixed(p, end, 8);
            break;
        case SONDE__TAG(2, SONDE__WIRE_BYTES): /* name */
            p = read_text(p, end);
            break;
        case SONDE__TAG(3, SONDE__WIRE_BYTES):
            p = read_pair(p, end);
            break;
        case SONDE__TAG(4, SONDE__WIRE_VARINT):
            p = read_number(p, end, UINT32_MAX);
            break;
        default:
            return false;
        }
    }
    return p != NULL;
}

static bool link_is_valid(const uint8_t *p, const uint8_t *end) {
    unsigned seen = 0;
    while (p && p < end) {
        switch (*p++) {
        case SONDE__TAG(1, SONDE__WIRE_BYTES):
            seen |= SEEN_TRACE_ID;
            p = read_id(p, end, 16, false);
            break;
        case SONDE__TAG(2, SONDE__WIRE_BYTES):
            seen |= SEEN_SPAN_ID;
            p = read_id(p, end, 8, false);
            break;
        case SONDE__TAG(3, SONDE__WIRE_BYTES): /* tracestate */
            p = read_text(p, end);
            break;
        case SONDE__TAG(4, SONDE__WIRE_BYTES):
            p = read_pair(p, end);
            break;
        case SONDE__TAG(5, SONDE__WIRE_VARINT):
            p = read_number(p, end, UINT32_MAX);
            break;
        case SONDE__TAG(6, SONDE__WIRE_FIXED32):
            p = read_fixed(p, end, 4);
            break;
        default:
            return false;
        }
    }
    return p && seen == SEEN_IDS;
}

static bool status_is_valid(const uint8_t *p, const uint8_t *end) {
    while (p && p < end) {
        switch (*p++) {
        case SONDE__TAG(2, SONDE__WIRE_BYTES):
            p = read_text(p, end);
            break;
        case SONDE__TAG(3, SONDE__WIRE_VARINT):
            p = read_number(p, end, 2);
            break;
        default:
            return false;
        }
    }
    return p != NULL;
}

static const uint8_t *read_message(const uint8_t *p, const uint8_t *end,
                                   bool (*is_valid)(const uint8_t *p, const uint8_t *end)) {
    size_t size;
    p = sonde__read_size(p, end, &size);
    return p && is_valid(p, p + size) ? p + size : NULL;
}

/* One field of a Span; NULL when it is not valid. */
static inline const uint8_t *read_span_field(const uint8_t *p, const uint8_t *end, unsigned *seen) {
    unsigned tag;
    if (!(p = read_tag(p, end, &tag)))
        return NULL;
    switch (tag) {
    case SONDE__TAG(9, SONDE__WIRE_BYTES):
        return read_pair(p, end);
    case SONDE__TAG(1, SONDE__WIRE_BYTES):
        *seen |= SEEN_TRACE_ID;
        return read_id(p, end, 16, false);
    case SONDE__TAG(2, SONDE__WIRE_BYTES):
        *seen |= SEEN_SPAN_ID;
        return read_id(p, end, 8, false);
    case SONDE__TAG(4, SONDE__WIRE_BYTES):
        return read_id(p, end, 8, true);
    case SONDE__TAG(3, SONDE__WIRE_BYTES): /* tracestate, name */
    case SONDE__TAG(5, SONDE__WIRE_BYTES):
        return read_text(p, end);
    case SONDE__TAG(6, SONDE__WIRE_VARINT):
        return read_number(p, end, 5);
    case SONDE__TAG(7, SONDE__WIRE_FIXED64): /* start, end */
    case SONDE__TAG(8, SONDE__WIRE_FIXED64):
        return read_fixed(p, end, 8);
    case SONDE__TAG(10, SONDE__WIRE_VARINT): /* dropped attributes, events, links */
    case SONDE__TAG(12, SONDE__WIRE_VARINT):
    case SONDE__TAG(14, SONDE__WIRE_VARINT):
        return read_number(p, end, UINT32_MAX);
    case SONDE__TAG(11, SONDE__WIRE_BYTES):
        return read_message(p, end, event_is_valid);
    case SONDE__TAG(13, SONDE__WIRE_BYTES):
        return read_message(p, end, link_is_valid);
    case SONDE__TAG(15, SONDE__WIRE_BYTES):
        return read_message(p, end, status_is_valid);
    case SONDE__TAG(16, SONDE__WIRE_FIXED32):
        return read_fixed(p, end, 4);
    default:
        return NULL;
    }
}

/* The fixed part that our own library writes: ids, times, kind and flags at known positions. */
static inline bool has_fixed_part(const uint8_t *p, size_t size) {
    return size >= SONDE__BODY_ROOT && sonde__load16(p) == 0x100A && sonde__load16(p + 18) == 0x0812 && p[28] == 0x39 &&
           p[37] == 0x41 && p[46] == 0x30 && p[SONDE__BODY_KIND] <= 5 && sonde__load16(p + 48) == 0x0185 &&
           trace_id_is_valid(p + SONDE__BODY_TRACE_ID) && sonde__load64(p + SONDE__BODY_SPAN_ID) != 0;
}

/* What our own library writes next to the fixed part: parent, name. Returns where it is good up to. */
static inline const uint8_t *pass_usual_fields(const uint8_t *p, const uint8_t *end) {
    if (end - p >= 10 && p[0] == 0x22 && p[1] == 8 && sonde__load64(p + 2) != 0)
        p += 10;
    if (end - p >= 2 && p[0] == 0x2A && p[1] < 0x80 && p[1] + 2 <= end - p && text_is_valid(p + 2, p[1]))
        p += 2 + p[1];
    return p;
}

bool sonde__span_is_valid(const void *body, size_t size) {
    const uint8_t *p = body, *end = p + size;
    unsigned seen = 0;
    if (has_fixed_part(p, size)) {
        seen = SEEN_IDS;
        p = pass_usual_fields(p + SONDE__BODY_ROOT, end);
    }
    while (p && p < end) {
        if (__builtin_expect(*p == SONDE__TAG(9, SONDE__WIRE_BYTES), 1))
            p = read_pair(p + 1, end);
        else
            p = read_span_field(p, end, &seen);
    }
    return p && seen == SEEN_IDS;
}

size_t sonde__span_valid_prefix(const void *body, size_t size) {
    const uint8_t *start = body, *p = start, *end = start + size;
    size_t good = 0;
    unsigned seen = 0;
    while (p < end && (p = read_span_field(p, end, &seen)) != NULL) {
        if (seen == SEEN_IDS)
            good = (size_t)(p - start);
    }
    return good;
}

static const uint8_t *read_log_field(const uint8_t *p, const uint8_t *end) {
    size_t size;
    switch (*p++) {
    case SONDE__TAG(1, SONDE__WIRE_FIXED64): /* time, observed time */
    case SONDE__TAG(11, SONDE__WIRE_FIXED64):
        return read_fixed(p, end, 8);
    case SONDE__TAG(2, SONDE__WIRE_VARINT): /* severity */
        return read_number(p, end, 24);
    case SONDE__TAG(3, SONDE__WIRE_BYTES): /* severity text, event name */
    case SONDE__TAG(12, SONDE__WIRE_BYTES):
        return read_text(p, end);
    case SONDE__TAG(5, SONDE__WIRE_BYTES): /* body */
        p = sonde__read_size(p, end, &size);
        return p && value_is_valid(p, p + size, 0) ? p + size : NULL;
    case SONDE__TAG(6, SONDE__WIRE_BYTES):
        return read_pair(p, end);
    case SONDE__TAG(7, SONDE__WIRE_VARINT):
        return read_number(p, end, UINT32_MAX);
    case SONDE__TAG(8, SONDE__WIRE_FIXED32):
        return read_fixed(p, end, 4);
    case SONDE__TAG(9, SONDE__WIRE_BYTES):
        return read_id(p, end, 16, true);
    case SONDE__TAG(10, SONDE__WIRE_BYTES):
        return read_id(p, end, 8, true);
    default:
        return NULL;
    }
}

bool sonde__log_is_valid(const void *body, size_t size) {
    const uint8_t *p = body, *end = p + size;
    while (p && p < end)
        p = read_log_field(p, end);
    return p != NULL && size > 0;
}

/* Resource (attributes 1, dropped 2) and InstrumentationScope (name 1, version 2, attributes 3, dropped 4). */
bool sonde__resource_is_valid(const void *body, size_t size) {
    const uint8_t *p = body, *end = p + size;
    while (p && p < end) {
        unsigned tag = *p++;
        if (tag == SONDE__TAG(1, SONDE__WIRE_BYTES))
            p = read_pair(p, end);
        else if (tag == SONDE__TAG(2, SONDE__WIRE_VARINT))
            p = read_number(p, end, UINT32_MAX);
        else
            return false;
    }
    return size == 0 || p != NULL;
}

bool sonde__scope_is_valid(const void *body, size_t size) {
    const uint8_t *p = body, *end = p + size;
    while (p && p < end) {
        switch (*p++) {
        case SONDE__TAG(1, SONDE__WIRE_BYTES):
        case SONDE__TAG(2, SONDE__WIRE_BYTES):
            p = read_text(p, end);
            break;
        case SONDE__TAG(3, SONDE__WIRE_BYTES):
            p = read_pair(p, end);
            break;
        case SONDE__TAG(4, SONDE__WIRE_VARINT):
            p = read_number(p, end, UINT32_MAX);
            break;
        default:
            return false;
        }
    }
    return size == 0 || p != NULL;
}
