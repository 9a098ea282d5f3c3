/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/link/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void place_add(struct sonde__places *places, int written) {
    if (written > 0 && (size_t)written < sizeof places->path[0])
        places->count++;
}

void sonde__places_list(const struct sonde__settings *settings, struct sonde__places *ret_places) {
    struct sonde__places *p = ret_places;
    p->count = 0;
    if (settings->agent_socket[0]) {
        place_add(p, snprintf(p->path[0], sizeof p->path[0], "%s", settings->agent_socket));
        return;
    }
    place_add(p, snprintf(p->path[p->count], sizeof p->path[0], "/run/sonde/agent.sock"));
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/')
        place_add(p, snprintf(p->path[p->count], sizeof p->path[0], "%s/sonde/agent.sock", runtime));
    place_add(p, snprintf(p->path[p->count], sizeof p->path[0], "/tmp/sonde-%u/agent.sock", (unsigned)geteuid()));
}

/* Cuts the last component off; false when nothing is left. */
static bool parent_of(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    slash[slash == path ? 1 : 0] = 0;
    return true;
}

bool sonde__place_peer_allowed(int socket, const char *path) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) || size != sizeof peer)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    char directory[SONDE__SOCKET_PATH_MAX];
    struct stat own, above;
    if (snprintf(directory, sizeof directory, "%s", path) >= (int)sizeof directory || !parent_of(directory) ||
        lstat(directory, &own) || !S_ISDIR(own.st_mode) || !parent_of(directory) || stat(directory, &above))
        return false;
    return own.st_uid == peer.uid && above.st_uid == 0 && !(above.st_mode & (S_IWGRP | S_IWOTH));
}
