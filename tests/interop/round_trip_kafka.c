/* SPDX-License-Identifier: Apache-2.0 */
#include "round_trip.h"
#include <sonde/carrier/rdkafka.h>
#include <stdio.h>

static rd_kafka_t *producer, *consumer;
static const char *topic;

static rd_kafka_t *client(rd_kafka_type_t type, int port) {
    char servers[32], error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%d", port);
    require(rd_kafka_conf_set(conf, "bootstrap.servers", servers, error, sizeof error) == RD_KAFKA_CONF_OK, "servers");
    require(rd_kafka_conf_set(conf, "allow.auto.create.topics", "true", error, sizeof error) == RD_KAFKA_CONF_OK,
            "topics");
    require(rd_kafka_conf_set(conf, "topic.metadata.refresh.fast.interval.ms", "100", error, sizeof error) ==
                RD_KAFKA_CONF_OK,
            "refresh");
    if (type == RD_KAFKA_CONSUMER)
        require(rd_kafka_conf_set(conf, "group.id", "sonde", error, sizeof error) == RD_KAFKA_CONF_OK, "group");
    rd_kafka_t *made = rd_kafka_new(type, conf, error, sizeof error);
    require(made != NULL, error);
    return made;
}

static void open_kafka(int port, const char *queue, bool consume) {
    topic = queue;
    producer = client(RD_KAFKA_PRODUCER, port);
    if (!consume)
        return;
    consumer = client(RD_KAFKA_CONSUMER, port);
    (void)rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    require(rd_kafka_assign(consumer, partitions) == RD_KAFKA_RESP_ERR_NO_ERROR, "assign");
    rd_kafka_topic_partition_list_destroy(partitions);
}

static void send_kafka(const struct round *round) {
    static char body[] = BODY;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
    round->fill(sonde_rdkafka_carrier(headers));
    require(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                              RD_KAFKA_V_VALUE(body, sizeof body - 1), RD_KAFKA_V_HEADERS(headers),
                              RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR,
            "produce"); /* the headers are taken */
    require(rd_kafka_flush(producer, PATIENCE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR, "flush");
}

static void receive_kafka(const struct round *round) {
    rd_kafka_message_t *message = NULL;
    /* The topic is made by the first message: until the consumer has seen it, it is told that there is none. */
    for (int i = 0; i < PATIENCE_MS / 100 && (!message || message->err); i++) {
        if (message)
            rd_kafka_message_destroy(message);
        message = rd_kafka_consumer_poll(consumer, 100);
    }
    require(message && !message->err, "receive");
    rd_kafka_headers_t *headers = NULL;
    (void)rd_kafka_message_headers(message, &headers); /* none: NULL, an empty carrier */
    round->check(sonde_rdkafka_carrier(headers));
    rd_kafka_message_destroy(message);
}

static void close_kafka(void) {
    rd_kafka_destroy(producer);
    if (!consumer)
        return;
    (void)rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

/* A dead letter topic appends: the last is of the nearest hop. */
static void fill_appended(struct sonde_carrier carrier) {
    require(rd_kafka_header_add((rd_kafka_headers_t *)carrier.self, "traceparent", -1, other_traceparent, -1) ==
                RD_KAFKA_RESP_ERR_NO_ERROR,
            "add");
    require(rd_kafka_header_add((rd_kafka_headers_t *)carrier.self, "traceparent", -1, sent_traceparent, -1) ==
                RD_KAFKA_RESP_ERR_NO_ERROR,
            "add");
}

static void check_last(struct sonde_carrier carrier) {
    struct sonde_context context;
    struct sonde_span_context sent;
    require(sonde_traceparent_read(sent_traceparent, SONDE_TRACEPARENT_SIZE, &sent) == SONDE_EXTRACT_OK, "read");
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_OK, "extract");
    require(memcmp(context.span.span_id, sent.span_id, 8) == 0, "the last traceparent");
}

/* A null and an empty value are different things to Kafka; both are no tracestate. */
static void fill_null(struct sonde_carrier carrier) {
    inject_context(carrier);
    (void)rd_kafka_header_remove((rd_kafka_headers_t *)carrier.self, "traceparent");
    (void)rd_kafka_header_add((rd_kafka_headers_t *)carrier.self, "traceparent", -1, NULL, 0);
    (void)rd_kafka_header_add((rd_kafka_headers_t *)carrier.self, "empty", -1, "", 0);
    (void)rd_kafka_header_add((rd_kafka_headers_t *)carrier.self, "bytes", -1, "\xff\0\xfe", 3);
}

static void check_null(struct sonde_carrier carrier) {
    struct sonde_context context;
    struct sonde_string value;
    require(!carrier.ops->get(carrier.self, sonde_text("traceparent"), &value), "a null value is no value");
    require(carrier.ops->get(carrier.self, sonde_text("empty"), &value) && value.size == 0, "an empty value");
    require(carrier.ops->get(carrier.self, sonde_text("bytes"), &value) && value.size == 3 &&
                memcmp(value.data, "\xff\0\xfe", 3) == 0,
            "bytes");
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_BAGGAGE && context.tracestate_length == 0,
            "nothing but baggage");
}

static const struct round rounds[] = {{"two traceparents", fill_appended, check_last},
                                      {"null, empty and binary values", fill_null, check_null},
                                      {NULL, NULL, NULL}};
const struct protocol protocol_kafka = {"kafka", open_kafka, send_kafka, receive_kafka, close_kafka, rounds};
