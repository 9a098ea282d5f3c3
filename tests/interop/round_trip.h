/* SPDX-License-Identifier: Apache-2.0 */
/* What broker_round_trip.c asks of a protocol: to send one message and to receive one, by the adapter for its client. */
#ifndef SONDE_TESTS_INTEROP_ROUND_TRIP_H
#define SONDE_TESTS_INTEROP_ROUND_TRIP_H

#include <sonde/sonde.h>
#include <string.h>

#define BODY        "hello"
#define PATIENCE_MS 30000 /* the machine may be busy */

/** One message: what goes into its carrier, and what must be in the carrier that comes. */
struct round {
    const char *name;
    void (*fill)(struct sonde_carrier carrier);
    void (*check)(struct sonde_carrier carrier);
};

/** open    connects; when `consume`, what is sent to the queue from then on is received. Once per process.
 *  send    one message, filled by round.
 *  receive waits for one, and lets round check it.
 *  rounds  those that only this one can have (they know what carrier.self is); ends with a name of NULL. */
struct protocol {
    const char *name;
    void (*open)(int port, const char *queue, bool consume);
    void (*send)(const struct round *round);
    void (*receive)(const struct round *round);
    void (*close)(void);
    const struct round *rounds;
};

extern const struct protocol protocol_kafka, protocol_rabbitmq, protocol_amqp10, protocol_mqtt, protocol_nats,
    protocol_redis;

/** Ends the process with status 1 unless the condition holds. */
void require(bool condition, const char *what);

/* Of fill and check: the context that all rounds send, by the default formats, and that it is what has come. */
void inject_context(struct sonde_carrier carrier);
void require_context(struct sonde_carrier carrier);

/** The traceparent that inject_context() writes, and another one. */
extern const char sent_traceparent[], other_traceparent[];

#endif
