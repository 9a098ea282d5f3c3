/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/bind.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <string.h>

#define ROWS_MAX     64u /* of one component: bits of a mask */
#define KEY_SIZE_MAX 64u

int sonde__bind_fail(struct sonde__binder *binder, const struct sonde__node *node, int code, const char *format, ...) {
    binder->error->line = node ? node->line : 0;
    binder->error->column = node ? node->column : 0;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(binder->error->text, sizeof binder->error->text, format, arguments);
    va_end(arguments);
    return code;
}

int sonde__bind_defaults(struct sonde__binder *binder, const struct sonde_option *rows, void *config) {
    char text[400];
    for (const struct sonde_option *row = rows; row && row->key; row++) {
        if (!row->default_text && row->type != SONDE_OPTION_STRING)
            continue;
        int error = sonde__value_parse(row, row->default_text ? row->default_text : "", &binder->alloc, config, text,
                                       sizeof text);
        if (error == -ENOMEM)
            return error;
        if (error)
            return sonde__bind_fail(binder, NULL, error, "built-in default: %s", text);
    }
    return 0;
}

void sonde__bind_clear(const struct sonde_alloc *alloc, const struct sonde_option *rows, void *config) {
    for (const struct sonde_option *row = rows; row && row->key; row++)
        sonde__value_clear(row, alloc, config);
}

static int bind_list(struct sonde__binder *binder, const struct sonde_option *row, const struct sonde__node *value,
                     void *config) {
    sonde__value_clear(row, &binder->alloc, config);
    for (size_t i = 0; i < value->item_count; i++) {
        if (value->items[i]->type != SONDE__NODE_SCALAR)
            return sonde__bind_fail(binder, value->items[i], SONDE_EINVALID, "\"%s\" takes a list of plain text",
                                    row->key);
        char *text = NULL;
        int error = sonde__bind_expand(binder, value->items[i], &text);
        if (!error)
            error = sonde__list_add((void *)((char *)config + row->offset), &binder->alloc, text, strlen(text));
        sonde_alloc_free(&binder->alloc, text);
        if (error == SONDE_ETOOBIG)
            return sonde__bind_fail(binder, value->items[i], error, "\"%s\" has too many items", row->key);
        if (error)
            return error;
    }
    return 0;
}

static int bind_entries(struct sonde__binder *binder, const struct sonde_option *row, const struct sonde__node *value,
                        void *config) {
    sonde__value_clear(row, &binder->alloc, config);
    for (size_t i = 0; i < value->item_count; i += 2) {
        const struct sonde__node *key = value->items[i], *item = value->items[i + 1];
        if (item->type != SONDE__NODE_SCALAR)
            return sonde__bind_fail(binder, item, SONDE_EINVALID, "\"%s\" takes plain text for each key", row->key);
        char *text = NULL;
        int error = sonde__bind_expand(binder, item, &text);
        if (!error)
            error = sonde__map_add((void *)((char *)config + row->offset), &binder->alloc, key->text, strlen(key->text),
                                   text, strlen(text));
        sonde_alloc_free(&binder->alloc, text);
        if (error == SONDE_ETOOBIG)
            return sonde__bind_fail(binder, item, error, "\"%s\" has too many keys", row->key);
        if (error)
            return error;
    }
    return 0;
}

static int bind_scalar(struct sonde__binder *binder, const struct sonde_option *row, const struct sonde__node *value,
                       void *config) {
    char *text = NULL, problem[400];
    int error = sonde__bind_expand(binder, value, &text);
    if (error)
        return error;
    error = sonde__value_parse(row, text, &binder->alloc, config, problem, sizeof problem);
    sonde_alloc_free(&binder->alloc, text);
    if (error == 0 || error == -ENOMEM)
        return error;
    return sonde__bind_fail(binder, value, error, "%s", problem);
}

static int bind_value(struct sonde__binder *binder, const struct sonde_option *row, const struct sonde__node *value,
                      void *config) {
    if (sonde__node_is_null(value) && row->default_text)
        return 0;
    if (value->type == SONDE__NODE_LIST && row->type == SONDE_OPTION_STRING_LIST)
        return bind_list(binder, row, value, config);
    if (value->type == SONDE__NODE_MAP && row->type == SONDE_OPTION_STRING_MAP)
        return bind_entries(binder, row, value, config);
    if (value->type == SONDE__NODE_SCALAR)
        return bind_scalar(binder, row, value, config);
    char accepted[300];
    sonde__value_describe(row, accepted, sizeof accepted);
    return sonde__bind_fail(binder, value, SONDE_EINVALID, "a %s is not accepted for \"%s\"; accepted: %s",
                            value->type == SONDE__NODE_MAP ? "map" : "list", row->key, accepted);
}

/* One level of a component's keys: a row "tls.ca_file" is the key ca_file in the map tls, or that key as it stands. */
struct level {
    struct sonde__binder *binder;
    const char *what;
    struct sonde__binding binding;
    uint64_t seen; /* rows that were given, by index */
    char prefix[KEY_SIZE_MAX];
};

