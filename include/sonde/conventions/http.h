/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP requests as the semantic conventions want them: one struct and one carrier give the span (name, kind,
 * attributes, status), the context in or out of the headers, and one measurement of http.server.request.duration or
 * http.client.request.duration.
 *
 *     struct sonde_http_server request;
 *     sonde_http_server_init(&request);
 *     request.method = sonde_text("GET");
 *     request.scheme = sonde_text("http");
 *     request.path = sonde_text("/users/17");
 *     request.route = sonde_text("/users/{id}");
 *     sonde_http_server_start(&request, &headers);         // the caller's span is the parent
 *     ...                                                  // request.span is current
 *     request.status_code = 200;
 *     sonde_http_server_end(&request);
 *
 * A method that is not known (OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS; by default those of RFC 9110, PATCH and QUERY)
 * is "_OTHER", named HTTP. Of URLs, user and password and the values of signature keys (AWSAccessKeyId, Signature, sig,
 * X-Goog-Signature, X-Amz-Signature, X-Amz-Credential, X-Amz-Security-Token) are REDACTED.
 * Source: semantic conventions 1.44, http/http-spans.md and http/http-metrics.md (stable). */
#ifndef SONDE_CONVENTIONS_HTTP_H
#define SONDE_CONVENTIONS_HTTP_H

#include <sonde/trace.h>

struct sonde_carrier;

SONDE_BEGIN

/** A request that is served. Strings are borrowed until the end; an empty one is left out.
 *  method, scheme, path   needed ("GET", "https", "/users/17").  query  without the question mark.
 *  route                  http.route, a pattern; may be set as late as the end, the span is then renamed.
 *  parent                 borrowed; NULL: what the carrier holds, or the current context when there is no carrier.
 *  entry                  what the peer is worth (sonde/propagation.h); NULL = trusted. With LINK the span is linked.
 *                         Borrowed during the start.
 *  start_unix_ns          when the request came; 0 = now.
 *  scope                  from sonde_scope_register(); 0 = that of the conventions.
 *  not_current            as in sonde_span_options.
 *  status_code            before the end; 0 = none was sent. 5xx makes the span an error, 4xx does not.
 *  error_type             NUL-terminated, before the end; NULL = none but what the status says.
 *  span                   for more attributes; ended by sonde_http_server_end(). */
struct sonde_http_server {
    size_t size;
    struct sonde_string method, scheme, path, query, route;
    struct sonde_string server_address, client_address, peer_address, user_agent;
    struct sonde_string protocol_version; /* "1.1", "2", "3" */
    uint16_t server_port, peer_port;
    bool not_current;
    uint32_t scope;
    const struct sonde_context *parent;
    const struct sonde_extract_options *entry;
    uint64_t start_unix_ns;
    int status_code;
    const char *error_type;
    struct sonde_span span;
    uint64_t internal[2];
};

static inline void sonde_http_server_init(struct sonde_http_server *ret_request) {
    memset(ret_request, 0, sizeof *ret_request);
    ret_request->size = sizeof *ret_request;
}

/** Starts the span. headers  borrowed during the call, extracted from; may be NULL.
 *  Any thread, never blocks; no allocation after the first request with the same attributes. */
SONDE_API void sonde_http_server_start(struct sonde_http_server *request, const struct sonde_carrier *headers);
/** Ends the span and measures. A second call does nothing. */
SONDE_API void sonde_http_server_end(struct sonde_http_server *request);

/** A request that is sent: each attempt (a retry, a redirect) is one of its own, with its own injection.
 *  method, url             needed; url whole ("https://user@host:8443/a?b=c").
 *  url_template            a pattern ("/users/{id}"); names the span.
 *  server_address, _port   taken from the url when empty.
 *  resend_count            0 for the first attempt.
 *  status_code             before the end; 0 = there was no answer. 400 and above makes the span an error.
 *  error_type              before the end, when there was no answer ("timeout").
 *  The rest as in sonde_http_server. */
struct sonde_http_client {
    size_t size;
    struct sonde_string method, url, url_template;
    struct sonde_string server_address, peer_address, user_agent;
    struct sonde_string protocol_version;
    uint16_t server_port, peer_port;
    bool not_current;
    uint32_t scope, resend_count;
    const struct sonde_context *parent;
    uint64_t start_unix_ns;
    int status_code;
    const char *error_type;
    struct sonde_span span;
    uint64_t internal[2];
};

static inline void sonde_http_client_init(struct sonde_http_client *ret_request) {
    memset(ret_request, 0, sizeof *ret_request);
    ret_request->size = sizeof *ret_request;
}

/** Starts the span and injects it. headers  borrowed during the call, injected into; may be NULL.
 *  Any thread, never blocks. */
SONDE_API void sonde_http_client_start(struct sonde_http_client *request, const struct sonde_carrier *headers);
/** Ends the span and measures. A second call does nothing. */
SONDE_API void sonde_http_client_end(struct sonde_http_client *request);

SONDE_END

#endif
