/* SPDX-License-Identifier: Apache-2.0 */
/* One target. timer -> GET -> answer, or the time is over -> samples into the source -> health -> sweep -> timer.
 * A scrape holds or it does not: what came of an answer that was refused half-way is taken out again. */
#include "agent/log.h"
#include "agent/receive/scrape.h"
#include "instrumentation/metric/attributes.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NS_PER_S 1e9

struct sonde__scrape_target {
    struct sonde__scrape_shared *shared;
    struct sonde__scrape_address address;
    struct sonde__scrape_origin origin; /* found: owned; NULL = the configuration */
    uint64_t resource_hash;
    struct sonde_series_source *source;
    struct sonde_timer *timer;
    void *exchange; /* NULL = none under way */
    uint64_t started_ns, created_unix_ns, next_ns;
    uint64_t errors[SONDE__SCRAPE_TROUBLE_COUNT], left_out;
    bool left_out_noted;
    enum sonde__scrape_trouble reported; /* COUNT = none: the last scrape was good */
};

const char *sonde__scrape_trouble_name(enum sonde__scrape_trouble trouble) {
    static const char *const names[] = {
        [SONDE__SCRAPE_TIMEOUT] = "timeout",
        [SONDE__SCRAPE_REFUSED] = "connection_refused",
        [SONDE__SCRAPE_UNREACHABLE] = "host_unreachable",
        [SONDE__SCRAPE_RESET] = "connection_reset",
        [SONDE__SCRAPE_PROTOCOL] = "protocol_error",
        [SONDE__SCRAPE_TOO_BIG] = "body_size_limit",
        [SONDE__SCRAPE_STATUS] = "http_status",
        [SONDE__SCRAPE_TYPE] = "content_type",
        [SONDE__SCRAPE_FORMAT] = "malformed",
        [SONDE__SCRAPE_SAMPLES] = "sample_limit",
        [SONDE__SCRAPE_MEMORY] = "out_of_memory",
    };
    return (unsigned)trouble < SONDE__SCRAPE_TROUBLE_COUNT ? names[trouble] : "unknown";
}

static uint64_t now_ns(const struct sonde__scrape_target *target) {
    const struct sonde_time *time = &target->shared->env.seams->time;
    return time->monotonic_ns(time->self);
}

/* ---- health ---- */

static void put(struct sonde__scrape_target *target, const char *name, const char *description, double value) {
    (void)sonde_series_set(target->source, &(struct sonde_series_value){.kind = SONDE_GAUGE, /* no memory: absent */
                                                                        .name = name,
                                                                        .unit = "",
                                                                        .description = description,
                                                                        .is_double = true,
                                                                        .float64 = value});
}

static void put_count(struct sonde__scrape_target *target, const char *name, const char *description, uint64_t value,
                      const char *error_type) {
    const struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("error.type"), error_type);
    (void)sonde_series_set(target->source, &(struct sonde_series_value){.kind = SONDE_COUNTER,
                                                                        .name = name,
                                                                        .unit = "{error}",
                                                                        .description = description,
                                                                        .attributes = &attribute,
                                                                        .attribute_count = error_type ? 1 : 0,
                                                                        .int64 = (int64_t)value,
                                                                        .start_unix_ns = target->created_unix_ns});
}

static void put_health(struct sonde__scrape_target *target, bool up, uint64_t samples) {
    put(target, "up", "1 when the last scrape of the target was good, else 0.", up);
    put(target, "scrape_duration_seconds", "Time that the last scrape took.",
        (double)(now_ns(target) - target->started_ns) / NS_PER_S);
    put(target, "scrape_samples_scraped", "Samples of the last scrape.", (double)samples);
    for (int i = 0; i < SONDE__SCRAPE_TROUBLE_COUNT; i++)
        if (target->errors[i])
            put_count(target, "sonde.scrape.errors", "Scrapes that failed.", target->errors[i],
                      sonde__scrape_trouble_name((enum sonde__scrape_trouble)i));
    if (target->left_out)
        put_count(target, "sonde.scrape.left_out_samples",
                  "Samples that could not be kept: too many or too long labels, or a name of two types.",
                  target->left_out, NULL);
}

/* ---- whose the series are ---- */

const struct sonde__scrape_origin *sonde__scrape_target_origin(const struct sonde__scrape_target *target) {
    return target->origin.found ? &target->origin : NULL;
}

/* Makes the source, or another one when what the target says of itself changed.
 * Returns 0 (ret_is_new: it has no series yet), -ENOMEM. */
static int source_settle(struct sonde__scrape_target *target, bool *ret_is_new) {
    uint8_t buffer[SONDE__SCRAPE_RESOURCE_SIZE_MAX];
    struct sonde_series_source *source;
    struct sonde_bytes resource = sonde__scrape_resource(
        target->shared->config, &target->address, sonde__scrape_target_origin(target), target->shared->told, buffer);
    uint64_t hash = sonde__bytes_hash(resource.data, resource.size, 0);
    *ret_is_new = false;
    if (target->source && hash == target->resource_hash)
        return 0;
    int err = sonde_series_source_create(target->shared->env.series, resource, &source);
    if (err)
        return err;
    sonde_series_source_destroy(target->source);
    target->source = source;
    target->resource_hash = hash;
    *ret_is_new = true;
    return 0;
}

