/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of attributes as callers write them, in front of the table of series: a set that came in this order and these
 * types before is found by one hash and one comparison, without sorting and encoding it. Process-wide; entries are
 * never changed or freed once published, so looking takes no lock and is safe in a signal handler. Bounded: what finds
 * no room here goes the long way each time. */
#ifndef SONDE_METRIC_SETS_H
#define SONDE_METRIC_SETS_H

#include <sonde/metric.h>

/** As sets_find() of sets_fast.h, called. */
struct sonde_series sonde__sets_find(uint32_t instrument, const struct sonde_attribute *attributes, size_t count);

/** Remembers a set, unless it has arrays, bytes or long strings; attributes borrowed, all of them fit
 *  (sonde__attribute_fits). Takes a lock; allocates. */
void sonde__sets_add(uint32_t instrument, const struct sonde_attribute *attributes, size_t count,
                     struct sonde_series series);

#endif
