/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/metric/instrument.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <strings.h>

/* metrics/sdk.md#explicit-bucket-histogram-aggregation */
static const double default_bounds[] = {0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000};

bool sonde__instrument_name_is_valid(const char *name) {
    if (!name || !((name[0] >= 'a' && name[0] <= 'z') || (name[0] >= 'A' && name[0] <= 'Z')))
        return 0;
    size_t size = strnlen(name, SONDE__INSTRUMENT_NAME_MAX + 1);
    static const char accepted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
    return size <= SONDE__INSTRUMENT_NAME_MAX && strspn(name, accepted) == size;
}

bool sonde__instrument_unit_is_valid(const char *unit) {
    size_t size = unit ? strnlen(unit, SONDE__INSTRUMENT_UNIT_MAX + 1) : 0;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)unit[i] < 0x20 || (unsigned char)unit[i] >= 0x7F)
            return 0;
    return size <= SONDE__INSTRUMENT_UNIT_MAX;
}

bool sonde__instrument_description_is_valid(const char *description) {
    size_t size = description ? strnlen(description, SONDE__INSTRUMENT_DESCRIPTION_MAX + 1) : 0;
    return size <= SONDE__INSTRUMENT_DESCRIPTION_MAX && (!size || sonde__utf8_is_valid(description, size));
}

bool sonde__instrument_bounds_are_valid(const double *bounds, size_t count) {
    if (count > SONDE__BOUNDS_MAX || (count && !bounds))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(bounds[i]) || (i && bounds[i] <= bounds[i - 1]))
            return 0;
    return 1;
}

bool sonde__instrument_options_are_valid(const struct sonde_instrument_options *options) {
    return options && options->size >= sizeof *options && options->kind >= SONDE_COUNTER &&
           options->kind <= SONDE_OBSERVABLE_GAUGE &&
           (options->number == SONDE_NUMBER_INT64 || options->number == SONDE_NUMBER_DOUBLE) &&
           options->scope < SONDE_SCOPES_MAX && sonde__instrument_name_is_valid(options->name) &&
           sonde__instrument_unit_is_valid(options->unit) &&
           sonde__instrument_description_is_valid(options->description) &&
           sonde__instrument_bounds_are_valid(options->bounds, options->bound_count);
}

static const double *default_bounds_get(size_t *ret_count) {
    *ret_count = sizeof default_bounds / sizeof default_bounds[0];
    return default_bounds;
}

/* Boundaries to keep: the view's, the advised ones, the specification's when the environment wants explicit buckets, or
 * none. */
static const double *bounds_choose(const struct sonde_instrument_options *options,
                                   const struct sonde_view_options *view, size_t *ret_count) {
    enum sonde_aggregation aggregation = view ? view->aggregation : SONDE_AGGREGATION_DEFAULT;
    *ret_count = 0;
    if (options->kind != SONDE_HISTOGRAM || aggregation == SONDE_AGGREGATION_EXPONENTIAL)
        return NULL;
    if (aggregation == SONDE_AGGREGATION_EXPLICIT_BUCKETS && view->bound_count) {
        *ret_count = view->bound_count;
        return view->bounds;
    }
    if (options->bounds && options->bound_count) {
        *ret_count = options->bound_count;
        return options->bounds;
    }
    if (aggregation == SONDE_AGGREGATION_EXPLICIT_BUCKETS || sonde__settings_get()->histogram_aggregation)
        return default_bounds_get(ret_count);
    return NULL;
}

static char *text_copy(const char *of_view, const char *own) {
    return strdup(of_view ? of_view : own ? own : "");
}

