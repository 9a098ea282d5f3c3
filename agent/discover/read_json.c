/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/discover/read_json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *value) {
    const char *text = json_string_value(value);
    return text && json_string_length(value) < SONDE_DISCOVERED_TEXT_SIZE_MAX ? text : "";
}

const char *sonde__discover_text(const json_t *object, const char *key) {
    return text_of(json_object_get(object, key));
}

static bool key_is(const char *name, const char *key) {
    for (; *name && *key; name++, key++)
        if (*name != *key && !(strchr(".-_", *name) && strchr(".-_", *key)))
            return false;
    return *name == *key;
}

const char *sonde__discover_meta(const json_t *metadata, const char *key) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, name, value) /* only read */
        if (key_is(name, key)) return text_of(value);
    return "";
}

static uint16_t port_of(const char *text) {
    size_t size = strlen(text);
    if (size == 0 || size > 5 || strspn(text, "0123456789") != size)
        return 0;
    long port = strtol(text, NULL, 10);
    return port <= 65535 ? (uint16_t)port : 0;
}

uint16_t sonde__discover_port(const json_t *value) {
    if (json_is_integer(value))
        return json_integer_value(value) > 0 && json_integer_value(value) <= 65535 ? (uint16_t)json_integer_value(value)
                                                                                   : 0;
    return port_of(text_of(value));
}

uint16_t sonde__discover_metadata(const json_t *metadata, const char *fields[SONDE_DISCOVERED_FIELDS]) {
    const char *scheme = sonde__discover_meta(metadata, "prometheus.scheme");
    if (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)
        fields[SONDE_DISCOVERED_SCHEME] = scheme;
    fields[SONDE_DISCOVERED_PATH] = sonde__discover_meta(metadata, "prometheus.path");
    const char *version = sonde__discover_meta(metadata, "service.version");
    fields[SONDE_DISCOVERED_VERSION] = *version ? version : sonde__discover_meta(metadata, "version");
    const char *namespace = sonde__discover_meta(metadata, "service.namespace");
    if (*namespace)
        fields[SONDE_DISCOVERED_NAMESPACE] = namespace;
    if (!fields[SONDE_DISCOVERED_ZONE] || !*fields[SONDE_DISCOVERED_ZONE])
        fields[SONDE_DISCOVERED_ZONE] = sonde__discover_meta(metadata, "zone");
    uint16_t port = port_of(sonde__discover_meta(metadata, "prometheus.port"));
    return port ? port : port_of(sonde__discover_meta(metadata, "management.port"));
}

int sonde__discover_put(struct sonde__discovered_set *set, const struct sonde_alloc *alloc, const char *host,
                        uint16_t port, const char *fields[SONDE_DISCOVERED_FIELDS]) {
    char address[SONDE_DISCOVERED_TEXT_SIZE_MAX + 16];
    bool bare = strchr(host, ':') && *host != '[';
    if (!*host || !port) {
        set->left_out++;
        return 0;
    }
    (void)snprintf(address, sizeof address, "%s%s%s:%u", bare ? "[" : "", host, bare ? "]" : "", port);
    fields[SONDE_DISCOVERED_ADDRESS] = address;
    return sonde__discovered_add(set, alloc, fields);
}
