/* SPDX-License-Identifier: Apache-2.0 */
/* A table of places, tried in order; a place that asks by HTTP is a chain of requests:
 *   instance:     PUT token -> GET name of the role -> GET keys
 *   container:    GET keys
 *   web identity: POST AssumeRoleWithWebIdentity, unsigned
 * Secrets are never logged, and never part of a text for people. */
#include "agent/collect/aws_credentials.h"
#include "agent/collect/aws_profile.h"
#include "agent/collect/endpoint.h"
#include "agent/collect/poll.h"
#include "exporters/http_headers.h"
#include "instrumentation/carrier/percent.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S         1000000000ull
#define REFRESH_NS       (300 * NS_PER_S) /* before the end */
#define FILE_AGAIN_NS    (60 * NS_PER_S)  /* what is in files is looked at again */
#define INSTANCE_WAIT_NS (2 * NS_PER_S)   /* link-local: near, or not there */
#define OTHER_WAIT_NS    (5 * NS_PER_S)
#define ANSWER_SIZE_MAX  65536u
#define TOKEN_SIZE_MAX   16384u /* of files with tokens */
#define ROLE_PATH        "/latest/meta-data/iam/security-credentials/"

enum step { IDLE, INSTANCE_TOKEN, INSTANCE_ROLE, INSTANCE_KEYS, CONTAINER, WEB_IDENTITY };
enum begun { NOT_SET_UP, READY, UNDER_WAY, FAILED };

struct sonde__aws_credentials {
    struct sonde__aws_credentials_config config;
    struct sonde__aws_keys keys;
    bool has_keys;
    uint64_t refresh_unix_ns; /* UINT64_MAX = never */
    enum step step;
    void *exchange;
    sonde__aws_credentials_done done;
    void *user;
    const char *error_type;
    char text[256];
    /* One request. */
    char url[1024], token[TOKEN_SIZE_MAX + 1], ttl[8];
    char *header_keys[1], *header_values[1], header_name[64];
    struct sonde_string_map headers;
    char *body; /* owned */
};

static const char *env(const struct sonde__aws_credentials *credentials, const char *name) {
    const struct sonde_config_sources *sources = credentials->config.sources;
    const char *value = sources->env(sources->self, name);
    return value ? value : "";
}
static uint64_t unix_ns(const struct sonde__aws_credentials *credentials) {
    const struct sonde_time *time = &credentials->config.seams->time;
    return time->unix_ns(time->self);
}
static const struct sonde_alloc *allocator(const struct sonde__aws_credentials *credentials) {
    return &credentials->config.seams->alloc;
}

static enum begun failed(struct sonde__aws_credentials *credentials, const char *error_type, const char *what,
                         const char *why) {
    credentials->error_type = error_type;
    (void)snprintf(credentials->text, sizeof credentials->text, "%s%s%s", what, why ? ": " : "", why ? why : "");
    return FAILED;
}

/* --- ends --- */

static void request_clear(struct sonde__aws_credentials *credentials) {
    sonde_alloc_free(allocator(credentials), credentials->body);
    credentials->body = NULL;
    credentials->exchange = NULL;
    credentials->step = IDLE;
}

/** After READY or FAILED. Old keys serve until they end. */
static void finish(struct sonde__aws_credentials *credentials, bool good) {
    sonde__aws_credentials_done done = credentials->done;
    const struct sonde__aws_keys *keys = &credentials->keys;
    bool usable = credentials->has_keys && (!keys->expires_unix_ns || keys->expires_unix_ns > unix_ns(credentials));
    request_clear(credentials);
    credentials->done = NULL;
    if (good || usable)
        done(credentials->user, keys, NULL, "");
    else
        done(credentials->user, NULL, credentials->error_type, credentials->text);
}

