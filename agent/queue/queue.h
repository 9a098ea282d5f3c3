/* SPDX-License-Identifier: Apache-2.0 */
/* The queue: one log, one cursor per exporter. In memory here; the queue on disk implements the same calls.
 * A record is let go when every cursor has released it (sonde_queue_released()). With no cursor at all records are
 * accounted and let go at once. Loop thread only. */
#ifndef SONDE_AGENT_QUEUE_H
#define SONDE_AGENT_QUEUE_H

#include "exporters/record_log.h"
#include "exporters/seam.h"

#define SONDE_QUEUE_RECORD_SIZE_MAX (1u << 20)

struct sonde_queue;

struct sonde_queue_options {
    uint64_t size_max; /* bytes of records and their overhead */
    /** Called when records past every cursor are let go: from inside a cursor's release, and from inside append when no
     *  cursor takes the signal. May be NULL. */
    void (*released)(void *user, uint64_t sequence);
    /** Called after an append: exporters are woken. May be NULL. */
    void (*appended)(void *user, enum sonde_signal signal);
    void *user;
};

int sonde_queue_create(const struct sonde_queue_options *options, const struct sonde_seams *seams,
                       struct sonde_queue **ret_queue);
void sonde_queue_destroy(struct sonde_queue *queue);

/** Registers a resource (scope): its bytes are copied and kept once; equal bytes and uid give the same id.
 *  Each returned id is a reference: give it back with _unref when no more records will name it; the bytes go with the
 *  last record. Returns 0, -ENOMEM, SONDE_ETOOBIG. */
int sonde_queue_resource(struct sonde_queue *queue, struct sonde_bytes resource, uint32_t uid, uint32_t *ret_id);
int sonde_queue_scope(struct sonde_queue *queue, struct sonde_bytes scope, struct sonde_bytes schema_url,
                      uint32_t *ret_id);
void sonde_queue_resource_unref(struct sonde_queue *queue, uint32_t id);
void sonde_queue_scope_unref(struct sonde_queue *queue, uint32_t id);

/** Appends one record; the data (framed items, see record_log.h) is copied.
 *  Returns 0 and the sequence, SONDE_EFULL (size_max reached: nothing appended, the caller keeps its copy and comes
 * again), SONDE_ETOOBIG (over SONDE_QUEUE_RECORD_SIZE_MAX), SONDE_EINVALID (an id without a reference), -ENOMEM. */
int sonde_queue_append(struct sonde_queue *queue, enum sonde_signal signal, uint32_t resource_id, uint32_t scope_id,
                       uint32_t count, struct sonde_bytes data, uint64_t *ret_sequence);

/** False when a resource holds more than its part and the queue is over three quarters full: `sharers` of them share
 *  these. Its owner waits, so that one that writes without end does not take the others' room. Alone it has all. */
bool sonde_queue_has_share(const struct sonde_queue *queue, uint32_t resource_id, uint32_t sharers);

/** A cursor for an exporter that takes the signals in the mask (others are passed over without being seen).
 *  It starts at the end. Returns 0, SONDE_EFULL (32 cursors). */
int sonde_queue_cursor_create(struct sonde_queue *queue, uint32_t signals, uint32_t *ret_cursor);
struct sonde_record_log sonde_queue_log(struct sonde_queue *queue);

/** Every record up to this sequence is done with by every cursor. */
uint64_t sonde_queue_released(const struct sonde_queue *queue);
uint64_t sonde_queue_size(const struct sonde_queue *queue); /* bytes held */
/** Items of a signal not yet released by a cursor (in flight ones included). */
uint64_t sonde_queue_items(const struct sonde_queue *queue, uint32_t cursor, enum sonde_signal signal);
/** Items of a signal ever appended. */
uint64_t sonde_queue_appended(const struct sonde_queue *queue, enum sonde_signal signal);
uint32_t sonde_queue_cursor_count(const struct sonde_queue *queue);

#endif
