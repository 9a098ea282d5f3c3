/* SPDX-License-Identifier: Apache-2.0 */
/* Conventional spans over messages, and the time they lie in queues. Source: semantic conventions, messaging/. */
#include "instrumentation/conventions/queue_time.h"
#include "tests/unit/instrumentation/conventional.h"

#define BATCH_MAX 150
static struct envelope envelopes[BATCH_MAX];
static struct sonde_message messages[BATCH_MAX];
static struct sonde_messaging operation;

static void prepare(enum sonde_messaging_operation what, const char *destination, size_t count) {
    sonde_messaging_init(&operation, what);
    operation.system = sonde_text("kafka");
    operation.destination = sonde_text(destination);
    operation.messages = messages;
    operation.message_count = count;
}
static void empty_messages(size_t count) {
    for (size_t i = 0; i < count; i++)
        messages[i] = (struct sonde_message){.carrier = envelope_open(&envelopes[i])};
}
static void run(void) {
    sonde_messaging_start(&operation);
    sonde_messaging_end(&operation);
}
/* A message that was sent so many microseconds ago, under a trace of its own. */
static void message_sent(size_t i, int64_t ago_us) {
    static char parents[BATCH_MAX][64], states[BATCH_MAX][40];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(parents[i], sizeof parents[i], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba9%04zx-01", i + 1);
    (void)snprintf(states[i], sizeof states[i], "sonde=s:%llx",
                   (unsigned long long)((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - ago_us));
    messages[i] = (struct sonde_message){.carrier = envelope_open(&envelopes[i])};
    envelope_put(&envelopes[i], "traceparent", parents[i]);
    envelope_put(&envelopes[i], "tracestate", states[i]);
}

static void send_is_a_producer_whose_context_is_in_the_message(void **state) {
    (void)state;
    char expected[SONDE_TRACEPARENT_SIZE];
    empty_messages(1);
    prepare(SONDE_MESSAGING_SEND, "orders", 1);
    operation.operation_name = sonde_text("publish");
    operation.partition = sonde_text("3");
    operation.client_id = sonde_text("me");
    operation.conversation_id = sonde_text("c1");
    operation.server_address = sonde_text("broker");
    operation.server_port = 9092;
    sonde_messaging_start(&operation);
    assert_true(sonde_traceparent_write(&operation.span.context, expected));
    messages[0].id = sonde_text("id-1"); /* the broker gave it out */
    sonde_messaging_end(&operation);
    sonde_messaging_end(&operation);
    assert_memory_equal(envelope_get(&envelopes[0], "traceparent").data, expected, sizeof expected);
    assert_memory_equal(envelope_get(&envelopes[0], "tracestate").data, "sonde=s:", 8);
    span_take("publish orders", SONDE_SPAN_KIND_PRODUCER);
    assert_null(records_next());
    span_has_text("messaging.system", "kafka");
    span_has_text("messaging.operation.name", "publish");
    span_has_text("messaging.operation.type", "send");
    span_has_text("messaging.destination.name", "orders");
    span_has_text("messaging.destination.partition.id", "3");
    span_has_text("messaging.client.id", "me");
    span_has_text("messaging.message.conversation_id", "c1");
    span_has_text("messaging.message.id", "id-1");
    span_has_text("server.address", "broker");
    span_has_number("server.port", 9092);
    span_has_not("messaging.batch.message_count");
    assert_int_equal(span_pb->n_links, 0);
    assert_int_equal(measured("messaging.client.sent.messages", "publish", "orders", NULL).count, 1);
    struct measured m = measured("messaging.client.operation.duration", "publish", "send", "orders", NULL);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.bounds, 14);
}

static void send_of_messages_with_a_context_links_and_leaves_them(void **state) {
    (void)state;
    empty_messages(3);
    envelope_put(&envelopes[1], "traceparent", PARENT);
    envelope_put(&envelopes[1], "tracestate", "vendor=1");
    prepare(SONDE_MESSAGING_SEND, "mixed", 3);
    messages[1].id = sonde_text("m1");
    run();
    span_take("send mixed", SONDE_SPAN_KIND_PRODUCER); /* two messages are of its own */
    span_has_number("messaging.batch.message_count", 3);
    span_has_not("messaging.message.id");
    assert_int_equal(span_pb->n_links, 1);
    assert_memory_equal(span_pb->links[0]->span_id.data, PARENT_ID, 8);
    assert_string_equal(records_value(span_pb->links[0]->attributes, 1, "messaging.message.id")->string_value, "m1");
    assert_memory_equal(envelope_get(&envelopes[1], "traceparent").data, PARENT, SONDE_TRACEPARENT_SIZE);
    assert_int_equal(envelope_get(&envelopes[1], "tracestate").size, 8);
    assert_memory_equal(envelope_get(&envelopes[0], "tracestate").data, "sonde=s:", 8);
    assert_int_equal(measured("messaging.client.sent.messages", "mixed", NULL).count, 3);

    prepare(SONDE_MESSAGING_SEND, "mixed", 3); /* now all have one */
    run();
    span_take("send mixed", SONDE_SPAN_KIND_CLIENT);
    assert_int_equal(span_pb->n_links, 3);
}

static void create_gives_the_context_and_send_the_time(void **state) {
    (void)state;
    char created[SONDE_TRACEPARENT_SIZE];
    empty_messages(1);
    prepare(SONDE_MESSAGING_CREATE, "orders", 1);
    sonde_messaging_start(&operation);
    assert_true(sonde_traceparent_write(&operation.span.context, created));
    sonde_messaging_end(&operation);
    span_take("create orders", SONDE_SPAN_KIND_PRODUCER);
    assert_memory_equal(envelope_get(&envelopes[0], "traceparent").data, created, sizeof created);
    /* As if it had been created long ago. */
    struct sonde_context context;
    (void)sonde_extract(&messages[0].carrier, &context);
    assert_int_equal(sonde_tracestate_set(&context, "sonde", 5, "s:1", 3), 0);
    assert_int_equal(sonde_inject(&context, &messages[0].carrier), 0);
    prepare(SONDE_MESSAGING_SEND, "orders", 1);
    run();
    span_take("send orders", SONDE_SPAN_KIND_CLIENT);
    assert_int_equal(span_pb->n_links, 1);
    assert_memory_equal(envelope_get(&envelopes[0], "traceparent").data, created, sizeof created);
    assert_true(envelope_get(&envelopes[0], "tracestate").size > strlen("sonde=s:1"));
    assert_int_equal(measured("messaging.client.operation.duration", "create", NULL).count, 0);
}

static void send_time_may_be_left_away(void **state) {
    (void)state;
    empty_messages(1);
    prepare(SONDE_MESSAGING_SEND, "plain", 1);
    operation.no_send_time = true;
    run();
    span_take("send plain", SONDE_SPAN_KIND_PRODUCER);
    assert_int_equal(envelope_get(&envelopes[0], "traceparent").size, SONDE_TRACEPARENT_SIZE);
    assert_int_equal(envelope_get(&envelopes[0], "tracestate").size, 0);
}

static void process_links_every_message_and_measures_its_wait(void **state) {
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        message_sent(i, 2000000);
        messages[i].id = sonde_text("an-id");
    }
    prepare(SONDE_MESSAGING_PROCESS, "waited", 3);
    operation.consumer_group = sonde_text("group-a");
    operation.subscription = sonde_text("sub-a");
    run();
    span_take("process waited", SONDE_SPAN_KIND_CONSUMER);
    span_has_number("messaging.batch.message_count", 3);
    span_has_text("messaging.consumer.group.name", "group-a");
    assert_int_equal(span_pb->parent_span_id.len, 0);
    assert_int_equal(span_pb->n_links, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(span_pb->links[i]->trace_id.data, TRACE_ID, 16);
        assert_int_equal(span_pb->links[i]->span_id.data[7], i + 1);
        assert_string_equal(span_pb->links[i]->trace_state, ""); /* the time went no further */
        assert_int_equal(span_pb->links[i]->n_attributes, 1);
        assert_int_equal(span_pb->links[i]->flags, 0x301);
    }
    struct measured m = measured("sonde.messaging.queue.time", "kafka", "waited", "sub-a", "group-a", NULL);
    assert_int_equal(m.count, 3);
    assert_true(m.sum >= 5.9 && m.sum < 60);
    assert_int_equal(m.bounds, 0);
    assert_int_equal(measured("messaging.client.consumed.messages", "waited", "sub-a", "group-a", NULL).count, 3);
    assert_int_equal(measured("messaging.process.duration", "waited", "sub-a", "group-a", NULL).count, 1);
}

