/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket. Only the handshake has headers, and browsers cannot set them: they put the fields into the query of the
 * URL, `wss://host/chat?traceparent=00-...`, as URLSearchParams writes them. So a server asks the headers first and then
 * the query. What comes later is in the messages themselves: where they are JSON objects as members of the object
 * (sonde/carrier/json.h, SONDE_JSON_TOP), in the GraphQL protocols as sonde/carrier/graphql.h says, and in CloudEvents
 * (subprotocol cloudevents.json) as attributes of the event, which are such members as well.
 *
 *     struct sonde_carrier carrier = sonde_http_carrier(&headers);
 *     (void)sonde_websocket_extract(&carrier, target, strlen(target), &context);   // target: "/chat?traceparent=..."
 *
 * A socket may live for days: give each message a span of its own with a link to the handshake's, instead of one parent
 * that never ends. URLs are kept in logs: anybody who reads those sees the baggage in them. Source: RFC 6455, 4.1; WHATWG
 * URL, 5.1 (application/x-www-form-urlencoded), where a plus is a space. */
#ifndef SONDE_CARRIER_WEBSOCKET_H
#define SONDE_CARRIER_WEBSOCKET_H

#include <sonde/carrier.h>
#include <sonde/propagation.h>

SONDE_BEGIN

/** Bytes of a query that are looked at, and room for its decoded values; more is not seen. */
#define SONDE_QUERY_SIZE_MAX     8192u
#define SONDE_QUERY_DECODED_SIZE 4096u

/** The query of a URL or of a request's target. Set up by sonde_query_read(), which does not write `decoded`. */
struct sonde_query {
    const char *text; /* behind the question mark */
    size_t size;
    size_t decoded_used;
    char decoded[SONDE_QUERY_DECODED_SIZE];
};

/** To extract from a query.
 *  url, size  borrowed while the carrier is used; what stands behind the first `?` and before a `#` counts. */
SONDE_API void sonde_query_read(struct sonde_query *ret_query, const char *url, size_t size);

/** A carrier to extract from (kept until the carrier is no longer used). Names compare exactly; all values of a repeated
 * name are seen; one that is not well-formed when it is decoded is not. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_query_carrier(struct sonde_query *query);

/** Reads the context of a handshake: from the headers, or when they hold none that is good, from the query.
 *  headers      borrowed; may be NULL.
 *  target       the request's target or the whole URL, borrowed; NULL, 0 = do not look.
 *  ret_context  as of sonde_extract(), whose reasons are returned. */
SONDE_API enum sonde_extract_reason sonde_websocket_extract(const struct sonde_carrier *headers, const char *target,
                                                            size_t size, struct sonde_context *ret_context);

SONDE_END

#endif
