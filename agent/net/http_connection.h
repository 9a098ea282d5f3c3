/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the HTTP server, inside agent/net/: what its parts share. */
#ifndef SONDE_AGENT_HTTP_CONNECTION_H
#define SONDE_AGENT_HTTP_CONNECTION_H

#include "agent/net/http_server.h"
#include <http_parser.h>
#include <sys/queue.h>

#define SONDE__URL_SIZE_MAX 1024u

enum sonde__http_state { READ, WAIT, WRITE, STREAM, LINGER };

/* A header's value that is kept; several are joined by commas. */
struct sonde__http_value {
    char text[1024]; /* NUL-terminated once the head is complete */
    size_t size;
    bool is_cut; /* longer: what stands behind the last comma is gone */
};

struct connection {
    LIST_ENTRY(connection) link;
    struct sonde__http_server *server;
    int fd;
    struct sonde_watch *watch;
    struct sonde_timer *timer;
    enum sonde__http_state state;
    http_parser parser;
    bool complete, close_after;
    int refusal; /* status that was decided while parsing; 0 = none */
    size_t head_size;
    int header; /* enum header of http_head.c */
    bool in_value;
    char name[16]; /* of the header at hand; longer names are none of ours */
    size_t name_size;
    char url[SONDE__URL_SIZE_MAX], host[256];
    size_t url_size, host_size, host_count;
    struct sonde__http_value accept, accept_encoding;
    char input[4096];
    size_t input_at, input_end;
    char *output;
    size_t output_at, output_end, output_room;
    struct sonde_http_stream stream; /* next = NULL: none */
    bool stream_done;                /* its last piece is in output */
    uint64_t stream_until_ns;
};

struct sonde__http_server {
    struct sonde_loop *loop;
    struct sonde_alloc alloc;
    struct sonde_time time;
    struct sonde__http_server_options options;
    bool any_address;
    int fd;
    struct sonde_watch *watch;
    struct sonde_timer *retry; /* to accept again after the system had no descriptor */
    LIST_HEAD(, connection) connections;
    size_t connection_count;
    uint64_t streamed_turn; /* of the loop: one piece a turn */
    char address[80];
};

/* http_head.c */
void sonde__http_head_begin(struct connection *connection);
/** Parses what was read. Returns the status of a refusal, 0 when a request is complete, or -1: more is needed. */
int sonde__http_head_parse(struct connection *connection);

/* http_answer.c */
/** Makes the output of an answer; takes its stream. False when there is no memory for it. */
bool sonde__http_answer_put(struct connection *connection, const struct sonde_http_answer *answer, bool head_only);
bool sonde__http_refusal_put(struct connection *connection, int status);
/** Makes the stream's next piece the output, which may be none. False: it failed, and the connection must not look as if
 *  the answer were whole. */
bool sonde__http_piece_put(struct connection *connection);
void sonde__http_stream_end(struct connection *connection, bool is_whole);

#endif
