/* SPDX-License-Identifier: Apache-2.0 */
/* The service that the test harness of W3C Trace Context drives: it answers a POST of a JSON array of
 * {"url": ..., "arguments": ...} by a POST of each `arguments` to its `url`, with the context it was given passed on.
 *
 *     build/examples/w3c-harness-service 5000 &
 *     python test.py http://127.0.0.1:5000/test          (in w3c/trace-context, test/)
 *
 * It sends requests wherever the caller says, so it listens on loopback only. Port 0 takes a free one; the line on
 * standard output tells which. Source: w3c/trace-context, test/README.md. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <jansson.h>
#include <microhttpd.h>
#include <signal.h>
#include <sonde/carrier/curl.h>
#include <sonde/carrier/http.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_SIZE_MAX = 1 << 16, HEADERS_MAX = 128 };

/* One request while its body arrives. */
struct exchange {
    size_t size;
    char body[BODY_SIZE_MAX];
};

struct header_list {
    struct sonde_http_header items[HEADERS_MAX];
    size_t count;
};

static enum MHD_Result header_visit(void *user, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct header_list *list = user;
    (void)kind;
    if (list->count == HEADERS_MAX)
        return MHD_NO;
    value = value ? value : "";
    list->items[list->count++] = (struct sonde_http_header){{name, strlen(name)}, {value, strlen(value)}};
    return MHD_YES;
}

/* The caller's context; without one that is valid, the invalid one: the server's span is then a root. */
static void extract(struct MHD_Connection *connection, struct sonde_context *ret_parent) {
    struct header_list list = {.count = 0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, header_visit, &list);
    struct sonde_http_headers headers = {.headers = list.items, .count = list.count};
    struct sonde_carrier carrier = sonde_http_carrier(&headers);
    (void)sonde_extract(&carrier, ret_parent);
}

static size_t discard(char *data, size_t size, size_t count, void *user) {
    (void)data, (void)user;
    return size * count;
}

/* One POST on, as a client span of its own: so each has a parent-id of its own. Returns whether it was answered. */
static bool post(const char *url, const char *body) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.kind = SONDE_SPAN_KIND_CLIENT;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("POST"), &options);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct sonde_carrier carrier = sonde_curl_carrier(&headers);
    (void)sonde_inject(NULL, &carrier);

    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl && headers) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        code = curl_easy_perform(curl);
    }
    if (code != CURLE_OK)
        sonde_span_set_status(&span, SONDE_STATUS_ERROR, curl_easy_strerror(code));
    sonde_span_end(&span);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code == CURLE_OK;
}

/* Sends what the body asks for. Returns the status to answer with. */
static unsigned send_all(const struct exchange *exchange) {
    unsigned status = MHD_HTTP_OK;
    json_t *items = json_loadb(exchange->body, exchange->size, 0, NULL), *item;
    size_t i;
    if (!json_is_array(items))
        status = MHD_HTTP_BAD_REQUEST;
    json_array_foreach(items, i, item) {
        const char *url = json_string_value(json_object_get(item, "url"));
        char *body = json_dumps(json_object_get(item, "arguments"), JSON_COMPACT | JSON_ENCODE_ANY);
        if (!url)
            status = MHD_HTTP_BAD_REQUEST;
        else if (!post(url, body ? body : "null") && status == MHD_HTTP_OK)
            status = MHD_HTTP_BAD_GATEWAY;
        free(body);
    }
    json_decref(items);
    return status;
}

static enum MHD_Result serve(struct MHD_Connection *connection, const struct exchange *exchange) {
    struct sonde_context parent;
    extract(connection, &parent);
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.kind = SONDE_SPAN_KIND_SERVER;
    options.parent = &parent;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("POST"), &options); /* current from here: parent of each POST on */
    unsigned status = exchange->size > sizeof exchange->body ? MHD_HTTP_CONTENT_TOO_LARGE : send_all(exchange);
    sonde_span_set_int64(&span, SONDE_KEY("http.response.status_code"), status);
    sonde_span_end(&span);

    static char empty[] = "";
    struct MHD_Response *response = MHD_create_response_from_buffer(0, empty, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* libmicrohttpd calls this with the headers, then with each piece of the body, then once more with none. */
static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *data, size_t *size, void **state) {
    struct exchange *exchange = *state;
    (void)self, (void)path, (void)method, (void)version;
    if (!exchange) {
        exchange = malloc(sizeof *exchange);
        if (!exchange)
            return MHD_NO;
        exchange->size = 0;
        *state = exchange;
        return MHD_YES;
    }
    if (*size == 0)
        return serve(connection, exchange);
    if (exchange->size > sizeof exchange->body || *size > sizeof exchange->body - exchange->size) {
        exchange->size = sizeof exchange->body + 1; /* too large */
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

int main(int argc, char **argv) {
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : -1;
    if (port < 0 || port > 65535) {
        (void)fprintf(stderr, "usage: w3c-harness-service PORT\n");
        return 2;
    }
    sigset_t ends;
    int signal_number;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_ALL);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
        &address, MHD_OPTION_THREAD_POOL_SIZE, 4u, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!daemon) {
        (void)fprintf(stderr, "w3c-harness-service: cannot listen on 127.0.0.1:%ld\n", port);
        return 1;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    printf("listening on 127.0.0.1:%u\n", info ? info->port : (unsigned)port);
    (void)fflush(stdout);
    (void)sigwait(&ends, &signal_number);
    MHD_stop_daemon(daemon);
    curl_global_cleanup();
    return 0;
}
