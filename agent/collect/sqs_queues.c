/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/sqs_queues.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sonde__sqs_queues_init(struct sonde__sqs_queues *queues, const struct sonde_alloc *alloc, size_t max) {
    *queues = (struct sonde__sqs_queues){.alloc = alloc, .max = max};
    STAILQ_INIT(&queues->all);
    STAILQ_INIT(&queues->work);
}

void sonde__sqs_queues_unsee(struct sonde__sqs_queues *queues) {
    struct sonde__sqs_queue *queue;
    STAILQ_INIT(&queues->work);
    STAILQ_FOREACH(queue, &queues->all, link) {
        queue->seen = queue->shown = queue->known = false;
        queue->dead_letters = NULL;
        queue->sources = 0;
    }
}

static size_t bucket_of(const char *name) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % SONDE__SQS_BUCKETS;
}

static void drop(struct sonde__sqs_queues *queues, struct sonde__sqs_queue *queue) {
    struct sonde__sqs_queue **at = &queues->buckets[bucket_of(queue->name)];
    while (*at != queue)
        at = &(*at)->next_same;
    *at = queue->next_same;
    queues->count--;
    sonde_alloc_free(queues->alloc, queue);
}

void sonde__sqs_queues_sweep(struct sonde__sqs_queues *queues) {
    struct sonde__sqs_queue_list kept = STAILQ_HEAD_INITIALIZER(kept);
    struct sonde__sqs_queue *queue;
    while ((queue = STAILQ_FIRST(&queues->all))) {
        STAILQ_REMOVE_HEAD(&queues->all, link);
        if (queue->seen)
            STAILQ_INSERT_TAIL(&kept, queue, link);
        else
            drop(queues, queue);
    }
    STAILQ_CONCAT(&queues->all, &kept);
}

void sonde__sqs_queues_deinit(struct sonde__sqs_queues *queues) {
    sonde__sqs_queues_unsee(queues);
    sonde__sqs_queues_sweep(queues);
}

static bool name_is_good(const char *name) {
    size_t size = strlen(name);
    return size >= 1 && size <= 85 &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") == size;
}

static struct sonde__sqs_queue *add(struct sonde__sqs_queues *queues, const char *name, const char *account,
                                    int *ret_error) {
    *ret_error = queues->count >= queues->max ? SONDE_EFULL : -ENOMEM;
    struct sonde__sqs_queue *queue = queues->count < queues->max ? sonde_alloc_new(queues->alloc, sizeof *queue) : NULL;
    if (!queue)
        return NULL;
    memset(queue, 0, sizeof *queue);
    (void)snprintf(queue->name, sizeof queue->name, "%s", name);
    (void)snprintf(queue->account, sizeof queue->account, "%s", account);
    size_t bucket = bucket_of(name);
    queue->next_same = queues->buckets[bucket];
    queues->buckets[bucket] = queue;
    STAILQ_INSERT_TAIL(&queues->all, queue, link);
    queues->count++;
    return queue;
}

/** Accounts are told by ARNs only: "" fits any. */
static bool same(const struct sonde__sqs_queue *queue, const char *name, const char *account) {
    return strcmp(queue->name, name) == 0 && (!*account || !*queue->account || strcmp(queue->account, account) == 0);
}

struct sonde__sqs_queue *sonde__sqs_queues_see(struct sonde__sqs_queues *queues, const char *name, const char *account,
                                               const char *url, int *ret_error) {
    *ret_error = SONDE_EINVALID;
    if (!name_is_good(name) || strlen(account) >= sizeof queues->all.stqh_first->account ||
        strlen(url) >= sizeof queues->all.stqh_first->url)
        return NULL;
    struct sonde__sqs_queue *queue = queues->buckets[bucket_of(name)];
    while (queue && !same(queue, name, account))
        queue = queue->next_same;
    if (!queue)
        queue = add(queues, name, account, ret_error);
    if (!queue)
        return NULL;
    if (*url)
        (void)snprintf(queue->url, sizeof queue->url, "%s", url);
    if (!queue->seen) {
        queue->need = *queue->url ? SONDE__SQS_ATTRIBUTES : SONDE__SQS_URL;
        STAILQ_INSERT_TAIL(&queues->work, queue, work_link);
    }
    queue->seen = true;
    return queue;
}

