/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics that only CloudWatch has, by GetMetricData: one-minute points of many metrics in one request (500), page by
 * page. Each metric asked for costs money, each time; who asks bounds how often. Loop thread only. */
#ifndef SONDE_AGENT_COLLECT_AWS_CLOUDWATCH_H
#define SONDE_AGENT_COLLECT_AWS_CLOUDWATCH_H

#include "agent/collect/aws_call.h"

#define SONDE__CLOUDWATCH_PERIOD_S    60
#define SONDE__CLOUDWATCH_QUERIES_MAX 500u /* per request, AWS's limit */

/** What is asked of. All borrowed until done. */
struct sonde__cloudwatch_query {
    const char *metric, *stat; /* static: "ApproximateAgeOfOldestMessage", "Maximum" */
    const char *value;         /* of the dimension */
    void *user;
};

/** A run of requests; all zeros at first. The caller sets:
 *  point  a point of a query: when its minute began (unix s), and its value. Oldest first within a page.
 *  done   the end; error_type NULL = all is told. */
struct sonde__cloudwatch {
    const struct sonde__aws_service *service;
    const char *space, *dimension; /* static: "AWS/SQS", "QueueName" */
    void (*point)(struct sonde__cloudwatch *cloudwatch, const struct sonde__cloudwatch_query *query, int64_t minute_s,
                  double value);
    void (*done)(struct sonde__cloudwatch *cloudwatch, const struct sonde__aws_answer *answer);
    void *user;
    /* its own */
    const struct sonde__cloudwatch_query *queries;
    size_t count, at, pages;
    int64_t from_s, to_s;
    const struct sonde__aws_keys *keys;
    struct sonde__aws_call call;
    json_t *next_token; /* owned */
};

/** Asks for from_s <= minute < to_s. Returns 0 (done comes later), -ENOMEM. */
int sonde__cloudwatch_start(struct sonde__cloudwatch *cloudwatch, const struct sonde__aws_keys *keys,
                            const struct sonde__cloudwatch_query *queries, size_t count, int64_t from_s, int64_t to_s);
void sonde__cloudwatch_cancel(struct sonde__cloudwatch *cloudwatch); /* idle is fine */

#endif
