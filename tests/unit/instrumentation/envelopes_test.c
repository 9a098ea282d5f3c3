/* SPDX-License-Identifier: Apache-2.0 */
/* The same expectations of every envelope, those over client libraries included where these are installed: what goes in
 * comes out, twice in is once in, what is stale goes, and the user's own fields stay. What sets envelopes apart is in
 * tests/vectors/carriers.tsv; below are the rules that rows cannot say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sonde/baggage.h>
#include <sonde/carrier/amqp.h>
#include <sonde/carrier/cloudevents.h>
#include <sonde/carrier/environment.h>
#include <sonde/carrier/grpc.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/json.h>
#include <sonde/carrier/kafka.h>
#include <sonde/carrier/mqtt.h>
#include <sonde/carrier/nats.h>
#include <sonde/carrier/pubsub.h>
#include <sonde/carrier/servicebus.h>
#include <sonde/carrier/sql.h>
#include <sonde/carrier/sqs.h>
#include <sonde/err.h>
#ifdef SONDE_HAVE_RDKAFKA
#include <sonde/carrier/rdkafka.h>
#endif
#ifdef SONDE_HAVE_LIBRABBITMQ
#include <sonde/carrier/rabbitmq.h>
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
#include <sonde/carrier/mosquitto.h>
#endif
#ifdef SONDE_HAVE_LIBNATS
#include <sonde/carrier/cnats.h>
#endif
#ifdef SONDE_HAVE_LIBQPID_PROTON
#include <sonde/carrier/proton.h>
#endif
#ifdef SONDE_HAVE_LIBNGHTTP2
#include <sonde/carrier/nghttp2.h>
#endif

#define TEXT(literal)                                                                                                  \
    (struct sonde_string) {                                                                                            \
        literal, sizeof(literal) - 1                                                                                   \
    }

enum { ROOM = 16, TEXT_SIZE = 65536 };

/* ---- the envelopes ---- */

static char text[TEXT_SIZE];
static struct sonde_pair pairs[ROOM];
static struct sonde_pairs list;

static struct sonde_pairs *fresh_pairs(void) {
    list = (struct sonde_pairs){pairs, 0, ROOM, text, sizeof text, 0};
    return &list;
}

static struct sonde_carrier make_grpc(void) {
    return sonde_grpc_carrier(fresh_pairs());
}
static struct sonde_carrier make_kafka(void) {
    return sonde_kafka_carrier(fresh_pairs());
}
static struct sonde_carrier make_amqp(void) {
    return sonde_amqp_carrier(fresh_pairs());
}
static struct sonde_carrier make_mqtt(void) {
    return sonde_mqtt_carrier(fresh_pairs());
}
static struct sonde_carrier make_nats(void) {
    return sonde_nats_carrier(fresh_pairs());
}
static struct sonde_carrier make_pubsub(void) {
    return sonde_pubsub_carrier(fresh_pairs());
}
static struct sonde_carrier make_sqs(void) {
    static struct sonde_sqs_message message;
    memset(&message, 0, sizeof message);
    message.attributes = *fresh_pairs();
    return sonde_sqs_carrier(&message);
}

static struct sonde_json json;
static struct sonde_carrier make_json_at(const char *before, enum sonde_json_place place) {
    size_t size = strlen(before);
    memcpy(text, before, size);
    sonde_json_edit(&json, text, size, sizeof text, place);
    return sonde_json_carrier(&json);
}
static struct sonde_carrier make_json(void) {
    return make_json_at("{}", SONDE_JSON_TOP);
}
static struct sonde_carrier make_jsonrpc(void) {
    return make_json_at("{\"method\":\"m\"}", SONDE_JSON_PARAMS_META);
}
static struct sonde_carrier make_graphql_init(void) {
    return make_json_at("{\"type\":\"connection_init\"}", SONDE_JSON_PAYLOAD);
}
static struct sonde_carrier make_graphql_operation(void) {
    return make_json_at("{\"type\":\"subscribe\",\"payload\":{\"query\":\"{a}\"}}", SONDE_JSON_PAYLOAD_EXTENSIONS);
}

