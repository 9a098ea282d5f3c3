/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/fd.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* "eventfd-id" of /proc/self/fdinfo, or -1 (not an eventfd, an old kernel, no /proc). */
static int64_t event_id_of(int fd) {
    char path[40], text[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return -1;
    ssize_t n = read(info, text, sizeof text - 1);
    (void)close(info);
    if (n <= 0)
        return -1;
    text[n] = 0;
    const char *id = strstr(text, "eventfd-id:");
    return id ? strtoll(id + strlen("eventfd-id:"), NULL, 10) : -1;
}

/* Above what select() programs and shells use, within the limit. */
static int number_floor(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= 1024)
        return 512;
    return limit.rlim_cur > 64 ? (int)limit.rlim_cur / 2 : 3;
}

struct sonde__fd sonde__fd_take(int fd) {
    struct sonde__fd file = SONDE__FD_NONE;
    if (fd < 0)
        return file;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, number_floor());
    if (high < 0)
        high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    (void)close(fd);
    struct stat st;
    if (high < 0 || fstat(high, &st)) {
        if (high >= 0)
            (void)close(high);
        return file;
    }
    file.fd = high;
    file.device = st.st_dev;
    file.inode = st.st_ino;
    if (!(st.st_mode & S_IFMT))
        file.event_id = event_id_of(high);
    return file;
}

bool sonde__fd_is_ours(const struct sonde__fd *file) {
    struct stat st;
    return file->fd >= 0 && fstat(file->fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode;
}

void sonde__fd_close(struct sonde__fd *file) {
    struct stat st;
    if (file->fd >= 0 && fstat(file->fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode) {
        bool anonymous = !(st.st_mode & S_IFMT);
        if (!anonymous || file->event_id < 0 || event_id_of(file->fd) == file->event_id)
            (void)close(file->fd);
    }
    *file = SONDE__FD_NONE;
}

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

void sonde__random_fill(void *bytes, uint32_t size) {
    static _Atomic uint64_t calls;
    if (getrandom(bytes, size, GRND_NONBLOCK) == (ssize_t)size)
        return;
    struct timespec wall, cpu;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    uint64_t state = mix((uint64_t)wall.tv_nsec ^ (uint64_t)wall.tv_sec << 30) ^
                     mix((uint64_t)syscall(SYS_gettid) << 32 ^ (uint64_t)cpu.tv_nsec) ^ (uint64_t)(uintptr_t)&wall ^
                     mix(atomic_fetch_add(&calls, 1) + 1);
    for (uint32_t i = 0; i < size; i += 8) {
        state += 0x9E3779B97F4A7C15u;
        uint64_t word = mix(state);
        memcpy((uint8_t *)bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}
