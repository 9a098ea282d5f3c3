/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes from hostile bytes. Input: a byte that chooses the envelope, then fields "name=value" separated by
 * newlines, or for SQL the statement. What must hold beside memory safety: extraction never fails the caller, and a
 * context that is set over whatever was there is the one that is read back, or the message is refused as a whole. */
#include <sonde/carrier/amqp.h>
#include <sonde/carrier/cloudevents.h>
#include <sonde/carrier/environment.h>
#include <sonde/carrier/grpc.h>
#include <sonde/carrier/kafka.h>
#include <sonde/carrier/mqtt.h>
#include <sonde/carrier/nats.h>
#include <sonde/carrier/pubsub.h>
#include <sonde/carrier/servicebus.h>
#include <sonde/carrier/sql.h>
#include <sonde/carrier/sqs.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS_MAX = 24, ROOM = FIELDS_MAX + 4, KINDS = 11 };

static void require(int condition) {
    if (!condition)
        abort();
}

static struct sonde_pair pairs[ROOM];
static struct sonde_pairs list;
static char room[4096];
static struct sonde_sqs_message message;
static struct sonde_cloudevents event;
static struct sonde_sql statement;

static void split(const char *text, size_t size) {
    list = (struct sonde_pairs){pairs, 0, ROOM, room, sizeof room, 0};
    for (const char *end = text + size; text < end && list.count < FIELDS_MAX;) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (!line_end)
            line_end = end;
        const char *equals = memchr(text, '=', (size_t)(line_end - text));
        pairs[list.count].name = (struct sonde_string){text, (size_t)((equals ? equals : line_end) - text)};
        pairs[list.count].value = (struct sonde_string){NULL, 0};
        if (equals)
            pairs[list.count].value = (struct sonde_string){equals + 1, (size_t)(line_end - equals - 1)};
        list.count++;
        text = line_end < end ? line_end + 1 : end;
    }
}

static struct sonde_carrier make(unsigned kind) {
    struct sonde_carrier carriers[] = {sonde_grpc_carrier(&list), sonde_kafka_carrier(&list),
                                       sonde_amqp_carrier(&list), sonde_mqtt_carrier(&list),
                                       sonde_nats_carrier(&list), sonde_pubsub_carrier(&list)};
    if (kind < 6)
        return carriers[kind];
    if (kind == 6) {
        memset(&message, 0, sizeof message);
        message.attributes = list;
        return sonde_sqs_carrier(&message);
    }
    memset(&event, 0, sizeof event);
    event.message = kind == 7 ? carriers[4] : carriers[kind - 7];
    event.binding = (enum sonde_cloudevents_binding)(kind - 7);
    return sonde_cloudevents_carrier(&event);
}

static void check_set(const struct sonde_carrier *carrier) {
    static const char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    static struct sonde_context context, back;
    sonde_context_init(&context);
    (void)sonde_traceparent_read(traceparent, sizeof traceparent - 1, &context.span);
    (void)sonde_extract(carrier, &back);
    (void)sonde_servicebus_extract(carrier, &back);
    (void)sonde_amqp10_extract(carrier, carrier, &back);
    if (sonde_inject_as("tracecontext", &context, carrier) != 0)
        return;
    (void)sonde_extract(carrier, &back);
    require(memcmp(back.span.trace_id, context.span.trace_id, 16) == 0);
    require(back.tracestate_length == 0);
    sonde_propagation_clear(carrier);
    (void)sonde_extract(carrier, &back);
    require(!sonde_span_context_is_valid(&back.span));
}

/** The fields as an environment, each an allocation of its own. */
static void check_environment(void) {
    static struct sonde_context context;
    char *entries[FIELDS_MAX + 1], *copies[ROOM];
    struct sonde_environment copy;
    for (size_t i = 0; i < list.count; i++) {
        size_t size = (pairs[i].value.data ? pairs[i].name.size + 1 + pairs[i].value.size : pairs[i].name.size);
        entries[i] = malloc(size + 1);
        require(entries[i] != NULL);
        memcpy(entries[i], pairs[i].name.data, size);
        entries[i][size] = '\0';
    }
    entries[list.count] = NULL;
    require(sonde_environment_copy(&copy, entries, copies, ROOM, room, sizeof room) == 0);
    struct sonde_carrier carrier = sonde_environment_carrier(&copy);
    (void)sonde_extract(&carrier, &context);
    check_set(&carrier);
    for (size_t i = 0; i < list.count; i++)
        free(entries[i]);
}

static void check_sql(const char *text, size_t size) {
    char *buffer = malloc(size + 1024);
    require(buffer != NULL);
    memcpy(buffer, text, size);
    statement = (struct sonde_sql){.text = buffer, .size = size, .capacity = size + 1024};
    struct sonde_carrier carrier = sonde_sql_carrier(&statement);
    (void)carrier.ops->set(carrier.self, (struct sonde_string){"zone", 4}, (struct sonde_string){text, size % 64});
    check_set(&carrier);
    carrier.ops->remove(carrier.self, (struct sonde_string){"zone", 4});
    require(statement.size == size && memcmp(buffer, text, size) == 0);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t decoded[64];
    char coded[96];
    size_t decoded_size;
    if (size == 0)
        return 0;
    unsigned kind = data[0] % (KINDS + 2);
    const char *text = (const char *)data + 1;
    size--;
    if (sonde_grpc_decode(text, size, decoded, sizeof decoded, &decoded_size) == 0)
        require(sonde_grpc_encode(decoded, decoded_size, coded, sizeof coded) <= size);
    if (kind == KINDS + 1) {
        check_sql(text, size);
        return 0;
    }
    split(text, size);
    if (kind == KINDS) {
        check_environment();
        return 0;
    }
    struct sonde_carrier carrier = make(kind);
    check_set(&carrier);
    return 0;
}