static enum begun keys_take(struct sonde__aws_credentials *credentials, const struct sonde__aws_keys *keys) {
    uint64_t now = unix_ns(credentials), end = keys->expires_unix_ns;
    if (end && end <= now)
        return failed(credentials, SONDE__TROUBLE_AUTH, "the keys that were given have ended", NULL);
    credentials->keys = *keys;
    credentials->has_keys = true;
    uint64_t before = end && (end - now) / 2 < REFRESH_NS ? (end - now) / 2 : REFRESH_NS;
    credentials->refresh_unix_ns = end ? end - before : UINT64_MAX;
    return READY;
}

static enum begun keys_set(struct sonde__aws_credentials *credentials, const char *id, const char *secret,
                           const char *token) {
    struct sonde__aws_keys keys = {0};
    if (!*secret || strlen(id) >= sizeof keys.access_key_id || strlen(secret) >= sizeof keys.secret_access_key ||
        strlen(token) >= sizeof keys.session_token || !sonde__http_is_line(id) || !sonde__http_is_line(token))
        return failed(credentials, SONDE__TROUBLE_AUTH,
                      "a secret access key is missing, or a key is not one short line", NULL);
    (void)snprintf(keys.access_key_id, sizeof keys.access_key_id, "%s", id);
    (void)snprintf(keys.secret_access_key, sizeof keys.secret_access_key, "%s", secret);
    (void)snprintf(keys.session_token, sizeof keys.session_token, "%s", token);
    return keys_take(credentials, &keys);
}

/* --- requests --- */

static void on_answer(void *user, const struct sonde_http_response *response);

static enum begun ask(struct sonde__aws_credentials *credentials, enum step step, const char *method) {
    bool posts = step == WEB_IDENTITY;
    struct sonde_http_request request = {
        .method = method,
        .url = credentials->url,
        .headers = credentials->headers.count ? &credentials->headers : NULL,
        .content_type = posts ? "application/x-www-form-urlencoded" : NULL,
        .body = (const uint8_t *)credentials->body,
        .body_size = posts ? strlen(credentials->body) : 0,
        .timeout_ns = posts || step == CONTAINER ? OTHER_WAIT_NS : INSTANCE_WAIT_NS,
        .response_size_max = ANSWER_SIZE_MAX,
        .tls = credentials->config.tls,
        .no_proxy = !posts,
    };
    const struct sonde__http_client *http = &credentials->config.http;
    credentials->step = step;
    int error = http->start(http->self, &request, on_answer, credentials, &credentials->exchange);
    if (!error)
        return UNDER_WAY;
    request_clear(credentials);
    return failed(credentials, SONDE__TROUBLE_MEMORY, sonde_strerror(error), NULL);
}

static void header_set(struct sonde__aws_credentials *credentials, const char *name, char *value) {
    (void)snprintf(credentials->header_name, sizeof credentials->header_name, "%s", name);
    credentials->header_keys[0] = credentials->header_name;
    credentials->header_values[0] = value;
    credentials->headers =
        (struct sonde_string_map){credentials->header_keys, credentials->header_values, name[0] != 0};
}

/** A file with a token, less the end of its line. */
static enum begun token_read(struct sonde__aws_credentials *credentials, const char *path, char *ret_token) {
    const struct sonde_config_sources *sources = credentials->config.sources;
    char *text;
    size_t size;
    int error = sources->file(sources->self, allocator(credentials), path, TOKEN_SIZE_MAX, &text, &size);
    if (error)
        return failed(credentials, SONDE__TROUBLE_AUTH, "the token's file cannot be read", sonde_strerror(error));
    while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    memcpy(ret_token, text, size);
    ret_token[size] = '\0';
    sonde_alloc_free(allocator(credentials), text);
    if (!size || !sonde__http_is_line(ret_token))
        return failed(credentials, SONDE__TROUBLE_AUTH, "the token's file is not one line", NULL);
    return READY;
}

