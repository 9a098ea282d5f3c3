/* SPDX-License-Identifier: Apache-2.0 */
/* Which metrics make which family, for one scrape: found source by source, sorted by name at the end. A metric is noted
 * by its source's handle and its id there; whether it is still there is asked when its family's turn comes. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_PLAN_H
#define SONDE_EXPORTERS_PROMETHEUS_PLAN_H

#include "exporters/metric_feed.h"
#include "exporters/prometheus/buffer.h"
#include "exporters/prometheus/dialect.h"

struct plan_family {
    uint64_t hash;
    size_t name_at; /* in names; NUL-terminated */
    uint32_t name_size;
    uint32_t first, last; /* entries, in the order in which they were found */
    unsigned char type;   /* enum plan_type, of the first */
    bool is_left_out;     /* its samples would bear another family's names */
};
enum plan_type { PLAN_COUNTER, PLAN_GAUGE, PLAN_HISTOGRAM };

struct plan_entry {
    const void *source;
    uint32_t id, next; /* next: index + 1 */
};

struct plan {
    enum sonde_prometheus_strategy strategy;
    enum sonde_prometheus_escaping escaping;
    bool is_openmetrics; /* set after plan_init() */
    struct buffer names, families, entries;
    struct buffer slots;      /* uint32_t, index + 1; a power of two */
    struct buffer translated; /* scratch */
    uint64_t refused, conflicts;
};

void plan_init(struct plan *plan, const struct sonde_alloc *alloc, enum sonde_prometheus_strategy strategy,
               enum sonde_prometheus_escaping escaping);
void plan_deinit(struct plan *plan);
bool plan_failed(const struct plan *plan);

enum plan_type plan_type_of(enum sonde_instrument_kind kind);
/** Notes a metric. */
void plan_add(struct plan *plan, const struct sonde_metric *metric);
/** All are noted: sorts, and leaves out families whose names clash with samples of others. suffixes: those that samples
 *  of histograms and counters get. */
void plan_finish(struct plan *plan, bool has_created);
size_t plan_count(const struct plan *plan);
const struct plan_family *plan_at(const struct plan *plan, size_t index);
const char *plan_name(const struct plan *plan, const struct plan_family *family);
/** NULL: there is none of that name. */
const struct plan_family *plan_find(const struct plan *plan, const char *name, size_t size);
/** The entry with that index + 1; NULL for 0. */
const struct plan_entry *plan_entry(const struct plan *plan, uint32_t number);

#endif
