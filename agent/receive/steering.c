/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/receive/steering.h"
#include "instrumentation/resource/environment.h"
#include "instrumentation/trace/sampler.h"
#include <sonde/err.h>
#include <sonde/log.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NO_RATIO (-1.0)

static const struct level {
    const char *name;
    uint32_t severity;
} levels[] = {{"trace", SONDE_SEVERITY_TRACE}, {"debug", SONDE_SEVERITY_DEBUG}, {"info", SONDE_SEVERITY_INFO},
              {"warn", SONDE_SEVERITY_WARN},   {"error", SONDE_SEVERITY_ERROR}, {"fatal", SONDE_SEVERITY_FATAL}};
#define LEVELS (sizeof levels / sizeof levels[0])

bool sonde_steering_ratio_parse(const char *text, double *ret_ratio) {
    return sonde__ratio_parse(text, ret_ratio);
}

bool sonde_steering_level_parse(const char *text, uint32_t *ret_severity) {
    for (size_t i = 0; i < LEVELS; i++)
        if (strcasecmp(text, levels[i].name) == 0) {
            *ret_severity = levels[i].severity;
            return true;
        }
    return false;
}

const char *sonde_steering_level_name(uint32_t severity) {
    const char *name = "";
    for (size_t i = 0; i < LEVELS && levels[i].severity <= severity; i++)
        name = levels[i].name;
    return name;
}

static struct sonde_steering_rule *find(struct sonde_steering *steering, const char *service) {
    for (size_t i = 0; i < steering->count; i++)
        if (strcmp(steering->rules[i].service, service) == 0)
            return &steering->rules[i];
    return NULL;
}

/* Names go to a terminal and into a log: no control characters. */
static bool name_is_good(const char *service) {
    size_t size = strnlen(service, SONDE__STEERING_NAME_MAX + 1);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)service[i] < 0x20 || service[i] == 0x7f)
            return false;
    return size > 0 && size <= SONDE__STEERING_NAME_MAX;
}

static int find_or_add(struct sonde_steering *steering, const char *service, struct sonde_steering_rule **ret_rule) {
    if (!name_is_good(service))
        return SONDE_EINVALID;
    *ret_rule = find(steering, service);
    if (*ret_rule)
        return 0;
    if (steering->count == SONDE__STEERINGS)
        return SONDE_EFULL;
    struct sonde_steering_rule *rule = *ret_rule = &steering->rules[steering->count++];
    *rule = (struct sonde_steering_rule){.ratio = NO_RATIO};
    (void)snprintf(rule->service, sizeof rule->service, "%s", service);
    return 0;
}

static void remove_if_empty(struct sonde_steering *steering, struct sonde_steering_rule *rule) {
    if (rule->ratio >= 0 || rule->severity)
        return;
    size_t at = (size_t)(rule - steering->rules);
    memmove(rule, rule + 1, (steering->count - at - 1) * sizeof *rule);
    steering->count--;
}

int sonde_steering_sample(struct sonde_steering *steering, const char *service, double ratio, bool by_command) {
    struct sonde_steering_rule *rule;
    if (!(ratio >= 0 && ratio <= 1))
        return SONDE_EINVALID;
    int error = find_or_add(steering, service, &rule);
    if (error)
        return error;
    rule->ratio = ratio;
    rule->by_command = by_command;
    return 0;
}

int sonde_steering_log_level(struct sonde_steering *steering, const char *service, uint32_t severity, bool by_command) {
    struct sonde_steering_rule *rule;
    if (severity < SONDE_SEVERITY_TRACE || severity > 24)
        return SONDE_EINVALID;
    int error = find_or_add(steering, service, &rule);
    if (error)
        return error;
    rule->severity = severity;
    rule->by_command = by_command;
    return 0;
}

int sonde_steering_sample_off(struct sonde_steering *steering, const char *service) {
    struct sonde_steering_rule *rule = find(steering, service);
    if (!rule || rule->ratio < 0)
        return SONDE_ENOTFOUND;
    rule->ratio = NO_RATIO;
    remove_if_empty(steering, rule);
    return 0;
}

int sonde_steering_log_level_off(struct sonde_steering *steering, const char *service) {
    struct sonde_steering_rule *rule = find(steering, service);
    if (!rule || !rule->severity)
        return SONDE_ENOTFOUND;
    rule->severity = 0;
    remove_if_empty(steering, rule);
    return 0;
}

