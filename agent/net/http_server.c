/* SPDX-License-Identifier: Apache-2.0 */
/* One connection goes round: READ a head -> answer (WAIT, when that is put off) -> WRITE it -> READ again (what was
 * pipelined first), or, when it is to be closed, LINGER: our end is shut, and what still comes is read and thrown away,
 * so that a reset does not eat the answer. */
#include "agent/net/http_server.h"
#include "agent/net/listen.h"
#include <errno.h>
#include <http_parser.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define CONNECTIONS_MAX  64u /* a browser takes 6, a scraper 1 */
#define HEAD_SIZE_MAX    16384u
#define INPUT_SIZE       4096u
#define URL_SIZE_MAX     1024u
#define HOST_SIZE_MAX    256u
#define SECOND_NS        UINT64_C(1000000000)
#define WRITE_TIMEOUT_NS (30 * SECOND_NS)
#define WAIT_TIMEOUT_NS  (30 * SECOND_NS)
#define LINGER_NS        SECOND_NS

enum state { READ, WAIT, WRITE, LINGER };
enum header { HEADER_OTHER, HEADER_HOST };

struct connection {
    LIST_ENTRY(connection) link;
    struct sonde__http_server *server;
    int fd;
    struct sonde_watch *watch;
    struct sonde_timer *timer;
    enum state state;
    http_parser parser;
    bool complete, close_after;
    int refusal; /* status that was decided while parsing; 0 = none */
    size_t head_size;
    enum header header;
    bool in_value;
    char name[8]; /* of the header at hand; longer names are none of ours */
    size_t name_size;
    char url[URL_SIZE_MAX], host[HOST_SIZE_MAX];
    size_t url_size, host_size, host_count;
    char input[INPUT_SIZE];
    size_t input_at, input_end;
    char *output;
    size_t output_at, output_end;
};

struct sonde__http_server {
    struct sonde_loop *loop;
    struct sonde_alloc alloc;
    struct sonde_time time;
    struct sonde__http_server_options options;
    bool any_address;
    int fd;
    struct sonde_watch *watch;
    struct sonde_timer *retry; /* to accept again after the system had no descriptor */
    LIST_HEAD(, connection) connections;
    size_t connection_count;
    char address[80];
};

static void set_deadline(struct connection *connection, uint64_t after_ns) {
    const struct sonde_time *time = &connection->server->time;
    sonde_timer_set(connection->timer, time->monotonic_ns(time->self) + after_ns);
}

static void connection_destroy(struct connection *connection) {
    struct sonde__http_server *server = connection->server;
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

/* --- parsing: http_parser's callbacks; a non-zero return stops it --- */

static int refuse(struct connection *connection, int status) {
    connection->refusal = status;
    return 1;
}

static int on_begin(http_parser *parser) {
    struct connection *connection = parser->data;
    connection->url_size = connection->host_size = connection->host_count = connection->name_size = 0;
    connection->in_value = false;
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t size) {
    struct connection *connection = parser->data;
    if (connection->url_size + size >= sizeof connection->url)
        return refuse(connection, 414);
    memcpy(connection->url + connection->url_size, at, size);
    connection->url_size += size;
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t size) {
    struct connection *connection = parser->data;
    if (connection->in_value)
        connection->name_size = 0;
    connection->in_value = false;
    if (connection->name_size + size > sizeof connection->name)
        connection->name_size = sizeof connection->name; /* too long to be ours */
    else {
        memcpy(connection->name + connection->name_size, at, size);
        connection->name_size += size;
    }
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t size) {
    struct connection *connection = parser->data;
    if (!connection->in_value) {
        bool host = connection->name_size == 4 && strncasecmp(connection->name, "host", 4) == 0;
        connection->header = host ? HEADER_HOST : HEADER_OTHER;
        connection->host_count += host;
        connection->in_value = true;
    }
    if (connection->header != HEADER_HOST)
        return 0;
    if (connection->host_count > 1 || connection->host_size + size >= sizeof connection->host)
        return refuse(connection, 400);
    memcpy(connection->host + connection->host_size, at, size);
    connection->host_size += size;
    return 0;
}

static int on_head(http_parser *parser) {
    struct connection *connection = parser->data;
    bool body = (parser->flags & F_CHUNKED) || (parser->content_length != 0 && parser->content_length != UINT64_MAX);
    connection->url[connection->url_size] = connection->host[connection->host_size] = '\0';
    if (parser->method != HTTP_GET && parser->method != HTTP_HEAD)
        return refuse(connection, 405);
    if (body)
        return refuse(connection, 413);
    if (connection->host_count != 1 || connection->url[0] != '/')
        return refuse(connection, 400);
    if (!sonde__host_is_allowed(connection->host, connection->server->options.allowed_hosts,
                                connection->server->any_address))
        return refuse(connection, 421);
    return 0;
}

static int on_complete(http_parser *parser) {
    struct connection *connection = parser->data;
    connection->complete = true;
    http_parser_pause(parser, 1); /* one at a time: what is pipelined waits */
    return 0;
}

static const http_parser_settings settings = {.on_message_begin = on_begin,
                                              .on_url = on_url,
                                              .on_header_field = on_field,
                                              .on_header_value = on_value,
                                              .on_headers_complete = on_head,
                                              .on_message_complete = on_complete};

/* --- answering --- */

static const char *reason_of(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 421:
        return "Misdirected Request";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Unknown";
    }
}

static const char *text_of(int status) {
    if (status == 421)
        return "This host name is not in agent.allowed_hosts.\n";
    if (status == 405)
        return "Only GET and HEAD are answered.\n";
    return reason_of(status);
}

