/* SPDX-License-Identifier: Apache-2.0 */
/* Consul, by blocking queries: one watch on the catalog of services and one on the health of each service. A watch is
 * idle (its timer runs), waiting (for a free place), or asking. What a watch learned last stays until it learns other.
 *
 *   catalog -> names -> a watch per name -> instances -> (shortly after, of all watches) found()
 *
 * Blocking queries of services are bounded (watches_max): those that find no place are plain ones every `refresh`; plain
 * ones are bounded too, and wait for each other.
 * Source: developer.hashicorp.com/consul/api-docs/features/blocking: an index that goes back or is 0 is forgotten. */
#include "agent/discover/health.h"
#include "agent/discover/read.h"
#include "exporters/http_headers.h"
#include "instrumentation/resilience/backoff.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define MS                 UINT64_C(1000000)
#define BACKOFF_FIRST_NS   (1000 * MS)
#define BACKOFF_LONGEST_NS (60000 * MS)
/* Between two questions of a watch: a service that changes all the time costs no more. */
#define GAP_NS             (200 * MS)
/* After a change, until it is handed on: what comes together is handed on together. */
#define PUBLISH_NS         (20 * MS)
#define PLAIN_MAX          16u
#define NAMED_MAX          256u
#define TOKEN_SIZE_MAX     4096u

struct watch {
    TAILQ_ENTRY(watch) link; /* of those waiting */
    struct consul *consul;
    char *service; /* owned; NULL = the catalog */
    char *url;     /* of the question under way; owned */
    void *exchange;
    struct sonde_timer *timer;
    uint64_t index, asked_ns;
    struct sonde__backoff backoff;
    struct sonde__discovered_set set;
    bool blocking, waiting, failing, names_left_out;
};
TAILQ_HEAD(watch_list, watch);

struct consul {
    const struct sonde__consul_config *config;
    struct sonde_discover_env env;
    struct sonde_tls_options tls;
    struct sonde__discover_health health;
    struct watch *catalog;  /* NULL = services are named by the configuration */
    struct watch **watches; /* sorted by service */
    size_t watch_count, failing, blocking, plain;
    struct watch_list waiting;
    struct sonde_timer *publish;
    char *keys[2], *values[2];
    struct sonde_string_map headers;
    char base[SONDE__DISCOVER_URL_SIZE_MAX];
    bool stopped;
};

static const struct sonde_alloc *alloc_of(const struct consul *consul) {
    return &consul->env.seams->alloc;
}

/* ---- configuration ---- */

static bool is_wanted(const struct sonde_discover_config *config) {
    return *config->consul.address != '\0';
}

static int fail_check(char *text, size_t size, const char *what) {
    (void)snprintf(text, size, "consul.%s", what);
    return SONDE_EINVALID;
}

static bool fits(const char *text) {
    return *text && strlen(text) < SONDE_DISCOVERED_TEXT_SIZE_MAX;
}

static int check(const struct sonde_discover_config *all, char *text, size_t size) {
    const struct sonde__consul_config *config = &all->consul;
    char url[SONDE__DISCOVER_URL_SIZE_MAX];
    if (sonde__discover_base(config->address, url))
        return fail_check(text, size,
                          "address: use HOST:PORT, http://HOST:PORT or https://..., without user and query");
    if (!sonde__http_is_line(config->token) || strlen(config->token) > TOKEN_SIZE_MAX)
        return fail_check(text, size, "token: must be one line of at most 4096 bytes");
    if (config->services.count > NAMED_MAX)
        return fail_check(text, size, "services: more than 256");
    for (size_t i = 0; i < config->services.count; i++)
        if (!fits(config->services.items[i]))
            return fail_check(text, size, "services: a name is empty or too long");
    if (config->tags.count > 8)
        return fail_check(text, size, "tags: more than 8");
    for (size_t i = 0; i < config->tags.count; i++)
        if (!*config->tags.items[i] || strlen(config->tags.items[i]) > 64)
            return fail_check(text, size, "tags: one is empty, or longer than 64 bytes");
    if (strlen(config->datacenter) > 128 || strlen(config->namespace) > 128 || strlen(config->partition) > 128)
        return fail_check(text, size, "datacenter, namespace, partition: at most 128 bytes each");
    return sonde__discover_tls_check(&config->tls, "consul", text, size);
}

