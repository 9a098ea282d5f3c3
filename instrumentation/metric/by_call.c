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

/* What comes with a measurement. span: its context, NULL = the current one. */
struct of_call {
    const struct sonde_attribute *attributes;
    size_t count;
    const struct sonde_span_context *span;
};

static void offer(struct sonde__thread *thread, struct sonde_series series, uint64_t bits, const struct of_call *call) {
    struct sonde__stack_entry entry, *context = &thread->stack[thread->depth];
    if (call->span) {
        memset(&entry, 0, sizeof entry);
        if (sonde_span_context_is_valid(call->span)) {
            memcpy(entry.trace_id, call->span->trace_id, sizeof entry.trace_id);
            memcpy(&entry.span_id, call->span->span_id, sizeof entry.span_id);
            entry.flags = call->span->flags;
        }
        context = &entry;
    }
    struct sonde__offer offer = {series.index & (SONDE_SERIES_MAX - 1), bits, context, call->attributes, call->count};
    if (sonde__exemplar_wanted(thread, context))
        sonde__exemplar_offer(thread, &offer);
}

void sonde__add_int64_by_call(struct sonde_series series, int64_t value, const struct sonde_attribute *attributes,
                              size_t count) {
    struct sonde__thread *thread = sonde__thread_self;
    bool whole = may_add(thread) && value >= 0;
    if (whole) { /* a signal handler's counts, its exemplar may not */
        region_add_whole(thread, number_of(series, SONDE__CELL_COUNTER_INT64), (uint64_t)value);
        if (!sonde__exemplar_wanted_now(thread))
            return;
    }
    thread = sonde__thread_enter();
    if (!thread)
        return;
    if (whole || sonde__add_int64_inside(thread, series, value, SONDE__CELL_COUNTER_INT64))
        offer(thread, series, (uint64_t)value, &(struct of_call){attributes, count, NULL});
    sonde__thread_leave(thread);
}

/* Not a counter of int64, or a set that is new, or a thread that is, or a context of its own. */
static __attribute__((noinline)) void add_slow(struct sonde_instrument instrument, int64_t value,
                                               const struct of_call *call) {
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    struct sonde_series series = {0};
    if (kind >= SONDE__CELL_COUNTER_INT64 && kind <= SONDE__CELL_UP_DOWN_DOUBLE &&
        (value >= 0 || kind >= SONDE__CELL_UP_DOWN_INT64))
        series = sonde__attributes_series(instrument.index, kind, call->attributes, call->count);
    bool is_int64 = kind == SONDE__CELL_COUNTER_INT64 || kind == SONDE__CELL_UP_DOWN_INT64;
    if (!series.index)
        sonde__measurement_dropped();
    else if (is_int64 ? sonde__add_int64_inside(thread, series, value, kind)
                      : sonde__add_double_inside(thread, series, (double)value, kind))
        offer(thread, series, is_int64 ? (uint64_t)value : sonde__bits_of((double)value), call);
    sonde__thread_leave(thread);
}

/* Adds to a counter or up-down counter of either number. The one array on its stack has its bound checked; a canary
 * would cost a tenth. */
__attribute__((aligned(64), no_stack_protector)) void sonde_instrument_add(struct sonde_instrument instrument,
                                                                           int64_t value,
                                                                           const struct sonde_attribute *attributes,
                                                                           size_t attribute_count) {
    struct sonde_series series = sets_find(instrument.index, attributes, attribute_count);
    if (SONDE__LIKELY(counter_add_plain(series, (uint64_t)value)))
        return;
    if (number_of(series, SONDE__CELL_COUNTER_INT64) < SONDE_SERIES_MAX)
        sonde__add_int64_by_call(series, value, attributes, attribute_count);
    else
        add_slow(instrument, value, &(struct of_call){attributes, attribute_count, NULL});
}

void sonde_instrument_add_in(const struct sonde_span_context *context, struct sonde_instrument instrument,
                             int64_t value, const struct sonde_attribute *attributes, size_t attribute_count) {
    add_slow(instrument, value, &(struct of_call){attributes, attribute_count, context});
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

/* ret_bits: the value as it was recorded. False: it was not. */
static bool record_by_kind(struct sonde__thread *thread, enum sonde__cell_kind kind, struct sonde_series series,
                           double value, uint64_t *ret_bits) {
    *ret_bits = kind == SONDE__CELL_GAUGE_INT64 ? (uint64_t)llrint(value) : sonde__bits_of(value);
    switch (kind) {
    case SONDE__CELL_COUNTER_DOUBLE:
    case SONDE__CELL_UP_DOWN_DOUBLE:
        return sonde__add_double_inside(thread, series, value, kind);
    case SONDE__CELL_GAUGE_INT64:
    case SONDE__CELL_GAUGE_DOUBLE:
        sonde__shared_set(number_of(series, kind), *ret_bits);
        return true;
    default:
        return sonde__record_shared(thread, number_of(series, kind), value);
    }
}

static void record(struct sonde_instrument instrument, double value, const struct of_call *call) {
    struct sonde__thread *thread = instrument.index ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    enum sonde__cell_kind kind = sonde__instrument_cell_kind(instrument.index);
    struct sonde_series series = {0};
    if (record_is_valid(kind, value))
        series = sonde__attributes_series(instrument.index, kind, call->attributes, call->count);
    uint64_t bits;
    if (!series.index)
        sonde__measurement_dropped();
    else if (record_by_kind(thread, kind, series, value, &bits))
        offer(thread, series, bits, call);
    sonde__thread_leave(thread);
}

/* Records into a histogram, sets a gauge (rounded when it is of int64), or adds to a counter of doubles. */
void sonde_instrument_record(struct sonde_instrument instrument, double value, const struct sonde_attribute *attributes,
                             size_t attribute_count) {
    record(instrument, value, &(struct of_call){attributes, attribute_count, NULL});
}

void sonde_instrument_record_in(const struct sonde_span_context *context, struct sonde_instrument instrument,
                                double value, const struct sonde_attribute *attributes, size_t attribute_count) {
    record(instrument, value, &(struct of_call){attributes, attribute_count, context});
}
