/* SPDX-License-Identifier: Apache-2.0 */
/* The same expectations of every envelope, those over client libraries included where these are installed: what goes in
 * comes out, twice in is once in, what is stale goes, and the user's own fields stay. What sets envelopes apart is in
 * tests/vectors/carriers.tsv; below are the rules that rows cannot say. */
#include "tests/unit/instrumentation/envelopes.h"

/* ---- the expectations ---- */

static struct sonde_context with, without, back;

static int setup(void **state) {
    static const char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    (void)state;
    sonde_context_init(&with);
    assert_int_equal(sonde_traceparent_read(traceparent, sizeof traceparent - 1, &with.span), SONDE_EXTRACT_OK);
    sonde_context_copy(&without, &with);
    assert_true(sonde_tracestate_append(&with, "a=1,b=\"2 %\\", 11));
    assert_int_equal(sonde_baggage_set(&with, TEXT("k"), TEXT("v w"), TEXT("")), 0);
    return 0;
}

static void assert_carried(const struct sonde_carrier *carrier, const struct sonde_context *want, bool baggage) {
    assert_true(sonde_extract(carrier, &back) == SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.trace_id, want->span.trace_id, 16);
    assert_memory_equal(back.span.span_id, want->span.span_id, 8);
    assert_int_equal(back.span.flags, want->span.flags);
    assert_int_equal(back.tracestate_length, want->tracestate_length);
    assert_memory_equal(back.tracestate, want->tracestate, want->tracestate_length);
    if (!baggage)
        return;
    assert_int_equal(back.baggage_length, want->baggage_length);
    assert_memory_equal(back.baggage, want->baggage, back.baggage_length);
}

static void check_round_trip(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    bool baggage = envelope->takes & BAGGAGE;
    struct sonde_string value;
    if (envelope->takes & OWN)
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("own"), TEXT("mine")), 0);
    else
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("own"), TEXT("mine")), SONDE_EINVALID);
    assert_int_equal(sonde_inject(&with, carrier), baggage ? 0 : SONDE_EINVALID);
    assert_carried(carrier, &with, baggage);
    for (int retry = 0; retry < 3; retry++)
        assert_int_equal(sonde_inject(&with, carrier), baggage ? 0 : SONDE_EINVALID);
    assert_int_equal(count_of(carrier, TEXT("traceparent")), 1);
    assert_int_equal(count_of(carrier, TEXT("tracestate")), 1);
    assert_int_equal(count_of(carrier, TEXT("baggage")), baggage ? 1 : 0);
    assert_carried(carrier, &with, baggage);
    assert_int_equal(sonde_inject(&without, carrier), 0);
    assert_carried(carrier, &without, true);
    assert_int_equal(count_of(carrier, TEXT("tracestate")), 0);
    assert_int_equal(count_of(carrier, TEXT("baggage")), 0);
    if (envelope->takes & OWN) {
        assert_true(carrier->ops->get(carrier->self, TEXT("own"), &value));
        assert_true(value.size == 4 && memcmp(value.data, "mine", 4) == 0);
    }
}
static void what_goes_in_comes_out_once(void **state) {
    (void)state;
    each_envelope(check_round_trip);
}

static void check_first_send(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    struct sonde_string value;
    if (!(envelope->takes & BAGGAGE))
        return;
    assert_int_equal(carrier->ops->set(carrier->self, TEXT("baggage"), TEXT("own=1")), 0);
    assert_int_equal(sonde_inject(&without, carrier), 0); /* no context was there: it is nobody's leftover */
    assert_true(carrier->ops->get(carrier->self, TEXT("baggage"), &value));
    assert_true(value.size == 5 && memcmp(value.data, "own=1", 5) == 0);
    assert_int_equal(sonde_inject(&with, carrier), 0);
    assert_int_equal(count_of(carrier, TEXT("baggage")), 1);
    assert_carried(carrier, &with, true);
}
static void baggage_that_the_application_wrote_goes_with_the_first_send(void **state) {
    (void)state;
    each_envelope(check_first_send);
}

