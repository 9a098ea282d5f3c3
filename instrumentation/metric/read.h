/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a process's metrics out of its shared memory, from outside. The memory is another's: it may change at any
 * time and lie about everything. All of it is copied by the accessor first, then bounded and checked; a lie costs the
 * liar its own values, nothing else.
 *
 *   refresh:  new descriptors -> instruments and series;  cells of all regions and the shared ones -> sums
 *
 *            (when they are asked for) reservoirs -> exemplars
 *
 * Descriptors are read once (the log is append-only). Values are sums and stay readable when the process is gone. */
#ifndef SONDE_METRIC_READ_H
#define SONDE_METRIC_READ_H

#include "instrumentation/ring/cells.h"
#include <sonde/attribute.h>
#include <sonde/metric.h>

/** How the memory is reached. read: copies size bytes at offset; memory 0 is PROCESS, 1 + i is THREADS i.
 *  Returns 0, or a negative value when there is no such memory or not so many bytes. */
struct sonde__metric_memory {
    int (*read)(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size);
    void *self;
    /** Leaves the time of the last deltas in the process page, for the next agent. May be NULL. */
    void (*deltas_taken)(void *self, uint64_t unix_ns);
};

/* realloc-like, as struct sonde_alloc: size 0 frees. */
typedef void *(*sonde__resize_fn)(void *self, void *old, size_t size);

/** A histogram, merged. Exponential: bucket i counts (base^(offset+i), base^(offset+i+1)], base = 2^(2^-scale).
 *  Explicit: bucket i counts (bounds[i-1], bounds[i]], the last what is above. */
struct sonde__metric_histogram {
    int32_t scale, offset;
    uint32_t bucket_count;
    uint64_t zero_count;
    uint64_t count;       /* zero_count and all buckets */
    double sum, min, max; /* min, max: only when count > 0 */
    uint64_t buckets[SONDE__BUCKETS_MAX];
};

struct sonde__metric_instrument {
    enum sonde_instrument_kind kind;
    enum sonde_number number;
    uint32_t scope;
    struct sonde_string name, unit, description; /* borrowed until the next refresh */
    const uint8_t *bounds;                       /* bound_count doubles, unaligned; same */
    uint32_t bound_count;                        /* 0 = exponential */
    bool is_observed;                            /* by a callback */
};

/** A measurement that was kept whole. */
struct sonde__metric_exemplar {
    uint64_t time_unix_ns;
    uint64_t value;                   /* as the series' */
    uint8_t trace_id[16], span_id[8]; /* zero = measured outside of any span */
    bool is_new;                      /* of the period that has not ended yet */
    uint32_t attributes_size;
    const uint8_t *attributes; /* that the series does not have: KeyValue messages as field 1, valid */
};

struct sonde__metric_series {
    const uint8_t *attributes; /* KeyValue messages as field 1, valid; borrowed until the next refresh */
    uint32_t attributes_size;
    uint64_t start_unix_ns;
    uint64_t value;                                  /* int64, or the bits of a double */
    const struct sonde__metric_histogram *histogram; /* of a histogram, else NULL */
    const struct sonde__metric_exemplar *exemplars;  /* as of the last sonde__metric_reader_exemplars_refresh() */
    uint32_t exemplar_count;
};

struct sonde__metric_reader;

/** Returns NULL when out of memory. resize is kept. */
struct sonde__metric_reader *sonde__metric_reader_create(sonde__resize_fn resize, void *self);
void sonde__metric_reader_destroy(struct sonde__metric_reader *reader);

/** Reads what is new and adds everything up.
 *  Returns 0; SONDE_EMALFORMED (descriptors or histograms that cannot be: what was good before them is kept);
 *  -ENOMEM; the accessor's error when there is no process page (values stay as they were). */
int sonde__metric_reader_refresh(struct sonde__metric_reader *reader, const struct sonde__metric_memory *memory);

/** Reads the exemplars of the series that there are since the last refresh. Memory that has none (of an older minor
 *  version) is fine.
 *  ret_collection  number of the period that is_new is about; whoever ends it stores another to the process page.
 *  Returns as sonde__metric_reader_refresh(); what was good is kept then too. */
int sonde__metric_reader_exemplars_refresh(struct sonde__metric_reader *reader,
                                           const struct sonde__metric_memory *memory, uint32_t *ret_collection);

/** Instruments are 1..max; false for a number that is not described. */
uint32_t sonde__metric_reader_instrument_max(const struct sonde__metric_reader *reader);
bool sonde__metric_reader_instrument(const struct sonde__metric_reader *reader, uint32_t number,
                                     struct sonde__metric_instrument *ret_instrument);

/** Series of an instrument, one by one: *at begins as 0. Those without a value (a gauge never set) are passed over. */
bool sonde__metric_reader_series(const struct sonde__metric_reader *reader, uint32_t instrument, uint32_t *at,
                                 struct sonde__metric_series *ret_series);

/** Encoded InstrumentationScope and schema URL of a scope number; both empty when it is not described. */
void sonde__metric_reader_scope(const struct sonde__metric_reader *reader, uint32_t scope,
                                struct sonde_string *ret_scope, struct sonde_string *ret_schema_url);

/** Adds an exponential histogram's buckets to another's, at the coarser scale that holds both. from borrowed. */
void sonde__metric_histogram_merge(struct sonde__metric_histogram *to, int32_t scale, int32_t offset,
                                   const uint64_t *buckets, uint32_t bucket_count);

#endif
