/* SPDX-License-Identifier: Apache-2.0 */
/* AMQP as a carrier: the headers table of 0-9-1 (RabbitMQ), and the application properties of 1.0, as arrays of pairs.
 * For the client libraries' own types see rabbitmq.h and proton.h. 0-9-1: put long strings and byte arrays in, which is
 * what text arrives as; leave other types out or give them a value of NULL. Names that begin with `x-` belong to the
 * broker, ours do not. 1.0: application properties are the producer's and are written; message annotations are
 * intermediaries' and are read first. Source: AMQP 0-9-1, 4.2.5.5; AMQP 1.0, 3.2; W3C trace-context-amqp (draft). */
#ifndef SONDE_CARRIER_AMQP_H
#define SONDE_CARRIER_AMQP_H

#include <sonde/carrier/pairs.h>
#include <sonde/propagation.h>

SONDE_BEGIN

/** A carrier of a table or of application properties (kept until the carrier is no longer used). set: SONDE_ETOOBIG
 * without room or over 255 bytes of name, SONDE_EINVALID for what is not UTF-8 or has a NUL; the pairs are then
 * unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_amqp_carrier(struct sonde_pairs *properties);

/** Reads a context from an AMQP 1.0 message: from the annotations, or when they hold none that is good, from the
 *  application properties.
 *  annotations, properties  borrowed, either may be NULL.
 *  ret_context              as of sonde_extract(), whose reasons are returned. */
SONDE_API enum sonde_extract_reason sonde_amqp10_extract(const struct sonde_carrier *annotations,
                                                         const struct sonde_carrier *properties,
                                                         struct sonde_context *ret_context);

SONDE_END

#endif
