/* SPDX-License-Identifier: Apache-2.0 */
/* The management API: one request after another, so that it costs the broker one at a time.
 *
 *   with details   overview -> nodes -> pages of details -> pages of messages -> readers of streams -> stored offsets
 *   without                                                 pages of messages -> readers of streams
 *
 * Messages come with disable_stats, which spares the broker its statistics; details need them. What is only missing
 * (a plugin, a right, an older broker) leaves series out; it does not end the poll. */
#include "agent/collect/rabbitmq.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

enum step { OVERVIEW, NODES, DETAILS, MESSAGES, CONSUMERS, OFFSETS, DONE };

#define COLUMNS_MESSAGES "name,vhost,type,state,messages_ready,messages_unacknowledged"
#define COLUMNS_DETAILS                                                                                                \
    "name,vhost,type,messages,consumers,message_bytes,head_message_timestamp,message_stats.publish,"                   \
    "message_stats.deliver_get,message_stats.ack,message_stats.redeliver"
#define PATH_SIZE_MAX 1400u /* two names of 255 bytes, each %XX, and the columns */

static void ask(struct sonde__rabbitmq *rabbitmq);

/* --- requests --- */

/** "/VHOST" of the vhost that is its turn, or "" when all are looked at. */
static void vhost_write(const struct sonde__rabbitmq *rabbitmq, char *ret_text, size_t size) {
    const struct sonde_string_list *vhosts = &rabbitmq->config->vhosts;
    ret_text[0] = '\0';
    if (rabbitmq->vhost >= vhosts->count)
        return;
    ret_text[0] = '/';
    (void)sonde__rest_escape(vhosts->items[rabbitmq->vhost], ret_text + 1, size - 1); /* checked: fits */
}

static void path_write(const struct sonde__rabbitmq *rabbitmq, char *ret_path, size_t size) {
    char vhost[3 * SONDE__RABBITMQ_NAME_SIZE_MAX + 2], stream[3 * SONDE__RABBITMQ_NAME_SIZE_MAX + 1];
    vhost_write(rabbitmq, vhost, sizeof vhost);
    /* Of one vhost there is only the listing that has both. */
    const char *detailed = rabbitmq->plain_details || *vhost ? "" : "/detailed";
    switch ((enum step)rabbitmq->step) {
    case OVERVIEW:
        (void)snprintf(ret_path, size, "/api/overview?columns=cluster_name,message_stats.drop_unroutable");
        break;
    case NODES:
        (void)snprintf(ret_path, size, "/api/nodes?columns=name,running,mem_alarm,disk_free_alarm,partitions");
        break;
    case DETAILS:
        (void)snprintf(ret_path, size, "/api/queues%s%s?page=%u&page_size=%u&columns=" COLUMNS_DETAILS, detailed, vhost,
                       rabbitmq->page, (unsigned)rabbitmq->config->page_size);
        break;
    case MESSAGES:
        (void)snprintf(ret_path, size,
                       "/api/queues%s?disable_stats=true&enable_queue_totals=true&page=%u&page_size=%u"
                       "&columns=" COLUMNS_MESSAGES,
                       vhost, rabbitmq->page, (unsigned)rabbitmq->config->page_size);
        break;
    case CONSUMERS:
        (void)snprintf(ret_path, size, "/api/stream/consumers");
        break;
    case OFFSETS: {
        const struct sonde__rabbitmq_queue *row = rabbitmq->queues.rows[rabbitmq->stream];
        (void)sonde__rest_escape(row->vhost, vhost, sizeof vhost);
        (void)sonde__rest_escape(row->name, stream, sizeof stream);
        (void)snprintf(ret_path, size, "/api/stream/%s/%s/tracking?type=offset", vhost, stream);
        break;
    }
    case DONE:
        ret_path[0] = '\0';
    }
}

static bool is_stream_to_ask(const struct sonde__rabbitmq *rabbitmq, size_t index) {
    const struct sonde__rabbitmq_queue *row = rabbitmq->queues.rows[index];
    return row->type == SONDE__RABBITMQ_STREAM && row->round == rabbitmq->queues.round;
}

/* --- what comes next --- */

static bool has_stream(const struct sonde__rabbitmq *rabbitmq) {
    for (size_t i = 0; i < rabbitmq->queues.count; i++)
        if (is_stream_to_ask(rabbitmq, i))
            return true;
    return false;
}

static void step_to(struct sonde__rabbitmq *rabbitmq, enum step step) {
    if (step == CONSUMERS && (rabbitmq->no_streams || !has_stream(rabbitmq)))
        step = DONE;
    if (step == OFFSETS) {
        bool wanted = rabbitmq->config->stream_offsets && !rabbitmq->no_offsets;
        while (wanted && rabbitmq->stream < rabbitmq->queues.count && !is_stream_to_ask(rabbitmq, rabbitmq->stream))
            rabbitmq->stream++;
        if (!wanted || rabbitmq->stream >= rabbitmq->queues.count)
            step = DONE;
    }
    rabbitmq->step = step;
    if (step == DONE)
        sonde__rabbitmq_answered(rabbitmq);
    else
        ask(rabbitmq);
}

static void listing_begin(struct sonde__rabbitmq *rabbitmq, enum step step) {
    rabbitmq->vhost = 0;
    rabbitmq->page = 1;
    step_to(rabbitmq, step);
}

static void listing_end(struct sonde__rabbitmq *rabbitmq) {
    rabbitmq->page = 1;
    if (++rabbitmq->vhost < rabbitmq->config->vhosts.count) {
        ask(rabbitmq);
        return;
    }
    rabbitmq->stream = 0;
    if (rabbitmq->step == DETAILS)
        listing_begin(rabbitmq, MESSAGES);
    else
        step_to(rabbitmq, CONSUMERS);
}

