/* SPDX-License-Identifier: Apache-2.0 */
/* How exporters and collectors reach the network: one HTTP exchange at a time, asynchronous, on the loop.
 * agent/net/ implements it on libcurl's multi interface; tests/lib/ has one that is scripted. No redirects are
 * followed, `Expect:` is empty, answers over response_size_max fail with SONDE_ETOOBIG, a connection that timed out is
 * not used again. */
#ifndef SONDE_EXPORTERS_HTTP_H
#define SONDE_EXPORTERS_HTTP_H

#include "exporters/option.h"
#include <stddef.h>
#include <stdint.h>

/** TLS settings, borrowed for the client's life; NULL or "" = the system's default. */
struct sonde_tls_options {
    const char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
};

/** A signature by AWS's Signature Version 4 over method, URL, all headers and body; made when the request starts. The
 *  path has to be "/" without a query, the body at most 1 MiB. session_token NULL or "" = none. */
struct sonde__http_aws_sigv4 {
    const char *region, *service, *access_key_id, *secret_access_key, *session_token;
};

/** A request; everything is borrowed until done was called or the exchange was cancelled. */
struct sonde_http_request {
    const char *method; /* "POST", "GET" */
    const char *url;
    const struct sonde_string_map *headers; /* of the configuration; may be NULL */
    const char *content_type;               /* NULL = none */
    const char *content_encoding;           /* NULL = identity */
    const char *response_header;            /* one more header of the answer that is wanted; NULL = none */
    const uint8_t *body;
    size_t body_size;
    uint64_t timeout_ns;      /* whole exchange */
    size_t response_size_max; /* bytes of body */
    const struct sonde_tls_options *tls;
    const struct sonde__http_aws_sigv4 *aws_sigv4; /* NULL = not signed */
    bool no_proxy;                                 /* the environment's proxies do not count: link-local services */
};

/** What came back; borrowed during done. error: 0 = an HTTP answer is here (status 100..599); else -errno
 *  (-ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH, -EPROTO, ...) or SONDE_ETOOBIG, and error_text says more.
 *  Strings are never NULL in either case. */
struct sonde_http_response {
    int error;
    const char *error_text;
    int status;
    const char *content_type; /* "" when absent */
    const char *retry_after;  /* raw header value, "" when absent */
    const char *date;         /* raw header value, "" when absent */
    const char *header;       /* of request.response_header: raw value, "" when absent */
    const uint8_t *body;
    size_t body_size;
};

typedef void (*sonde_http_done)(void *user, const struct sonde_http_response *response);

struct sonde__http_client {
    /** Starts an exchange. Returns 0 (done is called later, exactly once, never from inside start) or an error (done is
     *  not called). ret_exchange serves cancel. */
    int (*start)(void *self, const struct sonde_http_request *request, sonde_http_done done, void *user,
                 void **ret_exchange);
    /** Ends an exchange; done is not called. */
    void (*cancel)(void *self, void *exchange);
    void *self;
};

#endif
