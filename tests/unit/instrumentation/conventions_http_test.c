/* SPDX-License-Identifier: Apache-2.0 */
/* Conventional spans of HTTP. Source: semantic conventions, http/http-spans.md, http/http-metrics.md. */
#include "instrumentation/conventions/url.h"
#include "tests/unit/instrumentation/conventional.h"

static struct sonde_http_server server;
static struct sonde_http_client client;

static void server_prepare(const char *method, const char *route) {
    sonde_http_server_init(&server);
    server.method = sonde_text(method);
    server.scheme = sonde_text("https");
    server.path = sonde_text("/users/17");
    server.route = sonde_text(route);
}
static void client_prepare(const char *method, const char *url) {
    sonde_http_client_init(&client);
    client.method = sonde_text(method);
    client.url = sonde_text(url);
}

static void server_span_has_what_is_required(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier headers = envelope_open(&envelope);
    envelope_put(&envelope, "traceparent", PARENT);
    server_prepare("GET", "/users/{id}");
    server.query = sonde_text("q=1&sig=secret");
    server.protocol_version = sonde_text("1.1");
    server.server_address = sonde_text("shop.example");
    server.server_port = 8443;
    server.user_agent = sonde_text("curl/8");
    sonde_http_server_start(&server, &headers);
    struct sonde_span_context current = sonde_context_current_span();
    assert_memory_equal(current.span_id, server.span.context.span_id, 8);
    server.status_code = 200;
    sonde_http_server_end(&server);
    sonde_http_server_end(&server); /* does nothing */
    span_take("GET /users/{id}", SONDE_SPAN_KIND_SERVER);
    assert_null(records_next());
    assert_memory_equal(span_pb->trace_id.data, TRACE_ID, 16);
    assert_memory_equal(span_pb->parent_span_id.data, PARENT_ID, 8);
    span_has_text("http.request.method", "GET");
    span_has_text("url.path", "/users/17");
    span_has_text("url.scheme", "https");
    span_has_text("url.query", "q=1&sig=REDACTED");
    span_has_text("http.route", "/users/{id}");
    span_has_text("network.protocol.version", "1.1");
    span_has_text("server.address", "shop.example");
    span_has_number("server.port", 8443);
    span_has_text("user_agent.original", "curl/8");
    span_has_number("http.response.status_code", 200);
    span_has_not("error.type");
    assert_int_equal(span_status(), 0);
    assert_int_equal(span_pb->n_attributes, 10);
    struct measured m = measured("http.server.request.duration", "GET", "/users/{id}", "https", "1.1", NULL);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.bounds, 14);
    assert_true(m.sum > 0 && m.sum < 60);
}

