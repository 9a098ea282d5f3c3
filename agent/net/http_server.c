/* SPDX-License-Identifier: Apache-2.0 */
/* One connection goes round: READ a head -> answer (WAIT, when that is put off) -> WRITE it (STREAM, when it is made
 * as it is sent) -> READ again (what was pipelined first), or, when it is to be closed, LINGER: our end is shut, and what
 * still comes is read and thrown away, so that a reset does not eat the answer. */
#include "agent/net/http_connection.h"
#include "agent/net/listen.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS_MAX   64u /* a browser takes 6, a scraper 1 */
#define SECOND_NS         UINT64_C(1000000000)
#define WRITE_TIMEOUT_NS  (30 * SECOND_NS)
#define WAIT_TIMEOUT_NS   (30 * SECOND_NS)
#define PIECE_TIMEOUT_NS  (10 * SECOND_NS)
#define STREAM_TIMEOUT_NS (60 * SECOND_NS)
#define LINGER_NS         SECOND_NS

static void set_deadline(struct connection *connection, uint64_t after_ns) {
    const struct sonde_time *time = &connection->server->time;
    sonde_timer_set(connection->timer, time->monotonic_ns(time->self) + after_ns);
}

static void connection_destroy(struct connection *connection) {
    struct sonde__http_server *server = connection->server;
    sonde__http_stream_end(connection, false);
    LIST_REMOVE(connection, link);
    server->connection_count--;
    sonde_watch_destroy(connection->watch);
    sonde_timer_destroy(connection->timer);
    (void)close(connection->fd);
    sonde_alloc_free(&server->alloc, connection->output);
    sonde_alloc_free(&server->alloc, connection);
    if (server->watch)
        (void)sonde_watch_change(server->watch, SONDE_WATCH_READ);
}

/** False when there is no memory. Without output after true: the answer was put off. */
static bool answer_request(struct connection *connection) {
    struct sonde__http_server *server = connection->server;
    struct sonde_http_answer answer = {.status = 404, .content_type = "text/plain; charset=utf-8"};
    char path[SONDE__URL_SIZE_MAX];
    memcpy(path, connection->url, connection->url_size + 1);
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    struct sonde_http_asked asked = {.path = path,
                                     .query = query ? query : "",
                                     .accept = connection->accept.text,
                                     .accept_encoding = connection->accept_encoding.text,
                                     .again = connection->state == WAIT,
                                     .head_only = connection->parser.method == HTTP_HEAD};
    server->options.handle(server->options.user, &asked, &answer);
    if (answer.later)
        return true;
    connection->close_after = !http_should_keep_alive(&connection->parser);
    bool put = sonde__http_answer_put(connection, &answer, connection->parser.method == HTTP_HEAD);
    sonde_alloc_free(&server->alloc, answer.body);
    return put;
}

static void move(struct connection *connection, enum sonde__http_state state, int events, uint64_t deadline_ns) {
    connection->state = state;
    (void)sonde_watch_change(connection->watch, events);
    set_deadline(connection, deadline_ns);
}

/* Pieces are made when the socket takes them: from the loop's next turn on. */
static void stream_begin(struct connection *connection) {
    const struct sonde__http_server *server = connection->server;
    connection->stream_until_ns = server->time.monotonic_ns(server->time.self) + server->options.stream_timeout_ns;
    move(connection, STREAM, SONDE_WATCH_WRITE, PIECE_TIMEOUT_NS);
}

/** Sends the output. False when the connection is gone. */
static bool write_output(struct connection *connection) {
    while (connection->output_at < connection->output_end) {
        ssize_t sent = send(connection->fd, connection->output + connection->output_at,
                            connection->output_end - connection->output_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (connection->state != WRITE && connection->state != STREAM)
                move(connection, WRITE, SONDE_WATCH_WRITE, WRITE_TIMEOUT_NS);
            return true;
        }
        if (sent < 0) {
            connection_destroy(connection);
            return false;
        }
        connection->output_at += (size_t)sent;
    }
    if (connection->stream.next && !connection->stream_done) {
        if (connection->state != STREAM)
            stream_begin(connection);
        return true;
    }
    sonde__http_stream_end(connection, true);
    sonde_alloc_free(&connection->server->alloc, connection->output);
    connection->output = NULL;
    if (connection->close_after) {
        (void)shutdown(connection->fd, SHUT_WR);
        move(connection, LINGER, SONDE_WATCH_READ, LINGER_NS);
        return true;
    }
    sonde__http_head_begin(connection);
    move(connection, READ, SONDE_WATCH_READ, connection->server->options.head_timeout_ns);
    return true;
}

