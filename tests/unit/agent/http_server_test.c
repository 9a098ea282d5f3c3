/* SPDX-License-Identifier: Apache-2.0 */
/* The server on a real loop and real sockets; the client is a few blocking calls on a thread of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/net/http_server.h"
#include "agent/net/listen.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define BIG (3u << 20)

struct world {
    struct sonde_loop *loop;
    struct sonde__http_server *server;
    struct sonde_string_list hosts;
    struct sonde_timer *poll;
    pthread_t thread;
    _Atomic int done;
    uint16_t port;
    int asked;
    const char *send_text;
    size_t send_size;
    char *got;
    size_t got_size;
    int pieces, ended, ended_whole; /* of streams */
    char accept[600];
    int put_off, resume_at; /* requests that wait; how many of them before they are answered, 0 = never */
};

/* "/stream": three pieces, the second of which is empty; "/endless": never an end; "/broken": an error after the first. */
static int next_piece(void *self, const char **ret_data, size_t *ret_size, bool *ret_done) {
    struct world *world = self;
    int piece = world->pieces++;
    *ret_data = piece == 0 ? "first," : piece == 1 ? "" : "third";
    *ret_size = strlen(*ret_data);
    *ret_done = piece == 2;
    return 0;
}
static int next_of_endless(void *self, const char **ret_data, size_t *ret_size, bool *ret_done) {
    static char large[65536];
    ((struct world *)self)->pieces++;
    *ret_data = large;
    *ret_size = sizeof large;
    *ret_done = false;
    return 0;
}
static int next_of_broken(void *self, const char **ret_data, size_t *ret_size, bool *ret_done) {
    struct world *world = self;
    *ret_data = "half";
    *ret_size = 4;
    *ret_done = false;
    return world->pieces++ ? -1 : 0;
}
static void stream_end(void *self, bool is_whole) {
    struct world *world = self;
    world->ended++;
    world->ended_whole += is_whole;
}

static bool handle_stream(struct world *world, const struct sonde_http_asked *asked, struct sonde_http_answer *answer) {
    if (strcmp(asked->path, "/head") == 0 && asked->head_only) {
        answer->status = 200;
        return answer->would_stream = true;
    }
    answer->stream = (struct sonde_http_stream){.end = stream_end, .self = world};
    if (strcmp(asked->path, "/stream") == 0)
        answer->stream.next = next_piece;
    else if (strcmp(asked->path, "/endless") == 0)
        answer->stream.next = next_of_endless;
    else if (strcmp(asked->path, "/broken") == 0)
        answer->stream.next = next_of_broken;
    if (!answer->stream.next)
        return false;
    (void)snprintf(world->accept, sizeof world->accept, "%.250s|%.250s", asked->accept, asked->accept_encoding);
    world->pieces = 0;
    answer->status = 200;
    answer->content_encoding = "x-none";
    return true;
}

static void handle(void *user, const struct sonde_http_asked *asked, struct sonde_http_answer *answer) {
    struct world *world = user;
    const struct sonde_alloc *alloc = &sonde_loop_seams(world->loop)->alloc;
    world->asked++;
    if (strcmp(asked->path, "/none") == 0 || handle_stream(world, asked, answer))
        return;
    answer->later = strcmp(asked->path, "/later") == 0 && !asked->again;
    if (answer->later) {
        world->put_off++;
        return;
    }
    size_t size = strcmp(asked->path, "/big") == 0 ? BIG : 200;
    answer->body = sonde_alloc_new(alloc, size);
    memset(answer->body, 'x', size);
    if (size == 200)
        size = (size_t)snprintf(answer->body, size, "<%s|%s>", asked->path, asked->query);
    answer->status = 200;
    answer->content_type = "text/plain";
    answer->body_size = size;
}

static int dial(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 20};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        abort();
    return fd;
}

