/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP 1.1: libcurl calls, libmicrohttpd serves, on the main thread. */
#include "sonde_peer.h"
#include <arpa/inet.h>
#include <microhttpd.h>
#include <sonde/carrier/curl.h>
#include <sonde/carrier/http.h>
#include <sonde/conventions/http.h>
#include <stdio.h>

#define HEADERS_MAX 64
#define BODY        "hello"

struct answer {
    char body[64];
    size_t size;
};

static size_t on_body(char *data, size_t size, size_t count, void *user) {
    struct answer *answer = user;
    require(size * count <= sizeof answer->body - answer->size, "answer fits");
    memcpy(answer->body + answer->size, data, size * count);
    answer->size += size * count;
    return size * count;
}

static long post(const char *url, struct curl_slist *headers, struct answer *ret_answer) {
    long status = 0;
    CURL *easy = curl_easy_init();
    require(easy != NULL, "libcurl");
    (void)curl_easy_setopt(easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, BODY);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, ret_answer);
    (void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    CURLcode code = curl_easy_perform(easy);
    require(code == CURLE_OK, curl_easy_strerror(code));
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(easy);
    return status;
}

static void call(void) {
    char url[256];
    struct answer answer = {.size = 0};
    struct sonde_http_client request;
    struct curl_slist *headers = curl_slist_append(NULL, "content-type: text/plain");
    struct sonde_carrier carrier = sonde_curl_carrier(&headers);
    (void)snprintf(url, sizeof url, "http://%s:%d%s", peer.host, peer.port, peer.destination);
    sonde_http_client_init(&request);
    request.method = sonde_text("POST");
    request.url = sonde_text(url);
    sonde_http_client_start(&request, &carrier);
    peer_remember(PEER_SENT, &request.span);
    peer_sent(carrier);
    request.status_code = (int)post(url, headers, &answer);
    sonde_http_client_end(&request);
    curl_slist_free_all(headers);
    curl_global_cleanup();
    require(request.status_code == 200 && answer.size == sizeof BODY - 1 && memcmp(answer.body, BODY, answer.size) == 0,
            "the answer");
}

struct header_list {
    struct sonde_http_header items[HEADERS_MAX];
    size_t count;
};

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct header_list *list = user;
    (void)kind;
    require(list->count < HEADERS_MAX, "headers fit");
    list->items[list->count++] = (struct sonde_http_header){sonde_text(name), sonde_text(value ? value : "")};
    return MHD_YES;
}

static void handle(struct MHD_Connection *connection, const char *path, const char *method) {
    struct header_list list = {.count = 0};
    struct sonde_http_server request;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &list);
    struct sonde_http_headers headers = {.headers = list.items, .count = list.count};
    struct sonde_carrier carrier = sonde_http_carrier(&headers);
    sonde_http_server_init(&request);
    request.method = sonde_text(method);
    request.scheme = sonde_text("http");
    request.path = sonde_text(path);
    request.route = sonde_text(peer.destination);
    sonde_http_server_start(&request, &carrier);
    peer_remember(PEER_PARENT, &request.span);
    peer_seen(carrier);
    request.status_code = 200;
    sonde_http_server_end(&request);
}

static bool served;

/* Called with the headers, with each piece of the body, and once more when that is through. */
static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *data, size_t *size, void **state) {
    static struct answer body;
    (void)self, (void)version;
    if (!*state) {
        body.size = 0;
        *state = &body;
        return MHD_YES;
    }
    if (*size) {
        (void)on_body((char *)(uintptr_t)data, 1, *size, &body);
        *size = 0;
        return MHD_YES;
    }
    require(strcmp(path, peer.destination) == 0, "the path");
    handle(connection, path, method);
    struct MHD_Response *response = MHD_create_response_from_buffer(body.size, body.body, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void on_completed(void *self, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)self, (void)connection, (void)state;
    require(code == MHD_REQUEST_TERMINATED_COMPLETED_OK, "the answer is sent");
    served = true;
}

static void serve(void) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)peer.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &address,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    require(daemon != NULL, "listen");
    peer_ready(MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    while (!served)
        require(MHD_run_wait(daemon, -1) == MHD_YES, "run");
    MHD_stop_daemon(daemon);
}

const struct peer_calls peer_http = {"http", call, serve};
