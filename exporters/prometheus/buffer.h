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
}

/** Room for size more bytes at data + size; false when out of memory. */
bool buffer_reserve(struct buffer *b, size_t size);
void buffer_put(struct buffer *b, const void *bytes, size_t size);
void buffer_text(struct buffer *b, const char *text);
void buffer_uint(struct buffer *b, uint64_t value);
void buffer_int(struct buffer *b, int64_t value);
/** The shortest decimal that reads back as the same double; +Inf, -Inf, NaN. */
void buffer_double(struct buffer *b, double value);

#endif