/* ---- the end of a scrape ---- */

static void again(struct sonde__scrape_target *target) {
    uint64_t now = now_ns(target), interval = target->shared->config->interval_ns;
    target->next_ns += interval;
    if (target->next_ns <= now) /* late: whole intervals are left out, the rhythm is kept */
        target->next_ns += (now - target->next_ns) / interval * interval + interval;
    sonde_timer_set(target->timer, target->next_ns);
}

static void fail(struct sonde__scrape_target *target, enum sonde__scrape_trouble trouble, const char *text) {
    target->errors[trouble]++;
    if (target->reported != trouble)
        sonde_agent_log(SONDE_LOG_WARN, "cannot scrape; the target's series are gone until it answers",
                        "receiver=%s target=%s error_type=%s error=%s", target->shared->env.name,
                        sonde_agent_log_quote(target->address.instance), sonde__scrape_trouble_name(trouble),
                        sonde_agent_log_quote(text));
    target->reported = trouble;
    put_health(target, false, 0);
    sonde_series_sweep(target->source);
    again(target);
}

static void note_left_out(struct sonde__scrape_target *target, uint64_t left_out) {
    target->left_out += left_out;
    if (left_out && !target->left_out_noted)
        sonde_agent_log(SONDE_LOG_WARN, "some samples of a target cannot be kept (told once)",
                        "receiver=%s target=%s samples=%" PRIu64, target->shared->env.name,
                        sonde_agent_log_quote(target->address.instance), left_out);
    target->left_out_noted |= left_out > 0;
}

static bool type_is(const char *content_type, const char *wanted) {
    size_t size = strlen(wanted);
    return strncasecmp(content_type, wanted, size) == 0 && (!content_type[size] || strchr("; \t", content_type[size]));
}

/* No type at all: the text format, as old exporters do. */
static bool format_of(const char *content_type, bool *ret_openmetrics) {
    *ret_openmetrics = type_is(content_type, "application/openmetrics-text");
    return *ret_openmetrics || !*content_type || type_is(content_type, "text/plain");
}

/* Samples into the source; target_info stands anywhere among them. */
static int read_samples(struct sonde__scrape_target *target, const struct sonde_http_response *response,
                        bool is_openmetrics, uint64_t *ret_left_out) {
    struct sonde__exposition *exposition = target->shared->exposition;
    const struct sonde__scrape_config *config = target->shared->config;
    struct sonde__scrape_take take = {.source = target->source, .config = config, .told = target->shared->told};
    target->shared->told->count = 0;
    *exposition = (struct sonde__exposition){.is_openmetrics = is_openmetrics,
                                             .samples_max = (uint64_t)config->sample_limit,
                                             .sample = sonde__scrape_take_sample,
                                             .user = &take};
    int err = sonde__exposition_read(exposition, (const char *)response->body, response->body_size);
    if (!err)
        err = sonde__scrape_histogram_end(&take);
    *ret_left_out = take.left_out;
    return err;
}

static void read_answer(struct sonde__scrape_target *target, const struct sonde_http_response *response) {
    struct sonde__exposition *exposition = target->shared->exposition;
    uint64_t left_out;
    char text[160];
    bool is_openmetrics, is_new = false;
    if (!format_of(response->content_type, &is_openmetrics)) {
        fail(target, SONDE__SCRAPE_TYPE, response->content_type);
        return;
    }
    int err = read_samples(target, response, is_openmetrics, &left_out);
    if (!err)
        err = source_settle(target, &is_new);
    if (!err && is_new)
        err = read_samples(target, response, is_openmetrics, &left_out);
    if (err) {
        sonde_series_expire(target->source); /* what it has set so far, too */
        (void)snprintf(text, sizeof text, "line %u: %s", exposition->line,
                       exposition->problem ? exposition->problem : sonde_strerror(err));
        fail(target,
             err == SONDE_EMALFORMED ? SONDE__SCRAPE_FORMAT
             : err == SONDE_ETOOBIG  ? SONDE__SCRAPE_SAMPLES
                                     : SONDE__SCRAPE_MEMORY,
             text);
        return;
    }
    if (target->reported != SONDE__SCRAPE_TROUBLE_COUNT)
        sonde_agent_log(SONDE_LOG_INFO, "target answers again", "receiver=%s target=%s", target->shared->env.name,
                        sonde_agent_log_quote(target->address.instance));
    target->reported = SONDE__SCRAPE_TROUBLE_COUNT;
    note_left_out(target, left_out);
    put_health(target, true, exposition->samples);
    sonde_series_sweep(target->source);
    again(target);
}

