/* SPDX-License-Identifier: Apache-2.0 */
/* Amazon SQS: what waits in queues. One poll: keys, the queues (listed by prefix, or named), the attributes of each with
 * few requests under way at a time, and at most once a minute what only CloudWatch knows. Dead-letter queues are told by
 * the queues that use them, and looked at as well.
 *
 *   keys -> list, page by page, prefix by prefix -> [url ->] attributes of each -> [CloudWatch] -> series
 *
 * A dead-letter queue that one queue uses is that queue's messages in state dead_lettered; one that several share is not
 * split: it has its own name in that state. Neither is a queue with ready messages beside that, so that sums over states
 * are what there is. All counts are AWS's approximations. */
#include "agent/collect/aws_cloudwatch.h"
#include "agent/collect/aws_settings.h"
#include "agent/collect/filter.h"
#include "agent/collect/sqs_queues.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S      1000000000ull
#define IN_FLIGHT_MAX 64
#define LIST_PAGE     1000
#define AGE_VALID_S   600 /* what CloudWatch knew last is told for so long */

struct sqs_config {
    struct sonde__aws_settings aws;
    struct sonde_string_list queues, prefixes, include, exclude;
    uint64_t interval_ns, cloudwatch_interval_ns;
    int64_t queues_max, in_flight_max;
    bool cloudwatch;
};

#define AT(field) offsetof(struct sqs_config, field)
static const struct sonde_option sqs_options[] = {
    SONDE__AWS_OPTIONS(sqs_config),
    {.key = "queues",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(queues),
     .default_text = "",
     .sentence = "Queues to watch, by name or URL, beside those that are listed."},
    {.key = "prefixes",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(prefixes),
     .default_text = "",
     .sentence = "Beginnings of names of queues to list; none = all queues when none are named, else no listing."},
    {.key = "include",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(include),
     .default_text = "",
     .sentence = "Regular expressions (POSIX extended, of whole names) of those listed; none = all."},
    {.key = "exclude",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(exclude),
     .default_text = "",
     .sentence = "Regular expressions of names that are left out, though included."},
    {.key = "queues_max",
     .type = SONDE_OPTION_INT,
     .offset = AT(queues_max),
     .min = 1,
     .max = 65536,
     .default_text = "1000",
     .sentence = "Queues watched at most, dead-letter queues too; more are left out and told."},
    {.key = "in_flight_max",
     .type = SONDE_OPTION_INT,
     .offset = AT(in_flight_max),
     .min = 1,
     .max = IN_FLIGHT_MAX,
     .default_text = "8",
     .sentence = "Requests under way at a time."},
    {.key = "interval",
     .type = SONDE_OPTION_DURATION,
     .offset = AT(interval_ns),
     .min = 1e2,
     .max = 3.6e6,
     .default_text = "60s",
     .sentence = "Time between the starts of two polls; a poll costs a request per queue, which AWS charges for."},
    {.key = "cloudwatch",
     .type = SONDE_OPTION_BOOL,
     .offset = AT(cloudwatch),
     .default_text = "false",
     .sentence =
         "Whether CloudWatch is asked for the age of the oldest message of queues that are not empty; AWS charges "
         "for each queue each time."},
    {.key = "cloudwatch_interval",
     .type = SONDE_OPTION_DURATION,
     .offset = AT(cloudwatch_interval_ns),
     .min = 6e4,
     .max = 3.6e6,
     .default_text = "60s",
     .sentence = "Time between two questions to CloudWatch."},
    SONDE_OPTION_END,
};

struct sqs_collector;
struct slot {
    struct sonde__aws_call call;
    struct sqs_collector *collector;
    struct sonde__sqs_queue *queue; /* NULL = free */
};

struct sqs_collector {
    const struct sqs_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde__aws_access access;
    struct sonde__filter filter;
    const struct sonde__aws_keys *keys; /* of this poll */
    struct sonde__sqs_queues queues;
    struct sonde__aws_call listing;
    size_t prefix; /* that is being listed */
    struct slot slots[IN_FLIGHT_MAX];
    size_t in_flight;
    char account[16];
    struct sonde__cloudwatch cloudwatch;
    struct sonde__cloudwatch_query *asked; /* owned; of this poll */
    uint64_t cloudwatch_next_ns;
};

