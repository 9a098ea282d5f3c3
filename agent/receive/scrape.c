/* SPDX-License-Identifier: Apache-2.0 */
/* The prometheus_scrape receiver: its configuration, and its targets together. */
#include "agent/receive/scrape.h"
#include "agent/log.h"
#include "exporters/http_headers.h"
#include "instrumentation/wire/base64.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define OUR_HEADERS     3u /* Accept, X-Prometheus-Scrape-Timeout-Seconds, Authorization */
#define SECRET_SIZE_MAX 4096u

struct scrape {
    struct sonde__scrape_shared shared;
    struct sonde__scrape_target **targets; /* owned */
    size_t target_count;
    char *keys[SONDE__SCRAPE_LABELS_MAX + OUR_HEADERS], *values[SONDE__SCRAPE_LABELS_MAX + OUR_HEADERS]; /* borrowed */
    char timeout[24], authorization[SECRET_SIZE_MAX * 2];
    struct sonde__exposition exposition;
};

#define AT(member) offsetof(struct sonde__scrape_config, member)
static const struct sonde_option options[] = {
    {"targets", SONDE_OPTION_STRING_LIST, AT(targets),
     .sentence = "What to scrape: HOST:PORT, or a whole URL; at most 1024."},
    {"job", SONDE_OPTION_STRING, AT(job), .default_text = "prometheus_scrape",
     .sentence = "service.name of the targets; host:port is their service.instance.id."},
    {"scheme", SONDE_OPTION_STRING, AT(scheme), .default_text = "http",
     .sentence = "http or https, for targets that are no URL."},
    {"metrics_path", SONDE_OPTION_STRING, AT(metrics_path), .default_text = "/metrics",
     .sentence = "Path, for targets that name none."},
    {"interval", SONDE_OPTION_DURATION, AT(interval_ns), 100, 3600000, "15s",
     .sentence = "Time between the starts of two scrapes of a target."},
    {"timeout", SONDE_OPTION_DURATION, AT(timeout_ns), 50, 600000, "10s",
     .sentence = "Time one scrape may take, connecting included; not longer than the interval."},
    {"body_size_limit", SONDE_OPTION_SIZE, AT(body_size_max), 1024, 268435456, "16MiB",
     .sentence = "Bytes that a target may answer; more is a scrape that failed."},
    {"sample_limit", SONDE_OPTION_INT, AT(sample_limit), 1, 1000000, "50000",
     .sentence = "Samples that a target may have; more is a scrape that failed."},
    {"headers", SONDE_OPTION_STRING_MAP, AT(headers), .default_text = "", .secret = true,
     .sentence = "Headers added to every request, at most 16."},
    {"bearer_token", SONDE_OPTION_STRING, AT(bearer_token), .default_text = "", .secret = true,
     .sentence = "Token for Authorization: Bearer; empty sends none."},
    {"basic_auth.username", SONDE_OPTION_STRING, AT(username), .default_text = "",
     .sentence = "User for Authorization: Basic; empty sends none."},
    {"basic_auth.password", SONDE_OPTION_STRING, AT(password), .default_text = "", .secret = true,
     .sentence = "Password of basic_auth.username."},
    {"labels", SONDE_OPTION_STRING_MAP, AT(labels), .default_text = "",
     .sentence = "Attributes added to every series, at most 16."},
    {"honor_labels", SONDE_OPTION_BOOL, AT(honor_labels), .default_text = "false",
     .sentence = "Whether a target's own label wins over one of `labels`; else it is renamed to exported_NAME."},
    {"tls.ca_file", SONDE_OPTION_STRING, AT(ca_file), .default_text = "",
     .sentence = "PEM file of the authorities that may vouch for a target; empty means the system's."},
    {"tls.cert_file", SONDE_OPTION_STRING, AT(cert_file), .default_text = "",
     .sentence = "PEM file of our own certificate, where a target asks for one."},
    {"tls.key_file", SONDE_OPTION_STRING, AT(key_file), .default_text = "",
     .sentence = "PEM file of the key of tls.cert_file."},
    {"tls.insecure_skip_verify", SONDE_OPTION_BOOL, AT(insecure_skip_verify), .default_text = "false",
     .sentence = "Whether a target's certificate goes unchecked; for trials only."},
    SONDE_OPTION_END,
};

