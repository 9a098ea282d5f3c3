/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator wants of services: sampling ratios and the least severe log records, by name of service, "*" for all.
 * From the configuration at the start and from `sonde sample` and `sonde log-level` since; not kept over a restart. Plain
 * code: the receiver `services` shows it to services by its control page. */
#ifndef SONDE_AGENT_STEERING_H
#define SONDE_AGENT_STEERING_H

#include "exporters/option.h"
#include "instrumentation/link/protocol.h"
#include "instrumentation/ring/steering.h"

struct sonde_steering_rule {
    char service[SONDE__STEERING_NAME_MAX + 1];
    double ratio;      /* below 0 = the service's own sampler */
    uint32_t severity; /* 0 = all log records */
    bool by_command;   /* else by the configuration */
};
struct sonde_steering {
    struct sonde_steering_rule rules[SONDE__STEERINGS];
    size_t count;
};

/** Sets or takes back one thing of one service. service: NUL-terminated.
 *  sample: ratio 0..1. log_level: severity 1..24. Returns 0; SONDE_EINVALID (name or value), SONDE_EFULL. Unset ones
 *  return SONDE_ENOTFOUND when there is nothing to take back. */
int sonde_steering_sample(struct sonde_steering *steering, const char *service, double ratio, bool by_command);
int sonde_steering_sample_off(struct sonde_steering *steering, const char *service);
int sonde_steering_log_level(struct sonde_steering *steering, const char *service, uint32_t severity, bool by_command);
int sonde_steering_log_level_off(struct sonde_steering *steering, const char *service);

/** Texts of people: "0.25"; "warn". Return false when they are none. */
bool sonde_steering_ratio_parse(const char *text, double *ret_ratio);
bool sonde_steering_level_parse(const char *text, uint32_t *ret_severity);
/** The name of a severity, "warn"; "" for 0. Static. */
const char *sonde_steering_level_name(uint32_t severity);

/** Adds what the configuration says (agent.sampling, agent.service_log_levels). Returns 0, SONDE_EINVALID or SONDE_EFULL
 *  with a sentence in error_text. */
int sonde_steering_configure(struct sonde_steering *steering, const struct sonde_string_map *sampling,
                             const struct sonde_string_map *log_levels, char *error_text, size_t error_text_size);

/** Shows it to services. */
void sonde_steering_publish(const struct sonde_steering *steering, struct sonde__control *control);

/** Answers STEER, and does what it says when the sender may: uid 0 or the agent's own. publish: the rules have changed.
 *  ret_answer: room for SONDE__STEERED_SIZE_MAX bytes. Returns the answer's size; 0: not a STEER. */
size_t sonde_steering_answer(struct sonde_steering *steering, const void *message, size_t size, bool allowed,
                             struct sonde__steered *ret_answer, bool *ret_changed);

#endif
