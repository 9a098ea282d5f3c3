/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_book.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const sonde__kafka_group_state_names[SONDE__KAFKA_GROUP_STATE_COUNT] = {
    [SONDE__KAFKA_GROUP_UNKNOWN] = "unknown",
    [SONDE__KAFKA_GROUP_STABLE] = "stable",
    [SONDE__KAFKA_GROUP_EMPTY] = "empty",
    [SONDE__KAFKA_GROUP_PREPARING] = "preparing_rebalance",
    [SONDE__KAFKA_GROUP_COMPLETING] = "completing_rebalance",
    [SONDE__KAFKA_GROUP_ASSIGNING] = "assigning",
    [SONDE__KAFKA_GROUP_RECONCILING] = "reconciling",
    [SONDE__KAFKA_GROUP_DEAD] = "dead",
};

enum sonde__kafka_group_state sonde__kafka_group_state_of(const char *word) {
    static const struct {
        const char *word;
        enum sonde__kafka_group_state state;
    } words[] = {
        {"Stable", SONDE__KAFKA_GROUP_STABLE},
        {"Empty", SONDE__KAFKA_GROUP_EMPTY},
        {"PreparingRebalance", SONDE__KAFKA_GROUP_PREPARING},
        {"CompletingRebalance", SONDE__KAFKA_GROUP_COMPLETING},
        {"AwaitingSync", SONDE__KAFKA_GROUP_COMPLETING}, /* its name before Kafka 1.1 */
        {"Assigning", SONDE__KAFKA_GROUP_ASSIGNING},
        {"Reconciling", SONDE__KAFKA_GROUP_RECONCILING},
        {"Dead", SONDE__KAFKA_GROUP_DEAD},
    };
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i].word, word) == 0)
            return words[i].state;
    return SONDE__KAFKA_GROUP_UNKNOWN;
}

/* --- tables: arrays of pointers to things that begin with their name, sorted by it --- */

struct named {
    char *name;
};
_Static_assert(offsetof(struct sonde__kafka_topic, name) == 0 && offsetof(struct sonde__kafka_group, name) == 0,
               "find() looks at names");

