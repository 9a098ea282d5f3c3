/* SPDX-License-Identifier: Apache-2.0 */
/* OpenTelemetry names as Prometheus names, by one of four strategies.
 * Where the specification and prometheus/otlptranslator differ we follow the code: the names are then those that a
 * Prometheus server makes itself when it is sent the same metric by OTLP.
 * Source: OpenTelemetry specification, compatibility/prometheus_and_openmetrics.md; prometheus/otlptranslator. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_NAME_H
#define SONDE_EXPORTERS_PROMETHEUS_NAME_H

#include "exporters/prometheus/buffer.h"
#include "exporters/prometheus/dialect.h"
#include <sonde/attribute.h>
#include <sonde/metric.h>

/** Appends the metric's name, if the strategy says so with unit words, _per_x, _total or _ratio. Returns false, having
 *  appended nothing, when nothing is left of the name, or out of memory. */
bool sonde_prometheus_metric_name(struct buffer *to, struct sonde_string name, struct sonde_string unit,
                                  enum sonde_instrument_kind kind, enum sonde_prometheus_strategy strategy);

/** Appends a label's name: bad characters are _, runs of _ are one, a leading digit gets key_; or as it is where the
 *  strategy does not escape. Returns false when only underscores would be left. */
bool sonde_prometheus_label_name(struct buffer *to, const char *name, size_t size,
                                 enum sonde_prometheus_strategy strategy);

/** Appends the word for a unit, as names have it: seconds, bytes_per_second, ratio (of a gauge); nothing when there is
 *  none. */
void sonde_prometheus_unit_word(struct buffer *to, struct sonde_string unit, enum sonde_instrument_kind kind);

#endif