static void server_status_says_whose_fault_it_was(void **state) {
    (void)state;
    static const struct {
        int code;
        const char *error_type, *expect;
    } cases[] = {{200, NULL, NULL},  {404, NULL, NULL},         {499, NULL, NULL},           {500, NULL, "500"},
                 {503, NULL, "503"}, {0, "timeout", "timeout"}, {200, "aborted", "aborted"}, {0, NULL, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        server_prepare("PUT", "/status");
        sonde_http_server_start(&server, NULL);
        server.status_code = cases[i].code;
        server.error_type = cases[i].error_type;
        sonde_http_server_end(&server);
        span_take("PUT /status", SONDE_SPAN_KIND_SERVER);
        assert_int_equal(span_status(), cases[i].expect ? SONDE_STATUS_ERROR : 0);
        if (cases[i].expect)
            span_has_text("error.type", cases[i].expect);
        else
            span_has_not("error.type");
        if (!cases[i].code)
            span_has_not("http.response.status_code");
    }
    assert_int_equal(measured("http.server.request.duration", "PUT", "error.type", NULL).series, 4);
    assert_int_equal(measured("http.server.request.duration", "PUT", NULL).count, 8);
}

static void unknown_method_is_other_and_never_names_the_span(void **state) {
    (void)state;
    server_prepare("get", "");
    sonde_http_server_start(&server, NULL);
    sonde_http_server_end(&server);
    span_take("HTTP", SONDE_SPAN_KIND_SERVER);
    span_has_text("http.request.method", "_OTHER");
    span_has_text("http.request.method_original", "get");
    assert_int_equal(measured("http.server.request.duration", "_OTHER", NULL).count, 1);
    server_prepare("PURGE", "/cache"); /* OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS has it */
    sonde_http_server_start(&server, NULL);
    sonde_http_server_end(&server);
    span_take("PURGE /cache", SONDE_SPAN_KIND_SERVER);
    span_has_not("http.request.method_original");
}

static void route_may_come_late(void **state) {
    (void)state;
    server_prepare("GET", "");
    sonde_http_server_start(&server, NULL);
    server.route = sonde_text("/late/{id}");
    sonde_http_server_end(&server);
    span_take("GET /late/{id}", SONDE_SPAN_KIND_SERVER);
    span_has_text("http.route", "/late/{id}");
}

static void server_without_a_context_in_its_headers_is_a_root(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier headers = envelope_open(&envelope);
    struct sonde_span outer;
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    server_prepare("GET", "/");
    sonde_http_server_start(&server, &headers);
    sonde_http_server_end(&server);
    span_take("GET /", SONDE_SPAN_KIND_SERVER);
    assert_int_equal(span_pb->parent_span_id.len, 0);
    sonde_http_server_init(&server); /* without headers it is a child */
    server.method = sonde_text("GET");
    sonde_http_server_start(&server, NULL);
    sonde_http_server_end(&server);
    span_take("GET", SONDE_SPAN_KIND_SERVER);
    assert_memory_equal(span_pb->parent_span_id.data, outer.context.span_id, 8);
    sonde_span_end(&outer);
    (void)records_skip();
}

static void own_start_time_is_kept(void **state) {
    (void)state;
    server_prepare("HEAD", "/slow");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    server.start_unix_ns = ((uint64_t)now.tv_sec - 3) * 1000000000u;
    sonde_http_server_start(&server, NULL);
    sonde_http_server_end(&server);
    span_take("HEAD /slow", SONDE_SPAN_KIND_SERVER);
    assert_true(span_pb->start_time_unix_nano == server.start_unix_ns);
    assert_true(measured("http.server.request.duration", "/slow", NULL).sum >= 2);
}

static void client_span_has_what_is_required_and_is_injected(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier headers = envelope_open(&envelope);
    client_prepare("POST", "https://me:pw@pay.example:8443/pay?Signature=abc&x=1#top");
    client.url_template = sonde_text("/pay");
    client.resend_count = 2;
    sonde_http_client_start(&client, &headers);
    char expected[SONDE_TRACEPARENT_SIZE];
    assert_true(sonde_traceparent_write(&client.span.context, expected));
    assert_memory_equal(envelope_get(&envelope, "traceparent").data, expected, sizeof expected);
    client.status_code = 404;
    client.peer_address = sonde_text("192.0.2.1");
    client.peer_port = 8443;
    client.protocol_version = sonde_text("2");
    sonde_http_client_end(&client);
    span_take("POST /pay", SONDE_SPAN_KIND_CLIENT);
    span_has_text("http.request.method", "POST");
    span_has_text("url.full", "https://REDACTED:REDACTED@pay.example:8443/pay?Signature=REDACTED&x=1#top");
    span_has_text("url.template", "/pay");
    span_has_text("server.address", "pay.example");
    span_has_number("server.port", 8443);
    span_has_number("http.request.resend_count", 2);
    span_has_number("http.response.status_code", 404);
    span_has_text("error.type", "404");
    span_has_text("network.peer.address", "192.0.2.1");
    span_has_number("network.peer.port", 8443);
    span_has_text("network.protocol.version", "2");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    struct measured m = measured("http.client.request.duration", "POST", "pay.example", "404", "/pay", NULL);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.bounds, 14);
}

static void client_without_an_answer_has_an_error_type(void **state) {
    (void)state;
    client_prepare("GET", "http://[::1]/");
    sonde_http_client_start(&client, NULL);
    client.error_type = "timeout";
    sonde_http_client_end(&client);
    span_take("GET", SONDE_SPAN_KIND_CLIENT);
    span_has_text("url.full", "http://[::1]/");
    span_has_text("server.address", "::1");
    span_has_number("server.port", 80);
    span_has_text("error.type", "timeout");
    span_has_not("http.response.status_code");
    span_has_not("http.request.resend_count");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
}

