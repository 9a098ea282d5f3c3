/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to an agent, from connect() to its end; used by the link thread only.
 *
 *   CLOSED --open--> GREETED --WELCOME--> WELCOMED --ACCEPT of the PROCESS memory--> CONNECTED --end--> CLOSED */
#ifndef SONDE_LINK_SESSION_H
#define SONDE_LINK_SESSION_H

#include "instrumentation/link/place.h"
#include "instrumentation/link/protocol.h"
#include "instrumentation/ring/fd.h"

enum sonde__session_state { SONDE__CLOSED = 0, SONDE__GREETED, SONDE__WELCOMED, SONDE__CONNECTED };

struct sonde__session {
    enum sonde__session_state state;
    struct sonde__fd socket;
    bool evicted;     /* the agent wants nothing more of this memory */
    bool memory_lost; /* a memfd was closed behind our back: nothing left to hand over */
    bool process_sent;
    uint32_t threads_sent; /* THREADS memories handed over */
    uint32_t answered;     /* memories that the agent accepted or refused */
    uint64_t flush_sent, flushed;
    bool pull_open; /* a PULL is to be answered, once the puller has had its round */
    uint32_t pull_round;
    uint64_t pull_number;
};

/** Connects to the first place that answers and is allowed, and says HELLO.
 *  resource  borrowed; encoded Resource message of `resource_size` bytes.
 *  Returns 0, -errno, SONDE_ENOAGENT (nobody there), SONDE_EREFUSED (a peer we do not trust). Does not block. */
int sonde__session_open(struct sonde__session *session, const struct sonde__places *places, const uint8_t *resource,
                        uint32_t resource_size);
/** Hands over what the agent does not have yet, answers a PULL whose round is over, then asks for a flush if
 *  `flush_wanted` is new.
 *  Returns 0 or an error that ends the session. */
int sonde__session_send(struct sonde__session *session, uint64_t flush_wanted);
/** Reads and handles all messages that are there. Returns 0 or an error that ends the session. */
int sonde__session_receive(struct sonde__session *session);
void sonde__session_bye(struct sonde__session *session);
void sonde__session_close(struct sonde__session *session);

#endif