/* ---- handing on ---- */

static void publish_soon(struct consul *consul) {
    if (!consul->stopped)
        sonde_timer_set(consul->publish, sonde__discover_now(&consul->env) + PUBLISH_NS);
}

static void on_publish(void *user) {
    struct consul *consul = user;
    size_t count = 0, at = 0;
    uint64_t left_out = 0;
    for (size_t i = 0; i < consul->watch_count; i++) {
        count += consul->watches[i]->set.count;
        left_out += consul->watches[i]->set.left_out;
    }
    const struct sonde_discovered **all = sonde_alloc_new(alloc_of(consul), (count + 1) * sizeof *all);
    if (!all) {
        sonde__discover_failed(&consul->health, SONDE__DISCOVER_MEMORY, "out of memory; trying again");
        sonde_timer_set(consul->publish, sonde__discover_now(&consul->env) + BACKOFF_FIRST_NS);
        return;
    }
    for (size_t i = 0; i < consul->watch_count; i++)
        for (size_t k = 0; k < consul->watches[i]->set.count; k++)
            all[at++] = consul->watches[i]->set.items[k];
    sonde__discover_publish(&consul->health, all, count, left_out);
    sonde_alloc_free(alloc_of(consul), all);
}

/* ---- a watch ---- */

static void on_timer(void *user);
static void ask(struct watch *watch);

static int watch_create(struct consul *consul, const char *service, struct watch **ret_watch) {
    struct watch *watch = sonde_alloc_new(alloc_of(consul), sizeof *watch);
    size_t size = service ? strlen(service) + 1 : 0;
    if (!watch)
        return -ENOMEM;
    *watch = (struct watch){.consul = consul,
                            .service = service ? sonde_alloc_new(alloc_of(consul), size) : NULL,
                            .backoff = {.initial_ns = BACKOFF_FIRST_NS, .max_ns = BACKOFF_LONGEST_NS}};
    if ((service && !watch->service) || sonde_timer_create(consul->env.loop, on_timer, watch, &watch->timer)) {
        sonde_alloc_free(alloc_of(consul), watch->service);
        sonde_alloc_free(alloc_of(consul), watch);
        return -ENOMEM;
    }
    if (service)
        memcpy(watch->service, service, size);
    sonde_timer_set(watch->timer, 0);
    *ret_watch = watch;
    return 0;
}

/** It no longer asks: gives its place back. */
static void asked(struct watch *watch) {
    struct consul *consul = watch->consul;
    watch->exchange = NULL;
    sonde_alloc_free(alloc_of(consul), watch->url);
    watch->url = NULL;
    if (watch->service && watch->blocking)
        consul->blocking--;
    else if (watch->service)
        consul->plain--;
}

static void waiting_next(struct consul *consul) {
    while (consul->plain < PLAIN_MAX && !TAILQ_EMPTY(&consul->waiting)) {
        struct watch *watch = TAILQ_FIRST(&consul->waiting);
        TAILQ_REMOVE(&consul->waiting, watch, link);
        watch->waiting = false;
        ask(watch);
    }
}

static void watch_stop(struct watch *watch) {
    struct consul *consul = watch->consul;
    if (watch->exchange) {
        consul->env.http.cancel(consul->env.http.self, watch->exchange);
        asked(watch);
    }
    if (watch->waiting)
        TAILQ_REMOVE(&consul->waiting, watch, link);
    watch->waiting = false;
    sonde_timer_clear(watch->timer);
}

static void watch_destroy(struct watch *watch) {
    if (!watch)
        return;
    struct consul *consul = watch->consul;
    watch_stop(watch);
    consul->failing -= watch->failing;
    sonde_timer_destroy(watch->timer);
    sonde__discovered_deinit(&watch->set, alloc_of(consul));
    sonde_alloc_free(alloc_of(consul), watch->service);
    sonde_alloc_free(alloc_of(consul), watch);
}

