/* SPDX-License-Identifier: Apache-2.0 */
/* What every discoverer does beside asking: it judges answers, counts and tells what goes wrong, and sets the health
 * series sonde.discovery.*. */
#ifndef SONDE_AGENT_DISCOVER_HEALTH_H
#define SONDE_AGENT_DISCOVER_HEALTH_H

#include "agent/discover/discover.h"

enum sonde__discover_trouble {
    SONDE__DISCOVER_TIMEOUT = 0,
    SONDE__DISCOVER_REFUSED,
    SONDE__DISCOVER_UNREACHABLE,
    SONDE__DISCOVER_RESET,
    SONDE__DISCOVER_PROTOCOL, /* TLS, or not HTTP */
    SONDE__DISCOVER_TOO_BIG,
    SONDE__DISCOVER_UNAUTHORIZED, /* 401, 403 */
    SONDE__DISCOVER_NOT_FOUND,    /* 404: not such a registry, or another path */
    SONDE__DISCOVER_STATUS,       /* another that is not 200 */
    SONDE__DISCOVER_FORMAT,       /* not JSON, or of another shape */
    SONDE__DISCOVER_SERVICES,     /* more of them than are watched */
    SONDE__DISCOVER_MEMORY,
    SONDE__DISCOVER_TROUBLE_COUNT,
};

struct sonde__discover_health {
    const struct sonde_discover_env *env;
    const char *source, *address; /* address: kept */
    struct sonde_series_source *series;
    uint64_t errors[SONDE__DISCOVER_TROUBLE_COUNT];
    enum sonde__discover_trouble reported; /* COUNT = none */
    char text[128];                        /* of it */
    size_t targets;
    uint64_t left_out, left_out_told;
    uint64_t created_unix_ns, last_success_unix_ns;
};

/** Returns 0, -ENOMEM. */
int sonde__discover_health_init(struct sonde__discover_health *health, const struct sonde_discover_env *env,
                                const char *source, const char *address);
void sonde__discover_health_deinit(struct sonde__discover_health *health); /* all zero is fine */
/** An answer came that could be used. all_well: nothing else fails at the moment. */
void sonde__discover_succeeded(struct sonde__discover_health *health, bool all_well);
/** Counts; tells it in the log where it is another trouble than before. text: borrowed. */
void sonde__discover_failed(struct sonde__discover_health *health, enum sonde__discover_trouble trouble,
                            const char *text);
/** Hands instances on, and notes how many there are. left_out: of the registry's answers. */
void sonde__discover_publish(struct sonde__discover_health *health, const struct sonde_discovered *const *targets,
                             size_t count, uint64_t left_out);
void sonde__discover_view(const struct sonde__discover_health *health, struct sonde_discovery_view *ret_view);

/** What is wrong with an answer, COUNT = nothing (status 200). ret_text: for people. */
enum sonde__discover_trouble sonde__discover_judge(const struct sonde_http_response *response, char *ret_text,
                                                   size_t size);
/** The trouble of a reader's error. */
enum sonde__discover_trouble sonde__discover_read_trouble(int err);

/** About so long: 90 to 110 %. */
uint64_t sonde__discover_jitter(const struct sonde_discover_env *env, uint64_t ns);
uint64_t sonde__discover_now(const struct sonde_discover_env *env);

#define SONDE__DISCOVER_URL_SIZE_MAX 2048u
/** An http or https URL without user, query and fragment; "host:port" is http. A slash at its end is left off.
 *  Returns 0, SONDE_EINVALID. */
int sonde__discover_base(const char *text, char ret_url[SONDE__DISCOVER_URL_SIZE_MAX]);
/** Appends "&key=value", percent-encoded; nothing for an empty value. False when there is no room. */
bool sonde__discover_query(char url[SONDE__DISCOVER_URL_SIZE_MAX], const char *key, const char *value);
/** Appends percent-encoded text. */
bool sonde__discover_path(char url[SONDE__DISCOVER_URL_SIZE_MAX], const char *text);

int sonde__discover_tls_check(const struct sonde__discover_tls_config *tls, const char *prefix, char *text,
                              size_t size);
struct sonde_tls_options sonde__discover_tls(const struct sonde__discover_tls_config *tls);

#endif
