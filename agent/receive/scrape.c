/* SPDX-License-Identifier: Apache-2.0 */
/* The prometheus_scrape receiver: its targets together, those of the configuration and those that are discovered. */
#include "agent/receive/scrape.h"
#include "agent/log.h"
#include "instrumentation/wire/base64.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define DISCOVERERS_MAX 4u
#define OUR_HEADERS     3u /* Accept, X-Prometheus-Scrape-Timeout-Seconds, Authorization */

struct scrape {
    struct sonde__scrape_shared shared;
    struct sonde__scrape_target *targets[SONDE__SCRAPE_TARGETS_MAX]; /* owned; those of the configuration first */
    size_t target_count;
    struct discovery {
        const struct sonde_discoverer_ops *ops;
        void *self; /* owned */
    } discoveries[DISCOVERERS_MAX];
    size_t discovery_count;
    char *keys[SONDE__SCRAPE_LABELS_MAX + OUR_HEADERS], *values[SONDE__SCRAPE_LABELS_MAX + OUR_HEADERS]; /* borrowed */
    char timeout[24], authorization[SONDE__SCRAPE_SECRET_SIZE_MAX * 2];
    struct sonde__exposition exposition;
    struct sonde__scrape_told told;
};

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
        char plain[SONDE__SCRAPE_SECRET_SIZE_MAX + 2];
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
    for (size_t i = 0; i < scrape->discovery_count; i++)
        scrape->discoveries[i].ops->destroy(scrape->discoveries[i].self);
    for (size_t i = 0; i < scrape->target_count; i++)
        sonde__scrape_target_destroy(scrape->targets[i]);
    explicit_bzero(scrape->authorization, sizeof scrape->authorization);
    sonde_alloc_free(alloc, scrape);
}

/* Targets take turns over the interval, so that they are not all read at once. */
static int targets_create(struct scrape *scrape) {
    const struct sonde_seams *seams = scrape->shared.env.seams;
    const struct sonde__scrape_config *config = scrape->shared.config;
    uint64_t now = seams->time.monotonic_ns(seams->time.self), count = config->targets.count;
    int err = 0;
    for (size_t i = 0; !err && i < count; i++) {
        err = sonde__scrape_target_create(&scrape->shared, config->targets.items[i], NULL,
                                          now + config->interval_ns / count * i, &scrape->targets[i]);
        scrape->target_count += !err;
    }
    return err;
}

/* ---- discovery ---- */

/* Targets of a source that are named no more go; those that are named still stay as they are. */
static size_t targets_keep(struct scrape *scrape, const char *source, const struct sonde_discovered *const *found,
                           size_t count, bool *matched) {
    size_t kept = 0, gone = 0;
    for (size_t i = 0; i < scrape->target_count; i++) {
        struct sonde__scrape_target *target = scrape->targets[i];
        const struct sonde__scrape_origin *origin = sonde__scrape_target_origin(target);
        size_t k = 0;
        if (origin && strcmp(origin->source, source) == 0) {
            while (k < count && (matched[k] || !sonde__discovered_equals(origin->found, found[k])))
                k++;
            if (k == count) {
                sonde__scrape_target_destroy(target);
                gone++;
                continue;
            }
            matched[k] = true;
        }
        scrape->targets[kept++] = target;
    }
    scrape->target_count = kept;
    return gone;
}

/* Returns how many were left out: no room, no memory, or an address that is none. The first of the new ones is scraped at
 * once, the others in turn over the interval. */
