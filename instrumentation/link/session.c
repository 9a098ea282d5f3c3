/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/link/session.h"

#include "instrumentation/link/doorbell.h"
#include "instrumentation/link/puller.h"
#include "instrumentation/ring/process.h"
#include <errno.h>
#include <poll.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_TIMEOUT_MS 2000
#define FDS_MAX         4 /* room for more than the one that WELCOME brings, so that surplus ones are closed, not leaked */

static int socket_connect(const char *path, struct sonde__fd *ret_socket) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    struct sonde__fd file = sonde__fd_take(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (file.fd < 0)
        return -EMFILE;
    int error = 0;
    if (connect(file.fd, (const struct sockaddr *)&address, sizeof address))
        error = errno == EAGAIN ? -EAGAIN : SONDE_ENOAGENT; /* EAGAIN: its backlog is full */
    else if (!sonde__place_peer_allowed(file.fd, path))
        error = SONDE_EREFUSED;
    if (error)
        sonde__fd_close(&file);
    else
        *ret_socket = file;
    return error;
}

/* Sends one packet with up to two descriptors. */
static int packet_send(struct sonde__session *session, struct iovec *parts, size_t part_count, const int *fds,
                       size_t fd_count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = part_count};
    if (fd_count) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
    }
    for (;;) {
        if (!sonde__fd_is_ours(&session->socket))
            return -EBADF;
        if (sendmsg(session->socket.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        struct pollfd wait = {.fd = session->socket.fd, .events = POLLOUT};
        if (poll(&wait, 1, SEND_TIMEOUT_MS) == 0)
            return -ETIMEDOUT;
    }
}

static struct sonde__message message_of(enum sonde__message_type type, size_t size) {
    return (struct sonde__message){.type = (uint16_t)type, .version = SONDE__PROTOCOL_VERSION, .size = (uint32_t)size};
}

static int hello_send(struct sonde__session *session, const uint8_t *resource, uint32_t resource_size) {
    struct sonde__registry *r = &sonde__registry;
    struct sonde__hello hello = {.message = message_of(SONDE__HELLO, sizeof hello + resource_size),
                                 .resource_size = resource_size};
    sonde__lock_take(&r->lock);
    memcpy(hello.process_id, r->id, sizeof hello.process_id);
    hello.pid = r->pid;
    sonde__lock_release(&r->lock);
    struct iovec parts[2] = {{&hello, sizeof hello}, {(void *)(uintptr_t)resource, resource_size}};
    return packet_send(session, parts, 2, NULL, 0);
}

int sonde__session_open(struct sonde__session *session, const struct sonde__places *places, const uint8_t *resource,
                        uint32_t resource_size) {
    *session = (struct sonde__session){.socket = SONDE__FD_NONE};
    int error = SONDE_ENOAGENT;
    for (unsigned i = 0; i < places->count; i++) {
        int result = socket_connect(places->path[i], &session->socket);
        if (result == 0)
            result = hello_send(session, resource, resource_size);
        if (result == 0) {
            session->state = SONDE__GREETED;
            return 0;
        }
        sonde__session_close(session);
        if (error == SONDE_ENOAGENT) /* that nobody is at the other places is not news */
            error = result;
    }
    return error;
}

static int memory_send(struct sonde__session *session, enum sonde__memory_kind kind, uint32_t index,
                       const struct sonde__fd *file) {
    if (!sonde__fd_is_ours(file)) {
        session->memory_lost = true;
        return -EBADF;
    }
    struct sonde__memory_message message = {
        .message = message_of(SONDE__MEMORY, sizeof message), .kind = kind, .index = index};
    struct iovec part = {&message, sizeof message};
    int fds[2] = {file->fd, -1};
    size_t fd_count = 1;
    if (kind == SONDE__MEMORY_PROCESS) {
        fds[1] = sonde__doorbell_fd();
        if (fds[1] < 0)
            return -EMFILE;
        fd_count = 2;
    }
    return packet_send(session, &part, 1, fds, fd_count);
}

/* The next memory that the agent does not have; false when it has all. */
static bool memory_next(const struct sonde__session *session, enum sonde__memory_kind *ret_kind, uint32_t *ret_index,
                        struct sonde__fd *ret_file) {
    struct sonde__registry *r = &sonde__registry;
    bool found = true;
    sonde__lock_take(&r->lock);
    *ret_index = 0;
    if (!session->process_sent) {
        *ret_kind = SONDE__MEMORY_PROCESS;
        *ret_file = r->process.file;
    } else if (session->threads_sent < r->thread_memories) {
        *ret_kind = SONDE__MEMORY_THREADS;
        *ret_index = session->threads_sent;
        *ret_file = r->threads[*ret_index].file;
    } else {
        found = false;
    }
    sonde__lock_release(&r->lock);
    return found;
}

static int memories_send(struct sonde__session *session) {
    enum sonde__memory_kind kind;
    uint32_t index;
    struct sonde__fd file;
    while (memory_next(session, &kind, &index, &file)) {
        int error = memory_send(session, kind, index, &file);
        if (error)
            return error;
        if (kind == SONDE__MEMORY_PROCESS)
            session->process_sent = true;
        else
            session->threads_sent++;
    }
    return 0;
}

static int pulled_send(struct sonde__session *session) {
    if (!session->pull_open || !sonde__puller_is_done(session->pull_round))
        return 0;
    struct sonde__pull pulled = {.message = message_of(SONDE__PULLED, sizeof pulled), .number = session->pull_number};
    struct iovec part = {&pulled, sizeof pulled};
    session->pull_open = false;
    return packet_send(session, &part, 1, NULL, 0);
}

int sonde__session_send(struct sonde__session *session, uint64_t flush_wanted) {
    if (session->state < SONDE__WELCOMED)
        return 0;
    int error = memories_send(session);
    if (!error)
        error = pulled_send(session);
    if (error || flush_wanted == session->flush_sent)
        return error;
    struct sonde__flush flush = {.message = message_of(SONDE__FLUSH, sizeof flush), .number = flush_wanted};
    struct iovec part = {&flush, sizeof flush};
    session->flush_sent = flush_wanted;
    return packet_send(session, &part, 1, NULL, 0);
}

static int memory_answer(struct sonde__session *session, const struct sonde__memory_message *answer) {
    if (answer->message.type == SONDE__EVICTED) {
        session->evicted = true;
        sonde__report("the agent evicted this process (reason %u)", answer->reason);
        return SONDE_EREFUSED;
    }
    session->answered++;
    if (answer->message.type == SONDE__REFUSE) {
        sonde__report("the agent refused shared memory (kind %u, reason %u)", answer->kind, answer->reason);
        return answer->kind == SONDE__MEMORY_PROCESS ? SONDE_EREFUSED : 0;
    }
    if (answer->kind == SONDE__MEMORY_PROCESS && session->state == SONDE__WELCOMED)
        session->state = SONDE__CONNECTED;
    return 0;
}

/* One packet. fd is the first descriptor that came with it, or -1; borrowed. */
static int packet_handle(struct sonde__session *session, const void *packet, size_t size, int fd) {
    struct sonde__message head;
    if (size < sizeof head)
        return SONDE_EMALFORMED;
    memcpy(&head, packet, sizeof head);
    if (head.version != SONDE__PROTOCOL_VERSION)
        return SONDE_EVERSION;
    if (head.size != size)
        return SONDE_EMALFORMED;
    switch (head.type) {
    case SONDE__WELCOME: {
        if (session->state != SONDE__GREETED || size < sizeof(struct sonde__welcome) || fd < 0)
            return SONDE_EMALFORMED;
        int error = sonde__doorbell_connect(fd);
        if (!error)
            session->state = SONDE__WELCOMED;
        return error;
    }
    case SONDE__ACCEPT:
    case SONDE__REFUSE:
    case SONDE__EVICTED: {
        struct sonde__memory_message answer = {0};
        memcpy(&answer, packet, size < sizeof answer ? size : sizeof answer);
        return memory_answer(session, &answer);
    }
    case SONDE__FLUSHED: {
        struct sonde__flush flushed;
        if (size < sizeof flushed)
            return SONDE_EMALFORMED;
        memcpy(&flushed, packet, sizeof flushed);
        if (flushed.number > session->flush_sent)
            return SONDE_EMALFORMED;
        session->flushed = flushed.number;
        return 0;
    }
    case SONDE__PULL: {
        struct sonde__pull pull;
        if (size < sizeof pull)
            return SONDE_EMALFORMED;
        memcpy(&pull, packet, sizeof pull);
        session->pull_number = pull.number;
        session->pull_round = sonde__puller_ask();
        session->pull_open = true;
        return 0;
    }
    default:
        return 0; /* a later minor version's */
    }
}

static void fds_close(struct msghdr *message, int *ret_first) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (*ret_first < 0)
                *ret_first = fd;
            else
                (void)close(fd);
        }
    }
}