static void pulled_messages_are_counted_once(void **state) {
    (void)state;
    message_sent(0, 1000);
    prepare(SONDE_MESSAGING_RECEIVE, "pulled", 1);
    operation.batch = true;
    run();
    span_take("receive pulled", SONDE_SPAN_KIND_CLIENT);
    span_has_number("messaging.batch.message_count", 1);
    assert_int_equal(span_pb->n_links, 1);
    prepare(SONDE_MESSAGING_PROCESS, "pulled", 1);
    operation.pulled = true;
    run();
    span_take("process pulled", SONDE_SPAN_KIND_CONSUMER);
    assert_int_equal(span_pb->n_links, 1);
    prepare(SONDE_MESSAGING_SETTLE, "pulled", 1);
    operation.operation_name = sonde_text("ack");
    run();
    span_take("ack pulled", SONDE_SPAN_KIND_CLIENT);
    span_has_text("messaging.operation.type", "settle");
    assert_int_equal(span_pb->n_links, 0);
    assert_int_equal(measured("messaging.client.consumed.messages", "pulled", NULL).count, 1);
    assert_int_equal(measured("sonde.messaging.queue.time", "pulled", NULL).count, 1);
    assert_int_equal(measured("messaging.client.operation.duration", "pulled", NULL).count, 2);
    prepare(SONDE_MESSAGING_RECEIVE, "nothing", 0); /* an empty poll that somebody wants to see */
    run();
    span_take("receive nothing", SONDE_SPAN_KIND_CLIENT);
    assert_int_equal(measured("messaging.client.consumed.messages", "nothing", NULL).series, 0);
}

