/* SPDX-License-Identifier: Apache-2.0 */
/* The RabbitMQ collector's parts. A poll asks one source, which fills the table of queues and then calls
 * sonde__rabbitmq_answered(), or sonde__rabbitmq_failed() once it cannot go on; the other addresses, and with
 * `source: auto` the other sources, are then tried. Loop thread only, but the job of AMQP.
 *
 *   start -> source ... answered -> series in slices -> done
 *              ^--- failed: next address, next source */
#ifndef SONDE_AGENT_COLLECT_RABBITMQ_H
#define SONDE_AGENT_COLLECT_RABBITMQ_H

#include "agent/collect/rabbitmq_queues.h"
#include "agent/collect/rabbitmq_reply.h"
#include "agent/collect/rest.h"

#define SONDE__RABBITMQ_ADDRESSES_MAX 16u
#define SONDE__RABBITMQ_VHOSTS_MAX    64u
#define SONDE__RABBITMQ_NAMED_MAX     1024u /* queues that AMQP asks for */

enum sonde__rabbitmq_source {
    SONDE__RABBITMQ_AUTO,
    SONDE__RABBITMQ_MANAGEMENT,
    SONDE__RABBITMQ_PROMETHEUS,
    SONDE__RABBITMQ_AMQP,
    SONDE__RABBITMQ_SOURCE_COUNT,
};

struct sonde__rabbitmq_config {
    struct sonde_string_list addresses, vhosts, include, exclude, queues, streams;
    int source; /* enum sonde__rabbitmq_source */
    int64_t management_port, prometheus_port, amqp_port, page_size, queues_max;
    char *username, *password;
    uint64_t interval_ns, timeout_ns, detail_interval_ns, response_size_max;
    bool stream_offsets, tls;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
};

struct sonde__rabbitmq;
struct sonde__rabbitmq_amqp;

struct sonde__rabbitmq {
    const struct sonde__rabbitmq_config *config; /* kept until destroyed */
    struct sonde_collector_env env;
    struct sonde__poll *poll;
    struct sonde_timer *slices;
    struct sonde__rest rest;
    struct sonde_tls_options tls;
    struct sonde__filter filter;
    struct sonde__patterns streams;
    struct sonde__rabbitmq_queues queues;
    struct sonde__endpoint endpoints[SONDE__RABBITMQ_SOURCE_COUNT][SONDE__RABBITMQ_ADDRESSES_MAX];
    enum sonde__rabbitmq_source source; /* that is asked */
    size_t address, tries;              /* which is asked; how many failed in this poll */
    bool heard;                         /* anything, in this poll */
    const char *trouble;                /* of the first that failed in this poll; NULL = none did */
    char trouble_text[256];
    uint64_t detailed_ns; /* monotonic: when details were asked for last; 0 = never */
    bool detailing;       /* in this poll */
    size_t put;           /* rows whose series are set */
    struct sonde__rabbitmq_overview overview;
    char cluster[SONDE__RABBITMQ_NAME_SIZE_MAX]; /* what poll was told */
    /* management */
    int step;
    size_t vhost, stream;
    uint32_t page;
    bool plain_details; /* this broker has no /api/queues/detailed (before 3.13) */
    bool no_streams;    /* nor the stream plugin: asked again with the next details */
    bool no_offsets;    /* nor what is stored of them */
    /* prometheus */
    bool per_object;          /* this broker has no /metrics/detailed (before 3.9) */
    size_t answers;           /* of nodes, in this poll */
    const char *node_trouble; /* of the first node that did not answer */
    char node_text[256];
    struct sonde__exposition exposition; /* working memory */
    struct sonde__rabbitmq_amqp *amqp;   /* NULL = not built, or not wanted */
};

void sonde__rabbitmq_answered(struct sonde__rabbitmq *rabbitmq);
/** error_type, text: as of sonde__poll_fail(). */
void sonde__rabbitmq_failed(struct sonde__rabbitmq *rabbitmq, const char *error_type, const char *text);
/** As sonde__poll_http_fail(), for this. */
bool sonde__rabbitmq_http_failed(struct sonde__rabbitmq *rabbitmq, const struct sonde_http_response *response);
/** What sonde__rest_get() returned, as a trouble. */
void sonde__rabbitmq_cannot_ask(struct sonde__rabbitmq *rabbitmq, int error);
void sonde__rabbitmq_cluster(struct sonde__rabbitmq *rabbitmq, const char *name);

/* Sources. Each begins with the address that is its turn. */
void sonde__rabbitmq_management_start(struct sonde__rabbitmq *rabbitmq);
void sonde__rabbitmq_prometheus_start(struct sonde__rabbitmq *rabbitmq);

/* AMQP: a thread that declares queues passively, which never makes one. */
#ifdef SONDE_WITH_RABBITMQ_AMQP
/** Returns 0, -ENOMEM, -EAGAIN. */
int sonde__rabbitmq_amqp_create(struct sonde__rabbitmq *rabbitmq, struct sonde__rabbitmq_amqp **ret_amqp);
void sonde__rabbitmq_amqp_destroy(
    struct sonde__rabbitmq_amqp *amqp); /* NULL is fine; may wait for the poll's timeout */
void sonde__rabbitmq_amqp_start(struct sonde__rabbitmq *rabbitmq);
void sonde__rabbitmq_amqp_stop(struct sonde__rabbitmq *rabbitmq);
#endif

#endif
