/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP server answers: / and /style.css, /api/status, /metrics, /livez, /readyz, /healthz. */
#ifndef SONDE_AGENT_VIEW_H
#define SONDE_AGENT_VIEW_H

#include "agent/daemon/daemon.h"

/** user: the daemon. */
void sonde__view_handle(void *user, const struct sonde_http_asked *asked, struct sonde_http_answer *ret_answer);

#endif
