/* SPDX-License-Identifier: Apache-2.0 */
/* Redis Streams: how far consumer groups are behind. One poll per interval: connect if need be, go on with SCAN, ask
 * about the streams, set the series. Connections are kept between polls. In a cluster the poll begins with CLUSTER SLOTS,
 * and then each primary is asked for what it has: a node that fails costs its streams, and the poll when all fail. */
#include "agent/collect/poll.h"
#include "agent/collect/redis_catalog.h"
#include "agent/collect/redis_cluster.h"
#include "agent/collect/redis_survey.h"
#include "agent/log.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SCAN_STEP          512  /* keys that the server looks at per SCAN, which it does not interrupt */
#define MOVED_MAX          64   /* streams of one poll that are not where CLUSTER SLOTS said */
#define NODES_MAX          128u /* of a cluster; more are left out and told */
#define SKIP_ENTRIES_LOOKS 20   /* polls without reading entries after one was too big to read */

struct redis_config {
    char *address, *username, *password;
    int64_t database;
    uint64_t interval_ns, timeout_ns;
    struct sonde_string_list streams;
    char *match;
    int64_t scan_keys_max, streams_max, groups_max, count_max;
    uint64_t reply_size_max;
    bool cluster, tls, insecure_skip_verify;
    char *ca_file, *cert_file, *key_file;
};

#define ROW(key_, type_, field_, min_, max_, default_, sentence_)                                                      \
    {                                                                                                                  \
        .key = key_, .type = SONDE_OPTION_##type_, .offset = offsetof(struct redis_config, field_), .min = min_,       \
        .max = max_, .default_text = default_, .sentence = sentence_                                                   \
    }
static const struct sonde_option redis_options[] = {
    ROW("address", STRING, address, 0, 0, "127.0.0.1:6379", "Server: host, host:port, [ipv6]:port or unix:/path."),
    ROW("username", STRING, username, 0, 0, "", "User for AUTH; empty = the server's default user."),
    {.key = "password",
     .type = SONDE_OPTION_STRING,
     .offset = offsetof(struct redis_config, password),
     .default_text = "",
     .secret = true,
     .sentence = "Password for AUTH; empty = no AUTH."},
    ROW("database", INT, database, 0, 65535, "0", "Number of the database."),
    ROW("cluster", BOOL, cluster, 0, 0, "false",
        "Whether the server is one of a Redis Cluster: then every primary is asked; limits are of each."),
    ROW("interval", DURATION, interval_ns, 1e2, 3.6e6, "15s", "Time between the starts of two polls."),
    ROW("timeout", DURATION, timeout_ns, 50, 6e5, "5s", "Time one poll may take, connecting included."),
    ROW("streams", STRING_LIST, streams, 0, 0, "", "Keys of streams to watch."),
    ROW("match", STRING, match, 0, 0, "",
        "Pattern of keys to look for streams among, by SCAN; empty = all keys when no streams are named, else none."),
    ROW("scan_keys_max", INT, scan_keys_max, SCAN_STEP, 1e9, "10240",
        "Keys that SCAN looks at in one poll; the next goes on."),
    ROW("streams_max", INT, streams_max, 1, 65536, "256", "Streams watched at most; more are left out and told."),
    ROW("groups_max", INT, groups_max, 1, 65536, "1024",
        "Consumer groups watched at most; more are left out and told."),
    ROW("count_max", INT, count_max, 0, 10000, "100",
        "Entries counted at most where the server does not know a lag; 0 = do not count."),
    ROW("reply_size_max", SIZE, reply_size_max, 65536, 1 << 29, "8MiB", "Bytes of one reply of the server."),
    ROW("tls.enabled", BOOL, tls, 0, 0, "false", "Whether to speak TLS."),
    ROW("tls.ca_file", STRING, ca_file, 0, 0, "",
        "PEM file of the authorities that may vouch for the server; empty means the system's."),
    ROW("tls.cert_file", STRING, cert_file, 0, 0, "",
        "PEM file of our own certificate, where the server asks for one."),
    ROW("tls.key_file", STRING, key_file, 0, 0, "", "PEM file of the key of tls.cert_file."),
    ROW("tls.insecure_skip_verify", BOOL, insecure_skip_verify, 0, 0, "false",
        "Whether the server's certificate goes unchecked; for trials only."),
    SONDE_OPTION_END,
};

