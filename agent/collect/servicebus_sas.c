/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/servicebus_sas.h"
#include "exporters/http_headers.h"
#include "instrumentation/carrier/percent.h"
#include "instrumentation/wire/base64.h"
#include "instrumentation/wire/sha256.h"
#include <sonde/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BLOCK 64u

void sonde__servicebus_hmac(const void *key, size_t key_size, const void *data, size_t size, uint8_t ret_mac[32]) {
    uint8_t block[BLOCK] = {0}, inner[BLOCK], outer[BLOCK], digest[SONDE__SHA256_SIZE];
    struct sonde__sha256 hash;
    if (key_size > BLOCK)
        sonde__sha256(key, key_size, block);
    else
        memcpy(block, key, key_size);
    for (size_t i = 0; i < BLOCK; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    sonde__sha256_init(&hash);
    sonde__sha256_add(&hash, inner, BLOCK);
    sonde__sha256_add(&hash, data, size);
    sonde__sha256_finish(&hash, digest);
    sonde__sha256_init(&hash);
    sonde__sha256_add(&hash, outer, BLOCK);
    sonde__sha256_add(&hash, digest, sizeof digest);
    sonde__sha256_finish(&hash, ret_mac);
}

static bool is_unreserved(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static bool escape(const char *text, size_t text_size, char *ret_text, size_t size) {
    struct sonde_string string = {.data = text, .size = text_size};
    if (sonde__percent_encode(string, is_unreserved, NULL) >= size)
        return false;
    ret_text[sonde__percent_encode(string, is_unreserved, ret_text)] = '\0';
    return true;
}

int sonde__servicebus_sign(const char *resource, const char *key_name, const char *key, uint64_t until_unix_s,
                           char *ret_token, size_t size) {
    char uri[1024], text[1088], name[768], signature[192];
    char mac_text[48];
    uint8_t mac[32];
    if (!escape(resource, strlen(resource), uri, sizeof uri) || !escape(key_name, strlen(key_name), name, sizeof name))
        return SONDE_ETOOBIG;
    int text_size = snprintf(text, sizeof text, "%s\n%llu", uri, (unsigned long long)until_unix_s);
    sonde__servicebus_hmac(key, strlen(key), text, (size_t)text_size, mac);
    size_t mac_size = sonde__base64_write(mac, sizeof mac, true, mac_text);
    (void)escape(mac_text, mac_size, signature, sizeof signature); /* 44 characters */
    int written = snprintf(ret_token, size, "SharedAccessSignature sr=%s&sig=%s&se=%llu&skn=%s", uri, signature,
                           (unsigned long long)until_unix_s, name);
    return written > 0 && (size_t)written < size ? 0 : SONDE_ETOOBIG;
}

/** "sb://HOST[:PORT]/" to HOST. */
static bool host_read(const char *text, size_t text_size, char *ret_host, size_t size) {
    const char *slashes = memmem(text, text_size, "://", 3);
    const char *host = slashes ? slashes + 3 : text, *end = host;
    while (end < text + text_size && *end != '/' && *end != ':')
        end++;
    size_t host_size = (size_t)(end - host);
    if (!host_size || host_size >= size)
        return false;
    memcpy(ret_host, host, host_size);
    ret_host[host_size] = '\0';
    return true;
}

static bool value_take(const char *value, size_t value_size, char *ret_text, size_t size) {
    if (!value_size || value_size >= size)
        return false;
    memcpy(ret_text, value, value_size);
    ret_text[value_size] = '\0';
    return sonde__http_is_line(ret_text);
}

static bool pair_read(const char *key, size_t key_size, const char *value, size_t value_size,
                      struct sonde__servicebus_place *place) {
#define IS(word) (key_size == sizeof(word) - 1 && strncasecmp(key, word, key_size) == 0)
    if (IS("Endpoint"))
        return host_read(value, value_size, place->host, sizeof place->host);
    if (IS("SharedAccessKeyName"))
        return value_take(value, value_size, place->key_name, sizeof place->key_name);
    if (IS("SharedAccessKey"))
        return value_take(value, value_size, place->key, sizeof place->key);
    if (IS("SharedAccessSignature"))
        return value_take(value, value_size, place->signature, sizeof place->signature);
#undef IS
    return true;
}

int sonde__servicebus_place_read(const char *text, struct sonde__servicebus_place *ret_place) {
    struct sonde__servicebus_place place = {.host = ""};
    while (*text) {
        size_t size = strcspn(text, ";");
        const char *equals = memchr(text, '=', size); /* the first: keys and signatures have more */
        if (size && (!equals ||
                     !pair_read(text, (size_t)(equals - text), equals + 1, size - (size_t)(equals + 1 - text), &place)))
            return SONDE_EINVALID;
        text += size + (text[size] == ';');
    }
    if (!*place.host || (!*place.signature && (!*place.key_name || !*place.key)))
        return SONDE_EINVALID;
    *ret_place = place;
    return 0;
}
