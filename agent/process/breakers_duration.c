/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/process/breakers_duration.h"
#include <string.h>

static double bound_at(const struct sonde_metric *metric, uint32_t i) {
    double bound;
    memcpy(&bound, metric->bounds + i * sizeof bound, sizeof bound);
    return bound;
}

static bool is_alike(const struct breakers_duration *duration, const struct sonde_metric *metric, double scale) {
    if (duration->bound_count != metric->bound_count)
        return false;
    for (uint32_t i = 0; i < metric->bound_count; i++)
        if (duration->bounds[i] != bound_at(metric, i) / (1 / scale))
            return false;
    return true;
}

static void forget_bounds(struct breakers_duration *duration) {
    for (uint32_t i = 1; i <= duration->bound_count; i++)
        duration->counts[0] += duration->counts[i];
    duration->bound_count = 0;
}

void breakers_duration_add(struct breakers_duration *duration, uint64_t look, const struct sonde_metric *metric,
                           const struct sonde__metric_histogram *histogram, double scale) {
    const bool is_first = duration->look != look;
    if (sonde_metric_is_exponential(metric) || (!is_first && !is_alike(duration, metric, scale))) {
        breakers_duration_add_plain(duration, look, histogram->count, histogram->sum * scale);
        return;
    }
    if (is_first) {
        *duration = (struct breakers_duration){.look = look, .bound_count = metric->bound_count};
        for (uint32_t i = 0; i < metric->bound_count; i++)
            duration->bounds[i] = bound_at(metric, i) / (1 / scale); /* rounds as a literal would */
    }
    for (uint32_t i = 0; i <= duration->bound_count; i++)
        duration->counts[i] += histogram->buckets[i];
    duration->sum += histogram->sum * scale;
}

void breakers_duration_add_plain(struct breakers_duration *duration, uint64_t look, uint64_t count, double sum) {
    if (duration->look != look)
        *duration = (struct breakers_duration){.look = look};
    forget_bounds(duration);
    duration->counts[0] += count;
    duration->sum += sum;
}
