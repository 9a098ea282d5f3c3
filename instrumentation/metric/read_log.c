/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: each is checked once, in the private copy of the log; what cannot be ends the reading of this log. */
#include "instrumentation/metric/reader.h"
#include "instrumentation/wire/read.h"
#include "instrumentation/wire/validate.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>

struct sonde__descriptor sonde__reader_descriptor(const struct sonde__metric_reader *reader, uint32_t at,
                                                  const uint8_t **ret_body) {
    struct sonde__descriptor head;
    memcpy(&head, reader->log + (at - 1), sizeof head);
    *ret_body = reader->log + (at - 1) + sizeof head;
    return head;
}

static bool name_is_valid(const uint8_t *name, size_t size) {
    static const char accepted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
    for (size_t i = 0; i < size; i++)
        if (!name[i] || !strchr(accepted, name[i]))
            return false;
    return size >= 1 && size <= 255;
}

static bool text_is_printable(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] < 0x20 || text[i] >= 0x7F)
            return false;
    return true;
}

static bool bounds_are_valid(const uint8_t *bounds, uint32_t count) {
    double previous = -(double)INFINITY, bound;
    for (uint32_t i = 0; i < count; i++, previous = bound) {
        memcpy(&bound, bounds + i * sizeof bound, sizeof bound);
        if (!isfinite(bound) || bound <= previous)
            return false;
    }
    return true;
}

static bool instrument_is_valid(const struct sonde__descriptor *head, const uint8_t *body) {
    struct sonde__instrument_descriptor d;
    if (!head->index || head->index > SONDE_INSTRUMENTS_MAX || head->body_size < sizeof d)
        return false;
    memcpy(&d, body, sizeof d);
    const uint8_t *name = body + sizeof d, *extra = body + head->body_size;
    return sizeof d + d.name_size + d.unit_size + d.description_size <= head->body_size && d.kind >= SONDE_COUNTER &&
           d.kind <= SONDE_HISTOGRAM && d.number <= SONDE_NUMBER_DOUBLE && d.scope < SONDE_SCOPES_MAX &&
           name_is_valid(name, d.name_size) && d.unit_size <= 63 &&
           text_is_printable(name + d.name_size, d.unit_size) && d.description_size <= 1023 &&
           sonde__utf8_is_valid(name + d.name_size + d.unit_size, d.description_size) &&
           d.bound_count <= SONDE__BOUNDS_MAX && (d.kind == SONDE_HISTOGRAM || !d.bound_count) &&
           head->extra_size == d.bound_count * sizeof(double) && bounds_are_valid(extra, d.bound_count);
}

/* What a Resource may also be, so its validator serves. */
bool sonde__reader_attributes_are_valid(const uint8_t *bytes, size_t size) {
    const uint8_t *p = bytes, *end = bytes + size;
    if (size > SONDE_SERIES_ATTRIBUTES_SIZE_MAX || !sonde__resource_is_valid(bytes, size))
        return false;
    while (p < end) {
        size_t length;
        if (*p != SONDE__TAG(1, SONDE__WIRE_BYTES) || !(p = sonde__read_size(p + 1, end, &length)))
            return false;
        p += length;
    }
    return true;
}

