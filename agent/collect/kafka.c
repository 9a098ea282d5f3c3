/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka: how far consumer groups are behind, in messages and in seconds. librdkafka blocks, so a look at the cluster is
 * made on a thread of the collector's own; the loop then sets the series, a portion at a time. What is remembered of
 * partitions is kept in a file each minute, by that thread too. idle -> looking -> setting -> idle */
#include "agent/collect/kafka_series.h"
#include "agent/collect/kafka_state.h"
#include "agent/collect/kafka_survey.h"
#include "agent/log.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAVE_NS    (60 * INT64_C(1000000000))
#define PORTION    400u /* series, in about half a millisecond */
#define NOTES_MOST 1000u
#define PORT       9092

struct kafka_collector {
    const struct sonde__kafka_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde__worker *worker;
    struct sonde_timer *portions; /* the next portion of series */
    struct sonde__kafka_rules rules;
    struct sonde__kafka_survey survey; /* the worker's while it is busy */
    struct sonde__kafka_series series;
    char host[256], address[264], state_path[4096], cluster[256];
    int port;
    bool wanted; /* a poll waits for the worker, which is busy with one that was aborted */
    /* the worker's */
    bool loaded, save_failed;
    int64_t saved_ns;
};

/* --- the file; on the worker's thread, or when there is none --- */

static int64_t wall_ns(const struct kafka_collector *collector) {
    const struct sonde_time *time = &collector->env.seams->time;
    return (int64_t)time->unix_ns(time->self);
}

/** From the survey, when the cluster is known and before the first ends are. */
static void state_load(void *user) {
    struct kafka_collector *collector = user;
    struct sonde__kafka_survey *survey = &collector->survey;
    uint8_t *data = NULL;
    size_t size = 0;
    collector->loaded = true;
    if (!collector->state_path[0])
        return;
    int error = sonde__kafka_state_read(&collector->env.seams->alloc, collector->state_path, &data, &size);
    if (error == -ENOENT)
        return;
    if (!error)
        error = sonde__kafka_state_decode(&survey->book, data, size, survey->client->cluster,
                                          sonde__kafka_survey_now_ns(survey), wall_ns(collector),
                                          (unsigned)collector->config->history_points);
    sonde_alloc_free(&collector->env.seams->alloc, data);
    if (error)
        sonde_agent_log(SONDE_LOG_WARN, "what was remembered of partitions cannot be used; seconds of lag begin anew",
                        "collector=%s file=%s error=%s", sonde_agent_log_quote(collector->env.name),
                        sonde_agent_log_quote(collector->state_path),
                        sonde_agent_log_quote(error == -ESTALE ? "it is another cluster's" : sonde_strerror(error)));
}

static void state_save(struct kafka_collector *collector) {
    struct sonde__kafka_survey *survey = &collector->survey;
    uint8_t *data;
    size_t size;
    int64_t now = sonde__kafka_survey_now_ns(survey);
    collector->saved_ns = now;
    int error =
        sonde__kafka_state_encode(&survey->book, survey->client->cluster, now, wall_ns(collector), &data, &size);
    if (!error) {
        error = sonde__kafka_state_write(collector->state_path, data, size);
        sonde_alloc_free(&collector->env.seams->alloc, data);
    }
    if (error && !collector->save_failed)
        sonde_agent_log(SONDE_LOG_WARN,
                        "cannot keep what is remembered of partitions; seconds of lag begin anew after a restart",
                        "collector=%s file=%s error=%s", sonde_agent_log_quote(collector->env.name),
                        sonde_agent_log_quote(collector->state_path), sonde_agent_log_quote(sonde_strerror(error)));
    collector->save_failed = error != 0;
}

static void job(void *user, const struct sonde__worker *worker) {
    struct kafka_collector *collector = user;
    struct sonde__kafka_survey *survey = &collector->survey;
    sonde__kafka_survey_look(survey, worker);
    bool known = survey->client->cluster[0] != '\0';
    if (known && collector->loaded && collector->state_path[0] && !survey->trouble &&
        sonde__kafka_survey_now_ns(survey) - collector->saved_ns >= SAVE_NS)
        state_save(collector);
}

/* --- a poll --- */

