/* SPDX-License-Identifier: Apache-2.0 */
/* RabbitMQ: how many messages wait in queues, who reads them, and how far readers of streams are behind. */
#include "agent/collect/rabbitmq.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SLICE_ROWS 64u /* whose series are set in one turn of the loop: some 10 each */

static const char *const sources[] = {
    [SONDE__RABBITMQ_AUTO] = "auto",
    [SONDE__RABBITMQ_MANAGEMENT] = "management",
    [SONDE__RABBITMQ_PROMETHEUS] = "prometheus",
    [SONDE__RABBITMQ_AMQP] = "amqp",
    NULL,
};

#define AT(field) offsetof(struct sonde__rabbitmq_config, field)
static const struct sonde_option rabbitmq_options[] = {
    {"addresses", SONDE_OPTION_STRING_LIST, AT(addresses), .default_text = "",
     .sentence = "Nodes: HOST, HOST:PORT, [IPV6]:PORT, or (not for amqp) a whole URL; at most 16, none = 127.0.0.1. "
                 "management and amqp ask the first that answers, prometheus asks all."},
    {"source", SONDE_OPTION_ENUM, AT(source), .values = sources, .default_text = "auto",
     .sentence = "Where to look: management (its HTTP API), prometheus (its plugin's endpoint), amqp (a passive "
                 "declaration of each of `queues`), or auto: the first of these that answers."},
    {"management_port", SONDE_OPTION_INT, AT(management_port), 1, 65535, "15672",
     .sentence = "Port of the management API, for addresses that name none."},
    {"prometheus_port", SONDE_OPTION_INT, AT(prometheus_port), 1, 65535, "15692",
     .sentence = "Port of the Prometheus endpoint, for addresses that name none, and with source auto."},
    {"amqp_port", SONDE_OPTION_INT, AT(amqp_port), 1, 65535, "5672",
     .sentence = "Port of AMQP 0-9-1, for addresses that name none, and with source auto."},
    {"username", SONDE_OPTION_STRING, AT(username), .default_text = "guest",
     .sentence = "User; for management one with the tag `monitoring`; empty sends none over HTTP."},
    {"password", SONDE_OPTION_STRING, AT(password), .default_text = "guest", .secret = true,
     .sentence = "Password of the user."},
    {"vhosts", SONDE_OPTION_STRING_LIST, AT(vhosts), .default_text = "",
     .sentence = "Virtual hosts to look at, at most 64; none = all, and for amqp \"/\"."},
    {"include", SONDE_OPTION_STRING_LIST, AT(include), .default_text = "",
     .sentence = "POSIX extended regular expressions of whole names of queues to watch; none = all."},
    {"exclude", SONDE_OPTION_STRING_LIST, AT(exclude), .default_text = "",
     .sentence = "POSIX extended regular expressions of whole names of queues to leave out; wins over include."},
    {"queues", SONDE_OPTION_STRING_LIST, AT(queues), .default_text = "",
     .sentence = "Names of the queues that source amqp asks for, in each of vhosts; at most 1024."},
    {"streams", SONDE_OPTION_STRING_LIST, AT(streams), .default_text = "",
     .sentence = "POSIX extended regular expressions of whole names of streams, for prometheus and amqp, which do not "
                 "tell them from queues: what a stream keeps is not what waits."},
    {"interval", SONDE_OPTION_DURATION, AT(interval_ns), 100, 3600000, "15s",
     .sentence = "Time between the starts of two polls; the broker itself renews its figures every 5 s."},
    {"timeout", SONDE_OPTION_DURATION, AT(timeout_ns), 50, 600000, "10s",
     .sentence = "Time one poll may take, over all its requests."},
    {"detail_interval", SONDE_OPTION_DURATION, AT(detail_interval_ns), 0, 3600000, "30s",
     .sentence =
         "Time between two looks at what costs the broker more: consumers, bytes, ages, counters; 0 = with each "
         "poll."},
    {"page_size", SONDE_OPTION_INT, AT(page_size), 1, 500, "500",
     .sentence = "Queues the management API is asked for at a time."},
    {"queues_max", SONDE_OPTION_INT, AT(queues_max), 1, 1000000, "20000",
     .sentence = "Queues watched at most; more are left out and told."},
    {"response_size_max", SONDE_OPTION_SIZE, AT(response_size_max), 65536, 1 << 29, "16MiB",
     .sentence = "Bytes of one answer."},
    {"stream_offsets", SONDE_OPTION_BOOL, AT(stream_offsets), .default_text = "false",
     .sentence = "Whether to ask, stream by stream, for the offsets that readers stored (RabbitMQ 3.11 and later)."},
    {"tls.enabled", SONDE_OPTION_BOOL, AT(tls), .default_text = "false",
     .sentence = "Whether addresses that are no URL are spoken to by TLS; name their ports then."},
    {"tls.ca_file", SONDE_OPTION_STRING, AT(ca_file), .default_text = "",
     .sentence = "PEM file of the authorities that may vouch for the broker; empty means the system's."},
    {"tls.cert_file", SONDE_OPTION_STRING, AT(cert_file), .default_text = "",
     .sentence = "PEM file of our own certificate, where the broker asks for one."},
    {"tls.key_file", SONDE_OPTION_STRING, AT(key_file), .default_text = "",
     .sentence = "PEM file of the key of tls.cert_file."},
    {"tls.insecure_skip_verify", SONDE_OPTION_BOOL, AT(insecure_skip_verify), .default_text = "false",
     .sentence = "Whether the broker's certificate goes unchecked; for trials only."},
    SONDE_OPTION_END,
};

