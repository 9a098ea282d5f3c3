/* SPDX-License-Identifier: Apache-2.0 */
/* Exemplars, out of untrusted memory. Bounds: a reservoir lies in its arena, has at most SONDE__RESERVOIR_SLOTS_MAX
 * slots of one of two sizes, and all of them together are no larger than the arena. A slot is taken when two copies of
 * it, one after the other, are the same and not marked as being written. */
#include "instrumentation/metric/reader.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>

#define SLOTS_SIZE_MAX (SONDE__RESERVOIR_SLOTS_MAX * SONDE__EXEMPLAR_SIZE_WITH_ATTRIBUTES)

struct reading {
    struct sonde__metric_reader *reader;
    const struct sonde__metric_memory *memory;
    uint8_t *first, *second; /* copies of a reservoir's slots */
    uint32_t *places;
    uint32_t collection;
    uint64_t left; /* bytes of the arena that may yet be told of */
};

/* Room for one more of item_size behind `used`. */
static int reserve(struct sonde__metric_reader *reader, void **array, uint32_t *capacity, uint32_t wanted,
                   size_t item_size) {
    uint32_t grown_to = *capacity ? *capacity : 64;
    while (grown_to < wanted)
        grown_to *= 2;
    if (grown_to == *capacity)
        return 0;
    void *grown = reader->resize(reader->resize_self, *array, grown_to * item_size);
    if (!grown)
        return -ENOMEM;
    *array = grown;
    *capacity = grown_to;
    return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

/* Takes in one whole slot. Returns 0, SONDE_EMALFORMED, -ENOMEM. */
static int accept(struct reading *reading, struct reader_series *series, bool is_double, uint32_t slot_size,
                  const struct sonde__exemplar *slot) {
    struct sonde__metric_reader *reader = reading->reader;
    double value;
    memcpy(&value, &slot->value, sizeof value);
    if (slot->attributes_size > slot_size - SONDE__EXEMPLAR_SIZE || !slot->time_unix_ns ||
        (is_double && !isfinite(value)) || !sonde__reader_attributes_are_valid(slot->attributes, slot->attributes_size))
        return SONDE_EMALFORMED;
    if (reserve(reader, (void **)&reader->exemplars, &reader->exemplar_capacity, reader->exemplar_count + 1,
                sizeof *reader->exemplars) ||
        reserve(reader, (void **)&reader->exemplar_bytes, &reader->exemplar_bytes_capacity,
                reader->exemplar_bytes_size + slot->attributes_size, 1))
        return -ENOMEM;
    if (slot->attributes_size)
        memcpy(reader->exemplar_bytes + reader->exemplar_bytes_size, slot->attributes, slot->attributes_size);
    reader->exemplar_bytes_size += slot->attributes_size;
    struct sonde__metric_exemplar *exemplar = &reader->exemplars[reader->exemplar_count++];
    *exemplar = (struct sonde__metric_exemplar){.time_unix_ns = slot->time_unix_ns,
                                                .value = slot->value,
                                                .is_new = slot->collection == reading->collection,
                                                .attributes_size = slot->attributes_size};
    if (!is_zero(slot->trace_id, sizeof slot->trace_id) && !is_zero(slot->span_id, sizeof slot->span_id)) {
        memcpy(exemplar->trace_id, slot->trace_id, sizeof exemplar->trace_id);
        memcpy(exemplar->span_id, slot->span_id, sizeof exemplar->span_id);
    }
    series->exemplar_count++;
    return 0;
}

static int slots_read(struct reading *reading, struct reader_series *series, bool is_double, uint64_t at,
                      const struct sonde__reservoir *head) {
    const struct sonde__metric_memory *memory = reading->memory;
    uint32_t count = (uint32_t)head->lanes * head->per_lane;
    size_t size = (size_t)count * head->slot_size;
    if (memory->read(memory->self, 0, at, reading->first, size) ||
        memory->read(memory->self, 0, at, reading->second, size))
        return SONDE_EMALFORMED;
    int result = 0;
    for (uint32_t i = 0; i < count && result != -ENOMEM; i++) {
        const void *slot = reading->first + (size_t)i * head->slot_size;
        uint32_t sequence;
        memcpy(&sequence, slot, sizeof sequence);
        if (!sequence || sequence % 2 || memcmp(slot, reading->second + (size_t)i * head->slot_size, head->slot_size))
            continue;
        int err = accept(reading, series, is_double, head->slot_size, slot);
        result = err ? err : result;
    }
    return result;
}

static int reservoir_read(struct reading *reading, uint32_t number, uint32_t place) {
    struct reader_series *series = &reading->reader->series[number];
    struct sonde__instrument_descriptor d = sonde__reader_instrument_of(reading->reader, series);
    struct sonde__reservoir head;
    const uint64_t most = SONDE__EXEMPLAR_ARENA_SIZE - sizeof head;
    uint64_t at = (uint64_t)(place - 1) * SONDE__ARENA_UNIT;
    if (at > most || reading->memory->read(reading->memory->self, 0, SONDE__EXEMPLAR_ARENA_AT + at, &head, sizeof head))
        return SONDE_EMALFORMED;
    uint64_t count = (uint64_t)head.lanes * head.per_lane;
    if (head.series != number || !count || count > SONDE__RESERVOIR_SLOTS_MAX ||
        (head.slot_size != SONDE__EXEMPLAR_SIZE && head.slot_size != SONDE__EXEMPLAR_SIZE_WITH_ATTRIBUTES) ||
        count * head.slot_size > most - at || count * head.slot_size > reading->left)
        return SONDE_EMALFORMED;
    reading->left -= count * head.slot_size;
    return slots_read(reading, series, d.number == SONDE_NUMBER_DOUBLE, SONDE__EXEMPLAR_ARENA_AT + at + sizeof head,
                      &head);
}

static void give_back(struct reading *reading) {
    struct sonde__metric_reader *reader = reading->reader;
    void *const all[] = {reading->first, reading->places};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i])
            (void)reader->resize(reader->resize_self, all[i], 0);
}