static void *client(void *user) { /* sends all, says it will send no more, reads until the end */
    struct world *world = user;
    int fd = dial(world->port);
    for (size_t at = 0; at < world->send_size;) {
        ssize_t sent = send(fd, world->send_text + at, world->send_size - at, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        at += (size_t)sent;
    }
    ssize_t got;
    while ((got = recv(fd, world->got + world->got_size, 8 * BIG - world->got_size - 1, 0)) > 0)
        world->got_size += (size_t)got;
    world->got[world->got_size] = '\0';
    close(fd);
    world->done = 1;
    return NULL;
}

static void on_poll(void *user) {
    struct world *world = user;
    const struct sonde_time *time = &sonde_loop_seams(world->loop)->time;
    if (world->resume_at && world->put_off >= world->resume_at) {
        world->put_off = 0;
        sonde__http_server_resume(world->server);
    }
    if (world->done)
        sonde_loop_stop(world->loop);
    else
        sonde_timer_set(world->poll, time->monotonic_ns(time->self) + 1000000);
}

static void open_world(struct world *world, uint64_t head_timeout_ns) {
    static char name[] = "Sonde.example";
    static char *names[] = {name};
    char why[300];
    memset(world, 0, sizeof *world);
    world->hosts = (struct sonde_string_list){names, 1};
    assert_int_equal(sonde_loop_create(&world->loop), 0);
    struct sonde__http_server_options options = {.listen = "127.0.0.1:0",
                                                 .allowed_hosts = &world->hosts,
                                                 .handle = handle,
                                                 .user = world,
                                                 .head_timeout_ns = head_timeout_ns,
                                                 .stream_timeout_ns = 300000000};
    assert_int_equal(sonde__http_server_create(world->loop, &options, &world->server, why, sizeof why), 0);
    world->port = (uint16_t)strtoul(strchr(sonde__http_server_address(world->server), ':') + 1, NULL, 10);
    world->got = malloc(8 * BIG);
    assert_int_equal(sonde_timer_create(world->loop, on_poll, world, &world->poll), 0);
}
static const char *talk_n(struct world *world, const char *text, size_t size) {
    world->send_text = text;
    world->send_size = size;
    world->got_size = 0;
    world->done = 0;
    assert_int_equal(pthread_create(&world->thread, NULL, client, world), 0);
    sonde_timer_set(world->poll, 1);
    sonde_loop_run(world->loop);
    pthread_join(world->thread, NULL);
    return world->got;
}
static const char *talk(struct world *world, const char *text) {
    return talk_n(world, text, strlen(text));
}
static void close_world(struct world *world) {
    free(world->got);
    sonde_timer_destroy(world->poll);
    sonde__http_server_destroy(world->server);
    sonde_loop_destroy(world->loop);
}
static size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}
#define H    "Host: localhost:1\r\n"
#define LAST "Connection: close\r\n\r\n"

static void get_is_answered_with_safe_headers(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    const char *got = talk(&world, "GET /a?b=c HTTP/1.1\r\n" H LAST);
    assert_ptr_equal(strstr(got, "HTTP/1.1 200 OK\r\n"), got);
    assert_non_null(strstr(got, "\r\n\r\n</a|b=c>"));
    assert_non_null(strstr(got, "Content-Security-Policy: default-src 'none';"));
    assert_non_null(strstr(got, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(got, "Referrer-Policy: no-referrer\r\n"));
    assert_non_null(strstr(got, "Connection: close\r\n"));
    assert_null(strstr(got, "Access-Control"));
    got = talk(&world, "GET /none HTTP/1.1\r\n" H LAST);
    assert_non_null(strstr(got, "HTTP/1.1 404 "));
    close_world(&world);
}

static void head_has_the_length_and_no_body(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    const char *got = talk(&world, "HEAD /a HTTP/1.1\r\n" H LAST);
    assert_non_null(strstr(got, "Content-Length: 5\r\n"));
    assert_string_equal(got + world.got_size - 4, "\r\n\r\n");
    close_world(&world);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    const char *got =
        talk(&world, "GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\nGET /3 HTTP/1.1\r\n" H LAST);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 3);
    assert_true(strstr(got, "</1|>") < strstr(got, "</2|>") && strstr(got, "</2|>") < strstr(got, "</3|>"));
    got = talk(&world, "GET /big HTTP/1.1\r\n" H "\r\nGET /big HTTP/1.1\r\n" H "\r\nGET /3 HTTP/1.1\r\n" H LAST);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 3);
    assert_true(world.got_size > 2 * BIG);
    assert_string_equal(got + world.got_size - 5, "</3|>");
    close_world(&world);
}

