/* SPDX-License-Identifier: Apache-2.0 */
/* Taking in a memory that a peer hands over: nothing is mapped or read before these checks.
 * Sealed against shrinking and growing (a truncated file under a mapping is a SIGBUS), tmpfs with 4 KiB pages (a
 * file on FUSE could stall us), of the size its layout says, made by the process that said HELLO.
 * Control pages of regions that nobody uses are not touched: a page fault would fill the hole, on our account. */
#include "agent/log.h"
#include "agent/receive/services.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sonde/err.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define RING_SIZE_MIN  (64u << 10)
#define RING_SIZE_MAX  (16u << 20)
#define SCAN_ALL_EVERY 10u /* turns: regions are normally attached in order, so the next one is looked at each turn */

static int check_file(int fd, struct stat *ret_stat) {
    int seals = fcntl(fd, F_GET_SEALS); /* EINVAL: not a memfd */
    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
        return SONDE__REFUSED_SEALS;
    struct statfs filesystem;
    if (fstat(fd, ret_stat) != 0 || !S_ISREG(ret_stat->st_mode) || fstatfs(fd, &filesystem) != 0 ||
        filesystem.f_type != TMPFS_MAGIC || filesystem.f_bsize != (long)SONDE__PAGE)
        return SONDE__REFUSED_FILESYSTEM;
    return 0;
}

static int check_header(const struct sonde__peer *peer, int fd, uint32_t kind, uint32_t index, uint64_t file_size,
                        struct sonde__memory_header *ret_header) {
    struct sonde__memory_header *header = ret_header;
    if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        return SONDE__REFUSED_SIZE;
    if (header->magic != SONDE__MAGIC || header->layout_major != SONDE__LAYOUT_MAJOR || header->kind != kind ||
        header->index != index || memcmp(header->process_id, peer->process_id, sizeof header->process_id) != 0)
        return SONDE__REFUSED_LAYOUT;
    uint64_t size = header->layout_minor < SONDE__LAYOUT_MINOR_EXEMPLARS  ? SONDE__PROCESS_SIZE_BEFORE_EXEMPLARS
                    : header->layout_minor < SONDE__LAYOUT_MINOR_BREAKERS ? SONDE__PROCESS_SIZE_BEFORE_BREAKERS
                                                                          : SONDE__PROCESS_SIZE;
    if (kind == SONDE__MEMORY_THREADS) {
        uint64_t ring = header->ring_size;
        if (index >= SONDE__THREAD_MEMORIES_MAX || header->regions != SONDE__REGIONS_PER_MEMORY ||
            ring < RING_SIZE_MIN || ring > RING_SIZE_MAX || (ring & (ring - 1)))
            return SONDE__REFUSED_LAYOUT;
        size = SONDE__RINGS_AT + SONDE__REGIONS_PER_MEMORY * ring;
    } else if (kind != SONDE__MEMORY_PROCESS || index != 0) {
        return SONDE__REFUSED_LAYOUT;
    }
    return header->size == size && file_size == size ? 0 : SONDE__REFUSED_SIZE;
}

static uint64_t peer_size(const struct sonde__peer *peer) {
    uint64_t size = peer->process ? peer->process->size : 0;
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++)
        size += peer->threads[i] ? peer->threads[i]->size : 0;
    return size;
}

static bool within_quota(const struct sonde__peer *peer, uint64_t size) {
    for (const struct sonde__peer *p = peer->services->peers; p; p = p->next) {
        if (p->uid == peer->uid)
            size += peer_size(p);
    }
    return size <= peer->services->config->memory_per_uid_max;
}

static struct sonde__peer_memory *memory_map(struct sonde__peer *peer, int fd, const struct stat *file,
                                             const struct sonde__memory_header *header) {
    bool threads = header->kind == SONDE__MEMORY_THREADS;
    size_t size = threads ? SONDE__REGIONS_PER_MEMORY * SONDE__PAGE : SONDE__PAGE;
    off_t at = threads ? (off_t)SONDE__CONTROL_AT : 0;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
    if (pages == MAP_FAILED)
        return NULL;
    struct sonde__peer_memory *memory = sonde_alloc_new(&peer->services->env.seams->alloc, sizeof *memory);
    if (!memory) {
        munmap(pages, size);
        return NULL;
    }
    memset(memory, 0, sizeof *memory);
    memory->fd = fd;
    memory->kind = header->kind;
    memory->index = header->index;
    memory->device = file->st_dev;
    memory->inode = file->st_ino;
    memory->size = header->size;
    memory->ring_size = header->ring_size;
    memory->pages = pages;
    memory->pages_size = size;
    return memory;
}

