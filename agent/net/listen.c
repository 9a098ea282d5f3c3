/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/listen.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HOST_SIZE_MAX 256u
#define BACKLOG       64

/** Cuts "host:port", "[v6]:port" or "host" (port then NULL); brackets go. False when it is none of these. */
static bool split_port(const char *text, char host[HOST_SIZE_MAX], const char **ret_port) {
    const char *end, *start = text;
    if (*text == '[') {
        start = text + 1;
        end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        *ret_port = end[1] ? end + 2 : NULL;
    } else {
        end = strchr(text, ':');
        if (end && strchr(end + 1, ':'))
            return false;
        *ret_port = end ? end + 1 : NULL;
        end = end ? end : text + strlen(text);
    }
    if (end == start || (size_t)(end - start) >= HOST_SIZE_MAX)
        return false;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    return true;
}

static bool parse_address(const char *host, struct sockaddr_storage *ret_address, socklen_t *ret_size) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memset(ret_address, 0, sizeof *ret_address);
    if (inet_pton(AF_INET, strcasecmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4.sin_addr) == 1) {
        memcpy(ret_address, &v4, sizeof v4);
        *ret_size = sizeof v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return false;
    memcpy(ret_address, &v6, sizeof v6);
    *ret_size = sizeof v6;
    return true;
}

int sonde__listen_parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size) {
    char host[HOST_SIZE_MAX], *end;
    const char *port;
    if (!split_port(text, host, &port) || !port || port[0] < '0' || port[0] > '9')
        return SONDE_EINVALID;
    unsigned long number = strtoul(port, &end, 10);
    if (*end || number > 65535 || strlen(port) > 5 || !parse_address(host, ret_address, ret_size))
        return SONDE_EINVALID;
    if (ret_address->ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)ret_address)->sin_port = htons((uint16_t)number);
    else
        ((struct sockaddr_in6 *)(void *)ret_address)->sin6_port = htons((uint16_t)number);
    return 0;
}

bool sonde__address_is_loopback(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

int sonde__listen_open(const struct sockaddr_storage *address, socklen_t size, int *ret_fd) {
    int on = 1, fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* a restart need not wait for TIME_WAIT */
    if (address->ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)address, size) != 0 || listen(fd, BACKLOG) != 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

void sonde__address_format(int fd, char *text, size_t text_size) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        (void)snprintf(text, text_size, "?");
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&address;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        (void)snprintf(text, text_size, "%s:%u", host, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const void *)&address;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        (void)snprintf(text, text_size, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
}

bool sonde__host_is_allowed(const char *text, const struct sonde_string_list *allowed, bool any_address) {
    char host[HOST_SIZE_MAX];
    const char *port;
    struct sockaddr_storage address;
    socklen_t size;
    if (!split_port(text, host, &port) || (port && port[strspn(port, "0123456789")] != '\0'))
        return false;
    if (parse_address(host, &address, &size)) /* localhost is one */
        return any_address || sonde__address_is_loopback(&address);
    for (size_t i = 0; allowed && i < allowed->count; i++)
        if (strcasecmp(allowed->items[i], host) == 0)
            return true;
    return false;
}

/** Reads the authority of an URL as an address: "http://localhost:4320/x". False when it names no numeric address. */
static bool url_address(const char *url, struct sockaddr_storage *ret_address) {
    char text[280];
    socklen_t size;
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0)
        return false;
    const char *start = url + scheme;
    size_t authority = strcspn(start, "/?#");
    for (const char *at; (at = memchr(start, '@', authority)); start = at + 1) /* "user:password@" is no address */
        authority -= (size_t)(at + 1 - start);
    const char *bracket = memchr(start, ']', authority), *from = bracket ? bracket : start;
    bool has_port = memchr(from, ':', authority - (size_t)(from - start)) != NULL;
    int length = snprintf(text, sizeof text, "%.*s%s", (int)(authority < sizeof text ? authority : sizeof text), start,
                          has_port      ? ""
                          : scheme == 7 ? ":80"
                                        : ":443");
    return (size_t)length < sizeof text && sonde__listen_parse(text, ret_address, &size) == 0;
}

static uint16_t port_of(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET ? ((const struct sockaddr_in *)(const void *)address)->sin_port
                                         : ((const struct sockaddr_in6 *)(const void *)address)->sin6_port;
}

/** Same port, and either the same address or, on this machine, one that leads to the same listener. */
static bool reaches(const struct sockaddr_storage *target, const struct sockaddr_storage *listener) {
    if (port_of(target) != port_of(listener) || target->ss_family != listener->ss_family)
        return false;
    if (target->ss_family == AF_INET) {
        const struct sockaddr_in *to = (const void *)target, *at = (const void *)listener;
        return to->sin_addr.s_addr == at->sin_addr.s_addr ||
               (at->sin_addr.s_addr == INADDR_ANY && sonde__address_is_loopback(target));
    }
    const struct sockaddr_in6 *to = (const void *)target, *at = (const void *)listener;
    return memcmp(&to->sin6_addr, &at->sin6_addr, sizeof to->sin6_addr) == 0 ||
           (IN6_IS_ADDR_UNSPECIFIED(&at->sin6_addr) && sonde__address_is_loopback(target));
}

bool sonde__url_reaches(const char *url, const char *listen_text) {
    struct sockaddr_storage listener, target;
    socklen_t size;
    return sonde__listen_parse(listen_text, &listener, &size) == 0 && port_of(&listener) != 0 &&
           url_address(url, &target) && reaches(&target, &listener);
}

bool sonde__url_is_loopback(const char *url) {
    struct sockaddr_storage address;
    return url_address(url, &address) && sonde__address_is_loopback(&address);
}
