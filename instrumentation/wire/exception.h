/* SPDX-License-Identifier: Apache-2.0 */
/* An exception as attributes. Source: OpenTelemetry semantic conventions, exceptions. */
#ifndef SONDE_WIRE_EXCEPTION_H
#define SONDE_WIRE_EXCEPTION_H

#include <sonde/attribute.h>
#include <string.h>

#define SONDE__EXCEPTION_ATTRIBUTES 3u

static inline bool sonde__attributes_have(const struct sonde_attribute *attributes, size_t count,
                                          struct sonde_key key) {
    for (size_t i = 0; attributes && i < count; i++)
        if (attributes[i].key.length == key.length && memcmp(attributes[i].key.text, key.text, key.length) == 0)
            return true;
    return false;
}

/** It has a type or a message. */
static inline bool sonde__is_exception(const struct sonde_exception *exception) {
    return exception && ((exception->type && *exception->type) || (exception->message && *exception->message));
}

/** Borrows the exception's texts. What the caller has an attribute of its own for is left out: that one counts
 *  (trace/exceptions.md). Returns how many were written. */
static inline size_t sonde__exception_attributes(const struct sonde_exception *exception,
                                                 const struct sonde_attribute *attributes, size_t attribute_count,
                                                 struct sonde_attribute ret_own[SONDE__EXCEPTION_ATTRIBUTES]) {
    const struct sonde_attribute all[SONDE__EXCEPTION_ATTRIBUTES] = {
        sonde_attribute_string(SONDE_KEY("exception.type"), exception->type),
        sonde_attribute_string(SONDE_KEY("exception.message"), exception->message),
        sonde_attribute_string(SONDE_KEY("exception.stacktrace"), exception->stacktrace)};
    size_t count = 0;
    for (size_t i = 0; i < SONDE__EXCEPTION_ATTRIBUTES; i++)
        if (all[i].size && !sonde__attributes_have(attributes, attribute_count, all[i].key))
            ret_own[count++] = all[i];
    return count;
}

#endif
