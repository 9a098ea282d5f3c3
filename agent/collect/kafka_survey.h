/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a Kafka cluster, on the worker's thread: topics, groups, what they committed, and only then where
 * partitions end, so that no lag is negative. Each call has a time-out of its own and all of them one; what fails costs
 * what it was about. Facts of librdkafka 2.0.2 that shaped it:
 *  - offsets_for_times is one request per leader; a single partition's error, or a time-out, fails the whole call without
 *    any result: thus a call per leader, split when it fails.
 *  - query_watermark_offsets does not keep its time-out: not used.
 *  - list_groups asks DescribeGroups of old: a group of the new protocol looks Dead; its error may hide a good answer of
 *    others, or be hidden by one: a group is gone only when it has no committed offset any more. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_SURVEY_H
#define SONDE_AGENT_COLLECT_KAFKA_SURVEY_H

#include "agent/collect/kafka_book.h"
#include "agent/collect/kafka_client.h"
#include "agent/collect/poll.h"
#include "agent/collect/worker.h"

struct sonde__kafka_note {
    const char *trouble; /* static */
    char text[160];      /* the first one's */
    unsigned count;
};

struct sonde__kafka_survey {
    const struct sonde__kafka_config *config;
    const struct sonde__kafka_rules *rules;
    const struct sonde_seams *seams;
    struct sonde__kafka_client *client;
    struct sonde__kafka_book book;
    void (*on_cluster)(void *user); /* once, when its id is known and nothing else */
    void *user;
    const struct sonde__worker *worker; /* while looking */
    uint64_t deadline_ns, earliest_ns;  /* monotonic; earliest_ns: when those were asked for */
    /* of the last look */
    const char *trouble; /* NULL = it is worth something */
    char text[256];
    struct sonde__kafka_note notes[16];
    size_t note_count;
    bool truncated;
    /* what was learnt of the cluster */
    bool remembered;       /* on_cluster was called */
    bool list_complete;    /* all brokers named their groups, as far as the library tells */
    bool metadata_renewed; /* in this look */
    int all_works;         /* asking for all of a group's offsets: 0 not known, 1 yes, -1 it answers none */
};

/** A whole look. Sets trouble when it is worth nothing. */
void sonde__kafka_survey_look(struct sonde__kafka_survey *survey, const struct sonde__worker *worker);

/* --- parts of it --- */

/** Every wanted group's committed offsets. */
void sonde__kafka_survey_commits(struct sonde__kafka_survey *survey);
/** Ends (and last stable, and earliest offsets, where they are wanted) of all partitions that a group has. */
void sonde__kafka_survey_ends(struct sonde__kafka_survey *survey);
/** Timestamps of the records that exact groups read next. */
void sonde__kafka_survey_records(struct sonde__kafka_survey *survey);

/* --- for the parts --- */

int64_t sonde__kafka_survey_now_ns(const struct sonde__kafka_survey *survey);
/** It shall end: cancelled, or the time of the look is up. */
bool sonde__kafka_survey_is_over(const struct sonde__kafka_survey *survey);
/** For one request: at least 1. */
int sonde__kafka_survey_timeout_ms(const struct sonde__kafka_survey *survey);
void sonde__kafka_survey_note(struct sonde__kafka_survey *survey, const char *trouble, const char *text);
/** Asks for topics and leaders, when they were not in this look. */
void sonde__kafka_survey_renew(struct sonde__kafka_survey *survey);
/** Whether a group's lag is counted to the last stable offset. */
bool sonde__kafka_survey_wants_stable(const struct sonde__kafka_survey *survey);
/** The topic by a name of the cluster's; NULL: left out (not included, no memory). */
struct sonde__kafka_topic *sonde__kafka_survey_topic(struct sonde__kafka_survey *survey, const char *name);

#endif
