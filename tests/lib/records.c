/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/records.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static __thread uint32_t current_size; /* of the record handed out, with header and padding; 0 = none */
static __thread uint8_t current_ring[16]; /* where it is: a forked child has another ring */

static uint64_t data_start(const struct sonde__region *region) {
    uint64_t tail = atomic_load(&region->tail), base = atomic_load(&region->base);
    return tail > base ? tail : base;
}

const struct sonde__record *records_next(void) {
    struct sonde__thread *thread = sonde__thread_self;
    if (!thread || !thread->region)
        return NULL;
    struct sonde__region *region = thread->region;
    uint64_t head = atomic_load(&region->head), at = data_start(region);
    if (current_size && memcmp(current_ring, region->ring_id, sizeof current_ring) == 0)
        atomic_store(&region->tail, at += current_size);
    current_size = 0;
    if (at == head)
        return NULL;
    assert_true(at < head && head - at <= SONDE__RING_SIZE);
    const struct sonde__record *record =
        (const struct sonde__record *)(const void *)(thread->ring + (at & (SONDE__RING_SIZE - 1)));
    assert_in_range(record->length, 1, SONDE__RECORD_BODY_MAX);
    current_size = (uint32_t)sizeof *record + ((record->length + 7) & ~7u);
    assert_true(current_size <= head - at);
    memcpy(current_ring, region->ring_id, sizeof current_ring);
    return record;
}

size_t records_skip(void) {
    size_t count = 0;
    while (records_next())
        count++;
    return count;
}

Pb__Span *records_span(void) {
    const struct sonde__record *record = records_next();
    assert_non_null(record);
    assert_int_equal(record->kind, SONDE__RECORD_SPAN);
    Pb__Span *span = pb__span__unpack(NULL, record->length, (const uint8_t *)(record + 1));
    assert_non_null(span);
    return span;
}

Pb__LogRecord *records_log(void) {
    const struct sonde__record *record = records_next();
    assert_non_null(record);
    assert_int_equal(record->kind, SONDE__RECORD_LOG);
    Pb__LogRecord *log = pb__log_record__unpack(NULL, record->length, (const uint8_t *)(record + 1));
    assert_non_null(log);
    return log;
}

const Pb__AnyValue *records_value(Pb__KeyValue *const *attributes, size_t count, const char *key) {
    const Pb__AnyValue *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(attributes[i]->key, key) != 0)
            continue;
        assert_null(found);
        found = attributes[i]->value;
    }
    return found;
}
