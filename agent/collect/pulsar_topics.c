/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/pulsar_topics.h"
#include "agent/collect/rest.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "persistent://"

int sonde__pulsar_names_add(struct sonde__pulsar_names *names, const struct sonde_alloc *alloc, const char *name,
                            size_t max) {
    if (names->count >= max)
        return SONDE_EFULL;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? names->capacity * 2 : 16;
        void *items = alloc->resize(alloc->self, names->items, capacity * sizeof *names->items);
        if (!items)
            return -ENOMEM;
        names->items = items;
        names->capacity = capacity;
    }
    size_t size = strlen(name) + 1;
    char *copy = sonde_alloc_new(alloc, size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, name, size);
    names->items[names->count++] = copy;
    return 0;
}

void sonde__pulsar_names_clear(struct sonde__pulsar_names *names, const struct sonde_alloc *alloc) {
    for (size_t i = 0; i < names->count; i++)
        sonde_alloc_free(alloc, names->items[i]);
    sonde_alloc_free(alloc, names->items);
    *names = (struct sonde__pulsar_names){.count = 0};
}

/** The name behind tenant and namespace; NULL when it has not all three. */
static const char *local_of(const char *topic) {
    if (strncmp(topic, SCHEME, sizeof SCHEME - 1) != 0)
        return NULL;
    const char *tenant = topic + sizeof SCHEME - 1;
    const char *space = strchr(tenant, '/');
    const char *local = space && space > tenant ? strchr(space + 1, '/') : NULL;
    return local && local > space + 1 && local[1] ? local + 1 : NULL;
}

bool sonde__pulsar_topic_passes(const char *topic, const struct sonde__filter *filter) {
    const char *local = local_of(topic);
    return local && strncmp(local, "__", 2) != 0 && sonde__filter_passes(filter, topic + sizeof SCHEME - 1);
}

bool sonde__pulsar_is_partition(const char *topic, const struct sonde__pulsar_names *partitioned) {
    const char *mark = NULL;
    for (const char *at = topic; (at = strstr(at, "-partition-")); at++)
        mark = at;
    if (!mark)
        return false;
    size_t size = (size_t)(mark - topic);
    for (size_t i = 0; i < partitioned->count; i++)
        if (strncmp(partitioned->items[i], topic, size) == 0 && partitioned->items[i][size] == '\0')
            return true;
    return false;
}

bool sonde__pulsar_topic_path(const char *topic, char *ret_path, size_t size) {
    const char *local = local_of(topic);
    char escaped[3 * 512 + 1];
    if (!local || sonde__rest_escape(local, escaped, sizeof escaped) == sizeof escaped)
        return false;
    const char *tenant = topic + sizeof SCHEME - 1;
    size_t space_size = (size_t)(local - tenant); /* with its slash */
    if (strcspn(tenant, "%?#\\ \"<>") < space_size)
        return false;
    int length = snprintf(ret_path, size, "/admin/v2/persistent/%.*s%s", (int)space_size, tenant, escaped);
    return length > 0 && (size_t)length < size;
}