static void put_off_requests_are_answered_when_resumed(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    world.resume_at = 1;
    const char *got = talk(&world, "GET /later?q HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H
                                   "\r\nHEAD /later HTTP/1.1\r\n" H "\r\nGET /later HTTP/1.1\r\n" H LAST);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 4); /* what was pipelined waited its turn */
    assert_true(strstr(got, "</later|q>") < strstr(got, "</2|>"));
    assert_string_equal(got + world.got_size - 9, "</later|>");
    assert_int_equal(world.asked, 4 + 3);
    /* Two connections, one of which goes before it is answered. */
    world.resume_at = 2;
    int fd = dial(world.port);
    static const char request[] = "GET /later HTTP/1.1\r\n" H "\r\n";
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    close(fd);
    got = talk(&world, "GET /later?b HTTP/1.1\r\n" H LAST);
    assert_non_null(strstr(got, "\r\n\r\n</later|b>"));
    close_world(&world);
}

static void destroy_closes_what_waits(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    int fd = dial(world.port);
    static const char request[] = "GET /later HTTP/1.1\r\n" H "\r\n";
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    (void)talk(&world, "GET /2 HTTP/1.1\r\n" H LAST);
    while (!world.put_off)
        (void)talk(&world, "GET /2 HTTP/1.1\r\n" H LAST);
    close_world(&world);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

static void refusals_have_their_status_and_close(void **state) {
    (void)state;
    static const struct {
        const char *text, *status;
    } rows[] = {
        {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "405"},
        {"DELETE / HTTP/1.1\r\n" H "\r\n", "405"},
        {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", "405"},
        {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "405"},
        {"GET / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", "413"},
        {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "413"},
        {"GET / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n" H H "\r\n", "400"},
        {"GET http://localhost/ HTTP/1.1\r\n" H "\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"},
        {"GET / HTTP/1.1\r\nHost: evil.example:4320\r\n\r\n", "421"},
        {"GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", "421"},
        {"GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", "421"},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "421"},
        {"garbage\r\n\r\n", "400"},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls?", "400"},
    };
    struct world world;
    open_world(&world, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = talk(&world, rows[i].text);
        char want[32];
        (void)snprintf(want, sizeof want, "HTTP/1.1 %s ", rows[i].status);
        if (strstr(got, want) != got || count(got, "HTTP/1.1 ") != 1)
            fail_msg("%s\n-> %s", rows[i].text, got);
        assert_non_null(strstr(got, "Connection: close"));
    }
    assert_int_equal(world.asked, 0);
    close_world(&world);
}

static void heads_are_bounded(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    size_t size = 40000;
    char *text = malloc(size + 100);
    int start = snprintf(text, size, "GET / HTTP/1.1\r\n" H "X: ");
    memset(text + start, 'a', size);
    memcpy(text + size, "\r\n\r\n", 5);
    const char *got = talk(&world, text);
    assert_non_null(strstr(got, "HTTP/1.1 431 "));
    start = snprintf(text, size, "GET /");
    memset(text + start, 'a', 3000);
    (void)snprintf(text + 3000, 100, " HTTP/1.1\r\n" H "\r\n");
    got = talk(&world, text);
    assert_non_null(strstr(got, "HTTP/1.1 414 "));
    free(text);
    close_world(&world);
}

static void slow_requests_time_out(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 50000000);
    const char *got = talk(&world, "GET / HTTP/1.1\r\nHost: loc"); /* and no more: recv waits for the server */
    assert_non_null(strstr(got, "HTTP/1.1 408 "));
    got = talk(&world, "");
    assert_int_equal(world.got_size, 0);
    assert_int_equal(world.asked, 0);
    close_world(&world);
}

