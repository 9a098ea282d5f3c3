/* SPDX-License-Identifier: Apache-2.0 */
/* The prometheus_scrape receiver: asks targets for their metrics on an interval, and keeps each target's series in a
 * source of its own. A target that is down, slow, endless or talks nonsense loses its own series and has `up` 0; the
 * others are unharmed. Loop thread only. */
#ifndef SONDE_AGENT_RECEIVE_SCRAPE_H
#define SONDE_AGENT_RECEIVE_SCRAPE_H

#include "agent/receive/exposition.h"
#include "agent/receive/receiver.h"
#include "exporters/http.h"

#define SONDE__SCRAPE_TARGETS_MAX       1024u
#define SONDE__SCRAPE_URL_SIZE_MAX      1024u
#define SONDE__SCRAPE_INSTANCE_SIZE_MAX 300u
#define SONDE__SCRAPE_LABELS_MAX        16u /* labels of the configuration; SONDE_SERIES_ATTRIBUTES_MAX with the sample's */

struct sonde__scrape_config {
    struct sonde_string_list targets;
    char *job, *scheme, *metrics_path;
    uint64_t interval_ns, timeout_ns, body_size_max;
    int64_t sample_limit;
    struct sonde_string_map headers, labels;
    char *bearer_token, *username, *password;
    bool honor_labels;
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
};

enum sonde__scrape_trouble {
    SONDE__SCRAPE_TIMEOUT = 0,
    SONDE__SCRAPE_REFUSED,
    SONDE__SCRAPE_UNREACHABLE,
    SONDE__SCRAPE_RESET,
    SONDE__SCRAPE_PROTOCOL, /* TLS, or not HTTP */
    SONDE__SCRAPE_TOO_BIG,
    SONDE__SCRAPE_STATUS, /* not 200 */
    SONDE__SCRAPE_TYPE,   /* a content type that is none of ours */
    SONDE__SCRAPE_FORMAT,
    SONDE__SCRAPE_SAMPLES, /* sample_limit, or a limit of a line */
    SONDE__SCRAPE_MEMORY,
    SONDE__SCRAPE_TROUBLE_COUNT,
};
/** The value of error.type; static. */
const char *sonde__scrape_trouble_name(enum sonde__scrape_trouble trouble);

/** Where a target is, as told by `targets`. */
struct sonde__scrape_address {
    char url[SONDE__SCRAPE_URL_SIZE_MAX];
    char instance[SONDE__SCRAPE_INSTANCE_SIZE_MAX]; /* host:port */
    char host[256], scheme[8];
    uint16_t port;
};
/** target: "host", "host:port", "[ipv6]:port", or an URL, which is taken as it is.
 *  Returns 0, SONDE_EINVALID. */
int sonde__scrape_address_parse(const char *target, const char *scheme, const char *path,
                                struct sonde__scrape_address *ret_address);

/** What all targets of a receiver share; borrowed by them. */
struct sonde__scrape_shared {
    const struct sonde__scrape_config *config;
    struct sonde_receiver_env env;
    struct sonde_tls_options tls;
    struct sonde_string_map headers;      /* with ours; strings borrowed or owned by the receiver */
    struct sonde__exposition *exposition; /* working memory, one answer at a time */
};

struct sonde__scrape_target;
/** first_ns: monotonic time of the first scrape. Returns 0, -ENOMEM, SONDE_EINVALID. */
int sonde__scrape_target_create(struct sonde__scrape_shared *shared, const char *target, uint64_t first_ns,
                                struct sonde__scrape_target **ret_target);
void sonde__scrape_target_stop(struct sonde__scrape_target *target);
/** With its series. NULL is fine. */
void sonde__scrape_target_destroy(struct sonde__scrape_target *target);

/** Puts a sample into the source (scrape_series.c).
 *  Returns 0, -ENOMEM. left_out: counts samples that the store could not take. */
struct sonde__scrape_take {
    struct sonde_series_source *source;
    const struct sonde__scrape_config *config;
    uint64_t left_out;
};
int sonde__scrape_take_sample(void *take, const struct sonde__exposition_sample *sample);

#endif
