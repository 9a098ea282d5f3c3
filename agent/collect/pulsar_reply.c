/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/pulsar_reply.h"
#include <jansson.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX  9007199254740992 /* 2^53: what a double counts exactly */
#define UNKNOWN    (-1)
#define PARTITIONS 65536u /* read of one topic at most */

static json_t *load(const void *body, size_t size) {
    return size ? json_loadb(body, size, 0, NULL) : NULL;
}

static int64_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    json_int_t count = json_is_integer(value) ? json_integer_value(value) : UNKNOWN;
    return count >= 0 && count <= EXACT_MAX ? (int64_t)count : UNKNOWN;
}

int sonde__pulsar_read_names(const void *body, size_t size, void (*name)(void *user, const char *text), void *user) {
    json_t *root = load(body, size);
    int error = json_is_array(root) ? 0 : SONDE_EMALFORMED;
    for (size_t i = 0; !error && i < json_array_size(root); i++) {
        const char *text = json_string_value(json_array_get(root, i));
        if (text && *text)
            name(user, text);
    }
    json_decref(root);
    return error;
}

/** Unknown and something is something: a partition that is not loaded says nothing. */
static void add(int64_t *sum, int64_t more) {
    if (more >= 0)
        *sum = *sum < 0 ? more : *sum + more > EXACT_MAX ? EXACT_MAX : *sum + more;
}

/** Takes one partition's subscription into the sum, and its consumers' names into a set. */
static void subscription_add(struct sonde__pulsar_subscription *sum, const json_t *stats, json_t *names) {
    add(&sum->backlog, count_of(stats, "msgBacklog"));
    add(&sum->unacked, count_of(stats, "unackedMessages"));
    add(&sum->delayed, count_of(stats, "msgDelayed"));
    add(&sum->delivered, count_of(stats, "msgOutCounter"));
    add(&sum->expired, count_of(stats, "totalMsgExpired"));
    sum->blocked |= json_is_true(json_object_get(stats, "blockedSubscriptionOnUnackedMsgs"));
    int64_t earliest = count_of(stats, "earliestMsgPublishTimeInBacklog");
    if (earliest > 0 && (sum->earliest_unix_ms == 0 || earliest < sum->earliest_unix_ms))
        sum->earliest_unix_ms = earliest;
    const json_t *consumers = json_object_get(stats, "consumers");
    for (size_t i = 0; i < json_array_size(consumers); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(consumers, i), "consumerName"));
        if (name && *name)
            (void)json_object_set_new(names, name, json_null()); /* no memory: one less is counted */
        else
            sum->consumers++;
    }
}

static struct sonde__pulsar_subscription nothing(const char *name) {
    size_t size = strlen(name);
    if (size > SONDE__PULSAR_NAME_SIZE_MAX)
        size = SONDE__PULSAR_NAME_SIZE_MAX;
    return (struct sonde__pulsar_subscription){.name = {name, size},
                                               .backlog = UNKNOWN,
                                               .unacked = UNKNOWN,
                                               .delayed = UNKNOWN,
                                               .delivered = UNKNOWN,
                                               .expired = UNKNOWN};
}

/** A subscription of one topic that has no partitions, or of one partition. */
static void one_take(const char *partition, const char *name, const json_t *stats,
                     const struct sonde__pulsar_take *take) {
    json_t *names = json_object();
    struct sonde__pulsar_subscription subscription = nothing(name);
    subscription_add(&subscription, stats, names);
    subscription.consumers += (int64_t)json_object_size(names);
    json_decref(names);
    take->subscription(take->user, partition, &subscription);
}

/** The partition's number, as text; NULL when the name is none of a partition. */
static const char *partition_of(const char *topic) {
    const char *found = NULL;
    for (const char *at = topic; (at = strstr(at, "-partition-")); at++)
        found = at + sizeof "-partition-" - 1;
    return found && *found && strlen(found) <= 9 && strspn(found, "0123456789") == strlen(found) ? found : NULL;
}

static void plain_take(const json_t *root, const char *partition, const struct sonde__pulsar_take *take) {
    const char *name;
    json_t *stats, *subscriptions = json_object_get(root, "subscriptions");
    json_object_foreach(subscriptions, name, stats) one_take(partition, name, stats, take);
}

/** One subscription over all partitions. */
static void sum_take(const json_t *partitions, const char *name, const struct sonde__pulsar_take *take) {
    json_t *names = json_object();
    struct sonde__pulsar_subscription sum = nothing(name);
    const char *topic;
    json_t *partition;
    json_object_foreach((json_t *)(uintptr_t)partitions, topic, partition) {
        const json_t *stats = json_object_get(json_object_get(partition, "subscriptions"), name);
        if (stats)
            subscription_add(&sum, stats, names);
    }
    sum.consumers += (int64_t)json_object_size(names);
    json_decref(names);
    take->subscription(take->user, "", &sum);
}

static void partitioned_take(const json_t *root, bool per_partition, const struct sonde__pulsar_take *take) {
    json_t *partitions = json_object_get(root, "partitions"), *seen = json_object(), *partition, *stats;
    int64_t published = UNKNOWN, stored = UNKNOWN;
    const char *topic, *name;
    json_object_foreach(partitions, topic, partition) {
        add(&published, count_of(partition, "msgInCounter"));
        add(&stored, count_of(partition, "storageSize"));
        const char *number = partition_of(topic);
        if (per_partition && number)
            plain_take(partition, number, take);
        json_t *subscriptions = json_object_get(partition, "subscriptions");
        json_object_foreach(subscriptions, name, stats) {
            if (!json_object_get(seen, name))
                sum_take(partitions, name, take);
            (void)json_object_set_new(seen, name, json_null()); /* no memory: its series are set twice, to the same */
        }
    }
    json_decref(seen);
    take->topic(take->user, published, stored);
}

int sonde__pulsar_read_stats(const void *body, size_t size, bool partitioned, bool per_partition,
                             const struct sonde__pulsar_take *take) {
    json_t *root = load(body, size);
    json_t *part = json_object_get(root, partitioned ? "partitions" : "subscriptions");
    int error = json_is_object(part) && json_object_size(part) <= PARTITIONS ? 0 : SONDE_EMALFORMED;
    if (!error && partitioned)
        partitioned_take(root, per_partition, take);
    else if (!error) {
        plain_take(root, "", take);
        take->topic(take->user, count_of(root, "msgInCounter"), count_of(root, "storageSize"));
    }
    json_decref(root);
    return error;
}
