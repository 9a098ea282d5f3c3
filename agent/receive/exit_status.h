/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of a peer process: who it is, that it died, and how. */
#ifndef SONDE_AGENT_RECEIVE_EXIT_STATUS_H
#define SONDE_AGENT_RECEIVE_EXIT_STATUS_H

#include <stdbool.h>
#include <stdint.h>

enum sonde__exit_kind { SONDE__EXIT_UNKNOWN = 0, SONDE__EXIT_CLEAN, SONDE__EXIT_SIGNAL };
struct sonde__exit {
    enum sonde__exit_kind kind;
    int code; /* exit code, or the signal's number */
};

/** The pidfd of the process at the other end of a unix socket, or -1. From the socket where the kernel gives it
 *  (Linux 6.5), else by pid; then the socket must still be open at the other end, else the pid may be another's by now.
 */
int sonde__peer_pidfd(int socket, uint32_t pid);

/** True once the process has ended. */
bool sonde__pidfd_is_dead(int pidfd);

/** How it ended: asked of the pidfd (Linux 6.15, once its parent has reaped it), else of its entry in /proc (while it
 * is a zombie, and we may read it). UNKNOWN: not told, or not yet. */
struct sonde__exit sonde__exit_read(int pidfd, uint32_t pid);

/** "SIGKILL"; NULL for a number without a name. Static. */
const char *sonde__signal_name(int signal);

#endif
