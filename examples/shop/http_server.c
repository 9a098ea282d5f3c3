/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON server on libmicrohttpd. Each request gets a server span, whose parent comes from the request's headers, and
 * one measurement of http.server.request.duration: sonde/conventions/http.h. */
#include "shop.h"
#include <arpa/inet.h>
#include <microhttpd.h>
#include <sonde/carrier/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BODY_SIZE_MAX 65536u
#define HEADERS_MAX   64u

struct shop_server {
    struct MHD_Daemon *daemon;
    const struct shop_route *routes;
    char port[8];
};

/* One request while its body arrives. */
struct exchange {
    uint64_t started_unix_ns;
    size_t size;
    bool too_big;
    char body[BODY_SIZE_MAX];
};

static uint64_t unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct header_list {
    struct sonde_http_header items[HEADERS_MAX];
    size_t count;
};

static enum MHD_Result header_visit(void *user, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct header_list *list = user;
    (void)kind;
    if (list->count == HEADERS_MAX || !value)
        return MHD_NO;
    list->items[list->count++] = (struct sonde_http_header){{name, strlen(name)}, {value, strlen(value)}};
    return MHD_YES;
}

/* Starts the server span: a child of the span that the headers tell of. It began when the headers had come.
 * ret_key: the request's, or none. */
static void span_start(struct sonde_http_server *span, const struct shop_server *server,
                       struct MHD_Connection *connection, const struct exchange *exchange,
                       struct sonde_idempotency_key *ret_key) {
    struct header_list list = {.count = 0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, header_visit, &list);
    struct sonde_http_headers headers = {.headers = list.items, .count = list.count};
    struct sonde_carrier carrier = sonde_http_carrier(&headers);
    span->scheme = sonde_text("http");
    span->server_address = sonde_text("127.0.0.1");
    span->server_port = (uint16_t)strtol(server->port, NULL, 10);
    span->start_unix_ns = exchange->started_unix_ns;
    sonde_http_server_start(span, &carrier);
    (void)sonde_idempotency_key_read(&carrier, ret_key);
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, json_t *body) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : strdup("{}");
    if (!text)
        return MHD_NO;
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static const struct shop_route *route_find(const struct shop_server *server, const char *method, const char *path) {
    for (const struct shop_route *r = server->routes; r->method; r++)
        if (strcmp(r->method, method) == 0 && strcmp(r->route, path) == 0)
            return r;
    return NULL;
}

/* The whole request is here: span, handler, answer. The end of the span is also the measurement. */
static enum MHD_Result serve(const struct shop_server *server, struct MHD_Connection *connection, const char *method,
                             const char *path, struct exchange *exchange) {
    const struct shop_route *route = route_find(server, method, path);
    struct sonde_http_server span;
    sonde_http_server_init(&span);
    span.method = sonde_text(method);
    span.path = sonde_text(path);
    if (route)
        span.route = sonde_text(route->route);
    struct sonde_idempotency_key key;
    span_start(&span, server, connection, exchange, &key);

    json_t *reply = NULL;
    unsigned status = MHD_HTTP_NOT_FOUND;
    if (exchange->too_big) {
        status = MHD_HTTP_CONTENT_TOO_LARGE;
    } else if (route) {
        struct shop_request request = {json_loadb(exchange->body, exchange->size, 0, NULL), &span.span, key};
        status = route->handle(&request, &reply);
        json_decref(request.body);
    }
    enum MHD_Result result = answer(connection, status, reply);
    json_decref(reply);
    span.status_code = (int)status;
    sonde_http_server_end(&span);
    return result;
}

/* libmicrohttpd calls this with the headers, then with each piece of the body, then once more with none. */
static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *data, size_t *size, void **state) {
    struct exchange *exchange = *state;
    (void)version;
    if (!exchange) {
        exchange = malloc(sizeof *exchange);
        if (!exchange)
            return MHD_NO;
        exchange->started_unix_ns = unix_ns();
        exchange->size = 0;
        exchange->too_big = false;
        *state = exchange;
        return MHD_YES;
    }
    if (*size == 0)
        return serve(self, connection, method, path, exchange);
    if (*size > sizeof exchange->body - exchange->size) {
        exchange->too_big = true;
    } else {
        memcpy(exchange->body + exchange->size, data, *size);
        exchange->size += *size;
    }
    *size = 0;
    return MHD_YES;
}

static void on_completed(void *self, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)self, (void)connection, (void)code;
    free(*state);
    *state = NULL;
}

struct shop_server *shop_server_start(const char *name, unsigned port, const struct shop_route *routes) {
    struct shop_server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->routes = routes;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, on_request,
                                      server, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_THREAD_POOL_SIZE, 8u,
                                      MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!server->daemon) {
        (void)fprintf(stderr, "%s: cannot listen on 127.0.0.1:%u\n", name, port);
        free(server);
        return NULL;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    (void)snprintf(server->port, sizeof server->port, "%u", info ? info->port : port);
    printf("%s: listening on 127.0.0.1:%s\n", name, server->port);
    (void)fflush(stdout);
    return server;
}

void shop_server_stop(struct shop_server *server) {
    MHD_stop_daemon(server->daemon); /* waits for the requests being served */
    free(server);
}
