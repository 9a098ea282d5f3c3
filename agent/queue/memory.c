/* SPDX-License-Identifier: Apache-2.0 */
/* The queue in memory.
 *
 * Records stand in one deque per signal, in order of the sequence they share. A cursor is a position: the sequence up
 * to which its exporter is done. A record of a signal goes when every cursor that takes the signal has passed it, so
 * there is no count per record, and a cursor that takes traces only never looks at a log. Finding the next record after
 * a sequence is a binary search in each deque of the cursor's mask; append and release are O(1) per record, amortised.
 */
#include "agent/queue/intern.h"
#include "agent/queue/queue.h"
#include <assert.h>
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

#define CURSORS_MAX          32u
#define DEQUE_CAPACITY_FIRST 64u
#define SHARE_MIN            (256u << 10) /* what anybody may hold, however many share */

struct record {
    uint64_t sequence;
    uint32_t count, size;
    uint32_t resource_id, scope_id;
    uint8_t data[];
};
struct deque { /* of records; index i of all ever appended stands at i & (capacity - 1) */
    struct record **records;
    uint64_t first, end; /* indices held: first..end-1 */
    uint64_t capacity;
    uint64_t appended_items;
};
struct cursor {
    uint32_t signals;
    uint64_t released;                  /* sequence */
    uint64_t index[SONDE_SIGNAL_COUNT]; /* first record of the deque after `released` */
    uint64_t items[SONDE_SIGNAL_COUNT]; /* in records after `released` */
};
struct sonde_queue {
    struct sonde_queue_options options;
    struct sonde_alloc alloc;
    struct sonde__intern resources, scopes;
    struct deque deques[SONDE_SIGNAL_COUNT];
    struct cursor cursors[CURSORS_MAX];
    uint32_t cursor_count;
    uint64_t last_sequence;
    uint64_t released; /* told to options.released */
    uint64_t size;
};

static struct record *deque_at(const struct deque *deque, uint64_t index) {
    return deque->records[index & (deque->capacity - 1)];
}

/** Makes room for one more. Memory follows the fill down as well, so that a spike is not kept for ever. */
static int deque_reserve(struct deque *deque, const struct sonde_alloc *alloc) {
    uint64_t held = deque->end - deque->first, capacity = deque->capacity;
    if (held == capacity)
        capacity = capacity ? capacity * 2 : DEQUE_CAPACITY_FIRST;
    else if (capacity > 16 * DEQUE_CAPACITY_FIRST && held < capacity / 8)
        capacity /= 4;
    else
        return 0;
    struct record **records = sonde_alloc_new(alloc, capacity * sizeof(struct record *));
    if (!records)
        return held < deque->capacity ? 0 : -ENOMEM; /* not shrinking is no failure */
    for (uint64_t i = deque->first; i < deque->end; i++)
        records[i & (capacity - 1)] = deque_at(deque, i);
    sonde_alloc_free(alloc, deque->records);
    deque->records = records;
    deque->capacity = capacity;
    return 0;
}

int sonde_queue_create(const struct sonde_queue_options *options, const struct sonde_seams *seams,
                       struct sonde_queue **ret_queue) {
    struct sonde_queue *queue = sonde_alloc_new(&seams->alloc, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    *queue = (struct sonde_queue){.options = *options, .alloc = seams->alloc};
    queue->resources = (struct sonde__intern){.alloc = seams->alloc, .seed = seams->random.next(seams->random.self)};
    queue->scopes = (struct sonde__intern){.alloc = seams->alloc, .seed = seams->random.next(seams->random.self)};
    *ret_queue = queue;
    return 0;
}

static void drop_first(struct sonde_queue *queue, struct deque *deque) {
    struct record *record = deque_at(deque, deque->first++);
    sonde__intern_get(&queue->resources, record->resource_id)->held -= sizeof *record + record->size;
    sonde__intern_unref(&queue->resources, record->resource_id);
    sonde__intern_unref(&queue->scopes, record->scope_id);
    queue->size -= sizeof *record + record->size;
    sonde_alloc_free(&queue->alloc, record);
}

void sonde_queue_destroy(struct sonde_queue *queue) {
    if (!queue)
        return;
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        while (queue->deques[s].first < queue->deques[s].end)
            drop_first(queue, &queue->deques[s]);
        sonde_alloc_free(&queue->alloc, queue->deques[s].records);
    }
    sonde__intern_deinit(&queue->resources);
    sonde__intern_deinit(&queue->scopes);
    struct sonde_alloc alloc = queue->alloc;
    sonde_alloc_free(&alloc, queue);
}

