/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/series/source.h"
#include "instrumentation/ring/layout.h"
#include <errno.h>

bool series_delta_wanted(const struct sonde_series_source *source, const struct sonde_metric *metric) {
    if (metric->kind != SONDE_COUNTER && metric->kind != SONDE_HISTOGRAM)
        return false;
    switch (source->store->temporality) {
    case SONDE_TEMPORALITY_DELTA:
        return true;
    case SONDE_TEMPORALITY_LOW_MEMORY: /* what is looked at, not counted, stays as it is: pushed values, observables */
        return source->reader && !metric->is_observed;
    case SONDE_TEMPORALITY_CUMULATIVE:
        break;
    }
    return false;
}

/* ---- what was before ---- */

/* NULL when out of memory. */
static struct series_previous *previous_of(struct sonde_series_source *source, const struct sonde_metric *metric,
                                           uint32_t at) {
    if (series_is_pushed(source, metric->number))
        return &source->points.points[at - 1].previous;
    struct series_deltas *deltas = &source->deltas;
    if (at >= deltas->capacity) {
        const struct sonde_alloc *alloc = &source->store->seams->alloc;
        uint32_t capacity = deltas->capacity ? deltas->capacity * 2 : 64;
        while (capacity <= at)
            capacity *= 2;
        struct series_previous *grown = alloc->resize(alloc->self, deltas->previous, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        memset(grown + deltas->capacity, 0, (capacity - deltas->capacity) * sizeof *grown);
        deltas->previous = grown;
        deltas->capacity = capacity;
    }
    return &deltas->previous[at];
}

void series_deltas_deinit(struct series_deltas *deltas, const struct sonde_seams *seams) {
    for (uint32_t i = 0; i < deltas->capacity; i++)
        sonde_alloc_free(&seams->alloc, deltas->previous[i].histogram);
    sonde_alloc_free(&seams->alloc, deltas->previous);
    *deltas = (struct series_deltas){0};
}

void series_deltas_begin(struct sonde_series_source *source) {
    const struct sonde__metric_memory *memory = &source->memory;
    uint64_t before;
    if (source->exported_before_is_known ||
        memory->read(memory->self, 0, offsetof(struct sonde__process, deltas_taken_ns), &before, sizeof before))
        return;
    source->exported_before_unix_ns = before;
    source->exported_before_is_known = true;
}

/* A series that another agent may have sent: it began before we did and before that agent's last export. */
static bool is_inherited(const struct sonde_series_source *source, const struct sonde_metric_point *point) {
    return source->reader && point->start_unix_ns < source->store->since_unix_ns &&
           point->start_unix_ns <= source->exported_before_unix_ns;
}

/* ---- subtraction ---- */

static uint64_t value_of(const struct sonde_metric *metric, const struct sonde_metric_point *point) {
    uint64_t value = (uint64_t)point->int64;
    if (metric->is_double)
        memcpy(&value, &point->float64, sizeof value);
    return value;
}

/* Sets the point to what was added; false: it began anew. ret_changed: at all. */
static bool number_subtract(const struct sonde_metric *metric, const struct series_previous *previous,
                            struct sonde_metric_point *point, bool *ret_changed) {
    if (metric->is_double) {
        double before;
        memcpy(&before, &previous->value, sizeof before);
        *ret_changed = point->float64 > before;
        if (point->float64 < before)
            return false;
        point->float64 -= before;
        return true;
    }
    int64_t before = (int64_t)previous->value;
    *ret_changed = point->int64 > before;
    if (point->int64 < before)
        return false;
    point->int64 = (int64_t)((uint64_t)point->int64 - (uint64_t)before);
    return true;
}

/* Takes the old buckets out of the new, which may have a coarser scale and another offset. A bucket of the new scale is
 * 2^shift whole ones of the old. */
static bool buckets_subtract(const struct sonde__metric_histogram *old, struct sonde__metric_histogram *to) {
    int32_t shift = old->scale - to->scale;
    if (shift < 0 || shift > 31)
        return false;
    for (uint32_t i = 0; i < old->bucket_count; i++) {
        int64_t at = ((int64_t)old->offset + i) >> shift;
        at -= to->offset;
        if (!old->buckets[i])
            continue;
        if (at < 0 || at >= (int64_t)to->bucket_count || to->buckets[at] < old->buckets[i])
            return false;
        to->buckets[at] -= old->buckets[i];
    }
    return true;
}

/* Empty buckets at both ends of an exponential histogram say nothing. */
static void buckets_trim(struct sonde__metric_histogram *to) {
    uint32_t first = 0;
    while (to->bucket_count && !to->buckets[to->bucket_count - 1])
        to->bucket_count--;
    while (first < to->bucket_count && !to->buckets[first])
        first++;
    to->bucket_count -= first;
    to->offset += (int32_t)first;
    memmove(to->buckets, to->buckets + first, to->bucket_count * sizeof *to->buckets);
}

static bool histogram_subtract(const struct sonde_metric *metric, const struct sonde__metric_histogram *old,
                               struct sonde_metric_point *point, struct sonde__metric_histogram *to) {
    series_histogram_copy(to, point->histogram);
    bool is_explicit = !sonde_metric_is_exponential(metric);
    if (to->count < old->count || to->zero_count < old->zero_count ||
        (is_explicit && old->bucket_count != to->bucket_count) || !buckets_subtract(old, to))
        return false;
    to->count -= old->count;
    to->zero_count -= old->zero_count;
    to->sum -= old->sum;
    point->min_unknown |= old->count && to->min >= old->min;
    point->max_unknown |= old->count && to->max <= old->max;
    if (!is_explicit)
        buckets_trim(to);
    point->histogram = to;
    return true;
}

/* ---- points ---- */

/* Times of a point that goes from `from` on; a clock that was set back makes it empty, not negative. */
static void set_times(struct sonde_metric_point *point, uint64_t from) {
    point->start_unix_ns = from;
    if (point->time_unix_ns < from)
        point->time_unix_ns = from;
}

static void keep(const struct sonde_metric *metric, struct series_previous *previous,
                 const struct sonde_metric_point *point) {
    if (point->histogram)
        series_histogram_copy(previous->histogram, point->histogram);
    else
        previous->value = value_of(metric, point);
    previous->start_unix_ns = point->start_unix_ns;
    if (!previous->is_known || point->time_unix_ns > previous->time_unix_ns)
        previous->time_unix_ns = point->time_unix_ns;
    previous->is_known = true;
}

int series_delta(struct sonde_series_source *source, const struct sonde_metric *metric, uint32_t at,
                 struct sonde_metric_point *point, struct sonde__metric_histogram *scratch) {
    struct series_previous *previous = previous_of(source, metric, at);
    if (!previous)
        return -ENOMEM;
    if (point->histogram && !previous->histogram) /* now, since a point that was taken must be kept */
        previous->histogram = sonde_alloc_new(&source->store->seams->alloc, sizeof *previous->histogram);
    if (point->histogram && !previous->histogram)
        return -ENOMEM;
    if (!previous->is_known) {
        if (!is_inherited(source, point)) {
            set_times(point, point->start_unix_ns);
            return 0;
        }
        keep(metric, previous, point);
        return SERIES_DELTA_NONE;
    }
    uint64_t start = point->start_unix_ns, from = previous->time_unix_ns;
    bool changed = true, goes_on = start == previous->start_unix_ns;
    if (goes_on && point->histogram) {
        changed = point->histogram->count != previous->histogram->count;
        goes_on = histogram_subtract(metric, previous->histogram, point, scratch);
    } else if (goes_on) {
        goes_on = number_subtract(metric, previous, point, &changed);
    }
    if (goes_on && !changed) {
        if (point->time_unix_ns > from)
            previous->time_unix_ns = point->time_unix_ns;
        return SERIES_DELTA_NONE;
    }
    set_times(point, !goes_on && start > from ? start : from);
    return 0;
}

void series_delta_taken(struct sonde_series_source *source, const struct sonde_metric *metric, uint32_t at,
                        const struct sonde_metric_point *point) {
    struct series_previous *previous = previous_of(source, metric, at); /* made by series_delta() */
    if (previous)
        keep(metric, previous, point);
}
