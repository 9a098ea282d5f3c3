/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics are queued once for all exporters, so there is one temporality for them all. */
#include "agent/config/config.h"
#include <sonde/err.h>

int sonde_config_temporality(const struct sonde_config *config, enum sonde_temporality *ret_temporality,
                             struct sonde_config_error *ret_error) {
    static const char *const names[] = {"cumulative", "delta", "lowmemory"};
    const struct sonde_config_instance *first = NULL;
    *ret_temporality = SONDE_TEMPORALITY_CUMULATIVE;
    for (size_t i = 0; i < config->counts[SONDE_CONFIG_EXPORTERS]; i++) {
        const struct sonde_config_instance *instance = &config->instances[SONDE_CONFIG_EXPORTERS][i];
        const struct sonde_exporter_ops *ops = instance->kind.ops;
        if (!ops->temporality_of || !(instance->signals & 1u << SONDE_SIGNAL_METRICS))
            continue;
        enum sonde_temporality temporality = ops->temporality_of(instance->config);
        if (!first) {
            first = instance;
            *ret_temporality = temporality;
        } else if (temporality != *ret_temporality) {
            *ret_error = (struct sonde_config_error){.line = instance->line, .column = instance->column};
            (void)snprintf(ret_error->text, sizeof ret_error->text,
                           "exporter %s: temporality is %s, but that of %s is %s; metrics are queued once for all "
                           "exporters of an agent: give them the same, or run another agent",
                           instance->name, names[temporality], first->name, names[*ret_temporality]);
            return SONDE_EINVALID;
        }
    }
    return 0;
}
