/* SPDX-License-Identifier: Apache-2.0 */
/* How registries are asked: URLs and TLS. */
#include "agent/discover/health.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

int sonde__discover_base(const char *text, char ret_url[SONDE__DISCOVER_URL_SIZE_MAX]) {
    const char *scheme = strstr(text, "://"), *rest = scheme ? scheme + 3 : text;
    if (scheme && strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
        return SONDE_EINVALID;
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("@?#\\\"<>", *at))
            return SONDE_EINVALID;
    size_t host = strcspn(rest, "/");
    if (host == 0 || rest[0] == ':')
        return SONDE_EINVALID;
    int size = snprintf(ret_url, SONDE__DISCOVER_URL_SIZE_MAX, "%s%s", scheme ? "" : "http://", text);
    if (size < 0 || (size_t)size >= 1024) /* leaves room for path and query */
        return SONDE_EINVALID;
    while (ret_url[size - 1] == '/')
        ret_url[--size] = '\0';
    return 0;
}

bool sonde__discover_path(char url[SONDE__DISCOVER_URL_SIZE_MAX], const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t at = strlen(url);
    for (; *text; text++) {
        if (at + 4 > SONDE__DISCOVER_URL_SIZE_MAX)
            return false;
        if (strchr(plain, *text)) {
            url[at++] = *text;
            url[at] = '\0';
        } else
            at += (size_t)snprintf(url + at, 4, "%%%02X", (unsigned char)*text);
    }
    return true;
}

bool sonde__discover_query(char url[SONDE__DISCOVER_URL_SIZE_MAX], const char *key, const char *value) {
    size_t at = strlen(url);
    if (!*value)
        return true;
    int size = snprintf(url + at, SONDE__DISCOVER_URL_SIZE_MAX - at, "%c%s=", strchr(url, '?') ? '&' : '?', key);
    return size > 0 && (size_t)size < SONDE__DISCOVER_URL_SIZE_MAX - at && sonde__discover_path(url, value);
}

int sonde__discover_tls_check(const struct sonde__discover_tls_config *tls, const char *prefix, char *text,
                              size_t size) {
    if (!*tls->cert_file == !*tls->key_file)
        return 0;
    (void)snprintf(text, size, "%s.tls.%s: %s.tls.cert_file and %s.tls.key_file go together", prefix,
                   *tls->cert_file ? "key_file" : "cert_file", prefix, prefix);
    return SONDE_EINVALID;
}

struct sonde_tls_options sonde__discover_tls(const struct sonde__discover_tls_config *tls) {
    return (struct sonde_tls_options){.ca_file = tls->ca_file,
                                      .cert_file = tls->cert_file,
                                      .key_file = tls->key_file,
                                      .insecure_skip_verify = tls->insecure_skip_verify};
}
