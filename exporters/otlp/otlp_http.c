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
#include <string.h>
#include <strings.h>

#define URL_SIZE_MAX 2048u

struct otlp_http {
    const struct sonde__otlp_http_config *config; /* kept until destroy */
    struct sonde__delivery delivery;
    struct sonde_tls_options tls;
    char url[SONDE_SIGNAL_COUNT][URL_SIZE_MAX];
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
    const struct sonde_http_client *http = &exporter->delivery.env.http;
    const struct sonde_http_request request = {.method = "POST",
                                               .url = exporter->url[send->batch->signal],
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
    sonde_alloc_free(&send->alloc, send->body);
    sonde__gzip_steal(&send->alloc, send->gzip, &send->body, &send->body_size);
    sonde__gzip_destroy(&send->alloc, send->gzip);
    send->gzip = NULL;
    send->compressed = true;
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

/* --- the configuration's checks --- */

static const char *const signal_names[SONDE_SIGNAL_COUNT + 1] = {"traces", "logs", "metrics", NULL};

static int fail(char *text, size_t text_size, const char *key, const char *what) {
    (void)snprintf(text, text_size, "%s: %s", key, what);
    return SONDE_EINVALID;
}

static int url_check(const char *key, const char *url, bool base, char *text, size_t text_size) {
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    size_t authority = strcspn(url + scheme, "/?#");
    if (scheme == 0 || authority == 0)
        return fail(text, text_size, key,
                    "an URL is wanted, http://HOST:PORT or https://HOST:PORT, with a path or without");
    for (const char *at = url; *at; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return fail(text, text_size, key, "an URL has no spaces or control characters");
    }
    if (memchr(url + scheme, '@', authority))
        return fail(text, text_size, key,
                    "an URL must not hold a user and password; give an Authorization header in `headers`");
    if (base && strpbrk(url, "?#"))
        return fail(text, text_size, key,
                    "the base URL must not have a query or fragment; set traces_endpoint, logs_endpoint "
                    "and metrics_endpoint instead");
    if (strlen(url) + sizeof "/v1/metrics" > URL_SIZE_MAX)
        return fail(text, text_size, key, "the URL is longer than 2,000 characters");
    return 0;
}

static int urls_make(struct otlp_http *exporter, char *text, size_t text_size) {
    const struct sonde__otlp_http_config *config = exporter->config;
    const char *own[SONDE_SIGNAL_COUNT] = {config->traces_endpoint, config->logs_endpoint, config->metrics_endpoint};
    static const char *const keys[SONDE_SIGNAL_COUNT] = {"traces_endpoint", "logs_endpoint", "metrics_endpoint"};
    const char *base = config->endpoint ? config->endpoint : "";
    int error = url_check("endpoint", base, true, text, text_size);
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    for (int signal = 0; signal < SONDE_SIGNAL_COUNT && !error; signal++) {
        if (!own[signal] || !*own[signal]) {
            (void)snprintf(exporter->url[signal], URL_SIZE_MAX, "%.*s/v1/%s", (int)length, base, signal_names[signal]);
            continue;
        }
        error = url_check(keys[signal], own[signal], false, text, text_size);
        (void)snprintf(exporter->url[signal], URL_SIZE_MAX, "%s", own[signal]);
    }
    return error;
}

static int headers_check(const struct sonde_string_map *headers, char *text, size_t text_size) {
    static const char *const ours[] = {
        "content-type", "content-encoding", "content-length", "transfer-encoding", "expect", "host", "connection"};
    for (size_t i = 0; i < headers->count; i++) {
        const char *key = headers->keys[i];
        /* RFC 9110, 5.6.2: the characters of a token. Values stay out of the message: they are secrets. */
        if (!*key || key[strspn(key, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")])
            return fail(text, text_size, "headers", "a header's name has letters, digits and !#$%&'*+-.^_`|~ only");
        if (strpbrk(headers->values[i], "\r\n"))
            return fail(text, text_size, "headers", "a header's value must be one line");
        for (size_t j = 0; j < sizeof ours / sizeof *ours; j++) {
            if (strcasecmp(key, ours[j]) == 0)
                return fail(text, text_size, "headers",
                            "content-type, content-encoding, content-length, transfer-encoding, "
                            "expect, host and connection are set by the exporter");
        }
    }
    return 0;
}

/* The signals asked for as bits, 0 when a name is unknown. */
static uint32_t signals_read(const struct sonde_string_list *list) {
    uint32_t bits = 0;
    for (size_t i = 0; i < list->count; i++) {
        int signal = 0;
        while (signal < SONDE_SIGNAL_COUNT && strcmp(list->items[i], signal_names[signal]) != 0)
            signal++;
        if (signal == SONDE_SIGNAL_COUNT)
            return 0;
        bits |= 1u << signal;
    }
    return list->count ? bits : (1u << SONDE_SIGNAL_COUNT) - 1;
}

static int config_check(const struct sonde__otlp_http_config *config, char *text, size_t text_size) {
    if (signals_read(&config->signals) == 0)
        return fail(text, text_size, "signals", "a list of traces, logs and metrics is wanted");
    if (config->batch_size > config->batch_size_max)
        return fail(text, text_size, "batch.size", "must not be larger than batch.size_max");
    if (config->retry_initial_ns > config->retry_max_ns)
        return fail(text, text_size, "retry.initial_interval", "must not be longer than retry.max_interval");
    bool cert = config->cert_file && *config->cert_file, key = config->key_file && *config->key_file;
    if (cert != key)
        return fail(text, text_size, cert ? "tls.key_file" : "tls.cert_file",
                    "tls.cert_file and tls.key_file go together");
    return headers_check(&config->headers, text, text_size);
}

/* --- the exporter --- */

static int otlp_http_create(const void *config_data, const struct sonde_exporter_env *env, void **ret_self,
                            char *error_text, size_t error_text_size) {
    const struct sonde__otlp_http_config *config = config_data;
    int error = config_check(config, error_text, error_text_size);
    if (error)
        return error;
    struct otlp_http *exporter = sonde_alloc_new(&env->seams.alloc, sizeof *exporter);
    if (!exporter)
        return -ENOMEM;
    exporter->config = config;
    error = urls_make(exporter, error_text, error_text_size);
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
static uint32_t otlp_http_signals(const void *config) {
    return signals_read(&((const struct sonde__otlp_http_config *)config)->signals);
}

#define AT(member) offsetof(struct sonde__otlp_http_config, member)
static const char *const compressions[] = {"none", "gzip", NULL};
static const struct sonde_option options[] = {
    {"endpoint", SONDE_OPTION_STRING, AT(endpoint),
     .sentence = "Base URL of the backend, http://HOST:PORT or https://HOST:PORT; /v1/traces, /v1/logs and /v1/metrics "
                 "are appended."},
    {"traces_endpoint", SONDE_OPTION_STRING, AT(traces_endpoint), .default_text = "",
     .sentence = "Whole URL for traces, used as it is instead of endpoint."},
    {"logs_endpoint", SONDE_OPTION_STRING, AT(logs_endpoint), .default_text = "",
     .sentence = "Whole URL for logs, used as it is instead of endpoint."},
    {"metrics_endpoint", SONDE_OPTION_STRING, AT(metrics_endpoint), .default_text = "",
     .sentence = "Whole URL for metrics, used as it is instead of endpoint."},
    {"signals", SONDE_OPTION_STRING_LIST, AT(signals), .default_text = "",
     .sentence = "Which of traces, logs and metrics are sent; empty means all."},
    {"headers", SONDE_OPTION_STRING_MAP, AT(headers), .default_text = "", .secret = true,
     .sentence = "Headers added to every request (for authorization, say)."},
    {"timeout", SONDE_OPTION_DURATION, AT(timeout_ns), 100, 600000, "10s",
     .sentence = "Longest time for one request with its answer; a later answer counts as none."},
    {"compression", SONDE_OPTION_ENUM, AT(compression), .default_text = "gzip", .values = compressions,
     .sentence = "How bodies are compressed."},
    {"compression_level", SONDE_OPTION_INT, AT(compression_level), 1, 12, "1",
     .sentence =
         "Effort of gzip: 1 is fastest, 12 smallest; 6 costs twice the processor time of 1 for 4 % fewer bytes."},
    {"tls.ca_file", SONDE_OPTION_STRING, AT(ca_file), .default_text = "",
     .sentence = "PEM file of the authorities that may vouch for the backend; empty means the system's."},
    {"tls.cert_file", SONDE_OPTION_STRING, AT(cert_file), .default_text = "",
     .sentence = "PEM file of our own certificate, where the backend asks for one."},
    {"tls.key_file", SONDE_OPTION_STRING, AT(key_file), .default_text = "",
     .sentence = "PEM file of the key of tls.cert_file."},
    {"tls.insecure_skip_verify", SONDE_OPTION_BOOL, AT(insecure_skip_verify), .default_text = "false",
     .sentence = "Whether the backend's certificate goes unchecked; for trials only."},
    {"retry.initial_interval", SONDE_OPTION_DURATION, AT(retry_initial_ns), 10, 60000, "500ms",
     .sentence = "First pause after a failure that may pass; doubled with each one, with jitter."},
    {"retry.max_interval", SONDE_OPTION_DURATION, AT(retry_max_ns), 10, 300000, "30s",
     .sentence = "Longest pause between two tries; there is no last one."},
    {"batch.size", SONDE_OPTION_SIZE, AT(batch_size), 1024, 4194303, "512KiB",
     .sentence = "A request is sent when it has this many bytes before compression."},
    {"batch.size_max", SONDE_OPTION_SIZE, AT(batch_size_max), 4096, 4194303, "3840KiB",
     .sentence = "Bytes before compression that no request passes; backends commonly take up to 4 MiB."},
    {"batch.items", SONDE_OPTION_INT, AT(batch_items), 1, 1000000, "8192",
     .sentence = "A request is sent when it has this many spans, log records or metrics."},
    {"batch.timeout", SONDE_OPTION_DURATION, AT(batch_timeout_ns), 0, 60000, "200ms",
     .sentence = "A request is sent when its first record is this old, however small it is."},
    {"concurrency", SONDE_OPTION_INT, AT(concurrency), 1, 64, "4",
     .sentence = "Requests under way at once; one while the backend fails."},
    SONDE_OPTION_END,
};

const struct sonde_exporter_ops sonde_exporter_otlp_http = {
    .name = "otlp_http",
    .summary = "Sends traces, logs and metrics by OTLP over HTTP.",
    .config_size = sizeof(struct sonde__otlp_http_config),
    .options = options,
    .signals = (1u << SONDE_SIGNAL_COUNT) - 1,
    .signals_of = otlp_http_signals,
    .create = otlp_http_create,
    .run = otlp_http_run,
    .stop = otlp_http_stop,
    .idle = otlp_http_idle,
    .status = otlp_http_status,
    .destroy = otlp_http_destroy,
};
