/* SPDX-License-Identifier: Apache-2.0 */
/* connecting -> shaking (TLS only) -> open. What is to be sent waits in one buffer: cipher text where there is TLS. A
 * callback may destroy the stream: then its memory stays until the event that called it is over. */
#include "agent/net/stream.h"
#include "agent/net/tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CHUNK = 16384, READS_MAX = 16 /* of one event: others want their turn, too */ };
enum state { CONNECTING, SHAKING, OPEN };

struct sonde__stream {
    struct sonde__stream_config config;
    const struct sonde_alloc *alloc;
    enum state state;
    int fd;
    struct sonde_watch *watch;
    struct sonde__tls *tls;
    char *waiting; /* owned; to be sent */
    size_t waiting_size, waiting_capacity;
    bool in_event, ended, dead;
};

/* --- life --- */

static void memory_free(struct sonde__stream *stream) {
    sonde__tls_destroy(stream->tls);
    sonde_alloc_free(stream->alloc, stream->waiting);
    sonde_alloc_free(stream->alloc, stream);
}

void sonde__stream_destroy(struct sonde__stream *stream) {
    if (!stream)
        return;
    sonde_watch_destroy(stream->watch);
    stream->watch = NULL;
    if (stream->fd >= 0)
        (void)close(stream->fd);
    stream->fd = -1;
    stream->dead = true;
    if (!stream->in_event)
        memory_free(stream);
}

static void end(struct sonde__stream *stream, enum sonde__stream_end why, const char *text) {
    if (stream->dead || stream->ended)
        return;
    stream->ended = true; /* nothing more comes; the owner destroys it */
    (void)sonde_watch_change(stream->watch, 0);
    stream->config.ended(stream->config.user, why, text);
}

/* --- sending --- */

static void watch_as_needed(struct sonde__stream *stream) {
    bool write = stream->state == CONNECTING || stream->waiting_size;
    if (stream->watch && !stream->ended)
        (void)sonde_watch_change(stream->watch, SONDE_WATCH_READ | (write ? SONDE_WATCH_WRITE : 0));
}

static int wait_add(struct sonde__stream *stream, const char *data, size_t size) {
    if (size > SONDE__STREAM_WAITING_MAX - stream->waiting_size)
        return SONDE_EFULL;
    size_t wanted = stream->waiting_size + size, capacity = stream->waiting_capacity ? stream->waiting_capacity : 1024;
    while (capacity < wanted)
        capacity *= 2;
    if (capacity != stream->waiting_capacity) {
        char *grown = stream->alloc->resize(stream->alloc->self, stream->waiting, capacity);
        if (!grown)
            return -ENOMEM;
        stream->waiting = grown;
        stream->waiting_capacity = capacity;
    }
    memcpy(stream->waiting + stream->waiting_size, data, size);
    stream->waiting_size = wanted;
    return 0;
}

/** Cipher text that TLS has made goes behind what waits. */
static int cipher_collect(struct sonde__stream *stream) {
    char chunk[CHUNK];
    int error = 0;
    for (size_t size; !error && stream->tls && (size = sonde__tls_give(stream->tls, chunk, sizeof chunk)) > 0;)
        error = wait_add(stream, chunk, size);
    return error;
}

/** Sends what waits, as far as the socket takes it. Returns 0 or -errno. */
static int flush(struct sonde__stream *stream) {
    size_t sent = 0;
    int error = 0;
    while (sent < stream->waiting_size && !error) {
        ssize_t count = send(stream->fd, stream->waiting + sent, stream->waiting_size - sent, MSG_NOSIGNAL);
        if (count >= 0)
            sent += (size_t)count;
        else if (errno != EINTR)
            error = -errno;
    }
    if (sent)
        memmove(stream->waiting, stream->waiting + sent, stream->waiting_size - sent);
    stream->waiting_size -= sent;
    return error == -EAGAIN ? 0 : error;
}

int sonde__stream_send(struct sonde__stream *stream, const char *data, size_t size) {
    if (stream->dead || stream->state != OPEN)
        return -ENOTCONN;
    int error = stream->tls ? sonde__tls_write(stream->tls, data, size) : wait_add(stream, data, size);
    if (!error)
        error = cipher_collect(stream);
    watch_as_needed(stream); /* by the loop: what is sent together goes in one packet */
    return error;
}

/* --- events --- */

static void shake(struct sonde__stream *stream) {
    char text[160];
    int result = sonde__tls_shake(stream->tls), error = cipher_collect(stream);
    if (result < 0 || error) {
        (void)flush(stream); /* the alert */
        sonde__tls_problem(stream->tls, text, sizeof text);
        end(stream, SONDE__STREAM_TLS, error ? sonde_strerror(error) : text);
    } else if (result == 1) {
        stream->state = OPEN;
        stream->config.opened(stream->config.user);
    }
}

