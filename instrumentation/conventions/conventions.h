/* SPDX-License-Identifier: Apache-2.0 */
/* What the conventions share: the instruments they measure with, the time an operation took, and lists of attributes.
 */
#ifndef SONDE_CONVENTIONS_CONVENTIONS_H
#define SONDE_CONVENTIONS_CONVENTIONS_H

#include "instrumentation/context/clock.h"
#include <sonde/metric.h>
#include <sonde/trace.h>

/* ---- measuring ---- */

enum sonde__convention_metric {
    SONDE__METRIC_HTTP_SERVER = 0,
    SONDE__METRIC_HTTP_CLIENT,
    SONDE__METRIC_RPC_SERVER,
    SONDE__METRIC_RPC_CLIENT,
    SONDE__METRIC_MESSAGING_OPERATION,
    SONDE__METRIC_MESSAGING_PROCESS,
    SONDE__METRIC_MESSAGING_SENT,
    SONDE__METRIC_MESSAGING_CONSUMED,
    SONDE__METRIC_QUEUE_TIME,
    SONDE__METRIC_QUEUE_TIME_SKEWED,
    SONDE__METRIC_COUNT,
};

/** Its instrument, made at the first use; a no-op when that failed. Any thread; takes a lock the first time. */
struct sonde_instrument sonde__convention_instrument(enum sonde__convention_metric metric);

/* ---- scope ---- */

/** The scope of the conventions, with the schema URL of their version; made at the first call. 0 when that failed. */
uint32_t sonde__convention_scope_own(void);
/** That of the user, or where there is none that of the conventions. */
static inline uint32_t sonde__convention_scope(uint32_t scope) {
    return scope ? scope : sonde__convention_scope_own();
}

/* ---- the struct of an operation ---- */

/* What `internal` holds: when it began, and what is known of it. */
enum {
    SONDE__BEGAN_AT = 0, /* ticks; Unix time in ns when it was given */
    SONDE__STATE = 1,
};
enum {
    SONDE__STATE_STARTED = 1,
    SONDE__STATE_BEGAN_UNIX = 2,
    SONDE__STATE_NAMED = 4, /* the route, the id of the message: has been recorded at the start */
};

static inline void sonde__operation_begin(uint64_t internal[2], uint64_t start_unix_ns) {
    internal[SONDE__BEGAN_AT] = start_unix_ns ? start_unix_ns : sonde__clock_ticks();
    internal[SONDE__STATE] = SONDE__STATE_STARTED | (start_unix_ns ? SONDE__STATE_BEGAN_UNIX : 0);
}
/** Seconds since the begin. */
double sonde__operation_seconds(const uint64_t internal[2]);
/** Takes the STARTED mark off; false when there was none. */
static inline bool sonde__operation_finish(uint64_t internal[2]) {
    bool started = internal[SONDE__STATE] & SONDE__STATE_STARTED;
    internal[SONDE__STATE] &= ~(uint64_t)SONDE__STATE_STARTED;
    return started;
}

/* ---- attributes ---- */

/** Sets a string that is not empty. */
static inline void sonde__set_text(struct sonde_span *span, struct sonde_key key, struct sonde_string text) {
    if (text.size)
        sonde_span_set_string(span, key, text.data, text.size);
}
static inline void sonde__set_number(struct sonde_span *span, struct sonde_key key, int64_t number) {
    if (number)
        sonde_span_set_int64(span, key, number);
}
/** error.type and status ERROR. */
static inline void sonde__set_error(struct sonde_span *span, struct sonde_string type) {
    sonde_span_set_string(span, SONDE_KEY("error.type"), type.data, type.size);
    sonde_span_set_status(span, SONDE_STATUS_ERROR, NULL);
}
static inline struct sonde_string sonde__text_of(const char *text) {
    return (struct sonde_string){text, text ? strlen(text) : 0};
}

/* Attributes of one measurement, in the order of their keys: then they need not be sorted. */
struct sonde__set {
    size_t count;
    struct sonde_attribute attributes[8];
};
static inline void sonde__set_init(struct sonde__set *set) {
    set->count = 0;
}
/* Written in place: a struct put together elsewhere and copied would be loaded before its parts are stored. */
static inline struct sonde_attribute *sonde__set_next(struct sonde__set *set, struct sonde_key key,
                                                      enum sonde_value_type type) {
    struct sonde_attribute *attribute = &set->attributes[set->count++];
    attribute->key.text = key.text;
    attribute->key.length = key.length;
    attribute->key.bits[0] = key.bits[0];
    attribute->key.bits[1] = key.bits[1];
    attribute->key.padded = key.padded;
    attribute->key.reserved = 0;
    attribute->type = type;
    return attribute;
}
static inline void sonde__set_add(struct sonde__set *set, struct sonde_key key, struct sonde_string text) {
    if (text.size) {
        struct sonde_attribute *attribute = sonde__set_next(set, key, SONDE_VALUE_STRING);
        attribute->value.string = text.data;
        attribute->size = text.size;
    }
}
static inline void sonde__set_add_number(struct sonde__set *set, struct sonde_key key, int64_t number) {
    if (number) {
        struct sonde_attribute *attribute = sonde__set_next(set, key, SONDE_VALUE_INT64);
        attribute->value.int64 = number;
        attribute->size = 0;
    }
}
/* ---- names ---- */

/* Text put together in a caller's buffer; what does not fit is cut (sonde_span_start() would cut it too). */
struct sonde__name {
    size_t size;
    char text[SONDE_NAME_SIZE_MAX];
};
static inline void sonde__name_add(struct sonde__name *name, const char *text, size_t size) {
    size_t room = sizeof name->text - name->size;
    size = size < room ? size : room;
    memcpy(name->text + name->size, text, size);
    name->size += size;
}
static inline struct sonde_key sonde__name_key(const struct sonde__name *name) {
    return sonde_key_make(name->text, name->size, 0, 0); /* no one looks for names by their numbers */
}

#endif
