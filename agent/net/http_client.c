/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl asks for sockets to be watched and for a timer; the loop tells it what happened; finished transfers are
 * handed on from a timer of our own, so that `done` is never called from inside `start` and may start, cancel and
 * destroy.
 *
 *   start -> curl_multi_add_handle ... socket/timer events -> curl_multi_socket_action -> reap -> done
 *
 * A transfer that timed out takes its connection with it (libcurl closes a connection whose HTTP/1 exchange is not
 * complete), so the next one is made on a fresh one. */
#include "agent/net/http_client.h"
#include "agent/net/listen.h"
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define USER_AGENT           "sonde/0.1.0"
/* All headers of an answer, trailers and informational ones included. */
#define RESPONSE_HEADERS_MAX 65536u
/* Idle connections kept, over all hosts. */
#define CONNECTIONS_KEPT     16L
#define CONNECT_TIMEOUT_MS   5000L
/* What libcurl sends in one go. */
#define UPLOAD_SIZE_DEFAULT  65536u
#define UPLOAD_SIZE_LARGE    524288L
/* A changed address is seen within this. */
#define DNS_CACHE_S          30L
/* What was sent and not acknowledged for this long: the connection is dead (half-open TCP). */
#define TCP_USER_TIMEOUT_MS  15000u

struct exchange {
    TAILQ_ENTRY(exchange) link;
    struct sonde_http_curl *client;
    CURL *easy;
    struct curl_slist *headers; /* owned; may hold secrets, never logged */
    sonde_http_done done;
    void *user;
    uint8_t *body; /* owned */
    size_t body_size, body_capacity, body_max, headers_size;
    bool too_big, no_memory;
    const char *wanted_header; /* borrowed; NULL = none */
    char content_type[128], retry_after[64], date[64], header[256];
    char error_text[CURL_ERROR_SIZE];
};
TAILQ_HEAD(exchange_list, exchange);

struct sonde_http_curl {
    struct sonde_loop *loop;
    struct sonde_alloc alloc;
    struct sonde_time time;
    CURLM *multi;
    struct sonde_timer *timer; /* libcurl's */
    struct sonde_timer *reap;  /* ours */
    struct exchange_list exchanges;
};
struct socket_watch {
    struct sonde_http_curl *client;
    curl_socket_t fd;
    struct sonde_watch *watch;
};

/* --- libcurl on the loop --- */

static void http_reap_soon(struct sonde_http_curl *client) {
    sonde_timer_set(client->reap, 0);
}

static void http_act(struct sonde_http_curl *client, curl_socket_t fd, int events) {
    int running;
    (void)curl_multi_socket_action(client->multi, fd, events, &running); /* errors come out of the transfers */
    http_reap_soon(client);
}

static void on_timer(void *user) {
    http_act(user, CURL_SOCKET_TIMEOUT, 0);
}

static void on_socket(void *user, int events) {
    struct socket_watch *socket = user;
    int flags = (events & SONDE_WATCH_READ ? CURL_CSELECT_IN : 0) | (events & SONDE_WATCH_WRITE ? CURL_CSELECT_OUT : 0);
    http_act(socket->client, socket->fd, flags); /* may free `socket` */
}

static int curl_timer(CURLM *multi, long timeout_ms, void *user) {
    struct sonde_http_curl *client = user;
    (void)multi;
    if (timeout_ms < 0)
        sonde_timer_clear(client->timer);
    else
        sonde_timer_set(client->timer, client->time.monotonic_ns(client->time.self) + (uint64_t)timeout_ms * 1000000u);
    return 0;
}

static int curl_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user) {
    struct sonde_http_curl *client = user;
    struct socket_watch *socket = socket_user;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (socket) {
            sonde_watch_destroy(socket->watch);
            sonde_alloc_free(&client->alloc, socket);
        }
        (void)curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    int events = (what & CURL_POLL_IN ? SONDE_WATCH_READ : 0) | (what & CURL_POLL_OUT ? SONDE_WATCH_WRITE : 0);
    if (socket)
        return sonde_watch_change(socket->watch, events) ? -1 : 0;
    socket = sonde_alloc_new(&client->alloc, sizeof *socket);
    if (!socket)
        return -1; /* libcurl fails the transfers; they are tried again */
    *socket = (struct socket_watch){.client = client, .fd = fd};
    if (sonde_watch_create(client->loop, fd, events, on_socket, socket, &socket->watch) != 0) {
        sonde_alloc_free(&client->alloc, socket);
        return -1;
    }
    (void)curl_multi_assign(client->multi, fd, socket);
    return 0;
}

