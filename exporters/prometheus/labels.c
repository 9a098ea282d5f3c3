/* SPDX-License-Identifier: Apache-2.0 */
/* Source: OpenTelemetry specification, compatibility/prometheus_and_openmetrics.md (resource attributes, scope,
 * labels). */
#include "exporters/prometheus/labels.h"
#include "exporters/prometheus/escape.h"
#include "exporters/prometheus/value.h"
#include "instrumentation/wire/read.h"

enum { RESOURCE_ATTRIBUTES = 1, SCOPE_NAME = 1, SCOPE_VERSION = 2, SCOPE_ATTRIBUTES = 3, POINT_ATTRIBUTES = 1 };

/* A label as labels_base() leaves it; its name and value follow. */
struct base_label {
    uint64_t name_hash;
    uint32_t name_size, value_size;
    uint64_t is_quoted;
};
_Static_assert(sizeof(struct base_label) == 24, "bases are compared by their bytes: no padding");

void labels_init(struct labels *labels, const struct sonde_alloc *alloc,
                 const struct sonde_prometheus_settings *settings, enum sonde_prometheus_escaping escaping) {
    label_names_init(&labels->names, alloc, (enum sonde_prometheus_strategy)settings->strategy, escaping);
    labels->scope_labels = settings->scope_labels;
    buffer_init(&labels->text, alloc);
    buffer_init(&labels->list, alloc);
    labels->refused = 0;
}
void labels_deinit(struct labels *labels) {
    label_names_deinit(&labels->names);
    buffer_deinit(&labels->text);
    buffer_deinit(&labels->list);
}
bool labels_failed(const struct labels *labels) {
    return labels->text.failed || labels->list.failed;
}

static struct label *list_of(const struct labels *labels, size_t *ret_count) {
    *ret_count = labels->list.size / sizeof(struct label);
    return (struct label *)(void *)labels->list.data;
}

