/* SPDX-License-Identifier: Apache-2.0 */
/* Exact seconds: the timestamp of the one record that a group reads next, fetched. Uncommitted ones too, so that an open
 * transaction does not hold us; where only a transaction's markers are left there is no record, and nothing is behind. */
#include "agent/collect/kafka_survey.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AGE_MIN_S 1e-9
enum { POLL_MS = 100 };

struct wish {
    struct sonde__kafka_group *group;
    uint32_t commit;
    int64_t offset;
    double age; /* NAN = not known */
};

struct wishes {
    struct sonde__kafka_survey *survey;
    struct wish *items;
    size_t count;
    rd_kafka_queue_t *queue;
};

static struct sonde__kafka_commit *commit_of(const struct wish *wish) {
    return &wish->group->commits[wish->commit];
}

static int compare_places(const struct wish *a, const struct wish *b) {
    const struct sonde__kafka_commit *left = commit_of(a), *right = commit_of(b);
    if (left->topic != right->topic)
        return strcmp(left->topic->name, right->topic->name);
    return (left->partition > right->partition) - (left->partition < right->partition);
}
static int compare(const void *a, const void *b) {
    const struct wish *left = a, *right = b;
    int order = compare_places(left, right);
    return order ? order : (left->offset > right->offset) - (left->offset < right->offset);
}

static void gather_group(struct wishes *wishes, struct sonde__kafka_group *group) {
    for (uint32_t i = 0; i < group->commit_count; i++) {
        struct sonde__kafka_commit *commit = &group->commits[i];
        commit->record_age = NAN;
        if (!commit->topic->exists || (uint32_t)commit->partition >= commit->topic->partition_count)
            continue;
        struct sonde__kafka_lag lag = sonde__kafka_lag_of(&commit->topic->partitions[commit->partition].offsets,
                                                          commit->committed, group->to_stable);
        if (lag.lag <= 0)
            continue;
        if (wishes->count == (size_t)wishes->survey->config->exact_max) {
            wishes->survey->truncated = true;
            return;
        }
        wishes->items[wishes->count++] = (struct wish){group, i, lag.next, NAN};
    }
}

static bool gather(struct wishes *wishes) {
    struct sonde__kafka_survey *survey = wishes->survey;
    wishes->items = sonde_alloc_new(&survey->seams->alloc, (size_t)survey->config->exact_max * sizeof *wishes->items);
    if (!wishes->items) {
        sonde__kafka_survey_note(survey, SONDE__TROUBLE_MEMORY, "records");
        return false;
    }
    for (size_t i = 0; i < survey->book.group_count; i++) {
        struct sonde__kafka_group *group = survey->book.groups[i];
        if (group->exact && group->answer == SONDE__KAFKA_ANSWERED)
            gather_group(wishes, group);
    }
    if (wishes->count)
        qsort(wishes->items, wishes->count, sizeof *wishes->items, compare);
    return wishes->count > 0;
}

static double age_of(const struct sonde__kafka_survey *survey, const rd_kafka_message_t *message) {
    rd_kafka_timestamp_type_t type;
    int64_t written_ms = rd_kafka_message_timestamp(message, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || written_ms < 0)
        return NAN;
    double now = (double)survey->seams->time.unix_ns(survey->seams->time.self) / 1e9;
    double age = now - (double)written_ms / 1e3;
    return age > AGE_MIN_S ? age : AGE_MIN_S; /* a producer's clock may be ahead of ours */
}

/** One partition's wish that is being fetched. */
struct fetch {
    struct wish *wish;
    rd_kafka_topic_t *topic;
    bool open;
};

static bool fetch_start(struct wishes *wishes, rd_kafka_t *handle, struct wish *wish, struct fetch *ret_fetch) {
    const struct sonde__kafka_commit *commit = commit_of(wish);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, commit->topic->name, NULL);
    if (!topic)
        return false;
    if (rd_kafka_consume_start_queue(topic, commit->partition, wish->offset, wishes->queue) != 0) {
        rd_kafka_topic_destroy(topic);
        return false;
    }
    *ret_fetch = (struct fetch){.wish = wish, .topic = topic, .open = true};
    return true;
}

