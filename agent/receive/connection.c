/* SPDX-License-Identifier: Apache-2.0 */
/* One socket to one process: messages in, answers out (instrumentation/link/protocol.h). A message that breaks the
 * protocol closes the connection; the process may come again. */
#include "agent/log.h"
#include "agent/receive/services.h"
#include "instrumentation/wire/validate.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO_WAIT_NS   UINT64_C(5000000000)
#define ACCEPTS_A_TURN  64
#define MESSAGES_A_TURN 16
#define MESSAGES_AT_END 1024 /* more than a socket buffers */
#define FDS_MAX         4

void sonde__connection_close(struct sonde__connection *connection) {
    if (connection->closed)
        return;
    connection->closed = true;
    sonde_watch_destroy(connection->watch);
    connection->watch = NULL;
    close(connection->fd);
    connection->fd = -1;
    struct sonde__peer *peer = connection->peer;
    connection->peer = NULL;
    if (peer) {
        peer->connection = NULL;
        sonde__peer_pull_forget(peer);
    }
    if (peer && peer->pidfd < 0) /* nothing else will tell of its end */
        sonde__peer_dead(peer, false);
    sonde__services_wake(connection->services, 0);
}

void sonde__connections_sweep(struct sonde__services *services, bool all) {
    uint64_t now = sonde__services_now(services);
    struct sonde__connection **place = &services->connections;
    while (*place) {
        struct sonde__connection *connection = *place;
        if (all || (!connection->closed && !connection->peer && now - connection->accepted_ns > HELLO_WAIT_NS))
            sonde__connection_close(connection);
        if (connection->closed) {
            *place = connection->next;
            services->connection_count--;
            sonde_alloc_free(&services->env.seams->alloc, connection);
        } else {
            place = &connection->next;
        }
    }
}

void sonde__connection_send(struct sonde__connection *connection, const void *message, size_t size, int fd) {
    if (connection->closed)
        return;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = size};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        packet.msg_control = control.space;
        packet.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    /* A peer that does not read its answers has no use for the connection. One that has closed it may have said something
     * before: that is read first, up to the end. */
    if (sendmsg(connection->fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size && errno != EPIPE &&
        errno != ECONNRESET)
        sonde__connection_close(connection);
}

void sonde__connection_answer_flush(struct sonde__peer *peer) {
    if (peer->flush_count == 0 || !sonde__peer_reached(peer))
        return;
    for (uint32_t i = 0; i < peer->flush_count && peer->connection; i++) {
        struct sonde__flush answer = {{SONDE__FLUSHED, SONDE__PROTOCOL_VERSION, sizeof answer}, peer->flushes[i]};
        sonde__connection_send(peer->connection, &answer, sizeof answer, -1);
    }
    peer->flush_count = 0;
}

static void answer_memory(struct sonde__connection *connection, enum sonde__message_type type, uint32_t kind,
                          uint32_t index, uint32_t reason) {
    struct sonde__memory_message answer = {.message = {(uint16_t)type, SONDE__PROTOCOL_VERSION, sizeof answer},
                                           .kind = kind,
                                           .index = index,
                                           .reason = reason};
    sonde__connection_send(connection, &answer, sizeof answer, -1);
}

static bool was_evicted(const struct sonde__connection *connection, const struct sonde__hello *hello) {
    const struct sonde__services *services = connection->services;
    uint64_t now = sonde__services_now(services);
    for (uint32_t i = 0; i < SONDE__EVICTED_MAX; i++) {
        const struct sonde__evicted *e = &services->evicted[i];
        bool same =
            (e->pid && e->pid == connection->pid) || !memcmp(e->process_id, hello->process_id, sizeof e->process_id);
        if (e->until_ns > now && e->uid == connection->uid && same)
            return true;
    }
    return false;
}