static enum begun instance_next(struct sonde__aws_credentials *credentials,
                                const struct sonde_http_response *response) {
    const char *text = (const char *)response->body, *base = env(credentials, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    size_t size = response->body_size;
    while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    bool token = credentials->step == INSTANCE_TOKEN;
    const char *first = size ? memchr(text, '\n', size) : NULL;
    if (first) /* one role is what an instance has */
        size = (size_t)(first - text);
    bool good = size && size < (token ? sizeof credentials->token : 128u);
    for (size_t i = 0; good && i < size; i++)
        good = text[i] > ' ' && text[i] < 0x7f && (token || !strchr("/?#%\\", text[i]));
    if (!good)
        return failed(credentials, SONDE__TROUBLE_PROTOCOL, "the instance's metadata is not as documented", NULL);
    if (token) {
        memcpy(credentials->token, text, size);
        credentials->token[size] = '\0';
        header_set(credentials, "X-aws-ec2-metadata-token", credentials->token);
    }
    (void)snprintf(credentials->url, sizeof credentials->url, "%s" ROLE_PATH "%.*s",
                   *base ? base : "http://169.254.169.254", token ? 0 : (int)size, text);
    return ask(credentials, token ? INSTANCE_ROLE : INSTANCE_KEYS, "GET");
}

static enum begun answer_read(struct sonde__aws_credentials *credentials, const struct sonde_http_response *response) {
    static const char *const places[] = {
        [INSTANCE_TOKEN] = "the instance's metadata gives no token",
        [INSTANCE_ROLE] = "the instance has no role, or does not tell",
        [INSTANCE_KEYS] = "the instance's metadata gives no keys",
        [CONTAINER] = "the container's endpoint gives no keys",
        [WEB_IDENTITY] = "STS gives no keys for the web identity",
    };
    char text[192];
    struct sonde__aws_keys keys;
    const char *trouble = sonde__poll_http_trouble(response, text, sizeof text), *place = places[credentials->step];
    if (trouble) /* that nobody answers at the instance's address is: there are no keys */
        return failed(credentials, response->error ? trouble : SONDE__TROUBLE_AUTH, place, text);
    if (credentials->step == INSTANCE_TOKEN || credentials->step == INSTANCE_ROLE)
        return instance_next(credentials, response);
    bool good = credentials->step == WEB_IDENTITY
                    ? sonde__aws_keys_read_xml(response->body, response->body_size, &keys)
                    : sonde__aws_keys_read_json(response->body, response->body_size, &keys);
    return good ? keys_take(credentials, &keys)
                : failed(credentials, SONDE__TROUBLE_PROTOCOL, place, "the answer is not as documented");
}

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct sonde__aws_credentials *credentials = user;
    credentials->exchange = NULL;
    enum begun begun = answer_read(credentials, response);
    if (begun != UNDER_WAY)
        finish(credentials, begun == READY);
}

/* --- places --- */

static enum begun from_config(struct sonde__aws_credentials *credentials) {
    const struct sonde__aws_credentials_config *config = &credentials->config;
    return *config->access_key_id
               ? keys_set(credentials, config->access_key_id, config->secret_access_key, config->session_token)
               : NOT_SET_UP;
}

static enum begun from_environment(struct sonde__aws_credentials *credentials) {
    const char *id = env(credentials, "AWS_ACCESS_KEY_ID");
    return *id ? keys_set(credentials, id, env(credentials, "AWS_SECRET_ACCESS_KEY"),
                          env(credentials, "AWS_SESSION_TOKEN"))
               : NOT_SET_UP;
}

