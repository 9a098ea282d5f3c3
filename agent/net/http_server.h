/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 server for the page, its API and health checks: GET and HEAD only, no bodies in, answers made at
 * once, put off for a moment, or made while they are sent. What comes in is untrusted: the parser (http_parser) stands behind caps on head, time and connections, and a
 * list of hosts (DNS rebinding). All on the loop's thread. */
#ifndef SONDE_AGENT_HTTP_SERVER_H
#define SONDE_AGENT_HTTP_SERVER_H

#include "agent/loop/loop.h"
#include "exporters/option.h"

struct sonde__http_server;

/** What is asked; borrowed during the call. path: from "/", without the query, not decoded. */
struct sonde_http_asked {
    const char *path, *query;             /* query: "" when there is none */
    const char *accept, *accept_encoding; /* headers; "" when there are none; of very long ones the end is missing */
    bool again;                           /* it was put off before */
    bool head_only;                       /* HEAD: no body is sent, so none need be made */
};
/** A body that is made while it is sent, as fast as the socket takes it. */
struct sonde_http_stream {
    /** The next piece, after a millisecond's work at most; perhaps nothing yet. *ret_data is good until the next call.
     *  *ret_done: that was the last one. An error breaks the connection off, so that nobody takes what came for all. */
    int (*next)(void *self, const char **ret_data, size_t *ret_size, bool *ret_done);
    /** Once, at any time. is_whole: the system took all of it. */
    void (*end)(void *self, bool is_whole);
    void *self;
};
/** What is answered. body: owned by the server once returned (the loop's allocator); NULL with size 0 is fine. */
struct sonde_http_answer {
    int status;
    const char *content_type;     /* static, asked's, or the stream's */
    const char *content_encoding; /* same; NULL = none */
    char *body;
    size_t body_size;
    struct sonde_http_stream stream; /* next = NULL: there is none, but body */
    bool would_stream;               /* to head_only: a GET gets a stream, which was not begun */
    uint32_t retry_after_seconds;    /* 0 = not said */
    uint32_t refresh_seconds;        /* 0 = the browser does not ask again by itself */
    bool later; /* not now: handle is called again by sonde__http_server_resume(); the rest is unused */
};

struct sonde__http_server_options {
    const char *listen; /* "127.0.0.1:4320", "[::1]:0", "localhost:4320" */
    bool insecure;      /* a listen address that is not loopback is accepted */
    const struct sonde_string_list *allowed_hosts;
    void (*handle)(void *user, const struct sonde_http_asked *asked, struct sonde_http_answer *ret_answer);
    void *user;
    uint64_t head_timeout_ns;   /* from connect, or the last answer, to a whole request; 0 = 10 s */
    uint64_t stream_timeout_ns; /* for a whole streamed answer; 0 = 60 s */
};

/** options->allowed_hosts is kept. Returns 0, or an error with a sentence in error_text. */
int sonde__http_server_create(struct sonde_loop *loop, const struct sonde__http_server_options *options,
                              struct sonde__http_server **ret_server, char *error_text, size_t error_text_size);
/** Answers what was put off. Not from within handle. */
void sonde__http_server_resume(struct sonde__http_server *server);
void sonde__http_server_destroy(struct sonde__http_server *server); /* NULL is fine; closes connections */
/** The address in use, "127.0.0.1:40123"; valid as long as the server. */
const char *sonde__http_server_address(const struct sonde__http_server *server);

#endif
