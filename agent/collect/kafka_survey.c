/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_survey.h"
#include "agent/collect/kafka_assignment.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS    INT64_C(1000000)
#define TOPIC_KEPT   20u /* looks after which a topic that no group reads is forgotten, with its history */
#define FAILURES_MAX 20u /* looks without an answer after which a group that is not listed is forgotten */
#define MEMBERS_MAX  100000

int64_t sonde__kafka_survey_now_ns(const struct sonde__kafka_survey *survey) {
    return (int64_t)survey->seams->time.monotonic_ns(survey->seams->time.self);
}
bool sonde__kafka_survey_is_over(const struct sonde__kafka_survey *survey) {
    return sonde__worker_is_cancelled(survey->worker) ||
           sonde__kafka_survey_now_ns(survey) >= (int64_t)survey->deadline_ns;
}
int sonde__kafka_survey_timeout_ms(const struct sonde__kafka_survey *survey) {
    int64_t left_ms = ((int64_t)survey->deadline_ns - sonde__kafka_survey_now_ns(survey)) / NS_PER_MS;
    int64_t own_ms = (int64_t)survey->config->request_timeout_ns / NS_PER_MS;
    if (left_ms > own_ms)
        left_ms = own_ms;
    return left_ms > 1 ? (int)left_ms : 1;
}

void sonde__kafka_survey_note(struct sonde__kafka_survey *survey, const char *trouble, const char *text) {
    size_t at = 0;
    while (at < survey->note_count && strcmp(survey->notes[at].trouble, trouble) != 0)
        at++;
    if (at == sizeof survey->notes / sizeof *survey->notes)
        return;
    struct sonde__kafka_note *note = &survey->notes[at];
    if (at == survey->note_count) {
        survey->note_count++;
        *note = (struct sonde__kafka_note){.trouble = trouble};
        (void)snprintf(note->text, sizeof note->text, "%.*s", (int)sizeof note->text - 1, text);
    }
    note->count++;
}

static void note_error(struct sonde__kafka_survey *survey, rd_kafka_resp_err_t error, const char *what) {
    char text[256], whole[320];
    const char *trouble = sonde__kafka_client_trouble(survey->client, error, text, sizeof text);
    (void)snprintf(whole, sizeof whole, "%.40s: %s", what, text);
    sonde__kafka_survey_note(survey, trouble, whole);
}

bool sonde__kafka_survey_wants_stable(const struct sonde__kafka_survey *survey) {
    return survey->config->lag_reference == SONDE__KAFKA_LAST_STABLE || survey->rules->last_stable.count ||
           survey->config->partition_offsets;
}

/* --- topics --- */

static void topic_apply(struct sonde__kafka_survey *survey, struct sonde__kafka_topic *topic) {
    const struct rd_kafka_metadata_topic *known = sonde__kafka_client_topic(survey->client, topic->name);
    topic->exists = known && known->err == RD_KAFKA_RESP_ERR_NO_ERROR && known->partition_cnt > 0;
    if (!topic->exists)
        return;
    if (sonde__kafka_topic_grow(&survey->book, topic, (uint32_t)known->partition_cnt) != 0) {
        sonde__kafka_survey_note(survey, SONDE__TROUBLE_MEMORY, "a topic's partitions");
        topic->exists = false;
        return;
    }
    for (uint32_t i = 0; i < topic->partition_count; i++)
        topic->partitions[i].leader = -1;
    for (int i = 0; i < known->partition_cnt; i++)
        if (known->partitions[i].id >= 0 && (uint32_t)known->partitions[i].id < topic->partition_count)
            topic->partitions[known->partitions[i].id].leader = known->partitions[i].leader;
}

void sonde__kafka_survey_renew(struct sonde__kafka_survey *survey) {
    if (survey->metadata_renewed || sonde__kafka_survey_is_over(survey))
        return;
    survey->metadata_renewed = true;
    rd_kafka_resp_err_t error = sonde__kafka_client_metadata(survey->client, sonde__kafka_survey_timeout_ms(survey));
    if (error) {
        note_error(survey, error, "metadata");
        return;
    }
    for (size_t i = 0; i < survey->book.topic_count; i++)
        topic_apply(survey, survey->book.topics[i]);
}

