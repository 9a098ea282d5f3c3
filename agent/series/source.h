/* SPDX-License-Identifier: Apache-2.0 */
/* A source of series, inside agent/series/. Pushed ones keep what they were told (points.c); services have a reader of
 * their shared memory instead. */
#ifndef SONDE_AGENT_SERIES_SOURCE_H
#define SONDE_AGENT_SERIES_SOURCE_H

#include "agent/series/delta.h"
#include "agent/series/series.h"

struct series_metric {
    uint32_t id; /* in the order in which they came */
    uint32_t bound_count;
    double *bounds;                  /* owned, one block with the texts */
    char *name, *unit, *description; /* in that block */
    enum sonde_instrument_kind kind;
    bool is_double;
    uint32_t first_point, last_point; /* index + 1, 0 = none; in the order in which they were made */
};
struct series_point {
    uint8_t *attributes; /* owned */
    uint32_t attributes_size;
    uint32_t metric;
    uint32_t next; /* of the same metric: index + 1 */
    uint32_t generation;
    uint64_t hash, start_unix_ns, set_unix_ns;
    int64_t int64;
    double float64;
    struct sonde__metric_histogram *histogram; /* owned; as large as its buckets need */
    struct series_previous previous;
};

/** Copies what is used of a histogram; where it goes may have room for no more than that. */
static inline void series_histogram_copy(struct sonde__metric_histogram *to,
                                         const struct sonde__metric_histogram *from) {
    memcpy(to, from, offsetof(struct sonde__metric_histogram, buckets) + from->bucket_count * sizeof *from->buckets);
}

/* Pushed values. slots: open addressing by hash of metric and attributes; index + 1, 0 = empty; a power of two. */
struct series_points {
    struct series_metric *metrics;
    struct series_point *points;
    uint32_t *slots;
    uint32_t metric_count, metric_capacity, point_count, point_capacity, slot_count;
    uint32_t generation;  /* of the current sweep */
    uint32_t metric_last; /* found last */
    uint32_t metric_ids;  /* given */
};

/* What was told of a service's circuit breakers. */
struct series_breakers;

struct sonde_series_source {
    struct sonde_series_store *store;
    struct sonde_series_source *next, *previous;
    uint8_t *resource; /* owned */
    size_t resource_size;
    uint32_t uid;
    void (*pull)(void *user);
    void *pull_user;
    struct series_points points;
    struct sonde__metric_reader *reader; /* owned; NULL = pushed */
    struct sonde__metric_memory memory;
    struct series_breakers *breakers; /* owned; NULL = none yet */
    struct series_deltas deltas;
    uint64_t exported_before_unix_ns; /* by the agent before us, of this service; 0 = never */
    bool exported_before_is_known;
    uint32_t violations;
    bool shares_clock;         /* breakers' own clocks are ours */
    bool is_dead, is_exported; /* exported since its death */
    bool is_gone;              /* destroyed, but for those who still hold the store */
    uint64_t dead_at_ns;
    uint64_t read_unix_ns;                             /* when a service's memory was read last */
    void (*exported)(void *self, uint32_t collection); /* NULL = nobody asks; self as the memory's */
    uint32_t collection;                               /* period of the exemplars that were read last */
    uint64_t series_count;                             /* when its memory was read last */
};

struct sonde_series_store {
    const struct sonde_seams *seams;
    struct sonde_series_source *first;
    uint32_t source_count, dead_count;
    uint32_t holds; /* who reads in pieces: sources stay in the list, marked as gone */
    bool has_gone;  /* some are */
    bool exports;   /* somebody exports: the dead wait for it */
    enum sonde_temporality temporality;
    uint64_t since_unix_ns; /* when this agent began */
    struct sonde_series_stage stages[SONDE_SERIES_STAGES_MAX];
    uint32_t stage_count;
};

/* A service has metrics of two kinds: instruments that its reader knows, and behind them what the agent makes of its
 * circuit breakers, in points. */
static inline bool series_is_pushed(const struct sonde_series_source *source, uint32_t number) {
    return !source->reader || number > SONDE_INSTRUMENTS_MAX;
}
/** Reads a service's circuit breakers into its points; of a dead one only what stays true.
 *  Returns 0, SONDE_EMALFORMED (cells that cannot be: these are left out). */
int series_breakers_read(struct sonde_series_source *source);

/** The first source from this one on that is not gone; NULL at the end. */
static inline struct sonde_series_source *series_living(struct sonde_series_source *source) {
    while (source && source->is_gone)
        source = source->next;
    return source;
}
/** Brings one source up to date; exemplars: those, too. */
void series_source_refresh(struct sonde_series_source *source, bool exemplars);
/** Gives memory back that was only held. */
void series_hold(struct sonde_series_store *store, bool is_held);
/** Series of a reader. */
uint64_t series_count_read(const struct sonde_series_source *source);

/** Reads the exemplars of all living services. */
void series_exemplars_refresh(struct sonde_series_store *store);
/** They are in the queue: ends their period. */
void series_exemplars_exported(struct sonde_series_source *source);

int series_points_set(struct series_points *points, const struct sonde_seams *seams,
                      const struct sonde_series_value *value);
void series_points_start(struct series_points *points, const char *name, const struct sonde_attribute *attributes,
                         size_t count, uint64_t start_unix_ns);
void series_points_sweep(struct series_points *points, const struct sonde_seams *seams);
void series_points_deinit(struct series_points *points, const struct sonde_seams *seams);

#endif
