/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's record headers as a carrier, to send and to receive. Header-only, so that libsonde needs no librdkafka.
 *
 *     rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
 *     struct sonde_carrier carrier = sonde_rdkafka_carrier(headers);
 *     (void)sonde_inject(NULL, &carrier);                         // then RD_KAFKA_V_HEADERS(headers)
 *
 *     rd_kafka_headers_t *headers = NULL;                         // a consumer
 *     (void)rd_kafka_message_headers(message, &headers);
 *     struct sonde_carrier carrier = sonde_rdkafka_carrier(headers);
 *     (void)sonde_extract(&carrier, &context);
 *
 * Of a repeated name the last is seen; see kafka.h. Source: librdkafka's rdkafka.h; Apache Kafka, KIP-82. */
#ifndef SONDE_CARRIER_RDKAFKA_H
#define SONDE_CARRIER_RDKAFKA_H

#include <librdkafka/rdkafka.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <string.h>

SONDE_BEGIN

#define SONDE_RDKAFKA_NAME_SIZE 128u

/** The name with a NUL; false when it is too long. */
static inline bool sonde_rdkafka_name(struct sonde_string name, char ret_name[SONDE_RDKAFKA_NAME_SIZE]) {
    if (name.size >= SONDE_RDKAFKA_NAME_SIZE)
        return false;
    memcpy(ret_name, name.data, name.size);
    ret_name[name.size] = '\0';
    return true;
}

static inline bool sonde_rdkafka_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    char text[SONDE_RDKAFKA_NAME_SIZE];
    const void *value = NULL;
    size_t size = 0;
    if (!self || !sonde_rdkafka_name(name, text) ||
        rd_kafka_header_get_last(SONDE_CAST(const rd_kafka_headers_t *, self), text, &value, &size) || !value)
        return false;
    ret_value->data = SONDE_CAST(const char *, value);
    ret_value->size = size;
    return true;
}

static inline void sonde_rdkafka_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_string value;
    if (sonde_rdkafka_get(self, name, &value))
        (void)visit(user, value);
}

static inline void sonde_rdkafka_remove(void *self, struct sonde_string name) {
    char text[SONDE_RDKAFKA_NAME_SIZE];
    if (self && sonde_rdkafka_name(name, text))
        (void)rd_kafka_header_remove(SONDE_CAST(rd_kafka_headers_t *, self), text); /* absent is fine */
}

static inline int sonde_rdkafka_set(void *self, struct sonde_string name, struct sonde_string value) {
    char text[SONDE_RDKAFKA_NAME_SIZE];
    if (!self || name.size == 0 || !sonde_rdkafka_name(name, text) || memchr(name.data, '\0', name.size) ||
        (value.size && memchr(value.data, '\0', value.size)))
        return SONDE_EINVALID;
    if (rd_kafka_header_remove(SONDE_CAST(rd_kafka_headers_t *, self), text) == RD_KAFKA_RESP_ERR__READ_ONLY)
        return SONDE_EINVALID;
    return rd_kafka_header_add(SONDE_CAST(rd_kafka_headers_t *, self), text, SONDE_CAST(ssize_t, name.size), value.data,
                               SONDE_CAST(ssize_t, value.size))
               ? SONDE_EINVALID
               : 0;
}

static inline void sonde_rdkafka_keys(void *self, sonde_carrier_visit visit, void *user) {
    const char *text;
    const void *value;
    size_t size, i;
    for (i = 0; self && !rd_kafka_header_get_all(SONDE_CAST(const rd_kafka_headers_t *, self), i, &text, &value, &size);
         i++) {
        struct sonde_string name;
        name.data = text;
        name.size = strlen(text);
        if (!visit(user, name))
            return;
    }
}

/** A carrier of headers. Borrowed while the carrier is used; NULL is empty, and then nothing can be set. Those of a
 * consumed message are freed with it, and so is what was read. */
static inline struct sonde_carrier sonde_rdkafka_carrier(rd_kafka_headers_t *headers) {
    static const struct sonde_carrier_ops ops = {sonde_rdkafka_get,    sonde_rdkafka_each, sonde_rdkafka_set,
                                                 sonde_rdkafka_remove, sonde_rdkafka_keys, NULL};
    struct sonde_carrier carrier = {&ops, headers};
    return carrier;
}

SONDE_END

#endif
