/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_series.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct sonde_string text_of(const char *text) {
    return (struct sonde_string){.data = text, .size = strlen(text)};
}

struct emission {
    const struct sonde__kafka_series *series;
    const struct sonde__kafka_group *group;
    unsigned count;
};

static void set(struct emission *emission, enum sonde__messaging_metric metric, const struct sonde__messaging_of *of,
                double value) {
    sonde__poll_set(emission->series->poll, metric, of, value);
    emission->count++;
}

static bool is_told(const struct sonde__kafka_commit *commit) {
    return commit->topic->exists && (uint32_t)commit->partition < commit->topic->partition_count;
}

static struct sonde__kafka_age age_of(const struct sonde__kafka_group *group, const struct sonde__kafka_commit *commit,
                                      const struct sonde__kafka_lag *lag) {
    const struct sonde__kafka_partition *partition = &commit->topic->partitions[commit->partition];
    if (group->exact && lag->lag == 0)
        return (struct sonde__kafka_age){SONDE__KAFKA_EXACT, 0};
    if (group->exact && !isnan(commit->record_age))
        return (struct sonde__kafka_age){SONDE__KAFKA_EXACT, commit->record_age};
    return sonde__kafka_history_age(&partition->history, lag->next, partition->asked_ns);
}

static void set_partition(struct emission *emission, const struct sonde__kafka_commit *commit,
                          const struct sonde__kafka_lag *lag) {
    const struct sonde__kafka_config *config = emission->series->config;
    char number[16];
    (void)snprintf(number, sizeof number, "%d", commit->partition);
    struct sonde__messaging_of of = {.destination = text_of(commit->topic->name),
                                     .group = text_of(emission->group->name),
                                     .partition = text_of(number)};
    if (config->per_partition && lag->lag >= 0)
        set(emission, SONDE__MESSAGING_PARTITION_LAG, &of, (double)lag->lag);
    if (config->consumer_offsets && commit->committed >= 0)
        set(emission, SONDE__MESSAGING_CONSUMER_OFFSET, &of, (double)commit->committed);
}

static void set_counts(struct emission *emission, struct sonde__messaging_of of, const struct sonde__kafka_sum *sum,
                       uint32_t partitions) {
    of.state = "committed";
    set(emission, SONDE__MESSAGING_PARTITIONS, &of, sum->committed);
    of.state = "uncommitted";
    set(emission, SONDE__MESSAGING_PARTITIONS, &of, partitions > sum->committed ? partitions - sum->committed : 0);
    of.state = "expired";
    if (!sum->expired_unknown)
        set(emission, SONDE__MESSAGING_PARTITIONS, &of, sum->expired_partitions);
}

static void set_topic(struct emission *emission, const struct sonde__kafka_topic *topic,
                      const struct sonde__kafka_sum *sum) {
    struct sonde__messaging_of of = {.destination = text_of(topic->name), .group = text_of(emission->group->name)};
    set_counts(emission, of, sum, topic->partition_count);
    if (sum->committed == 0)
        return;
    if (!sum->lag_unknown)
        set(emission, SONDE__MESSAGING_LAG, &of, (double)sum->lag);
    if (!sum->expired_unknown)
        set(emission, SONDE__MESSAGING_LAG_EXPIRED, &of, (double)sum->expired);
    struct sonde__kafka_age age = sonde__kafka_sum_age(sum);
    struct sonde__messaging_of of_age = of;
    of_age.estimate = sonde__kafka_estimate_name(age.estimate);
    if (of_age.estimate)
        set(emission, SONDE__MESSAGING_LAG_TIME, &of_age, age.seconds);
    for (int i = 0; i < SONDE__KAFKA_PROGRESS_COUNT && !sum->lag_unknown; i++) {
        of.state = sonde__kafka_progress_names[i];
        set(emission, SONDE__MESSAGING_PROGRESS, &of, i == (int)sum->progress);
    }
}

static bool is_idle(const struct sonde__kafka_series *series, const struct sonde__kafka_commit *commit) {
    uint64_t after = series->config->idle_after_ns;
    int64_t now = (int64_t)sonde__poll_now_ns(series->poll);
    return after && commit->moved_ns && now - commit->moved_ns >= (int64_t)after;
}

static void sum_add(struct emission *emission, const struct sonde__kafka_commit *commit, struct sonde__kafka_sum *sum) {
    const struct sonde__kafka_partition *partition = &commit->topic->partitions[commit->partition];
    struct sonde__kafka_lag lag =
        sonde__kafka_lag_of(&partition->offsets, commit->committed, emission->group->to_stable);
    set_partition(emission, commit, &lag);
    if (commit->committed < 0)
        return;
    sonde__kafka_sum_add(sum, &lag, age_of(emission->group, commit, &lag));
    if (commit->state > sum->progress)
        sum->progress = commit->state;
}

static void set_group(struct emission *emission) {
    const struct sonde__kafka_group *group = emission->group;
    struct sonde__messaging_of of = {.group = text_of(group->name)};
    if (group->members >= 0)
        set(emission, SONDE__MESSAGING_CONSUMERS, &of, group->members);
    for (int i = 0; i < SONDE__KAFKA_GROUP_STATE_COUNT; i++) {
        of.state = sonde__kafka_group_state_names[i];
        set(emission, SONDE__MESSAGING_GROUP_STATE, &of, i == (int)group->state);
    }
    if (group->answer != SONDE__KAFKA_ANSWERED)
        return;
    for (uint32_t i = 0, next; i < group->commit_count; i = next) {
        const struct sonde__kafka_topic *topic = group->commits[i].topic;
        struct sonde__kafka_sum sum = {0};
        bool any = false;
        for (next = i; next < group->commit_count && group->commits[next].topic == topic; next++) {
            const struct sonde__kafka_commit *commit = &group->commits[next];
            if (!is_told(commit) || is_idle(emission->series, commit))
                continue;
            any = true;
            sum_add(emission, commit, &sum);
        }
        if (any)
            set_topic(emission, topic, &sum);
    }
}

static void set_offsets(struct emission *emission, const struct sonde__kafka_topic *topic) {
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct sonde__kafka_offsets *offsets = &topic->partitions[i].offsets;
        const struct {
            const char *kind;
            int64_t offset;
        } kinds[] = {{"earliest", offsets->earliest}, {"end", offsets->end}, {"stable", offsets->stable}};
        char number[16];
        (void)snprintf(number, sizeof number, "%u", i);
        struct sonde__messaging_of of = {.destination = text_of(topic->name), .partition = text_of(number)};
        if (topic->partitions[i].wanted != emission->series->book->look)
            continue;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            of.kind = kinds[k].kind;
            if (kinds[k].offset >= 0)
                set(emission, SONDE__MESSAGING_PARTITION_OFFSET, &of, (double)kinds[k].offset);
        }
    }
}

void sonde__kafka_series_start(struct sonde__kafka_series *series) {
    series->next_group = series->next_topic = 0;
}

bool sonde__kafka_series_next(struct sonde__kafka_series *series, unsigned count) {
    const struct sonde__kafka_book *book = series->book;
    struct emission emission = {.series = series};
    while (series->next_group < book->group_count && emission.count < count) {
        emission.group = book->groups[series->next_group++];
        if (emission.group->included)
            set_group(&emission);
    }
    size_t topics = series->config->partition_offsets ? book->topic_count : 0;
    while (series->next_topic < topics && emission.count < count) {
        const struct sonde__kafka_topic *topic = book->topics[series->next_topic++];
        if (topic->exists && topic->included)
            set_offsets(&emission, topic);
    }
    return series->next_group < book->group_count || series->next_topic < topics;
}