static void finish(struct kafka_collector *collector) {
    for (size_t i = 0; i < collector->survey.note_count; i++) {
        const struct sonde__kafka_note *note = &collector->survey.notes[i];
        for (unsigned n = 0; n < note->count && n < NOTES_MOST; n++)
            sonde__poll_note(collector->poll, note->trouble, note->text);
    }
    if (collector->survey.truncated)
        sonde__poll_truncated(collector->poll);
    sonde__poll_done(collector->poll);
}

static void on_portion(void *user) {
    struct kafka_collector *collector = user;
    if (!sonde__poll_is_active(collector->poll) || sonde__worker_is_busy(collector->worker))
        return;
    if (sonde__kafka_series_next(&collector->series, PORTION))
        sonde_timer_set(collector->portions, 0);
    else
        finish(collector);
}

static void look(struct kafka_collector *collector) {
    collector->wanted = sonde__worker_run(collector->worker) != 0;
}

static void on_looked(void *user) {
    struct kafka_collector *collector = user;
    struct sonde__kafka_survey *survey = &collector->survey;
    if (!sonde__poll_is_active(collector->poll))
        return;
    if (collector->wanted) { /* that was an aborted one's */
        look(collector);
        return;
    }
    if (!collector->cluster[0] && survey->client->cluster[0]) {
        (void)snprintf(collector->cluster, sizeof collector->cluster, "%s", survey->client->cluster);
        sonde__poll_identify(collector->poll,
                             sonde_attribute_string(SONDE_KEY("messaging.kafka.cluster.id"), collector->cluster));
    }
    if (survey->trouble) {
        sonde__poll_fail(collector->poll, survey->trouble, survey->text);
        return;
    }
    sonde__kafka_series_start(&collector->series);
    sonde_timer_set(collector->portions, 0);
}

static void poll_start(void *user) {
    look(user);
}

static void poll_abort(void *user) {
    struct kafka_collector *collector = user;
    collector->wanted = false;
    sonde_timer_clear(collector->portions);
    sonde__worker_cancel(collector->worker);
}

/* --- life --- */

