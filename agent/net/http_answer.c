/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as bytes: a head and a body, or a head and what a stream makes of itself, in chunks (to HTTP/1.0 as it is,
 * until the connection is closed). */
#include "agent/net/http_connection.h"
#include <stdio.h>
#include <string.h>

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

static bool is_chunked(const struct connection *connection) {
    return connection->parser.http_major > 1 || connection->parser.http_minor >= 1;
}

static int format_head(char *text, size_t size, const struct connection *connection,
                       const struct sonde_http_answer *answer) {
    char refresh[40] = "", length[60], retry[40] = "", encoding[60] = "";
    if (answer->refresh_seconds)
        (void)snprintf(refresh, sizeof refresh, "Refresh: %u\r\n", answer->refresh_seconds);
    if (answer->retry_after_seconds)
        (void)snprintf(retry, sizeof retry, "Retry-After: %u\r\n", answer->retry_after_seconds);
    if (answer->content_encoding)
        (void)snprintf(encoding, sizeof encoding, "Content-Encoding: %s\r\n", answer->content_encoding);
    if (!answer->stream.next && !answer->would_stream)
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", answer->body_size);
    else
        (void)snprintf(length, sizeof length, "Vary: Accept, Accept-Encoding\r\n%s",
                       is_chunked(connection) ? "Transfer-Encoding: chunked\r\n" : "");
    return snprintf(text, size,
                    "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s%s%s%s%s%s"
                    "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self' data:; "
                    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
                    "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
                    "Cross-Origin-Resource-Policy: same-origin\r\nCache-Control: no-store\r\n\r\n",
                    answer->status, reason_of(answer->status), answer->content_type, length, encoding, refresh, retry,
                    answer->status == 405 ? "Allow: GET, HEAD\r\n" : "",
                    connection->close_after ? "Connection: close\r\n" : "");
}

bool sonde__http_answer_put(struct connection *connection, const struct sonde_http_answer *answer, bool head_only) {
    char head[1400];
    connection->stream = answer->stream;
    connection->stream_done = false;
    connection->close_after |= (answer->stream.next || answer->would_stream) && !is_chunked(connection);
    int head_size = format_head(head, sizeof head, connection, answer);
    size_t body_size = head_only ? 0 : answer->body_size;
    if (head_only)
        sonde__http_stream_end(connection, false);
    connection->output_room = (size_t)head_size + body_size;
    connection->output = sonde_alloc_new(&connection->server->alloc, connection->output_room);
    if (!connection->output)
        return false;
    memcpy(connection->output, head, (size_t)head_size);
    if (body_size)
        memcpy(connection->output + head_size, answer->body, body_size);
    connection->output_at = 0;
    connection->output_end = (size_t)head_size + body_size;
    return true;
}

bool sonde__http_refusal_put(struct connection *connection, int status) {
    const char *text = text_of(status);
    struct sonde_http_answer answer = {.status = status,
                                       .content_type = "text/plain; charset=utf-8",
                                       .body = (char *)(uintptr_t)text, /* only read */
                                       .body_size = strlen(text)};
    connection->close_after = true;
    return sonde__http_answer_put(connection, &answer, connection->parser.method == HTTP_HEAD && status != 400);
}

void sonde__http_stream_end(struct connection *connection, bool is_whole) {
    struct sonde_http_stream stream = connection->stream;
    connection->stream = (struct sonde_http_stream){.next = NULL};
    if (stream.next)
        stream.end(stream.self, is_whole);
}

/* Room for a chunk's head and end around it. */
#define FRAME_SIZE 40u

bool sonde__http_piece_put(struct connection *connection) {
    const char *data = "";
    size_t size = 0;
    if (connection->stream.next(connection->stream.self, &data, &size, &connection->stream_done))
        return false;
    if (size + FRAME_SIZE > connection->output_room) {
        char *grown =
            connection->server->alloc.resize(connection->server->alloc.self, connection->output, size + FRAME_SIZE);
        if (!grown)
            return false;
        connection->output = grown;
        connection->output_room = size + FRAME_SIZE;
    }
    char *at = connection->output;
    bool chunked = is_chunked(connection);
    if (size && chunked)
        at += snprintf(at, FRAME_SIZE, "%zx\r\n", size);
    if (size)
        memcpy(at, data, size);
    at += size;
    const char *end = !chunked ? "" : size && connection->stream_done ? "\r\n0\r\n\r\n" : size ? "\r\n" : "0\r\n\r\n";
    size_t end_size = size || connection->stream_done ? strlen(end) : 0;
    memcpy(at, end, end_size);
    connection->output_at = 0;
    connection->output_end = (size_t)(at - connection->output) + end_size;
    return true;
}
