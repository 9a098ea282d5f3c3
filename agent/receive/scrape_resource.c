/* SPDX-License-Identifier: Apache-2.0 */
/* Whose series a target's are. Labels of target_info are resource attributes, by the name of the attribute where it is one
 * that we know, else by their own.
 * Source: OpenTelemetry specification, compatibility/prometheus_and_openmetrics.md, "Resource Attributes". */
#include "agent/receive/scrape.h"
#include "instrumentation/wire/writer.h"
#include <string.h>

#define VALUE_SIZE_MAX 512u

/* What discovery and target_info both may know. */
static const struct known {
    const char *key;
    const char *label;
    enum sonde_discovered_field field;
} known[] = {
    {"service.name", "service_name", SONDE_DISCOVERED_SERVICE_NAME},
    {"service.instance.id", "service_instance_id", SONDE_DISCOVERED_INSTANCE_ID},
    {"service.version", "service_version", SONDE_DISCOVERED_VERSION},
    {"service.namespace", "service_namespace", SONDE_DISCOVERED_NAMESPACE},
    {"cloud.availability_zone", "cloud_availability_zone", SONDE_DISCOVERED_ZONE},
};
#define KNOWN_COUNT (sizeof known / sizeof *known)

static const char *told_value(const struct sonde__scrape_told *told, const char *name) {
    for (size_t i = 0; i < told->count; i++)
        if (strcmp(told->labels[i].name, name) == 0)
            return told->labels[i].value;
    return "";
}

static bool is_configured(const struct sonde_string_map *labels, const struct known *attribute) {
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->keys[i], attribute->key) == 0 || strcmp(labels->keys[i], attribute->label) == 0)
            return true;
    return false;
}

/* Those are ours whatever a target says; or they are what it would be called by Prometheus. */
static bool is_reserved(const char *name) {
    static const char *const names[] = {"job",         "instance",   "server_address",
                                        "server_port", "url_scheme", "sonde_discovery_source"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(name, known[i].label) == 0)
            return true;
    return false;
}

static void write_text(struct sonde__writer *out, const char *key, const char *value) {
    const struct sonde_attribute attribute =
        sonde_attribute_string((struct sonde_key){key, (uint32_t)strlen(key)}, value);
    if (*value)
        sonde__write_attribute(out, 1, &attribute, VALUE_SIZE_MAX); /* Resource.attributes */
}

struct sonde_bytes sonde__scrape_resource(const struct sonde__scrape_config *config,
                                          const struct sonde__scrape_address *address,
                                          const struct sonde__scrape_origin *origin,
                                          const struct sonde__scrape_told *told,
                                          uint8_t buffer[SONDE__SCRAPE_RESOURCE_SIZE_MAX]) {
    struct sonde__writer out;
    const struct sonde_attribute port = sonde_attribute_int64(SONDE_KEY("server.port"), address->port);
    sonde__writer_init(&out, buffer, SONDE__SCRAPE_RESOURCE_SIZE_MAX);
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        const char *value = told_value(told, known[i].label);
        if (!*value && origin && !is_configured(&config->labels, &known[i]))
            value = origin->found->fields[known[i].field];
        if (!*value && known[i].field == SONDE_DISCOVERED_SERVICE_NAME)
            value = config->job;
        if (!*value && known[i].field == SONDE_DISCOVERED_INSTANCE_ID)
            value = address->instance;
        write_text(&out, known[i].key, value);
    }
    write_text(&out, "server.address", address->host);
    sonde__write_attribute(&out, 1, &port, VALUE_SIZE_MAX);
    write_text(&out, "url.scheme", address->scheme);
    write_text(&out, "sonde.discovery.source", origin ? origin->source : "");
    for (size_t i = 0; i < told->count; i++)
        if (!is_reserved(told->labels[i].name))
            write_text(&out, told->labels[i].name, told->labels[i].value);
    return (struct sonde_bytes){buffer, sonde__writer_size(&out)};
}