int sonde_queue_resource(struct sonde_queue *queue, struct sonde_bytes resource, uint32_t uid, uint32_t *ret_id) {
    return sonde__intern_ref(&queue->resources, resource, (struct sonde_bytes){NULL, 0}, uid, ret_id);
}
int sonde_queue_scope(struct sonde_queue *queue, struct sonde_bytes scope, struct sonde_bytes schema_url,
                      uint32_t *ret_id) {
    return sonde__intern_ref(&queue->scopes, scope, schema_url, 0, ret_id);
}
void sonde_queue_resource_unref(struct sonde_queue *queue, uint32_t id) {
    sonde__intern_unref(&queue->resources, id);
}
void sonde_queue_scope_unref(struct sonde_queue *queue, uint32_t id) {
    sonde__intern_unref(&queue->scopes, id);
}

/** Lets go what every cursor of a signal has passed, and tells how far all signals are through. */
static void collect(struct sonde_queue *queue, uint32_t signals) {
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        if (!(signals & (1u << s)))
            continue;
        uint64_t passed = queue->last_sequence;
        for (uint32_t c = 0; c < queue->cursor_count; c++)
            if ((queue->cursors[c].signals & (1u << s)) && queue->cursors[c].released < passed)
                passed = queue->cursors[c].released;
        struct deque *deque = &queue->deques[s];
        while (deque->first < deque->end && deque_at(deque, deque->first)->sequence <= passed)
            drop_first(queue, deque);
    }
    uint64_t released = queue->last_sequence;
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        const struct deque *deque = &queue->deques[s];
        if (deque->first < deque->end && deque_at(deque, deque->first)->sequence <= released)
            released = deque_at(deque, deque->first)->sequence - 1;
    }
    if (released == queue->released)
        return;
    queue->released = released;
    if (queue->options.released)
        queue->options.released(queue->options.user, released);
}

static int make_record(struct sonde_queue *queue, uint32_t resource_id, uint32_t scope_id, struct sonde_bytes data,
                       struct record **ret_record) {
    if (!sonde__intern_get(&queue->resources, resource_id) || !sonde__intern_get(&queue->scopes, scope_id))
        return SONDE_EINVALID;
    struct record *record = sonde_alloc_new(&queue->alloc, sizeof *record + data.size);
    if (!record)
        return -ENOMEM;
    *record = (struct record){.size = (uint32_t)data.size, .resource_id = resource_id, .scope_id = scope_id};
    if (data.size)
        memcpy(record->data, data.data, data.size);
    (void)sonde__intern_ref_id(&queue->resources, resource_id);
    sonde__intern_get(&queue->resources, resource_id)->held += sizeof *record + record->size;
    (void)sonde__intern_ref_id(&queue->scopes, scope_id);
    *ret_record = record;
    return 0;
}

int sonde_queue_append(struct sonde_queue *queue, enum sonde_signal signal, uint32_t resource_id, uint32_t scope_id,
                       uint32_t count, struct sonde_bytes data, uint64_t *ret_sequence) {
    struct deque *deque = &queue->deques[signal];
    if (data.size > SONDE_QUEUE_RECORD_SIZE_MAX)
        return SONDE_ETOOBIG;
    if (queue->size + sizeof(struct record) + data.size > queue->options.size_max)
        return SONDE_EFULL;
    int error = deque_reserve(deque, &queue->alloc);
    if (error)
        return error;
    struct record *record;
    error = make_record(queue, resource_id, scope_id, data, &record);
    if (error)
        return error;
    record->sequence = ++queue->last_sequence;
    record->count = count;
    deque->records[deque->end++ & (deque->capacity - 1)] = record;
    deque->appended_items += count;
    queue->size += sizeof *record + data.size;
    *ret_sequence = record->sequence;
    for (uint32_t c = 0; c < queue->cursor_count; c++)
        if (queue->cursors[c].signals & (1u << signal))
            queue->cursors[c].items[signal] += count;
    collect(queue, 1u << signal); /* at once when no cursor takes the signal */
    if (queue->options.appended)
        queue->options.appended(queue->options.user, signal);
    return 0;
}

