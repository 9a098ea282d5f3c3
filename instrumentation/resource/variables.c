/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/variables.h"

#include "instrumentation/resource/environment.h"
#include "instrumentation/resource/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- lists ---- */

/* The next item of a list by commas, trimmed; false at its end. Empty ones are passed over. */
static bool item_next(const char **at, struct sonde_string *ret_item) {
    for (;;) {
        *at += strspn(*at, ", \t");
        ret_item->data = *at;
        ret_item->size = strcspn(*at, ",");
        *at += ret_item->size;
        if (!ret_item->size)
            return false;
        while (strchr(" \t", ret_item->data[ret_item->size - 1]))
            ret_item->size--;
        return true;
    }
}

static bool item_is(struct sonde_string item, const char *text) {
    return item.size == strlen(text) && strncasecmp(item.data, text, item.size) == 0;
}

/* Who exports is the agent's business: a service can only say that it has nothing to tell. */
static void exporter_read(const struct sonde__variable *variable, const char *value) {
    static const char *const names[SONDE_SIGNAL_COUNT] = {"OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER",
                                                          "OTEL_METRICS_EXPORTER"};
    struct sonde_string item;
    bool none = false, others = false, unknown = false;
    for (const char *at = value; item_next(&at, &item);) {
        bool is_none = item_is(item, "none");
        none |= is_none;
        others |= !is_none;
        unknown |= !is_none && !item_is(item, "otlp");
    }
    if (unknown || (none && others))
        sonde__environment_refused(variable->name, value, "otlp (sent by the agent), or none alone");
    for (uint32_t signal = 0; none && !others && signal < SONDE_SIGNAL_COUNT; signal++)
        if (strcmp(variable->name, names[signal]) == 0)
            sonde__settings.signals_off |= 1u << signal;
}

/* Other areas' words may stand there: it is not for us to judge them. */
static void stability_read(const struct sonde__variable *variable, const char *value) {
    static const char *const both[] = {"http/dup", "rpc/dup", "messaging/dup", "database/dup"};
    struct sonde_string item;
    for (const char *at = value; item_next(&at, &item);)
        for (size_t i = 0; i < sizeof both / sizeof *both; i++)
            if (item_is(item, both[i]))
                sonde__report("%s: %s is not supported, the stable conventions alone are sent", variable->name,
                              both[i]);
}

/* ---- the rows ---- */

#define AT(field)     offsetof(struct sonde__settings, field)
#define GENERAL_VALUE AT(general_value_length_limit)
#define GENERAL_COUNT AT(general_count_limit)

static const char *const levels[] = {"info", "none", "error", "warn", "debug", NULL}; /* enum sonde__level */
static const char *const aggregations[] = {"base2_exponential_bucket_histogram", "explicit_bucket_histogram", NULL};

const char *const sonde__exemplar_filters[] = {"trace_based", "always_on", "always_off", NULL};

#define BOOL(name_, field, ...)                                                                                        \
    { .name = name_, .type = SONDE__VARIABLE_BOOL, .at = AT(field), __VA_ARGS__ }
#define TEXT(name_, field, ...)                                                                                        \
    { .name = name_, .type = SONDE__VARIABLE_TEXT, .at = AT(field), .most = sizeof sonde__settings.field, __VA_ARGS__ }
#define ENUM(name_, field, values_, ...)                                                                               \
    { .name = name_, .type = SONDE__VARIABLE_ENUM, .at = AT(field), .values = values_, __VA_ARGS__ }
#define LIMIT(name_, field, general_, most_, ...)                                                                      \
    { .name = name_, .type = SONDE__VARIABLE_LIMIT, .at = AT(field), .general = general_, .most = most_, __VA_ARGS__ }
#define LIST(name_, read_, ...)                                                                                        \
    { .name = name_, .type = SONDE__VARIABLE_LIST, .read = read_, __VA_ARGS__ }
#define ELSEWHERE(name_, accepted_, sentence_)                                                                         \
    { .name = name_, .type = SONDE__VARIABLE_ELSEWHERE, .accepted = accepted_, .sentence = sentence_ }
#define AGENT(name_, sentence_)                                                                                        \
    { .name = name_, .type = SONDE__VARIABLE_AGENT, .sentence = sentence_ }
