/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/peer_fake.h"
#include "instrumentation/wire/skim.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static uint8_t *memory_make(struct peer_fake *peer, uint32_t kind, uint64_t size, int *ret_fd) {
    int fd = memfd_create("peer-fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        return NULL;
    uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return NULL;
    struct sonde__memory_header *header = (void *)base;
    header->layout_major = SONDE__LAYOUT_MAJOR;
    header->layout_minor = SONDE__LAYOUT_MINOR;
    header->kind = kind;
    header->size = size;
    memcpy(header->process_id, peer->process_id, 16);
    header->pid = (uint32_t)getpid();
    if (kind == SONDE__MEMORY_THREADS) {
        header->regions = SONDE__REGIONS_PER_MEMORY;
        header->ring_size = SONDE__RING_SIZE;
    }
    header->magic = SONDE__MAGIC;
    *ret_fd = fd;
    return base;
}

bool peer_fake_init(struct peer_fake *peer) {
    *peer = (struct peer_fake){.process_fd = -1, .threads_fd = -1, .bell_fd = -1, .socket = -1};
    if (getrandom(peer->process_id, 16, 0) != 16)
        return false;
    peer->process = memory_make(peer, SONDE__MEMORY_PROCESS, SONDE__PROCESS_SIZE, &peer->process_fd);
    peer->threads = memory_make(peer, SONDE__MEMORY_THREADS, SONDE__THREADS_SIZE, &peer->threads_fd);
    peer->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return peer->process && peer->threads && peer->bell_fd >= 0;
}

void peer_fake_deinit(struct peer_fake *peer) {
    if (peer->process)
        munmap(peer->process, SONDE__PROCESS_SIZE);
    if (peer->threads)
        munmap(peer->threads, SONDE__THREADS_SIZE);
    if (peer->control)
        munmap((void *)(uintptr_t)peer->control, SONDE__PAGE);
    int fds[] = {peer->process_fd, peer->threads_fd, peer->bell_fd, peer->socket};
    for (unsigned i = 0; i < 4; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    *peer = (struct peer_fake){.process_fd = -1, .threads_fd = -1, .bell_fd = -1, .socket = -1};
}

struct sonde__region *peer_fake_region(struct peer_fake *peer, unsigned region) {
    return (void *)(peer->threads + SONDE__CONTROL_AT + region * SONDE__PAGE);
}

struct sonde__slot *peer_fake_slot(struct peer_fake *peer, unsigned region, unsigned slot) {
    return (void *)(peer->threads + SONDE__SLOTS_AT + region * SONDE__SLOTS_SIZE + slot * SONDE__SLOT_SIZE);
}

void peer_fake_attach(struct peer_fake *peer, unsigned region) {
    struct sonde__region *r = peer_fake_region(peer, region);
    if (getrandom(r->ring_id, 16, 0) != 16)
        r->ring_id[0] = 1;
    atomic_store(&r->state, SONDE__REGION_ATTACHED);
}

bool peer_fake_commit(struct peer_fake *peer, unsigned region, unsigned kind, unsigned scope, const void *body,
                      uint32_t size) {
    struct sonde__region *r = peer_fake_region(peer, region);
    uint8_t *ring = peer->threads + SONDE__RINGS_AT + region * SONDE__RING_SIZE;
    uint64_t head = atomic_load(&r->head), tail = atomic_load(&r->tail);
    uint64_t base = atomic_load(&r->base);
    uint32_t whole = 8 + ((size + 7) & ~7u);
    if (tail < base)
        tail = base;
    if (head + whole - tail > SONDE__RING_SIZE)
        return false;
    struct sonde__record record = {.length = size, .kind = (uint8_t)kind, .scope = (uint16_t)scope};
    for (uint32_t i = 0; i < 8 + size; i++) {
        uint8_t byte = i < 8 ? ((const uint8_t *)&record)[i] : ((const uint8_t *)body)[i - 8];
        ring[(head + i) & (SONDE__RING_SIZE - 1)] = byte;
    }
    atomic_store_explicit(&r->head, head + whole, memory_order_release);
    return true;
}

void peer_fake_scope(struct peer_fake *peer, uint16_t index, const char *name) {
    struct sonde__process *process = (void *)peer->process;
    uint64_t head = atomic_load(&process->descriptors_head);
    struct sonde__descriptor *d = (void *)(peer->process + SONDE__DESCRIPTORS_AT + head);
    struct sonde__writer w;
    sonde__writer_init(&w, d + 1, 256);
    sonde__write_string(&w, 1, name, strlen(name), SIZE_MAX);
    *d = (struct sonde__descriptor){
        .type = SONDE__DESCRIPTOR_SCOPE, .index = index, .body_size = (uint32_t)sonde__writer_size(&w)};
    d->size = (uint32_t)(sizeof *d + ((d->body_size + 7) & ~7u));
    atomic_store_explicit(&process->descriptors_head, head + d->size, memory_order_release);
}

static void write_seq(struct sonde__writer *w, uint32_t field, uint64_t seq) {
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("seq"), (int64_t)seq);
    sonde__write_attribute(w, field, &attribute, SIZE_MAX);
}

