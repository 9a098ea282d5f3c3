/* SPDX-License-Identifier: Apache-2.0 */
/* Order of stores, for lookups that take no lock and for a fork at any moment: an entry is whole before series_total
 * counts it; it is described before it is told to anyone; its slot comes last. A child in which the last steps of its
 * parent's other thread are missing takes them again: at worst a series is described twice, and its reader knows. */
#include "instrumentation/metric/table.h"
#include "instrumentation/context/clock.h"
#include "instrumentation/metric/attributes.h"
#include "instrumentation/metric/histogram.h"
#include "instrumentation/metric/instrument.h"
#include "instrumentation/metric/view.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/lock.h"
#include "instrumentation/ring/thread.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>
#include <stdlib.h>

/* Half full at most. */
#define HASH_SLOTS          (2u * SONDE_SERIES_MAX)
/* Descriptors of overflow series must find room when ordinary ones no longer do. */
#define DESCRIPTORS_RESERVE (64u << 10)

struct series {
    uint64_t hash;
    const uint8_t *attributes;
    uint32_t size;
    uint32_t instrument;
};

static _Atomic uint8_t described[SONDE_SERIES_MAX]; /* 1 once the agent can know of the series */

static struct sonde__lock table_lock;
static struct sonde__instrument instruments[SONDE_INSTRUMENTS_MAX + 1]; /* 0 is the no-op */
static uint32_t instrument_total;
static uint64_t observed_unix_ns;                    /* end of the last round of callbacks */
static struct series series_table[SONDE_SERIES_MAX]; /* 0 is the no-op */
static uint32_t series_total, slotted_total;         /* entries that are whole; of these, those whose slot is made */
static _Atomic uint32_t
    slots[HASH_SLOTS]; /* series number in the low half, high half of the hash above it; 0 = empty */

static uint64_t set_hash(uint32_t instrument, const uint8_t *attributes, size_t size) {
    return sonde__bytes_hash(attributes, size, instrument);
}

static void slot_insert(uint32_t number) {
    uint64_t hash = series_table[number].hash;
    uint32_t at = (uint32_t)hash & (HASH_SLOTS - 1);
    while (atomic_load_explicit(&slots[at], memory_order_relaxed))
        at = (at + 1) & (HASH_SLOTS - 1);
    atomic_store_explicit(&slots[at], (uint32_t)(hash >> 48) << 16 | number, memory_order_release);
}

/* Reads entries and slots that are never changed once published; no lock. */
static uint32_t slot_find(uint32_t instrument, uint64_t hash, const uint8_t *attributes, size_t size) {
    for (uint32_t at = (uint32_t)hash & (HASH_SLOTS - 1);; at = (at + 1) & (HASH_SLOTS - 1)) {
        uint32_t slot = atomic_load_explicit(&slots[at], memory_order_acquire);
        if (!slot)
            return 0;
        if (slot >> 16 != (uint32_t)(hash >> 48))
            continue;
        const struct series *series = &series_table[slot & 0xFFFFu];
        if (series->hash == hash && series->instrument == instrument && series->size == size &&
            memcmp(series->attributes, attributes, size) == 0)
            return slot & 0xFFFFu;
    }
}

static void slots_complete(void) {
    for (; slotted_total < series_total; slotted_total++)
        slot_insert(slotted_total + 1);
}

static void lock(void) {
    sonde__lock_take(&table_lock);
    if (!instrument_total)
        sonde__histogram_tables_init();
    slots_complete(); /* what a forked child's parent had not come to */
}
static void unlock(void) {
    sonde__lock_release(&table_lock);
}

static enum sonde__cell_kind cell_kind_of(const struct sonde__instrument *instrument) {
    int is_double = instrument->number == SONDE_NUMBER_DOUBLE;
    switch (instrument->kind) {
    case SONDE_COUNTER:
        return is_double ? SONDE__CELL_COUNTER_DOUBLE : SONDE__CELL_COUNTER_INT64;
    case SONDE_UP_DOWN_COUNTER:
        return is_double ? SONDE__CELL_UP_DOWN_DOUBLE : SONDE__CELL_UP_DOWN_INT64;
    case SONDE_GAUGE:
        return is_double ? SONDE__CELL_GAUGE_DOUBLE : SONDE__CELL_GAUGE_INT64;
    case SONDE_HISTOGRAM:
        return instrument->bound_count ? SONDE__CELL_BOUNDS : SONDE__CELL_EXPONENTIAL;
    case SONDE_OBSERVABLE_COUNTER:
    case SONDE_OBSERVABLE_UP_DOWN_COUNTER:
    case SONDE_OBSERVABLE_GAUGE:
        return is_double ? SONDE__CELL_OBSERVED_DOUBLE : SONDE__CELL_OBSERVED_INT64;
    }
    return SONDE__CELL_NONE;
}

