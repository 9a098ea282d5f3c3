/* SPDX-License-Identifier: Apache-2.0 */
/* The field array of a stream entry, as hiredis parsed it, as a carrier to extract from. Header-only, so that libsonde
 * needs no hiredis. An entry of XREADGROUP's reply is [id, [field, value, field, value, ...]]: give it the inner array.
 *
 *     struct sonde_context context;
 *     struct sonde_carrier carrier = sonde_hiredis_carrier(entry->element[1]);
 *     (void)sonde_extract(&carrier, &context);
 *
 * A deleted entry that is read again from the pending list has a nil there: it is an empty carrier. */
#ifndef SONDE_CARRIER_HIREDIS_H
#define SONDE_CARRIER_HIREDIS_H

#include <hiredis/hiredis.h>
#include <sonde/carrier.h>
#include <string.h>

SONDE_BEGIN

static inline struct sonde_string sonde_hiredis_text(const redisReply *reply) {
    struct sonde_string text = {NULL, 0};
    if (reply && reply->type == REDIS_REPLY_STRING) {
        text.data = reply->str;
        text.size = SONDE_CAST(size_t, reply->len);
    }
    return text;
}

static inline void sonde_hiredis_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const redisReply *fields = SONDE_CAST(const redisReply *, self);
    size_t i, count = fields && fields->type == REDIS_REPLY_ARRAY ? fields->elements : 0;
    for (i = 0; i + 1 < count; i += 2) {
        struct sonde_string key = sonde_hiredis_text(fields->element[i]);
        if (key.data && key.size == name.size && memcmp(key.data, name.data, name.size) == 0 &&
            !visit(user, sonde_hiredis_text(fields->element[i + 1])))
            return;
    }
}

static inline bool sonde_hiredis_first(void *user, struct sonde_string text) {
    *SONDE_CAST(struct sonde_string *, user) = text;
    return false;
}

static inline bool sonde_hiredis_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string found = {NULL, 0};
    sonde_hiredis_each(self, name, sonde_hiredis_first, &found);
    if (found.data)
        *ret_value = found;
    return found.data != NULL;
}

static inline void sonde_hiredis_keys(void *self, sonde_carrier_visit visit, void *user) {
    const redisReply *fields = SONDE_CAST(const redisReply *, self);
    size_t i, count = fields && fields->type == REDIS_REPLY_ARRAY ? fields->elements : 0;
    for (i = 0; i + 1 < count; i += 2)
        if (!visit(user, sonde_hiredis_text(fields->element[i])))
            return;
}

/** A carrier to extract from. fields: borrowed while the carrier and what it returned are used; NULL is empty. */
static inline struct sonde_carrier sonde_hiredis_carrier(redisReply *fields) {
    static const struct sonde_carrier_ops ops = {
        sonde_hiredis_get, sonde_hiredis_each, NULL, NULL, sonde_hiredis_keys, NULL};
    struct sonde_carrier carrier = {&ops, fields};
    return carrier;
}

SONDE_END

#endif