static int fail(char *text, size_t size, const char *key, const char *problem) {
    (void)snprintf(text, size, "%s: %s", key, problem);
    return SONDE_EINVALID;
}

static int headers_check(const struct sonde_string_map *headers, char *text, size_t size) {
    static const char *const ours[] = {
        "host", "content-length", "transfer-encoding", "connection", "accept", "accept-encoding", NULL};
    if (headers->count > SONDE__SCRAPE_LABELS_MAX)
        return fail(text, size, "headers", "more than 16");
    return sonde__http_headers_check(headers, ours, text, size);
}

static int labels_check(const struct sonde_string_map *labels, char *text, size_t size) {
    if (labels->count > SONDE__SCRAPE_LABELS_MAX)
        return fail(text, size, "labels", "more than 16");
    for (size_t i = 0; i < labels->count; i++)
        if (!*labels->keys[i] || strlen(labels->keys[i]) >= SONDE_KEY_SIZE_MAX || !sonde__http_is_line(labels->keys[i]))
            return fail(text, size, "labels", "a name is empty, too long, or not one line");
    return 0;
}

static int check(const struct sonde__scrape_config *config, char *text, size_t size) {
    struct sonde__scrape_address address;
    if (strcmp(config->scheme, "http") != 0 && strcmp(config->scheme, "https") != 0)
        return fail(text, size, "scheme", "http or https is wanted");
    if (config->timeout_ns > config->interval_ns)
        return fail(text, size, "timeout", "must not be longer than interval");
    if (!*config->job)
        return fail(text, size, "job", "must not be empty");
    if (config->targets.count > SONDE__SCRAPE_TARGETS_MAX)
        return fail(text, size, "targets", "more than 1024");
    for (size_t i = 0; i < config->targets.count; i++)
        if (sonde__scrape_address_parse(config->targets.items[i], config->scheme, config->metrics_path, &address))
            return fail(text, size, "targets",
                        "use HOST:PORT, [IPV6]:PORT, http://HOST:PORT/PATH or https://..., "
                        "without a user and password");
    bool token = *config->bearer_token, user = *config->username;
    if (token && user)
        return fail(text, size, "bearer_token", "not together with basic_auth");
    if (!sonde__http_is_line(config->bearer_token) || strlen(config->bearer_token) > SECRET_SIZE_MAX)
        return fail(text, size, "bearer_token", "must be one line of at most 4096 bytes");
    if (strchr(config->username, ':') || strlen(config->username) + strlen(config->password) > SECRET_SIZE_MAX)
        return fail(text, size, "basic_auth", "a user has no colon, and both together at most 4096 bytes");
    if (!*config->cert_file != !*config->key_file)
        return fail(text, size, *config->cert_file ? "tls.key_file" : "tls.cert_file",
                    "tls.cert_file and tls.key_file go together");
    int err = headers_check(&config->headers, text, size);
    return err ? err : labels_check(&config->labels, text, size);
}

/* ---- what every request carries ---- */

static void header_add(struct scrape *scrape, const char *key, const char *value) {
    struct sonde_string_map *headers = &scrape->shared.headers;
    scrape->keys[headers->count] = (char *)(uintptr_t)key;
    scrape->values[headers->count++] = (char *)(uintptr_t)value;
}

