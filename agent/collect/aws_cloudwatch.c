/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/aws_cloudwatch.h"
#include "agent/collect/poll.h"
#include "agent/collect/timestamp.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S  1000000000ull
#define PAGES_MAX 1000u /* of one run: a service that never ends is not believed */

static json_t *query_make(const struct sonde__cloudwatch *cloudwatch, size_t index) {
    const struct sonde__cloudwatch_query *query = &cloudwatch->queries[index];
    char id[32];
    (void)snprintf(id, sizeof id, "q%zu", index);
    return json_pack("{s:s, s:{s:{s:s, s:s, s:[{s:s, s:s}]}, s:i, s:s}}", "Id", id, "MetricStat", "Metric", "Namespace",
                     cloudwatch->space, "MetricName", query->metric, "Dimensions", "Name", cloudwatch->dimension,
                     "Value", query->value, "Period", SONDE__CLOUDWATCH_PERIOD_S, "Stat", query->stat);
}

static json_t *body_make(const struct sonde__cloudwatch *cloudwatch) {
    json_t *queries = json_array();
    for (size_t i = cloudwatch->at; i < cloudwatch->count && i < cloudwatch->at + SONDE__CLOUDWATCH_QUERIES_MAX; i++)
        if (json_array_append_new(queries, query_make(cloudwatch, i))) {
            json_decref(queries);
            return NULL;
        }
    json_t *root =
        json_pack("{s:I, s:I, s:s, s:o}", "StartTime", (json_int_t)cloudwatch->from_s, "EndTime",
                  (json_int_t)cloudwatch->to_s, "ScanBy", "TimestampAscending", "MetricDataQueries", queries);
    if (root && cloudwatch->next_token && json_object_set(root, "NextToken", cloudwatch->next_token)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/** Seconds since 1970 as a number, or a date as text. Returns 0 when it is neither. */
static int64_t time_of(const json_t *value) {
    double number = json_number_value(value);
    if (json_is_string(value))
        return (int64_t)(sonde__timestamp_read(json_string_value(value), json_string_length(value)) / NS_PER_S);
    return number > 0 && number < 4e10 ? (int64_t)number : 0;
}

static void result_read(struct sonde__cloudwatch *cloudwatch, const json_t *result) {
    const char *id = json_string_value(json_object_get(result, "Id"));
    const json_t *times = json_object_get(result, "Timestamps"), *values = json_object_get(result, "Values");
    char *end;
    if (!id || id[0] != 'q' || id[1] < '0' || id[1] > '9')
        return;
    unsigned long index = strtoul(id + 1, &end, 10);
    if (*end || index < cloudwatch->at || index >= cloudwatch->count)
        return;
    for (size_t i = 0; i < json_array_size(times) && i < json_array_size(values); i++) {
        int64_t minute_s = time_of(json_array_get(times, i));
        const json_t *value = json_array_get(values, i);
        double number = json_number_value(value);
        if (minute_s >= cloudwatch->from_s && minute_s < cloudwatch->to_s && json_is_number(value) &&
            isfinite(number) && number >= 0)
            cloudwatch->point(cloudwatch, &cloudwatch->queries[index], minute_s, number);
    }
}

static int ask(struct sonde__cloudwatch *cloudwatch);

static void end(struct sonde__cloudwatch *cloudwatch, const struct sonde__aws_answer *answer) {
    json_decref(cloudwatch->next_token);
    cloudwatch->next_token = NULL;
    cloudwatch->done(cloudwatch, answer);
}

static void on_answer(struct sonde__aws_call *call, const struct sonde__aws_answer *answer) {
    struct sonde__cloudwatch *cloudwatch = call->user;
    static const struct sonde__aws_answer good = {.text = ""},
                                          bad = {.error_type = SONDE__TROUBLE_PROTOCOL,
                                                 .text = "CloudWatch answers without MetricDataResults, or never ends"},
                                          memory = {.error_type = SONDE__TROUBLE_MEMORY, .text = "out of memory"};
    if (answer->error_type) {
        end(cloudwatch, answer);
        return;
    }
    const json_t *results = json_object_get(answer->root, "MetricDataResults");
    json_t *next = json_object_get(answer->root, "NextToken");
    if (!json_is_array(results) || ++cloudwatch->pages > PAGES_MAX) {
        end(cloudwatch, &bad);
        return;
    }
    for (size_t i = 0; i < json_array_size(results); i++)
        result_read(cloudwatch, json_array_get(results, i));
    json_decref(cloudwatch->next_token);
    cloudwatch->next_token = NULL;
    if (json_string_length(next))
        cloudwatch->next_token = json_copy(next);
    else
        cloudwatch->at += SONDE__CLOUDWATCH_QUERIES_MAX;
    if (cloudwatch->at >= cloudwatch->count)
        end(cloudwatch, &good);
    else if (ask(cloudwatch))
        end(cloudwatch, &memory);
}

static int ask(struct sonde__cloudwatch *cloudwatch) {
    cloudwatch->call.user = cloudwatch;
    cloudwatch->call.done = on_answer;
    return sonde__aws_call_json(&cloudwatch->call, cloudwatch->service, cloudwatch->keys, "GetMetricData",
                                body_make(cloudwatch));
}

int sonde__cloudwatch_start(struct sonde__cloudwatch *cloudwatch, const struct sonde__aws_keys *keys,
                            const struct sonde__cloudwatch_query *queries, size_t count, int64_t from_s, int64_t to_s) {
    cloudwatch->keys = keys;
    cloudwatch->queries = queries;
    cloudwatch->count = count;
    cloudwatch->at = cloudwatch->pages = 0;
    cloudwatch->from_s = from_s;
    cloudwatch->to_s = to_s;
    return ask(cloudwatch);
}

void sonde__cloudwatch_cancel(struct sonde__cloudwatch *cloudwatch) {
    sonde__aws_call_cancel(&cloudwatch->call);
    json_decref(cloudwatch->next_token);
    cloudwatch->next_token = NULL;
}
