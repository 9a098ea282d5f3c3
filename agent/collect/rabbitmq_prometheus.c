/* SPDX-License-Identifier: Apache-2.0 */
/* The Prometheus endpoint. A node tells of its own queues only, so all addresses are asked, one after another; a node that
 * does not answer costs the series of its queues, not the poll. It names no types: `streams` of the configuration does. */
#include "agent/collect/rabbitmq.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define FAMILIES         "family=queue_coarse_metrics&family=queue_consumer_count"
#define FAMILIES_DETAILS FAMILIES "&family=queue_metrics"

static void ask(struct sonde__rabbitmq *rabbitmq);

static void next(struct sonde__rabbitmq *rabbitmq) {
    size_t count = rabbitmq->config->addresses.count;
    rabbitmq->per_object = false;
    if (++rabbitmq->address < count) {
        ask(rabbitmq);
        return;
    }
    rabbitmq->address = 0;
    if (rabbitmq->answers)
        sonde__rabbitmq_answered(rabbitmq);
    else
        sonde__rabbitmq_failed(rabbitmq, rabbitmq->node_trouble, rabbitmq->node_text);
}

/** One node. When none answers, the first trouble is the poll's. */
static void node_failed(struct sonde__rabbitmq *rabbitmq, const char *error_type, const char *text) {
    if (rabbitmq->config->addresses.count > 1)
        sonde__poll_note(rabbitmq->poll, error_type, text);
    if (!rabbitmq->node_trouble) {
        rabbitmq->node_trouble = error_type;
        (void)snprintf(rabbitmq->node_text, sizeof rabbitmq->node_text, "%s", text);
    }
    next(rabbitmq);
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct sonde__rabbitmq *rabbitmq = user;
    char text[256], cluster[SONDE__RABBITMQ_NAME_SIZE_MAX] = "";
    const char *type = sonde__poll_http_trouble(response, text, sizeof text);
    rabbitmq->heard |= !response->error;
    if (!response->error && response->status == 404 && !rabbitmq->per_object) {
        rabbitmq->per_object = true;
        ask(rabbitmq);
        return;
    }
    if (type) {
        node_failed(rabbitmq, type, text);
        return;
    }
    int error = sonde__rabbitmq_read_exposition(response->body, response->body_size, &rabbitmq->exposition,
                                                &rabbitmq->queues, cluster);
    /* Anything may answer a GET with text: RabbitMQ says who it is. */
    if (error || !*cluster) {
        (void)snprintf(text, sizeof text, "line %u: %s", rabbitmq->exposition.line,
                       error ? rabbitmq->exposition.problem : "no rabbitmq_identity_info");
        node_failed(rabbitmq, error == SONDE_ETOOBIG ? SONDE__TROUBLE_TOO_BIG : SONDE__TROUBLE_PROTOCOL, text);
        return;
    }
    sonde__rabbitmq_cluster(rabbitmq, cluster);
    rabbitmq->answers++;
    next(rabbitmq);
}

static void path_write(const struct sonde__rabbitmq *rabbitmq, char *ret_path, size_t size) {
    const struct sonde_string_list *vhosts = &rabbitmq->config->vhosts;
    if (rabbitmq->per_object) {
        (void)snprintf(ret_path, size, "/metrics/per-object");
        return;
    }
    size_t at =
        (size_t)snprintf(ret_path, size, "/metrics/detailed?%s", rabbitmq->detailing ? FAMILIES_DETAILS : FAMILIES);
    const size_t all = at;
    for (size_t i = 0; i < vhosts->count; i++) {
        char name[3 * SONDE__RABBITMQ_NAME_SIZE_MAX + 1];
        (void)sonde__rest_escape(vhosts->items[i], name, sizeof name);
        int more = snprintf(ret_path + at, size - at, "&vhost=%s", name);
        if (more < 0 || (size_t)more >= size - at) { /* too many for a URL: the table leaves the others out */
            ret_path[all] = '\0';
            return;
        }
        at += (size_t)more;
    }
}

static void ask(struct sonde__rabbitmq *rabbitmq) {
    char path[SONDE__REST_URL_SIZE_MAX - sizeof rabbitmq->endpoints[0][0].url];
    path_write(rabbitmq, path, sizeof path);
    const struct sonde__endpoint *endpoint = &rabbitmq->endpoints[SONDE__RABBITMQ_PROMETHEUS][rabbitmq->address];
    int error = sonde__rest_get(&rabbitmq->rest, endpoint->url, path, on_answer, rabbitmq);
    if (error)
        sonde__rabbitmq_cannot_ask(rabbitmq, error);
}

void sonde__rabbitmq_prometheus_start(struct sonde__rabbitmq *rabbitmq) {
    rabbitmq->address = rabbitmq->answers = 0;
    rabbitmq->per_object = false;
    rabbitmq->node_trouble = NULL;
    ask(rabbitmq);
}
