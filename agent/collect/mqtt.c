/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT, by what mosquitto says about itself. It knows no backlog of a subscriber or topic, and of shared subscriptions only
 * their number; so what can be told is the broker's: messages it holds that are not retained ones (each once, for however
 * many clients: a lower bound of what waits), what it dropped, who is connected. `uptime` is the heartbeat: a broker whose
 * values stand still is not believed. */
#include "agent/collect/mqtt_session.h"
#include "agent/collect/poll.h"
#include "agent/collect/rest.h"
#include "agent/log.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S      UINT64_C(1000000000)
#define TROUBLE_STALE "stale"
#define KEEPALIVE_MAX 65535u

struct mqtt_config {
    char *address, *username, *password;
    int protocol;
    bool tls, insecure_skip_verify;
    char *ca_file, *cert_file, *key_file;
    uint64_t interval_ns, timeout_ns, stale_after_ns;
};

static const char *const protocols[] = {"3.1.1", "5", NULL};
#define ROW(key_, type_, field_, min_, max_, default_, sentence_)                                                      \
    {                                                                                                                  \
        .key = key_, .type = SONDE_OPTION_##type_, .offset = offsetof(struct mqtt_config, field_), .min = min_,        \
        .max = max_, .default_text = default_, .sentence = sentence_                                                   \
    }
static const struct sonde_option mqtt_options[] = {
    ROW("address", STRING, address, 0, 0, "127.0.0.1",
        "Broker: HOST, HOST:PORT or [IPV6]:PORT; the port is 1883, with TLS 8883, when there is none."),
    ROW("username", STRING, username, 0, 0, "", "User; empty = none. It must be allowed to read $SYS/broker/...."),
    {.key = "password",
     .type = SONDE_OPTION_STRING,
     .offset = offsetof(struct mqtt_config, password),
     .default_text = "",
     .secret = true,
     .sentence = "Password of username."},
    {.key = "protocol",
     .type = SONDE_OPTION_ENUM,
     .offset = offsetof(struct mqtt_config, protocol),
     .default_text = "3.1.1",
     .values = protocols,
     .sentence = "Version of MQTT."},
    ROW("interval", DURATION, interval_ns, 1e2, 3.6e6, "15s", "Time between the starts of two polls."),
    ROW("timeout", DURATION, timeout_ns, 50, 6e5, "5s", "Time one poll may take, connecting included."),
    ROW("stale_after", DURATION, stale_after_ns, 1e3, 8.64e7, "2m",
        "Time without a change of the broker's uptime after which it is down; more than its sys_interval."),
    ROW("tls.enabled", BOOL, tls, 0, 0, "false", "Whether to speak TLS."),
    ROW("tls.ca_file", STRING, ca_file, 0, 0, "",
        "PEM file of the authorities that may vouch for the broker; empty means the system's."),
    ROW("tls.cert_file", STRING, cert_file, 0, 0, "",
        "PEM file of our own certificate, where the broker asks for one."),
    ROW("tls.key_file", STRING, key_file, 0, 0, "", "PEM file of the key of tls.cert_file."),
    ROW("tls.insecure_skip_verify", BOOL, insecure_skip_verify, 0, 0, "false",
        "Whether the broker's certificate goes unchecked; for trials only."),
    SONDE_OPTION_END,
};

struct mqtt_collector {
    const struct mqtt_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__endpoint endpoint;
    struct sonde_tls_options tls;
    struct sonde__poll *poll;
    struct sonde__mqtt_session *session;
    struct sonde__worker *worker;
    struct sonde__mqtt_look look; /* the thread's while a job runs */
    uint64_t uptime, changed_ns;  /* what it was, and since when */
};

/* --- what a look found --- */

static void put(struct mqtt_collector *collector, enum sonde__messaging_metric metric,
                const struct sonde__messaging_of *of, enum sonde__mqtt_value value) {
    if (collector->look.values.known[value])
        sonde__poll_set(collector->poll, metric, of, (double)collector->look.values.of[value]);
}

