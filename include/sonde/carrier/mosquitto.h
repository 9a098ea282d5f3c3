/* SPDX-License-Identifier: Apache-2.0 */
/* libmosquitto's property list (MQTT 5) as a carrier, to send and to receive. Header-only, so that libsonde needs no
 * libmosquitto, which copies for each look-up; the copies are kept in the carrier's own buffer.
 *
 *     mosquitto_property *properties = NULL;
 *     struct sonde_mosquitto list;
 *     sonde_mosquitto_init(&list, &properties);
 *     struct sonde_carrier carrier = sonde_mosquitto_carrier(&list);
 *     (void)sonde_inject(NULL, &carrier);
 *     mosquitto_publish_v5(client, NULL, "orders", size, body, 1, false, properties);
 *     mosquitto_property_free_all(&properties);
 *
 * To replace a property the list is made anew. Source: mosquitto.h; OASIS MQTT 5.0, 3.3.2.3.7. */
#ifndef SONDE_CARRIER_MOSQUITTO_H
#define SONDE_CARRIER_MOSQUITTO_H

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <sonde/limits.h>
#include <stdlib.h>
#include <string.h>

SONDE_BEGIN

/** A list, and room for what was read from it; values past that are not seen. */
struct sonde_mosquitto {
    mosquitto_property **list; /* borrowed */
    size_t text_used;
    char text[512u + SONDE_TRACESTATE_SIZE_MAX + SONDE_BAGGAGE_SIZE_MAX];
};

/** list: borrowed while the carrier is used; *list may be NULL (empty) and changes when a property is set. A list that
 * was received is not written: give the address of a copy of its pointer. */
static inline void sonde_mosquitto_init(struct sonde_mosquitto *ret_list, mosquitto_property **list) {
    ret_list->list = list;
    ret_list->text_used = 0;
}

/** The next user property at or behind one. Returns it, or NULL; free() both texts. */
static inline const mosquitto_property *sonde_mosquitto_next(const mosquitto_property *at, bool behind, char **ret_name,
                                                             char **ret_value) {
    *ret_name = *ret_value = NULL;
    return at ? mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, ret_name, ret_value, behind) : NULL;
}

static inline bool sonde_mosquitto_named(const char *text, struct sonde_string name) {
    return text && strlen(text) == name.size && memcmp(text, name.data, name.size) == 0;
}

/** Keeps a copy of a text. Returns false when there is no room. */
static inline bool sonde_mosquitto_keep(struct sonde_mosquitto *list, const char *text, struct sonde_string *ret_text) {
    size_t size = text ? strlen(text) : 0;
    if (size > sizeof list->text - list->text_used)
        return false;
    if (size)
        memcpy(list->text + list->text_used, text, size);
    ret_text->data = list->text + list->text_used;
    ret_text->size = size;
    list->text_used += size;
    return true;
}

static inline void sonde_mosquitto_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_mosquitto *list = SONDE_CAST(struct sonde_mosquitto *, self);
    char *key, *text;
    bool more = true;
    const mosquitto_property *at = sonde_mosquitto_next(*list->list, false, &key, &text);
    while (at) {
        struct sonde_string value;
        bool found = sonde_mosquitto_named(key, name) && sonde_mosquitto_keep(list, text, &value);
        free(key);
        free(text);
        if (found)
            more = visit(user, value);
        if (!more)
            return;
        at = sonde_mosquitto_next(at, true, &key, &text);
    }
}

static inline bool sonde_mosquitto_first(void *user, struct sonde_string text) {
    *SONDE_CAST(struct sonde_string *, user) = text;
    return false;
}