int sonde__handover(struct sonde__peer *peer, uint32_t kind, uint32_t index, int fd) {
    struct stat file = {0};
    struct sonde__memory_header header;
    int refusal = check_file(fd, &file);
    if (!refusal)
        refusal = check_header(peer, fd, kind, index, (uint64_t)file.st_size, &header);
    if (!refusal && kind == SONDE__MEMORY_THREADS && !peer->process)
        refusal = SONDE__REFUSED_LAYOUT; /* scopes and extents are in PROCESS, which comes first */
    if (!refusal) {
        struct sonde__peer_memory **place = kind == SONDE__MEMORY_PROCESS ? &peer->process : &peer->threads[index];
        if (*place) { /* after a reconnect: the same memory again */
            if ((*place)->device != file.st_dev || (*place)->inode != file.st_ino)
                refusal = SONDE__REFUSED_LAYOUT;
        } else if (!within_quota(peer, header.size)) {
            refusal = SONDE__REFUSED_QUOTA;
        } else if ((*place = memory_map(peer, fd, &file, &header)) == NULL) {
            refusal = SONDE__REFUSED_QUOTA;
        } else {
            fd = -1;
            sonde__peer_scan(peer, true);
        }
    }
    if (fd >= 0)
        close(fd);
    return refusal;
}

void sonde__peer_memory_destroy(struct sonde__peer *peer, struct sonde__peer_memory *memory) {
    if (!memory)
        return;
    const struct sonde_alloc *alloc = &peer->services->env.seams->alloc;
    for (uint32_t r = 0; r < SONDE__REGIONS_PER_MEMORY; r++)
        sonde_alloc_free(alloc, memory->rings[r].marks);
    munmap(memory->pages, memory->pages_size);
    close(memory->fd);
    sonde_alloc_free(alloc, memory);
}

/* Takes a region in if it was attached. Returns true when it is in use. */
static bool region_look(struct sonde__peer *peer, struct sonde__peer_memory *memory, uint32_t r) {
    struct sonde__ring *ring = &memory->rings[r];
    if (ring->in_use)
        return true;
    static const uint8_t zero[sizeof ring->id];
    struct { /* by pread: a mapped hole would be filled */
        uint8_t id[16];
        uint32_t state;
    } seen;
    off_t at = (off_t)(SONDE__CONTROL_AT + r * SONDE__PAGE);
    if (pread(memory->fd, &seen, sizeof seen, at) != (ssize_t)sizeof seen || seen.state == SONDE__REGION_FREE ||
        memcmp(seen.id, zero, sizeof zero) == 0)
        return false;
    ring->marks = sonde_alloc_new(&peer->services->env.seams->alloc, SONDE__MARKS_MAX * sizeof *ring->marks);
    if (!ring->marks)
        return false; /* next turn */
    struct sonde__region *region = sonde__region_of(memory, r);
    memcpy(ring->id, seen.id, sizeof ring->id);
    if (sonde__ring_reader_init(&ring->reader, region, memory->fd, SONDE__RINGS_AT + r * memory->ring_size,
                                memory->ring_size) != 0)
        sonde__peer_violation(peer, "ring positions that cannot be");
    for (unsigned i = 0; i < SONDE__SIGNALS; i++) {
        for (unsigned j = 0; j < SONDE__DROP_REASONS; j++)
            ring->drops_taken[i][j] = atomic_load_explicit(&region->taken.count[i][j], memory_order_relaxed);
    }
    ring->in_use = true;
    sonde__ring_unmark(ring);
    return true;
}

void sonde__peer_scan(struct sonde__peer *peer, bool all) {
    all = all || peer->turns++ % SCAN_ALL_EVERY == 0;
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++) {
        struct sonde__peer_memory *memory = peer->threads[i];
        for (uint32_t r = 0; memory && r < SONDE__REGIONS_PER_MEMORY; r++) {
            if (!region_look(peer, memory, r) && !all)
                break;
        }
    }
}
