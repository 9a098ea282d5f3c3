/* SPDX-License-Identifier: Apache-2.0 */
/* What a collector is: it asks a broker, on an interval, how far its consumers are behind, and sets series. A broker
 * that is down or answers nonsense costs an `up` of 0 and an error; other collectors are unharmed. Unknown is absent,
 * never 0. */
#ifndef SONDE_AGENT_COLLECTOR_H
#define SONDE_AGENT_COLLECTOR_H

#include "agent/loop/loop.h"
#include "agent/series/series.h"
#include "exporters/http.h"

struct sonde_collector_env {
    const char *name;                                /* of this instance, "redis/orders" */
    const char *lease;                               /* see lease.h; NULL or "" = it always polls */
    const struct sonde_string_map *lease_properties; /* see lease_kafka.h; may be NULL */
    char *lease_text; /* during create() only: where to say what is wrong with them, NULL = in the log */
    size_t lease_text_size;
    struct sonde_loop *loop;
    const struct sonde_seams *seams;
    struct sonde_series_source *source; /* this collector's own */
    struct sonde__http_client http;
};

/** Keys that every collector has, beside its own; the configuration fills them, and poll.c does what they say. */
struct sonde_collector_common {
    char *lease;
    struct sonde_string_map lease_properties;
};
extern const struct sonde_option sonde_collector_common_options[]; /* agent/collect/registry.c */

/** For people: /api/status, the page, `sonde status`. */
struct sonde_collector_status {
    char address[128];
    char trouble[64];              /* "" = the last poll was answered */
    uint64_t last_success_unix_ns; /* 0 = never */
};

struct sonde_collector_ops {
    const char *name, *summary;
    size_t config_size;
    const struct sonde_option *options;
    int (*create)(const void *config, const struct sonde_collector_env *env, void **ret_self, char *error_text,
                  size_t error_text_size);
    /** Optional. Fills what it knows; the struct comes zeroed. */
    void (*status)(void *self, struct sonde_collector_status *ret_status);
    void (*destroy)(void *self);
};

extern const struct sonde_collector_ops
    *const sonde_collectors[]; /* agent/collect/registry.c; sorted, NULL-terminated */

#endif
