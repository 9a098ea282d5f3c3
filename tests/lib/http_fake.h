/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted HTTP client: keeps what was started, answers when told, in any order. */
#ifndef SONDE_TESTS_HTTP_FAKE_H
#define SONDE_TESTS_HTTP_FAKE_H

#include "exporters/http.h"

struct http_fake_exchange {
    char method[8], url[1024], content_type[64], content_encoding[16];
    char headers[512];        /* "Name: value\n" of each of the configuration's, as many as fit */
    char response_header[64]; /* the one that is wanted; "" = none */
    uint8_t *body;            /* a copy, owned */
    size_t body_size, response_size_max;
    uint64_t timeout_ns;
    bool open; /* neither answered nor cancelled */
    sonde_http_done done;
    void *user;
    struct http_fake *owner;
};

struct http_fake {
    struct http_fake_exchange *exchanges[4096]; /* in order of their start */
    size_t count, open_count, open_max, cancelled;
    int start_error; /* non-zero: start fails with it */
};

void http_fake_init(struct http_fake *fake);
void http_fake_deinit(struct http_fake *fake);
struct sonde__http_client http_fake_client(struct http_fake *fake);

/** Index of the oldest exchange that is open, SIZE_MAX when there is none. */
size_t http_fake_open(const struct http_fake *fake);
/** Answers with a status and nothing else. */
void http_fake_answer(struct http_fake *fake, size_t index, int status);
/** Answers with all of a response; NULL strings are taken as "". */
void http_fake_respond(struct http_fake *fake, size_t index, struct sonde_http_response response);

#endif
