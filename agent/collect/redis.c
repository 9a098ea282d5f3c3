/* SPDX-License-Identifier: Apache-2.0 */
/* Redis Streams: how far consumer groups are behind. One poll per interval: connect if need be, go on with SCAN, ask
 * about the streams, set the series, sweep those of groups that are gone. One deadline bounds the whole of it; after a
 * failure the next try comes by back-off. The connection is kept between polls. idle -> opening -> scanning ->
 * surveying -> idle */
#include "agent/collect/collector.h"
#include "agent/collect/redis_catalog.h"
#include "agent/collect/redis_survey.h"
#include "agent/log.h"
#include "instrumentation/resilience/backoff.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S           1000000000ull
#define SCAN_STEP          512 /* keys that the server looks at per SCAN, which it does not interrupt */
#define RETRY_MAX_NS       (60 * NS_PER_S)
#define SKIP_ENTRIES_LOOKS 20 /* polls without reading entries after one was too big to read */

struct redis_config {
    char *address, *username, *password;
    int64_t database;
    uint64_t interval_ns, timeout_ns;
    struct sonde_string_list streams;
    char *match;
    int64_t scan_keys_max, streams_max, groups_max, count_max;
    uint64_t reply_size_max;
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
    SONDE_OPTION_END,
};

enum state { IDLE, OPENING, SCANNING, SURVEYING };

struct redis_collector {
    const struct redis_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__redis_address address;
    struct sonde__redis_client *client;
    struct sonde__redis_catalog catalog;
    struct sonde__redis_survey survey;
    struct sonde_timer *timer; /* the next poll, or this one's deadline */
    struct sonde__backoff backoff;
    enum state state;
    uint64_t started_ns, last_success_unix_ns, created_unix_ns;
    int64_t scanned; /* keys, in this poll */
    uint64_t errors[SONDE__REDIS_TROUBLE_COUNT];
    enum sonde__redis_trouble reported;     /* COUNT = none: the last poll was good */
    bool noted[SONDE__REDIS_TROUBLE_COUNT]; /* troubles that did not end a poll, once logged each */
};

static uint64_t now_ns(const struct redis_collector *collector) {
    const struct sonde_time *time = &collector->env.seams->time;
    return time->monotonic_ns(time->self);
}
static uint64_t unix_ns(const struct redis_collector *collector) {
    const struct sonde_time *time = &collector->env.seams->time;
    return time->unix_ns(time->self);
}

/* --- the collector's own series --- */

static void put(struct redis_collector *collector, struct sonde_series_value value, const char *error_type) {
    struct sonde_attribute attributes[SONDE__REDIS_COMMON_MAX + 1];
    size_t count = collector->survey.common_count;
    memcpy(attributes, collector->survey.common, count * sizeof *attributes);
    if (error_type)
        attributes[count++] = sonde_attribute_string(SONDE_KEY("error.type"), error_type);
    value.attributes = attributes;
    value.attribute_count = count;
    value.start_unix_ns = collector->created_unix_ns;
    /* No memory for the health series: there is nowhere left to say it. */
    (void)sonde_series_set(collector->env.source, &value);
}

static void put_health(struct redis_collector *collector, bool up) {
    put(collector,
        (struct sonde_series_value){.kind = SONDE_GAUGE,
                                    .name = "sonde.messaging.poll.up",
                                    .unit = "",
                                    .description = "1 when the last poll of the broker was answered, else 0.",
                                    .int64 = up},
        NULL);
    put(collector,
        (struct sonde_series_value){.kind = SONDE_GAUGE,
                                    .name = "sonde.messaging.poll.duration",
                                    .unit = "s",
                                    .description = "Time the last poll of the broker took.",
                                    .is_double = true,
                                    .float64 = (double)(now_ns(collector) - collector->started_ns) / (double)NS_PER_S},
        NULL);
    if (collector->last_success_unix_ns)
        put(collector,
            (struct sonde_series_value){.kind = SONDE_GAUGE,
                                        .name = "sonde.messaging.poll.last_success.timestamp",
                                        .unit = "s",
                                        .description = "Unix time of the last poll that was answered.",
                                        .is_double = true,
                                        .float64 = (double)collector->last_success_unix_ns / (double)NS_PER_S},
            NULL);
    put(collector,
        (struct sonde_series_value){.kind = SONDE_GAUGE,
                                    .name = "sonde.messaging.poll.truncated",
                                    .unit = "",
                                    .description = "1 when streams or groups were left out because of a limit, else 0.",
                                    .int64 = collector->survey.truncated || collector->catalog.full},
        NULL);
    put(collector,
        (struct sonde_series_value){.kind = SONDE_COUNTER,
                                    .name = "sonde.messaging.poll.fallbacks",
                                    .unit = "{fallback}",
                                    .description = "Lags counted entry by entry because the broker did not know them.",
                                    .int64 = (int64_t)collector->survey.fallbacks},
        NULL);
    for (int i = 0; i < SONDE__REDIS_TROUBLE_COUNT; i++)
        if (collector->errors[i])
            put(collector,
                (struct sonde_series_value){.kind = SONDE_COUNTER,
                                            .name = "sonde.messaging.poll.errors",
                                            .unit = "{error}",
                                            .description = "What went wrong when polling the broker.",
                                            .int64 = (int64_t)collector->errors[i]},
                sonde__redis_trouble_name((enum sonde__redis_trouble)i));
}