static int name_order(const struct label *a, const struct label *b) {
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = size ? memcmp(a->name, b->name, size) : 0;
    return order ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* Sorted by name, stable. Labels without a value are none. Keys come sorted, so that mostly it stays near the end. */
static void insert(struct labels *labels, struct label label) {
    if (!label.value_size || !buffer_reserve(&labels->list, sizeof label))
        return;
    size_t count;
    struct label *list = list_of(labels, &count);
    size_t at = count;
    while (at > 0 && name_order(&list[at - 1], &label) > 0)
        at--;
    memmove(&list[at + 1], &list[at], (count - at) * sizeof label);
    list[at] = label;
    labels->list.size += sizeof label;
}

static void insert_named(struct labels *labels, const char *name, struct sonde_bytes value) {
    size_t size = strlen(name);
    insert(labels, (struct label){.name = name,
                                  .name_size = (uint32_t)size,
                                  .name_hash = label_hash(name, size, 1),
                                  .value = (const char *)value.data,
                                  .value_size = (uint32_t)value.size});
}

/* What was appended to text from `at` on. */
static void insert_text(struct labels *labels, const char *name, size_t at) {
    size_t size = strlen(name);
    insert(labels, (struct label){.name = name,
                                  .name_size = (uint32_t)size,
                                  .name_hash = label_hash(name, size, 1),
                                  .value_at = at,
                                  .value_size = (uint32_t)(labels->text.size - at)});
}

static bool is(struct sonde_bytes key, const char *text) {
    return key.size == strlen(text) && memcmp(key.data, text, key.size) == 0;
}

static void insert_attribute(struct labels *labels, const struct label_name *name, struct sonde_bytes value) {
    if (!name || !name->size) {
        labels->list.failed |= !name;
        labels->refused += name != NULL;
        return;
    }
    struct label label = {.name = name->text,
                          .name_size = name->size,
                          .name_hash = name->hash,
                          .is_quoted = name->is_quoted,
                          .value_at = labels->text.size};
    if (value.size >= 2 && value.data[0] == 0x0A && value.data[1] < 0x80 && value.size == value.data[1] + 2u) {
        label.value = (const char *)value.data + 2; /* a short string: as it stands there */
        label.value_size = value.data[1];
    } else {
        sonde_prometheus_value(&labels->text, value);
        label.value_size = (uint32_t)(labels->text.size - label.value_at);
    }
    insert(labels, label);
}

/* Puts two values behind each other into text, where there is room for it; the first may be there already. */
static void join(struct labels *labels, struct label *joined, const struct label *other) {
    struct buffer *text = &labels->text;
    const char *end = text->data + text->size;
    if (joined->value + joined->value_size != end) {
        buffer_put(text, joined->value, joined->value_size);
        joined->value = end;
    }
    buffer_char(text, ';');
    buffer_put(text, other->value, other->value_size);
    joined->value_size += other->value_size + 1;
}

/* Now that text stays where it is: gives all values an address, and joins those of one name by ';'. */
static void settle(struct labels *labels) {
    size_t count, kept = 0, room = 0;
    struct label *list = list_of(labels, &count);
    for (size_t i = 0; i < count; i++)
        room += 2 * (list[i].value_size + 1u);
    if (!count || !buffer_reserve(&labels->text, room))
        return;
    for (size_t i = 0; i < count; i++) {
        if (!list[i].value)
            list[i].value = labels->text.data + list[i].value_at;
        if (kept && name_order(&list[kept - 1], &list[i]) == 0)
            join(labels, &list[kept - 1], &list[i]);
        else
            list[kept++] = list[i];
    }
    labels->list.size = kept * sizeof *list;
}

static void clear(struct labels *labels) {
    labels->text.size = 0;
    labels->list.size = 0;
}

/* service.namespace/service.name and service.instance.id. */
static void insert_resource(struct labels *labels, struct sonde_bytes resource) {
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
    size_t from = labels->text.size;
    sonde_prometheus_value(&labels->text, space);
    if (labels->text.size > from)
        buffer_char(&labels->text, '/');
    sonde_prometheus_value(&labels->text, name);
    insert_text(labels, "job", from);
    from = labels->text.size;
    sonde_prometheus_value(&labels->text, instance);
    insert_text(labels, "instance", from);
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

static void insert_scope(struct labels *labels, const struct sonde_metric *metric) {
    insert_named(labels, "otel_scope_name", string_field(metric->scope, SCOPE_NAME));
    insert_named(labels, "otel_scope_version", string_field(metric->scope, SCOPE_VERSION));
    insert_named(labels, "otel_scope_schema_url", metric->schema_url);
    const uint8_t *at = metric->scope.data;
    struct sonde_bytes key, value;
    while (sonde_prometheus_next_attribute(metric->scope, SCOPE_ATTRIBUTES, &at, &key, &value))
        insert_attribute(labels, label_names_find(&labels->names, LABEL_PREFIX_SCOPE, (const char *)key.data, key.size),
                         value);
}

void labels_base(struct labels *labels, const struct sonde_metric *metric, struct buffer *to) {
    clear(labels);
    insert_resource(labels, metric->resource);
    if (labels->scope_labels)
        insert_scope(labels, metric);
    settle(labels);
    size_t count;
    const struct label *list = list_of(labels, &count);
    for (size_t i = 0; i < count; i++) {
        const struct base_label head = {list[i].name_hash, list[i].name_size, list[i].value_size, list[i].is_quoted};
        buffer_put(to, &head, sizeof head);
        buffer_put(to, list[i].name, list[i].name_size);
        buffer_put(to, list[i].value, list[i].value_size);
    }
    to->failed |= labels_failed(labels);
}

static void insert_base(struct labels *labels, struct sonde_bytes base) {
    struct base_label head;
    for (size_t at = 0; at < base.size; at += head.name_size + head.value_size) {
        memcpy(&head, base.data + at, sizeof head);
        at += sizeof head;
        struct label label = {.name = (const char *)base.data + at,
                              .name_size = head.name_size,
                              .value = (const char *)base.data + at + head.name_size,
                              .value_size = head.value_size,
                              .name_hash = head.name_hash,
                              .is_quoted = head.is_quoted};
        buffer_put(&labels->list, &label, sizeof label); /* sorted already */
    }
}

static const char breaker_space[] = "sonde.circuit_breaker.";
#define BREAKER_SPACE_SIZE (sizeof breaker_space - 1)

struct labels_kind labels_kind_of(const struct sonde_metric *metric) {
    return (struct labels_kind){.is_histogram = metric->kind == SONDE_HISTOGRAM,
                                .is_of_breaker = metric->name.size >= BREAKER_SPACE_SIZE &&
                                                 memcmp(metric->name.data, breaker_space, BREAKER_SPACE_SIZE) == 0};
}

/* Attributes of circuit breakers are within their metrics' name space: sonde.circuit_breaker.name of
 * sonde.circuit_breaker.state is `name` here, as it is for other libraries' breakers. */
static struct sonde_bytes key_within(struct sonde_bytes key) {
    if (key.size <= BREAKER_SPACE_SIZE || memcmp(key.data, breaker_space, BREAKER_SPACE_SIZE) != 0)
        return key;
    return (struct sonde_bytes){key.data + BREAKER_SPACE_SIZE, key.size - BREAKER_SPACE_SIZE};
}

/* The next KeyValue. Mostly both fields are there, in order, and short: then without the general reader's turns. */
static bool next_attribute(struct sonde_bytes attributes, const uint8_t **at, struct sonde_bytes *ret_key,
                           struct sonde_bytes *ret_value) {
    const uint8_t *p = *at, *end = attributes.data + attributes.size;
    if (end - p >= 6 && p[0] == 0x0A && p[1] < 0x80 && p[1] >= 4 && end - p - 2 >= p[1] && p[2] == 0x0A &&
        p[3] + 4u <= p[1]) {
        const uint8_t *value = p + 4 + p[3];
        if (value[0] == 0x12 && value[1] < 0x80 && p[3] + value[1] + 4u == p[1]) {
            *ret_key = (struct sonde_bytes){p + 4, p[3]};
            *ret_value = (struct sonde_bytes){value + 2, value[1]};
            *at = p + 2 + p[1];
            return true;
        }
    }
    return sonde_prometheus_next_attribute(attributes, POINT_ATTRIBUTES, at, ret_key, ret_value);
}

void labels_point(struct labels *labels, struct labels_kind kind, struct sonde_bytes base,
                  struct sonde_bytes attributes) {
    const uint8_t *at = attributes.data;
    struct sonde_bytes key, value;
    clear(labels);
    insert_base(labels, base);
    for (size_t i = 0; next_attribute(attributes, &at, &key, &value); i++) {
        if (kind.is_of_breaker)
            key = key_within(key);
        const struct label_name *name = label_names_find_at(&labels->names, i, (const char *)key.data, key.size);
        if (name && (name->is_identity || (name->is_le && kind.is_histogram)))
            name = label_names_find(&labels->names, LABEL_PREFIX_EXPORTED, (const char *)key.data, key.size);
        insert_attribute(labels, name, value);
    }
    settle(labels);
}

size_t labels_target(struct labels *labels, struct sonde_bytes resource) {
    const uint8_t *at = resource.data;
    struct sonde_bytes key, value;
    size_t others = 0;
    clear(labels);
    insert_resource(labels, resource);
    while (sonde_prometheus_next_attribute(resource, RESOURCE_ATTRIBUTES, &at, &key, &value)) {
        if (is(key, "service.namespace") || is(key, "service.name") || is(key, "service.instance.id"))
            continue;
        enum label_prefix prefix = is(key, "job") || is(key, "instance") ? LABEL_PREFIX_EXPORTED : LABEL_PREFIX_NONE;
        insert_attribute(labels, label_names_find(&labels->names, prefix, (const char *)key.data, key.size), value);
        others++;
    }
    settle(labels);
    return others;
}

/* Of all names and values of an exemplar, in code points. Source: OpenMetrics 1.0.0, Exemplars. */
#define EXEMPLAR_SIZE_MAX 128u

static size_t code_points(const char *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static void insert_hex(struct labels *labels, const char *name, const uint8_t *bytes, size_t size) {
    size_t from = labels->text.size;
    for (size_t i = 0; i < size; i++) {
        buffer_char(&labels->text, "0123456789abcdef"[bytes[i] >> 4]);
        buffer_char(&labels->text, "0123456789abcdef"[bytes[i] & 15]);
    }
    insert_text(labels, name, from);
}

void labels_exemplar(struct labels *labels, const struct sonde__metric_exemplar *exemplar) {
    const struct sonde_bytes attributes = {exemplar->attributes, exemplar->attributes_size};
    const uint8_t *at = attributes.data;
    struct sonde_bytes key, value;
    size_t used = 0;
    clear(labels);
    if (!all_zero(exemplar->trace_id, sizeof exemplar->trace_id)) {
        insert_hex(labels, "trace_id", exemplar->trace_id, sizeof exemplar->trace_id);
        insert_hex(labels, "span_id", exemplar->span_id, sizeof exemplar->span_id);
        used = sizeof "trace_id" - 1 + 32 + sizeof "span_id" - 1 + 16;
    }
    while (sonde_prometheus_next_attribute(attributes, POINT_ATTRIBUTES, &at, &key, &value)) {
        const struct label_name *name =
            label_names_find(&labels->names, LABEL_PREFIX_NONE, (const char *)key.data, key.size);
        size_t from = labels->text.size;
        if (!name || !name->size || (used && (is(key, "trace_id") || is(key, "span_id"))))
            continue;
        sonde_prometheus_value(&labels->text, value);
        size_t size =
            code_points(name->text, name->size) + code_points(labels->text.data + from, labels->text.size - from);
        if (labels->text.failed || used + size > EXEMPLAR_SIZE_MAX) {
            labels->text.size = from;
            continue;
        }
        used += size;
        insert(labels, (struct label){.name = name->text,
                                      .name_size = name->size,
                                      .name_hash = name->hash,
                                      .is_quoted = name->is_quoted,
                                      .value_at = from,
                                      .value_size = (uint32_t)(labels->text.size - from)});
    }
    settle(labels);
}

uint64_t labels_hash(const struct labels *labels) {
    size_t count;
    const struct label *list = list_of(labels, &count);
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++)
        hash = label_hash(list[i].value, list[i].value_size, hash ^ list[i].name_hash);
    return hash;
}
