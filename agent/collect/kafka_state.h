/* SPDX-License-Identifier: Apache-2.0 */
/* Histories over a restart of the agent, in a file: times are wall time there, since the monotonic clock begins anew with
 * the machine. Written beside and renamed, so that it is whole or the one before; whatever it holds is checked, and a file
 * that is not right costs the histories and nothing else.
 *
 *   "SONDEKFK" version u32, cluster (u16 and bytes), partitions u32
 *   each: topic (u16 and bytes), partition u32, points u16, each: unix ns i64, offset i64
 *   CRC-32 of all before u32; numbers are little-endian */
#ifndef SONDE_AGENT_COLLECT_KAFKA_STATE_H
#define SONDE_AGENT_COLLECT_KAFKA_STATE_H

#include "agent/collect/kafka_book.h"

/* A file of 120 points for each of 100,000 partitions is 200 MB: too much to write each minute. Histories that do not fit
 * are left out, and begin anew. */
#define SONDE__KAFKA_STATE_SIZE_MAX (64u << 20)

/** The bytes of a file. wall_ns - now_ns is what turns monotonic into wall time. ret_data: owned, alloc's.
 *  Returns 0, -ENOMEM. */
int sonde__kafka_state_encode(const struct sonde__kafka_book *book, const char *cluster, int64_t now_ns,
                              int64_t wall_ns, uint8_t **ret_data, size_t *ret_size);
/** Into a book, of topics that are not there yet too. Points of the future (the clock was set back) and those older than
 *  a week are left out. Returns 0, -ENOMEM, SONDE_EINVALID (nothing was added), -ESTALE (another cluster's). */
int sonde__kafka_state_decode(struct sonde__kafka_book *book, const uint8_t *data, size_t size, const char *cluster,
                              int64_t now_ns, int64_t wall_ns, unsigned points_max);

/** Whole or not at all: PATH.new, fsync, rename. Returns 0, -errno. */
int sonde__kafka_state_write(const char *path, const uint8_t *data, size_t size);
/** ret_data: owned, alloc's. Returns 0, -errno (-ENOENT: there is none), SONDE_ETOOBIG. */
int sonde__kafka_state_read(const struct sonde_alloc *alloc, const char *path, uint8_t **ret_data, size_t *ret_size);

#endif