enum state { IDLE, OPENING, MAPPING, SCANNING, SURVEYING };

/** One server. */
struct redis_node {
    struct redis_collector *collector;
    struct sonde__redis_address address;
    struct sonde__redis_client *client;
    struct sonde__redis_catalog catalog;
    struct sonde__redis_survey survey;
    struct sonde__redis_catalog moved; /* streams that others sent us here for, in this poll; seen_round 2 = by ASK */
    enum state state;
    bool asks_slots; /* once it is open */
    bool wanted;     /* it has slots */
    bool only_moved; /* it has told the rest in this poll */
    int64_t scanned; /* keys, in this poll */
};

struct redis_collector {
    const struct redis_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde_tls_options tls;
    struct sonde__poll *poll;
    struct sonde__redis_address address;
    struct redis_node *nodes[NODES_MAX]; /* owned; the first is the server of the configuration */
    size_t node_count;
    uint8_t *owners; /* owned; by slot, in a cluster: index of the node + 1, 0 = nobody */
    size_t active, answered;
    const char *trouble; /* of the node that failed last */
    char trouble_text[200];
};

/* --- the end of a node's part, and of a poll --- */

static void nodes_stop(struct redis_collector *collector) {
    for (size_t i = 0; i < collector->node_count; i++) {
        collector->nodes[i]->state = IDLE;
        collector->nodes[i]->asks_slots = false;
        sonde__redis_survey_stop(&collector->nodes[i]->survey);
    }
}

static void poll_abort(void *user) {
    struct redis_collector *collector = user;
    nodes_stop(collector);
    for (size_t i = 0; i < collector->node_count; i++)
        sonde__redis_client_close(collector->nodes[i]->client);
}

static void finish_if_all_are_done(struct redis_collector *collector) {
    if (collector->active || !sonde__poll_is_active(collector->poll))
        return;
    if (collector->answered)
        sonde__poll_done(collector->poll);
    else
        sonde__poll_fail(collector->poll, collector->trouble ? collector->trouble : SONDE__TROUBLE_PROTOCOL,
                         collector->trouble ? collector->trouble_text : "no node has slots");
}

static bool slots_ask_next(struct redis_collector *collector, const struct redis_node *failed);

static void node_fail(struct redis_node *node, const char *trouble, const char *text) {
    struct redis_collector *collector = node->collector;
    bool mapping = node->asks_slots;
    if (strcmp(trouble, SONDE__TROUBLE_TOO_BIG) == 0)
        node->survey.skip_entries = SKIP_ENTRIES_LOOKS;
    if (!collector->config->cluster) {
        sonde__poll_fail(collector->poll, trouble, text);
        return;
    }
    if (node->state == IDLE)
        return;
    node->state = IDLE;
    node->asks_slots = false;
    collector->active--;
    collector->trouble = trouble;
    (void)snprintf(collector->trouble_text, sizeof collector->trouble_text, "%.80s:%u: %.100s", node->address.host,
                   node->address.port, text);
    sonde__redis_survey_stop(&node->survey);
    sonde__redis_client_close(node->client);
    sonde__poll_note(collector->poll, trouble, collector->trouble_text);
    if (!mapping || !slots_ask_next(collector, node))
        finish_if_all_are_done(collector);
}

static void node_done(void *user) {
    struct redis_node *node = user;
    struct redis_collector *collector = node->collector;
    node->state = IDLE;
    sonde__redis_survey_stop(&node->survey);
    if (node->catalog.full || node->moved.full)
        sonde__poll_truncated(collector->poll);
    collector->answered++;
    collector->active--;
    finish_if_all_are_done(collector);
}

