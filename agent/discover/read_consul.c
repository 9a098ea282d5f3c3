/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/discover/read.h"
#include "agent/discover/read_json.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

static bool has_tag(const json_t *tags, const char *wanted) {
    size_t i;
    const json_t *tag;
    json_array_foreach(tags, i,
                       tag) if (json_is_string(tag) && strcmp(json_string_value(tag), wanted) == 0) return true;
    return false;
}

static bool has_tags(const json_t *tags, const struct sonde_string_list *wanted) {
    for (size_t i = 0; i < wanted->count; i++)
        if (!has_tag(tags, wanted->items[i]))
            return false;
    return true;
}

/* ---- the catalog ---- */

void sonde__discover_names_deinit(struct sonde__discover_names *names, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < names->count; i++)
        sonde_alloc_free(alloc, names->items[i]);
    sonde_alloc_free(alloc, names->items);
    *names = (struct sonde__discover_names){.items = NULL};
}

static int names_order(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int name_add(struct sonde__discover_names *names, const struct sonde_alloc *alloc, const char *name) {
    size_t size = strlen(name) + 1;
    if (names->count == SONDE__CONSUL_SERVICES_MAX) {
        names->left_out++;
        return 0;
    }
    char *copy = sonde_alloc_new(alloc, size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, name, size);
    names->items[names->count++] = copy;
    return 0;
}

static int names_read(const struct sonde__consul_config *config, const struct sonde_alloc *alloc, const json_t *all,
                      struct sonde__discover_names *names) {
    const char *name;
    json_t *tags;
    if (!json_is_object(all))
        return SONDE_EMALFORMED;
    size_t room =
        json_object_size(all) < SONDE__CONSUL_SERVICES_MAX ? json_object_size(all) : SONDE__CONSUL_SERVICES_MAX;
    names->items = sonde_alloc_new(alloc, (room + 1) * sizeof *names->items);
    if (!names->items)
        return -ENOMEM;
    json_object_foreach((json_t *)(uintptr_t)all, name, tags) { /* only read */
        if (!json_is_array(tags) && !json_is_null(tags))
            return SONDE_EMALFORMED;
        if (!*name || strlen(name) >= SONDE_DISCOVERED_TEXT_SIZE_MAX || strcmp(name, "consul") == 0 ||
            !has_tags(tags, &config->tags))
            continue;
        int err = name_add(names, alloc, name);
        if (err)
            return err;
    }
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, names_order);
    return 0;
}

int sonde__consul_read_services(const struct sonde__consul_config *config, const struct sonde_alloc *alloc,
                                const void *body, size_t size, struct sonde__discover_names *ret_names) {
    json_t *all = json_loadb(body, size, 0, NULL);
    int err = names_read(config, alloc, all, ret_names);
    json_decref(all);
    return err;
}

/* ---- one service ---- */

static const char *unless_default(const char *name) {
    return strcmp(name, "default") == 0 ? "" : name;
}

static const char *first_of(const char *a, const char *b) {
    return *a ? a : b;
}

static int entry_read(const struct sonde__consul_config *config, const struct sonde_alloc *alloc, const json_t *entry,
                      struct sonde__discovered_set *set) {
    const json_t *service = json_object_get(entry, "Service"), *node = json_object_get(entry, "Node");
    const char *fields[SONDE_DISCOVERED_FIELDS] = {NULL};
    if (!json_is_object(service) || !json_is_object(node))
        return SONDE_EMALFORMED;
    if (!has_tags(json_object_get(service, "Tags"), &config->tags))
        return 0;
    fields[SONDE_DISCOVERED_SERVICE_NAME] = sonde__discover_text(service, "Service");
    fields[SONDE_DISCOVERED_INSTANCE_ID] = sonde__discover_text(service, "ID");
    fields[SONDE_DISCOVERED_NAMESPACE] = first_of(unless_default(sonde__discover_text(service, "Namespace")),
                                                  unless_default(sonde__discover_text(service, "Partition")));
    fields[SONDE_DISCOVERED_ZONE] =
        first_of(first_of(sonde__discover_text(json_object_get(service, "Locality"), "Zone"),
                          sonde__discover_text(json_object_get(node, "Locality"), "Zone")),
                 sonde__discover_meta(json_object_get(service, "Meta"), "zone"));
    if (!*fields[SONDE_DISCOVERED_ZONE])
        fields[SONDE_DISCOVERED_ZONE] = sonde__discover_meta(json_object_get(node, "Meta"), "zone");
    uint16_t port = sonde__discover_metadata(json_object_get(service, "Meta"), fields);
    return sonde__discover_put(
        set, alloc, first_of(sonde__discover_text(service, "Address"), sonde__discover_text(node, "Address")),
        port ? port : sonde__discover_port(json_object_get(service, "Port")), fields);
}

int sonde__consul_read_health(const struct sonde__consul_config *config, const struct sonde_alloc *alloc,
                              const void *body, size_t size, struct sonde__discovered_set *ret_set) {
    json_t *all = json_loadb(body, size, 0, NULL), *entry;
    int err = json_is_array(all) ? 0 : SONDE_EMALFORMED;
    for (size_t i = 0; !err && (entry = json_array_get(all, i)); i++)
        err = entry_read(config, alloc, entry, ret_set);
    json_decref(all);
    return err;
}
