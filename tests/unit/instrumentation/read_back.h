/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of metrics: this process's own shared memory, read as the agent reads it: by pread. Include after cmocka.h.
 */
#ifndef SONDE_TESTS_READ_BACK_H
#define SONDE_TESTS_READ_BACK_H

#include "instrumentation/metric/read.h"
#include "instrumentation/ring/process.h"
#include "own_memory.h"
#include <sonde/sonde.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sonde__metric_reader *reader;
static const struct sonde__metric_memory memory = {memory_read, NULL};

static inline int setup(void **state) {
    (void)state;
    reader = sonde__metric_reader_create(memory_resize, NULL);
    return reader ? 0 : -1;
}
static inline int teardown(void **state) {
    (void)state;
    sonde__metric_reader_destroy(reader);
    return 0;
}

/* Reads again; the only series of an instrument whose encoded attributes contain text (NULL = any). */
static inline bool find(struct sonde_instrument instrument, const char *text, struct sonde__metric_series *ret) {
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    for (uint32_t at = 0; sonde__metric_reader_series(reader, instrument.index, &at, ret);)
        if (!text || memmem(ret->attributes, ret->attributes_size, text, strlen(text)))
            return true;
    return false;
}
static inline int64_t value_of(struct sonde_instrument instrument, const char *text) {
    struct sonde__metric_series series;
    assert_true(find(instrument, text, &series));
    return (int64_t)series.value;
}
static inline double double_value_of(struct sonde_instrument instrument, const char *text) {
    int64_t bits = value_of(instrument, text);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline uint32_t series_count(struct sonde_instrument instrument) {
    struct sonde__metric_series series;
    uint32_t count = 0;
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    for (uint32_t at = 0; sonde__metric_reader_series(reader, instrument.index, &at, &series);)
        count++;
    return count;
}
static inline uint64_t measurements_dropped(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats.measurements_dropped;
}

#endif
