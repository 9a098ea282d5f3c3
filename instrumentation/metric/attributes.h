/* SPDX-License-Identifier: Apache-2.0 */
/* A set of attributes in one canonical form, so that equal sets are equal bytes: sorted by key, the last of a repeated
 * key kept, each an encoded KeyValue as field 1. */
#ifndef SONDE_METRIC_ATTRIBUTES_H
#define SONDE_METRIC_ATTRIBUTES_H

#include <sonde/attribute.h>

/** attributes  borrowed; any order.
 *  buffer      SONDE_SERIES_ATTRIBUTES_SIZE_MAX bytes.
 *  ret_size    bytes written.
 *  ret_dropped attributes left out (sonde__attribute_fits).
 *  Returns 0, or SONDE_ETOOBIG (more than SONDE_SERIES_ATTRIBUTES_MAX, or larger than the buffer). Any thread. */
int sonde__attributes_encode(const struct sonde_attribute *attributes, size_t count, uint8_t *buffer, size_t *ret_size,
                             size_t *ret_dropped);

/** 64-bit hash of bytes; seed tells tables apart. */
uint64_t sonde__bytes_hash(const void *bytes, size_t size, uint64_t seed);

#endif
