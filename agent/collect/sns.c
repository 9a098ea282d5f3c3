/* SPDX-License-Identifier: Apache-2.0 */
/* Amazon SNS: what topics take and hand on. SNS keeps no backlog that could be asked for: CloudWatch counts, minute by
 * minute, and its sums are added up here from the start on. What waits for a subscriber is in its queue (sqs.c).
 *
 *   keys -> ListTopics, page by page -> GetMetricData of the minutes that are complete since -> series
 *
 * Minutes are added once, when all of a poll is there: a poll that fails is made up for by the next. */
#include "agent/collect/aws_cloudwatch.h"
#include "agent/collect/aws_settings.h"
#include "agent/collect/filter.h"
#include "agent/collect/sqs_queues.h"
#include "agent/collect/xml.h"
#include "instrumentation/carrier/percent.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S   1000000000ull
#define BEFORE_S   600         /* minutes before the start that count, too: the first poll says something */
#define CATCH_UP_S (3 * 3600u) /* what was missed longer than that is not made up for */
#define TOPIC_MAX  257         /* AWS: 256 characters */

enum { PUBLISHED, DELIVERED, FAILED, NUMBERS };

struct sns_config {
    struct sonde__aws_settings aws;
    struct sonde_string_list topics, include, exclude;
    uint64_t interval_ns;
    int64_t topics_max;
};

#define AT(field) offsetof(struct sns_config, field)
static const struct sonde_option sns_options[] = {
    SONDE__AWS_OPTIONS(sns_config),
    {.key = "topics",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = AT(topics),
     .default_text = "",
     .sentence = "Topics to watch, by name or ARN; none = those that are listed."},
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
    {.key = "topics_max",
     .type = SONDE_OPTION_INT,
     .offset = AT(topics_max),
     .min = 1,
     .max = 10000,
     .default_text = "500",
     .sentence = "Topics watched at most; more are left out and told."},
    {.key = "interval",
     .type = SONDE_OPTION_DURATION,
     .offset = AT(interval_ns),
     .min = 6e4,
     .max = 3.6e6,
     .default_text = "60s",
     .sentence =
         "Time between the starts of two polls; a poll asks for three metrics per topic, which AWS charges for."},
    SONDE_OPTION_END,
};

struct topic {
    char name[TOPIC_MAX];
    bool seen;
    int64_t since_s;
    double totals[NUMBERS], pending[NUMBERS];
};

struct sns_collector {
    const struct sns_config *config; /* kept until destroy */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde__aws_access access;
    struct sonde__filter filter;
    const struct sonde__aws_keys *keys; /* of this poll */
    struct sonde__aws_call listing;
    char token[1024], account[16];
    struct topic **topics; /* sorted by name; topics_max of them have room */
    size_t topic_count;
    int64_t covered_s, until_s; /* minutes before are added; those before until_s are asked for */
    struct sonde__cloudwatch cloudwatch;
    struct sonde__cloudwatch_query *asked; /* NUMBERS per topic, has room for all */
};

static const struct sonde_alloc *allocator(const struct sns_collector *collector) {
    return &collector->env.seams->alloc;
}

/* --- topics --- */

