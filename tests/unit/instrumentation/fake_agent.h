/* SPDX-License-Identifier: Apache-2.0 */
/* An agent of a few lines, in a thread of the test: checks what it is handed, answers, counts. One service at a time.
 */
#ifndef SONDE_TESTS_FAKE_AGENT_H
#define SONDE_TESTS_FAKE_AGENT_H

#include "instrumentation/link/protocol.h"
#include "instrumentation/ring/layout.h"
#include "tests/lib/child.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct fake_agent {
    char directory[32], path[64];
    int listener, stop, control_fd;
    pthread_t thread;
    struct sonde__control *control;
    size_t control_size; /* 0 = SONDE__CONTROL_SIZE; SONDE__PAGE as layout 1.0 had it */
    _Atomic uint32_t evict_next, evict_unread, refuse_process, mute, odd_size; /* what to do wrong */
    _Atomic uint32_t connections, hellos, processes, threads, flushes, byes, closes;
    _Atomic uint64_t pulled;        /* number of the last PULLED */
    _Atomic int client;             /* its socket, -1 = none */
    int doorbell;                   /* the last one handed over, or -1 */
    struct sonde__process *process; /* the last PROCESS memory, read-only */
    struct sonde__hello hello;
    uint8_t resource[SONDE_RESOURCE_SIZE_MAX];
};

static void fake_agent_reply(int fd, const void *packet, size_t size, int passed) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)packet, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (passed >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &passed, sizeof passed);
    }
    CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)size || errno == EPIPE || errno == ECONNRESET);
}

static void fake_agent_memory(struct fake_agent *agent, int fd, const struct sonde__memory_message *memory,
                              const int *fds, int fd_count) {
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const bool process = memory->kind == SONDE__MEMORY_PROCESS;
    struct stat st;
    CHECK(fd_count == (process ? 2 : 1));
    CHECK((fcntl(fds[0], F_GET_SEALS) & needed) == needed && fstat(fds[0], &st) == 0);
    CHECK((size_t)st.st_size == (process ? SONDE__PROCESS_SIZE : SONDE__THREADS_SIZE));
    struct sonde__memory_header header;
    CHECK(pread(fds[0], &header, sizeof header, 0) == sizeof header);
    CHECK(header.magic == SONDE__MAGIC && header.kind == memory->kind && header.index == memory->index);
    CHECK(memcmp(header.process_id, agent->hello.process_id, 16) == 0);
    struct sonde__memory_message answer = *memory;
    answer.message.type = SONDE__ACCEPT;
    if (process && atomic_load(&agent->refuse_process)) {
        answer.message.type = SONDE__REFUSE;
        answer.reason = SONDE__REFUSED_QUOTA;
    }
    if (process) {
        agent->doorbell = fds[1];
        agent->process = mmap(NULL, SONDE__PAGE, PROT_READ, MAP_SHARED, fds[0], 0);
        CHECK(agent->process != MAP_FAILED);
    }
    close(fds[0]);
    fake_agent_reply(fd, &answer, sizeof answer, -1);
    atomic_fetch_add(process ? &agent->processes : &agent->threads, 1);
}

static void fake_agent_evict(int fd) {
    struct sonde__memory_message evicted = {.message = {SONDE__EVICTED, SONDE__PROTOCOL_VERSION, sizeof evicted},
                                            .reason = SONDE__REFUSED_VIOLATION};
    fake_agent_reply(fd, &evicted, sizeof evicted, -1);
}

static void fake_agent_flush(struct fake_agent *agent, int fd, struct sonde__flush *flush) {
    atomic_fetch_add(&agent->flushes, 1);
    if (atomic_exchange(&agent->evict_next, 0)) {
        fake_agent_evict(fd);
        shutdown(fd, SHUT_RDWR);
        return;
    }
    flush->message.type = SONDE__FLUSHED;
    fake_agent_reply(fd, flush, sizeof *flush, -1);
}

static void fake_agent_hello(struct fake_agent *agent, int fd, const uint8_t *packet, size_t size) {
    memcpy(&agent->hello, packet, sizeof agent->hello);
    CHECK(agent->hello.resource_size == size - sizeof agent->hello);
    memcpy(agent->resource, packet + sizeof agent->hello, agent->hello.resource_size);
    atomic_fetch_add(&agent->hellos, 1);
    struct sonde__welcome welcome = {.message = {SONDE__WELCOME, SONDE__PROTOCOL_VERSION, sizeof welcome}};
    welcome.message.size += atomic_load(&agent->odd_size);
    if (!atomic_load(&agent->mute))
        fake_agent_reply(fd, &welcome, sizeof welcome, agent->control_fd);
}

