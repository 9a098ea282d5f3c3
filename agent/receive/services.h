/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver `services`: peers that hand over shared memory (instrumentation/link/protocol.h, ring/layout.h).
 *
 *   services.c    configuration, listening socket, control page, the turn, ops
 *   connection.c  a socket: HELLO, MEMORY, FLUSH, answers
 *   handover.c    checks of a memory, and taking it in
 *   peer.c        a process: its memories, scopes, violations, end
 *   drain.c       rings -> batch -> queue, and letting go of what the queue released
 *   recover.c     open spans of the dead
 *   pull.c        asking peers that have callbacks
 *   steer.c       what an operator wants of services
 *   listen.c, batch.c, exit_status.c, metrics.c
 *
 * A peer is a process, not a connection: it lives from its HELLO until its pidfd says that it is dead and its last
 * bytes are in the queue. Loop thread only. Everything that a peer says or writes is untrusted. */
#ifndef SONDE_AGENT_RECEIVE_SERVICES_H
#define SONDE_AGENT_RECEIVE_SERVICES_H

#include "agent/receive/batch.h"
#include "agent/receive/exit_status.h"
#include "agent/receive/receiver.h"
#include "instrumentation/link/protocol.h"
#include "instrumentation/ring/reader.h"
#include <sys/types.h>

struct sonde_services_config {
    char *socket_mode;
    struct sonde_string_list allow_uids;
    int64_t connections_per_uid_max;
    uint64_t memory_per_uid_max;
};

#define SONDE__POLL_NS        UINT64_C(100000000) /* the sleeping agent looks by itself this often */
#define SONDE__VIOLATIONS_MAX 3u
#define SONDE__PEERS_MAX      8192u
#define SONDE__MARKS_MAX      64u /* releases a ring waits for; more are joined to the last */
#define SONDE__FLUSHES_MAX    8u

/* What a ring's tail waits for: the queue's release of a sequence. */
struct sonde__mark {
    uint64_t sequence, position;
    uint64_t count; /* records */
};

struct sonde__ring {
    struct sonde__ring_reader reader;
    uint8_t id[16];
    bool in_use;
    uint64_t marked;   /* read position that the last mark covers */
    uint64_t count;    /* records read since */
    uint64_t flush_at; /* FLUSH, drain: read up to here */
    uint32_t mark_first, mark_count;
    struct sonde__mark *marks; /* SONDE__MARKS_MAX, ring buffer, owned */
    uint64_t drops_taken[SONDE__SIGNALS][SONDE__DROP_REASONS];
};

/* A memory that was handed over. Only its control pages are mapped. */
struct sonde__peer_memory {
    int fd; /* owned */
    uint32_t kind, index;
    dev_t device;
    ino_t inode;
    uint64_t size, ring_size;
    void *pages; /* owned mapping: PROCESS header page, or 16 control pages */
    size_t pages_size;
    struct sonde__ring rings[SONDE__REGIONS_PER_MEMORY]; /* THREADS */
};

enum sonde__peer_state {
    SONDE__PEER_ALIVE = 0,
    SONDE__PEER_DEAD,      /* committed records are being read */
    SONDE__PEER_RECOVERED, /* open spans are in the batch or in the queue */
};

struct sonde__services;
struct sonde__connection;

