/* SPDX-License-Identifier: Apache-2.0 */
/* The agent on hostile cells of circuit breakers. Input: u8 how many cells it says there are, then patches over one honest
 * cell and one that is all zero: u16 offset in the two, u8 size, bytes. Read twice, the second time with patches laid over
 * in reverse, as memory changes under a reader. What must hold beside memory safety: a breaker is in one of six states,
 * ratios are 0..1, times do not fall. */
#include "agent/series/series.h"
#include "instrumentation/resilience/breaker_cell.h"
#include "tests/lib/fakes.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CELLS_SIZE (2 * SONDE__BREAKER_CELL_SIZE)
static struct {
    struct sonde__process process;
    _Alignas(64) uint8_t cells[CELLS_SIZE];
} world;

static void require(int condition) {
    if (!condition)
        abort();
}

static int world_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    (void)self;
    const uint8_t *from = NULL;
    if (memory == 0 && offset + size <= sizeof world.process)
        from = (const uint8_t *)&world.process + offset;
    else if (memory == 0 && offset >= SONDE__BREAKERS_AT && offset - SONDE__BREAKERS_AT + size <= CELLS_SIZE)
        from = world.cells + (offset - SONDE__BREAKERS_AT);
    if (!from)
        return -1;
    memcpy(buffer, from, size);
    return 0;
}

static void honest(void) {
    struct sonde__breaker_cell *cell = (void *)world.cells;
    memset(&world, 0, sizeof world);
    cell->is_made = SONDE__BREAKER_OURS;
    cell->window_calls = cell->minimum_calls = 4;
    cell->probes = 2;
    cell->failure_rate = cell->slow_call_rate = 0.5;
    cell->name_size = 1;
    cell->name[0] = 'b';
}

static size_t patches_lay(const uint8_t *data, size_t size) {
    size_t at = 0;
    while (size - at >= 3) {
        size_t to = (size_t)(data[at] | data[at + 1] << 8) % CELLS_SIZE, count = data[at + 2];
        at += 3;
        count = count < size - at ? count : size - at;
        count = count < CELLS_SIZE - to ? count : CELLS_SIZE - to;
        memcpy(world.cells + to, data + at, count);
        at += count;
    }
    return at;
}

static double look(struct sonde_series_store *store) {
    struct sonde_metric_feed feed = sonde_series_feed(store);
    struct sonde_metric_cursor cursor = {0};
    struct sonde_metric metric;
    struct sonde_metric_point point;
    double times = 0;
    sonde_series_refresh(store);
    while (feed.next_metric(feed.self, &cursor, &metric)) {
        int64_t in = 0, states = 0;
        bool is_state = metric.name.size == strlen("sonde.circuit_breaker.state");
        for (uint32_t at = 0; feed.next_point(feed.self, &metric, &at, &point); states++) {
            if (is_state)
                in += point.int64;
            else if (metric.kind == SONDE_COUNTER)
                times += point.float64;
            else if (metric.name.size > 5 && memcmp(metric.name.data + metric.name.size - 5, "ratio", 5) == 0)
                require(point.float64 >= 0 && point.float64 <= 1);
        }
        require(!is_state || in * SONDE_BREAKER_STATE_COUNT == states);
    }
    return times;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fakes fakes;
    fakes_init(&fakes);
    struct sonde_seams seams = fakes_seams(&fakes);
    struct sonde_series_store *store;
    struct sonde_series_source *source;
    const struct sonde__metric_memory memory = {.read = world_read};
    if (!size)
        return 0;
    honest();
    world.process.breakers = data[0];
    require(!sonde_series_store_create(&seams, &store));
    require(!sonde_series_service_add(store, &memory, (struct sonde_bytes){(const uint8_t *)"", 0}, 0, &source));
    (void)look(store);
    (void)patches_lay(data + 1, size - 1);
    (void)look(store);
    honest();
    world.process.breakers = 1;
    double before = look(store);
    fakes_advance(&fakes, 1000000000);
    (void)patches_lay(data + 1, (size - 1) / 2);
    uint32_t violations = sonde_series_service_violations(source);
    double after = look(store);
    require(after >= before || sonde_series_service_violations(source) > violations);
    sonde_series_service_remove(source);
    sonde_series_store_destroy(store);
    require(fakes.live == 0);
    return 0;
}
