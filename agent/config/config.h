/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: YAML, optional; the defaults serve. The rows of each component (exporters/option.h) are the
 * parser, the reference, the schema and the check. Constant once read.
 *
 *   receivers:  processors:  exporters:  collectors:     instances by name, "otlp_http" or "otlp_http/backup"
 *   queue:  agent:                                       settings of the agent itself
 */
#ifndef SONDE_AGENT_CONFIG_H
#define SONDE_AGENT_CONFIG_H

#include "agent/collect/collector.h"
#include "agent/config/tree.h"
#include "agent/process/processor.h"
#include "agent/receive/receiver.h"
#include "exporters/exporter.h"
#include "exporters/prometheus/dialect.h"
#include <stdio.h>

enum sonde_config_section {
    SONDE_CONFIG_RECEIVERS = 0,
    SONDE_CONFIG_PROCESSORS,
    SONDE_CONFIG_EXPORTERS,
    SONDE_CONFIG_COLLECTORS,
    SONDE_CONFIG_SECTION_COUNT,
};
#define SONDE_CONFIG_INSTANCES_MAX 32u /* per section; the queue has as many cursors */

struct sonde_config_queue {
    uint64_t size;
};
struct sonde_config_agent {
    char *listen;
    bool insecure;
    struct sonde_string_list allowed_hosts;
    char *socket;
    uint64_t metrics_interval_ns, shutdown_timeout_ns;
    int log_level; /* enum sonde_log_level */
    struct sonde_string_map sampling, service_log_levels;
    struct sonde_prometheus_settings prometheus;
};

/** What may be configured: the registries, or a test's own. All borrowed. */
struct sonde_config_catalog {
    const struct sonde_receiver_ops *const *receivers;
    const struct sonde_exporter_ops *const *exporters;
    const struct sonde_collector_ops *const *collectors;
    const struct sonde_processor_ops *const *processors; /* NULL = none */
};

/** A component's fields that the configuration needs; ops is the row of its registry. */
struct sonde_config_kind {
    const char *name, *summary;
    size_t config_size;
    const struct sonde_option *options;
    const void *ops;
};

struct sonde_config_instance {
    char name[64]; /* "otlp_http/backup" */
    struct sonde_config_kind kind;
    void *config;          /* kind.config_size bytes */
    uint32_t signals;      /* exporters: mask of those it takes; else 0 */
    struct sonde_collector_common common; /* collectors: the keys that all have */
    uint32_t line, column;                /* 0 = not from a file */
};

struct sonde_config {
    struct sonde_alloc alloc;
    struct sonde_config_instance instances[SONDE_CONFIG_SECTION_COUNT][SONDE_CONFIG_INSTANCES_MAX];
    size_t counts[SONDE_CONFIG_SECTION_COUNT];
    struct sonde_config_queue queue;
    struct sonde_config_agent agent;
    bool exporters_from_environment;
};

/** Where ${env:NAME}, ${file:PATH} and the OTEL_* variables come from. */
struct sonde_config_sources {
    const char *(*env)(void *self, const char *name); /* NULL = not set */
    /** A file's bytes, NUL-terminated, owned (alloc). Returns 0, -errno, SONDE_ETOOBIG. */
    int (*file)(void *self, const struct sonde_alloc *alloc, const char *path, size_t size_max, char **ret_text,
                size_t *ret_size);
    void *self;
};
extern const struct sonde_config_sources sonde_config_sources_real;
extern const struct sonde_config_catalog sonde_config_catalog_real; /* the registries */

/** Reads a configuration. text: borrowed; NULL = no file, the defaults and the environment.
 *  Returns 0 and ret_config (owned; sonde_config_destroy()), SONDE_EINVALID and the others with ret_error filled. */
int sonde_config_read(const char *text, size_t size, const struct sonde_config_catalog *catalog,
                      const struct sonde_config_sources *sources, const struct sonde_alloc *alloc,
                      struct sonde_config **ret_config, struct sonde_config_error *ret_error);
/** Lets every exporter check what rows cannot say (an URL); creates and destroys them unused. */
int sonde_config_check_exporters(const struct sonde_config *config, const struct sonde_seams *seams,
                                 struct sonde_config_error *ret_error);
/** Refuses an exporter whose endpoint is agent.listen. */
int sonde_config_check_own(const struct sonde_config *config, struct sonde_config_error *ret_error);
/** Refuses ratios and levels that are none. */
int sonde_config_check_steering(const struct sonde_config *config, struct sonde_config_error *ret_error);
/** What the exporters that take metrics want of them; SONDE_EINVALID when they do not agree. */
int sonde_config_temporality(const struct sonde_config *config, enum sonde_temporality *ret_temporality,
                             struct sonde_config_error *ret_error);
/** Reads the file of that path, or without one when path is NULL. Error texts are "FILE:LINE:COLUMN: what" in ret_text.
 */
int sonde_config_load(const char *path, const struct sonde_alloc *alloc, struct sonde_config **ret_config,
                      char *ret_text, size_t text_size);
void sonde_config_destroy(struct sonde_config *config); /* NULL is fine */

const char *sonde_config_section_name(enum sonde_config_section section); /* static */
/** The section's component number index; false past the end. */
bool sonde_config_kind_at(const struct sonde_config_catalog *catalog, enum sonde_config_section section, size_t index,
                          struct sonde_config_kind *ret_kind);
extern const struct sonde_option sonde_config_queue_options[], sonde_config_agent_options[];

/** The effective configuration as YAML that reads back to the same (but for secrets, shown as ***). */
void sonde_config_print(const struct sonde_config *config, FILE *out);
/** The reference (Markdown) and the JSON Schema of all that may be configured. */
void sonde_config_print_docs(const struct sonde_config_catalog *catalog, FILE *out);
void sonde_config_print_schema(const struct sonde_config_catalog *catalog, FILE *out);

#endif