static struct sonde_carrier make_environment(void) {
    static char *entries[ROOM], home[] = "HOME=/", *const from[] = {home, NULL};
    static struct sonde_environment environment;
    assert_int_equal(sonde_environment_copy(&environment, from, entries, ROOM, text, sizeof text), 0);
    return sonde_environment_carrier(&environment);
}

static struct sonde_sql statement;
static struct sonde_carrier make_sql(void) {
    memcpy(text, "SELECT 1;", 9);
    statement = (struct sonde_sql){.text = text, .size = 9, .capacity = sizeof text};
    return sonde_sql_carrier(&statement);
}

static struct sonde_carrier make_event(struct sonde_carrier message, enum sonde_cloudevents_binding binding) {
    static struct sonde_cloudevents event;
    memset(&event, 0, sizeof event);
    event.message = message;
    event.binding = binding;
    return sonde_cloudevents_carrier(&event);
}
static struct sonde_carrier make_ce_http(void) {
    static struct sonde_http_header headers[ROOM];
    static struct sonde_http_headers http;
    http = (struct sonde_http_headers){headers, 0, ROOM, text, sizeof text, 0};
    return make_event(sonde_http_carrier(&http), SONDE_CLOUDEVENTS_HTTP);
}
static struct sonde_carrier make_ce_kafka(void) {
    return make_event(make_kafka(), SONDE_CLOUDEVENTS_KAFKA);
}
static struct sonde_carrier make_ce_amqp(void) {
    return make_event(make_amqp(), SONDE_CLOUDEVENTS_AMQP);
}
static struct sonde_carrier make_ce_nats(void) {
    return make_event(make_nats(), SONDE_CLOUDEVENTS_NATS);
}

#ifdef SONDE_HAVE_RDKAFKA
static rd_kafka_headers_t *kafka_headers;
static struct sonde_carrier make_rdkafka(void) {
    kafka_headers = rd_kafka_headers_new(1);
    return sonde_rdkafka_carrier(kafka_headers);
}
static void drop_rdkafka(void) {
    rd_kafka_headers_destroy(kafka_headers);
}
#endif

#ifdef SONDE_HAVE_LIBRABBITMQ
static struct sonde_carrier make_rabbitmq(void) {
    static amqp_table_entry_t entries[ROOM];
    static struct sonde_rabbitmq_table table;
    assert_int_equal(sonde_rabbitmq_copy(&table, NULL, entries, ROOM, text, sizeof text), 0);
    return sonde_rabbitmq_carrier(&table);
}
#endif

#ifdef SONDE_HAVE_LIBMOSQUITTO
static mosquitto_property *properties;
static struct sonde_carrier make_mosquitto(void) {
    static struct sonde_mosquitto carrier;
    static const uint16_t size = 3;
    properties = NULL;
    /* What else a PUBLISH may have must outlive a property that is replaced. */
    assert_int_equal(mosquitto_property_add_byte(&properties, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1), 0);
    assert_int_equal(mosquitto_property_add_int32(&properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, 70000), 0);
    assert_int_equal(mosquitto_property_add_int16(&properties, MQTT_PROP_TOPIC_ALIAS, 300), 0);
    assert_int_equal(mosquitto_property_add_varint(&properties, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, 200000), 0);
    assert_int_equal(mosquitto_property_add_binary(&properties, MQTT_PROP_CORRELATION_DATA, "a\0b", size), 0);
    assert_int_equal(mosquitto_property_add_string(&properties, MQTT_PROP_CONTENT_TYPE, "text/plain"), 0);
    sonde_mosquitto_init(&carrier, &properties);
    return sonde_mosquitto_carrier(&carrier);
}
static void drop_mosquitto(void) {
    uint8_t format = 0;
    uint16_t alias = 0, size = 0;
    uint32_t expiry = 0, subscription = 0;
    void *data = NULL;
    char *type = NULL;
    assert_non_null(mosquitto_property_read_byte(properties, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, &format, false));
    assert_non_null(mosquitto_property_read_int16(properties, MQTT_PROP_TOPIC_ALIAS, &alias, false));
    assert_non_null(mosquitto_property_read_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &expiry, false));
    assert_non_null(
        mosquitto_property_read_varint(properties, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, &subscription, false));
    assert_non_null(mosquitto_property_read_binary(properties, MQTT_PROP_CORRELATION_DATA, &data, &size, false));
    assert_non_null(mosquitto_property_read_string(properties, MQTT_PROP_CONTENT_TYPE, &type, false));
    assert_true(format == 1 && alias == 300 && expiry == 70000 && subscription == 200000 && size == 3);
    assert_memory_equal(data, "a\0b", 3);
    assert_string_equal(type, "text/plain");
    free(data);
    free(type);
    mosquitto_property_free_all(&properties);
}
#endif

