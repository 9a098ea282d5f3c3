/* SPDX-License-Identifier: Apache-2.0 */
/* Formats that are envelopes: tracecontext through each carrier. */
#include "tests/unit/instrumentation/propagation_vectors.h"
#include <sonde/baggage.h>
#include <sonde/carrier/amqp.h>
#include <sonde/carrier/cloudevents.h>
#include <sonde/carrier/environment.h>
#include <sonde/carrier/graphql.h>
#include <sonde/carrier/grpc.h>
#include <sonde/carrier/json.h>
#include <sonde/carrier/kafka.h>
#include <sonde/carrier/mqtt.h>
#include <sonde/carrier/nats.h>
#include <sonde/carrier/pubsub.h>
#ifdef SONDE_HAVE_LIBRABBITMQ
#include <sonde/carrier/rabbitmq.h>
#endif
#include <sonde/carrier/servicebus.h>
#include <sonde/carrier/sql.h>
#include <sonde/carrier/sqs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT(literal)                                                                                                  \
    (struct sonde_string) {                                                                                            \
        literal, sizeof(literal) - 1                                                                                   \
    }

static bool equals(struct sonde_string text, const char *want) {
    return text.size == strlen(want) && memcmp(text.data, want, text.size) == 0;
}

/** The row as pairs; names are told apart by a prefix ("ap."), which is taken off. */
static struct sonde_pairs *pairs_of(const struct row *row, const char *prefix, struct sonde_pair *pairs,
                                    struct sonde_pairs *ret_pairs) {
    size_t size = strlen(prefix);
    *ret_pairs = (struct sonde_pairs){.pairs = pairs};
    for (size_t i = 0; i < row->count; i++) {
        struct sonde_string name = row->pairs[i].name;
        if (name.size < size || memcmp(name.data, prefix, size) != 0)
            continue;
        pairs[ret_pairs->count++] = (struct sonde_pair){{name.data + size, name.size - size}, row->pairs[i].value};
    }
    return ret_pairs;
}

static bool asks_tracestate(const struct row *row) {
    for (size_t i = 0; i < row->count; i++)
        for (size_t at = 0; at + 10 <= row->pairs[i].name.size; at++)
            if (strncasecmp(row->pairs[i].name.data + at, "tracestate", 10) == 0)
                return true;
    return false;
}

static struct sonde_context context, link;

/** What is in `context` and `link`. */
static void answer(const struct row *row, enum sonde_extract_reason reason, bool with_tracestate) {
    if (!result_extracted(&context, reason))
        return;
    if (with_tracestate || asks_tracestate(row)) {
        result_text(";ts=");
        result_add(context.tracestate, context.tracestate_length);
        if (!context.tracestate_length)
            result_text("-");
    }
    if (sonde_span_context_is_valid(&link.span)) {
        char text[SONDE_TRACEPARENT_SIZE];
        (void)sonde_traceparent_write(&link.span, text);
        result_text(";link=");
        result_add(text + 3, 32);
        result_text(",");
        result_add(text + 36, 16);
    }
}

static void extract(const struct row *row, struct sonde_carrier carrier) {
    sonde_context_init(&link);
    answer(row, sonde_extract(&carrier, &context), false);
}

static void run_grpc(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    extract(row, sonde_grpc_carrier(pairs_of(row, "", pairs, &list)));
}

static void run_kafka(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    (void)pairs_of(row, "", pairs, &list);
    for (size_t i = 0; i < list.count; i++)
        if (equals(pairs[i].value, "null"))
            pairs[i].value = (struct sonde_string){NULL, 0};
    extract(row, sonde_kafka_carrier(&list));
}

#ifdef SONDE_HAVE_LIBRABBITMQ
/** Values are "(type)text". */
static void run_amqp091(const struct row *row) {
    amqp_table_entry_t entries[PAIRS_MAX];
    amqp_table_t from = {(int)row->count, entries};
    for (size_t i = 0; i < row->count; i++) {
        struct sonde_string value = row->pairs[i].value;
        const char *close = memchr(value.data, ')', value.size);
        size_t head = close ? (size_t)(close + 1 - value.data) : 0;
        entries[i].key = (amqp_bytes_t){row->pairs[i].name.size, (void *)row->pairs[i].name.data};
        entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
        if (head == 7 && memcmp(value.data, "(int32)", 7) == 0) {
            entries[i].value.kind = AMQP_FIELD_KIND_I32;
            entries[i].value.value.i32 = 7;
            continue;
        }
        if (head == 7 && memcmp(value.data, "(bytes)", 7) == 0)
            entries[i].value.kind = AMQP_FIELD_KIND_BYTES;
        entries[i].value.value.bytes = (amqp_bytes_t){value.size - head, (void *)(value.data + head)};
    }
    struct sonde_rabbitmq_table table;
    sonde_rabbitmq_read(&table, &from);
    extract(row, sonde_rabbitmq_carrier(&table));
}
#endif

