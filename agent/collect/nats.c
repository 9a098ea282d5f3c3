/* SPDX-License-Identifier: Apache-2.0 */
/* NATS JetStream, by the monitoring port of its servers. One poll: all servers say who they are (/varz), then each that
 * answered what its streams and consumers are like (/jsz, a page of accounts at a time). Only a leader's numbers are
 * true: followers' may be hours old. So a stream or consumer is taken from the server that leads it and from no other;
 * what no listed server leads is unknown, and told. A server that does not answer costs what it leads; the poll fails
 * when none answers. */
#include "agent/collect/filter.h"
#include "agent/collect/nats_history.h"
#include "agent/collect/nats_jsz.h"
#include "agent/collect/poll.h"
#include "agent/collect/rest.h"
#include "agent/log.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SERVERS_MAX    32u
#define TROUBLE_LEADER "leader_unknown"
#define NS_PER_S       1e9

struct nats_config {
    struct sonde_string_list servers, include, exclude;
    char *username, *password, *bearer_token;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
    uint64_t interval_ns, timeout_ns, stall_after_ns, response_size_max;
    int64_t accounts_per_page, streams_max, consumers_max;
};

#define ROW(key_, type_, field_, min_, max_, default_, sentence_)                                                      \
    {                                                                                                                  \
        .key = key_, .type = SONDE_OPTION_##type_, .offset = offsetof(struct nats_config, field_), .min = min_,        \
        .max = max_, .default_text = default_, .sentence = sentence_                                                   \
    }
#define SECRET(key_, field_, sentence_)                                                                                \
    {                                                                                                                  \
        .key = key_, .type = SONDE_OPTION_STRING, .offset = offsetof(struct nats_config, field_), .default_text = "",  \
        .secret = true, .sentence = sentence_                                                                          \
    }
static const struct sonde_option nats_options[] = {
    ROW("servers", STRING_LIST, servers, 0, 0, "http://127.0.0.1:8222",
        "Monitoring ports of one cluster's servers, at most 32: HOST, HOST:PORT or a URL."),
    ROW("username", STRING, username, 0, 0, "", "User for Authorization: Basic; empty sends none."),
    SECRET("password", password, "Password of username."),
    SECRET("bearer_token", bearer_token, "Token for Authorization: Bearer; empty sends none."),
    ROW("interval", DURATION, interval_ns, 1e2, 3.6e6, "15s", "Time between the starts of two polls."),
    ROW("timeout", DURATION, timeout_ns, 50, 6e5, "5s", "Time one poll may take, connecting included."),
    ROW("include", STRING_LIST, include, 0, 0, "",
        "Streams to look at: POSIX extended regular expressions of whole names; empty = all."),
    ROW("exclude", STRING_LIST, exclude, 0, 0, "", "Streams to leave out, of those included."),
    ROW("stall_after", DURATION, stall_after_ns, 1e3, 8.64e7, "5m",
        "Time without progress after which a consumer that has something to do stalls or has stopped."),
    ROW("accounts_per_page", INT, accounts_per_page, 1, 1024, "256", "Accounts asked for at once."),
    ROW("streams_max", INT, streams_max, 1, 65536, "1024", "Streams watched at most; more are left out and told."),
    ROW("consumers_max", INT, consumers_max, 1, 1000000, "10000",
        "Consumers watched at most; more are left out and told."),
    ROW("response_size_max", SIZE, response_size_max, 65536, 1 << 29, "32MiB", "Bytes of one answer of a server."),
    ROW("tls.ca_file", STRING, ca_file, 0, 0, "",
        "PEM file of the authorities that may vouch for a server; empty means the system's."),
    ROW("tls.cert_file", STRING, cert_file, 0, 0, "", "PEM file of our own certificate, where a server asks for one."),
    ROW("tls.key_file", STRING, key_file, 0, 0, "", "PEM file of the key of tls.cert_file."),
    ROW("tls.insecure_skip_verify", BOOL, insecure_skip_verify, 0, 0, "false",
        "Whether a server's certificate goes unchecked; for trials only."),
    SONDE_OPTION_END,
};