/* Before connect: our limits on how long a silent peer is believed in. Errors are harmless (a socket that is not TCP).
 */
static int curl_sockopt(void *user, curl_socket_t fd, curlsocktype purpose) {
    unsigned timeout_ms = TCP_USER_TIMEOUT_MS;
    (void)user;
    (void)purpose;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    return CURL_SOCKOPT_OK;
}

/* --- an answer coming in --- */

static size_t on_body(char *data, size_t size, size_t count, void *user) {
    struct exchange *exchange = user;
    size_t more = size * count;
    if (more > exchange->body_max - exchange->body_size) {
        exchange->too_big = true;
        return CURL_WRITEFUNC_ERROR;
    }
    size_t wanted = exchange->body_size + more;
    if (wanted > exchange->body_capacity) {
        size_t capacity = exchange->body_capacity ? exchange->body_capacity : 512;
        while (capacity < wanted)
            capacity *= 2;
        const struct sonde_alloc *alloc = &exchange->client->alloc;
        uint8_t *body = alloc->resize(alloc->self, exchange->body, capacity);
        if (!body) {
            exchange->no_memory = true;
            return CURL_WRITEFUNC_ERROR;
        }
        exchange->body = body;
        exchange->body_capacity = capacity;
    }
    memcpy(exchange->body + exchange->body_size, data, more);
    exchange->body_size = wanted;
    return more;
}

/* Copies the value of a header line when it is the one named; values that do not fit are as good as absent. */
static void header_take(const char *line, size_t size, const char *name, char *value, size_t value_size) {
    size_t name_size = strlen(name);
    if (size <= name_size || strncasecmp(line, name, name_size) != 0 || line[name_size] != ':')
        return;
    const char *at = line + name_size + 1, *end = line + size;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t length = (size_t)(end - at);
    if (length >= value_size || memchr(at, '\0', length))
        return;
    memcpy(value, at, length);
    value[length] = '\0';
}

static size_t on_header(char *data, size_t size, size_t count, void *user) {
    struct exchange *exchange = user;
    size_t length = size * count;
    exchange->headers_size += length;
    if (exchange->headers_size > RESPONSE_HEADERS_MAX) {
        exchange->too_big = true;
        return length + 1; /* anything but length ends the transfer */
    }
    if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
        exchange->content_type[0] = exchange->retry_after[0] = exchange->date[0] = exchange->header[0] =
            '\0'; /* after a 1xx */
    header_take(data, length, "content-type", exchange->content_type, sizeof exchange->content_type);
    header_take(data, length, "retry-after", exchange->retry_after, sizeof exchange->retry_after);
    header_take(data, length, "date", exchange->date, sizeof exchange->date);
    if (exchange->wanted_header)
        header_take(data, length, exchange->wanted_header, exchange->header, sizeof exchange->header);
    return length;
}

/* --- exchanges --- */

static void exchange_destroy(struct exchange *exchange) {
    struct sonde_alloc alloc = exchange->client->alloc;
    if (exchange->easy) {
        (void)curl_multi_remove_handle(exchange->client->multi, exchange->easy);
        curl_easy_cleanup(exchange->easy);
    }
    curl_slist_free_all(exchange->headers);
    TAILQ_REMOVE(&exchange->client->exchanges, exchange, link);
    sonde_alloc_free(&alloc, exchange->body);
    sonde_alloc_free(&alloc, exchange);
}

static int exchange_error(const struct exchange *exchange, CURLcode code) {
    if (exchange->too_big)
        return SONDE_ETOOBIG;
    if (exchange->no_memory)
        return -ENOMEM;
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return -ECONNRESET;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default: /* TLS, certificates, answers that are not HTTP */
        return -EPROTO;
    }
}

