/* SPDX-License-Identifier: Apache-2.0 */
/* Adding exponential histograms of different scales: both are brought to the scale at which all used buckets fit. */
#include "instrumentation/metric/read.h"

static bool used_range(const uint64_t *buckets, uint32_t count, uint32_t *ret_first, uint32_t *ret_last) {
    bool used = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!buckets[i])
            continue;
        if (!used)
            *ret_first = i;
        *ret_last = i;
        used = true;
    }
    return used;
}

/* Adds counts at `scale`, shifted down by `by`, to buckets that begin at offset. */
static void add_shifted(uint64_t *to, int64_t to_offset, const uint64_t *from, int64_t from_offset, uint32_t count,
                        int by) {
    for (uint32_t i = 0; i < count; i++)
        if (from[i])
            to[((from_offset + i) >> by) - to_offset] += from[i];
}

void sonde__metric_histogram_merge(struct sonde__metric_histogram *to, int32_t scale, int32_t offset,
                                   const uint64_t *buckets, uint32_t bucket_count) {
    uint32_t first = 0, last = 0, to_first = 0, to_last = 0;
    if (!used_range(buckets, bucket_count, &first, &last))
        return;
    bool empty = !used_range(to->buckets, to->bucket_count, &to_first, &to_last);
    int32_t common = empty || scale < to->scale ? scale : to->scale;
    int by = scale - common, to_by = empty ? 0 : to->scale - common;
    int64_t low = ((int64_t)offset + first) >> by, high = ((int64_t)offset + last) >> by;
    if (!empty) {
        int64_t to_low = ((int64_t)to->offset + to_first) >> to_by, to_high = ((int64_t)to->offset + to_last) >> to_by;
        low = to_low < low ? to_low : low;
        high = to_high > high ? to_high : high;
    }
    int more = 0;
    while ((high >> more) - (low >> more) >= (int64_t)SONDE__BUCKETS_LARGE)
        more++;
    low >>= more;
    high >>= more;
    uint64_t sums[SONDE__BUCKETS_LARGE] = {0};
    add_shifted(sums, low, buckets, offset, bucket_count, by + more);
    if (!empty)
        add_shifted(sums, low, to->buckets, to->offset, to->bucket_count, to_by + more);
    to->scale = common - more;
    to->offset = (int32_t)low;
    to->bucket_count = (uint32_t)(high - low) + 1;
    memcpy(to->buckets, sums, to->bucket_count * sizeof sums[0]);
}
