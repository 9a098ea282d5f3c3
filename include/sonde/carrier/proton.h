/* SPDX-License-Identifier: Apache-2.0 */
/* Qpid Proton's maps (AMQP 1.0) as a carrier, to send and to receive. Header-only, so that libsonde needs no Proton.
 *
 *     struct sonde_carrier carrier = sonde_proton_carrier(pn_message_properties(message));
 *     (void)sonde_inject(NULL, &carrier);
 *
 *     struct sonde_carrier annotations = sonde_proton_carrier(pn_message_annotations(message));    // a receiver
 *     struct sonde_carrier properties = sonde_proton_carrier(pn_message_properties(message));
 *     (void)sonde_amqp10_extract(&annotations, &properties, &context);
 *
 * Write application properties only; annotations are the intermediaries'. Strings, symbols and binary are read as text;
 * strings are written. Setting makes Proton allocate. Source: AMQP 1.0, 3.2; proton/codec.h. */
#ifndef SONDE_CARRIER_PROTON_H
#define SONDE_CARRIER_PROTON_H

#include <proton/codec.h>
#include <proton/message.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <string.h>

SONDE_BEGIN

/** The node at hand as text; data NULL for other types. */
static inline struct sonde_string sonde_proton_text(pn_data_t *data) {
    struct sonde_string text = {NULL, 0};
    pn_bytes_t bytes;
    switch (pn_data_type(data)) {
    case PN_STRING:
        bytes = pn_data_get_string(data);
        break;
    case PN_SYMBOL:
        bytes = pn_data_get_symbol(data);
        break;
    case PN_BINARY:
        bytes = pn_data_get_binary(data);
        break;
    default:
        return text;
    }
    text.data = bytes.start ? bytes.start : "";
    text.size = bytes.size;
    return text;
}

/** Enters the map. Returns its pairs; 0 when it is not one. */
static inline size_t sonde_proton_enter(pn_data_t *data) {
    size_t pairs;
    if (!data)
        return 0;
    pn_data_rewind(data);
    if (!pn_data_next(data) || pn_data_type(data) != PN_MAP)
        return 0;
    pairs = pn_data_get_map(data) / 2;
    pn_data_enter(data);
    return pairs;
}

static inline bool sonde_proton_is(struct sonde_string text, struct sonde_string name) {
    return text.data && text.size == name.size && memcmp(text.data, name.data, name.size) == 0;
}

static inline void sonde_proton_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    pn_data_t *data = SONDE_CAST(pn_data_t *, self);
    size_t i, pairs = sonde_proton_enter(data);
    for (i = 0; i < pairs && pn_data_next(data); i++) {
        bool found = sonde_proton_is(sonde_proton_text(data), name);
        if (!pn_data_next(data))
            return;
        if (found) {
            struct sonde_string value = sonde_proton_text(data);
            pn_handle_t point = pn_data_point(data); /* the visitor may read, too */
            if (value.data && !visit(user, value))
                return;
            pn_data_restore(data, point);
        }
    }
}

static inline bool sonde_proton_first(void *user, struct sonde_string text) {
    *SONDE_CAST(struct sonde_string *, user) = text;
    return false;
}

static inline bool sonde_proton_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    sonde_proton_each(self, name, sonde_proton_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

static inline void sonde_proton_keys(void *self, sonde_carrier_visit visit, void *user) {
    pn_data_t *data = SONDE_CAST(pn_data_t *, self);
    size_t i, pairs = sonde_proton_enter(data);
    for (i = 0; i < pairs && pn_data_next(data); i++) {
        struct sonde_string name = sonde_proton_text(data);
        pn_handle_t point = pn_data_point(data);
        if (name.data && !visit(user, name))
            return;
        pn_data_restore(data, point);
        if (!pn_data_next(data))
            return;
    }
}

/** Copies the pairs but those of a name; application properties hold simple values only. Returns false on an error. */
static inline bool sonde_proton_copy(pn_data_t *to, pn_data_t *from, struct sonde_string name) {
    size_t i, pairs = sonde_proton_enter(from);
    bool ok = true;
    for (i = 0; ok && i < pairs && pn_data_next(from); i++) {
        bool found = sonde_proton_is(sonde_proton_text(from), name);
        pn_atom_t key = pn_data_get_atom(from);
        ok = pn_data_next(from);
        if (ok && !found)
            ok = pn_data_put_atom(to, key) == 0 && pn_data_put_atom(to, pn_data_get_atom(from)) == 0;
    }
    return ok;
}

/** Sets when value.data is there, else removes. */
static inline int sonde_proton_change(pn_data_t *data, struct sonde_string name, struct sonde_string value) {
    pn_data_t *fresh = data ? pn_data(pn_data_size(data) + 4) : NULL;
    bool ok;
    if (!fresh)
        return data ? -12 : SONDE_EINVALID; /* -ENOMEM */
    ok = pn_data_put_map(fresh) == 0 && pn_data_enter(fresh) && sonde_proton_copy(fresh, data, name);
    if (ok && value.data)
        ok = pn_data_put_string(fresh, pn_bytes(name.size, name.data)) == 0 &&
             pn_data_put_string(fresh, pn_bytes(value.size, value.data)) == 0;
    pn_data_rewind(fresh);
    if (ok)
        ok = pn_data_copy(data, fresh) == 0;
    pn_data_free(fresh);
    return ok ? 0 : SONDE_EINVALID;
}

static inline int sonde_proton_set(void *self, struct sonde_string name, struct sonde_string value) {
    if (value.size == 0)
        value.data = "";
    else if (memchr(value.data, '\0', value.size))
        return SONDE_EINVALID;
    return sonde_proton_change(SONDE_CAST(pn_data_t *, self), name, value);
}

static inline void sonde_proton_remove(void *self, struct sonde_string name) {
    struct sonde_string value;
    if (sonde_proton_get(self, name, &value)) {
        value.data = NULL;
        (void)sonde_proton_change(SONDE_CAST(pn_data_t *, self), name, value); /* without memory it stays */
    }
}

/** A carrier of a map. Borrowed while the carrier is used; empty or NULL is an empty map. */
static inline struct sonde_carrier sonde_proton_carrier(pn_data_t *map) {
    static const struct sonde_carrier_ops ops = {sonde_proton_get,    sonde_proton_each, sonde_proton_set,
                                                 sonde_proton_remove, sonde_proton_keys, NULL};
    struct sonde_carrier carrier = {&ops, map};
    return carrier;
}

SONDE_END

#endif
