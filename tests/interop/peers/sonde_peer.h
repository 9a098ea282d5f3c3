/* SPDX-License-Identifier: Apache-2.0 */
/* What sonde_peer.c gives its transports. A call is a transport with an answer; messages go by tests/interop/round_trip.h.
 * All spans are made on the main thread, whose ring is read in the end. */
#ifndef SONDE_TESTS_INTEROP_PEER_H
#define SONDE_TESTS_INTEROP_PEER_H

#include "tests/interop/round_trip.h"

/** The command line. Strings live as long as the process. */
struct peer {
    const char *role, *transport, *destination;
    char host[64];
    int port;
};
extern struct peer peer;

/** Names of README.md. */
enum peer_span { PEER_ROOT, PEER_SENT, PEER_PARENT, PEER_LINK, PEER_SPAN_COUNT };

/** Says that the peer listens; port 0: at the broker. */
void peer_ready(int port);
/** This span is to be told; before it ends. */
void peer_remember(enum peer_span which, const struct sonde_span *span);
/** What is now in the carrier is what is sent. */
void peer_sent(struct sonde_carrier carrier);
/** What has come in a carrier, and the baggage that is current: called in the handler. */
void peer_seen(struct sonde_carrier carrier);

/** call: one call, and checks the answer. serve: calls peer_ready(), answers one. */
struct peer_calls {
    const char *name;
    void (*call)(void);
    void (*serve)(void);
};
extern const struct peer_calls peer_http, peer_grpc;

#endif
