/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver `services` with a real loop, queue and ledger, on a socket of its own: what sonded runs, without the
 * rest. */
#ifndef SONDE_TESTS_RECEIVER_RIG_H
#define SONDE_TESTS_RECEIVER_RIG_H

#include "agent/receive/services.h"

struct receiver_rig {
    struct sonde_loop *loop;
    struct sonde_queue *queue;
    struct sonde_ledger *ledger;
    struct sonde_timer *stop;
    const struct sonde_receiver_ops *ops;
    struct sonde_services_config config;
    struct sonde_receiver_env env;
    void *receiver;
    char directory[64], path[96];
    uint32_t cursor;
    struct sonde_record_log log;
    uint64_t seen; /* last sequence that was visited */
};

/** queue_size bytes; with a cursor that takes all signals, or (no exporter) none. Returns false when it cannot. */
bool rig_start(struct receiver_rig *rig, uint64_t queue_size, bool cursor);
void rig_stop(struct receiver_rig *rig);
/** Runs the loop for about that long. */
void rig_run(struct receiver_rig *rig, unsigned ms);
/** Runs the loop until done(user), at most 20 s. Returns what done said last. */
bool rig_until(struct receiver_rig *rig, bool (*done)(void *user), void *user);
/** Visits every item of the records since the last call; returns their number. */
uint64_t rig_visit(struct receiver_rig *rig,
                   void (*visit)(void *user, const struct sonde_record_view *record, const uint8_t *body, size_t size),
                   void *user);
/** Releases what was visited. */
void rig_release(struct receiver_rig *rig);
/** A new receiver on the same queue, as after a restart: the old one's memory of its peers is gone. */
bool rig_restart(struct receiver_rig *rig);
/** The view of the only (or first) peer; false when there is none. */
bool rig_peer(struct receiver_rig *rig, struct sonde_peer_view *ret_view);
unsigned rig_peer_count(struct receiver_rig *rig);

#endif
