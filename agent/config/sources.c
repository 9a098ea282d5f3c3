/* SPDX-License-Identifier: Apache-2.0 */
/* The real environment and file system behind the configuration. */
#include "agent/config/config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *real_env(void *self, const char *name) {
    (void)self;
    return getenv(name);
}

/* A FIFO nobody writes to must not hold the start up for ever. */
#define FIFO_WAIT_MS 5000

/** Returns 0 when there is something to read (or the end), -ETIMEDOUT, -errno. */
static int wait_readable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, FIFO_WAIT_MS);
    return ready > 0 ? 0 : ready == 0 ? -ETIMEDOUT : -errno;
}

static int read_all(int fd, const struct sonde_alloc *alloc, size_t size_max, char **ret_text, size_t *ret_size) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode)) /* a FIFO: shell's <(...) */
        return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    char *text = sonde_alloc_new(alloc, size_max + 1);
    if (!text)
        return -ENOMEM;
    size_t size = 0;
    ssize_t got = 1;
    int error = 0;
    while (got > 0 && !error && size <= size_max) {
        error = wait_readable(fd); /* a regular file is always */
        if (error)
            break;
        got = read(fd, text + size, size_max + 1 - size);
        if (got < 0)
            error = errno == EINTR || errno == EAGAIN ? 0 : -errno, got = 1;
        else
            size += (size_t)got;
    }
    if (!error && size > size_max)
        error = SONDE_ETOOBIG;
    if (error) {
        sonde_alloc_free(alloc, text);
        return error;
    }
    text[size] = '\0';
    *ret_text = text;
    *ret_size = size;
    return 0;
}

static int real_file(void *self, const struct sonde_alloc *alloc, const char *path, size_t size_max, char **ret_text,
                     size_t *ret_size) {
    (void)self;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int error = read_all(fd, alloc, size_max, ret_text, ret_size);
    (void)close(fd);
    return error;
}

const struct sonde_config_sources sonde_config_sources_real = {.env = real_env, .file = real_file};