static bool topic_is_included(const struct sonde__kafka_survey *survey, const char *name) {
    const struct sonde__kafka_rules *rules = survey->rules;
    return (rules->topics.count == 0 || sonde__kafka_patterns_match(&rules->topics, name)) &&
           !sonde__kafka_patterns_match(&rules->topics_exclude, name);
}

/** The cluster is known: what is remembered of its topics comes in, from a file. */
static void topics_remember(struct sonde__kafka_survey *survey) {
    if (survey->remembered || !survey->client->cluster[0])
        return;
    survey->remembered = true;
    survey->on_cluster(survey->user);
    for (size_t i = 0; i < survey->book.topic_count; i++) {
        survey->book.topics[i]->included = topic_is_included(survey, survey->book.topics[i]->name);
        topic_apply(survey, survey->book.topics[i]);
    }
}

struct sonde__kafka_topic *sonde__kafka_survey_topic(struct sonde__kafka_survey *survey, const char *name) {
    bool is_new;
    if (!name || !*name || strnlen(name, SONDE__KAFKA_TOPIC_MAX + 1) > SONDE__KAFKA_TOPIC_MAX)
        return NULL;
    struct sonde__kafka_topic *topic = sonde__kafka_book_add_topic(&survey->book, name, &is_new);
    if (!topic) {
        sonde__kafka_survey_note(survey, SONDE__TROUBLE_MEMORY, "a topic");
        return NULL;
    }
    if (is_new) {
        topic->included = topic_is_included(survey, name);
        if (!sonde__kafka_client_topic(survey->client, name))
            sonde__kafka_survey_renew(survey); /* made since */
        topic_apply(survey, topic);
    }
    topic->wanted = survey->book.look;
    return topic->included ? topic : NULL;
}

/* --- groups --- */

static void group_judge(const struct sonde__kafka_survey *survey, struct sonde__kafka_group *group) {
    const struct sonde__kafka_rules *rules = survey->rules;
    const char *name = group->name;
    group->included = (rules->groups.count == 0 || sonde__kafka_patterns_match(&rules->groups, name)) &&
                      !sonde__kafka_patterns_match(&rules->groups_exclude, name);
    group->exact = sonde__kafka_patterns_match(&rules->exact, name);
    group->to_stable = survey->config->lag_reference == SONDE__KAFKA_LAST_STABLE;
    if (sonde__kafka_patterns_match(&rules->last_stable, name))
        group->to_stable = true;
    if (sonde__kafka_patterns_match(&rules->high_watermark, name))
        group->to_stable = false;
}

/** NULL: it is not watched. */
static struct sonde__kafka_group *group_see(struct sonde__kafka_survey *survey, const char *name) {
    bool is_new;
    if (!name || !*name || strnlen(name, SONDE__KAFKA_GROUP_MAX + 1) > SONDE__KAFKA_GROUP_MAX) {
        survey->truncated = survey->truncated || (name && *name);
        return NULL;
    }
    struct sonde__kafka_group *group = sonde__kafka_book_group(&survey->book, name);
    if (!group && survey->book.group_count >= (size_t)survey->config->groups_max) {
        struct sonde__kafka_group probe = {.name = (char *)name};
        group_judge(survey, &probe);
        survey->truncated = survey->truncated || probe.included;
        return NULL;
    }
    group = sonde__kafka_book_add_group(&survey->book, name, &is_new);
    if (!group) {
        sonde__kafka_survey_note(survey, SONDE__TROUBLE_MEMORY, "a group");
        return NULL;
    }
    if (is_new)
        group_judge(survey, group);
    group->listed = survey->book.look;
    group->deleted = false;
    return group->included ? group : NULL;
}

struct assigning {
    struct sonde__kafka_survey *survey;
    struct sonde__kafka_group *group;
    uint32_t sorted_count;
};

static int assigned(void *user, const char *topic_name, int32_t partition) {
    struct assigning *assigning = user;
    struct sonde__kafka_survey *survey = assigning->survey;
    struct sonde__kafka_topic *topic = sonde__kafka_survey_topic(survey, topic_name);
    if (!topic || !topic->exists || (uint32_t)partition >= topic->partition_count)
        return 0;
    if (survey->book.commit_count >= (size_t)survey->config->partitions_max) {
        survey->truncated = true;
        return 0;
    }
    struct sonde__kafka_commit *commit =
        sonde__kafka_group_commit(&survey->book, assigning->group, topic, partition, assigning->sorted_count);
    if (commit)
        commit->seen = commit->assigned = survey->book.look;
    return 0;
}

