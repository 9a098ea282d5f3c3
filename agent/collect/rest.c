/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/rest.h"
#include "exporters/http_headers.h"
#include "instrumentation/wire/base64.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

int sonde__rest_endpoint_parse(const char *text, bool tls, uint16_t port, struct sonde__endpoint *ret_endpoint) {
    char url[512];
    if (strstr(text, "://"))
        return sonde__endpoint_parse(text, ret_endpoint);
    if (strchr(text, '/'))
        return SONDE_EINVALID;
    const char *bracket = *text == '[' ? strchr(text, ']') : text;
    const char *colon = bracket ? strchr(bracket, ':') : NULL;
    int length = snprintf(url, sizeof url, "%s://%s", tls ? "https" : "http", text);
    if (!colon && length > 0 && (size_t)length < sizeof url)
        length += snprintf(url + length, sizeof url - (size_t)length, ":%u", port);
    if (length < 0 || (size_t)length >= sizeof url)
        return SONDE_EINVALID;
    return sonde__endpoint_parse(url, ret_endpoint);
}

size_t sonde__rest_escape(const char *text, char *ret_text, size_t size) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    size_t at = 0;
    for (; *text; text++) {
        if (at + 4 > size)
            return size;
        unsigned char byte = (unsigned char)*text;
        if (strchr(plain, *text)) {
            ret_text[at++] = *text;
            continue;
        }
        ret_text[at++] = '%';
        ret_text[at++] = digits[byte >> 4];
        ret_text[at++] = digits[byte & 15];
    }
    if (at >= size)
        return size;
    ret_text[at] = '\0';
    return at;
}

/* --- requests --- */

static void header_add(struct sonde__rest *rest, const char *key, const char *value) {
    rest->keys[rest->headers.count] = (char *)(uintptr_t)key;
    rest->values[rest->headers.count++] = (char *)(uintptr_t)value;
}

int sonde__rest_authorize(struct sonde__rest *rest, const char *accept, const char *username, const char *password,
                          const char *token) {
    size_t user_size = strlen(username), password_size = strlen(password);
    rest->headers = (struct sonde_string_map){rest->keys, rest->values, 0};
    header_add(rest, "Accept", accept);
    if (!sonde__http_is_line(token) || !sonde__http_is_line(username) || !sonde__http_is_line(password))
        return SONDE_EINVALID;
    if (strlen(token) > SONDE__REST_SECRET_SIZE_MAX || user_size + password_size > SONDE__REST_SECRET_SIZE_MAX)
        return SONDE_ETOOBIG;
    if (*token)
        (void)snprintf(rest->authorization, sizeof rest->authorization, "Bearer %s", token);
    else if (*username) {
        char plain[SONDE__REST_SECRET_SIZE_MAX + 2];
        int size = snprintf(plain, sizeof plain, "%s:%s", username, password);
        memcpy(rest->authorization, "Basic ", 6);
        size_t end = 6 + sonde__base64_write(plain, (size_t)size, true, rest->authorization + 6);
        rest->authorization[end] = '\0';
        explicit_bzero(plain, sizeof plain);
    }
    if (rest->authorization[0])
        header_add(rest, "Authorization", rest->authorization);
    return 0;
}

static void on_done(void *user, const struct sonde_http_response *response) {
    struct sonde__rest *rest = user;
    rest->exchange = NULL; /* before: done may ask on */
    rest->done(rest->user, response);
}

int sonde__rest_get(struct sonde__rest *rest, const char *base, const char *path,
                    void (*done)(void *user, const struct sonde_http_response *response), void *user) {
    char url[SONDE__REST_URL_SIZE_MAX];
    int length = snprintf(url, sizeof url, "%s%s", base, path);
    if (length < 0 || (size_t)length >= sizeof url)
        return SONDE_ETOOBIG;
    uint64_t now_ns = rest->time->monotonic_ns(rest->time->self);
    if (now_ns >= rest->deadline_ns)
        return -ETIMEDOUT;
    struct sonde_http_request request = {.method = "GET",
                                         .url = url,
                                         .headers = &rest->headers,
                                         .timeout_ns = rest->deadline_ns - now_ns,
                                         .response_size_max = rest->response_size_max,
                                         .tls = rest->tls};
    rest->done = done;
    rest->user = user;
    return rest->http.start(rest->http.self, &request, on_done, rest, &rest->exchange);
}

void sonde__rest_stop(struct sonde__rest *rest) {
    if (rest->exchange)
        rest->http.cancel(rest->http.self, rest->exchange);
    rest->exchange = NULL;
}

void sonde__rest_deinit(struct sonde__rest *rest) {
    sonde__rest_stop(rest);
    explicit_bzero(rest->authorization, sizeof rest->authorization);
}
