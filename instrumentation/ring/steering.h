/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator wants of this service, as the agent's control page says it (layout.h): read where a decision is
 * made, in two loads as long as nothing is wanted, without a lock or a system call. The page stays mapped when its
 * agent is gone: what it said holds until another agent says otherwise. */
#ifndef SONDE_RING_STEERING_H
#define SONDE_RING_STEERING_H

#include "instrumentation/ring/layout.h"
#include <stdbool.h>

/* The page; NULL = no agent was met yet. One address for the process's life, SONDE__CONTROL_SIZE bytes, readable to the
 * end whatever an agent handed over. Set by link/doorbell.c. */
extern struct sonde__control *_Atomic sonde__control_page __attribute__((visibility("hidden")));

/* Where this service's rows were found: generation << 16 | own row << 8 | row of all; SONDE__STEERING_NONE = none. */
#define SONDE__STEERING_NONE 0xFFu
extern _Atomic uint64_t sonde__steering_found __attribute__((visibility("hidden")));

/** Names this process's service, by which its row is found: once, before the first page is put there; a second call
 *  does nothing (the name of a process does not change, not even in a forked child). Longer names than
 *  SONDE__STEERING_NAME_MAX have no row of their own. */
void sonde__steering_name_set(const char *name, size_t size);

/** Never 0. */
uint64_t sonde__steering_hash(const char *name, size_t size);

/** The part of sonde__steering_get() that looks. */
uint64_t sonde__steering_look(const struct sonde__control *page, size_t field);

/** A field (sampling, severity) of this service's row, else of the row of all services, else 0. */
static inline uint64_t sonde__steering_get(size_t field) {
    const struct sonde__control *page = atomic_load_explicit(&sonde__control_page, memory_order_acquire);
    if (__builtin_expect(!page, 0))
        return 0;
    uint64_t generation = atomic_load_explicit(&page->steering_generation, memory_order_relaxed);
    uint64_t nothing = generation << 16 | SONDE__STEERING_NONE << 8 | SONDE__STEERING_NONE;
    if (__builtin_expect(atomic_load_explicit(&sonde__steering_found, memory_order_relaxed) == nothing, 1))
        return 0;
    return sonde__steering_look(page, field);
}
static inline uint64_t sonde__steering_sampling(void) {
    return sonde__steering_get(offsetof(struct sonde__steering, sampling));
}
static inline uint64_t sonde__steering_severity(void) {
    return sonde__steering_get(offsetof(struct sonde__steering, severity));
}

/** For whoever writes a page (the agent): fills the table that is not in force and puts it in force. rows: count of
 *  them, at most SONDE__STEERINGS. */
struct sonde__steering_row {
    const char *name; /* NUL-terminated, 1..SONDE__STEERING_NAME_MAX bytes */
    uint64_t sampling, severity;
};
void sonde__steering_publish(struct sonde__control *page, const struct sonde__steering_row *rows, size_t count);

#endif