int sonde__instrument_init(struct sonde__instrument *instrument, const struct sonde_instrument_options *options,
                           const struct sonde_view_options *view) {
    if (!sonde__instrument_options_are_valid(options))
        return SONDE_EINVALID;
    size_t count;
    const double *bounds = bounds_choose(options, view, &count);
    instrument->kind = options->kind;
    instrument->number = options->kind == SONDE_HISTOGRAM ? SONDE_NUMBER_DOUBLE : options->number;
    instrument->scope = options->scope;
    instrument->name = text_copy(view ? view->name : NULL, options->name);
    instrument->unit = text_copy(NULL, options->unit);
    instrument->description = text_copy(view ? view->description : NULL, options->description);
    instrument->view = view;
    instrument->series_max = view && view->series_max ? view->series_max : SONDE_SERIES_PER_INSTRUMENT_MAX;
    if (count && (instrument->bounds = malloc(count * sizeof *bounds)) != NULL) {
        memcpy(instrument->bounds, bounds, count * sizeof *bounds);
        instrument->bound_count = (uint32_t)count;
    }
    if (!instrument->name || !instrument->unit || !instrument->description || instrument->bound_count != count)
        return -ENOMEM;
    return 0;
}

void sonde__instrument_deinit(struct sonde__instrument *instrument) {
    free(instrument->name);
    free(instrument->unit);
    free(instrument->description);
    free(instrument->bounds);
    *instrument = (struct sonde__instrument){0};
}

enum sonde_instrument_kind sonde__instrument_base_kind(enum sonde_instrument_kind kind) {
    return kind > SONDE_HISTOGRAM ? kind - SONDE_OBSERVABLE_COUNTER + SONDE_COUNTER : kind;
}

/* Of exponential histograms as many as the specification's MAX_SIZE allows for (160 buckets, so 20). */
struct sonde__reservoir_plan sonde__instrument_reservoir(const struct sonde__instrument *instrument) {
    const struct sonde_view_options *view = instrument->view;
    enum sonde_reservoir kind = view ? view->reservoir : SONDE_RESERVOIR_DEFAULT;
    struct sonde__reservoir_plan plan = {.lanes = 1, .per_lane = 1};
    plan.has_attributes = view && (view->keep_key_count || view->drop_key_count);
    if (kind == SONDE_RESERVOIR_NONE)
        plan.lanes = 0;
    else if (instrument->bound_count && kind != SONDE_RESERVOIR_SIMPLE)
        plan.lanes = (uint16_t)(instrument->bound_count + 1);
    else if (view && view->reservoir_size)
        plan.per_lane = (uint16_t)view->reservoir_size;
    else if (instrument->kind == SONDE_HISTOGRAM && !instrument->bound_count)
        plan.per_lane = SONDE_RESERVOIR_SIZE_MAX;
    return plan;
}

int sonde__instrument_same_name(const struct sonde__instrument *a, const struct sonde__instrument *b) {
    return a->scope == b->scope && strcasecmp(a->name, b->name) == 0;
}

int sonde__instrument_same_type(const struct sonde__instrument *a, const struct sonde__instrument *b) {
    return a->kind == b->kind && a->number == b->number && strcmp(a->unit, b->unit) == 0;
}

size_t sonde__instrument_encode(const struct sonde__instrument *instrument, uint8_t *body) {
    size_t name = strlen(instrument->name), unit = strlen(instrument->unit),
           description = strlen(instrument->description);
    struct sonde__instrument_descriptor head = {
        .kind = (uint8_t)sonde__instrument_base_kind(instrument->kind),
        .number = (uint8_t)instrument->number,
        .scope = (uint16_t)instrument->scope,
        .name_size = (uint16_t)name,
        .unit_size = (uint16_t)unit,
        .description_size = (uint16_t)description,
        .bound_count = (uint16_t)instrument->bound_count,
        .flags = instrument->kind > SONDE_HISTOGRAM ? SONDE__INSTRUMENT_OBSERVED : 0,
    };
    memcpy(body, &head, sizeof head);
    body += sizeof head;
    memcpy(body, instrument->name, name);
    memcpy(body + name, instrument->unit, unit);
    memcpy(body + name + unit, instrument->description, description);
    return sizeof head + name + unit + description;
}