uint32_t peer_fake_span(uint8_t *to, uint64_t seq) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t start = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t ids[3] = {seq + 1, ~seq, seq * 0x9E3779B97F4A7C15u + 1};
    struct sonde__writer w;
    sonde__writer_init(&w, to, 200);
    sonde__write_bytes(&w, 1, ids, 16);
    sonde__write_bytes(&w, 2, ids + 2, 8);
    sonde__write_fixed64(&w, 7, start);
    sonde__write_fixed64(&w, 8, start + 1000);
    sonde__write_uint(&w, 6, 2);
    sonde__write_raw(&w, "\x85\x01\x01\x01\0\0", 6);
    sonde__write_string(&w, 5, "op", 2, SIZE_MAX);
    write_seq(&w, 9, seq);
    return (uint32_t)sonde__writer_size(&w);
}

uint32_t peer_fake_log(uint8_t *to, uint64_t seq) {
    struct sonde__writer w;
    sonde__writer_init(&w, to, 200);
    sonde__write_fixed64(&w, 1, 1700000000000000000u);
    sonde__write_uint(&w, 2, 9);
    uint8_t *body = sonde__write_begin(&w, 5);
    sonde__write_string(&w, 1, "hello", 5, SIZE_MAX);
    sonde__write_end(&w, body);
    write_seq(&w, 6, seq);
    return (uint32_t)sonde__writer_size(&w);
}

int64_t peer_fake_seq(const uint8_t *body, size_t size, bool log) {
    struct sonde__skim_keys keys;
    sonde__skim_keys_init(&keys);
    int seq = sonde__skim_keys_add(&keys, "seq");
    struct sonde__span_fields span;
    struct sonde__log_fields record;
    bool found = log ? sonde__log_skim(body, size, &keys, &record) : sonde__span_skim(body, size, &keys, &span);
    const struct sonde__value *value = log ? &record.values[seq] : &span.values[seq];
    return found && value->type == SONDE__VALUE_INT ? value->integer : -1;
}

bool peer_fake_connect(struct peer_fake *peer, const char *path, const char *service_name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (peer->socket >= 0)
        close(peer->socket);
    peer->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (peer->socket < 0 || connect(peer->socket, (struct sockaddr *)&address, sizeof address) != 0)
        return false;
    struct {
        struct sonde__hello hello;
        uint8_t resource[256];
    } packet = {0};
    struct sonde__writer w;
    sonde__writer_init(&w, packet.resource, sizeof packet.resource);
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("service.name"), service_name);
    sonde__write_attribute(&w, 1, &attribute, SIZE_MAX);
    uint32_t size = (uint32_t)(sizeof packet.hello + sonde__writer_size(&w));
    packet.hello.message = (struct sonde__message){SONDE__HELLO, SONDE__PROTOCOL_VERSION, size};
    memcpy(packet.hello.process_id, peer->process_id, 16);
    packet.hello.pid = (uint32_t)getpid();
    packet.hello.resource_size = (uint32_t)sonde__writer_size(&w);
    peer_fake_send(peer, &packet, size, NULL, 0);
    return true;
}

void peer_fake_send(struct peer_fake *peer, const void *message, size_t size, const int *fds, unsigned fd_count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)message, size};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count) {
        packet.msg_control = control.space;
        packet.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    (void)!sendmsg(peer->socket, &packet, MSG_NOSIGNAL); /* a peer that was thrown out finds out when it receives */
}

void peer_fake_hand_over(struct peer_fake *peer) {
    struct sonde__memory_message message = {.message = {SONDE__MEMORY, SONDE__PROTOCOL_VERSION, sizeof message},
                                            .kind = SONDE__MEMORY_PROCESS};
    peer_fake_send(peer, &message, sizeof message, (int[]){peer->process_fd, peer->bell_fd}, 2);
    message.kind = SONDE__MEMORY_THREADS;
    peer_fake_send(peer, &message, sizeof message, &peer->threads_fd, 1);
}

int peer_fake_receive(struct peer_fake *peer, void *buffer, size_t size) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {buffer, size};
    struct msghdr packet = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t got = recvmsg(peer->socket, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got < (ssize_t)sizeof(struct sonde__message))
        return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
    if (header && header->cmsg_type == SCM_RIGHTS) {
        int fd;
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        void *page = mmap(NULL, SONDE__PAGE, PROT_READ, MAP_SHARED, fd, 0);
        peer->control = page == MAP_FAILED ? NULL : page;
        close(fd);
    }
    struct sonde__message message;
    memcpy(&message, buffer, sizeof message);
    return message.type;
}
