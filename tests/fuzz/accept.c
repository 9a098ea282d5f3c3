/* SPDX-License-Identifier: Apache-2.0 */
/* Accept and Accept-Encoding headers, and names in whatever bytes: escaping leaves what the scheme promises. */
#include "exporters/prometheus/dialect.h"
#include "exporters/prometheus/escape.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *resize(void *self, void *old, size_t size) {
    (void)self;
    if (size)
        return realloc(old, size);
    free(old);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct sonde_alloc alloc = {.resize = resize};
    struct sonde_prometheus_dialect dialect;
    struct buffer name;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)data[i];
    text[size] = '\0';
    sonde_prometheus_negotiate(text, &dialect);
    if (!dialect.content_type[0] || strlen(dialect.content_type) >= sizeof dialect.content_type - 1)
        abort();
    (void)sonde_prometheus_takes_gzip(text);
    buffer_init(&name, &alloc);
    for (unsigned escaping = 0; escaping < 4; escaping++) {
        name.size = 0;
        escape_name(&name, text, size, true, (enum sonde_prometheus_escaping)escaping);
        if (size && escaping != SONDE_PROMETHEUS_ALLOW_UTF8 && !escape_is_plain(name.data, name.size, true))
            abort();
    }
    buffer_deinit(&name);
    free(text);
    return 0;
}
