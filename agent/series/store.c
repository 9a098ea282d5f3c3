/* SPDX-License-Identifier: Apache-2.0 */
/* Sources, their life, and bringing them up to date. */
#include "agent/series/source.h"
#include <errno.h>
#include <sonde/err.h>

int sonde_series_store_create(const struct sonde_seams *seams, struct sonde_series_store **ret_store) {
    struct sonde_series_store *store = sonde_alloc_new(&seams->alloc, sizeof *store);
    if (!store)
        return -ENOMEM;
    *store = (struct sonde_series_store){.seams = seams, .since_unix_ns = seams->time.unix_ns(seams->time.self)};
    *ret_store = store;
    return 0;
}

/* Out of the list, and freed. */
static void source_free(struct sonde_series_source *source) {
    struct sonde_series_store *store = source->store;
    if (source->previous)
        source->previous->next = source->next;
    else
        store->first = source->next;
    if (source->next)
        source->next->previous = source->previous;
    series_points_deinit(&source->points, store->seams);
    series_deltas_deinit(&source->deltas, store->seams);
    sonde__metric_reader_destroy(source->reader);
    sonde_alloc_free(&store->seams->alloc, source->breakers);
    sonde_alloc_free(&store->seams->alloc, source->resource);
    sonde_alloc_free(&store->seams->alloc, source);
}

void sonde_series_store_destroy(struct sonde_series_store *store) {
    if (!store)
        return;
    store->holds = 0;
    while (store->first) {
        if (store->first->is_gone)
            source_free(store->first);
        else
            sonde_series_source_destroy(store->first);
    }
    sonde_alloc_free(&store->seams->alloc, store);
}

void sonde_series_store_set_temporality(struct sonde_series_store *store, enum sonde_temporality temporality) {
    store->temporality = temporality;
}

int sonde_series_source_create(struct sonde_series_store *store, struct sonde_bytes resource,
                               struct sonde_series_source **ret_source) {
    const struct sonde_alloc *alloc = &store->seams->alloc;
    struct sonde_series_source *source = sonde_alloc_new(alloc, sizeof *source);
    uint8_t *copy = sonde_alloc_new(alloc, resource.size + 1);
    if (!source || !copy) {
        sonde_alloc_free(alloc, source);
        sonde_alloc_free(alloc, copy);
        return -ENOMEM;
    }
    if (resource.size)
        memcpy(copy, resource.data, resource.size);
    *source = (struct sonde_series_source){
        .store = store, .next = store->first, .resource = copy, .resource_size = resource.size};
    if (store->first)
        store->first->previous = source;
    store->first = source;
    store->source_count++;
    *ret_source = source;
    return 0;
}

void sonde_series_source_destroy(struct sonde_series_source *source) {
    if (!source)
        return;
    struct sonde_series_store *store = source->store;
    for (uint32_t i = 0; i < store->stage_count; i++)
        if (store->stages[i].gone)
            store->stages[i].gone(store->stages[i].self, source);
    store->source_count--;
    store->dead_count -= source->is_dead;
    if (!store->holds) {
        source_free(source);
        return;
    }
    source->is_gone = store->has_gone = true;
    source->pull = NULL;
    source->exported = NULL;
    source->memory = (struct sonde__metric_memory){0};
}

void series_hold(struct sonde_series_store *store, bool is_held) {
    store->holds += is_held ? 1 : UINT32_MAX; /* one less */
    if (store->holds || !store->has_gone)
        return;
    for (struct sonde_series_source *source = store->first, *next; source; source = next) {
        next = source->next;
        if (source->is_gone)
            source_free(source);
    }
    store->has_gone = false;
}

int sonde_series_set(struct sonde_series_source *source, const struct sonde_series_value *value) {
    return series_points_set(&source->points, source->store->seams, value);
}

void sonde_series_start(struct sonde_series_source *source, const char *name, const struct sonde_attribute *attributes,
                        size_t count, uint64_t start_unix_ns) {
    series_points_start(&source->points, name, attributes, count, start_unix_ns);
}

void sonde_series_expire(struct sonde_series_source *source) {
    source->points.generation++;
}

int sonde_series_stage_add(struct sonde_series_store *store, const struct sonde_series_stage *stage) {
    if (store->stage_count == SONDE_SERIES_STAGES_MAX)
        return SONDE_EFULL;
    store->stages[store->stage_count++] = *stage;
    return 0;
}

void sonde_series_stage_remove(struct sonde_series_store *store, const void *self) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < store->stage_count; i++)
        if (store->stages[i].self != self)
            store->stages[kept++] = store->stages[i];
    store->stage_count = kept;
}