/* --- one poll --- */

/** The health first, then the sweep: what this poll did not set is gone, stale lags included. */
static void poll_end(struct redis_collector *collector, bool up) {
    sonde__redis_survey_stop(&collector->survey);
    collector->state = IDLE;
    put_health(collector, up);
    sonde_series_sweep(collector->env.source);
}

static void poll_fail(struct redis_collector *collector, enum sonde__redis_trouble trouble, const char *text) {
    sonde__redis_survey_stop(&collector->survey);
    sonde__redis_client_close(collector->client);
    if (trouble == SONDE__REDIS_TOO_BIG)
        collector->survey.skip_entries = SKIP_ENTRIES_LOOKS;
    collector->errors[trouble]++;
    const struct sonde_random *random = &collector->env.seams->random;
    uint64_t delay_ns = sonde__backoff_next(&collector->backoff, random->next(random->self));
    if (collector->reported != trouble)
        sonde_agent_log(SONDE_LOG_WARN,
                        "cannot poll redis; lags are unknown until it answers, trying again by back-off",
                        "collector=%s address=%s error_type=%s error=%s retry_ms=%" PRIu64,
                        sonde_agent_log_quote(collector->env.name), sonde_agent_log_quote(collector->config->address),
                        sonde__redis_trouble_name(trouble), sonde_agent_log_quote(text), delay_ns / 1000000);
    collector->reported = trouble;
    poll_end(collector, false);
    sonde_timer_set(collector->timer, now_ns(collector) + delay_ns);
}

static void poll_done(void *user) {
    struct redis_collector *collector = user;
    if (collector->reported != SONDE__REDIS_TROUBLE_COUNT)
        sonde_agent_log(SONDE_LOG_INFO, "redis answers again", "collector=%s address=%s",
                        sonde_agent_log_quote(collector->env.name), sonde_agent_log_quote(collector->config->address));
    collector->reported = SONDE__REDIS_TROUBLE_COUNT;
    collector->last_success_unix_ns = unix_ns(collector);
    sonde__backoff_reset(&collector->backoff);
    poll_end(collector, true);
    sonde_timer_set(collector->timer, collector->started_ns + collector->config->interval_ns);
}

static void on_trouble(void *user, enum sonde__redis_trouble trouble, const char *text, bool fatal) {
    struct redis_collector *collector = user;
    if (fatal) {
        poll_fail(collector, trouble, text);
        return;
    }
    collector->errors[trouble]++;
    if (!collector->noted[trouble])
        sonde_agent_log(SONDE_LOG_WARN,
                        "a redis stream cannot be looked at in full; its series are incomplete (told once)",
                        "collector=%s error_type=%s error=%s", sonde_agent_log_quote(collector->env.name),
                        sonde__redis_trouble_name(trouble), sonde_agent_log_quote(text));
    collector->noted[trouble] = true;
}