static void headers_make(struct scrape *scrape, const struct sonde__scrape_config *config) {
    scrape->shared.headers = (struct sonde_string_map){scrape->keys, scrape->values, 0};
    header_add(scrape, "Accept",
               "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,text/plain;q=0.3");
    (void)snprintf(scrape->timeout, sizeof scrape->timeout, "%g", (double)config->timeout_ns / 1e9);
    header_add(scrape, "X-Prometheus-Scrape-Timeout-Seconds", scrape->timeout);
    if (*config->bearer_token)
        (void)snprintf(scrape->authorization, sizeof scrape->authorization, "Bearer %s", config->bearer_token);
    if (*config->username) {
        char plain[SECRET_SIZE_MAX + 2];
        int size = snprintf(plain, sizeof plain, "%s:%s", config->username, config->password);
        memcpy(scrape->authorization, "Basic ", 6);
        size_t end = 6 + sonde__base64_write(plain, (size_t)size, true, scrape->authorization + 6);
        scrape->authorization[end] = '\0';
        explicit_bzero(plain, sizeof plain);
    }
    if (scrape->authorization[0])
        header_add(scrape, "Authorization", scrape->authorization);
    for (size_t i = 0; i < config->headers.count; i++)
        header_add(scrape, config->headers.keys[i], config->headers.values[i]);
}

/* ---- life ---- */

static void destroy(void *self) {
    struct scrape *scrape = self;
    if (!scrape)
        return;
    const struct sonde_alloc *alloc = &scrape->shared.env.seams->alloc;
    for (size_t i = 0; i < scrape->target_count; i++)
        sonde__scrape_target_destroy(scrape->targets[i]);
    sonde_alloc_free(alloc, scrape->targets);
    explicit_bzero(scrape->authorization, sizeof scrape->authorization);
    sonde_alloc_free(alloc, scrape);
}

/* Targets take turns over the interval, so that they are not all read at once. */
static int targets_create(struct scrape *scrape) {
    const struct sonde_seams *seams = scrape->shared.env.seams;
    const struct sonde__scrape_config *config = scrape->shared.config;
    uint64_t now = seams->time.monotonic_ns(seams->time.self), count = config->targets.count;
    scrape->targets = sonde_alloc_new(&seams->alloc, (count + 1) * sizeof *scrape->targets);
    int err = scrape->targets ? 0 : -ENOMEM;
    for (size_t i = 0; !err && i < count; i++) {
        err = sonde__scrape_target_create(&scrape->shared, config->targets.items[i],
                                          now + config->interval_ns / count * i, &scrape->targets[i]);
        scrape->target_count += !err;
    }
    return err;
}

static int create(const void *config_data, const struct sonde_receiver_env *env, void **ret_self, char *error_text,
                  size_t error_text_size) {
    const struct sonde__scrape_config *config = config_data;
    int err = check(config, error_text, error_text_size);
    if (err)
        return err;
    struct scrape *scrape = sonde_alloc_new(&env->seams->alloc, sizeof *scrape);
    if (!scrape)
        return -ENOMEM;
    memset(scrape, 0, sizeof *scrape);
    scrape->shared = (struct sonde__scrape_shared){.config = config,
                                                   .env = *env,
                                                   .tls = {.ca_file = config->ca_file,
                                                           .cert_file = config->cert_file,
                                                           .key_file = config->key_file,
                                                           .insecure_skip_verify = config->insecure_skip_verify},
                                                   .exposition = &scrape->exposition};
    headers_make(scrape, config);
    err = targets_create(scrape);
    if (err) {
        destroy(scrape);
        return err;
    }
    if (config->insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "certificates of targets are not checked", "receiver=%s", env->name);
    *ret_self = scrape;
    return 0;
}

static void stop(void *self) {
    struct scrape *scrape = self;
    for (size_t i = 0; i < scrape->target_count; i++)
        sonde__scrape_target_stop(scrape->targets[i]);
}

const struct sonde_receiver_ops sonde_receiver_prometheus_scrape = {
    .name = "prometheus_scrape",
    .summary = "metrics of other programs, asked for as Prometheus does",
    .config_size = sizeof(struct sonde__scrape_config),
    .options = options,
    .create = create,
    .stop = stop,
    .destroy = destroy,
};