static void more_messages_than_links_are_counted_not_lost(void **state) {
    (void)state;
    for (size_t i = 0; i < BATCH_MAX; i++) {
        message_sent(i, 1000);
        messages[i].id = (struct sonde_string){NULL, 0};
    }
    prepare(SONDE_MESSAGING_PROCESS, "large", BATCH_MAX);
    run();
    span_take("process large", SONDE_SPAN_KIND_CONSUMER);
    span_has_number("messaging.batch.message_count", BATCH_MAX);
    assert_int_equal(span_pb->n_links, SONDE_SPAN_LINKS_MAX);
    assert_int_equal(span_pb->dropped_links_count, BATCH_MAX - SONDE_SPAN_LINKS_MAX);
    for (size_t i = 0; i < span_pb->n_links; i++)
        assert_int_equal(span_pb->links[i]->span_id.data[7], i + 1);
    assert_int_equal(measured("sonde.messaging.queue.time", "large", NULL).count, BATCH_MAX);
    assert_int_equal(measured("messaging.client.consumed.messages", "large", NULL).count, BATCH_MAX);
}

static void message_may_be_the_parent(void **state) {
    (void)state;
    struct sonde_span outer;
    struct sonde_context child;
    message_sent(0, 1000);
    envelopes[0].items[1].value = sonde_text("vendor=1,sonde=s:5,other=2");
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    prepare(SONDE_MESSAGING_PROCESS, "parent", 1);
    operation.parent_from_message = true;
    sonde_messaging_start(&operation);
    sonde_span_context_get(&operation.span, &child);
    assert_int_equal(child.tracestate_length, strlen("vendor=1,other=2"));
    assert_memory_equal(child.tracestate, "vendor=1,other=2", child.tracestate_length);
    sonde_messaging_end(&operation);
    span_take("process parent", SONDE_SPAN_KIND_CONSUMER);
    assert_memory_equal(span_pb->trace_id.data, TRACE_ID, 16);
    assert_int_equal(span_pb->parent_span_id.data[7], 1);
    assert_int_equal(span_pb->n_links, 1);
    assert_memory_equal(span_pb->links[0]->span_id.data, outer.context.span_id, 8);
    assert_int_equal(measured("sonde.messaging.queue.time", "parent", NULL).count, 1);
    empty_messages(1); /* nothing in the message: a child of the current span */
    prepare(SONDE_MESSAGING_PROCESS, "parent", 1);
    operation.parent_from_message = true;
    run();
    span_take("process parent", SONDE_SPAN_KIND_CONSUMER);
    assert_memory_equal(span_pb->parent_span_id.data, outer.context.span_id, 8);
    assert_int_equal(span_pb->n_links, 0);
    sonde_span_end(&outer);
    (void)records_skip();
}

static void messages_of_the_future_waited_not_at_all_and_are_counted(void **state) {
    (void)state;
    message_sent(0, -3600000000ll);
    message_sent(1, 5);
    prepare(SONDE_MESSAGING_PROCESS, "skewed", 2);
    run();
    span_take("process skewed", SONDE_SPAN_KIND_CONSUMER);
    struct measured m = measured("sonde.messaging.queue.time", "skewed", NULL);
    assert_int_equal(m.count, 2);
    assert_true(m.sum >= 0 && m.sum < 60);
    assert_int_equal(measured("sonde.messaging.queue.time.skewed", "skewed", NULL).count, 1);
}