/** Answers what is complete in the input, one after the other, until it runs out or the socket is full. */
static void serve_input(struct connection *connection) {
    while (connection->state == READ && connection->input_at < connection->input_end) {
        int status = sonde__http_head_parse(connection);
        if (status < 0)
            break;
        bool put = status ? sonde__http_refusal_put(connection, status) : answer_request(connection);
        if (!put) {
            connection_destroy(connection);
            return;
        }
        if (!connection->output)
            move(connection, WAIT, 0, WAIT_TIMEOUT_NS); /* what is pipelined waits, too */
        else if (!write_output(connection))
            return;
    }
    if (connection->input_at == connection->input_end)
        connection->input_at = connection->input_end = 0;
}

void sonde__http_server_resume(struct sonde__http_server *server) {
    for (struct connection *connection = LIST_FIRST(&server->connections), *next; connection; connection = next) {
        next = LIST_NEXT(connection, link);
        if (connection->state != WAIT)
            continue;
        if (!answer_request(connection))
            connection_destroy(connection);
        else if (connection->output && write_output(connection) && connection->state == READ)
            serve_input(connection);
    }
}

static void on_readable(struct connection *connection) {
    ssize_t got = recv(connection->fd, connection->input, sizeof connection->input, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        connection_destroy(connection);
        return;
    }
    if (connection->state == LINGER)
        return;
    connection->input_at = 0;
    connection->input_end = (size_t)got;
    serve_input(connection);
}

/* One piece is made in a turn of the loop, whoever wants it; the others have the next turns. */
static void serve_stream(struct connection *connection) {
    struct sonde__http_server *server = connection->server;
    if (connection->output_at == connection->output_end) {
        uint64_t turn = sonde_loop_wakeups(server->loop) + 1, now = server->time.monotonic_ns(server->time.self);
        if (server->streamed_turn == turn)
            return;
        server->streamed_turn = turn;
        if (!sonde__http_piece_put(connection)) {
            connection_destroy(connection);
            return;
        }
        uint64_t until = now + PIECE_TIMEOUT_NS;
        sonde_timer_set(connection->timer, until < connection->stream_until_ns ? until : connection->stream_until_ns);
    }
    if (write_output(connection) && connection->state == READ)
        serve_input(connection);
}

static void on_event(void *user, int events) {
    struct connection *connection = user;
    if (connection->state == READ || connection->state == LINGER) {
        if (events & SONDE_WATCH_READ)
            on_readable(connection);
        return;
    }
    if (connection->state == STREAM)
        serve_stream(connection);
    else if (connection->state == WRITE && write_output(connection) && connection->state == READ)
        serve_input(connection);
}

static void on_deadline(void *user) {
    struct connection *connection = user;
    bool begun = connection->state == READ && connection->head_size > 0;
    if (begun && sonde__http_refusal_put(connection, 408))
        (void)write_output(connection);
    else
        connection_destroy(connection);
}

/* --- accepting --- */

static int connection_create(struct sonde__http_server *server, int fd) {
    struct connection *connection = sonde_alloc_new(&server->alloc, sizeof *connection);
    if (!connection)
        return -ENOMEM;
    memset(connection, 0, sizeof *connection);
    connection->server = server;
    connection->fd = fd;
    sonde__http_head_begin(connection);
    int error = sonde_timer_create(server->loop, on_deadline, connection, &connection->timer);
    if (!error)
        error = sonde_watch_create(server->loop, fd, SONDE_WATCH_READ, on_event, connection, &connection->watch);
    if (error) {
        sonde_timer_destroy(connection->timer);
        sonde_alloc_free(&server->alloc, connection);
        return error;
    }
    LIST_INSERT_HEAD(&server->connections, connection, link);
    server->connection_count++;
    set_deadline(connection, server->options.head_timeout_ns);
    return 0;
}

/* A full house must not shut the operator out: the oldest that only waits goes, and when none waits the oldest of all.
 * Who asks and reads is served within milliseconds and is never the oldest for long. */
