/* SPDX-License-Identifier: Apache-2.0 */
/* Amazon SQS and SNS: message attributes as a carrier.
 * A message has at most ten attributes, yours included, and a size that counts them: when either is reached nothing
 * more is put in and the message stays fit to send. traceparent goes in first, then tracestate, then baggage. Inject
 * before the request is signed, and per entry of a batch. The X-Ray format goes into AWSTraceHeader, a message *system*
 * attribute that is not one of the ten. A receiver must ask for what it wants: MessageAttributeNames = traceparent,
 * tracestate, baggage, and MessageSystemAttributeNames = AWSTraceHeader. SNS hands attributes on inside the body,
 * unless the subscription has raw delivery; sonde_sqs_extract() looks there too.
 *
 *     struct sonde_sqs_message message = {.attributes = {pairs, 3, 10, text, sizeof text, 0}, .body_size = body_size};
 *     struct sonde_carrier carrier = sonde_sqs_carrier(&message);
 *     (void)sonde_inject(NULL, &carrier);           // then send attributes.pairs[0..count) as type String
 *
 * Source: SQS developer guide (message metadata, quotas); SNS developer guide (raw message delivery). */
#ifndef SONDE_CARRIER_SQS_H
#define SONDE_CARRIER_SQS_H

#include <sonde/carrier/pairs.h>
#include <sonde/propagation.h>

SONDE_BEGIN

#define SONDE_SQS_ATTRIBUTES_MAX        10u
#define SONDE_SQS_SIZE_MAX              262144u
#define SONDE_SQS_TRACE_HEADER_SIZE_MAX 256u

/** A message. Zero what you do not know.
 *  attributes    names and their string values; put attributes of other types in too, with a value of NULL, so that
 *                they count.
 *  trace_header  AWSTraceHeader: as received, or what was injected when trace_header.data is set. Points into
 *                trace_header_text then.
 *  body_size     bytes of the body.
 *  other_size    bytes of attribute types and of values that are NULL in `attributes`, when you want them counted.
 *  size_max      of the message, bytes; 0 = SONDE_SQS_SIZE_MAX. */
struct sonde_sqs_message {
    struct sonde_pairs attributes;
    struct sonde_string trace_header;
    size_t body_size, other_size, size_max;
    char trace_header_text[SONDE_SQS_TRACE_HEADER_SIZE_MAX];
};

/** A carrier of a message's attributes, for SQS and for publishing to SNS (kept until the carrier is no longer used).
 *  The field x-amzn-trace-id is AWSTraceHeader. set: SONDE_ETOOBIG at ten attributes, past the size, or without room;
 *  SONDE_EINVALID for what is not UTF-8; the message is then unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_sqs_carrier(struct sonde_sqs_message *message);

/** Reads a context from a received message: from the attributes; else from an SNS envelope in the body; else from
 *  AWSTraceHeader, in X-Ray form, whatever formats are configured.
 *  body, size   borrowed; NULL, 0 = do not look. What is not an SNS notification is left alone.
 *  ret_context  as of sonde_extract(), whose reasons are returned. */
SONDE_API enum sonde_extract_reason sonde_sqs_extract(struct sonde_sqs_message *message, const char *body, size_t size,
                                                      struct sonde_context *ret_context);

SONDE_END

#endif
