/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds, in one place: the log is at most SONDE__DESCRIPTORS_SIZE; numbers are below their tables' sizes; a histogram
 * lies in its arena, has 1..SONDE__BUCKETS_MAX buckets and a scale and offset that doubles can have. One refresh reads
 * at most every cell of every region once, and a histogram TRIES times. */
#include "instrumentation/metric/reader.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>

/* An honest histogram changes its block some 30 times in its life. */
#define TRIES      8
/* Indices of doubles at scale 20 lie within +-2^30; offsets add at most a block to that. */
#define OFFSET_MAX ((1 << 30) + 1024)

struct sonde__metric_reader *sonde__metric_reader_create(sonde__resize_fn resize, void *self) {
    struct sonde__metric_reader *reader = resize(self, NULL, sizeof *reader);
    if (reader) {
        memset(reader, 0, sizeof *reader);
        reader->resize = resize;
        reader->resize_self = self;
    }
    return reader;
}

static void give_back(struct sonde__metric_reader *reader, void *memory) {
    if (memory)
        (void)reader->resize(reader->resize_self, memory, 0);
}

void sonde__metric_reader_destroy(struct sonde__metric_reader *reader) {
    if (!reader)
        return;
    for (uint32_t i = 0; i < reader->series_capacity; i++)
        give_back(reader, reader->series[i].histogram);
    give_back(reader, reader->series);
    give_back(reader, reader->exemplars);
    give_back(reader, reader->exemplar_bytes);
    give_back(reader, reader->log);
    give_back(reader, reader);
}

static struct sonde__instrument_descriptor instrument_of(const struct sonde__metric_reader *reader, uint32_t number,
                                                         struct sonde__descriptor *ret_head, const uint8_t **ret_body) {
    struct sonde__instrument_descriptor d;
    *ret_head = sonde__reader_descriptor(reader, reader->instruments[number].at, ret_body);
    memcpy(&d, *ret_body, sizeof d);
    return d;
}

struct sonde__instrument_descriptor sonde__reader_instrument_of(const struct sonde__metric_reader *reader,
                                                                const struct reader_series *series) {
    struct sonde__descriptor head;
    const uint8_t *body;
    return instrument_of(reader, series->instrument, &head, &body);
}

static uint64_t series_start(const struct sonde__metric_reader *reader, const struct reader_series *series) {
    struct sonde__series_descriptor d;
    const uint8_t *body;
    (void)sonde__reader_descriptor(reader, series->at, &body);
    memcpy(&d, body, sizeof d);
    return d.start_unix_ns;
}

/* Is a series there only while its shared cell is marked as set? */
static bool is_set_only(const struct sonde__instrument_descriptor *d) {
    return d->kind == SONDE_GAUGE || (d->flags & SONDE__INSTRUMENT_OBSERVED);
}

static int values_clear(struct sonde__metric_reader *reader) {
    for (uint32_t i = 1; i <= reader->series_max; i++) {
        struct reader_series *series = &reader->series[i];
        if (!series->at)
            continue;
        struct sonde__descriptor head;
        const uint8_t *body;
        struct sonde__instrument_descriptor d = instrument_of(reader, series->instrument, &head, &body);
        series->value = 0;
        /* What a child got from its parent by fork() is of the child once it uses it. */
        series->present = !is_set_only(&d) && series_start(reader, series) >= reader->start_unix_ns;
        if (d.kind != SONDE_HISTOGRAM)
            continue;
        if (!series->histogram)
            series->histogram = reader->resize(reader->resize_self, NULL, sizeof *series->histogram);
        if (!series->histogram)
            return -ENOMEM;
        memset(series->histogram, 0, sizeof *series->histogram);
        series->histogram->min = (double)INFINITY;
        series->histogram->max = -(double)INFINITY;
        series->histogram->bucket_count = d.bound_count ? d.bound_count + 1u : 0;
    }
    return 0;
}

/* Where histograms lie that cells point to. */
struct place {
    const struct sonde__metric_memory *memory;
    uint32_t number; /* of the memory */
    uint64_t arena_at, arena_size;
};

/* struct sonde__histogram_block, as large as one can be. */
struct copied_block {
    int32_t scale, offset;
    uint32_t capacity;
    uint32_t reserved[13];
    uint64_t buckets[SONDE__BUCKETS_MAX];
};
_Static_assert(offsetof(struct copied_block, capacity) == offsetof(struct sonde__histogram_block, capacity) &&
                   offsetof(struct copied_block, buckets) == offsetof(struct sonde__histogram_block, buckets),
               "a copy of it");

