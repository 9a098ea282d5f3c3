/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a Kafka cluster: topics with their offsets and histories, groups with what they committed. One thread
 * at a time (the worker during a poll, the loop between). A look is one poll; what a look did not see is told by its
 * number. Names are the cluster's: limited, never trusted. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_BOOK_H
#define SONDE_AGENT_COLLECT_KAFKA_BOOK_H

#include "agent/collect/kafka_lag.h"
#include <stddef.h>

enum {
    SONDE__KAFKA_TOPIC_MAX = 249, /* Kafka's own limit */
    SONDE__KAFKA_GROUP_MAX = 255, /* bytes of a group's name; longer ones are left out */
    SONDE__KAFKA_PARTITION_MAX = 100000,
};

struct sonde__kafka_partition {
    struct sonde__kafka_offsets offsets;
    int64_t asked_ns; /* monotonic: when the end was asked for, as its answer came */
    int32_t leader;   /* -1 = none */
    uint32_t wanted;  /* the look in which a group's offset was there */
    struct sonde__kafka_history history;
};

struct sonde__kafka_topic {
    char *name;
    struct sonde__kafka_partition *partitions;
    uint32_t partition_count;
    uint32_t wanted; /* last look in which a group had to do with it */
    bool exists;     /* in the last metadata */
    bool included;   /* by the patterns of the configuration */
};

struct sonde__kafka_commit {
    struct sonde__kafka_topic *topic;
    int32_t partition;
    uint32_t seen, assigned; /* looks */
    int64_t committed;       /* -1 = never */
    int64_t moved_ns;        /* when it or the end moved last */
    int64_t moved_end;
    double record_age; /* exact mode: seconds; NAN = not known */
    struct sonde__kafka_progress progress;
    enum sonde__kafka_progress_state state;
};

enum sonde__kafka_group_state {
    SONDE__KAFKA_GROUP_UNKNOWN,
    SONDE__KAFKA_GROUP_STABLE,
    SONDE__KAFKA_GROUP_EMPTY,
    SONDE__KAFKA_GROUP_PREPARING,
    SONDE__KAFKA_GROUP_COMPLETING,
    SONDE__KAFKA_GROUP_ASSIGNING,
    SONDE__KAFKA_GROUP_RECONCILING,
    SONDE__KAFKA_GROUP_DEAD,
    SONDE__KAFKA_GROUP_STATE_COUNT
};
extern const char *const sonde__kafka_group_state_names[SONDE__KAFKA_GROUP_STATE_COUNT];
/** By the broker's word ("PreparingRebalance"), in any case of letters. */
enum sonde__kafka_group_state sonde__kafka_group_state_of(const char *word);

enum sonde__kafka_answer {
    SONDE__KAFKA_NOT_ASKED,
    SONDE__KAFKA_ANSWERED, /* commits are as of this look */
    SONDE__KAFKA_FAILED,   /* unknown in this look */
};

struct sonde__kafka_group {
    char *name;
    struct sonde__kafka_commit *commits; /* by topic's name and partition, sorted once a look's are in */
    uint32_t commit_count, commit_capacity;
    uint32_t listed;     /* last look that listed it */
    int32_t members;     /* -1 = unknown */
    int32_t coordinator; /* the broker that listed it last; -1 = unknown */
    enum sonde__kafka_group_state state;
    enum sonde__kafka_answer answer;
    bool included, to_stable, exact; /* by the patterns of the configuration */
    bool named;                      /* all its possible partitions were asked for by name, in this look */
    bool deleted;                    /* kept for a while, with what it had */
    int64_t deleted_ns;
    uint32_t failures; /* looks in a row without an answer */
};

struct sonde__kafka_book {
    const struct sonde_alloc *alloc;
    struct sonde__kafka_topic **topics; /* sorted by name, as groups */
    struct sonde__kafka_group **groups;
    size_t topic_count, topic_capacity, group_count, group_capacity;
    size_t commit_count; /* of all groups */
    uint32_t look;
};

void sonde__kafka_book_deinit(struct sonde__kafka_book *book);

/** NULL = not there. */
struct sonde__kafka_topic *sonde__kafka_book_topic(const struct sonde__kafka_book *book, const char *name);
struct sonde__kafka_group *sonde__kafka_book_group(const struct sonde__kafka_book *book, const char *name);
/** Finds it, or makes it. ret_new: may be NULL. NULL = no memory. */
struct sonde__kafka_topic *sonde__kafka_book_add_topic(struct sonde__kafka_book *book, const char *name, bool *ret_new);
struct sonde__kafka_group *sonde__kafka_book_add_group(struct sonde__kafka_book *book, const char *name, bool *ret_new);
/** At least `count` partitions, new ones unknown. Returns 0, -ENOMEM, -ERANGE. */
int sonde__kafka_topic_grow(const struct sonde__kafka_book *book, struct sonde__kafka_topic *topic, uint32_t count);

/** The group's commit of a partition; made when new, at the end, unseen and never committed. NULL = no memory. The sorted
 *  ones are the first sorted_count. */
struct sonde__kafka_commit *sonde__kafka_group_commit(struct sonde__kafka_book *book, struct sonde__kafka_group *group,
                                                      struct sonde__kafka_topic *topic, int32_t partition,
                                                      uint32_t sorted_count);
/** Sorts, so that commits are found. */
void sonde__kafka_group_sort(struct sonde__kafka_book *book, struct sonde__kafka_group *group);
/** All of a look are in: sorts, and lets go of those it did not see. */
void sonde__kafka_group_settle(struct sonde__kafka_book *book, struct sonde__kafka_group *group);
/** Lets go of groups for which gone() is true, then of topics that no group had to do with in `looks` looks. */
void sonde__kafka_book_prune(struct sonde__kafka_book *book,
                             bool (*gone)(void *user, const struct sonde__kafka_group *group), void *user,
                             uint32_t looks);

#endif