#ifdef SONDE_HAVE_LIBNATS
static natsMsg *nats_message;
static struct sonde_carrier make_cnats(void) {
    assert_int_equal(natsMsg_Create(&nats_message, "subject", NULL, "body", 4), NATS_OK);
    return sonde_cnats_carrier(nats_message);
}
static void drop_cnats(void) {
    natsMsg_Destroy(nats_message);
}
#endif

#ifdef SONDE_HAVE_LIBQPID_PROTON
static pn_message_t *proton_message;
static struct sonde_carrier make_proton(void) {
    proton_message = pn_message();
    return sonde_proton_carrier(pn_message_properties(proton_message));
}
static void drop_proton(void) {
    pn_message_free(proton_message);
}
#endif

#ifdef SONDE_HAVE_LIBNGHTTP2
static struct sonde_carrier make_nghttp2(void) {
    static nghttp2_nv nva[ROOM];
    static struct sonde_nghttp2_headers headers;
    headers = (struct sonde_nghttp2_headers){nva, 0, ROOM, text, sizeof text, 0};
    return sonde_nghttp2_carrier(&headers);
}
#endif

/* What a carrier takes beside traceparent and tracestate. */
enum { BAGGAGE = 1, OWN = 2 };

static const struct envelope {
    const char *name;
    struct sonde_carrier (*make)(void);
    void (*drop)(void);
    unsigned takes;
} envelopes[] = {
    {"grpc", make_grpc, NULL, BAGGAGE | OWN},
    {"kafka", make_kafka, NULL, BAGGAGE | OWN},
    {"amqp", make_amqp, NULL, BAGGAGE | OWN},
    {"mqtt", make_mqtt, NULL, BAGGAGE | OWN},
    {"nats", make_nats, NULL, BAGGAGE | OWN},
    {"pubsub", make_pubsub, NULL, BAGGAGE | OWN},
    {"sqs", make_sqs, NULL, BAGGAGE | OWN},
    {"json", make_json, NULL, BAGGAGE | OWN},
    {"jsonrpc", make_jsonrpc, NULL, BAGGAGE | OWN},
    {"graphql init", make_graphql_init, NULL, BAGGAGE | OWN},
    {"graphql operation", make_graphql_operation, NULL, BAGGAGE | OWN},
    {"environment", make_environment, NULL, BAGGAGE | OWN},
    {"sql", make_sql, NULL, OWN},
    {"cloudevents http", make_ce_http, NULL, 0},
    {"cloudevents kafka", make_ce_kafka, NULL, 0},
    {"cloudevents amqp", make_ce_amqp, NULL, 0},
    {"cloudevents nats", make_ce_nats, NULL, 0},
#ifdef SONDE_HAVE_RDKAFKA
    {"librdkafka", make_rdkafka, drop_rdkafka, BAGGAGE | OWN},
#endif
#ifdef SONDE_HAVE_LIBRABBITMQ
    {"rabbitmq-c", make_rabbitmq, NULL, BAGGAGE | OWN},
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
    {"libmosquitto", make_mosquitto, drop_mosquitto, BAGGAGE | OWN},
#endif
#ifdef SONDE_HAVE_LIBNATS
    {"libnats", make_cnats, drop_cnats, BAGGAGE | OWN},
#endif
#ifdef SONDE_HAVE_LIBQPID_PROTON
    {"qpid-proton", make_proton, drop_proton, BAGGAGE | OWN},
#endif
#ifdef SONDE_HAVE_LIBNGHTTP2
    {"nghttp2", make_nghttp2, NULL, BAGGAGE | OWN},
#endif
};

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