static void on_trouble(void *user, const char *trouble, const char *text, bool fatal) {
    struct redis_node *node = user;
    if (fatal)
        node_fail(node, trouble, text);
    else
        sonde__poll_note(node->collector->poll, trouble, text);
}

/* --- asking about streams --- */

/** Whether a stream that the configuration names is this node's. */
static bool is_ours(const struct redis_node *node, const char *name) {
    const struct redis_collector *collector = node->collector;
    unsigned owner = collector->owners[sonde__redis_slot(name, strlen(name))];
    return owner && collector->nodes[owner - 1] == node;
}

static void moved_survey(struct redis_node *node) {
    for (size_t i = 0; i < node->moved.count && node->survey.active; i++) {
        const struct sonde__redis_stream *stream = &node->moved.streams[i];
        if (stream->fixed)
            sonde__redis_survey_moved(&node->survey, stream->name, stream->size, stream->seen_round == 2);
        node->moved.streams[i].fixed = false; /* asked for */
    }
}

static void survey_all(struct redis_node *node) {
    const struct redis_config *config = node->collector->config;
    node->state = SURVEYING;
    sonde__redis_survey_start(&node->survey);
    for (size_t i = 0; !node->only_moved && i < node->catalog.count && node->survey.active; i++) {
        const struct sonde__redis_stream *stream = &node->catalog.streams[i];
        sonde__redis_survey_stream(&node->survey, stream->name, stream->size, !stream->fixed);
    }
    bool named = config->cluster && !node->only_moved;
    for (size_t i = 0; named && i < config->streams.count && node->survey.active; i++)
        if (is_ours(node, config->streams.items[i]))
            sonde__redis_survey_stream(&node->survey, config->streams.items[i], strlen(config->streams.items[i]),
                                       false);
    moved_survey(node);
    if (node->survey.active && !sonde__redis_survey_sent(&node->survey))
        node_fail(node, SONDE__TROUBLE_MEMORY, "out of memory");
}

/** The pattern to SCAN for, or NULL. */
static const char *scan_pattern(const struct redis_config *config) {
    if (config->match && *config->match)
        return config->match;
    return config->streams.count ? NULL : "*";
}

static void scan_next(struct redis_node *node);

static void on_scan(void *user, const redisReply *reply) {
    struct redis_node *node = user;
    if (!reply || node->state != SCANNING)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        node_fail(node, sonde__redis_reply_trouble(reply), reply->str);
        return;
    }
    int result = sonde__redis_catalog_scanned(&node->catalog, reply);
    if (result < 0)
        node_fail(node, result == -ENOMEM ? SONDE__TROUBLE_MEMORY : SONDE__TROUBLE_PROTOCOL,
                  "SCAN is not as documented");
    else if (result == 1 || node->scanned >= node->collector->config->scan_keys_max)
        survey_all(node);
    else
        scan_next(node);
}

static void scan_next(struct redis_node *node) {
    char count[16];
    (void)snprintf(count, sizeof count, "%d", SCAN_STEP);
    const char *argv[] = {
        "SCAN", node->catalog.cursor, "MATCH", scan_pattern(node->collector->config), "COUNT", count, "TYPE", "stream"};
    node->state = SCANNING;
    node->scanned += SCAN_STEP;
    if (sonde__redis_client_send(node->client, on_scan, node, 8, argv, NULL))
        node_fail(node, SONDE__TROUBLE_MEMORY, "out of memory");
}

static void node_look(struct redis_node *node) {
    node->scanned = 0;
    if (scan_pattern(node->collector->config) && !node->only_moved)
        scan_next(node);
    else
        survey_all(node);
}

static void node_start(struct redis_node *node) {
    node->collector->active++;
    node->state = OPENING;
    if (!sonde__redis_client_is_ready(node->client))
        sonde__redis_client_open(node->client);
    else if (!node->asks_slots)
        node_look(node);
}

/* --- nodes of a cluster --- */