bool sonde_queue_has_share(const struct sonde_queue *queue, uint32_t resource_id, uint32_t sharers) {
    uint64_t shared = queue->options.size_max / 4 * 3;
    if (queue->size < shared || sharers <= 1)
        return true;
    const struct sonde__intern_entry *resource = sonde__intern_get(&queue->resources, resource_id);
    uint64_t share = shared / sharers > SHARE_MIN ? shared / sharers : SHARE_MIN;
    return !resource || resource->held < share;
}

int sonde_queue_cursor_create(struct sonde_queue *queue, uint32_t signals, uint32_t *ret_cursor) {
    if (queue->cursor_count == CURSORS_MAX)
        return SONDE_EFULL;
    struct cursor *cursor = &queue->cursors[queue->cursor_count];
    *cursor = (struct cursor){.signals = signals, .released = queue->last_sequence};
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
        cursor->index[s] = queue->deques[s].end;
    *ret_cursor = queue->cursor_count++;
    return 0;
}

/** First record of a deque with a sequence over `after`, at or behind index `from`; NULL when there is none. */
static struct record *deque_find(const struct deque *deque, uint64_t from, uint64_t after) {
    uint64_t low = from > deque->first ? from : deque->first, high = deque->end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (deque_at(deque, middle)->sequence > after)
            high = middle;
        else
            low = middle + 1;
    }
    return low < deque->end ? deque_at(deque, low) : NULL;
}

static bool log_next(void *self, uint32_t cursor_number, uint64_t after, struct sonde_record_view *ret_record) {
    struct sonde_queue *queue = self;
    assert(cursor_number < queue->cursor_count);
    const struct cursor *cursor = &queue->cursors[cursor_number];
    const struct record *best = NULL;
    enum sonde_signal signal = SONDE_SIGNAL_TRACES;
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        if (!(cursor->signals & (1u << s)))
            continue;
        const struct record *record = deque_find(&queue->deques[s], cursor->index[s], after);
        if (record && (!best || record->sequence < best->sequence)) {
            best = record;
            signal = (enum sonde_signal)s;
        }
    }
    if (!best)
        return false;
    const struct sonde__intern_entry *resource = sonde__intern_get(&queue->resources, best->resource_id);
    const struct sonde__intern_entry *scope = sonde__intern_get(&queue->scopes, best->scope_id);
    *ret_record = (struct sonde_record_view){.sequence = best->sequence,
                                             .signal = signal,
                                             .count = best->count,
                                             .resource_id = best->resource_id,
                                             .scope_id = best->scope_id,
                                             .uid = resource->owner,
                                             .resource = {resource->bytes, resource->first_size},
                                             .scope = {scope->bytes, scope->first_size},
                                             .schema_url = {scope->bytes + scope->first_size, scope->second_size},
                                             .data = {best->data, best->size}};
    return true;
}

static void log_release(void *self, uint32_t cursor_number, uint64_t sequence) {
    struct sonde_queue *queue = self;
    assert(cursor_number < queue->cursor_count);
    struct cursor *cursor = &queue->cursors[cursor_number];
    if (sequence > queue->last_sequence)
        sequence = queue->last_sequence;
    if (sequence <= cursor->released)
        return;
    cursor->released = sequence;
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        const struct deque *deque = &queue->deques[s];
        if (!(cursor->signals & (1u << s)))
            continue;
        while (cursor->index[s] < deque->end && deque_at(deque, cursor->index[s])->sequence <= sequence)
            cursor->items[s] -= deque_at(deque, cursor->index[s]++)->count;
    }
    collect(queue, cursor->signals);
}

struct sonde_record_log sonde_queue_log(struct sonde_queue *queue) {
    return (struct sonde_record_log){.next = log_next, .release = log_release, .self = queue};
}

uint64_t sonde_queue_released(const struct sonde_queue *queue) {
    return queue->released;
}
uint64_t sonde_queue_size(const struct sonde_queue *queue) {
    return queue->size;
}
uint64_t sonde_queue_items(const struct sonde_queue *queue, uint32_t cursor, enum sonde_signal signal) {
    return cursor < queue->cursor_count ? queue->cursors[cursor].items[signal] : 0;
}
uint64_t sonde_queue_appended(const struct sonde_queue *queue, enum sonde_signal signal) {
    return queue->deques[signal].appended_items;
}
uint32_t sonde_queue_cursor_count(const struct sonde_queue *queue) {
    return queue->cursor_count;
}