static void streams_go_out_in_chunks(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    const char *got = talk(&world, "GET /stream HTTP/1.1\r\n" H "Accept: a/b;q=0.5\r\nACCEPT-encoding: gzip\r\n"
                                   "Accept: c/d\r\nX-Accept: e\r\n\r\nGET /2 HTTP/1.1\r\n" H LAST);
    assert_non_null(strstr(got, "Transfer-Encoding: chunked\r\nContent-Encoding: x-none\r\n"));
    assert_null(strstr(strstr(got, "first"), "Transfer-Encoding"));
    assert_non_null(strstr(got, "\r\n\r\n6\r\nfirst,\r\n5\r\nthird\r\n0\r\n\r\nHTTP/1.1 200 OK")); /* and goes on */
    assert_string_equal(got + world.got_size - 5, "</2|>");
    assert_string_equal(world.accept, "a/b;q=0.5,c/d|gzip");
    assert_int_equal(world.ended_whole, 1);
    got = talk(&world, "GET /stream HTTP/1.0\r\n" H "\r\n"); /* knows no chunks: until the end */
    assert_null(strstr(got, "chunked"));
    assert_string_equal(got + world.got_size - 11, "first,third");
    got = talk(&world, "HEAD /stream HTTP/1.1\r\n" H LAST);
    assert_string_equal(got + world.got_size - 4, "\r\n\r\n");
    assert_int_equal(world.ended, 3);
    assert_int_equal(world.ended_whole, 2);
    got = talk(&world, "HEAD /head HTTP/1.1\r\n" H LAST); /* the head of a stream that was not begun */
    assert_non_null(strstr(got, "200 OK"));
    assert_non_null(strstr(got, "Transfer-Encoding: chunked\r\n"));
    assert_null(strstr(got, "Content-Length"));
    assert_string_equal(got + world.got_size - 4, "\r\n\r\n");
    assert_int_equal(world.ended, 3);
    close_world(&world);
}

static void broken_streams_do_not_look_whole(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    const char *got = talk(&world, "GET /broken HTTP/1.1\r\n" H "\r\n");
    assert_non_null(strstr(got, "4\r\nhalf\r\n"));
    assert_null(strstr(got, "\r\n0\r\n"));
    assert_int_equal(world.ended, 1);
    assert_int_equal(world.ended_whole, 0);
    got = talk(&world, "GET /endless HTTP/1.1\r\n" H "\r\n"); /* reads all the time, but it takes too long */
    assert_null(strstr(got, "\r\n0\r\n"));
    assert_int_equal(world.ended, 2);
    int fd = dial(world.port); /* goes away in the middle */
    static const char request[] = "GET /endless HTTP/1.1\r\n" H "\r\n";
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    while (world.asked < 3)
        (void)talk(&world, "");
    close(fd);
    while (world.ended < 3)
        (void)talk(&world, "GET /2 HTTP/1.1\r\n" H LAST);
    fd = dial(world.port); /* is there when the server goes */
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    for (int asked = world.asked; world.asked == asked;)
        (void)talk(&world, "");
    close_world(&world);
    assert_int_equal(world.ended, 4);
    assert_int_equal(world.ended_whole, 0);
    close(fd);
}

/* Whoever asks is answered, though 200 others hold a connection and say nothing, or never read what they asked for. */
static void silent_connections_shut_nobody_out(void **state) {
    (void)state;
    static const char *const texts[] = {"GET / HT", "GET /big HTTP/1.1\r\n" H "\r\n"};
    struct world world;
    int fds[200];
    open_world(&world, UINT64_C(3600000000000));
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < 200; i++) {
            fds[i] = dial(world.port);
            assert_true(send(fds[i], texts[t], strlen(texts[t]), MSG_NOSIGNAL) > 0);
            if (i % 20 == 19) /* lets the server accept: more than its backlog would not get in */
                assert_non_null(strstr(talk(&world, "GET /a HTTP/1.1\r\n" H LAST), "HTTP/1.1 200 OK"));
        }
        for (size_t i = 0; i < 200; i++)
            close(fds[i]);
    }
    close_world(&world);
}

static void destroy_closes_what_is_open(void **state) {
    (void)state;
    struct world world;
    open_world(&world, 0);
    int fd = dial(world.port);
    (void)talk(&world, "GET / HTTP/1.1\r\n" H LAST);
    sonde__http_server_destroy(world.server);
    world.server = NULL;
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    close_world(&world);
}

