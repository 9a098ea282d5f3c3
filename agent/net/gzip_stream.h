/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's pieces, compressed as they come (Content-Encoding: gzip). Memory is fixed: some 260 KiB. */
#ifndef SONDE_AGENT_GZIP_STREAM_H
#define SONDE_AGENT_GZIP_STREAM_H

#include "exporters/seam.h"
#include <stdbool.h>

struct sonde__gzip_stream;

/** Returns 0, -ENOMEM. */
int sonde__gzip_stream_create(const struct sonde_alloc *alloc, struct sonde__gzip_stream **ret_stream);
void sonde__gzip_stream_destroy(struct sonde__gzip_stream *stream); /* NULL is fine */
/** Compresses a piece. ret_out: good until the next call; may be nothing, since more is needed first.
 *  Returns 0, -ENOMEM. */
int sonde__gzip_stream_put(struct sonde__gzip_stream *stream, const char *data, size_t size, bool is_last,
                           const char **ret_out, size_t *ret_size);

#endif