static int node_add(struct redis_collector *collector, const struct sonde__redis_address *address);

static bool same_address(const struct sonde__redis_address *a, const struct sonde__redis_address *b) {
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/** Finds or makes it; NULL = too many, or no memory. */
static struct redis_node *node_at(struct redis_collector *collector, const struct sonde__redis_address *address,
                                  size_t *ret_index) {
    size_t i = 0;
    while (i < collector->node_count && !same_address(&collector->nodes[i]->address, address))
        i++;
    if (i == collector->node_count && node_add(collector, address)) {
        sonde__poll_truncated(collector->poll);
        return NULL;
    }
    *ret_index = i;
    return collector->nodes[i];
}

static void on_range(void *user, unsigned first, unsigned last, const struct sonde__redis_address *primary) {
    struct redis_collector *collector = user;
    size_t index;
    struct redis_node *node = node_at(collector, primary, &index);
    if (!node)
        return;
    node->wanted = true;
    memset(collector->owners + first, (int)index + 1, last - first + 1);
}

static void on_slots(void *user, const redisReply *reply) {
    struct redis_node *node = user;
    struct redis_collector *collector = node->collector;
    if (!reply || node->state != MAPPING)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        node_fail(node, sonde__redis_reply_trouble(reply), reply->str);
        return;
    }
    memset(collector->owners, 0, SONDE__REDIS_SLOTS);
    for (size_t i = 0; i < collector->node_count; i++)
        collector->nodes[i]->wanted = false;
    if (sonde__redis_slots_read(reply, &node->address, on_range, collector)) {
        node_fail(node, SONDE__TROUBLE_PROTOCOL, "CLUSTER SLOTS is not as documented");
        return;
    }
    node->asks_slots = false;
    node->state = IDLE;
    for (size_t i = 0; i < collector->node_count; i++)
        if (collector->nodes[i]->wanted)
            node_start(collector->nodes[i]);
    collector->active--; /* for having asked */
    finish_if_all_are_done(collector);
}

static void slots_ask(struct redis_node *node) {
    const char *argv[] = {"CLUSTER", "SLOTS"};
    node->state = MAPPING;
    if (sonde__redis_client_send(node->client, on_slots, node, 2, argv, NULL))
        node_fail(node, SONDE__TROUBLE_MEMORY, "out of memory");
}

static void slots_start(struct redis_node *node) {
    node->asks_slots = true;
    node_start(node);
    if (node->state == OPENING && sonde__redis_client_is_ready(node->client))
        slots_ask(node);
}

/** Any node can tell: the next one. Returns whether there is one. */
static bool slots_ask_next(struct redis_collector *collector, const struct redis_node *failed) {
    for (size_t i = 0; i + 1 < collector->node_count; i++)
        if (collector->nodes[i] == failed) {
            slots_start(collector->nodes[i + 1]);
            return true;
        }
    return false;
}

/** A stream is at another node than we thought. */
static void on_moved(void *user, const char *name, size_t size, const char *text) {
    struct redis_node *from = user, *node;
    struct redis_collector *collector = from->collector;
    struct sonde__redis_address address;
    size_t index;
    bool ask;
    if (!collector->config->cluster || !sonde__redis_redirect_read(text, &from->address, &address, &ask)) {
        sonde__poll_note(collector->poll, SONDE__REDIS_MOVED,
                         collector->config->cluster ? text : "the server is one of a cluster: set cluster: true");
        return;
    }
    node = node_at(collector, &address, &index);
    if (!node || sonde__redis_catalog_add(&node->moved, name, size, true))
        return;
    for (size_t i = 0; i < node->moved.count; i++)
        if (node->moved.streams[i].size == size && memcmp(node->moved.streams[i].name, name, size) == 0)
            node->moved.streams[i].seen_round = ask ? 2 : 1;
    if (node->state == SURVEYING)
        moved_survey(node);
    else if (node->state == IDLE) {
        node->only_moved = true;
        node_start(node);
    }
}

