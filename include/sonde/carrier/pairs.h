/* SPDX-License-Identifier: Apache-2.0 */
/* Named text beside a message, as an array: what most protocols and client libraries can be brought to. The carriers of
 * this folder differ in the names they write, in what they do with a repeated one, and in what may stand in a value:
 *
 *   carrier (header)               the same name twice names compare     values               limits
 *   http.h  HTTP 1, 2, 3           all are seen (1)    without case      ASCII                room
 *   grpc.h  gRPC metadata          all are seen (1)    exactly, lower    ASCII; -bin: base64  8 KiB, no grpc- names (4)
 *   kafka.h  record headers        the last            exactly           bytes without NUL    room
 *   amqp.h  0-9-1 and 1.0          all are seen (1)    exactly           UTF-8 without NUL    255-byte names
 *   mqtt.h  user properties        all are seen (1)    exactly           UTF-8 without NUL    65,535 bytes each
 *   nats.h  NATS headers           all are seen (1)    without case (2)  ASCII                room
 *   redis_streams.h  entry fields  all are seen (1)    exactly           bytes                room
 *   sqs.h  SQS, SNS                all are seen (1)    exactly           UTF-8 without NUL    10 attributes, 256 KiB
 *   servicebus.h  Service Bus      all are seen (1)    exactly           UTF-8 without NUL    as AMQP
 *   pubsub.h  Google Pub/Sub       all are seen (1)    exactly           UTF-8 without NUL    100 of 1,024 bytes
 *   cloudevents.h                  as its message      as its message    percent-coded (3)    trace context only
 *   json.h  JSON objects           all are seen (1)    exactly           JSON strings         1 MiB, 64 levels
 *   graphql.h  graphql-ws          as json.h
 *   websocket.h  a URL's query     all are seen (1)    exactly           percent-coded        8 KiB, read only
 *   environment.h                  the first           A-Z 0-9 _         no NUL               room
 *   sql.h  SQL comments            all are seen (1)    exactly           percent-coded        one comment, ours
 *
 *   (1) two traceparents mean that two hops disagree, so there is no context then; tracestates are joined in order.
 *   (2) written in lower case, since NATS itself has case.
 *   (3) in HTTP and NATS.
 *   (4) but grpc-trace-bin.
 * Setting always replaces. When there is no room the message is left as it was, fit to be sent. */
#ifndef SONDE_CARRIER_PAIRS_H
#define SONDE_CARRIER_PAIRS_H

#include <sonde/carrier.h>
#include <sonde/limits.h>

SONDE_BEGIN

struct sonde_pair {
    struct sonde_string name, value; /* value.data NULL: there, but not text */
};

/** Room in `text` that one context needs in the default formats: traceparent, tracestate and baggage, their names (with
 *  the longest prefix there is) and a NUL behind each. */
#define SONDE_PAIRS_INJECT_SIZE (256u + SONDE_TRACESTATE_SIZE_MAX + SONDE_BAGGAGE_SIZE_MAX)

/** The pairs. Fill it in, take a carrier of it, inject or extract, then send pairs[0..count).
 *  pairs      borrowed while a carrier of it is used; never written when only extracted from.
 *  count      entries in use; inject may add one per field.
 *  capacity   entries there is room for; 0 when only extracted from.
 *  text       where names and values that are set are copied, each NUL-terminated; the pairs point into it, so it must
 *             live as long as they do. NULL when only extracted from. A value that replaces one of at least its length
 *             reuses the room, so a retry needs none.
 *  text_size  bytes of text.
 *  text_used  bytes of it in use; 0 at first. */
struct sonde_pairs {
    struct sonde_pair *pairs;
    size_t count, capacity;
    char *text;
    size_t text_size, text_used;
};

SONDE_END

#endif
