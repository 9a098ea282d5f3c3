/* SPDX-License-Identifier: Apache-2.0 */
/* Entries lie in slabs that stay where they are, and are found by a chained table of hashes that doubles. Each is in one
 * of three lists by state, the one that was quiet for longest first: what to look at when time goes on, and what to let
 * go. */
#include "agent/process/saga_table.h"
#include "agent/process/saga_types.h"
#include "instrumentation/metric/attributes.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <string.h>

#define SLAB_SAGAS   1024u /* 200 KiB: what a quiet agent has at most for its few sagas */
#define BUCKETS_MIN  1024u
#define START_AGE_NS (UINT64_C(30) * 86400 * 1000000000u) /* no saga is believed to be older when it is first seen */

struct list {
    uint32_t oldest, newest; /* index + 1 */
    uint32_t count;
};

struct sonde__saga_table {
    struct sonde__saga_table_options options;
    struct sonde__saga **slabs;                    /* owned, and each */
    uint32_t *buckets;                             /* owned; a power of two; index + 1 */
    uint32_t slab_count, bucket_count, made, free; /* entries ever used; chain of the free ones, index + 1 */
    struct list lists[SONDE__SAGA_STATE_COUNT];
    struct sonde__saga_types types;
    uint64_t lost[SONDE__SAGA_LOST_COUNT], ended[SONDE__SAGA_OUTCOMES];
};

static struct sonde__saga *at(const struct sonde__saga_table *table, uint32_t number) {
    return &table->slabs[(number - 1) / SLAB_SAGAS][(number - 1) % SLAB_SAGAS];
}

static uint32_t total(const struct sonde__saga_table *table) {
    return table->lists[SONDE__SAGA_ACTIVE].count + table->lists[SONDE__SAGA_STUCK].count +
           table->lists[SONDE__SAGA_ENDED].count;
}

static void list_add(struct sonde__saga_table *table, uint32_t number) {
    struct sonde__saga *saga = at(table, number);
    struct list *list = &table->lists[saga->state];
    saga->newer = 0;
    saga->older = list->newest;
    if (list->newest)
        at(table, list->newest)->newer = number;
    else
        list->oldest = number;
    list->newest = number;
    list->count++;
}

static void list_remove(struct sonde__saga_table *table, uint32_t number) {
    struct sonde__saga *saga = at(table, number);
    struct list *list = &table->lists[saga->state];
    if (saga->older)
        at(table, saga->older)->newer = saga->newer;
    else
        list->oldest = saga->newer;
    if (saga->newer)
        at(table, saga->newer)->older = saga->older;
    else
        list->newest = saga->older;
    list->count--;
}

static void kept_add(struct sonde__saga_table *table, const struct sonde__saga *saga, int64_t number) {
    table->types.items[saga->type]->kept[saga->state] += (uint64_t)number;
}

/* The only place where a state changes, and the place in the lists. */
static void move(struct sonde__saga_table *table, uint32_t number, enum sonde__saga_state state) {
    struct sonde__saga *saga = at(table, number);
    list_remove(table, number);
    kept_add(table, saga, -1);
    saga->state = (uint8_t)state;
    kept_add(table, saga, 1);
    list_add(table, number);
}