static void listen_addresses_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *listen;
        bool insecure, good;
    } rows[] = {
        {"127.0.0.1:0", false, true},   {"localhost:0", false, true},   {"0.0.0.0:0", false, false},
        {"0.0.0.0:0", true, true},      {"example.org:1", true, false}, {"127.0.0.1", false, false},
        {"127.0.0.1:", false, false},   {":1", false, false},           {"127.0.0.1:65536", false, false},
        {"127.0.0.1:1x", false, false}, {"[::1", false, false},         {"::1:1", false, false},
    };
    struct sonde_loop *loop;
    assert_int_equal(sonde_loop_create(&loop), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sonde__http_server *server = NULL;
        struct sonde__http_server_options options = {
            .listen = rows[i].listen, .insecure = rows[i].insecure, .handle = handle};
        char why[300] = "";
        int error = sonde__http_server_create(loop, &options, &server, why, sizeof why);
        if ((error == 0) != rows[i].good)
            fail_msg("%s: %d %s", rows[i].listen, error, why);
        assert_true(error == 0 || strstr(why, "agent.listen"));
        sonde__http_server_destroy(server);
    }
    sonde_loop_destroy(loop);
}

static void hosts_are_matched_as_a_whole(void **state) {
    (void)state;
    static char name[] = "Sonde.example";
    static char *names[] = {name};
    const struct sonde_string_list list = {names, 1};
    assert_true(sonde__host_is_allowed("localhost", &list, false));
    assert_true(sonde__host_is_allowed("LOCALHOST:80", &list, false));
    assert_true(sonde__host_is_allowed("127.9.9.9:80", &list, false));
    assert_true(sonde__host_is_allowed("[::1]:80", &list, false));
    assert_true(sonde__host_is_allowed("sonde.EXAMPLE:4320", &list, false));
    assert_false(sonde__host_is_allowed("sonde.example.evil", &list, false));
    assert_false(sonde__host_is_allowed("localhost:80@evil", &list, false));
    assert_false(sonde__host_is_allowed("", &list, false));
    assert_false(sonde__host_is_allowed("[::1]x", &list, false));
    assert_false(sonde__host_is_allowed("10.1.2.3", &list, false));
    assert_true(sonde__host_is_allowed("10.1.2.3", &list, true));
    assert_false(sonde__host_is_allowed("evil.example", &list, true));
}

static void urls_of_this_machine_are_known(void **state) {
    static const struct {
        const char *url;
        bool loopback;
    } rows[] = {{"http://127.0.0.1:4318/v1/traces", true},
                {"http://127.9.9.9", true},
                {"HTTPS://localhost/x?y=@z", true},
                {"http://LocalHost:80", true},
                {"http://[::1]:4318/", true},
                {"http://user:word@127.0.0.1:4318/", true},
                {"http://127.0.0.1@evil.example/", false},
                {"http://localhost.evil.example/", false},
                {"http://127.0.0.1.evil.example:80", false},
                {"http://10.0.0.1:4318", false},
                {"http://evil.example/127.0.0.1", false},
                {"http://evil.example/?@127.0.0.1", false},
                {"http://", false},
                {"ftp://127.0.0.1", false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (sonde__url_is_loopback(rows[i].url) != rows[i].loopback)
            fail_msg("%s", rows[i].url);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_is_answered_with_safe_headers),
        cmocka_unit_test(head_has_the_length_and_no_body),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(put_off_requests_are_answered_when_resumed),
        cmocka_unit_test(destroy_closes_what_waits),
        cmocka_unit_test(refusals_have_their_status_and_close),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(slow_requests_time_out),
        cmocka_unit_test(streams_go_out_in_chunks),
        cmocka_unit_test(broken_streams_do_not_look_whole),
        cmocka_unit_test(silent_connections_shut_nobody_out),
        cmocka_unit_test(destroy_closes_what_is_open),
        cmocka_unit_test(listen_addresses_are_checked),
        cmocka_unit_test(hosts_are_matched_as_a_whole),
        cmocka_unit_test(urls_of_this_machine_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
