/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Service Bus: what waits in queues and subscriptions, by the management that the namespace itself offers (Atom, API
 * version 2017-04). One request at a time, a hundred entities each: reading counts one by one is known to throttle whole
 * namespaces. A 429 ends the poll, and the next comes when the answer says, or by back-off.
 *
 *   queues, page by page -> topics, page by page -> subscriptions of each topic, page by page */
#include "agent/collect/collector.h"
#include "agent/collect/endpoint.h"
#include "agent/collect/filter.h"
#include "agent/collect/poll.h"
#include "agent/collect/servicebus_atom.h"
#include "agent/collect/servicebus_sas.h"
#include "exporters/http_headers.h"
#include "instrumentation/carrier/percent.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S     1000000000ull
#define TOKEN_LIFE_S 3600u
#define TOKEN_LEFT_S 600u /* a token with less is made anew */
#define PAGE         100u /* what Azure gives at most */

struct servicebus_config {
    char *connection_string, *namespace_host, *key_name, *key, *endpoint;
    struct sonde_string_list include, exclude;
    bool subscriptions;
    int64_t queues_max, topics_max, subscriptions_max;
    uint64_t interval_ns, timeout_ns, answer_size_max;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
};

#define AT(field) offsetof(struct servicebus_config, field)
static const struct sonde_option servicebus_options[] = {
    {.key = "connection_string",
     .type = SONDE_OPTION_STRING,
     .offset = AT(connection_string),
     .default_text = "",
     .secret = true,
     .sentence =
         "Endpoint=sb://NAME.servicebus.windows.net/;SharedAccessKeyName=...;SharedAccessKey=..., of a policy with "
         "the right Manage; or namespace, key_name and key."},
    {.key = "namespace",
     .type = SONDE_OPTION_STRING,
     .offset = AT(namespace_host),
     .default_text = "",
     .sentence = "Host of the namespace, \"shop.servicebus.windows.net\"."},
    {.key = "key_name",
     .type = SONDE_OPTION_STRING,
     .offset = AT(key_name),
     .default_text = "",
     .sentence = "Name of the shared access policy."},
    {.key = "key",
     .type = SONDE_OPTION_STRING,
     .offset = AT(key),
     .default_text = "",
     .secret = true,
     .sentence = "Key of the shared access policy, as it is written."},
    {.key = "endpoint",
     .type = SONDE_OPTION_STRING,
     .offset = AT(endpoint),
     .default_text = "",
     .sentence = "URL of the management; empty = https:// and the namespace."},
    {.key = "include",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(include),
     .default_text = "",
     .sentence = "Regular expressions (POSIX extended, of whole names) of queues and topics; none = all."},
    {.key = "exclude",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(exclude),
     .default_text = "",
     .sentence = "Regular expressions of names of queues and topics that are left out, though included."},
    {.key = "subscriptions",
     .type = SONDE_OPTION_BOOL,
     .offset = AT(subscriptions),
     .default_text = "true",
     .sentence = "Whether topics and their subscriptions are looked at; costs at least one request per topic."},
    {.key = "queues_max",
     .type = SONDE_OPTION_INT,
     .offset = AT(queues_max),
     .min = 1,
     .max = 10000,
     .default_text = "1000",
     .sentence = "Queues watched at most; more are left out and told."},
    {.key = "topics_max",
     .type = SONDE_OPTION_INT,
     .offset = AT(topics_max),
     .min = 1,
     .max = 10000,
     .default_text = "100",
     .sentence = "Topics watched at most; more are left out and told."},
    {.key = "subscriptions_max",
     .type = SONDE_OPTION_INT,
     .offset = AT(subscriptions_max),
     .min = 1,
     .max = 65536,
     .default_text = "1000",
     .sentence = "Subscriptions watched at most, of all topics; more are left out and told."},
    {.key = "interval",
     .type = SONDE_OPTION_DURATION,
     .offset = AT(interval_ns),
     .min = 1e2,
     .max = 3.6e6,
     .default_text = "60s",
     .sentence = "Time between the starts of two polls; polling often throttles the namespace, for its users as well."},
    {.key = "timeout",
     .type = SONDE_OPTION_DURATION,
     .offset = AT(timeout_ns),
     .min = 50,
     .max = 6e5,
     .default_text = "30s",
     .sentence = "Time one poll may take, connecting included."},
    {.key = "reply_size_max",
     .type = SONDE_OPTION_SIZE,
     .offset = AT(answer_size_max),
     .min = 65536,
     .max = 1 << 28,
     .default_text = "4MiB",
     .sentence = "Bytes of one reply: a page of 100 entities."},
    {.key = "tls.ca_file",
     .type = SONDE_OPTION_STRING,
     .offset = AT(ca_file),
     .default_text = "",
     .sentence = "PEM file of the authorities that may vouch for the namespace; empty means the system's."},
    {.key = "tls.cert_file",
     .type = SONDE_OPTION_STRING,
     .offset = AT(cert_file),
     .default_text = "",
     .sentence = "PEM file of our own certificate, where one is asked for."},
    {.key = "tls.key_file",
     .type = SONDE_OPTION_STRING,
     .offset = AT(key_file),
     .default_text = "",
     .sentence = "PEM file of the key of tls.cert_file."},
    {.key = "tls.insecure_skip_verify",
     .type = SONDE_OPTION_BOOL,
     .offset = AT(insecure_skip_verify),
     .default_text = "false",
     .sentence = "Whether the namespace's certificate goes unchecked; for trials only."},
    SONDE_OPTION_END,
};