/** Where it is, or would be. */
static size_t find(void *const *items, size_t count, const char *name, bool *ret_found) {
    size_t low = 0, high = count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(((const struct named *)items[middle])->name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int table_reserve(const struct sonde_alloc *alloc, void ***items, size_t count, size_t *capacity) {
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void **grown = alloc->resize(alloc->self, *items, wanted * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    *items = grown;
    *capacity = wanted;
    return 0;
}

/** Zeroed, with its name; put at its place. */
static void *insert(const struct sonde_alloc *alloc, void **items, size_t *count, size_t at, const char *name,
                    size_t size) {
    size_t name_size = strlen(name) + 1;
    char *copy = sonde_alloc_new(alloc, name_size);
    struct named *item = sonde_alloc_new(alloc, size);
    if (!copy || !item) {
        sonde_alloc_free(alloc, copy);
        sonde_alloc_free(alloc, item);
        return NULL;
    }
    memcpy(copy, name, name_size);
    memset(item, 0, size);
    item->name = copy;
    memmove(items + at + 1, items + at, (*count - at) * sizeof *items);
    items[at] = item;
    (*count)++;
    return item;
}

struct sonde__kafka_topic *sonde__kafka_book_topic(const struct sonde__kafka_book *book, const char *name) {
    bool found;
    size_t at = find((void *const *)book->topics, book->topic_count, name, &found);
    return found ? book->topics[at] : NULL;
}
struct sonde__kafka_group *sonde__kafka_book_group(const struct sonde__kafka_book *book, const char *name) {
    bool found;
    size_t at = find((void *const *)book->groups, book->group_count, name, &found);
    return found ? book->groups[at] : NULL;
}

struct sonde__kafka_topic *sonde__kafka_book_add_topic(struct sonde__kafka_book *book, const char *name,
                                                       bool *ret_new) {
    bool found;
    size_t at = find((void *const *)book->topics, book->topic_count, name, &found);
    if (ret_new)
        *ret_new = !found;
    if (found)
        return book->topics[at];
    if (table_reserve(book->alloc, (void ***)&book->topics, book->topic_count, &book->topic_capacity) != 0)
        return NULL;
    struct sonde__kafka_topic *topic =
        insert(book->alloc, (void **)book->topics, &book->topic_count, at, name, sizeof *topic);
    if (topic)
        topic->wanted = book->look;
    return topic;
}

struct sonde__kafka_group *sonde__kafka_book_add_group(struct sonde__kafka_book *book, const char *name,
                                                       bool *ret_new) {
    bool found;
    size_t at = find((void *const *)book->groups, book->group_count, name, &found);
    if (ret_new)
        *ret_new = !found;
    if (found)
        return book->groups[at];
    if (table_reserve(book->alloc, (void ***)&book->groups, book->group_count, &book->group_capacity) != 0)
        return NULL;
    struct sonde__kafka_group *group =
        insert(book->alloc, (void **)book->groups, &book->group_count, at, name, sizeof *group);
    if (group)
        group->members = group->coordinator = -1;
    return group;
}

int sonde__kafka_topic_grow(const struct sonde__kafka_book *book, struct sonde__kafka_topic *topic, uint32_t count) {
    if (count <= topic->partition_count)
        return 0;
    if (count > SONDE__KAFKA_PARTITION_MAX)
        return -ERANGE;
    struct sonde__kafka_partition *partitions =
        book->alloc->resize(book->alloc->self, topic->partitions, count * sizeof *partitions);
    if (!partitions)
        return -ENOMEM;
    for (uint32_t i = topic->partition_count; i < count; i++)
        partitions[i] = (struct sonde__kafka_partition){.offsets = {-1, -1, -1}, .leader = -1};
    topic->partitions = partitions;
    topic->partition_count = count;
    return 0;
}

static void topic_free(const struct sonde__kafka_book *book, struct sonde__kafka_topic *topic) {
    for (uint32_t i = 0; i < topic->partition_count; i++)
        sonde__kafka_history_deinit(&topic->partitions[i].history, book->alloc);
    sonde_alloc_free(book->alloc, topic->partitions);
    sonde_alloc_free(book->alloc, topic->name);
    sonde_alloc_free(book->alloc, topic);
}
static void group_free(struct sonde__kafka_book *book, struct sonde__kafka_group *group) {
    book->commit_count -= group->commit_count;
    sonde_alloc_free(book->alloc, group->commits);
    sonde_alloc_free(book->alloc, group->name);
    sonde_alloc_free(book->alloc, group);
}

void sonde__kafka_book_deinit(struct sonde__kafka_book *book) {
    for (size_t i = 0; i < book->group_count; i++)
        group_free(book, book->groups[i]);
    for (size_t i = 0; i < book->topic_count; i++)
        topic_free(book, book->topics[i]);
    if (book->alloc) {
        sonde_alloc_free(book->alloc, book->groups);
        sonde_alloc_free(book->alloc, book->topics);
    }
    *book = (struct sonde__kafka_book){.alloc = book->alloc};
}

/* --- commits --- */

static int order_of(const struct sonde__kafka_commit *commit, const struct sonde__kafka_topic *topic,
                    int32_t partition) {
    if (commit->topic != topic)
        return strcmp(commit->topic->name, topic->name);
    return (commit->partition > partition) - (commit->partition < partition);
}
static int compare(const void *a, const void *b) {
    const struct sonde__kafka_commit *right = b;
    return order_of(a, right->topic, right->partition);
}

static struct sonde__kafka_commit *commit_find(const struct sonde__kafka_group *group,
                                               const struct sonde__kafka_topic *topic, int32_t partition,
                                               uint32_t sorted_count) {
    uint32_t low = 0, high = sorted_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = order_of(&group->commits[middle], topic, partition);
        if (order == 0)
            return &group->commits[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct sonde__kafka_commit *sonde__kafka_group_commit(struct sonde__kafka_book *book, struct sonde__kafka_group *group,
                                                      struct sonde__kafka_topic *topic, int32_t partition,
                                                      uint32_t sorted_count) {
    struct sonde__kafka_commit *found = commit_find(group, topic, partition, sorted_count);
    if (found)
        return found;
    if (group->commit_count == group->commit_capacity) {
        uint32_t capacity = group->commit_capacity ? group->commit_capacity * 2 : 4;
        void *commits =
            book->alloc->resize(book->alloc->self, group->commits, (size_t)capacity * sizeof *group->commits);
        if (!commits)
            return NULL;
        group->commits = commits;
        group->commit_capacity = capacity;
    }
    book->commit_count++;
    found = &group->commits[group->commit_count++];
    *found = (struct sonde__kafka_commit){
        .topic = topic, .partition = partition, .committed = -1, .moved_end = -1, .record_age = NAN};
    return found;
}

void sonde__kafka_group_sort(struct sonde__kafka_book *book, struct sonde__kafka_group *group) {
    bool sorted = true;
    for (uint32_t i = 1; i < group->commit_count && sorted; i++)
        sorted = compare(&group->commits[i - 1], &group->commits[i]) < 0;
    if (sorted)
        return;
    qsort(group->commits, group->commit_count, sizeof *group->commits, compare);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < group->commit_count; i++) /* a partition that was told of twice */
        if (compare(&group->commits[kept - 1], &group->commits[i]) != 0)
            group->commits[kept++] = group->commits[i];
    book->commit_count -= group->commit_count - kept;
    group->commit_count = kept;
}

void sonde__kafka_group_settle(struct sonde__kafka_book *book, struct sonde__kafka_group *group) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < group->commit_count; i++)
        if (group->commits[i].seen == book->look) {
            if (kept != i)
                group->commits[kept] = group->commits[i];
            kept++;
        }
    book->commit_count -= group->commit_count - kept;
    group->commit_count = kept;
    sonde__kafka_group_sort(book, group);
}

void sonde__kafka_book_prune(struct sonde__kafka_book *book,
                             bool (*gone)(void *user, const struct sonde__kafka_group *group), void *user,
                             uint32_t looks) {
    size_t kept = 0;
    for (size_t i = 0; i < book->group_count; i++) {
        struct sonde__kafka_group *group = book->groups[i];
        if (gone(user, group)) {
            group_free(book, group);
            continue;
        }
        for (uint32_t j = 0; j < group->commit_count; j++)
            group->commits[j].topic->wanted = book->look;
        book->groups[kept++] = group;
    }
    book->group_count = kept;
    kept = 0;
    for (size_t i = 0; i < book->topic_count; i++) {
        if (book->look - book->topics[i]->wanted > looks)
            topic_free(book, book->topics[i]);
        else
            book->topics[kept++] = book->topics[i];
    }
    book->topic_count = kept;
}
