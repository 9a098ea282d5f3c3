/* SPDX-License-Identifier: Apache-2.0 */
/* Committed offsets. One request per group, many under way at once. A broker that speaks OffsetFetch 5 or less gets "all
 * partitions" from librdkafka before 2.3.0 as "none", and answers so: a group that has none is then asked by name, and
 * what comes of it says how all others are asked. */
#include "agent/collect/kafka_survey.h"
#include <stdio.h>
#include <string.h>

enum {
    IN_FLIGHT_MAX = 64,    /* a broker handles them one after the other per connection: more only wait */
    NAMED_EACH_MAX = 2000, /* partitions asked by name each time; of more, those that are known */
    NAMED_MAX = 100000,    /* in one request */
    NAMED_ALL_LOOKS = 16,  /* then all are, in one of as many looks */
    POLL_MS = 100,
    NEVER_MS = 3600000, /* the library's own time-out, which must not come: sonde__kafka_client_refresh() */
    SICK_MAX = 256,
    ALL_VERSION = 0x020300ff, /* librdkafka that asks for all in every version of the protocol */
};

struct asking {
    struct sonde__kafka_survey *survey;
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    size_t next, in_flight;
    bool listed_done; /* those that were listed come first: the others' coordinators may be why they were not */
    int64_t heard_ns; /* when the last answer came */
    struct sonde__kafka_group *waiting[IN_FLIGHT_MAX]; /* NULL = free */
    int32_t sick[SICK_MAX];                            /* coordinators that did not answer in this look */
    size_t sick_count;
};

/* --- asking --- */

static void name_known(const struct sonde__kafka_group *group, rd_kafka_topic_partition_list_t *list) {
    for (uint32_t i = 0; i < group->commit_count && list->cnt < NAMED_MAX; i++)
        (void)rd_kafka_topic_partition_list_add(list, group->commits[i].topic->name, group->commits[i].partition);
}

static void name_all(const struct sonde__kafka_survey *survey, rd_kafka_topic_partition_list_t *list) {
    const struct sonde__kafka_rules *rules = survey->rules;
    const struct rd_kafka_metadata *metadata = survey->client->metadata;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if ((rules->topics.count && !sonde__kafka_patterns_match(&rules->topics, topic->topic)) ||
            sonde__kafka_patterns_match(&rules->topics_exclude, topic->topic))
            continue;
        for (int j = 0; j < topic->partition_cnt && list->cnt < NAMED_MAX; j++)
            (void)rd_kafka_topic_partition_list_add(list, topic->topic, topic->partitions[j].id);
    }
}

static size_t partitions_of(const struct rd_kafka_metadata *metadata) {
    size_t count = 0;
    for (int i = 0; i < metadata->topic_cnt; i++)
        count += (size_t)metadata->topics[i].partition_cnt;
    return count;
}

/** NULL = all of them. */
static rd_kafka_topic_partition_list_t *what_to_ask(struct asking *asking, struct sonde__kafka_group *group,
                                                    bool by_name) {
    const struct sonde__kafka_survey *survey = asking->survey;
    if (!by_name && survey->all_works >= 0)
        return NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    bool turn = (survey->book.look + asking->next) % NAMED_ALL_LOOKS == 0 || group->commit_count == 0;
    group->named = true;
    if (turn || partitions_of(survey->client->metadata) <= NAMED_EACH_MAX)
        name_all(survey, list);
    else
        name_known(group, list);
    return list;
}

static void wait_for(struct asking *asking, const struct sonde__kafka_group *before, struct sonde__kafka_group *after) {
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (asking->waiting[i] == before) {
            asking->waiting[i] = after;
            return;
        }
}