int sonde__session_receive(struct sonde__session *session) {
    for (;;) {
        union {
            struct sonde__message head;
            uint8_t bytes[256];
        } packet;
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        } control;
        struct iovec part = {&packet, sizeof packet};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
        if (!sonde__fd_is_ours(&session->socket))
            return -EBADF;
        ssize_t size = recvmsg(session->socket.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        /* An agent that closed before it had read all: told once, and ahead of what it sent before (that it evicts us). */
        if (size < 0 && errno == ECONNRESET)
            size = recvmsg(session->socket.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (size == 0)
            return -ECONNRESET;
        int fd = -1;
        fds_close(&message, &fd);
        int error = packet_handle(session, &packet, (size_t)size, fd);
        if (fd >= 0)
            (void)close(fd);
        if (error)
            return error;
    }
}

void sonde__session_bye(struct sonde__session *session) {
    struct sonde__message bye = message_of(SONDE__BYE, sizeof bye);
    struct iovec part = {&bye, sizeof bye};
    if (session->state >= SONDE__WELCOMED)
        (void)packet_send(session, &part, 1, NULL, 0); /* the closing socket says the same */
}

void sonde__session_close(struct sonde__session *session) {
    sonde__doorbell_disconnect();
    sonde__fd_close(&session->socket);
    session->state = SONDE__CLOSED;
}