static int describe_instrument(uint32_t number, const struct sonde__instrument *instrument) {
    uint8_t body[sizeof(struct sonde__instrument_descriptor) + SONDE__INSTRUMENT_TEXT_MAX];
    size_t size = sonde__instrument_encode(instrument, body);
    return sonde__descriptor_append(SONDE__DESCRIPTOR_INSTRUMENT, number, body, (uint32_t)size, instrument->bounds,
                                    instrument->bound_count * (uint32_t)sizeof(double));
}

static int is_described(uint32_t number) {
    /* Acquire: its descriptor was written before. */
    return atomic_load_explicit(&described[number], memory_order_acquire);
}

/* Of a series that is new. What callbacks report began before they did. */
static uint64_t start_of(const struct sonde__instrument *instrument) {
    uint64_t ticks;
    if (instrument->kind <= SONDE_HISTOGRAM)
        return sonde__clock_now(&ticks);
    return instrument->created_unix_ns > observed_unix_ns ? instrument->created_unix_ns : observed_unix_ns;
}

/* Under the lock. Makes a series known to the agent. Returns whether it is. */
static int describe(uint32_t number) {
    if (is_described(number))
        return 1;
    const struct series *series = &series_table[number];
    struct sonde__series_descriptor body = {.instrument = (uint16_t)series->instrument,
                                            .start_unix_ns = start_of(&instruments[series->instrument])};
    if (sonde__descriptor_append(SONDE__DESCRIPTOR_SERIES, number, &body, sizeof body, series->attributes,
                                 series->size))
        return 0;
    atomic_store_explicit(&described[number], 1, memory_order_release);
    return 1;
}

/* Adds an entry; its number, or 0 when there is no memory or no number left. */
static uint32_t series_add(uint32_t instrument, const uint8_t *attributes, size_t size) {
    if (series_total + 1 >= SONDE_SERIES_MAX)
        return 0;
    uint8_t *copy = malloc(size + 1); /* kept for the life of the process */
    if (!copy)
        return 0;
    memcpy(copy, attributes, size);
    uint32_t number = series_total + 1;
    series_table[number] = (struct series){set_hash(instrument, copy, size), copy, (uint32_t)size, instrument};
    __atomic_store_n(&series_total, number, __ATOMIC_RELEASE);
    return number;
}

static uint32_t overflow_series(uint32_t number) {
    struct sonde__instrument *instrument = &instruments[number];
    if (!instrument->overflow_series) {
        struct sonde_attribute overflow = sonde_attribute_bool(SONDE_KEY("otel.metric.overflow"), true);
        uint8_t bytes[64];
        struct sonde__writer writer;
        sonde__writer_init(&writer, bytes, sizeof bytes);
        sonde__write_attribute(&writer, 1, &overflow, SIZE_MAX);
        uint32_t made = series_add(number, bytes, sonde__writer_size(&writer));
        __atomic_store_n(&instrument->overflow_series, (uint16_t)made, __ATOMIC_RELAXED);
    }
    return instrument->overflow_series;
}

/* No further series, ever: neither count falls. */
static int is_full(const struct sonde__instrument *instrument) {
    return instrument->series_count >= instrument->series_max ||
           series_total + 1 + instrument_total >= SONDE_SERIES_MAX;
}

/* Room for one more ordinary series: numbers and log space for every instrument's overflow series are kept back. */
static int has_room(const struct sonde__instrument *instrument, size_t size) {
    struct sonde__process *process = sonde__process_get();
    if (!process || is_full(instrument))
        return 0;
    uint64_t used = atomic_load_explicit(&process->descriptors_head, memory_order_relaxed);
    return used + size + DESCRIPTORS_RESERVE <= SONDE__DESCRIPTORS_SIZE;
}

static uint32_t find_or_add(uint32_t number, const uint8_t *attributes, size_t size) {
    if (!number || number > instrument_total)
        return 0;
    struct sonde__instrument *instrument = &instruments[number];
    uint32_t series = 0;
    if (size != SIZE_MAX) {
        uint64_t hash = set_hash(number, attributes, size);
        series = slot_find(number, hash, attributes, size);
        if (!series && has_room(instrument, size) && (series = series_add(number, attributes, size)) != 0)
            instrument->series_count++;
    }
    if (!series)
        series = overflow_series(number);
    if (!series || !describe(series))
        return 0;
    if (series == instrument->overflow_series && is_full(instrument))
        /* Release: it is described. */
        __atomic_store_n(&instrument->full_series, (uint16_t)series, __ATOMIC_RELEASE);
    slots_complete();
    return series;
}

