/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/process_context.h"

#include <errno.h>
#include <fcntl.h>
#include <sonde/limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define NAME          SONDE__PROCESS_CONTEXT_SIGNATURE
#define RESOURCE_HEAD 4u                    /* tag and length of field 1: up to 2^21 */
#define LOOK_MAX      (UINT64_C(256) << 10) /* of /proc/self/maps, some 3,000 mappings: more would take too long */

static const size_t mapping_size =
    (sizeof(struct sonde__process_context) + RESOURCE_HEAD + SONDE_RESOURCE_SIZE_MAX + 4095u) & ~(size_t)4095u;

static struct sonde__process_context *mapping;

/* ---- is there one already? ---- */

/* True when a line of /proc/self/maps ends in a name that readers look for. */
static bool is_context(const char *line) {
    static const char *const names[] = {"[anon_shmem:" NAME "]", "[anon:" NAME "]", ("/memfd:" NAME)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(line, names[i]))
            return true;
    return false;
}

/* Another SDK in this process, or another copy of this library. Reads no further than LOOK_MAX. */
static bool is_published(void) {
    char buffer[2048];
    size_t used = 0, total = 0;
    bool found = false;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !found && total < LOOK_MAX) {
        ssize_t n = read(fd, buffer + used, sizeof buffer - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        total += (size_t)n;
        used += (size_t)n;
        buffer[used] = 0;
        found = is_context(buffer);
        /* the last line may not be whole: it stays; one without an end is longer than any that is ours */
        char *last = memrchr(buffer, '\n', used);
        size_t rest = last ? used - (size_t)(last + 1 - buffer) : 0;
        memmove(buffer, buffer + used - rest, rest);
        used = rest;
    }
    if (fd >= 0)
        (void)close(fd);
    return found;
}

/* ---- memory ---- */

/* A memfd, so that the mapping has a name on kernels that name no anonymous ones. -1 when refused: it is optional.
 * Past RLIMIT_FSIZE ftruncate() would send SIGXFSZ. */
static int file_create(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) || (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < mapping_size))
        return -1;
    int fd = memfd_create(NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0)
        fd = memfd_create(NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, (off_t)mapping_size)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static bool name_give(void *at) {
    return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, mapping_size, NAME) == 0;
}

/* ret_named: it has a name whatever the kernel thinks of naming. Returns MAP_FAILED with errno. */
static void *mapping_create(bool *ret_named) {
    int fd = file_create();
    *ret_named = fd >= 0;
    void *at =
        mmap(NULL, mapping_size, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_PRIVATE : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    if (at != MAP_FAILED && madvise(at, mapping_size, MADV_DONTFORK)) {
        error = errno;
        (void)munmap(at, mapping_size);
        at = MAP_FAILED;
    }
    errno = error;
    return at;
}

/* ---- content ---- */

/* Field 1 of ProcessContext. Returns the payload's size. */
static uint32_t payload_write(uint8_t *to, const uint8_t *resource, uint32_t size) {
    uint8_t *at = to;
    *at++ = 0x0A;
    uint32_t rest = size;
    for (; rest >= 0x80; rest >>= 7)
        *at++ = (uint8_t)(rest | 0x80);
    *at++ = (uint8_t)rest;
    memcpy(at, resource, size);
    return (uint32_t)(at - to) + size;
}

static uint64_t next_time(uint64_t before) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return ns > before ? ns : before + 1;
}

/* Both protocols of the text: in a new mapping published_ns is 0 already. */
static void content_write(struct sonde__process_context *at, const uint8_t *resource, uint32_t size) {
    uint8_t *payload = (uint8_t *)(at + 1);
    uint64_t before = atomic_exchange(&at->published_ns, 0);
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(at->signature, NAME, sizeof at->signature);
    at->version = SONDE__PROCESS_CONTEXT_VERSION;
    at->payload_size = payload_write(payload, resource, size);
    at->payload = (uint64_t)(uintptr_t)payload;
    atomic_thread_fence(memory_order_seq_cst);
    atomic_store(&at->published_ns, next_time(before));
}

int sonde__process_context_publish(const uint8_t *resource, uint32_t size) {
    if (size > SONDE_RESOURCE_SIZE_MAX)
        return -EMSGSIZE;
    if (mapping) {
        content_write(mapping, resource, size);
        (void)name_give(mapping); /* again, for readers that watch for the call */
        return 0;
    }
    if (is_published())
        return -EEXIST;
    bool has_file;
    void *at = mapping_create(&has_file);
    if (at == MAP_FAILED)
        return -errno;
    content_write(at, resource, size);
    if (!name_give(at) && !has_file) {
        int error = -errno; /* nobody could find it */
        (void)munmap(at, mapping_size);
        return error;
    }
    mapping = at;
    return 0;
}

void sonde__process_context_forget(void) {
    mapping = NULL;
}