enum stage { QUEUES, TOPICS, SUBSCRIPTIONS };

struct servicebus_collector {
    const struct servicebus_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde__filter filter;
    struct sonde__servicebus_place place;
    struct sonde__endpoint endpoint;
    struct sonde_tls_options tls;
    char token[SONDE__SERVICEBUS_TOKEN_MAX], url[2048];
    uint64_t token_until_s;
    char *header_keys[1], *header_values[1];
    struct sonde_string_map headers;
    void *exchange;
    /* This poll. */
    enum stage stage;
    unsigned skip;
    bool full; /* of what the stage lists: no further page is asked for */
    int64_t queues, subscriptions;
    char (*topics)[SONDE__SERVICEBUS_NAME_MAX]; /* owned; topics_max */
    size_t topic_count, topic;
};

/* --- series --- */

static void set_entry(struct servicebus_collector *collector, const char *destination, const char *subscription,
                      const struct sonde__servicebus_entry *entry) {
    static const struct {
        enum sonde__messaging_metric metric;
        const char *state, *kind;
    } rows[] = {
        [SONDE__SERVICEBUS_ACTIVE] = {SONDE__MESSAGING_QUEUE_MESSAGE, "ready", NULL},
        [SONDE__SERVICEBUS_DEAD_LETTERED] = {SONDE__MESSAGING_QUEUE_MESSAGE, "dead_lettered", NULL},
        [SONDE__SERVICEBUS_SCHEDULED] = {SONDE__MESSAGING_QUEUE_MESSAGE, "scheduled", NULL},
        [SONDE__SERVICEBUS_TRANSFER] = {SONDE__MESSAGING_QUEUE_MESSAGE, "transfer", NULL},
        [SONDE__SERVICEBUS_TRANSFER_DEAD_LETTERED] = {SONDE__MESSAGING_QUEUE_MESSAGE, "dead_lettered", "transfer"},
        [SONDE__SERVICEBUS_SIZE] = {SONDE__MESSAGING_QUEUE_SIZE, NULL, NULL},
    };
    struct sonde__messaging_of of = {.destination = {.data = destination, .size = strlen(destination)}};
    if (subscription)
        of.subscription = (struct sonde_string){.data = subscription, .size = strlen(subscription)};
    for (int i = 0; i < SONDE__SERVICEBUS_NUMBERS; i++) {
        if (entry->numbers[i] < 0)
            continue;
        of.state = rows[i].state;
        of.kind = rows[i].kind;
        sonde__poll_set(collector->poll, rows[i].metric, &of, (double)entry->numbers[i]);
    }
    of.state = of.kind = NULL;
    if (entry->numbers[SONDE__SERVICEBUS_ACTIVE] >= 0)
        sonde__poll_set(collector->poll, SONDE__MESSAGING_LAG, &of, (double)entry->numbers[SONDE__SERVICEBUS_ACTIVE]);
    else
        sonde__poll_note(collector->poll, SONDE__TROUBLE_PROTOCOL,
                         "an entity comes without its count of active messages");
    if (entry->accessed_unix_ns)
        sonde__poll_set(collector->poll, SONDE__MESSAGING_ACCESSED, &of,
                        (double)entry->accessed_unix_ns / (double)NS_PER_S);
}