static enum sonde__scrape_trouble trouble_of(int error) {
    switch (error) {
    case -ETIMEDOUT:
        return SONDE__SCRAPE_TIMEOUT;
    case -ECONNREFUSED:
        return SONDE__SCRAPE_REFUSED;
    case -EHOSTUNREACH:
        return SONDE__SCRAPE_UNREACHABLE;
    case -ECONNRESET:
        return SONDE__SCRAPE_RESET;
    case -ENOMEM:
        return SONDE__SCRAPE_MEMORY;
    case SONDE_ETOOBIG:
        return SONDE__SCRAPE_TOO_BIG;
    default:
        return SONDE__SCRAPE_PROTOCOL;
    }
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct sonde__scrape_target *target = user;
    char text[32];
    target->exchange = NULL;
    if (response->error) {
        fail(target, trouble_of(response->error), response->error_text);
    } else if (response->status != 200) {
        (void)snprintf(text, sizeof text, "status %d", response->status);
        fail(target, SONDE__SCRAPE_STATUS, text);
    } else
        read_answer(target, response);
}

static void on_timer(void *user) {
    struct sonde__scrape_target *target = user;
    const struct sonde__scrape_config *config = target->shared->config;
    const struct sonde_http_request request = {.method = "GET",
                                               .url = target->address.url,
                                               .headers = &target->shared->headers,
                                               .timeout_ns = config->timeout_ns,
                                               .response_size_max = config->body_size_max,
                                               .tls = &target->shared->tls};
    if (target->exchange)
        return;
    target->started_ns = now_ns(target);
    int err =
        target->shared->env.http.start(target->shared->env.http.self, &request, on_answer, target, &target->exchange);
    if (err) {
        target->exchange = NULL;
        fail(target, SONDE__SCRAPE_MEMORY, sonde_strerror(err));
    }
}

/* ---- life ---- */

/* What a registry says goes into an URL. */
static bool is_path(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f || *text == '#')
            return false;
    return true;
}

/* What a registry says must not send over a plain connection what was configured for another. */
static bool is_downgrade(const struct sonde__scrape_config *config, const char *scheme) {
    bool has_credentials = *config->bearer_token || *config->username || config->headers.count > 0;
    return has_credentials && strcmp(config->scheme, "https") == 0 && strcmp(scheme, "http") == 0;
}

static int locate(struct sonde__scrape_target *target, const char *text, const struct sonde__scrape_origin *origin) {
    const struct sonde__scrape_config *config = target->shared->config;
    if (!origin)
        return sonde__scrape_address_parse(text, config->scheme, config->metrics_path, &target->address);
    const char *const *fields = origin->found->fields;
    const char *scheme = fields[SONDE_DISCOVERED_SCHEME], *path = fields[SONDE_DISCOVERED_PATH];
    if (strstr(text, "://") || !is_path(path) || is_downgrade(config, scheme)) /* URLs are for the configuration */
        return SONDE_EINVALID;
    target->origin = (struct sonde__scrape_origin){origin->source,
                                                   sonde__discovered_copy(&target->shared->env.seams->alloc, fields)};
    if (!target->origin.found)
        return -ENOMEM;
    return sonde__scrape_address_parse(text, *scheme ? scheme : config->scheme, *path ? path : config->metrics_path,
                                       &target->address);
}

int sonde__scrape_target_create(struct sonde__scrape_shared *shared, const char *text,
                                const struct sonde__scrape_origin *origin, uint64_t first_ns,
                                struct sonde__scrape_target **ret_target) {
    const struct sonde_seams *seams = shared->env.seams;
    struct sonde__scrape_target *target = sonde_alloc_new(&seams->alloc, sizeof *target);
    if (!target)
        return -ENOMEM;
    *target = (struct sonde__scrape_target){.shared = shared,
                                            .reported = SONDE__SCRAPE_TROUBLE_COUNT,
                                            .created_unix_ns = seams->time.unix_ns(seams->time.self),
                                            .next_ns = first_ns};
    bool is_new;
    int err = locate(target, text, origin);
    shared->told->count = 0;
    if (!err)
        err = source_settle(target, &is_new);
    if (!err)
        err = sonde_timer_create(shared->env.loop, on_timer, target, &target->timer);
    if (err) {
        sonde__scrape_target_destroy(target);
        return err;
    }
    sonde_timer_set(target->timer, first_ns);
    *ret_target = target;
    return 0;
}

void sonde__scrape_target_stop(struct sonde__scrape_target *target) {
    if (target->exchange)
        target->shared->env.http.cancel(target->shared->env.http.self, target->exchange);
    target->exchange = NULL;
    sonde_timer_clear(target->timer);
}

void sonde__scrape_target_destroy(struct sonde__scrape_target *target) {
    if (!target)
        return;
    if (target->exchange)
        target->shared->env.http.cancel(target->shared->env.http.self, target->exchange);
    sonde_timer_destroy(target->timer);
    sonde_series_source_destroy(target->source);
    sonde_alloc_free(&target->shared->env.seams->alloc, (void *)(uintptr_t)target->origin.found);
    sonde_alloc_free(&target->shared->env.seams->alloc, target);
}