static void run_amqp10(const struct row *row) {
    struct sonde_pair annotation_pairs[PAIRS_MAX], property_pairs[PAIRS_MAX];
    struct sonde_pairs annotations, properties;
    struct sonde_carrier ma = sonde_amqp_carrier(pairs_of(row, "ma.", annotation_pairs, &annotations));
    struct sonde_carrier ap = sonde_amqp_carrier(pairs_of(row, "ap.", property_pairs, &properties));
    sonde_context_init(&link);
    answer(row, sonde_amqp10_extract(&ma, &ap, &context), false);
}

static void run_mqtt(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    extract(row, sonde_mqtt_carrier(pairs_of(row, "", pairs, &list)));
}

static void run_nats(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    extract(row, sonde_nats_carrier(pairs_of(row, "", pairs, &list)));
}

static void run_pubsub(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    extract(row, sonde_pubsub_carrier(pairs_of(row, "", pairs, &list)));
}

static void run_servicebus(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    struct sonde_carrier carrier = sonde_amqp_carrier(pairs_of(row, "", pairs, &list));
    sonde_context_init(&link);
    answer(row, sonde_servicebus_extract(&carrier, &context), false);
}

/* ---- SQS and SNS ---- */

static void run_sqs(const struct row *row) {
    static struct sonde_sqs_message message;
    struct sonde_pair pairs[PAIRS_MAX];
    const struct sonde_string *header = row_find(row, "sys.AWSTraceHeader"), *body = row_find(row, "body");
    memset(&message, 0, sizeof message);
    (void)pairs_of(row, "attr.", pairs, &message.attributes);
    for (size_t i = 0; i < message.attributes.count; i++) { /* "Type:value" */
        bool string = pairs[i].value.size > 7 && memcmp(pairs[i].value.data, "String:", 7) == 0;
        pairs[i].value.size -= string ? 7 : 0;
        pairs[i].value.data = string ? pairs[i].value.data + 7 : NULL;
    }
    if (header)
        message.trace_header = *header;
    sonde_context_init(&link);
    answer(row, sonde_sqs_extract(&message, body ? body->data : NULL, body ? body->size : 0, &context), false);
}

static void run_sqs_inject(const struct row *row) {
    static struct sonde_sqs_message message;
    static char text[SONDE_PAIRS_INJECT_SIZE];
    struct sonde_pair pairs[PAIRS_MAX];
    const struct sonde_string *in_use = row_find(row, "attrs_in_use"), *size = row_find(row, "body_size");
    memset(&message, 0, sizeof message);
    message.attributes = (struct sonde_pairs){pairs, 0, PAIRS_MAX, text, sizeof text, 0};
    size_t used = in_use ? strtoul(in_use->data, NULL, 10) : 0;
    message.body_size = size ? strtoul(size->data, NULL, 10) : 1;
    while (message.attributes.count < used && message.attributes.count < PAIRS_MAX)
        pairs[message.attributes.count++] = (struct sonde_pair){TEXT("own"), {NULL, 0}};
    sonde_context_init(&context);
    memset(&context.span, 1, 24);
    (void)sonde_tracestate_append(&context, "foo=1", 5);
    (void)sonde_baggage_set(&context, TEXT("k"), TEXT("v"), TEXT(""));
    struct sonde_carrier carrier = sonde_sqs_carrier(&message);
    (void)sonde_inject(&context, &carrier);
    result_text("inject:");
    for (size_t i = used; i < message.attributes.count; i++) {
        result_text(i > used ? "," : "");
        result_add(pairs[i].name.data, pairs[i].name.size);
    }
    if (message.attributes.count <= used)
        result_text("none");
}

/* ---- CloudEvents ---- */

static void event_answer(const struct row *row, struct sonde_carrier message, struct sonde_carrier event) {
    answer(row, sonde_cloudevents_extract(&message, &event, &context, &link), false);
}

