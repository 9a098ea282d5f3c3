/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_client.h"
#include "agent/collect/poll.h"
#include "agent/log.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_NS        (60 * UINT64_C(1000000000))
#define LOG_LINES_MINUTE 6u /* what it says of a cluster that is down repeats itself */
#define SYSLOG_WARNING   4
#define SYSLOG_INFO      6

static uint64_t now_ns(const struct sonde__kafka_client *client) {
    return client->seams->time.monotonic_ns(client->seams->time.self);
}

/* --- what it says --- */

/** Any of its threads. */
static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text) {
    struct sonde__kafka_client *client = rd_kafka_opaque(handle);
    uint64_t now = now_ns(client);
    (void)pthread_mutex_lock(&client->log_lock);
    unsigned left_out = 0;
    if (strcmp(facility, "FAIL") == 0)
        (void)snprintf(client->failure, sizeof client->failure, "%s", text);
    if (now - client->log_minute_ns >= MINUTE_NS) {
        left_out = client->log_left_out;
        client->log_minute_ns = now;
        client->log_lines = client->log_left_out = 0;
    }
    bool shown = client->log_lines < LOG_LINES_MINUTE;
    if (shown)
        client->log_lines++;
    else
        client->log_left_out++;
    (void)pthread_mutex_unlock(&client->log_lock);
    if (!shown)
        return;
    enum sonde_log_level ours = level <= SYSLOG_WARNING ? SONDE_LOG_WARN
                                : level <= SYSLOG_INFO  ? SONDE_LOG_INFO
                                                        : SONDE_LOG_DEBUG;
    sonde_agent_log(ours, "the Kafka client says", "collector=%s facility=%s text=%s left_out=%u",
                    sonde_agent_log_quote(client->name), sonde_agent_log_quote(facility), sonde_agent_log_quote(text),
                    left_out);
}

static int specific(rd_kafka_resp_err_t error) {
    switch (error) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__SSL:
        return 3;
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return 2;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        return 1;
    default:
        return 0;
    }
}

/** From rd_kafka_poll(), on our thread. */
static void on_error(rd_kafka_t *handle, int code, const char *reason, void *opaque) {
    struct sonde__kafka_client *client = opaque;
    rd_kafka_resp_err_t error = (rd_kafka_resp_err_t)code;
    (void)handle;
    if (specific(error) <= specific(client->told))
        return;
    client->told = error;
    (void)snprintf(client->told_text, sizeof client->told_text, "%s", reason);
}

const char *sonde__kafka_trouble(rd_kafka_resp_err_t error) {
    switch (error) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
        return SONDE__TROUBLE_CONNECT;
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return SONDE__TROUBLE_RESOLVE;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__PARTIAL:
        return SONDE__TROUBLE_TIMEOUT;
    case RD_KAFKA_RESP_ERR__SSL:
        return SONDE__TROUBLE_TLS;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return SONDE__TROUBLE_AUTH;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__UNDERFLOW:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
        return SONDE__TROUBLE_PROTOCOL;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
        return SONDE__TROUBLE_NOT_FOUND;
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
        return SONDE__TROUBLE_THROTTLED;
    default:
        return SONDE__TROUBLE_SERVER;
    }
}

/** What the library calls a broken transport: it tells why in its log only. */
static const char *trouble_of_failure(const char *failure) {
    if (!failure[0])
        return SONDE__TROUBLE_TIMEOUT; /* it waited for a connection as long as it could */
    if (strstr(failure, "Invalid response") || strstr(failure, "Protocol parse failure"))
        return SONDE__TROUBLE_PROTOCOL;
    return strstr(failure, "Timed out") || strstr(failure, "timed out") ? SONDE__TROUBLE_TIMEOUT
                                                                        : SONDE__TROUBLE_CONNECT;
}

const char *sonde__kafka_client_trouble(struct sonde__kafka_client *client, rd_kafka_resp_err_t error, char *ret_text,
                                        size_t text_size) {
    char failure[sizeof client->failure];
    for (size_t i = 0; i < SONDE__KAFKA_PURPOSE_COUNT; i++)
        if (client->handles[i])
            (void)rd_kafka_poll(client->handles[i], 0);
    (void)pthread_mutex_lock(&client->log_lock);
    memcpy(failure, client->failure, sizeof failure);
    (void)pthread_mutex_unlock(&client->log_lock);
    /* What does not answer may not even be there, or may have refused us. */
    bool vague = error == RD_KAFKA_RESP_ERR__TIMED_OUT || specific(error) == 1;
    rd_kafka_resp_err_t told = client->told;
    if (vague && specific(told) > 1) {
        (void)snprintf(ret_text, text_size, "%s", client->told_text);
        return sonde__kafka_trouble(told);
    }
    if (vague) {
        (void)snprintf(ret_text, text_size, "%s",
                       failure[0] ? failure : rd_kafka_err2str(RD_KAFKA_RESP_ERR__TIMED_OUT));
        return trouble_of_failure(failure);
    }
    (void)snprintf(ret_text, text_size, "%s", rd_kafka_err2str(error));
    return sonde__kafka_trouble(error);
}

