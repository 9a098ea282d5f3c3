/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, streams and queues as the semantic conventions want them: one struct and the messages' carriers give the
 * span (name, kind, attributes, links, status), the context in and out of the messages, and the measurements.
 *
 *     struct sonde_message message = {sonde_kafka_carrier(&headers), {0}, NULL};
 *     struct sonde_messaging send;
 *     sonde_messaging_init(&send, SONDE_MESSAGING_SEND);
 *     send.system = sonde_text("kafka");
 *     send.destination = sonde_text("orders");
 *     send.messages = &message;
 *     send.message_count = 1;
 *     sonde_messaging_start(&send);                        // the context is in the message
 *     ...
 *     sonde_messaging_end(&send);
 *
 *   operation  kind      what becomes of the messages
 *   CREATE     PRODUCER  the context goes into those that have none yet
 *   SEND       PRODUCER  the same; those that have one (of a CREATE, or the user's) are left alone and linked, and
 *                        when all have one the kind is CLIENT
 *   RECEIVE    CLIENT    each context is linked
 *   PROCESS    CONSUMER  each context is linked; or is the parent (parent_from_message)
 *   SETTLE     CLIENT    nothing; the process span is the parent
 *
 * Links: of more than SONDE_SPAN_LINKS_MAX contexts the first are kept, the rest is counted in the span
 * (dropped_links_count); messaging.batch.message_count is true in any case.
 *
 * Measured are messaging.client.operation.duration (SEND, RECEIVE, SETTLE), messaging.process.duration,
 * messaging.client.sent.messages, messaging.client.consumed.messages; and sonde.messaging.queue.time: the seconds a
 * message lay between its producer and its consumer, by system, destination and group. For that SEND and CREATE put the
 * time into the message's tracestate as the member `sonde=s:HEX` (Unix time in microseconds, lower-case hex), and the
 * consumer takes it out again, so that it goes no further. no_send_time, or SONDE_MESSAGING_SEND_TIME=false in the
 * environment, leaves it away. When the consumer's clock is behind the time is 0, and
 * sonde.messaging.queue.time.skewed counts the message.
 * Source: semantic conventions 1.44, messaging/messaging-spans.md, messaging/messaging-metrics.md (development). */
#ifndef SONDE_CONVENTIONS_MESSAGING_H
#define SONDE_CONVENTIONS_MESSAGING_H

#include <sonde/carrier.h>
#include <sonde/trace.h>

SONDE_BEGIN

enum sonde_messaging_operation {
    SONDE_MESSAGING_CREATE = 1,
    SONDE_MESSAGING_SEND,
    SONDE_MESSAGING_RECEIVE,
    SONDE_MESSAGING_PROCESS,
    SONDE_MESSAGING_SETTLE,
};

/** A message. All borrowed until the end of the operation.
 *  carrier  where its context is; ops NULL: nowhere.
 *  id       may be empty.
 *  context  RECEIVE, PROCESS: what was extracted from it before, so that this is not done again; NULL: ask the carrier.
 */
struct sonde_message {
    struct sonde_carrier carrier;
    struct sonde_string id;
    const struct sonde_context *context;
};

/** One operation on one message or a batch. Strings are borrowed until the end; an empty one is left out.
 *  operation_name         the broker's word for it ("publish", "poll", "ack"); empty = create, send, receive, process,
 *                         settle.
 *  system, destination    needed ("kafka", "orders"). destination_template  with variables left in; names the span.
 *  batch                  the call takes several messages, even when it is one now. Always so with more than one.
 *  pulled                 PROCESS: these came by a RECEIVE that measured their time in the queue and their number.
 *  parent_from_message    PROCESS of one message: its context is the parent; the current span is linked.
 *  messages               borrowed until the end; NULL when their contexts are out of reach.
 *  message_count          0 for an operation that brought none.
 *  A message's id may come as late as the end (brokers give them out).
 *  error_type             NUL-terminated, before the end; makes the span an error.
 *  parent, start_unix_ns, scope, not_current, span  as in sonde/conventions/http.h. */
struct sonde_messaging {
    size_t size;
    enum sonde_messaging_operation operation;
    uint32_t scope;
    struct sonde_string system, operation_name, destination, destination_template;
    struct sonde_string consumer_group, subscription, partition, client_id, conversation_id, server_address;
    uint16_t server_port;
    bool destination_is_temporary, destination_is_anonymous;
    bool batch, pulled, parent_from_message, no_send_time, not_current;
    const struct sonde_message *messages;
    size_t message_count;
    const struct sonde_context *parent;
    uint64_t start_unix_ns;
    const char *error_type;
    struct sonde_span span;
    uint64_t internal[2];
};

static inline void sonde_messaging_init(struct sonde_messaging *ret_operation,
                                        enum sonde_messaging_operation operation) {
    memset(ret_operation, 0, sizeof *ret_operation);
    ret_operation->size = sizeof *ret_operation;
    ret_operation->operation = operation;
}

/** Starts the span, and injects, extracts, links. An operation may also be started when it is over: with start_unix_ns,
 *  and the end right behind. Any thread, never blocks; no allocation after the first with the same attributes. */
SONDE_API void sonde_messaging_start(struct sonde_messaging *operation);
/** Ends the span and measures. A second call does nothing. */
SONDE_API void sonde_messaging_end(struct sonde_messaging *operation);

SONDE_END

#endif