struct server {
    struct nats_collector *collector;
    struct sonde__rest rest;
    struct sonde__endpoint endpoint;
    struct sonde__nats_identity identity; /* "" = it did not answer in this poll */
    bool due;                             /* an answer is on its way */
    uint64_t offset, unix_ns;
};

struct nats_collector {
    const struct nats_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde__filter filter;
    struct sonde__nats_history history;
    struct sonde_tls_options tls;
    char cluster_name[SONDE__NATS_NAME_SIZE_MAX];
    size_t server_count;
    int64_t streams, consumers; /* in this poll */
    bool leader_told;
    bool answered, enabled; /* a server did; JetStream is switched on at one */
    const char *trouble;    /* of a server, in this poll; NULL = none */
    char trouble_text[400];
    struct server servers[];
};

/* --- what a page says --- */

/** What one visit of a page is about. */
struct look {
    struct nats_collector *collector;
    const struct server *server;
    const struct sonde__nats_past *past; /* of the stream; NULL = not known */
    bool leads;                          /* the stream */
};

static bool is_text(struct sonde_string text, const char *other) {
    return text.size == strlen(other) && memcmp(text.data, other, text.size) == 0;
}

/** Whether this server's numbers are true; tells when no listed server's are. */
static bool leads(const struct look *look, struct sonde_string leader) {
    struct nats_collector *collector = look->collector;
    if (!leader.data || is_text(leader, look->server->identity.server_name))
        return true;
    for (size_t i = 0; i < collector->server_count; i++)
        if (leader.size && is_text(leader, collector->servers[i].identity.server_name))
            return false;
    if (!collector->leader_told)
        sonde__poll_note(collector->poll, TROUBLE_LEADER,
                         leader.size ? "a stream or consumer is led by a server that is not listed or does not answer"
                                     : "a stream or consumer has no leader");
    collector->leader_told = true;
    return false;
}

static void put(const struct look *look, enum sonde__messaging_metric metric, struct sonde__messaging_of of,
                uint64_t value) {
    if (value != SONDE__NATS_UNKNOWN)
        sonde__poll_set(look->collector->poll, metric, &of, (double)value);
}
static void put_seconds(const struct look *look, enum sonde__messaging_metric metric, struct sonde__messaging_of of,
                        uint64_t since_unix_ns) {
    uint64_t now = look->server->unix_ns;
    if (since_unix_ns && now)
        sonde__poll_set(look->collector->poll, metric, &of,
                        now > since_unix_ns ? (double)(now - since_unix_ns) / NS_PER_S : 0);
}
static struct sonde__messaging_of in_state(struct sonde__messaging_of of, const char *state) {
    of.state = state;
    return of;
}
static struct sonde__messaging_of of_kind(struct sonde__messaging_of of, const char *kind) {
    of.kind = kind;
    return of;
}

static void stream_put(const struct look *look, const struct sonde__nats_stream *stream,
                       struct sonde__messaging_of of) {
    put(look, SONDE__MESSAGING_QUEUE_MESSAGE, in_state(of, "retained"), stream->messages);
    put(look, SONDE__MESSAGING_QUEUE_SIZE, of, stream->bytes);
    put(look, SONDE__MESSAGING_PUBLISHED, of, stream->last_seq);
    put(look, SONDE__MESSAGING_PARTITION_OFFSET, of_kind(of, "earliest"), stream->first_seq);
    put(look, SONDE__MESSAGING_PARTITION_OFFSET, of_kind(of, "end"), stream->last_seq);
    if (stream->messages == 0)
        put(look, SONDE__MESSAGING_OLDEST_AGE, in_state(of, "retained"), 0);
    else if (stream->messages != SONDE__NATS_UNKNOWN)
        put_seconds(look, SONDE__MESSAGING_OLDEST_AGE, in_state(of, "retained"), stream->first_unix_ns);
}