static bool count(void *user, struct sonde_string value) {
    (void)value;
    ++*(unsigned *)user;
    return true;
}

static unsigned count_of(const struct sonde_carrier *carrier, struct sonde_string name) {
    unsigned values = 0;
    carrier->ops->each(carrier->self, name, count, &values);
    return values;
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

static void each_envelope(void (*check)(const struct envelope *envelope, const struct sonde_carrier *carrier)) {
    for (size_t i = 0; i < sizeof envelopes / sizeof *envelopes; i++) {
        struct sonde_carrier carrier = envelopes[i].make();
        print_message("%s\n", envelopes[i].name);
        check(&envelopes[i], &carrier);
        if (envelopes[i].drop)
            envelopes[i].drop();
    }
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
    assert_carried(carrier, &without, false);
    assert_int_equal(count_of(carrier, TEXT("tracestate")), 0);
    if (envelope->takes & OWN) {
        assert_true(carrier->ops->get(carrier->self, TEXT("own"), &value));
        assert_true(value.size == 4 && memcmp(value.data, "mine", 4) == 0);
    }
}
static void what_goes_in_comes_out_once(void **state) {
    (void)state;
    each_envelope(check_round_trip);
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

static void check_hostile(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    struct sonde_string value;
    bool sql = strcmp(envelope->name, "sql") == 0, coded = strncmp(envelope->name, "cloudevents", 11) == 0;
    bool json_text = strncmp(envelope->name, "json", 4) == 0 || strncmp(envelope->name, "graphql", 7) == 0;
    int error = carrier->ops->set(carrier->self, TEXT("tracestate"), TEXT("a=\0b"));
    if (!sql && !coded && !json_text) /* those code it */
        assert_int_equal(error, SONDE_EINVALID);
    else if (!error && carrier->ops->get(carrier->self, TEXT("tracestate"), &value))
        assert_true(value.size == 4 && memcmp(value.data, "a=\0b", 4) == 0);
    assert_int_equal(count_of(carrier, TEXT("traceparent")), 0);
}
static void nul_cannot_cut_a_value(void **state) {
    (void)state;
    each_envelope(check_hostile);
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
        CASE(clear_takes_out_what_went_in),
        CASE(nul_cannot_cut_a_value),
        CASE(what_finds_no_room_leaves_the_message_alone),
        CASE(xray_goes_into_the_header_that_is_not_one_of_the_ten),
        CASE(servicebus_writes_both_when_asked),
        CASE(event_keeps_the_trace_it_arose_in),
        CASE(grpc_reserves_its_names_and_splits_binary_values),
        CASE(grpc_base64_goes_both_ways),
        CASE(environment_copy_leaves_the_original_alone),
        CASE(sql_of_somebody_else_is_not_changed),
    };
#ifdef SONDE_HAVE_LIBNATS
    if (nats_Open(-1) != NATS_OK) /* its messages are freed by a thread of its own */
        return 1;
#endif
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
#ifdef SONDE_HAVE_LIBNATS
    (void)nats_CloseAndWait(5000);
#endif
    return failed;
}
