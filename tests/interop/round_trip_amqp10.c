/* SPDX-License-Identifier: Apache-2.0 */
/* AMQP 1.0 by Proton's event loop: send and receive hand over what is to happen and run the loop until it has. */
#include "round_trip.h"
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/transport.h>
#include <sonde/carrier/amqp.h>
#include <sonde/carrier/proton.h>
#include <stdio.h>
#include <stdlib.h>

static pn_proactor_t *proactor;
static pn_connection_t *connection;
static pn_link_t *sender, *receiver;
static char address[96];
static bool consumes, ready, settled, received, closing, closed;
static const struct round *outgoing, *awaited;

static void open_links(void) {
    pn_session_t *session = pn_session(connection);
    pn_session_open(session);
    sender = pn_sender(session, "out");
    (void)pn_terminus_set_address(pn_link_target(sender), address);
    pn_link_open(sender);
    if (!consumes)
        return;
    receiver = pn_receiver(session, "in");
    (void)pn_terminus_set_address(pn_link_source(receiver), address);
    pn_link_open(receiver);
    pn_link_flow(receiver, 1000);
}

static void send_when_possible(void) {
    if (!outgoing || pn_link_credit(sender) <= 0)
        return;
    pn_message_t *message = pn_message();
    pn_rwbytes_t buffer = {0, NULL};
    require(pn_data_put_binary(pn_message_body(message), pn_bytes(strlen(BODY), BODY)) == 0, "body");
    outgoing->fill(sonde_proton_carrier(pn_message_properties(message)));
    (void)pn_delivery(sender, pn_dtag("0", 1));
    require(pn_message_send(message, sender, &buffer) > 0, "send");
    free(buffer.start);
    pn_message_free(message);
    outgoing = NULL;
}

static void take(pn_delivery_t *delivery) {
    size_t size = pn_delivery_pending(delivery);
    char *bytes = malloc(size);
    pn_message_t *message = pn_message();
    require(bytes && pn_link_recv(receiver, bytes, size) == (ssize_t)size, "read");
    require(pn_message_decode(message, bytes, size) == 0, "decode");
    awaited->check(sonde_proton_carrier(pn_message_properties(message)));
    received = true;
    pn_message_free(message);
    free(bytes);
    (void)pn_link_advance(receiver);
    pn_delivery_update(delivery, PN_ACCEPTED);
    pn_delivery_settle(delivery);
}

static void on_delivery(pn_delivery_t *delivery) {
    if (pn_delivery_link(delivery) == receiver) {
        if (pn_delivery_readable(delivery) && !pn_delivery_partial(delivery))
            take(delivery);
    } else if (pn_delivery_updated(delivery)) {
        require(pn_delivery_remote_state(delivery) == PN_ACCEPTED, "accepted");
        pn_delivery_settle(delivery);
        settled = true;
    }
}

static void require_no(pn_condition_t *condition) {
    require(!pn_condition_is_set(condition), pn_condition_get_description(condition));
}

static void on_event(pn_event_t *event) {
    switch (pn_event_type(event)) {
    case PN_CONNECTION_BOUND: /* PLAIN without TLS must be allowed */
        pn_sasl_allowed_mechs(pn_sasl(pn_event_transport(event)), "PLAIN");
        pn_sasl_set_allow_insecure_mechs(pn_sasl(pn_event_transport(event)), true);
        break;
    case PN_CONNECTION_INIT:
        pn_connection_open(connection);
        open_links();
        break;
    case PN_LINK_REMOTE_OPEN:
        ready =
            (pn_link_state(sender) & PN_REMOTE_ACTIVE) && (!receiver || (pn_link_state(receiver) & PN_REMOTE_ACTIVE));
        break;
    case PN_LINK_FLOW:
    case PN_CONNECTION_WAKE:
        send_when_possible();
        if (closing)
            pn_connection_close(connection);
        break;
    case PN_DELIVERY:
        on_delivery(pn_event_delivery(event));
        break;
    case PN_TRANSPORT_ERROR:
        require_no(pn_transport_condition(pn_event_transport(event)));
        break;
    case PN_LINK_REMOTE_CLOSE:
        require_no(pn_link_remote_condition(pn_event_link(event)));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        require_no(pn_session_remote_condition(pn_event_session(event)));
        break;
    case PN_TRANSPORT_CLOSED:
        closed = true;
        break;
    case PN_PROACTOR_TIMEOUT:
        require(false, "in time");
        break;
    default:
        break;
    }
}

