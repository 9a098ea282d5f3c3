/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP over HTTP, protobuf bodies: the transport under exporters/delivery/.
 *   batch -> encode -> (gzip on the pool) -> exchange -> answer -> outcome
 * A body is kept while its batch waits for another try, so nothing is compressed twice.
 * Source: opentelemetry-proto, docs/specification.md, OTLP/HTTP. */
#include "exporters/otlp/otlp_http.h"
#include "exporters/delivery/delivery.h"
#include "exporters/otlp/answer.h"
#include "exporters/otlp/gzip.h"
#include "exporters/otlp/request.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>

struct otlp_http {
    const struct sonde__otlp_http_config *config; /* kept until destroy */
    struct sonde__delivery delivery;
    struct sonde_tls_options tls;
    struct sonde__otlp_urls urls;
};

/* What is under way for one batch (batch->attached). It outlives the batch when a pool thread still reads its body. */
struct send {
    struct sonde_alloc alloc;
    struct otlp_http *exporter;
    struct sonde__batch *batch; /* NULL = nobody waits for it any more */
    uint8_t *body;              /* owned */
    size_t body_size, plain_size;
    struct sonde__gzip *gzip; /* owned; non-NULL = on the pool */
    bool compressed;
    uint64_t timeout_ns;
    void *exchange; /* non-NULL = under way */
};

static void send_destroy(struct send *send) {
    struct sonde_alloc alloc = send->alloc;
    sonde__gzip_destroy(&alloc, send->gzip);
    sonde_alloc_free(&alloc, send->body);
    sonde_alloc_free(&alloc, send);
}

static void send_answered(void *user, const struct sonde_http_response *response) {
    struct send *send = user;
    struct otlp_http *exporter = send->exporter;
    const struct sonde_seams *seams = &exporter->delivery.env.seams;
    struct sonde__outcome outcome;
    char text[300];
    send->exchange = NULL;
    sonde__otlp_answer_read(response, &seams->alloc, seams->time.unix_ns(seams->time.self), text, sizeof text,
                            &outcome);
    outcome.bytes_sent = send->body_size;
    outcome.bytes_uncompressed = send->plain_size;
    sonde__delivery_done(&exporter->delivery, send->batch, &outcome);
}

static int send_start(struct send *send) {
    const struct otlp_http *exporter = send->exporter;
    const struct sonde__http_client *http = &exporter->delivery.env.http;
    const struct sonde_http_request request = {.method = "POST",
                                               .url = exporter->urls.url[send->batch->signal],
                                               .headers = &exporter->config->headers,
                                               .content_type = "application/x-protobuf",
                                               .content_encoding = send->compressed ? "gzip" : NULL,
                                               .body = send->body,
                                               .body_size = send->body_size,
                                               .timeout_ns = send->timeout_ns,
                                               .response_size_max = SONDE__OTLP_RESPONSE_SIZE_MAX,
                                               .tls = &exporter->tls};
    return http->start(http->self, &request, send_answered, send, &send->exchange);
}

static void send_compress(void *job) { /* pool thread */
    struct send *send = job;
    sonde__gzip_work(send->gzip, send->body, send->plain_size);
}

static void send_compressed(void *job) {
    struct send *send = job;
    if (!send->batch) {
        send_destroy(send);
        return;
    }
    uint8_t *plain = send->body;
    send->compressed = sonde__gzip_steal(&send->alloc, send->gzip, &send->body, &send->body_size);
    if (send->compressed)
        sonde_alloc_free(&send->alloc, plain);
    sonde__gzip_destroy(&send->alloc, send->gzip);
    send->gzip = NULL;
    if (send_start(send) == 0)
        return;
    const struct sonde__outcome outcome = {.answer = SONDE__ANSWER_NO_MEMORY, .text = "request not started"};
    sonde__delivery_done(&send->exporter->delivery, send->batch, &outcome);
}

/* Encodes and, where asked, starts compressing. */
static int send_make(struct otlp_http *exporter, struct sonde__batch *batch, uint64_t timeout_ns,
                     struct send **ret_send) {
    const struct sonde_exporter_env *env = &exporter->delivery.env;
    const struct sonde_alloc *alloc = &env->seams.alloc;
    struct send *send = sonde_alloc_new(alloc, sizeof *send);
    if (!send)
        return -ENOMEM;
    *send = (struct send){.alloc = *alloc, .exporter = exporter, .batch = batch, .timeout_ns = timeout_ns};
    int error = sonde__otlp_request_encode(alloc, batch, &send->body, &send->plain_size);
    send->body_size = send->plain_size;
    if (!error && exporter->config->compression) {
        send->gzip = sonde__gzip_create(alloc, (int)exporter->config->compression_level, send->plain_size);
        error = send->gzip ? env->pool.submit(env->pool.self, send_compress, send_compressed, send) : -ENOMEM;
    }
    if (error) {
        send_destroy(send);
        return error;
    }
    *ret_send = send;
    return 0;
}

