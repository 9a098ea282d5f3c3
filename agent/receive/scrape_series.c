/* SPDX-License-Identifier: Apache-2.0 */
/* Samples as series. Names stay as they are. A counter is a counter, a histogram a histogram (scrape_histogram.c); sums and
 * counts of summaries are totals that keep their names (up-down counters: a counter would be called ..._count_total);
 * all else, quantiles too, is a gauge. Every value is a double, as it is over there.
 * Source: OpenTelemetry specification, compatibility/prometheus_and_openmetrics.md. */
#include "agent/receive/scrape.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

static enum sonde_instrument_kind kind_of(const struct sonde__exposition_sample *sample) {
    size_t size = strlen(sample->name);
    switch (sample->type) {
    case SONDE__EXPOSITION_COUNTER:
        return SONDE_COUNTER;
    case SONDE__EXPOSITION_SUMMARY:
        return (size > 4 && strcmp(sample->name + size - 4, "_sum") == 0) ||
                       (size > 6 && strcmp(sample->name + size - 6, "_count") == 0)
                   ? SONDE_UP_DOWN_COUNTER
                   : SONDE_GAUGE;
    default:
        return SONDE_GAUGE;
    }
}

static const struct sonde__exposition_label *label_of(const struct sonde__exposition_sample *sample, const char *name) {
    for (size_t i = 0; i < sample->label_count; i++)
        if (strcmp(sample->labels[i].name, name) == 0)
            return &sample->labels[i];
    return NULL;
}

static bool is_added(const struct sonde_string_map *added, const char *name) {
    for (size_t i = 0; i < added->count; i++)
        if (strcmp(added->keys[i], name) == 0)
            return true;
    return false;
}

/* The sample's labels and the configuration's. Where both have one: ours, and theirs as exported_*, or theirs alone. */
static size_t attributes_make(const struct sonde__scrape_config *config, const struct sonde__exposition_sample *sample,
                              struct sonde_attribute *attributes, char exported[][SONDE_KEY_SIZE_MAX + 1]) {
    const struct sonde_string_map *added = &config->labels;
    size_t count = 0;
    for (size_t i = 0; i < sample->label_count; i++) {
        const struct sonde__exposition_label *label = &sample->labels[i];
        struct sonde_key key = {label->name, (uint32_t)label->name_size};
        if (added->count && !config->honor_labels && is_added(added, label->name)) {
            int size = snprintf(exported[count], SONDE_KEY_SIZE_MAX + 1, "exported_%s", label->name);
            key = (struct sonde_key){exported[count], (uint32_t)size};
        }
        attributes[count++] = sonde_attribute_string_n(key, label->value, label->value_size);
    }
    for (size_t i = 0; i < added->count; i++) {
        struct sonde_key key = {added->keys[i], (uint32_t)strlen(added->keys[i])};
        if (!config->honor_labels || !label_of(sample, added->keys[i]))
            attributes[count++] = sonde_attribute_string(key, added->values[i]);
    }
    return count;
}

/* Several target_info: the first of a name counts. */
static void take_info(struct sonde__scrape_told *told, const struct sonde__exposition_sample *sample) {
    for (size_t i = 0; i < sample->label_count && told->count < SONDE__SCRAPE_TOLD_MAX; i++) {
        const struct sonde__exposition_label *label = &sample->labels[i];
        size_t k = 0;
        while (k < told->count && strcmp(told->labels[k].name, label->name) != 0)
            k++;
        if (k < told->count || label->name_size > SONDE_KEY_SIZE_MAX ||
            label->value_size >= sizeof told->labels->value || memchr(label->value, '\0', label->value_size))
            continue;
        memcpy(told->labels[k].name, label->name, label->name_size + 1);
        memcpy(told->labels[k].value, label->value, label->value_size + 1);
        told->count++;
    }
}

int sonde__scrape_set(struct sonde__scrape_take *take, const struct sonde__exposition_sample *sample,
                      struct sonde_series_value *value, double created) {
    struct sonde_attribute attributes[SONDE__EXPOSITION_LABELS_MAX + SONDE__SCRAPE_LABELS_MAX];
    char exported[SONDE__EXPOSITION_LABELS_MAX][SONDE_KEY_SIZE_MAX + 1];
    value->name = sample->name;
    value->unit = "";
    value->description = sample->help;
    value->attributes = attributes;
    value->attribute_count = attributes_make(take->config, sample, attributes, exported);
    int err = sample->is_created ? 0 : sonde_series_set(take->source, value);
    if (!err && created > 0 && created < 9e9) /* seconds; else it is nonsense */
        sonde_series_start(take->source, value->name, attributes, value->attribute_count, (uint64_t)(created * 1e9));
    if (err == SONDE_EINVALID || err == SONDE_ETOOBIG) {
        take->left_out++;
        return 0;
    }
    return err;
}

int sonde__scrape_take_sample(void *user, const struct sonde__exposition_sample *sample) {
    struct sonde__scrape_take *take = user;
    struct sonde_series_value value = {
        .kind = kind_of(sample), .is_double = true, .float64 = sample->value, .start_is_unknown = true};
    if (take->told && strcmp(sample->name, "target_info") == 0) {
        take_info(take->told, sample);
        return 0;
    }
    if (sample->type == SONDE__EXPOSITION_HISTOGRAM)
        return sonde__scrape_histogram_sample(take, sample);
    return sonde__scrape_set(take, sample, &value, sample->is_created ? sample->value : 0);
}
