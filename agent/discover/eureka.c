/* SPDX-License-Identifier: Apache-2.0 */
/* Eureka: all applications, on an interval, from the first of its servers that answers. A server that fails is left for
 * the next one at once; when all failed, they are asked again after a back-off.
 * Source: Netflix/eureka, com.netflix.eureka.resources.ApplicationsResource. */
#include "agent/discover/health.h"
#include "agent/discover/read.h"
#include "exporters/http_headers.h"
#include "instrumentation/resilience/backoff.h"
#include "instrumentation/wire/base64.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define SERVERS_MAX        16u
#define SECRET_SIZE_MAX    4096u
#define BACKOFF_FIRST_NS   UINT64_C(1000000000)
#define BACKOFF_LONGEST_NS UINT64_C(60000000000)

struct eureka {
    const struct sonde__eureka_config *config;
    struct sonde_discover_env env;
    struct sonde_tls_options tls;
    struct sonde__discover_health health;
    struct sonde__discovered_set set;
    struct sonde_timer *timer;
    void *exchange;
    size_t server, failed; /* asked now; how many failed in a row */
    struct sonde__backoff backoff;
    char *keys[2], *values[2];
    struct sonde_string_map headers;
    char url[SONDE__DISCOVER_URL_SIZE_MAX], authorization[SECRET_SIZE_MAX * 2];
    bool stopped;
};

static bool is_wanted(const struct sonde_discover_config *config) {
    return config->eureka.servers.count > 0;
}

static int fail_check(char *text, size_t size, const char *what) {
    (void)snprintf(text, size, "eureka.%s", what);
    return SONDE_EINVALID;
}

static int check(const struct sonde_discover_config *all, char *text, size_t size) {
    const struct sonde__eureka_config *config = &all->eureka;
    char url[SONDE__DISCOVER_URL_SIZE_MAX];
    if (config->servers.count > SERVERS_MAX)
        return fail_check(text, size, "servers: more than 16");
    for (size_t i = 0; i < config->servers.count; i++)
        if (sonde__discover_base(config->servers.items[i], url))
            return fail_check(text, size,
                              "servers: use http://HOST:PORT/eureka or https://..., without user and query");
    if (strchr(config->username, ':') || strlen(config->username) + strlen(config->password) > SECRET_SIZE_MAX)
        return fail_check(text, size, "username: has no colon, and with the password at most 4096 bytes");
    return sonde__discover_tls_check(&config->tls, "eureka", text, size);
}

/* ---- one round ---- */

static void again(struct eureka *eureka, uint64_t in_ns) {
    if (!eureka->stopped)
        sonde_timer_set(eureka->timer, sonde__discover_now(&eureka->env) + in_ns);
}

static void fail(struct eureka *eureka, enum sonde__discover_trouble trouble, const char *text) {
    const struct sonde_random *random = &eureka->env.seams->random;
    sonde__discover_failed(&eureka->health, trouble, text);
    eureka->server = (eureka->server + 1) % eureka->config->servers.count;
    if (++eureka->failed < eureka->config->servers.count) {
        again(eureka, 0);
        return;
    }
    eureka->failed = 0;
    again(eureka, sonde__backoff_next(&eureka->backoff, random->next(random->self)));
}

static void take(struct eureka *eureka, struct sonde__discovered_set *set) {
    const struct sonde_alloc *alloc = &eureka->env.seams->alloc;
    bool is_new =
        set->hash != eureka->set.hash || set->count != eureka->set.count || set->left_out != eureka->set.left_out;
    eureka->failed = 0;
    sonde__backoff_reset(&eureka->backoff);
    sonde__discover_succeeded(&eureka->health, true);
    sonde__discovered_deinit(&eureka->set, alloc);
    eureka->set = *set;
    if (is_new)
        sonde__discover_publish(&eureka->health, (const struct sonde_discovered *const *)set->items, set->count,
                                set->left_out);
    again(eureka, sonde__discover_jitter(&eureka->env, eureka->config->refresh_ns));
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct eureka *eureka = user;
    struct sonde__discovered_set set = {.items = NULL};
    char text[128];
    eureka->exchange = NULL;
    enum sonde__discover_trouble trouble = sonde__discover_judge(response, text, sizeof text);
    if (trouble == SONDE__DISCOVER_TROUBLE_COUNT) {
        int err =
            sonde__eureka_read(eureka->config, &eureka->env.seams->alloc, response->body, response->body_size, &set);
        if (!err) {
            take(eureka, &set);
            return;
        }
        sonde__discovered_deinit(&set, &eureka->env.seams->alloc);
        trouble = sonde__discover_read_trouble(err);
        (void)snprintf(text, sizeof text, "the answer is not Eureka's JSON of applications");
    }
    fail(eureka, trouble, text);
}