static void put_all(struct mqtt_collector *collector) {
    const struct sonde__mqtt_values *values = &collector->look.values;
#define STATE(text) (&(struct sonde__messaging_of){.state = text})
#define KIND(text)  (&(struct sonde__messaging_of){.kind = text})
    if (values->known[SONDE__MQTT_STORED] && values->known[SONDE__MQTT_RETAINED]) {
        uint64_t stored = values->of[SONDE__MQTT_STORED], retained = values->of[SONDE__MQTT_RETAINED];
        sonde__poll_set(collector->poll, SONDE__MESSAGING_QUEUE_MESSAGE,
                        &(struct sonde__messaging_of){.state = "ready", .estimate = "floor"},
                        stored > retained ? (double)(stored - retained) : 0);
    }
    put(collector, SONDE__MESSAGING_QUEUE_MESSAGE, STATE("retained"), SONDE__MQTT_RETAINED);
    put(collector, SONDE__MESSAGING_QUEUE_SIZE, NULL, SONDE__MQTT_STORED_BYTES);
    put(collector, SONDE__MESSAGING_PUBLISHED, NULL, SONDE__MQTT_RECEIVED);
    put(collector, SONDE__MESSAGING_DELIVERED, NULL, SONDE__MQTT_SENT);
    put(collector, SONDE__MESSAGING_DROPPED, NULL, SONDE__MQTT_DROPPED);
    put(collector, SONDE__MESSAGING_CLIENTS, STATE("connected"), SONDE__MQTT_CONNECTED);
    put(collector, SONDE__MESSAGING_CLIENTS, STATE("disconnected"), SONDE__MQTT_DISCONNECTED);
    put(collector, SONDE__MESSAGING_SUBSCRIPTIONS, KIND("plain"), SONDE__MQTT_SUBSCRIPTIONS);
    put(collector, SONDE__MESSAGING_SUBSCRIPTIONS, KIND("shared"), SONDE__MQTT_SHARED_SUBSCRIPTIONS);
}

static bool is_stale(struct mqtt_collector *collector) {
    uint64_t now_ns = sonde__poll_now_ns(collector->poll), uptime = collector->look.values.of[SONDE__MQTT_UPTIME];
    if (uptime != collector->uptime || collector->changed_ns == 0) {
        collector->uptime = uptime;
        collector->changed_ns = now_ns;
    }
    return now_ns - collector->changed_ns > collector->config->stale_after_ns;
}

/* --- one poll --- */

static void job(void *user, const struct sonde__worker *worker) {
    struct mqtt_collector *collector = user;
    sonde__mqtt_session_look(collector->session, worker, &collector->look);
}

static void job_done(void *user) {
    struct mqtt_collector *collector = user;
    if (!sonde__poll_is_active(collector->poll))
        return; /* it took too long, and was failed for that */
    if (collector->look.trouble) {
        sonde__poll_fail(collector->poll, collector->look.trouble, collector->look.text);
    } else if (is_stale(collector)) {
        sonde__poll_fail(collector->poll, TROUBLE_STALE, "the broker's uptime stands still");
    } else {
        put_all(collector);
        sonde__poll_done(collector->poll);
    }
}

static void poll_start(void *user) {
    struct mqtt_collector *collector = user;
    if (sonde__worker_run(collector->worker)) /* still at the last look: a name that does not resolve takes its time */
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_TIMEOUT, "the last poll has not ended yet");
}

static void poll_abort(void *user) {
    struct mqtt_collector *collector = user;
    sonde__worker_cancel(collector->worker);
}

/* --- life --- */