static struct sonde_attribute account_of(const struct sonde__nats_stream *stream) {
    return sonde_attribute_string_n(SONDE_KEY("messaging.nats.account"), stream->account.data, stream->account.size);
}

static bool on_stream(void *user, const struct sonde__nats_stream *stream) {
    struct look *look = user;
    struct nats_collector *collector = look->collector;
    char name[SONDE__NATS_NAME_SIZE_MAX];
    (void)snprintf(name, sizeof name, "%.*s", (int)stream->name.size, stream->name.data);
    if (!sonde__filter_passes(&collector->filter, name))
        return false;
    look->past = NULL;
    look->leads = leads(look, stream->leader);
    if (look->leads && collector->streams++ >= collector->config->streams_max) {
        sonde__poll_truncated(collector->poll);
        return false;
    }
    if (!look->leads)
        return true; /* consumers have leaders of their own */
    const struct sonde_attribute account = account_of(stream);
    stream_put(look, stream,
               (struct sonde__messaging_of){
                   .destination = stream->name, .more = &account, .more_count = stream->account.size ? 1 : 0});
    return true;
}

/** Takes the stream's sequences into its past: from whoever tells about its consumers, for only the last sequence and
 * its time are looked at, which a follower of a stream has as soon as it has the message. */
static void past_take(struct look *look, const struct sonde__nats_stream *stream) {
    if (look->past || stream->last_seq == SONDE__NATS_UNKNOWN || !stream->last_unix_ns || !look->server->unix_ns)
        return;
    look->past = sonde__nats_history_take(&look->collector->history, stream->account, stream->name, stream->last_seq,
                                          stream->last_unix_ns, look->server->unix_ns);
}

/** How long ago what the consumer gets next was written. With a filter the next one of it is not known. */
static void lag_time_put(struct look *look, const struct sonde__nats_stream *stream,
                         const struct sonde__nats_consumer *consumer, struct sonde__messaging_of of) {
    if (consumer->pending == 0) {
        put(look, SONDE__MESSAGING_OLDEST_AGE, in_state(of, "ready"), 0);
        of.estimate = "exact";
        put(look, SONDE__MESSAGING_LAG_TIME, of, 0);
        return;
    }
    past_take(look, stream);
    if (consumer->pending == SONDE__NATS_UNKNOWN || consumer->delivered_seq == SONDE__NATS_UNKNOWN ||
        !consumer->config_known || consumer->filtered || stream->first_seq == SONDE__NATS_UNKNOWN)
        return;
    uint64_t next = consumer->delivered_seq + 1, written = 0;
    if (next <= stream->first_seq) {
        of.estimate = "exact";
        written = stream->first_unix_ns;
    } else if (look->past && next <= stream->last_seq) {
        written = sonde__nats_written_unix_ns(look->past, next, &of.estimate);
    }
    put_seconds(look, SONDE__MESSAGING_LAG_TIME, of, written);
    if (!written || strcmp(of.estimate, "exact") != 0)
        return;
    of.estimate = NULL;
    put_seconds(look, SONDE__MESSAGING_OLDEST_AGE, in_state(of, "ready"), written);
}

/** How a consumer advances: by when it was last given, or acknowledged, something. */
static void progress_put(const struct look *look, const struct sonde__nats_consumer *consumer,
                         struct sonde__messaging_of of) {
    static const char *const states[] = {"ok", "stall", "stop"};
    uint64_t last = consumer->created_unix_ns, now = look->server->unix_ns;
    if (consumer->delivered_unix_ns > last)
        last = consumer->delivered_unix_ns;
    if (consumer->acked_unix_ns > last)
        last = consumer->acked_unix_ns;
    if (consumer->delivered_unix_ns || consumer->acked_unix_ns)
        put_seconds(look, SONDE__MESSAGING_SINCE_PROGRESS, of, last);
    if (consumer->pending == SONDE__NATS_UNKNOWN || consumer->ack_pending == SONDE__NATS_UNKNOWN || !last || !now)
        return;
    bool idle = consumer->pending == 0 && consumer->ack_pending == 0;
    bool late = !idle && !consumer->paused && now > last && now - last > look->collector->config->stall_after_ns;
    bool read = consumer->push ? consumer->push_bound : consumer->waiting != 0;
    size_t state = !late ? 0 : read ? 1 : 2;
    for (size_t i = 0; i < 3; i++)
        put(look, SONDE__MESSAGING_PROGRESS, in_state(of, states[i]), i == state);
}

