/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP header fields: an array of pairs. Names are compared without case, by length first: of a dozen headers hardly
 * one has the right length, so a look-up touches little memory. */
#include "instrumentation/carrier/text.h"
#include "instrumentation/wire/field.h"
#include <sonde/carrier/http.h>
#include <sonde/err.h>

/* Out of line: a search compares sizes in a tight loop, and seldom comes here. */
static __attribute__((noinline)) bool bytes_equal(const char *name, const char *lower, size_t size) {
    return sonde__lower_equals(name, lower, size);
}

static inline bool name_equals(struct sonde_string header, struct sonde_string lower) {
    return header.size == lower.size && bytes_equal(header.data, lower.data, lower.size);
}

/** Index of the first header of a name at or after `from`, or count. */
static size_t find(const struct sonde_http_headers *headers, struct sonde_string name, size_t from) {
    size_t i = from;
    while (i < headers->count && !name_equals(headers->headers[i].name, name))
        i++;
    return i;
}

static bool http_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    const struct sonde_http_headers *headers = self;
    size_t i = find(headers, name, 0);
    if (i == headers->count)
        return false;
    *ret_value = sonde__trim(headers->headers[i].value);
    return true;
}

static void http_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const struct sonde_http_headers *headers = self;
    for (size_t i = find(headers, name, 0); i < headers->count; i = find(headers, name, i + 1))
        if (!visit(user, sonde__trim(headers->headers[i].value)))
            return;
}

/** Takes out every header of a name at or after `from`; the others keep their order. */
static void remove_from(struct sonde_http_headers *headers, struct sonde_string name, size_t from) {
    size_t kept = from;
    for (size_t i = from; i < headers->count; i++)
        if (!name_equals(headers->headers[i].name, name))
            headers->headers[kept++] = headers->headers[i];
    headers->count = kept;
}

static void http_remove(void *self, struct sonde_string name) {
    struct sonde_http_headers *headers = self;
    size_t i = find(headers, name, 0);
    if (i < headers->count) /* else the array, which may be constant, is not written */
        remove_from(headers, name, i);
}

/** Whether eight bytes are all of 0x20..0x7e. Per byte: not above 0x7f, not below 0x20, not 0x7f; the borrow of a
 *  subtraction can only disturb bytes above one that is already refused. */
static bool is_printable8(const char *text) {
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t x;
    memcpy(&x, text, sizeof x);
    uint64_t is_delete = x ^ (0x7f * ones);
    return ((x | (x - 0x20 * ones) | (is_delete - ones)) & high) == 0;
}

static bool value_is_sendable(struct sonde_string value) {
    size_t i = 0;
    while (i + 8 <= value.size && is_printable8(value.data + i))
        i += 8;
    if (i && value.size - i < 8 && is_printable8(value.data + value.size - 8))
        return true;            /* the rest, with some of what was seen */
    for (; i < value.size; i++) /* the rest, or from where a tab may be */
        if ((value.data[i] < 0x20 || value.data[i] > 0x7e) && value.data[i] != '\t')
            return false;
    return true;
}

/** Whether eight bytes of a name can be: printable, and neither a space nor a colon. */
static bool is_name8(const char *text) {
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t x;
    memcpy(&x, text, sizeof x);
    uint64_t is_colon = x ^ (0x3a * ones), is_space = x ^ (0x20 * ones);
    return is_printable8(text) && (((is_colon - ones) | (is_space - ones)) & high) == 0;
}

static bool name_is_sendable(struct sonde_string name) {
    if (name.size >= 8 && name.size <= 16 && is_name8(name.data) && is_name8(name.data + name.size - 8))
        return true;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= 0x20 || name.data[i] > 0x7e || name.data[i] == ':')
            return false;
    return name.size > 0;
}

static int http_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_http_headers *headers = self;
    if (!name_is_sendable(name) || !value_is_sendable(value))
        return SONDE_EINVALID;
    struct sonde__text text = {headers->text, headers->text_size, &headers->text_used};
    size_t i = find(headers, name, 0);
    if (i == headers->count) {
        if (headers->count >= headers->capacity || !sonde__text_fits(&text, name.size + value.size + 2))
            return SONDE_ETOOBIG;
        headers->headers[i].name = (struct sonde_string){sonde__text_put(&text, name), name.size};
        headers->headers[i].value = (struct sonde_string){sonde__text_put(&text, value), value.size};
        headers->count++;
        return 0;
    }
    struct sonde_http_header *header = &headers->headers[i];
    if (!sonde__text_replace(&text, header->value, value)) {
        if (!sonde__text_fits(&text, value.size + 1))
            return SONDE_ETOOBIG;
        header->value.data = sonde__text_put(&text, value);
    }
    header->value.size = value.size;
    remove_from(headers, name, i + 1);
    return 0;
}

static void http_keys(void *self, sonde_carrier_visit visit, void *user) {
    const struct sonde_http_headers *headers = self;
    for (size_t i = 0; i < headers->count; i++)
        if (!visit(user, headers->headers[i].name))
            return;
}

static void http_array(void *self, struct sonde_carrier_array *ret_array) {
    const struct sonde_http_headers *headers = self;
    const void *pairs = headers->headers;
    *ret_array = (struct sonde_carrier_array){pairs, headers->count, .ignore_case = true, .trim = true};
}
_Static_assert(sizeof(struct sonde_http_header) == sizeof(struct sonde_carrier_pair) &&
                   offsetof(struct sonde_http_header, value) == offsetof(struct sonde_carrier_pair, value),
               "a header is a pair");

struct sonde_carrier sonde_http_carrier(struct sonde_http_headers *headers) {
    static const struct sonde_carrier_ops ops = {.get = http_get,
                                                 .each = http_each,
                                                 .set = http_set,
                                                 .remove = http_remove,
                                                 .keys = http_keys,
                                                 .array = http_array};
    return (struct sonde_carrier){&ops, headers};
}
