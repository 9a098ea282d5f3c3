/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC metadata as a carrier, as it is on the wire: ASCII values, and base64 in names that end in `-bin`. gRPC
 * libraries hand binary values over as bytes: sonde_grpc_encode() and sonde_grpc_decode() convert. Names are lower
 * case; a value of a repeated -bin name may hold several, joined by commas. White space round a value may vanish on the
 * way, so it is not seen. A server refuses the whole call when the metadata is over its limit, 8 KiB by default: what
 * would take it past that is left out, baggage first. Source: gRPC over HTTP2 (PROTOCOL-HTTP2.md),
 * Custom-Metadata; gRFC A72. */
#ifndef SONDE_CARRIER_GRPC_H
#define SONDE_CARRIER_GRPC_H

#include <sonde/carrier/pairs.h>

SONDE_BEGIN

/** Bytes of metadata that are not passed: names, values, and 32 for each pair. */
#define SONDE_GRPC_SIZE_MAX 8192u

/** A carrier of metadata (kept until the carrier is no longer used). set: SONDE_ETOOBIG without room or past
 * SONDE_GRPC_SIZE_MAX, SONDE_EINVALID
 * for what may not stand in a name or value, and for `grpc-` names but grpc-trace-bin; the metadata is then unchanged.
 * Not thread-safe; no allocation. */
SONDE_API struct sonde_carrier sonde_grpc_carrier(struct sonde_pairs *metadata);

/** Base64 of a binary value, without padding, as gRPC sends it. Returns the size, (4 * size + 2) / 3; when it is over
 *  text_size nothing is written. No NUL. */
SONDE_API size_t sonde_grpc_encode(const void *bytes, size_t size, char *ret_text, size_t text_size);

/** Bytes of a -bin value, padded or not.
 *  ret_size  written on 0.
 *  Returns 0, SONDE_EMALFORMED (not base64), SONDE_ETOOBIG (more than bytes_size). */
SONDE_API int sonde_grpc_decode(const char *text, size_t size, void *ret_bytes, size_t bytes_size, size_t *ret_size);

SONDE_END

#endif