static void survey_all(struct redis_collector *collector) {
    collector->state = SURVEYING;
    sonde__redis_survey_start(&collector->survey);
    for (size_t i = 0; i < collector->catalog.count && collector->survey.active; i++) {
        const struct sonde__redis_stream *stream = &collector->catalog.streams[i];
        sonde__redis_survey_stream(&collector->survey, stream->name, stream->size, !stream->fixed);
    }
    if (collector->survey.active && !sonde__redis_survey_sent(&collector->survey))
        poll_fail(collector, SONDE__REDIS_MEMORY, "out of memory");
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
        poll_fail(collector, result == -ENOMEM ? SONDE__REDIS_MEMORY : SONDE__REDIS_PROTOCOL,
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
        poll_fail(collector, SONDE__REDIS_MEMORY, "out of memory");
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

static void on_lost(void *user, enum sonde__redis_trouble trouble, const char *text) {
    struct redis_collector *collector = user;
    if (collector->state != IDLE) /* between polls: the next one connects */
        poll_fail(collector, trouble, text);
}

static void on_timer(void *user) {
    static const char *const doing[] = {
        [OPENING] = "no connection within the timeout",
        [SCANNING] = "no answer to SCAN within the timeout",
        [SURVEYING] = "not all answers within the timeout",
    };
    struct redis_collector *collector = user;
    if (collector->state != IDLE) {
        poll_fail(collector, SONDE__REDIS_TIMEOUT, doing[collector->state]);
        return;
    }
    collector->state = OPENING;
    collector->started_ns = now_ns(collector);
    sonde_timer_set(collector->timer, collector->started_ns + collector->config->timeout_ns);
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
    sonde_timer_destroy(collector->timer);
    sonde__redis_catalog_deinit(&collector->catalog);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static void survey_init(struct redis_collector *collector) {
    const struct redis_config *config = collector->config;
    struct sonde__redis_survey *survey = &collector->survey;
    bool unix_socket = collector->address.path[0];
    *survey = (struct sonde__redis_survey){.client = collector->client,
                                           .alloc = &collector->env.seams->alloc,
                                           .source = collector->env.source,
                                           .count_max = config->count_max,
                                           .groups_max = (uint32_t)config->groups_max,
                                           .done = poll_done,
                                           .trouble = on_trouble,
                                           .user = collector};
    survey->common[survey->common_count++] = sonde_attribute_string(SONDE_KEY("messaging.system"), "redis");
    survey->common[survey->common_count++] = sonde_attribute_string(
        SONDE_KEY("server.address"), unix_socket ? collector->address.path : collector->address.host);
    if (!unix_socket)
        survey->common[survey->common_count++] =
            sonde_attribute_int64(SONDE_KEY("server.port"), collector->address.port);
    survey->common[survey->common_count++] = sonde_attribute_int64(SONDE_KEY("db.namespace"), config->database);
}

static int parts_create(struct redis_collector *collector) {
    const struct redis_config *config = collector->config;
    struct sonde__redis_client_config client = {.loop = collector->env.loop,
                                                .address = &collector->address,
                                                .username = config->username,
                                                .password = config->password,
                                                .database = (int)config->database,
                                                .reply_size_max = config->reply_size_max,
                                                .ready = on_ready,
                                                .lost = on_lost,
                                                .user = collector};
    int error = sonde__redis_client_create(&client, &collector->client);
    if (!error)
        error = sonde_timer_create(collector->env.loop, on_timer, collector, &collector->timer);
    if (!error)
        error =
            sonde__redis_catalog_init(&collector->catalog, &collector->env.seams->alloc, (size_t)config->streams_max);
    for (size_t i = 0; !error && i < config->streams.count; i++)
        error = sonde__redis_catalog_add(&collector->catalog, config->streams.items[i],
                                         strlen(config->streams.items[i]), true);
    return error;
}

static int redis_check(const struct redis_config *config, struct sonde__redis_address *ret_address, char *text,
                       size_t text_size) {
    if (sonde__redis_address_parse(config->address ? config->address : "", ret_address)) {
        (void)snprintf(text, text_size, "address: use host, host:port, [ipv6]:port or unix:/path");
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
    *collector = (struct redis_collector){.config = config,
                                          .env = *env,
                                          .address = address,
                                          .reported = SONDE__REDIS_TROUBLE_COUNT,
                                          .backoff = {.initial_ns = NS_PER_S, .max_ns = RETRY_MAX_NS}};
    /* Not slower than a poll that works, where that is often: a test, or a server that is watched closely. */
    if (config->interval_ns < collector->backoff.initial_ns)
        collector->backoff.initial_ns = config->interval_ns;
    error = parts_create(collector);
    if (error) {
        redis_destroy(collector);
        return error;
    }
    survey_init(collector);
    collector->created_unix_ns = unix_ns(collector);
    sonde_timer_set(collector->timer, 0);
    *ret_self = collector;
    return 0;
}

static void redis_status(void *self, struct sonde_collector_status *ret_status) {
    const struct redis_collector *collector = self;
    (void)snprintf(ret_status->address, sizeof ret_status->address, "%s", collector->config->address);
    ret_status->last_success_unix_ns = collector->last_success_unix_ns;
    if (collector->reported != SONDE__REDIS_TROUBLE_COUNT)
        (void)snprintf(ret_status->trouble, sizeof ret_status->trouble, "%s",
                       sonde__redis_trouble_name(collector->reported));
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
