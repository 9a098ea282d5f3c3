/* SPDX-License-Identifier: Apache-2.0 */
/* Breakers of other libraries, as far as they were seen, and what is made of them. */
#ifndef SONDE_AGENT_PROCESS_BREAKERS_TABLE_H
#define SONDE_AGENT_PROCESS_BREAKERS_TABLE_H

#include "agent/process/breakers_duration.h"
#include "agent/process/breakers_map.h"
#include "agent/series/series.h"

#define BREAKERS_MAX           16384u
#define BREAKERS_BUCKETS       4096u
#define BREAKERS_NAME_SIZE_MAX 256u
#define BREAKERS_MORE_MAX      12u   /* labels that are passed on */
#define BREAKERS_MORE_SIZE_MAX 1024u /* their names and values */
/* Looks in which a breaker may be missing before its times and transitions are forgotten. */
#define BREAKERS_MISSED_MAX    20u

/* Who it is: the owner of the series, the name, and the labels that are passed on, as "key\0value\0...". */
struct breakers_identity {
    const struct sonde_series_source *owner;
    const char *library; /* static, or the configuration's */
    char name[BREAKERS_NAME_SIZE_MAX];
    size_t more_size;
    char more[BREAKERS_MORE_SIZE_MAX];
};

struct breaker {
    struct breaker *next; /* in its bucket */
    uint64_t hash, look;  /* it was seen last in */
    const struct sonde_series_source *owner;
    const char *library, *name, *more; /* name and more are in text */
    size_t more_size, name_size;
    double sums[BREAKERS_SUM_COUNT];  /* of this look */
    uint64_t present;                 /* bits of sums */
    enum breakers_state number_state; /* by a state_map */
    enum breakers_state state;        /* of the last look; COUNT = not known */
    bool is_assumed, has_entered;     /* it has counters of transitions; those of the last look: */
    double entered[3];                /* closed, open, half_open */
    uint32_t missed;                  /* looks in a row */
    uint64_t since_ns;                /* up to when times are added up; 0 = not begun */
    double times[BREAKERS_STATE_COUNT];
    uint64_t transitions[BREAKERS_STATE_COUNT][BREAKERS_STATE_COUNT];
    uint64_t start_unix_ns;
    struct breakers_duration *duration; /* owned; NULL = none was told yet */
    char text[];
};

struct breakers_table {
    const struct sonde_seams *seams;
    struct breaker *buckets[BREAKERS_BUCKETS];
    uint32_t count;
    uint64_t look, left_out;
    /* A change of state that was seen; from may be BREAKERS_STATE_COUNT. NULL = nobody listens. */
    void (*changed)(void *user, const struct breaker *breaker, enum breakers_state from, enum breakers_state to);
    void *changed_user;
};

/** Finds or makes; NULL when out of memory or full (left_out counts). A breaker that is seen first in a look has no sums. */
struct breaker *breakers_table_get(struct breakers_table *table, const struct breakers_identity *identity);
/** Adds to the durations of calls, those of this look. Lack of memory: none are shown. */
void breakers_table_duration(struct breakers_table *table, struct breaker *breaker, const struct sonde_metric *metric,
                             const struct sonde__metric_histogram *histogram, double scale);
/** Brings states, times and transitions of an owner's breakers up to date, and sets their series in it. */
void breakers_table_show(struct breakers_table *table, struct sonde_series_source *owner);
/** Forgets an owner's breakers; NULL = everyone's. */
void breakers_table_forget(struct breakers_table *table, const struct sonde_series_source *owner);

/** Which state follows from counters of transitions: what they were before (NULL = not known), what they are. */
enum breakers_state breakers_state_entered(enum breakers_state before_state, const double *before, const double *now,
                                           bool *ret_assumed);

#endif
