/* SPDX-License-Identifier: Apache-2.0 */
/* Text that grows, on the seams' allocator. Once it could not grow it stays failed and takes no more. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_BUFFER_H
#define SONDE_EXPORTERS_PROMETHEUS_BUFFER_H

#include "exporters/seam.h"
#include <stdbool.h>
#include <string.h>

struct buffer {
    const struct sonde_alloc *alloc;
    char *data; /* owned */
    size_t size, capacity;
    bool failed;
};

static inline void buffer_init(struct buffer *b, const struct sonde_alloc *alloc) {
    *b = (struct buffer){.alloc = alloc};
}
static inline void buffer_deinit(struct buffer *b) {
    sonde_alloc_free(b->alloc, b->data);
    b->data = NULL;
    b->size = b->capacity = 0;
}

/** Makes room, when there is not enough. */
bool buffer_grow(struct buffer *b, size_t size);
/** Room for size more bytes at data + size; false when out of memory. */
static inline bool buffer_reserve(struct buffer *b, size_t size) {
    return b->capacity - b->size >= size && !b->failed ? true : buffer_grow(b, size);
}
/** Room for so much and no more, where it is known before. */
void buffer_fit(struct buffer *b, size_t size);
static inline void buffer_put(struct buffer *b, const void *bytes, size_t size) {
    if (!size || !buffer_reserve(b, size))
        return;
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
}
static inline void buffer_text(struct buffer *b, const char *text) {
    buffer_put(b, text, strlen(text));
}
static inline void buffer_char(struct buffer *b, char c) {
    if (buffer_reserve(b, 1))
        b->data[b->size++] = c;
}
void buffer_uint(struct buffer *b, uint64_t value);
void buffer_int(struct buffer *b, int64_t value);
/** The shortest decimal that reads back as the same double; +Inf, -Inf, NaN. */
void buffer_double(struct buffer *b, double value);
/** A boundary as Prometheus itself writes it: 1.0, 0.25, 1.048576e+06, +Inf. */
void buffer_bound(struct buffer *b, double value);
/** Unix time in seconds, to the millisecond. */
void buffer_seconds(struct buffer *b, uint64_t unix_ns);

/* Protocol Buffers */
void buffer_varint(struct buffer *b, uint64_t value);
/** Reads what buffer_varint() wrote; *at moves on. */
uint64_t buffer_varint_read(const uint8_t **at);

#endif