static void binary(const struct row *row, struct sonde_carrier message, enum sonde_cloudevents_binding binding) {
    static struct sonde_cloudevents event;
    memset(&event, 0, sizeof event);
    event.message = message;
    event.binding = binding;
    event_answer(row, message, sonde_cloudevents_carrier(&event));
}

static void run_ce_http(const struct row *row) {
    struct sonde_http_header headers[PAIRS_MAX];
    for (size_t i = 0; i < row->count; i++)
        headers[i] = (struct sonde_http_header){row->pairs[i].name, row->pairs[i].value};
    struct sonde_http_headers list = {.headers = headers, .count = row->count};
    binary(row, sonde_http_carrier(&list), SONDE_CLOUDEVENTS_HTTP);
}

static void run_ce_kafka(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    binary(row, sonde_kafka_carrier(pairs_of(row, "", pairs, &list)), SONDE_CLOUDEVENTS_KAFKA);
}

static void run_ce_amqp(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    binary(row, sonde_amqp_carrier(pairs_of(row, "", pairs, &list)), SONDE_CLOUDEVENTS_AMQP);
}

static void run_ce_nats(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    binary(row, sonde_nats_carrier(pairs_of(row, "", pairs, &list)), SONDE_CLOUDEVENTS_NATS);
}

static void run_ce_mqtt(const struct row *row) {
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs list;
    struct sonde_carrier carrier = sonde_mqtt_carrier(pairs_of(row, "", pairs, &list));
    event_answer(row, carrier, carrier);
}

/** header.NAME: the message's; body: the event. */
static void run_ce_json(const struct row *row) {
    static struct sonde_json json;
    struct sonde_pair pairs[PAIRS_MAX];
    struct sonde_pairs headers;
    const struct sonde_string *body = row_find(row, "body");
    sonde_json_read(&json, body ? body->data : NULL, body ? body->size : 0, SONDE_JSON_TOP);
    event_answer(row, sonde_mqtt_carrier(pairs_of(row, "header.", pairs, &headers)), sonde_json_carrier(&json));
}

/** The contexts of all events, joined by spaces. */
static void run_ce_batch(const struct row *row) {
    static struct sonde_json json;
    const struct sonde_string *body = row_find(row, "body");
    struct sonde_string event;
    size_t position = 0;
    unsigned count = 0;
    while (body && sonde_cloudevents_batch_next(body->data, body->size, &position, &event)) {
        sonde_json_read(&json, event.data, event.size, SONDE_JSON_TOP);
        struct sonde_carrier carrier = sonde_json_carrier(&json);
        result_text(count++ ? " " : "");
        answer(row, sonde_cloudevents_extract(NULL, &carrier, &context, &link), false);
    }
    if (!count)
        result_text("reject");
}

/* ---- JSON ---- */

static void json_at(const struct row *row, const char *field, enum sonde_json_place place) {
    static struct sonde_json json;
    const struct sonde_string *text = row_find(row, field);
    sonde_json_read(&json, text ? text->data : NULL, text ? text->size : 0, place);
    struct sonde_carrier carrier = sonde_json_carrier(&json);
    sonde_context_init(&link);
    enum sonde_extract_reason reason = sonde_extract(&carrier, &context);
    answer(row, reason, text && memmem(text->data, text->size, "tracestate", 10));
}
static void run_mqtt3(const struct row *row) {
    json_at(row, "payload", SONDE_JSON_TOP);
}
static void run_ws(const struct row *row) {
    json_at(row, "frame", SONDE_JSON_TOP);
}
static void run_jsonrpc(const struct row *row) {
    json_at(row, "frame", SONDE_JSON_PARAMS_META);
}

/** frame: one message after another over one socket; the answer is the last one's. */
static void run_graphql(const struct row *row) {
    static struct sonde_context socket;
    enum sonde_extract_reason reason = SONDE_EXTRACT_ABSENT;
    sonde_context_init(&socket);
    sonde_context_init(&link);
    for (size_t i = 0; i < row->count; i++)
        reason = sonde_graphql_extract(row->pairs[i].value.data, row->pairs[i].value.size, &socket, &context);
    answer(row, reason, false);
}