static void on_timer(void *user) {
    struct eureka *eureka = user;
    const struct sonde__eureka_config *config = eureka->config;
    if (eureka->exchange)
        return;
    (void)sonde__discover_base(config->servers.items[eureka->server], eureka->url); /* checked */
    memcpy(eureka->url + strlen(eureka->url), "/apps", 6);
    const struct sonde_http_request request = {.method = "GET",
                                               .url = eureka->url,
                                               .headers = &eureka->headers,
                                               .timeout_ns = config->timeout_ns,
                                               .response_size_max = config->answer_size_max,
                                               .tls = &eureka->tls};
    eureka->health.address = config->servers.items[eureka->server];
    int err = eureka->env.http.start(eureka->env.http.self, &request, on_answer, eureka, &eureka->exchange);
    if (err) {
        eureka->exchange = NULL;
        fail(eureka, SONDE__DISCOVER_MEMORY, sonde_strerror(err));
    }
}

/* ---- life ---- */

static void header_add(struct eureka *eureka, const char *key, const char *value) {
    eureka->keys[eureka->headers.count] = (char *)(uintptr_t)key; /* only read */
    eureka->values[eureka->headers.count++] = (char *)(uintptr_t)value;
}

static void headers_make(struct eureka *eureka) {
    char plain[SECRET_SIZE_MAX + 2];
    eureka->headers = (struct sonde_string_map){eureka->keys, eureka->values, 0};
    header_add(eureka, "Accept", "application/json");
    if (!*eureka->config->username)
        return;
    int size = snprintf(plain, sizeof plain, "%s:%s", eureka->config->username, eureka->config->password);
    memcpy(eureka->authorization, "Basic ", 6);
    size_t end = 6 + sonde__base64_write(plain, (size_t)size, true, eureka->authorization + 6);
    eureka->authorization[end] = '\0';
    explicit_bzero(plain, sizeof plain);
    header_add(eureka, "Authorization", eureka->authorization);
}

static void stop(void *self) {
    struct eureka *eureka = self;
    if (eureka->exchange)
        eureka->env.http.cancel(eureka->env.http.self, eureka->exchange);
    eureka->exchange = NULL;
    eureka->stopped = true;
    if (eureka->timer)
        sonde_timer_clear(eureka->timer);
}

static void destroy(void *self) {
    struct eureka *eureka = self;
    if (!eureka)
        return;
    stop(eureka);
    sonde_timer_destroy(eureka->timer);
    sonde__discover_health_deinit(&eureka->health);
    sonde__discovered_deinit(&eureka->set, &eureka->env.seams->alloc);
    explicit_bzero(eureka->authorization, sizeof eureka->authorization);
    sonde_alloc_free(&eureka->env.seams->alloc, eureka);
}

static int create(const struct sonde_discover_config *config, const struct sonde_discover_env *env, void **ret_self) {
    struct eureka *eureka = sonde_alloc_new(&env->seams->alloc, sizeof *eureka);
    if (!eureka)
        return -ENOMEM;
    *eureka = (struct eureka){.config = &config->eureka,
                              .env = *env,
                              .tls = sonde__discover_tls(&config->eureka.tls),
                              .backoff = {.initial_ns = BACKOFF_FIRST_NS, .max_ns = BACKOFF_LONGEST_NS}};
    headers_make(eureka);
    int err = sonde__discover_health_init(&eureka->health, &eureka->env, "eureka", config->eureka.servers.items[0]);
    if (!err)
        err = sonde_timer_create(env->loop, on_timer, eureka, &eureka->timer);
    if (err) {
        destroy(eureka);
        return err;
    }
    again(eureka, 0);
    *ret_self = eureka;
    return 0;
}

static void view(const void *self, struct sonde_discovery_view *ret_view) {
    sonde__discover_view(&((const struct eureka *)self)->health, ret_view);
}

const struct sonde_discoverer_ops sonde_discoverer_eureka = {
    .name = "eureka",
    .is_wanted = is_wanted,
    .check = check,
    .create = create,
    .stop = stop,
    .view = view,
    .destroy = destroy,
};