/* --- which source, which address --- */

static size_t address_count(const struct sonde__rabbitmq *rabbitmq) {
    return rabbitmq->config->addresses.count ? rabbitmq->config->addresses.count : 1;
}

/** The next address, then the next source; false when all had their turn in this poll. */
static bool advance(struct sonde__rabbitmq *rabbitmq) {
    size_t count = address_count(rabbitmq);
    bool is_auto = rabbitmq->config->source == SONDE__RABBITMQ_AUTO;
    size_t turns = is_auto ? count + 1 + (rabbitmq->amqp ? count : 0) : count;
    bool each = rabbitmq->source != SONDE__RABBITMQ_PROMETHEUS; /* that one asks all addresses itself */
    rabbitmq->address = (rabbitmq->address + 1) % count;
    if (is_auto && (!each || rabbitmq->address == 0)) {
        enum sonde__rabbitmq_source last = rabbitmq->amqp ? SONDE__RABBITMQ_AMQP : SONDE__RABBITMQ_PROMETHEUS;
        rabbitmq->address = 0;
        rabbitmq->source = rabbitmq->source == last ? SONDE__RABBITMQ_MANAGEMENT : rabbitmq->source + 1;
    }
    return ++rabbitmq->tries < turns && (is_auto || each);
}

static void source_start(struct sonde__rabbitmq *rabbitmq) {
    sonde__rabbitmq_queues_begin(&rabbitmq->queues);
    if (rabbitmq->source == SONDE__RABBITMQ_MANAGEMENT)
        sonde__rabbitmq_management_start(rabbitmq);
    else if (rabbitmq->source == SONDE__RABBITMQ_PROMETHEUS)
        sonde__rabbitmq_prometheus_start(rabbitmq);
#ifdef SONDE_WITH_RABBITMQ_AMQP
    else
        sonde__rabbitmq_amqp_start(rabbitmq);
#endif
}

static void poll_start(void *user) {
    struct sonde__rabbitmq *rabbitmq = user;
    const struct sonde__rabbitmq_config *config = rabbitmq->config;
    uint64_t now_ns = sonde__poll_now_ns(rabbitmq->poll);
    rabbitmq->rest.deadline_ns = now_ns + config->timeout_ns;
    rabbitmq->tries = 0;
    rabbitmq->heard = false;
    rabbitmq->trouble = NULL;
    /* A detail interval that is a multiple of the interval shall not be missed by a hair. */
    uint64_t slack_ns = config->interval_ns / 2;
    rabbitmq->detailing =
        !rabbitmq->detailed_ns || now_ns + slack_ns >= rabbitmq->detailed_ns + config->detail_interval_ns;
    if (rabbitmq->detailing) {
        rabbitmq->detailed_ns = now_ns;
        sonde__rabbitmq_details_begin(&rabbitmq->queues);
    }
    source_start(rabbitmq);
}

static void poll_abort(void *user) {
    struct sonde__rabbitmq *rabbitmq = user;
    sonde__rest_stop(&rabbitmq->rest);
#ifdef SONDE_WITH_RABBITMQ_AMQP
    sonde__rabbitmq_amqp_stop(rabbitmq);
#endif
    sonde_timer_clear(rabbitmq->slices);
    rabbitmq->detailed_ns = 0; /* what was being asked for is not known */
    if (!rabbitmq->heard && !rabbitmq->trouble)
        (void)advance(rabbitmq); /* silence until the deadline: the next poll begins with another */
}