static int unknown_key(struct level *level, const struct sonde__node *key) {
    char keys[ROWS_MAX][KEY_SIZE_MAX], accepted[400] = "";
    const char *pointers[ROWS_MAX] = {NULL};
    size_t count = 0, length = 0, prefix_size = strlen(level->prefix);
    for (const struct sonde_option *row = level->binding.rows; row && row->key && count < ROWS_MAX; row++) {
        if (strncmp(row->key, level->prefix, prefix_size) != 0)
            continue;
        const char *name = row->key + prefix_size;
        (void)snprintf(keys[count], KEY_SIZE_MAX, "%.*s", (int)strcspn(name, "."), name);
        if (count && strcmp(keys[count], keys[count - 1]) == 0)
            continue;
        pointers[count] = keys[count];
        count++;
    }
    for (const struct sonde_option *row = level->binding.more_rows; !prefix_size && row && row->key && count < ROWS_MAX;
         row++, count++) {
        (void)snprintf(keys[count], KEY_SIZE_MAX, "%s", row->key);
        pointers[count] = keys[count];
    }
    for (size_t i = 0; i < count && length < sizeof accepted; i++)
        length += (size_t)snprintf(accepted + length, sizeof accepted - length, "%s%s", i ? ", " : "", pointers[i]);
    const char *near = sonde__nearest(key->text, pointers, count);
    return sonde__bind_fail(level->binder, key, SONDE_EINVALID, "unknown key \"%s%.60s\" in %s%s%s%s; accepted: %s",
                            level->prefix, key->text, level->what, near ? "; did you mean \"" : "", near ? near : "",
                            near ? "\"?" : "", count ? accepted : "nothing");
}

static int bind_level(struct level *level, const struct sonde__node *map);

static const struct sonde_option *more_row(const struct level *level, const char *name) {
    const struct sonde_option *row = level->binding.more_rows;
    while (row && row->key && strcmp(row->key, name) != 0)
        row++;
    return row && row->key ? row : NULL;
}
static int bind_more(struct level *level, const struct sonde__node *key, const struct sonde__node *value) {
    const struct sonde_option *row = more_row(level, key->text);
    uint64_t bit = UINT64_C(1) << (ROWS_MAX - 1 - (size_t)(row - level->binding.more_rows));
    if (level->seen & bit)
        return sonde__bind_fail(level->binder, key, SONDE_EINVALID, "key \"%s\" stands twice in %s", row->key,
                                level->what);
    level->seen |= bit;
    return bind_value(level->binder, row, value, level->binding.more_config);
}

static int bind_key(struct level *level, const struct sonde__node *key, const struct sonde__node *value) {
    char full[KEY_SIZE_MAX];
    size_t prefix_size = strlen(level->prefix);
    int size = snprintf(full, sizeof full, "%s%s", level->prefix, key->text);
    if ((size_t)size + 1 >= sizeof full)
        return unknown_key(level, key);
    const struct sonde_option *rows = level->binding.rows;
    if (!prefix_size && more_row(level, key->text))
        return bind_more(level, key, value);
    for (size_t i = 0; rows && rows[i].key; i++) {
        if (strcmp(rows[i].key, full) == 0) {
            if (level->seen & (UINT64_C(1) << i))
                return sonde__bind_fail(level->binder, key, SONDE_EINVALID, "key \"%s\" stands twice in %s", full,
                                        level->what);
            level->seen |= UINT64_C(1) << i;
            return bind_value(level->binder, &rows[i], value, level->binding.config);
        }
        if (strncmp(rows[i].key, full, (size_t)size) == 0 && rows[i].key[size] == '.') {
            memcpy(level->prefix, full, (size_t)size); /* fits, with the dot: checked above */
            memcpy(level->prefix + size, ".", 2);
            int error = bind_level(level, value);
            level->prefix[prefix_size] = '\0';
            return error;
        }
    }
    return unknown_key(level, key);
}

static int bind_level(struct level *level, const struct sonde__node *map) {
    if (sonde__node_is_null(map))
        return 0;
    if (map->type != SONDE__NODE_MAP && level->prefix[0])
        return sonde__bind_fail(level->binder, map, SONDE_EINVALID, "\"%.*s\" in %s takes keys and values",
                                (int)strlen(level->prefix) - 1, level->prefix, level->what);
    if (map->type != SONDE__NODE_MAP)
        return sonde__bind_fail(level->binder, map, SONDE_EINVALID, "%s takes keys and values", level->what);
    for (size_t i = 0; i < map->item_count; i += 2) {
        int error = bind_key(level, map->items[i], map->items[i + 1]);
        if (error)
            return error;
    }
    return 0;
}

int sonde__bind_map(struct sonde__binder *binder, const char *what, const struct sonde__node *map,
                    const struct sonde__binding *binding) {
    struct level level = {.binder = binder, .what = what, .binding = *binding};
    int error = map ? bind_level(&level, map) : 0;
    for (size_t i = 0; !error && binding->rows && binding->rows[i].key; i++) {
        const struct sonde_option *row = &binding->rows[i];
        if (!row->default_text && !(level.seen & (UINT64_C(1) << i)))
            error = sonde__bind_fail(binder, map, SONDE_EINVALID, "%s needs the key \"%s\": %s", what, row->key,
                                     row->sentence ? row->sentence : "");
    }
    return error;
}
