/* SPDX-License-Identifier: Apache-2.0 */
/* What a discoverer is: it asks a registry of services which instances there are, and hands the whole set on whenever it
 * changed. A registry that is down, slow or talks nonsense costs its `up`, and an error; what it said last stays. To add
 * one: one file ending in a const struct sonde_discoverer_ops, one line in registry.c, its rows in
 * agent/receive/scrape_options.c. Loop thread only. */
#ifndef SONDE_AGENT_DISCOVER_H
#define SONDE_AGENT_DISCOVER_H

#include "agent/loop/loop.h"
#include "agent/series/series.h"
#include "exporters/http.h"

/* Instances that a discoverer hands on at most. */
#define SONDE_DISCOVERED_MAX           1024u
/* Longer texts of a registry count as unknown: they become attributes. */
#define SONDE_DISCOVERED_TEXT_SIZE_MAX 256u

/* What is known of an instance. An address is "host:port" or "[ipv6]:port"; the others are "" where nothing is known. */
enum sonde_discovered_field {
    SONDE_DISCOVERED_ADDRESS = 0,
    SONDE_DISCOVERED_SCHEME,
    SONDE_DISCOVERED_PATH,
    SONDE_DISCOVERED_SERVICE_NAME,
    SONDE_DISCOVERED_INSTANCE_ID,
    SONDE_DISCOVERED_VERSION,
    SONDE_DISCOVERED_NAMESPACE,
    SONDE_DISCOVERED_ZONE,
    SONDE_DISCOVERED_FIELDS,
};
struct sonde_discovered {
    uint64_t hash; /* of all fields */
    const char *fields[SONDE_DISCOVERED_FIELDS];
};

/** Instances, each a block of its own. All zero is an empty set. */
struct sonde__discovered_set {
    struct sonde_discovered **items; /* owned */
    size_t count, capacity;
    uint64_t hash;     /* of the items, in any order */
    uint64_t left_out; /* that cannot be used, or are beyond SONDE_DISCOVERED_MAX */
};
/** Copies the fields (NULL = "").
 *  Returns 0 (also when the set is full: counted), -ENOMEM. */
int sonde__discovered_add(struct sonde__discovered_set *set, const struct sonde_alloc *alloc,
                          const char *const fields[SONDE_DISCOVERED_FIELDS]);
void sonde__discovered_deinit(struct sonde__discovered_set *set, const struct sonde_alloc *alloc);
/** A copy, one block, owned. NULL = out of memory. */
struct sonde_discovered *sonde__discovered_copy(const struct sonde_alloc *alloc, const char *const *fields);
bool sonde__discovered_equals(const struct sonde_discovered *a, const struct sonde_discovered *b);

struct sonde__discover_tls_config {
    char *ca_file, *cert_file, *key_file;
    bool insecure_skip_verify;
};
struct sonde__consul_config {
    char *address; /* "" = not wanted */
    char *token, *datacenter, *namespace, *partition;
    struct sonde_string_list services, tags;
    bool passing_only, allow_stale;
    uint64_t wait_ns, refresh_ns, timeout_ns, answer_size_max;
    int64_t watches_max;
    struct sonde__discover_tls_config tls;
};
struct sonde__eureka_config {
    struct sonde_string_list servers; /* none = not wanted */
    char *username, *password;
    bool up_only, use_ip;
    uint64_t refresh_ns, timeout_ns, answer_size_max;
    struct sonde__discover_tls_config tls;
};
struct sonde_discover_config {
    struct sonde__consul_config consul;
    struct sonde__eureka_config eureka;
};

struct sonde_discover_env {
    const char *name; /* of the receiver */
    struct sonde_loop *loop;
    const struct sonde_seams *seams;
    struct sonde__http_client http;
    struct sonde_series_store *series;
    struct sonde_bytes resource; /* of the agent itself: whose the health series are; until create returns */
    /** The whole set as it is known now, borrowed during the call. Returns how many could not be taken. */
    size_t (*found)(void *user, const char *source, const struct sonde_discovered *const *targets, size_t count);
    void *user;
};

/** For people: /api/status, the page, `sonde status`. */
struct sonde_discovery_view {
    const char *receiver, *source; /* static, or as long as the receiver */
    char address[256];
    char trouble[160]; /* "" = all is answered */
    size_t targets;
    uint64_t last_success_unix_ns; /* 0 = never */
};

struct sonde_discoverer_ops {
    const char *name; /* sonde.discovery.source */
    bool (*is_wanted)(const struct sonde_discover_config *config);
    /** Returns 0, SONDE_EINVALID with a text. */
    int (*check)(const struct sonde_discover_config *config, char *text, size_t size);
    /** config, and what env points to: kept until destroy. Asks from the loop's next turn. Returns 0, -ENOMEM. */
    int (*create)(const struct sonde_discover_config *config, const struct sonde_discover_env *env, void **ret_self);
    /** No more questions. */
    void (*stop)(void *self);
    void (*view)(const void *self, struct sonde_discovery_view *ret_view);
    void (*destroy)(void *self); /* NULL is fine */
};
extern const struct sonde_discoverer_ops *const sonde_discoverers[]; /* registry.c; sorted, NULL-terminated */

#endif
