/* SPDX-License-Identifier: Apache-2.0 */
/* The tree's top: sections, instances, and the agent's own rows. */
#include "agent/config/config.h"
#include "agent/config/bind.h"
#include "agent/config/otel.h"
#include "agent/log.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

#define ROW(type_, field, key_, ...)                                                                                   \
    { .key = key_, .type = SONDE_OPTION_##type_, .offset = offsetof(struct sonde_config_agent, field), __VA_ARGS__ }

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL}; /* enum sonde_log_level */
_Static_assert(SONDE_LOG_DEBUG == 3, "log_levels follows enum sonde_log_level");

const struct sonde_option sonde_config_agent_options[] = {
    ROW(STRING, listen, "listen", .default_text = "127.0.0.1:4320",
        .sentence =
            "Address and port of the page, its API, /metrics and the health checks; port 0 lets the system choose "
            "(the log tells), empty turns them off."),
    ROW(BOOL, insecure, "insecure", .default_text = "false",
        .sentence = "Accepts a listen address that is not loopback, although there is neither TLS nor a password."),
    ROW(STRING_LIST, allowed_hosts, "allowed_hosts", .default_text = "",
        .sentence = "Host names, beside localhost and loopback addresses, under which the page answers."),
    ROW(STRING, socket, "socket", .default_text = "",
        .sentence = "Unix socket for services; empty takes the first of /run/sonde/agent.sock, "
                    "$XDG_RUNTIME_DIR/sonde/agent.sock and /tmp/sonde-UID/agent.sock that can be made."),
    ROW(DURATION, metrics_interval_ns, "metrics_interval", .default_text = "60s", .min = 100, .max = 3600000,
        .sentence = "Time between two exports of all metric series."),
    ROW(DURATION, shutdown_timeout_ns, "shutdown_timeout", .default_text = "5s", .min = 0, .max = 60000,
        .sentence = "Time that exporters get at the end to deliver what is queued."),
    ROW(ENUM, log_level, "log_level", .default_text = "info", .values = log_levels, .reloadable = true,
        .sentence = "Events of this severity and above are logged."),
    ROW(STRING_MAP, sampling, "sampling", .default_text = "",
        .sentence = "Ratio (0 to 1) at which services sample their root spans, by service.name, \"*\" for all others; "
                    "replaces what they decide themselves, from their next span on. `sonde sample` changes it."),
    ROW(STRING_MAP, service_log_levels, "service_log_levels", .default_text = "",
        .sentence = "Least severe log records that services record (trace, debug, info, warn, error, fatal), by "
                    "service.name, \"*\" for all others. `sonde log-level` changes it."),
    ROW(ENUM, prometheus.strategy, "prometheus.translation_strategy", .default_text = "UnderscoreEscapingWithSuffixes",
        .values = sonde_prometheus_strategies,
        .sentence =
            "How names of metrics and labels become Prometheus names on /metrics; what a scraper cannot read in "
            "UTF-8 is escaped as it asks."),
    ROW(BOOL, prometheus.scope_labels, "prometheus.scope_labels", .default_text = "true",
        .sentence = "Series on /metrics have the labels otel_scope_name, _version, _schema_url and the scope's "
                    "attributes."),
    ROW(BOOL, prometheus.target_info, "prometheus.target_info", .default_text = "true",
        .sentence = "/metrics has target_info, with the attributes of each resource."),
    ROW(BOOL, prometheus.exemplars, "prometheus.exemplars", .default_text = "true",
        .sentence = "/metrics shows exemplars, in OpenMetrics and protobuf."),
    ROW(BOOL, prometheus.created, "prometheus.created", .default_text = "true",
        .sentence =
            "/metrics shows in OpenMetrics when counters and histograms began, as _created lines (a series more "
            "each, for a Prometheus without start times); protobuf has it anyway."),
    SONDE_OPTION_END,
};
const struct sonde_option sonde_config_queue_options[] = {
    {.key = "size",
     .type = SONDE_OPTION_SIZE,
     .offset = offsetof(struct sonde_config_queue, size),
     .default_text = "64MiB",
     .min = 4 << 20,
     .max = 64.0 * (1 << 30),
     .sentence = "Memory for records that an exporter has not delivered yet; when it is used up services keep theirs."},
    SONDE_OPTION_END,
};
const struct sonde_config_catalog sonde_config_catalog_real = {sonde_receivers, sonde_exporters, sonde_collectors,
                                                               sonde_processors};