static inline bool sonde_mosquitto_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    sonde_mosquitto_each(self, name, sonde_mosquitto_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

static inline void sonde_mosquitto_keys(void *self, sonde_carrier_visit visit, void *user) {
    struct sonde_mosquitto *list = SONDE_CAST(struct sonde_mosquitto *, self);
    char *key, *text;
    bool more = true;
    const mosquitto_property *at = sonde_mosquitto_next(*list->list, false, &key, &text);
    while (at) {
        struct sonde_string name;
        name.data = key ? key : "";
        name.size = strlen(name.data);
        more = visit(user, name);
        free(key);
        free(text);
        if (!more)
            return;
        at = sonde_mosquitto_next(at, true, &key, &text);
    }
}

/** Copies one property of a PUBLISH, which are the types there are. Returns MOSQ_ERR_*. */
static inline int sonde_mosquitto_copy(mosquitto_property **to, const mosquitto_property *one) {
    int id = mosquitto_property_identifier(one), error = MOSQ_ERR_NOMEM;
    char *text = NULL, *second = NULL;
    void *bytes = NULL;
    uint8_t u8;
    uint16_t size;
    uint32_t u32;
    switch (id) {
    case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
        return mosquitto_property_read_byte(one, id, &u8, false) ? mosquitto_property_add_byte(to, id, u8) : error;
    case MQTT_PROP_TOPIC_ALIAS:
        return mosquitto_property_read_int16(one, id, &size, false) ? mosquitto_property_add_int16(to, id, size)
                                                                    : error;
    case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
        return mosquitto_property_read_int32(one, id, &u32, false) ? mosquitto_property_add_int32(to, id, u32) : error;
    case MQTT_PROP_SUBSCRIPTION_IDENTIFIER:
        return mosquitto_property_read_varint(one, id, &u32, false) ? mosquitto_property_add_varint(to, id, u32)
                                                                    : error;
    case MQTT_PROP_CORRELATION_DATA:
        if (mosquitto_property_read_binary(one, id, &bytes, &size, false))
            error = mosquitto_property_add_binary(to, id, bytes, size);
        free(bytes);
        return error;
    case MQTT_PROP_CONTENT_TYPE:
    case MQTT_PROP_RESPONSE_TOPIC:
        if (mosquitto_property_read_string(one, id, &text, false))
            error = mosquitto_property_add_string(to, id, text ? text : "");
        break;
    case MQTT_PROP_USER_PROPERTY:
        if (mosquitto_property_read_string_pair(one, id, &text, &second, false))
            error = mosquitto_property_add_string_pair(to, id, text ? text : "", second ? second : "");
        break;
    default:
        return MOSQ_ERR_INVAL;
    }
    free(text);
    free(second);
    return error;
}

/** Makes the list anew without a name, and with a value when text is not NULL. On an error it is unchanged. */
static inline int sonde_mosquitto_change(struct sonde_mosquitto *list, struct sonde_string name, const char *key,
                                         const char *text) {
    const mosquitto_property *at;
    mosquitto_property *fresh = NULL;
    int error = 0;
    for (at = *list->list; at && !error; at = mosquitto_property_next(at)) {
        char *have = NULL, *value = NULL;
        bool found = mosquitto_property_identifier(at) == MQTT_PROP_USER_PROPERTY &&
                     sonde_mosquitto_next(at, false, &have, &value) && sonde_mosquitto_named(have, name);
        free(have);
        free(value);
        if (!found)
            error = sonde_mosquitto_copy(&fresh, at);
    }
    if (!error && text)
        error = mosquitto_property_add_string_pair(&fresh, MQTT_PROP_USER_PROPERTY, key, text);
    if (error) {
        mosquitto_property_free_all(&fresh);
        return error == MOSQ_ERR_NOMEM ? -12 : SONDE_EINVALID; /* -ENOMEM */
    }
    mosquitto_property_free_all(list->list);
    *list->list = fresh;
    return 0;
}

static inline bool sonde_mosquitto_has(struct sonde_mosquitto *list, struct sonde_string name) {
    struct sonde_string value;
    size_t used = list->text_used;
    bool found = sonde_mosquitto_get(list, name, &value);
    list->text_used = used;
    return found;
}

static inline void sonde_mosquitto_remove(void *self, struct sonde_string name) {
    struct sonde_mosquitto *list = SONDE_CAST(struct sonde_mosquitto *, self);
    if (sonde_mosquitto_has(list, name))
        (void)sonde_mosquitto_change(list, name, NULL, NULL); /* without memory it stays */
}

static inline int sonde_mosquitto_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_mosquitto *list = SONDE_CAST(struct sonde_mosquitto *, self);
    char key[128], text[SONDE_BAGGAGE_SIZE_MAX + 1u];
    int error;
    if (name.size >= sizeof key || value.size >= sizeof text)
        return SONDE_ETOOBIG;
    if (name.size == 0 || memchr(name.data, '\0', name.size) || (value.size && memchr(value.data, '\0', value.size)))
        return SONDE_EINVALID;
    memcpy(key, name.data, name.size);
    key[name.size] = '\0';
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    if (mosquitto_validate_utf8(key, SONDE_CAST(int, name.size)) != MOSQ_ERR_SUCCESS ||
        mosquitto_validate_utf8(text, SONDE_CAST(int, value.size)) != MOSQ_ERR_SUCCESS)
        return SONDE_EINVALID; /* the whole message would be refused */
    if (sonde_mosquitto_has(list, name))
        return sonde_mosquitto_change(list, name, key, text);
    error = mosquitto_property_add_string_pair(list->list, MQTT_PROP_USER_PROPERTY, key, text);
    return error == 0 ? 0 : error == MOSQ_ERR_NOMEM ? -12 : SONDE_EINVALID;
}

/** A carrier of a list. Borrowed while the carrier is used. set: -ENOMEM, SONDE_ETOOBIG over 8 KiB, SONDE_EINVALID for
 * what is not UTF-8; the list is then unchanged. Memory is libmosquitto's: free with mosquitto_property_free_all(). */
static inline struct sonde_carrier sonde_mosquitto_carrier(struct sonde_mosquitto *list) {
    static const struct sonde_carrier_ops ops = {sonde_mosquitto_get,    sonde_mosquitto_each, sonde_mosquitto_set,
                                                 sonde_mosquitto_remove, sonde_mosquitto_keys, NULL};
    struct sonde_carrier carrier = {&ops, list};
    return carrier;
}

SONDE_END

#endif
