/* SPDX-License-Identifier: Apache-2.0 */
/* Types of sagas and their steps: names from outside, so both are bounded. Inside agent/process/. */
#ifndef SONDE_AGENT_SAGA_TYPES_H
#define SONDE_AGENT_SAGA_TYPES_H

#include "agent/process/saga_table.h"

struct sonde__saga_types {
    struct sonde__saga_type *items[SONDE__SAGA_TYPES_MAX]; /* owned */
    uint32_t count;
};
enum { SONDE__SAGA_TYPE_UNKNOWN = 0, SONDE__SAGA_TYPE_OTHER = 1 };

/** The type of that name, made when there is room or one that no saga in the table is of; the unknown one for an empty
 *  name, else that of all others.
 *  now_unix_ns  when it begins to count, if it takes the place of another. */
uint16_t sonde__saga_types_find(struct sonde__saga_types *types, const struct sonde_alloc *alloc,
                                struct sonde_bytes name, uint64_t now_unix_ns);
/** The step of that name, made when there is room, else 0. */
uint16_t sonde__saga_type_step(struct sonde__saga_type *type, struct sonde_bytes name);
/** Makes the first two types. Returns 0, -ENOMEM. */
int sonde__saga_types_init(struct sonde__saga_types *types, const struct sonde_alloc *alloc);
void sonde__saga_types_deinit(struct sonde__saga_types *types, const struct sonde_alloc *alloc);

#endif