const char *sonde_config_section_name(enum sonde_config_section section) {
    static const char *const names[] = {"receivers", "processors", "exporters", "collectors"};
    return (unsigned)section < SONDE_CONFIG_SECTION_COUNT ? names[section] : "unknown";
}
static const char *const singular[] = {"receiver", "processor", "exporter", "collector"};

#define KIND(row)                                                                                                      \
    (struct sonde_config_kind) {                                                                                       \
        (row)->name, (row)->summary, (row)->config_size, (row)->options, (row)                                         \
    }

bool sonde_config_kind_at(const struct sonde_config_catalog *catalog, enum sonde_config_section section, size_t index,
                          struct sonde_config_kind *ret_kind) {
    if (section == SONDE_CONFIG_RECEIVERS && catalog->receivers[index])
        *ret_kind = KIND(catalog->receivers[index]);
    else if (section == SONDE_CONFIG_EXPORTERS && catalog->exporters[index])
        *ret_kind = KIND(catalog->exporters[index]);
    else if (section == SONDE_CONFIG_COLLECTORS && catalog->collectors[index])
        *ret_kind = KIND(catalog->collectors[index]);
    else if (section == SONDE_CONFIG_PROCESSORS && catalog->processors && catalog->processors[index])
        *ret_kind = KIND(catalog->processors[index]);
    else
        return false;
    return true;
}

struct reader {
    struct sonde__binder binder;
    const struct sonde_config_catalog *catalog;
    struct sonde_config *config;
};

static int unknown_kind(struct reader *reader, enum sonde_config_section section, const struct sonde__node *key,
                        const char *name) {
    const char *names[SONDE_CONFIG_INSTANCES_MAX];
    struct sonde_config_kind kind;
    size_t count = 0, length = 0;
    char accepted[300] = "none in this build";
    while (count < SONDE_CONFIG_INSTANCES_MAX && sonde_config_kind_at(reader->catalog, section, count, &kind))
        names[count++] = kind.name;
    for (size_t i = 0; i < count && length < sizeof accepted; i++)
        length += (size_t)snprintf(accepted + length, sizeof accepted - length, "%s%s", i ? ", " : "", names[i]);
    const char *near = sonde__nearest(name, names, count);
    return sonde__bind_fail(&reader->binder, key, SONDE_EINVALID, "unknown %s \"%.60s\"%s%s%s; accepted: %s",
                            singular[section], name, near ? "; did you mean \"" : "", near ? near : "",
                            near ? "\"?" : "", accepted);
}

/** Splits "otlp_http/backup" and finds otlp_http. */
static int find_kind(struct reader *reader, enum sonde_config_section section, const char *name,
                     const struct sonde__node *key, struct sonde_config_kind *ret_kind) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    char kind_name[64];
    size_t size = strcspn(name, "/"), i = 0;
    const char *suffix = name[size] ? name + size + 1 : NULL;
    if (strlen(name) >= sizeof kind_name)
        return sonde__bind_fail(&reader->binder, key, SONDE_EINVALID, "name \"%.70s...\" is longer than 63 bytes",
                                name);
    if (suffix && (!suffix[0] || strspn(suffix, letters) != strlen(suffix)))
        return sonde__bind_fail(&reader->binder, key, SONDE_EINVALID,
                                "\"%s\": behind the slash stands a name of letters, digits, _ . -", name);
    memcpy(kind_name, name, size);
    kind_name[size] = '\0';
    for (; sonde_config_kind_at(reader->catalog, section, i, ret_kind); i++)
        if (strcmp(ret_kind->name, kind_name) == 0)
            return 0;
    return unknown_kind(reader, section, key, kind_name);
}

