/* SPDX-License-Identifier: Apache-2.0 */
/* Every envelope that can be written to, those over client libraries included where these are installed: for tests that
 * expect the same of all. */
#ifndef SONDE_TESTS_UNIT_ENVELOPES_H
#define SONDE_TESTS_UNIT_ENVELOPES_H

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
#include <sonde/carrier/redis_streams.h>
#include <sonde/carrier/servicebus.h>
#include <sonde/carrier/sql.h>
#include <sonde/carrier/sqs.h>
#include <sonde/err.h>
#ifdef SONDE_HAVE_LIBCURL
#include <sonde/carrier/curl.h>
#endif
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

static struct sonde_carrier make_http(void) {
    static struct sonde_http_header headers[ROOM];
    static struct sonde_http_headers http;
    http = (struct sonde_http_headers){headers, 0, ROOM, text, sizeof text, 0};
    return sonde_http_carrier(&http);
}
static struct sonde_carrier make_redis(void) {
    static const char *argv[2 * ROOM];
    static size_t argvlen[2 * ROOM];
    static struct sonde_redis_fields fields;
    argv[0] = "XADD", argv[1] = "orders", argv[2] = "*";
    argvlen[0] = 4, argvlen[1] = 6, argvlen[2] = 1;
    fields = (struct sonde_redis_fields){argv, argvlen, 3, 3, 2 * ROOM, text, sizeof text, 0};
    return sonde_redis_carrier(&fields);
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
    return make_event(make_http(), SONDE_CLOUDEVENTS_HTTP);
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

#ifdef SONDE_HAVE_LIBCURL
static struct curl_slist *curl_headers;
static struct sonde_carrier make_curl(void) {
    curl_headers = NULL;
    return sonde_curl_carrier(&curl_headers);
}
static void drop_curl(void) {
    curl_slist_free_all(curl_headers);
}
#endif

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

/* Which values a carrier refuses: what is not ASCII text; what has a NUL or is not UTF-8; what is not UTF-8, and the rest
 * is coded; what has a NUL; none. */
enum values { ASCII, UTF8, CODED, NO_NUL, ANY };

static const struct envelope {
    const char *name;
    struct sonde_carrier (*make)(void);
    void (*drop)(void);
    unsigned takes;
    enum values values;
} envelopes[] = {
    {"http", make_http, NULL, BAGGAGE | OWN, ASCII},
    {"redis streams", make_redis, NULL, BAGGAGE | OWN, ANY},
    {"grpc", make_grpc, NULL, BAGGAGE | OWN, ASCII},
    {"kafka", make_kafka, NULL, BAGGAGE | OWN, NO_NUL},
    {"amqp", make_amqp, NULL, BAGGAGE | OWN, UTF8},
    {"mqtt", make_mqtt, NULL, BAGGAGE | OWN, UTF8},
    {"nats", make_nats, NULL, BAGGAGE | OWN, ASCII},
    {"pubsub", make_pubsub, NULL, BAGGAGE | OWN, UTF8},
    {"sqs", make_sqs, NULL, BAGGAGE | OWN, UTF8},
    {"json", make_json, NULL, BAGGAGE | OWN, CODED},
    {"jsonrpc", make_jsonrpc, NULL, BAGGAGE | OWN, CODED},
    {"graphql init", make_graphql_init, NULL, BAGGAGE | OWN, CODED},
    {"graphql operation", make_graphql_operation, NULL, BAGGAGE | OWN, CODED},
    {"environment", make_environment, NULL, BAGGAGE | OWN, NO_NUL},
    {"sql", make_sql, NULL, OWN, CODED},
    {"cloudevents http", make_ce_http, NULL, 0, CODED},
    {"cloudevents kafka", make_ce_kafka, NULL, 0, NO_NUL},
    {"cloudevents amqp", make_ce_amqp, NULL, 0, UTF8},
    {"cloudevents nats", make_ce_nats, NULL, 0, CODED},
#ifdef SONDE_HAVE_LIBCURL
    {"libcurl", make_curl, drop_curl, BAGGAGE | OWN, ASCII},
#endif
#ifdef SONDE_HAVE_RDKAFKA
    {"librdkafka", make_rdkafka, drop_rdkafka, BAGGAGE | OWN, NO_NUL},
#endif
#ifdef SONDE_HAVE_LIBRABBITMQ
    {"rabbitmq-c", make_rabbitmq, NULL, BAGGAGE | OWN, NO_NUL},
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
    {"libmosquitto", make_mosquitto, drop_mosquitto, BAGGAGE | OWN, UTF8},
#endif
#ifdef SONDE_HAVE_LIBNATS
    {"libnats", make_cnats, drop_cnats, BAGGAGE | OWN, ASCII},
#endif
#ifdef SONDE_HAVE_LIBQPID_PROTON
    {"qpid-proton", make_proton, drop_proton, BAGGAGE | OWN, NO_NUL},
#endif
#ifdef SONDE_HAVE_LIBNGHTTP2
    {"nghttp2", make_nghttp2, NULL, BAGGAGE | OWN, ASCII},
#endif
};

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

static void each_envelope(void (*check)(const struct envelope *envelope, const struct sonde_carrier *carrier)) {
    for (size_t i = 0; i < sizeof envelopes / sizeof *envelopes; i++) {
        struct sonde_carrier carrier = envelopes[i].make();
        print_message("%s\n", envelopes[i].name);
        check(&envelopes[i], &carrier);
        if (envelopes[i].drop)
            envelopes[i].drop();
    }
}

/* The libraries that have to be started. Returns false when one did not. */
static bool envelopes_begin(void) {
#ifdef SONDE_HAVE_LIBNATS
    return nats_Open(-1) == NATS_OK; /* its messages are freed by a thread of its own */
#else
    return true;
#endif
}
static void envelopes_end(void) {
#ifdef SONDE_HAVE_LIBNATS
    (void)nats_CloseAndWait(5000);
#endif
}

#endif
