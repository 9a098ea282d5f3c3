/* SPDX-License-Identifier: Apache-2.0 */
/* When the messages of streams were written, as far as past polls tell: the last sequence at each poll, when it was
 * written, and when the poll was. A sequence between two polls was written between the first poll and the second's last
 * message, so what is interpolated is wrong by less than the time between two polls. */
#ifndef SONDE_AGENT_COLLECT_NATS_HISTORY_H
#define SONDE_AGENT_COLLECT_NATS_HISTORY_H

#include "exporters/exporter.h"
#include "exporters/seam.h"

#define SONDE__NATS_POINTS_MAX 120u /* of a stream: 30 minutes at the default interval, longer where it is quiet */

struct sonde__nats_past; /* of one stream */

struct sonde__nats_history {
    const struct sonde_alloc *alloc;
    struct sonde__nats_past **streams; /* owned; hashed by account and name */
    size_t size, count, max;           /* size: a power of two */
    uint32_t round;
};

int sonde__nats_history_init(struct sonde__nats_history *history, const struct sonde_alloc *alloc, size_t streams_max);
void sonde__nats_history_deinit(struct sonde__nats_history *history);
/** Before a poll's first sonde__nats_history_take(): what the last one did not take is forgotten. */
void sonde__nats_history_begin(struct sonde__nats_history *history);
/** Returns the stream's past with this poll in it, or NULL (no memory, or too many streams). */
struct sonde__nats_past *sonde__nats_history_take(struct sonde__nats_history *history, struct sonde_string account,
                                                  struct sonde_string name, uint64_t last_seq, uint64_t last_unix_ns,
                                                  uint64_t now_unix_ns);
/** When the message of a sequence, which is not above the last, was written. ret_estimate: "exact", "interpolated", or
 *  "floor": it is older than what is returned. Returns 0 when it is not known at all. */
uint64_t sonde__nats_written_unix_ns(const struct sonde__nats_past *past, uint64_t seq, const char **ret_estimate);

#endif
