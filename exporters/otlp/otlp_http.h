/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp_http exporter's row for the registry. */
#ifndef SONDE_EXPORTERS_OTLP_HTTP_H
#define SONDE_EXPORTERS_OTLP_HTTP_H

#include "exporters/otlp/otlp_config.h"

extern const struct sonde_exporter_ops sonde_exporter_otlp_http;

#endif
