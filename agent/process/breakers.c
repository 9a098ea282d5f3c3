/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers of other libraries come out as our own do. A stage over the store: when all values of a source are
 * set (it was scraped, say) it looks for series that a row of breakers_map.c knows, or for the one metric that its
 * configuration names, and sets the family's series beside them, in the same source. The originals stay. */
#include "agent/log.h"
#include "agent/process/breakers_events.h"
#include "agent/process/breakers_table.h"
#include "agent/process/processor.h"
#include "exporters/prometheus/value.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABELS_MAX SONDE_SERIES_ATTRIBUTES_MAX
#define ROWS_MAX   16u /* of one metric */
#define MAP_MAX    64u

struct breakers_config {
    struct sonde_string_list sources;
    char *metric, *name_attribute;
    struct sonde_string_map state_map;
};

static const struct sonde_option options[] = {
    {"sources", SONDE_OPTION_STRING_LIST, offsetof(struct breakers_config, sources), .default_text = "",
     .sentence =
         "Which libraries' series are looked for: resilience4j, polly, hystrix, envoy, linkerd, failsafe; empty "
         "means all of them, or none where metric is set."},
    {"metric", SONDE_OPTION_STRING, offsetof(struct breakers_config, metric), .default_text = "",
     .sentence = "A gauge of another library whose number is a breaker's state; needs state_map."},
    {"name_attribute", SONDE_OPTION_STRING, offsetof(struct breakers_config, name_attribute), .default_text = "name",
     .sentence = "The label of metric that names the breaker; where it is missing the metric's name is the breaker's."},
    {"state_map", SONDE_OPTION_STRING_MAP, offsetof(struct breakers_config, state_map), .default_text = "",
     .sentence = "What the numbers of metric mean: closed, open, half_open, forced_open, disabled or metrics_only, by "
                 "number; other numbers are not known."},
    SONDE_OPTION_END,
};

struct label {
    const char *key, *value; /* NUL-terminated, in text */
    char plain[64];          /* key, as rows have it; "" = none has it */
};

struct breakers {
    const struct breakers_config *config;
    struct sonde_processor_env env;
    struct breakers_table table;
    struct breakers_events events;
    struct breakers_source own_source;
    struct breakers_row own_row;
    char own_metric[SONDE_KEY_SIZE_MAX + 140], own_label[64];
    double numbers[MAP_MAX];
    enum breakers_state states[MAP_MAX];
    bool left_out_told;
    /* the metric at hand */
    uint32_t metric;
    const struct breakers_row *rows[ROWS_MAX];
    size_t row_count;
    struct label labels[LABELS_MAX];
    size_t label_count;
    struct buffer text;
    struct breakers_identity identity;
};

/* ---- a point ---- */

/* The rows that know the metric. */
static void rows_find(struct breakers *breakers, const struct sonde_metric *metric) {
    char name[128];
    breakers->metric = metric->number;
    breakers->row_count = 0;
    if (!breakers_name_normalize(metric->name.data, metric->name.size, name, sizeof name))
        return;
    if (breakers->own_row.metric && strcmp(breakers->own_row.metric, name) == 0)
        breakers->rows[breakers->row_count++] = &breakers->own_row;
    for (size_t i = 0; i < breakers_row_count && breakers->row_count < ROWS_MAX; i++) {
        const struct breakers_row *row = &breakers_rows[i];
        if (*row->metric != *name || strcmp(row->metric, name) != 0)
            continue;
        bool wanted = !breakers->config->sources.count && !breakers->own_row.metric;
        for (size_t j = 0; j < breakers->config->sources.count; j++)
            wanted |= strcmp(breakers->config->sources.items[j], row->source->name) == 0;
        if (wanted)
            breakers->rows[breakers->row_count++] = row;
    }
}

/* Takes the point's attributes apart. False when out of memory. */
static bool labels_take(struct breakers *breakers, struct sonde_bytes attributes) {
    const uint8_t *at = attributes.data;
    struct sonde_bytes key, value;
    size_t places[LABELS_MAX][2];
    struct buffer *text = &breakers->text;
    breakers->label_count = 0;
    text->size = 0;
    while (breakers->label_count < LABELS_MAX && sonde_prometheus_next_attribute(attributes, 1, &at, &key, &value)) {
        places[breakers->label_count][0] = text->size;
        buffer_put(text, key.data, key.size);
        buffer_put(text, "", 1);
        places[breakers->label_count++][1] = text->size;
        sonde_prometheus_value(text, value);
        buffer_put(text, "", 1);
    }
    for (size_t i = 0; !text->failed && i < breakers->label_count; i++) {
        struct label *label = &breakers->labels[i];
        label->key = text->data + places[i][0];
        label->value = text->data + places[i][1];
        if (!breakers_name_normalize(label->key, strlen(label->key), label->plain, sizeof label->plain))
            label->plain[0] = '\0';
    }
    bool ok = !text->failed;
    text->failed = false;
    return ok;
}

