/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/conventions/origin.h"
#include "instrumentation/conventions/seen.h"
#include <sonde/conventions/rpc.h>
#include <sonde/propagation.h>

static const struct sonde_string grpc = {"grpc", 4}, other = {"_OTHER", 6};

/* Source: grpc/grpc, doc/statuscodes.md. */
static const struct sonde_string statuses[] = {
    {"OK", 2},
    {"CANCELLED", 9},
    {"UNKNOWN", 7},
    {"INVALID_ARGUMENT", 16},
    {"DEADLINE_EXCEEDED", 17},
    {"NOT_FOUND", 9},
    {"ALREADY_EXISTS", 14},
    {"PERMISSION_DENIED", 17},
    {"RESOURCE_EXHAUSTED", 18},
    {"FAILED_PRECONDITION", 19},
    {"ABORTED", 7},
    {"OUT_OF_RANGE", 12},
    {"UNIMPLEMENTED", 13},
    {"INTERNAL", 8},
    {"UNAVAILABLE", 11},
    {"DATA_LOSS", 9},
    {"UNAUTHENTICATED", 15},
};
#define STATUS_COUNT  ((int)(sizeof statuses / sizeof *statuses))
/* Codes that are the server's own fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
 */
#define SERVER_ERRORS (1u << 2 | 1u << 4 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 15)

struct sonde_string sonde_grpc_status_text(int grpc_status) {
    /* A code of the future is an error of a kind that nobody knows. */
    return statuses[grpc_status >= 0 && grpc_status < STATUS_COUNT ? grpc_status : 2];
}

static bool is_grpc(const struct sonde_rpc *call) {
    return !call->system.size || (call->system.size == 4 && memcmp(call->system.data, "grpc", 4) == 0);
}

static bool is_error(int grpc_status, bool server) {
    if (grpc_status < 0 || grpc_status >= STATUS_COUNT)
        return true;
    return server ? SERVER_ERRORS >> grpc_status & 1 : grpc_status != 0;
}

static void call_start(struct sonde_rpc *call, enum sonde_span_kind kind, const struct sonde_context *parent) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_string method = call->unknown_method ? other : call->method;
    sonde__operation_begin(call->internal, call->start_unix_ns);
    call->attempts = 0;
    options.kind = kind;
    options.parent = parent;
    options.start_unix_ns = call->start_unix_ns;
    options.scope = sonde__convention_scope(call->scope);
    options.not_current = call->not_current;
    struct sonde_string name = method.size ? method : call->system.size ? call->system : grpc;
    sonde_span_start(&call->span, sonde_key_n(name.data, name.size), &options);
    sonde__set_text(&call->span, SONDE_KEY("rpc.system.name"), call->system.size ? call->system : grpc);
    sonde__set_text(&call->span, SONDE_KEY("rpc.method"), method);
    if (call->unknown_method)
        sonde__set_text(&call->span, SONDE_KEY("rpc.method_original"), call->method);
    sonde__set_text(&call->span, SONDE_KEY("server.address"), call->server_address);
    sonde__set_number(&call->span, SONDE_KEY("server.port"), call->server_port);
}

static void call_end(struct sonde_rpc *call, bool server, enum sonde__convention_metric metric) {
    struct sonde__set set;
    if (!sonde__operation_finish(call->internal))
        return;
    double seconds = sonde__operation_seconds(call->internal);
    struct sonde_span *span = &call->span;
    struct sonde_string status = is_grpc(call) ? sonde_grpc_status_text(call->grpc_status) : call->status_text;
    struct sonde_string error = sonde__text_of(call->error_type);
    if (!error.size && is_grpc(call) && is_error(call->grpc_status, server))
        error = status;
    sonde__set_text(span, SONDE_KEY("rpc.response.status_code"), status);
    sonde__set_text(span, SONDE_KEY("network.peer.address"), call->peer_address);
    sonde__set_number(span, SONDE_KEY("network.peer.port"), call->peer_port);
    if (error.size)
        sonde__set_error(span, error);

    sonde__set_init(&set);
    sonde__set_add(&set, SONDE_KEY("error.type"), error);
    sonde__set_add(&set, SONDE_KEY("rpc.method"), call->unknown_method ? other : call->method);
    sonde__set_add(&set, SONDE_KEY("rpc.response.status_code"), status);
    sonde__set_add(&set, SONDE_KEY("rpc.system.name"), call->system.size ? call->system : grpc);
    if (!server) { /* at a server it would be itself */
        sonde__set_add(&set, SONDE_KEY("server.address"), call->server_address);
        sonde__set_add_number(&set, SONDE_KEY("server.port"), call->server_port);
    }
    sonde_histogram_record(sonde__series_of(metric, &set),
                           seconds); /* before the end, so that an exemplar is of this span */
    sonde_span_end(span);
}

void sonde_rpc_server_start(struct sonde_rpc *call, const struct sonde_carrier *metadata) {
    struct sonde__origin origin;
    if (call->size < sizeof *call)
        return;
    bool remote = !call->parent && metadata;
    if (remote)
        sonde__origin_read(&origin, metadata, call->entry);
    call_start(call, SONDE_SPAN_KIND_SERVER, remote ? &origin.parent : call->parent);
    if (remote)
        sonde__origin_note(&origin, &call->span);
}

void sonde_rpc_server_end(struct sonde_rpc *call) {
    call_end(call, true, SONDE__METRIC_RPC_SERVER);
}

static void inject(const struct sonde_span *span, const struct sonde_carrier *metadata) {
    struct sonde_context context;
    if (!metadata)
        return;
    sonde_span_context_get(span, &context);
    (void)sonde_inject(&context, metadata); /* no room: the call goes out all the same */
}

void sonde_rpc_client_start(struct sonde_rpc *call, const struct sonde_carrier *metadata) {
    if (call->size < sizeof *call)
        return;
    call_start(call, SONDE_SPAN_KIND_CLIENT, call->parent);
    inject(&call->span, metadata);
}

void sonde_rpc_client_end(struct sonde_rpc *call) {
    call_end(call, false, SONDE__METRIC_RPC_CLIENT);
}

/* ---- attempts ---- */

void sonde_rpc_attempt_start(struct sonde_rpc *call, const struct sonde_carrier *metadata,
                             struct sonde_span *ret_attempt) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_context parent;
    struct sonde__name name = {.size = 0};
    sonde_span_context_get(&call->span, &parent);
    options.parent = &parent;
    options.scope = sonde__convention_scope(call->scope);
    options.not_current = call->not_current;
    sonde__name_add(&name, "Attempt.", 8);
    sonde__name_add(&name, call->method.data, call->method.size);
    sonde_span_start(ret_attempt, sonde__name_key(&name), &options);
    sonde_span_set_int64(ret_attempt, SONDE_KEY("previous-rpc-attempts"), call->attempts++);
    sonde_span_set_bool(ret_attempt, SONDE_KEY("transparent-retry"), false);
    inject(ret_attempt, metadata);
}

void sonde_rpc_attempt_end(struct sonde_span *attempt, int grpc_status) {
    struct sonde_string status = sonde_grpc_status_text(grpc_status);
    sonde__set_text(attempt, SONDE_KEY("rpc.response.status_code"), status);
    if (is_error(grpc_status, false))
        sonde__set_error(attempt, status);
    sonde_span_end(attempt);
}
