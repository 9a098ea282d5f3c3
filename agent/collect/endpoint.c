/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/endpoint.h"
#include <sonde/err.h>
#include <string.h>

static bool host_is_good(const char *host, size_t size) {
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)host[i] <= ' ' || (unsigned char)host[i] >= 0x7f || strchr("@\\\"<>?#/[]%", host[i]))
            return false;
    return size > 0;
}

/** ":PORT" or nothing, up to end. Returns false when it is neither. */
static bool port_parse(const char *at, const char *end, uint16_t *port) {
    if (at == end)
        return true;
    if (*at++ != ':' || at == end || end - at > 5)
        return false;
    unsigned number = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        number = number * 10 + (unsigned)(*at - '0');
    }
    *port = (uint16_t)number;
    return number >= 1 && number <= 65535;
}

int sonde__endpoint_parse(const char *text, struct sonde__endpoint *ret_endpoint) {
    struct sonde__endpoint endpoint = {.port = 80};
    if (strncmp(text, "https://", 8) == 0) {
        endpoint.tls = true;
        endpoint.port = 443;
    } else if (strncmp(text, "http://", 7) != 0) {
        return SONDE_EINVALID;
    }
    size_t size = strlen(text);
    while (size && text[size - 1] == '/')
        size--;
    const char *host = text + (endpoint.tls ? 8 : 7), *end = host + strcspn(host, "/?#"), *host_end = end;
    if (size >= sizeof endpoint.url || strcspn(text, "?#\" <>\\\t\r\n") != strlen(text) || strchr(text, '@'))
        return SONDE_EINVALID;
    if (*host == '[') {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (!host_end || !port_parse(host_end + 1, end, &endpoint.port))
            return SONDE_EINVALID;
    } else {
        const char *colon = memchr(host, ':', (size_t)(end - host));
        host_end = colon ? colon : end;
        if (!port_parse(host_end, end, &endpoint.port))
            return SONDE_EINVALID;
    }
    size_t host_size = (size_t)(host_end - host);
    if (host_size >= sizeof endpoint.host || !host_is_good(host, host_size))
        return SONDE_EINVALID;
    memcpy(endpoint.host, host, host_size);
    memcpy(endpoint.url, text, size);
    *ret_endpoint = endpoint;
    return 0;
}
