/* SPDX-License-Identifier: Apache-2.0 */
/* Apache Pulsar, by its admin API: how far subscriptions are behind. One request after another:
 *
 *   now and then   tenants -> namespaces of each -> partitioned topics, then topics, of each namespace
 *   each poll      stats of each topic -> series
 *
 * A topic that is gone, or one that another broker owns and sends us to, costs its series, not the poll. */
#include "agent/collect/filter.h"
#include "agent/collect/poll.h"
#include "agent/collect/pulsar_reply.h"
#include "agent/collect/pulsar_topics.h"
#include "agent/collect/rest.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define ENDPOINTS_MAX  16u
#define TENANTS_MAX    1024u
#define NAMESPACES_MAX 4096u
#define UNPLAIN        "%?#\\ \"<>" /* not in names of tenants and namespaces, which stand in paths as they are */

struct pulsar_config {
    struct sonde_string_list endpoints, namespaces, include, exclude;
    char *token;
    uint64_t interval_ns, timeout_ns, discovery_interval_ns, response_size_max;
    int64_t topics_max;
    bool earliest_time, partitions;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
};

#define AT(field) offsetof(struct pulsar_config, field)
static const struct sonde_option pulsar_options[] = {
    {"endpoints", SONDE_OPTION_STRING_LIST, AT(endpoints), .default_text = "",
     .sentence =
         "Admin APIs of brokers or of a proxy: HOST, HOST:PORT (8080 when not said) or a whole URL; at most 16, none "
         "= 127.0.0.1. The first that answers is asked, and about topics of other brokers the others."},
    {"token", SONDE_OPTION_STRING, AT(token), .default_text = "", .secret = true,
     .sentence = "Token for Authorization: Bearer; empty sends none."},
    {"namespaces", SONDE_OPTION_STRING_LIST, AT(namespaces), .default_text = "",
     .sentence = "Namespaces to look at, TENANT/NAMESPACE; none = all, for which the token must be a superuser's."},
    {"include", SONDE_OPTION_STRING_LIST, AT(include), .default_text = "",
     .sentence = "POSIX extended regular expressions of topics to watch, TENANT/NAMESPACE/TOPIC; none = all."},
    {"exclude", SONDE_OPTION_STRING_LIST, AT(exclude), .default_text = "",
     .sentence = "POSIX extended regular expressions of topics to leave out; wins over include."},
    {"interval", SONDE_OPTION_DURATION, AT(interval_ns), 100, 3600000, "30s",
     .sentence = "Time between the starts of two polls."},
    {"timeout", SONDE_OPTION_DURATION, AT(timeout_ns), 50, 600000, "20s",
     .sentence = "Time one poll may take, over all its requests."},
    {"discovery_interval", SONDE_OPTION_DURATION, AT(discovery_interval_ns), 0, 3600000, "60s",
     .sentence = "Time between two looks for topics; 0 = with each poll."},
    {"topics_max", SONDE_OPTION_INT, AT(topics_max), 1, 100000, "1000",
     .sentence = "Topics watched at most, a partitioned one being one; more are left out and told."},
    {"response_size_max", SONDE_OPTION_SIZE, AT(response_size_max), 65536, 1 << 29, "16MiB",
     .sentence = "Bytes of one answer."},
    {"earliest_time", SONDE_OPTION_BOOL, AT(earliest_time), .default_text = "false",
     .sentence = "Whether to ask when the earliest message of a backlog was published, for which the broker reads it: "
                 "gives ages and seconds of lag."},
    {"partitions", SONDE_OPTION_BOOL, AT(partitions), .default_text = "false",
     .sentence = "Whether to set a lag for each partition as well."},
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

enum step { TENANTS, NAMESPACES, PARTITIONED, TOPICS, STATS };

struct pulsar {
    const struct pulsar_config *config; /* kept until destroyed */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde__rest rest;
    struct sonde_tls_options tls;
    struct sonde__filter filter;
    struct sonde__endpoint endpoints[ENDPOINTS_MAX];
    size_t endpoint_count, endpoint, tries; /* which is asked; how many failed in this poll */
    size_t asked;                           /* which the topic that is its turn is asked of */
    struct sonde__pulsar_names tenants, spaces, partitioned, plain;
    bool full;              /* topics were left out */
    uint64_t discovered_ns; /* monotonic: when topics were looked for last; 0 = never */
    enum step step;
    size_t index; /* of the tenant, namespace or topic that is its turn */
};

static void ask(struct pulsar *pulsar);

/* --- series --- */

static const char *topic_at(const struct pulsar *pulsar) {
    size_t first = pulsar->partitioned.count;
    return pulsar->index < first ? pulsar->partitioned.items[pulsar->index]
                                 : pulsar->plain.items[pulsar->index - first];
}
static struct sonde_string text_of(const char *text) {
    size_t size = strlen(text);
    return (struct sonde_string){text, size < SONDE__PULSAR_NAME_SIZE_MAX ? size : SONDE__PULSAR_NAME_SIZE_MAX};
}

static void put(struct pulsar *pulsar, enum sonde__messaging_metric metric, struct sonde__messaging_of of,
                const char *state, int64_t value) {
    of.state = state;
    if (value >= 0)
        sonde__poll_set(pulsar->poll, metric, &of, (double)value);
}

static void on_topic(void *user, int64_t published, int64_t stored_bytes) {
    struct pulsar *pulsar = user;
    const struct sonde__messaging_of of = {.destination = text_of(topic_at(pulsar))};
    put(pulsar, SONDE__MESSAGING_PUBLISHED, of, NULL, published);
    put(pulsar, SONDE__MESSAGING_QUEUE_SIZE, of, NULL, stored_bytes);
}

/** What waits longest was published then; when some of the backlog is with consumers it may be one of those. */
static void put_times(struct pulsar *pulsar, const struct sonde__pulsar_subscription *subscription,
                      struct sonde__messaging_of of) {
    double age = 0;
    if (!pulsar->config->earliest_time || subscription->backlog < 0)
        return;
    if (subscription->backlog > 0) {
        if (subscription->earliest_unix_ms <= 0)
            return;
        age = (double)sonde__poll_now_unix_ns(pulsar->poll) / 1e9 - (double)subscription->earliest_unix_ms / 1e3;
        age = age < 0 ? 0 : age;
    }
    sonde__poll_set(pulsar->poll, SONDE__MESSAGING_OLDEST_AGE, &of, age);
    of.estimate = "exact";
    if (subscription->unacked == 0)
        sonde__poll_set(pulsar->poll, SONDE__MESSAGING_LAG_TIME, &of, age);
}

static void on_subscription(void *user, const char *partition, const struct sonde__pulsar_subscription *subscription) {
    struct pulsar *pulsar = user;
    struct sonde__messaging_of of = {.destination = text_of(topic_at(pulsar)), .subscription = subscription->name};
    if (*partition) {
        of.partition = text_of(partition);
        put(pulsar, SONDE__MESSAGING_PARTITION_LAG, of, NULL, subscription->backlog);
        return;
    }
    int64_t unacked = subscription->unacked < 0 ? 0 : subscription->unacked;
    int64_t delayed = subscription->delayed < 0 ? 0 : subscription->delayed;
    int64_t ready = subscription->backlog - unacked - delayed;
    put(pulsar, SONDE__MESSAGING_LAG, of, NULL, subscription->backlog);
    if (subscription->backlog >= 0)
        put(pulsar, SONDE__MESSAGING_QUEUE_MESSAGE, of, "ready", ready < 0 ? 0 : ready);
    put(pulsar, SONDE__MESSAGING_QUEUE_MESSAGE, of, "unacked", subscription->unacked);
    put(pulsar, SONDE__MESSAGING_QUEUE_MESSAGE, of, "scheduled", subscription->delayed);
    put(pulsar, SONDE__MESSAGING_CONSUMERS, of, NULL, subscription->consumers);
    put(pulsar, SONDE__MESSAGING_DELIVERED, of, NULL, subscription->delivered);
    put(pulsar, SONDE__MESSAGING_DROPPED, of, NULL, subscription->expired);
    put(pulsar, SONDE__MESSAGING_GROUP_STATE, of, "active", !subscription->blocked && subscription->consumers > 0);
    put(pulsar, SONDE__MESSAGING_GROUP_STATE, of, "blocked", subscription->blocked);
    put(pulsar, SONDE__MESSAGING_GROUP_STATE, of, "empty", !subscription->blocked && subscription->consumers == 0);
    put_times(pulsar, subscription, of);
}

/* --- what comes next --- */

static void done(struct pulsar *pulsar) {
    if (pulsar->full)
        sonde__poll_truncated(pulsar->poll);
    sonde__poll_done(pulsar->poll);
}

/** Goes to a step's first, or past its last to the next step. */
static void step_to(struct pulsar *pulsar, enum step step, size_t index) {
    const size_t ends[] = {[TENANTS] = 1,
                           [NAMESPACES] = pulsar->tenants.count,
                           [PARTITIONED] = pulsar->spaces.count,
                           [TOPICS] = pulsar->spaces.count,
                           [STATS] = pulsar->partitioned.count + pulsar->plain.count};
    while (step <= STATS && index >= ends[step]) {
        if (step == TOPICS)
            pulsar->discovered_ns = sonde__poll_now_ns(pulsar->poll);
        step++;
        index = 0;
    }
    pulsar->step = step;
    pulsar->index = index;
    pulsar->asked = pulsar->endpoint;
    if (step > STATS)
        done(pulsar);
    else
        ask(pulsar);
}

static void discover(struct pulsar *pulsar) {
    const struct pulsar_config *config = pulsar->config;
    const struct sonde_alloc *alloc = &pulsar->env.seams->alloc;
    sonde__pulsar_names_clear(&pulsar->tenants, alloc);
    sonde__pulsar_names_clear(&pulsar->spaces, alloc);
    sonde__pulsar_names_clear(&pulsar->partitioned, alloc);
    sonde__pulsar_names_clear(&pulsar->plain, alloc);
    pulsar->full = false;
    pulsar->discovered_ns = 0;
    int error = 0;
    for (size_t i = 0; !error && i < config->namespaces.count; i++)
        error = sonde__pulsar_names_add(&pulsar->spaces, alloc, config->namespaces.items[i], NAMESPACES_MAX);
    if (error)
        sonde__poll_fail(pulsar->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
    else
        step_to(pulsar, config->namespaces.count ? PARTITIONED : TENANTS, 0);
}

static void begin(struct pulsar *pulsar) {
    uint64_t now_ns = sonde__poll_now_ns(pulsar->poll);
    const struct pulsar_config *config = pulsar->config;
    uint64_t slack_ns = config->interval_ns / 2; /* an interval that is a multiple shall not be missed by a hair */
    if (!pulsar->discovered_ns || now_ns + slack_ns >= pulsar->discovered_ns + config->discovery_interval_ns)
        discover(pulsar);
    else
        step_to(pulsar, STATS, 0);
}

/* --- answers --- */

static void fail(struct pulsar *pulsar, const char *error_type, const char *text) {
    char whole[300];
    (void)snprintf(whole, sizeof whole, "%s: %s", pulsar->endpoints[pulsar->asked].url, text);
    /* A wrong token is wrong everywhere. */
    bool final = strcmp(error_type, SONDE__TROUBLE_AUTH) == 0 || strcmp(error_type, SONDE__TROUBLE_MEMORY) == 0;
    pulsar->discovered_ns = 0;
    pulsar->endpoint = (pulsar->endpoint + 1) % pulsar->endpoint_count;
    if (final || ++pulsar->tries >= pulsar->endpoint_count)
        sonde__poll_fail(pulsar->poll, error_type, whole);
    else
        begin(pulsar);
}

/** Whether a path can be made of it. What cannot be a name is told and left out. */
static bool is_name(struct pulsar *pulsar, const char *name) {
    char path[SONDE__REST_URL_SIZE_MAX / 2];
    bool good = pulsar->step == TENANTS || pulsar->step == NAMESPACES
                    ? strlen(name) <= SONDE__PULSAR_NAME_SIZE_MAX && strcspn(name, UNPLAIN) == strlen(name)
                    : sonde__pulsar_topic_path(name, path, sizeof path);
    if (!good)
        sonde__poll_note(pulsar->poll, SONDE__TROUBLE_PROTOCOL, "a name that cannot be one");
    return good;
}

static void on_name(void *user, const char *name) {
    struct pulsar *pulsar = user;
    const struct sonde_alloc *alloc = &pulsar->env.seams->alloc;
    size_t topics_max = (size_t)pulsar->config->topics_max - pulsar->partitioned.count - pulsar->plain.count;
    int error = 0;
    if (!is_name(pulsar, name))
        return;
    if (pulsar->step == TENANTS)
        error = sonde__pulsar_names_add(&pulsar->tenants, alloc, name, TENANTS_MAX);
    else if (pulsar->step == NAMESPACES)
        error = sonde__pulsar_names_add(&pulsar->spaces, alloc, name, NAMESPACES_MAX);
    else if (!sonde__pulsar_topic_passes(name, &pulsar->filter))
        return;
    else if (pulsar->step == PARTITIONED)
        error = sonde__pulsar_names_add(&pulsar->partitioned, alloc, name, pulsar->partitioned.count + topics_max);
    else if (!sonde__pulsar_is_partition(name, &pulsar->partitioned))
        error = sonde__pulsar_names_add(&pulsar->plain, alloc, name, pulsar->plain.count + topics_max);
    if (error == SONDE_EFULL)
        pulsar->full = true;
    else if (error)
        sonde__poll_note(pulsar->poll, SONDE__TROUBLE_MEMORY, "topics were left out for want of memory");
}

static void on_names(struct pulsar *pulsar, const struct sonde_http_response *response) {
    /* A tenant or namespace that went meanwhile, or one of the configuration that is not there. */
    if (!response->error && response->status == 404 && pulsar->step != TENANTS) {
        if (pulsar->step == PARTITIONED)
            sonde__poll_note(pulsar->poll, SONDE__TROUBLE_NOT_FOUND, pulsar->spaces.items[pulsar->index]);
        step_to(pulsar, pulsar->step, pulsar->index + 1);
        return;
    }
    if (sonde__pulsar_read_names(response->body, response->body_size, on_name, pulsar))
        fail(pulsar, SONDE__TROUBLE_PROTOCOL, "an answer is no list of names");
    else
        step_to(pulsar, pulsar->step, pulsar->index + 1);
}

static void on_stats(struct pulsar *pulsar, const struct sonde_http_response *response) {
    const struct sonde__pulsar_take take = {on_topic, on_subscription, pulsar};
    bool partitioned = pulsar->index < pulsar->partitioned.count;
    if (response->status == 404) /* it went; the next look for topics learns it */
        sonde__poll_note(pulsar->poll, SONDE__TROUBLE_NOT_FOUND, topic_at(pulsar));
    else if (sonde__pulsar_read_stats(response->body, response->body_size, partitioned, pulsar->config->partitions,
                                      &take)) {
        fail(pulsar, SONDE__TROUBLE_PROTOCOL, "an answer is no topic's stats");
        return;
    }
    step_to(pulsar, STATS, pulsar->index + 1);
}

/** Another broker owns the topic. We follow nobody, who might not be one of ours: the token would go along. */
static void on_redirect(struct pulsar *pulsar) {
    pulsar->asked = (pulsar->asked + 1) % pulsar->endpoint_count;
    if (pulsar->asked != pulsar->endpoint) {
        ask(pulsar);
        return;
    }
    sonde__poll_note(pulsar->poll, "redirected", "another broker owns it: name all in endpoints, or a proxy");
    step_to(pulsar, pulsar->step, pulsar->index + 1);
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct pulsar *pulsar = user;
    char text[256];
    if (!response->error && (response->status == 307 || response->status == 302)) {
        on_redirect(pulsar);
        return;
    }
    const char *type = sonde__poll_http_trouble(response, text, sizeof text);
    bool gone = !response->error && response->status == 404 && pulsar->step != TENANTS;
    if (type && strcmp(type, SONDE__TROUBLE_THROTTLED) == 0)
        (void)sonde__poll_http_fail(pulsar->poll, response);
    else if (type && !gone)
        fail(pulsar, type, text);
    else if (pulsar->step == STATS)
        on_stats(pulsar, response);
    else
        on_names(pulsar, response);
}

/* --- requests --- */

/** Names are checked: there is room. */
static void path_write(const struct pulsar *pulsar, char *ret_path, size_t size) {
    bool partitioned = pulsar->index < pulsar->partitioned.count;
    switch (pulsar->step) {
    case TENANTS:
        (void)snprintf(ret_path, size, "/admin/v2/tenants");
        break;
    case NAMESPACES:
        (void)snprintf(ret_path, size, "/admin/v2/namespaces/%s", pulsar->tenants.items[pulsar->index]);
        break;
    case PARTITIONED:
    case TOPICS:
        (void)snprintf(ret_path, size, "/admin/v2/persistent/%s%s", pulsar->spaces.items[pulsar->index],
                       pulsar->step == PARTITIONED ? "/partitioned" : "");
        break;
    case STATS:
        ret_path[0] = '\0';
        (void)sonde__pulsar_topic_path(topic_at(pulsar), ret_path, size);
        size_t at = strlen(ret_path);
        (void)snprintf(ret_path + at, size - at, "/%s?getPreciseBacklog=true&subscriptionBacklogSize=false%s%s",
                       partitioned ? "partitioned-stats" : "stats", partitioned ? "&perPartition=true" : "",
                       pulsar->config->earliest_time ? "&getEarliestTimeInBacklog=true" : "");
    }
}

static void ask(struct pulsar *pulsar) {
    char path[SONDE__REST_URL_SIZE_MAX];
    path_write(pulsar, path, sizeof path);
    int error = sonde__rest_get(&pulsar->rest, pulsar->endpoints[pulsar->asked].url, path, on_answer, pulsar);
    if (error)
        sonde__poll_fail(pulsar->poll, error == -ETIMEDOUT ? SONDE__TROUBLE_TIMEOUT : SONDE__TROUBLE_MEMORY,
                         sonde_strerror(error));
}

static void poll_start(void *user) {
    struct pulsar *pulsar = user;
    pulsar->rest.deadline_ns = sonde__poll_now_ns(pulsar->poll) + pulsar->config->timeout_ns;
    pulsar->tries = 0;
    begin(pulsar);
}

static void poll_abort(void *user) {
    struct pulsar *pulsar = user;
    sonde__rest_stop(&pulsar->rest);
    pulsar->discovered_ns = 0;
    /* Also after silence until the deadline: the next poll begins with another. */
    pulsar->endpoint = (pulsar->endpoint + 1) % pulsar->endpoint_count;
}

/* --- life --- */

static int refuse(char *text, size_t size, const char *key, const char *problem) {
    (void)snprintf(text, size, "%s: %s", key, problem);
    return SONDE_EINVALID;
}

static int check(struct pulsar *pulsar, char *text, size_t size) {
    const struct pulsar_config *config = pulsar->config;
    const struct sonde_string_list *endpoints = &config->endpoints;
    if (endpoints->count > ENDPOINTS_MAX)
        return refuse(text, size, "endpoints", "more than 16");
    if (config->namespaces.count > NAMESPACES_MAX)
        return refuse(text, size, "namespaces", "more than 4096");
    for (size_t i = 0; i < config->namespaces.count; i++) {
        const char *name = config->namespaces.items[i], *slash = strchr(name, '/');
        if (!slash || slash == name || !slash[1] || strchr(slash + 1, '/') || strlen(name) > 512 ||
            strcspn(name, UNPLAIN) != strlen(name))
            return refuse(text, size, "namespaces", "use TENANT/NAMESPACE");
    }
    pulsar->endpoint_count = endpoints->count ? endpoints->count : 1;
    for (size_t i = 0; i < pulsar->endpoint_count; i++)
        if (sonde__rest_endpoint_parse(endpoints->count ? endpoints->items[i] : "127.0.0.1", false, 8080,
                                       &pulsar->endpoints[i]))
            return refuse(text, size, "endpoints",
                          "use HOST, HOST:PORT, http://HOST:PORT or https://HOST:PORT, without a user and password");
    if (!*config->cert_file != !*config->key_file)
        return refuse(text, size, *config->cert_file ? "tls.key_file" : "tls.cert_file",
                      "tls.cert_file and tls.key_file go together");
    if (sonde__rest_authorize(&pulsar->rest, "application/json", "", "", config->token))
        return refuse(text, size, "token", "must be one line of at most 4096 bytes");
    return 0;
}

static void pulsar_destroy(void *self) {
    struct pulsar *pulsar = self;
    if (!pulsar)
        return;
    const struct sonde_alloc *alloc = &pulsar->env.seams->alloc;
    sonde__rest_deinit(&pulsar->rest);
    sonde__poll_destroy(pulsar->poll);
    sonde__filter_deinit(&pulsar->filter, alloc);
    sonde__pulsar_names_clear(&pulsar->tenants, alloc);
    sonde__pulsar_names_clear(&pulsar->spaces, alloc);
    sonde__pulsar_names_clear(&pulsar->partitioned, alloc);
    sonde__pulsar_names_clear(&pulsar->plain, alloc);
    sonde_alloc_free(alloc, pulsar);
}

static int poll_make(struct pulsar *pulsar) {
    const struct pulsar_config *config = pulsar->config;
    struct sonde__poll_config poll = {
        .env = &pulsar->env,
        .system = "pulsar",
        .address = config->endpoints.count ? config->endpoints.items[0] : "127.0.0.1",
        .common = {sonde_attribute_string(SONDE_KEY("server.address"), pulsar->endpoints[0].host),
                   sonde_attribute_int64(SONDE_KEY("server.port"), pulsar->endpoints[0].port)},
        .common_count = 2,
        .interval_ns = config->interval_ns,
        .timeout_ns = config->timeout_ns,
        .start = poll_start,
        .abort = poll_abort,
        .user = pulsar};
    return sonde__poll_create(&poll, &pulsar->poll);
}

static int pulsar_create(const void *config_data, const struct sonde_collector_env *env, void **ret_self,
                         char *error_text, size_t error_text_size) {
    const struct pulsar_config *config = config_data;
    const struct sonde_alloc *alloc = &env->seams->alloc;
    struct pulsar *pulsar = sonde_alloc_new(alloc, sizeof *pulsar);
    if (!pulsar)
        return -ENOMEM;
    memset(pulsar, 0, sizeof *pulsar);
    pulsar->config = config;
    pulsar->env = *env;
    pulsar->tls =
        (struct sonde_tls_options){config->ca_file, config->cert_file, config->key_file, config->insecure_skip_verify};
    pulsar->rest.http = env->http;
    pulsar->rest.time = &env->seams->time;
    pulsar->rest.tls = &pulsar->tls;
    pulsar->rest.response_size_max = config->response_size_max;
    int error = check(pulsar, error_text, error_text_size);
    if (!error)
        error =
            sonde__filter_init(&pulsar->filter, alloc, &config->include, &config->exclude, error_text, error_text_size);
    error = error ? error : poll_make(pulsar);
    if (error) {
        pulsar_destroy(pulsar);
        return error;
    }
    *ret_self = pulsar;
    return 0;
}

static void pulsar_status(void *self, struct sonde_collector_status *ret_status) {
    const struct pulsar *pulsar = self;
    sonde__poll_status(pulsar->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_pulsar = {
    .name = "pulsar",
    .summary = "Apache Pulsar: backlog, consumers and ages of subscriptions",
    .config_size = sizeof(struct pulsar_config),
    .options = pulsar_options,
    .create = pulsar_create,
    .status = pulsar_status,
    .destroy = pulsar_destroy,
};
