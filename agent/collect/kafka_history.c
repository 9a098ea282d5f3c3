/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_history.h"
#include <errno.h>
#include <string.h>

#define NS_PER_S       1e9
#define AGE_MIN_S      1e-9 /* what is not yet read is behind, however little */
#define CAPACITY_FIRST 4u

const char *sonde__kafka_estimate_name(enum sonde__kafka_estimate estimate) {
    static const char *const names[] = {
        [SONDE__KAFKA_EXACT] = "exact", [SONDE__KAFKA_INTERPOLATED] = "interpolated", [SONDE__KAFKA_FLOOR] = "floor"};
    return names[estimate];
}

static int grow(struct sonde__kafka_history *history, const struct sonde_alloc *alloc, unsigned points_max) {
    unsigned capacity = history->capacity ? history->capacity * 2u : CAPACITY_FIRST;
    if (capacity > points_max)
        capacity = points_max;
    void *points = alloc->resize(alloc->self, history->points, capacity * sizeof *history->points);
    if (!points)
        return -ENOMEM;
    history->points = points;
    history->capacity = (uint16_t)capacity;
    return 0;
}

int sonde__kafka_history_add(struct sonde__kafka_history *history, const struct sonde_alloc *alloc, unsigned points_max,
                             int64_t time_ns, int64_t end_offset) {
    struct sonde__kafka_point *points = history->points;
    unsigned count = history->count;
    if (count && time_ns <= points[count - 1].time_ns)
        return 0;
    if (count && end_offset < points[count - 1].offset)
        history->count = (uint16_t)(count = 0);
    if (count >= 2 && points[count - 1].offset == end_offset && points[count - 2].offset == end_offset) {
        points[count - 1].time_ns = time_ns;
        return 0;
    }
    if (count >= points_max) {
        unsigned surplus = count - points_max + 1;
        memmove(points, points + surplus, (count - surplus) * sizeof *points);
        count -= surplus;
    }
    if (count == history->capacity && grow(history, alloc, points_max) != 0)
        return -ENOMEM;
    history->points[count] = (struct sonde__kafka_point){.time_ns = time_ns, .offset = end_offset};
    history->count = (uint16_t)(count + 1);
    return 0;
}

/** Index of the last point at or below the offset; there is one. */
static unsigned last_not_above(const struct sonde__kafka_history *history, int64_t offset) {
    unsigned low = 0, high = history->count;
    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;
        if (history->points[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static struct sonde__kafka_age age(enum sonde__kafka_estimate estimate, double ns) {
    double seconds = ns / NS_PER_S;
    return (struct sonde__kafka_age){estimate, seconds > AGE_MIN_S ? seconds : AGE_MIN_S};
}

struct sonde__kafka_age sonde__kafka_history_age(const struct sonde__kafka_history *history, int64_t offset,
                                                 int64_t now_ns) {
    const struct sonde__kafka_point *points = history->points;
    if (history->count && offset >= points[history->count - 1].offset)
        return (struct sonde__kafka_age){SONDE__KAFKA_INTERPOLATED, 0};
    if (history->count < 2)
        return (struct sonde__kafka_age){SONDE__KAFKA_UNKNOWN, 0};
    if (offset < points[0].offset)
        return age(SONDE__KAFKA_FLOOR, (double)(now_ns - points[0].time_ns));
    const struct sonde__kafka_point *left = &points[last_not_above(history, offset)], *right = left + 1;
    /* The middle of the record's share of the interval: as likely early as late. */
    double share = ((double)(offset - left->offset) + 0.5) / (double)(right->offset - left->offset);
    return age(SONDE__KAFKA_INTERPOLATED,
               (double)(now_ns - left->time_ns) - share * (double)(right->time_ns - left->time_ns));
}

void sonde__kafka_history_deinit(struct sonde__kafka_history *history, const struct sonde_alloc *alloc) {
    sonde_alloc_free(alloc, history->points);
    *history = (struct sonde__kafka_history){0};
}
