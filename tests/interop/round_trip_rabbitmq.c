/* SPDX-License-Identifier: Apache-2.0 */
/* AMQP 0-9-1. */
#include "round_trip.h"
#include <amqp_tcp_socket.h>
#include <sonde/carrier/rabbitmq.h>
#include <sys/time.h>

enum { ENTRIES = 16 };

static amqp_connection_state_t connection;
static amqp_bytes_t queue_name;

static void require_reply(const char *what) {
    require(amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL, what);
}

static void open_rabbitmq(int port, const char *queue, bool consume) {
    connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    require(socket && amqp_socket_open(socket, "127.0.0.1", port) == AMQP_STATUS_OK, "connect");
    require(amqp_login(connection, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest")
                    .reply_type == AMQP_RESPONSE_NORMAL,
            "login");
    (void)amqp_channel_open(connection, 1);
    require_reply("channel");
    queue_name = amqp_cstring_bytes(queue);
    (void)amqp_queue_declare(connection, 1, queue_name, 0, 0, 0, 0, amqp_empty_table);
    require_reply("queue");
    if (!consume)
        return;
    (void)amqp_basic_consume(connection, 1, queue_name, amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
    require_reply("consume");
}

static void send_rabbitmq(const struct round *round) {
    amqp_table_entry_t entries[ENTRIES];
    char text[4 * SONDE_RABBITMQ_INJECT_SIZE];
    struct sonde_rabbitmq_table table;
    amqp_basic_properties_t properties = {._flags = 0};
    require(sonde_rabbitmq_copy(&table, NULL, entries, ENTRIES, text, sizeof text) == 0, "table");
    round->fill(sonde_rabbitmq_carrier(&table));
    if (table.table.num_entries) {
        properties.headers = table.table;
        properties._flags |= AMQP_BASIC_HEADERS_FLAG;
    }
    require(amqp_basic_publish(connection, 1, amqp_empty_bytes, queue_name, 0, 0, &properties,
                               amqp_cstring_bytes(BODY)) == AMQP_STATUS_OK,
            "publish");
}

static void receive_rabbitmq(const struct round *round) {
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    struct sonde_rabbitmq_table table;
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(connection);
    require(amqp_consume_message(connection, &envelope, &patience, 0).reply_type == AMQP_RESPONSE_NORMAL, "receive");
    bool has = envelope.message.properties._flags & AMQP_BASIC_HEADERS_FLAG;
    sonde_rabbitmq_read(&table, has ? &envelope.message.properties.headers : &amqp_empty_table);
    round->check(sonde_rabbitmq_carrier(&table));
    amqp_destroy_envelope(&envelope);
}

static void close_rabbitmq(void) {
    (void)amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    require(amqp_destroy_connection(connection) == AMQP_STATUS_OK, "destroy");
}

static amqp_table_entry_t *entry_of(struct sonde_carrier carrier, const char *name) {
    struct sonde_rabbitmq_table *table = (struct sonde_rabbitmq_table *)carrier.self;
    for (int i = 0; i < table->table.num_entries; i++) {
        amqp_table_entry_t *entry = &table->table.entries[i];
        if (entry->key.len == strlen(name) && memcmp(entry->key.bytes, name, entry->key.len) == 0)
            return entry;
    }
    require(false, "entry");
    return NULL;
}

static void fill_bytes(struct sonde_carrier carrier) {
    inject_context(carrier);
    entry_of(carrier, "traceparent")->value.kind = AMQP_FIELD_KIND_BYTES;
    entry_of(carrier, "tracestate")->value.kind = AMQP_FIELD_KIND_BYTES;
    entry_of(carrier, "baggage")->value.kind = AMQP_FIELD_KIND_BYTES;
}

/* The broker keeps the type: what Python's or Java's client sends as bytes arrives as bytes. */
static void check_bytes(struct sonde_carrier carrier) {
    require(entry_of(carrier, "traceparent")->value.kind == AMQP_FIELD_KIND_BYTES, "the type has changed on the way");
    require_context(carrier);
}

static void fill_number(struct sonde_carrier carrier) {
    inject_context(carrier);
    amqp_table_entry_t *entry = entry_of(carrier, "traceparent");
    entry->value.kind = AMQP_FIELD_KIND_I64;
    entry->value.value.i64 = 7;
}

static void check_number(struct sonde_carrier carrier) {
    struct sonde_context context;
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_BAGGAGE, "a number is no traceparent");
}

static void fill_duplicate(struct sonde_carrier carrier) {
    struct sonde_rabbitmq_table *table = (struct sonde_rabbitmq_table *)carrier.self;
    inject_context(carrier);
    amqp_table_entry_t *more = &table->table.entries[table->table.num_entries++];
    more->key = amqp_cstring_bytes("traceparent");
    more->value.kind = AMQP_FIELD_KIND_UTF8;
    more->value.value.bytes = amqp_cstring_bytes(other_traceparent);
}

static void check_duplicate(struct sonde_carrier carrier) {
    struct sonde_context context;
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_DUPLICATE, "duplicate traceparent");
}

static const struct round rounds[] = {{"byte arrays", fill_bytes, check_bytes},
                                      {"a number", fill_number, check_number},
                                      {"two traceparents", fill_duplicate, check_duplicate},
                                      {NULL, NULL, NULL}};
const struct protocol protocol_rabbitmq = {"rabbitmq",       open_rabbitmq,  send_rabbitmq,
                                           receive_rabbitmq, close_rabbitmq, rounds};