static void on_consumer(void *user, const struct sonde__nats_stream *stream,
                        const struct sonde__nats_consumer *consumer) {
    struct look *look = user;
    struct nats_collector *collector = look->collector;
    if (!leads(look, consumer->leader))
        return;
    if (collector->consumers++ >= collector->config->consumers_max) {
        sonde__poll_truncated(collector->poll);
        return;
    }
    const struct sonde_attribute account = account_of(stream);
    const struct sonde__messaging_of of = {.destination = stream->name,
                                           .group = consumer->name,
                                           .more = &account,
                                           .more_count = stream->account.size ? 1 : 0};
    put(look, SONDE__MESSAGING_LAG, of, consumer->pending);
    put(look, SONDE__MESSAGING_QUEUE_MESSAGE, in_state(of, "ready"), consumer->pending);
    put(look, SONDE__MESSAGING_QUEUE_MESSAGE, in_state(of, "unacked"), consumer->ack_pending);
    put(look, SONDE__MESSAGING_REDELIVERING, of, consumer->redelivered);
    put(look, SONDE__MESSAGING_DELIVERED, of, consumer->delivered);
    put(look, SONDE__MESSAGING_CONSUMER_OFFSET, of, consumer->acked_seq);
    if (consumer->config_known)
        put(look, SONDE__MESSAGING_CONSUMERS, of, consumer->push ? consumer->push_bound : consumer->waiting);
    put(look, SONDE__MESSAGING_GROUP_STATE, in_state(of, "active"), !consumer->paused);
    put(look, SONDE__MESSAGING_GROUP_STATE, in_state(of, "paused"), consumer->paused);
    lag_time_put(look, stream, consumer, of);
    progress_put(look, consumer, of);
}

/* --- one poll --- */

static void server_failed(struct server *server, const char *type, const char *text) {
    struct nats_collector *collector = server->collector;
    collector->trouble = type;
    (void)snprintf(collector->trouble_text, sizeof collector->trouble_text, "%.150s: %.200s", server->endpoint.url,
                   text);
    server->identity.server_name[0] = '\0'; /* what it leads is unknown */
    if (collector->server_count > 1)
        sonde__poll_note(collector->poll, type, collector->trouble_text);
}

static bool any_due(const struct nats_collector *collector) {
    for (size_t i = 0; i < collector->server_count; i++)
        if (collector->servers[i].due)
            return true;
    return false;
}

static void finish_if_all_is_in(struct nats_collector *collector) {
    if (any_due(collector))
        return;
    if (!collector->answered)
        sonde__poll_fail(collector->poll, collector->trouble ? collector->trouble : SONDE__TROUBLE_PROTOCOL,
                         collector->trouble_text);
    else if (!collector->enabled)
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_NOT_FOUND, "JetStream is not enabled");
    else
        sonde__poll_done(collector->poll);
}

static void ask(struct server *server, const char *path,
                void (*done)(void *user, const struct sonde_http_response *response)) {
    int error = sonde__rest_get(&server->rest, server->endpoint.url, path, done, server);
    server->due = !error;
    if (error)
        server_failed(server, error == -ETIMEDOUT ? SONDE__TROUBLE_TIMEOUT : SONDE__TROUBLE_MEMORY,
                      sonde_strerror(error));
}

/** Whether an answer is good; else its server has failed. */
static bool good(struct server *server, const struct sonde_http_response *response) {
    char text[256];
    const char *type = sonde__poll_http_trouble(response, text, sizeof text);
    server->due = false;
    if (type)
        server_failed(server, type, text);
    return !type;
}

