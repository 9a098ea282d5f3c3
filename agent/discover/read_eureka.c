/* SPDX-License-Identifier: Apache-2.0 */
/* {"applications":{"application":[{"name","instance":[{"instanceId","hostName","ipAddr","status",
 *   "port":{"$":8080,"@enabled":"true"},"securePort":{...},"metadata":{},"dataCenterInfo":{"metadata":{}}}]}]}}
 * Where XML became JSON, a list of one may be its only member, and numbers and truths may be text. */
#include "agent/discover/read.h"
#include "agent/discover/read_json.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

/** The port when it is enabled, else 0. */
static uint16_t port_enabled(const json_t *port) {
    const json_t *enabled = json_object_get(port, "@enabled");
    const char *text = json_string_value(enabled);
    return json_is_true(enabled) || (text && strcmp(text, "true") == 0)
               ? sonde__discover_port(json_object_get(port, "$"))
               : 0;
}

/** Eureka writes names in capitals, whatever they were. */
static void lower(const char *text, char *ret_text) {
    for (; *text; text++)
        *ret_text++ = (char)(*text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text);
    *ret_text = '\0';
}

static int instance_read(const struct sonde__eureka_config *config, const struct sonde_alloc *alloc, const char *app,
                         const json_t *instance, struct sonde__discovered_set *set) {
    const char *fields[SONDE_DISCOVERED_FIELDS] = {NULL};
    char name[SONDE_DISCOVERED_TEXT_SIZE_MAX];
    if (!json_is_object(instance))
        return SONDE_EMALFORMED;
    if (config->up_only && strcmp(sonde__discover_text(instance, "status"), "UP") != 0)
        return 0;
    lower(*app ? app : sonde__discover_text(instance, "app"), name);
    const char *host = sonde__discover_text(instance, "hostName"), *ip = sonde__discover_text(instance, "ipAddr");
    const char *id = sonde__discover_text(instance, "instanceId");
    uint16_t plain = port_enabled(json_object_get(instance, "port")),
             secure = port_enabled(json_object_get(instance, "securePort"));
    const json_t *center = json_object_get(json_object_get(instance, "dataCenterInfo"), "metadata");
    fields[SONDE_DISCOVERED_SERVICE_NAME] = name;
    fields[SONDE_DISCOVERED_INSTANCE_ID] = *id ? id : host; /* servers before 1.4 had none */
    fields[SONDE_DISCOVERED_ZONE] = sonde__discover_meta(center, "availability-zone");
    /* That the plain port is open says nothing of the metrics: then the configuration's scheme holds. */
    fields[SONDE_DISCOVERED_SCHEME] = secure ? "https" : "";
    uint16_t port = sonde__discover_metadata(json_object_get(instance, "metadata"), fields);
    if (!port)
        port = secure && strcmp(fields[SONDE_DISCOVERED_SCHEME], "https") == 0 ? secure : plain;
    return sonde__discover_put(set, alloc, (config->use_ip && *ip) || !*host ? ip : host, port, fields);
}

/** The i-th member of a list, or the only one; NULL = no more. */
static const json_t *member(const json_t *list, size_t i) {
    return json_is_array(list) ? json_array_get(list, i) : i == 0 && !json_is_null(list) ? list : NULL;
}

static int application_read(const struct sonde__eureka_config *config, const struct sonde_alloc *alloc,
                            const json_t *application, struct sonde__discovered_set *set) {
    const json_t *instances = json_object_get(application, "instance"), *instance;
    int err = json_is_object(application) ? 0 : SONDE_EMALFORMED;
    for (size_t i = 0; !err && (instance = member(instances, i)); i++)
        err = instance_read(config, alloc, sonde__discover_text(application, "name"), instance, set);
    return err;
}

int sonde__eureka_read(const struct sonde__eureka_config *config, const struct sonde_alloc *alloc, const void *body,
                       size_t size, struct sonde__discovered_set *ret_set) {
    json_t *all = json_loadb(body, size, 0, NULL);
    const json_t *applications = json_object_get(all, "applications"), *list, *application;
    int err = json_is_object(applications) ? 0 : SONDE_EMALFORMED;
    list = json_object_get(applications, "application");
    for (size_t i = 0; !err && (application = member(list, i)); i++)
        err = application_read(config, alloc, application, ret_set);
    json_decref(all);
    return err;
}