static void kafka_destroy(void *self) {
    struct kafka_collector *collector = self;
    if (!collector)
        return;
    sonde__worker_destroy(collector->worker); /* waits for a request under way: request_timeout at most */
    sonde_timer_destroy(collector->portions);
    sonde__poll_destroy(collector->poll);
    if (collector->loaded && collector->state_path[0] && collector->survey.book.look > 1)
        state_save(collector);
    sonde__kafka_client_destroy(collector->survey.client);
    sonde__kafka_book_deinit(&collector->survey.book);
    sonde__kafka_rules_deinit(&collector->rules, &collector->env.seams->alloc);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

/** HOST:PORT, [IPV6]:PORT or HOST alone, perhaps with PROTOCOL:// before. */
static int address_parse(struct kafka_collector *collector, const char *broker) {
    const char *host = strstr(broker, "://");
    host = host ? host + 3 : broker;
    const char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    if (colon && bracket ? colon < bracket : colon && strchr(host, ':') != colon)
        colon = NULL;
    const char *end = bracket ? bracket : colon ? colon : host + strlen(host);
    host += bracket ? 1 : 0;
    char *rest = NULL;
    long port = colon ? strtol(colon + 1, &rest, 10) : PORT;
    if (end <= host || (size_t)(end - host) >= sizeof collector->host || (rest && *rest) || port < 1 || port > 65535)
        return SONDE_EINVALID;
    (void)snprintf(collector->host, sizeof collector->host, "%.*s", (int)(end - host), host);
    (void)snprintf(collector->address, sizeof collector->address, "%s%s%s:%ld", bracket ? "[" : "", collector->host,
                   bracket ? "]" : "", port);
    collector->port = (int)port;
    return 0;
}

static void state_path_find(struct kafka_collector *collector) {
    const char *directory = getenv("STATE_DIRECTORY"), *given = collector->config->state_file;
    char name[128];
    size_t at = 0;
    if (given && *given) {
        (void)snprintf(collector->state_path, sizeof collector->state_path, "%s", given);
        return;
    }
    if (!directory || !*directory)
        return;
    for (const char *from = collector->env.name; *from && at + 1 < sizeof name; from++)
        name[at++] = *from == '/' ? '-' : *from;
    name[at] = '\0';
    /* systemd separates several by colons; ours is the first */
    (void)snprintf(collector->state_path, sizeof collector->state_path, "%.*s/%s.state", (int)strcspn(directory, ":"),
                   directory, name);
}

static int kafka_check(const struct sonde__kafka_config *config, char *text, size_t text_size) {
    if (config->brokers.count == 0) {
        (void)snprintf(text, text_size, "brokers: none is given; accepted: HOST:PORT, one or more");
        return SONDE_EINVALID;
    }
    bool cert = config->cert_file && *config->cert_file, key = config->key_file && *config->key_file;
    if (cert != key) {
        (void)snprintf(text, text_size, "%s: tls.cert_file and tls.key_file go together",
                       cert ? "tls.key_file" : "tls.cert_file");
        return SONDE_EINVALID;
    }
    if (config->state_file && strlen(config->state_file) > 4000) {
        (void)snprintf(text, text_size, "state_file: longer than 4000 bytes");
        return SONDE_EINVALID;
    }
    return 0;
}

static int parts_create(struct kafka_collector *collector, char *text, size_t text_size) {
    const struct sonde__kafka_config *config = collector->config;
    const struct sonde_alloc *alloc = &collector->env.seams->alloc;
    struct sonde__kafka_survey *survey = &collector->survey;
    int error = sonde__kafka_rules_init(&collector->rules, config, alloc, text, text_size);
    *survey = (struct sonde__kafka_survey){.config = config,
                                           .rules = &collector->rules,
                                           .seams = collector->env.seams,
                                           .on_cluster = state_load,
                                           .user = collector,
                                           .book = {.alloc = alloc}};
    if (!error)
        error = sonde__kafka_client_create(config, collector->env.seams, collector->env.name, &survey->client, text,
                                           text_size);
    struct sonde__worker_config worker = {.loop = collector->env.loop,
                                          .alloc = alloc,
                                          .name = "sonde-kafka",
                                          .job = job,
                                          .done = on_looked,
                                          .user = collector};
    if (!error)
        error = sonde__worker_create(&worker, &collector->worker);
    if (!error)
        error = sonde_timer_create(collector->env.loop, on_portion, collector, &collector->portions);
    return error;
}

static int poll_create(struct kafka_collector *collector) {
    struct sonde__poll_config poll = {.env = &collector->env,
                                      .system = "kafka",
                                      .address = collector->address,
                                      .interval_ns = collector->config->interval_ns,
                                      .timeout_ns = collector->config->timeout_ns,
                                      .start = poll_start,
                                      .abort = poll_abort,
                                      .user = collector};
    poll.common[poll.common_count++] = sonde_attribute_string(SONDE_KEY("server.address"), collector->host);
    poll.common[poll.common_count++] = sonde_attribute_int64(SONDE_KEY("server.port"), collector->port);
    return sonde__poll_create(&poll, &collector->poll);
}

static int kafka_create(const void *config_data, const struct sonde_collector_env *env, void **ret_self,
                        char *error_text, size_t error_text_size) {
    const struct sonde__kafka_config *config = config_data;
    int error = kafka_check(config, error_text, error_text_size);
    if (error)
        return error;
    struct kafka_collector *collector = sonde_alloc_new(&env->seams->alloc, sizeof *collector);
    if (!collector)
        return -ENOMEM;
    *collector = (struct kafka_collector){.config = config, .env = *env};
    state_path_find(collector);
    error = address_parse(collector, config->brokers.items[0]);
    if (error)
        (void)snprintf(error_text, error_text_size, "brokers: \"%.80s\" is no HOST:PORT", config->brokers.items[0]);
    if (!error)
        error = parts_create(collector, error_text, error_text_size);
    if (!error)
        error = poll_create(collector);
    if (error) {
        kafka_destroy(collector);
        return error;
    }
    collector->series =
        (struct sonde__kafka_series){.config = config, .book = &collector->survey.book, .poll = collector->poll};
    if (config->insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "a broker's certificate goes unchecked: anyone in between can read and change",
                        "collector=%s", sonde_agent_log_quote(env->name));
    *ret_self = collector;
    return 0;
}

static void kafka_status(void *self, struct sonde_collector_status *ret_status) {
    const struct kafka_collector *collector = self;
    sonde__poll_status(collector->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_kafka = {
    .name = "kafka",
    .summary = "Kafka: lag of consumer groups in messages and seconds, progress, state",
    .config_size = sizeof(struct sonde__kafka_config),
    .options = sonde__kafka_options,
    .create = kafka_create,
    .status = kafka_status,
    .destroy = kafka_destroy,
};