static void page_ask(struct server *server);

static void on_page(void *user, const struct sonde_http_response *response) {
    struct server *server = user;
    struct nats_collector *collector = server->collector;
    struct look look = {.collector = collector, .server = server};
    const struct sonde__nats_visitor visitor = {on_stream, on_consumer, &look};
    struct sonde__nats_page page;
    if (good(server, response)) {
        server->unix_ns = sonde__poll_now_unix_ns(collector->poll);
        if (sonde__nats_jsz_read(response->body, response->body_size, &visitor, &page)) {
            server_failed(server, SONDE__TROUBLE_PROTOCOL, "/jsz is not as documented");
        } else {
            collector->answered = true;
            collector->enabled |= !page.disabled;
            server->offset += page.accounts;
            if (page.accounts == (size_t)collector->config->accounts_per_page)
                page_ask(server);
        }
    }
    finish_if_all_is_in(collector);
}

static void page_ask(struct server *server) {
    char path[128];
    (void)snprintf(path, sizeof path, "/jsz?consumers=true&config=true&limit=%" PRId64 "&offset=%" PRIu64,
                   server->collector->config->accounts_per_page, server->offset);
    ask(server, path, on_page);
}

static void cluster_identify(struct nats_collector *collector, const char *name) {
    if (!*name || collector->cluster_name[0])
        return;
    (void)snprintf(collector->cluster_name, sizeof collector->cluster_name, "%s", name);
    sonde__poll_identify(collector->poll,
                         sonde_attribute_string(SONDE_KEY("messaging.nats.cluster.name"), collector->cluster_name));
}

/** Who leads can be told when all are known: only then the pages. */
static void on_identity(void *user, const struct sonde_http_response *response) {
    struct server *server = user;
    struct nats_collector *collector = server->collector;
    if (good(server, response)) {
        if (sonde__nats_varz_read(response->body, response->body_size, &server->identity))
            server_failed(server, SONDE__TROUBLE_PROTOCOL, "/varz is not as documented");
        else
            cluster_identify(collector, server->identity.cluster_name);
    }
    if (any_due(collector))
        return;
    for (size_t i = 0; i < collector->server_count; i++)
        if (collector->servers[i].identity.server_name[0])
            page_ask(&collector->servers[i]);
    finish_if_all_is_in(collector);
}

static void poll_start(void *user) {
    struct nats_collector *collector = user;
    /* Before the poll's own deadline: one that is silent must not cost what the others say. */
    uint64_t deadline_ns = sonde__poll_now_ns(collector->poll) + collector->config->timeout_ns / 8 * 7;
    sonde__nats_history_begin(&collector->history);
    collector->streams = collector->consumers = 0;
    collector->leader_told = collector->answered = collector->enabled = false;
    collector->trouble = NULL;
    collector->trouble_text[0] = '\0';
    for (size_t i = 0; i < collector->server_count; i++) {
        struct server *server = &collector->servers[i];
        server->identity = (struct sonde__nats_identity){.server_name = ""};
        server->rest.deadline_ns = deadline_ns;
        server->offset = 0;
        ask(server, "/varz", on_identity);
    }
    finish_if_all_is_in(collector);
}

static void poll_abort(void *user) {
    struct nats_collector *collector = user;
    for (size_t i = 0; i < collector->server_count; i++) {
        sonde__rest_stop(&collector->servers[i].rest);
        collector->servers[i].due = false;
    }
}

/* --- life --- */

