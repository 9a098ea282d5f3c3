/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket: the handshake's headers, its query, and the messages after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sonde/baggage.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/json.h>
#include <sonde/carrier/websocket.h>

static const char *const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
static struct sonde_context context;

static enum sonde_extract_reason extract(const char *header, const char *target) {
    struct sonde_http_header headers[] = {{sonde_text("traceparent"), sonde_text(header ? header : "")}};
    struct sonde_http_headers list = {.headers = headers, .count = header != NULL};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    return sonde_websocket_extract(&carrier, target, target ? strlen(target) : 0, &context);
}

static void assert_tracestate(const char *want) {
    assert_int_equal(context.tracestate_length, strlen(want));
    assert_memory_equal(context.tracestate, want, context.tracestate_length);
}

static void query_stands_in_for_headers_of_the_handshake(void **state) {
    (void)state;
    assert_int_equal(extract(NULL, "/chat?room=1&traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                                   "&tracestate=a%3D1%2Cb%3D2&baggage=k%3Dv%2520w#top"),
                     SONDE_EXTRACT_OK);
    assert_int_equal(context.span.trace_id[0], 0x0a);
    assert_int_equal(context.span.is_remote, 1);
    assert_tracestate("a=1,b=2");
    assert_int_equal(context.baggage_length, 7);
    assert_memory_equal(context.baggage, "k=v%20w", 7);
}

static void headers_of_the_handshake_go_before_its_query(void **state) {
    (void)state;
    const char *target = "/?traceparent=00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01&tracestate=q=1";
    assert_int_equal(extract(parent, target), SONDE_EXTRACT_OK);
    assert_int_equal(context.span.trace_id[0], 0x0a);
    assert_tracestate(""); /* of another context */
    assert_int_equal(extract("junk", target), SONDE_EXTRACT_OK);
    assert_int_equal(context.span.trace_id[0], 0x1a);
    assert_tracestate("q=1");
    assert_int_equal(extract("junk", "/"), SONDE_EXTRACT_VERSION);
    assert_int_equal(sonde_websocket_extract(NULL, target, strlen(target), &context), SONDE_EXTRACT_OK);
    assert_int_equal(extract(parent, NULL), SONDE_EXTRACT_OK);
}

static void query_is_decoded_as_forms_are(void **state) {
    (void)state;
    static const struct {
        const char *query, *tracestate;
    } rows[] = {
        {"tracestate=a%3D1%2C+b%3D2", "a=1,b=2"}, /* a plus is a space, here white space round a comma */
        {"tracestate=a%3D1%2B2", "a=1+2"},
        {"tracestate=a=1&tracestate=b=2", "a=1,b=2"},
        {"tracestate=a%3d1%2cb%3d2", "a=1,b=2"},
        {"tracestate=a%3", ""},
        {"tracestate=a%zz", ""},
        {"tracestate=a%3D%00", ""},
        {"tracestate=a%3D1%0d%0aX%3D1", ""},
        {"tracestate=a%3D%ff", ""},
        {"Tracestate=a=1", ""},
        {"xtracestate=a=1", ""},
        {"tracestate", ""},
        {"tracestate=", ""},
        {"&&tracestate=a=1&", "a=1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char target[256];
        (void)snprintf(target, sizeof target, "/?%s&traceparent=%s", rows[i].query, parent);
        enum sonde_extract_reason reason = extract(NULL, target);
        assert_true(reason == SONDE_EXTRACT_OK || reason == SONDE_EXTRACT_TRACESTATE);
        assert_tracestate(rows[i].tracestate);
    }
}

static void query_without_a_good_context_has_none(void **state) {
    (void)state;
    char twice[256];
    (void)snprintf(twice, sizeof twice, "/?traceparent=%s&traceparent=%s", parent, parent);
    assert_int_equal(extract(NULL, twice), SONDE_EXTRACT_DUPLICATE);
    assert_int_equal(extract(NULL, ""), SONDE_EXTRACT_ABSENT);
    assert_int_equal(extract(NULL, "/traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                     SONDE_EXTRACT_ABSENT);
    assert_int_equal(extract(NULL, "/?a#?traceparent=x"), SONDE_EXTRACT_ABSENT);
    assert_int_equal(extract(NULL, "/?"), SONDE_EXTRACT_ABSENT);
}

static void query_is_capped(void **state) {
    (void)state;
    static char target[SONDE_QUERY_SIZE_MAX + 200];
    for (int fits = 0; fits < 2; fits++) {
        size_t filler = SONDE_QUERY_SIZE_MAX - 12 - 55 - 1 + (fits ? 0 : 1);
        target[0] = '?';
        memset(target + 1, 'x', filler);
        (void)snprintf(target + 1 + filler, 100, "&traceparent=%s", parent);
        assert_int_equal(extract(NULL, target), fits ? SONDE_EXTRACT_OK : SONDE_EXTRACT_LENGTH);
    }
    /* A value without room to be decoded in is not seen, and those behind it are. */
    int at = snprintf(target, sizeof target, "?tracestate=a=");
    memset(target + at, 'x', SONDE_QUERY_DECODED_SIZE);
    (void)snprintf(target + at + SONDE_QUERY_DECODED_SIZE, 100, "&traceparent=%s", parent);
    assert_int_equal(extract(NULL, target), SONDE_EXTRACT_OK);
    assert_tracestate("");
}

/* After the handshake: members of the message's own object. */
static void messages_carry_their_context_themselves(void **state) {
    (void)state;
    static struct sonde_json json;
    char frame[512] = "{\"type\":\"move\",\"x\":3}";
    struct sonde_context out;
    sonde_context_init(&out);
    assert_int_equal(sonde_traceparent_read(parent, 55, &out.span), SONDE_EXTRACT_OK);
    sonde_json_edit(&json, frame, strlen(frame), sizeof frame, SONDE_JSON_TOP);
    struct sonde_carrier carrier = sonde_json_carrier(&json);
    assert_int_equal(sonde_inject(&out, &carrier), 0);
    frame[json.size] = '\0';
    assert_string_equal(frame, "{\"type\":\"move\",\"x\":3,\"traceparent\":"
                               "\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}");
    sonde_json_read(&json, frame, strlen(frame), SONDE_JSON_TOP);
    carrier = sonde_json_carrier(&json);
    assert_int_equal(sonde_extract(&carrier, &context), SONDE_EXTRACT_OK);
    assert_memory_equal(context.span.trace_id, out.span.trace_id, 16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_stands_in_for_headers_of_the_handshake),
        cmocka_unit_test(headers_of_the_handshake_go_before_its_query),
        cmocka_unit_test(query_is_decoded_as_forms_are),
        cmocka_unit_test(query_without_a_good_context_has_none),
        cmocka_unit_test(query_is_capped),
        cmocka_unit_test(messages_carry_their_context_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
