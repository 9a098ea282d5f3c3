/* SPDX-License-Identifier: Apache-2.0 */
/* What a receiver is: it takes records in (from rings, later from OTLP and others), accounts for them in the ledger and
 * appends them to the queue. To add one: one file ending in a const struct sonde_receiver_ops, one line in registry.c. */
#ifndef SONDE_AGENT_RECEIVER_H
#define SONDE_AGENT_RECEIVER_H

#include "agent/discover/discover.h"
#include "agent/ledger/ledger.h"
#include "agent/loop/loop.h"
#include "agent/process/processor.h"
#include "agent/queue/queue.h"
#include "agent/receive/steering.h"
#include "agent/series/series.h"
#include "exporters/http.h"

/** One peer, for the page and `sonde status`. */
struct sonde_peer_view {
    char service_name[128];
    uint32_t pid, uid;
    bool connected, alive;
    uint64_t records[SONDE_SIGNAL_COUNT]; /* appended */
    uint64_t dropped, violations;
    uint32_t threads;                    /* regions in use */
    uint64_t ring_bytes, ring_bytes_max; /* fullest ring: held now, and its size */
};

struct sonde_receiver_env {
    const char *name; /* of this instance, "prometheus_scrape/shop" */
    struct sonde_loop *loop;
    const struct sonde_seams *seams;
    struct sonde_queue *queue;
    struct sonde_ledger *ledger;
    struct sonde_series_store *series;
    struct sonde_bytes resource; /* the agent's own Resource message, for series about the receiver; until create returns */
    const struct sonde_processing *processing; /* look at what is taken in; NULL = nobody */
    struct sonde_steering *steering;           /* what is wanted of services; NULL = nothing ever */
    const char
        *socket_path; /* where services connect (agent.socket); the agent holds the lock beside it and has made the
                                directory, so that a file left there is nobody's and is to be unlinked before bind() */
    /** Tells of a peer that is gone for good, with its last figures. May be NULL. */
    void (*peer_gone)(void *user, const struct sonde_peer_view *peer);
    void *peer_gone_user;
    /** A peer that was asked by pull() answered, or went. May be NULL. */
    void (*pulled)(void *user);
    void *pulled_user;
    struct sonde__http_client http;
};

struct sonde_receiver_ops {
    const char *name, *summary;
    size_t config_size;
    const struct sonde_option *options;
    int (*create)(const void *config, const struct sonde_receiver_env *env, void **ret_self, char *error_text,
                  size_t error_text_size);
    /** Queue space came back or records were released: look again. Optional. */
    void (*released)(void *self, uint64_t sequence);
    /** Reads all that is committed now (SIGTERM: the last look). Optional. */
    void (*drain)(void *self);
    /** No more intake from here on; released() still lets go of what is delivered meanwhile. After drain, before
     *  destroy. Optional. */
    void (*stop)(void *self);
    /** Asks all peers that have callbacks for fresh values of their metrics. Returns whether to wait for any.
     *  The three: all or none. */
    bool (*pull)(void *self);
    bool (*pulling)(void *self);  /* does anybody still have to answer? */
    void (*pull_end)(void *self); /* who did not is late: counted, and not waited for until it has answered */
    /** Calls visit for each peer. Optional. */
    void (*peers)(void *self, void (*visit)(void *user, const struct sonde_peer_view *peer), void *user);
    /** Calls visit for each registry that it asks for targets. Optional. */
    void (*discoveries)(void *self, void (*visit)(void *user, const struct sonde_discovery_view *view), void *user);
    void (*destroy)(void *self); /* mandatory; NULL is fine */
};

extern const struct sonde_receiver_ops *const sonde_receivers[]; /* agent/receive/registry.c; sorted, NULL-terminated */

#endif
