/* SPDX-License-Identifier: Apache-2.0 */
/* Byte strings kept once, by id and reference count: the resources and scopes that records name. */
#ifndef SONDE_AGENT_QUEUE_INTERN_H
#define SONDE_AGENT_QUEUE_INTERN_H

#include "exporters/record_log.h"
#include "exporters/seam.h"

struct sonde__intern_entry {
    uint64_t references;
    uint64_t hash;
    uint32_t next;  /* id of the next entry of this hash bucket, or of the free list; 0 = end */
    uint32_t owner; /* part of the identity: the user of a resource */
    uint32_t first_size, second_size;
    uint64_t held;  /* for whoever keeps accounts by id: 0 for a new entry */
    uint8_t *bytes; /* first, then second; NULL when free */
};

/** All-zero but alloc and seed is ready to use. */
struct sonde__intern {
    struct sonde_alloc alloc;
    uint64_t seed;
    struct sonde__intern_entry *entries; /* id - 1 */
    uint32_t *buckets;                   /* capacity of them; ids */
    uint32_t count, capacity, free_head; /* entries ever used; room; ids */
};

/** Finds or copies (first, second, owner) and takes one reference.
 *  Returns 0, -ENOMEM, SONDE_ETOOBIG (a part over 1 MiB). */
int sonde__intern_ref(struct sonde__intern *intern, struct sonde_bytes first, struct sonde_bytes second, uint32_t owner,
                      uint32_t *ret_id);
/** One more reference on an id that has one. False: no such id. */
bool sonde__intern_ref_id(struct sonde__intern *intern, uint32_t id);
void sonde__intern_unref(struct sonde__intern *intern, uint32_t id); /* an unknown id is ignored */
/** The entry of an id that has a reference; NULL otherwise. */
struct sonde__intern_entry *sonde__intern_get(const struct sonde__intern *intern, uint32_t id);
void sonde__intern_deinit(struct sonde__intern *intern);

#endif
