/* SPDX-License-Identifier: Apache-2.0 */
/* An exporter that sends to one of our own listeners would feed itself for ever. */
#include "agent/config/config.h"
#include "agent/net/listen.h"
#include <sonde/err.h>
#include <string.h>

int sonde_config_check_own(const struct sonde_config *config, struct sonde_config_error *ret_error) {
    for (size_t i = 0; i < config->counts[SONDE_CONFIG_EXPORTERS]; i++) {
        const struct sonde_config_instance *instance = &config->instances[SONDE_CONFIG_EXPORTERS][i];
        for (const struct sonde_option *row = instance->kind.options; row && row->key; row++) {
            size_t length = strlen(row->key);
            if (row->type != SONDE_OPTION_STRING || length < 8 || strcmp(row->key + length - 8, "endpoint") != 0)
                continue;
            const char *url = *(char *const *)(const void *)((const char *)instance->config + row->offset);
            if (!url || !sonde__url_reaches(url, config->agent.listen))
                continue;
            *ret_error = (struct sonde_config_error){.line = instance->line, .column = instance->column};
            (void)snprintf(ret_error->text, sizeof ret_error->text,
                           "exporter %s: %s is this agent's own listener %s; an endpoint elsewhere is accepted",
                           instance->name, row->key, config->agent.listen);
            return SONDE_EINVALID;
        }
    }
    return 0;
}

int sonde_config_check_steering(const struct sonde_config *config, struct sonde_config_error *ret_error) {
    struct sonde_steering steering = {.count = 0};
    *ret_error = (struct sonde_config_error){0};
    return sonde_steering_configure(&steering, &config->agent.sampling, &config->agent.service_log_levels,
                                    ret_error->text, sizeof ret_error->text);
}