static void check_prefixed(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    struct sonde_context other;
    if (!(envelope->takes & BAGGAGE) || !carrier->ops->keys || strcmp(envelope->name, "environment") == 0)
        return; /* which has names of its own */
    sonde_context_copy(&other, &without);
    assert_int_equal(sonde_baggage_set(&other, TEXT("L"), TEXT("w"), TEXT("")), 0);
    assert_int_equal(sonde_inject_as("jaeger", &with, carrier), 0);
    assert_int_equal(count_of(carrier, TEXT("uberctx-k")), 1);
    assert_int_equal(sonde_inject_as("jaeger", &other, carrier), 0);
    assert_int_equal(count_of(carrier, TEXT("uberctx-k")), 0);
    assert_int_equal(count_of(carrier, TEXT("uberctx-l")), 1);
    assert_int_equal(sonde_inject_as("jaeger", &other, carrier), 0);
    assert_int_equal(count_of(carrier, TEXT("uberctx-l")), 1);
}
static void headers_of_baggage_that_is_gone_go_with_it(void **state) {
    (void)state;
    each_envelope(check_prefixed);
}

static void check_clear(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    static const struct sonde_context nothing;
    if (envelope->takes & OWN)
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("own"), TEXT("mine")), 0);
    (void)sonde_inject(&with, carrier);
    sonde_propagation_clear(carrier);
    assert_int_equal(sonde_extract(carrier, &back), SONDE_EXTRACT_ABSENT);
    assert_int_equal(count_of(carrier, TEXT("own")), envelope->takes & OWN ? 1 : 0);
    assert_int_equal(sonde_inject(&nothing, carrier), 0);
    assert_int_equal(count_of(carrier, TEXT("traceparent")), 0);
    carrier->ops->remove(carrier->self, TEXT("absent"));
}
static void clear_takes_out_what_went_in(void **state) {
    (void)state;
    each_envelope(check_clear);
}

/* ---- rules of one envelope ---- */

static void what_finds_no_room_leaves_the_message_alone(void **state) {
    (void)state;
    struct sonde_carrier carrier = make_sql();
    statement.capacity = 60;
    assert_int_equal(sonde_inject(&without, &carrier), SONDE_ETOOBIG);
    assert_int_equal(statement.size, 9);
    assert_memory_equal(text, "SELECT 1;", 9);
    carrier = make_kafka();
    list.text_size = 20;
    assert_int_equal(sonde_inject(&without, &carrier), SONDE_ETOOBIG);
    assert_int_equal(list.count, 0);
    carrier = make_json();
    json.capacity = 40;
    assert_int_equal(sonde_inject(&without, &carrier), SONDE_ETOOBIG);
    assert_int_equal(json.size, 2);
}

