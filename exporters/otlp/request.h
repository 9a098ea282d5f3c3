/* SPDX-License-Identifier: Apache-2.0 */
/* Export requests: headers in front of bytes that were made once.
 *   Export*ServiceRequest { 1: Resource* { 1: resource, 2: Scope* { 1: scope, 2: items ..., 3: schema_url } } }
 * The three signals have the same shape. The items, framed as field 2, are copied as they are.
 * Source: opentelemetry-proto, trace.proto, logs.proto, metrics.proto. */
#ifndef SONDE_EXPORTERS_OTLP_REQUEST_H
#define SONDE_EXPORTERS_OTLP_REQUEST_H

#include "exporters/delivery/batch.h"

/** Encodes a batch, one Resource* per resource and one Scope* per scope in it.
 *  alloc     borrowed.
 *  ret_body  owned, free with sonde_alloc_free(); ret_size its size, at most batch->size.
 *  Returns 0, -ENOMEM. Never blocks. */
int sonde__otlp_request_encode(const struct sonde_alloc *alloc, const struct sonde__batch *batch, uint8_t **ret_body,
                               size_t *ret_size);

#endif
