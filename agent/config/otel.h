/* SPDX-License-Identifier: Apache-2.0 */
/* OTEL_EXPORTER_OTLP_*: an exporter without a configuration file.
 * Source: OpenTelemetry specification, protocol/exporter.md. */
#ifndef SONDE_AGENT_CONFIG_OTEL_H
#define SONDE_AGENT_CONFIG_OTEL_H

#include "agent/config/bind.h"

/** Makes the map of an otlp_http exporter from _ENDPOINT, _TRACES_ENDPOINT, _LOGS_ENDPOINT, _METRICS_ENDPOINT,
 * _HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY and
 * _METRICS_TEMPORALITY_PREFERENCE, as a tree without positions.
 * Without an endpoint the tree stays empty. Returns 0, SONDE_EINVALID (a protocol that is not http/protobuf), -ENOMEM.
 */
int sonde__otel_exporter(struct sonde__binder *binder, struct sonde__tree *ret_tree);

#endif
