/* SPDX-License-Identifier: Apache-2.0 */
/* What Consul and Eureka answer, from hostile bytes. Input: one byte that chooses the reader and its settings, then the
 * answer. What must hold beside memory safety: a set has instances with an address that ends in a port, no text is longer
 * than the limit, and an answer is read or refused. */
#include "agent/discover/read.h"
#include "agent/loop/loop.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

static void check_set(const struct sonde__discovered_set *set) {
    require(set->count <= SONDE_DISCOVERED_MAX);
    for (size_t i = 0; i < set->count; i++) {
        const char *const *fields = set->items[i]->fields;
        const char *colon = strrchr(fields[SONDE_DISCOVERED_ADDRESS], ':');
        require(colon && colon > fields[SONDE_DISCOVERED_ADDRESS] && strtol(colon + 1, NULL, 10) >= 1 &&
                strtol(colon + 1, NULL, 10) <= 65535);
        for (int k = SONDE_DISCOVERED_SCHEME; k < SONDE_DISCOVERED_FIELDS; k++)
            require(strlen(fields[k]) < SONDE_DISCOVERED_TEXT_SIZE_MAX);
        require(!*fields[SONDE_DISCOVERED_SCHEME] || strncmp(fields[SONDE_DISCOVERED_SCHEME], "http", 4) == 0);
    }
}

static void check_names(const struct sonde__discover_names *names) {
    require(names->count <= SONDE__CONSUL_SERVICES_MAX);
    for (size_t i = 0; i < names->count; i++)
        require(*names->items[i] && strcmp(names->items[i], "consul") != 0 &&
                (i == 0 || strcmp(names->items[i - 1], names->items[i]) < 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char tag[] = "prod", *tags[] = {tag};
    if (size < 1)
        return 0;
    const struct sonde__consul_config consul = {.tags = {tags, data[0] >> 2 & 1}};
    const struct sonde__eureka_config eureka = {.up_only = data[0] >> 2 & 1, .use_ip = data[0] >> 3 & 1};
    struct sonde__discovered_set set = {.items = NULL};
    struct sonde__discover_names names = {.items = NULL};
    char *text = malloc(size); /* exact, so that a read past it is seen */
    int err;
    require(text != NULL);
    memcpy(text, data + 1, size - 1);
    switch (data[0] & 3) {
    case 0:
        err = sonde__consul_read_services(&consul, &sonde_heap, text, size - 1, &names);
        break;
    case 1:
        err = sonde__consul_read_health(&consul, &sonde_heap, text, size - 1, &set);
        break;
    default:
        err = sonde__eureka_read(&eureka, &sonde_heap, text, size - 1, &set);
    }
    require(err == 0 || err == SONDE_EMALFORMED);
    if (!err) {
        check_set(&set);
        check_names(&names);
    }
    sonde__discovered_deinit(&set, &sonde_heap);
    sonde__discover_names_deinit(&names, &sonde_heap);
    free(text);
    return 0;
}