static void send_times_that_are_none_are_not_measured(void **state) {
    (void)state;
    static const char *const bad[] = {"sonde=s:",
                                      "sonde=s:g",
                                      "sonde=s:1234567890abcdef",
                                      "sonde=5",
                                      "sonde=x:5",
                                      "sonde=s:-5",
                                      "sonde=s:0",
                                      "other=s:5",
                                      "sonde=s: 5",
                                      "sonde=xs:5",
                                      "sonde=s:1234567A",
                                      "sonde=s:1234567o",
                                      "sonde=s:g234567890",
                                      "sonde=s:123456789g",
                                      "sonde=s:1234 678",
                                      "sonde=s:12345:789",
                                      "sonde=s:1234/6789",
                                      "sonde=s:1234`6789",
                                      "sonde=s:@2345678"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        message_sent(0, 0);
        envelopes[0].items[1].value = sonde_text(bad[i]);
        prepare(SONDE_MESSAGING_PROCESS, "bad", 1);
        run();
        span_take("process bad", SONDE_SPAN_KIND_CONSUMER);
        assert_int_equal(span_pb->n_links, 1);
        if (measured("sonde.messaging.queue.time", "bad", NULL).count)
            fail_msg("%s was measured", bad[i]);
    }
    static const char *const good[] = {"sonde=s:5", "sonde=a:b;s:5;c:d", "v=1,sonde=s:5", "sonde=s:5,v=1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct sonde_context context;
        sonde_context_init(&context);
        assert_true(sonde_tracestate_append(&context, good[i], strlen(good[i])));
        assert_int_equal(sonde__queue_time_take(&context), 5);
        assert_int_equal(context.tracestate_length, strstr(good[i], "v=1") ? 3 : 0);
    }
}

static void send_times_are_read_at_any_length(void **state) {
    (void)state;
    char text[64];
    uint64_t value = 0;
    for (unsigned digits = 1; digits <= 15; digits++) {
        struct sonde_context context;
        value = value << 4 | (digits * 7 % 16 ? digits * 7 % 16 : 1);
        (void)snprintf(text, sizeof text, "sonde=s:%llx", (unsigned long long)value);
        sonde_context_init(&context);
        assert_true(sonde_tracestate_append(&context, text, strlen(text)));
        assert_true(sonde__queue_time_take(&context) == value);
    }
}

/* Bare ids go in rows, others one by one: with an id of the message, or a list of more than the send time. */
static void links_keep_their_order_whatever_they_bring(void **state) {
    (void)state;
    enum { COUNT = 100 };
    static struct sonde_context contexts[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        message_sent(i, 1000);
        (void)sonde_extract(&messages[i].carrier, &contexts[i]);
        if (i % 5 == 0)
            assert_int_equal(sonde_tracestate_set(&contexts[i], "other", 5, "1", 1), 0);
        if (i % 50 == 3)
            sonde_context_init(&contexts[i]); /* no context, no link */
        messages[i] = (struct sonde_message){.context = &contexts[i], .id = sonde_text(i % 7 ? "" : "m")};
    }
    prepare(SONDE_MESSAGING_PROCESS, "mixed", COUNT);
    run();
    span_take("process mixed", SONDE_SPAN_KIND_CONSUMER);
    assert_int_equal(span_pb->n_links, COUNT - 2);
    for (size_t i = 0, link = 0; i < COUNT; i++) {
        if (i % 50 == 3)
            continue;
        const Pb__Link *pb = span_pb->links[link++];
        assert_int_equal(pb->span_id.data[7], i + 1);
        assert_string_equal(pb->trace_state, i % 5 ? "" : "other=1");
        assert_int_equal(pb->n_attributes, i % 7 == 0);
        assert_int_equal(pb->flags, 0x301);
    }
    assert_int_equal(measured("sonde.messaging.queue.time", "mixed", NULL).count, COUNT - 2);
}

