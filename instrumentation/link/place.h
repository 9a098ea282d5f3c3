/* SPDX-License-Identifier: Apache-2.0 */
/* Where the agent's socket may be, and whether who listens there may have our data. */
#ifndef SONDE_LINK_PLACE_H
#define SONDE_LINK_PLACE_H

#include "instrumentation/resource/settings.h"
#include <stdbool.h>

#define SONDE__PLACES_MAX 3u

struct sonde__places {
    unsigned count;
    char path[SONDE__PLACES_MAX][SONDE__SOCKET_PATH_MAX];
};

/** The paths to try, in order: the one that was set, and no other; else /run/sonde/agent.sock,
 *  $XDG_RUNTIME_DIR/sonde/agent.sock, /tmp/sonde-UID/agent.sock. Reads the environment. */
void sonde__places_list(const struct sonde__settings *settings, struct sonde__places *ret_places);

/** True when the peer of a connected socket is root, ourselves, or the owner of the socket's directory where only
 *  root can have made that directory. path is NUL-terminated, borrowed. */
bool sonde__place_peer_allowed(int socket, const char *path);

#endif