#define NOT_READ(name_, sentence_)                                                                                     \
    { .name = name_, .type = SONDE__VARIABLE_NOT_READ, .sentence = sentence_ }

#define EXPORTER_SENTENCE(signal)                                                                                      \
    "`none` switches " signal " off in this process; otherwise the agent exports them, by its own configuration."

/* The first row decides how the others report; general limits come before those that they are the default of. */
const struct sonde__variable sonde__variables[] = {
    ENUM("OTEL_LOG_LEVEL", report_level, levels,
         .sentence = "What the library reports: `warn` for what was set wrongly or went wrong, `info` also what others "
                     "of its settings mean. Goes to the hook of `sonde_start()`; without a hook to standard error, but "
                     "only if this variable is set."),
    BOOL("OTEL_SDK_DISABLED", disabled,
         .sentence = "Nothing is recorded; `sonde_extract()` and `sonde_inject()` work on."),
    TEXT("OTEL_SERVICE_NAME", service_name,
         .sentence = "`service.name`, before the one in `OTEL_RESOURCE_ATTRIBUTES`."),
    TEXT("OTEL_RESOURCE_ATTRIBUTES", resource_attributes, .accepted = "`key=value,...`, percent-encoded",
         .sentence = "Attributes of the resource, up to 160. An error discards the whole value."),
    ELSEWHERE("OTEL_PROPAGATORS", "list: `tracecontext`, `baggage`, `b3`, ..., or `none`",
              "Formats of contexts (`sonde/propagation.h`); read at the first inject or extract."),
    ELSEWHERE("OTEL_TRACES_SAMPLER", "see `sonde/options.h`", "Which traces are recorded."),
    ELSEWHERE("OTEL_TRACES_SAMPLER_ARG", "see `sonde/options.h`", "The sampler's argument."),
    LIMIT("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", general_value_length_limit, 0, SIZE_MAX,
          .sentence = "Characters of a string attribute, of spans and logs."),
    LIMIT("OTEL_ATTRIBUTE_COUNT_LIMIT", general_count_limit, 0, SONDE_SPAN_ATTRIBUTES_MAX,
          .sentence = "Attributes of a span, an event, a link and a log record."),
    LIMIT("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", attribute_value_length_limit, GENERAL_VALUE, SIZE_MAX,
          .sentence = "The same of spans alone."),
    LIMIT("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", span_attribute_count_limit, GENERAL_COUNT, SONDE_SPAN_ATTRIBUTES_MAX,
          .sentence = "Attributes of a span."),
    LIMIT("OTEL_SPAN_EVENT_COUNT_LIMIT", span_event_count_limit, 0, SONDE_SPAN_EVENTS_MAX,
          .sentence = "Events of a span."),
    LIMIT("OTEL_SPAN_LINK_COUNT_LIMIT", span_link_count_limit, 0, SONDE_SPAN_LINKS_MAX, .sentence = "Links of a span."),
    LIMIT("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", event_attribute_count_limit, GENERAL_COUNT, SONDE_EVENT_ATTRIBUTES_MAX,
          .sentence = "Attributes of an event."),
    LIMIT("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", link_attribute_count_limit, GENERAL_COUNT, SONDE_LINK_ATTRIBUTES_MAX,
          .sentence = "Attributes of a link."),
    LIMIT("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", log_attribute_value_length_limit, GENERAL_VALUE, SIZE_MAX,
          .sentence = "Characters of a string attribute of a log record."),
    LIMIT("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", log_attribute_count_limit, GENERAL_COUNT, SONDE_LOG_ATTRIBUTES_MAX,
          .sentence = "Attributes of a log record."),
    LIST("OTEL_TRACES_EXPORTER", exporter_read, .accepted = "`otlp`, `none`", .sentence = EXPORTER_SENTENCE("spans")),
    LIST("OTEL_METRICS_EXPORTER", exporter_read, .accepted = "`otlp`, `none`",
         .sentence = EXPORTER_SENTENCE("metrics")),
    LIST("OTEL_LOGS_EXPORTER", exporter_read, .accepted = "`otlp`, `none`",
         .sentence = EXPORTER_SENTENCE("log records")),
    ENUM("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", histogram_aggregation, aggregations,
         .sentence = "Histograms without a view and without advised boundaries. Explicit ones get the specification's "
                     "boundaries. The specification's default is explicit; Sonde's is not, because exponential "
                     "histograms fit any range of values."),
    ENUM("OTEL_METRICS_EXEMPLAR_FILTER", exemplar_filter, sonde__exemplar_filters,
         .sentence = "Which measurements may be kept as exemplars of their series: those under a sampled span, all, or "
                     "none."),
    LIST("OTEL_SEMCONV_STABILITY_OPT_IN", stability_read, .accepted = "list: `http`, `rpc`, `messaging`, `database`",
         .sentence = "The stable conventions are what Sonde sends anyway; `http/dup` and the like, which ask for the "
                     "old ones as well, are not supported."),
    ELSEWHERE("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "list of up to 32 methods, case-sensitive",
              "Replaces the methods that are told as they are; others are `_OTHER`."),
    TEXT("SONDE_AGENT_SOCKET", agent_socket, .secure = true,
         .sentence = "Path of the agent's socket, instead of the standard places. Not for set-uid programs."),
    BOOL("SONDE_PROCESS_CONTEXT_DISABLED", process_context_disabled,
         .sentence = "The resource is not published to profilers (OTEP 4719)."),
    ELSEWHERE("SONDE_MESSAGING_SEND_TIME", "`true`, `false`; default `true`",
              "Producers put the time of sending into tracestate, for the time in the queue."),
    ELSEWHERE("XDG_RUNTIME_DIR", "directory", "One of the standard places of the agent's socket is below it."),
    ELSEWHERE("TRACEPARENT, TRACESTATE, BAGGAGE", "see `sonde/carrier/environment.h`",
              "Read when the application extracts from the environment; other propagators' names likewise."),
    ELSEWHERE("_X_AMZN_TRACE_ID", "X-Ray header", "Read by the propagator `xray-lambda`."),
    AGENT("OTEL_EXPORTER_OTLP_*ENDPOINT", "Where `sonded` sends when its file names no exporter."),
    AGENT("OTEL_EXPORTER_OTLP_*PROTOCOL", "`sonded` reads the general one and takes `http/protobuf` alone."),
    AGENT("OTEL_EXPORTER_OTLP_*HEADERS", "`sonded` reads the general one; by signal: two exporters in its file."),
    AGENT("OTEL_EXPORTER_OTLP_*TIMEOUT", "As headers."),
    AGENT("OTEL_EXPORTER_OTLP_*COMPRESSION", "As headers; `gzip` or `none`."),
    AGENT("OTEL_EXPORTER_OTLP_*CERTIFICATE", "As headers."),
    AGENT("OTEL_EXPORTER_OTLP_*CLIENT_CERTIFICATE", "As headers."),
    AGENT("OTEL_EXPORTER_OTLP_*CLIENT_KEY", "As headers."),
    AGENT(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "`cumulative`, `delta` or `lowmemory`, in any case. `sonded` reads it when its file names no exporter; in the "
        "file: `temporality`."),
    AGENT("OTEL_METRIC_EXPORT_INTERVAL", "Of `sonded`: `agent.metrics_interval` in its file."),
    AGENT("OTEL_METRIC_EXPORT_TIMEOUT", "Of `sonded`: `timeout` of its exporter."),
    AGENT("OTEL_BSP_SCHEDULE_DELAY", "Of `sonded`: `batch.timeout` of its exporter."),
    AGENT("OTEL_BSP_EXPORT_TIMEOUT", "Of `sonded`: `timeout` of its exporter."),
    AGENT("OTEL_BSP_MAX_QUEUE_SIZE", "Of `sonded`: `queue.size`."),
    AGENT("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "Of `sonded`: `batch.items` of its exporter."),
    AGENT("OTEL_BLRP_SCHEDULE_DELAY", "As `OTEL_BSP_SCHEDULE_DELAY`."),
    AGENT("OTEL_BLRP_EXPORT_TIMEOUT", "As `OTEL_BSP_EXPORT_TIMEOUT`."),
    AGENT("OTEL_BLRP_MAX_QUEUE_SIZE", "As `OTEL_BSP_MAX_QUEUE_SIZE`."),
    AGENT("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "As `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`."),
    AGENT("OTEL_EXPORTER_PROMETHEUS_HOST", "Of `sonded`: `agent.listen`; it serves `/metrics` for all services."),
    AGENT("OTEL_EXPORTER_PROMETHEUS_PORT", "As the host."),
    NOT_READ("OTEL_CONFIG_FILE", "Not read, since libsonde links no YAML parser: set the variables above, or the "
                                 "options of `sonde_start()`."),
    NOT_READ("OTEL_EXPERIMENTAL_CONFIG_FILE", "As `OTEL_CONFIG_FILE`."),
    NOT_READ("OTEL_EXPORTER_OTLP_*INSECURE", "Of gRPC alone; the scheme of the endpoint tells."),
    NOT_READ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "There is no Zipkin exporter (the specification has given it up)."),
    NOT_READ("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "As the endpoint."),
    NOT_READ("OTEL_ENTITIES", "In development; its attributes may stand in `OTEL_RESOURCE_ATTRIBUTES`."),
    {.name = NULL},
};

/* ---- reading ---- */

static void enum_read(const struct sonde__variable *variable, const char *value, uint32_t *ret_index) {
    char accepted[160] = "";
    size_t length = 0;
    *ret_index = 0;
    for (uint32_t i = 0; value && variable->values[i]; i++) {
        if (strcasecmp(value, variable->values[i]) == 0) {
            *ret_index = i;
            return;
        }
        length +=
            (size_t)snprintf(accepted + length, sizeof accepted - length, "%s%s", i ? ", " : "", variable->values[i]);
    }
    if (value)
        sonde__environment_refused(variable->name, value, accepted);
}

static size_t limit_default(const struct sonde__variable *variable) {
    size_t general = SIZE_MAX;
    if (variable->general)
        memcpy(&general, (const char *)&sonde__settings + variable->general, sizeof general);
    return general < variable->most ? general : variable->most;
}

/* Told when set, since somebody expected something of it. */
static void foreign_read(const struct sonde__variable *variable) {
    static const char *const parts[] = {"", "TRACES_", "METRICS_", "LOGS_"};
    const char *star = strchr(variable->name, '*');
    char name[96];
    for (size_t i = 0; i < (star ? sizeof parts / sizeof *parts : 1); i++) {
        int before = (int)(star ? star - variable->name : (ptrdiff_t)strlen(variable->name));
        (void)snprintf(name, sizeof name, "%.*s%s%s", before, variable->name, parts[i], star ? star + 1 : "");
        if (!sonde__environment_text(name))
            continue;
        if (variable->type == SONDE__VARIABLE_AGENT)
            sonde__report_info("%s: not read by the library, it is for the agent", name);
        else
            sonde__report("%s: not read; see sonde/environment.md", name);
    }
}

static void variable_read(const struct sonde__variable *variable) {
    void *to = (char *)&sonde__settings + variable->at;
    const char *value = sonde__environment_text(variable->name);
    switch (variable->type) {
    case SONDE__VARIABLE_BOOL:
        *(bool *)to = sonde__environment_bool(variable->name);
        break;
    case SONDE__VARIABLE_LIMIT:
        *(size_t *)to = sonde__environment_limit(variable->name, limit_default(variable), variable->most);
        break;
    case SONDE__VARIABLE_TEXT:
        if (!variable->secure || secure_getenv(variable->name))
            (void)sonde__environment_copy(variable->name, to, variable->most);
        break;
    case SONDE__VARIABLE_ENUM:
        enum_read(variable, value, to);
        break;
    case SONDE__VARIABLE_LIST:
        if (value)
            variable->read(variable, value);
        break;
    case SONDE__VARIABLE_ELSEWHERE:
        break;
    case SONDE__VARIABLE_AGENT:
    case SONDE__VARIABLE_NOT_READ:
        foreign_read(variable);
        break;
    }
}

void sonde__variables_read(void) {
    for (const struct sonde__variable *variable = sonde__variables; variable->name; variable++) {
        variable_read(variable);
        if (variable->at == AT(report_level))
            sonde__report_level(sonde__settings.report_level, sonde__environment_text(variable->name) != NULL);
    }
}