static int format_head(char *text, size_t size, const struct sonde_http_answer *answer, bool closes) {
    char refresh[40] = "";
    if (answer->refresh_seconds)
        (void)snprintf(refresh, sizeof refresh, "Refresh: %u\r\n", answer->refresh_seconds);
    return snprintf(text, size,
                    "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%s"
                    "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self' data:; "
                    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
                    "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
                    "Cross-Origin-Resource-Policy: same-origin\r\nCache-Control: no-store\r\n\r\n",
                    answer->status, reason_of(answer->status), answer->content_type, answer->body_size, refresh,
                    answer->status == 405 ? "Allow: GET, HEAD\r\n" : "", closes ? "Connection: close\r\n" : "");
}

/** Makes the output of an answer. False when there is no memory for it. */
static bool put_answer(struct connection *connection, const struct sonde_http_answer *answer, bool head_only) {
    char head[1024];
    int head_size = format_head(head, sizeof head, answer, connection->close_after);
    size_t body_size = head_only ? 0 : answer->body_size;
    connection->output = sonde_alloc_new(&connection->server->alloc, (size_t)head_size + body_size);
    if (!connection->output)
        return false;
    memcpy(connection->output, head, (size_t)head_size);
    if (body_size)
        memcpy(connection->output + head_size, answer->body, body_size);
    connection->output_at = 0;
    connection->output_end = (size_t)head_size + body_size;
    return true;
}

static bool answer_refusal(struct connection *connection, int status) {
    const char *text = text_of(status);
    struct sonde_http_answer answer = {.status = status,
                                       .content_type = "text/plain; charset=utf-8",
                                       .body = (char *)(uintptr_t)text, /* only read */
                                       .body_size = strlen(text)};
    connection->close_after = true;
    return put_answer(connection, &answer, connection->parser.method == HTTP_HEAD && status != 400);
}

/** False when there is no memory. Without output after true: the answer was put off. */
static bool answer_request(struct connection *connection) {
    struct sonde__http_server *server = connection->server;
    struct sonde_http_answer answer = {.status = 404, .content_type = "text/plain; charset=utf-8"};
    char path[URL_SIZE_MAX];
    memcpy(path, connection->url, connection->url_size + 1);
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    struct sonde_http_asked asked = {.path = path, .query = query ? query : "", .again = connection->state == WAIT};
    server->options.handle(server->options.user, &asked, &answer);
    if (answer.later)
        return true;
    connection->close_after = !http_should_keep_alive(&connection->parser);
    bool put = put_answer(connection, &answer, connection->parser.method == HTTP_HEAD);
    sonde_alloc_free(&server->alloc, answer.body);
    return put;
}

/** Parses what was read. Returns the status of a refusal, 0 when a request is complete, or -1: more is needed. */
static int parse_input(struct connection *connection) {
    size_t size = connection->input_end - connection->input_at;
    size_t parsed = http_parser_execute(&connection->parser, &settings, connection->input + connection->input_at, size);
    connection->input_at += parsed;
    connection->head_size += parsed;
    if (connection->refusal)
        return connection->refusal;
    if (connection->complete)
        return 0;
    if (HTTP_PARSER_ERRNO(&connection->parser) == HPE_HEADER_OVERFLOW || connection->head_size > HEAD_SIZE_MAX)
        return 431;
    if (HTTP_PARSER_ERRNO(&connection->parser) != HPE_OK || connection->parser.upgrade)
        return 400;
    return -1;
}

static void move(struct connection *connection, enum state state, int events, uint64_t deadline_ns) {
    connection->state = state;
    (void)sonde_watch_change(connection->watch, events);
    set_deadline(connection, deadline_ns);
}

static void next_request(struct connection *connection) {
    connection->complete = false;
    connection->refusal = 0;
    connection->head_size = 0;
    http_parser_init(&connection->parser, HTTP_REQUEST);
    connection->parser.data = connection;
}

/** Sends the output. False when the connection is gone. */
static bool write_output(struct connection *connection) {
    while (connection->output_at < connection->output_end) {
        ssize_t sent = send(connection->fd, connection->output + connection->output_at,
                            connection->output_end - connection->output_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (connection->state != WRITE)
                move(connection, WRITE, SONDE_WATCH_WRITE, WRITE_TIMEOUT_NS);
            return true;
        }
        if (sent < 0) {
            connection_destroy(connection);
            return false;
        }
        connection->output_at += (size_t)sent;
    }
    sonde_alloc_free(&connection->server->alloc, connection->output);
    connection->output = NULL;
    if (connection->close_after) {
        (void)shutdown(connection->fd, SHUT_WR);
        move(connection, LINGER, SONDE_WATCH_READ, LINGER_NS);
        return true;
    }
    next_request(connection);
    move(connection, READ, SONDE_WATCH_READ, connection->server->options.head_timeout_ns);
    return true;
}

/** Answers what is complete in the input, one after the other, until it runs out or the socket is full. */
static void serve_input(struct connection *connection) {
    while (connection->state == READ && connection->input_at < connection->input_end) {
        int status = parse_input(connection);
        if (status < 0)
            break;
        bool put = status ? answer_refusal(connection, status) : answer_request(connection);
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

static void on_event(void *user, int events) {
    struct connection *connection = user;
    if (connection->state == READ || connection->state == LINGER) {
        if (events & SONDE_WATCH_READ)
            on_readable(connection);
        return;
    }
    if (connection->state == WRITE && write_output(connection) && connection->state == READ)
        serve_input(connection);
}

static void on_deadline(void *user) {
    struct connection *connection = user;
    bool begun = connection->state == READ && connection->head_size > 0;
    if (begun && answer_refusal(connection, 408))
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
    next_request(connection);
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
        waiting = connection->state == WRITE || connection->state == WAIT ? waiting : connection;
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
