/* SPDX-License-Identifier: Apache-2.0 */
#include "round_trip.h"
#include <sonde/carrier/cnats.h>
#include <stdio.h>

static natsConnection *connection;
static natsSubscription *subscription;
static const char *subject;

static void open_nats(int port, const char *queue, bool consume) {
    char url[64];
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    subject = queue;
    require(natsConnection_ConnectTo(&connection, url) == NATS_OK, "connect");
    if (!consume)
        return;
    require(natsConnection_SubscribeSync(&subscription, connection, subject) == NATS_OK, "subscribe");
    require(natsConnection_FlushTimeout(connection, PATIENCE_MS) == NATS_OK, "flush"); /* the server knows of it */
}

static void send_nats(const struct round *round) {
    natsMsg *message = NULL;
    require(natsMsg_Create(&message, subject, NULL, BODY, (int)strlen(BODY)) == NATS_OK, "message");
    round->fill(sonde_cnats_carrier(message));
    require(natsConnection_PublishMsg(connection, message) == NATS_OK, "publish");
    natsMsg_Destroy(message);
}

static void receive_nats(const struct round *round) {
    natsMsg *message = NULL;
    require(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS) == NATS_OK, "receive");
    round->check(sonde_cnats_carrier(message));
    natsMsg_Destroy(message);
}

static void close_nats(void) {
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    (void)nats_CloseAndWait(5000);
}

/* NATS header names have case; what was added again is a second value. */
static void fill_duplicate(struct sonde_carrier carrier) {
    inject_context(carrier);
    require(natsMsgHeader_Add((natsMsg *)carrier.self, "traceparent", other_traceparent) == NATS_OK, "add");
}

static void check_duplicate(struct sonde_carrier carrier) {
    struct sonde_context context;
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_DUPLICATE, "duplicate traceparent");
}

static const struct round rounds[] = {{"two traceparents", fill_duplicate, check_duplicate}, {NULL, NULL, NULL}};
const struct protocol protocol_nats = {"nats", open_nats, send_nats, receive_nats, close_nats, rounds};