/* The table's arrays grow by doubling; entries are zeroed. */
static int series_reserve(struct sonde__metric_reader *reader, uint32_t number) {
    if (number < reader->series_capacity)
        return 0;
    uint32_t capacity = reader->series_capacity ? reader->series_capacity : 32;
    while (capacity <= number)
        capacity *= 2;
    struct reader_series *grown = reader->resize(reader->resize_self, reader->series, capacity * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    memset(grown + reader->series_capacity, 0, (capacity - reader->series_capacity) * sizeof *grown);
    reader->series = grown;
    reader->series_capacity = capacity;
    return 0;
}

/* A forked child may describe again what its parent was about to when it was forked. */
static bool series_again(struct reader_series *series, const struct sonde__series_descriptor *d, uint32_t at) {
    if (series->instrument != d->instrument)
        return false;
    series->at = at;
    return true;
}

static int series_accept(struct sonde__metric_reader *reader, const struct sonde__descriptor *head, const uint8_t *body,
                         uint32_t at) {
    struct sonde__series_descriptor d;
    if (!head->index || head->index >= SONDE_SERIES_MAX || head->body_size < sizeof d)
        return SONDE_EMALFORMED;
    memcpy(&d, body, sizeof d);
    if (!d.instrument || d.instrument > SONDE_INSTRUMENTS_MAX || !reader->instruments[d.instrument].at ||
        !sonde__reader_attributes_are_valid(body + head->body_size, head->extra_size))
        return SONDE_EMALFORMED;
    int err = series_reserve(reader, head->index);
    if (err)
        return err;
    struct reader_series *series = &reader->series[head->index];
    if (series->at)
        return series_again(series, &d, at) ? 0 : SONDE_EMALFORMED;
    series->at = at;
    series->instrument = d.instrument;
    struct reader_instrument *instrument = &reader->instruments[d.instrument];
    if (instrument->last_series)
        reader->series[instrument->last_series].next = head->index;
    else
        instrument->first_series = head->index;
    instrument->last_series = head->index;
    if (head->index > reader->series_max)
        reader->series_max = head->index;
    return 0;
}

static int accept(struct sonde__metric_reader *reader, const struct sonde__descriptor *head, const uint8_t *body,
                  uint32_t at) {
    switch (head->type) {
    case SONDE__DESCRIPTOR_SCOPE:
        if (head->index >= SONDE_SCOPES_MAX || !sonde__scope_is_valid(body, head->body_size) ||
            !sonde__utf8_is_valid(body + head->body_size, head->extra_size))
            return SONDE_EMALFORMED;
        reader->scopes[head->index] = at;
        return 0;
    case SONDE__DESCRIPTOR_INSTRUMENT:
        if (!instrument_is_valid(head, body))
            return SONDE_EMALFORMED;
        if (!reader->instruments[head->index].at) /* again: the first stands, series hang on it */
            reader->instruments[head->index].at = at;
        if (head->index > reader->instrument_max)
            reader->instrument_max = head->index;
        return 0;
    case SONDE__DESCRIPTOR_SERIES:
        return series_accept(reader, head, body, at);
    default:
        return 0; /* of a later minor version */
    }
}

/* Walks what was copied behind log_size. */
static int descriptors_parse(struct sonde__metric_reader *reader, uint32_t end) {
    while (reader->log_size < end) {
        struct sonde__descriptor head;
        uint32_t at = reader->log_size, left = end - at;
        if (left < sizeof head)
            return SONDE_EMALFORMED;
        memcpy(&head, reader->log + at, sizeof head);
        if (head.size < sizeof head || head.size % 8 || head.size > left || head.body_size > head.size - sizeof head ||
            head.extra_size > head.size - sizeof head - head.body_size)
            return SONDE_EMALFORMED;
        int err = accept(reader, &head, reader->log + at + sizeof head, at + 1);
        if (err)
            return err;
        reader->log_size += head.size;
    }
    return 0;
}

int sonde__reader_log_read(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory,
                           uint64_t head) {
    if (reader->log_broken)
        return SONDE_EMALFORMED;
    if (head > SONDE__DESCRIPTORS_SIZE || head < reader->log_size) {
        reader->log_broken = true;
        return SONDE_EMALFORMED;
    }
    if (head == reader->log_size)
        return 0;
    if (head > reader->log_capacity) {
        uint32_t capacity = reader->log_capacity ? reader->log_capacity : 4096;
        while (capacity < head)
            capacity *= 2;
        uint8_t *grown = reader->resize(reader->resize_self, reader->log, capacity);
        if (!grown)
            return -ENOMEM;
        reader->log = grown;
        reader->log_capacity = capacity;
    }
    int err = memory->read(memory->self, 0, SONDE__DESCRIPTORS_AT + reader->log_size, reader->log + reader->log_size,
                           (size_t)head - reader->log_size);
    if (!err)
        err = descriptors_parse(reader, (uint32_t)head);
    reader->log_broken = err == SONDE_EMALFORMED;
    return err;
}
