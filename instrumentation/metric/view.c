/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/metric/view.h"
#include "instrumentation/context/pattern.h"
#include "instrumentation/metric/instrument.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/lock.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <strings.h>

static struct sonde__lock views_lock;
static struct sonde_view_options *views[SONDE_VIEWS_MAX];
static uint32_t view_count;

static bool has_wildcard(const char *pattern) {
    return strpbrk(pattern, "*?") != NULL;
}

static bool matches(const struct sonde_view_options *view, const struct sonde_instrument_options *options) {
    return (!view->instrument_kind || view->instrument_kind == options->kind) &&
           (!view->has_scope || view->scope == options->scope) &&
           (!view->instrument_unit || strcmp(view->instrument_unit, options->unit ? options->unit : "") == 0) &&
           (!view->instrument_name ||
            sonde__pattern_fits(view->instrument_name, (struct sonde_string){options->name, strlen(options->name)},
                                true));
}

const struct sonde_view_options *sonde__view_find(const struct sonde_instrument_options *options) {
    const struct sonde_view_options *found = NULL;
    if (!sonde__instrument_options_are_valid(options))
        return NULL;
    sonde__lock_take(&views_lock);
    for (uint32_t i = 0; i < view_count && !found; i++)
        if (matches(views[i], options))
            found = views[i];
    sonde__lock_release(&views_lock);
    if (found && found->reservoir == SONDE_RESERVOIR_ALIGNED_BUCKETS && options->kind != SONDE_HISTOGRAM)
        sonde__report("a view asks for exemplars by bucket of %s, which has none: ignoring its reservoir",
                      options->name);
    if (found && found->aggregation > SONDE_AGGREGATION_DROP && options->kind != SONDE_HISTOGRAM)
        sonde__report("a view asks for a histogram of %s, which is none: ignoring its aggregation", options->name);
    return found;
}

static bool has_key(const char *const *keys, size_t count, const struct sonde_key *key) {
    for (size_t i = 0; i < count; i++)
        if (strlen(keys[i]) == key->length && memcmp(keys[i], key->text, key->length) == 0)
            return true;
    return false;
}

bool sonde__view_keeps(const struct sonde_view_options *view, const struct sonde_key *key) {
    return (!view->keep_key_count || has_key(view->keep_keys, view->keep_key_count, key)) &&
           !has_key(view->drop_keys, view->drop_key_count, key);
}

/* ---- adding ---- */

static bool keys_are_valid(const char *const *keys, size_t count) {
    if (count > SONDE_SERIES_ATTRIBUTES_MAX || (count && !keys))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!keys[i])
            return false;
    return true;
}

static bool options_are_valid(const struct sonde_view_options *o) {
    bool selects = o->instrument_name || o->instrument_kind || o->instrument_unit || o->has_scope;
    bool is_one = o->instrument_name && !has_wildcard(o->instrument_name);
    return selects && o->instrument_kind <= SONDE_OBSERVABLE_GAUGE &&
           (!o->instrument_name ||
            strnlen(o->instrument_name, SONDE__INSTRUMENT_NAME_MAX + 1) <= SONDE__INSTRUMENT_NAME_MAX) &&
           (!o->instrument_unit || sonde__instrument_unit_is_valid(o->instrument_unit)) &&
           (!o->name || (is_one && sonde__instrument_name_is_valid(o->name))) &&
           sonde__instrument_description_is_valid(o->description) && keys_are_valid(o->keep_keys, o->keep_key_count) &&
           keys_are_valid(o->drop_keys, o->drop_key_count) && o->aggregation <= SONDE_AGGREGATION_EXPONENTIAL &&
           (!o->bound_count || o->aggregation == SONDE_AGGREGATION_EXPLICIT_BUCKETS) &&
           sonde__instrument_bounds_are_valid(o->bounds, o->bound_count) &&
           o->series_max <= SONDE_SERIES_PER_INSTRUMENT_MAX && o->reservoir <= SONDE_RESERVOIR_ALIGNED_BUCKETS &&
           o->reservoir_size <= SONDE_RESERVOIR_SIZE_MAX &&
           (!o->reservoir_size || o->reservoir == SONDE_RESERVOIR_SIMPLE);
}

