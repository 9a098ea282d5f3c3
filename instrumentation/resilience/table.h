/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the kit's named things: made under a lock, found by name, never freed, got by index without a lock. An
 * element begins with its name. */
#ifndef SONDE_RESILIENCE_TABLE_H
#define SONDE_RESILIENCE_TABLE_H

#include "instrumentation/resilience/instruments.h"
#include "instrumentation/ring/lock.h"
#include <stddef.h>

#define SONDE__KIT_NAME_SIZE_MAX 127u

struct sonde__kit_table {
    uint32_t capacity;
    size_t element_size;
    void *elements; /* index i is element i - 1 */
    struct sonde__lock lock;
    _Atomic uint32_t count;
};

/** Finds the element of a name, or makes it: its name is set, then fill(element, options) called, under the lock.
 *  Returns 0, SONDE_EINVALID (no name, longer than 127 bytes, not UTF-8), SONDE_EFULL; *ret_index is 0 on failure. */
int sonde__kit_find_or_make(struct sonde__kit_table *table, const char *name,
                            void (*fill)(void *element, const void *options), const void *options, uint32_t *ret_index);

/** NULL for an index that is not made. */
static inline void *sonde__kit_get(struct sonde__kit_table *table, uint32_t index) {
    if (index - 1u >= atomic_load_explicit(&table->count, memory_order_acquire))
        return NULL;
    return (char *)table->elements + (index - 1u) * table->element_size;
}

/** Binds a series per text: name_key=name, key=text. */
void sonde__kit_series(enum sonde__resilience_metric metric, const char *name_key, const char *name, const char *key,
                       const char *const *texts, size_t count, struct sonde_series *ret_series);

#endif