static void exchange_end(struct exchange *exchange, CURLcode code) {
    long status = 0;
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    int error = exchange_error(exchange, code);
    if (error == 0 && (status < 100 || status > 599)) /* HTTP/0.9, or a made-up number */
        error = -EPROTO;
    const char *text = exchange->error_text[0] ? exchange->error_text : curl_easy_strerror(code);
    const struct sonde_http_response response = {.error = error,
                                                 .error_text = error ? text : "",
                                                 .status = (int)status,
                                                 .content_type = exchange->content_type,
                                                 .retry_after = exchange->retry_after,
                                                 .date = exchange->date,
                                                 .header = exchange->header,
                                                 .body = exchange->body,
                                                 .body_size = exchange->body_size};
    /* Out of the list and out of libcurl first: done may start others, or destroy the client. */
    struct sonde_http_curl *client = exchange->client;
    struct sonde_alloc alloc = client->alloc;
    (void)curl_multi_remove_handle(client->multi, exchange->easy);
    TAILQ_REMOVE(&client->exchanges, exchange, link);
    exchange->done(exchange->user, &response);
    curl_easy_cleanup(exchange->easy);
    curl_slist_free_all(exchange->headers);
    sonde_alloc_free(&alloc, exchange->body);
    sonde_alloc_free(&alloc, exchange);
}

/* One at a time: done may cancel exchanges, which takes their messages away, or destroy the client. The timer is set
 * again before, while the client is surely there. */
static void on_reap(void *user) {
    struct sonde_http_curl *client = user;
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(client->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        struct exchange *exchange = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exchange);
        if (left > 0)
            http_reap_soon(client);
        exchange_end(exchange, code);
        return;
    }
}

static bool headers_add(struct exchange *exchange, const char *name, const char *value) {
    const struct sonde_alloc *alloc = &exchange->client->alloc;
    size_t name_size = strlen(name), value_size = strlen(value);
    char *line = sonde_alloc_new(alloc, name_size + value_size + 3);
    if (!line)
        return false;
    /* "Name;" is libcurl's way to send a header without a value, "Name:" to send none. */
    memcpy(line, name, name_size);
    memcpy(line + name_size, value_size ? ": " : ";", 2); /* with ";" its NUL too */
    if (value_size)
        memcpy(line + name_size + 2, value, value_size + 1);
    struct curl_slist *list = curl_slist_append(exchange->headers, line);
    sonde_alloc_free(alloc, line);
    if (list)
        exchange->headers = list;
    return list != NULL;
}

static bool headers_make(struct exchange *exchange, const struct sonde_http_request *request) {
    bool ok = true;
    if (request->aws_sigv4) {
        /* No "Expect:": libcurl 7.88 signs it though it is not sent, and sends none with so small a body. */
        const char *token = request->aws_sigv4->session_token;
        ok = !token || !*token || headers_add(exchange, "X-Amz-Security-Token", token);
    } else {
        exchange->headers = curl_slist_append(NULL, "Expect:");
        ok = exchange->headers != NULL;
    }
    if (request->content_type)
        ok = ok && headers_add(exchange, "Content-Type", request->content_type);
    if (request->content_encoding)
        ok = ok && headers_add(exchange, "Content-Encoding", request->content_encoding);
    for (size_t i = 0; request->headers && i < request->headers->count; i++)
        ok = ok && headers_add(exchange, request->headers->keys[i], request->headers->values[i]);
    return ok;
}

static CURLcode set_tls(CURL *easy, const struct sonde_tls_options *tls) {
    CURLcode code = CURLE_OK;
    if (!tls)
        return code;
    if (tls->ca_file && *tls->ca_file)
        code = curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file);
    if (!code && tls->cert_file && *tls->cert_file)
        code = curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
    if (!code && tls->key_file && *tls->key_file)
        code = curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
    if (!code && tls->insecure_skip_verify) {
        (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return code;
}

static CURLcode set_aws_sigv4(CURL *easy, const struct sonde__http_aws_sigv4 *signing) {
    char scope[128];
    int size = snprintf(scope, sizeof scope, "aws:amz:%s:%s", signing->region, signing->service);
    if (size < 0 || (size_t)size >= sizeof scope)
        return CURLE_BAD_FUNCTION_ARGUMENT;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, scope);
    if (!code)
        code = curl_easy_setopt(easy, CURLOPT_USERNAME, signing->access_key_id);
    return code ? code : curl_easy_setopt(easy, CURLOPT_PASSWORD, signing->secret_access_key);
}

