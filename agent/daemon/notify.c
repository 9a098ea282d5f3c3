/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/daemon/notify.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size < 2 || size >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, size);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract: the name has no NUL at its end */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (path[0] == '/'));
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, length) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

void sonde__notify_init(struct sonde__notify *notify) {
    const char *path = getenv("NOTIFY_SOCKET"), *microseconds = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    *notify = (struct sonde__notify){.fd = path ? connect_to(path) : -1};
    if (notify->fd >= 0 && microseconds && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
        notify->watchdog_ns = strtoull(microseconds, NULL, 10) * 1000u;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void sonde__notify_deinit(struct sonde__notify *notify) {
    if (notify->fd >= 0)
        (void)close(notify->fd);
    notify->fd = -1;
}

void sonde__notify_send(const struct sonde__notify *notify, const char *text) {
    if (notify->fd >= 0)
        (void)send(notify->fd, text, strlen(text), MSG_NOSIGNAL);
}
