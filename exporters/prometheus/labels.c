/* SPDX-License-Identifier: Apache-2.0 */
/* Source: OpenTelemetry specification, compatibility/prometheus_and_openmetrics.md (resource attributes, scope,
 * labels). */
#include "exporters/prometheus/labels.h"
#include "exporters/prometheus/name.h"
#include "exporters/prometheus/value.h"
#include "instrumentation/wire/read.h"

enum { RESOURCE_ATTRIBUTES = 1, SCOPE_NAME = 1, SCOPE_VERSION = 2, SCOPE_ATTRIBUTES = 3, POINT_ATTRIBUTES = 1 };

void labels_init(struct labels *labels, const struct sonde_alloc *alloc) {
    buffer_init(&labels->text, alloc);
    buffer_init(&labels->pairs, alloc);
    labels->refused = 0;
}
void labels_deinit(struct labels *labels) {
    buffer_deinit(&labels->text);
    buffer_deinit(&labels->pairs);
}

static struct label *pairs_of(const struct labels *labels, size_t *ret_count) {
    *ret_count = labels->pairs.size / sizeof(struct label);
    return (struct label *)(void *)labels->pairs.data;
}

static int name_order(const struct labels *labels, const struct label *a, const struct label *b) {
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(labels->text.data + a->name_at, labels->text.data + b->name_at, size);
    return order ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* Adds the label whose name and value were appended to text; sorted by name, stable. Labels without a value are none.
 */
static void label_insert(struct labels *labels, struct label label) {
    if (!label.value_size || labels->text.failed || !buffer_reserve(&labels->pairs, sizeof label))
        return;
    size_t count;
    struct label *pairs = pairs_of(labels, &count);
    size_t at = count;
    while (at > 0 && name_order(labels, &pairs[at - 1], &label) > 0)
        at--;
    memmove(&pairs[at + 1], &pairs[at], (count - at) * sizeof label);
    pairs[at] = label;
    labels->pairs.size += sizeof label;
}

static void add_text(struct labels *labels, const char *name, struct sonde_bytes value) {
    struct label label = {labels->text.size, strlen(name), 0, value.size};
    buffer_text(&labels->text, name);
    label.value_at = labels->text.size;
    buffer_put(&labels->text, value.data, value.size);
    label_insert(labels, label);
}

static bool is(struct sonde_bytes key, const char *text) {
    return key.size == strlen(text) && memcmp(key.data, text, key.size) == 0;
}

/* prefix is put before the name as it is, when the name was accepted. */
static void add_attribute(struct labels *labels, const char *prefix, struct sonde_bytes key, struct sonde_bytes value) {
    struct label label = {.name_at = labels->text.size};
    buffer_text(&labels->text, prefix);
    if (!sonde_prometheus_label_name(&labels->text, (const char *)key.data, key.size)) {
        labels->text.size = label.name_at;
        labels->refused++;
        return;
    }
    label.name_size = labels->text.size - label.name_at;
    label.value_at = labels->text.size;
    sonde_prometheus_value(&labels->text, value);
    label.value_size = labels->text.size - label.value_at;
    label_insert(labels, label);
}

/* service.namespace/service.name and service.instance.id. */
static void add_resource(struct labels *labels, struct sonde_bytes resource) {
    const uint8_t *at = resource.data;
    struct sonde_bytes key, value, space = {NULL, 0}, name = {NULL, 0}, instance = {NULL, 0};
    while (sonde_prometheus_next_attribute(resource, RESOURCE_ATTRIBUTES, &at, &key, &value)) {
        if (is(key, "service.namespace"))
            space = value;
        else if (is(key, "service.name"))
            name = value;
        else if (is(key, "service.instance.id"))
            instance = value;
    }
    struct label job = {labels->text.size, 3, 0, 0};
    buffer_text(&labels->text, "job");
    job.value_at = labels->text.size;
    sonde_prometheus_value(&labels->text, space);
    if (labels->text.size > job.value_at)
        buffer_text(&labels->text, "/");
    sonde_prometheus_value(&labels->text, name);
    job.value_size = labels->text.size - job.value_at;
    label_insert(labels, job);
    struct label label = {labels->text.size, 8, 0, 0};
    buffer_text(&labels->text, "instance");
    label.value_at = labels->text.size;
    sonde_prometheus_value(&labels->text, instance);
    label.value_size = labels->text.size - label.value_at;
    label_insert(labels, label);
}

/* Name and version are the scope's own fields. */
static struct sonde_bytes string_field(struct sonde_bytes message, unsigned field) {
    const uint8_t *p = message.data, *end = message.data + message.size;
    struct sonde_bytes found = {NULL, 0};
    while (message.size && p && p < end) {
        uint64_t tag;
        size_t size;
        p = sonde__read_varint(p, end, &tag);
        if (!p)
            break;
        if (tag != SONDE__TAG(field, SONDE__WIRE_BYTES)) {
            p = sonde__read_skip(p, end, (unsigned)(tag & 7));
            continue;
        }
        p = sonde__read_size(p, end, &size);
        if (!p)
            break;
        found = (struct sonde_bytes){p, size};
        p += size;
    }
    return found;
}

static void add_scope(struct labels *labels, const struct sonde_metric *metric) {
    add_text(labels, "otel_scope_name", string_field(metric->scope, SCOPE_NAME));
    add_text(labels, "otel_scope_version", string_field(metric->scope, SCOPE_VERSION));
    add_text(labels, "otel_scope_schema_url", metric->schema_url);
    const uint8_t *at = metric->scope.data;
    struct sonde_bytes key, value;
    while (sonde_prometheus_next_attribute(metric->scope, SCOPE_ATTRIBUTES, &at, &key, &value))
        add_attribute(labels, "otel_scope_", key, value);
}

void labels_escape(struct buffer *to, const char *text, size_t size, bool quotes) {
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        const char *escaped = text[i] == '\\'            ? "\\\\"
                              : text[i] == '\n'          ? "\\n"
                              : text[i] == '"' && quotes ? "\\\""
                                                         : NULL;
        if (!escaped)
            continue;
        buffer_put(to, text + from, i - from);
        buffer_text(to, escaped);
        from = i + 1;
    }
    buffer_put(to, text + from, size - from);
}

