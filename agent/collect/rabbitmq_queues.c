/* SPDX-License-Identifier: Apache-2.0 */
/* A table by vhost and name. What a number means for each type of queue is decided in put_queue(): of a stream,
 * "messages ready" are those that are retained, read or not, and its readers tell their lag themselves. */
#include "agent/collect/rabbitmq_queues.h"
#include <string.h>

#define SLOTS_MIN 64u

/* --- the table --- */

static void details_reset(struct sonde__rabbitmq_details *details) {
    int64_t none = SONDE__RABBITMQ_UNKNOWN;
    *details = (struct sonde__rabbitmq_details){none, none, none, none, none, none, none, none};
}

/** FNV-1a over both, a NUL between. */
static size_t hash_of(const char *vhost, const char *name) {
    uint64_t hash = 14695981039346656037u;
    for (const char *at = vhost; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    hash *= 1099511628211u;
    for (const char *at = name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

static void slot_put(struct sonde__rabbitmq_queues *queues, size_t index) {
    size_t slot = queues->rows[index]->hash & (queues->slot_count - 1);
    while (queues->slots[slot])
        slot = (slot + 1) & (queues->slot_count - 1);
    queues->slots[slot] = (uint32_t)(index + 1);
}

static void slots_fill(struct sonde__rabbitmq_queues *queues) {
    memset(queues->slots, 0, queues->slot_count * sizeof *queues->slots);
    for (size_t i = 0; i < queues->count; i++)
        slot_put(queues, i);
}

/** Room for one more: slots are at most half full. */
static bool room(struct sonde__rabbitmq_queues *queues) {
    const struct sonde_alloc *alloc = queues->alloc;
    if (queues->count < queues->capacity)
        return true;
    size_t capacity = queues->capacity ? queues->capacity * 2 : SLOTS_MIN / 2;
    void *rows = alloc->resize(alloc->self, queues->rows, capacity * sizeof *queues->rows);
    if (!rows)
        return false;
    queues->rows = rows;
    uint32_t *slots = sonde_alloc_new(alloc, capacity * 2 * sizeof *slots);
    if (!slots)
        return false;
    sonde_alloc_free(alloc, queues->slots);
    queues->slots = slots;
    queues->capacity = capacity;
    queues->slot_count = capacity * 2;
    slots_fill(queues);
    return true;
}

static struct sonde__rabbitmq_queue *find(const struct sonde__rabbitmq_queues *queues, const char *vhost,
                                          const char *name, size_t hash) {
    if (!queues->slot_count)
        return NULL;
    for (size_t slot = hash & (queues->slot_count - 1); queues->slots[slot];
         slot = (slot + 1) & (queues->slot_count - 1)) {
        struct sonde__rabbitmq_queue *row = queues->rows[queues->slots[slot] - 1];
        if (row->hash == hash && strcmp(row->name, name) == 0 && strcmp(row->vhost, vhost) == 0)
            return row;
    }
    return NULL;
}

struct sonde__rabbitmq_queue *sonde__rabbitmq_queue_find(const struct sonde__rabbitmq_queues *queues, const char *vhost,
                                                         const char *name) {
    return find(queues, vhost, name, hash_of(vhost, name));
}

static bool vhost_passes(const struct sonde__rabbitmq_queues *queues, const char *vhost) {
    for (size_t i = 0; i < queues->vhosts->count; i++)
        if (strcmp(queues->vhosts->items[i], vhost) == 0)
            return true;
    return queues->vhosts->count == 0;
}

static struct sonde__rabbitmq_queue *queue_new(struct sonde__rabbitmq_queues *queues, const char *vhost,
                                               const char *name, size_t hash) {
    size_t vhost_size = strlen(vhost), name_size = strlen(name);
    if (vhost_size >= SONDE__RABBITMQ_NAME_SIZE_MAX || name_size >= SONDE__RABBITMQ_NAME_SIZE_MAX ||
        !vhost_passes(queues, vhost) || !sonde__filter_passes(queues->filter, name))
        return NULL;
    if (queues->count >= queues->max) {
        queues->truncated = true;
        return NULL;
    }
    struct sonde__rabbitmq_queue *row = sonde_alloc_new(queues->alloc, sizeof *row + vhost_size + name_size + 2);
    if (!row || !room(queues)) {
        sonde_alloc_free(queues->alloc, row);
        queues->no_memory = true;
        return NULL;
    }
    *row = (struct sonde__rabbitmq_queue){.ready = SONDE__RABBITMQ_UNKNOWN,
                                          .unacked = SONDE__RABBITMQ_UNKNOWN,
                                          .hash = hash,
                                          .vhost = row->text,
                                          .name = row->text + vhost_size + 1,
                                          .vhost_size = vhost_size,
                                          .name_size = name_size};
    memcpy(row->text, vhost, vhost_size + 1);
    memcpy(row->text + vhost_size + 1, name, name_size + 1);
    details_reset(&row->details);
    if (sonde__patterns_match(queues->streams, name))
        row->type = SONDE__RABBITMQ_STREAM;
    queues->rows[queues->count] = row;
    slot_put(queues, queues->count++);
    return row;
}

struct sonde__rabbitmq_queue *sonde__rabbitmq_queue_at(struct sonde__rabbitmq_queues *queues, const char *vhost,
                                                       const char *name) {
    size_t hash = hash_of(vhost, name);
    struct sonde__rabbitmq_queue *row = find(queues, vhost, name, hash);
    return row ? row : queue_new(queues, vhost, name, hash);
}

void sonde__rabbitmq_queues_begin(struct sonde__rabbitmq_queues *queues) {
    queues->round++;
    queues->truncated = queues->no_memory = false;
}

void sonde__rabbitmq_details_begin(struct sonde__rabbitmq_queues *queues) {
    for (size_t i = 0; i < queues->count; i++)
        details_reset(&queues->rows[i]->details);
}

void sonde__rabbitmq_queue_seen(struct sonde__rabbitmq_queues *queues, struct sonde__rabbitmq_queue *queue) {
    if (queue->round != queues->round)
        queue->ready = queue->unacked = SONDE__RABBITMQ_UNKNOWN;
    queue->round = queues->round;
}

void sonde__rabbitmq_queues_end(struct sonde__rabbitmq_queues *queues) {
    size_t kept = 0;
    queues->has_streams = false;
    for (size_t i = 0; i < queues->count; i++) {
        struct sonde__rabbitmq_queue *row = queues->rows[i];
        if (row->round != queues->round) {
            sonde_alloc_free(queues->alloc, row);
            continue;
        }
        queues->has_streams |= row->type == SONDE__RABBITMQ_STREAM;
        queues->rows[kept++] = row;
    }
    if (kept == queues->count)
        return;
    queues->count = kept;
    slots_fill(queues);
}

void sonde__rabbitmq_queues_deinit(struct sonde__rabbitmq_queues *queues) {
    for (size_t i = 0; i < queues->count; i++)
        sonde_alloc_free(queues->alloc, queues->rows[i]);
    sonde_alloc_free(queues->alloc, queues->rows);
    sonde_alloc_free(queues->alloc, queues->slots);
    sonde_alloc_free(queues->alloc, queues->readers);
    queues->rows = NULL;
    queues->slots = NULL;
    queues->readers = NULL;
    queues->count = queues->capacity = queues->slot_count = queues->reader_count = queues->reader_capacity = 0;
}

/* --- readers of streams --- */

void sonde__rabbitmq_readers_clear(struct sonde__rabbitmq_queues *queues) {
    queues->reader_count = 0;
}

static bool same_stream(const struct sonde__rabbitmq_reader *a, const struct sonde__rabbitmq_reader *b) {
    return strcmp(a->stream, b->stream) == 0 && strcmp(a->vhost, b->vhost) == 0;
}

static struct sonde__rabbitmq_reader *reader_new(struct sonde__rabbitmq_queues *queues) {
    if (queues->reader_count == SONDE__RABBITMQ_READERS_MAX) {
        queues->truncated = true;
        return NULL;
    }
    if (queues->reader_count == queues->reader_capacity) {
        size_t capacity = queues->reader_capacity ? queues->reader_capacity * 2 : 8;
        void *readers = queues->alloc->resize(queues->alloc->self, queues->readers, capacity * sizeof *queues->readers);
        if (!readers) {
            queues->no_memory = true;
            return NULL;
        }
        queues->readers = readers;
        queues->reader_capacity = capacity;
    }
    return &queues->readers[queues->reader_count++];
}

void sonde__rabbitmq_reader_add(struct sonde__rabbitmq_queues *queues, const struct sonde__rabbitmq_reader *reader) {
    int64_t end = SONDE__RABBITMQ_UNKNOWN; /* of the stream, from someone who reads it */
    if (!sonde__rabbitmq_queue_find(queues, reader->vhost, reader->stream))
        return;
    for (size_t i = 0; i < queues->reader_count; i++) {
        struct sonde__rabbitmq_reader *known = &queues->readers[i];
        if (!same_stream(known, reader))
            continue;
        if (known->lag >= 0 && known->offset >= 0 && known->lag <= INT64_MAX - known->offset)
            end = known->offset + known->lag;
        if (strcmp(known->name, reader->name) != 0)
            continue;
        if (!reader->stored && reader->lag > known->lag) {
            known->lag = reader->lag;
            known->offset = reader->offset;
        }
        return;
    }
    struct sonde__rabbitmq_reader *added = reader_new(queues);
    if (!added)
        return;
    *added = *reader;
    if (reader->stored && end >= 0)
        added->lag = end > reader->offset ? end - reader->offset : 0;
}

/* --- series --- */

static void put(struct sonde__poll *poll, enum sonde__messaging_metric metric, struct sonde__messaging_of of,
                const char *state, int64_t value) {
    of.state = state;
    if (value >= 0)
        sonde__poll_set(poll, metric, &of, (double)value);
}

/** Seconds since the publisher's time stamp of the oldest message, which classic queues know; a queue without messages
 *  has none that waits. */
static void put_age(const struct sonde__rabbitmq_queue *row, struct sonde__poll *poll,
                    const struct sonde__messaging_of *of) {
    if (row->type != SONDE__RABBITMQ_CLASSIC || row->ready < 0 || row->unacked < 0)
        return;
    double age = 0;
    if (row->ready > 0 || row->unacked > 0) {
        if (row->details.head_unix_s <= 0)
            return;
        age = (double)sonde__poll_now_unix_ns(poll) / 1e9 - (double)row->details.head_unix_s;
        age = age < 0 ? 0 : age; /* a publisher whose clock is ahead */
    }
    sonde__poll_set(poll, SONDE__MESSAGING_OLDEST_AGE, of, age);
}

static void put_queue(const struct sonde__rabbitmq_queue *row, struct sonde__poll *poll) {
    const struct sonde_attribute vhost =
        sonde_attribute_string_n(SONDE_KEY("messaging.rabbitmq.vhost"), row->vhost, row->vhost_size);
    const struct sonde__messaging_of of = {.destination = {row->name, row->name_size}, .more = &vhost, .more_count = 1};
    const struct sonde__rabbitmq_details *details = &row->details;
    if (row->type == SONDE__RABBITMQ_STREAM) {
        put(poll, SONDE__MESSAGING_QUEUE_MESSAGE, of, "retained", row->ready >= 0 ? row->ready : details->messages);
    } else {
        put(poll, SONDE__MESSAGING_LAG, of, NULL, row->ready);
        put(poll, SONDE__MESSAGING_QUEUE_MESSAGE, of, "ready", row->ready);
        put(poll, SONDE__MESSAGING_QUEUE_MESSAGE, of, "unacked", row->unacked);
        put_age(row, poll, &of);
    }
    put(poll, SONDE__MESSAGING_CONSUMERS, of, NULL, details->consumers);
    put(poll, SONDE__MESSAGING_QUEUE_SIZE, of, NULL, details->bytes);
    put(poll, SONDE__MESSAGING_PUBLISHED, of, NULL, details->published);
    put(poll, SONDE__MESSAGING_DELIVERED, of, NULL, details->delivered);
    put(poll, SONDE__MESSAGING_ACKED, of, NULL, details->acked);
    put(poll, SONDE__MESSAGING_REDELIVERED, of, NULL, details->redelivered);
}

static void put_reader(const struct sonde__rabbitmq_reader *reader, struct sonde__poll *poll) {
    const struct sonde_attribute vhost = sonde_attribute_string(SONDE_KEY("messaging.rabbitmq.vhost"), reader->vhost);
    const struct sonde__messaging_of of = {.destination = {reader->stream, strlen(reader->stream)},
                                           .group = {*reader->name ? reader->name : NULL, strlen(reader->name)},
                                           .more = &vhost,
                                           .more_count = 1};
    put(poll, SONDE__MESSAGING_LAG, of, NULL, reader->lag);
    put(poll, SONDE__MESSAGING_CONSUMER_OFFSET, of, NULL, reader->offset);
}

bool sonde__rabbitmq_queues_put(const struct sonde__rabbitmq_queues *queues, struct sonde__poll *poll, size_t from,
                                size_t count) {
    size_t end = queues->count - from < count ? queues->count : from + count;
    for (size_t i = from; i < end; i++)
        put_queue(queues->rows[i], poll);
    if (end < queues->count)
        return true;
    for (size_t i = 0; i < queues->reader_count; i++)
        put_reader(&queues->readers[i], poll);
    return false;
}