static void contexts_extracted_before_are_used(void **state) {
    (void)state;
    static struct sonde_context contexts[2];
    for (size_t i = 0; i < 2; i++) {
        message_sent(i, 1000);
        (void)sonde_extract(&messages[i].carrier, &contexts[i]);
        messages[i] = (struct sonde_message){.context = &contexts[i]};
    }
    prepare(SONDE_MESSAGING_PROCESS, "known", 2);
    run();
    span_take("process known", SONDE_SPAN_KIND_CONSUMER);
    assert_int_equal(span_pb->n_links, 2);
    assert_int_equal(span_pb->links[1]->span_id.data[7], 2);
    assert_string_equal(span_pb->links[1]->trace_state, "");
    assert_true(contexts[1].tracestate_length > 0); /* the user's is left as it is */
    assert_int_equal(measured("sonde.messaging.queue.time", "known", NULL).count, 2);
    prepare(SONDE_MESSAGING_PROCESS, "known", 1);
    operation.parent_from_message = true;
    run();
    span_take("process known", SONDE_SPAN_KIND_CONSUMER);
    assert_int_equal(span_pb->parent_span_id.data[7], 1);
    prepare(SONDE_MESSAGING_SEND, "known", 2); /* nowhere to put a context */
    run();
    span_take("send known", SONDE_SPAN_KIND_PRODUCER);
}

static void names_have_few_values(void **state) {
    (void)state;
    static const struct {
        const char *destination, *pattern, *address, *expect;
        bool temporary, anonymous;
        uint16_t port;
    } cases[] = {{"reply-123", "reply-{id}", "", "send reply-{id}", true, false, 0},
                 {"amq.gen-x", "", "broker", "send broker:5672", false, true, 5672},
                 {"tmp", "", "broker", "send broker", true, false, 0},
                 {"tmp", "", "", "send", true, false, 0},
                 {"", "", "broker", "send broker:1", false, false, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        empty_messages(1);
        prepare(SONDE_MESSAGING_SEND, cases[i].destination, 1);
        operation.destination_template = sonde_text(cases[i].pattern);
        operation.server_address = sonde_text(cases[i].address);
        operation.server_port = cases[i].port;
        operation.destination_is_temporary = cases[i].temporary;
        operation.destination_is_anonymous = cases[i].anonymous;
        run();
        span_take(cases[i].expect, SONDE_SPAN_KIND_PRODUCER);
        if (cases[i].temporary)
            assert_int_equal(span_value("messaging.destination.temporary")->bool_value, 1);
        if (cases[i].anonymous)
            assert_int_equal(span_value("messaging.destination.anonymous")->bool_value, 1);
    }
    assert_int_equal(measured("messaging.client.sent.messages", "reply-123", NULL).count, 0);
    assert_int_equal(measured("messaging.client.sent.messages", "reply-{id}", NULL).count, 1);
    assert_int_equal(measured("messaging.client.sent.messages", "amq.gen-x", NULL).count, 0);
}

static void errors_are_on_span_and_measurements(void **state) {
    (void)state;
    prepare(SONDE_MESSAGING_SEND, "failing", 1);
    operation.messages = NULL; /* out of reach: a span all the same */
    sonde_messaging_start(&operation);
    operation.error_type = "timeout";
    sonde_messaging_end(&operation);
    span_take("send failing", SONDE_SPAN_KIND_PRODUCER);
    span_has_text("error.type", "timeout");
    assert_int_equal(span_status(), SONDE_STATUS_ERROR);
    assert_int_equal(measured("messaging.client.sent.messages", "failing", "timeout", NULL).count, 1);
    assert_int_equal(measured("messaging.client.operation.duration", "failing", "timeout", NULL).count, 1);
    sonde_messaging_init(&operation, (enum sonde_messaging_operation)9);
    run();
    assert_null(records_next());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(send_is_a_producer_whose_context_is_in_the_message),
        cmocka_unit_test(send_of_messages_with_a_context_links_and_leaves_them),
        cmocka_unit_test(create_gives_the_context_and_send_the_time),
        cmocka_unit_test(send_time_may_be_left_away),
        cmocka_unit_test(process_links_every_message_and_measures_its_wait),
        cmocka_unit_test(pulled_messages_are_counted_once),
        cmocka_unit_test(more_messages_than_links_are_counted_not_lost),
        cmocka_unit_test(links_keep_their_order_whatever_they_bring),
        cmocka_unit_test(message_may_be_the_parent),
        cmocka_unit_test(messages_of_the_future_waited_not_at_all_and_are_counted),
        cmocka_unit_test(send_times_that_are_none_are_not_measured),
        cmocka_unit_test(send_times_are_read_at_any_length),
        cmocka_unit_test(contexts_extracted_before_are_used),
        cmocka_unit_test(names_have_few_values),
        cmocka_unit_test(errors_are_on_span_and_measurements),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, conventional_setup, conventional_teardown);
}
