/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/discover/health.h"
#include "agent/log.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

static const char *trouble_name(enum sonde__discover_trouble trouble) {
    static const char *const names[] = {
        [SONDE__DISCOVER_TIMEOUT] = "timeout",
        [SONDE__DISCOVER_REFUSED] = "connection_refused",
        [SONDE__DISCOVER_UNREACHABLE] = "host_unreachable",
        [SONDE__DISCOVER_RESET] = "connection_reset",
        [SONDE__DISCOVER_PROTOCOL] = "protocol_error",
        [SONDE__DISCOVER_TOO_BIG] = "answer_size_limit",
        [SONDE__DISCOVER_UNAUTHORIZED] = "unauthorized",
        [SONDE__DISCOVER_NOT_FOUND] = "not_found",
        [SONDE__DISCOVER_STATUS] = "http_status",
        [SONDE__DISCOVER_FORMAT] = "malformed",
        [SONDE__DISCOVER_SERVICES] = "service_limit",
        [SONDE__DISCOVER_MEMORY] = "out_of_memory",
    };
    return (unsigned)trouble < SONDE__DISCOVER_TROUBLE_COUNT ? names[trouble] : "unknown";
}

/* ---- series ---- */

static void put(struct sonde__discover_health *health, struct sonde_series_value value, const char *error_type) {
    const struct sonde_attribute attributes[] = {
        sonde_attribute_string(SONDE_KEY("sonde.discovery.source"), health->source),
        sonde_attribute_string(SONDE_KEY("sonde.receiver"), health->env->name),
        sonde_attribute_string(SONDE_KEY("error.type"), error_type),
    };
    value.attributes = attributes;
    value.attribute_count = error_type ? 3 : 2;
    value.start_unix_ns = value.kind == SONDE_COUNTER ? health->created_unix_ns : 0;
    (void)sonde_series_set(health->series, &value); /* no memory: absent */
}

static void put_all(struct sonde__discover_health *health) {
    bool up = health->last_success_unix_ns && health->reported == SONDE__DISCOVER_TROUBLE_COUNT;
    put(health,
        (struct sonde_series_value){.kind = SONDE_GAUGE,
                                    .name = "sonde.discovery.up",
                                    .unit = "",
                                    .description = "1 when the registry answers all that it is asked, else 0.",
                                    .int64 = up},
        NULL);
    put(health,
        (struct sonde_series_value){.kind = SONDE_GAUGE,
                                    .name = "sonde.discovery.targets",
                                    .unit = "{target}",
                                    .description = "Targets that the registry named, and that are scraped.",
                                    .int64 = (int64_t)health->targets},
        NULL);
    put(health,
        (struct sonde_series_value){.kind = SONDE_GAUGE,
                                    .name = "sonde.discovery.left_out",
                                    .unit = "{target}",
                                    .description = "Instances without a usable address or port, or beyond a limit.",
                                    .int64 = (int64_t)health->left_out},
        NULL);
    if (health->last_success_unix_ns)
        put(health,
            (struct sonde_series_value){.kind = SONDE_GAUGE,
                                        .name = "sonde.discovery.last_success",
                                        .unit = "s",
                                        .description = "When the registry last answered, Unix time.",
                                        .is_double = true,
                                        .float64 = (double)health->last_success_unix_ns / 1e9},
            NULL);
    for (int i = 0; i < SONDE__DISCOVER_TROUBLE_COUNT; i++)
        if (health->errors[i])
            put(health,
                (struct sonde_series_value){.kind = SONDE_COUNTER,
                                            .name = "sonde.discovery.errors",
                                            .unit = "{error}",
                                            .description = "Questions to the registry that came to nothing.",
                                            .int64 = (int64_t)health->errors[i]},
                trouble_name((enum sonde__discover_trouble)i));
}

int sonde__discover_health_init(struct sonde__discover_health *health, const struct sonde_discover_env *env,
                                const char *source, const char *address) {
    const struct sonde_time *time = &env->seams->time;
    *health = (struct sonde__discover_health){.env = env,
                                              .source = source,
                                              .address = address,
                                              .reported = SONDE__DISCOVER_TROUBLE_COUNT,
                                              .created_unix_ns = time->unix_ns(time->self)};
    int err = sonde_series_source_create(env->series, env->resource, &health->series);
    if (!err)
        put_all(health);
    return err;
}

void sonde__discover_health_deinit(struct sonde__discover_health *health) {
    sonde_series_source_destroy(health->series);
    health->series = NULL;
}

/* ---- what happens ---- */