void sonde__rabbitmq_failed(struct sonde__rabbitmq *rabbitmq, const char *error_type, const char *text) {
    if (!rabbitmq->trouble) {
        rabbitmq->trouble = error_type;
        const struct sonde__endpoint *endpoint = &rabbitmq->endpoints[rabbitmq->source][rabbitmq->address];
        (void)snprintf(rabbitmq->trouble_text, sizeof rabbitmq->trouble_text, "%s at %s port %u: %s",
                       sources[rabbitmq->source], endpoint->host, endpoint->port, text);
    }
    /* A wrong password is wrong everywhere, and asking again may lock the user out. */
    bool final = strcmp(error_type, SONDE__TROUBLE_AUTH) == 0 || strcmp(error_type, SONDE__TROUBLE_MEMORY) == 0;
    if (!final && advance(rabbitmq))
        source_start(rabbitmq);
    else
        sonde__poll_fail(rabbitmq->poll, rabbitmq->trouble, rabbitmq->trouble_text);
}

bool sonde__rabbitmq_http_failed(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    char text[256];
    const char *type = sonde__poll_http_trouble(response, text, sizeof text);
    rabbitmq->heard |= !response->error;
    if (!type)
        return false;
    if (strcmp(type, SONDE__TROUBLE_THROTTLED) == 0)
        (void)sonde__poll_http_fail(rabbitmq->poll, response);
    else
        sonde__rabbitmq_failed(rabbitmq, type, text);
    return true;
}

void sonde__rabbitmq_cannot_ask(struct sonde__rabbitmq *rabbitmq, int error) {
    const char *type = error == -ETIMEDOUT ? SONDE__TROUBLE_TIMEOUT
                       : error == -ENOMEM  ? SONDE__TROUBLE_MEMORY
                                           : SONDE__TROUBLE_CONNECT;
    if (error == -ETIMEDOUT)
        sonde__poll_fail(rabbitmq->poll, rabbitmq->trouble ? rabbitmq->trouble : type,
                         rabbitmq->trouble ? rabbitmq->trouble_text : "not all answers within the timeout");
    else
        sonde__rabbitmq_failed(rabbitmq, type, sonde_strerror(error));
}

void sonde__rabbitmq_cluster(struct sonde__rabbitmq *rabbitmq, const char *name) {
    if (!*name || strcmp(rabbitmq->cluster, name) == 0)
        return;
    (void)snprintf(rabbitmq->cluster, sizeof rabbitmq->cluster, "%s", name);
    sonde__poll_identify(rabbitmq->poll,
                         sonde_attribute_string(SONDE_KEY("messaging.rabbitmq.cluster.name"), rabbitmq->cluster));
}

/* --- series --- */

static void on_slice(void *user) {
    struct sonde__rabbitmq *rabbitmq = user;
    if (sonde__rabbitmq_queues_put(&rabbitmq->queues, rabbitmq->poll, rabbitmq->put, SLICE_ROWS)) {
        rabbitmq->put += SLICE_ROWS;
        sonde_timer_set(rabbitmq->slices, 0);
        return;
    }
    if (rabbitmq->overview.unroutable >= 0)
        sonde__poll_set(rabbitmq->poll, SONDE__MESSAGING_DROPPED, NULL, (double)rabbitmq->overview.unroutable);
    if (rabbitmq->queues.truncated)
        sonde__poll_truncated(rabbitmq->poll);
    if (rabbitmq->queues.no_memory)
        sonde__poll_note(rabbitmq->poll, SONDE__TROUBLE_MEMORY, "queues were left out for want of memory");
    sonde__poll_done(rabbitmq->poll);
}

void sonde__rabbitmq_answered(struct sonde__rabbitmq *rabbitmq) {
    sonde__rabbitmq_queues_end(&rabbitmq->queues);
    rabbitmq->put = 0;
    sonde_timer_set(rabbitmq->slices, 0);
}

/* --- configuration --- */

static int refuse(char *text, size_t size, const char *key, const char *problem) {
    (void)snprintf(text, size, "%s: %s", key, problem);
    return SONDE_EINVALID;
}