/* --- answers --- */

static void malformed(struct sonde__rabbitmq *rabbitmq) {
    sonde__rabbitmq_failed(rabbitmq, SONDE__TROUBLE_PROTOCOL, "an answer is not as the management API documents it");
}

static void on_overview(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    if (sonde__rabbitmq_http_failed(rabbitmq, response))
        return;
    if (sonde__rabbitmq_read_overview(response->body, response->body_size, &rabbitmq->overview)) {
        malformed(rabbitmq);
        return;
    }
    sonde__rabbitmq_cluster(rabbitmq, rabbitmq->overview.cluster);
    step_to(rabbitmq, NODES);
}

static void on_node_trouble(void *user, const char *error_type, const char *text) {
    struct sonde__rabbitmq *rabbitmq = user;
    sonde__poll_note(rabbitmq->poll, error_type, text);
}

/** Only who has the tag `monitoring` sees nodes; who has not sees queues all the same. */
static void on_nodes(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    bool readable = !response->error && response->status == 200;
    if (readable && sonde__rabbitmq_read_nodes(response->body, response->body_size, on_node_trouble, rabbitmq)) {
        malformed(rabbitmq);
        return;
    }
    listing_begin(rabbitmq, DETAILS);
}

/** A page past the end: queues went while we turned pages. */
static bool past_the_end(const struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    return !response->error && response->status == 400 && rabbitmq->page > 1;
}

static bool is_missing(const struct sonde_http_response *response) {
    return !response->error && response->status == 404;
}

static void on_page(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    bool details = rabbitmq->step == DETAILS;
    char sick[SONDE__RABBITMQ_NAME_SIZE_MAX];
    uint32_t pages;
    if (past_the_end(rabbitmq, response)) {
        listing_end(rabbitmq);
        return;
    }
    if (is_missing(response) && rabbitmq->config->vhosts.count > 0) {
        if (!details)
            sonde__poll_note(rabbitmq->poll, SONDE__TROUBLE_NOT_FOUND, rabbitmq->config->vhosts.items[rabbitmq->vhost]);
        listing_end(rabbitmq);
        return;
    }
    if (is_missing(response) && details && !rabbitmq->plain_details) {
        rabbitmq->plain_details = true;
        ask(rabbitmq);
        return;
    }
    if (sonde__rabbitmq_http_failed(rabbitmq, response))
        return;
    if (sonde__rabbitmq_read_queues(response->body, response->body_size, details, &rabbitmq->queues, &pages, sick)) {
        malformed(rabbitmq);
        return;
    }
    if (*sick)
        sonde__poll_note(rabbitmq->poll, "queue_down", sick);
    /* Of a table that is full there is nothing more to learn. */
    if (rabbitmq->page < pages && !rabbitmq->queues.truncated) {
        rabbitmq->page++;
        ask(rabbitmq);
        return;
    }
    listing_end(rabbitmq);
}

/** Without the plugin, or the right: readers of streams are unknown. */
static void on_consumers(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    sonde__rabbitmq_readers_clear(&rabbitmq->queues);
    if (!response->error && response->status != 200 && response->status < 500) {
        rabbitmq->no_streams = true;
        step_to(rabbitmq, DONE);
        return;
    }
    if (sonde__rabbitmq_http_failed(rabbitmq, response))
        return;
    if (sonde__rabbitmq_read_consumers(response->body, response->body_size, &rabbitmq->queues)) {
        malformed(rabbitmq);
        return;
    }
    step_to(rabbitmq, OFFSETS);
}

static void on_offsets(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response) {
    const struct sonde__rabbitmq_queue *row = rabbitmq->queues.rows[rabbitmq->stream];
    if (response->error) {
        (void)sonde__rabbitmq_http_failed(rabbitmq, response);
        return;
    }
    if (response->status == 200 &&
        sonde__rabbitmq_read_tracking(response->body, response->body_size, row->vhost, row->name, &rabbitmq->queues)) {
        malformed(rabbitmq);
        return;
    }
    rabbitmq->no_offsets = response->status == 400 || response->status == 405; /* 3.10 takes it for something else */
    if (rabbitmq->no_offsets)
        sonde__poll_note(rabbitmq->poll, "unsupported", "this broker does not tell stored offsets of streams");
    rabbitmq->stream++;
    step_to(rabbitmq, OFFSETS);
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct sonde__rabbitmq *rabbitmq = user;
    switch ((enum step)rabbitmq->step) {
    case OVERVIEW:
        on_overview(rabbitmq, response);
        break;
    case NODES:
        on_nodes(rabbitmq, response);
        break;
    case DETAILS:
    case MESSAGES:
        on_page(rabbitmq, response);
        break;
    case CONSUMERS:
        on_consumers(rabbitmq, response);
        break;
    case OFFSETS:
        on_offsets(rabbitmq, response);
        break;
    case DONE:
        break;
    }
}

static void ask(struct sonde__rabbitmq *rabbitmq) {
    char path[PATH_SIZE_MAX + 400];
    path_write(rabbitmq, path, sizeof path);
    const struct sonde__endpoint *endpoint = &rabbitmq->endpoints[SONDE__RABBITMQ_MANAGEMENT][rabbitmq->address];
    int error = sonde__rest_get(&rabbitmq->rest, endpoint->url, path, on_answer, rabbitmq);
    if (error)
        sonde__rabbitmq_cannot_ask(rabbitmq, error);
}

void sonde__rabbitmq_management_start(struct sonde__rabbitmq *rabbitmq) {
    if (rabbitmq->detailing)
        rabbitmq->no_streams = false;
    if (rabbitmq->detailing)
        step_to(rabbitmq, OVERVIEW);
    else
        listing_begin(rabbitmq, MESSAGES);
}