static int fill_instance(struct reader *reader, enum sonde_config_section section,
                         struct sonde_config_instance *instance, const struct sonde__node *map) {
    struct sonde__binding binding = {.rows = instance->kind.options, .config = instance->config};
    char what[96];
    int error = sonde__bind_defaults(&reader->binder, instance->kind.options, instance->config);
    if (!error && section == SONDE_CONFIG_COLLECTORS) {
        binding.more_rows = sonde_collector_common_options;
        binding.more_config = &instance->common;
        error = sonde__bind_defaults(&reader->binder, binding.more_rows, binding.more_config);
    }
    if (error)
        return error;
    (void)snprintf(what, sizeof what, "%s %s", singular[section], instance->name);
    error = sonde__bind_map(&reader->binder, what, map, &binding);
    if (error || section != SONDE_CONFIG_EXPORTERS)
        return error;
    const struct sonde_exporter_ops *ops = instance->kind.ops;
    instance->signals = ops->signals_of ? ops->signals_of(instance->config) : ops->signals;
    return 0;
}

static int add_instance(struct reader *reader, enum sonde_config_section section, const char *name,
                        const struct sonde__node *key, const struct sonde__node *map) {
    struct sonde_config *config = reader->config;
    struct sonde_config_kind kind;
    int error = find_kind(reader, section, name, key, &kind);
    if (error)
        return error;
    if (config->counts[section] == SONDE_CONFIG_INSTANCES_MAX)
        return sonde__bind_fail(&reader->binder, key, SONDE_ETOOBIG, "more than %u %s", SONDE_CONFIG_INSTANCES_MAX,
                                sonde_config_section_name(section));
    void *memory = sonde_alloc_new(&config->alloc, kind.config_size + 1);
    if (!memory)
        return -ENOMEM;
    memset(memory, 0, kind.config_size + 1);
    struct sonde_config_instance *instance = &config->instances[section][config->counts[section]++];
    *instance = (struct sonde_config_instance){
        .kind = kind, .config = memory, .line = key ? key->line : 0, .column = key ? key->column : 0};
    (void)snprintf(instance->name, sizeof instance->name, "%s", name);
    /* A key that is missing has no node of its own: it is missing where the instance begins. */
    error = fill_instance(reader, section, instance, map);
    if (error && reader->binder.error->line == 0 && key) {
        reader->binder.error->line = key->line;
        reader->binder.error->column = key->column;
    }
    return error;
}

static int read_section(struct reader *reader, enum sonde_config_section section, const struct sonde__node *map) {
    if (sonde__node_is_null(map))
        return 0;
    if (map->type != SONDE__NODE_MAP)
        return sonde__bind_fail(&reader->binder, map, SONDE_EINVALID, "%s takes instances by name, as \"NAME: {...}\"",
                                sonde_config_section_name(section));
    for (size_t i = 0; i < map->item_count; i += 2) {
        int error = add_instance(reader, section, map->items[i]->text, map->items[i], map->items[i + 1]);
        if (error)
            return error;
    }
    return 0;
}

