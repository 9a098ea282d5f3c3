/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's buffer into which array carriers copy what is set: filled from the front, never moved, because the array
 * points into it. */
#ifndef SONDE_INSTRUMENTATION_CARRIER_TEXT_H
#define SONDE_INSTRUMENTATION_CARRIER_TEXT_H

#include <sonde/attribute.h>
#include <string.h>

struct sonde__text {
    char *data; /* NULL is an empty buffer */
    size_t size;
    size_t *used;
};

static inline bool sonde__text_fits(const struct sonde__text *text, size_t size) {
    return text->data && *text->used <= text->size && size <= text->size - *text->used;
}

/** Copies a string behind what is there, with a NUL. The caller has asked sonde__text_fits(size + 1). */
static inline const char *sonde__text_put(const struct sonde__text *text, struct sonde_string string) {
    char *to = text->data + *text->used;
    memmove(to, string.data, string.size);
    to[string.size] = '\0';
    *text->used += string.size + 1;
    return to;
}

/** Copies a string over one that lies in the buffer and is at least as long. Returns false when it does not. */
static inline bool sonde__text_replace(const struct sonde__text *text, struct sonde_string old,
                                       struct sonde_string string) {
    uintptr_t start = (uintptr_t)text->data, at = (uintptr_t)old.data;
    if (!text->data || at < start || at - start >= text->size || string.size > old.size)
        return false;
    char *to = text->data + (at - start);
    memmove(to, string.data, string.size);
    to[string.size] = '\0';
    return true;
}

#endif
