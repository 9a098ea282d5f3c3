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

static void type_init(struct sonde__saga_type *type, struct sonde_bytes name, uint64_t start_unix_ns) {
    memset(type, 0, sizeof *type);
    memcpy(type->name, name.data, name.size);
    memcpy(type->steps[0].name, SONDE__SAGA_OTHER, sizeof SONDE__SAGA_OTHER);
    type->step_count = 1;
    type->start_unix_ns = start_unix_ns;
}

static bool type_add(struct sonde__saga_types *types, const struct sonde_alloc *alloc, struct sonde_bytes name) {
    struct sonde__saga_type *type = sonde_alloc_new(alloc, sizeof *type);
    if (!type)
        return false;
    type_init(type, name, 0);
    types->items[types->count++] = type;
    return true;
}

static bool is_used(const struct sonde__saga_type *type) {
    uint64_t sum = 0;
    for (unsigned state = 0; state < SONDE__SAGA_STATE_COUNT; state++)
        sum += type->kept[state];
    return sum > 0;
}

/* The place of the type that was quiet for longest, and that no saga is of; else that of all others. */
static uint16_t place_take(const struct sonde__saga_types *types) {
    uint16_t found = SONDE__SAGA_TYPE_OTHER;
    for (uint32_t i = SONDE__SAGA_TYPE_OTHER + 1; i < types->count; i++) {
        const struct sonde__saga_type *type = types->items[i];
        if (!is_used(type) && (found == SONDE__SAGA_TYPE_OTHER || type->seen_ns < types->items[found]->seen_ns))
            found = (uint16_t)i;
    }
    return found;
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
                                struct sonde_bytes name, uint64_t now_unix_ns) {
    if (name.size == 0)
        return SONDE__SAGA_TYPE_UNKNOWN;
    if (!name_fits(name))
        return SONDE__SAGA_TYPE_OTHER;
    for (uint32_t i = 0; i < types->count; i++)
        if (name_is(types->items[i]->name, name))
            return (uint16_t)i;
    if (types->count < SONDE__SAGA_TYPES_MAX)
        return type_add(types, alloc, name) ? (uint16_t)(types->count - 1) : SONDE__SAGA_TYPE_OTHER;
    uint16_t place = place_take(types);
    if (place != SONDE__SAGA_TYPE_OTHER)
        type_init(types->items[place], name, now_unix_ns);
    return place;
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
