/* SPDX-License-Identifier: Apache-2.0 */
/* One message through a real broker, by the adapters: broker_round_trip nats|mqtt PORT. A producer injects, a consumer
 * extracts; exit 0 when the context that came is the one that went, with tracestate and baggage, 1 when not. */
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef SONDE_HAVE_LIBNATS
#include <sonde/carrier/cnats.h>
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
#include <sonde/carrier/mosquitto.h>
#endif

static struct sonde_context sent, came;

static void require(bool condition, const char *what) {
    if (condition)
        return;
    (void)fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static void make_context(void) {
    static const char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", state[] = "a=1,b=2";
    sonde_context_init(&sent);
    require(sonde_traceparent_read(traceparent, sizeof traceparent - 1, &sent.span) == SONDE_EXTRACT_OK, "context");
    require(sonde_tracestate_append(&sent, state, sizeof state - 1), "tracestate");
    require(sonde_baggage_set(&sent, sonde_text("k"), sonde_text("v w"), sonde_text("")) == 0, "baggage");
}

static void inject(struct sonde_carrier carrier) {
    require(sonde_inject(&sent, &carrier) == 0, "inject");
    require(sonde_inject(&sent, &carrier) == 0, "inject again, as a retry does");
}

static void extract(struct sonde_carrier carrier) {
    require(sonde_extract(&carrier, &came) == SONDE_EXTRACT_OK, "extract");
    require(memcmp(came.span.trace_id, sent.span.trace_id, 16) == 0, "trace id");
    require(memcmp(came.span.span_id, sent.span.span_id, 8) == 0, "span id");
    require(came.span.flags == sent.span.flags, "flags");
    require(came.tracestate_length == sent.tracestate_length &&
                memcmp(came.tracestate, sent.tracestate, sent.tracestate_length) == 0,
            "tracestate");
    require(came.baggage_length == sent.baggage_length && memcmp(came.baggage, sent.baggage, sent.baggage_length) == 0,
            "baggage");
}

#ifdef SONDE_HAVE_LIBNATS
static void run_nats(int port) {
    natsConnection *connection = NULL;
    natsSubscription *subscription = NULL;
    natsMsg *out = NULL, *in = NULL;
    char url[64];
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    require(natsConnection_ConnectTo(&connection, url) == NATS_OK, "connect");
    require(natsConnection_SubscribeSync(&subscription, connection, "orders") == NATS_OK, "subscribe");
    require(natsMsg_Create(&out, "orders", NULL, "body", 4) == NATS_OK, "message");
    require(natsMsgHeader_Set(out, "Own", "mine") == NATS_OK, "header");
    inject(sonde_cnats_carrier(out));
    require(natsConnection_PublishMsg(connection, out) == NATS_OK, "publish");
    require(natsSubscription_NextMsg(&in, subscription, 10000) == NATS_OK, "receive");
    extract(sonde_cnats_carrier(in));
    natsMsg_Destroy(in);
    natsMsg_Destroy(out);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    (void)nats_CloseAndWait(5000);
}
#endif

#ifdef SONDE_HAVE_LIBMOSQUITTO
static bool subscribed, received;

static void on_subscribe(struct mosquitto *client, void *user, int id, int count, const int *qos) {
    (void)client, (void)user, (void)id, (void)count, (void)qos;
    subscribed = true;
}

static void on_message(struct mosquitto *client, void *user, const struct mosquitto_message *message,
                       const mosquitto_property *properties) {
    struct sonde_mosquitto list;
    mosquitto_property *read_only = (mosquitto_property *)(uintptr_t)properties;
    (void)client, (void)user, (void)message;
    sonde_mosquitto_init(&list, &read_only);
    extract(sonde_mosquitto_carrier(&list));
    received = true;
}

/** Runs the client's loop until something has happened. */
static void loop_until(struct mosquitto *client, const bool *done, const char *what) {
    for (int i = 0; i < 200 && !*done; i++)
        require(mosquitto_loop(client, 50, 1) == MOSQ_ERR_SUCCESS, what);
    require(*done, what);
}

static void run_mqtt(int port) {
    mosquitto_property *properties = NULL;
    struct sonde_mosquitto list;
    (void)mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new(NULL, true, NULL);
    require(client != NULL, "client");
    require(mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5) == 0, "version 5");
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_message_v5_callback_set(client, on_message);
    require(mosquitto_connect_bind_v5(client, "127.0.0.1", port, 60, NULL, NULL) == 0, "connect");
    require(mosquitto_subscribe_v5(client, NULL, "orders", 1, 0, NULL) == 0, "subscribe");
    loop_until(client, &subscribed, "subscribe");
    require(mosquitto_property_add_string(&properties, MQTT_PROP_CONTENT_TYPE, "text/plain") == 0, "property");
    sonde_mosquitto_init(&list, &properties);
    inject(sonde_mosquitto_carrier(&list));
    require(mosquitto_publish_v5(client, NULL, "orders", 4, "body", 1, false, properties) == 0, "publish");
    loop_until(client, &received, "receive");
    mosquitto_property_free_all(&properties);
    mosquitto_destroy(client);
    (void)mosquitto_lib_cleanup();
}
#endif

int main(int argc, char **argv) {
    int port = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    make_context();
#ifdef SONDE_HAVE_LIBNATS
    if (argc == 3 && strcmp(argv[1], "nats") == 0) {
        run_nats(port);
        return 0;
    }
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
    if (argc == 3 && strcmp(argv[1], "mqtt") == 0) {
        run_mqtt(port);
        return 0;
    }
#endif
    (void)port;
    return 77; /* skipped: built without its client library */
}