static void fetch_stop(struct fetch *fetch) {
    if (fetch->topic) {
        (void)rd_kafka_consume_stop(fetch->topic, commit_of(fetch->wish)->partition);
        rd_kafka_topic_destroy(fetch->topic);
    }
    *fetch = (struct fetch){0};
}

static void on_message(struct wishes *wishes, struct fetch *fetches, size_t count, const rd_kafka_message_t *message,
                       size_t *open) {
    for (size_t i = 0; i < count; i++) {
        struct fetch *fetch = &fetches[i];
        if (!fetch->open || fetch->topic != message->rkt || commit_of(fetch->wish)->partition != message->partition)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            fetch->wish->age = 0;
        else if (message->err)
            sonde__kafka_survey_note(wishes->survey, sonde__kafka_trouble(message->err),
                                     rd_kafka_message_errstr(message));
        else
            fetch->wish->age = age_of(wishes->survey, message);
        fetch->open = false;
        --*open;
        return;
    }
}

/** One wish of each partition in a round: a partition is read from one place at a time. */
static void round_of(struct wishes *wishes, rd_kafka_t *handle, struct fetch *fetches, size_t count) {
    int64_t until =
        sonde__kafka_survey_now_ns(wishes->survey) + (int64_t)sonde__kafka_survey_timeout_ms(wishes->survey) * 1000000;
    size_t open = 0;
    for (size_t i = 0; i < count; i++)
        open += fetch_start(wishes, handle, fetches[i].wish, &fetches[i]);
    while (open && !sonde__kafka_survey_is_over(wishes->survey) && sonde__kafka_survey_now_ns(wishes->survey) < until) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(wishes->queue, POLL_MS);
        if (!message)
            continue;
        on_message(wishes, fetches, count, message, &open);
        rd_kafka_message_destroy(message);
    }
    for (size_t i = 0; i < count; i++)
        fetch_stop(&fetches[i]);
    if (open)
        sonde__kafka_survey_note(wishes->survey, SONDE__TROUBLE_TIMEOUT, "records at committed offsets");
}

static void fetch_all(struct wishes *wishes, rd_kafka_t *handle, struct fetch *fetches, bool *taken) {
    for (size_t left = wishes->count; left && !sonde__kafka_survey_is_over(wishes->survey);) {
        size_t count = 0;
        const struct wish *last = NULL;
        for (size_t i = 0; i < wishes->count; i++) {
            struct wish *wish = &wishes->items[i];
            if (taken[i] || (last && compare_places(last, wish) == 0))
                continue;
            fetches[count++].wish = wish;
            taken[i] = true;
            last = wish;
            left--;
        }
        round_of(wishes, handle, fetches, count);
        /* Groups at the same place share the answer. */
        for (size_t i = 1; i < wishes->count; i++)
            if (!taken[i] && taken[i - 1] && compare(&wishes->items[i - 1], &wishes->items[i]) == 0) {
                wishes->items[i].age = wishes->items[i - 1].age;
                taken[i] = true;
                left--;
            }
    }
}

void sonde__kafka_survey_records(struct sonde__kafka_survey *survey) {
    const struct sonde_alloc *alloc = &survey->seams->alloc;
    struct wishes wishes = {.survey = survey};
    rd_kafka_t *handle = sonde__kafka_client_handle(survey->client, SONDE__KAFKA_FOR_RECORDS);
    if (!handle || !gather(&wishes)) {
        sonde_alloc_free(alloc, wishes.items);
        return;
    }
    struct fetch *fetches = sonde_alloc_new(alloc, wishes.count * sizeof *fetches);
    bool *taken = sonde_alloc_new(alloc, wishes.count * sizeof *taken);
    wishes.queue = rd_kafka_queue_new(handle);
    if (fetches && taken) {
        memset(taken, 0, wishes.count * sizeof *taken);
        memset(fetches, 0, wishes.count * sizeof *fetches);
        fetch_all(&wishes, handle, fetches, taken);
    }
    for (size_t i = 0; i < wishes.count; i++)
        commit_of(&wishes.items[i])->record_age = wishes.items[i].age;
    rd_kafka_queue_destroy(wishes.queue);
    sonde_alloc_free(alloc, fetches);
    sonde_alloc_free(alloc, taken);
    sonde_alloc_free(alloc, wishes.items);
}