/** Where a name is, or belongs. */
static size_t place_of(const struct sns_collector *collector, const char *name) {
    size_t low = 0, high = collector->topic_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(collector->topics[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void see(struct sns_collector *collector, const char *name) {
    size_t at = place_of(collector, name), size = strlen(name);
    if (at < collector->topic_count && strcmp(collector->topics[at]->name, name) == 0) {
        collector->topics[at]->seen = true;
        return;
    }
    if (!size || size >= TOPIC_MAX ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") != size) {
        sonde__poll_note(collector->poll, SONDE__TROUBLE_PROTOCOL, "a topic's name is not as documented");
        return;
    }
    if (collector->topic_count == (size_t)collector->config->topics_max) {
        sonde__poll_truncated(collector->poll);
        return;
    }
    struct topic *topic = sonde_alloc_new(allocator(collector), sizeof *topic);
    if (!topic) {
        sonde__poll_note(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(-ENOMEM));
        return;
    }
    *topic = (struct topic){.seen = true, .since_s = collector->covered_s};
    memcpy(topic->name, name, size);
    memmove(collector->topics + at + 1, collector->topics + at,
            (collector->topic_count - at) * sizeof *collector->topics);
    collector->topics[at] = topic;
    collector->topic_count++;
}

/** Those that were not seen go. */
static void sweep(struct sns_collector *collector) {
    size_t kept = 0;
    for (size_t i = 0; i < collector->topic_count; i++)
        if (collector->topics[i]->seen)
            collector->topics[kept++] = collector->topics[i];
        else
            sonde_alloc_free(allocator(collector), collector->topics[i]);
    collector->topic_count = kept;
}

/* --- CloudWatch --- */

static void on_point(struct sonde__cloudwatch *cloudwatch, const struct sonde__cloudwatch_query *query,
                     int64_t minute_s, double value) {
    (void)cloudwatch, (void)minute_s;
    *(double *)query->user += value;
}

static void set_topic(struct sns_collector *collector, struct topic *topic) {
    static const struct {
        enum sonde__messaging_metric metric;
        const char *kind;
    } rows[] = {
        [PUBLISHED] = {SONDE__MESSAGING_PUBLISHED, NULL},
        [DELIVERED] = {SONDE__MESSAGING_DELIVERED, NULL},
        [FAILED] = {SONDE__MESSAGING_DROPPED, "failed"},
    };
    for (int i = 0; i < NUMBERS; i++) {
        topic->totals[i] += topic->pending[i];
        const struct sonde__messaging_of of = {.destination = {.data = topic->name, .size = strlen(topic->name)},
                                               .kind = rows[i].kind};
        sonde__poll_set_since(collector->poll, rows[i].metric, &of, topic->totals[i],
                              (uint64_t)topic->since_s * NS_PER_S);
    }
}

static void finish(struct sns_collector *collector) {
    for (size_t i = 0; i < collector->topic_count; i++)
        set_topic(collector, collector->topics[i]);
    collector->covered_s = collector->until_s;
    sonde__poll_done(collector->poll);
}

static void on_cloudwatch(struct sonde__cloudwatch *cloudwatch, const struct sonde__aws_answer *answer) {
    struct sns_collector *collector = cloudwatch->user;
    if (answer->error_type)
        sonde__aws_access_fail(&collector->access, collector->poll, answer);
    else
        finish(collector);
}

static void numbers_ask(struct sns_collector *collector) {
    static const char *const metrics[] = {[PUBLISHED] = "NumberOfMessagesPublished",
                                          [DELIVERED] = "NumberOfNotificationsDelivered",
                                          [FAILED] = "NumberOfNotificationsFailed"};
    size_t count = 0;
    sweep(collector);
    for (size_t i = 0; i < collector->topic_count; i++)
        for (int n = 0; n < NUMBERS; n++) {
            struct topic *topic = collector->topics[i];
            topic->pending[n] = 0;
            collector->asked[count++] =
                (struct sonde__cloudwatch_query){metrics[n], "Sum", topic->name, &topic->pending[n]};
        }
    if (!count || collector->until_s <= collector->covered_s) {
        finish(collector);
        return;
    }
    int error = sonde__cloudwatch_start(&collector->cloudwatch, collector->keys, collector->asked, count,
                                        collector->covered_s, collector->until_s);
    if (error)
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
}

/* --- listing --- */

static void list_next(struct sns_collector *collector);

struct page {
    struct sns_collector *collector;
    bool is_list, has_token;
};

/** The account that a topic's ARN tells is part of who the broker is. */
static void account_take(struct sns_collector *collector, const char *arn) {
    char account[sizeof collector->account];
    const char *name;
    if (*collector->account || !sonde__sqs_arn_read(arn, "sns", account, sizeof account, &name))
        return;
    memcpy(collector->account, account, sizeof account);
    sonde__poll_identify(collector->poll, sonde_attribute_string(SONDE_KEY("cloud.account.id"), collector->account));
}

static void on_listed(void *user, const char *name, unsigned depth, struct sonde_string text) {
    struct page *page = user;
    struct sns_collector *collector = page->collector;
    (void)depth;
    if (strcmp(name, "ListTopicsResult") == 0)
        page->is_list = true;
    if (strcmp(name, "NextToken") == 0 && text.size && text.size < sizeof collector->token) {
        memcpy(collector->token, text.data, text.size);
        collector->token[text.size] = '\0';
        page->has_token = true;
    }
    char arn[512];
    if (strcmp(name, "TopicArn") != 0 || text.size >= sizeof arn || !text.size)
        return;
    memcpy(arn, text.data, text.size);
    arn[text.size] = '\0';
    account_take(collector, arn);
    const char *topic = sonde__sqs_name_of(arn);
    if (!sonde__filter_passes(&collector->filter, topic))
        return;
    see(collector, topic);
}

static void on_list(struct sonde__aws_call *call, const struct sonde__aws_answer *answer) {
    struct sns_collector *collector = call->user;
    struct page page = {.collector = collector};
    const struct sonde__xml_handler handler = {.end = on_listed, .user = &page};
    if (answer->error_type) {
        sonde__aws_access_fail(&collector->access, collector->poll, answer);
    } else if (sonde__xml_read(answer->bytes, answer->size, &handler) || !page.is_list) {
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_PROTOCOL, "ListTopics is not as documented");
    } else if (page.has_token && collector->topic_count < (size_t)collector->config->topics_max) {
        list_next(collector);
    } else {
        if (page.has_token)
            sonde__poll_truncated(collector->poll);
        numbers_ask(collector);
    }
}

static bool is_unreserved(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static void list_next(struct sns_collector *collector) {
    static const char head[] = "Action=ListTopics&Version=2010-03-31", more[] = "&NextToken=";
    struct sonde_string token = {.data = collector->token, .size = strlen(collector->token)};
    char text[sizeof head + sizeof more + 3 * sizeof collector->token];
    int at = snprintf(text, sizeof text, "%s%s", head, token.size ? more : "");
    text[(size_t)at + sonde__percent_encode(token, is_unreserved, text + at)] = '\0';
    collector->listing.user = collector;
    collector->listing.done = on_list;
    int error =
        sonde__aws_call_start(&collector->listing, &collector->access.service, collector->keys, "ListTopics", text);
    if (error)
        sonde__poll_fail(collector->poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
}

static void window_set(struct sns_collector *collector) {
    int64_t delay_s = (int64_t)(collector->config->aws.cloudwatch_delay_ns / NS_PER_S);
    int64_t now_s = (int64_t)(sonde__poll_now_unix_ns(collector->poll) / NS_PER_S);
    collector->until_s = (now_s - delay_s) / SONDE__CLOUDWATCH_PERIOD_S * SONDE__CLOUDWATCH_PERIOD_S;
    if (!collector->covered_s)
        collector->covered_s = collector->until_s - BEFORE_S;
    if (collector->covered_s < collector->until_s - (int64_t)CATCH_UP_S)
        collector->covered_s = collector->until_s - (int64_t)CATCH_UP_S;
}

static void on_keys(void *user, const struct sonde__aws_keys *keys, const char *error_type, const char *text) {
    struct sns_collector *collector = user;
    const struct sonde_string_list *named = &collector->config->topics;
    if (!keys) {
        sonde__poll_fail(collector->poll, error_type, text);
        return;
    }
    collector->keys = keys;
    window_set(collector);
    for (size_t i = 0; i < collector->topic_count; i++)
        collector->topics[i]->seen = false;
    for (size_t i = 0; i < named->count; i++) {
        account_take(collector, named->items[i]);
        see(collector, sonde__sqs_name_of(named->items[i]));
    }
    collector->token[0] = '\0';
    if (named->count)
        numbers_ask(collector);
    else
        list_next(collector);
}

static void start(void *user) {
    struct sns_collector *collector = user;
    sonde__aws_credentials_get(collector->access.credentials, on_keys, collector);
}

static void abort_all(void *user) {
    struct sns_collector *collector = user;
    if (collector->access.credentials)
        sonde__aws_credentials_cancel(collector->access.credentials);
    sonde__aws_call_cancel(&collector->listing);
    sonde__cloudwatch_cancel(&collector->cloudwatch);
}

/* --- life --- */

static void sns_destroy(void *self) {
    struct sns_collector *collector = self;
    if (!collector)
        return;
    abort_all(collector);
    sonde__poll_destroy(collector->poll);
    sonde__aws_access_deinit(&collector->access);
    sonde__filter_deinit(&collector->filter, &collector->env.seams->alloc);
    for (size_t i = 0; i < collector->topic_count; i++)
        sonde_alloc_free(allocator(collector), collector->topics[i]);
    sonde_alloc_free(allocator(collector), collector->topics);
    sonde_alloc_free(allocator(collector), collector->asked);
    sonde_alloc_free(allocator(collector), collector);
}

static int parts_create(struct sns_collector *collector, char *error_text, size_t error_text_size) {
    const struct sns_config *config = collector->config;
    struct sonde__aws_access *access = &collector->access;
    int error = sonde__aws_access_init(access, &config->aws, &collector->env, "sns", NULL, error_text, error_text_size);
    if (!error)
        error = sonde__filter_init(&collector->filter, allocator(collector), &config->include, &config->exclude,
                                   error_text, error_text_size);
    if (error)
        return error;
    size_t max = (size_t)config->topics_max;
    collector->topics = sonde_alloc_new(allocator(collector), max * sizeof *collector->topics);
    collector->asked = sonde_alloc_new(allocator(collector), max * NUMBERS * sizeof *collector->asked);
    if (!collector->topics || !collector->asked)
        return -ENOMEM;
    collector->cloudwatch = (struct sonde__cloudwatch){.service = &access->cloudwatch,
                                                       .space = "AWS/SNS",
                                                       .dimension = "TopicName",
                                                       .point = on_point,
                                                       .done = on_cloudwatch,
                                                       .user = collector};
    const struct sonde__endpoint *endpoint = &access->service.endpoint;
    const struct sonde__poll_config poll = {
        .env = &collector->env,
        .system = "aws.sns",
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

static int sns_create(const void *config, const struct sonde_collector_env *env, void **ret_self, char *error_text,
                      size_t error_text_size) {
    struct sns_collector *collector = sonde_alloc_new(&env->seams->alloc, sizeof *collector);
    if (!collector)
        return -ENOMEM;
    memset(collector, 0, sizeof *collector);
    collector->config = config;
    collector->env = *env;
    int error = parts_create(collector, error_text, error_text_size);
    if (error) {
        sns_destroy(collector);
        return error;
    }
    *ret_self = collector;
    return 0;
}

static void sns_status(void *self, struct sonde_collector_status *ret_status) {
    sonde__poll_status(((struct sns_collector *)self)->poll, ret_status);
}

const struct sonde_collector_ops sonde_collector_sns = {
    .name = "sns",
    .summary = "Amazon SNS: messages published to topics, delivered and failed, by CloudWatch",
    .config_size = sizeof(struct sns_config),
    .options = sns_options,
    .create = sns_create,
    .status = sns_status,
    .destroy = sns_destroy,
};