/** A broker answers: what was before explains nothing that comes. It is not told again while it lasts, thus kept. */
static void failures_forget(struct sonde__kafka_client *client) {
    client->told = RD_KAFKA_RESP_ERR_NO_ERROR;
    (void)pthread_mutex_lock(&client->log_lock);
    client->failure[0] = '\0';
    (void)pthread_mutex_unlock(&client->log_lock);
}

/* --- handles --- */

static int handle_make(struct sonde__kafka_client *client, enum sonde__kafka_purpose purpose, char *text,
                       size_t text_size) {
    rd_kafka_conf_t *conf;
    int error = sonde__kafka_conf_make(client->config, purpose, &conf, text, text_size);
    if (error)
        return error;
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    client->handles[purpose] = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, text_size);
    if (client->handles[purpose])
        return 0;
    rd_kafka_conf_destroy(conf);
    return SONDE_EINVALID;
}

rd_kafka_t *sonde__kafka_client_handle(struct sonde__kafka_client *client, enum sonde__kafka_purpose purpose) {
    char text[256];
    if (!client->handles[purpose] && handle_make(client, purpose, text, sizeof text) != 0)
        return NULL; /* the first one was made of the same: there is no memory or no thread */
    return client->handles[purpose];
}

bool sonde__kafka_client_refresh(struct sonde__kafka_client *client) {
    rd_kafka_t **handle = &client->handles[SONDE__KAFKA_FOR_ALL];
    if (client->left && *handle) {
        rd_kafka_destroy_flags(*handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        *handle = NULL;
        client->metadata_ns = 0; /* the new one knows no brokers */
    }
    client->left = false;
    return sonde__kafka_client_handle(client, SONDE__KAFKA_FOR_ALL) != NULL;
}

int sonde__kafka_client_create(const struct sonde__kafka_config *config, const struct sonde_seams *seams,
                               const char *name, struct sonde__kafka_client **ret_client, char *text,
                               size_t text_size) {
    struct sonde__kafka_client *client = sonde_alloc_new(&seams->alloc, sizeof *client);
    if (!client)
        return -ENOMEM;
    *client = (struct sonde__kafka_client){.config = config, .seams = seams, .name = name};
    (void)pthread_mutex_init(&client->log_lock, NULL);
    int error = handle_make(client, SONDE__KAFKA_FOR_ALL, text, text_size);
    if (error) {
        sonde__kafka_client_destroy(client);
        return error;
    }
    *ret_client = client;
    return 0;
}

static void metadata_drop(struct sonde__kafka_client *client) {
    if (client->metadata)
        rd_kafka_metadata_destroy(client->metadata);
    sonde_alloc_free(&client->seams->alloc, client->topics_sorted);
    client->metadata = NULL;
    client->topics_sorted = NULL;
}

void sonde__kafka_client_destroy(struct sonde__kafka_client *client) {
    if (!client)
        return;
    metadata_drop(client);
    for (size_t i = 0; i < SONDE__KAFKA_PURPOSE_COUNT; i++)
        if (client->handles[i])
            rd_kafka_destroy_flags(client->handles[i], RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    (void)pthread_mutex_destroy(&client->log_lock);
    sonde_alloc_free(&client->seams->alloc, client);
}

/* --- metadata --- */

static int by_name(const void *a, const void *b) {
    const struct rd_kafka_metadata_topic *const *left = a, *const *right = b;
    return strcmp((*left)->topic, (*right)->topic);
}

static void cluster_ask(struct sonde__kafka_client *client) {
    char *cluster = rd_kafka_clusterid(client->handles[SONDE__KAFKA_FOR_ALL], 0); /* came with the metadata */
    if (!cluster)
        return;
    if (!client->cluster[0])
        (void)snprintf(client->cluster, sizeof client->cluster, "%s", cluster);
    rd_kafka_mem_free(client->handles[SONDE__KAFKA_FOR_ALL], cluster);
}

rd_kafka_resp_err_t sonde__kafka_client_metadata(struct sonde__kafka_client *client, int timeout_ms) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error =
        rd_kafka_metadata(client->handles[SONDE__KAFKA_FOR_ALL], 1, NULL, &metadata, timeout_ms);
    if (error)
        return error;
    size_t count = (size_t)metadata->topic_cnt;
    const struct rd_kafka_metadata_topic **sorted =
        sonde_alloc_new(&client->seams->alloc, (count + 1) * sizeof(struct rd_kafka_metadata_topic *));
    if (!sorted) {
        rd_kafka_metadata_destroy(metadata);
        return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = &metadata->topics[i];
    qsort(sorted, count, sizeof(struct rd_kafka_metadata_topic *), by_name);
    metadata_drop(client);
    client->metadata = metadata;
    client->topics_sorted = sorted;
    client->metadata_ns = now_ns(client);
    failures_forget(client);
    cluster_ask(client);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

const struct rd_kafka_metadata_topic *sonde__kafka_client_topic(const struct sonde__kafka_client *client,
                                                                const char *name) {
    size_t low = 0, high = client->metadata ? (size_t)client->metadata->topic_cnt : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(client->topics_sorted[middle]->topic, name);
        if (order == 0)
            return client->topics_sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
