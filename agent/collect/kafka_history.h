/* SPDX-License-Identifier: Apache-2.0 */
/* When an offset was written, from where the end of its partition was seen: (time, end offset) points, one per poll,
 * oldest first. A record at offset o was written while the end passed from o to o + 1, thus between the last point at or
 * below o and the one after it; in between we take writes as even. A run of equal ends is kept as its first and its last
 * point, so that a partition that is quiet for a week is three points. Times are monotonic. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_HISTORY_H
#define SONDE_AGENT_COLLECT_KAFKA_HISTORY_H

#include "exporters/seam.h"
#include <stdint.h>

struct sonde__kafka_point {
    int64_t time_ns; /* may lie before the machine's start: loaded from a file */
    int64_t offset;
};
/** All zero is an empty one. */
struct sonde__kafka_history {
    struct sonde__kafka_point *points; /* times and offsets rise; owned */
    uint16_t count, capacity;
};
enum { SONDE__KAFKA_POINTS_MAX = 1024 };

enum sonde__kafka_estimate {
    SONDE__KAFKA_UNKNOWN,
    SONDE__KAFKA_EXACT,        /* a record's own time */
    SONDE__KAFKA_INTERPOLATED, /* within a poll interval */
    SONDE__KAFKA_FLOOR,        /* it is older than all we have seen */
};
/** NULL for UNKNOWN. */
const char *sonde__kafka_estimate_name(enum sonde__kafka_estimate estimate);

struct sonde__kafka_age {
    enum sonde__kafka_estimate estimate;
    double seconds; /* >= 0; 0 when and only when there is nothing at that offset yet */
};

/** Adds what was seen. An end that fell begins a new history (the topic was made again, or records were lost); a time
 *  that did not rise is left out. points_max 2..SONDE__KAFKA_POINTS_MAX: the oldest goes. Returns 0, -ENOMEM. */
int sonde__kafka_history_add(struct sonde__kafka_history *history, const struct sonde_alloc *alloc, unsigned points_max,
                             int64_t time_ns, int64_t end_offset);
/** Age of the record at an offset as of now_ns (at or after the last point). UNKNOWN with fewer than two points, unless
 *  there is no record there yet. */
struct sonde__kafka_age sonde__kafka_history_age(const struct sonde__kafka_history *history, int64_t offset,
                                                 int64_t now_ns);
void sonde__kafka_history_deinit(struct sonde__kafka_history *history, const struct sonde_alloc *alloc);

#endif
