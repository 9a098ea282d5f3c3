/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/daemon/place.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/** Makes the directory of a path if it is not there, and checks that we may write to it.
 *  ours_only: it must be ours and not writable by others (a directory in /tmp, where anyone could have made it). */
static int prepare_directory(const char *path, bool ours_only) {
    char directory[SONDE__SOCKET_PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return slash ? 0 : SONDE_EINVALID;
    (void)snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    mode_t mask = umask(0022); /* a unit's UMask=0077 would shut services out */
    int made = mkdir(directory, 0755), error = errno;
    (void)umask(mask);
    if (made != 0 && error != EEXIST)
        return -error;
    struct stat status;
    if (lstat(directory, &status) != 0)
        return -errno;
    if (ours_only && (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 0022)))
        return -EPERM;
    return access(directory, W_OK | X_OK) == 0 ? 0 : -errno;
}

static bool candidate(int number, char *path) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int size = 0;
    if (number == 0)
        size = snprintf(path, SONDE__SOCKET_PATH_MAX, "/run/sonde/agent.sock");
    else if (number == 1 && runtime && runtime[0] == '/')
        size = snprintf(path, SONDE__SOCKET_PATH_MAX, "%s/sonde/agent.sock", runtime);
    else if (number == 2)
        size = snprintf(path, SONDE__SOCKET_PATH_MAX, "/tmp/sonde-%u/agent.sock", (unsigned)geteuid());
    return size > 0 && (unsigned)size < SONDE__SOCKET_PATH_MAX;
}

static int choose(const char *wanted, char *path, char *error_text, size_t error_text_size) {
    if (wanted[0]) {
        if (strlen(wanted) >= SONDE__SOCKET_PATH_MAX) {
            (void)snprintf(error_text, error_text_size, "socket path is longer than %u bytes",
                           SONDE__SOCKET_PATH_MAX - 1);
            return SONDE_ETOOBIG;
        }
        (void)snprintf(path, SONDE__SOCKET_PATH_MAX, "%s", wanted);
        int error = prepare_directory(path, false);
        if (error)
            (void)snprintf(error_text, error_text_size, "directory of socket %s: %s", path, sonde_strerror(error));
        return error;
    }
    for (int i = 0; i < 3; i++)
        if (candidate(i, path) && prepare_directory(path, i == 2) == 0)
            return 0;
    (void)snprintf(error_text, error_text_size,
                   "none of /run/sonde, $XDG_RUNTIME_DIR/sonde and /tmp/sonde-%u can be written to; give --socket PATH",
                   (unsigned)geteuid());
    return -EACCES;
}

static int lock(const char *path, int *ret_fd, char *error_text, size_t error_text_size) {
    char name[SONDE__SOCKET_PATH_MAX + 8];
    (void)snprintf(name, sizeof name, "%s.lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        int error = -errno;
        (void)snprintf(error_text, error_text_size, "lock file %s: %s", name, sonde_strerror(error));
        return error;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = -errno;
        (void)close(fd);
        (void)snprintf(
            error_text, error_text_size,
            error == -EWOULDBLOCK ? "another agent has the socket %s; give each its own --socket" : "lock of %s", path);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int sonde__place_take(const char *wanted, char *ret_path, int *ret_lock_fd, char *error_text, size_t error_text_size) {
    int error = choose(wanted, ret_path, error_text, error_text_size);
    return error ? error : lock(ret_path, ret_lock_fd, error_text, error_text_size);
}
