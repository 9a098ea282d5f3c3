/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/value.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_ITEMS_MAX 1000u /* headers, hosts: far above honest use, far below trouble */

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit durations[] = {{"h", 3600000000000u}, {"m", 60000000000u}, {"s", 1000000000u},
                                        {"ms", 1000000u},      {"us", 1000u},       {"ns", 1u}};
static const struct unit sizes[] = {
    {"TiB", 1ull << 40}, {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"B", 1u}};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

const char *sonde__option_type_name(enum sonde_option_type type) {
    static const char *const names[] = {"boolean", "integer", "number", "duration", "size",
                                        "text",    "choice",  "list",   "map"};
    return (unsigned)type < COUNT(names) ? names[type] : "unknown";
}

/** Number of the unit whose name is the longest prefix of text, or count. */
static size_t unit_of(const struct unit *units, size_t count, const char *text) {
    size_t best = count, length = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(units[i].name);
        if (size > length && strncmp(text, units[i].name, size) == 0) {
            best = i;
            length = size;
        }
    }
    return best;
}

/** Digits, then a unit, once or (sums, as "1m30s") several times. False when it is not that, or overflows. */
static bool parse_units(const char *text, const struct unit *units, size_t count, bool bare, uint64_t *ret_value) {
    uint64_t sum = 0;
    if (*text == '\0')
        return false;
    while (*text) {
        uint64_t number = 0, factor = 1;
        if (*text < '0' || *text > '9')
            return false;
        for (; *text >= '0' && *text <= '9'; text++)
            if (__builtin_mul_overflow(number, 10u, &number) ||
                __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
                return false;
        size_t unit = unit_of(units, count, text);
        if (unit < count) {
            factor = units[unit].factor;
            text += strlen(units[unit].name);
        } else if (*text != '\0' || (!bare && number != 0)) {
            return false;
        }
        if (__builtin_mul_overflow(number, factor, &number) || __builtin_add_overflow(sum, number, &sum))
            return false;
    }
    *ret_value = sum;
    return true;
}

static void format_units(uint64_t value, const struct unit *units, size_t count, char *text, size_t text_size) {
    for (size_t i = 0; i < count; i++)
        if (value && value % units[i].factor == 0 && units[i].factor > 1) {
            (void)snprintf(text, text_size, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
            return;
        }
    (void)snprintf(text, text_size, "%" PRIu64 "%s", value, value ? units[count - 1].name : "");
}

static void format_limit(const struct sonde_option *row, double limit, char *text, size_t text_size) {
    if (row->type == SONDE_OPTION_DURATION)
        format_units((uint64_t)(limit * 1e6), durations, COUNT(durations), text, text_size);
    else if (row->type == SONDE_OPTION_SIZE)
        format_units((uint64_t)limit, sizes, COUNT(sizes), text, text_size);
    else
        (void)snprintf(text, text_size, "%.15g", limit);
}

static bool has_range(const struct sonde_option *row) {
    return row->min != 0 || row->max != 0;
}

void sonde__value_describe(const struct sonde_option *row, char *text, size_t text_size) {
    int length = 0;
    if (row->type == SONDE_OPTION_ENUM) {
        text[0] = '\0';
        for (size_t i = 0; row->values[i] && (size_t)length < text_size; i++)
            length += snprintf(text + length, text_size - (size_t)length, "%s%s", i ? " | " : "", row->values[i]);
        return;
    }
    if (row->type == SONDE_OPTION_BOOL) {
        (void)snprintf(text, text_size, "true | false");
        return;
    }
    char low[40], high[40];
    format_limit(row, row->min, low, sizeof low);
    format_limit(row, row->max, high, sizeof high);
    const char *hint = row->type == SONDE_OPTION_DURATION ? " as \"500ms\", \"10s\", \"5m\""
                       : row->type == SONDE_OPTION_SIZE   ? " as \"64KiB\", \"4MiB\" or bytes"
                                                          : "";
    if (has_range(row))
        (void)snprintf(text, text_size, "%s %s..%s%s", sonde__option_type_name(row->type), low, high, hint);
    else
        (void)snprintf(text, text_size, "%s%s", sonde__option_type_name(row->type), hint);
}

static int refuse(const struct sonde_option *row, const char *text, char *error_text, size_t error_text_size) {
    char accepted[300];
    sonde__value_describe(row, accepted, sizeof accepted);
    if (row->secret)
        (void)snprintf(error_text, error_text_size, "value of \"%s\" is not accepted; accepted: %s", row->key,
                       accepted);
    else
        (void)snprintf(error_text, error_text_size, "\"%.100s\" is not accepted for \"%s\"; accepted: %s", text,
                       row->key, accepted);
    return SONDE_EINVALID;
}

static bool in_range(const struct sonde_option *row, double value) {
    return !has_range(row) || (value >= row->min && value <= row->max);
}

static bool parse_bool(const char *text, bool *ret) {
    bool on = strcmp(text, "true") == 0;
    if (!on && strcmp(text, "false") != 0)
        return false;
    *ret = on;
    return true;
}

static bool parse_int(const struct sonde_option *row, const char *text, int64_t *ret) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || text[0] == ' ' || text[0] == '+' || !in_range(row, (double)value))
        return false;
    *ret = value;
    return true;
}

