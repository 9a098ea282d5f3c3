/* SPDX-License-Identifier: Apache-2.0 */
/* Labels as bytes of a format. This is where most of a scrape's time goes: room is made once, then bytes are stored. */
#include "exporters/prometheus/escape.h"
#include "exporters/prometheus/labels.h"
#include "instrumentation/wire/read.h"

/* Has any of eight bytes to be escaped? A byte is c when x ^ c is zero there, and a zero borrows from its top bit. */
static bool has_special(const char *at) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
    uint64_t x, found = 0;
    memcpy(&x, at, sizeof x);
    const uint64_t special[] = {x ^ ones * '"', x ^ ones * '\\', x ^ ones * '\n'};
    for (unsigned i = 0; i < 3; i++)
        found |= (special[i] - ones) & ~special[i] & tops;
    return found != 0;
}

static bool is_special(char c) {
    return c == '"' || c == '\\' || c == '\n';
}

/* Room for twice the size must be there. */
static char *put_escaped(char *to, const char *text, size_t size) {
    size_t i = 0;
    while (i + 8 <= size && !has_special(text + i)) {
        memcpy(to, text + i, 8);
        to += 8;
        i += 8;
    }
    for (; i < size; i++) {
        if (is_special(text[i]))
            *to++ = '\\';
        *to++ = text[i] == '\n' ? 'n' : text[i];
    }
    return to;
}

void labels_write_text(const struct labels *labels, struct buffer *to) {
    const struct label *list = (const struct label *)(const void *)labels->list.data;
    size_t count = labels->list.size / sizeof *list, room = 0;
    for (size_t i = 0; i < count; i++)
        room += 2 * ((size_t)list[i].name_size + list[i].value_size) + 6;
    to->failed |= labels_failed(labels);
    if (!count || !buffer_reserve(to, room))
        return;
    char *at = to->data + to->size;
    for (size_t i = 0; i < count; i++) {
        if (i)
            *at++ = ',';
        if (list[i].is_quoted) {
            *at++ = '"';
            at = put_escaped(at, list[i].name, list[i].name_size);
            *at++ = '"';
        } else {
            memcpy(at, list[i].name, list[i].name_size);
            at += list[i].name_size;
        }
        *at++ = '=';
        *at++ = '"';
        at = put_escaped(at, list[i].value, list[i].value_size);
        *at++ = '"';
    }
    to->size = (size_t)(at - to->data);
}

static size_t varint_size(uint64_t value) {
    size_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

size_t labels_proto_size(const struct labels *labels) {
    const struct label *list = (const struct label *)(const void *)labels->list.data;
    size_t total = 0;
    for (size_t i = 0; i < labels->list.size / sizeof *list; i++) {
        size_t name = list[i].name_size, value = list[i].value_size;
        size_t size = 2 + varint_size(name) + name + varint_size(value) + value;
        total += 1 + varint_size(size) + size;
    }
    return total;
}

static char *put_varint(char *to, size_t value) {
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(uint8_t)(value | 0x80);
    *to++ = (char)(uint8_t)value;
    return to;
}

void labels_write_proto(const struct labels *labels, struct buffer *to) {
    const struct label *list = (const struct label *)(const void *)labels->list.data;
    size_t count = labels->list.size / sizeof *list;
    enum {
        METRIC_LABEL = SONDE__TAG(1, SONDE__WIRE_BYTES),
        NAME = METRIC_LABEL,
        VALUE = SONDE__TAG(2, SONDE__WIRE_BYTES)
    };
    to->failed |= labels_failed(labels);
    if (!count || !buffer_reserve(to, labels_proto_size(labels)))
        return;
    char *at = to->data + to->size;
    for (size_t i = 0; i < count; i++) {
        size_t name = list[i].name_size, value = list[i].value_size;
        *at++ = METRIC_LABEL;
        at = put_varint(at, 2 + varint_size(name) + name + varint_size(value) + value);
        *at++ = NAME;
        at = put_varint(at, name);
        memcpy(at, list[i].name, name);
        at += name;
        *at++ = VALUE;
        at = put_varint(at, value);
        memcpy(at, list[i].value, value);
        at += value;
    }
    to->size = (size_t)(at - to->data);
}
