/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_config.h"
#include "exporters/seam.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SOCKET_TIMEOUT_MIN_NS UINT64_C(1100000000)

static const char *const protocols[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl", NULL};
static const char *const references[] = {"high_watermark", "last_stable", NULL};

#define AT(member_) offsetof(struct sonde__kafka_config, member_)
#define ROW(key_, type_, field_, min_, max_, default_, sentence_)                                                      \
    {                                                                                                                  \
        .key = key_, .type = SONDE_OPTION_##type_, .offset = AT(field_), .min = min_, .max = max_,                     \
        .default_text = default_, .sentence = sentence_                                                                \
    }
const struct sonde_option sonde__kafka_options[] = {
    ROW("brokers", STRING_LIST, brokers, 0, 0, NULL,
        "Brokers to ask first, HOST:PORT; they name the others of the cluster."),
    {.key = "security.protocol",
     .type = SONDE_OPTION_ENUM,
     .offset = AT(security_protocol),
     .values = protocols,
     .default_text = "plaintext",
     .sentence = "How brokers are spoken to."},
    ROW("sasl.mechanism", STRING, sasl_mechanism, 0, 0, "PLAIN",
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or another of librdkafka's; used by the protocols sasl_*."),
    ROW("sasl.username", STRING, sasl_username, 0, 0, "", "User for SASL."),
    {.key = "sasl.password",
     .type = SONDE_OPTION_STRING,
     .offset = AT(sasl_password),
     .default_text = "",
     .secret = true,
     .sentence = "Password of sasl.username."},
    ROW("tls.ca_file", STRING, ca_file, 0, 0, "",
        "PEM file of the authorities that may vouch for a broker; empty means the system's."),
    ROW("tls.cert_file", STRING, cert_file, 0, 0, "", "PEM file of our own certificate, where a broker asks for one."),
    ROW("tls.key_file", STRING, key_file, 0, 0, "", "PEM file of the key of tls.cert_file."),
    {.key = "tls.key_password",
     .type = SONDE_OPTION_STRING,
     .offset = AT(key_password),
     .default_text = "",
     .secret = true,
     .sentence = "Pass phrase of tls.key_file; empty = it has none."},
    ROW("tls.insecure_skip_verify", BOOL, insecure_skip_verify, 0, 0, "false",
        "Whether a broker's certificate goes unchecked; for trials only."),
    {.key = "properties",
     .type = SONDE_OPTION_STRING_MAP,
     .offset = AT(properties),
     .default_text = "",
     .secret = true,
     .sentence = "Further properties of librdkafka, by its own names."},
    ROW("interval", DURATION, interval_ns, 100, 3.6e6, "30s",
        "Time between the starts of two polls; seconds of lag are true within it."),
    ROW("timeout", DURATION, timeout_ns, 200, 6e5, "20s",
        "Time one poll may take; what is not known then is left out."),
    ROW("request_timeout", DURATION, request_timeout_ns, 100, 6e4, "3s",
        "Time one request to a broker may take; a broker that is slower costs its own partitions and groups only."),
    ROW("metadata_interval", DURATION, metadata_interval_ns, 100, 3.6e6, "60s",
        "Time after which topics and leaders are asked for again, unless they were found wrong before."),
    ROW("earliest_interval", DURATION, earliest_interval_ns, 100, 3.6e6, "120s",
        "Time after which the earliest offsets are asked for again, by which messages are known to have expired."),
    ROW("groups", STRING_LIST, groups, 0, 0, "",
        "Groups to watch: POSIX extended regular expressions that search, as grep -E does; empty = all."),
    ROW("groups_exclude", STRING_LIST, groups_exclude, 0, 0, "", "Groups not to watch, as groups; wins over it."),
    ROW("topics", STRING_LIST, topics, 0, 0, "", "Topics to watch, as groups; empty = all."),
    ROW("topics_exclude", STRING_LIST, topics_exclude, 0, 0, "^__",
        "Topics not to watch, as groups; wins over topics."),
    {.key = "lag_reference",
     .type = SONDE_OPTION_ENUM,
     .offset = AT(lag_reference),
     .values = references,
     .default_text = "high_watermark",
     .sentence = "Up to where lag is counted: high_watermark, or last_stable as consumers with isolation.level "
                 "read_committed read (an open transaction holds it back)."},
    ROW("last_stable_groups", STRING_LIST, last_stable_groups, 0, 0, "",
        "Groups whose lag is counted to the last stable offset whatever lag_reference says, as groups."),
    ROW("high_watermark_groups", STRING_LIST, high_watermark_groups, 0, 0, "",
        "Groups whose lag is counted to the high watermark whatever lag_reference says, as groups."),
    ROW("exact_groups", STRING_LIST, exact_groups, 0, 0, "",
        "Groups whose seconds of lag come from the timestamp of the record they read next, which is fetched from each "
        "partition that is behind, as groups; empty = none."),
    ROW("exact_max", INT, exact_max, 1, 10000, "256", "Records fetched at most in a poll, for exact_groups."),
    ROW("groups_max", INT, groups_max, 1, 1e6, "10000", "Groups watched at most; more are left out and told."),
    ROW("partitions_max", INT, partitions_max, 1, 1e7, "200000",
        "Offsets of groups (a group's on a partition is one) watched at most; more are left out and told."),
    ROW("per_partition", BOOL, per_partition, 0, 0, "false", "Whether lag is told of each partition as well."),
    ROW("consumer_offsets", BOOL, consumer_offsets, 0, 0, "false", "Whether committed offsets are told."),
    ROW("partition_offsets", BOOL, partition_offsets, 0, 0, "false",
        "Whether earliest, end and last stable offsets are told of partitions that a group reads."),
    ROW("only_assigned", BOOL, only_assigned, 0, 0, "false",
        "Whether offsets of partitions that no member of a group has are left out, while it has members."),
    ROW("idle_after", DURATION, idle_after_ns, 0, 3.6e9, "0s",
        "Time after which a partition on which neither a group nor the end moved is left out of that group; 0 = "
        "never."),
    ROW("deleted_groups_keep", DURATION, deleted_groups_keep_ns, 0, 8.64e7, "0s",
        "Time that series of a deleted group stay; 0 = they go at once."),
    ROW("history_points", INT, history_points, 2, 1024, "120",
        "Polls that are remembered of a partition, to tell how long ago an offset was written."),
    ROW("progress_window", INT, progress_window, 2, 1000, "10",
        "Polls by which a group's progress is judged (ok, warning, rewind, stall, stop)."),
    ROW("progress_lag_allowed", INT, progress_lag_allowed, 0, 1e9, "0",
        "Messages a partition may be behind and still be ok; 1 for readers of transactions, whose markers take "
        "offsets."),
    ROW("state_file", STRING, state_file, 0, 0, "",
        "File that keeps what is remembered of partitions over a restart; empty = kafka-NAME.state in "
        "$STATE_DIRECTORY, "
        "which systemd sets, else none."),
    SONDE_OPTION_END,
};

/* --- librdkafka's --- */

struct conf {
    rd_kafka_conf_t *conf;
    char *text;
    size_t text_size;
    bool failed;
};

static void set_as(struct conf *conf, const char *key, const char *property, const char *value) {
    char text[256];
    if (conf->failed || rd_kafka_conf_set(conf->conf, property, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return;
    conf->failed = true;
    (void)snprintf(conf->text, conf->text_size, "%s: %s", key, text);
}
static void set(struct conf *conf, const char *property, const char *value) {
    set_as(conf, property, property, value);
}
static void set_given(struct conf *conf, const char *key, const char *property, const char *value) {
    if (value && *value)
        set_as(conf, key, property, value);
}
static void set_ms(struct conf *conf, const char *property, uint64_t ns) {
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)(ns / 1000000));
    set(conf, property, text);
}

static void set_security(struct conf *conf, const struct sonde__kafka_config *config) {
    set(conf, "security.protocol", protocols[config->security_protocol]);
    if (strncmp(protocols[config->security_protocol], "sasl", 4) == 0) {
        set_as(conf, "sasl.mechanism", "sasl.mechanisms", config->sasl_mechanism);
        set_given(conf, "sasl.username", "sasl.username", config->sasl_username);
        set_given(conf, "sasl.password", "sasl.password", config->sasl_password);
    }
    set_given(conf, "tls.ca_file", "ssl.ca.location", config->ca_file);
    set_given(conf, "tls.cert_file", "ssl.certificate.location", config->cert_file);
    set_given(conf, "tls.key_file", "ssl.key.location", config->key_file);
    set_given(conf, "tls.key_password", "ssl.key.password", config->key_password);
    if (config->insecure_skip_verify) {
        set(conf, "enable.ssl.certificate.verification", "false");
        set(conf, "ssl.endpoint.identification.algorithm", "none");
    }
}

static void set_purpose(struct conf *conf, enum sonde__kafka_purpose purpose) {
    set(conf, "isolation.level", purpose == SONDE__KAFKA_FOR_STABLE ? "read_committed" : "read_uncommitted");
    if (purpose != SONDE__KAFKA_FOR_RECORDS)
        return;
    /* One record is wanted; a broker gives the first batch whole, however small the limit. */
    set(conf, "fetch.message.max.bytes", "1024");
    set(conf, "queued.min.messages", "1");
    set(conf, "enable.partition.eof", "true");
    set(conf, "auto.offset.reset", "earliest");
}

static void set_brokers(struct conf *conf, const struct sonde_string_list *brokers) {
    char text[4096];
    size_t at = 0;
    for (size_t i = 0; i < brokers->count && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "," : "", brokers->items[i]);
    if (at < sizeof text) {
        set_as(conf, "brokers", "bootstrap.servers", text);
        return;
    }
    conf->failed = true;
    (void)snprintf(conf->text, conf->text_size, "brokers: more than 4095 bytes");
}

int sonde__kafka_conf_make(const struct sonde__kafka_config *config, enum sonde__kafka_purpose purpose,
                           rd_kafka_conf_t **ret_conf, char *text, size_t text_size) {
    struct conf conf = {.conf = rd_kafka_conf_new(), .text = text, .text_size = text_size};
    set_brokers(&conf, &config->brokers);
    set(&conf, "client.id", "sonde");
    set_security(&conf, config);
    set_purpose(&conf, purpose);
    /* The library warns of less, for fetches' sake; our calls have time-outs of their own. */
    set_ms(&conf, "socket.timeout.ms",
           config->request_timeout_ns > SOCKET_TIMEOUT_MIN_NS ? config->request_timeout_ns : SOCKET_TIMEOUT_MIN_NS);
    set(&conf, "fetch.wait.max.ms", "10");
    set(&conf, "reconnect.backoff.max.ms", "2000");
    set(&conf, "enable.auto.commit", "false");
    set(&conf, "log.connection.close", "false");
    for (size_t i = 0; i < config->properties.count; i++) {
        char key[128];
        (void)snprintf(key, sizeof key, "properties.%s", config->properties.keys[i]);
        set_as(&conf, key, config->properties.keys[i], config->properties.values[i]);
    }
    if (conf.failed) {
        rd_kafka_conf_destroy(conf.conf);
        return SONDE_EINVALID;
    }
    *ret_conf = conf.conf;
    return 0;
}

/* --- patterns --- */

static int compile(struct sonde__kafka_patterns *patterns, const struct sonde_string_list *list,
                   const struct sonde_alloc *alloc, const char *key, char *text, size_t text_size) {
    if (list->count == 0)
        return 0;
    patterns->items = sonde_alloc_new(alloc, list->count * sizeof *patterns->items);
    if (!patterns->items)
        return -ENOMEM;
    for (; patterns->count < list->count; patterns->count++) {
        regex_t *item = &patterns->items[patterns->count];
        int error = regcomp(item, list->items[patterns->count], REG_EXTENDED | REG_NOSUB);
        if (error) {
            char why[128];
            (void)regerror(error, item, why, sizeof why);
            (void)snprintf(text, text_size,
                           "%s: \"%.80s\" is no POSIX extended regular expression: %s; accepted: such as grep -E takes",
                           key, list->items[patterns->count], why);
            return SONDE_EINVALID;
        }
    }
    return 0;
}

#define LISTS(X)                                                                                                       \
    X(groups, groups)                                                                                                  \
    X(groups_exclude, groups_exclude)                                                                                  \
    X(topics, topics)                                                                                                  \
    X(topics_exclude, topics_exclude)                                                                                  \
    X(last_stable, last_stable_groups)                                                                                 \
    X(high_watermark, high_watermark_groups)                                                                           \
    X(exact, exact_groups)

int sonde__kafka_rules_init(struct sonde__kafka_rules *rules, const struct sonde__kafka_config *config,
                            const struct sonde_alloc *alloc, char *text, size_t text_size) {
    int error = 0;
    *rules = (struct sonde__kafka_rules){0};
#define COMPILE(field, option)                                                                                         \
    if (!error)                                                                                                        \
        error = compile(&rules->field, &config->option, alloc, #option, text, text_size);
    LISTS(COMPILE)
#undef COMPILE
    return error;
}

static void release(struct sonde__kafka_patterns *patterns, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < patterns->count; i++)
        regfree(&patterns->items[i]);
    sonde_alloc_free(alloc, patterns->items);
    *patterns = (struct sonde__kafka_patterns){0};
}
void sonde__kafka_rules_deinit(struct sonde__kafka_rules *rules, const struct sonde_alloc *alloc) {
#define RELEASE(field, option) release(&rules->field, alloc);
    LISTS(RELEASE)
#undef RELEASE
}

bool sonde__kafka_patterns_match(const struct sonde__kafka_patterns *patterns, const char *name) {
    for (size_t i = 0; i < patterns->count; i++)
        if (regexec(&patterns->items[i], name, 0, NULL, 0) == 0)
            return true;
    return false;
}
