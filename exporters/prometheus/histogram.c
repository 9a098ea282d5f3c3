/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/histogram.h"

/* What lies outside is counted in the lowest boundary, or in +Inf only: 2^-40 is a picosecond, 2^64 all bytes there
 * are. The bound keeps one odd histogram from giving every series of its family two thousand buckets. */
#define POWER_LOW  (-40)
#define POWER_HIGH 64

/* The smallest power of two that no value in bucket i exceeds. */
static int64_t power_of(const struct sonde__metric_histogram *histogram, uint32_t i) {
    int64_t index = (int64_t)histogram->offset + i;
    return histogram->scale >= 0 ? (index >> histogram->scale) + 1 : (index + 1) * ((int64_t)1 << -histogram->scale);
}

static int clamp(int64_t power) {
    return power < POWER_LOW ? POWER_LOW : power > POWER_HIGH ? POWER_HIGH : (int)power;
}

void powers_widen(struct powers *powers, const struct sonde__metric_histogram *histogram) {
    for (uint32_t i = 0; i < histogram->bucket_count; i++) {
        if (!histogram->buckets[i])
            continue;
        int power = clamp(power_of(histogram, i));
        if (powers->low > powers->high) {
            powers->low = powers->high = power;
        } else {
            powers->low = power < powers->low ? power : powers->low;
            powers->high = power > powers->high ? power : powers->high;
        }
    }
}

uint64_t powers_count(const struct sonde__metric_histogram *histogram, int power, struct powers_place *place) {
    while (place->bucket < histogram->bucket_count && power_of(histogram, place->bucket) <= power)
        place->count += histogram->buckets[place->bucket++];
    return histogram->zero_count + place->count;
}
