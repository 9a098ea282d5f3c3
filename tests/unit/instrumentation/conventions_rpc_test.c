/* SPDX-License-Identifier: Apache-2.0 */
/* Conventional spans of RPC and GraphQL. Source: semantic conventions, rpc/ and graphql/. */
#include "tests/unit/instrumentation/conventional.h"

static struct sonde_rpc call;

static void prepare(const char *method) {
    sonde_rpc_init(&call);
    call.method = sonde_text(method);
    call.server_address = sonde_text("users.example");
    call.server_port = 50051;
}

static void client_call_is_injected_and_measured(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier metadata = envelope_open(&envelope);
    prepare("shop.Users/Get");
    sonde_rpc_client_start(&call, &metadata);
    assert_int_equal(envelope_get(&envelope, "traceparent").size, SONDE_TRACEPARENT_SIZE);
    call.grpc_status = 14;
    sonde_rpc_client_end(&call);
    sonde_rpc_client_end(&call);
    span_take("shop.Users/Get", SONDE_SPAN_KIND_CLIENT);
    assert_null(records_next());
    span_has_text("rpc.system.name", "grpc");
    span_has_text("rpc.method", "shop.Users/Get");
    span_has_text("rpc.response.status_code", "UNAVAILABLE");
    span_has_text("error.type", "UNAVAILABLE");
    span_has_text("server.address", "users.example");
    span_has_number("server.port", 50051);
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    struct measured m = measured("rpc.client.call.duration", "shop.Users/Get", "UNAVAILABLE", "users.example", NULL);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.bounds, 14);
}

static void errors_are_not_the_same_at_both_ends(void **state) {
    (void)state;
    static const char *const names[] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    for (int code = 0; code < 17; code++) {
        bool server_error = code == 2 || code == 4 || (code >= 12 && code <= 15);
        prepare("s/m");
        call.grpc_status = code;
        sonde_rpc_client_start(&call, NULL);
        sonde_rpc_client_end(&call);
        span_take("s/m", SONDE_SPAN_KIND_CLIENT);
        span_has_text("rpc.response.status_code", names[code]);
        assert_int_equal(span_status(), code ? SONDE_STATUS_ERROR : 0);
        prepare("s/m");
        call.grpc_status = code;
        sonde_rpc_server_start(&call, NULL);
        sonde_rpc_server_end(&call);
        span_take("s/m", SONDE_SPAN_KIND_SERVER);
        span_has_text("rpc.response.status_code", names[code]);
        assert_int_equal(span_status(), server_error ? SONDE_STATUS_ERROR : 0);
    }
    assert_string_equal(sonde_grpc_status_text(17).data, "UNKNOWN");
    assert_string_equal(sonde_grpc_status_text(-1).data, "UNKNOWN");
}

static void server_call_continues_the_trace(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier metadata = envelope_open(&envelope);
    envelope_put(&envelope, "traceparent", PARENT);
    prepare("shop.Users/Drop");
    call.unknown_method = true;
    call.grpc_status = 12;
    sonde_rpc_server_start(&call, &metadata);
    sonde_rpc_server_end(&call);
    span_take("_OTHER", SONDE_SPAN_KIND_SERVER);
    assert_memory_equal(span_pb->trace_id.data, TRACE_ID, 16);
    assert_memory_equal(span_pb->parent_span_id.data, PARENT_ID, 8);
    span_has_text("rpc.method", "_OTHER");
    span_has_text("rpc.method_original", "shop.Users/Drop");
    assert_int_equal(measured("rpc.server.call.duration", "_OTHER", "UNIMPLEMENTED", NULL).count, 1);
    assert_int_equal(measured("rpc.server.call.duration", "users.example", NULL).count, 0);
}

static void other_systems_have_their_own_status(void **state) {
    (void)state;
    prepare("eth_call");
    call.system = sonde_text("jsonrpc");
    sonde_rpc_client_start(&call, NULL);
    call.status_text = sonde_text("-32602");
    call.error_type = "-32602";
    sonde_rpc_client_end(&call);
    span_take("eth_call", SONDE_SPAN_KIND_CLIENT);
    span_has_text("rpc.system.name", "jsonrpc");
    span_has_text("rpc.response.status_code", "-32602");
    span_has_text("error.type", "-32602");
}