static int read_top(struct reader *reader, const struct sonde__node *key, const struct sonde__node *value,
                    uint32_t *seen) {
    static const char *const tops[] = {"receivers", "processors", "exporters", "collectors", "queue", "agent"};
    struct sonde__binding queue = {.rows = sonde_config_queue_options, .config = &reader->config->queue};
    struct sonde__binding agent = {.rows = sonde_config_agent_options, .config = &reader->config->agent};
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++)
        if (strcmp(key->text, sonde_config_section_name(s)) == 0) {
            *seen |= 1u << s;
            return read_section(reader, s, value);
        }
    if (strcmp(key->text, "queue") == 0)
        return sonde__bind_map(&reader->binder, "queue", value, &queue);
    if (strcmp(key->text, "agent") == 0)
        return sonde__bind_map(&reader->binder, "agent", value, &agent);
    const char *near = sonde__nearest(key->text, tops, sizeof tops / sizeof tops[0]);
    return sonde__bind_fail(
        &reader->binder, key, SONDE_EINVALID,
        "unknown key \"%.60s\"%s%s%s; accepted: receivers, processors, exporters, collectors, queue, agent", key->text,
        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/** Adds the instance of one kind with its defaults, where the kind is there and takes them. */
static int add_default(struct reader *reader, enum sonde_config_section section, const char *name) {
    struct sonde_config_kind kind;
    for (size_t i = 0; sonde_config_kind_at(reader->catalog, section, i, &kind); i++)
        if (strcmp(kind.name, name) == 0)
            return add_instance(reader, section, name, NULL, NULL);
    return 0;
}

/** The processors that run unless the configuration says which do. */
static int add_default_processors(struct reader *reader) {
    const struct sonde_processor_ops *const *all = reader->catalog->processors;
    int error = 0;
    for (size_t i = 0; !error && all && all[i]; i++)
        if (all[i]->by_default)
            error = add_instance(reader, SONDE_CONFIG_PROCESSORS, all[i]->name, NULL, NULL);
    return error;
}

/** The exporter that OTEL_EXPORTER_OTLP_* describe, when nothing else configures one. */
static int read_env_exporter(struct reader *reader) {
    struct sonde__tree tree = {0};
    int error = sonde__otel_exporter(&reader->binder, &tree);
    if (!error && tree.root) {
        error = add_instance(reader, SONDE_CONFIG_EXPORTERS, "otlp_http", NULL, tree.root);
        reader->config->exporters_from_environment = true;
    }
    sonde__tree_deinit(&tree);
    return error;
}

static int read_tree(struct reader *reader, const struct sonde__node *root) {
    struct sonde_config *config = reader->config;
    uint32_t seen = 0;
    int error = sonde__bind_defaults(&reader->binder, sonde_config_queue_options, &config->queue);
    if (!error)
        error = sonde__bind_defaults(&reader->binder, sonde_config_agent_options, &config->agent);
    if (!error && root && root->type != SONDE__NODE_MAP && !sonde__node_is_null(root))
        error = sonde__bind_fail(&reader->binder, root, SONDE_EINVALID,
                                 "a configuration has keys at the top: receivers, processors, exporters, collectors, "
                                 "queue, agent");
    for (size_t i = 0; !error && root && i < root->item_count; i += 2)
        error = read_top(reader, root->items[i], root->items[i + 1], &seen);
    if (!error && !(seen & (1u << SONDE_CONFIG_RECEIVERS)))
        error = add_default(reader, SONDE_CONFIG_RECEIVERS, "services");
    if (!error && !(seen & (1u << SONDE_CONFIG_PROCESSORS)))
        error = add_default_processors(reader);
    if (!error && !(seen & (1u << SONDE_CONFIG_EXPORTERS)))
        error = read_env_exporter(reader);
    return error;
}

int sonde_config_read(const char *text, size_t size, const struct sonde_config_catalog *catalog,
                      const struct sonde_config_sources *sources, const struct sonde_alloc *alloc,
                      struct sonde_config **ret_config, struct sonde_config_error *ret_error) {
    struct sonde__tree tree = {0};
    *ret_error = (struct sonde_config_error){0};
    struct reader reader = {.binder = {sources, *alloc, ret_error}, .catalog = catalog};
    reader.config = sonde_alloc_new(alloc, sizeof *reader.config);
    if (!reader.config)
        return -ENOMEM;
    memset(reader.config, 0, sizeof *reader.config);
    reader.config->alloc = *alloc;
    int error = text ? sonde__tree_read(text, size, alloc, &tree, ret_error) : 0;
    if (!error)
        error = read_tree(&reader, tree.root);
    sonde__tree_deinit(&tree);
    if (error == -ENOMEM)
        *ret_error = (struct sonde_config_error){.text = "out of memory"};
    if (error) {
        sonde_config_destroy(reader.config);
        return error;
    }
    *ret_config = reader.config;
    return 0;
}

/* What an exporter that is only checked gets: nothing moves. */
static uint64_t no_time(void *self) {
    (void)self;
    return 0;
}
static bool no_next(void *self, uint32_t cursor, uint64_t after, struct sonde_record_view *ret_record) {
    (void)self, (void)cursor, (void)after, (void)ret_record;
    return false;
}
static int no_start(void *self, const struct sonde_http_request *request, sonde_http_done done, void *user,
                    void **ret_exchange) {
    (void)self, (void)request, (void)done, (void)user, (void)ret_exchange;
    return SONDE_EDISABLED;
}

int sonde_config_check_exporters(const struct sonde_config *config, const struct sonde_seams *seams,
                                 struct sonde_config_error *ret_error) {
    for (size_t i = 0; i < config->counts[SONDE_CONFIG_EXPORTERS]; i++) {
        const struct sonde_config_instance *instance = &config->instances[SONDE_CONFIG_EXPORTERS][i];
        const struct sonde_exporter_ops *ops = instance->kind.ops;
        struct sonde_exporter_env env = {
            .name = instance->name, .seams = *seams, .http = {.start = no_start}, .log = {.next = no_next}};
        char text[400] = "";
        void *self = NULL;
        int error = ops->create(instance->config, &env, &self, text, sizeof text);
        if (error) {
            *ret_error = (struct sonde_config_error){.line = instance->line, .column = instance->column};
            (void)snprintf(ret_error->text, sizeof ret_error->text, "exporter %s: %s", instance->name,
                           text[0] ? text : sonde_strerror(error));
            return error;
        }
        ops->destroy(self);
    }
    return 0;
}

/** Exporters' own checks; on failure the configuration is gone. */
static int check_loaded(struct sonde_config *config, const struct sonde_alloc *alloc,
                        struct sonde_config_error *problem) {
    struct sonde_seams seams = {.time = {no_time, no_time, NULL}, .random = {no_time, NULL}, .alloc = *alloc};
    int error = sonde_config_check_exporters(config, &seams, problem);
    if (!error)
        error = sonde_config_check_own(config, problem);
    if (!error)
        error = sonde_config_check_steering(config, problem);
    enum sonde_temporality temporality;
    if (!error)
        error = sonde_config_temporality(config, &temporality, problem);
    if (error)
        sonde_config_destroy(config);
    return error;
}

int sonde_config_load(const char *path, const struct sonde_alloc *alloc, struct sonde_config **ret_config,
                      char *ret_text, size_t text_size) {
    const struct sonde_config_sources *sources = &sonde_config_sources_real;
    struct sonde_config_error problem;
    char *text = NULL;
    size_t size = 0;
    int error = path ? sources->file(sources->self, alloc, path, SONDE__CONFIG_SIZE_MAX, &text, &size) : 0;
    if (error) {
        (void)snprintf(ret_text, text_size, "%s: cannot be read: %s", path, sonde_strerror(error));
        return error;
    }
    error = sonde_config_read(text, size, &sonde_config_catalog_real, sources, alloc, ret_config, &problem);
    sonde_alloc_free(alloc, text);
    if (!error)
        error = check_loaded(*ret_config, alloc, &problem);
    for (char *at = error ? problem.text : NULL; at && *at; at++) /* keys and paths come along, and a terminal obeys */
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    if (error && problem.line)
        (void)snprintf(ret_text, text_size, "%s:%u:%u: %s", path, problem.line, problem.column, problem.text);
    else if (error)
        (void)snprintf(ret_text, text_size, "%s: %s", path ? path : "environment", problem.text);
    return error;
}

void sonde_config_destroy(struct sonde_config *config) {
    if (!config)
        return;
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++)
        for (size_t i = 0; i < config->counts[s]; i++) {
            struct sonde_config_instance *instance = &config->instances[s][i];
            sonde__bind_clear(&config->alloc, instance->kind.options, instance->config);
            sonde__bind_clear(&config->alloc, sonde_collector_common_options, &instance->common);
            sonde_alloc_free(&config->alloc, instance->config);
        }
    sonde__bind_clear(&config->alloc, sonde_config_queue_options, &config->queue);
    sonde__bind_clear(&config->alloc, sonde_config_agent_options, &config->agent);
    struct sonde_alloc alloc = config->alloc;
    sonde_alloc_free(&alloc, config);
}
