/* SPDX-License-Identifier: Apache-2.0 */
/* Source: OpenTelemetry specification, common/README.md#attribute (non-OTLP representation). */
#include "exporters/prometheus/value.h"
#include "instrumentation/wire/base64.h"
#include "instrumentation/wire/read.h"
#include "instrumentation/wire/validate.h"
#include <stdio.h>

enum { ANY_STRING = 1, ANY_BOOL = 2, ANY_INT = 3, ANY_DOUBLE = 4, ANY_ARRAY = 5, ANY_MAP = 6, ANY_BYTES = 7 };

/* One field of a message. bytes: its data when it is length-delimited; number: else. */
struct field {
    unsigned number;
    struct sonde_bytes bytes;
    uint64_t value;
};

static bool next_field(const uint8_t **at, const uint8_t *end, struct field *ret_field) {
    uint64_t tag;
    if (*at >= end)
        return false;
    const uint8_t *p = sonde__read_varint(*at, end, &tag);
    if (!p)
        return false;
    *ret_field = (struct field){.number = (unsigned)(tag >> 3)};
    size_t size;
    switch (tag & 7) {
    case SONDE__WIRE_BYTES:
        p = sonde__read_size(p, end, &size);
        if (!p)
            return false;
        ret_field->bytes = (struct sonde_bytes){p, size};
        p += size;
        break;
    case SONDE__WIRE_VARINT:
        p = sonde__read_varint(p, end, &ret_field->value);
        break;
    case SONDE__WIRE_FIXED64:
        if (end - p < 8)
            return false;
        ret_field->value = sonde__load64(p);
        p += 8;
        break;
    default:
        p = sonde__read_skip(p, end, (unsigned)(tag & 7));
    }
    *at = p;
    return p != NULL;
}

static void key_value(struct sonde_bytes message, struct sonde_bytes *ret_key, struct sonde_bytes *ret_value) {
    const uint8_t *at = message.data;
    struct field field;
    *ret_key = *ret_value = (struct sonde_bytes){(const uint8_t *)"", 0};
    while (next_field(&at, message.data + message.size, &field)) {
        if (field.number == 1)
            *ret_key = field.bytes;
        else if (field.number == 2)
            *ret_value = field.bytes;
    }
}

bool sonde_prometheus_next_attribute(struct sonde_bytes message, unsigned field_number, const uint8_t **at,
                                     struct sonde_bytes *ret_key, struct sonde_bytes *ret_value) {
    struct field field;
    while (message.size && next_field(at, message.data + message.size, &field)) {
        if (field.number != field_number || !field.bytes.data)
            continue;
        key_value(field.bytes, ret_key, ret_value);
        return true;
    }
    return false;
}

static void base64(struct buffer *to, struct sonde_bytes bytes) {
    char text[64];
    for (size_t i = 0; i < bytes.size; i += 48) {
        size_t size = bytes.size - i < 48 ? bytes.size - i : 48;
        buffer_put(to, text, sonde__base64_write(bytes.data + i, size, true, text));
    }
}

static void json_string(struct buffer *to, struct sonde_bytes text) {
    buffer_text(to, "\"");
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = text.data[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            buffer_put(to, escaped, 2);
        } else if (c < 0x20) {
            buffer_put(to, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        } else {
            buffer_put(to, &text.data[i], 1);
        }
    }
    buffer_text(to, "\"");
}

static void any(struct buffer *to, struct sonde_bytes value, unsigned depth);

static void list(struct buffer *to, struct sonde_bytes message, bool is_map, unsigned depth) {
    const uint8_t *at = message.data;
    struct field field;
    const char *separator = "";
    buffer_text(to, is_map ? "{" : "[");
    while (message.size && next_field(&at, message.data + message.size, &field)) {
        struct sonde_bytes key, value = field.bytes;
        if (field.number != 1)
            continue;
        buffer_text(to, separator);
        separator = ",";
        if (is_map) {
            key_value(field.bytes, &key, &value);
            json_string(to, key);
            buffer_text(to, ":");
        }
        any(to, value, depth + 1);
    }
    buffer_text(to, is_map ? "}" : "]");
}

/* depth 0 is the label's value itself: text without quotes. */
static void any(struct buffer *to, struct sonde_bytes value, unsigned depth) {
    const uint8_t *at = value.data;
    struct field field;
    double real;
    if (!value.size || depth > SONDE__VALUE_DEPTH_MAX || !next_field(&at, value.data + value.size, &field)) {
        buffer_text(to, depth ? "null" : "");
        return;
    }
    switch (field.number) {
    case ANY_STRING:
        if (depth)
            json_string(to, field.bytes);
        else
            buffer_put(to, field.bytes.data, field.bytes.size);
        break;
    case ANY_BOOL:
        buffer_text(to, field.value ? "true" : "false");
        break;
    case ANY_INT:
        buffer_int(to, (int64_t)field.value);
        break;
    case ANY_DOUBLE:
        memcpy(&real, &field.value, sizeof real);
        buffer_double(to, real);
        break;
    case ANY_ARRAY:
    case ANY_MAP:
        list(to, field.bytes, field.number == ANY_MAP, depth);
        break;
    case ANY_BYTES:
        buffer_text(to, depth ? "\"" : "");
        base64(to, field.bytes);
        buffer_text(to, depth ? "\"" : "");
        break;
    default:
        break;
    }
}

void sonde_prometheus_value(struct buffer *to, struct sonde_bytes value) {
    any(to, value, 0);
}
