/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: context and propagators. Each test is named after its item in items.tsv. */
#include "tests/checklist/checklist.h"
#include <sonde/carrier/environment.h>
#include <sonde/carrier/grpc.h>
#include <sonde/carrier/http.h>

/* A message with room, and its carrier. */
struct message {
    struct sonde_http_header headers[16];
    char text[4096];
    struct sonde_http_headers http;
    struct sonde_carrier carrier;
};
static void message_init(struct message *message) {
    memset(message, 0, sizeof *message);
    message->http.headers = message->headers;
    message->http.capacity = 16;
    message->http.text = message->text;
    message->http.text_size = sizeof message->text;
    message->carrier = sonde_http_carrier(&message->http);
}
static bool has(const struct message *message, const char *name) {
    struct sonde_string value;
    return message->carrier.ops->get(message->carrier.self, sonde_text(name), &value);
}

/* Through a message and back in one format: ids and the sampled flag are kept, the field of that name is used. */
static void round_trip(const char *format, const char *field) {
    struct sonde_context context = remote_parent(SONDE_TRACE_FLAG_SAMPLED), back;
    struct message message;
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = format;
    message_init(&message);
    assert_int_equal(sonde_inject_as(format, &context, &message.carrier), 0);
    assert_true(has(&message, field));
    assert_int_equal(sonde_extract_with(&message.carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.trace_id, context.span.trace_id, 16);
    assert_memory_equal(back.span.span_id, context.span.span_id, 8);
    assert_true(back.span.flags & SONDE_TRACE_FLAG_SAMPLED);
    assert_int_equal(back.span.is_remote, 1);
}

static void the_propagators_variable(void) {
    setenv("OTEL_PROPAGATORS", "b3multi,baggage", 1);
    struct sonde_context context = remote_parent(SONDE_TRACE_FLAG_SAMPLED);
    struct message message;
    message_init(&message);
    CHECK(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a"), sonde_text("")) == 0);
    CHECK(sonde_inject(&context, &message.carrier) == 0);
    CHECK(has(&message, "x-b3-traceid") && has(&message, "baggage") && !has(&message, "traceparent"));
    CHECK(sonde_propagators_set("tracecontext") == 0);
    message_init(&message);
    CHECK(sonde_inject(&context, &message.carrier) == 0);
    CHECK(has(&message, "traceparent") && !has(&message, "x-b3-traceid"));
}
static void the_global_propagator(void **state) {
    (void)state;
    assert_int_equal(child_run(the_propagators_variable), 0);
}

static void attach_and_detach(void **state) {
    (void)state;
    struct sonde_context context = remote_parent(1), none;
    sonde_context_init(&none);
    struct sonde_context_token outer = sonde_context_attach(&context);
    struct sonde_context_token inner = sonde_context_attach(&none);
    struct sonde_span_context current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
    sonde_context_detach(inner);
    sonde_context_detach(inner); /* used twice: nothing */
    current = sonde_context_current_span();
    assert_memory_equal(current.span_id, context.span.span_id, 8);
    sonde_context_detach(outer);
    current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
}

static void get_the_current_context(void **state) {
    (void)state;
    struct sonde_context context = remote_parent(1), current;
    assert_true(sonde_tracestate_append(&context, "k=v", 3));
    assert_int_equal(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a"), sonde_text("")), 0);
    struct sonde_context_token token = sonde_context_attach(&context);
    sonde_context_current(&current);
    sonde_context_detach(token);
    assert_memory_equal(current.span.trace_id, context.span.trace_id, 16);
    assert_int_equal(current.tracestate_length, 3);
    assert_memory_equal(current.baggage, "tenant=a", 8);
}

static void the_composite_propagator(void **state) {
    (void)state;
    struct sonde_context context = remote_parent(1), back;
    struct message message;
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    message_init(&message);
    assert_int_equal(sonde_inject_as("tracecontext,b3", &context, &message.carrier), 0);
    assert_true(has(&message, "traceparent"));
    assert_true(has(&message, "b3"));
    /* the later one wins, one that finds nothing changes nothing */
    assert_int_equal(message.carrier.ops->set(message.carrier.self, sonde_text("b3"),
                                              sonde_text("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")),
                     0);
    options.propagators = "tracecontext,b3,jaeger";
    assert_int_equal(sonde_extract_with(&message.carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.trace_id[0], 0x80);
    options.propagators = "b3,tracecontext";
    assert_int_equal(sonde_extract_with(&message.carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.trace_id[0], 0x4b);
}

static void trace_context_propagator(void **state) {
    (void)state;
    round_trip("tracecontext", "traceparent");
}
static void b3_propagator(void **state) {
    (void)state;
    round_trip("b3", "b3");
    round_trip("b3multi", "x-b3-traceid");
}
static void jaeger_propagator(void **state) {
    (void)state;
    round_trip("jaeger", "uber-trace-id");
}

static void opentracing_propagator(void **state) {
    (void)state;
    struct sonde_context context = remote_parent(1), back;
    struct message message;
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = "ottrace";
    message_init(&message);
    assert_int_equal(sonde_inject_as("ottrace", &context, &message.carrier), 0);
    assert_true(has(&message, "ot-tracer-traceid"));
    assert_int_equal(sonde_extract_with(&message.carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.trace_id + 8, context.span.trace_id + 8, 8); /* the format has 64 bits */
    assert_memory_equal(back.span.span_id, context.span.span_id, 8);
}

static void opencensus_binary_propagator(void **state) {
    (void)state;
    struct sonde_context context = remote_parent(1), back;
    struct message message;
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = "grpc-trace-bin";
    message_init(&message);
    struct sonde_pair pairs[4];
    struct sonde_pairs metadata = {
        .pairs = pairs, .capacity = 4, .text = message.text, .text_size = sizeof message.text};
    struct sonde_carrier carrier = sonde_grpc_carrier(&metadata);
    assert_int_equal(sonde_inject_as("grpc-trace-bin", &context, &carrier), 0);
    assert_int_equal(metadata.count, 1);
    assert_int_equal(sonde_extract_with(&carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.trace_id, context.span.trace_id, 16);
}

static void setter_and_getter(void **state) {
    (void)state;
    struct message message;
    struct sonde_string value;
    message_init(&message);
    const struct sonde_carrier_ops *ops = message.carrier.ops;
    assert_int_equal(ops->set(message.carrier.self, sonde_text("x-one"), sonde_text("1")), 0);
    assert_int_equal(ops->set(message.carrier.self, sonde_text("x-one"), sonde_text("2")), 0);
    assert_int_equal(message.http.count, 1);
    assert_true(ops->get(message.carrier.self, sonde_text("x-one"), &value));
    assert_memory_equal(value.data, "2", 1);
    message.headers[0].name = sonde_text("X-One"); /* without case */
    assert_true(ops->get(message.carrier.self, sonde_text("x-one"), &value));
}

static bool count_names(void *count, struct sonde_string name) {
    (void)name;
    ++*(int *)count;
    return true;
}
static void getter_keys(void **state) {
    (void)state;
    struct message message;
    int count = 0;
    message_init(&message);
    assert_int_equal(message.carrier.ops->set(message.carrier.self, sonde_text("a"), sonde_text("1")), 0);
    assert_int_equal(message.carrier.ops->set(message.carrier.self, sonde_text("b"), sonde_text("2")), 0);
    message.carrier.ops->keys(message.carrier.self, count_names, &count);
    assert_int_equal(count, 2);
}

/* What Fields() is for: a message that is used again is cleared of what a propagator writes. */
static void fields(void **state) {
    (void)state;
    struct sonde_context context = remote_parent(1);
    struct message message;
    message_init(&message);
    assert_int_equal(message.carrier.ops->set(message.carrier.self, sonde_text("x-own"), sonde_text("1")), 0);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a"), sonde_text("")), 0);
    assert_int_equal(sonde_inject(&context, &message.carrier), 0);
    assert_true(has(&message, "traceparent") && has(&message, "baggage"));
    sonde_propagation_clear(&message.carrier);
    assert_int_equal(message.http.count, 1);
    assert_true(has(&message, "x-own"));
}

static void environment_carrier(void **state) {
    (void)state;
    char *entries[8], text[SONDE_ENVIRONMENT_INJECT_SIZE], *const from[] = {(char[]){"HOME=/"}, NULL};
    struct sonde_environment copy;
    struct sonde_context context = remote_parent(1), back;
    assert_int_equal(sonde_environment_copy(&copy, from, entries, 8, text, sizeof text), 0);
    struct sonde_carrier carrier = sonde_environment_carrier(&copy);
    assert_int_equal(sonde_inject(&context, &carrier), 0);
    assert_string_equal(entries[1], "TRACEPARENT=" A_TRACEPARENT);
    assert_int_equal(sonde_extract(&carrier, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.span_id, context.span.span_id, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_global_propagator),
        cmocka_unit_test(attach_and_detach),
        cmocka_unit_test(get_the_current_context),
        cmocka_unit_test(the_composite_propagator),
        cmocka_unit_test(trace_context_propagator),
        cmocka_unit_test(b3_propagator),
        cmocka_unit_test(jaeger_propagator),
        cmocka_unit_test(opentracing_propagator),
        cmocka_unit_test(opencensus_binary_propagator),
        cmocka_unit_test(setter_and_getter),
        cmocka_unit_test(getter_keys),
        cmocka_unit_test(fields),
        cmocka_unit_test(environment_carrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
