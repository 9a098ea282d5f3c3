/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to an MQTT broker, on a thread of its own, since libmosquitto resolves names where it is called. It is kept
 * between looks, and nothing is subscribed to then: a broker must not queue for one who reads once an hour. */
#ifndef SONDE_AGENT_COLLECT_MQTT_SESSION_H
#define SONDE_AGENT_COLLECT_MQTT_SESSION_H

#include "agent/collect/mqtt_sys.h"
#include "agent/collect/worker.h"
#include "exporters/http.h"

/** All kept until destroyed. */
struct sonde__mqtt_session_config {
    const char *host;
    uint16_t port;
    const char *username, *password; /* "" = none */
    bool version_5;
    int keepalive_s;                     /* longer than between two looks */
    const struct sonde_tls_options *tls; /* NULL = plain */
};

struct sonde__mqtt_session;
int sonde__mqtt_session_create(const struct sonde__mqtt_session_config *config, const struct sonde_alloc *alloc,
                               struct sonde__mqtt_session **ret_session);
void sonde__mqtt_session_destroy(struct sonde__mqtt_session *session); /* NULL is fine */

/** What the last look found. trouble NULL = values are good; else a value of error.type, and text says more. */
struct sonde__mqtt_look {
    struct sonde__mqtt_values values;
    const char *trouble;
    char text[200];
};
/** Connects if need be, and reads all of $SYS/broker/. Blocks until that is done, fails, or is cancelled (then trouble is
 *  set, too). */
void sonde__mqtt_session_look(struct sonde__mqtt_session *session, const struct sonde__worker *worker,
                              struct sonde__mqtt_look *ret_look);

#endif
