/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into the agent: a kernel before 6.5, whose sockets do not give a pidfd of their peer. */
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size) {
    static int (*next)(int, int, int, void *restrict, socklen_t *restrict);
    if (level == SOL_SOCKET && name == SO_PEERPIDFD) {
        errno = ENOPROTOOPT;
        return -1;
    }
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "getsockopt");
    return next(fd, level, name, value, size);
}
