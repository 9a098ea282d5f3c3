/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's stack of contexts (struct sonde__thread). stack[depth] is current; stack[0] is the empty bottom.
 * Texts of tracestates lie end to end in one arena: an entry either shares its predecessor's text or has its own
 * right behind it, so the arena's end is always that of the top entry and nothing has to be freed. */
#ifndef SONDE_CONTEXT_CONTEXT_H
#define SONDE_CONTEXT_CONTEXT_H

#include "instrumentation/ring/thread.h"
#include <string.h>

/** The entry above the top one, or NULL when the stack is full (counted). The caller fills it, and pushes it with
 *  sonde__context_push(). */
struct sonde__stack_entry *sonde__context_entry_slow(struct sonde__thread *thread);
static inline struct sonde__stack_entry *sonde__context_entry(struct sonde__thread *thread) {
    if (SONDE__UNLIKELY(thread->depth >= SONDE_CONTEXT_DEPTH_MAX))
        return sonde__context_entry_slow(thread);
    return &thread->stack[thread->depth + 1];
}
/** Makes the entry current. Returns its token. */
static inline struct sonde_context_token sonde__context_push(struct sonde__thread *thread,
                                                             struct sonde__stack_entry *entry) {
    entry->generation = ++thread->generation;
    thread->depth++;
    return (struct sonde_context_token){thread->depth, entry->generation};
}
/** Takes the entry of a token off, and all above it; a token that fits no entry does nothing. */
static inline void sonde__context_pop(struct sonde__thread *thread, struct sonde_context_token token) {
    uint32_t index = token.depth - 1u; /* token 0 goes out of range */
    if (index < thread->depth && thread->stack[index + 1].generation == token.generation)
        thread->depth = index;
}

/** Gives an entry that is not yet pushed a tracestate of its own (copied), or none when the arena is full (counted). */
void sonde__context_keep_tracestate(struct sonde__thread *thread, struct sonde__stack_entry *entry, const char *text,
                                    uint32_t size);

/** Copies an entry out. */
void sonde__context_copy(const struct sonde__thread *thread, const struct sonde__stack_entry *entry,
                         struct sonde_context *ret_context);

#endif
