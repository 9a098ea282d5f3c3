/* SPDX-License-Identifier: Apache-2.0 */
/* Remote procedure calls as the semantic conventions want them: the span, the context in or out of the metadata, and
 * one measurement of rpc.server.call.duration or rpc.client.call.duration. One client span is one call as the caller
 * sees it, retries included; a stream is one call from its start to the end of both directions. Use as in
 * sonde/conventions/http.h.
 * Source: semantic conventions 1.44, rpc/rpc-spans.md, rpc/grpc.md, rpc/rpc-metrics.md (release candidate). */
#ifndef SONDE_CONVENTIONS_RPC_H
#define SONDE_CONVENTIONS_RPC_H

#include <sonde/trace.h>

struct sonde_carrier;

SONDE_BEGIN

/** A call, of either side. Strings are borrowed until the end; an empty one is left out.
 *  system          "grpc" when empty; "jsonrpc", "connectrpc", "dubbo".
 *  method          "package.Service/Method", without a leading slash; names the span.
 *  unknown_method  a server that has no such method: rpc.method is "_OTHER", the name as it came is kept beside it.
 *  server_address  of the server as the client names it; needed at a client.
 *  grpc_status     before the end, when system is grpc: the code 0..16. At a client all but OK are errors; at a server
 *                  UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
 *  status_text     before the end, for other systems: their code as text.
 *  error_type      NUL-terminated, before the end; makes the span an error whatever the status.
 *  attempts        counted by sonde_rpc_attempt_start().
 *  parent, entry (of a server), start_unix_ns, scope, not_current, span  as in sonde/conventions/http.h. */
struct sonde_rpc {
    size_t size;
    struct sonde_string system, method, server_address, peer_address;
    uint16_t server_port, peer_port;
    bool unknown_method, not_current;
    uint32_t scope, attempts;
    const struct sonde_context *parent;
    const struct sonde_extract_options *entry;
    uint64_t start_unix_ns;
    int grpc_status;
    struct sonde_string status_text;
    const char *error_type;
    struct sonde_span span;
    uint64_t internal[2];
};

static inline void sonde_rpc_init(struct sonde_rpc *ret_call) {
    memset(ret_call, 0, sizeof *ret_call);
    ret_call->size = sizeof *ret_call;
}

/** The text of a gRPC status code ("UNAVAILABLE"); UNKNOWN for a number that is none. Static. */
SONDE_API struct sonde_string sonde_grpc_status_text(int grpc_status);

/** A call that is served: its parent comes out of the metadata (borrowed during the call; may be NULL). */
SONDE_API void sonde_rpc_server_start(struct sonde_rpc *call, const struct sonde_carrier *metadata);
SONDE_API void sonde_rpc_server_end(struct sonde_rpc *call);

/** A call that is made: its context goes into the metadata (borrowed during the call). NULL when attempts have spans of
 *  their own. */
SONDE_API void sonde_rpc_client_start(struct sonde_rpc *call, const struct sonde_carrier *metadata);
SONDE_API void sonde_rpc_client_end(struct sonde_rpc *call);

/** One attempt of a call that may be retried: a child span "Attempt.METHOD" with previous-rpc-attempts, whose context
 * goes into the metadata of this attempt. ret_attempt is current until it is ended. Source: grpc/proposal, A72. */
SONDE_API void sonde_rpc_attempt_start(struct sonde_rpc *call, const struct sonde_carrier *metadata,
                                       struct sonde_span *ret_attempt);
/** grpc_status  as above. */
SONDE_API void sonde_rpc_attempt_end(struct sonde_span *attempt, int grpc_status);

SONDE_END

#endif
