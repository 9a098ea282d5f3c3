/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the store of series as a stream, in the format that the scraper accepts. */
#ifndef SONDE_AGENT_METRICS_H
#define SONDE_AGENT_METRICS_H

#include "agent/daemon/daemon.h"

/** Scrapes at a time; one more is told to come again. Each holds some hundred KiB. */
#define SONDE__SCRAPES_MAX 8u

/** Begins a scrape. */
void sonde__metrics_answer(struct sonde_daemon *daemon, const struct sonde_http_asked *asked,
                           struct sonde_http_answer *ret_answer);

#endif