static void group_describe(struct sonde__kafka_survey *survey, const struct rd_kafka_group_info *info) {
    bool is_consumers = !info->protocol_type || !*info->protocol_type || strcmp(info->protocol_type, "consumer") == 0;
    if (!is_consumers) /* Kafka Connect's workers, schema registries: they commit nothing */
        return;
    struct sonde__kafka_group *group = group_see(survey, info->group);
    if (!group)
        return;
    struct assigning assigning = {survey, group, group->commit_count};
    group->coordinator = info->broker.id;
    group->state = info->err ? SONDE__KAFKA_GROUP_UNKNOWN : sonde__kafka_group_state_of(info->state);
    group->members = info->err || info->member_cnt < 0 || info->member_cnt > MEMBERS_MAX ? -1 : info->member_cnt;
    if (group->state == SONDE__KAFKA_GROUP_DEAD || group->state == SONDE__KAFKA_GROUP_UNKNOWN)
        group->members = group->members > 0 ? group->members : -1; /* it may be of the new protocol */
    for (int i = 0; i < info->member_cnt; i++)                     /* what is no assignment is another protocol's */
        (void)sonde__kafka_assignment_each(info->members[i].member_assignment,
                                           (size_t)info->members[i].member_assignment_size, assigned, &assigning);
    sonde__kafka_group_sort(&survey->book, group);
}

static void groups_forget_members(struct sonde__kafka_survey *survey) {
    for (size_t i = 0; i < survey->book.group_count; i++) {
        survey->book.groups[i]->members = -1;
        survey->book.groups[i]->state = SONDE__KAFKA_GROUP_UNKNOWN;
        survey->book.groups[i]->answer = SONDE__KAFKA_NOT_ASKED;
        survey->book.groups[i]->named = false;
    }
}

/** Names alone, by the newer call, which tells the good of what brokers answered from the bad. */
static bool groups_list_names(struct sonde__kafka_survey *survey) {
    rd_kafka_t *handle = sonde__kafka_client_handle(survey->client, SONDE__KAFKA_FOR_ALL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);
    char text[128];
    int timeout_ms = sonde__kafka_survey_timeout_ms(survey);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof text);
    rd_kafka_ListConsumerGroups(handle, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    size_t count = 0;
    const rd_kafka_ListConsumerGroups_result_t *result = event ? rd_kafka_event_ListConsumerGroups_result(event) : NULL;
    const rd_kafka_ConsumerGroupListing_t **listings =
        result ? rd_kafka_ListConsumerGroups_result_valid(result, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        struct sonde__kafka_group *group = group_see(survey, rd_kafka_ConsumerGroupListing_group_id(listings[i]));
        if (group)
            group->state = sonde__kafka_group_state_of(
                rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupListing_state(listings[i])));
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return count > 0;
}