uint32_t sonde__series_find(uint32_t instrument, const uint8_t *attributes, size_t size) {
    if (size != SIZE_MAX) {
        uint32_t series = slot_find(instrument, set_hash(instrument, attributes, size), attributes, size);
        if (series && is_described(series))
            return series;
    }
    if (instrument && instrument <= SONDE_INSTRUMENTS_MAX) {
        uint32_t full = __atomic_load_n(&instruments[instrument].full_series, __ATOMIC_ACQUIRE);
        if (full)
            return full;
    }
    lock();
    uint32_t series = find_or_add(instrument, attributes, size);
    unlock();
    return series;
}

bool sonde__series_is_overflow(uint32_t series) {
    return __atomic_load_n(&instruments[series_table[series].instrument].overflow_series, __ATOMIC_RELAXED) == series;
}

const struct sonde_view_options *sonde__instrument_view(uint32_t instrument) {
    return sonde__instrument_cell_kind(instrument) ? instruments[instrument].view : NULL;
}

enum sonde_instrument_kind sonde__instrument_kind(uint32_t instrument) {
    return instruments[instrument].kind;
}

void sonde__series_observed(uint64_t unix_ns) {
    lock();
    observed_unix_ns = unix_ns;
    unlock();
}

const struct sonde_view_options *sonde__series_view(uint32_t series) {
    return instruments[series_table[series].instrument].view;
}

struct sonde__reservoir_plan sonde__series_reservoir(uint32_t series) {
    struct sonde__reservoir_plan plan = sonde__instrument_reservoir(&instruments[series_table[series].instrument]);
    plan.has_attributes |= sonde__series_is_overflow(series);
    return plan;
}

enum sonde__cell_kind sonde__instrument_cell_kind(uint32_t instrument) {
    /* Acquire: the entry is whole before the total counts it. */
    if (!instrument || instrument > __atomic_load_n(&instrument_total, __ATOMIC_ACQUIRE))
        return SONDE__CELL_NONE;
    return cell_kind_of(&instruments[instrument]);
}

const double *sonde__series_bounds(uint32_t series, uint32_t *ret_count) {
    const struct sonde__instrument *instrument = &instruments[series_table[series].instrument];
    *ret_count = instrument->bound_count;
    return instrument->bounds;
}

static uint32_t instrument_find(const struct sonde__instrument *wanted) {
    for (uint32_t i = 1; i <= instrument_total; i++)
        if (sonde__instrument_same_name(&instruments[i], wanted))
            return i;
    return 0;
}

/* Under the lock: finds it, or takes it over from *made. CONFLICT: found, but of another kind, number or unit. */
enum { CONFLICT = 1 };
static int instrument_add(struct sonde__instrument *made, uint32_t *ret_number) {
    uint32_t number = instrument_find(made);
    if (number) {
        *ret_number = number;
        return sonde__instrument_same_type(&instruments[number], made) ? 0 : CONFLICT;
    }
    if (instrument_total >= SONDE_INSTRUMENTS_MAX)
        return SONDE_EFULL;
    number = instrument_total + 1;
    int err = describe_instrument(number, made);
    if (err)
        return err;
    uint64_t ticks;
    made->created_unix_ns = sonde__clock_now(&ticks);
    instruments[number] = *made;
    *made = (struct sonde__instrument){0}; /* its strings are the table's now */
    __atomic_store_n(&instrument_total, number, __ATOMIC_RELEASE);
    *ret_number = number;
    return 0;
}

int sonde_instrument_create(const struct sonde_instrument_options *options, struct sonde_instrument *ret_instrument) {
    ret_instrument->index = 0;
    struct sonde__thread *thread = sonde__thread_enter();
    if (!thread)
        return SONDE_EDISABLED;
    struct sonde__instrument made = {0};
    const struct sonde_view_options *view = sonde__view_find(options);
    int err = sonde__instrument_init(&made, options, view);
    bool is_wanted = !view || view->aggregation != SONDE_AGGREGATION_DROP;
    if (!err && (!sonde__process_get() || sonde__settings.signals_off & 1u << SONDE_SIGNAL_METRICS))
        err = SONDE_EDISABLED;
    if (!err && is_wanted) {
        lock();
        err = instrument_add(&made, &ret_instrument->index);
        unlock();
    }
    if (err == CONFLICT) {
        sonde__conflict_count();
        sonde__report("instrument %s was made before with another kind, number or unit: the first stands", made.name);
        err = 0;
    }
    sonde__instrument_deinit(&made);
    sonde__thread_leave(thread);
    return err;
}