void sonde_series_sweep(struct sonde_series_source *source) {
    struct sonde_series_store *store = source->store;
    for (uint32_t i = 0; i < store->stage_count; i++)
        store->stages[i].look(store->stages[i].self, source);
    series_points_sweep(&source->points, source->store->seams);
}

void sonde_series_source_on_pull(struct sonde_series_source *source, void (*pull)(void *user), void *user) {
    source->pull = pull;
    source->pull_user = user;
}

int sonde_series_service_add(struct sonde_series_store *store, const struct sonde__metric_memory *memory,
                             struct sonde_bytes resource, uint32_t uid, struct sonde_series_source **ret_source) {
    const struct sonde_alloc *alloc = &store->seams->alloc;
    struct sonde__metric_reader *reader = sonde__metric_reader_create(alloc->resize, alloc->self);
    if (!reader)
        return -ENOMEM;
    int err = sonde_series_source_create(store, resource, ret_source);
    if (err) {
        sonde__metric_reader_destroy(reader);
        return err;
    }
    (*ret_source)->reader = reader;
    (*ret_source)->memory = *memory;
    (*ret_source)->uid = uid;
    return 0;
}

static void service_read(struct sonde_series_source *source) {
    const struct sonde_time *time = &source->store->seams->time;
    int err = sonde__metric_reader_refresh(source->reader, &source->memory);
    source->violations += err == SONDE_EMALFORMED;
    if (!err)
        series_deltas_begin(source);
    source->violations += series_breakers_read(source) == SONDE_EMALFORMED;
    source->read_unix_ns = time->unix_ns(time->self);
    source->series_count = series_count_read(source);
}

void sonde_series_service_on_export(struct sonde_series_source *source,
                                    void (*exported)(void *self, uint32_t collection)) {
    source->exported = exported;
}

void sonde_series_service_shares_clock(struct sonde_series_source *source) {
    source->shares_clock = true;
}

static void service_read_exemplars(struct sonde_series_source *source) {
    int err = sonde__metric_reader_exemplars_refresh(source->reader, &source->memory, &source->collection);
    source->violations += err == SONDE_EMALFORMED;
}

void series_exemplars_refresh(struct sonde_series_store *store) {
    for (struct sonde_series_source *source = series_living(store->first); source; source = series_living(source->next))
        if (source->reader && !source->is_dead)
            service_read_exemplars(source);
}

void series_exemplars_exported(struct sonde_series_source *source) {
    if (source->exported && !source->is_dead)
        source->exported(source->memory.self, source->collection);
}

/* Lets go of the dead whose time has passed, and of the oldest when there are too many. */
static void dead_expire(struct sonde_series_store *store) {
    const struct sonde_time *time = &store->seams->time;
    uint64_t now = time->monotonic_ns(time->self);
    struct sonde_series_source *oldest = NULL;
    for (struct sonde_series_source *source = store->first, *next; source; source = next) {
        next = source->next;
        if (!source->is_dead || source->is_gone)
            continue;
        if (now - source->dead_at_ns >= SONDE_SERIES_DEAD_NS && (source->is_exported || !store->exports))
            sonde_series_source_destroy(source);
        else if (!oldest || source->dead_at_ns <= oldest->dead_at_ns)
            oldest = source;
    }
    if (store->dead_count > SONDE_SERIES_DEAD_MAX)
        sonde_series_source_destroy(oldest);
}

void sonde_series_service_remove(struct sonde_series_source *source) {
    if (!source)
        return;
    const struct sonde_time *time = &source->store->seams->time;
    source->is_dead = true; /* what is only true of the living goes: states of circuit breakers */
    service_read(source);
    service_read_exemplars(source);
    source->dead_at_ns = time->monotonic_ns(time->self);
    source->memory = (struct sonde__metric_memory){0};
    source->store->dead_count++;
    dead_expire(source->store);
}

uint32_t sonde_series_service_violations(const struct sonde_series_source *source) {
    return source->violations;
}

void series_source_refresh(struct sonde_series_source *source, bool exemplars) {
    if (source->pull)
        source->pull(source->pull_user);
    if (source->reader && !source->is_dead) {
        service_read(source);
        if (exemplars)
            service_read_exemplars(source);
    }
}

void sonde_series_expire_dead(struct sonde_series_store *store) {
    dead_expire(store);
}

void sonde_series_refresh(struct sonde_series_store *store) {
    dead_expire(store);
    for (struct sonde_series_source *source = series_living(store->first); source; source = series_living(source->next))
        series_source_refresh(source, false);
}