static void attempts_are_children_with_their_own_context(void **state) {
    (void)state;
    struct envelope envelopes[2];
    struct sonde_span attempt;
    prepare("shop.Users/Get");
    sonde_rpc_client_start(&call, NULL);
    for (int i = 0; i < 2; i++) {
        struct sonde_carrier metadata = envelope_open(&envelopes[i]);
        char expected[SONDE_TRACEPARENT_SIZE];
        sonde_rpc_attempt_start(&call, &metadata, &attempt);
        assert_true(sonde_traceparent_write(&attempt.context, expected));
        assert_memory_equal(envelope_get(&envelopes[i], "traceparent").data, expected, sizeof expected);
        sonde_rpc_attempt_end(&attempt, i ? 0 : 14);
        span_take("Attempt.shop.Users/Get", SONDE_SPAN_KIND_INTERNAL);
        assert_memory_equal(span_pb->parent_span_id.data, call.span.context.span_id, 8);
        span_has_number("previous-rpc-attempts", i);
        span_has_text("rpc.response.status_code", i ? "OK" : "UNAVAILABLE");
        assert_int_equal(span_status(), i ? 0 : SONDE_STATUS_ERROR);
    }
    assert_int_equal(call.attempts, 2);
    sonde_rpc_client_end(&call);
    span_take("shop.Users/Get", SONDE_SPAN_KIND_CLIENT);
    assert_int_equal(span_status(), 0);
}

/* ---- GraphQL ---- */

static struct sonde_graphql operation;

static void graphql_span_is_named_by_its_type(void **state) {
    (void)state;
    sonde_graphql_init(&operation);
    operation.type = sonde_text("mutation");
    operation.name = sonde_text("AddUser");
    sonde_graphql_start(&operation, NULL);
    operation.error_type = "BAD_USER_INPUT";
    sonde_graphql_end(&operation);
    span_take("mutation", SONDE_SPAN_KIND_SERVER);
    span_has_text("graphql.operation.type", "mutation");
    span_has_text("graphql.operation.name", "AddUser");
    span_has_text("error.type", "BAD_USER_INPUT");
    span_has_not("graphql.document");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    sonde_graphql_init(&operation);
    operation.type = sonde_text("anything");
    sonde_graphql_start(&operation, NULL);
    sonde_graphql_end(&operation);
    span_take("GraphQL Operation", SONDE_SPAN_KIND_SERVER);
    span_has_not("graphql.operation.type");
}

static void graphql_message_has_a_parent_of_its_own(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier extensions = envelope_open(&envelope);
    struct sonde_span socket;
    sonde_span_start(&socket, SONDE_NAME("socket"), NULL);
    for (int with = 0; with < 2; with++) {
        sonde_graphql_init(&operation);
        operation.type = sonde_text("subscription");
        sonde_graphql_start(&operation, &extensions);
        sonde_graphql_end(&operation);
        span_take("subscription", SONDE_SPAN_KIND_SERVER);
        assert_memory_equal(span_pb->parent_span_id.data, with ? PARENT_ID : (const char *)socket.context.span_id, 8);
        envelope_put(&envelope, "traceparent", PARENT);
    }
    sonde_span_end(&socket);
    (void)records_skip();
}

static void graphql_document_loses_its_literals(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"query { user(id: 17, name: \"Bob \\\" x\") { a1 b2c } }", "query { user(id: 0, name: \"*\") { a1 b2c } }"},
        {"{ f(a: -1.5e+10, b: [1,2], c: \"\"\"block \\\"\"\" \"quoted\" text\"\"\", d: $v1) }",
         "{ f(a: 0, b: [0,0], c: \"*\", d: $v1) }"},
        {"{ a # password is 1234\n b }", "{ a \n b }"},
        {"{ f(x: \"never closed", "{ f(x: \"*\""},
        {"{ f(x: \"\"\"never closed\"\"", "{ f(x: \"*\""},
        {"{ f(x: \"\") }", "{ f(x: \"*\") }"},
        {"{ f(x: \"\\", "{ f(x: \"*\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *exact = malloc(strlen(cases[i][0])); /* without a NUL: reading on is seen by the sanitizer */
        memcpy(exact, cases[i][0], strlen(cases[i][0]));
        sonde_graphql_init(&operation);
        operation.type = sonde_text("query");
        operation.document = (struct sonde_string){exact, strlen(cases[i][0])};
        sonde_graphql_start(&operation, NULL);
        sonde_graphql_end(&operation);
        free(exact);
        span_take("query", SONDE_SPAN_KIND_SERVER);
        span_has_text("graphql.document", cases[i][1]);
    }
    static char large[9000];
    memset(large, '"', sizeof large - 1); /* strings without end */
    operation.document = sonde_text(large);
    sonde_graphql_start(&operation, NULL);
    sonde_graphql_end(&operation);
    span_take("query", SONDE_SPAN_KIND_SERVER);
    assert_true(strlen(span_value("graphql.document")->string_value) <= 4096);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_call_is_injected_and_measured),
        cmocka_unit_test(errors_are_not_the_same_at_both_ends),
        cmocka_unit_test(server_call_continues_the_trace),
        cmocka_unit_test(other_systems_have_their_own_status),
        cmocka_unit_test(attempts_are_children_with_their_own_context),
        cmocka_unit_test(graphql_span_is_named_by_its_type),
        cmocka_unit_test(graphql_message_has_a_parent_of_its_own),
        cmocka_unit_test(graphql_document_loses_its_literals),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, conventional_setup, conventional_teardown);
}
