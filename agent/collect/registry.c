/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of collectors, sorted by name. */
#include "agent/collect/collector.h"
#include <stddef.h>

const struct sonde_collector_ops *const sonde_collectors[] = {
    NULL,
};
