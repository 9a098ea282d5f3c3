/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas by id: what is known of each, in bounded memory, and counts of each type. Ids are kept, and never counted by.
 *
 *   active --> ended (completed, compensated, failed)      an outcome came
 *     | ^--- stuck                                         something happened after all
 *     v
 *   stuck: nothing happened for the timeout. Told once each time.
 *
 * The ended stay as long as the timeout, so that records that come late do not begin them anew. When the table is full
 * the oldest of the ended goes, then the stuck one, then the active one that was quiet for longest: those two are lost,
 * and counted. A type of which there is no saga in the table gives its place to a new one when the places are short, the
 * one that was quiet for longest first. No I/O, no clock: time is handed in. */
#ifndef SONDE_AGENT_SAGA_TABLE_H
#define SONDE_AGENT_SAGA_TABLE_H

#include "agent/process/saga_read.h"
#include "exporters/seam.h"

#define SONDE__SAGA_TYPES_MAX 64u /* the first two are the unknown one, and the one of all that have no room */
#define SONDE__SAGA_STEPS_MAX 32u /* of a type; the first takes those that have no room */
#define SONDE__SAGA_KEYS_MAX  16u /* steps of a saga that are told apart, the last ones: what libsonde remembers */
#define SONDE__SAGA_OTHER     "_OTHER"
#define SONDE__SAGA_UNKNOWN   "unknown"

enum sonde__saga_state {
    SONDE__SAGA_ACTIVE = 0,
    SONDE__SAGA_STUCK,
    SONDE__SAGA_ENDED,
    SONDE__SAGA_STATE_COUNT,
};

/** Why sagas were lost sight of. */
enum sonde__saga_lost {
    SONDE__SAGA_LOST_FULL = 0,  /* the table was full of sagas that had not ended */
    SONDE__SAGA_LOST_EXPIRED,   /* stuck for so long that nobody waits for it any more */
    SONDE__SAGA_LOST_BAD_ID,    /* a record whose id is empty, too long or no text */
    SONDE__SAGA_LOST_NO_MEMORY, /* a record that there was no memory for */
    SONDE__SAGA_LOST_COUNT,
};

struct sonde__saga {
    char id[SONDE__SAGA_TEXT_SIZE_MAX];
    uint64_t hash;
    uint64_t seen_ns;       /* monotonic: when it last did something; when it ended */
    uint64_t first_unix_ns; /* start of the earliest span of it */
    uint32_t keys[SONDE__SAGA_KEYS_MAX];
    uint8_t trace_id[16], span_id[8]; /* of the last record; zeros = none */
    uint32_t chain, newer, older;     /* index + 1 each; 0 = none */
    uint16_t type, step;              /* step: the last one's, 0 = none or one without room */
    uint8_t id_size, state, key_next;
};

struct sonde__saga_step {
    char name[SONDE__SAGA_TEXT_SIZE_MAX + 1];
    uint64_t count[SONDE__SAGA_ACTIONS], time_ns[SONDE__SAGA_ACTIONS];
};

struct sonde__saga_type {
    char name[SONDE__SAGA_TEXT_SIZE_MAX + 1];
    uint64_t kept[SONDE__SAGA_STATE_COUNT]; /* sagas in the table, by state */
    uint64_t ended[SONDE__SAGA_OUTCOMES];   /* since it has its place */
    uint64_t start_unix_ns;                 /* when it took the place of another; 0 = it was the first there */
    uint64_t seen_ns;                       /* monotonic: of its last record */
    uint64_t oldest_unix_ns;                /* of the live; sonde__saga_table_oldest() fills it. 0 = none */
    struct sonde__saga_step steps[SONDE__SAGA_STEPS_MAX];
    uint32_t step_count;
};

struct sonde__saga_table_options {
    uint32_t sagas_max;  /* live and ended */
    uint64_t timeout_ns; /* stuck after */
    uint64_t forget_ns;  /* lost after, > timeout_ns */
    uint64_t seed;       /* of the hash; random */
    struct sonde_alloc alloc;
};

struct sonde__saga_table;
/** Returns 0, -ENOMEM. */
int sonde__saga_table_create(const struct sonde__saga_table_options *options, struct sonde__saga_table **ret_table);
void sonde__saga_table_destroy(struct sonde__saga_table *table); /* NULL is fine */

/** Takes what a record says. Counts what it cannot take. */
void sonde__saga_table_take(struct sonde__saga_table *table, const struct sonde__saga_event *event, uint64_t now_ns,
                            uint64_t now_unix_ns);

/** Lets time go on: those that got stuck are told, those whose time is over go; `limit` of both at most.
 *  Returns when it is to be called next: now, when there are more; UINT64_MAX = not before the next take. */
uint64_t sonde__saga_table_age(struct sonde__saga_table *table, uint64_t now_ns, uint32_t limit,
                               void (*stuck)(void *user, const struct sonde__saga *saga), void *user);

/** Brings oldest_unix_ns of all types up to date: looks at every saga. */
void sonde__saga_table_oldest(struct sonde__saga_table *table);

/** Types 0.. by place, NULL past the last. Good until the next take: another may get the place then. */
const struct sonde__saga_type *sonde__saga_table_type(const struct sonde__saga_table *table, uint32_t index);
const char *sonde__saga_step_name(const struct sonde__saga_table *table,
                                  const struct sonde__saga *saga); /* "" = none */
/** Sagas of all types that ended so, ever. */
uint64_t sonde__saga_table_ended(const struct sonde__saga_table *table, enum sonde__saga_outcome outcome);
uint64_t sonde__saga_table_lost(const struct sonde__saga_table *table, enum sonde__saga_lost reason);
uint32_t sonde__saga_table_count(const struct sonde__saga_table *table, enum sonde__saga_state state);
/** NULL when the table does not have it. */
const struct sonde__saga *sonde__saga_table_find(const struct sonde__saga_table *table, const void *id, size_t size);

#endif
