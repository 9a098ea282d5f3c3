/* SPDX-License-Identifier: Apache-2.0 */
/* Header fields: names compared without case, against one in lower case, and values without the space round them. */
#ifndef SONDE_WIRE_FIELD_H
#define SONDE_WIRE_FIELD_H

#include <sonde/attribute.h>
#include <string.h>

/** Whether eight bytes of a name equal eight in lower case. A bit that makes lower case of letters would also make '-'
 *  and digits of control characters, which are told by having neither that bit nor the next. */
static inline bool sonde__lower_equals8(const char *name, const char *lower) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t x, y;
    memcpy(&x, name, sizeof x);
    memcpy(&y, lower, sizeof y);
    return ((x | ones * 0x20) ^ y) == 0 && ((x | x << 1) & ones * 0x40) == ones * 0x40;
}

/** Whether a name equals one of the same size in lower case. */
static inline bool sonde__lower_equals(const char *name, const char *lower, size_t size) {
    size_t i = 0;
    for (; i + 8 <= size; i += 8)
        if (!sonde__lower_equals8(name + i, lower + i))
            return false;
    if (i && i < size) /* the rest, with some of what was seen */
        return sonde__lower_equals8(name + size - 8, lower + size - 8);
    for (; i < size; i++) {
        char c = name[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (c != lower[i])
            return false;
    }
    return true;
}

static inline bool sonde__is_space(char c) {
    return c == ' ' || c == '\t';
}

static inline struct sonde_string sonde__trim(struct sonde_string value) {
    while (value.size && sonde__is_space(value.data[value.size - 1]))
        value.size--;
    while (value.size && sonde__is_space(*value.data)) {
        value.data++;
        value.size--;
    }
    return value;
}

#endif