struct sonde__peer {
    struct sonde__services *services;
    struct sonde__peer *next;
    struct sonde__connection *connection; /* NULL: closed; the process may live */
    uint8_t process_id[16];
    uint32_t pid, uid;
    int pidfd, bell; /* owned, -1 = none */
    struct sonde_watch *pidfd_watch, *bell_watch;
    enum sonde__peer_state state;
    bool unfinished; /* ended by exec: no crash */
    bool had_agent;  /* some ring was read before us */
    bool violated;   /* to be evicted at the end of the turn */
    bool held_back;  /* holds its part of a nearly full queue: what it writes stays in its rings */
    uint64_t dead_unix_ns, dead_monotonic_ns;
    struct sonde__exit how;
    bool how_known;
    uint32_t recover_at;                  /* region number * slots + slot */
    uint32_t resource_id;                 /* queue reference */
    uint32_t scope_ids[SONDE_SCOPES_MAX]; /* queue references, 0 = not known */
    uint64_t descriptors_read;
    struct sonde__peer_memory *process, *threads[SONDE__THREAD_MEMORIES_MAX];
    uint32_t next_memory; /* where the next turn's budget starts */
    uint32_t turns, bells;
    uint64_t process_drops_taken[SONDE__SIGNALS][SONDE__DROP_REASONS];
    uint64_t flushes[SONDE__FLUSHES_MAX];
    uint32_t flush_count;
    char service_name[128];
    uint64_t records[SONDE_SIGNAL_COUNT], dropped, violations, recovered, recovered_cut;
    struct sonde_series_source *series; /* its metrics, NULL = no store */
    uint32_t series_violations;
    uint64_t pull_number;        /* of the last PULL */
    bool pull_open, pull_waited; /* it is not answered; the pull at hand waits for that */
};

struct sonde__connection {
    struct sonde__services *services;
    struct sonde__connection *next;
    int fd; /* owned */
    struct sonde_watch *watch;
    uint32_t pid, uid;
    uint64_t accepted_ns;
    struct sonde__peer *peer; /* after HELLO */
    bool closed;              /* freed at the end of the turn */
};

/* Evicted producers, so that one does not come back at once. */
#define SONDE__EVICTED_MAX 64u
struct sonde__evicted {
    uint8_t process_id[16];
    uint32_t pid, uid;
    uint64_t until_ns;
};

struct sonde__services {
    struct sonde_receiver_env env;
    const struct sonde_services_config *config;
    char path[108];
    int listener, control_fd;
    ino_t inode; /* of path */
    struct sonde_watch *listener_watch;
    struct sonde__control *control;
    struct sonde_timer *timer;
    uint64_t timer_ns;
    struct sonde__peer *peers;
    struct sonde__connection *connections;
    uint32_t peer_count, connection_count, idle_turns;
    struct sonde__intake batch;
    struct sonde__peer *batch_peer; /* whose records the batch holds */
    bool stopped;                   /* no more intake, only letting go */
    bool listener_paused;
    bool blocked;   /* the queue is full: nothing is read until the batch is in */
    uint8_t *chunk; /* for recover.c: SONDE__RING_CHUNK_SIZE, NULL when idle */
    struct sonde__evicted evicted[SONDE__EVICTED_MAX];
    uint32_t evicted_next;
};

/* services.c */
/** Looks again at monotonic_ns at the latest. */
void sonde__services_wake(struct sonde__services *services, uint64_t monotonic_ns);
/** Accepts nobody until the next turn: out of descriptors. */
void sonde__services_pause_listener(struct sonde__services *services);
uint64_t sonde__services_now(const struct sonde__services *services);
bool sonde__services_uid_allowed(const struct sonde__services *services, uint32_t uid);

/* connection.c */
void sonde__connection_accept(struct sonde__services *services);
/** Sends what is left to say, closes; the struct goes with sonde__connections_sweep(). */
void sonde__connection_close(struct sonde__connection *connection);
/** Frees closed ones; closes those that said nothing in time. */
void sonde__connections_sweep(struct sonde__services *services, bool all);
/** Sends one message; closes the connection when it cannot be sent now. */
void sonde__connection_send(struct sonde__connection *connection, const void *message, size_t size, int fd);

/** Takes the messages of a process that ended: memory that it handed over last counts. */
void sonde__connection_read_rest(struct sonde__connection *connection);
/** Answers FLUSH when what it asked for is in the queue. */
void sonde__connection_answer_flush(struct sonde__peer *peer);

/* steer.c */
void sonde__connection_steer(struct sonde__connection *connection, const uint8_t *bytes, size_t size);

