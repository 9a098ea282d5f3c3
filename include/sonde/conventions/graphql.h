/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL operations as the semantic conventions want them: one server span, named by the operation's type, below the
 * span of the HTTP request or the WebSocket message that brought it. Resolvers get no spans.
 * Source: semantic conventions 1.44, graphql/graphql-spans.md (development). */
#ifndef SONDE_CONVENTIONS_GRAPHQL_H
#define SONDE_CONVENTIONS_GRAPHQL_H

#include <sonde/trace.h>

struct sonde_carrier;

SONDE_BEGIN

/** An operation. Strings are borrowed until the end; an empty one is left out.
 *  type       "query", "mutation" or "subscription"; anything else leaves the span named "GraphQL Operation".
 *  name       as the client chose it.
 *  document   opt-in: is recorded with its literals taken out (strings become "*", numbers 0), at most 4 KiB of it.
 *  error_type NUL-terminated, before the end: the operation failed as a whole, or errors came with the data.
 *  parent, start_unix_ns, scope, not_current, span  as in sonde/conventions/http.h. */
struct sonde_graphql {
    size_t size;
    struct sonde_string type, name, document;
    bool not_current;
    uint32_t scope;
    const struct sonde_context *parent;
    uint64_t start_unix_ns;
    const char *error_type;
    struct sonde_span span;
    uint64_t internal[2];
};

static inline void sonde_graphql_init(struct sonde_graphql *ret_operation) {
    memset(ret_operation, 0, sizeof *ret_operation);
    ret_operation->size = sizeof *ret_operation;
}

/** Starts the span. extensions  borrowed during the call, extracted from (a message over a WebSocket carries a context
 * of its own); NULL over HTTP, where the current span is the parent. */
SONDE_API void sonde_graphql_start(struct sonde_graphql *operation, const struct sonde_carrier *extensions);
SONDE_API void sonde_graphql_end(struct sonde_graphql *operation);

SONDE_END

#endif
