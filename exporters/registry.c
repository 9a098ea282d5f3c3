/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of exporters, sorted by name. */
#include "exporters/exporter.h"
#include <stddef.h>

const struct sonde_exporter_ops *const sonde_exporters[] = {
    NULL,
};
