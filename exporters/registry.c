/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of exporters, sorted by name. */
#include "exporters/exporter.h"
#include "exporters/otlp/otlp_http.h"
#include <stddef.h>

const struct sonde_exporter_ops *const sonde_exporters[] = {
    &sonde_exporter_otlp_http,
    NULL,
};
