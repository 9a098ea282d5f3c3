/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations from hostile bytes. What must hold beside memory safety: reading is bounded, an error has a text, and
 * an accepted configuration prints to one that is accepted and prints the same (secrets are *** both times). */
#include "agent/config/config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

static void *heap(void *self, void *old, size_t size) {
    (void)self;
    if (size)
        return realloc(old, size);
    free(old);
    return NULL;
}
static const char *fixed_env(void *self, const char *name) {
    (void)self;
    return strcmp(name, "A") == 0 ? "value" : NULL;
}
static int no_file(void *self, const struct sonde_alloc *alloc, const char *path, size_t size_max, char **ret_text,
                   size_t *ret_size) {
    (void)self, (void)alloc, (void)path, (void)size_max, (void)ret_text, (void)ret_size;
    return -ENOENT;
}

static const struct sonde_alloc alloc = {.resize = heap};
static const struct sonde_config_sources sources = {.env = fixed_env, .file = no_file};

static char *print(const struct sonde_config *config, size_t *ret_size) {
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    require(out != NULL);
    sonde_config_print(config, out);
    require(fclose(out) == 0);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sonde_config *config = NULL, *again = NULL;
    struct sonde_config_error error;
    if (sonde_config_read((const char *)data, size, &sonde_config_catalog_real, &sources, &alloc, &config, &error) !=
        0) {
        require(error.text[0] != '\0');
        return 0;
    }
    size_t first_size, second_size;
    char *first = print(config, &first_size);
    require(sonde_config_read(first, first_size, &sonde_config_catalog_real, &sources, &alloc, &again, &error) == 0);
    char *second = print(again, &second_size);
    require(first_size == second_size && memcmp(first, second, first_size) == 0);
    free(first);
    free(second);
    sonde_config_destroy(config);
    sonde_config_destroy(again);
    return 0;
}