struct sonde__sqs_queue *sonde__sqs_queues_work(struct sonde__sqs_queues *queues) {
    struct sonde__sqs_queue *queue = STAILQ_FIRST(&queues->work);
    if (queue)
        STAILQ_REMOVE_HEAD(&queues->work, work_link);
    return queue;
}

void sonde__sqs_queues_again(struct sonde__sqs_queues *queues, struct sonde__sqs_queue *queue) {
    STAILQ_INSERT_TAIL(&queues->work, queue, work_link);
}

/* --- what comes back --- */

const char *sonde__sqs_name_of(const char *text) {
    const char *last = text;
    for (; *text; text++)
        if (*text == '/' || *text == ':')
            last = text + 1;
    return last;
}

bool sonde__sqs_arn_read(const char *arn, const char *service, char *ret_account, size_t account_size,
                         const char **ret_name) {
    const char *at = arn, *parts[6] = {arn};
    size_t service_size = strlen(service);
    for (int i = 1; i < 6; i++) {
        at = strchr(at, ':');
        if (!at)
            return false;
        parts[i] = ++at;
    }
    size_t size = (size_t)(parts[5] - parts[4] - 1);
    if (strncmp(arn, "arn:", 4) != 0 || strncmp(parts[2], service, service_size) != 0 ||
        parts[2][service_size] != ':' || size >= account_size || !*parts[5])
        return false;
    memcpy(ret_account, parts[4], size);
    ret_account[size] = '\0';
    *ret_name = parts[5];
    return true;
}

/** Numbers arrive as strings; some servers send numbers. */
static bool number_read(const json_t *attributes, const char *key, int64_t *ret_number) {
    const json_t *value = json_object_get(attributes, key);
    const char *text = json_string_value(value);
    char *end = NULL;
    errno = 0;
    long long number = text && *text >= '0' && *text <= '9' ? strtoll(text, &end, 10)
                       : json_is_integer(value)             ? json_integer_value(value)
                                                            : -1;
    if (number < 0 || number > (1ll << 53) || errno || (end && *end))
        return false;
    *ret_number = number;
    return true;
}

static void dead_letters_read(const json_t *attributes, char *ret_arn, size_t size) {
    const json_t *policy = json_object_get(attributes, "RedrivePolicy");
    json_t *inside =
        json_is_string(policy) ? json_loadb(json_string_value(policy), json_string_length(policy), 0, NULL) : NULL;
    const char *arn = json_string_value(json_object_get(inside, "deadLetterTargetArn"));
    (void)snprintf(ret_arn, size, "%s", arn && strlen(arn) < size ? arn : "");
    json_decref(inside);
}

bool sonde__sqs_attributes_read(const json_t *root, struct sonde__sqs_queue *queue, char *ret_dead_letter_arn,
                                size_t size) {
    const json_t *attributes = json_object_get(root, "Attributes");
    const char *arn = json_string_value(json_object_get(attributes, "QueueArn"));
    if (arn && strlen(arn) < sizeof queue->arn)
        (void)snprintf(queue->arn, sizeof queue->arn, "%s", arn);
    dead_letters_read(attributes, ret_dead_letter_arn, size);
    return number_read(attributes, "ApproximateNumberOfMessages", &queue->ready) &&
           number_read(attributes, "ApproximateNumberOfMessagesNotVisible", &queue->unacked) &&
           number_read(attributes, "ApproximateNumberOfMessagesDelayed", &queue->scheduled);
}