/** before: the text, which is injected into; the row gives it afterwards. */
static void json_inject(const struct row *row, enum sonde_json_place place) {
    static struct sonde_json json;
    static char text[65536];
    const struct sonde_string *before = row_find(row, "before"), *room = row_find(row, "room");
    const struct sonde_string trace_id = TEXT("0af7651916cd43dd8448eb211c80319c"), span_id = TEXT("b7ad6b7169203331");
    memcpy(text, before->data, before->size);
    sonde_context_init(&context);
    row_unhex(&trace_id, context.span.trace_id, 16);
    row_unhex(&span_id, context.span.span_id, 8);
    context.span.flags = 1;
    const struct sonde_string *tracestate = row_find(row, "tracestate");
    if (tracestate)
        (void)sonde_tracestate_append(&context, tracestate->data, tracestate->size);
    size_t capacity = before->size + (room ? strtoul(room->data, NULL, 10) : 1000);
    sonde_json_edit(&json, text, before->size, capacity, place);
    struct sonde_carrier carrier = sonde_json_carrier(&json);
    (void)sonde_inject(&context, &carrier);
    result_text("text:");
    result_add(text, json.size);
}
static void run_json_inject(const struct row *row) {
    json_inject(row, SONDE_JSON_TOP);
}
static void run_jsonrpc_inject(const struct row *row) {
    json_inject(row, SONDE_JSON_PARAMS_META);
}
static void run_graphql_inject(const struct row *row) {
    json_inject(row, SONDE_JSON_PAYLOAD_EXTENSIONS);
}

/* ---- environment and SQL ---- */

static void run_env(const struct row *row) {
    static char text[1 << 17];
    char *entries[PAIRS_MAX + 1];
    size_t used = 0;
    for (size_t i = 0; i < row->count; i++) {
        entries[i] = text + used;
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s=%.*s", (int)row->pairs[i].name.size,
                                 row->pairs[i].name.data, (int)row->pairs[i].value.size, row->pairs[i].value.data) +
                1;
    }
    entries[row->count] = NULL;
    struct sonde_environment environment = {.entries = entries};
    extract(row, sonde_environment_carrier(&environment));
}

static void run_env_name(const struct row *row) {
    char name[128];
    const struct sonde_string *field = row_find(row, "name");
    result_text("name:");
    result_add(name, sonde_environment_name(*field, name, sizeof name));
}

static void run_sql(const struct row *row) {
    static struct sonde_sql statement;
    static char text[65536];
    struct sonde_carrier carrier = sonde_sql_carrier(&statement);
    memcpy(text, row->pairs[0].value.data, row->pairs[0].value.size);
    statement = (struct sonde_sql){.text = text, .size = row->pairs[0].value.size, .capacity = sizeof text};
    for (size_t i = 1; i < row->count; i++)
        (void)carrier.ops->set(carrier.self, row->pairs[i].name, row->pairs[i].value);
    result_text("sql:");
    result_add(text, statement.size);
}

static void run_sql_extract(const struct row *row) {
    static struct sonde_sql statement;
    statement = (struct sonde_sql){.text = (char *)row->pairs[0].value.data, .size = row->pairs[0].value.size};
    extract(row, sonde_sql_carrier(&statement));
}

const struct format carrier_formats[] = {
#ifdef SONDE_HAVE_LIBRABBITMQ
    {"amqp091", run_amqp091},
#endif
    {"amqp10", run_amqp10},
    {"ce-amqp", run_ce_amqp},
    {"ce-batch", run_ce_batch},
    {"ce-http", run_ce_http},
    {"ce-json", run_ce_json},
    {"ce-kafka", run_ce_kafka},
    {"ce-mqtt5", run_ce_mqtt},
    {"ce-nats", run_ce_nats},
    {"env", run_env},
    {"env-name", run_env_name},
    {"graphql-ws-init", run_graphql},
    {"graphql-ws-inject", run_graphql_inject},
    {"graphql-ws-op", run_graphql},
    {"grpc-md", run_grpc},
    {"json-inject", run_json_inject},
    {"jsonrpc", run_jsonrpc},
    {"jsonrpc-inject", run_jsonrpc_inject},
    {"kafka", run_kafka},
    {"mqtt3-json", run_mqtt3},
    {"mqtt5", run_mqtt},
    {"nats", run_nats},
    {"pubsub", run_pubsub},
    {"servicebus", run_servicebus},
    {"sns-body", run_sqs},
    {"sql-extract", run_sql_extract},
    {"sqlcommenter", run_sql},
    {"sqs", run_sqs},
    {"sqs-inject", run_sqs_inject},
    {"ws-envelope", run_ws},
    {NULL, NULL},
};
