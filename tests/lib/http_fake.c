/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/http_fake.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void http_fake_init(struct http_fake *fake) {
    memset(fake, 0, sizeof *fake);
}

void http_fake_deinit(struct http_fake *fake) {
    for (size_t i = 0; i < fake->count; i++) {
        free(fake->exchanges[i]->body);
        free(fake->exchanges[i]);
    }
}

static int fake_start(void *self, const struct sonde_http_request *request, sonde_http_done done, void *user,
                      void **ret_exchange) {
    struct http_fake *fake = self;
    if (fake->start_error)
        return fake->start_error;
    if (fake->count == sizeof fake->exchanges / sizeof *fake->exchanges)
        abort(); /* a test that runs away */
    struct http_fake_exchange *exchange = calloc(1, sizeof *exchange);
    uint8_t *body = malloc(request->body_size + 1);
    if (!exchange || !body)
        abort();
    if (request->body_size)
        memcpy(body, request->body, request->body_size);
    (void)snprintf(exchange->method, sizeof exchange->method, "%s", request->method);
    (void)snprintf(exchange->url, sizeof exchange->url, "%s", request->url);
    (void)snprintf(exchange->content_type, sizeof exchange->content_type, "%s",
                   request->content_type ? request->content_type : "");
    (void)snprintf(exchange->content_encoding, sizeof exchange->content_encoding, "%s",
                   request->content_encoding ? request->content_encoding : "");
    (void)snprintf(exchange->response_header, sizeof exchange->response_header, "%s",
                   request->response_header ? request->response_header : "");
    for (size_t i = 0, at = 0; request->headers && i < request->headers->count && at < sizeof exchange->headers; i++)
        at += (size_t)snprintf(exchange->headers + at, sizeof exchange->headers - at, "%s: %s\n",
                               request->headers->keys[i], request->headers->values[i]);
    exchange->body = body;
    exchange->body_size = request->body_size;
    exchange->response_size_max = request->response_size_max;
    exchange->timeout_ns = request->timeout_ns;
    exchange->open = true;
    exchange->done = done;
    exchange->user = user;
    exchange->owner = fake;
    fake->exchanges[fake->count++] = exchange;
    if (++fake->open_count > fake->open_max)
        fake->open_max = fake->open_count;
    *ret_exchange = exchange;
    return 0;
}

static void fake_cancel(void *self, void *exchange) {
    struct http_fake *fake = self;
    struct http_fake_exchange *cancelled = exchange;
    if (!cancelled->open)
        abort();
    cancelled->open = false;
    fake->open_count--;
    fake->cancelled++;
}

struct sonde__http_client http_fake_client(struct http_fake *fake) {
    return (struct sonde__http_client){fake_start, fake_cancel, fake};
}

size_t http_fake_open(const struct http_fake *fake) {
    for (size_t i = 0; i < fake->count; i++) {
        if (fake->exchanges[i]->open)
            return i;
    }
    return SIZE_MAX;
}

void http_fake_respond(struct http_fake *fake, size_t index, struct sonde_http_response response) {
    struct http_fake_exchange *exchange = fake->exchanges[index];
    if (index >= fake->count || !exchange->open)
        abort();
    exchange->open = false;
    fake->open_count--;
    response.error_text = response.error_text ? response.error_text : "";
    response.content_type = response.content_type ? response.content_type : "";
    response.retry_after = response.retry_after ? response.retry_after : "";
    response.date = response.date ? response.date : "";
    response.header = response.header ? response.header : "";
    exchange->done(exchange->user, &response);
}

void http_fake_answer(struct http_fake *fake, size_t index, int status) {
    http_fake_respond(fake, index, (struct sonde_http_response){.status = status});
}