static void mqtt_destroy(void *self) {
    struct mqtt_collector *collector = self;
    if (!collector)
        return;
    sonde__worker_destroy(collector->worker);
    sonde__mqtt_session_destroy(collector->session);
    sonde__poll_destroy(collector->poll);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static int session_create(struct mqtt_collector *collector) {
    const struct mqtt_config *config = collector->config;
    const struct sonde_alloc *alloc = &collector->env.seams->alloc;
    uint64_t keepalive_s = (config->interval_ns + config->timeout_ns) / NS_PER_S + 30;
    const struct sonde__mqtt_session_config session = {
        .host = collector->endpoint.host,
        .port = collector->endpoint.port,
        .username = config->username,
        .password = config->password,
        .version_5 = config->protocol == 1,
        .keepalive_s = (int)(keepalive_s < KEEPALIVE_MAX ? keepalive_s : KEEPALIVE_MAX),
        .tls = config->tls ? &collector->tls : NULL,
    };
    const struct sonde__worker_config worker = {.loop = collector->env.loop,
                                                .alloc = alloc,
                                                .name = "sonded-mqtt",
                                                .job = job,
                                                .done = job_done,
                                                .user = collector};
    int error = sonde__mqtt_session_create(&session, alloc, &collector->session);
    return error ? error : sonde__worker_create(&worker, &collector->worker);
}

static int check(const struct mqtt_config *config, struct sonde__endpoint *ret_endpoint, char *text, size_t size) {
    const char *problem = NULL;
    if (strchr(config->address, '/') ||
        sonde__rest_endpoint_parse(config->address, config->tls, config->tls ? 8883 : 1883, ret_endpoint))
        problem = "address: use HOST, HOST:PORT or [IPV6]:PORT";
    else if (*config->password && !*config->username)
        problem = "password: not without username";
    else if (!*config->cert_file != !*config->key_file)
        problem = "tls: cert_file and key_file go together";
    else if (!config->tls && (*config->ca_file || *config->cert_file || config->insecure_skip_verify))
        problem = "tls: what is set has no effect without tls.enabled: true";
    if (problem)
        (void)snprintf(text, size, "%s", problem);
    return problem ? SONDE_EINVALID : 0;
}

static int mqtt_create(const void *config_data, const struct sonde_collector_env *env, void **ret_self,
                       char *error_text, size_t error_text_size) {
    const struct mqtt_config *config = config_data;
    struct sonde__endpoint endpoint;
    int error = check(config, &endpoint, error_text, error_text_size);
    if (error)
        return error;
    struct mqtt_collector *collector = sonde_alloc_new(&env->seams->alloc, sizeof *collector);
    if (!collector)
        return -ENOMEM;
    *collector = (struct mqtt_collector){
        .config = config,
        .env = *env,
        .endpoint = endpoint,
        .tls = {config->ca_file, config->cert_file, config->key_file, config->insecure_skip_verify}};
    const struct sonde__poll_config poll = {
        .env = &collector->env,
        .system = "mqtt",
        .address = config->address,
        .common = {sonde_attribute_string(SONDE_KEY("server.address"), collector->endpoint.host),
                   sonde_attribute_int64(SONDE_KEY("server.port"), collector->endpoint.port)},
        .common_count = 2,
        .interval_ns = config->interval_ns,
        .timeout_ns = config->timeout_ns,
        .start = poll_start,
        .abort = poll_abort,
        .user = collector,
    };
    error = session_create(collector);
    if (!error)
        error = sonde__poll_create(&poll, &collector->poll);
    if (error) {
        mqtt_destroy(collector);
        return error;
    }
    if (config->insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "the broker's certificate is not checked", "collector=%s",
                        sonde_agent_log_quote(env->name));
    *ret_self = collector;
    return 0;
}

static void mqtt_status(void *self, struct sonde_collector_status *ret_status) {
    const struct mqtt_collector *collector = self;
    sonde__poll_status(collector->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_mqtt = {
    .name = "mqtt",
    .summary = "MQTT (mosquitto): messages held, dropped and retained, clients",
    .config_size = sizeof(struct mqtt_config),
    .options = mqtt_options,
    .create = mqtt_create,
    .status = mqtt_status,
    .destroy = mqtt_destroy,
};
