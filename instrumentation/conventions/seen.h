/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of attributes that were measured before, and their series: an operation is mostly like one of a few hundred. To
 * recognise one takes a look at its values; to encode it and find its series takes several times as long. */
#ifndef SONDE_CONVENTIONS_SEEN_H
#define SONDE_CONVENTIONS_SEEN_H

#include "instrumentation/conventions/conventions.h"

/** The series of a set, bound; found again without a lock when it was seen before. The set's keys are literals of these
 *  files, known again by where they lie. Any thread. */
struct sonde_series sonde__series_of(enum sonde__convention_metric metric, const struct sonde__set *set);

#endif
