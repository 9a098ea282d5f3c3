/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for requests to AWS, from where AWS's tools have them, in their order: the configuration; the environment; a web
 * identity (STS); the shared files; the container's endpoint; the instance's metadata (IMDSv2 only). The first place that
 * is set up is the one, and its failure is an error. Keys that end are fetched again five minutes before (half of their
 * life, when that is shorter), and kept until they end when that fails. Nothing blocks: HTTP is asynchronous, and the files
 * are small. Loop thread only.
 * Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers". */
#ifndef SONDE_AGENT_COLLECT_AWS_CREDENTIALS_H
#define SONDE_AGENT_COLLECT_AWS_CREDENTIALS_H

#include "agent/config/config.h"
#include "exporters/http.h"
#include "exporters/seam.h"

enum sonde__aws_credentials_source {
    SONDE__AWS_CREDENTIALS_AUTO = 0,
    SONDE__AWS_CREDENTIALS_STATIC, /* access_key_id of the configuration */
    SONDE__AWS_CREDENTIALS_ENVIRONMENT,
    SONDE__AWS_CREDENTIALS_WEB_IDENTITY,
    SONDE__AWS_CREDENTIALS_FILE,
    SONDE__AWS_CREDENTIALS_CONTAINER,
    SONDE__AWS_CREDENTIALS_INSTANCE,
    SONDE__AWS_CREDENTIALS_SOURCE_COUNT,
};

struct sonde__aws_keys {
    char access_key_id[128], secret_access_key[256], session_token[8192];
    uint64_t expires_unix_ns; /* 0 = they do not say */
};

/** All borrowed until destroyed. Strings are not NULL; "" = not said. */
struct sonde__aws_credentials_config {
    const struct sonde_seams *seams;
    struct sonde__http_client http;
    const struct sonde_config_sources *sources; /* environment and files */
    enum sonde__aws_credentials_source source;
    const char *access_key_id, *secret_access_key, *session_token;
    const char *profile, *region;
    const struct sonde_tls_options *tls; /* of STS and the container's endpoint */
};

struct sonde__aws_credentials;

/** keys NULL: there are none; error_type is static and of poll.h, text says why. Borrowed; keys until the next get. */
typedef void (*sonde__aws_credentials_done)(void *user, const struct sonde__aws_keys *keys, const char *error_type,
                                            const char *text);

int sonde__aws_credentials_create(const struct sonde__aws_credentials_config *config,
                                  struct sonde__aws_credentials **ret_credentials);
void sonde__aws_credentials_destroy(struct sonde__aws_credentials *credentials); /* NULL is fine */
/** Calls done, from inside when the keys are there. One at a time. */
void sonde__aws_credentials_get(struct sonde__aws_credentials *credentials, sonde__aws_credentials_done done,
                                void *user);
/** done is not called any more. */
void sonde__aws_credentials_cancel(struct sonde__aws_credentials *credentials);
/** The keys were refused: the next get fetches them anew. */
void sonde__aws_credentials_forget(struct sonde__aws_credentials *credentials);

struct sonde__aws_profile;
/** What the shared files say of a profile ("" = AWS_PROFILE, else "default"). */
void sonde__aws_profile_find(const struct sonde_config_sources *sources, const struct sonde_alloc *alloc,
                             const char *profile, struct sonde__aws_profile *ret_profile);
/** The region that the environment or the shared files say, when the configuration says none. ret_region: "" = none. */
void sonde__aws_region_find(const struct sonde_config_sources *sources, const struct sonde_alloc *alloc,
                            const char *profile, char *ret_region, size_t size);
/** The endpoint of a service: of the environment (AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL), or of the region. */
void sonde__aws_endpoint_find(const struct sonde_config_sources *sources, const char *service, const char *region,
                              char *ret_url, size_t size);

/* The pieces, for tests. */
/** {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} of the container's and the instance's endpoint. */
bool sonde__aws_keys_read_json(const void *bytes, size_t size, struct sonde__aws_keys *ret_keys);
/** What STS answers. */
bool sonde__aws_keys_read_xml(const void *bytes, size_t size, struct sonde__aws_keys *ret_keys);

#endif
