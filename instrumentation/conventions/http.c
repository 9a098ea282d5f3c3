/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/conventions/origin.h"
#include "instrumentation/conventions/seen.h"
#include "instrumentation/conventions/url.h"
#include "instrumentation/resource/environment.h"
#include <pthread.h>
#include <sonde/conventions/http.h>
#include <sonde/propagation.h>
#include <stdlib.h>

/* ---- methods ---- */

#define METHODS_MAX 32
static struct sonde_string methods[METHODS_MAX] = {
    {"GET", 3},     {"POST", 4},  {"PUT", 3},     {"DELETE", 6}, {"HEAD", 4},
    {"OPTIONS", 7}, {"PATCH", 5}, {"CONNECT", 7}, {"TRACE", 5},  {"QUERY", 5},
};
static size_t method_count = 10;
static char method_text[512]; /* what the environment says */

/* OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS replaces the list as a whole. */
static void methods_read(void) {
    static const char variable[] = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    if (!sonde__environment_copy(variable, method_text, sizeof method_text))
        return;
    if (!method_text[strspn(method_text, ", ")]) {
        sonde__environment_refused(variable, method_text, "a list of methods");
        return;
    }
    method_count = 0;
    for (const char *at = method_text, *end = at + strlen(method_text); at < end && method_count < METHODS_MAX;) {
        size_t length = strcspn(at, ", ");
        if (length)
            methods[method_count++] = (struct sonde_string){at, length};
        at += length + 1;
    }
}

static bool method_is_known(struct sonde_string method) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, methods_read);
    for (size_t i = 0; i < method_count; i++)
        if (methods[i].size == method.size && memcmp(methods[i].data, method.data, method.size) == 0)
            return true;
    return false;
}

static const struct sonde_string other = {"_OTHER", 6};

/* "GET /users/{id}"; the name of an unknown method is HTTP, and the path is never in it. */
static void name_make(struct sonde__name *name, struct sonde_string method, bool known, struct sonde_string pattern) {
    name->size = 0;
    sonde__name_add(name, known ? method.data : "HTTP", known ? method.size : 4);
    if (pattern.size) {
        sonde__name_add(name, " ", 1);
        sonde__name_add(name, pattern.data, pattern.size);
    }
}

static void set_method(struct sonde_span *span, struct sonde_string method, bool known) {
    sonde__set_text(span, SONDE_KEY("http.request.method"), known ? method : other);
    if (!known)
        sonde__set_text(span, SONDE_KEY("http.request.method_original"), method);
}

/* ---- how it ended ---- */

/* The status code as text: error.type of a response that is an error. */
static struct sonde_string code_text(int code, char ret_text[3]) {
    ret_text[0] = (char)('0' + code / 100 % 10);
    ret_text[1] = (char)('0' + code / 10 % 10);
    ret_text[2] = (char)('0' + code % 10);
    return (struct sonde_string){ret_text, 3};
}

/* Sets status code, error.type and status. Returns the error's type, empty when there was none.
 *  error_from  the lowest status code that is an error. */
static struct sonde_string set_outcome(struct sonde_span *span, int code, const char *error_type, int error_from,
                                       char ret_text[3]) {
    struct sonde_string error = sonde__text_of(error_type);
    if (code)
        sonde_span_set_int64(span, SONDE_KEY("http.response.status_code"), code);
    if (!error.size && code >= error_from && code <= 999)
        error = code_text(code, ret_text);
    if (error.size)
        sonde__set_error(span, error);
    return error;
}

/* ---- server ---- */

static void server_attributes(struct sonde_http_server *request, bool known) {
    struct sonde_span *span = &request->span;
    char buffer[SONDE__URL_SIZE_MAX];
    set_method(span, request->method, known);
    sonde__set_text(span, SONDE_KEY("url.path"), request->path);
    sonde__set_text(span, SONDE_KEY("url.scheme"), request->scheme);
    sonde__set_text(span, SONDE_KEY("http.route"), request->route);
    if (request->query.size)
        sonde__set_text(span, SONDE_KEY("url.query"), sonde__query_redact(request->query, buffer));
    sonde__set_text(span, SONDE_KEY("network.protocol.version"), request->protocol_version);
    sonde__set_text(span, SONDE_KEY("server.address"), request->server_address);
    sonde__set_number(span, SONDE_KEY("server.port"), request->server_port);
    sonde__set_text(span, SONDE_KEY("client.address"), request->client_address);
    sonde__set_text(span, SONDE_KEY("network.peer.address"), request->peer_address);
    sonde__set_number(span, SONDE_KEY("network.peer.port"), request->peer_port);
    sonde__set_text(span, SONDE_KEY("user_agent.original"), request->user_agent);
}

void sonde_http_server_start(struct sonde_http_server *request, const struct sonde_carrier *headers) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde__origin origin;
    struct sonde__name name;
    if (request->size < sizeof *request)
        return;
    sonde__operation_begin(request->internal, request->start_unix_ns);
    options.kind = SONDE_SPAN_KIND_SERVER;
    options.parent = request->parent;
    bool remote = !options.parent && headers;
    if (remote) {
        sonde__origin_read(&origin, headers, request->entry);
        options.parent = &origin.parent;
    }
    options.start_unix_ns = request->start_unix_ns;
    options.scope = sonde__convention_scope(request->scope);
    options.not_current = request->not_current;
    bool known = method_is_known(request->method);
    name_make(&name, request->method, known, request->route);
    sonde_span_start(&request->span, sonde__name_key(&name), &options);
    if (request->span.slot)
        server_attributes(request, known);
    if (remote && request->span.slot)
        sonde__origin_note(&origin, &request->span);
    if (request->route.size)
        request->internal[SONDE__STATE] |= SONDE__STATE_NAMED;
}

