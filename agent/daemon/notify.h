/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the service manager: one datagram to $NOTIFY_SOCKET per message. Source: sd_notify(3). */
#ifndef SONDE_AGENT_NOTIFY_H
#define SONDE_AGENT_NOTIFY_H

#include <stdint.h>

struct sonde__notify {
    int fd;               /* -1 = nobody is told */
    uint64_t watchdog_ns; /* the manager wants a sign of life within; 0 = it does not watch */
};

/** Reads $NOTIFY_SOCKET (path, or @abstract), $WATCHDOG_USEC and $WATCHDOG_PID, and removes them from the environment,
 * so that no child speaks for us. */
void sonde__notify_init(struct sonde__notify *notify);
void sonde__notify_deinit(struct sonde__notify *notify);
/** "READY=1\nSTATUS=..." and so on; a manager that does not read loses messages. Never blocks. */
void sonde__notify_send(const struct sonde__notify *notify, const char *text);

#endif
