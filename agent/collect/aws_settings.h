/* SPDX-License-Identifier: Apache-2.0 */
/* What the collectors of AWS's services are told alike, and what they reach them by. */
#ifndef SONDE_AGENT_COLLECT_AWS_SETTINGS_H
#define SONDE_AGENT_COLLECT_AWS_SETTINGS_H

#include "agent/collect/aws_call.h"
#include "agent/collect/collector.h"
#include "agent/collect/poll.h"

struct sonde__aws_settings {
    char *region, *endpoint, *cloudwatch_endpoint;
    int credentials; /* enum sonde__aws_credentials_source */
    char *profile, *access_key_id, *secret_access_key, *session_token;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
    uint64_t timeout_ns, cloudwatch_delay_ns;
    uint64_t answer_size_max;
};

/** static: names of credentials' values. */
extern const char *const sonde__aws_credentials_names[];

#define SONDE__AWS_AT(config, field) offsetof(struct config, aws) + offsetof(struct sonde__aws_settings, field)
/* Rows of a config struct that has a struct sonde__aws_settings named aws. */
#define SONDE__AWS_OPTIONS(config)                                                                                     \
    {.key = "region",                                                                                                  \
     .type = SONDE_OPTION_STRING,                                                                                      \
     .offset = SONDE__AWS_AT(config, region),                                                                          \
     .default_text = "",                                                                                               \
     .sentence = "Region, \"eu-central-1\" say; empty = AWS_REGION, AWS_DEFAULT_REGION, or the profile's."},           \
        {.key = "endpoint",                                                                                            \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, endpoint),                                                                    \
         .default_text = "",                                                                                           \
         .sentence = "URL of the service; empty = AWS_ENDPOINT_URL_SQS or _SNS, AWS_ENDPOINT_URL, or the region's."},  \
        {.key = "cloudwatch_endpoint",                                                                                 \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, cloudwatch_endpoint),                                                         \
         .default_text = "",                                                                                           \
         .sentence = "URL of CloudWatch; empty = AWS_ENDPOINT_URL_CLOUDWATCH, AWS_ENDPOINT_URL, or the region's."},    \
        {.key = "credentials",                                                                                         \
         .type = SONDE_OPTION_ENUM,                                                                                    \
         .offset = SONDE__AWS_AT(config, credentials),                                                                 \
         .values = sonde__aws_credentials_names,                                                                       \
         .default_text = "auto",                                                                                       \
         .sentence = "Where keys come from; auto = the first of the others that is set up, in the order listed."},     \
        {.key = "profile",                                                                                             \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, profile),                                                                     \
         .default_text = "",                                                                                           \
         .sentence = "Profile of the shared files; empty = AWS_PROFILE, or \"default\"."},                             \
        {.key = "access_key_id",                                                                                       \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, access_key_id),                                                               \
         .default_text = "",                                                                                           \
         .sentence = "Access key; empty = as `credentials` says."},                                                    \
        {.key = "secret_access_key",                                                                                   \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, secret_access_key),                                                           \
         .default_text = "",                                                                                           \
         .secret = true,                                                                                               \
         .sentence = "Secret of access_key_id."},                                                                      \
        {.key = "session_token",                                                                                       \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, session_token),                                                               \
         .default_text = "",                                                                                           \
         .secret = true,                                                                                               \
         .sentence = "Session token of access_key_id, where it is a temporary one."},                                  \
        {.key = "timeout",                                                                                             \
         .type = SONDE_OPTION_DURATION,                                                                                \
         .offset = SONDE__AWS_AT(config, timeout_ns),                                                                  \
         .min = 50,                                                                                                    \
         .max = 6e5,                                                                                                   \
         .default_text = "20s",                                                                                        \
         .sentence = "Time one poll may take, connecting included."},                                                  \
        {.key = "cloudwatch_delay",                                                                                    \
         .type = SONDE_OPTION_DURATION,                                                                                \
         .offset = SONDE__AWS_AT(config, cloudwatch_delay_ns),                                                         \
         .min = 0,                                                                                                     \
         .max = 3.6e6,                                                                                                 \
         .default_text = "3m",                                                                                         \
         .sentence = "How long CloudWatch takes until the sums of a minute are complete."},                            \
        {.key = "reply_size_max",                                                                                      \
         .type = SONDE_OPTION_SIZE,                                                                                    \
         .offset = SONDE__AWS_AT(config, answer_size_max),                                                             \
         .min = 65536,                                                                                                 \
         .max = 1 << 28,                                                                                               \
         .default_text = "8MiB",                                                                                       \
         .sentence = "Bytes of one reply of a service."},                                                              \
        {.key = "tls.ca_file",                                                                                         \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, ca_file),                                                                     \
         .default_text = "",                                                                                           \
         .sentence = "PEM file of the authorities that may vouch for a service; empty means the system's."},           \
        {.key = "tls.cert_file",                                                                                       \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, cert_file),                                                                   \
         .default_text = "",                                                                                           \
         .sentence = "PEM file of our own certificate, where a service asks for one."},                                \
        {.key = "tls.key_file",                                                                                        \
         .type = SONDE_OPTION_STRING,                                                                                  \
         .offset = SONDE__AWS_AT(config, key_file),                                                                    \
         .default_text = "",                                                                                           \
         .sentence = "PEM file of the key of tls.cert_file."},                                                         \
    {                                                                                                                  \
        .key = "tls.insecure_skip_verify", .type = SONDE_OPTION_BOOL,                                                  \
        .offset = SONDE__AWS_AT(config, insecure_skip_verify), .default_text = "false",                                \
        .sentence = "Whether a service's certificate goes unchecked; for trials only."                                 \
    }

/** What a collector has of it. Borrows settings and env's seams. */
struct sonde__aws_access {
    char region[64];
    struct sonde_tls_options tls;
    struct sonde__aws_service service, cloudwatch;
    struct sonde__aws_credentials *credentials;
};

/** name: "sqs"; target: see aws_call.h. Returns 0, -ENOMEM, or SONDE_EINVALID with error_text. */
int sonde__aws_access_init(struct sonde__aws_access *access, const struct sonde__aws_settings *settings,
                           const struct sonde_collector_env *env, const char *name, const char *target,
                           char *error_text, size_t error_text_size);
void sonde__aws_access_deinit(struct sonde__aws_access *access); /* zeros are fine */

/** Fails the poll as an answer says: throttled, or its trouble; keys that were refused are forgotten. */
void sonde__aws_access_fail(struct sonde__aws_access *access, struct sonde__poll *poll,
                            const struct sonde__aws_answer *answer);

#endif
