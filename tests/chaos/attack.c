/* SPDX-License-Identifier: Apache-2.0 */
/* See attack.h. */
#include "tests/chaos/attack.h"
#include "tests/lib/peer_fake.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

const char *const attack_names[ATTACKS] = {"positions", "records",     "pages",      "messages", "spam",  "files",
                                           "greetings", "connections", "reconnects", "halves",   "rights"};

static uint64_t random_state;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}
static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- with memory that was accepted ---- */

static void lie_positions(struct peer_fake *peer) {
    struct sonde__region *region = peer_fake_region(peer, (unsigned)random_next() % SONDE__REGIONS_PER_MEMORY);
    uint64_t value = random_next() >> (random_next() % 64);
    switch (random_next() % 4) {
    case 0:
        atomic_store(&region->head, value);
        break;
    case 1:
        atomic_store(&region->base, value);
        break;
    case 2:
        atomic_store(&region->tail, value);
        break;
    default:
        atomic_store(&region->head, atomic_load(&region->head) + (value & 0xFFFF8));
    }
}

static void lie_records(struct peer_fake *peer) {
    uint8_t body[512];
    for (size_t i = 0; i < sizeof body; i += 8) {
        uint64_t random = random_next();
        memcpy(body + i, &random, 8);
    }
    uint32_t size = random_next() & 1 ? peer_fake_span(body, 0) : 1 + (uint32_t)(random_next() % sizeof body);
    if (random_next() & 1)
        body[random_next() % size] = (uint8_t)random_next();
    if (!peer_fake_commit(peer, 0, (unsigned)random_next() % 4, (unsigned)random_next(), body, size))
        sched_yield();
}

static void lie_pages(struct peer_fake *peer) {
    uint64_t random = random_next(), at = random_next();
    if (random & 1)
        memcpy(peer->threads + at % (SONDE__THREADS_SIZE - 8), &random, 8);
    else if (random & 2)
        memcpy(peer->threads + SONDE__CONTROL_AT + at % (16 * SONDE__PAGE - 8), &random, 8);
    else
        memcpy(peer->process + at % (SONDE__DESCRIPTORS_AT + 65536), &random, 8);
}

static void lie_messages(struct peer_fake *peer) {
    uint64_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = random_next();
    struct sonde__message message = {(uint16_t)(2 + random_next() % 10), SONDE__PROTOCOL_VERSION,
                                     16 + (uint32_t)(random_next() % 100)};
    if (message.type == SONDE__MEMORY)
        message.size = sizeof(struct sonde__memory_message);
    memcpy(bytes, &message, sizeof message);
    int fds[4] = {peer->threads_fd, peer->bell_fd, 0, peer->socket};
    peer_fake_send(peer, bytes, message.size, fds, (unsigned)(random_next() % 5));
}

static void lie(struct peer_fake *peer, enum attack attack) {
    static uint64_t seq;
    uint8_t body[256];
    switch (attack) {
    case ATTACK_POSITIONS:
        lie_positions(peer);
        break;
    case ATTACK_RECORDS:
        lie_records(peer);
        break;
    case ATTACK_PAGES:
        lie_pages(peer);
        break;
    case ATTACK_MESSAGES:
        lie_messages(peer);
        break;
    default:
        if (!peer_fake_commit(peer, 0, SONDE__RECORD_SPAN, 0, body, peer_fake_span(body, seq++)))
            sched_yield();
    }
}

/* True when the agent threw us out. */
static bool is_out(struct peer_fake *peer) {
    uint8_t message[SONDE__MESSAGE_SIZE_MAX];
    int type = 1;
    while (type > 0) {
        type = peer_fake_receive(peer, message, sizeof message);
        if (type < 0 || type == SONDE__EVICTED)
            return true;
    }
    return false;
}

static bool is_welcome(struct peer_fake *peer, uint64_t end) {
    uint8_t message[SONDE__MESSAGE_SIZE_MAX];
    int type = 0;
    while (type == 0 && now_ms() < end) {
        type = peer_fake_receive(peer, message, sizeof message);
        sched_yield();
    }
    return type == SONDE__WELCOME;
}

