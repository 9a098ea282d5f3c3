/* SPDX-License-Identifier: Apache-2.0 */
/* The real environment and file system behind the configuration. */
#include "agent/config/config.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *real_env(void *self, const char *name) {
    (void)self;
    return getenv(name);
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
    while (got > 0 && size <= size_max) {
        got = read(fd, text + size, size_max + 1 - size);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            size += (size_t)got;
    }
    int error = got < 0 ? -errno : size > size_max ? SONDE_ETOOBIG : 0;
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
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = read_all(fd, alloc, size_max, ret_text, ret_size);
    (void)close(fd);
    return error;
}

const struct sonde_config_sources sonde_config_sources_real = {.env = real_env, .file = real_file};