static void ask(struct asking *asking, struct sonde__kafka_group *group, bool by_name) {
    rd_kafka_topic_partition_list_t *list = what_to_ask(asking, group, by_name);
    if (list && list->cnt == 0) { /* a cluster without topics: there is nothing to have committed */
        rd_kafka_topic_partition_list_destroy(list);
        group->answer = SONDE__KAFKA_ANSWERED;
        sonde__kafka_group_settle(&asking->survey->book, group);
        return;
    }
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(group->name, list);
    rd_kafka_AdminOptions_set_opaque(asking->options, group);
    rd_kafka_ListConsumerGroupOffsets(asking->handle, &request, 1, asking->options, asking->queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    wait_for(asking, NULL, group);
    asking->in_flight++;
}

/* --- answers --- */

static void take_one(struct sonde__kafka_survey *survey, struct sonde__kafka_group *group, uint32_t sorted_count,
                     const rd_kafka_topic_partition_t *told, struct sonde__kafka_topic *topic) {
    bool only_assigned = survey->config->only_assigned && group->members > 0;
    if (told->partition < 0 || told->partition >= SONDE__KAFKA_PARTITION_MAX)
        return;
    uint32_t before = group->commit_count;
    bool full = survey->book.commit_count >= (size_t)survey->config->partitions_max;
    struct sonde__kafka_commit *commit =
        sonde__kafka_group_commit(&survey->book, group, topic, told->partition, sorted_count);
    if (!commit) {
        sonde__kafka_survey_note(survey, SONDE__TROUBLE_MEMORY, "committed offsets");
        return;
    }
    bool is_new = group->commit_count != before;
    if ((is_new && full) || (only_assigned && commit->assigned != survey->book.look)) {
        survey->truncated = survey->truncated || (is_new && full);
        commit->seen = 0; /* goes when the group is settled */
        return;
    }
    commit->committed = told->offset;
    commit->seen = survey->book.look;
}

static unsigned take_all(struct sonde__kafka_survey *survey, struct sonde__kafka_group *group,
                         const rd_kafka_topic_partition_list_t *list) {
    struct sonde__kafka_topic *topic = NULL;
    const char *last = NULL;
    unsigned committed = 0;
    uint32_t sorted_count = group->commit_count;
    for (uint32_t i = 0; i < group->commit_count; i++)
        group->commits[i].committed = -1;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *told = &list->elems[i];
        if (told->err || told->offset < 0)
            continue;
        committed++;
        if (!last || strcmp(last, told->topic) != 0)
            topic = sonde__kafka_survey_topic(survey, told->topic);
        last = told->topic;
        if (topic)
            take_one(survey, group, sorted_count, told, topic);
    }
    return committed;
}

static bool has_any(const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; list && i < list->cnt; i++)
        if (!list->elems[i].err && list->elems[i].offset >= 0)
            return true;
    return false;
}

/** It has no offsets, and no broker listed it. */
static void is_gone(struct sonde__kafka_survey *survey, struct sonde__kafka_group *group) {
    group->answer = SONDE__KAFKA_ANSWERED;
    group->members = 0;
    if (!group->deleted)
        group->deleted_ns = sonde__kafka_survey_now_ns(survey);
    group->deleted = true;
    for (uint32_t i = 0; i < group->commit_count; i++)
        group->commits[i].seen = survey->book.look;
}

static void take(struct asking *asking, struct sonde__kafka_group *group, const rd_kafka_topic_partition_list_t *list) {
    struct sonde__kafka_survey *survey = asking->survey;
    bool any = has_any(list);
    if (!any && !group->named && survey->all_works == 0) {
        ask(asking, group, true);
        return;
    }
    if (any && survey->all_works == 0)
        survey->all_works = group->named ? -1 : 1;
    group->failures = 0;
    if (!any && group->listed != survey->book.look) {
        is_gone(survey, group);
        return;
    }
    group->answer = SONDE__KAFKA_ANSWERED;
    if (list)
        (void)take_all(survey, group, list);
    sonde__kafka_group_settle(&survey->book, group);
}

static void failed(struct sonde__kafka_survey *survey, struct sonde__kafka_group *group, rd_kafka_resp_err_t error,
                   const char *text) {
    if (error == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND && group->listed != survey->book.look) {
        is_gone(survey, group);
        return;
    }
    char whole[400];
    (void)snprintf(whole, sizeof whole, "committed offsets of a group: %s", text);
    group->answer = SONDE__KAFKA_FAILED;
    group->failures++;
    sonde__kafka_survey_note(survey, sonde__kafka_trouble(error), whole);
}