static void urls_are_redacted(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"http://host/a?b=c", NULL},
        {"http://u@host/", "http://REDACTED:REDACTED@host/"},
        {"http://a@b:c@host:1?x", "http://REDACTED:REDACTED@host:1?x"},
        {"http://host/path@x", NULL},
        {"http://host?q=a@b", NULL},
        {"https://h/?sig=1", "https://h/?sig=REDACTED"},
        {"https://h/?SIG=1&sigx=2&xsig=3", NULL},
        {"https://h/?a=1&AWSAccessKeyId=K&Signature=S%2B&b#f",
         "https://h/?a=1&AWSAccessKeyId=REDACTED&Signature=REDACTED&b#f"},
        {"https://h/?X-Goog-Signature=a&X-Amz-Signature=b&X-Amz-Credential=c&X-Amz-Security-Token=d",
         "https://h/"
         "?X-Goog-Signature=REDACTED&X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED"},
        {"https://h/?sig", NULL},
        {"https://h/?sig=", "https://h/?sig=REDACTED"},
        {"https://h/#sig=1", NULL},
        {"no url at all", NULL},
        {"", NULL},
    };
    char buffer[SONDE__URL_SIZE_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *expect = cases[i][1] ? cases[i][1] : cases[i][0];
        struct sonde_string out = sonde__url_redact(sonde_text(cases[i][0]), buffer);
        if (out.size != strlen(expect) || memcmp(out.data, expect, out.size) != 0)
            fail_msg("%s became %.*s", cases[i][0], (int)out.size, out.data);
    }
    static char large[3 * SONDE__URL_SIZE_MAX]; /* what had to be changed is cut */
    memset(large, 'a', sizeof large - 1);
    memcpy(large, "http://u:p@h/", 13);
    struct sonde_string out = sonde__url_redact(sonde_text(large), buffer);
    assert_int_equal(out.size, SONDE__URL_SIZE_MAX);
    assert_null(memmem(out.data, out.size, "u:p@", 4));
}

static void servers_are_found_in_urls(void **state) {
    (void)state;
    static const struct {
        const char *url, *host;
        uint16_t port;
    } cases[] = {{"http://a", "a", 80},
                 {"https://a/", "a", 443},
                 {"ws://a?b", "a", 80},
                 {"wss://u@a:9#f", "a", 9},
                 {"http://[fe80::1]:7/", "fe80::1", 7},
                 {"ftp://a/", "a", 0},
                 {"http://a:99999/", "a", 0},
                 {"http://a:x/", "a", 0},
                 {"http:///p", NULL, 0},
                 {"/only/path", NULL, 0},
                 {"http://[::1/", NULL, 0},
                 {"", NULL, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sonde_string host;
        uint16_t port = 1;
        bool found = sonde__url_server(sonde_text(cases[i].url), &host, &port);
        assert_int_equal(found, cases[i].host != NULL);
        if (!found)
            continue;
        assert_int_equal(host.size, strlen(cases[i].host));
        assert_memory_equal(host.data, cases[i].host, host.size);
        assert_int_equal(port, cases[i].port);
    }
}

/* More sets than are remembered, sets too long to be, and sets that differ in one place only. */
static void every_set_has_a_series_of_its_own(void **state) {
    (void)state;
    static char routes[700][64];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 700; i++) {
            (void)snprintf(routes[i], sizeof routes[i], "/many/begins/%03d/all/ends/alike", i);
            server_prepare("GET", routes[i]);
            sonde_http_server_start(&server, NULL);
            sonde_http_server_end(&server);
            (void)records_skip();
        }
    struct measured m = measured("http.server.request.duration", "/many/begins/", NULL);
    assert_int_equal(m.series, 700);
    assert_int_equal(m.count, 1400);
    assert_int_equal(measured("http.server.request.duration", "/many/begins/077/", NULL).count, 2);
    static char route[400];
    memset(route, 'r', sizeof route - 1);
    for (int i = 0; i < 3; i++) {
        server_prepare("GET", route);
        sonde_http_server_start(&server, NULL);
        sonde_http_server_end(&server);
    }
    (void)records_skip();
    m = measured("http.server.request.duration", "rrrrrrrrrr", NULL);
    assert_int_equal(m.series, 1);
    assert_int_equal(m.count, 3);
}

static void struct_that_was_not_made_ready_does_nothing(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    memset(&client, 0, sizeof client);
    sonde_http_server_start(&server, NULL);
    sonde_http_server_end(&server);
    sonde_http_client_start(&client, NULL);
    sonde_http_client_end(&client);
    assert_null(records_next());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_span_has_what_is_required),
        cmocka_unit_test(server_status_says_whose_fault_it_was),
        cmocka_unit_test(unknown_method_is_other_and_never_names_the_span),
        cmocka_unit_test(route_may_come_late),
        cmocka_unit_test(server_without_a_context_in_its_headers_is_a_root),
        cmocka_unit_test(own_start_time_is_kept),
        cmocka_unit_test(client_span_has_what_is_required_and_is_injected),
        cmocka_unit_test(client_without_an_answer_has_an_error_type),
        cmocka_unit_test(urls_are_redacted),
        cmocka_unit_test(servers_are_found_in_urls),
        cmocka_unit_test(every_set_has_a_series_of_its_own),
        cmocka_unit_test(struct_that_was_not_made_ready_does_nothing),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,POST, PUT,HEAD,PURGE", 1);
    return cmocka_run_group_tests(tests, conventional_setup, conventional_teardown);
}