/** An address as each source has it. A port that is named is the first source's. */
static int address_take(struct sonde__rabbitmq *rabbitmq, size_t index, const char *text) {
    const struct sonde__rabbitmq_config *config = rabbitmq->config;
    const int64_t ports[SONDE__RABBITMQ_SOURCE_COUNT] = {0, config->management_port, config->prometheus_port,
                                                         config->amqp_port};
    for (int source = SONDE__RABBITMQ_MANAGEMENT; source < SONDE__RABBITMQ_SOURCE_COUNT; source++) {
        struct sonde__endpoint *endpoint = &rabbitmq->endpoints[source][index];
        if (sonde__rest_endpoint_parse(text, config->tls, (uint16_t)ports[source], endpoint))
            return SONDE_EINVALID;
        if (config->source != SONDE__RABBITMQ_AUTO || source == SONDE__RABBITMQ_MANAGEMENT)
            continue;
        char host[300];
        bool brackets = strchr(endpoint->host, ':') != NULL;
        (void)snprintf(host, sizeof host, "%s%s%s", brackets ? "[" : "", endpoint->host, brackets ? "]" : "");
        if (sonde__rest_endpoint_parse(host, endpoint->tls, (uint16_t)ports[source], endpoint))
            return SONDE_EINVALID;
    }
    return config->source == SONDE__RABBITMQ_AMQP && strstr(text, "://") ? SONDE_EINVALID : 0;
}

static int lists_check(const struct sonde__rabbitmq_config *config, char *text, size_t size) {
    if (config->addresses.count > SONDE__RABBITMQ_ADDRESSES_MAX)
        return refuse(text, size, "addresses", "more than 16");
    if (config->vhosts.count > SONDE__RABBITMQ_VHOSTS_MAX)
        return refuse(text, size, "vhosts", "more than 64");
    if (config->queues.count > SONDE__RABBITMQ_NAMED_MAX)
        return refuse(text, size, "queues", "more than 1024");
    for (size_t i = 0; i < config->vhosts.count; i++)
        if (!*config->vhosts.items[i] || strlen(config->vhosts.items[i]) >= SONDE__RABBITMQ_NAME_SIZE_MAX)
            return refuse(text, size, "vhosts", "a name is empty or has more than 255 bytes");
    for (size_t i = 0; i < config->queues.count; i++)
        if (!*config->queues.items[i] || strlen(config->queues.items[i]) >= SONDE__RABBITMQ_NAME_SIZE_MAX)
            return refuse(text, size, "queues", "a name is empty or has more than 255 bytes");
    return 0;
}

static int check(struct sonde__rabbitmq *rabbitmq, char *text, size_t size) {
    const struct sonde__rabbitmq_config *config = rabbitmq->config;
    int error = lists_check(config, text, size);
    if (error)
        return error;
    if (config->source == SONDE__RABBITMQ_AMQP && config->queues.count == 0)
        return refuse(text, size, "queues", "source amqp cannot look for queues: name them");
#ifndef SONDE_WITH_RABBITMQ_AMQP
    if (config->source == SONDE__RABBITMQ_AMQP)
        return refuse(text, size, "source", "this build has no amqp; accepted: auto, management, prometheus");
#endif
    if (config->source == SONDE__RABBITMQ_AMQP && config->tls && !*config->ca_file && !config->insecure_skip_verify)
        return refuse(text, size, "tls.ca_file", "source amqp does not know the system's authorities: name a file");
    if (!*config->cert_file != !*config->key_file)
        return refuse(text, size, *config->cert_file ? "tls.key_file" : "tls.cert_file",
                      "tls.cert_file and tls.key_file go together");
    for (size_t i = 0; i < address_count(rabbitmq); i++)
        if (address_take(rabbitmq, i, config->addresses.count ? config->addresses.items[i] : "127.0.0.1"))
            return refuse(text, size, "addresses",
                          "use HOST, HOST:PORT, [IPV6]:PORT, http://HOST:PORT or https://HOST:PORT (no URL for amqp), "
                          "without a user and password");
    if (sonde__rest_authorize(&rabbitmq->rest, "application/json, text/plain;version=0.0.4", config->username,
                              config->password, ""))
        return refuse(text, size, "username", "user and password must be one line and at most 4096 bytes together");
    return 0;
}

/* --- life --- */

static void rabbitmq_destroy(void *self) {
    struct sonde__rabbitmq *rabbitmq = self;
    if (!rabbitmq)
        return;
    const struct sonde_alloc *alloc = &rabbitmq->env.seams->alloc;
    sonde__rest_deinit(&rabbitmq->rest);
#ifdef SONDE_WITH_RABBITMQ_AMQP
    sonde__rabbitmq_amqp_destroy(rabbitmq->amqp);
#endif
    sonde_timer_destroy(rabbitmq->slices);
    sonde__poll_destroy(rabbitmq->poll);
    sonde__rabbitmq_queues_deinit(&rabbitmq->queues);
    sonde__filter_deinit(&rabbitmq->filter, alloc);
    sonde__patterns_deinit(&rabbitmq->streams, alloc);
    sonde_alloc_free(alloc, rabbitmq);
}