static bool is_unreserved(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static enum begun assume(struct sonde__aws_credentials *credentials, const char *role, const char *path) {
    char *token = credentials->token, escaped_role[1600];
    enum begun read = token_read(credentials, path, token);
    if (read != READY)
        return read;
    struct sonde_string role_text = {role, strlen(role)}, token_text = {token, strlen(token)};
    if (role_text.size > 512)
        return failed(credentials, SONDE__TROUBLE_AUTH, "the role's name is too long", NULL);
    escaped_role[sonde__percent_encode(role_text, is_unreserved, escaped_role)] = '\0';
    static const char head[] = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=sonde&RoleArn=";
    size_t size = sizeof head + strlen(escaped_role) + sizeof "&WebIdentityToken=" + 3 * token_text.size;
    credentials->body = sonde_alloc_new(allocator(credentials), size);
    if (!credentials->body)
        return failed(credentials, SONDE__TROUBLE_MEMORY, sonde_strerror(-ENOMEM), NULL);
    int at = snprintf(credentials->body, size, "%s%s&WebIdentityToken=", head, escaped_role);
    char *end = credentials->body + at;
    end[sonde__percent_encode(token_text, is_unreserved, end)] = '\0';
    sonde__aws_endpoint_find(credentials->config.sources, "sts", credentials->config.region, credentials->url,
                             sizeof credentials->url - 1);
    struct sonde__endpoint endpoint;
    if (sonde__endpoint_parse(credentials->url, &endpoint))
        return failed(credentials, SONDE__TROUBLE_AUTH, "AWS_ENDPOINT_URL_STS is not an http or https URL", NULL);
    (void)snprintf(credentials->url, sizeof credentials->url, "%s/", endpoint.url);
    header_set(credentials, "", NULL);
    return ask(credentials, WEB_IDENTITY, "POST");
}

static enum begun from_web_identity(struct sonde__aws_credentials *credentials) {
    const char *role = env(credentials, "AWS_ROLE_ARN"), *path = env(credentials, "AWS_WEB_IDENTITY_TOKEN_FILE");
    return *role && *path ? assume(credentials, role, path) : NOT_SET_UP;
}

static enum begun from_file(struct sonde__aws_credentials *credentials) {
    struct sonde__aws_profile profile;
    sonde__aws_profile_find(credentials->config.sources, allocator(credentials), credentials->config.profile, &profile);
    if (*profile.role_arn && *profile.web_identity_token_file)
        return assume(credentials, profile.role_arn, profile.web_identity_token_file);
    if (*profile.access_key_id && !*profile.role_arn) {
        enum begun begun =
            keys_set(credentials, profile.access_key_id, profile.secret_access_key, profile.session_token);
        if (begun == READY)
            credentials->refresh_unix_ns = unix_ns(credentials) + FILE_AGAIN_NS;
        return begun;
    }
    if (profile.elsewhere || *profile.role_arn)
        return failed(credentials, SONDE__TROUBLE_AUTH,
                      "the profile has its keys from SSO, a process or another profile, which is not spoken here",
                      NULL);
    if (*credentials->config.profile)
        return failed(credentials, SONDE__TROUBLE_AUTH, "the shared files have no keys for the profile",
                      credentials->config.profile);
    return NOT_SET_UP;
}

/** As AWS's SDKs: a token goes to https, or to addresses that are near. */
static bool full_uri_is_safe(const struct sonde__endpoint *endpoint) {
    static const char *const near[] = {"127.0.0.1",     "localhost",      "::1",
                                       "169.254.170.2", "169.254.170.23", "fd00:ec2::23"};
    for (size_t i = 0; i < sizeof near / sizeof *near; i++)
        if (strcmp(endpoint->host, near[i]) == 0)
            return true;
    return endpoint->tls;
}

static enum begun from_container(struct sonde__aws_credentials *credentials) {
    const char *relative = env(credentials, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = env(credentials, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *path = env(credentials, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = env(credentials, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    struct sonde__endpoint endpoint;
    if (!*relative && !*full)
        return NOT_SET_UP;
    int size = snprintf(credentials->url, sizeof credentials->url, "%s%s", *relative ? "http://169.254.170.2" : "",
                        *relative ? relative : full);
    char without_query[sizeof credentials->url];
    (void)snprintf(without_query, sizeof without_query, "%.*s", (int)strcspn(credentials->url, "?"), credentials->url);
    if ((size_t)size >= sizeof credentials->url || sonde__endpoint_parse(without_query, &endpoint) ||
        !full_uri_is_safe(&endpoint))
        return failed(credentials, SONDE__TROUBLE_AUTH,
                      "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor near (loopback, 169.254.170.2)", NULL);
    if (*path && token_read(credentials, path, credentials->token) != READY)
        return FAILED;
    if (!*path)
        (void)snprintf(credentials->token, sizeof credentials->token, "%s", token);
    header_set(credentials, *credentials->token ? "Authorization" : "", credentials->token);
    return ask(credentials, CONTAINER, "GET");
}

static enum begun from_instance(struct sonde__aws_credentials *credentials) {
    const char *base = env(credentials, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (strcmp(env(credentials, "AWS_EC2_METADATA_DISABLED"), "true") == 0)
        return NOT_SET_UP;
    (void)snprintf(credentials->url, sizeof credentials->url, "%s/latest/api/token",
                   *base ? base : "http://169.254.169.254");
    (void)snprintf(credentials->ttl, sizeof credentials->ttl, "%d", 21600);
    header_set(credentials, "X-aws-ec2-metadata-token-ttl-seconds", credentials->ttl);
    return ask(credentials, INSTANCE_TOKEN, "PUT");
}

static enum begun begin(struct sonde__aws_credentials *credentials) {
    static enum begun (*const places[SONDE__AWS_CREDENTIALS_SOURCE_COUNT])(struct sonde__aws_credentials *) = {
        [SONDE__AWS_CREDENTIALS_STATIC] = from_config,
        [SONDE__AWS_CREDENTIALS_ENVIRONMENT] = from_environment,
        [SONDE__AWS_CREDENTIALS_WEB_IDENTITY] = from_web_identity,
        [SONDE__AWS_CREDENTIALS_FILE] = from_file,
        [SONDE__AWS_CREDENTIALS_CONTAINER] = from_container,
        [SONDE__AWS_CREDENTIALS_INSTANCE] = from_instance,
    };
    const struct sonde__aws_credentials_config *config = &credentials->config;
    int only = config->source, last = SONDE__AWS_CREDENTIALS_INSTANCE;
    if (!only && *config->profile && !*config->access_key_id) /* who names a profile means it */
        only = SONDE__AWS_CREDENTIALS_FILE;
    enum begun begun = NOT_SET_UP;
    for (int i = only ? only : SONDE__AWS_CREDENTIALS_STATIC; begun == NOT_SET_UP && i <= (only ? only : last); i++)
        begun = places[i](credentials);
    return begun != NOT_SET_UP
               ? begun
               : failed(credentials, SONDE__TROUBLE_AUTH, "no credentials are set up where they are looked for", NULL);
}

/* --- life --- */

void sonde__aws_credentials_get(struct sonde__aws_credentials *credentials, sonde__aws_credentials_done done,
                                void *user) {
    credentials->done = done;
    credentials->user = user;
    if (credentials->has_keys && unix_ns(credentials) < credentials->refresh_unix_ns) {
        finish(credentials, true);
        return;
    }
    enum begun begun = begin(credentials);
    if (begun != UNDER_WAY)
        finish(credentials, begun == READY);
}

void sonde__aws_credentials_cancel(struct sonde__aws_credentials *credentials) {
    const struct sonde__http_client *http = &credentials->config.http;
    if (credentials->exchange)
        http->cancel(http->self, credentials->exchange);
    request_clear(credentials);
    credentials->done = NULL;
}

void sonde__aws_credentials_forget(struct sonde__aws_credentials *credentials) {
    credentials->has_keys = false;
}

int sonde__aws_credentials_create(const struct sonde__aws_credentials_config *config,
                                  struct sonde__aws_credentials **ret_credentials) {
    struct sonde__aws_credentials *credentials = sonde_alloc_new(&config->seams->alloc, sizeof *credentials);
    if (!credentials)
        return -ENOMEM;
    memset(credentials, 0, sizeof *credentials);
    credentials->config = *config;
    *ret_credentials = credentials;
    return 0;
}

void sonde__aws_credentials_destroy(struct sonde__aws_credentials *credentials) {
    if (!credentials)
        return;
    sonde__aws_credentials_cancel(credentials);
    sonde_alloc_free(&credentials->config.seams->alloc, credentials);
}
