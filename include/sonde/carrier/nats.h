/* SPDX-License-Identifier: Apache-2.0 */
/* NATS message headers as a carrier, as an array of pairs; for libnats' own type see cnats.h.
 * NATS keeps the case of names and tells names apart by it. Others write Traceparent, so any case is read, and lower
 * case is written in place of what was there. `Xraceparent`, the mark that servers before 2.14 leave when they trace a
 * message themselves, is not a context. A sampled traceparent may make a server trace the message. Source: NATS ADR-4
 * (headers), ADR-41 (message tracing). */
#ifndef SONDE_CARRIER_NATS_H
#define SONDE_CARRIER_NATS_H

#include <sonde/carrier/pairs.h>

SONDE_BEGIN

/** A carrier of headers (kept until the carrier is no longer used). set: SONDE_ETOOBIG without room, SONDE_EINVALID for
 * bytes that may not stand in a header; the headers are then unchanged. Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_nats_carrier(struct sonde_pairs *headers);

SONDE_END

#endif
