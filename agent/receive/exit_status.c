/* SPDX-License-Identifier: Apache-2.0 */
/* See exit_status.h. The numbers below are the kernel's (include/uapi/linux/pidfd.h, asm-generic/socket.h); Debian 12's
 * headers are older than they are. */
#include "agent/receive/exit_status.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#define INFO_EXIT (UINT64_C(1) << 3)
struct pidfd_info { /* PIDFD_INFO_SIZE_VER0: what every kernel with the call fills */
    uint64_t mask, cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define GET_INFO _IOWR(0xFF, 11, struct pidfd_info)

#define STAT_EXIT_CODE 52 /* field of /proc/PID/stat, proc(5) */

/* Field `number` of /proc/PID/stat (3 and up; 2 is the name, which may hold anything). */
static bool stat_field(uint32_t pid, unsigned number, uint64_t *ret_value, char *ret_state) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0)
        return false;
    text[size] = 0;
    char *p = strrchr(text, ')');
    if (!p || p[1] != ' ')
        return false;
    p += 2;
    *ret_state = *p;
    for (unsigned i = 3; i < number; i++) {
        p = strchr(p, ' ');
        if (!p)
            return false;
        p++;
    }
    *ret_value = strtoull(p, NULL, 10);
    return true;
}

int sonde__peer_pidfd(int socket, uint32_t pid) {
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (pid == 0)
        return -1;
    pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (pidfd < 0)
        return -1;
    struct pollfd poll_fd = {.fd = socket, .events = POLLRDHUP};
    if (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        close(pidfd);
        return -1;
    }
    return pidfd;
}

bool sonde__pidfd_is_dead(int pidfd) {
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    return pidfd >= 0 && poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLIN);
}

static struct sonde__exit decode(int status) {
    if (WIFSIGNALED(status))
        return (struct sonde__exit){SONDE__EXIT_SIGNAL, WTERMSIG(status)};
    return (struct sonde__exit){SONDE__EXIT_CLEAN, WEXITSTATUS(status)};
}

struct sonde__exit sonde__exit_read(int pidfd, uint32_t pid) {
    struct pidfd_info info = {.mask = INFO_EXIT};
    if (pidfd >= 0 && ioctl(pidfd, GET_INFO, &info) == 0 && (info.mask & INFO_EXIT))
        return decode(info.exit_code);
    uint64_t code;
    char state;
    /* The entry is the dead process's only while the pidfd says so and it is a zombie; a reader without the right to
     * look sees 0, which also means "exited with 0", so 0 is believed only of our own user's processes. */
    if (pid && stat_field(pid, STAT_EXIT_CODE, &code, &state) && state == 'Z' && (code != 0 || geteuid() == 0))
        return decode((int)code);
    return (struct sonde__exit){SONDE__EXIT_UNKNOWN, 0};
}

const char *sonde__signal_name(int signal) {
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"},
        {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},
        {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"}, {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
        {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].number == signal)
            return names[i].name;
    }
    return NULL;
}
