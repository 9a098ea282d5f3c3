/* SPDX-License-Identifier: Apache-2.0 */
/* A socket is made beside its place and then renamed over it: whoever connects finds the old one or the new one, with
 * the right permissions, never a gap. A socket that nobody answers on is stale and replaced; anything else is left
 * alone. */
#include "agent/receive/listen.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_SIZE      sizeof(((struct sockaddr_un *)0)->sun_path)
#define BACKLOG        512
#define DIRECTORY_MODE 0755

static int parse_mode(const char *text, mode_t *ret_mode) {
    if (!*text || strspn(text, "01234567") != strlen(text) || strlen(text) > 4)
        return SONDE_EINVALID;
    *ret_mode = (mode_t)strtoul(text, NULL, 8);
    return *ret_mode <= 0777 ? 0 : SONDE_EINVALID;
}

static int directory_make(const char *path) {
    char directory[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    if (mkdir(directory, DIRECTORY_MODE) == 0)
        return chmod(directory, DIRECTORY_MODE) == 0 ? 0 : -errno; /* whatever the umask said */
    return errno == EEXIST ? 0 : -errno;
}

static void address_fill(struct sockaddr_un *address, const char *path) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
}

/* What stands at the path: nothing or a stale socket (0), a living agent (-EADDRINUSE), something else (-EEXIST). */
static int place_check(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_un address;
    address_fill(&address, path);
    int result = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN ? -EADDRINUSE : 0;
    close(fd);
    return result;
}

static int listen_at(const char *path, mode_t mode, ino_t *ret_inode, int *ret_fd) {
    char fresh[PATH_SIZE + 8];
    struct sockaddr_un address;
    snprintf(fresh, sizeof fresh, "%s.new", path);
    if (strlen(fresh) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    int result = directory_make(path);
    if (result == 0)
        result = place_check(path);
    if (result != 0)
        return result;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)unlink(fresh); /* of one that died between bind and rename; bind says so if it cannot be */
    address_fill(&address, fresh);
    struct stat status;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(fresh, mode) != 0 ||
        listen(fd, BACKLOG) != 0 || lstat(fresh, &status) != 0 || rename(fresh, path) != 0) {
        result = -errno;
        close(fd);
        (void)unlink(fresh); /* may not have come to be */
        return result;
    }
    *ret_inode = status.st_ino;
    *ret_fd = fd;
    return 0;
}

static void explain(int result, const char *path, char *error_text, size_t error_text_size) {
    if (result == -EADDRINUSE)
        snprintf(error_text, error_text_size, "path: another agent answers on %s.", path);
    else if (result == -EEXIST)
        snprintf(error_text, error_text_size, "path: %s exists and is not a socket.", path);
    else
        snprintf(error_text, error_text_size, "path: cannot listen on %s: %s.", path, sonde_strerror(result));
}

int sonde__listen(const char *path, const char *mode_text, ino_t *ret_inode, int *ret_fd, char *error_text,
                  size_t error_text_size) {
    mode_t mode;
    int result = parse_mode(mode_text, &mode);
    if (result != 0) {
        snprintf(error_text, error_text_size, "socket_mode: \"%s\" is not an octal mode like 0666.", mode_text);
        return result;
    }
    result = strlen(path) < PATH_SIZE ? listen_at(path, mode, ret_inode, ret_fd) : -ENAMETOOLONG;
    if (result != 0)
        explain(result, path, error_text, error_text_size);
    return result;
}

void sonde__listen_close(int fd, const char *path, ino_t inode) {
    if (fd < 0)
        return;
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode) && status.st_ino == inode)
        (void)unlink(path); /* a stale one would be replaced as well */
    close(fd);
}
