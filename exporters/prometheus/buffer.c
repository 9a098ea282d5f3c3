/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/buffer.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool buffer_reserve(struct buffer *b, size_t size) {
    if (b->failed)
        return false;
    if (b->capacity - b->size >= size)
        return true;
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

void buffer_put(struct buffer *b, const void *bytes, size_t size) {
    if (!size || !buffer_reserve(b, size))
        return;
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
}

void buffer_text(struct buffer *b, const char *text) {
    buffer_put(b, text, strlen(text));
}

void buffer_uint(struct buffer *b, uint64_t value) {
    char text[24];
    buffer_put(b, text, (size_t)snprintf(text, sizeof text, "%" PRIu64, value));
}

void buffer_int(struct buffer *b, int64_t value) {
    char text[24];
    buffer_put(b, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

void buffer_double(struct buffer *b, double value) {
    if (isnan(value)) {
        buffer_text(b, "NaN");
    } else if (isinf(value)) {
        buffer_text(b, value > 0 ? "+Inf" : "-Inf");
    } else {
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
