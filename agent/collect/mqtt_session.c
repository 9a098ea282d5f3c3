/* SPDX-License-Identifier: Apache-2.0 */
/* closed -> connecting -> connected: subscribe to all values at once, read until all that there are came, unsubscribe. The
 * broker sends what it retains in the order it was asked for: behind the last topic's and the SUBACK nothing is left. Not to
 * $SYS/broker/#: it holds five times as much, and counts in what the broker says it sent. */
#include "agent/collect/mqtt_session.h"
#include "agent/collect/poll.h"
#include <errno.h>
#include <mosquitto.h>
#include <stdio.h>
#include <string.h>

#define STEP_MS 50  /* how soon a cancelled look ends */
#define LATE    20u /* steps that the last message may come behind the SUBACK */
#define REFUSED 128

struct sonde__mqtt_session {
    struct sonde__mqtt_session_config config;
    const struct sonde_alloc *alloc;
    struct mosquitto *client; /* owned; NULL = closed */
    bool connected, gone, subscribed, unsubscribed;
    int subscribe_mid, unsubscribe_mid;
    int connack; /* what the broker said; 0 = fine, or nothing yet */
    struct sonde__mqtt_look *look;
};

static void fail(struct sonde__mqtt_session *session, const char *trouble, const char *text) {
    if (session->look->trouble)
        return; /* the first says most */
    session->look->trouble = trouble;
    (void)snprintf(session->look->text, sizeof session->look->text, "%s", text);
}

/* --- what libmosquitto calls --- */

static void on_connect(struct mosquitto *client, void *user, int code) {
    struct sonde__mqtt_session *session = user;
    (void)client;
    session->connack = code;
    session->connected = code == 0;
}
static void on_disconnect(struct mosquitto *client, void *user, int code) {
    struct sonde__mqtt_session *session = user;
    (void)client;
    (void)code;
    session->gone = true;
}
static void on_message(struct mosquitto *client, void *user, const struct mosquitto_message *message) {
    struct sonde__mqtt_session *session = user;
    (void)client;
    if (session->look && message->payloadlen > 0 && message->payload)
        sonde__mqtt_values_take(&session->look->values, message->topic, message->payload, (size_t)message->payloadlen);
}
static void on_subscribe(struct mosquitto *client, void *user, int mid, int count, const int *granted) {
    struct sonde__mqtt_session *session = user;
    (void)client;
    for (int i = 0; i < count; i++)
        if (granted[i] >= REFUSED)
            fail(session, SONDE__TROUBLE_AUTH, "the broker does not let us subscribe to $SYS/broker/...");
    session->subscribed |= mid == session->subscribe_mid;
}
static void on_unsubscribe(struct mosquitto *client, void *user, int mid) {
    struct sonde__mqtt_session *session = user;
    (void)client;
    session->unsubscribed |= mid == session->unsubscribe_mid;
}
/** A key with a pass phrase cannot be used; without this OpenSSL would ask for it on the terminal. */
static int no_passphrase(char *text, int size, int writing, void *user) {
    (void)text;
    (void)size;
    (void)writing;
    (void)user;
    return 0;
}

/* --- connecting --- */

static const char *trouble_of(int code) {
    switch (code) {
    case MOSQ_ERR_EAI:
        return SONDE__TROUBLE_RESOLVE;
    case MOSQ_ERR_ERRNO:
    case MOSQ_ERR_CONN_REFUSED:
        return SONDE__TROUBLE_CONNECT;
    case MOSQ_ERR_TLS:
#ifdef MOSQ_ERR_TLS_HANDSHAKE
    case MOSQ_ERR_TLS_HANDSHAKE:
#endif
        return SONDE__TROUBLE_TLS;
    case MOSQ_ERR_NOMEM:
        return SONDE__TROUBLE_MEMORY;
    case MOSQ_ERR_CONN_LOST:
    case MOSQ_ERR_NO_CONN:
        return SONDE__TROUBLE_CLOSED;
    default:
        return SONDE__TROUBLE_PROTOCOL;
    }
}

static void fail_by(struct sonde__mqtt_session *session, int code) {
    int number = errno;
    const char *trouble = trouble_of(code);
    /* A socket that is refused shows as "connection lost" when it was not connected yet. */
    if (!session->connected && !session->config.tls && code == MOSQ_ERR_CONN_LOST)
        trouble = SONDE__TROUBLE_CONNECT;
    fail(session, trouble, code == MOSQ_ERR_ERRNO ? strerror(number) : mosquitto_strerror(code));
}

static void close_now(struct sonde__mqtt_session *session) {
    if (session->client)
        mosquitto_destroy(session->client);
    session->client = NULL;
    session->connected = session->gone = false;
    session->connack = 0;
}

static int tls_set(struct sonde__mqtt_session *session) {
    const struct sonde_tls_options *tls = session->config.tls;
    if (!tls)
        return MOSQ_ERR_SUCCESS;
    bool own = tls->ca_file && *tls->ca_file, key = tls->cert_file && *tls->cert_file;
    int code = mosquitto_tls_set(session->client, own ? tls->ca_file : NULL, own ? NULL : "/etc/ssl/certs",
                                 key ? tls->cert_file : NULL, key ? tls->key_file : NULL, no_passphrase);
    if (!code && tls->insecure_skip_verify)
        code = mosquitto_tls_opts_set(session->client, 0, NULL, NULL);
    return !code && tls->insecure_skip_verify ? mosquitto_tls_insecure_set(session->client, true) : code;
}