/** A topic has messages of its own while they are scheduled only; what waits is in its subscriptions. */
static void set_topic(struct servicebus_collector *collector, const struct sonde__servicebus_entry *entry) {
    const struct sonde__messaging_of of = {.destination = {.data = entry->name, .size = strlen(entry->name)},
                                           .state = "scheduled"};
    const struct sonde__messaging_of whole = {.destination = of.destination};
    if (entry->numbers[SONDE__SERVICEBUS_SCHEDULED] >= 0)
        sonde__poll_set(collector->poll, SONDE__MESSAGING_QUEUE_MESSAGE, &of,
                        (double)entry->numbers[SONDE__SERVICEBUS_SCHEDULED]);
    if (entry->numbers[SONDE__SERVICEBUS_SIZE] >= 0)
        sonde__poll_set(collector->poll, SONDE__MESSAGING_QUEUE_SIZE, &whole,
                        (double)entry->numbers[SONDE__SERVICEBUS_SIZE]);
}

/* --- pages --- */

static void full(struct servicebus_collector *collector) {
    collector->full = true;
    sonde__poll_truncated(collector->poll);
}

static void on_entry(void *user, const struct sonde__servicebus_entry *entry) {
    struct servicebus_collector *collector = user;
    const struct servicebus_config *config = collector->config;
    if (!*entry->name) {
        sonde__poll_note(collector->poll, SONDE__TROUBLE_PROTOCOL,
                         "an entity comes without a name, or with one too long");
        return;
    }
    if (collector->stage == SUBSCRIPTIONS) {
        if (collector->subscriptions >= config->subscriptions_max) {
            full(collector);
            return;
        }
        collector->subscriptions++;
        set_entry(collector, collector->topics[collector->topic], entry->name, entry);
        return;
    }
    if (!sonde__filter_passes(&collector->filter, entry->name))
        return;
    if (collector->stage == QUEUES && collector->queues < config->queues_max) {
        collector->queues++;
        set_entry(collector, entry->name, NULL, entry);
    } else if (collector->stage == TOPICS && collector->topic_count < (size_t)config->topics_max) {
        memcpy(collector->topics[collector->topic_count++], entry->name, sizeof entry->name);
        set_topic(collector, entry);
    } else {
        full(collector);
    }
}

static void page_next(struct servicebus_collector *collector);

/** The next list: topics after queues, then each topic's subscriptions. */
static void list_next(struct servicebus_collector *collector) {
    collector->skip = 0;
    collector->full = false;
    if (collector->stage == QUEUES && collector->config->subscriptions) {
        collector->stage = TOPICS;
    } else if (collector->stage == TOPICS && collector->topic_count) {
        collector->stage = SUBSCRIPTIONS;
        collector->topic = 0;
    } else if (collector->stage == SUBSCRIPTIONS && collector->topic + 1 < collector->topic_count &&
               collector->subscriptions < collector->config->subscriptions_max) {
        collector->topic++;
    } else {
        if (collector->stage == SUBSCRIPTIONS && collector->topic + 1 < collector->topic_count)
            sonde__poll_truncated(collector->poll);
        sonde__poll_done(collector->poll);
        return;
    }
    page_next(collector);
}

/** A namespace that is busy says 429, or 503 with a time to wait. */
static bool is_bad(struct servicebus_collector *collector, const struct sonde_http_response *response) {
    if (!response->error && response->status == 503 && *response->retry_after) {
        uint64_t seconds = strtoull(response->retry_after, NULL, 10);
        sonde__poll_throttled(collector->poll, seconds > 3600 ? 3600 * NS_PER_S : seconds * NS_PER_S,
                              "the namespace is busy (HTTP status 503)");
        return true;
    }
    return sonde__poll_http_fail(collector->poll, response);
}

