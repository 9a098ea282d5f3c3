/* SPDX-License-Identifier: Apache-2.0 */
/* The prometheus_scrape receiver: asks targets for their metrics on an interval, and keeps each target's series in a
 * source of its own. A target that is down, slow, endless or talks nonsense loses its own series and has `up` 0; the
 * others are unharmed. Loop thread only. */
#ifndef SONDE_AGENT_RECEIVE_SCRAPE_H
#define SONDE_AGENT_RECEIVE_SCRAPE_H

#include "agent/discover/discover.h"
#include "agent/receive/exposition.h"
#include "agent/receive/receiver.h"
#include "exporters/http.h"

#define SONDE__SCRAPE_TARGETS_MAX       1024u
#define SONDE__SCRAPE_SECRET_SIZE_MAX   4096u
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
    struct sonde_discover_config discover;
};
extern const struct sonde_option sonde__scrape_options[]; /* scrape_options.c */
/** Returns 0, SONDE_EINVALID with a text. */
int sonde__scrape_check(const struct sonde__scrape_config *config, char *text, size_t size);

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

/** What a target said of itself in target_info; as much as fits. */
#define SONDE__SCRAPE_TOLD_MAX 32u
struct sonde__scrape_told {
    size_t count;
    struct {
        char name[SONDE_KEY_SIZE_MAX + 1], value[256];
    } labels[SONDE__SCRAPE_TOLD_MAX];
};

/** What all targets of a receiver share; borrowed by them. */
struct sonde__scrape_shared {
    const struct sonde__scrape_config *config;
    struct sonde_receiver_env env;
    struct sonde_tls_options tls;
    struct sonde_string_map headers;      /* with ours; strings borrowed or owned by the receiver */
    struct sonde__exposition *exposition; /* working memory, one answer at a time */
    struct sonde__scrape_told *told;      /* so is this */
};

/** Who named a target. */
struct sonde__scrape_origin {
    const char *source; /* static, "consul" */
    const struct sonde_discovered *found;
};

struct sonde__scrape_target;
/** first_ns: monotonic time of the first scrape. origin: copied; NULL = the configuration.
 *  Returns 0, -ENOMEM, SONDE_EINVALID. */
int sonde__scrape_target_create(struct sonde__scrape_shared *shared, const char *target,
                                const struct sonde__scrape_origin *origin, uint64_t first_ns,
                                struct sonde__scrape_target **ret_target);
/** NULL = the configuration. */
const struct sonde__scrape_origin *sonde__scrape_target_origin(const struct sonde__scrape_target *target);
void sonde__scrape_target_stop(struct sonde__scrape_target *target);
/** With its series. NULL is fine. */
void sonde__scrape_target_destroy(struct sonde__scrape_target *target);

/* A histogram whose samples are coming (scrape_histogram.c). */
#define SONDE__SCRAPE_BOUNDS_MAX 1024u
struct sonde__scrape_histogram {
    uint64_t samples; /* so far; 0 = none is coming */
    char name[SONDE__EXPOSITION_NAME_SIZE_MAX], help[SONDE__EXPOSITION_HELP_SIZE_MAX];
    struct sonde__exposition_label labels[SONDE__EXPOSITION_LABELS_MAX]; /* without le; in text */
    size_t label_count;
    char text[SONDE__EXPOSITION_TEXT_SIZE_MAX];
    size_t text_size;
    double bounds[SONDE__SCRAPE_BOUNDS_MAX], sum, created;
    uint64_t below[SONDE__SCRAPE_BOUNDS_MAX], infinity, count; /* up to each bound */
    uint32_t bound_count;
    bool has_infinity, has_count, is_bad;
};

/** Puts a sample into the source (scrape_series.c); sonde__scrape_histogram_end() goes behind the last.
 *  Returns 0, -ENOMEM. left_out: counts samples that the store could not take. */
struct sonde__scrape_take {
    struct sonde_series_source *source;
    const struct sonde__scrape_config *config;
    uint64_t left_out;
    struct sonde__scrape_histogram histogram;
    struct sonde__scrape_told *told; /* takes target_info, which is then no sample; NULL = it is one */
};
int sonde__scrape_take_sample(void *take, const struct sonde__exposition_sample *sample);
/** A histogram's sample, and the end of all. Return as sonde__scrape_take_sample(). */
int sonde__scrape_histogram_sample(struct sonde__scrape_take *take, const struct sonde__exposition_sample *sample);
int sonde__scrape_histogram_end(struct sonde__scrape_take *take);
/** Sets a value, which has neither name nor attributes yet, as the series of a sample. created: Unix seconds, 0 = not known. */
int sonde__scrape_set(struct sonde__scrape_take *take, const struct sonde__exposition_sample *sample,
                      struct sonde_series_value *value, double created);

#define SONDE__SCRAPE_RESOURCE_SIZE_MAX 8192u
/** The Resource message of a target. Of service.*: what the target says of itself, else what discovery says where `labels`
 *  has no such name, else job and host:port. */
struct sonde_bytes sonde__scrape_resource(const struct sonde__scrape_config *config,
                                          const struct sonde__scrape_address *address,
                                          const struct sonde__scrape_origin *origin,
                                          const struct sonde__scrape_told *told,
                                          uint8_t buffer[SONDE__SCRAPE_RESOURCE_SIZE_MAX]);

#endif