static void again(struct watch *watch, uint64_t in_ns) {
    if (!watch->consul->stopped)
        sonde_timer_set(watch->timer, sonde__discover_now(&watch->consul->env) + in_ns);
}

static void fail(struct watch *watch, enum sonde__discover_trouble trouble, const char *text) {
    struct consul *consul = watch->consul;
    const struct sonde_random *random = &consul->env.seams->random;
    consul->failing += !watch->failing;
    watch->failing = true;
    watch->index = 0; /* the next answer comes at once, and says how it is now */
    sonde__discover_failed(&consul->health, trouble, text);
    again(watch, sonde__backoff_next(&watch->backoff, random->next(random->self)));
}

/* ---- what answers say ---- */

/* Both are sorted: watches that are named still stay as they are. Without memory the rest stays, too. */
static int watches_follow(struct consul *consul, char *const *names, size_t count) {
    struct watch **now = sonde_alloc_new(alloc_of(consul), (count + consul->watch_count + 1) * sizeof *now);
    size_t old = 0, made = 0;
    int err = 0;
    bool gone = false;
    if (!now)
        return -ENOMEM;
    for (size_t i = 0; i <= count && !err; i++) {
        int order = -1;
        while (old < consul->watch_count &&
               (i == count || (order = strcmp(consul->watches[old]->service, names[i])) < 0)) {
            gone |= consul->watches[old]->set.count > 0;
            watch_destroy(consul->watches[old++]);
        }
        if (i == count)
            break;
        if (old < consul->watch_count && order == 0)
            now[made++] = consul->watches[old++];
        else {
            err = watch_create(consul, names[i], &now[made]);
            made += !err;
        }
    }
    while (old < consul->watch_count)
        now[made++] = consul->watches[old++];
    sonde_alloc_free(alloc_of(consul), consul->watches);
    consul->watches = now;
    consul->watch_count = made;
    if (gone)
        publish_soon(consul);
    return err;
}

static int take_catalog(struct watch *watch, const struct sonde_http_response *response) {
    struct consul *consul = watch->consul;
    struct sonde__discover_names names = {.items = NULL};
    char text[96];
    int err =
        sonde__consul_read_services(consul->config, alloc_of(consul), response->body, response->body_size, &names);
    if (!err)
        err = watches_follow(consul, names.items, names.count);
    watch->names_left_out = names.left_out > 0;
    if (!err && names.left_out) {
        (void)snprintf(text, sizeof text, "%" PRIu64 " services are not watched: more than %u", names.left_out,
                       SONDE__CONSUL_SERVICES_MAX);
        sonde__discover_failed(&consul->health, SONDE__DISCOVER_SERVICES, text);
    }
    sonde__discover_names_deinit(&names, alloc_of(consul));
    return err;
}

static int take_service(struct watch *watch, const struct sonde_http_response *response) {
    struct consul *consul = watch->consul;
    struct sonde__discovered_set set = {.items = NULL};
    int err = sonde__consul_read_health(consul->config, alloc_of(consul), response->body, response->body_size, &set);
    if (err || (set.hash == watch->set.hash && set.count == watch->set.count && set.left_out == watch->set.left_out)) {
        sonde__discovered_deinit(&set, alloc_of(consul));
        return err;
    }
    sonde__discovered_deinit(&watch->set, alloc_of(consul));
    watch->set = set;
    publish_soon(consul);
    return 0;
}

static uint64_t index_of(const char *text) {
    size_t size = strlen(text);
    return size && size < 20 && strspn(text, "0123456789") == size ? strtoull(text, NULL, 10) : 0;
}

