/* SPDX-License-Identifier: Apache-2.0 */
/* Where partitions end and begin: offsets_for_times with -1 and -2, a call per leader so that a sick one costs its own
 * partitions only, in portions since the library puts results to their places by searching, and halved when one fails,
 * since one partition's error fails all of a call. */
#include "agent/collect/kafka_survey.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTION = 256, SICK_MAX = 256 };

struct place {
    struct sonde__kafka_topic *topic;
    int32_t partition, leader;
};

struct pass {
    struct sonde__kafka_survey *survey;
    rd_kafka_t *handle;
    int64_t which; /* RD_KAFKA_OFFSET_END, _BEGINNING */
    size_t field;  /* of struct sonde__kafka_offsets */
};

struct ends {
    struct sonde__kafka_survey *survey;
    struct place *places;
    size_t count, capacity;
    int32_t sick[SICK_MAX]; /* leaders that did not answer in this look */
    size_t sick_count;
};

static struct sonde__kafka_partition *partition_of(const struct place *place) {
    return &place->topic->partitions[place->partition];
}

static int by_leader(const void *a, const void *b) {
    const struct place *left = a, *right = b;
    if (left->leader != right->leader)
        return left->leader < right->leader ? -1 : 1;
    if (left->topic != right->topic)
        return strcmp(left->topic->name, right->topic->name);
    return (left->partition > right->partition) - (left->partition < right->partition);
}

static bool is_sick(const struct ends *ends, int32_t leader) {
    for (size_t i = 0; i < ends->sick_count; i++)
        if (ends->sick[i] == leader)
            return true;
    return false;
}

static void note(struct sonde__kafka_survey *survey, rd_kafka_resp_err_t error, const struct place *place) {
    char text[SONDE__KAFKA_TOPIC_MAX + 200], why[200];
    const char *trouble = sonde__kafka_client_trouble(survey->client, error, why, sizeof why);
    (void)snprintf(text, sizeof text, "offsets of %s [%d], broker %d: %s", place->topic->name, place->partition,
                   place->leader, why);
    sonde__kafka_survey_note(survey, trouble, text);
}

/** Does not work, however it is split. */
static bool is_of_broker(rd_kafka_resp_err_t error) {
    switch (error) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return true;
    default:
        return false;
    }
}

static void put(const struct pass *pass, struct place *place, int64_t offset) {
    struct sonde__kafka_partition *partition = partition_of(place);
    memcpy((char *)&partition->offsets + pass->field, &offset, sizeof offset);
    if (pass->field == offsetof(struct sonde__kafka_offsets, end))
        partition->asked_ns = sonde__kafka_survey_now_ns(pass->survey);
}

static rd_kafka_resp_err_t ask(const struct pass *pass, struct place *places, size_t count) {
    struct sonde__kafka_survey *survey = pass->survey;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, places[i].topic->name, places[i].partition)->offset = pass->which;
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(pass->handle, list, sonde__kafka_survey_timeout_ms(survey));
    /* On an error nothing is told of any; on success an unasked one keeps the offset it was given. */
    for (size_t i = 0; !error && i < count && i < (size_t)list->cnt; i++) {
        const rd_kafka_topic_partition_t *told = &list->elems[i];
        bool same = strcmp(told->topic, places[i].topic->name) == 0 && told->partition == places[i].partition;
        if (same && !told->err && told->offset >= 0)
            put(pass, &places[i], told->offset);
        else if (same && told->err)
            note(survey, told->err, &places[i]);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return error;
}

