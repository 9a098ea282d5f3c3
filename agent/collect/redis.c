/* SPDX-License-Identifier: Apache-2.0 */
/* Redis Streams: how far consumer groups are behind. One poll per interval: connect if need be, go on with SCAN, ask
 * about the streams, set the series. The connection is kept between polls. idle -> opening -> scanning -> surveying ->
 * idle */
#include "agent/collect/poll.h"
#include "agent/collect/redis_catalog.h"
#include "agent/collect/redis_survey.h"
#include "agent/log.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SCAN_STEP          512 /* keys that the server looks at per SCAN, which it does not interrupt */
#define SKIP_ENTRIES_LOOKS 20  /* polls without reading entries after one was too big to read */

struct redis_config {
    char *address, *username, *password;
    int64_t database;
    uint64_t interval_ns, timeout_ns;
    struct sonde_string_list streams;
    char *match;
    int64_t scan_keys_max, streams_max, groups_max, count_max;
    uint64_t reply_size_max;
    bool tls, insecure_skip_verify;
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

enum state { IDLE, OPENING, SCANNING, SURVEYING };

struct redis_collector {
    const struct redis_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__redis_address address;
    struct sonde_tls_options tls;
    struct sonde__redis_client *client;
    struct sonde__redis_catalog catalog;
    struct sonde__redis_survey survey;
    struct sonde__poll *poll;
    enum state state;
    int64_t scanned; /* keys, in this poll */
};

/* --- one poll --- */

static void poll_abort(void *user) {
    struct redis_collector *collector = user;
    collector->state = IDLE;
    sonde__redis_survey_stop(&collector->survey);
    sonde__redis_client_close(collector->client);
}

static void poll_fail(struct redis_collector *collector, const char *trouble, const char *text) {
    if (strcmp(trouble, SONDE__TROUBLE_TOO_BIG) == 0)
        collector->survey.skip_entries = SKIP_ENTRIES_LOOKS;
    sonde__poll_fail(collector->poll, trouble, text);
}

static void poll_done(void *user) {
    struct redis_collector *collector = user;
    collector->state = IDLE;
    sonde__redis_survey_stop(&collector->survey);
    if (collector->catalog.full)
        sonde__poll_truncated(collector->poll);
    sonde__poll_done(collector->poll);
}

static void on_trouble(void *user, const char *trouble, const char *text, bool fatal) {
    struct redis_collector *collector = user;
    if (fatal)
        poll_fail(collector, trouble, text);
    else
        sonde__poll_note(collector->poll, trouble, text);
}

static void survey_all(struct redis_collector *collector) {
    collector->state = SURVEYING;
    sonde__redis_survey_start(&collector->survey);
    for (size_t i = 0; i < collector->catalog.count && collector->survey.active; i++) {
        const struct sonde__redis_stream *stream = &collector->catalog.streams[i];
        sonde__redis_survey_stream(&collector->survey, stream->name, stream->size, !stream->fixed);
    }
    if (collector->survey.active && !sonde__redis_survey_sent(&collector->survey))
        poll_fail(collector, SONDE__TROUBLE_MEMORY, "out of memory");
}

/** The pattern to SCAN for, or NULL. */
static const char *scan_pattern(const struct redis_config *config) {
    if (config->match && *config->match)
        return config->match;
    return config->streams.count ? NULL : "*";
}

static void scan_next(struct redis_collector *collector);

static void on_scan(void *user, const redisReply *reply) {
    struct redis_collector *collector = user;
    if (!reply || collector->state != SCANNING)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        poll_fail(collector, sonde__redis_reply_trouble(reply), reply->str);
        return;
    }
    int result = sonde__redis_catalog_scanned(&collector->catalog, reply);
    if (result < 0)
        poll_fail(collector, result == -ENOMEM ? SONDE__TROUBLE_MEMORY : SONDE__TROUBLE_PROTOCOL,
                  "SCAN is not as documented");
    else if (result == 1 || collector->scanned >= collector->config->scan_keys_max)
        survey_all(collector);
    else
        scan_next(collector);
}

static void scan_next(struct redis_collector *collector) {
    char count[16];
    (void)snprintf(count, sizeof count, "%d", SCAN_STEP);
    const char *argv[] = {
        "SCAN", collector->catalog.cursor, "MATCH", scan_pattern(collector->config), "COUNT", count, "TYPE", "stream"};
    collector->state = SCANNING;
    collector->scanned += SCAN_STEP;
    if (sonde__redis_client_send(collector->client, on_scan, collector, 8, argv, NULL))
        poll_fail(collector, SONDE__TROUBLE_MEMORY, "out of memory");
}

static void on_ready(void *user) {
    struct redis_collector *collector = user;
    if (collector->state != OPENING)
        return;
    collector->scanned = 0;
    if (scan_pattern(collector->config))
        scan_next(collector);
    else
        survey_all(collector);
}

static void on_lost(void *user, const char *trouble, const char *text) {
    struct redis_collector *collector = user;
    if (collector->state != IDLE) /* between polls: the next one connects */
        poll_fail(collector, trouble, text);
}

static void poll_start(void *user) {
    struct redis_collector *collector = user;
    collector->state = OPENING;
    if (sonde__redis_client_is_ready(collector->client))
        on_ready(collector);
    else
        sonde__redis_client_open(collector->client);
}

/* --- life --- */

static void redis_destroy(void *self) {
    struct redis_collector *collector = self;
    if (!collector)
        return;
    collector->state = IDLE;
    sonde__redis_survey_stop(&collector->survey);
    sonde__redis_client_destroy(collector->client);
    sonde__poll_destroy(collector->poll);
    sonde__redis_catalog_deinit(&collector->catalog);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static void survey_init(struct redis_collector *collector) {
    const struct redis_config *config = collector->config;
    collector->survey = (struct sonde__redis_survey){.client = collector->client,
                                                     .alloc = &collector->env.seams->alloc,
                                                     .poll = collector->poll,
                                                     .count_max = config->count_max,
                                                     .groups_max = (uint32_t)config->groups_max,
                                                     .done = poll_done,
                                                     .trouble = on_trouble,
                                                     .user = collector};
}

static int parts_create(struct redis_collector *collector) {
    const struct redis_config *config = collector->config;
    struct sonde__redis_client_config client = {.loop = collector->env.loop,
                                                .address = &collector->address,
                                                .username = config->username,
                                                .password = config->password,
                                                .database = (int)config->database,
                                                .reply_size_max = config->reply_size_max,
                                                .tls = config->tls ? &collector->tls : NULL,
                                                .ready = on_ready,
                                                .lost = on_lost,
                                                .user = collector};
    int error = sonde__redis_client_create(&client, &collector->client);
    if (!error)
        error =
            sonde__redis_catalog_init(&collector->catalog, &collector->env.seams->alloc, (size_t)config->streams_max);
    for (size_t i = 0; !error && i < config->streams.count; i++)
        error = sonde__redis_catalog_add(&collector->catalog, config->streams.items[i],
                                         strlen(config->streams.items[i]), true);
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
    error = parts_create(collector);
    if (!error)
        error = poll_create(collector);
    if (error) {
        redis_destroy(collector);
        return error;
    }
    survey_init(collector);
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
