/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/table.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>
#include <string.h>

int sonde__kit_find_or_make(struct sonde__kit_table *table, const char *name,
                            void (*fill)(void *element, const void *options), const void *options,
                            uint32_t *ret_index) {
    size_t size = name ? strnlen(name, SONDE__KIT_NAME_SIZE_MAX + 1) : 0;
    int error = 0;
    *ret_index = 0;
    if (size == 0 || size > SONDE__KIT_NAME_SIZE_MAX || !sonde__utf8_is_valid(name, size))
        return SONDE_EINVALID;
    sonde__lock_take(&table->lock);
    uint32_t count = atomic_load(&table->count), index = 1;
    while (index <= count && strcmp(sonde__kit_get(table, index), name) != 0)
        index++;
    if (index <= count) {
        *ret_index = index;
    } else if (count == table->capacity) {
        error = SONDE_EFULL;
    } else {
        char *element = (char *)table->elements + count * table->element_size;
        memcpy(element, name, size + 1);
        fill(element, options);
        atomic_store_explicit(&table->count, index, memory_order_release);
        *ret_index = index;
    }
    sonde__lock_release(&table->lock);
    return error;
}

void sonde__kit_series(enum sonde__resilience_metric metric, const char *name_key, const char *name, const char *key,
                       const char *const *texts, size_t count, struct sonde_series *ret_series) {
    struct sonde_instrument instrument = sonde__resilience_instrument(metric);
    for (size_t i = 0; i < count; i++) {
        const struct sonde_attribute attributes[2] = {sonde_attribute_string(sonde_key_cstr(name_key), name),
                                                      sonde_attribute_string(sonde_key_cstr(key), texts[i])};
        ret_series[i] = sonde_series_bind(instrument, attributes, 2);
    }
}
