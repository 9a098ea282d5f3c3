/* SPDX-License-Identifier: Apache-2.0 */
/* CloudEvents: the distributed tracing extension, attributes traceparent and tracestate of the event itself. They tell
 * the trace in which the event arose and stay with it however often it is forwarded; the message's own context (an HTTP
 * header, a Kafka header, ...) is of the last hop. So what is read may be one context, or a context and a link.
 *
 *   binding         the attribute is                        take a carrier of
 *   HTTP, binary    ce-traceparent, percent-coded           the headers: sonde_cloudevents_carrier(),
 * SONDE_CLOUDEVENTS_HTTP NATS, binary    ce-traceparent, percent-coded           the headers: ...,
 * SONDE_CLOUDEVENTS_NATS Kafka, binary   ce_traceparent                          the headers: ...,
 * SONDE_CLOUDEVENTS_KAFKA AMQP, binary    cloudEvents_traceparent, or with ':'    the application properties: ...,
 * SONDE_CLOUDEVENTS_AMQP MQTT 5, binary  traceparent, which is the message's too the user properties; no wrapper needed
 *   structured      a member of the JSON object             the payload: sonde_json_carrier(), SONDE_JSON_TOP
 *   batch           the same in each element                each event of sonde_cloudevents_batch_next()
 *   WebSocket, MQTT 3.1.1: structured only.
 *
 * Source: CloudEvents 1.0.2, extensions/distributed-tracing.md, bindings, formats/json-format.md. */
#ifndef SONDE_CARRIER_CLOUDEVENTS_H
#define SONDE_CARRIER_CLOUDEVENTS_H

#include <sonde/carrier.h>
#include <sonde/propagation.h>

SONDE_BEGIN

enum sonde_cloudevents_binding {
    SONDE_CLOUDEVENTS_HTTP = 0,
    SONDE_CLOUDEVENTS_KAFKA,
    SONDE_CLOUDEVENTS_AMQP,
    SONDE_CLOUDEVENTS_NATS,
};

/** An event in binary mode: a message and how its attributes are spelled there. Zero the rest.
 *  message  carrier of the message's headers; borrowed while this one is used. */
struct sonde_cloudevents {
    struct sonde_carrier message;
    enum sonde_cloudevents_binding binding;
    uint32_t decoded_used;
    char decoded[SONDE_TRACESTATE_SIZE_MAX];
};

/** A carrier of the event's attributes, of which only traceparent and tracestate are seen. AMQP: `cloudEvents_` is
 * preferred when read, and written unless the event uses `:`. set: as of the message's carrier; SONDE_EINVALID for
 * other names. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_cloudevents_carrier(struct sonde_cloudevents *event);

/** Stamps the context on an event that arises here. An event that has a traceparent keeps it: it was forwarded.
 *  context  borrowed; NULL = the current one.
 *  event    a carrier of the event's attributes.
 *  Returns as sonde_inject(). The message's own context is injected apart, into the message's carrier. */
SONDE_API int sonde_cloudevents_inject(const struct sonde_context *context, const struct sonde_carrier *event);

/** Reads the context of a message that holds an event.
 *  message      carrier of the message's headers, or NULL: formats as configured.
 *  event        carrier of the event's attributes, or NULL.
 *  ret_context  the message's context; or when it has none, the event's.
 *  ret_link     where the event arose, when that is another span than ret_context; else the invalid context.
 *  Returns the reason for ret_context. */
SONDE_API enum sonde_extract_reason sonde_cloudevents_extract(const struct sonde_carrier *message,
                                                              const struct sonde_carrier *event,
                                                              struct sonde_context *ret_context,
                                                              struct sonde_context *ret_link);

/** The next event of a batch (application/cloudevents-batch+json).
 *  text, size  borrowed; checked when *position is 0. Do not change it in between.
 *  position    0 at first.
 *  ret_event   one event's JSON, inside the text.
 *  Returns false at the end, and for what is not a JSON array. */
SONDE_API bool sonde_cloudevents_batch_next(const char *text, size_t size, size_t *position,
                                            struct sonde_string *ret_event);

SONDE_END

#endif