/* True when nobody is at the other end any more; what is still to be read does not count. */
static bool is_hung_up(const struct sonde__connection *connection) {
    if (!connection || connection->closed)
        return true;
    struct pollfd poll_fd = {.fd = connection->fd, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* The peer that says HELLO again, or NULL. Processes that this one has replaced (exec) end here: the same pid without
 * its socket. (Two copies of the library in one process have a socket each.) */
static struct sonde__peer *find_peer(struct sonde__connection *connection, const struct sonde__hello *hello) {
    struct sonde__peer *found = NULL;
    for (struct sonde__peer *peer = connection->services->peers; peer; peer = peer->next) {
        if (peer->state != SONDE__PEER_ALIVE || peer->uid != connection->uid || peer->pid != connection->pid)
            continue;
        if (sonde__pidfd_is_dead(peer->pidfd))
            sonde__peer_dead(peer, false);
        else if (memcmp(peer->process_id, hello->process_id, sizeof peer->process_id) == 0)
            found = peer;
        else if (peer->pid != 0 && is_hung_up(peer->connection))
            sonde__peer_dead(peer, true);
    }
    return found;
}

static bool within_quota(const struct sonde__services *services, uint32_t uid) {
    int64_t count = 0;
    for (const struct sonde__peer *peer = services->peers; peer; peer = peer->next)
        count += peer->uid == uid && peer->state == SONDE__PEER_ALIVE;
    return count < services->config->connections_per_uid_max && services->peer_count < SONDE__PEERS_MAX;
}

static int attach(struct sonde__connection *connection, const struct sonde__hello *hello, const uint8_t *resource) {
    struct sonde__services *services = connection->services;
    struct sonde__peer *peer = find_peer(connection, hello);
    if (peer && peer->connection) {
        struct sonde__connection *old = peer->connection;
        old->peer = NULL;
        sonde__connection_close(old);
    }
    if (!peer) {
        if (!within_quota(services, connection->uid))
            return SONDE__REFUSED_QUOTA;
        if (sonde__peer_create(services, hello, resource, connection, &peer) != 0)
            return SONDE__REFUSED_QUOTA;
    }
    peer->connection = connection;
    peer->flush_count = 0;
    sonde__peer_pull_forget(peer);
    connection->peer = peer;
    return 0;
}

static void on_hello(struct sonde__connection *connection, const uint8_t *bytes, size_t size) {
    struct sonde__services *services = connection->services;
    struct sonde__hello hello;
    memcpy(&hello, bytes, size < sizeof hello ? 0 : sizeof hello);
    if (connection->peer || size < sizeof hello || hello.resource_size > SONDE_RESOURCE_SIZE_MAX ||
        hello.resource_size != size - sizeof hello ||
        !sonde__resource_is_valid(bytes + sizeof hello, hello.resource_size)) {
        sonde__connection_close(connection);
        return;
    }
    int refusal = 0;
    if (!sonde__services_uid_allowed(services, connection->uid))
        refusal = SONDE__REFUSED_PEER;
    else if (was_evicted(connection, &hello))
        refusal = SONDE__REFUSED_VIOLATION;
    else
        refusal = attach(connection, &hello, bytes + sizeof hello);
    if (refusal) {
        answer_memory(connection, refusal == SONDE__REFUSED_VIOLATION ? SONDE__EVICTED : SONDE__REFUSE, 0, 0,
                      (uint32_t)refusal);
        sonde__connection_close(connection);
        return;
    }
    struct sonde__welcome welcome = {{SONDE__WELCOME, SONDE__PROTOCOL_VERSION, sizeof welcome},
                                     atomic_load(&services->control->start_unix_ns)};
    sonde__connection_send(connection, &welcome, sizeof welcome, services->control_fd);
}

static void on_memory(struct sonde__connection *connection, const uint8_t *bytes, size_t size, int fds[FDS_MAX]) {
    struct sonde__memory_message message;
    if (!connection->peer || size != sizeof message || fds[0] < 0) {
        sonde__connection_close(connection);
        return;
    }
    memcpy(&message, bytes, sizeof message);
    struct sonde__peer *peer = connection->peer;
    int fd = fds[0];
    fds[0] = -1;
    int refusal = sonde__handover(peer, message.kind, message.index, fd);
    if (!refusal && message.kind == SONDE__MEMORY_PROCESS) {
        sonde__peer_bell_set(peer, fds[1]);
        fds[1] = -1;
    }
    answer_memory(connection, refusal ? SONDE__REFUSE : SONDE__ACCEPT, message.kind, message.index, (uint32_t)refusal);
    if (refusal && refusal != SONDE__REFUSED_QUOTA)
        sonde__peer_violation(peer, "a memory that was refused");
    sonde__services_wake(peer->services, 0);
}

static void on_flush(struct sonde__connection *connection, const uint8_t *bytes, size_t size) {
    struct sonde__flush flush;
    struct sonde__peer *peer = connection->peer;
    if (!peer || size != sizeof flush) {
        sonde__connection_close(connection);
        return;
    }
    memcpy(&flush, bytes, sizeof flush);
    if (peer->flush_count == SONDE__FLUSHES_MAX) { /* the newest answers for those before it */
        memmove(peer->flushes, peer->flushes + 1, sizeof peer->flushes - sizeof *peer->flushes);
        peer->flush_count--;
    }
    peer->flushes[peer->flush_count++] = flush.number;
    sonde__peer_aim(peer);
    if (sonde__peer_drain(peer))
        sonde__services_wake(peer->services, 0);
    sonde__connection_answer_flush(peer);
    if (peer->flush_count)
        sonde__services_wake(peer->services, 0);
}

static void on_pulled(struct sonde__connection *connection, const uint8_t *bytes, size_t size) {
    struct sonde__pull pulled;
    if (!connection->peer || size != sizeof pulled) {
        sonde__connection_close(connection);
        return;
    }
    memcpy(&pulled, bytes, sizeof pulled);
    sonde__peer_pulled(connection->peer, pulled.number);
}

static void on_message(struct sonde__connection *connection, const uint8_t *bytes, size_t size, int fds[FDS_MAX]) {
    struct sonde__message message;
    memcpy(&message, bytes, size < sizeof message ? 0 : sizeof message);
    if (size < sizeof message || message.size != size || message.version != SONDE__PROTOCOL_VERSION) {
        sonde__connection_close(connection);
        return;
    }
    switch (message.type) {
    case SONDE__HELLO:
        on_hello(connection, bytes, size);
        break;
    case SONDE__MEMORY:
        on_memory(connection, bytes, size, fds);
        break;
    case SONDE__FLUSH:
        on_flush(connection, bytes, size);
        break;
    case SONDE__STEER:
        sonde__connection_steer(connection, bytes, size);
        break;
    case SONDE__PULLED:
        on_pulled(connection, bytes, size);
        break;
    case SONDE__BYE:
        break; /* the end of the socket or of the process says the rest */
    default:
        sonde__connection_close(connection);
    }
}

static void take_fds(struct msghdr *packet, int fds[FDS_MAX]) {
    int count = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(packet); h; h = CMSG_NXTHDR(packet, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t given = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < given; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (count < FDS_MAX)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
}

/* Receives one message. Returns false when there is none. */
static bool receive(struct sonde__connection *connection) {
    static uint8_t bytes[SONDE__MESSAGE_SIZE_MAX]; /* one thread */
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr packet = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t size = recvmsg(connection->fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    /* A peer that closed before it read our last answer: told once, and ahead of what it sent before. */
    if (size < 0 && errno == ECONNRESET)
        size = recvmsg(connection->fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size <= 0) {
        sonde__connection_close(connection); /* whether the process ended with it, its pidfd knows */
        return false;
    }
    int fds[FDS_MAX] = {-1, -1, -1, -1};
    take_fds(&packet, fds);
    if (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        sonde__connection_close(connection);
    else
        on_message(connection, bytes, (size_t)size, fds);
    for (int i = 0; i < FDS_MAX; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return !connection->closed;
}

void sonde__connection_read_rest(struct sonde__connection *connection) {
    for (int i = 0; i < MESSAGES_AT_END && !connection->closed && receive(connection); i++) {
    }
}

static void on_readable(void *user, int events) {
    (void)events;
    struct sonde__connection *connection = user;
    for (int i = 0; i < MESSAGES_A_TURN && !connection->closed && receive(connection); i++) {
    }
}

static void accept_one(struct sonde__services *services, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct sonde__connection *connection = sonde_alloc_new(&services->env.seams->alloc, sizeof *connection);
    if (!connection || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        sonde_alloc_free(&services->env.seams->alloc, connection);
        close(fd);
        return;
    }
    *connection = (struct sonde__connection){
        .services = services,
        .next = services->connections,
        .fd = fd,
        .pid = peer.pid > 0 ? (uint32_t)peer.pid : 0,
        .uid = peer.uid,
        .accepted_ns = sonde__services_now(services),
    };
    services->connections = connection;
    services->connection_count++;
    if (sonde_watch_create(services->env.loop, fd, SONDE_WATCH_READ, on_readable, connection, &connection->watch) != 0)
        sonde__connection_close(connection);
}

void sonde__connection_accept(struct sonde__services *services) {
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(services->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                sonde__services_pause_listener(services); /* it stays readable: not in circles */
            break;
        }
        if (services->connection_count >= SONDE__PEERS_MAX)
            close(fd);
        else
            accept_one(services, fd);
    }
    sonde__services_wake(services, sonde__services_now(services) + SONDE__POLL_NS);
}
