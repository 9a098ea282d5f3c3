/* SPDX-License-Identifier: Apache-2.0 */
/* An exporter that sends to one of our own listeners would feed itself for ever. */
#include "agent/config/config.h"
#include "agent/net/listen.h"
#include <netinet/in.h>
#include <sonde/err.h>
#include <string.h>
#include <strings.h>

/** Reads the authority of an URL as an address: "http://localhost:4320/x". False when it names no numeric address. */
static bool url_address(const char *url, struct sockaddr_storage *ret_address) {
    char text[280];
    socklen_t size;
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0)
        return false;
    size_t authority = strcspn(url + scheme, "/?#");
    const char *bracket = memchr(url + scheme, ']', authority), *from = bracket ? bracket : url + scheme;
    bool has_port = memchr(from, ':', authority - (size_t)(from - (url + scheme))) != NULL;
    int length = snprintf(text, sizeof text, "%.*s%s", (int)authority, url + scheme,
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

int sonde_config_check_own(const struct sonde_config *config, struct sonde_config_error *ret_error) {
    struct sockaddr_storage listener, target;
    socklen_t size;
    if (sonde__listen_parse(config->agent.listen, &listener, &size) != 0 || port_of(&listener) == 0)
        return 0;
    for (size_t i = 0; i < config->counts[SONDE_CONFIG_EXPORTERS]; i++) {
        const struct sonde_config_instance *instance = &config->instances[SONDE_CONFIG_EXPORTERS][i];
        for (const struct sonde_option *row = instance->kind.options; row && row->key; row++) {
            size_t length = strlen(row->key);
            if (row->type != SONDE_OPTION_STRING || length < 8 || strcmp(row->key + length - 8, "endpoint") != 0)
                continue;
            const char *url = *(char *const *)(const void *)((const char *)instance->config + row->offset);
            if (!url || !url_address(url, &target) || !reaches(&target, &listener))
                continue;
            *ret_error = (struct sonde_config_error){.line = instance->line, .column = instance->column};
            (void)snprintf(ret_error->text, sizeof ret_error->text,
                           "exporter %s: %s is this agent's own listener %s; an endpoint elsewhere is accepted",
                           instance->name, row->key, config->agent.listen);
            return SONDE_EINVALID;
        }
    }
    return 0;
}