static void make_room(struct sonde__http_server *server) {
    struct connection *connection, *oldest = NULL, *waiting = NULL;
    if (server->connection_count < CONNECTIONS_MAX)
        return;
    LIST_FOREACH(connection, &server->connections, link) { /* newest first */
        oldest = connection;
        bool busy = connection->state == WRITE || connection->state == WAIT || connection->state == STREAM;
        waiting = busy ? waiting : connection;
    }
    connection_destroy(waiting ? waiting : oldest);
}

static void on_accept(void *user, int events) {
    struct sonde__http_server *server = user;
    (void)events;
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) { /* a turn's worth: the loop has others to serve */
        int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            make_room(server);
            if (connection_create(server, fd) != 0)
                (void)close(fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            (void)sonde_watch_change(server->watch, 0);
            sonde_timer_set(server->retry, server->time.monotonic_ns(server->time.self) + SECOND_NS / 10);
        }
        return;
    }
}

static void on_retry(void *user) {
    (void)sonde_watch_change(((struct sonde__http_server *)user)->watch, SONDE_WATCH_READ);
}

static int open_socket(struct sonde__http_server *server, char *error_text, size_t error_text_size) {
    const char *listen_text = server->options.listen;
    struct sockaddr_storage address;
    socklen_t size;
    if (sonde__listen_parse(listen_text, &address, &size) != 0) {
        (void)snprintf(error_text, error_text_size,
                       "agent.listen \"%s\" is not accepted; accepted: ADDRESS:PORT, as 127.0.0.1:4320 or [::1]:0",
                       listen_text);
        return SONDE_EINVALID;
    }
    bool loopback = sonde__address_is_loopback(&address);
    if (!loopback && !server->options.insecure) {
        (void)snprintf(error_text, error_text_size,
                       "agent.listen \"%s\" is not a loopback address and there is no TLS: use 127.0.0.1, or write "
                       "agent.insecure: true",
                       listen_text);
        return SONDE_EINVALID;
    }
    server->any_address = !loopback;
    int error = sonde__listen_open(&address, size, &server->fd);
    if (error)
        (void)snprintf(error_text, error_text_size, "agent.listen \"%s\": %s", listen_text, sonde_strerror(error));
    else
        sonde__address_format(server->fd, server->address, sizeof server->address);
    return error;
}

int sonde__http_server_create(struct sonde_loop *loop, const struct sonde__http_server_options *options,
                              struct sonde__http_server **ret_server, char *error_text, size_t error_text_size) {
    const struct sonde_seams *seams = sonde_loop_seams(loop);
    struct sonde__http_server *server = sonde_alloc_new(&seams->alloc, sizeof *server);
    if (!server) {
        (void)snprintf(error_text, error_text_size, "out of memory");
        return -ENOMEM;
    }
    *server = (struct sonde__http_server){
        .loop = loop, .alloc = seams->alloc, .time = seams->time, .options = *options, .fd = -1};
    LIST_INIT(&server->connections);
    if (!server->options.head_timeout_ns)
        server->options.head_timeout_ns = 10 * SECOND_NS;
    if (!server->options.stream_timeout_ns)
        server->options.stream_timeout_ns = STREAM_TIMEOUT_NS;
    int error = open_socket(server, error_text, error_text_size);
    if (!error) {
        error = sonde_timer_create(loop, on_retry, server, &server->retry);
        if (!error)
            error = sonde_watch_create(loop, server->fd, SONDE_WATCH_READ, on_accept, server, &server->watch);
        if (error)
            (void)snprintf(error_text, error_text_size, "agent.listen: %s", sonde_strerror(error));
    }
    if (error) {
        sonde__http_server_destroy(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

void sonde__http_server_destroy(struct sonde__http_server *server) {
    if (!server)
        return;
    sonde_watch_destroy(server->watch);
    server->watch = NULL;
    sonde_timer_destroy(server->retry);
    while (!LIST_EMPTY(&server->connections))
        connection_destroy(LIST_FIRST(&server->connections));
    if (server->fd >= 0)
        (void)close(server->fd);
    struct sonde_alloc alloc = server->alloc;
    sonde_alloc_free(&alloc, server);
}

const char *sonde__http_server_address(const struct sonde__http_server *server) {
    return server->address;
}