static int refuse(const char *key, const char *service, int error, const char *accepted, char *text, size_t size) {
    if (error == SONDE_EFULL)
        (void)snprintf(text, size, "agent.%s: more than %u services", key, SONDE__STEERINGS);
    else
        (void)snprintf(text, size, "agent.%s: \"%.40s\": accepted: a name of 1 to %u bytes, and %s", key, service,
                       SONDE__STEERING_NAME_MAX, accepted);
    return error;
}

int sonde_steering_configure(struct sonde_steering *steering, const struct sonde_string_map *sampling,
                             const struct sonde_string_map *log_levels, char *error_text, size_t error_text_size) {
    for (size_t i = 0; i < sampling->count; i++) {
        double ratio = NO_RATIO;
        (void)sonde_steering_ratio_parse(sampling->values[i], &ratio);
        int error = sonde_steering_sample(steering, sampling->keys[i], ratio, false);
        if (error)
            return refuse("sampling", sampling->keys[i], error, "a ratio from 0 to 1", error_text, error_text_size);
    }
    for (size_t i = 0; i < log_levels->count; i++) {
        uint32_t severity = 0;
        (void)sonde_steering_level_parse(log_levels->values[i], &severity);
        int error = sonde_steering_log_level(steering, log_levels->keys[i], severity, false);
        if (error)
            return refuse("service_log_levels", log_levels->keys[i], error, "trace, debug, info, warn, error or fatal",
                          error_text, error_text_size);
    }
    return 0;
}

void sonde_steering_publish(const struct sonde_steering *steering, struct sonde__control *control) {
    struct sonde__steering_row rows[SONDE__STEERINGS];
    for (size_t i = 0; i < steering->count; i++) {
        const struct sonde_steering_rule *rule = &steering->rules[i];
        rows[i] = (struct sonde__steering_row){.name = rule->service, .severity = rule->severity};
        if (rule->ratio >= 0)
            rows[i].sampling = SONDE__STEERING_SAMPLES | sonde__sampler_threshold(rule->ratio, 4);
    }
    sonde__steering_publish(control, rows, steering->count);
}

static int obey(struct sonde_steering *steering, const struct sonde__steer *steer) {
    switch (steer->action) {
    case SONDE__STEER_SAMPLE:
        return sonde_steering_sample(steering, steer->service, steer->ratio, true);
    case SONDE__STEER_SAMPLE_OFF:
        return sonde_steering_sample_off(steering, steer->service);
    case SONDE__STEER_LOG_LEVEL:
        return sonde_steering_log_level(steering, steer->service, steer->severity, true);
    case SONDE__STEER_LOG_LEVEL_OFF:
        return sonde_steering_log_level_off(steering, steer->service);
    default:
        return SONDE_EINVALID;
    }
}

size_t sonde_steering_answer(struct sonde_steering *steering, const void *message, size_t size, bool allowed,
                             struct sonde__steered *ret_answer, bool *ret_changed) {
    struct sonde__steer steer;
    *ret_changed = false;
    if (size != sizeof steer)
        return 0;
    memcpy(&steer, message, sizeof steer);
    steer.service[sizeof steer.service - 1] = '\0';
    int result = 0;
    if (steer.action != SONDE__STEER_LIST)
        result = allowed ? obey(steering, &steer) : SONDE_EREFUSED;
    *ret_changed = steer.action != SONDE__STEER_LIST && result == 0;
    size_t answer_size = sizeof *ret_answer + steering->count * sizeof ret_answer->rows[0];
    *ret_answer = (struct sonde__steered){
        .message = {SONDE__STEERED, SONDE__PROTOCOL_VERSION, (uint32_t)answer_size},
        .result = result,
        .count = (uint32_t)steering->count,
    };
    for (size_t i = 0; i < steering->count; i++) {
        const struct sonde_steering_rule *rule = &steering->rules[i];
        struct sonde__steered_row *row = &ret_answer->rows[i];
        *row = (struct sonde__steered_row){
            .ratio = rule->ratio, .severity = rule->severity, .by_command = rule->by_command};
        memcpy(row->service, rule->service, sizeof row->service);
    }
    return answer_size;
}