/* The next question: shortly, where it can block; else in a while. */
static void go_on(struct watch *watch, uint64_t index) {
    struct consul *consul = watch->consul;
    uint64_t now = sonde__discover_now(&consul->env), gap = sonde__discover_jitter(&consul->env, GAP_NS);
    bool has_place = !watch->service || consul->blocking < (size_t)consul->config->watches_max;
    bool went_back = index < watch->index;
    watch->index = went_back ? 0 : index;
    if (index && has_place)
        again(watch, went_back || now - watch->asked_ns < gap ? gap : 0);
    else
        again(watch, sonde__discover_jitter(&consul->env, consul->config->refresh_ns));
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct watch *watch = user;
    struct consul *consul = watch->consul;
    char text[128];
    asked(watch);
    enum sonde__discover_trouble trouble = sonde__discover_judge(response, text, sizeof text);
    if (trouble == SONDE__DISCOVER_TROUBLE_COUNT) {
        int err = watch->service ? take_service(watch, response) : take_catalog(watch, response);
        if (err) {
            trouble = sonde__discover_read_trouble(err);
            (void)snprintf(text, sizeof text, "the answer about %.64s is not Consul's JSON",
                           watch->service ? watch->service : "all services");
        }
    }
    if (trouble != SONDE__DISCOVER_TROUBLE_COUNT)
        fail(watch, trouble, text);
    else {
        consul->failing -= watch->failing;
        watch->failing = false;
        sonde__backoff_reset(&watch->backoff);
        sonde__discover_succeeded(&consul->health,
                                  !consul->failing && !(consul->catalog && consul->catalog->names_left_out));
        go_on(watch, index_of(response->header));
    }
    waiting_next(consul);
}

/* ---- questions ---- */

static bool url_make(const struct watch *watch, char url[SONDE__DISCOVER_URL_SIZE_MAX]) {
    const struct sonde__consul_config *config = watch->consul->config;
    char number[24];
    int size = snprintf(url, SONDE__DISCOVER_URL_SIZE_MAX, "%s%s", watch->consul->base,
                        watch->service ? "/v1/health/service/" : "/v1/catalog/services");
    bool ok = size > 0 && size < (int)SONDE__DISCOVER_URL_SIZE_MAX;
    ok = ok && (!watch->service || sonde__discover_path(url, watch->service));
    ok = ok && sonde__discover_query(url, "dc", config->datacenter) &&
         sonde__discover_query(url, "ns", config->namespace) &&
         sonde__discover_query(url, "partition", config->partition);
    ok = ok && sonde__discover_query(url, "stale", config->allow_stale ? "1" : "");
    if (watch->service)
        ok = ok && sonde__discover_query(url, "passing", config->passing_only ? "1" : "");
    for (size_t i = 0; watch->service && i < config->tags.count; i++)
        ok = ok && sonde__discover_query(url, "tag", config->tags.items[i]);
    if (!watch->blocking)
        return ok;
    (void)snprintf(number, sizeof number, "%" PRIu64, watch->index);
    ok = ok && sonde__discover_query(url, "index", number);
    (void)snprintf(number, sizeof number, "%" PRIu64 "ms", config->wait_ns / MS);
    return ok && sonde__discover_query(url, "wait", number);
}

static char *url_copy(const struct watch *watch) {
    char url[SONDE__DISCOVER_URL_SIZE_MAX];
    size_t size = url_make(watch, url) ? strlen(url) + 1 : 0;
    char *copy = size ? sonde_alloc_new(alloc_of(watch->consul), size) : NULL;
    return copy ? memcpy(copy, url, size) : NULL;
}

static void ask(struct watch *watch) {
    struct consul *consul = watch->consul;
    const struct sonde__consul_config *config = consul->config;
    watch->blocking = watch->index && (!watch->service || consul->blocking < (size_t)config->watches_max);
    watch->url = url_copy(watch);
    /* The server adds up to a sixteenth to the wait. */
    const struct sonde_http_request request = {
        .method = "GET",
        .url = watch->url,
        .headers = &consul->headers,
        .response_header = "X-Consul-Index",
        .timeout_ns = config->timeout_ns + (watch->blocking ? config->wait_ns + config->wait_ns / 16 : 0),
        .response_size_max = config->answer_size_max,
        .tls = &consul->tls};
    watch->asked_ns = sonde__discover_now(&consul->env);
    if (watch->service && watch->blocking)
        consul->blocking++;
    else if (watch->service)
        consul->plain++;
    int err = watch->url ? consul->env.http.start(consul->env.http.self, &request, on_answer, watch, &watch->exchange)
                         : -ENOMEM;
    if (err) {
        asked(watch);
        fail(watch, SONDE__DISCOVER_MEMORY, sonde_strerror(err));
    }
}

