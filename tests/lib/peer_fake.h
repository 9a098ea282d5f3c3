/* SPDX-License-Identifier: Apache-2.0 */
/* A service made by hand: shared memory by ring/layout.h and messages by link/protocol.h, without libsonde. Tests write
 * into it what they like, lies included. */
#ifndef SONDE_TESTS_PEER_FAKE_H
#define SONDE_TESTS_PEER_FAKE_H

#include "instrumentation/link/protocol.h"
#include "instrumentation/ring/layout.h"
#include <stdbool.h>
#include <stddef.h>

struct peer_fake {
    uint8_t process_id[16];
    int process_fd, threads_fd, bell_fd, socket; /* -1 = none */
    uint8_t *process, *threads;                  /* mapped whole */
    const struct sonde__control *control;        /* the agent's page, after WELCOME */
};

/** Memory of one PROCESS and one THREADS memfd, sealed. Fails the caller by returning false. */
bool peer_fake_init(struct peer_fake *peer);
void peer_fake_deinit(struct peer_fake *peer);
struct sonde__region *peer_fake_region(struct peer_fake *peer, unsigned region);
struct sonde__slot *peer_fake_slot(struct peer_fake *peer, unsigned region, unsigned slot);
/** Gives a region an id and marks it attached. */
void peer_fake_attach(struct peer_fake *peer, unsigned region);
/** Writes and commits a record; false when the ring is full. */
bool peer_fake_commit(struct peer_fake *peer, unsigned region, unsigned kind, unsigned scope, const void *body,
                      uint32_t size);
/** Appends a scope descriptor. */
void peer_fake_scope(struct peer_fake *peer, uint16_t index, const char *name);
/** An encoded span as the library lays it out: name "op", attribute seq. Returns its size (< 200). */
uint32_t peer_fake_span(uint8_t *to, uint64_t seq);
/** An encoded log record with attribute seq. */
uint32_t peer_fake_log(uint8_t *to, uint64_t seq);
/** The attribute seq of a span or log, or -1. */
int64_t peer_fake_seq(const uint8_t *body, size_t size, bool log);

/** Connects and sends HELLO with service.name. Returns false when it cannot. */
bool peer_fake_connect(struct peer_fake *peer, const char *path, const char *service_name);
void peer_fake_send(struct peer_fake *peer, const void *message, size_t size, const int *fds, unsigned fd_count);
/** Sends MEMORY for PROCESS and THREADS. */
void peer_fake_hand_over(struct peer_fake *peer);
/** One message without waiting: its type, 0 = none yet, -1 = closed. Takes the control page of WELCOME. */
int peer_fake_receive(struct peer_fake *peer, void *buffer, size_t size);

#endif
