/* SPDX-License-Identifier: Apache-2.0 */
/* Google Pub/Sub message attributes as a carrier. Names are `googclient_traceparent` and so on, as Google's own clients
 * write them; other names that begin with `goog` are refused by the server. Source: Pub/Sub documentation,
 * OpenTelemetry tracing and quotas. */
#ifndef SONDE_CARRIER_PUBSUB_H
#define SONDE_CARRIER_PUBSUB_H

#include <sonde/carrier/pairs.h>

SONDE_BEGIN

/** A carrier of attributes (kept until the carrier is no longer used). set: SONDE_ETOOBIG without room, over 100
 * attributes, 256 bytes of name or 1,024 of value, SONDE_EINVALID for what is not UTF-8; the attributes are then
 * unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_pubsub_carrier(struct sonde_pairs *attributes);

SONDE_END

#endif