static void run_until(const bool *done) {
    pn_proactor_set_timeout(proactor, PATIENCE_MS);
    while (!*done) {
        pn_event_batch_t *batch = pn_proactor_wait(proactor);
        for (pn_event_t *event; (event = pn_event_batch_next(batch));)
            on_event(event);
        pn_proactor_done(proactor, batch);
    }
    pn_proactor_cancel_timeout(proactor);
}

static void open_amqp10(int port, const char *queue, bool consume) {
    consumes = consume;
    char server[32];
    (void)snprintf(server, sizeof server, "127.0.0.1:%d", port);
    (void)snprintf(address, sizeof address, "/queue/%s", queue);
    proactor = pn_proactor();
    connection = pn_connection();
    pn_connection_set_container(connection, "sonde");
    pn_connection_set_user(connection, "guest");
    pn_connection_set_password(connection, "guest");
    pn_proactor_connect2(proactor, connection, NULL, server); /* connection is taken */
    run_until(&ready);
}

static void send_amqp10(const struct round *round) {
    outgoing = round;
    settled = false;
    pn_connection_wake(connection);
    /* It may come back before it is accepted. */
    awaited = round;
    received = false;
    run_until(&settled);
}

static void receive_amqp10(const struct round *round) {
    if (!awaited) /* somebody else has sent it */
        awaited = round;
    run_until(&received);
    awaited = NULL;
}

static void close_amqp10(void) {
    closing = true;
    pn_connection_wake(connection);
    run_until(&closed);
    pn_proactor_free(proactor);
}

/* Clients write text in three types. RabbitMQ before 4.0 carries application properties as they are, bytes in a header of
 * its own, so that they arrive in the type they had; to a consumer of 0-9-1 they are not visible, nor its headers here. */
static void put_types(pn_data_t *properties, const char *name, pn_type_t type, const char *text) {
    (void)pn_data_put_string(properties, pn_bytes(strlen(name), name));
    if (type == PN_BINARY)
        (void)pn_data_put_binary(properties, pn_bytes(strlen(text), text));
    else if (type == PN_SYMBOL)
        (void)pn_data_put_symbol(properties, pn_bytes(strlen(text), text));
    else
        (void)pn_data_put_string(properties, pn_bytes(strlen(text), text));
}

static void fill_type(struct sonde_carrier carrier, pn_type_t type) {
    pn_data_t *properties = (pn_data_t *)carrier.self;
    (void)pn_data_put_map(properties);
    (void)pn_data_enter(properties);
    put_types(properties, "traceparent", type, sent_traceparent);
    put_types(properties, "tracestate", type, "a=1,b=2");
    put_types(properties, "baggage", type, "k=v%20w%2C%20%E6%9D%B1;p=1");
    (void)pn_data_exit(properties);
}

static void fill_binary(struct sonde_carrier carrier) {
    fill_type(carrier, PN_BINARY);
}

static void fill_symbol(struct sonde_carrier carrier) {
    fill_type(carrier, PN_SYMBOL);
}

static const struct round rounds[] = {
    {"binary values", fill_binary, require_context}, {"symbols", fill_symbol, require_context}, {NULL, NULL, NULL}};
const struct protocol protocol_amqp10 = {"amqp10", open_amqp10, send_amqp10, receive_amqp10, close_amqp10, rounds};