/* Options that copy text can run out of memory: those are checked; the others cannot fail with these values. */
static CURLcode set_request(struct exchange *exchange, const struct sonde_http_request *request) {
    CURL *easy = exchange->easy;
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, (void *)exchange);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error_text);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->timeout_ns / 1000000u + 1));
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
    (void)curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, curl_sockopt);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, (void *)exchange);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, (void *)exchange);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
    if (request->body) { /* borrowed by libcurl too: it makes no copy */
        (void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, (const char *)request->body);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
        if (request->body_size > UPLOAD_SIZE_DEFAULT) /* one turn of the loop per buffer */
            (void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_SIZE_LARGE);
    }
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request->url);
    /* http_proxy and the like are for what is elsewhere */
    if (!code && (request->no_proxy || sonde__url_is_loopback(request->url)))
        code = curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (!code)
        code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (!code)
        code = curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
    if (!code)
        code = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (!code && request->aws_sigv4)
        code = set_aws_sigv4(easy, request->aws_sigv4);
    return code ? code : set_tls(easy, request->tls);
}

static int http_start(void *self, const struct sonde_http_request *request, sonde_http_done done, void *user,
                      void **ret_exchange) {
    struct sonde_http_curl *client = self;
    struct exchange *exchange = sonde_alloc_new(&client->alloc, sizeof *exchange);
    if (!exchange)
        return -ENOMEM;
    *exchange = (struct exchange){.client = client, .done = done, .user = user, .body_max = request->response_size_max};
    exchange->wanted_header = request->response_header;
    TAILQ_INSERT_TAIL(&client->exchanges, exchange, link);
    exchange->easy = curl_easy_init();
    if (!exchange->easy || !headers_make(exchange, request) || set_request(exchange, request) != CURLE_OK ||
        curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK) {
        exchange_destroy(exchange);
        return -ENOMEM;
    }
    *ret_exchange = exchange;
    return 0;
}

static void http_cancel(void *self, void *exchange) {
    (void)self;
    exchange_destroy(exchange);
}

struct sonde__http_client sonde_http_curl_interface(struct sonde_http_curl *client) {
    return (struct sonde__http_client){http_start, http_cancel, client};
}

/* --- the client --- */

int sonde_http_curl_create(struct sonde_loop *loop, struct sonde_http_curl **ret_client) {
    const struct sonde_seams *seams = sonde_loop_seams(loop);
    struct sonde_http_curl *client = sonde_alloc_new(&seams->alloc, sizeof *client);
    if (!client)
        return -ENOMEM;
    *client = (struct sonde_http_curl){.loop = loop, .alloc = seams->alloc, .time = seams->time};
    TAILQ_INIT(&client->exchanges);
    int error = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM;
    client->multi = error ? NULL : curl_multi_init();
    if (!error && !client->multi)
        error = -ENOMEM;
    if (!error)
        error = sonde_timer_create(loop, on_timer, client, &client->timer);
    if (!error)
        error = sonde_timer_create(loop, on_reap, client, &client->reap);
    if (error) {
        sonde_http_curl_destroy(client);
        return error;
    }
    (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, curl_socket);
    (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, (void *)client);
    (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, curl_timer);
    (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, (void *)client);
    (void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
    *ret_client = client;
    return 0;
}

void sonde_http_curl_destroy(struct sonde_http_curl *client) {
    if (!client)
        return;
    while (!TAILQ_EMPTY(&client->exchanges))
        exchange_destroy(TAILQ_FIRST(&client->exchanges));
    if (client->multi)
        (void)curl_multi_cleanup(client->multi); /* closes sockets, through curl_socket() */
    sonde_timer_destroy(client->timer);
    sonde_timer_destroy(client->reap);
    curl_global_cleanup();
    struct sonde_alloc alloc = client->alloc;
    sonde_alloc_free(&alloc, client);
}
