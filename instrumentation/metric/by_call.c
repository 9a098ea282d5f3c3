/* SPDX-License-Identifier: Apache-2.0 */
/* Binding, and measurements with attributes per call. A set that was seen before is found by the way it is written
 * (sets.c); a new one is made canonical on the stack and looked up in the table, which makes its series at need. */
#include "instrumentation/metric/attributes.h"
#include "instrumentation/metric/histogram_fast.h"
#include "instrumentation/metric/measure.h"
#include "instrumentation/metric/sets_fast.h"
#include "instrumentation/metric/view.h"
#include <math.h>

/* Those that the view keeps; one more than a series may have is enough to see that there are too many. */
static size_t keep(const struct sonde_view_options *view, const struct sonde_attribute *attributes, size_t count,
                   struct sonde_attribute *ret_kept) {
    size_t kept = 0;
    for (size_t i = 0; i < count && kept <= SONDE_SERIES_ATTRIBUTES_MAX; i++)
        if (sonde__view_keeps(view, &attributes[i].key))
            ret_kept[kept++] = attributes[i];
    return kept;
}

/* The series of a set, counting what was left out; sets that are too large go to the overflow series, so that sums stay
 * true. */
struct sonde_series sonde__attributes_series(uint32_t instrument, enum sonde__cell_kind kind,
                                             const struct sonde_attribute *attributes, size_t count) {
    struct sonde_series known = sonde__sets_find(instrument, attributes, count);
    if (known.index)
        return known;
    uint8_t bytes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    size_t size = 0, left_out = 0, kept_count = count;
    struct sonde_attribute kept[SONDE_SERIES_ATTRIBUTES_MAX + 1];
    const struct sonde_attribute *of_series = attributes;
    const struct sonde_view_options *view = sonde__instrument_view(instrument);
    if (view && (view->keep_key_count || view->drop_key_count)) {
        kept_count = keep(view, attributes, count, kept);
        of_series = kept;
    }
    if (sonde__attributes_encode(of_series, kept_count, bytes, &size, &left_out)) {
        size = SIZE_MAX;
        left_out = kept_count;
    }
    struct sonde__process *process = sonde__process_get();
    if (SONDE__UNLIKELY(left_out && process))
        atomic_fetch_add_explicit(&process->attributes_dropped, left_out, memory_order_relaxed);
    uint32_t number = sonde__series_find(instrument, bytes, size);
    if (!number)
        return (struct sonde_series){0};
    struct sonde_series series = {sonde__handle_make(kind, number)};
    /* What overflowed may be without end, and what was left out is to be counted each time. */
    if (!left_out && !sonde__series_is_overflow(number))
        sonde__sets_add(instrument, attributes, count, series);
    return series;
}

struct sonde_series sonde_series_bind(struct sonde_instrument instrument, const struct sonde_attribute *attributes,
                                      size_t attribute_count) {
    struct sonde_series series = {0};
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return series;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    if (kind)
        series = sonde__attributes_series(instrument.index, kind, attributes, attribute_count);
    sonde__thread_leave(thread);
    return series;
}

/* Not a counter of int64, or a set that is new, or a thread that is. */
static __attribute__((noinline)) void add_slow(struct sonde_instrument instrument, int64_t value,
                                               const struct sonde_attribute *attributes, size_t count) {
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    struct sonde_series series = {0};
    if (kind >= SONDE__CELL_COUNTER_INT64 && kind <= SONDE__CELL_UP_DOWN_DOUBLE &&
        (value >= 0 || kind >= SONDE__CELL_UP_DOWN_INT64))
        series = sonde__attributes_series(instrument.index, kind, attributes, count);
    if (!series.index)
        sonde__measurement_dropped();
    else if (kind == SONDE__CELL_COUNTER_INT64 || kind == SONDE__CELL_UP_DOWN_INT64)
        sonde__add_int64_inside(thread, series, value, kind);
    else
        sonde__add_double_inside(thread, series, (double)value, kind);
    sonde__thread_leave(thread);
}

/* Adds to a counter or up-down counter of either number. The one array on its stack has its bound checked; a canary
 * would cost a tenth. */
__attribute__((aligned(64), no_stack_protector)) void sonde_instrument_add(struct sonde_instrument instrument,
                                                                           int64_t value,
                                                                           const struct sonde_attribute *attributes,
                                                                           size_t attribute_count) {
    struct sonde_series series = sets_find(instrument.index, attributes, attribute_count);
    if (SONDE__LIKELY(number_of(series, SONDE__CELL_COUNTER_INT64) < SONDE_SERIES_MAX))
        counter_add(series, (uint64_t)value);
    else
        add_slow(instrument, value, attributes, attribute_count);
}

static bool record_is_valid(enum sonde__cell_kind kind, double value) {
    if (!isfinite(value))
        return false;
    switch (kind) {
    case SONDE__CELL_COUNTER_DOUBLE:
    case SONDE__CELL_EXPONENTIAL:
    case SONDE__CELL_BOUNDS:
        return value >= 0;
    case SONDE__CELL_UP_DOWN_DOUBLE:
    case SONDE__CELL_GAUGE_DOUBLE:
        return true;
    case SONDE__CELL_GAUGE_INT64: /* -2^63 .. below 2^63 */
        return value >= -0x1p63 && value < 0x1p63;
    default:
        return false;
    }
}

static void record_by_kind(struct sonde__thread *thread, enum sonde__cell_kind kind, struct sonde_series series,
                           double value) {
    switch (kind) {
    case SONDE__CELL_COUNTER_DOUBLE:
    case SONDE__CELL_UP_DOWN_DOUBLE:
        sonde__add_double_inside(thread, series, value, kind);
        break;
    case SONDE__CELL_GAUGE_INT64:
        sonde__shared_set(number_of(series, kind), (uint64_t)llrint(value));
        break;
    case SONDE__CELL_GAUGE_DOUBLE:
        sonde__shared_set(number_of(series, kind), bits_of(value));
        break;
    default:
        sonde__record_shared(thread, number_of(series, kind), value);
    }
}

/* Records into a histogram, sets a gauge (rounded when it is of int64), or adds to a counter of doubles. */
void sonde_instrument_record(struct sonde_instrument instrument, double value, const struct sonde_attribute *attributes,
                             size_t attribute_count) {
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    struct sonde_series series = {0};
    if (record_is_valid(kind, value))
        series = sonde__attributes_series(instrument.index, kind, attributes, attribute_count);
    if (series.index)
        record_by_kind(thread, kind, series, value);
    else
        sonde__measurement_dropped();
    sonde__thread_leave(thread);
}
