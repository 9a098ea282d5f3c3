/* SPDX-License-Identifier: Apache-2.0 */
/* A metric reader's inside: its tables, which read_log.c fills from descriptors and read.c from cells. */
#ifndef SONDE_METRIC_READER_H
#define SONDE_METRIC_READER_H

#include "instrumentation/metric/read.h"

struct reader_instrument {
    uint32_t at; /* of the descriptor in the log, + 1; 0 = none */
    uint16_t first_series, last_series;
};
struct reader_series {
    uint32_t at; /* as above */
    uint16_t next;
    uint16_t instrument;
    bool present;
    uint64_t value;
    struct sonde__metric_histogram *histogram; /* owned */
    uint32_t first_exemplar, exemplar_count;
};

struct sonde__metric_reader {
    sonde__resize_fn resize;
    void *resize_self;
    uint8_t *log; /* private copy of descriptors that were accepted */
    uint32_t log_size, log_capacity;
    bool log_broken;                      /* a descriptor that cannot be: nothing behind it is read */
    uint32_t series_max, series_capacity; /* highest number; entries allocated */
    struct reader_series *series;
    uint32_t scopes[SONDE_SCOPES_MAX]; /* at in the log + 1 */
    uint64_t start_unix_ns;            /* of the process: no series of it began before */
    uint32_t instrument_max;
    struct reader_instrument instruments[SONDE_INSTRUMENTS_MAX + 1];
    uint64_t *cells;                          /* scratch of one refresh: two words for each series */
    struct sonde__metric_exemplar *exemplars; /* of all series, one behind the other */
    uint8_t *exemplar_bytes;
    uint32_t exemplar_count, exemplar_capacity, exemplar_bytes_size, exemplar_bytes_capacity;
};

/** The descriptor that lies at `at` - 1 of the log, and its body. */
struct sonde__descriptor sonde__reader_descriptor(const struct sonde__metric_reader *reader, uint32_t at,
                                                  const uint8_t **ret_body);

/** The descriptor of a series' instrument. */
struct sonde__instrument_descriptor sonde__reader_instrument_of(const struct sonde__metric_reader *reader,
                                                                const struct reader_series *series);

/** Are these KeyValue messages as field 1 and nothing else? */
bool sonde__reader_attributes_are_valid(const uint8_t *bytes, size_t size);

/** Copies and takes in what the log has up to head. Returns as sonde__metric_reader_refresh(). */
int sonde__reader_log_read(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory,
                           uint64_t head);

#endif