void sonde__discover_succeeded(struct sonde__discover_health *health, bool all_well) {
    const struct sonde_time *time = &health->env->seams->time;
    if (all_well && health->reported != SONDE__DISCOVER_TROUBLE_COUNT) {
        sonde_agent_log(SONDE_LOG_INFO, "discovery works again", "receiver=%s source=%s address=%s", health->env->name,
                        health->source, sonde_agent_log_quote(health->address));
        health->reported = SONDE__DISCOVER_TROUBLE_COUNT;
    }
    health->last_success_unix_ns = time->unix_ns(time->self);
    put_all(health);
}

void sonde__discover_failed(struct sonde__discover_health *health, enum sonde__discover_trouble trouble,
                            const char *text) {
    health->errors[trouble]++;
    if (health->reported != trouble)
        sonde_agent_log(SONDE_LOG_WARN, "discovery fails; the targets known so far are kept",
                        "receiver=%s source=%s address=%s error_type=%s error=%s", health->env->name, health->source,
                        sonde_agent_log_quote(health->address), trouble_name(trouble), sonde_agent_log_quote(text));
    health->reported = trouble;
    (void)snprintf(health->text, sizeof health->text, "%s", text);
    put_all(health);
}

void sonde__discover_publish(struct sonde__discover_health *health, const struct sonde_discovered *const *targets,
                             size_t count, uint64_t left_out) {
    size_t refused = health->env->found(health->env->user, health->source, targets, count);
    health->targets = count - refused;
    health->left_out = left_out + refused;
    if (health->left_out > health->left_out_told)
        sonde_agent_log(SONDE_LOG_WARN, "some discovered instances cannot be scraped (told when there are more)",
                        "receiver=%s source=%s instances=%" PRIu64 " taken=%zu", health->env->name, health->source,
                        health->left_out, health->targets);
    if (health->left_out > health->left_out_told)
        health->left_out_told = health->left_out;
    put_all(health);
}

void sonde__discover_view(const struct sonde__discover_health *health, struct sonde_discovery_view *ret_view) {
    *ret_view = (struct sonde_discovery_view){.receiver = health->env->name,
                                              .source = health->source,
                                              .targets = health->targets,
                                              .last_success_unix_ns = health->last_success_unix_ns};
    (void)snprintf(ret_view->address, sizeof ret_view->address, "%s", health->address);
    if (health->reported != SONDE__DISCOVER_TROUBLE_COUNT)
        (void)snprintf(ret_view->trouble, sizeof ret_view->trouble, "%s: %s", trouble_name(health->reported),
                       health->text);
}

/* ---- answers ---- */

static enum sonde__discover_trouble trouble_of(int error) {
    switch (error) {
    case -ETIMEDOUT:
        return SONDE__DISCOVER_TIMEOUT;
    case -ECONNREFUSED:
        return SONDE__DISCOVER_REFUSED;
    case -EHOSTUNREACH:
        return SONDE__DISCOVER_UNREACHABLE;
    case -ECONNRESET:
        return SONDE__DISCOVER_RESET;
    case -ENOMEM:
        return SONDE__DISCOVER_MEMORY;
    case SONDE_ETOOBIG:
        return SONDE__DISCOVER_TOO_BIG;
    default:
        return SONDE__DISCOVER_PROTOCOL;
    }
}

enum sonde__discover_trouble sonde__discover_judge(const struct sonde_http_response *response, char *ret_text,
                                                   size_t size) {
    if (response->error) {
        (void)snprintf(ret_text, size, "%s",
                       response->error_text[0] ? response->error_text : sonde_strerror(response->error));
        return trouble_of(response->error);
    }
    if (response->status == 200)
        return SONDE__DISCOVER_TROUBLE_COUNT;
    int shown = response->body_size < 80 ? (int)response->body_size : 80; /* registries say why in a line of text */
    (void)snprintf(ret_text, size, "status %d: %.*s", response->status, shown,
                   shown ? (const char *)response->body : "");
    switch (response->status) {
    case 401:
    case 403:
        return SONDE__DISCOVER_UNAUTHORIZED;
    case 404:
        return SONDE__DISCOVER_NOT_FOUND;
    default:
        return SONDE__DISCOVER_STATUS;
    }
}

enum sonde__discover_trouble sonde__discover_read_trouble(int err) {
    return err == SONDE_EMALFORMED ? SONDE__DISCOVER_FORMAT : SONDE__DISCOVER_MEMORY;
}

uint64_t sonde__discover_jitter(const struct sonde_discover_env *env, uint64_t ns) {
    const struct sonde_random *random = &env->seams->random;
    return ns - ns / 10 + random->next(random->self) % (ns / 5 + 1);
}

uint64_t sonde__discover_now(const struct sonde_discover_env *env) {
    return env->seams->time.monotonic_ns(env->seams->time.self);
}