static void nats_destroy(void *self) {
    struct nats_collector *collector = self;
    if (!collector)
        return;
    for (size_t i = 0; i < collector->server_count; i++)
        sonde__rest_deinit(&collector->servers[i].rest);
    sonde__poll_destroy(collector->poll);
    sonde__filter_deinit(&collector->filter, &collector->env.seams->alloc);
    sonde__nats_history_deinit(&collector->history);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static int fail(char *text, size_t size, const char *what) {
    (void)snprintf(text, size, "%s", what);
    return SONDE_EINVALID;
}

static int check(const struct nats_config *config, char *text, size_t size) {
    if (config->servers.count == 0 || config->servers.count > SERVERS_MAX)
        return fail(text, size, "servers: between 1 and 32 are wanted");
    if (*config->bearer_token && *config->username)
        return fail(text, size, "bearer_token: not together with username");
    if (!*config->cert_file != !*config->key_file)
        return fail(text, size, "tls: cert_file and key_file go together");
    return 0;
}

static int servers_init(struct nats_collector *collector, char *text, size_t size) {
    const struct nats_config *config = collector->config;
    for (size_t i = 0; i < config->servers.count; i++) {
        struct server *server = &collector->servers[collector->server_count++];
        server->collector = collector;
        server->rest.http = collector->env.http;
        server->rest.time = &collector->env.seams->time;
        server->rest.tls = &collector->tls;
        server->rest.response_size_max = config->response_size_max;
        if (sonde__rest_endpoint_parse(config->servers.items[i], false, 8222, &server->endpoint)) {
            (void)snprintf(text, size, "servers: \"%.100s\" is neither HOST, HOST:PORT nor a URL",
                           config->servers.items[i]);
            return SONDE_EINVALID;
        }
        int error = sonde__rest_authorize(&server->rest, "application/json", config->username, config->password,
                                          config->bearer_token);
        if (error)
            return fail(text, size, "username, password, bearer_token: one line of at most 4096 bytes");
    }
    return 0;
}

static int parts_create(struct nats_collector *collector, char *text, size_t size) {
    const struct nats_config *config = collector->config;
    const struct sonde_alloc *alloc = &collector->env.seams->alloc;
    int error = sonde__nats_history_init(&collector->history, alloc, (size_t)config->streams_max);
    if (!error)
        error = servers_init(collector, text, size);
    if (!error)
        error = sonde__filter_init(&collector->filter, alloc, &config->include, &config->exclude, text, size);
    if (error)
        return error;
    const struct sonde__endpoint *first = &collector->servers[0].endpoint;
    const struct sonde__poll_config poll = {
        .env = &collector->env,
        .system = "nats",
        .address = first->url,
        .common = {sonde_attribute_string(SONDE_KEY("server.address"), first->host),
                   sonde_attribute_int64(SONDE_KEY("server.port"), first->port)},
        .common_count = 2,
        .interval_ns = config->interval_ns,
        .timeout_ns = config->timeout_ns,
        .start = poll_start,
        .abort = poll_abort,
        .user = collector,
    };
    return sonde__poll_create(&poll, &collector->poll);
}

static int nats_create(const void *config_data, const struct sonde_collector_env *env, void **ret_self,
                       char *error_text, size_t error_text_size) {
    const struct nats_config *config = config_data;
    int error = check(config, error_text, error_text_size);
    if (error)
        return error;
    size_t size = sizeof(struct nats_collector) + config->servers.count * sizeof(struct server);
    struct nats_collector *collector = sonde_alloc_new(&env->seams->alloc, size);
    if (!collector)
        return -ENOMEM;
    memset(collector, 0, size);
    collector->config = config;
    collector->env = *env;
    collector->tls =
        (struct sonde_tls_options){config->ca_file, config->cert_file, config->key_file, config->insecure_skip_verify};
    error = parts_create(collector, error_text, error_text_size);
    if (error) {
        nats_destroy(collector);
        return error;
    }
    if (config->insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "certificates of servers are not checked", "collector=%s",
                        sonde_agent_log_quote(env->name));
    *ret_self = collector;
    return 0;
}

static void nats_status(void *self, struct sonde_collector_status *ret_status) {
    const struct nats_collector *collector = self;
    sonde__poll_status(collector->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_nats = {
    .name = "nats",
    .summary = "NATS JetStream: lag, pending and progress of consumers",
    .config_size = sizeof(struct nats_config),
    .options = nats_options,
    .create = nats_create,
    .status = nats_status,
    .destroy = nats_destroy,
};