static int parts_create(struct sonde__rabbitmq *rabbitmq) {
    const struct sonde__rabbitmq_config *config = rabbitmq->config;
    const struct sonde__endpoint *endpoint = &rabbitmq->endpoints[rabbitmq->source][0];
    struct sonde__poll_config poll = {.env = &rabbitmq->env,
                                      .system = "rabbitmq",
                                      .address = config->addresses.count ? config->addresses.items[0] : "127.0.0.1",
                                      .common = {sonde_attribute_string(SONDE_KEY("server.address"), endpoint->host),
                                                 sonde_attribute_int64(SONDE_KEY("server.port"), endpoint->port)},
                                      .common_count = 2,
                                      .interval_ns = config->interval_ns,
                                      .timeout_ns = config->timeout_ns,
                                      .start = poll_start,
                                      .abort = poll_abort,
                                      .user = rabbitmq};
    int error = sonde_timer_create(rabbitmq->env.loop, on_slice, rabbitmq, &rabbitmq->slices);
#ifdef SONDE_WITH_RABBITMQ_AMQP
    bool wanted = config->source == SONDE__RABBITMQ_AUTO || config->source == SONDE__RABBITMQ_AMQP;
    if (!error && wanted && config->queues.count)
        error = sonde__rabbitmq_amqp_create(rabbitmq, &rabbitmq->amqp);
#endif
    return error ? error : sonde__poll_create(&poll, &rabbitmq->poll);
}

static int filters_create(struct sonde__rabbitmq *rabbitmq, char *text, size_t size) {
    const struct sonde__rabbitmq_config *config = rabbitmq->config;
    const struct sonde_alloc *alloc = &rabbitmq->env.seams->alloc;
    int error = sonde__filter_init(&rabbitmq->filter, alloc, &config->include, &config->exclude, text, size);
    return error ? error : sonde__patterns_init(&rabbitmq->streams, alloc, "streams", &config->streams, text, size);
}

static int rabbitmq_create(const void *config_data, const struct sonde_collector_env *env, void **ret_self,
                           char *error_text, size_t error_text_size) {
    const struct sonde__rabbitmq_config *config = config_data;
    struct sonde__rabbitmq *rabbitmq = sonde_alloc_new(&env->seams->alloc, sizeof *rabbitmq);
    if (!rabbitmq)
        return -ENOMEM;
    memset(rabbitmq, 0, sizeof *rabbitmq);
    rabbitmq->config = config;
    rabbitmq->env = *env;
    rabbitmq->source = config->source == SONDE__RABBITMQ_AUTO ? SONDE__RABBITMQ_MANAGEMENT
                                                              : (enum sonde__rabbitmq_source)config->source;
    rabbitmq->tls =
        (struct sonde_tls_options){config->ca_file, config->cert_file, config->key_file, config->insecure_skip_verify};
    rabbitmq->overview.unroutable = SONDE__RABBITMQ_UNKNOWN;
    rabbitmq->queues = (struct sonde__rabbitmq_queues){.alloc = &env->seams->alloc,
                                                       .filter = &rabbitmq->filter,
                                                       .vhosts = &config->vhosts,
                                                       .streams = &rabbitmq->streams,
                                                       .max = (size_t)config->queues_max};
    rabbitmq->rest.http = env->http;
    rabbitmq->rest.time = &env->seams->time;
    rabbitmq->rest.tls = &rabbitmq->tls;
    rabbitmq->rest.response_size_max = config->response_size_max;
    int error = check(rabbitmq, error_text, error_text_size);
    error = error ? error : filters_create(rabbitmq, error_text, error_text_size);
    error = error ? error : parts_create(rabbitmq);
    if (error) {
        rabbitmq_destroy(rabbitmq);
        return error;
    }
    *ret_self = rabbitmq;
    return 0;
}

static void rabbitmq_status(void *self, struct sonde_collector_status *ret_status) {
    const struct sonde__rabbitmq *rabbitmq = self;
    sonde__poll_status(rabbitmq->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_rabbitmq = {
    .name = "rabbitmq",
    .summary = "RabbitMQ: messages, consumers and ages of queues; lag of readers of streams",
    .config_size = sizeof(struct sonde__rabbitmq_config),
    .options = rabbitmq_options,
    .create = rabbitmq_create,
    .status = rabbitmq_status,
    .destroy = rabbitmq_destroy,
};
