/* SPDX-License-Identifier: Apache-2.0 */
/* What RabbitMQ's management API and Prometheus endpoint and Pulsar's admin API answer, from hostile bytes. Input: one byte
 * that chooses the document, then the answer. What must hold beside memory safety: no more rows and readers than the limits,
 * names within theirs, numbers that a series can have or unknown, and a lag that is never below 0. */
#include "agent/collect/pulsar_reply.h"
#include "agent/collect/pulsar_topics.h"
#include "agent/collect/rabbitmq_reply.h"
#include "agent/loop/loop.h"
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS_MAX  8u
#define EXACT_MAX INT64_C(9007199254740992)

static void require(int condition) {
    if (!condition)
        abort();
}
static void require_count(int64_t count) {
    require(count >= -1 && count <= EXACT_MAX);
}

static void on_trouble(void *user, const char *error_type, const char *text) {
    (void)user;
    require(error_type && text);
}

static void check_table(const struct sonde__rabbitmq_queues *queues) {
    require(queues->count <= ROWS_MAX && queues->reader_count <= SONDE__RABBITMQ_READERS_MAX);
    for (size_t i = 0; i < queues->count; i++) {
        const struct sonde__rabbitmq_queue *row = queues->rows[i];
        require(row->name_size < SONDE__RABBITMQ_NAME_SIZE_MAX && strlen(row->name) == row->name_size);
        require(row->vhost_size < SONDE__RABBITMQ_NAME_SIZE_MAX && strlen(row->vhost) == row->vhost_size);
        require(sonde__rabbitmq_queue_find(queues, row->vhost, row->name) == row);
        const int64_t *counts = &row->details.messages;
        for (size_t k = 0; k < sizeof row->details / sizeof *counts; k++)
            require_count(counts[k]);
        require_count(row->ready);
        require_count(row->unacked);
    }
    for (size_t i = 0; i < queues->reader_count; i++) {
        require_count(queues->readers[i].lag);
        require_count(queues->readers[i].offset);
    }
}

static void rabbitmq_read(unsigned kind, const void *body, size_t size) {
    static struct sonde__exposition reader;
    static const struct sonde__filter filter;
    static const struct sonde__patterns streams;
    static const struct sonde_string_list vhosts;
    struct sonde__rabbitmq_queues queues = {
        .alloc = &sonde_heap, .filter = &filter, .vhosts = &vhosts, .streams = &streams, .max = ROWS_MAX};
    struct sonde__rabbitmq_overview overview;
    char sick[SONDE__RABBITMQ_NAME_SIZE_MAX] = "", cluster[SONDE__RABBITMQ_NAME_SIZE_MAX] = "";
    uint32_t pages = 0;
    int err = 0;
    sonde__rabbitmq_queues_begin(&queues);
    require(sonde__rabbitmq_queue_at(&queues, "/", "stream") != NULL);
    if (kind < 2)
        err = sonde__rabbitmq_read_queues(body, size, kind == 1, &queues, &pages, sick);
    else if (kind == 2)
        err = sonde__rabbitmq_read_overview(body, size, &overview);
    else if (kind == 3)
        err = sonde__rabbitmq_read_nodes(body, size, on_trouble, NULL);
    else if (kind == 4)
        err = sonde__rabbitmq_read_consumers(body, size, &queues);
    else if (kind == 5)
        err = sonde__rabbitmq_read_tracking(body, size, "/", "stream", &queues);
    else
        err = sonde__rabbitmq_read_exposition(body, size, &reader, &queues, cluster);
    require(err == 0 || err == SONDE_EMALFORMED || (kind == 6 && err == SONDE_ETOOBIG));
    check_table(&queues);
    sonde__rabbitmq_queues_end(&queues);
    check_table(&queues);
    sonde__rabbitmq_queues_deinit(&queues);
}

static void on_name(void *user, const char *name) {
    char path[1024];
    (void)user;
    require(*name);
    if (sonde__pulsar_topic_path(name, path, sizeof path))
        require(strlen(path) < sizeof path && strcspn(path, " ?#\"<>\\\r\n") == strlen(path));
}
static void on_topic(void *user, int64_t published, int64_t stored) {
    (void)user;
    require_count(published);
    require_count(stored);
}
static void on_subscription(void *user, const char *partition, const struct sonde__pulsar_subscription *subscription) {
    (void)user;
    require(strspn(partition, "0123456789") == strlen(partition));
    require(subscription->name.size <= SONDE__PULSAR_NAME_SIZE_MAX);
    require_count(subscription->backlog);
    require_count(subscription->unacked);
    require_count(subscription->delayed);
    require_count(subscription->delivered);
    require_count(subscription->expired);
    require(subscription->consumers >= 0 && subscription->earliest_unix_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct sonde__pulsar_take take = {on_topic, on_subscription, NULL};
    if (size < 1)
        return 0;
    char *body = malloc(size); /* exact, so that a read past it is seen */
    require(body != NULL);
    memcpy(body, data + 1, size - 1);
    unsigned kind = (data[0] - '0') % 10u;
    int err = 0;
    if (kind < 7)
        rabbitmq_read(kind, body, size - 1);
    else if (kind == 7)
        err = sonde__pulsar_read_names(body, size - 1, on_name, NULL);
    else
        err = sonde__pulsar_read_stats(body, size - 1, kind == 9, true, &take);
    require(err == 0 || err == SONDE_EMALFORMED);
    free(body);
    return 0;
}
