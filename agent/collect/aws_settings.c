/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/aws_settings.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

const char *const sonde__aws_credentials_names[] = {
    "auto", "config", "environment", "web_identity", "file", "container", "instance", NULL,
};

static int bad(char *text, size_t size, const char *problem) {
    (void)snprintf(text, size, "%s", problem);
    return SONDE_EINVALID;
}

static bool region_is_good(const char *region) {
    size_t size = strlen(region);
    return size >= 1 && size < 64 && strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static int check(const struct sonde__aws_settings *settings, const char *region, char *text, size_t size) {
    if (!region_is_good(region))
        return bad(text, size, "region: give one, \"eu-central-1\" say, or set AWS_REGION, or one in the profile");
    if (!*settings->access_key_id != !*settings->secret_access_key)
        return bad(text, size, "access_key_id: it and secret_access_key go together");
    if (*settings->session_token && !*settings->access_key_id)
        return bad(text, size, "session_token: wants access_key_id and secret_access_key");
    if (settings->credentials == SONDE__AWS_CREDENTIALS_STATIC && !*settings->access_key_id)
        return bad(text, size, "credentials: \"config\" wants access_key_id and secret_access_key");
    if (!*settings->cert_file != !*settings->key_file)
        return bad(text, size, "tls.cert_file: it and tls.key_file go together");
    return 0;
}

static int endpoint_init(const struct sonde_config_sources *sources, const char *configured, const char *name,
                         const char *region, struct sonde__endpoint *ret_endpoint) {
    char url[512];
    if (*configured)
        return sonde__endpoint_parse(configured, ret_endpoint);
    sonde__aws_endpoint_find(sources, name, region, url, sizeof url);
    return sonde__endpoint_parse(url, ret_endpoint);
}

static struct sonde__aws_service service_of(const struct sonde__aws_access *access,
                                            const struct sonde__aws_settings *settings,
                                            const struct sonde_collector_env *env, const char *name,
                                            const char *target) {
    return (struct sonde__aws_service){.name = name,
                                       .target = target,
                                       .region = access->region,
                                       .http = env->http,
                                       .alloc = &env->seams->alloc,
                                       .tls = &access->tls,
                                       .timeout_ns = settings->timeout_ns,
                                       .answer_size_max = settings->answer_size_max};
}

int sonde__aws_access_init(struct sonde__aws_access *access, const struct sonde__aws_settings *settings,
                           const struct sonde_collector_env *env, const char *name, const char *target,
                           char *error_text, size_t error_text_size) {
    const struct sonde_config_sources *sources = &sonde_config_sources_real;
    if (*settings->region)
        (void)snprintf(access->region, sizeof access->region, "%s", settings->region);
    else
        sonde__aws_region_find(sources, &env->seams->alloc, settings->profile, access->region, sizeof access->region);
    int error = check(settings, strlen(settings->region) < sizeof access->region ? access->region : "", error_text,
                      error_text_size);
    if (error)
        return error;
    access->tls = (struct sonde_tls_options){.ca_file = settings->ca_file,
                                             .cert_file = settings->cert_file,
                                             .key_file = settings->key_file,
                                             .insecure_skip_verify = settings->insecure_skip_verify};
    access->service = service_of(access, settings, env, name, target);
    access->cloudwatch = service_of(access, settings, env, "monitoring", "GraniteServiceVersion20100801");
    if (endpoint_init(sources, settings->endpoint, name, access->region, &access->service.endpoint))
        return bad(error_text, error_text_size, "endpoint: use http://HOST:PORT or https://HOST:PORT");
    if (endpoint_init(sources, settings->cloudwatch_endpoint, "monitoring", access->region,
                      &access->cloudwatch.endpoint))
        return bad(error_text, error_text_size, "cloudwatch_endpoint: use http://HOST:PORT or https://HOST:PORT");
    const struct sonde__aws_credentials_config config = {.seams = env->seams,
                                                         .http = env->http,
                                                         .sources = sources,
                                                         .source =
                                                             (enum sonde__aws_credentials_source)settings->credentials,
                                                         .access_key_id = settings->access_key_id,
                                                         .secret_access_key = settings->secret_access_key,
                                                         .session_token = settings->session_token,
                                                         .profile = settings->profile,
                                                         .region = access->region,
                                                         .tls = &access->tls};
    return sonde__aws_credentials_create(&config, &access->credentials);
}

void sonde__aws_access_deinit(struct sonde__aws_access *access) {
    sonde__aws_credentials_destroy(access->credentials);
    access->credentials = NULL;
}

void sonde__aws_access_fail(struct sonde__aws_access *access, struct sonde__poll *poll,
                            const struct sonde__aws_answer *answer) {
    if (strcmp(answer->error_type, SONDE__TROUBLE_AUTH) == 0 && !answer->is_denied)
        sonde__aws_credentials_forget(access->credentials);
    if (strcmp(answer->error_type, SONDE__TROUBLE_THROTTLED) == 0)
        sonde__poll_throttled(poll, 0, answer->text);
    else
        sonde__poll_fail(poll, answer->error_type, answer->text);
}
