/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL. Over HTTP the context is in the headers (sonde/carrier/http.h); the operations of a batch share it. Over a
 * WebSocket, in the subprotocols graphql-transport-ws and the older graphql-ws, only the handshake has headers, so it
 * is in the messages: `payload` of connection_init, once for the socket, and `payload.extensions` of each operation,
 * which goes before the socket's. Answers (next, data) may carry one back in `payload.extensions`.
 *
 *     struct sonde_json json;
 *     sonde_json_edit(&json, frame, size, capacity, SONDE_JSON_PAYLOAD_EXTENSIONS);     // a subscribe message to send
 *     struct sonde_carrier carrier = sonde_json_carrier(&json);
 *     (void)sonde_inject(NULL, &carrier);
 *
 * Source: graphql-ws PROTOCOL.md; GraphQL over HTTP, 5.4 (extensions). */
#ifndef SONDE_CARRIER_GRAPHQL_H
#define SONDE_CARRIER_GRAPHQL_H

#include <sonde/carrier/json.h>
#include <sonde/propagation.h>

SONDE_BEGIN

/** Reads the context of one message that a peer sent over a socket.
 *  frame, size  borrowed, the text of one WebSocket message; what is not such a message has no context.
 *  socket       the context that holds for the socket: begin with the handshake's, or sonde_context_init(). A good one
 *               in connection_init replaces it; operations without a good one of their own (subscribe, start) use it.
 *  ret_context  as of sonde_extract(), whose reasons are returned. */
SONDE_API enum sonde_extract_reason sonde_graphql_extract(const char *frame, size_t size, struct sonde_context *socket,
                                                          struct sonde_context *ret_context);

SONDE_END

#endif