/* All labels as text, those of one name joined by ';'. */
static void write_all(struct labels *labels, struct buffer *to) {
    size_t count;
    const struct label *pairs = pairs_of(labels, &count);
    const char *text = labels->text.data;
    if (labels->text.failed || labels->pairs.failed)
        to->failed = true;
    for (size_t i = 0; i < count && !to->failed; i++) {
        if (i && name_order(labels, &pairs[i - 1], &pairs[i]) == 0) {
            buffer_text(to, ";");
        } else {
            buffer_text(to, i ? "\"," : "");
            buffer_put(to, text + pairs[i].name_at, pairs[i].name_size);
            buffer_text(to, "=\"");
        }
        labels_escape(to, text + pairs[i].value_at, pairs[i].value_size, true);
    }
    if (count)
        buffer_text(to, "\"");
}

static void clear(struct labels *labels) {
    labels->text.size = 0;
    labels->pairs.size = 0;
}

/* Attributes of circuit breakers are within their metrics' name space: sonde.circuit_breaker.name of
 * sonde.circuit_breaker.state is `name` here, as it is for other libraries' breakers. */
static struct sonde_bytes key_within(const struct sonde_metric *metric, struct sonde_bytes key) {
    static const char space[] = "sonde.circuit_breaker.";
    const size_t size = sizeof space - 1;
    if (key.size <= size || memcmp(key.data, space, size) != 0 || metric->name.size < size ||
        memcmp(metric->name.data, space, size) != 0)
        return key;
    return (struct sonde_bytes){key.data + size, key.size - size};
}

void labels_write_point(struct labels *labels, const struct sonde_metric *metric, struct sonde_bytes attributes,
                        struct buffer *to) {
    const uint8_t *at = attributes.data;
    struct sonde_bytes key, value;
    clear(labels);
    add_resource(labels, metric->resource);
    add_scope(labels, metric);
    while (sonde_prometheus_next_attribute(attributes, POINT_ATTRIBUTES, &at, &key, &value)) {
        key = key_within(metric, key);
        bool taken = is(key, "job") || is(key, "instance") || (is(key, "le") && metric->kind == SONDE_HISTOGRAM);
        add_attribute(labels, taken ? "exported_" : "", key, value);
    }
    write_all(labels, to);
}

size_t labels_write_target(struct labels *labels, struct sonde_bytes resource, struct buffer *to) {
    const uint8_t *at = resource.data;
    struct sonde_bytes key, value;
    size_t others = 0;
    clear(labels);
    add_resource(labels, resource);
    while (sonde_prometheus_next_attribute(resource, RESOURCE_ATTRIBUTES, &at, &key, &value)) {
        if (is(key, "service.namespace") || is(key, "service.name") || is(key, "service.instance.id"))
            continue;
        bool taken = is(key, "job") || is(key, "instance");
        add_attribute(labels, taken ? "exported_" : "", key, value);
        others++;
    }
    write_all(labels, to);
    return others;
}
