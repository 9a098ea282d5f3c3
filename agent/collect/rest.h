/* SPDX-License-Identifier: Apache-2.0 */
/* Brokers that are asked over HTTP, one GET at a time: where they are, who asks, and within what is left of the poll. */
#ifndef SONDE_AGENT_COLLECT_REST_H
#define SONDE_AGENT_COLLECT_REST_H

#include "agent/collect/collector.h"
#include "agent/collect/endpoint.h"

#define SONDE__REST_URL_SIZE_MAX    2048u
#define SONDE__REST_SECRET_SIZE_MAX 4096u

/** Where a broker is, as an operator writes it: HOST, HOST:PORT, [IPV6]:PORT, or a whole URL, whose port is 80 or 443
 *  when it names none.
 *  tls, port: of a text that does not say. Returns 0, SONDE_EINVALID. */
int sonde__rest_endpoint_parse(const char *text, bool tls, uint16_t port, struct sonde__endpoint *ret_endpoint);

/** Writes text so that it is one segment of a path, or one value of a query: "/" becomes "%2F". NUL-terminated.
 *  Returns its length, or size when there is no room. */
size_t sonde__rest_escape(const char *text, char *ret_text, size_t size);

/** Set by the owner but what is marked; kept until stopped. */
struct sonde__rest {
    struct sonde__http_client http;
    const struct sonde_time *time;
    const struct sonde_tls_options *tls;
    size_t response_size_max;
    uint64_t deadline_ns; /* monotonic: of the poll; set when it starts */
    /* its own */
    struct sonde_string_map headers;
    char *keys[2], *values[2];
    char authorization[2 * SONDE__REST_SECRET_SIZE_MAX];
    void *exchange;
    void (*done)(void *user, const struct sonde_http_response *response);
    void *user;
};
/** What every request carries: Accept, and Authorization when there is a token ("Bearer") or a user ("Basic").
 *  Returns 0, SONDE_ETOOBIG (secrets), SONDE_EINVALID (more than one line). */
int sonde__rest_authorize(struct sonde__rest *rest, const char *accept, const char *username, const char *password,
                          const char *token);
/** GETs a URL; done is called once, unless stopped before. One at a time. Returns 0, -ETIMEDOUT (nothing is left of the
 *  poll), SONDE_ETOOBIG (the URL), or the client's error. */
int sonde__rest_get(struct sonde__rest *rest, const char *base, const char *path,
                    void (*done)(void *user, const struct sonde_http_response *response), void *user);
void sonde__rest_stop(struct sonde__rest *rest); /* done is not called */
/** Stops, and forgets secrets. */
void sonde__rest_deinit(struct sonde__rest *rest);

#endif