static void on_page(void *user, const struct sonde_http_response *response) {
    struct servicebus_collector *collector = user;
    size_t count;
    collector->exchange = NULL;
    bool gone = !response->error && response->status == 404 && collector->stage == SUBSCRIPTIONS;
    if (gone) { /* the topic was deleted after it was listed */
        list_next(collector);
        return;
    }
    if (is_bad(collector, response))
        return;
    int error = sonde__servicebus_feed_read(response->body, response->body_size, on_entry, collector, &count);
    if (error) {
        sonde__poll_fail(collector->poll, error == -ENOMEM ? SONDE__TROUBLE_MEMORY : SONDE__TROUBLE_PROTOCOL,
                         error == -ENOMEM ? "out of memory" : "the answer is not a feed (Atom)");
        return;
    }
    collector->skip += PAGE;
    if (count >= PAGE && !collector->full)
        page_next(collector);
    else
        list_next(collector);
}

static bool is_plain(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~/", c));
}

static void url_make(struct servicebus_collector *collector) {
    static const char *const lists[] = {[QUEUES] = "$Resources/queues", [TOPICS] = "$Resources/topics"};
    char path[3 * SONDE__SERVICEBUS_NAME_MAX];
    if (collector->stage == SUBSCRIPTIONS) {
        const char *topic = collector->topics[collector->topic];
        struct sonde_string name = {.data = topic, .size = strlen(topic)};
        path[sonde__percent_encode(name, is_plain, path)] = '\0';
    }
    (void)snprintf(collector->url, sizeof collector->url, "%s/%s%s?api-version=2017-04&$skip=%u&$top=%u",
                   collector->endpoint.url, collector->stage == SUBSCRIPTIONS ? path : lists[collector->stage],
                   collector->stage == SUBSCRIPTIONS ? "/subscriptions" : "", collector->skip, PAGE);
}

static void page_next(struct servicebus_collector *collector) {
    url_make(collector);
    const struct sonde_http_request request = {.method = "GET",
                                               .url = collector->url,
                                               .headers = &collector->headers,
                                               .timeout_ns = collector->config->timeout_ns,
                                               .response_size_max = collector->config->answer_size_max,
                                               .tls = &collector->tls};
    const struct sonde__http_client *http = &collector->env.http;
    int error = http->start(http->self, &request, on_page, collector, &collector->exchange);
    if (error)
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
}

/* --- a poll --- */

/** A token for the whole namespace. Returns false: the poll has failed. */
static bool token_make(struct servicebus_collector *collector) {
    const struct sonde__servicebus_place *place = &collector->place;
    uint64_t now_s = sonde__poll_now_unix_ns(collector->poll) / NS_PER_S;
    if (*place->signature) {
        (void)snprintf(collector->token, sizeof collector->token, "%s", place->signature);
        return true;
    }
    if (now_s + TOKEN_LEFT_S < collector->token_until_s)
        return true;
    char resource[300];
    (void)snprintf(resource, sizeof resource, "https://%s/", place->host);
    if (sonde__servicebus_sign(resource, place->key_name, place->key, now_s + TOKEN_LIFE_S, collector->token,
                               sizeof collector->token)) {
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_AUTH, "no token can be made of so long a name of the key");
        return false;
    }
    collector->token_until_s = now_s + TOKEN_LIFE_S;
    return true;
}

static void start(void *user) {
    struct servicebus_collector *collector = user;
    collector->stage = QUEUES;
    collector->skip = 0;
    collector->full = false;
    collector->queues = collector->subscriptions = 0;
    collector->topic_count = collector->topic = 0;
    if (token_make(collector))
        page_next(collector);
}

static void abort_all(void *user) {
    struct servicebus_collector *collector = user;
    if (collector->exchange)
        collector->env.http.cancel(collector->env.http.self, collector->exchange);
    collector->exchange = NULL;
}

/* --- life --- */

static int bad(char *text, size_t size, const char *problem) {
    (void)snprintf(text, size, "%s", problem);
    return SONDE_EINVALID;
}

static bool copy(const char *from, char *to, size_t size) {
    return strlen(from) < size && sonde__http_is_line(from) && snprintf(to, size, "%s", from) > 0;
}