static const struct label *label_find(const struct breakers *breakers, const char *plain) {
    for (size_t i = 0; i < breakers->label_count; i++)
        if (strcmp(breakers->labels[i].plain, plain) == 0)
            return &breakers->labels[i];
    return NULL;
}

static bool is_among(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count && names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Name and labels that are passed on; false when they do not fit. */
static bool identity_make(struct breakers *breakers, const struct sonde_metric *metric,
                          const struct breakers_row *row) {
    struct breakers_identity *identity = &breakers->identity;
    const struct breakers_source *source = row->source;
    size_t more = 0, size = 0, name_count = sizeof source->name_labels / sizeof *source->name_labels;
    identity->library = source->name;
    identity->name[0] = '\0';
    identity->more_size = 0;
    for (size_t i = 0; i < name_count && source->name_labels[i]; i++) {
        const struct label *label = label_find(breakers, source->name_labels[i]);
        if (label && size < sizeof identity->name)
            size += (size_t)snprintf(identity->name + size, sizeof identity->name - size, "%s%s", size ? "/" : "",
                                     label->value);
    }
    if (!size)
        size =
            (size_t)snprintf(identity->name, sizeof identity->name, "%.*s", (int)metric->name.size, metric->name.data);
    for (size_t i = 0; i < breakers->label_count; i++) {
        const struct label *label = &breakers->labels[i];
        size_t key_size = strlen(label->key) + 1, value_size = strlen(label->value) + 1;
        if (is_among(source->name_labels, name_count, label->plain) ||
            is_among(source->left_out, sizeof source->left_out / sizeof *source->left_out, label->plain) ||
            (row->label && strcmp(row->label, label->plain) == 0))
            continue;
        if (more++ == BREAKERS_MORE_MAX || key_size + value_size > sizeof identity->more - identity->more_size)
            return false;
        memcpy(identity->more + identity->more_size, label->key, key_size);
        memcpy(identity->more + identity->more_size + key_size, label->value, value_size);
        identity->more_size += key_size + value_size;
    }
    return size < sizeof identity->name;
}

static enum breakers_state number_state(const struct breakers *breakers, double number) {
    for (size_t i = 0; i < breakers->config->state_map.count; i++)
        if (breakers->numbers[i] == number)
            return breakers->states[i];
    return BREAKERS_STATE_COUNT;
}

static void visit(void *user, const struct sonde_metric *metric, const struct sonde_metric_point *point) {
    struct breakers *breakers = user;
    if (metric->number != breakers->metric)
        rows_find(breakers, metric);
    if (!breakers->row_count || !labels_take(breakers, point->attributes))
        return;
    double value = point->histogram    ? (double)point->histogram->count
                   : metric->is_double ? point->float64
                                       : (double)point->int64;
    breakers->events.resource = metric->resource;
    for (size_t i = 0; i < breakers->row_count; i++) {
        const struct breakers_row *row = breakers->rows[i];
        const struct label *label = row->label ? label_find(breakers, row->label) : NULL;
        if (row->is_of_histogram != (point->histogram != NULL) ||
            !breakers_row_matches(row, label ? label->value : NULL))
            continue;
        if (!identity_make(breakers, metric, row)) {
            breakers->table.left_out++;
            continue;
        }
        struct breaker *breaker = breakers_table_get(&breakers->table, &breakers->identity);
        if (!breaker)
            continue;
        if (row->sum == BREAKERS_DURATION) {
            breakers_table_duration(&breakers->table, breaker, metric, point->histogram, row->scale);
            continue;
        }
        breaker->sums[row->sum] += value * row->scale;
        breaker->present |= UINT64_C(1) << row->sum;
        if (row->sum == BREAKERS_STATE_NUMBER)
            breaker->number_state = number_state(breakers, value);
    }
}

/* ---- a source ---- */

static void look(void *self, struct sonde_series_source *source) {
    struct breakers *breakers = self;
    breakers->table.look++;
    breakers->metric = 0;
    breakers->row_count = 0;
    breakers->identity.owner = source;
    sonde_series_each(source, visit, breakers);
    breakers_table_show(&breakers->table, source);
    breakers_events_flush(&breakers->events);
    if (breakers->table.left_out && !breakers->left_out_told)
        sonde_agent_log(SONDE_LOG_WARN,
                        "some circuit breakers of other libraries are left out: too many, or too long names",
                        "processor=%s", breakers->env.name);
    breakers->left_out_told |= breakers->table.left_out > 0;
}

static void changed(void *user, const struct breaker *breaker, enum breakers_state from, enum breakers_state to) {
    struct breakers *breakers = user;
    breakers_events_add(&breakers->events, breaker, from, to);
}

static void gone(void *self, struct sonde_series_source *source) {
    struct breakers *breakers = self;
    breakers_table_forget(&breakers->table, source);
}

/* ---- life ---- */

static int fail(char *text, size_t size, const char *key, const char *problem) {
    (void)snprintf(text, size, "%s: %s", key, problem);
    return SONDE_EINVALID;
}

static int sources_check(const struct breakers_config *config, char *text, size_t size) {
    for (size_t i = 0; i < config->sources.count; i++) {
        bool known = false;
        for (size_t j = 0; j < breakers_row_count; j++)
            known |= strcmp(breakers_rows[j].source->name, config->sources.items[i]) == 0;
        if (!known)
            return fail(text, size, "sources", "resilience4j, polly, hystrix, envoy, linkerd and failsafe are known");
    }
    return 0;
}

static int map_read(struct breakers *breakers, char *text, size_t size) {
    const struct sonde_string_map *map = &breakers->config->state_map;
    if (map->count > MAP_MAX)
        return fail(text, size, "state_map", "more than 64 numbers");
    for (size_t i = 0; i < map->count; i++) {
        char *end;
        unsigned state = 0;
        breakers->numbers[i] = strtod(map->keys[i], &end);
        while (state < BREAKERS_STATE_COUNT && strcmp(breakers_state_names[state], map->values[i]) != 0)
            state++;
        if (!*map->keys[i] || *end || !isfinite(breakers->numbers[i]))
            return fail(text, size, "state_map", "keys are numbers");
        if (state == BREAKERS_STATE_COUNT)
            return fail(text, size, "state_map",
                        "states are closed, open, half_open, forced_open, disabled and metrics_only");
        breakers->states[i] = (enum breakers_state)state;
    }
    return 0;
}

static int own_row_make(struct breakers *breakers, char *text, size_t size) {
    const struct breakers_config *config = breakers->config;
    if (!*config->metric)
        return config->state_map.count ? fail(text, size, "metric", "state_map is about a metric, and none is named")
                                       : 0;
    if (!config->state_map.count)
        return fail(text, size, "state_map",
                    "what the numbers of metric mean is not guessed: say it, {\"0\": closed, ...}");
    if (!breakers_name_normalize(config->metric, strlen(config->metric), breakers->own_metric, 128) ||
        !breakers_name_normalize(config->name_attribute, strlen(config->name_attribute), breakers->own_label,
                                 sizeof breakers->own_label))
        return fail(text, size, "metric", "it or name_attribute is too long");
    breakers->own_source = (struct breakers_source){"state_map", {breakers->own_label}, {NULL}};
    breakers->own_row =
        (struct breakers_row){&breakers->own_source, breakers->own_metric, NULL, NULL, BREAKERS_STATE_NUMBER, 1, false};
    return map_read(breakers, text, size);
}

static void destroy(void *self) {
    struct breakers *breakers = self;
    if (!breakers)
        return;
    sonde_series_stage_remove(breakers->env.series, breakers);
    breakers_table_forget(&breakers->table, NULL);
    buffer_deinit(&breakers->text);
    sonde_alloc_free(&breakers->env.seams->alloc, breakers);
}

static int create(const void *config_data, const struct sonde_processor_env *env, void **ret_self, char *error_text,
                  size_t error_text_size) {
    const struct breakers_config *config = config_data;
    int err = sources_check(config, error_text, error_text_size);
    if (err)
        return err;
    struct breakers *breakers = sonde_alloc_new(&env->seams->alloc, sizeof *breakers);
    if (!breakers)
        return -ENOMEM;
    memset(breakers, 0, sizeof *breakers);
    breakers->config = config;
    breakers->env = *env;
    breakers->table.seams = env->seams;
    breakers->table.changed = changed;
    breakers->table.changed_user = breakers;
    breakers->events.env = &breakers->env;
    buffer_init(&breakers->text, &env->seams->alloc);
    err = own_row_make(breakers, error_text, error_text_size);
    if (!err)
        err = sonde_series_stage_add(env->series, &(struct sonde_series_stage){look, gone, breakers});
    if (err) {
        destroy(breakers);
        return err;
    }
    *ret_self = breakers;
    return 0;
}

static size_t figures(void *self, struct sonde_processor_figure *ret_figures) {
    const struct breakers *breakers = self;
    ret_figures[0] = (struct sonde_processor_figure){"breakers", breakers->table.count};
    ret_figures[1] = (struct sonde_processor_figure){"left_out", breakers->table.left_out};
    return 2;
}

const struct sonde_processor_ops sonde_processor_breakers = {
    .name = "breakers",
    .summary = "circuit breakers of other libraries, shown as our own are",
    .config_size = sizeof(struct breakers_config),
    .options = options,
    .by_default = true,
    .create = create,
    .figures = figures,
    .destroy = destroy,
};