static void on_ready(void *user) {
    struct redis_node *node = user;
    if (node->state != OPENING)
        return;
    if (node->asks_slots)
        slots_ask(node);
    else
        node_look(node);
}

static void on_lost(void *user, const char *trouble, const char *text) {
    struct redis_node *node = user;
    if (node->state != IDLE) /* between polls: the next one connects */
        node_fail(node, trouble, text);
}

static void node_destroy(struct redis_node *node);

static void poll_start(void *user) {
    struct redis_collector *collector = user;
    size_t kept = 0;
    for (size_t i = 0; i < collector->node_count; i++) {
        struct redis_node *node = collector->nodes[i];
        sonde__redis_catalog_deinit(&node->moved);
        if (i && !node->wanted) {
            node_destroy(node);
            continue;
        }
        if (sonde__redis_catalog_init(&node->moved, &collector->env.seams->alloc, MOVED_MAX))
            node->moved.max = 0;
        node->only_moved = false;
        collector->nodes[kept++] = node;
    }
    collector->node_count = kept;
    collector->active = collector->answered = 0;
    collector->trouble = NULL;
    if (collector->config->cluster)
        slots_start(collector->nodes[0]);
    else
        node_start(collector->nodes[0]);
}

/* --- life --- */

static void node_destroy(struct redis_node *node) {
    node->state = IDLE;
    sonde__redis_survey_stop(&node->survey);
    sonde__redis_client_destroy(node->client);
    sonde__redis_catalog_deinit(&node->catalog);
    sonde__redis_catalog_deinit(&node->moved);
    sonde_alloc_free(&node->collector->env.seams->alloc, node);
}

