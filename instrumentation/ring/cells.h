/* SPDX-License-Identifier: Apache-2.0 */
/* Layout of metric cells, histograms, exemplars, and of the descriptors that say what they are (see ring/layout.h for
 * where).
 *
 *   region cells[series]       8 bytes: the sum this region's threads have added (int64, or the bits of a double);
 *                              of a histogram series: where its histogram is in the region's arena, / 64, + 1.
 *   shared cells[series]       16 bytes: what was added with attributes per call or by threads without a region; a
 *                              gauge's last value; or the place of the process-wide histogram in the shared arena.
 *
 * A series' value is the sum over all regions and the shared cell. Cells belong to regions and are continued by the
 * next thread, so sums never fall. Every cell is stored whole (8 bytes, aligned) and so is read whole.
 *
 * A histogram has a header line and one active block of buckets. Rescaling and growing fill a block that is not active
 * and then store `active` once: a reader that finds `active` unchanged after it copied the block has it whole; a
 * process killed meanwhile has lost nothing. The count is the sum of zero_count and the buckets.
 *
 *   arena:  | histogram | block | spare block |  ... | histogram | block | spare |  | larger block | larger spare | ...
 *
 * Exemplars: a place for each series (offset in the arena / 64, + 1; 0 = none yet), then an arena of reservoirs. A
 * reservoir is a line and its slots: lanes x per_lane of them, slot_size bytes each. A histogram with explicit
 * boundaries has a lane of one slot for each bucket, everything else one lane. A slot's sequence is odd while it is
 * written: who copies a slot twice and finds both the same and even has it whole, and a process killed in the middle
 * leaves an odd one behind. `collection` is the period (struct sonde__process) in which it was measured.
 *
 *   exemplars:  | places[series] |  reservoir | slot | slot | ...  reservoir | slot | ...
 */
#ifndef SONDE_RING_CELLS_H
#define SONDE_RING_CELLS_H

#include "instrumentation/ring/layout.h"
#include <string.h>

/* Doubles lie in cells as their bits. */
static inline uint64_t sonde__bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline double sonde__double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Body of an INSTRUMENT descriptor: this, then name, unit, description without NULs. extra: bound_count doubles. */
struct sonde__instrument_descriptor {
    uint8_t kind;   /* enum sonde_instrument_kind */
    uint8_t number; /* enum sonde_number */
    uint16_t scope;
    uint16_t name_size, unit_size, description_size;
    uint16_t bound_count; /* 0 = base-2 exponential, if it is a histogram */
    uint32_t flags;       /* SONDE__INSTRUMENT_* */
};
/* Its values are whole and lie in shared cells: a series is there while `set` says so, as with gauges. */
#define SONDE__INSTRUMENT_OBSERVED 1u

/* Body of a SERIES descriptor. extra: attributes, encoded KeyValue messages as field 1, sorted by key. */
struct sonde__series_descriptor {
    uint16_t instrument;
    uint16_t flags;
    uint32_t reserved;
    uint64_t start_unix_ns; /* wall clock when this process first had the series */
};

struct sonde__shared_cell {
    _Atomic uint64_t value;
    _Atomic uint32_t set; /* 1 once a gauge has a value; while a series is observed */
    uint32_t reserved;
};
_Static_assert(sizeof(struct sonde__shared_cell) * SONDE_SERIES_MAX == SONDE__SHARED_CELLS_SIZE, "shared cells");

#define SONDE__ARENA_UNIT    64u
/* Buckets of an exponential histogram: few at first, the specification's default of 160 when the values need them to
 * keep SCALE_KEPT (buckets 9 % wide). */
#define SONDE__BUCKETS_SMALL 32u
#define SONDE__BUCKETS_LARGE 160u
#define SONDE__SCALE_MAX     20
#define SONDE__SCALE_MIN     (-10)
#define SONDE__SCALE_KEPT    3
/* Advised boundaries of one histogram; one more bucket than that. */
#define SONDE__BOUNDS_MAX    160u
#define SONDE__BUCKETS_MAX   (SONDE__BOUNDS_MAX + 1u)

/* active: low 32 bits = arena offset / 64 of the block in use, high 32 bits = how often it changed. */
struct sonde__histogram {
    uint32_t series;
    uint32_t bound_count; /* 0 = exponential */
    _Atomic uint64_t active;
    _Atomic uint64_t zero_count;
    _Atomic uint64_t sum, min, max; /* bits of doubles; min = +inf, max = -inf while empty */
    uint32_t spare;                 /* offset / 64 of the other block; writer's */
    _Atomic uint32_t spin;          /* of a process-wide histogram: 1 while someone writes */
    uint64_t reserved;
};
_Static_assert(sizeof(struct sonde__histogram) == SONDE__ARENA_UNIT, "one line");

/* Bucket i counts values in (base^(offset+i), base^(offset+i+1)], base = 2^(2^-scale); of explicit boundaries
 * (bound[i-1], bound[i]]. */
struct sonde__histogram_block {
    int32_t scale, offset;
    uint32_t capacity;
    uint32_t reserved[13];
    _Atomic uint64_t buckets[];
};
_Static_assert(sizeof(struct sonde__histogram_block) == SONDE__ARENA_UNIT, "buckets begin a line");

/* Slots of one reservoir, all lanes together: one for each bucket there can be. */
#define SONDE__RESERVOIR_SLOTS_MAX           SONDE__BUCKETS_MAX
/* A slot with and without room for attributes that the series does not have. */
#define SONDE__EXEMPLAR_SIZE                 64u
#define SONDE__EXEMPLAR_ATTRIBUTES_SIZE      192u
#define SONDE__EXEMPLAR_SIZE_WITH_ATTRIBUTES (SONDE__EXEMPLAR_SIZE + SONDE__EXEMPLAR_ATTRIBUTES_SIZE)

#define SONDE__EXEMPLAR_PLACES_SIZE (SONDE_SERIES_MAX * 4u)
#define SONDE__EXEMPLAR_ARENA_AT    (SONDE__EXEMPLARS_AT + SONDE__EXEMPLAR_PLACES_SIZE)
#define SONDE__EXEMPLAR_ARENA_SIZE  (SONDE__EXEMPLARS_SIZE - SONDE__EXEMPLAR_PLACES_SIZE)

struct sonde__reservoir {
    uint32_t series;
    uint16_t lanes, per_lane;
    uint32_t slot_size;    /* SONDE__EXEMPLAR_SIZE or _WITH_ATTRIBUTES */
    _Atomic uint32_t spin; /* 1 while someone writes into a slot */
    uint64_t reserved[6];
};
_Static_assert(sizeof(struct sonde__reservoir) == SONDE__ARENA_UNIT, "one line");

struct sonde__exemplar {
    _Atomic uint32_t sequence; /* 0 = never written, odd = being written */
    uint16_t attributes_size;
    uint16_t reserved;
    uint32_t collection;
    uint32_t reserved2;
    double key; /* writers': those with the lowest stay */
    uint64_t time_unix_ns;
    uint64_t value;                   /* int64, or the bits of a double, as the instrument's number is */
    uint8_t trace_id[16], span_id[8]; /* zero = no span was current */
    uint8_t attributes[];             /* KeyValue messages as field 1 */
};
_Static_assert(sizeof(struct sonde__exemplar) == SONDE__EXEMPLAR_SIZE, "one line");

#endif
