/* SPDX-License-Identifier: Apache-2.0 */
/* One POST with libcurl: a client span per attempt, its context in the headers, one measurement of
 * http.client.request.duration. Source: semantic conventions, http/http-spans.md#http-client-span. */
#include "shop.h"
#include <pthread.h>
#include <sonde/carrier/curl.h>
#include <stdio.h>
#include <stdlib.h>

static struct sonde_instrument duration;

static void once_init(void) {
    curl_global_init(CURL_GLOBAL_ALL);
    duration = shop_duration_histogram("http.client.request.duration", "Duration of HTTP client requests.");
}

static size_t discard(char *data, size_t size, size_t count, void *user) {
    (void)data, (void)user;
    return size * count;
}

/* host and port of "http://host:port/..." */
static void url_parts(const char *url, char host[128], int64_t *ret_port) {
    int port = 80;
    host[0] = 0;
    (void)sscanf(url, "http://%127[^:/]:%d", host, &port);
    *ret_port = port;
}

static void finish(struct sonde_span *span, CURLcode code, long status, const char *host, int64_t port,
                   double seconds) {
    char error[24] = "";
    if (code != CURLE_OK) {
        shop_span_fail(span, "ConnectionError", curl_easy_strerror(code));
        (void)snprintf(error, sizeof error, "ConnectionError");
    } else {
        sonde_span_set_int64(span, SONDE_KEY("http.response.status_code"), status);
        if (status >= 400) {
            (void)snprintf(error, sizeof error, "%ld", status);
            sonde_span_set_cstr(span, SONDE_KEY("error.type"), error);
            sonde_span_set_status(span, SONDE_STATUS_ERROR, NULL);
        }
    }
    sonde_span_end(span);

    struct sonde_attribute attributes[5] = {
        SHOP_STRING("http.request.method", "POST"),
        SHOP_STRING("server.address", host),
        SHOP_INT("server.port", port),
    };
    size_t count = 3;
    if (code == CURLE_OK)
        attributes[count++] = SHOP_INT("http.response.status_code", status);
    if (error[0])
        attributes[count++] = SHOP_STRING("error.type", error);
    sonde_instrument_record(duration, seconds, attributes, count);
}

long shop_post(const char *url, const char *json, int resend_count) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, once_init);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char host[128];
    int64_t port = 0;
    url_parts(url, host, &port);

    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.kind = SONDE_SPAN_KIND_CLIENT;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("POST"), &options);
    sonde_span_set_cstr(&span, SONDE_KEY("http.request.method"), "POST");
    sonde_span_set_cstr(&span, SONDE_KEY("url.full"), url);
    sonde_span_set_cstr(&span, SONDE_KEY("server.address"), host);
    sonde_span_set_int64(&span, SONDE_KEY("server.port"), port);
    if (resend_count > 0)
        sonde_span_set_int64(&span, SONDE_KEY("http.request.resend_count"), resend_count);

    struct sonde_carrier carrier = sonde_curl_carrier(&headers);
    (void)sonde_inject(NULL, &carrier); /* NULL: the current context, which is this span */

    double started = shop_seconds();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long status = 0;
    if (curl && headers) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 2000L);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        code = curl_easy_perform(curl);
        if (code == CURLE_OK)
            curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    finish(&span, code, status, host, port, shop_seconds() - started);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}
