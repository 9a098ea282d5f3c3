/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC, one unary call over h2c, by nghttp2 on a blocking socket. Its metadata are HTTP/2 fields, its status is in the
 * trailers. Source: gRPC over HTTP2 (PROTOCOL-HTTP2.md). */
#include "sonde_peer.h"
#include <arpa/inet.h>
#include <sonde/carrier/nghttp2.h>
#include <sonde/conventions/rpc.h>
#include <stdio.h>
#include <unistd.h>

#define FIELDS_MAX 64
#define FRAME      "\0\0\0\0\x07\x0a\x05hello" /* not compressed, 7 bytes, a message whose field 1 is "hello" */
#define FRAME_SIZE 12u

/** One stream. Fields and body are what the other side sent. */
static struct exchange {
    nghttp2_nv fields[FIELDS_MAX];
    size_t field_count, text_used, body_size;
    char text[16384], body[64];
    bool is_server, ended, closed;
} exchange;

static const uint8_t *keep(const uint8_t *text, size_t size) {
    require(size <= sizeof exchange.text - exchange.text_used, "fields fit");
    char *to = exchange.text + exchange.text_used;
    memcpy(to, text, size);
    exchange.text_used += size;
    return (const uint8_t *)to;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    (void)session, (void)frame, (void)flags, (void)user;
    require(exchange.field_count < FIELDS_MAX, "fields fit");
    exchange.fields[exchange.field_count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)keep(name, name_size),
                                                           .value = (uint8_t *)(uintptr_t)keep(value, value_size),
                                                           .namelen = name_size,
                                                           .valuelen = value_size};
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *user) {
    (void)session, (void)flags, (void)stream, (void)user;
    require(size <= sizeof exchange.body - exchange.body_size, "body fits");
    memcpy(exchange.body + exchange.body_size, data, size);
    exchange.body_size += size;
    return 0;
}

static bool field_is(const char *name, const char *value) {
    struct sonde_nghttp2_headers headers = {.nva = exchange.fields, .count = exchange.field_count};
    struct sonde_string found;
    return sonde_nghttp2_get(&headers, sonde_text(name), &found) && found.size == strlen(value) &&
           memcmp(found.data, value, found.size) == 0;
}

static void require_message(void) {
    require(exchange.body_size == FRAME_SIZE && memcmp(exchange.body, FRAME, FRAME_SIZE) == 0, "the message");
}

static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static ssize_t body_read(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
    (void)source, (void)user;
    require(size >= FRAME_SIZE, "room");
    memcpy(buffer, FRAME, FRAME_SIZE);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (exchange.is_server) {
        nghttp2_nv trailers[] = {field("grpc-status", "0")};
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        require(nghttp2_submit_trailer(session, stream, trailers, 1) == 0, "trailers");
    }
    return FRAME_SIZE;
}
static const nghttp2_data_provider provider = {.read_callback = body_read};

static void handle(nghttp2_session *session, int32_t stream) {
    struct sonde_nghttp2_headers metadata = {.nva = exchange.fields, .count = exchange.field_count};
    struct sonde_carrier carrier = sonde_nghttp2_carrier(&metadata);
    struct sonde_rpc call;
    char path[256];
    (void)snprintf(path, sizeof path, "/%s", peer.destination);
    require(field_is(":path", path), "the method");
    require_message();
    sonde_rpc_init(&call);
    call.method = sonde_text(peer.destination);
    sonde_rpc_server_start(&call, &carrier);
    peer_remember(PEER_PARENT, &call.span);
    peer_seen(carrier);
    call.grpc_status = 0;
    sonde_rpc_server_end(&call);
    nghttp2_nv headers[] = {field(":status", "200"), field("content-type", "application/grpc")};
    require(nghttp2_submit_response(session, stream, headers, 2, &provider) == 0, "respond");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    exchange.ended = true;
    if (exchange.is_server)
        handle(session, frame->hd.stream_id);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
    (void)stream, (void)user;
    require(error == NGHTTP2_NO_ERROR && exchange.ended, "the stream ends well");
    exchange.closed = true;
    return nghttp2_session_terminate_session(session, NGHTTP2_NO_ERROR);
}

static nghttp2_session *session_new(bool is_server) {
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session *session = NULL;
    exchange.is_server = is_server;
    require(nghttp2_session_callbacks_new(&callbacks) == 0, "memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    require((is_server ? nghttp2_session_server_new(&session, callbacks, NULL)
                       : nghttp2_session_client_new(&session, callbacks, NULL)) == 0,
            "session");
    nghttp2_session_callbacks_del(callbacks);
    require(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0) == 0, "settings");
    return session;
}

static void flush(nghttp2_session *session, int fd) {
    const uint8_t *bytes;
    ssize_t size;
    while ((size = nghttp2_session_mem_send(session, &bytes)) > 0)
        for (ssize_t done = 0, part; done < size; done += part) {
            part = write(fd, bytes + done, (size_t)(size - done));
            require(part > 0, "write");
        }
    require(size == 0, "send");
}

/** Reads and writes until the stream is closed; then, as a server, until the client has gone, so that it has all. */
static void run(nghttp2_session *session, int fd) {
    uint8_t buffer[4096];
    ssize_t size = 1;
    flush(session, fd);
    while (size > 0 && !(exchange.closed && !exchange.is_server)) {
        size = read(fd, buffer, sizeof buffer);
        if (size > 0 && !exchange.closed) {
            require(nghttp2_session_mem_recv(session, buffer, (size_t)size) == size, "recv");
            flush(session, fd);
        }
    }
    require(exchange.closed, "the call is through");
    nghttp2_session_del(session);
}

static struct sockaddr_in address_of(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void call(void) {
    char authority[96], path[256], text[SONDE_NGHTTP2_INJECT_SIZE];
    (void)snprintf(authority, sizeof authority, "%s:%d", peer.host, peer.port);
    (void)snprintf(path, sizeof path, "/%s", peer.destination);
    nghttp2_nv nva[16] = {field(":method", "POST"), field(":scheme", "http"),
                          field(":path", path),     field(":authority", authority),
                          field("te", "trailers"),  field("content-type", "application/grpc")};
    struct sonde_nghttp2_headers metadata = {nva, 6, 16, text, sizeof text, 0};
    struct sonde_carrier carrier = sonde_nghttp2_carrier(&metadata);
    struct sockaddr_in address = address_of(peer.port);
    struct sonde_rpc rpc;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    nghttp2_session *session = session_new(false);
    sonde_rpc_init(&rpc);
    rpc.method = sonde_text(peer.destination);
    rpc.server_address = sonde_text(peer.host);
    rpc.server_port = (uint16_t)peer.port;
    sonde_rpc_client_start(&rpc, &carrier);
    peer_remember(PEER_SENT, &rpc.span);
    peer_sent(carrier);
    require(nghttp2_submit_request(session, NULL, nva, metadata.count, &provider, NULL) > 0, "request");
    run(session, fd);
    rpc.grpc_status = field_is("grpc-status", "0") ? 0 : 2;
    sonde_rpc_client_end(&rpc);
    (void)close(fd);
    require(field_is(":status", "200") && rpc.grpc_status == 0, "the status");
    require_message();
}

static void serve(void) {
    struct sockaddr_in address = address_of(peer.port);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0 &&
                getsockname(listener, (struct sockaddr *)&address, &size) == 0,
            "listen");
    peer_ready(ntohs(address.sin_port));
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    require(fd >= 0, "accept");
    run(session_new(true), fd);
    (void)close(fd);
    (void)close(listener);
}

const struct peer_calls peer_grpc = {"grpc", call, serve};