static void redis_destroy(void *self) {
    struct redis_collector *collector = self;
    if (!collector)
        return;
    nodes_stop(collector);
    for (size_t i = 0; i < collector->node_count; i++)
        node_destroy(collector->nodes[i]);
    sonde__poll_destroy(collector->poll);
    sonde_alloc_free(&collector->env.seams->alloc, collector->owners);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static int node_parts_create(struct redis_node *node) {
    struct redis_collector *collector = node->collector;
    const struct redis_config *config = collector->config;
    const struct sonde_alloc *alloc = &collector->env.seams->alloc;
    struct sonde__redis_client_config client = {.loop = collector->env.loop,
                                                .address = &node->address,
                                                .username = config->username,
                                                .password = config->password,
                                                .database = (int)config->database,
                                                .reply_size_max = config->reply_size_max,
                                                .tls = config->tls ? &collector->tls : NULL,
                                                .ready = on_ready,
                                                .lost = on_lost,
                                                .user = node};
    int error = sonde__redis_client_create(&client, &node->client);
    if (!error)
        error = sonde__redis_catalog_init(&node->catalog, alloc, (size_t)config->streams_max);
    if (!error)
        error = sonde__redis_catalog_init(&node->moved, alloc, MOVED_MAX);
    node->survey = (struct sonde__redis_survey){.client = node->client,
                                                .alloc = alloc,
                                                .poll = collector->poll,
                                                .count_max = config->count_max,
                                                .groups_max = (uint32_t)config->groups_max,
                                                .done = node_done,
                                                .trouble = on_trouble,
                                                .moved = on_moved,
                                                .user = node};
    for (size_t i = 0; !error && !config->cluster && i < config->streams.count; i++)
        error =
            sonde__redis_catalog_add(&node->catalog, config->streams.items[i], strlen(config->streams.items[i]), true);
    return error;
}

static int node_add(struct redis_collector *collector, const struct sonde__redis_address *address) {
    if (collector->node_count == NODES_MAX)
        return SONDE_EFULL;
    struct redis_node *node = sonde_alloc_new(&collector->env.seams->alloc, sizeof *node);
    if (!node)
        return -ENOMEM;
    *node = (struct redis_node){.collector = collector, .address = *address, .wanted = true};
    int error = node_parts_create(node);
    if (error)
        node_destroy(node);
    else
        collector->nodes[collector->node_count++] = node;
    return error;
}

static int poll_create(struct redis_collector *collector) {
    const struct redis_config *config = collector->config;
    bool unix_socket = collector->address.path[0];
    struct sonde__poll_config poll = {.env = &collector->env,
                                      .system = "redis",
                                      .address = config->address,
                                      .interval_ns = config->interval_ns,
                                      .timeout_ns = config->timeout_ns,
                                      .start = poll_start,
                                      .abort = poll_abort,
                                      .user = collector};
    poll.common[poll.common_count++] = sonde_attribute_string(
        SONDE_KEY("server.address"), unix_socket ? collector->address.path : collector->address.host);
    if (!unix_socket)
        poll.common[poll.common_count++] = sonde_attribute_int64(SONDE_KEY("server.port"), collector->address.port);
    poll.common[poll.common_count++] = sonde_attribute_int64(SONDE_KEY("db.namespace"), config->database);
    return sonde__poll_create(&poll, &collector->poll);
}

static int redis_check(const struct redis_config *config, struct sonde__redis_address *ret_address, char *text,
                       size_t text_size) {
    if (sonde__redis_address_parse(config->address ? config->address : "", ret_address)) {
        (void)snprintf(text, text_size, "address: use host, host:port, [ipv6]:port or unix:/path");
        return SONDE_EINVALID;
    }
    bool cert = config->cert_file && *config->cert_file, key = config->key_file && *config->key_file;
    if (cert != key || (config->tls && ret_address->path[0])) {
        (void)snprintf(text, text_size, "%s",
                       cert != key ? "tls: cert_file and key_file go together" : "tls: not over a Unix socket");
        return SONDE_EINVALID;
    }
    if (!config->tls && (cert || config->insecure_skip_verify || (config->ca_file && *config->ca_file))) {
        (void)snprintf(text, text_size, "tls: what is set has no effect without tls.enabled: true");
        return SONDE_EINVALID;
    }
    if (config->cluster && (config->database || ret_address->path[0])) {
        (void)snprintf(text, text_size, "cluster: has no databases but 0, and no Unix socket");
        return SONDE_EINVALID;
    }
    if (config->streams.count > (size_t)config->streams_max) {
        (void)snprintf(text, text_size, "streams: more are named than streams_max allows");
        return SONDE_EINVALID;
    }
    return 0;
}

static int redis_create(const void *config_data, const struct sonde_collector_env *env, void **ret_self,
                        char *error_text, size_t error_text_size) {
    const struct redis_config *config = config_data;
    struct sonde__redis_address address;
    int error = redis_check(config, &address, error_text, error_text_size);
    if (error)
        return error;
    struct redis_collector *collector = sonde_alloc_new(&env->seams->alloc, sizeof *collector);
    if (!collector)
        return -ENOMEM;
    *collector = (struct redis_collector){
        .config = config,
        .env = *env,
        .address = address,
        .tls = {config->ca_file, config->cert_file, config->key_file, config->insecure_skip_verify},
    };
    error = poll_create(collector);
    if (!error && config->cluster) {
        collector->owners = sonde_alloc_new(&env->seams->alloc, SONDE__REDIS_SLOTS);
        error = collector->owners ? 0 : -ENOMEM;
    }
    if (!error)
        error = node_add(collector, &collector->address);
    if (error) {
        redis_destroy(collector);
        return error;
    }
    if (config->insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "the server's certificate is not checked", "collector=%s",
                        sonde_agent_log_quote(env->name));
    *ret_self = collector;
    return 0;
}

static void redis_status(void *self, struct sonde_collector_status *ret_status) {
    const struct redis_collector *collector = self;
    sonde__poll_status(collector->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_redis = {
    .name = "redis",
    .summary = "Redis Streams: lag, pending and age of consumer groups",
    .config_size = sizeof(struct redis_config),
    .options = redis_options,
    .create = redis_create,
    .status = redis_status,
    .destroy = redis_destroy,
};