static int transport_send(void *self, struct sonde__batch *batch, uint64_t timeout_ns) {
    struct send *send = batch->attached;
    if (!send) {
        int error = send_make(self, batch, timeout_ns, &send);
        if (error)
            return error;
        batch->attached = send;
    }
    send->timeout_ns = timeout_ns;
    return send->gzip ? 0 : send_start(send);
}

static void transport_discard(void *self, struct sonde__batch *batch) {
    struct otlp_http *exporter = self;
    struct send *send = batch->attached;
    batch->attached = NULL;
    if (send->gzip) {
        send->batch = NULL; /* send_compressed() frees it */
        return;
    }
    if (send->exchange)
        exporter->delivery.env.http.cancel(exporter->delivery.env.http.self, send->exchange);
    send_destroy(send);
}

/* --- the exporter --- */

static int otlp_http_create(const void *config_data, const struct sonde_exporter_env *env, void **ret_self,
                            char *error_text, size_t error_text_size) {
    const struct sonde__otlp_http_config *config = config_data;
    struct otlp_http *exporter = sonde_alloc_new(&env->seams.alloc, sizeof *exporter);
    if (!exporter)
        return -ENOMEM;
    exporter->config = config;
    int error = sonde__otlp_http_check(config, &exporter->urls, error_text, error_text_size);
    if (error) {
        sonde_alloc_free(&env->seams.alloc, exporter);
        return error;
    }
    exporter->tls = (struct sonde_tls_options){.ca_file = config->ca_file,
                                               .cert_file = config->cert_file,
                                               .key_file = config->key_file,
                                               .insecure_skip_verify = config->insecure_skip_verify};
    const struct sonde__delivery_options options = {.timeout_ns = config->timeout_ns,
                                                    .retry_initial_ns = config->retry_initial_ns,
                                                    .retry_max_ns = config->retry_max_ns,
                                                    .batch_timeout_ns = config->batch_timeout_ns,
                                                    .batch_size = (size_t)config->batch_size,
                                                    .batch_size_max = (size_t)config->batch_size_max,
                                                    .batch_items = (uint64_t)config->batch_items,
                                                    .concurrency = (uint32_t)config->concurrency};
    const struct sonde__transport transport = {transport_send, transport_discard, exporter};
    sonde__delivery_init(&exporter->delivery, &options, env, &transport);
    *ret_self = exporter;
    return 0;
}

static uint64_t otlp_http_run(void *self) {
    return sonde__delivery_run(&((struct otlp_http *)self)->delivery);
}
static void otlp_http_stop(void *self) {
    sonde__delivery_stop(&((struct otlp_http *)self)->delivery);
}
static bool otlp_http_idle(void *self) {
    return sonde__delivery_is_idle(&((struct otlp_http *)self)->delivery);
}
static void otlp_http_status(void *self, struct sonde_exporter_status *ret_status) {
    const struct otlp_http *exporter = self;
    *ret_status = exporter->delivery.status;
    ret_status->pause_until_ns = exporter->delivery.pause_until_ns;
    ret_status->breaker = sonde__guard_state(&exporter->delivery.guard);
    (void)snprintf(ret_status->endpoint, sizeof ret_status->endpoint, "%s", exporter->config->endpoint);
}
static void otlp_http_destroy(void *self) {
    struct otlp_http *exporter = self;
    if (!exporter)
        return;
    sonde__delivery_deinit(&exporter->delivery);
    struct sonde_alloc alloc = exporter->delivery.env.seams.alloc;
    sonde_alloc_free(&alloc, exporter);
}

const struct sonde_exporter_ops sonde_exporter_otlp_http = {
    .name = "otlp_http",
    .summary = "Sends traces, logs and metrics by OTLP over HTTP.",
    .config_size = sizeof(struct sonde__otlp_http_config),
    .options = sonde__otlp_http_options,
    .signals = (1u << SONDE_SIGNAL_COUNT) - 1,
    .signals_of = sonde__otlp_http_signals,
    .temporality_of = sonde__otlp_http_temporality,
    .create = otlp_http_create,
    .run = otlp_http_run,
    .stop = otlp_http_stop,
    .idle = otlp_http_idle,
    .status = otlp_http_status,
    .destroy = otlp_http_destroy,
};