/* --- the end of a poll: series --- */

static void set(struct sqs_collector *collector, enum sonde__messaging_metric metric, const char *name,
                const char *state, double value) {
    const struct sonde__messaging_of of = {.destination = {.data = name, .size = strlen(name)}, .state = state};
    sonde__poll_set(collector->poll, metric, &of, value);
}

static bool is_empty(const struct sonde__sqs_queue *queue) {
    return queue->known && queue->ready + queue->unacked == 0;
}

static void set_queue(struct sqs_collector *collector, const struct sonde__sqs_queue *queue, int64_t now_s) {
    if (queue->shown && !queue->sources && queue->known) {
        set(collector, SONDE__MESSAGING_LAG, queue->name, NULL, (double)queue->ready);
        set(collector, SONDE__MESSAGING_QUEUE_MESSAGE, queue->name, "ready", (double)queue->ready);
        set(collector, SONDE__MESSAGING_QUEUE_MESSAGE, queue->name, "unacked", (double)queue->unacked);
        set(collector, SONDE__MESSAGING_QUEUE_MESSAGE, queue->name, "scheduled", (double)queue->scheduled);
        if (is_empty(queue) && collector->config->cloudwatch)
            set(collector, SONDE__MESSAGING_OLDEST_AGE, queue->name, NULL, 0);
        else if (queue->age_minute_s && now_s - queue->age_minute_s <= AGE_VALID_S)
            set(collector, SONDE__MESSAGING_OLDEST_AGE, queue->name, NULL, queue->age_s);
    }
    const struct sonde__sqs_queue *dead = queue->dead_letters;
    if (dead && dead->known && dead->sources == 1)
        set(collector, SONDE__MESSAGING_QUEUE_MESSAGE, queue->name, "dead_lettered",
            (double)(dead->ready + dead->unacked + dead->scheduled));
    if (queue->sources > 1 && queue->known)
        set(collector, SONDE__MESSAGING_QUEUE_MESSAGE, queue->name, "dead_lettered",
            (double)(queue->ready + queue->unacked + queue->scheduled));
}

static int64_t now_s(const struct sqs_collector *collector) {
    return (int64_t)(sonde__poll_now_unix_ns(collector->poll) / NS_PER_S);
}

static void asked_free(struct sqs_collector *collector) {
    sonde_alloc_free(&collector->env.seams->alloc, collector->asked);
    collector->asked = NULL;
}

static void finish(struct sqs_collector *collector) {
    struct sonde__sqs_queue *queue;
    int64_t now = now_s(collector);
    asked_free(collector);
    sonde__sqs_queues_sweep(&collector->queues);
    STAILQ_FOREACH(queue, &collector->queues.all, link) {
        if (is_empty(queue)) {
            queue->empty_s = now;
            queue->age_minute_s = 0;
        }
        set_queue(collector, queue, now);
    }
    sonde__poll_done(collector->poll);
}

/* --- CloudWatch --- */

static void on_point(struct sonde__cloudwatch *cloudwatch, const struct sonde__cloudwatch_query *query,
                     int64_t minute_s, double value) {
    struct sonde__sqs_queue *queue = query->user;
    (void)cloudwatch;
    if (minute_s < queue->age_minute_s || minute_s < queue->empty_s)
        return;
    queue->age_minute_s = minute_s;
    queue->age_s = value;
}

/** The counts are good without it: what is wrong is noted, and not asked again before the interval is over. */
static void on_cloudwatch(struct sonde__cloudwatch *cloudwatch, const struct sonde__aws_answer *answer) {
    struct sqs_collector *collector = cloudwatch->user;
    if (answer->error_type)
        sonde__poll_note(collector->poll, answer->error_type, answer->text);
    finish(collector);
}

