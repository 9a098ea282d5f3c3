/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas from any bytes: what is read lies inside the input, a small table keeps its bounds, and a valid record that has a
 * name of ours is noticed. */
#include "agent/process/saga_table.h"
#include "instrumentation/wire/validate.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}

static void inside(struct sonde_bytes bytes, const uint8_t *data, size_t size) {
    require(bytes.size == 0 || (bytes.data >= data && bytes.size <= size && bytes.data + bytes.size <= data + size));
}

static void *resize(void *self, void *old, size_t size) {
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static void on_stuck(void *user, const struct sonde__saga *saga) {
    const struct sonde__saga_table *table = user;
    require(saga->id_size > 0 && saga->id_size <= SONDE__SAGA_TEXT_SIZE_MAX);
    require(strlen(sonde__saga_step_name(table, saga)) <= SONDE__SAGA_TEXT_SIZE_MAX);
}

/* The record, then parts of it: other ids, types and steps. */
static void feed(struct sonde__saga_table *table, enum sonde_signal signal, const uint8_t *data, size_t size) {
    struct sonde__saga_event event;
    if (!sonde__saga_read(signal, (struct sonde_bytes){data, size}, &event))
        return;
    inside(event.id, data, size);
    inside(event.type, data, size);
    inside(event.step, data, size);
    require(event.action < SONDE__SAGA_ACTIONS && event.outcome <= SONDE__SAGA_OUTCOMES);
    unsigned look = signal == SONDE_SIGNAL_TRACES ? sonde__span_look(data, size) : sonde__log_look(data, size);
    require(look == 0 || (look & SONDE__LOOK_OWN));
    for (size_t i = 0; i <= event.id.size && i < 8; i++) {
        sonde__saga_table_take(table, &event, i, i);
        event.id = (struct sonde_bytes){event.id.data, event.id.size - (event.id.size > 0)};
        event.outcome = SONDE__SAGA_OUTCOMES;
    }
    require(sonde__saga_table_count(table, SONDE__SAGA_ACTIVE) + sonde__saga_table_count(table, SONDE__SAGA_ENDED) <=
            3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct sonde__saga_table_options options = {
        .sagas_max = 3, .timeout_ns = 10, .forget_ns = 20, .seed = 1, .alloc = {.resize = resize}};
    struct sonde__saga_table *table;
    require(sonde__saga_table_create(&options, &table) == 0);
    feed(table, SONDE_SIGNAL_TRACES, data, size);
    feed(table, SONDE_SIGNAL_LOGS, data, size);
    (void)sonde__saga_table_age(table, 15, 100, on_stuck, table);
    sonde__saga_table_oldest(table);
    (void)sonde__saga_table_age(table, 1000, 100, on_stuck, table);
    require(sonde__saga_table_age(table, 1000, 100, on_stuck, table) == UINT64_MAX);
    sonde__saga_table_destroy(table);
    return 0;
}