/** Halves what fails until the partition at fault stands alone. Returns 0, or the error of the broker as a whole. */
static rd_kafka_resp_err_t ask_split(const struct pass *pass, struct place *places, size_t count) {
    if (sonde__kafka_survey_is_over(pass->survey))
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_resp_err_t error = ask(pass, places, count);
    if (!error || is_of_broker(error))
        return error;
    if (count == 1) {
        note(pass->survey, error, places);
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    size_t half = count / 2;
    error = ask_split(pass, places, half);
    return error ? error : ask_split(pass, places + half, count - half);
}

static void ask_leader(struct ends *ends, const struct pass *pass, struct place *places, size_t count) {
    int32_t leader = places->leader;
    if (leader < 0) {
        note(ends->survey, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, places);
        return;
    }
    for (size_t at = 0; at < count && !is_sick(ends, leader); at += PORTION) {
        rd_kafka_resp_err_t error = ask_split(pass, places + at, count - at < PORTION ? count - at : PORTION);
        if (!error)
            continue;
        note(ends->survey, error, places);
        if (ends->sick_count < SICK_MAX)
            ends->sick[ends->sick_count++] = leader;
    }
}

static void ask_all(struct ends *ends, enum sonde__kafka_purpose purpose, int64_t which, size_t field) {
    struct sonde__kafka_survey *survey = ends->survey;
    struct pass pass = {.survey = survey,
                        .handle = sonde__kafka_client_handle(survey->client, purpose),
                        .which = which,
                        .field = field};
    for (size_t at = 0, next; pass.handle && at < ends->count && !sonde__kafka_survey_is_over(survey); at = next) {
        for (next = at + 1; next < ends->count && ends->places[next].leader == ends->places[at].leader; next++)
            continue;
        ask_leader(ends, &pass, ends->places + at, next - at);
    }
}

/* --- which --- */

static int place_add(struct ends *ends, struct sonde__kafka_topic *topic, int32_t partition) {
    const struct sonde_alloc *alloc = &ends->survey->seams->alloc;
    if (ends->count == ends->capacity) {
        size_t capacity = ends->capacity ? ends->capacity * 2 : 64;
        struct place *places = alloc->resize(alloc->self, ends->places, capacity * sizeof *places);
        if (!places)
            return -ENOMEM;
        ends->places = places;
        ends->capacity = capacity;
    }
    ends->places[ends->count++] =
        (struct place){.topic = topic, .partition = partition, .leader = topic->partitions[partition].leader};
    return 0;
}

/** Each partition once; what was known of its end is not any more. */
static int gather_group(struct ends *ends, const struct sonde__kafka_group *group) {
    for (uint32_t i = 0; i < group->commit_count; i++) {
        const struct sonde__kafka_commit *commit = &group->commits[i];
        struct sonde__kafka_topic *topic = commit->topic;
        if (!topic->exists || (uint32_t)commit->partition >= topic->partition_count)
            continue;
        struct sonde__kafka_partition *partition = &topic->partitions[commit->partition];
        if (partition->wanted == ends->survey->book.look)
            continue;
        partition->wanted = ends->survey->book.look;
        partition->offsets.end = partition->offsets.stable = -1;
        if (place_add(ends, topic, commit->partition) != 0)
            return -ENOMEM;
    }
    return 0;
}

static void gather(struct ends *ends) {
    struct sonde__kafka_book *book = &ends->survey->book;
    for (size_t i = 0; i < book->group_count; i++)
        if (book->groups[i]->answer == SONDE__KAFKA_ANSWERED && gather_group(ends, book->groups[i]) != 0) {
            sonde__kafka_survey_note(ends->survey, SONDE__TROUBLE_MEMORY, "partitions");
            break;
        }
    if (ends->count)
        qsort(ends->places, ends->count, sizeof *ends->places, by_leader);
}

static int unanswered_first(const void *a, const void *b) {
    bool left = partition_of(a)->offsets.end >= 0, right = partition_of(b)->offsets.end >= 0;
    return left != right ? (int)left - (int)right : by_leader(a, b);
}

/** Leaders have moved since the metadata: those that were not answered are asked once more of the new ones. */
static void ask_ends_again(struct ends *ends) {
    size_t count = ends->count, unanswered = 0;
    for (size_t i = 0; i < count; i++)
        unanswered += partition_of(&ends->places[i])->offsets.end < 0;
    if (unanswered == 0 || ends->survey->metadata_renewed || sonde__kafka_survey_is_over(ends->survey))
        return;
    sonde__kafka_survey_renew(ends->survey);
    for (size_t i = 0; i < count; i++)
        ends->places[i].leader = ends->places[i].topic->exists ? partition_of(&ends->places[i])->leader : -1;
    qsort(ends->places, count, sizeof *ends->places, unanswered_first);
    ends->count = unanswered;
    ask_all(ends, SONDE__KAFKA_FOR_ALL, RD_KAFKA_OFFSET_END, offsetof(struct sonde__kafka_offsets, end));
    ends->count = count;
    qsort(ends->places, count, sizeof *ends->places, by_leader);
}

static void remember(struct ends *ends) {
    const struct sonde__kafka_survey *survey = ends->survey;
    for (size_t i = 0; i < ends->count; i++) {
        struct sonde__kafka_partition *partition = partition_of(&ends->places[i]);
        if (partition->offsets.end >= 0 &&
            sonde__kafka_history_add(&partition->history, survey->book.alloc, (unsigned)survey->config->history_points,
                                     partition->asked_ns, partition->offsets.end) != 0)
            sonde__kafka_survey_note(ends->survey, SONDE__TROUBLE_MEMORY, "a partition's history");
    }
}

void sonde__kafka_survey_ends(struct sonde__kafka_survey *survey) {
    struct ends ends = {.survey = survey};
    gather(&ends);
    ask_all(&ends, SONDE__KAFKA_FOR_ALL, RD_KAFKA_OFFSET_END, offsetof(struct sonde__kafka_offsets, end));
    ask_ends_again(&ends);
    remember(&ends);
    if (sonde__kafka_survey_wants_stable(survey))
        ask_all(&ends, SONDE__KAFKA_FOR_STABLE, RD_KAFKA_OFFSET_END, offsetof(struct sonde__kafka_offsets, stable));
    uint64_t now = (uint64_t)sonde__kafka_survey_now_ns(survey);
    bool due = survey->earliest_ns == 0 || now - survey->earliest_ns >= survey->config->earliest_interval_ns;
    if (due && ends.count) {
        ask_all(&ends, SONDE__KAFKA_FOR_ALL, RD_KAFKA_OFFSET_BEGINNING,
                offsetof(struct sonde__kafka_offsets, earliest));
        survey->earliest_ns = now;
    }
    sonde_alloc_free(&survey->seams->alloc, ends.places);
}
