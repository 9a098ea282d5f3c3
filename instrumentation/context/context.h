/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's stack of contexts (struct sonde__thread). stack[depth] is current; stack[0] is the empty bottom.
 * Texts of tracestates lie end to end in one arena, those of baggage in another: an entry either shares its
 * predecessor's text or has its own right behind it, so an arena's end is always that of the top entry and nothing has
 * to be freed. */
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

/** The same for its baggage. Text that equals the top entry's is shared. */
void sonde__context_keep_baggage(struct sonde__thread *thread, struct sonde__stack_entry *entry, const char *text,
                                 uint32_t size);

/** Gives the current context other baggage. Returns 0, SONDE_ENOTFOUND (nothing is current), SONDE_ETOOBIG (arena). */
int sonde__context_replace_baggage(const char *text, uint32_t size);

/** An entry's span context as a value. */
static inline void sonde__context_span(const struct sonde__stack_entry *entry, struct sonde_span_context *ret_span) {
    memcpy(ret_span->trace_id, entry->trace_id, 16);
    memcpy(ret_span->span_id, &entry->span_id, 8);
    memset(&ret_span->flags, 0, 8);
    ret_span->flags = (uint8_t)entry->flags;
    ret_span->is_remote = (entry->flags & SONDE__ENTRY_REMOTE) != 0;
    ret_span->decision = (uint8_t)((entry->flags & SONDE__ENTRY_DECISION) >> 16);
}

/** Copies an entry out. */
void sonde__context_copy(const struct sonde__thread *thread, const struct sonde__stack_entry *entry,
                         struct sonde_context *ret_context);

#endif
