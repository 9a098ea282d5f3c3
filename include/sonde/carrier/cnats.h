/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a libnats message as a carrier, to send and to receive. Header-only, so that libsonde needs no
 * libnats, which allocates for each look-up.
 *
 *     natsMsg_Create(&message, "orders", NULL, body, size);
 *     struct sonde_carrier carrier = sonde_cnats_carrier(message);
 *     (void)sonde_inject(NULL, &carrier);
 *     natsConnection_PublishMsg(connection, message);
 *
 * Names are read in any case and written in lower case; see nats.h. Source: nats.h of nats.c; NATS ADR-4. */
#ifndef SONDE_CARRIER_CNATS_H
#define SONDE_CARRIER_CNATS_H

#include <nats/nats.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <sonde/limits.h>
#include <stdlib.h>
#include <string.h>

SONDE_BEGIN

static inline bool sonde_cnats_named(const char *key, struct sonde_string name) {
    size_t i;
    for (i = 0; i < name.size; i++) {
        char c = key[i];
        if (c >= 'A' && c <= 'Z')
            c = SONDE_CAST(char, c + ('a' - 'A'));
        if (c == '\0' || c != name.data[i])
            return false;
    }
    return key[i] == '\0';
}

/** Values of one spelling. Returns false when the visitor stops. */
static inline bool sonde_cnats_values(natsMsg *message, const char *key, sonde_carrier_visit visit, void *user) {
    const char **values = NULL;
    int i, count = 0;
    bool more = true;
    if (natsMsgHeader_Values(message, key, &values, &count) != NATS_OK)
        return true;
    for (i = 0; more && i < count; i++) {
        struct sonde_string value;
        value.data = values[i] ? values[i] : "";
        value.size = strlen(value.data);
        more = visit(user, value);
    }
    free(values);
    return more;
}

static inline void sonde_cnats_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const char **keys = NULL;
    int i, count = 0;
    bool more = true;
    if (!self || natsMsgHeader_Keys(SONDE_CAST(natsMsg *, self), &keys, &count) != NATS_OK)
        return;
    for (i = 0; more && i < count; i++)
        if (sonde_cnats_named(keys[i], name))
            more = sonde_cnats_values(SONDE_CAST(natsMsg *, self), keys[i], visit, user);
    free(keys);
}

static inline bool sonde_cnats_first(void *user, struct sonde_string text) {
    *SONDE_CAST(struct sonde_string *, user) = text;
    return false;
}

static inline bool sonde_cnats_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    sonde_cnats_each(self, name, sonde_cnats_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

/** Deletes every spelling of a name but one (NULL = all). */
static inline void sonde_cnats_delete(natsMsg *message, struct sonde_string name, const char *but) {
    const char **keys = NULL;
    int i, count = 0;
    if (!message || natsMsgHeader_Keys(message, &keys, &count) != NATS_OK)
        return;
    for (i = 0; i < count; i++)
        if (sonde_cnats_named(keys[i], name) && !(but && strcmp(keys[i], but) == 0))
            (void)natsMsgHeader_Delete(message, keys[i]);
    free(keys);
}

static inline void sonde_cnats_remove(void *self, struct sonde_string name) {
    sonde_cnats_delete(SONDE_CAST(natsMsg *, self), name, NULL);
}

static inline int sonde_cnats_set(void *self, struct sonde_string name, struct sonde_string value) {
    char key[128], text[SONDE_BAGGAGE_SIZE_MAX + 1u];
    natsStatus status;
    size_t i;
    for (i = 0; i < value.size; i++)
        if (SONDE_CAST(unsigned char, value.data[i]) < 0x20 || SONDE_CAST(unsigned char, value.data[i]) > 0x7e)
            return SONDE_EINVALID;
    for (i = 0; i < name.size; i++)
        if (SONDE_CAST(unsigned char, name.data[i]) <= 0x20 || SONDE_CAST(unsigned char, name.data[i]) > 0x7e ||
            name.data[i] == ':')
            return SONDE_EINVALID;
    if (!self || name.size == 0)
        return SONDE_EINVALID;
    if (name.size >= sizeof key || value.size >= sizeof text)
        return SONDE_ETOOBIG;
    memcpy(key, name.data, name.size);
    key[name.size] = '\0';
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    status = natsMsgHeader_Set(SONDE_CAST(natsMsg *, self), key, text);
    if (status != NATS_OK)
        return status == NATS_NO_MEMORY ? -12 : SONDE_EINVALID; /* -ENOMEM */
    sonde_cnats_delete(SONDE_CAST(natsMsg *, self), name, key);
    return 0;
}

static inline void sonde_cnats_keys(void *self, sonde_carrier_visit visit, void *user) {
    const char **keys = NULL;
    int i, count = 0;
    bool more = true;
    if (!self || natsMsgHeader_Keys(SONDE_CAST(natsMsg *, self), &keys, &count) != NATS_OK)
        return;
    for (i = 0; more && i < count; i++) {
        struct sonde_string name;
        name.data = keys[i];
        name.size = strlen(keys[i]);
        more = visit(user, name);
    }
    free(keys);
}

/** A carrier of a message's headers. Borrowed while the carrier is used; NULL is empty. set: -ENOMEM, SONDE_ETOOBIG
 * over 8 KiB, SONDE_EINVALID for bytes that may not stand in a header. */
static inline struct sonde_carrier sonde_cnats_carrier(natsMsg *message) {
    static const struct sonde_carrier_ops ops = {sonde_cnats_get,    sonde_cnats_each, sonde_cnats_set,
                                                 sonde_cnats_remove, sonde_cnats_keys, NULL};
    struct sonde_carrier carrier = {&ops, message};
    return carrier;
}

SONDE_END

#endif