/* handover.c */
/** Checks a memory and takes it in. fd: taken always. Returns 0 or enum sonde__refusal. */
int sonde__handover(struct sonde__peer *peer, uint32_t kind, uint32_t index, int fd);
void sonde__peer_memory_destroy(struct sonde__peer *peer, struct sonde__peer_memory *memory);
/** Finds regions that were attached since. all: every region, else the likely next one only. */
void sonde__peer_scan(struct sonde__peer *peer, bool all);
static inline struct sonde__region *sonde__region_of(const struct sonde__peer_memory *memory, uint32_t region) {
    return (struct sonde__region *)((uint8_t *)memory->pages + (size_t)region * SONDE__PAGE);
}

/* peer.c */
int sonde__peer_create(struct sonde__services *services, const struct sonde__hello *hello, const uint8_t *resource,
                       const struct sonde__connection *connection, struct sonde__peer **ret_peer);
/** Unlinks and frees at once; what its rings hold is not read. */
void sonde__peer_destroy(struct sonde__peer *peer);
void sonde__peer_violation(struct sonde__peer *peer, const char *what);
void sonde__peer_evict(struct sonde__peer *peer);
/** The doorbell that came with PROCESS memory; taken always. */
void sonde__peer_bell_set(struct sonde__peer *peer, int fd);
/** It died, or (exec) another program runs in its place. */
void sonde__peer_dead(struct sonde__peer *peer, bool unfinished);
/** Goes on with a dead peer: rest of the rings, open spans, gone. Returns true when the peer was destroyed. */
bool sonde__peer_bury(struct sonde__peer *peer);
/** The queue's id of a scope by its number in this process. */
uint32_t sonde__peer_scope(struct sonde__peer *peer, uint32_t scope);
/** Brings drop counters into the ledger. */
void sonde__peer_drops(struct sonde__peer *peer);

/* drain.c */
/** Reads up to a turn's budget from the peer's rings into the queue. Returns true when more is there. */
bool sonde__peer_drain(struct sonde__peer *peer);
/** Notes what is committed now; true until sonde__peer_reached(). */
void sonde__peer_aim(struct sonde__peer *peer);
bool sonde__peer_reached(const struct sonde__peer *peer);
/** Reads all that is committed now, or until the queue is full. */
void sonde__peer_drain_all(struct sonde__peer *peer);
/** Puts the batch into the queue. Returns 0, or SONDE_EFULL: services->blocked, and the batch is kept. */
int sonde__intake_flush(struct sonde__services *services);
/** Adds a valid record of the peer to the batch and its ledger; shows it to the processors. */
void sonde__peer_take(struct sonde__peer *peer, const struct sonde__ring_record *record);
/** Moves tails up to what the queue released. */
void sonde__peer_release(struct sonde__peer *peer);
/** Counts what a peer that is thrown out leaves in its rings, as far as it can be told from records. */
void sonde__peer_count_left(struct sonde__peer *peer);
/** Drops the marks of a ring whose position was lost. */
void sonde__ring_unmark(struct sonde__ring *ring);

/* metrics.c */
/** Lets the store of series read this peer's metrics; when it goes its final values stay for a while. */
int sonde__peer_series_add(struct sonde__peer *peer, struct sonde_bytes resource);
/** Counts what the store found wrong as violations of the peer. */
void sonde__peer_series_look(struct sonde__peer *peer);
void sonde__peer_series_remove(struct sonde__peer *peer);

/* pull.c */
bool sonde__services_pull(void *self);
bool sonde__services_pulling(void *self);
void sonde__services_pull_end(void *self);
/** PULLED came. */
void sonde__peer_pulled(struct sonde__peer *peer, uint64_t number);
/** Its connection is no more: no answer will come. */
void sonde__peer_pull_forget(struct sonde__peer *peer);

/* recover.c */
/** Closes the open spans of a dead peer (peer->how) and adds them to the batch, each once. Returns false when the queue
 * is full: call again. */
bool sonde__peer_recover(struct sonde__peer *peer);

#endif
