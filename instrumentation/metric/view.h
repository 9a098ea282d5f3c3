/* SPDX-License-Identifier: Apache-2.0 */
/* The views of the process: kept as options with strings and arrays of their own, never changed or freed. */
#ifndef SONDE_METRIC_VIEW_H
#define SONDE_METRIC_VIEW_H

#include <sonde/view.h>

/** The first view that matches an instrument's options, or NULL. Takes a lock. */
const struct sonde_view_options *sonde__view_find(const struct sonde_instrument_options *options);

/** Does the view leave an attribute of this key in? */
bool sonde__view_keeps(const struct sonde_view_options *view, const struct sonde_key *key);

#endif
