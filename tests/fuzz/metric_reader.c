/* SPDX-License-Identifier: Apache-2.0 */
/* The metric reader on hostile shared memory. Input: patches, each 8 bytes of head and then its data, laid over memory
 * that is zero elsewhere: u8 memory (bit 0: PROCESS or THREADS 0; bits 4-6: kind of place; bit 7: coarse offset too) u8
 * size   u16 fine offset u32 coarse offset After half of the patches the reader reads once, after all of them twice
 * more: logs and cells change under it. What must hold beside memory safety: everything it gives is within its limits,
 * and counts are sums.
 */
#include "instrumentation/metric/read.h"
#include "instrumentation/wire/validate.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    uint8_t *process, *threads;
};

static void require(int condition) {
    if (!condition)
        abort();
}

static int world_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    const struct world *world = self;
    uint64_t limit = memory ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE;
    require(memory <= SONDE__THREAD_MEMORIES_MAX);
    if (memory > 1)
        return -1;
    require(offset <= limit && size <= limit - offset);
    memcpy(buffer, (memory ? world->threads : world->process) + offset, size);
    return 0;
}

static void *resize(void *self, void *old, size_t size) {
    (void)self;
    if (size)
        return realloc(old, size);
    free(old);
    return NULL;
}

/* Where a patch goes: near the things that matter, so that inputs stay small. */
static uint64_t place_of(uint8_t kind, uint16_t fine, uint32_t coarse) {
    static const uint64_t process[] = {0,
                                       SONDE__DESCRIPTORS_AT,
                                       SONDE__SHARED_CELLS_AT,
                                       SONDE__SHARED_HISTOGRAMS_AT,
                                       SONDE__EXEMPLARS_AT,
                                       SONDE__EXEMPLAR_ARENA_AT,
                                       0,
                                       0};
    static const uint64_t threads[] = {SONDE__CONTROL_AT, SONDE__CELLS_AT, SONDE__HISTOGRAMS_AT, 0};
    uint64_t base = kind & 1 ? threads[kind >> 4 & 3] : process[kind >> 4 & 7];
    return base + fine + (kind & 0x80 ? coarse : 0);
}

static const uint8_t *patch(struct world *world, const uint8_t *p, const uint8_t *end) {
    uint16_t fine;
    uint32_t coarse;
    memcpy(&fine, p + 2, sizeof fine);
    memcpy(&coarse, p + 4, sizeof coarse);
    size_t size = p[1] < end - p - 8 ? p[1] : (size_t)(end - p - 8);
    uint64_t at = place_of(p[0], fine, coarse), limit = p[0] & 1 ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE;
    if (at <= limit && size <= limit - at)
        memcpy((p[0] & 1 ? world->threads : world->process) + at, p + 8, size);
    return p + 8 + size;
}

static void look_at_series(const struct sonde__metric_instrument *instrument,
                           const struct sonde__metric_series *series) {
    require(series->attributes_size <= SONDE_SERIES_ATTRIBUTES_SIZE_MAX);
    require(sonde__resource_is_valid(series->attributes, series->attributes_size));
    require((instrument->kind == SONDE_HISTOGRAM) == (series->histogram != NULL));
    for (uint32_t i = 0; i < series->exemplar_count; i++) {
        const struct sonde__metric_exemplar *exemplar = &series->exemplars[i];
        require(exemplar->attributes_size <= SONDE__EXEMPLAR_ATTRIBUTES_SIZE);
        require(sonde__resource_is_valid(exemplar->attributes, exemplar->attributes_size));
    }
    require(series->exemplar_count <= SONDE__RESERVOIR_SLOTS_MAX);
    if (!series->histogram)
        return;
    const struct sonde__metric_histogram *histogram = series->histogram;
    uint64_t count = histogram->zero_count;
    require(histogram->bucket_count <= SONDE__BUCKETS_MAX);
    require(!instrument->bound_count || histogram->bucket_count == instrument->bound_count + 1);
    for (uint32_t i = 0; i < histogram->bucket_count; i++)
        count += histogram->buckets[i];
    require(count == histogram->count);
}

static void look(const struct sonde__metric_reader *reader) {
    struct sonde__metric_instrument instrument;
    struct sonde__metric_series series;
    struct sonde_string scope, schema_url;
    uint32_t max = sonde__metric_reader_instrument_max(reader), seen = 0;
    require(max <= SONDE_INSTRUMENTS_MAX);
    for (uint32_t i = 0; i <= max; i++) {
        if (!sonde__metric_reader_instrument(reader, i, &instrument))
            continue;
        require(instrument.name.size >= 1 && instrument.name.size <= 255 && instrument.unit.size <= 63);
        require(instrument.bound_count <= SONDE__BOUNDS_MAX);
        sonde__metric_reader_scope(reader, instrument.scope, &scope, &schema_url);
        require(sonde__scope_is_valid(scope.data, scope.size));
        for (uint32_t at = 0; sonde__metric_reader_series(reader, i, &at, &series); seen++)
            look_at_series(&instrument, &series);
    }
    require(seen < SONDE_SERIES_MAX);
}

static void read_and_look(struct sonde__metric_reader *reader, struct world *world) {
    struct sonde__metric_memory memory = {world_read, world};
    uint32_t collection;
    (void)sonde__metric_reader_refresh(reader, &memory); /* any answer will do */
    (void)sonde__metric_reader_exemplars_refresh(reader, &memory, &collection);
    look(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world world = {calloc(1, SONDE__PROCESS_SIZE), calloc(1, SONDE__THREADS_SIZE)};
    struct sonde__metric_reader *reader = sonde__metric_reader_create(resize, NULL);
    require(world.process && world.threads && reader);
    ((struct sonde__region *)(void *)(world.threads + SONDE__CONTROL_AT))->state = SONDE__REGION_ATTACHED;
    const uint8_t *end = data + size, *half = data + size / 2;
    bool was_read = false;
    while (end - data >= 8) {
        data = patch(&world, data, end);
        if (data >= half && !was_read) {
            read_and_look(reader, &world);
            was_read = true;
        }
    }
    read_and_look(reader, &world);
    read_and_look(reader, &world);
    sonde__metric_reader_destroy(reader);
    free(world.process);
    free(world.threads);
    return 0;
}