static int open_begin(struct sonde__mqtt_session *session) {
    const struct sonde__mqtt_session_config *config = &session->config;
    close_now(session);
    session->client = mosquitto_new(NULL, true, session); /* a name of libmosquitto's making */
    if (!session->client)
        return MOSQ_ERR_NOMEM;
    mosquitto_connect_callback_set(session->client, on_connect);
    mosquitto_disconnect_callback_set(session->client, on_disconnect);
    mosquitto_message_callback_set(session->client, on_message);
    mosquitto_subscribe_callback_set(session->client, on_subscribe);
    mosquitto_unsubscribe_callback_set(session->client, on_unsubscribe);
    int code = mosquitto_int_option(session->client, MOSQ_OPT_PROTOCOL_VERSION,
                                    config->version_5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    if (!code && *config->username)
        code =
            mosquitto_username_pw_set(session->client, config->username, *config->password ? config->password : NULL);
    if (!code)
        code = tls_set(session);
    return code ? code : mosquitto_connect_async(session->client, config->host, config->port, config->keepalive_s);
}

/** One step; false = the connection is of no use, and why is said. */
static bool step(struct sonde__mqtt_session *session, const struct sonde__worker *worker) {
    if (sonde__worker_is_cancelled(worker)) {
        fail(session, SONDE__TROUBLE_TIMEOUT, "cancelled");
        return false;
    }
    int code = mosquitto_loop(session->client, STEP_MS, 1);
    if (session->connack) {
        bool auth =
            session->connack == 4 || session->connack == 5 || session->connack == 134 || session->connack == 135;
        fail(session, auth ? SONDE__TROUBLE_AUTH : SONDE__TROUBLE_SERVER,
             session->config.version_5 ? mosquitto_reason_string(session->connack)
                                       : mosquitto_connack_string(session->connack));
        return false;
    }
    if (code || session->gone) {
        fail_by(session, code ? code : MOSQ_ERR_CONN_LOST);
        return false;
    }
    return !session->look->trouble;
}

static bool open_session(struct sonde__mqtt_session *session, const struct sonde__worker *worker) {
    int code = open_begin(session);
    if (code) {
        fail_by(session, code);
        return false;
    }
    while (!session->connected)
        if (!step(session, worker))
            return false;
    return true;
}

/* --- looking --- */

static bool read_all(struct sonde__mqtt_session *session, const struct sonde__worker *worker) {
    char *topics[SONDE__MQTT_VALUE_COUNT];
    for (unsigned i = 0; i < SONDE__MQTT_VALUE_COUNT; i++)
        topics[i] = (char *)(uintptr_t)sonde__mqtt_topic(i);
    session->subscribed = session->unsubscribed = false;
    session->look->values = (struct sonde__mqtt_values){.known = {false}};
    int code = mosquitto_subscribe_multiple(session->client, &session->subscribe_mid, SONDE__MQTT_VALUE_COUNT, topics,
                                            0, 0, NULL);
    if (code) {
        fail_by(session, code);
        return false;
    }
    for (unsigned late = 0; late < LATE && !(session->subscribed && session->look->values.known[SONDE__MQTT_UPTIME]);
         late += session->subscribed)
        if (!step(session, worker))
            return false;
    if (mosquitto_unsubscribe_multiple(session->client, &session->unsubscribe_mid, SONDE__MQTT_VALUE_COUNT, topics,
                                       NULL))
        return true; /* what it is worth is known; the next look sees what is wrong */
    while (!session->unsubscribed)
        if (!step(session, worker))
            return false;
    return true;
}

void sonde__mqtt_session_look(struct sonde__mqtt_session *session, const struct sonde__worker *worker,
                              struct sonde__mqtt_look *ret_look) {
    bool kept = session->connected;
    *ret_look = (struct sonde__mqtt_look){.trouble = NULL};
    session->look = ret_look;
    bool good = kept && read_all(session, worker);
    if (!good && !sonde__worker_is_cancelled(worker)) {
        ret_look->trouble = NULL; /* it went away between two looks, which is no error */
        good = open_session(session, worker) && read_all(session, worker);
    }
    if (!good)
        close_now(session);
    else if (!ret_look->values.known[SONDE__MQTT_UPTIME])
        fail(session, SONDE__TROUBLE_NOT_FOUND,
             "nothing under $SYS/broker: the broker publishes none (sys_interval), or an ACL hides it");
    session->look = NULL;
}

int sonde__mqtt_session_create(const struct sonde__mqtt_session_config *config, const struct sonde_alloc *alloc,
                               struct sonde__mqtt_session **ret_session) {
    struct sonde__mqtt_session *session = sonde_alloc_new(alloc, sizeof *session);
    if (!session)
        return -ENOMEM;
    *session = (struct sonde__mqtt_session){.config = *config, .alloc = alloc};
    (void)mosquitto_lib_init(); /* counts its callers */
    *ret_session = session;
    return 0;
}

void sonde__mqtt_session_destroy(struct sonde__mqtt_session *session) {
    if (!session)
        return;
    if (session->connected)
        (void)mosquitto_disconnect(session->client); /* so that the broker does not call it an error */
    close_now(session);
    (void)mosquitto_lib_cleanup();
    sonde_alloc_free(session->alloc, session);
}