/* Their bytes lie end to end, where growing no longer moves them. */
static void attributes_point(struct sonde__metric_reader *reader) {
    const uint8_t *at = reader->exemplar_bytes;
    for (uint32_t i = 0; i < reader->exemplar_count; i++) {
        reader->exemplars[i].attributes = at;
        at += reader->exemplars[i].attributes_size;
    }
}

static int places_read(struct reading *reading) {
    struct sonde__metric_reader *reader = reading->reader;
    const struct sonde__metric_memory *memory = reading->memory;
    const size_t size = (reader->series_max + 1u) * sizeof *reading->places;
    if (!(reading->places = reader->resize(reader->resize_self, NULL, size)) ||
        !(reading->first = reader->resize(reader->resize_self, NULL, 2 * SLOTS_SIZE_MAX)))
        return -ENOMEM;
    reading->second = reading->first + SLOTS_SIZE_MAX;
    if (memory->read(memory->self, 0, SONDE__EXEMPLARS_AT, reading->places, size))
        return 0; /* of an older minor version: there are none */
    int result = 0;
    for (uint32_t i = 1; i <= reader->series_max && result != -ENOMEM; i++) {
        struct reader_series *series = &reader->series[i];
        if (!series->at || !series->present || !reading->places[i])
            continue;
        series->first_exemplar = reader->exemplar_count;
        int err = reservoir_read(reading, i, reading->places[i]);
        result = err ? err : result;
    }
    return result;
}

int sonde__metric_reader_exemplars_refresh(struct sonde__metric_reader *reader,
                                           const struct sonde__metric_memory *memory, uint32_t *ret_collection) {
    struct reading reading = {.reader = reader, .memory = memory, .left = SONDE__EXEMPLAR_ARENA_SIZE};
    reader->exemplar_count = reader->exemplar_bytes_size = 0;
    for (uint32_t i = 1; i <= reader->series_max; i++)
        reader->series[i].exemplar_count = 0;
    int err = memory->read(memory->self, 0, offsetof(struct sonde__process, collection), &reading.collection,
                           sizeof reading.collection);
    if (err)
        return err;
    *ret_collection = reading.collection;
    if (!reader->series_max)
        return 0;
    err = places_read(&reading);
    give_back(&reading);
    attributes_point(reader);
    return err;
}