static void xray_goes_into_the_header_that_is_not_one_of_the_ten(void **state) {
    static struct sonde_sqs_message message;
    (void)state;
    memset(&message, 0, sizeof message);
    message.attributes = *fresh_pairs();
    while (message.attributes.count < SONDE_SQS_ATTRIBUTES_MAX)
        pairs[message.attributes.count++] = (struct sonde_pair){TEXT("own"), TEXT("v")};
    struct sonde_carrier carrier = sonde_sqs_carrier(&message);
    assert_int_equal(sonde_inject_as("xray", &without, &carrier), 0);
    assert_int_equal(message.attributes.count, SONDE_SQS_ATTRIBUTES_MAX);
    assert_non_null(message.trace_header.data);
    assert_int_equal(sonde_sqs_extract(&message, NULL, 0, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.trace_id, without.span.trace_id, 16);
}

static void servicebus_writes_both_when_asked(void **state) {
    (void)state;
    struct sonde_carrier carrier = make_amqp();
    assert_int_equal(sonde_servicebus_inject(&without, &carrier, false), 0);
    assert_int_equal(count_of(&carrier, TEXT("Diagnostic-Id")), 0);
    assert_int_equal(sonde_servicebus_inject(&without, &carrier, true), 0);
    assert_int_equal(count_of(&carrier, TEXT("Diagnostic-Id")), 1);
    carrier.ops->remove(carrier.self, TEXT("traceparent"));
    assert_int_equal(sonde_servicebus_extract(&carrier, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.span_id, without.span.span_id, 8);
}

static void event_keeps_the_trace_it_arose_in(void **state) {
    (void)state;
    struct sonde_context other;
    struct sonde_string value;
    struct sonde_carrier event = make_ce_kafka();
    sonde_context_copy(&other, &without);
    other.span.span_id[0] ^= 1;
    assert_int_equal(sonde_cloudevents_inject(&without, &event), 0);
    assert_int_equal(sonde_cloudevents_inject(&other, &event), 0);
    assert_carried(&event, &without, false);
    /* Of AMQP's two spellings the one that the event uses. */
    event = make_ce_amqp();
    pairs[list.count++] = (struct sonde_pair){TEXT("cloudEvents:specversion"), TEXT("1.0")};
    assert_int_equal(sonde_cloudevents_inject(&without, &event), 0);
    struct sonde_carrier plain = sonde_amqp_carrier(&list);
    assert_true(plain.ops->get(plain.self, TEXT("cloudEvents:traceparent"), &value));
    assert_false(plain.ops->get(plain.self, TEXT("cloudEvents_traceparent"), &value));
}

static void grpc_reserves_its_names_and_splits_binary_values(void **state) {
    (void)state;
    struct sonde_carrier carrier = make_grpc();
    assert_int_equal(carrier.ops->set(carrier.self, TEXT("grpc-timeout"), TEXT("1S")), SONDE_EINVALID);
    assert_int_equal(carrier.ops->set(carrier.self, TEXT("Upper"), TEXT("1")), SONDE_EINVALID);
    assert_int_equal(carrier.ops->set(carrier.self, TEXT("grpc-trace-bin"), TEXT("AAA")), 0);
    assert_int_equal(carrier.ops->set(carrier.self, TEXT("x-bin"), TEXT("AA,AQ, Ag")), 0);
    assert_int_equal(count_of(&carrier, TEXT("x-bin")), 3);
    assert_int_equal(carrier.ops->set(carrier.self, TEXT("x"), TEXT("AA,AQ")), 0);
    assert_int_equal(count_of(&carrier, TEXT("x")), 1);
}

static void grpc_call_is_not_refused_for_baggage(void **state) {
    (void)state;
    static char huge[SONDE_GRPC_SIZE_MAX];
    struct sonde_carrier carrier = make_grpc();
    memset(huge, 'v', sizeof huge);
    assert_int_equal(carrier.ops->set(carrier.self, TEXT("own"), (struct sonde_string){huge, 100}), 0);
    assert_int_equal(sonde_baggage_set(&with, TEXT("big"), (struct sonde_string){huge, 7900}, TEXT("")), 0);
    assert_int_equal(sonde_inject(&with, &carrier), SONDE_ETOOBIG);
    assert_int_equal(count_of(&carrier, TEXT("traceparent")), 1);
    assert_int_equal(count_of(&carrier, TEXT("tracestate")), 1);
    assert_int_equal(count_of(&carrier, TEXT("baggage")), 0);
    /* To the byte, and a value that is replaced does not count. */
    size_t used = 3 + 100 + 11 + 55 + 10 + with.tracestate_length + 4 * 32 + 1;
    for (int retry = 0; retry < 2; retry++) {
        struct sonde_string most = {huge, SONDE_GRPC_SIZE_MAX - used}, over = {huge, SONDE_GRPC_SIZE_MAX - used + 1};
        assert_int_equal(carrier.ops->set(carrier.self, TEXT("x"), over), SONDE_ETOOBIG);
        assert_int_equal(carrier.ops->set(carrier.self, TEXT("x"), most), 0);
    }
}

static void grpc_base64_goes_both_ways(void **state) {
    (void)state;
    uint8_t bytes[40], decoded[40];
    char coded[64];
    size_t size;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 250);
    for (size_t i = 0; i <= sizeof bytes; i++) {
        size_t used = sonde_grpc_encode(bytes, i, coded, sizeof coded);
        assert_int_equal(used, (4 * i + 2) / 3);
        for (int padded = 0; padded < 2; padded++) {
            for (; padded && used % 4; used++)
                coded[used] = '=';
            assert_int_equal(sonde_grpc_decode(coded, used, decoded, i, &size), 0);
            assert_int_equal(size, i);
            assert_memory_equal(decoded, bytes, i);
        }
    }
    static const char *const bad[] = {"A", "AA=", "AAAAA", "A===", "AA==A", "A?", "AB", "AAB", "=AAA", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sonde_grpc_decode(bad[i], strlen(bad[i]), decoded, sizeof decoded, &size), SONDE_EMALFORMED);
    assert_int_equal(sonde_grpc_decode("AAAA", 4, decoded, 2, &size), SONDE_ETOOBIG);
}

static void environment_copy_leaves_the_original_alone(void **state) {
    (void)state;
    static char old[] = "TRACEPARENT=old", again[] = "TRACEPARENT=again", path[] = "PATH=/bin";
    char *from[] = {path, old, again, NULL}, *entries[6];
    struct sonde_environment copy;
    assert_int_equal(sonde_environment_copy(&copy, from, entries, 3, text, sizeof text), SONDE_ETOOBIG);
    assert_int_equal(sonde_environment_copy(&copy, from, entries, 6, text, sizeof text), 0);
    struct sonde_carrier carrier = sonde_environment_carrier(&copy);
    assert_int_equal(sonde_inject(&without, &carrier), 0);
    assert_string_equal(entries[0], "PATH=/bin");
    assert_string_equal(entries[1], "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_null(entries[2]);
    assert_string_equal(from[1], "TRACEPARENT=old");
    assert_string_equal(from[2], "TRACEPARENT=again");
    assert_int_equal(sonde_environment_copy(&copy, NULL, entries, 1, text, sizeof text), 0);
    carrier = sonde_environment_carrier(&copy);
    assert_int_equal(sonde_inject(&without, &carrier), SONDE_ETOOBIG);
    assert_null(entries[0]);
}

static void sql_of_somebody_else_is_not_changed(void **state) {
    (void)state;
    char sql[128] = "SELECT 1 /*traceparent='x'*/";
    statement = (struct sonde_sql){.text = sql, .size = strlen(sql), .capacity = sizeof sql};
    struct sonde_carrier carrier = sonde_sql_carrier(&statement);
    assert_int_equal(count_of(&carrier, TEXT("traceparent")), 1);
    carrier.ops->remove(carrier.self, TEXT("traceparent"));
    assert_int_equal(sonde_inject(&without, &carrier), SONDE_EINVALID);
    assert_int_equal(statement.size, 28);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(what_goes_in_comes_out_once),
        CASE(baggage_that_the_application_wrote_goes_with_the_first_send),
        CASE(headers_of_baggage_that_is_gone_go_with_it),
        CASE(clear_takes_out_what_went_in),
        CASE(what_finds_no_room_leaves_the_message_alone),
        CASE(xray_goes_into_the_header_that_is_not_one_of_the_ten),
        CASE(servicebus_writes_both_when_asked),
        CASE(event_keeps_the_trace_it_arose_in),
        CASE(grpc_reserves_its_names_and_splits_binary_values),
        CASE(grpc_call_is_not_refused_for_baggage),
        CASE(grpc_base64_goes_both_ways),
        CASE(environment_copy_leaves_the_original_alone),
        CASE(sql_of_somebody_else_is_not_changed),
    };
    if (!envelopes_begin())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    envelopes_end();
    return failed;
}
