/* SPDX-License-Identifier: Apache-2.0 */
#include "round_trip.h"
#include <sonde/carrier/mosquitto.h>

static struct mosquitto *client;
static const char *topic;
static const struct round *awaited;
static bool subscribed, received, published;

static void on_subscribe(struct mosquitto *self, void *user, int id, int count, const int *qos) {
    (void)self, (void)user, (void)id, (void)count, (void)qos;
    subscribed = true;
}

static void on_publish(struct mosquitto *self, void *user, int id, int reason, const mosquitto_property *properties) {
    (void)self, (void)user, (void)id, (void)properties;
    require(reason < 0x80, "acknowledged");
    published = true;
}

static void on_message(struct mosquitto *self, void *user, const struct mosquitto_message *message,
                       const mosquitto_property *properties) {
    struct sonde_mosquitto list;
    mosquitto_property *read_only = (mosquitto_property *)(uintptr_t)properties;
    (void)self, (void)user, (void)message;
    sonde_mosquitto_init(&list, &read_only);
    awaited->check(sonde_mosquitto_carrier(&list));
    received = true;
}

/** Runs the client's loop until something has happened. */
static void loop_until(const bool *done, const char *what) {
    for (int i = 0; i < PATIENCE_MS / 50 && !*done; i++)
        require(mosquitto_loop(client, 50, 1) == MOSQ_ERR_SUCCESS, what);
    require(*done, what);
}

static void open_mqtt(int port, const char *queue, bool consume) {
    topic = queue;
    (void)mosquitto_lib_init();
    client = mosquitto_new(NULL, true, NULL);
    require(client != NULL, "client");
    require(mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5) == 0, "version 5");
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_message_v5_callback_set(client, on_message);
    mosquitto_publish_v5_callback_set(client, on_publish);
    require(mosquitto_connect_bind_v5(client, "127.0.0.1", port, 60, NULL, NULL) == 0, "connect");
    if (!consume)
        return;
    require(mosquitto_subscribe_v5(client, NULL, topic, 1, 0, NULL) == 0, "subscribe");
    loop_until(&subscribed, "subscribe");
}

static void send_mqtt(const struct round *round) {
    mosquitto_property *properties = NULL;
    struct sonde_mosquitto list;
    require(mosquitto_property_add_string(&properties, MQTT_PROP_CONTENT_TYPE, "text/plain") == 0, "property");
    sonde_mosquitto_init(&list, &properties);
    round->fill(sonde_mosquitto_carrier(&list));
    published = false;
    awaited = round; /* it may come back before it is acknowledged */
    received = false;
    require(mosquitto_publish_v5(client, NULL, topic, (int)strlen(BODY), BODY, 1, false, properties) == 0, "publish");
    mosquitto_property_free_all(&properties);
    loop_until(&published, "publish"); /* the broker has it: a sender may now end */
}

static void receive_mqtt(const struct round *round) {
    awaited = round;
    loop_until(&received, "receive");
}

static void close_mqtt(void) {
    mosquitto_destroy(client);
    (void)mosquitto_lib_cleanup();
}

static void fill_duplicate(struct sonde_carrier carrier) {
    struct sonde_mosquitto *list = (struct sonde_mosquitto *)carrier.self;
    inject_context(carrier);
    require(mosquitto_property_add_string_pair(list->list, MQTT_PROP_USER_PROPERTY, "traceparent", other_traceparent) ==
                0,
            "add");
}

static void check_duplicate(struct sonde_carrier carrier) {
    struct sonde_context context;
    require(sonde_extract(&carrier, &context) == SONDE_EXTRACT_DUPLICATE, "duplicate traceparent");
}

static const struct round rounds[] = {{"two traceparents", fill_duplicate, check_duplicate}, {NULL, NULL, NULL}};
const struct protocol protocol_mqtt = {"mqtt", open_mqtt, send_mqtt, receive_mqtt, close_mqtt, rounds};
