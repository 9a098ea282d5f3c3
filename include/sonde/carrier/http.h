/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP header fields as a carrier: an array of name and value pairs, as servers hand them out and clients take them.
 * Names compare without case; optional white space round values is not seen.
 * Source: RFC 9110, 5.1 and 5.5; names are written in lower case, which HTTP/2 and 3 ask for (RFC 9113, 8.2.1). */
#ifndef SONDE_CARRIER_HTTP_H
#define SONDE_CARRIER_HTTP_H

#include <sonde/carrier.h>
#include <sonde/limits.h>

SONDE_BEGIN

struct sonde_http_header {
    struct sonde_string name, value;
};

/** Room that sonde_inject() needs in `text` for the default formats: names and values of traceparent, tracestate and
 *  baggage, each with a NUL. Another format needs no more than 1 KiB, but for one that sends baggage as headers of its
 *  own (jaeger, ottrace): 8 bytes an entry more than its name and value. Without baggage
 *  SONDE_HTTP_INJECT_PLAIN_SIZE is enough; what does not fit is left out. */
#define SONDE_HTTP_INJECT_PLAIN_SIZE (12u + 56u + 11u + SONDE_TRACESTATE_SIZE_MAX + 1u)
#define SONDE_HTTP_INJECT_SIZE (SONDE_HTTP_INJECT_PLAIN_SIZE + 8u + SONDE_BAGGAGE_SIZE_MAX + 1u)

/** The headers. Fill it in, take a carrier of it, inject or extract, then send headers[0..count).
 *  headers    borrowed while a carrier of it is used; never written when only extracted from.
 *  count      entries in use; inject adds three at most by default.
 *  capacity   entries there is room for; 0 when only extracted from.
 *  text       where values that are set are copied, names and values NUL-terminated; the headers point into it, so it
 *             must live as long as they do. NULL when only extracted from. A value that replaces one of at least its
 *             length reuses the room, so a retry needs none.
 *  text_size  bytes of text; SONDE_HTTP_INJECT_SIZE always suffices for one context by default.
 *  text_used  bytes of it in use; 0 at first. */
struct sonde_http_headers {
    struct sonde_http_header *headers;
    size_t count, capacity;
    char *text;
    size_t text_size, text_used;
};

/** A carrier of headers (kept until the carrier is no longer used). set: SONDE_ETOOBIG when there is no room for an
 *  entry or its text, SONDE_EINVALID for bytes that may not stand in a header (control characters, non-ASCII); the
 *  headers are then unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_http_carrier(struct sonde_http_headers *headers);

SONDE_END

#endif
