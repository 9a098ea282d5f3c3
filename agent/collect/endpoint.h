/* SPDX-License-Identifier: Apache-2.0 */
/* Where an HTTP API is, as an operator writes it. */
#ifndef SONDE_AGENT_COLLECT_ENDPOINT_H
#define SONDE_AGENT_COLLECT_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sonde__endpoint {
    char url[512]; /* without a slash at the end */
    char host[256];
    uint16_t port;
    bool tls;
};

/** text: "http://HOST", "https://HOST:PORT", "https://[IPV6]:PORT/PATH"; no user, query or fragment.
 *  Returns 0, SONDE_EINVALID. */
int sonde__endpoint_parse(const char *text, struct sonde__endpoint *ret_endpoint);

#endif
