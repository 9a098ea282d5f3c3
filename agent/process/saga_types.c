/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/process/saga_types.h"
#include <errno.h>
#include <string.h>

static bool name_is(const char *known, struct sonde_bytes name) {
    return strlen(known) == name.size && memcmp(known, name.data, name.size) == 0;
}

/* A NUL would cut the name: such a one has no room either. */
static bool name_fits(struct sonde_bytes name) {
    return name.size > 0 && name.size <= SONDE__SAGA_TEXT_SIZE_MAX && !memchr(name.data, '\0', name.size);
}

static bool type_add(struct sonde__saga_types *types, const struct sonde_alloc *alloc, struct sonde_bytes name) {
    struct sonde__saga_type *type = sonde_alloc_new(alloc, sizeof *type);
    if (!type)
        return false;
    memset(type, 0, sizeof *type);
    memcpy(type->name, name.data, name.size);
    memcpy(type->steps[0].name, SONDE__SAGA_OTHER, sizeof SONDE__SAGA_OTHER);
    type->step_count = 1;
    types->items[types->count++] = type;
    return true;
}

int sonde__saga_types_init(struct sonde__saga_types *types, const struct sonde_alloc *alloc) {
    static const struct sonde_bytes unknown = {(const uint8_t *)SONDE__SAGA_UNKNOWN, sizeof SONDE__SAGA_UNKNOWN - 1},
                                    other = {(const uint8_t *)SONDE__SAGA_OTHER, sizeof SONDE__SAGA_OTHER - 1};
    return type_add(types, alloc, unknown) && type_add(types, alloc, other) ? 0 : -ENOMEM;
}

void sonde__saga_types_deinit(struct sonde__saga_types *types, const struct sonde_alloc *alloc) {
    for (uint32_t i = 0; i < types->count; i++)
        sonde_alloc_free(alloc, types->items[i]);
    types->count = 0;
}

uint16_t sonde__saga_types_find(struct sonde__saga_types *types, const struct sonde_alloc *alloc,
                                struct sonde_bytes name) {
    if (name.size == 0)
        return SONDE__SAGA_TYPE_UNKNOWN;
    if (!name_fits(name))
        return SONDE__SAGA_TYPE_OTHER;
    for (uint32_t i = 0; i < types->count; i++)
        if (name_is(types->items[i]->name, name))
            return (uint16_t)i;
    if (types->count == SONDE__SAGA_TYPES_MAX || !type_add(types, alloc, name))
        return SONDE__SAGA_TYPE_OTHER;
    return (uint16_t)(types->count - 1);
}

uint16_t sonde__saga_type_step(struct sonde__saga_type *type, struct sonde_bytes name) {
    if (!name_fits(name))
        return 0;
    for (uint32_t i = 0; i < type->step_count; i++)
        if (name_is(type->steps[i].name, name))
            return (uint16_t)i;
    if (type->step_count == SONDE__SAGA_STEPS_MAX)
        return 0;
    memcpy(type->steps[type->step_count].name, name.data, name.size);
    return (uint16_t)type->step_count++;
}
