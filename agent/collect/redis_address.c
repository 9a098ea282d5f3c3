/* SPDX-License-Identifier: Apache-2.0 */
/* Where a server is: "host", "host:port", "[ipv6]:port", "unix:/path". */
#include "agent/collect/redis_client.h"
#include <sonde/err.h>
#include <string.h>

enum { PORT_DEFAULT = 6379 };

static int port_parse(const char *text, uint16_t *ret_port) {
    uint32_t port = 0;
    if (!*text)
        return SONDE_EINVALID;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || (port = port * 10 + (uint32_t)(*text - '0')) > 65535)
            return SONDE_EINVALID;
    }
    *ret_port = (uint16_t)port;
    return port ? 0 : SONDE_EINVALID;
}

int sonde__redis_address_parse(const char *text, struct sonde__redis_address *ret_address) {
    struct sonde__redis_address address = {.port = PORT_DEFAULT};
    if (strncmp(text, "unix:", 5) == 0) {
        size_t size = strlen(text + 5);
        if (text[5] != '/' || size >= sizeof address.path)
            return SONDE_EINVALID;
        memcpy(address.path, text + 5, size);
        *ret_address = address;
        return 0;
    }
    const char *end = text + strcspn(text, ":"), *port = *end ? end + 1 : NULL;
    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return SONDE_EINVALID;
        port = end[1] ? end + 2 : NULL;
    }
    size_t size = (size_t)(end - text);
    if (size == 0 || size >= sizeof address.host || memchr(text, '/', size) || memchr(text, ' ', size))
        return SONDE_EINVALID;
    memcpy(address.host, text, size);
    if (port && port_parse(port, &address.port))
        return SONDE_EINVALID;
    *ret_address = address;
    return 0;
}