/* Copies the header and its active block; true when the block did not change meanwhile. *ret_lie: cannot be. */
static bool histogram_copy(const struct place *place, uint64_t at, struct sonde__histogram *ret_head,
                           struct copied_block *ret_block, bool *ret_lie) {
    struct sonde__histogram again;
    *ret_lie = true;
    if (place->memory->read(place->memory->self, place->number, place->arena_at + at, ret_head, sizeof *ret_head))
        return false;
    uint64_t active = ret_head->active, block_at = (active & UINT32_MAX) * SONDE__ARENA_UNIT;
    if (block_at > place->arena_size - SONDE__ARENA_UNIT)
        return false;
    size_t size =
        place->arena_size - block_at < sizeof *ret_block ? (size_t)(place->arena_size - block_at) : sizeof *ret_block;
    memset(ret_block, 0, sizeof *ret_block);
    if (place->memory->read(place->memory->self, place->number, place->arena_at + block_at, ret_block, size) ||
        place->memory->read(place->memory->self, place->number, place->arena_at + at, &again, sizeof again))
        return false;
    *ret_lie = false;
    return again.active == active;
}

/* Sum, extremes and zeros of a histogram; bad doubles are left out. */
static void summary_add(struct sonde__metric_histogram *to, const struct sonde__histogram *from) {
    double sum = sonde__double_of(from->sum), min = sonde__double_of(from->min), max = sonde__double_of(from->max);
    if (!from->bound_count) /* among explicit boundaries a zero is a value like others */
        to->zero_count += from->zero_count;
    if (isfinite(sum))
        to->sum += sum;
    if (isfinite(min) && min < to->min)
        to->min = min;
    if (isfinite(max) && max > to->max)
        to->max = max;
}

static bool histogram_add(const struct place *place, uint32_t number, uint64_t cell, uint32_t bound_count,
                          struct sonde__metric_histogram *to) {
    struct sonde__histogram head;
    struct copied_block block;
    bool lie = false, whole = false;
    if (cell > place->arena_size / SONDE__ARENA_UNIT)
        return false;
    for (int i = 0; i < TRIES && !whole && !lie; i++)
        whole = histogram_copy(place, (cell - 1) * SONDE__ARENA_UNIT, &head, &block, &lie);
    if (!whole || head.series != number || head.bound_count != bound_count)
        return false;
    uint32_t capacity = block.capacity;
    if (bound_count) {
        if (capacity != bound_count + 1)
            return false;
        for (uint32_t i = 0; i < capacity; i++)
            to->buckets[i] += block.buckets[i];
    } else {
        if (!capacity || capacity > SONDE__BUCKETS_LARGE || block.scale < SONDE__SCALE_MIN ||
            block.scale > SONDE__SCALE_MAX || block.offset < -OFFSET_MAX || block.offset > OFFSET_MAX)
            return false;
        sonde__metric_histogram_merge(to, block.scale, block.offset, block.buckets, capacity);
    }
    summary_add(to, &head);
    return true;
}

/* Adds one cell to its series. False: a lie. */
static bool cell_add(struct sonde__metric_reader *reader, const struct place *place, uint32_t number, uint64_t cell) {
    struct reader_series *series = &reader->series[number];
    struct sonde__descriptor head;
    const uint8_t *body;
    if (!cell || !series->at)
        return true;
    struct sonde__instrument_descriptor d = instrument_of(reader, series->instrument, &head, &body);
    series->present |= !is_set_only(&d);
    if (d.kind == SONDE_HISTOGRAM)
        return histogram_add(place, number, cell, d.bound_count, series->histogram);
    if (d.number == SONDE_NUMBER_DOUBLE)
        series->value = sonde__bits_of(sonde__double_of(series->value) + sonde__double_of(cell));
    else
        series->value += cell;
    return true;
}

static int shared_read(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory) {
    struct place place = {memory, 0, SONDE__SHARED_HISTOGRAMS_AT, SONDE__SHARED_HISTOGRAMS_SIZE};
    int err = memory->read(memory->self, 0, SONDE__SHARED_CELLS_AT, reader->cells,
                           (reader->series_max + 1) * sizeof(struct sonde__shared_cell));
    if (err)
        return err;
    bool honest = true;
    for (uint32_t i = 1; i <= reader->series_max; i++) {
        if ((uint32_t)reader->cells[2 * i + 1]) /* `set` */
            reader->series[i].present = true;
        honest &= cell_add(reader, &place, i, reader->cells[2 * i]);
    }
    return honest ? 0 : SONDE_EMALFORMED;
}

static int region_read(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory, uint32_t number,
                       uint32_t region) {
    struct place place = {memory, number, SONDE__HISTOGRAMS_AT + (uint64_t)region * SONDE__REGION_HISTOGRAMS_SIZE,
                          SONDE__REGION_HISTOGRAMS_SIZE};
    uint32_t state;
    if (memory->read(memory->self, number,
                     SONDE__CONTROL_AT + (uint64_t)region * SONDE__PAGE + offsetof(struct sonde__region, state), &state,
                     sizeof state))
        return 1; /* there is no such memory */
    if (state == SONDE__REGION_FREE)
        return 0;
    if (memory->read(memory->self, number, SONDE__CELLS_AT + (uint64_t)region * SONDE__REGION_CELLS_SIZE, reader->cells,
                     (reader->series_max + 1) * sizeof(uint64_t)))
        return 1;
    bool honest = true;
    for (uint32_t i = 1; i <= reader->series_max; i++)
        honest &= cell_add(reader, &place, i, reader->cells[i]);
    return honest ? 0 : SONDE_EMALFORMED;
}