/* A caller built against an older header has a shorter struct: what it does not have is zero. */
static bool options_copy(const struct sonde_view_options *options, struct sonde_view_options *ret_copy) {
    if (!options || options->size < offsetof(struct sonde_view_options, reservoir))
        return false;
    memset(ret_copy, 0, sizeof *ret_copy);
    memcpy(ret_copy, options, options->size < sizeof *ret_copy ? options->size : sizeof *ret_copy);
    return true;
}

/* NULL stays NULL. False: out of memory. */
static bool text_copy(const char *text, const char **ret_copy) {
    return !text || (*ret_copy = strdup(text)) != NULL;
}

static bool keys_copy(const char *const *keys, size_t count, const char *const **ret_copy, size_t *ret_count) {
    const char **copy = calloc(count + 1, sizeof *copy);
    *ret_copy = copy;
    for (; copy && *ret_count < count; ++*ret_count)
        if (!text_copy(keys[*ret_count], &copy[*ret_count]))
            return false;
    return copy != NULL;
}

static bool bounds_copy(const double *bounds, size_t count, const double **ret_copy) {
    double *copy = calloc(count + 1, sizeof *copy);
    if (copy && count)
        memcpy(copy, bounds, count * sizeof *copy);
    *ret_copy = copy;
    return copy != NULL;
}

static void keys_free(const char *const *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)keys[i]);
    free((void *)(uintptr_t)keys);
}

static void view_destroy(struct sonde_view_options *view) {
    if (!view)
        return;
    const void *const texts[] = {view->instrument_name, view->instrument_unit, view->name, view->description,
                                 view->bounds};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free((void *)(uintptr_t)texts[i]);
    keys_free(view->keep_keys, view->keep_key_count);
    keys_free(view->drop_keys, view->drop_key_count);
    free(view);
}

/* NULL when out of memory. */
static struct sonde_view_options *view_create(const struct sonde_view_options *from) {
    struct sonde_view_options *view = calloc(1, sizeof *view);
    if (!view)
        return NULL;
    view->instrument_kind = from->instrument_kind;
    view->has_scope = from->has_scope;
    view->scope = from->scope;
    view->aggregation = from->aggregation;
    view->bound_count = from->bound_count;
    view->series_max = from->series_max;
    view->reservoir = from->reservoir;
    view->reservoir_size = from->reservoir_size;
    if (text_copy(from->instrument_name, &view->instrument_name) &&
        text_copy(from->instrument_unit, &view->instrument_unit) && text_copy(from->name, &view->name) &&
        text_copy(from->description, &view->description) &&
        keys_copy(from->keep_keys, from->keep_key_count, &view->keep_keys, &view->keep_key_count) &&
        keys_copy(from->drop_keys, from->drop_key_count, &view->drop_keys, &view->drop_key_count) &&
        bounds_copy(from->bounds, from->bound_count, &view->bounds))
        return view;
    view_destroy(view);
    return NULL;
}

int sonde_view_add(const struct sonde_view_options *options) {
    struct sonde_view_options copy;
    if (!options_copy(options, &copy) || !options_are_valid(&copy))
        return SONDE_EINVALID;
    struct sonde_view_options *view = view_create(&copy);
    if (!view)
        return -ENOMEM;
    sonde__lock_take(&views_lock);
    bool has_room = view_count < SONDE_VIEWS_MAX;
    if (has_room)
        views[view_count++] = view; /* for the life of the process */
    sonde__lock_release(&views_lock);
    if (!has_room)
        view_destroy(view);
    return has_room ? 0 : SONDE_EFULL;
}