static void on_event(struct asking *asking, rd_kafka_event_t *event) {
    const rd_kafka_ListConsumerGroupOffsets_result_t *result = rd_kafka_event_ListConsumerGroupOffsets_result(event);
    struct sonde__kafka_group *group = rd_kafka_event_opaque(event);
    if (!result)
        return; /* not an answer of ours */
    asking->in_flight--;
    asking->heard_ns = sonde__kafka_survey_now_ns(asking->survey);
    wait_for(asking, group, NULL);
    if (rd_kafka_event_error(event)) {
        failed(asking->survey, group, rd_kafka_event_error(event), rd_kafka_event_error_string(event));
        return;
    }
    size_t count;
    const rd_kafka_group_result_t **results = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);
    const rd_kafka_error_t *error = count == 1 ? rd_kafka_group_result_error(results[0]) : NULL;
    if (error)
        failed(asking->survey, group, rd_kafka_error_code(error), rd_kafka_error_string(error));
    else
        take(asking, group, count == 1 ? rd_kafka_group_result_partitions(results[0]) : NULL);
}

static bool is_sick(const struct asking *asking, int32_t coordinator) {
    for (size_t i = 0; coordinator >= 0 && i < asking->sick_count; i++)
        if (asking->sick[i] == coordinator)
            return true;
    return false;
}

/** Nobody answered for a request's time: those that are waited for are given up, and nothing more is asked of theirs. */
static void give_up(struct asking *asking) {
    struct sonde__kafka_survey *survey = asking->survey;
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
        const struct sonde__kafka_group *group = asking->waiting[i];
        if (group && !is_sick(asking, group->coordinator) && asking->sick_count < SICK_MAX)
            asking->sick[asking->sick_count++] = group->coordinator;
        if (group)
            failed(survey, asking->waiting[i], RD_KAFKA_RESP_ERR__TIMED_OUT, "its coordinator does not answer");
        asking->waiting[i] = NULL;
    }
    /* Answers may still come: to a queue that nobody reads. */
    rd_kafka_queue_destroy(asking->queue);
    asking->queue = rd_kafka_queue_new(asking->handle);
    asking->in_flight = 0;
    survey->client->left = true;
}

/** The next group that is to be asked; false = there is none. */
static bool ask_next(struct asking *asking) {
    struct sonde__kafka_book *book = &asking->survey->book;
    for (;;) {
        if (asking->next == book->group_count && asking->listed_done)
            return false;
        if (asking->next == book->group_count) {
            asking->listed_done = true;
            asking->next = 0;
            continue;
        }
        struct sonde__kafka_group *group = book->groups[asking->next++];
        if (!group->included || (group->listed == book->look) == asking->listed_done)
            continue;
        group->answer = SONDE__KAFKA_FAILED;
        if (is_sick(asking, group->coordinator)) {
            failed(asking->survey, group, RD_KAFKA_RESP_ERR__TIMED_OUT, "its coordinator does not answer");
            continue;
        }
        if (asking->in_flight == 0)
            asking->heard_ns = sonde__kafka_survey_now_ns(asking->survey);
        ask(asking, group, false);
        return true;
    }
}

void sonde__kafka_survey_commits(struct sonde__kafka_survey *survey) {
    rd_kafka_t *handle = sonde__kafka_client_handle(survey->client, SONDE__KAFKA_FOR_ALL);
    struct asking asking = {.survey = survey,
                            .handle = handle,
                            .queue = rd_kafka_queue_new(handle),
                            .options = rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS)};
    if (rd_kafka_version() >= ALL_VERSION)
        survey->all_works = 1;
    char text[128];
    (void)rd_kafka_AdminOptions_set_request_timeout(asking.options, NEVER_MS, text, sizeof text);
    int64_t patience_ns = (int64_t)survey->config->request_timeout_ns;
    bool more = true;
    while ((more || asking.in_flight) && !sonde__kafka_survey_is_over(survey)) {
        /* The first few one by one, until it is known how the cluster is to be asked. */
        size_t most = survey->all_works == 0 ? 1 : IN_FLIGHT_MAX;
        while (more && asking.in_flight < most)
            more = ask_next(&asking);
        rd_kafka_event_t *event = asking.in_flight ? rd_kafka_queue_poll(asking.queue, POLL_MS) : NULL;
        if (event) {
            on_event(&asking, event);
            rd_kafka_event_destroy(event);
        } else if (asking.in_flight && sonde__kafka_survey_now_ns(survey) - asking.heard_ns >= patience_ns) {
            give_up(&asking);
        }
    }
    if (more || asking.in_flight)
        sonde__kafka_survey_note(survey, SONDE__TROUBLE_TIMEOUT, "not all groups within the timeout");
    if (asking.in_flight)
        survey->client->left = true;
    rd_kafka_AdminOptions_destroy(asking.options);
    rd_kafka_queue_destroy(asking.queue);
}