static void connected(struct sonde__stream *stream) {
    int error = 0;
    socklen_t size = sizeof error;
    (void)getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        end(stream, SONDE__STREAM_REFUSED, strerror(error));
        return;
    }
    stream->state = stream->tls ? SHAKING : OPEN;
    if (stream->tls)
        shake(stream);
    else
        stream->config.opened(stream->config.user);
}

static void plain_read(struct sonde__stream *stream) {
    char chunk[CHUNK];
    int count = 0;
    while (!stream->dead && (count = sonde__tls_read(stream->tls, chunk, sizeof chunk)) > 0)
        stream->config.received(stream->config.user, chunk, (size_t)count);
    if (!stream->dead && count < 0)
        end(stream, SONDE__STREAM_CLOSED, "the connection was closed, or what came is no TLS");
    else if (!stream->dead && cipher_collect(stream)) /* answers of TLS itself: a new key, say */
        end(stream, SONDE__STREAM_CLOSED, "out of memory");
}

static void taken(struct sonde__stream *stream, const char *data, size_t size) {
    if (!stream->tls) {
        stream->config.received(stream->config.user, data, size);
        return;
    }
    if (sonde__tls_take(stream->tls, data, size)) {
        end(stream, SONDE__STREAM_CLOSED, "out of memory");
        return;
    }
    if (stream->state == SHAKING)
        shake(stream);
    if (!stream->dead && !stream->ended && stream->state == OPEN)
        plain_read(stream);
}

static void readable(struct sonde__stream *stream) {
    char chunk[CHUNK];
    for (int reads = 0; reads < READS_MAX && !stream->dead && !stream->ended; reads++) {
        ssize_t count = recv(stream->fd, chunk, sizeof chunk, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            end(stream, stream->state == SHAKING ? SONDE__STREAM_TLS : SONDE__STREAM_CLOSED,
                count < 0 ? strerror(errno) : "the server closed the connection");
            return;
        }
        taken(stream, chunk, (size_t)count);
    }
}

static void on_watch(void *user, int events) {
    struct sonde__stream *stream = user;
    stream->in_event = true;
    if (stream->state == CONNECTING)
        connected(stream);
    else if (events & SONDE_WATCH_READ)
        readable(stream);
    if (!stream->dead && !stream->ended && stream->state != CONNECTING) {
        int error = flush(stream);
        if (error)
            end(stream, SONDE__STREAM_CLOSED, sonde_strerror(error));
        else
            watch_as_needed(stream);
    }
    stream->in_event = false;
    if (stream->dead)
        memory_free(stream);
}

/* --- connecting --- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static socklen_t address_make(const struct sonde__stream_config *config, union address *address) {
    memset(address, 0, sizeof *address);
    if (config->path && *config->path) {
        address->local.sun_family = AF_UNIX;
        if (strlen(config->path) >= sizeof address->local.sun_path)
            return 0;
        memcpy(address->local.sun_path, config->path, strlen(config->path));
        return sizeof address->local;
    }
    if (inet_pton(AF_INET, config->address, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(config->port);
        return sizeof address->v4;
    }
    if (inet_pton(AF_INET6, config->address, &address->v6.sin6_addr) != 1)
        return 0;
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = htons(config->port);
    return sizeof address->v6;
}

static int connect_begin(struct sonde__stream *stream) {
    union address address;
    socklen_t size = address_make(&stream->config, &address);
    int on = 1;
    if (!size)
        return SONDE_EINVALID;
    stream->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (stream->fd < 0)
        return -errno;
    if (address.any.sa_family != AF_UNIX)
        (void)setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(stream->fd, &address.any, size) != 0 && errno != EINPROGRESS)
        return -errno;
    return sonde_watch_create(stream->config.loop, stream->fd, SONDE_WATCH_READ | SONDE_WATCH_WRITE, on_watch, stream,
                              &stream->watch);
}

int sonde__stream_create(const struct sonde__stream_config *config, struct sonde__stream **ret_stream, char *error_text,
                         size_t error_text_size) {
    const struct sonde_alloc *alloc = &sonde_loop_seams(config->loop)->alloc;
    struct sonde__stream *stream = sonde_alloc_new(alloc, sizeof *stream);
    if (!stream)
        return -ENOMEM;
    *stream = (struct sonde__stream){.config = *config, .alloc = alloc, .fd = -1};
    int error = 0;
    if (config->tls)
        error = sonde__tls_create(config->tls, config->server_name, alloc, &stream->tls, error_text, error_text_size);
    if (!error)
        error = connect_begin(stream);
    if (error) {
        sonde__stream_destroy(stream);
        return error;
    }
    *ret_stream = stream;
    return 0;
}
