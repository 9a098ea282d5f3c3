/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/buffer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool buffer_grow(struct buffer *b, size_t size) {
    if (b->failed)
        return false;
    size_t capacity = b->capacity ? b->capacity * 2 : 256;
    while (capacity - b->size < size)
        capacity *= 2;
    char *grown = b->alloc->resize(b->alloc->self, b->data, capacity);
    if (!grown) {
        b->failed = true;
        return false;
    }
    b->data = grown;
    b->capacity = capacity;
    return true;
}

void buffer_fit(struct buffer *b, size_t size) {
    if (b->failed || b->capacity - b->size >= size)
        return;
    char *grown = b->alloc->resize(b->alloc->self, b->data, b->size + size);
    if (!grown) {
        b->failed = true;
        return;
    }
    b->data = grown;
    b->capacity = b->size + size;
}

void buffer_uint(struct buffer *b, uint64_t value) {
    char text[20], *at = text + sizeof text;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buffer_put(b, at, (size_t)(text + sizeof text - at));
}

void buffer_int(struct buffer *b, int64_t value) {
    if (value < 0)
        buffer_char(b, '-');
    buffer_uint(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Decimals of up to 15 digits are told apart by every double; most values are one of few places. Such a value is the
 * quotient of two integers that doubles hold exactly, and division rounds correctly. False: it is none. */
static bool put_short(struct buffer *b, double value) {
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    double size = fabs(value);
    if (size == 0 ? signbit(value) : size < 1e-4)
        return false;
    for (unsigned places = 0; places < sizeof powers / sizeof powers[0]; places++) {
        double scaled = size * powers[places];
        if (scaled >= 1e15)
            return false;
        uint64_t whole = (uint64_t)(scaled + 0.5);
        if ((double)whole / powers[places] != size)
            continue;
        uint64_t unit = (uint64_t)powers[places];
        if (value < 0)
            buffer_char(b, '-');
        buffer_uint(b, whole / unit);
        if (!places)
            return true;
        char text[20] = ".";
        uint64_t rest = whole % unit;
        for (unsigned i = places; i > 0; i--, rest /= 10)
            text[i] = (char)('0' + rest % 10);
        buffer_put(b, text, places + 1);
        return true;
    }
    return false;
}

void buffer_double(struct buffer *b, double value) {
    if (isnan(value)) {
        buffer_text(b, "NaN");
    } else if (isinf(value)) {
        buffer_text(b, value > 0 ? "+Inf" : "-Inf");
    } else if (!put_short(b, value)) {
        char text[40];
        int size = 0;
        for (int digits = 15; digits <= 17; digits++) {
            size = snprintf(text, sizeof text, "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                break;
        }
        buffer_put(b, text, (size_t)size);
    }
}

void buffer_bound(struct buffer *b, double value) {
    double size = fabs(value);
    if (isinf(value) || size == 0 || (size >= 1e-4 && size < 1e6)) {
        size_t from = b->size;
        buffer_double(b, value);
        if (!isinf(value) && b->size > from && !memchr(b->data + from, '.', b->size - from))
            buffer_text(b, ".0");
        return;
    }
    char text[40];
    int length = 0;
    for (int digits = 0; digits <= 16; digits++) {
        length = snprintf(text, sizeof text, "%.*e", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_put(b, text, (size_t)length);
}

void buffer_seconds(struct buffer *b, uint64_t unix_ns) {
    uint64_t ms = unix_ns / 1000000u;
    char text[4] = {'.', (char)('0' + ms % 1000 / 100), (char)('0' + ms % 100 / 10), (char)('0' + ms % 10)};
    buffer_uint(b, ms / 1000);
    buffer_put(b, text, sizeof text);
}

void buffer_varint(struct buffer *b, uint64_t value) {
    if (!buffer_reserve(b, 10))
        return;
    for (; value >= 0x80; value >>= 7)
        b->data[b->size++] = (char)(uint8_t)(value | 0x80);
    b->data[b->size++] = (char)(uint8_t)value;
}

uint64_t buffer_varint_read(const uint8_t **at) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}
