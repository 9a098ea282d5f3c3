/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own metrics, as a source of series like any other: on /metrics and by OTLP. Names are an interface; the
 * README lists them. */
#ifndef SONDE_AGENT_SELF_METRICS_H
#define SONDE_AGENT_SELF_METRICS_H

#include "agent/daemon/daemon.h"

#define SONDE__SELF_RESOURCE_SIZE_MAX 1024u

/** The agent's Resource message. The bytes stand in buffer. */
struct sonde_bytes sonde__self_resource(const struct sonde_daemon *daemon,
                                        uint8_t buffer[SONDE__SELF_RESOURCE_SIZE_MAX]);
/** Makes the source; its values are set whenever the store is read. */
int sonde__self_metrics_create(struct sonde_daemon *daemon);

/** For the reference and its test: name, unit, kind and sentence of each. NULL name ends. */
struct sonde__self_metric {
    const char *name, *unit, *description;
    enum sonde_instrument_kind kind;
};
extern const struct sonde__self_metric sonde__self_metrics[];

#endif
