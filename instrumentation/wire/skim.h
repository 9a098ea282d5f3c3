/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the few fields a stage asks for out of an encoded Span, LogRecord or Resource, in place and in any field
 * order, without unpacking it. Every length is checked, so bytes that were not validated are safe too; what is not
 * asked for is passed over. Singular fields: the last one counts, as protobuf has it. */
#ifndef SONDE_WIRE_SKIM_H
#define SONDE_WIRE_SKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE__SKIM_KEYS_MAX 8u

/** Field numbers of AnyValue. */
enum sonde__value_type {
    SONDE__VALUE_ABSENT = 0, /* no such attribute, or its value is empty */
    SONDE__VALUE_STRING,
    SONDE__VALUE_BOOL,
    SONDE__VALUE_INT,
    SONDE__VALUE_DOUBLE,
    SONDE__VALUE_ARRAY,
    SONDE__VALUE_MAP,
    SONDE__VALUE_BYTES,
};
struct sonde__value {
    uint32_t type; /* enum sonde__value_type */
    uint32_t size;
    const uint8_t *data; /* STRING, BYTES: the bytes; ARRAY, MAP: the encoded list. Points into the message */
    union {
        int64_t integer; /* BOOL, INT */
        double real;     /* DOUBLE */
    };
};

/** Attributes to look for. Set up once, used for many messages. */
struct sonde__skim_keys {
    uint32_t count;
    const char *text[SONDE__SKIM_KEYS_MAX];
    uint32_t size[SONDE__SKIM_KEYS_MAX];
    uint64_t first[SONDE__SKIM_KEYS_MAX], last[SONDE__SKIM_KEYS_MAX];
    uint8_t by_size[256]; /* key length -> bits of candidates */
};
void sonde__skim_keys_init(struct sonde__skim_keys *keys);
/** key: kept until keys are done with; NUL-terminated, 1..255 bytes. Returns its index in values, or SONDE_EFULL,
 *  SONDE_EINVALID. */
int sonde__skim_keys_add(struct sonde__skim_keys *keys, const char *key);

struct sonde__span_fields {
    const uint8_t *trace_id, *span_id; /* 16 and 8 bytes */
    const uint8_t *parent_id;          /* 8 bytes, NULL = root */
    const uint8_t *name, *tracestate;  /* NULL = absent */
    uint32_t name_size, tracestate_size;
    uint64_t start_unix_ns, end_unix_ns;
    uint32_t kind, status, flags;
    struct sonde__value values[SONDE__SKIM_KEYS_MAX];
};
struct sonde__log_fields {
    const uint8_t *trace_id, *span_id; /* NULL = absent */
    const uint8_t *event_name;
    uint32_t event_name_size;
    uint64_t time_unix_ns, observed_unix_ns;
    uint32_t severity, flags;
    struct sonde__value body;
    struct sonde__value values[SONDE__SKIM_KEYS_MAX];
};

/** keys may be NULL. Returns false when the bytes do not follow the format, or a span has no ids. Any thread. */
bool sonde__span_skim(const void *body, size_t size, const struct sonde__skim_keys *keys,
                      struct sonde__span_fields *ret_fields);
bool sonde__log_skim(const void *body, size_t size, const struct sonde__skim_keys *keys,
                     struct sonde__log_fields *ret_fields);
/** Attributes of any message that has them as field `field` (Resource 1, scope 3, span 9, ...). values has
 *  SONDE__SKIM_KEYS_MAX entries. */
bool sonde__attributes_skim(const void *message, size_t size, unsigned field, const struct sonde__skim_keys *keys,
                            struct sonde__value *ret_values);

#endif
