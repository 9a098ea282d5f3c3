/* SPDX-License-Identifier: Apache-2.0 */
/* Two traps shape this file. ftruncate() past RLIMIT_FSIZE kills the process by SIGXFSZ, so the limit is read first.
 * Under mlockall(MCL_FUTURE) a new mapping is locked and filled at once, which would turn 24 sparse MiB into real
 * ones: mappings are made without access, unlocked, and only then opened. */
#include "instrumentation/ring/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3; without it newer kernels complain in their log */
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* The call itself: sanitizers replace the function by one that does nothing. Refused or not locked: all the same. */
static void unlock_pages(void *at, size_t size) {
    (void)syscall(SYS_munlock, at, size);
}

static const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

static int file_create(size_t size) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) || (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < size))
        return -EFBIG;
    int fd = memfd_create("sonde", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("sonde", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, seals)) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    return fd;
}

/* Opens a mapping made without access, once it is surely not locked. */
static int mapping_open(void *at, size_t size) {
    unlock_pages(at, size);
    return mprotect(at, size, PROT_READ | PROT_WRITE) ? -errno : 0;
}

static int map_shared(uint8_t *at, size_t size, int fd, size_t offset) {
    if (mmap(at, size, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED)
        return -errno;
    (void)madvise(at, size, MADV_DONTDUMP); /* else core files grow by megabytes; they work without */
    return mapping_open(at, size);
}

static uint8_t *address_space(size_t size) {
    void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    unlock_pages(at, size);
    return at;
}

static void header_write(uint8_t *base, enum sonde__memory_kind kind, uint32_t index, const uint8_t *process_id) {
    struct sonde__memory_header *header = (struct sonde__memory_header *)base;
    bool threads = kind == SONDE__MEMORY_THREADS;
    header->layout_major = SONDE__LAYOUT_MAJOR;
    header->layout_minor = SONDE__LAYOUT_MINOR;
    header->kind = kind;
    header->index = index;
    header->size = threads ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE;
    memcpy(header->process_id, process_id, sizeof header->process_id);
    header->pid = (uint32_t)getpid();
    header->regions = threads ? SONDE__REGIONS_PER_MEMORY : 0;
    header->ring_size = threads ? SONDE__RING_SIZE : 0;
    atomic_store_explicit(&header->magic, SONDE__MAGIC, memory_order_release);
}

int sonde__memory_create(enum sonde__memory_kind kind, uint32_t index, const uint8_t *process_id,
                         struct sonde__memory *ret_memory) {
    bool threads = kind == SONDE__MEMORY_THREADS;
    int fd = file_create(threads ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE);
    if (fd < 0)
        return fd;
    struct sonde__memory memory = {.base = NULL, .file = sonde__fd_take(fd)};
    if (memory.file.fd < 0)
        return -EMFILE;
    memory.base = address_space(threads ? SONDE__THREADS_SPAN : SONDE__PROCESS_SIZE);
    int error = memory.base
                    ? map_shared(memory.base, threads ? SONDE__RINGS_AT : SONDE__PROCESS_SIZE, memory.file.fd, 0)
                    : -ENOMEM;
    if (error) {
        sonde__memory_drop(&memory, kind);
        return error;
    }
    header_write(memory.base, kind, index, process_id);
    *ret_memory = memory;
    return 0;
}

uint8_t *sonde__memory_map_ring(const struct sonde__memory *memory, uint32_t region) {
    uint8_t *at = memory->base + SONDE__RINGS_AT + (size_t)region * 2u * SONDE__RING_SIZE;
    size_t offset = SONDE__RINGS_AT + (size_t)region * SONDE__RING_SIZE;
    if (!sonde__fd_is_ours(&memory->file) || map_shared(at, SONDE__RING_SIZE, memory->file.fd, offset) ||
        map_shared(at + SONDE__RING_SIZE, SONDE__RING_SIZE, memory->file.fd, offset))
        return NULL;
    return at;
}

void sonde__memory_drop(struct sonde__memory *memory, enum sonde__memory_kind kind) {
    if (memory->base)
        (void)munmap(memory->base, kind == SONDE__MEMORY_THREADS ? SONDE__THREADS_SPAN : SONDE__PROCESS_SIZE);
    memory->base = NULL;
    sonde__fd_close(&memory->file);
}

void *sonde__pages_create(size_t size) {
    void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (madvise(at, size, MADV_WIPEONFORK) || mapping_open(at, size)) {
        (void)munmap(at, size);
        return NULL;
    }
    return at;
}