static int place_find(struct servicebus_collector *collector, char *text, size_t size) {
    const struct servicebus_config *config = collector->config;
    struct sonde__servicebus_place *place = &collector->place;
    if (*config->connection_string && (*config->namespace_host || *config->key_name || *config->key))
        return bad(text, size, "connection_string: not together with namespace, key_name and key");
    if (*config->connection_string) {
        if (sonde__servicebus_place_read(config->connection_string, place))
            return bad(text, size,
                       "connection_string: wants Endpoint=sb://HOST/;SharedAccessKeyName=NAME;SharedAccessKey=KEY");
    } else if (!copy(config->namespace_host, place->host, sizeof place->host) ||
               !copy(config->key_name, place->key_name, sizeof place->key_name) ||
               !copy(config->key, place->key, sizeof place->key)) {
        return bad(text, size, "namespace: give it with key_name and key, or a connection_string");
    }
    if (!*config->cert_file != !*config->key_file)
        return bad(text, size, "tls.cert_file: it and tls.key_file go together");
    char url[300];
    (void)snprintf(url, sizeof url, "https://%s", place->host);
    if (sonde__endpoint_parse(*config->endpoint ? config->endpoint : url, &collector->endpoint))
        return bad(text, size,
                   *config->endpoint ? "endpoint: use https://HOST:PORT or http://HOST:PORT"
                                     : "namespace: use a host, \"shop.servicebus.windows.net\"");
    return 0;
}

static void servicebus_destroy(void *self) {
    struct servicebus_collector *collector = self;
    if (!collector)
        return;
    abort_all(collector);
    sonde__poll_destroy(collector->poll);
    sonde__filter_deinit(&collector->filter, &collector->env.seams->alloc);
    sonde_alloc_free(&collector->env.seams->alloc, collector->topics);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static int parts_create(struct servicebus_collector *collector, char *error_text, size_t error_text_size) {
    static char authorization[] = "Authorization";
    const struct servicebus_config *config = collector->config;
    const struct sonde_alloc *alloc = &collector->env.seams->alloc;
    int error = place_find(collector, error_text, error_text_size);
    if (!error)
        error = sonde__filter_init(&collector->filter, alloc, &config->include, &config->exclude, error_text,
                                   error_text_size);
    if (error)
        return error;
    collector->topics = sonde_alloc_new(alloc, (size_t)config->topics_max * sizeof *collector->topics);
    if (!collector->topics)
        return -ENOMEM;
    collector->header_keys[0] = authorization;
    collector->header_values[0] = collector->token;
    collector->headers = (struct sonde_string_map){collector->header_keys, collector->header_values, 1};
    collector->tls = (struct sonde_tls_options){.ca_file = config->ca_file,
                                                .cert_file = config->cert_file,
                                                .key_file = config->key_file,
                                                .insecure_skip_verify = config->insecure_skip_verify};
    const struct sonde__poll_config poll = {
        .env = &collector->env,
        .system = "servicebus",
        .address = collector->place.host,
        .common = {sonde_attribute_string(SONDE_KEY("server.address"), collector->place.host),
                   sonde_attribute_int64(SONDE_KEY("server.port"), collector->endpoint.port)},
        .common_count = 2,
        .interval_ns = config->interval_ns,
        .timeout_ns = config->timeout_ns,
        .start = start,
        .abort = abort_all,
        .user = collector,
    };
    return sonde__poll_create(&poll, &collector->poll);
}

static int servicebus_create(const void *config, const struct sonde_collector_env *env, void **ret_self,
                             char *error_text, size_t error_text_size) {
    struct servicebus_collector *collector = sonde_alloc_new(&env->seams->alloc, sizeof *collector);
    if (!collector)
        return -ENOMEM;
    memset(collector, 0, sizeof *collector);
    collector->config = config;
    collector->env = *env;
    int error = parts_create(collector, error_text, error_text_size);
    if (error) {
        servicebus_destroy(collector);
        return error;
    }
    *ret_self = collector;
    return 0;
}

static void servicebus_status(void *self, struct sonde_collector_status *ret_status) {
    sonde__poll_status(((struct servicebus_collector *)self)->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_servicebus = {
    .name = "servicebus",
    .summary = "Azure Service Bus: messages that wait in queues and subscriptions, scheduled and dead-lettered",
    .config_size = sizeof(struct servicebus_config),
    .options = servicebus_options,
    .create = servicebus_create,
    .status = servicebus_status,
    .destroy = servicebus_destroy,
};