void sonde_http_server_end(struct sonde_http_server *request) {
    struct sonde__set set;
    char text[3];
    if (!sonde__operation_finish(request->internal))
        return;
    double seconds = sonde__operation_seconds(request->internal);
    bool known = method_is_known(request->method);
    if (request->route.size && !(request->internal[SONDE__STATE] & SONDE__STATE_NAMED)) {
        struct sonde__name name;
        name_make(&name, request->method, known, request->route);
        sonde_span_set_name(&request->span, sonde__name_key(&name));
        sonde__set_text(&request->span, SONDE_KEY("http.route"), request->route);
    }
    struct sonde_string error = set_outcome(&request->span, request->status_code, request->error_type, 500, text);

    sonde__set_init(&set);
    sonde__set_add(&set, SONDE_KEY("error.type"), error);
    sonde__set_add(&set, SONDE_KEY("http.request.method"), known ? request->method : other);
    sonde__set_add_number(&set, SONDE_KEY("http.response.status_code"), request->status_code);
    sonde__set_add(&set, SONDE_KEY("http.route"), request->route);
    sonde__set_add(&set, SONDE_KEY("network.protocol.version"), request->protocol_version);
    sonde__set_add(&set, SONDE_KEY("url.scheme"), request->scheme);
    sonde_histogram_record(sonde__series_of(SONDE__METRIC_HTTP_SERVER, &set),
                           seconds); /* before the end, so that an exemplar is of this span */
    sonde_span_end(&request->span);
}

/* ---- client ---- */

static void client_attributes(struct sonde_http_client *request, bool known) {
    struct sonde_span *span = &request->span;
    char buffer[SONDE__URL_SIZE_MAX];
    set_method(span, request->method, known);
    sonde__set_text(span, SONDE_KEY("url.full"), sonde__url_redact(request->url, buffer));
    sonde__set_text(span, SONDE_KEY("url.template"), request->url_template);
    sonde__set_text(span, SONDE_KEY("server.address"), request->server_address);
    sonde__set_number(span, SONDE_KEY("server.port"), request->server_port);
    sonde__set_number(span, SONDE_KEY("http.request.resend_count"), request->resend_count);
    sonde__set_text(span, SONDE_KEY("user_agent.original"), request->user_agent);
}

void sonde_http_client_start(struct sonde_http_client *request, const struct sonde_carrier *headers) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde__name name;
    if (request->size < sizeof *request)
        return;
    sonde__operation_begin(request->internal, request->start_unix_ns);
    if (!request->server_address.size)
        (void)sonde__url_server(request->url, &request->server_address, &request->server_port);
    options.kind = SONDE_SPAN_KIND_CLIENT;
    options.parent = request->parent;
    options.start_unix_ns = request->start_unix_ns;
    options.scope = sonde__convention_scope(request->scope);
    options.not_current = request->not_current;
    bool known = method_is_known(request->method);
    name_make(&name, request->method, known, request->url_template);
    sonde_span_start(&request->span, sonde__name_key(&name), &options);
    if (request->span.slot)
        client_attributes(request, known);
    if (headers) {
        struct sonde_context context;
        sonde_span_context_get(&request->span, &context);
        (void)sonde_inject(&context, headers); /* no room: the request goes out all the same */
    }
}

void sonde_http_client_end(struct sonde_http_client *request) {
    struct sonde__set set;
    char text[3];
    if (!sonde__operation_finish(request->internal))
        return;
    double seconds = sonde__operation_seconds(request->internal);
    struct sonde_span *span = &request->span;
    sonde__set_text(span, SONDE_KEY("network.protocol.version"), request->protocol_version);
    sonde__set_text(span, SONDE_KEY("network.peer.address"), request->peer_address);
    sonde__set_number(span, SONDE_KEY("network.peer.port"), request->peer_port);
    struct sonde_string error = set_outcome(span, request->status_code, request->error_type, 400, text);

    sonde__set_init(&set);
    sonde__set_add(&set, SONDE_KEY("error.type"), error);
    sonde__set_add(&set, SONDE_KEY("http.request.method"), method_is_known(request->method) ? request->method : other);
    sonde__set_add_number(&set, SONDE_KEY("http.response.status_code"), request->status_code);
    sonde__set_add(&set, SONDE_KEY("network.protocol.version"), request->protocol_version);
    sonde__set_add(&set, SONDE_KEY("server.address"), request->server_address);
    sonde__set_add_number(&set, SONDE_KEY("server.port"), request->server_port);
    sonde__set_add(&set, SONDE_KEY("url.template"), request->url_template);
    sonde_histogram_record(sonde__series_of(SONDE__METRIC_HTTP_CLIENT, &set),
                           seconds); /* before the end, so that an exemplar is of this span */
    sonde_span_end(span);
}
