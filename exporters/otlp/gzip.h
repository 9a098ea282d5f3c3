/* SPDX-License-Identifier: Apache-2.0 */
/* gzip of whole buffers. The memory is taken before, on the loop; the work may run on any thread. */
#ifndef SONDE_EXPORTERS_OTLP_GZIP_H
#define SONDE_EXPORTERS_OTLP_GZIP_H

#include "exporters/seam.h"
#include <stdbool.h>

struct sonde__gzip;

/** Takes the memory to compress `size` bytes. level 1..12. Returns NULL when out of memory. Owned. */
struct sonde__gzip *sonde__gzip_create(const struct sonde_alloc *alloc, int level, size_t size);
void sonde__gzip_destroy(const struct sonde_alloc *alloc, struct sonde__gzip *gzip); /* NULL is fine */
/** Compresses; data has the size that was given. Allocates nothing, touches nothing else: fit for a pool thread. */
void sonde__gzip_work(struct sonde__gzip *gzip, const uint8_t *data, size_t size);
/** Hands the result over: ret_data owned, free with sonde_alloc_free(). Once, after the work.
 *  False: it did not work out, send the data as it is. */
bool sonde__gzip_steal(const struct sonde_alloc *alloc, struct sonde__gzip *gzip, uint8_t **ret_data, size_t *ret_size);

#endif
