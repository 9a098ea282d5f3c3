/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of otlp_http, and the checks that rows cannot express. */
#include "exporters/otlp/otlp_config.h"
#include "exporters/http_headers.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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
    if (strlen(url) + sizeof "/v1/metrics" > SONDE__OTLP_URL_SIZE_MAX)
        return fail(text, text_size, key, "the URL is longer than 2,000 characters");
    return 0;
}

static int urls_make(const struct sonde__otlp_http_config *config, struct sonde__otlp_urls *ret_urls, char *text,
                     size_t text_size) {
    const char *own[SONDE_SIGNAL_COUNT] = {config->traces_endpoint, config->logs_endpoint, config->metrics_endpoint};
    static const char *const keys[SONDE_SIGNAL_COUNT] = {"traces_endpoint", "logs_endpoint", "metrics_endpoint"};
    const char *base = config->endpoint ? config->endpoint : "";
    int error = url_check("endpoint", base, true, text, text_size);
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    for (int signal = 0; signal < SONDE_SIGNAL_COUNT && !error; signal++) {
        if (!own[signal] || !*own[signal]) {
            (void)snprintf(ret_urls->url[signal], SONDE__OTLP_URL_SIZE_MAX, "%.*s/v1/%s", (int)length, base,
                           signal_names[signal]);
            continue;
        }
        error = url_check(keys[signal], own[signal], false, text, text_size);
        (void)snprintf(ret_urls->url[signal], SONDE__OTLP_URL_SIZE_MAX, "%s", own[signal]);
    }
    return error;
}

uint32_t sonde__otlp_http_signals(const void *config) {
    const struct sonde_string_list *list = &((const struct sonde__otlp_http_config *)config)->signals;
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

enum sonde_temporality sonde__otlp_http_temporality(const void *config) {
    return (enum sonde_temporality)((const struct sonde__otlp_http_config *)config)->temporality;
}

int sonde__otlp_http_check(const struct sonde__otlp_http_config *config, struct sonde__otlp_urls *ret_urls, char *text,
                           size_t text_size) {
    if (sonde__otlp_http_signals(config) == 0)
        return fail(text, text_size, "signals", "a list of traces, logs and metrics is wanted");
    if (config->batch_size > config->batch_size_max)
        return fail(text, text_size, "batch.size", "must not be larger than batch.size_max");
    if (config->retry_initial_ns > config->retry_max_ns)
        return fail(text, text_size, "retry.initial_interval", "must not be longer than retry.max_interval");
    bool cert = config->cert_file && *config->cert_file, key = config->key_file && *config->key_file;
    if (cert != key)
        return fail(text, text_size, cert ? "tls.key_file" : "tls.cert_file",
                    "tls.cert_file and tls.key_file go together");
    static const char *const ours[] = {"content-type",   "content-encoding",
                                       "content-length", "transfer-encoding",
                                       "expect",         "host",
                                       "connection",     NULL};
    int error = sonde__http_headers_check(&config->headers, ours, text, text_size);
    return error ? error : urls_make(config, ret_urls, text, text_size);
}

#define AT(member) offsetof(struct sonde__otlp_http_config, member)
static const char *const compressions[] = {"none", "gzip", NULL};
static const char *const temporalities[] = {"cumulative", "delta", "lowmemory", NULL}; /* enum sonde_temporality */
const struct sonde_option sonde__otlp_http_options[] = {
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
     .sentence =
         "Longest first pause after a failure that may pass, and the first wait of the open circuit breaker; both "
         "doubled with each failure, with jitter."},
    {"retry.max_interval", SONDE_OPTION_DURATION, AT(retry_max_ns), 10, 300000, "30s",
     .sentence = "Longest pause between two tries, whether by back-off or by the breaker; there is no last one."},
    {"batch.size", SONDE_OPTION_SIZE, AT(batch_size), 1024, 4194303, "512KiB",
     .sentence = "A request is sent when it has this many bytes before compression."},
    {"batch.size_max", SONDE_OPTION_SIZE, AT(batch_size_max), 4096, 4194303, "3840KiB",
     .sentence = "Bytes before compression that no request passes; backends commonly take up to 4 MiB."},
    {"batch.items", SONDE_OPTION_INT, AT(batch_items), 1, 1000000, "8192",
     .sentence = "A request is sent when it has this many spans, log records or metrics."},
    {"batch.timeout", SONDE_OPTION_DURATION, AT(batch_timeout_ns), 0, 60000, "200ms",
     .sentence = "A request is sent when its first record is this old, however small it is."},
    {"temporality", SONDE_OPTION_ENUM, AT(temporality), .default_text = "cumulative", .values = temporalities,
     .sentence = "What counters and histograms are sent as: delta is what was added since the last export, lowmemory "
                 "that but for observable counters; the same for all exporters of an agent."},
    {"concurrency", SONDE_OPTION_INT, AT(concurrency), 1, 64, "4",
     .sentence = "Requests under way at once; one while the backend fails."},
    SONDE_OPTION_END,
};