static void cloudwatch_or_finish(struct sqs_collector *collector) {
    uint64_t now = sonde__poll_now_ns(collector->poll);
    struct sonde__sqs_queue *queue;
    size_t count = 0;
    if (collector->config->cloudwatch && now >= collector->cloudwatch_next_ns && collector->queues.count)
        collector->asked =
            sonde_alloc_new(&collector->env.seams->alloc, collector->queues.count * sizeof *collector->asked);
    if (!collector->asked) {
        finish(collector);
        return;
    }
    collector->cloudwatch_next_ns = now + collector->config->cloudwatch_interval_ns;
    STAILQ_FOREACH(queue, &collector->queues.all, link)
    if (queue->known && queue->shown && !queue->sources && !is_empty(queue))
        collector->asked[count++] =
            (struct sonde__cloudwatch_query){"ApproximateAgeOfOldestMessage", "Maximum", queue->name, queue};
    int64_t minute_s = now_s(collector) / SONDE__CLOUDWATCH_PERIOD_S * SONDE__CLOUDWATCH_PERIOD_S;
    int error = count ? sonde__cloudwatch_start(&collector->cloudwatch, collector->keys, collector->asked, count,
                                                minute_s - AGE_VALID_S, minute_s + SONDE__CLOUDWATCH_PERIOD_S)
                      : 0;
    if (error)
        sonde__poll_note(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
    if (error || !count)
        finish(collector);
}

/* --- attributes --- */

static void pump(struct sqs_collector *collector);

static struct sonde__sqs_queue *see(struct sqs_collector *collector, const char *name, const char *account,
                                    const char *url) {
    int error;
    struct sonde__sqs_queue *queue = sonde__sqs_queues_see(&collector->queues, name, account, url, &error);
    if (!queue && error == SONDE_EFULL)
        sonde__poll_truncated(collector->poll);
    else if (!queue)
        sonde__poll_note(collector->poll, error == -ENOMEM ? SONDE__TROUBLE_MEMORY : SONDE__TROUBLE_PROTOCOL,
                         error == -ENOMEM ? sonde_strerror(error) : "a queue's name or URL is not as documented");
    return queue;
}

static void attributes_take(struct sqs_collector *collector, struct sonde__sqs_queue *queue, const json_t *root) {
    char arn[256], account[16];
    const char *name;
    if (!sonde__sqs_attributes_read(root, queue, arn, sizeof arn)) {
        sonde__poll_note(collector->poll, SONDE__TROUBLE_PROTOCOL, "attributes of a queue are missing or no numbers");
        return;
    }
    queue->known = true;
    if (!*collector->account && sonde__sqs_arn_read(queue->arn, "sqs", account, sizeof account, &name)) {
        memcpy(collector->account, account, sizeof account);
        sonde__poll_identify(collector->poll,
                             sonde_attribute_string(SONDE_KEY("cloud.account.id"), collector->account));
    }
    if (*arn && sonde__sqs_arn_read(arn, "sqs", account, sizeof account, &name))
        queue->dead_letters = see(collector, name, account, "");
    if (queue->dead_letters)
        queue->dead_letters->sources++;
}

static void url_take(struct sqs_collector *collector, struct sonde__sqs_queue *queue, const json_t *root) {
    const char *url = json_string_value(json_object_get(root, "QueueUrl"));
    if (!url || !*url || strlen(url) >= sizeof queue->url) {
        sonde__poll_note(collector->poll, SONDE__TROUBLE_PROTOCOL, "a queue's URL is missing or too long");
        return;
    }
    (void)snprintf(queue->url, sizeof queue->url, "%s", url);
    queue->need = SONDE__SQS_ATTRIBUTES;
    sonde__sqs_queues_again(&collector->queues, queue);
}

/** Whether the trouble is this queue's alone. */
static bool is_of_queue(const struct sonde__aws_answer *answer) {
    return strcmp(answer->error_type, SONDE__TROUBLE_NOT_FOUND) == 0 || answer->is_denied;
}

static void on_queue(struct sonde__aws_call *call, const struct sonde__aws_answer *answer) {
    struct slot *slot = call->user;
    struct sqs_collector *collector = slot->collector;
    struct sonde__sqs_queue *queue = slot->queue;
    slot->queue = NULL;
    collector->in_flight--;
    if (answer->error_type && !is_of_queue(answer)) {
        sonde__aws_access_fail(&collector->access, collector->poll, answer);
        return;
    }
    if (answer->error_type) { /* gone since it was listed, made again under another URL, or not for us */
        sonde__poll_note(collector->poll, answer->error_type, answer->text);
        queue->url[0] = '\0';
    } else if (queue->need == SONDE__SQS_URL) {
        url_take(collector, queue, answer->root);
    } else {
        attributes_take(collector, queue, answer->root);
    }
    pump(collector);
}

static json_t *queue_body(const struct sonde__sqs_queue *queue) {
    if (queue->need == SONDE__SQS_ATTRIBUTES)
        return json_pack("{s:s, s:[s,s,s,s,s]}", "QueueUrl", queue->url, "AttributeNames", "QueueArn", "RedrivePolicy",
                         "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
                         "ApproximateNumberOfMessagesDelayed");
    if (*queue->account)
        return json_pack("{s:s, s:s}", "QueueName", queue->name, "QueueOwnerAWSAccountId", queue->account);
    return json_pack("{s:s}", "QueueName", queue->name);
}

static void pump(struct sqs_collector *collector) {
    for (size_t i = 0; i < (size_t)collector->config->in_flight_max; i++) {
        struct slot *slot = &collector->slots[i];
        if (slot->queue)
            continue;
        slot->queue = sonde__sqs_queues_work(&collector->queues);
        if (!slot->queue)
            break;
        slot->call.user = slot;
        slot->call.done = on_queue;
        collector->in_flight++;
        const char *action = slot->queue->need == SONDE__SQS_URL ? "GetQueueUrl" : "GetQueueAttributes";
        int error = sonde__aws_call_json(&slot->call, &collector->access.service, collector->keys, action,
                                         queue_body(slot->queue));
        if (error) {
            sonde__poll_fail(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
            return;
        }
    }
    if (!collector->in_flight)
        cloudwatch_or_finish(collector);
}

/* --- listing --- */

static void list_next(struct sqs_collector *collector, const json_t *next_token);

static void on_list(struct sonde__aws_call *call, const struct sonde__aws_answer *answer) {
    struct sqs_collector *collector = call->user;
    if (answer->error_type) {
        sonde__aws_access_fail(&collector->access, collector->poll, answer);
        return;
    }
    const json_t *urls = json_object_get(answer->root, "QueueUrls"), *next = json_object_get(answer->root, "NextToken");
    for (size_t i = 0; i < json_array_size(urls); i++) { /* no member: no queues */
        const char *url = json_string_value(json_array_get(urls, i)), *name = sonde__sqs_name_of(url ? url : "");
        if (!sonde__filter_passes(&collector->filter, name))
            continue;
        struct sonde__sqs_queue *queue = see(collector, name, "", url ? url : "");
        if (queue)
            queue->shown = true;
    }
    if (!json_string_length(next))
        collector->prefix++;
    list_next(collector, json_string_length(next) ? next : NULL);
}

static void list_next(struct sqs_collector *collector, const json_t *next_token) {
    const struct sqs_config *config = collector->config;
    size_t lists = config->prefixes.count ? config->prefixes.count : config->queues.count ? 0 : 1;
    if (collector->prefix >= lists) {
        pump(collector);
        return;
    }
    json_t *root = json_pack("{s:i}", "MaxResults", LIST_PAGE);
    int error = root ? 0 : -ENOMEM;
    if (!error && config->prefixes.count)
        error = json_object_set_new(root, "QueueNamePrefix", json_string(config->prefixes.items[collector->prefix]));
    if (!error && next_token)
        error = json_object_set_new(root, "NextToken", json_copy((json_t *)next_token));
    collector->listing.user = collector;
    collector->listing.done = on_list;
    if (!error)
        error =
            sonde__aws_call_json(&collector->listing, &collector->access.service, collector->keys, "ListQueues", root);
    else
        json_decref(root);
    if (error)
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
}

static void on_keys(void *user, const struct sonde__aws_keys *keys, const char *error_type, const char *text) {
    struct sqs_collector *collector = user;
    const struct sonde_string_list *named = &collector->config->queues;
    if (!keys) {
        sonde__poll_fail(collector->poll, error_type, text);
        return;
    }
    collector->keys = keys;
    sonde__sqs_queues_unsee(&collector->queues);
    for (size_t i = 0; i < named->count; i++) {
        bool is_url = strchr(named->items[i], '/') != NULL;
        struct sonde__sqs_queue *queue =
            see(collector, sonde__sqs_name_of(named->items[i]), "", is_url ? named->items[i] : "");
        if (queue)
            queue->shown = true;
    }
    collector->prefix = 0;
    list_next(collector, NULL);
}

static void start(void *user) {
    struct sqs_collector *collector = user;
    sonde__aws_credentials_get(collector->access.credentials, on_keys, collector);
}

static void abort_all(void *user) {
    struct sqs_collector *collector = user;
    if (collector->access.credentials)
        sonde__aws_credentials_cancel(collector->access.credentials);
    sonde__aws_call_cancel(&collector->listing);
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
        sonde__aws_call_cancel(&collector->slots[i].call);
        collector->slots[i].queue = NULL;
    }
    collector->in_flight = 0;
    sonde__cloudwatch_cancel(&collector->cloudwatch);
    asked_free(collector);
}

/* --- life --- */

static void sqs_destroy(void *self) {
    struct sqs_collector *collector = self;
    if (!collector)
        return;
    abort_all(collector);
    sonde__poll_destroy(collector->poll);
    sonde__aws_access_deinit(&collector->access);
    sonde__filter_deinit(&collector->filter, &collector->env.seams->alloc);
    sonde__sqs_queues_deinit(&collector->queues);
    sonde_alloc_free(&collector->env.seams->alloc, collector);
}

static int parts_create(struct sqs_collector *collector, char *error_text, size_t error_text_size) {
    const struct sqs_config *config = collector->config;
    struct sonde__aws_access *access = &collector->access;
    int error =
        sonde__aws_access_init(access, &config->aws, &collector->env, "sqs", "AmazonSQS", error_text, error_text_size);
    if (!error)
        error = sonde__filter_init(&collector->filter, &collector->env.seams->alloc, &config->include, &config->exclude,
                                   error_text, error_text_size);
    if (error)
        return error;
    collector->cloudwatch = (struct sonde__cloudwatch){.service = &access->cloudwatch,
                                                       .space = "AWS/SQS",
                                                       .dimension = "QueueName",
                                                       .point = on_point,
                                                       .done = on_cloudwatch,
                                                       .user = collector};
    const struct sonde__endpoint *endpoint = &access->service.endpoint;
    const struct sonde__poll_config poll = {
        .env = &collector->env,
        .system = "aws_sqs",
        .address = endpoint->url,
        .common = {sonde_attribute_string(SONDE_KEY("server.address"), endpoint->host),
                   sonde_attribute_int64(SONDE_KEY("server.port"), endpoint->port),
                   sonde_attribute_string(SONDE_KEY("cloud.region"), access->region)},
        .common_count = 3,
        .interval_ns = config->interval_ns,
        .timeout_ns = config->aws.timeout_ns,
        .start = start,
        .abort = abort_all,
        .user = collector,
    };
    return sonde__poll_create(&poll, &collector->poll);
}

static int sqs_create(const void *config, const struct sonde_collector_env *env, void **ret_self, char *error_text,
                      size_t error_text_size) {
    struct sqs_collector *collector = sonde_alloc_new(&env->seams->alloc, sizeof *collector);
    if (!collector)
        return -ENOMEM;
    memset(collector, 0, sizeof *collector);
    collector->config = config;
    collector->env = *env;
    sonde__sqs_queues_init(&collector->queues, &env->seams->alloc, (size_t)collector->config->queues_max);
    for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
        collector->slots[i].collector = collector;
    int error = parts_create(collector, error_text, error_text_size);
    if (error) {
        sqs_destroy(collector);
        return error;
    }
    *ret_self = collector;
    return 0;
}

static void sqs_status(void *self, struct sonde_collector_status *ret_status) {
    sonde__poll_status(((struct sqs_collector *)self)->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_sqs = {
    .name = "sqs",
    .summary = "Amazon SQS: messages that wait, are in flight, scheduled and dead-lettered",
    .config_size = sizeof(struct sqs_config),
    .options = sqs_options,
    .create = sqs_create,
    .status = sqs_status,
    .destroy = sqs_destroy,
};