static bool parse_double(const struct sonde_option *row, const char *text, double *ret) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || text[0] == ' ' || !isfinite(value) || !in_range(row, value))
        return false;
    *ret = value;
    return true;
}

static bool parse_scaled(const struct sonde_option *row, const char *text, uint64_t *ret) {
    uint64_t value;
    bool duration = row->type == SONDE_OPTION_DURATION;
    bool good = duration ? parse_units(text, durations, COUNT(durations), false, &value)
                         : parse_units(text, sizes, COUNT(sizes), true, &value);
    if (!good || !in_range(row, duration ? (double)value / 1e6 : (double)value))
        return false;
    *ret = value;
    return true;
}

static bool parse_enum(const struct sonde_option *row, const char *text, int *ret) {
    for (int i = 0; row->values[i]; i++)
        if (strcmp(row->values[i], text) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

static char *copy_text(const struct sonde_alloc *alloc, const char *text, size_t size) {
    char *copy = sonde_alloc_new(alloc, size + 1);
    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

int sonde__list_add(struct sonde_string_list *list, const struct sonde_alloc *alloc, const char *item, size_t size) {
    if (list->count == LIST_ITEMS_MAX)
        return SONDE_ETOOBIG;
    char **items = alloc->resize(alloc->self, list->items, (list->count + 1) * sizeof(char *));
    if (!items)
        return -ENOMEM;
    list->items = items;
    items[list->count] = copy_text(alloc, item, size);
    if (!items[list->count])
        return -ENOMEM;
    list->count++;
    return 0;
}

int sonde__map_add(struct sonde_string_map *map, const struct sonde_alloc *alloc, const char *key, size_t key_size,
                   const char *value, size_t value_size) {
    if (map->count == LIST_ITEMS_MAX)
        return SONDE_ETOOBIG;
    char **keys = alloc->resize(alloc->self, map->keys, (map->count + 1) * sizeof(char *));
    if (!keys)
        return -ENOMEM;
    map->keys = keys;
    char **values = alloc->resize(alloc->self, map->values, (map->count + 1) * sizeof(char *));
    if (!values)
        return -ENOMEM;
    map->values = values;
    keys[map->count] = copy_text(alloc, key, key_size);
    values[map->count] = copy_text(alloc, value, value_size);
    if (!keys[map->count] || !values[map->count]) {
        sonde_alloc_free(alloc, keys[map->count]);
        sonde_alloc_free(alloc, values[map->count]);
        return -ENOMEM;
    }
    map->count++;
    return 0;
}

static void list_clear(struct sonde_string_list *list, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < list->count; i++)
        sonde_alloc_free(alloc, list->items[i]);
    sonde_alloc_free(alloc, list->items);
    *list = (struct sonde_string_list){0};
}
static void map_clear(struct sonde_string_map *map, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < map->count; i++) {
        sonde_alloc_free(alloc, map->keys[i]);
        sonde_alloc_free(alloc, map->values[i]);
    }
    sonde_alloc_free(alloc, map->keys);
    sonde_alloc_free(alloc, map->values);
    *map = (struct sonde_string_map){0};
}

void sonde__value_clear(const struct sonde_option *row, const struct sonde_alloc *alloc, void *config) {
    void *place = (char *)config + row->offset;
    if (row->type == SONDE_OPTION_STRING) {
        sonde_alloc_free(alloc, *(char **)place);
        *(char **)place = NULL;
    } else if (row->type == SONDE_OPTION_STRING_LIST) {
        list_clear(place, alloc);
    } else if (row->type == SONDE_OPTION_STRING_MAP) {
        map_clear(place, alloc);
    }
}

static void trim(const char **text, size_t *size) {
    while (*size && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
        (*text)++;
        (*size)--;
    }
    while (*size && ((*text)[*size - 1] == ' ' || (*text)[*size - 1] == '\t'))
        (*size)--;
}

static int add_item(const struct sonde_option *row, const struct sonde_alloc *alloc, void *place, const char *item,
                    size_t size) {
    if (row->type == SONDE_OPTION_STRING_LIST)
        return sonde__list_add(place, alloc, item, size);
    const char *equals = memchr(item, '=', size);
    if (!equals || equals == item)
        return SONDE_EINVALID;
    const char *key = item, *value = equals + 1;
    size_t key_size = (size_t)(equals - item), value_size = size - key_size - 1;
    trim(&key, &key_size);
    trim(&value, &value_size);
    return sonde__map_add(place, alloc, key, key_size, value, value_size);
}

static int parse_items(const struct sonde_option *row, const char *text, const struct sonde_alloc *alloc, void *place,
                       char *error_text, size_t error_text_size) {
    while (*text) {
        size_t size = strcspn(text, ",");
        const char *item = text;
        text += size + (text[size] == ',');
        trim(&item, &size);
        if (size == 0)
            continue;
        int error = add_item(row, alloc, place, item, size);
        if (error == -ENOMEM)
            return error;
        if (error)
            return refuse(row, item, error_text, error_text_size);
    }
    return 0;
}

static int parse_string(const char *text, const struct sonde_alloc *alloc, char **place) {
    char *copy = copy_text(alloc, text, strlen(text));
    if (!copy)
        return -ENOMEM;
    sonde_alloc_free(alloc, *place);
    *place = copy;
    return 0;
}

int sonde__value_parse(const struct sonde_option *row, const char *text, const struct sonde_alloc *alloc, void *config,
                       char *error_text, size_t error_text_size) {
    void *place = (char *)config + row->offset;
    bool good = false;
    switch (row->type) {
    case SONDE_OPTION_BOOL:
        good = parse_bool(text, place);
        break;
    case SONDE_OPTION_INT:
        good = parse_int(row, text, place);
        break;
    case SONDE_OPTION_DOUBLE:
        good = parse_double(row, text, place);
        break;
    case SONDE_OPTION_DURATION:
    case SONDE_OPTION_SIZE:
        good = parse_scaled(row, text, place);
        break;
    case SONDE_OPTION_ENUM:
        good = parse_enum(row, text, place);
        break;
    case SONDE_OPTION_STRING:
        return parse_string(text, alloc, place);
    case SONDE_OPTION_STRING_LIST:
    case SONDE_OPTION_STRING_MAP:
        sonde__value_clear(row, alloc, config);
        return parse_items(row, text, alloc, place, error_text, error_text_size);
    }
    return good ? 0 : refuse(row, text, error_text, error_text_size);
}

void sonde__value_format(const struct sonde_option *row, const void *config, char *text, size_t text_size) {
    const void *place = (const char *)config + row->offset;
    switch (row->type) {
    case SONDE_OPTION_BOOL:
        (void)snprintf(text, text_size, "%s", *(const bool *)place ? "true" : "false");
        break;
    case SONDE_OPTION_INT:
        (void)snprintf(text, text_size, "%" PRId64, *(const int64_t *)place);
        break;
    case SONDE_OPTION_DOUBLE:
        (void)snprintf(text, text_size, "%.17g", *(const double *)place);
        break;
    case SONDE_OPTION_DURATION:
        format_units(*(const uint64_t *)place, durations, COUNT(durations), text, text_size);
        break;
    case SONDE_OPTION_SIZE:
        format_units(*(const uint64_t *)place, sizes, COUNT(sizes), text, text_size);
        break;
    case SONDE_OPTION_ENUM:
        (void)snprintf(text, text_size, "%s", row->values[*(const int *)place]);
        break;
    case SONDE_OPTION_STRING:
        (void)snprintf(text, text_size, "%s", *(char *const *)place ? *(char *const *)place : "");
        break;
    case SONDE_OPTION_STRING_LIST:
    case SONDE_OPTION_STRING_MAP:
        text[0] = '\0';
        break;
    }
}
