/* SPDX-License-Identifier: Apache-2.0 */
/* One table, one writer. Names reuse OpenTelemetry's messaging attributes (semantic conventions, messaging); state,
 * estimate, kind and error.type are as documented with the metric. */
#include "agent/collect/family.h"
#include <string.h>

static const struct row {
    enum sonde_instrument_kind kind;
    bool is_double;
    const char *name, *unit, *description;
} rows[] = {
#define IS_INT    false
#define IS_DOUBLE true
#define ROW(id, kind, number, name, unit, description)                                                                 \
    [SONDE__MESSAGING_##id] = {SONDE_##kind, IS_##number, name, unit, description},
    SONDE__MESSAGING_METRICS(ROW)
#undef ROW
#undef IS_INT
#undef IS_DOUBLE
};

static void add(struct sonde_attribute *attributes, size_t *count, struct sonde_key key, struct sonde_string text) {
    if (text.data)
        attributes[(*count)++] = sonde_attribute_string_n(key, text.data, text.size);
}
static void add_static(struct sonde_attribute *attributes, size_t *count, struct sonde_key key, const char *text) {
    if (text)
        attributes[(*count)++] = sonde_attribute_string(key, text);
}

struct sonde_series_value sonde__messaging_value(enum sonde__messaging_metric metric) {
    const struct row *row = &rows[metric];
    return (struct sonde_series_value){.kind = row->kind,
                                       .name = row->name,
                                       .unit = row->unit,
                                       .description = row->description,
                                       .is_double = row->is_double};
}

int sonde__messaging_set(struct sonde_series_source *source, const struct sonde_attribute *common, size_t common_count,
                         enum sonde__messaging_metric metric, const struct sonde__messaging_of *of, double value,
                         uint64_t since_unix_ns) {
    struct sonde_attribute attributes[SONDE__MESSAGING_COMMON_MAX + SONDE__MESSAGING_MORE_MAX + 8];
    size_t count = 0;
    memcpy(attributes, common, common_count * sizeof *attributes);
    count += common_count;
    add(attributes, &count, SONDE_KEY("messaging.destination.name"), of->destination);
    add(attributes, &count, SONDE_KEY("messaging.destination.subscription.name"), of->subscription);
    add(attributes, &count, SONDE_KEY("messaging.consumer.group.name"), of->group);
    add(attributes, &count, SONDE_KEY("messaging.destination.partition.id"), of->partition);
    add_static(attributes, &count, SONDE_KEY("state"), of->state);
    add_static(attributes, &count, SONDE_KEY("estimate"), of->estimate);
    add_static(attributes, &count, SONDE_KEY("kind"), of->kind);
    add_static(attributes, &count, SONDE_KEY("error.type"), of->error_type);
    for (size_t i = 0; i < of->more_count; i++)
        attributes[count++] = of->more[i];
    struct sonde_series_value series = sonde__messaging_value(metric);
    series.attributes = attributes;
    series.attribute_count = count;
    series.int64 = series.is_double ? 0 : (int64_t)value;
    series.float64 = series.is_double ? value : 0;
    series.start_unix_ns = since_unix_ns;
    series.start_is_unknown = series.kind == SONDE_COUNTER && since_unix_ns == 0;
    return sonde_series_set(source, &series);
}
