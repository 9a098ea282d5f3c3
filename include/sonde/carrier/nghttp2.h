/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's header fields as a carrier: what goes into nghttp2_submit_request() and nghttp2_submit_response(), and what
 * a server gathered in on_header_callback. Header-only, and of nghttp2 only types are used. Names are in lower case, as
 * HTTP/2 demands. What is set is marked not to be indexed: it differs in each request and would drive others out of the
 * peer's HPACK table.
 *
 *     nghttp2_nv nva[16] = {...};
 *     char text[SONDE_NGHTTP2_INJECT_SIZE];
 *     struct sonde_nghttp2_headers headers = {nva, 5, 16, text, sizeof text, 0};
 *     struct sonde_carrier carrier = sonde_nghttp2_carrier(&headers);
 *     (void)sonde_inject(NULL, &carrier);
 *     nghttp2_submit_request(session, NULL, nva, headers.count, &body, stream);
 *
 * Source: RFC 9113, 8.2; nghttp2.h. */
#ifndef SONDE_CARRIER_NGHTTP2_H
#define SONDE_CARRIER_NGHTTP2_H

#include <nghttp2/nghttp2.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <sonde/limits.h>
#include <string.h>

SONDE_BEGIN

/** Room in `text` for one context in the default formats. */
#define SONDE_NGHTTP2_INJECT_SIZE (256u + SONDE_TRACESTATE_SIZE_MAX + SONDE_BAGGAGE_SIZE_MAX)

/** The fields. text: where names and values that are set are copied; must live until they are submitted. capacity 0 and
 *  text NULL when only extracted from. */
struct sonde_nghttp2_headers {
    nghttp2_nv *nva;
    size_t count, capacity;
    char *text;
    size_t text_size, text_used;
};

static inline bool sonde_nghttp2_named(const nghttp2_nv *field, struct sonde_string name) {
    return field->namelen == name.size && memcmp(field->name, name.data, name.size) == 0;
}

static inline struct sonde_string sonde_nghttp2_value(const nghttp2_nv *field) {
    struct sonde_string value;
    value.data = SONDE_CAST(const char *, SONDE_CAST(const void *, field->value));
    value.size = field->valuelen;
    while (value.size && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
        value.size--;
    while (value.size && (*value.data == ' ' || *value.data == '\t')) {
        value.data++;
        value.size--;
    }
    return value;
}

static inline bool sonde_nghttp2_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    const struct sonde_nghttp2_headers *headers = SONDE_CAST(const struct sonde_nghttp2_headers *, self);
    size_t i;
    for (i = 0; i < headers->count; i++)
        if (sonde_nghttp2_named(&headers->nva[i], name)) {
            *ret_value = sonde_nghttp2_value(&headers->nva[i]);
            return true;
        }
    return false;
}

static inline void sonde_nghttp2_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const struct sonde_nghttp2_headers *headers = SONDE_CAST(const struct sonde_nghttp2_headers *, self);
    size_t i;
    for (i = 0; i < headers->count; i++)
        if (sonde_nghttp2_named(&headers->nva[i], name) && !visit(user, sonde_nghttp2_value(&headers->nva[i])))
            return;
}

static inline void sonde_nghttp2_remove(void *self, struct sonde_string name) {
    struct sonde_nghttp2_headers *headers = SONDE_CAST(struct sonde_nghttp2_headers *, self);
    size_t i, kept = 0;
    for (i = 0; headers->capacity && i < headers->count; i++)
        if (!sonde_nghttp2_named(&headers->nva[i], name))
            headers->nva[kept++] = headers->nva[i];
    if (headers->capacity)
        headers->count = kept;
}

static inline int sonde_nghttp2_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_nghttp2_headers *headers = SONDE_CAST(struct sonde_nghttp2_headers *, self);
    struct sonde_string old;
    nghttp2_nv *field;
    char *to = headers->text + headers->text_used;
    size_t i;
    for (i = 0; i < value.size; i++)
        if (SONDE_CAST(unsigned char, value.data[i]) < 0x20 || SONDE_CAST(unsigned char, value.data[i]) > 0x7e)
            return SONDE_EINVALID;
    for (i = 0; i < name.size; i++)
        if (SONDE_CAST(unsigned char, name.data[i]) <= 0x20 || SONDE_CAST(unsigned char, name.data[i]) > 0x7e ||
            (name.data[i] >= 'A' && name.data[i] <= 'Z') || name.data[i] == ':')
            return SONDE_EINVALID;
    if (name.size == 0)
        return SONDE_EINVALID;
    if (!headers->text || name.size + value.size > headers->text_size - headers->text_used ||
        headers->count + !sonde_nghttp2_get(self, name, &old) > headers->capacity)
        return SONDE_ETOOBIG;
    sonde_nghttp2_remove(self, name);
    memcpy(to, name.data, name.size);
    memcpy(to + name.size, value.data, value.size);
    headers->text_used += name.size + value.size;
    field = &headers->nva[headers->count++];
    field->name = SONDE_CAST(uint8_t *, SONDE_CAST(void *, to));
    field->namelen = name.size;
    field->value = SONDE_CAST(uint8_t *, SONDE_CAST(void *, to)) + name.size;
    field->valuelen = value.size;
    field->flags = NGHTTP2_NV_FLAG_NO_INDEX;
    return 0;
}

static inline void sonde_nghttp2_keys(void *self, sonde_carrier_visit visit, void *user) {
    const struct sonde_nghttp2_headers *headers = SONDE_CAST(const struct sonde_nghttp2_headers *, self);
    size_t i;
    for (i = 0; i < headers->count; i++) {
        struct sonde_string name;
        name.data = SONDE_CAST(const char *, SONDE_CAST(const void *, headers->nva[i].name));
        name.size = headers->nva[i].namelen;
        if (!visit(user, name))
            return;
    }
}

/** A carrier of the fields. Borrowed while the carrier is used. set: SONDE_ETOOBIG without room, SONDE_EINVALID for
 * bytes that may not stand in a field; the fields are then unchanged. */
static inline struct sonde_carrier sonde_nghttp2_carrier(struct sonde_nghttp2_headers *headers) {
    static const struct sonde_carrier_ops ops = {sonde_nghttp2_get,    sonde_nghttp2_each, sonde_nghttp2_set,
                                                 sonde_nghttp2_remove, sonde_nghttp2_keys, NULL};
    struct sonde_carrier carrier = {&ops, headers};
    return carrier;
}

SONDE_END

#endif