static int attack_by_memory(const char *path, enum attack attack, uint64_t end) {
    struct peer_fake peer;
    uint64_t one = 1;
    if (!peer_fake_init(&peer))
        return ATTACK_FAILED;
    for (unsigned i = 0; i < SONDE__REGIONS_PER_MEMORY; i++)
        peer_fake_attach(&peer, i);
    if (!peer_fake_connect(&peer, path, attack_names[attack]) || !is_welcome(&peer, end))
        return ATTACK_FAILED;
    peer_fake_hand_over(&peer);
    while (now_ms() < end) {
        for (int i = 0; i < 200; i++)
            lie(&peer, attack);
        (void)!write(peer.bell_fd, &one, sizeof one); /* full: it rang often enough */
        if (is_out(&peer))
            return ATTACK_EVICTED;
    }
    return ATTACK_IGNORED;
}

/* ---- on the way in ---- */

static int memory_file(unsigned flags, size_t size, int seals) {
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (fd >= 0 && (ftruncate(fd, (off_t)size) != 0 || (seals && fcntl(fd, F_ADD_SEALS, seals) != 0))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A sealed file of the right size whose header is right but for one random word. */
static int lying_file(const struct peer_fake *peer, uint32_t kind) {
    size_t size = kind == SONDE__MEMORY_PROCESS ? SONDE__PROCESS_SIZE : SONDE__THREADS_SIZE;
    int fd = memory_file(0, size, SEALS);
    struct sonde__memory_header header = {.magic = SONDE__MAGIC,
                                          .layout_major = SONDE__LAYOUT_MAJOR,
                                          .layout_minor = SONDE__LAYOUT_MINOR,
                                          .kind = kind,
                                          .size = size,
                                          .regions = SONDE__REGIONS_PER_MEMORY,
                                          .ring_size = SONDE__RING_SIZE};
    memcpy(header.process_id, peer->process_id, sizeof header.process_id);
    uint32_t lie = (uint32_t)random_next();
    memcpy((uint8_t *)&header + random_next() % (sizeof header / 4) * 4, &lie, sizeof lie);
    (void)!pwrite(fd, &header, sizeof header, 0);
    return fd;
}

static int wrong_file(const struct peer_fake *peer, uint32_t kind) {
    int pair[2] = {-1, -1};
    switch (random_next() % 9) {
    case 0:
        (void)!pipe2(pair, O_CLOEXEC);
        close(pair[1]);
        return pair[0];
    case 1:
        (void)socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
        close(pair[1]);
        return pair[0];
    case 2:
        return open("/dev/zero", O_RDWR | O_CLOEXEC);
    case 3:
        return open("/", O_RDONLY | O_CLOEXEC);
    case 4:
        return memory_file(0, SONDE__THREADS_SIZE, 0);
    case 5:
        return memory_file(MFD_HUGETLB, 32u << 20, SEALS); /* -1 where the system has none */
    case 6:
        return memory_file(0, random_next() % (64u << 20), SEALS);
    case 7:
        return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    default:
        return lying_file(peer, kind);
    }
}

static int attack_by_files(const char *path, uint64_t end) {
    struct peer_fake peer;
    if (!peer_fake_init(&peer) || !peer_fake_connect(&peer, path, "files") || !is_welcome(&peer, end))
        return ATTACK_FAILED;
    while (now_ms() < end) {
        struct sonde__memory_message message = {.message = {SONDE__MEMORY, SONDE__PROTOCOL_VERSION, sizeof message},
                                                .kind = 1 + (uint32_t)(random_next() % 2)};
        int fd = wrong_file(&peer, message.kind);
        if (fd < 0)
            continue;
        peer_fake_send(&peer, &message, sizeof message, (int[]){fd, fd}, 1 + (unsigned)(random_next() % 2));
        close(fd);
        if (is_out(&peer))
            return ATTACK_EVICTED;
    }
    return ATTACK_IGNORED;
}

static int connect_to(const char *path, int flags) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

struct greeting {
    struct sonde__hello hello;
    uint8_t resource[2 * SONDE__MESSAGE_SIZE_MAX];
};

static void greeting_make(struct greeting *greeting, size_t size) {
    uint64_t random = random_next();
    for (size_t i = 0; i < sizeof greeting->resource; i++)
        greeting->resource[i] = (uint8_t)(random >> (i % 57));
    greeting->hello = (struct sonde__hello){
        .message = {SONDE__HELLO, SONDE__PROTOCOL_VERSION, (uint32_t)(random & 1 ? size : random >> 32)},
        .pid = (uint32_t)random,
        .resource_size = (uint32_t)(random & 2 ? size - sizeof greeting->hello : random >> 20),
    };
}

static int attack_by_greetings(const char *path, uint64_t end) {
    static struct greeting greeting;
    while (now_ms() < end) {
        int fd = connect_to(path, 0);
        if (fd < 0) {
            sched_yield();
            continue;
        }
        size_t size = sizeof greeting.hello + random_next() % sizeof greeting.resource;
        greeting_make(&greeting, size);
        (void)send(fd, &greeting, random_next() % 4 ? size : random_next() % sizeof greeting.hello, MSG_NOSIGNAL);
        close(fd);
    }
    return ATTACK_IGNORED;
}

static int attack_by_connections(const char *path, uint64_t end) {
    enum { MANY = 4000 };
    static int fds[MANY];
    struct rlimit limit;
    unsigned count = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    while (now_ms() < end) {
        int fd = count < MANY ? connect_to(path, SOCK_NONBLOCK) : -1;
        if (fd < 0)
            sched_yield();
        else
            fds[count++] = fd;
    }
    while (count > 0)
        close(fds[--count]);
    return ATTACK_IGNORED;
}

static int attack_by_reconnects(const char *path, uint64_t end) {
    struct peer_fake peer;
    if (!peer_fake_init(&peer))
        return ATTACK_FAILED;
    while (now_ms() < end) {
        for (size_t i = 0; i < sizeof peer.process_id; i++)
            peer.process_id[i] = (uint8_t)random_next();
        if (!peer_fake_connect(&peer, path, "reconnects"))
            sched_yield();
    }
    return ATTACK_IGNORED;
}

/* A packet is whole or it is none, so halves are short packets; and each connection waits before its next one. */
static int attack_by_halves(const char *path, uint64_t end) {
    enum { FEW = 32 };
    int fds[FEW];
    struct sonde__hello hello = {.message = {SONDE__HELLO, SONDE__PROTOCOL_VERSION, sizeof hello}};
    for (int i = 0; i < FEW; i++)
        fds[i] = -1;
    for (unsigned i = 0; now_ms() < end; i = (i + 1) % FEW) {
        if (fds[i] >= 0 && (send(fds[i], &hello, random_next() % sizeof hello, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ||
                            random_next() % 8 == 0)) {
            close(fds[i]);
            fds[i] = -1;
        }
        if (fds[i] < 0)
            fds[i] = connect_to(path, SOCK_NONBLOCK);
        usleep(1000); /* lint-allow: usleep the attack is to be slow */
    }
    return ATTACK_IGNORED;
}

static void rights_send(int socket, const void *message, size_t size, int fd) {
    enum { RIGHTS = 200 }; /* the kernel takes 253 */
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(RIGHTS * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)message, size};
    struct msghdr packet = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(RIGHTS * sizeof(int));
    for (int i = 0; i < RIGHTS; i++)
        memcpy(CMSG_DATA(header) + (size_t)i * sizeof fd, &fd, sizeof fd);
    (void)sendmsg(socket, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int attack_by_rights(const char *path, uint64_t end) {
    struct peer_fake peer;
    if (!peer_fake_init(&peer))
        return ATTACK_FAILED;
    while (now_ms() < end) {
        if (!peer_fake_connect(&peer, path, "rights")) {
            sched_yield();
            continue;
        }
        for (int i = 0; i < 8; i++) {
            struct sonde__flush flush = {{(uint16_t)(1 + random_next() % 9), SONDE__PROTOCOL_VERSION, sizeof flush}, 1};
            rights_send(peer.socket, &flush, sizeof flush, peer.threads_fd);
        }
    }
    return ATTACK_IGNORED;
}

int attack_run(const char *path, enum attack attack, uint64_t milliseconds, uint64_t seed) {
    uint64_t end = now_ms() + milliseconds;
    random_state = seed;
    switch (attack) {
    case ATTACK_FILES:
        return attack_by_files(path, end);
    case ATTACK_GREETINGS:
        return attack_by_greetings(path, end);
    case ATTACK_CONNECTIONS:
        return attack_by_connections(path, end);
    case ATTACK_RECONNECTS:
        return attack_by_reconnects(path, end);
    case ATTACK_HALVES:
        return attack_by_halves(path, end);
    case ATTACK_RIGHTS:
        return attack_by_rights(path, end);
    default:
        return attack_by_memory(path, attack, end);
    }
}
