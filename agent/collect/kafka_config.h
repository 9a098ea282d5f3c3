/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the Kafka collector, and what librdkafka is told of them. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_CONFIG_H
#define SONDE_AGENT_COLLECT_KAFKA_CONFIG_H

#include "exporters/option.h"
#include <librdkafka/rdkafka.h>
#include <regex.h>

struct sonde__kafka_config {
    struct sonde_string_list brokers;
    int security_protocol;
    char *sasl_mechanism, *sasl_username, *sasl_password;
    char *ca_file, *cert_file, *key_file, *key_password;
    bool insecure_skip_verify;
    struct sonde_string_map properties;
    uint64_t interval_ns, timeout_ns, request_timeout_ns, metadata_interval_ns, earliest_interval_ns;
    struct sonde_string_list groups, groups_exclude, topics, topics_exclude;
    int lag_reference;
    struct sonde_string_list last_stable_groups, high_watermark_groups, exact_groups;
    int64_t groups_max, partitions_max, exact_max, history_points, progress_window, progress_lag_allowed;
    bool per_partition, consumer_offsets, partition_offsets, only_assigned;
    uint64_t deleted_groups_keep_ns, idle_after_ns;
    char *state_file;
};
enum { SONDE__KAFKA_HIGH_WATERMARK, SONDE__KAFKA_LAST_STABLE }; /* lag_reference */
extern const struct sonde_option sonde__kafka_options[];

/** What one handle is for: a handle has one isolation level. */
enum sonde__kafka_purpose {
    SONDE__KAFKA_FOR_ALL,     /* all but the others: groups, high watermarks */
    SONDE__KAFKA_FOR_STABLE,  /* last stable offsets */
    SONDE__KAFKA_FOR_RECORDS, /* single records, for their timestamps */
    SONDE__KAFKA_PURPOSE_COUNT
};
/** Returns 0 with a configuration that is the caller's until rd_kafka_new() takes it; SONDE_EINVALID with a text that
 *  names the key. */
int sonde__kafka_conf_make(const struct sonde__kafka_config *config, enum sonde__kafka_purpose purpose,
                           rd_kafka_conf_t **ret_conf, char *text, size_t text_size);

/** Compiled POSIX extended regular expressions that search, as grep -E does. */
struct sonde__kafka_patterns {
    regex_t *items;
    size_t count;
};
struct sonde__kafka_rules {
    struct sonde__kafka_patterns groups, groups_exclude, topics, topics_exclude, last_stable, high_watermark, exact;
};
/** Returns 0, -ENOMEM, SONDE_EINVALID with a text that names key and pattern. Deinit in any case. */
struct sonde_alloc;
int sonde__kafka_rules_init(struct sonde__kafka_rules *rules, const struct sonde__kafka_config *config,
                            const struct sonde_alloc *alloc, char *text, size_t text_size);
void sonde__kafka_rules_deinit(struct sonde__kafka_rules *rules, const struct sonde_alloc *alloc);
bool sonde__kafka_patterns_match(const struct sonde__kafka_patterns *patterns, const char *name);

#endif