static int cells_read(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory) {
    int result = shared_read(reader, memory);
    for (uint32_t number = 1; number <= SONDE__THREAD_MEMORIES_MAX; number++) {
        for (uint32_t region = 0; region < SONDE__REGIONS_PER_MEMORY; region++) {
            int err = region_read(reader, memory, number, region);
            if (err > 0)
                break;
            if (err < 0)
                result = err;
        }
    }
    return result;
}

static void counts_finish(struct sonde__metric_reader *reader) {
    for (uint32_t i = 1; i <= reader->series_max; i++) {
        struct sonde__metric_histogram *histogram = reader->series[i].histogram;
        if (!histogram)
            continue;
        histogram->count = histogram->zero_count;
        for (uint32_t k = 0; k < histogram->bucket_count; k++)
            histogram->count += histogram->buckets[k];
    }
}

int sonde__metric_reader_refresh(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory) {
    uint64_t head;
    int err = memory->read(memory->self, 0, offsetof(struct sonde__process, descriptors_head), &head, sizeof head);
    if (!err)
        err = memory->read(memory->self, 0, offsetof(struct sonde__process, start_unix_ns), &reader->start_unix_ns,
                           sizeof reader->start_unix_ns);
    if (err)
        return err;
    int result = sonde__reader_log_read(reader, memory, head);
    if (result && result != SONDE_EMALFORMED)
        return result;
    err = values_clear(reader);
    if (err || !reader->series_max)
        return err ? err : result;
    reader->cells =
        reader->resize(reader->resize_self, NULL, (reader->series_max + 1) * sizeof(struct sonde__shared_cell));
    if (!reader->cells)
        return -ENOMEM;
    err = cells_read(reader, memory);
    give_back(reader, reader->cells);
    reader->cells = NULL;
    counts_finish(reader);
    return err ? err : result;
}

/* ---- looking ---- */

uint32_t sonde__metric_reader_instrument_max(const struct sonde__metric_reader *reader) {
    return reader->instrument_max;
}

bool sonde__metric_reader_instrument(const struct sonde__metric_reader *reader, uint32_t number,
                                     struct sonde__metric_instrument *ret_instrument) {
    if (!number || number > reader->instrument_max || !reader->instruments[number].at)
        return false;
    struct sonde__descriptor head;
    const uint8_t *body;
    struct sonde__instrument_descriptor d = instrument_of(reader, number, &head, &body);
    const char *text = (const char *)body + sizeof d;
    *ret_instrument = (struct sonde__metric_instrument){
        .kind = (enum sonde_instrument_kind)d.kind,
        .number = (enum sonde_number)d.number,
        .scope = d.scope,
        .name = {text, d.name_size},
        .unit = {text + d.name_size, d.unit_size},
        .description = {text + d.name_size + d.unit_size, d.description_size},
        .bounds = body + head.body_size,
        .bound_count = d.bound_count,
        .is_observed = (d.flags & SONDE__INSTRUMENT_OBSERVED) != 0,
    };
    return true;
}

bool sonde__metric_reader_series(const struct sonde__metric_reader *reader, uint32_t instrument, uint32_t *at,
                                 struct sonde__metric_series *ret_series) {
    uint32_t number = *at ? reader->series[*at].next : reader->instruments[instrument].first_series;
    while (number && !reader->series[number].present)
        number = reader->series[number].next;
    if (!number)
        return false;
    *at = number;
    const struct reader_series *series = &reader->series[number];
    const uint8_t *body;
    struct sonde__descriptor head = sonde__reader_descriptor(reader, series->at, &body);
    uint64_t start_unix_ns = series_start(reader, series);
    *ret_series = (struct sonde__metric_series){
        .attributes = body + head.body_size,
        .attributes_size = head.extra_size,
        .start_unix_ns = start_unix_ns > reader->start_unix_ns ? start_unix_ns : reader->start_unix_ns,
        .value = series->value,
        .histogram = series->histogram,
        .exemplars = series->exemplar_count ? reader->exemplars + series->first_exemplar : NULL,
        .exemplar_count = series->exemplar_count,
    };
    return true;
}

void sonde__metric_reader_scope(const struct sonde__metric_reader *reader, uint32_t scope,
                                struct sonde_string *ret_scope, struct sonde_string *ret_schema_url) {
    *ret_scope = *ret_schema_url = (struct sonde_string){"", 0};
    if (scope >= SONDE_SCOPES_MAX || !reader->scopes[scope])
        return;
    const uint8_t *body;
    struct sonde__descriptor head = sonde__reader_descriptor(reader, reader->scopes[scope], &body);
    *ret_scope = (struct sonde_string){(const char *)body, head.body_size};
    *ret_schema_url = (struct sonde_string){(const char *)body + head.body_size, head.extra_size};
}
