/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka record headers as a carrier, as an array of pairs; for librdkafka's own type see rdkafka.h.
 * A retry or a dead letter topic that appends instead of replacing leaves several values of a name: the last is of the
 * nearest hop, and the only one seen. A null value is no value. Copy what a consumer was given before its message is
 * freed.
 * Source: Apache Kafka, KIP-82. */
#ifndef SONDE_CARRIER_KAFKA_H
#define SONDE_CARRIER_KAFKA_H

#include <sonde/carrier/pairs.h>

SONDE_BEGIN

/** A carrier of record headers (kept until the carrier is no longer used). set: SONDE_ETOOBIG without room,
 * SONDE_EINVALID for a NUL; the headers are then unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_kafka_carrier(struct sonde_pairs *headers);

SONDE_END

#endif