static void on_timer(void *user) {
    struct watch *watch = user;
    struct consul *consul = watch->consul;
    if (watch->exchange || watch->waiting)
        return;
    bool blocks = watch->index && consul->blocking < (size_t)consul->config->watches_max;
    uint64_t since = sonde__discover_now(&consul->env) - watch->asked_ns, refresh = consul->config->refresh_ns;
    if (watch->service && watch->index && !blocks && since < refresh - refresh / 5) /* others were faster */
        again(watch, sonde__discover_jitter(&consul->env, refresh - since));
    else if (watch->service && !blocks && consul->plain >= PLAIN_MAX) {
        watch->waiting = true;
        TAILQ_INSERT_TAIL(&consul->waiting, watch, link);
    } else
        ask(watch);
}

/* ---- life ---- */

static void stop(void *self) {
    struct consul *consul = self;
    consul->stopped = true;
    if (consul->publish)
        sonde_timer_clear(consul->publish);
    for (size_t i = 0; i < consul->watch_count; i++)
        watch_stop(consul->watches[i]);
    if (consul->catalog)
        watch_stop(consul->catalog);
}

static void destroy(void *self) {
    struct consul *consul = self;
    if (!consul)
        return;
    stop(consul);
    for (size_t i = 0; i < consul->watch_count; i++)
        watch_destroy(consul->watches[i]);
    watch_destroy(consul->catalog);
    sonde_timer_destroy(consul->publish);
    sonde__discover_health_deinit(&consul->health);
    sonde_alloc_free(alloc_of(consul), consul->watches);
    sonde_alloc_free(alloc_of(consul), consul);
}

static int names_order(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Services that are named need no catalog. */
static int watches_create(struct consul *consul) {
    char *names[NAMED_MAX];
    size_t count = consul->config->services.count, unique = 0;
    if (!count)
        return watch_create(consul, NULL, &consul->catalog);
    memcpy(names, consul->config->services.items, count * sizeof *names);
    qsort(names, count, sizeof *names, names_order);
    for (size_t i = 0; i < count; i++)
        if (!unique || strcmp(names[unique - 1], names[i]) != 0)
            names[unique++] = names[i];
    return watches_follow(consul, names, unique);
}

static int create(const struct sonde_discover_config *config, const struct sonde_discover_env *env, void **ret_self) {
    struct consul *consul = sonde_alloc_new(&env->seams->alloc, sizeof *consul);
    if (!consul)
        return -ENOMEM;
    *consul = (struct consul){.config = &config->consul, .env = *env, .tls = sonde__discover_tls(&config->consul.tls)};
    TAILQ_INIT(&consul->waiting);
    consul->headers = (struct sonde_string_map){consul->keys, consul->values, 1};
    consul->keys[0] = (char *)(uintptr_t) "Accept"; /* only read */
    consul->values[0] = (char *)(uintptr_t) "application/json";
    consul->keys[1] = (char *)(uintptr_t) "X-Consul-Token";
    consul->values[1] = config->consul.token;
    consul->headers.count += *config->consul.token != '\0';
    (void)sonde__discover_base(config->consul.address, consul->base); /* checked */
    int err = sonde__discover_health_init(&consul->health, &consul->env, "consul", config->consul.address);
    if (!err)
        err = sonde_timer_create(env->loop, on_publish, consul, &consul->publish);
    if (!err)
        err = watches_create(consul);
    if (err) {
        destroy(consul);
        return err;
    }
    *ret_self = consul;
    return 0;
}

static void view(const void *self, struct sonde_discovery_view *ret_view) {
    sonde__discover_view(&((const struct consul *)self)->health, ret_view);
}

const struct sonde_discoverer_ops sonde_discoverer_consul = {
    .name = "consul",
    .is_wanted = is_wanted,
    .check = check,
    .create = create,
    .stop = stop,
    .view = view,
    .destroy = destroy,
};