static uint32_t *bucket_of(const struct sonde__saga_table *table, uint64_t hash) {
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static uint32_t find(const struct sonde__saga_table *table, uint64_t hash, const void *id, size_t size) {
    uint32_t number = table->bucket_count ? *bucket_of(table, hash) : 0;
    for (; number; number = at(table, number)->chain) {
        const struct sonde__saga *saga = at(table, number);
        if (saga->hash == hash && saga->id_size == size && memcmp(saga->id, id, size) == 0)
            return number;
    }
    return 0;
}

static void chain_remove(struct sonde__saga_table *table, uint32_t number) {
    uint32_t *link = bucket_of(table, at(table, number)->hash);
    while (*link != number)
        link = &at(table, *link)->chain;
    *link = at(table, number)->chain;
}

static void let_go(struct sonde__saga_table *table, uint32_t number) {
    struct sonde__saga *saga = at(table, number);
    kept_add(table, saga, -1);
    list_remove(table, number);
    chain_remove(table, number);
    saga->chain = table->free;
    table->free = number;
}

static void buckets_grow(struct sonde__saga_table *table) {
    uint32_t count = table->bucket_count ? table->bucket_count * 2 : BUCKETS_MIN;
    uint32_t *buckets = sonde_alloc_new(&table->options.alloc, count * sizeof *buckets);
    if (!buckets)
        return; /* longer chains */
    memset(buckets, 0, count * sizeof *buckets);
    for (uint32_t i = 0; i < table->bucket_count; i++) {
        for (uint32_t number = table->buckets[i], next; number; number = next) {
            struct sonde__saga *saga = at(table, number);
            next = saga->chain;
            saga->chain = buckets[saga->hash & (count - 1)];
            buckets[saga->hash & (count - 1)] = number;
        }
    }
    sonde_alloc_free(&table->options.alloc, table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
}

static bool slab_add(struct sonde__saga_table *table) {
    const struct sonde_alloc *alloc = &table->options.alloc;
    struct sonde__saga **slabs =
        alloc->resize(alloc->self, table->slabs, (table->slab_count + 1) * sizeof *table->slabs);
    if (!slabs)
        return false;
    table->slabs = slabs;
    struct sonde__saga *slab = sonde_alloc_new(alloc, SLAB_SAGAS * sizeof *slab);
    if (!slab)
        return false;
    table->slabs[table->slab_count++] = slab;
    return true;
}

static void make_room(struct sonde__saga_table *table) {
    if (table->lists[SONDE__SAGA_ENDED].count > 0) {
        let_go(table, table->lists[SONDE__SAGA_ENDED].oldest);
        return;
    }
    table->lost[SONDE__SAGA_LOST_FULL]++;
    let_go(table, table->lists[SONDE__SAGA_STUCK].count > 0 ? table->lists[SONDE__SAGA_STUCK].oldest
                                                            : table->lists[SONDE__SAGA_ACTIVE].oldest);
}

/* A free entry; 0 = out of memory. */
static uint32_t entry_take(struct sonde__saga_table *table) {
    if (total(table) >= table->options.sagas_max)
        make_room(table);
    if (total(table) >= table->bucket_count)
        buckets_grow(table);
    uint32_t number = table->free;
    if (number) {
        table->free = at(table, number)->chain;
        return number;
    }
    if (!table->bucket_count || (table->made == table->slab_count * SLAB_SAGAS && !slab_add(table)))
        return 0;
    return ++table->made;
}

static uint32_t saga_add(struct sonde__saga_table *table, uint64_t hash, struct sonde_bytes id) {
    uint32_t number = entry_take(table);
    if (!number)
        return 0;
    struct sonde__saga *saga = at(table, number);
    *saga = (struct sonde__saga){.hash = hash, .id_size = (uint8_t)id.size, .state = SONDE__SAGA_ACTIVE};
    memcpy(saga->id, id.data, id.size);
    uint32_t *bucket = bucket_of(table, hash);
    saga->chain = *bucket;
    *bucket = number;
    kept_add(table, saga, 1);
    list_add(table, number);
    return number;
}

/* Is this step told for the first time? */
static bool key_add(struct sonde__saga *saga, uint64_t step_key) {
    uint32_t key = (uint32_t)(step_key >> 32) | 1; /* 0 = none */
    for (unsigned i = 0; i < SONDE__SAGA_KEYS_MAX; i++)
        if (saga->keys[i] == key)
            return false;
    saga->keys[saga->key_next] = key;
    saga->key_next = (uint8_t)((saga->key_next + 1) % SONDE__SAGA_KEYS_MAX);
    return true;
}

static void type_learn(struct sonde__saga_table *table, struct sonde__saga *saga, struct sonde_bytes name,
                       uint64_t now_unix_ns) {
    if (saga->type != SONDE__SAGA_TYPE_UNKNOWN || name.size == 0)
        return;
    kept_add(table, saga, -1);
    saga->type = sonde__saga_types_find(&table->types, &table->options.alloc, name, now_unix_ns);
    saga->step = 0; /* was one of the unknown type */
    kept_add(table, saga, 1);
}

static void step_take(struct sonde__saga_table *table, struct sonde__saga *saga,
                      const struct sonde__saga_event *event) {
    struct sonde__saga_type *type = table->types.items[saga->type];
    saga->step = sonde__saga_type_step(type, event->step);
    if (!key_add(saga, event->step_key))
        return;
    type->steps[saga->step].count[event->action]++;
    type->steps[saga->step].time_ns[event->action] += event->duration_ns;
}

static void first_take(struct sonde__saga *saga, uint64_t start_unix_ns, uint64_t now_unix_ns) {
    uint64_t start =
        start_unix_ns < now_unix_ns && now_unix_ns - start_unix_ns < START_AGE_NS ? start_unix_ns : now_unix_ns;
    if (saga->first_unix_ns == 0 || start < saga->first_unix_ns)
        saga->first_unix_ns = start;
}

static void context_take(struct sonde__saga *saga, const struct sonde__saga_event *event) {
    if (!event->trace_id || !event->span_id)
        return;
    memcpy(saga->trace_id, event->trace_id, sizeof saga->trace_id);
    memcpy(saga->span_id, event->span_id, sizeof saga->span_id);
}

static bool id_is_good(struct sonde_bytes id) {
    return id.size > 0 && id.size <= SONDE__SAGA_TEXT_SIZE_MAX && sonde__utf8_is_valid(id.data, id.size);
}

void sonde__saga_table_take(struct sonde__saga_table *table, const struct sonde__saga_event *event, uint64_t now_ns,
                            uint64_t now_unix_ns) {
    if (!id_is_good(event->id)) {
        table->lost[SONDE__SAGA_LOST_BAD_ID]++;
        return;
    }
    uint64_t hash = sonde__bytes_hash(event->id.data, event->id.size, table->options.seed);
    uint32_t number = find(table, hash, event->id.data, event->id.size);
    if (!number)
        number = saga_add(table, hash, event->id);
    if (!number) {
        table->lost[SONDE__SAGA_LOST_NO_MEMORY]++;
        return;
    }
    struct sonde__saga *saga = at(table, number);
    type_learn(table, saga, event->type, now_unix_ns);
    table->types.items[saga->type]->seen_ns = now_ns;
    if (event->is_step)
        step_take(table, saga, event);
    if (saga->state == SONDE__SAGA_ENDED)
        return; /* it came late; what it tells of time is over */
    first_take(saga, event->start_unix_ns, now_unix_ns);
    context_take(saga, event);
    saga->seen_ns = now_ns;
    if (event->outcome < SONDE__SAGA_OUTCOMES) {
        table->types.items[saga->type]->ended[event->outcome]++;
        table->ended[event->outcome]++;
    }
    move(table, number, event->outcome < SONDE__SAGA_OUTCOMES ? SONDE__SAGA_ENDED : SONDE__SAGA_ACTIVE);
}

/* The oldest of a state, when it was quiet for so long; else 0, and when that will be. */
static uint32_t due(const struct sonde__saga_table *table, enum sonde__saga_state state, uint64_t quiet_ns,
                    uint64_t now_ns, uint64_t *next_ns) {
    uint32_t number = table->lists[state].oldest;
    if (!number)
        return 0;
    uint64_t when = at(table, number)->seen_ns + quiet_ns;
    if (when <= now_ns)
        return number;
    *next_ns = when < *next_ns ? when : *next_ns;
    return 0;
}

static void slabs_free(struct sonde__saga_table *table) {
    const struct sonde_alloc *alloc = &table->options.alloc;
    for (uint32_t i = 0; i < table->slab_count; i++)
        sonde_alloc_free(alloc, table->slabs[i]);
    sonde_alloc_free(alloc, table->slabs);
    sonde_alloc_free(alloc, table->buckets);
    table->slabs = NULL;
    table->buckets = NULL;
    table->slab_count = table->bucket_count = table->made = table->free = 0;
}

uint64_t sonde__saga_table_age(struct sonde__saga_table *table, uint64_t now_ns, uint32_t limit,
                               void (*stuck)(void *user, const struct sonde__saga *saga), void *user) {
    const struct sonde__saga_table_options *options = &table->options;
    uint64_t next_ns = UINT64_MAX;
    uint32_t number;
    while (limit > 0 && (number = due(table, SONDE__SAGA_ENDED, options->timeout_ns, now_ns, &next_ns)) != 0) {
        limit--;
        let_go(table, number);
    }
    while (limit > 0 && (number = due(table, SONDE__SAGA_STUCK, options->forget_ns, now_ns, &next_ns)) != 0) {
        limit--;
        table->lost[SONDE__SAGA_LOST_EXPIRED]++;
        let_go(table, number);
    }
    while (limit > 0 && (number = due(table, SONDE__SAGA_ACTIVE, options->timeout_ns, now_ns, &next_ns)) != 0) {
        limit--;
        move(table, number, SONDE__SAGA_STUCK);
        uint64_t forget_ns = at(table, number)->seen_ns + options->forget_ns;
        next_ns = forget_ns < next_ns ? forget_ns : next_ns;
        stuck(user, at(table, number));
    }
    if (total(table) == 0)
        slabs_free(table); /* a burst's memory */
    return limit > 0 ? next_ns : now_ns;
}

void sonde__saga_table_oldest(struct sonde__saga_table *table) {
    for (uint32_t i = 0; i < table->types.count; i++)
        table->types.items[i]->oldest_unix_ns = 0;
    for (unsigned state = SONDE__SAGA_ACTIVE; state <= SONDE__SAGA_STUCK; state++) {
        for (uint32_t number = table->lists[state].oldest; number; number = at(table, number)->newer) {
            const struct sonde__saga *saga = at(table, number);
            struct sonde__saga_type *type = table->types.items[saga->type];
            if (type->oldest_unix_ns == 0 || saga->first_unix_ns < type->oldest_unix_ns)
                type->oldest_unix_ns = saga->first_unix_ns;
        }
    }
}

int sonde__saga_table_create(const struct sonde__saga_table_options *options, struct sonde__saga_table **ret_table) {
    struct sonde__saga_table *table = sonde_alloc_new(&options->alloc, sizeof *table);
    if (!table)
        return -ENOMEM;
    *table = (struct sonde__saga_table){.options = *options};
    int error = sonde__saga_types_init(&table->types, &options->alloc);
    if (error) {
        sonde__saga_table_destroy(table);
        return error;
    }
    *ret_table = table;
    return 0;
}

void sonde__saga_table_destroy(struct sonde__saga_table *table) {
    if (!table)
        return;
    const struct sonde_alloc alloc = table->options.alloc;
    slabs_free(table);
    sonde__saga_types_deinit(&table->types, &alloc);
    sonde_alloc_free(&alloc, table);
}

const struct sonde__saga_type *sonde__saga_table_type(const struct sonde__saga_table *table, uint32_t index) {
    return index < table->types.count ? table->types.items[index] : NULL;
}
const char *sonde__saga_step_name(const struct sonde__saga_table *table, const struct sonde__saga *saga) {
    return saga->step ? table->types.items[saga->type]->steps[saga->step].name : "";
}
uint64_t sonde__saga_table_ended(const struct sonde__saga_table *table, enum sonde__saga_outcome outcome) {
    return table->ended[outcome];
}
uint64_t sonde__saga_table_lost(const struct sonde__saga_table *table, enum sonde__saga_lost reason) {
    return table->lost[reason];
}
uint32_t sonde__saga_table_count(const struct sonde__saga_table *table, enum sonde__saga_state state) {
    return table->lists[state].count;
}
const struct sonde__saga *sonde__saga_table_find(const struct sonde__saga_table *table, const void *id, size_t size) {
    uint32_t number = find(table, sonde__bytes_hash(id, size, table->options.seed), id, size);
    return number ? at(table, number) : NULL;
}