static rd_kafka_resp_err_t groups_list(struct sonde__kafka_survey *survey) {
    const struct rd_kafka_group_list *list = NULL;
    groups_forget_members(survey);
    rd_kafka_resp_err_t error = rd_kafka_list_groups(sonde__kafka_client_handle(survey->client, SONDE__KAFKA_FOR_ALL),
                                                     NULL, &list, sonde__kafka_survey_timeout_ms(survey));
    survey->list_complete = !error;
    for (int i = 0; list && i < list->group_cnt; i++)
        group_describe(survey, &list->groups[i]);
    if (list)
        rd_kafka_group_list_destroy(list);
    if (error && !list && !sonde__kafka_survey_is_over(survey) && groups_list_names(survey)) {
        note_error(survey, error, "members of groups");
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (error)
        note_error(survey, error, "groups");
    return list ? RD_KAFKA_RESP_ERR_NO_ERROR : error;
}

/* --- what it means --- */

static void commit_evaluate(struct sonde__kafka_survey *survey, const struct sonde__kafka_group *group,
                            struct sonde__kafka_commit *commit) {
    int64_t now = sonde__kafka_survey_now_ns(survey);
    if (commit->committed < 0 || !commit->topic->exists ||
        (uint32_t)commit->partition >= commit->topic->partition_count)
        return;
    const struct sonde__kafka_offsets *offsets = &commit->topic->partitions[commit->partition].offsets;
    struct sonde__kafka_lag lag = sonde__kafka_lag_of(offsets, commit->committed, group->to_stable);
    if (lag.lag < 0)
        return;
    if (commit->moved_ns == 0 || commit->moved_end != offsets->end || commit->progress.committed != commit->committed)
        commit->moved_ns = now;
    commit->moved_end = offsets->end;
    struct sonde__kafka_sight sight = {commit->committed, lag.lag, group->members > 0};
    commit->state = sonde__kafka_progress_see(&commit->progress, sight, (unsigned)survey->config->progress_window,
                                              survey->config->progress_lag_allowed);
}

static void evaluate(struct sonde__kafka_survey *survey) {
    for (size_t i = 0; i < survey->book.group_count; i++) {
        struct sonde__kafka_group *group = survey->book.groups[i];
        if (group->answer != SONDE__KAFKA_ANSWERED)
            continue;
        bool committed = false;
        for (uint32_t j = 0; j < group->commit_count; j++) {
            commit_evaluate(survey, group, &group->commits[j]);
            committed = committed || group->commits[j].committed >= 0;
        }
        if (group->deleted)
            group->state = SONDE__KAFKA_GROUP_DEAD;
        else if (committed && group->state == SONDE__KAFKA_GROUP_DEAD)
            group->state = SONDE__KAFKA_GROUP_UNKNOWN; /* who has offsets is not dead: a group of the new protocol */
    }
}

static bool gone(void *user, const struct sonde__kafka_group *group) {
    const struct sonde__kafka_survey *survey = user;
    if (group->listed == survey->book.look)
        return false;
    if (!group->included)
        return survey->list_complete;
    if (group->deleted)
        return sonde__kafka_survey_now_ns(survey) - group->deleted_ns >=
               (int64_t)survey->config->deleted_groups_keep_ns;
    return group->failures > FAILURES_MAX;
}

static void fail(struct sonde__kafka_survey *survey, rd_kafka_resp_err_t error) {
    if (survey->note_count) { /* what was told first says most */
        survey->trouble = survey->notes[0].trouble;
        (void)snprintf(survey->text, sizeof survey->text, "%s", survey->notes[0].text);
        survey->note_count = 0;
        return;
    }
    survey->trouble = sonde__kafka_client_trouble(survey->client, error, survey->text, sizeof survey->text);
}

/** Some group was asked, and none answered. */
static bool is_mute(const struct sonde__kafka_survey *survey) {
    bool asked = false;
    for (size_t i = 0; i < survey->book.group_count; i++) {
        if (survey->book.groups[i]->answer == SONDE__KAFKA_ANSWERED)
            return false;
        asked = asked || survey->book.groups[i]->included;
    }
    return asked;
}

void sonde__kafka_survey_look(struct sonde__kafka_survey *survey, const struct sonde__worker *worker) {
    struct sonde__kafka_client *client = survey->client;
    uint64_t now = (uint64_t)sonde__kafka_survey_now_ns(survey);
    survey->worker = worker;
    survey->book.look++;
    /* The loop's deadline is the last word; this one comes before it, so that what is known by then is told. */
    survey->deadline_ns = now + survey->config->timeout_ns / 10 * 9;
    survey->trouble = NULL;
    survey->note_count = 0;
    survey->truncated = survey->metadata_renewed = false;
    if (!sonde__kafka_client_refresh(client)) {
        survey->trouble = SONDE__TROUBLE_MEMORY;
        (void)snprintf(survey->text, sizeof survey->text, "no handle of librdkafka");
        return;
    }
    if (!client->metadata || now - client->metadata_ns >= survey->config->metadata_interval_ns)
        sonde__kafka_survey_renew(survey);
    if (!client->metadata) {
        fail(survey, RD_KAFKA_RESP_ERR__TIMED_OUT);
        return;
    }
    topics_remember(survey);
    rd_kafka_resp_err_t error = groups_list(survey);
    if (error && survey->book.group_count == 0) {
        fail(survey, error);
        return;
    }
    sonde__kafka_survey_commits(survey);
    if (is_mute(survey)) {
        fail(survey, error ? error : RD_KAFKA_RESP_ERR__TIMED_OUT);
        return;
    }
    sonde__kafka_survey_ends(survey);
    if (survey->rules->exact.count)
        sonde__kafka_survey_records(survey);
    evaluate(survey);
    sonde__kafka_book_prune(&survey->book, gone, survey, TOPIC_KEPT);
}