static size_t on_found(void *user, const char *source, const struct sonde_discovered *const *found, size_t count) {
    struct scrape *scrape = user;
    const struct sonde_seams *seams = scrape->shared.env.seams;
    bool matched[SONDE_DISCOVERED_MAX] = {false};
    size_t used = count < SONDE_DISCOVERED_MAX ? count : SONDE_DISCOVERED_MAX, left_out = count - used, made = 0;
    size_t gone = targets_keep(scrape, source, found, used, matched);
    uint64_t now = seams->time.monotonic_ns(seams->time.self);
    for (size_t i = 0; i < used; i++) {
        const struct sonde__scrape_origin origin = {.source = source, .found = found[i]};
        if (matched[i])
            continue;
        if (scrape->target_count < SONDE__SCRAPE_TARGETS_MAX &&
            sonde__scrape_target_create(&scrape->shared, found[i]->fields[SONDE_DISCOVERED_ADDRESS], &origin,
                                        now + scrape->shared.config->interval_ns / used * made,
                                        &scrape->targets[scrape->target_count]) == 0) {
            scrape->target_count++;
            made++;
        } else
            left_out++;
    }
    if (made || gone)
        sonde_agent_log(SONDE_LOG_INFO, "targets discovered", "receiver=%s source=%s new=%zu gone=%zu targets=%zu",
                        scrape->shared.env.name, source, made, gone, scrape->target_count);
    return left_out;
}

static int discoveries_create(struct scrape *scrape) {
    const struct sonde_receiver_env *env = &scrape->shared.env;
    const struct sonde_discover_config *config = &scrape->shared.config->discover;
    const struct sonde_discover_env discover = {.name = env->name,
                                                .loop = env->loop,
                                                .seams = env->seams,
                                                .http = env->http,
                                                .series = env->series,
                                                .resource = env->resource,
                                                .found = on_found,
                                                .user = scrape};
    int err = 0;
    for (size_t i = 0; !err && sonde_discoverers[i]; i++) {
        struct discovery *discovery = &scrape->discoveries[scrape->discovery_count];
        if (!sonde_discoverers[i]->is_wanted(config))
            continue;
        if (scrape->discovery_count == DISCOVERERS_MAX)
            return SONDE_EFULL;
        discovery->ops = sonde_discoverers[i];
        err = discovery->ops->create(config, &discover, &discovery->self);
        scrape->discovery_count += !err;
    }
    return err;
}

static void discoveries(void *self, void (*visit)(void *user, const struct sonde_discovery_view *view), void *user) {
    struct scrape *scrape = self;
    for (size_t i = 0; i < scrape->discovery_count; i++) {
        struct sonde_discovery_view view;
        scrape->discoveries[i].ops->view(scrape->discoveries[i].self, &view);
        visit(user, &view);
    }
}

/* ---- together ---- */

static int create(const void *config_data, const struct sonde_receiver_env *env, void **ret_self, char *error_text,
                  size_t error_text_size) {
    const struct sonde__scrape_config *config = config_data;
    int err = sonde__scrape_check(config, error_text, error_text_size);
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
                                                   .exposition = &scrape->exposition,
                                                   .told = &scrape->told};
    headers_make(scrape, config);
    err = targets_create(scrape);
    if (!err)
        err = discoveries_create(scrape);
    if (err) {
        destroy(scrape);
        return err;
    }
    if (config->discover.consul.tls.insecure_skip_verify || config->discover.eureka.tls.insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "certificates of registries are not checked", "receiver=%s", env->name);
    if (config->insecure_skip_verify)
        sonde_agent_log(SONDE_LOG_WARN, "certificates of targets are not checked", "receiver=%s", env->name);
    *ret_self = scrape;
    return 0;
}

static void stop(void *self) {
    struct scrape *scrape = self;
    for (size_t i = 0; i < scrape->discovery_count; i++)
        scrape->discoveries[i].ops->stop(scrape->discoveries[i].self);
    for (size_t i = 0; i < scrape->target_count; i++)
        sonde__scrape_target_stop(scrape->targets[i]);
}

const struct sonde_receiver_ops sonde_receiver_prometheus_scrape = {
    .name = "prometheus_scrape",
    .summary = "metrics of other programs, asked for as Prometheus does",
    .config_size = sizeof(struct sonde__scrape_config),
    .options = sonde__scrape_options,
    .create = create,
    .stop = stop,
    .discoveries = discoveries,
    .destroy = destroy,
};