/* One packet; false at the end of the connection. */
static bool fake_agent_packet(struct fake_agent *agent, int fd) {
    static union {
        struct sonde__message head;
        struct sonde__memory_message memory;
        struct sonde__flush flush;
        struct sonde__pull pull;
        uint8_t bytes[SONDE__MESSAGE_SIZE_MAX];
    } packet;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    int fds[4] = {-1, -1, -1, -1}, fd_count = 0;
    struct iovec part = {&packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    if (atomic_exchange(&agent->evict_unread, 0)) { /* closing with this packet unread resets the connection */
        fake_agent_evict(fd);
        return false;
    }
    ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == ECONNRESET) /* comes once, ahead of what was sent before the close */
        size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (size <= 0)
        return false;
    CHECK(!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
    CHECK(packet.head.size == (uint32_t)size && packet.head.version == SONDE__PROTOCOL_VERSION);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights) {
        fd_count = (int)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(rights), (size_t)fd_count * sizeof(int));
    }
    switch (packet.head.type) {
    case SONDE__HELLO:
        fake_agent_hello(agent, fd, packet.bytes, (size_t)size);
        break;
    case SONDE__MEMORY:
        fake_agent_memory(agent, fd, &packet.memory, fds, fd_count);
        break;
    case SONDE__FLUSH:
        fake_agent_flush(agent, fd, &packet.flush);
        break;
    case SONDE__PULLED:
        atomic_store(&agent->pulled, packet.pull.number);
        break;
    case SONDE__BYE:
        atomic_fetch_add(&agent->byes, 1);
        break;
    default:
        CHECK(packet.head.type == SONDE__BYE && "services send nothing else");
    }
    return true;
}

/* Asks for the values of observable instruments. */
static inline void fake_agent_pull(struct fake_agent *agent, uint64_t number) {
    struct sonde__pull pull = {.message = {SONDE__PULL, SONDE__PROTOCOL_VERSION, sizeof pull}, .number = number};
    fake_agent_reply(atomic_load(&agent->client), &pull, sizeof pull, -1);
}

static void *fake_agent_main(void *arg) {
    struct fake_agent *agent = arg;
    int client = -1;
    for (;;) {
        struct pollfd fds[3] = {{agent->stop, POLLIN, 0}, {agent->listener, POLLIN, 0}, {client, POLLIN, 0}};
        CHECK(poll(fds, 3, -1) > 0);
        if (fds[0].revents)
            break;
        if (fds[2].revents && !fake_agent_packet(agent, client)) {
            atomic_store(&agent->client, -1);
            close(client);
            client = -1;
            atomic_fetch_add(&agent->closes, 1);
        }
        if (fds[1].revents) {
            int accepted = accept4(agent->listener, NULL, NULL, SOCK_CLOEXEC);
            CHECK(accepted >= 0);
            if (client >= 0) { /* it left, and is back before we read that */
                close(client);
                atomic_fetch_add(&agent->closes, 1);
            }
            client = accepted;
            atomic_store(&agent->client, client);
            atomic_fetch_add(&agent->connections, 1);
        }
    }
    if (client >= 0)
        close(client);
    return NULL;
}

/* A path in a directory of its own, told to libsonde by SONDE_AGENT_SOCKET. */
static void fake_agent_init(struct fake_agent *agent) {
    memset(agent, 0, sizeof *agent);
    snprintf(agent->directory, sizeof agent->directory, "/tmp/sonde-test-XXXXXX");
    CHECK(mkdtemp(agent->directory));
    snprintf(agent->path, sizeof agent->path, "%s/agent.sock", agent->directory);
    setenv("SONDE_AGENT_SOCKET", agent->path, 1);
}

static void fake_agent_start(struct fake_agent *agent) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", agent->path);
    agent->doorbell = -1;
    agent->stop = eventfd(0, EFD_CLOEXEC);
    agent->control_fd = memfd_create("control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const size_t control_size = agent->control_size ? agent->control_size : SONDE__CONTROL_SIZE;
    CHECK(ftruncate(agent->control_fd, (off_t)control_size) == 0);
    CHECK(fcntl(agent->control_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    agent->control = mmap(NULL, control_size, PROT_READ | PROT_WRITE, MAP_SHARED, agent->control_fd, 0);
    CHECK(agent->control != MAP_FAILED);
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    agent->control->layout_major = SONDE__LAYOUT_MAJOR;
    agent->control->start_unix_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    atomic_store(&agent->control->magic, SONDE__MAGIC);
    agent->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(bind(agent->listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(agent->listener, 8) == 0);
    CHECK(pthread_create(&agent->thread, NULL, fake_agent_main, agent) == 0);
}

/* Stops as a killed agent does: everything closed at once. */
static __attribute__((unused)) void fake_agent_stop(struct fake_agent *agent) {
    const uint64_t one = 1;
    CHECK(write(agent->stop, &one, sizeof one) == sizeof one);
    pthread_join(agent->thread, NULL);
    close(agent->stop);
    close(agent->listener);
    close(agent->control_fd);
    if (agent->doorbell >= 0)
        close(agent->doorbell);
    unlink(agent->path);
}

static void fake_agent_deinit(struct fake_agent *agent) {
    unlink(agent->path);
    rmdir(agent->directory);
}

#endif
