/* SPDX-License-Identifier: Apache-2.0 */
/* One attribute as a value, for calls that take several at once: events, links, logs, metrics, scopes.
 * Source: OpenTelemetry specification, common/README.md#attribute. */
#ifndef SONDE_ATTRIBUTE_H
#define SONDE_ATTRIBUTE_H

#include <sonde/key.h>

SONDE_BEGIN

enum sonde_value_type {
    SONDE_VALUE_STRING = 1,
    SONDE_VALUE_BOOL,
    SONDE_VALUE_INT64,
    SONDE_VALUE_DOUBLE,
    SONDE_VALUE_BYTES,
    SONDE_VALUE_STRING_ARRAY,
    SONDE_VALUE_BOOL_ARRAY,
    SONDE_VALUE_INT64_ARRAY,
    SONDE_VALUE_DOUBLE_ARRAY,
};

/** Text or bytes with a length; no NUL needed, NUL allowed inside. Borrowed. */
struct sonde_string {
    const char *data;
    size_t size;
};

/** Key and value; everything it points to is borrowed during the call.
 *  size  bytes of a string or byte value, or the count of an array; unused otherwise.
 *  Strings that are not UTF-8 have their bad bytes replaced by U+FFFD. */
struct sonde_attribute {
    struct sonde_key key;
    enum sonde_value_type type;
    size_t size;
    union {
        const char *string; /* STRING */
        const void *bytes;  /* BYTES */
        bool boolean;
        int64_t int64;
        double float64;
        const struct sonde_string *strings; /* the arrays */
        const bool *booleans;
        const int64_t *int64s;
        const double *doubles;
    } value;
};

/** An exception or error of the host language. All NUL-terminated, borrowed; NULL or empty ones are left out; without a
 *  type and a message it is none. Source: OpenTelemetry specification, trace/exceptions.md, logs/exceptions.md. */
struct sonde_exception {
    const char *type, *message, *stacktrace;
};

static inline struct sonde_attribute sonde_attribute_string_n(struct sonde_key key, const char *value, size_t size) {
    struct sonde_attribute a;
    a.key = key;
    a.type = SONDE_VALUE_STRING;
    a.size = size;
    a.value.string = value;
    return a;
}
/* value  NUL-terminated; NULL counts as "". */
static inline struct sonde_attribute sonde_attribute_string(struct sonde_key key, const char *value) {
    const char *text = value ? value : "";
    return sonde_attribute_string_n(key, text, strlen(text));
}
static inline struct sonde_attribute sonde_attribute_int64(struct sonde_key key, int64_t value) {
    struct sonde_attribute a;
    a.key = key;
    a.type = SONDE_VALUE_INT64;
    a.size = 0;
    a.value.int64 = value;
    return a;
}
static inline struct sonde_attribute sonde_attribute_double(struct sonde_key key, double value) {
    struct sonde_attribute a;
    a.key = key;
    a.type = SONDE_VALUE_DOUBLE;
    a.size = 0;
    a.value.float64 = value;
    return a;
}
static inline struct sonde_attribute sonde_attribute_bool(struct sonde_key key, bool value) {
    struct sonde_attribute a;
    a.key = key;
    a.type = SONDE_VALUE_BOOL;
    a.size = 0;
    a.value.boolean = value;
    return a;
}

SONDE_END

#endif
