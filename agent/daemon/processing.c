/* SPDX-License-Identifier: Apache-2.0 */
/* The processors of the configuration: each with a source of series of its own. */
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include "agent/view/self_metrics.h"
#include <sonde/err.h>

static int open_one(struct sonde_daemon *daemon, const struct sonde_config_instance *instance, char *text,
                    size_t text_size) {
    struct sonde_processing *processing = &daemon->processing;
    struct sonde_processor *processor = &processing->items[processing->count];
    uint8_t buffer[SONDE__SELF_RESOURCE_SIZE_MAX];
    struct sonde_bytes resource = sonde__self_resource(daemon, buffer);
    *processor = (struct sonde_processor){.name = instance->name, .ops = instance->kind.ops};
    int error = sonde_series_source_create(daemon->series, resource, &processor->source);
    if (error)
        return error;
    const struct sonde_processor_env env = {.name = processor->name,
                                            .loop = daemon->loop,
                                            .seams = daemon->seams,
                                            .queue = daemon->queue,
                                            .ledger = &daemon->ledger,
                                            .series = daemon->series,
                                            .source = processor->source,
                                            .resource = resource};
    error = processor->ops->create(instance->config, &env, &processor->self, text, text_size);
    if (error)
        sonde_series_source_destroy(processor->source);
    else
        processing->count++;
    return error;
}

int sonde__processing_create(struct sonde_daemon *daemon) {
    _Static_assert(SONDE_PROCESSORS_MAX >= SONDE_CONFIG_INSTANCES_MAX, "room for all that may be configured");
    for (size_t i = 0; i < daemon->config->counts[SONDE_CONFIG_PROCESSORS]; i++) {
        const struct sonde_config_instance *instance = &daemon->config->instances[SONDE_CONFIG_PROCESSORS][i];
        char text[400] = "";
        int error = open_one(daemon, instance, text, sizeof text);
        if (!error)
            continue;
        sonde_agent_log(SONDE_LOG_ERROR, "processor not started", "processor=%s error=%s", instance->name,
                        sonde_agent_log_quote(text[0] ? text : sonde_strerror(error)));
        return error;
    }
    return 0;
}

void sonde__processing_destroy(struct sonde_daemon *daemon) {
    struct sonde_processing *processing = &daemon->processing;
    for (size_t i = 0; i < processing->count; i++) {
        processing->items[i].ops->destroy(processing->items[i].self);
        sonde_series_source_destroy(processing->items[i].source);
    }
    processing->count = 0;
}
