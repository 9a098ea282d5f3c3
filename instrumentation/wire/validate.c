/* SPDX-License-Identifier: Apache-2.0 */
/* See validate.h. The speed comes from two shapes that our own bytes nearly always have: the 54 fixed bytes in front
 * of a span, and attributes whose lengths are one byte each. Everything else goes field by field. */
#include "instrumentation/wire/validate.h"
#include "instrumentation/ring/layout.h"
#include "instrumentation/wire/ascii.h"
#include "instrumentation/wire/read.h"
#include "instrumentation/wire/writer.h"

/* Field seen, for what must be there or must not be twice. */
enum { SEEN_TRACE_ID = 1, SEEN_SPAN_ID = 2, SEEN_IDS = 3 };

static inline bool text_is_valid(const uint8_t *text, size_t size) {
    return __builtin_expect(sonde__is_ascii(text, size), 1) || sonde__utf8_is_valid(text, size);
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

/* The varint that fills the last size bytes before end, 1 to 8; reads the 8 bytes before end. */
static inline bool varint_fills(const uint8_t *end, size_t size) {
    uint64_t more = (sonde__load64(end - 8) >> (64 - 8 * size)) & SONDE__ASCII_HIGH_BITS;
    return more == (SONDE__ASCII_HIGH_BITS >> (64 - 8 * size) >> 8);
}

/* KeyValue as our own library writes it: 0A key-size key 12 value-size value. Sizes of one byte are ASCII like the
 * texts around them, so one look over all of it checks texts and sizes at once. False means: look closer. */
static inline bool pair_is_plain(const uint8_t *p, const uint8_t *end) {
    size_t size = (size_t)(end - p);
    if (size < 8 || p[0] != 0x0A || p[1] + 6u > size)
        return false;
    const uint8_t *value = p + 2 + p[1];
    if (value[0] != 0x12 || value + 2 + value[1] != end)
        return false;
    size_t head = (size_t)(value - p) + 3, rest = size - head;
    switch (value[2]) {
    case SONDE__TAG(1, SONDE__WIRE_BYTES):
        return value[3] == rest - 1 && sonde__is_ascii_8_up(p, size);
    case SONDE__TAG(3, SONDE__WIRE_VARINT):
        return head >= 8 && rest <= 8 && varint_fills(end, rest) && sonde__is_ascii_8_up(p, head);
    case SONDE__TAG(2, SONDE__WIRE_VARINT):
        return rest == 1 && value[3] <= 1 && sonde__is_ascii_8_up(p, size);
    case SONDE__TAG(4, SONDE__WIRE_FIXED64):
        return rest == 8 && head >= 8 && sonde__is_ascii_8_up(p, head);
    default:
        return false;
    }
}

static inline bool pair_is_valid(const uint8_t *p, const uint8_t *end, unsigned depth) {
    return __builtin_expect(pair_is_plain(p, end), 1) || pair_is_valid_slow(p, end, depth);
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

static inline uint32_t own_word(void) {
    return sonde__load32((const uint8_t *)SONDE__OWN_PREFIX);
}

/* May the attribute (field 9, at its tag; valid) have a name of our own? Sizes of one or two bytes, the name first. */
static inline unsigned pair_is_own(const uint8_t *p, const uint8_t *end) {
    size_t at = p[1] < 0x80 ? 2 : 3;
    if ((size_t)(end - p) < at + 6)
        return 0; /* too short for one */
    return p[at] != 0x0A || p[at + 1] >= 0x80 || sonde__load32(p + at + 2) == own_word();
}

/* Walks over attributes (field 9) of the shapes that our own library writes most, all sizes of one byte. Returns where
 * the first other thing is. */
static inline const uint8_t *pass_usual_attributes(const uint8_t *p, const uint8_t *end, struct sonde__seen *seen) {
    while (end - p >= 10) {
        uint64_t front = sonde__load64(p); /* 4A size 0A key-size key.. 12 value-size type .. */
        size_t size = (front >> 8) & 0xFF, key_size = (front >> 24) & 0xFF;
        if ((front & 0xFF80FF) != 0x0A004A || size + 2 > (size_t)(end - p) || key_size + 6 > size)
            break;
        if (__builtin_expect(sonde__load32(p + 4) == own_word(), 0))
            break; /* a name of our own is noted by who goes on from here */
        const uint8_t *value = p + 4 + key_size, *next = p + 2 + size;
        uint32_t rest = (uint32_t)(size - key_size - 4), head = sonde__load32(value), want = 0x12u | rest << 8;
        if (head == (want | 0x0A0000u | (rest - 2) << 24)) {
            sonde__see(seen, p, size + 2);
        } else if ((head & 0xFFFFFFu) == (want | 0x180000u) && rest <= 9 && key_size > 0) {
            if (!varint_fills(next, rest - 1))
                break;
            sonde__see(seen, p, key_size + 7);
        } else {
            break;
        }
        p = next;
    }
    return p;
}

/* What our own library writes next to the fixed part: parent, name, attributes. Returns where it is good up to: `p`
 * itself when a text is not ASCII. */
static inline const uint8_t *pass_usual_fields(const uint8_t *p, const uint8_t *end) {
    const uint8_t *start = p;
    struct sonde__seen seen = {0};
    if (end - p >= 10 && p[0] == 0x22 && p[1] == 8 && sonde__load64(p + 2) != 0)
        p += 10;
    if (end - p >= 2 && p[0] == 0x2A && p[1] + 2 <= end - p && sonde__is_ascii(p + 1, p[1] + 1u))
        p += 2 + p[1];
    p = pass_usual_attributes(p, end, &seen);
    return __builtin_expect(sonde__seen_is_ascii(&seen), 1) ? p : start;
}

unsigned sonde__span_look(const void *body, size_t size) {
    const uint8_t *p = body, *end = p + size;
    unsigned seen = 0, own = 0;
    if (has_fixed_part(p, size)) {
        seen = SEEN_IDS;
        p = pass_usual_fields(p + SONDE__BODY_ROOT, end);
    }
    while (p && p < end) {
        const uint8_t *field = p;
        if (__builtin_expect(*p == SONDE__TAG(9, SONDE__WIRE_BYTES), 1)) {
            p = read_pair(p + 1, end);
            own |= p ? pair_is_own(field, p) : 0;
        } else {
            p = read_span_field(p, end, &seen);
        }
    }
    return p && seen == SEEN_IDS ? SONDE__LOOK_VALID | own << 1 : 0;
}

bool sonde__span_is_valid(const void *body, size_t size) {
    return sonde__span_look(body, size) != 0;
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

unsigned sonde__log_look(const void *body, size_t size) {
    const uint8_t *p = body, *end = p + size;
    unsigned own = 0;
    while (p && p < end) {
        const uint8_t *field = p;
        p = read_log_field(p, end);
        if (*field == SONDE__TAG(12, SONDE__WIRE_BYTES) && p && p - field >= 6)
            own |= field[1] >= 0x80 || sonde__load32(field + 2) == own_word();
    }
    return p && size > 0 ? SONDE__LOOK_VALID | own << 1 : 0;
}

bool sonde__log_is_valid(const void *body, size_t size) {
    return sonde__log_look(body, size) != 0;
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
