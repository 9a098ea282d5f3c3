/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential histograms as classic buckets at powers of two. All series of a family get the same boundaries, from the
 * lowest to the highest power that any of them has values in, so that they can be added up by le. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_HISTOGRAM_H
#define SONDE_EXPORTERS_PROMETHEUS_HISTOGRAM_H

#include "instrumentation/metric/read.h"

/* Boundaries are 2^low, ..., 2^high; none when low > high. */
struct powers {
    int low, high;
};
#define POWERS_NONE ((struct powers){1, 0})

/** Widens the powers by those a histogram uses. */
void powers_widen(struct powers *powers, const struct sonde__metric_histogram *histogram);
/** Values <= 2^power, zeros included; exact at scales >= 0, never too many below. */
uint64_t powers_count(const struct sonde__metric_histogram *histogram, int power);

#endif
