/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/receive/scrape.h"
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "host", "host:port", "[ipv6]:port"; up to size. */
static int authority_parse(const char *text, size_t size, struct sonde__scrape_address *address) {
    const char *end = text + size, *at = text, *host = text;
    if (size && *text == '[') {
        host = text + 1;
        at = memchr(text, ']', size);
        if (!at)
            return SONDE_EINVALID;
    } else
        while (at < end && *at != ':')
            at++;
    size_t host_size = (size_t)(at - host);
    if (!host_size || host_size >= sizeof address->host)
        return SONDE_EINVALID;
    for (size_t i = 0; i < host_size; i++)
        if ((unsigned char)host[i] <= ' ' || host[i] == 0x7f || strchr("@\\\"<>?#/", host[i]))
            return SONDE_EINVALID;
    memcpy(address->host, host, host_size);
    address->host[host_size] = '\0';
    if (at < end && *at == ']')
        at++;
    if (at == end)
        return 0;
    if (*at++ != ':' || at == end || end - at > 5)
        return SONDE_EINVALID;
    unsigned port = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return SONDE_EINVALID;
        port = port * 10 + (unsigned)(*at - '0');
    }
    if (port == 0 || port > 65535)
        return SONDE_EINVALID;
    address->port = (uint16_t)port;
    return 0;
}

int sonde__scrape_address_parse(const char *target, const char *scheme, const char *path,
                                struct sonde__scrape_address *ret_address) {
    struct sonde__scrape_address address = {.port = 0};
    const char *colon = strstr(target, "://"), *authority = target;
    if (colon) {
        size_t size = (size_t)(colon - target);
        if (!((size == 4 && memcmp(target, "http", 4) == 0) || (size == 5 && memcmp(target, "https", 5) == 0)))
            return SONDE_EINVALID;
        memcpy(address.scheme, target, size);
        authority = colon + 3;
    } else
        (void)snprintf(address.scheme, sizeof address.scheme, "%s", scheme);
    size_t size = strcspn(authority, "/?#");
    int err = authority_parse(authority, size, &address);
    if (err || (!colon && authority[size]) || strchr(authority, '#'))
        return SONDE_EINVALID;
    if (!address.port)
        address.port = strcmp(address.scheme, "https") == 0 ? 443 : 80;
    for (const char *at = authority + size; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return SONDE_EINVALID;
    const char *open = strchr(address.host, ':') ? "[" : "", *close = *open ? "]" : "";
    const char *rest = colon && authority[size] ? authority + size : path;
    (void)snprintf(address.instance, sizeof address.instance, "%s%s%s:%u", open, address.host, close, address.port);
    int length = snprintf(address.url, sizeof address.url, "%s://%s%s%s", address.scheme, address.instance,
                          *rest == '/' ? "" : "/", rest);
    if (length < 0 || (size_t)length >= sizeof address.url)
        return SONDE_EINVALID;
    *ret_address = address;
    return 0;
}
