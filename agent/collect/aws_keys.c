/* SPDX-License-Identifier: Apache-2.0 */
/* How keys stand in answers, and where regions and endpoints are said. */
#include "agent/collect/aws_credentials.h"
#include "agent/collect/aws_profile.h"
#include "agent/collect/timestamp.h"
#include "agent/collect/xml.h"
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FILE_SIZE_MAX 1048576u

/** One line without spaces or controls, of 1..size - 1 bytes. */
static bool take(const char *text, size_t text_size, char *ret_text, size_t size) {
    if (!text || !text_size || text_size >= size)
        return false;
    for (size_t i = 0; i < text_size; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
            return false;
    memcpy(ret_text, text, text_size);
    ret_text[text_size] = '\0';
    return true;
}

static bool take_json(const json_t *root, const char *key, char *ret_text, size_t size) {
    const json_t *value = json_object_get(root, key);
    return json_is_string(value) && take(json_string_value(value), json_string_length(value), ret_text, size);
}

bool sonde__aws_keys_read_json(const void *bytes, size_t size, struct sonde__aws_keys *ret_keys) {
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
    *ret_keys = (struct sonde__aws_keys){0};
    const char *code = json_string_value(json_object_get(root, "Code"));
    bool good = (!code || strcmp(code, "Success") == 0) &&
                take_json(root, "AccessKeyId", ret_keys->access_key_id, sizeof ret_keys->access_key_id) &&
                take_json(root, "SecretAccessKey", ret_keys->secret_access_key, sizeof ret_keys->secret_access_key);
    if (good && json_object_get(root, "Token"))
        good = take_json(root, "Token", ret_keys->session_token, sizeof ret_keys->session_token);
    const json_t *end = json_object_get(root, "Expiration");
    if (good && end) {
        ret_keys->expires_unix_ns =
            json_is_string(end) ? sonde__timestamp_read(json_string_value(end), json_string_length(end)) : 0;
        good = ret_keys->expires_unix_ns != 0;
    }
    json_decref(root);
    return good;
}

struct xml_keys {
    struct sonde__aws_keys *keys;
    unsigned credentials; /* depth of <Credentials>; 0 = not in it */
    bool bad;
};

static void on_begin(void *user, const char *name, unsigned depth) {
    struct xml_keys *xml = user;
    if (!xml->credentials && strcmp(name, "Credentials") == 0)
        xml->credentials = depth;
}

static void on_end(void *user, const char *name, unsigned depth, struct sonde_string text) {
    struct xml_keys *xml = user;
    struct sonde__aws_keys *keys = xml->keys;
    bool good = true;
    if (depth == xml->credentials)
        xml->credentials = 0;
    if (!xml->credentials || depth != xml->credentials + 1)
        return;
    if (strcmp(name, "AccessKeyId") == 0)
        good = take(text.data, text.size, keys->access_key_id, sizeof keys->access_key_id);
    else if (strcmp(name, "SecretAccessKey") == 0)
        good = take(text.data, text.size, keys->secret_access_key, sizeof keys->secret_access_key);
    else if (strcmp(name, "SessionToken") == 0)
        good = take(text.data, text.size, keys->session_token, sizeof keys->session_token);
    else if (strcmp(name, "Expiration") == 0)
        good = (keys->expires_unix_ns = text.data ? sonde__timestamp_read(text.data, text.size) : 0) != 0;
    xml->bad = xml->bad || !good;
}

bool sonde__aws_keys_read_xml(const void *bytes, size_t size, struct sonde__aws_keys *ret_keys) {
    struct xml_keys xml = {.keys = ret_keys};
    const struct sonde__xml_handler handler = {on_begin, on_end, &xml};
    *ret_keys = (struct sonde__aws_keys){0};
    return sonde__xml_read(bytes, size, &handler) == 0 && !xml.bad && *ret_keys->access_key_id &&
           *ret_keys->secret_access_key && *ret_keys->session_token && ret_keys->expires_unix_ns;
}

/* --- regions and endpoints --- */

static void file_add(const struct sonde_config_sources *sources, const struct sonde_alloc *alloc, const char *variable,
                     const char *name, const char *profile, struct sonde__aws_profile *ret_profile) {
    const char *path = sources->env(sources->self, variable), *home = sources->env(sources->self, "HOME");
    char at_home[1024], *text;
    size_t size;
    if (!path || !*path) {
        int length = home && *home ? snprintf(at_home, sizeof at_home, "%s/.aws/%s", home, name) : -1;
        if (length < 0 || (size_t)length >= sizeof at_home)
            return;
        path = at_home;
    }
    /* No such file, or one that may not be read, says nothing: as AWS's tools have it. */
    if (sources->file(sources->self, alloc, path, FILE_SIZE_MAX, &text, &size) != 0)
        return;
    sonde__aws_profile_add(ret_profile, text, size, profile, name[1] == 'o');
    sonde_alloc_free(alloc, text);
}

void sonde__aws_profile_find(const struct sonde_config_sources *sources, const struct sonde_alloc *alloc,
                             const char *profile, struct sonde__aws_profile *ret_profile) {
    const char *name = *profile ? profile : sources->env(sources->self, "AWS_PROFILE");
    memset(ret_profile, 0, sizeof *ret_profile);
    if (!name || !*name)
        name = "default";
    file_add(sources, alloc, "AWS_SHARED_CREDENTIALS_FILE", "credentials", name, ret_profile);
    file_add(sources, alloc, "AWS_CONFIG_FILE", "config", name, ret_profile);
}

void sonde__aws_region_find(const struct sonde_config_sources *sources, const struct sonde_alloc *alloc,
                            const char *profile, char *ret_region, size_t size) {
    struct sonde__aws_profile found;
    const char *region = sources->env(sources->self, "AWS_REGION");
    if (!region || !*region)
        region = sources->env(sources->self, "AWS_DEFAULT_REGION");
    if (!region || !*region) {
        sonde__aws_profile_find(sources, alloc, profile, &found);
        region = found.region;
    }
    (void)snprintf(ret_region, size, "%s", region);
}

void sonde__aws_endpoint_find(const struct sonde_config_sources *sources, const char *service, const char *region,
                              char *ret_url, size_t size) {
    char variable[64];
    int at = snprintf(variable, sizeof variable, "AWS_ENDPOINT_URL_%s", service);
    for (int i = 0; i < at; i++)
        variable[i] = (char)toupper((unsigned char)variable[i]);
    const char *url =
        sources->env(sources->self, strcmp(service, "monitoring") == 0 ? "AWS_ENDPOINT_URL_CLOUDWATCH" : variable);
    if (!url || !*url)
        url = sources->env(sources->self, "AWS_ENDPOINT_URL");
    if (url && *url)
        (void)snprintf(ret_url, size, "%s", url);
    else /* partitions: a region of China has a domain of its own */
        (void)snprintf(ret_url, size, "https://%s.%s.amazonaws.com%s", service, region,
                       strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}
