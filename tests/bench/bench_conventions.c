/* SPDX-License-Identifier: Apache-2.0 */
/* Conventional spans as a service makes them, through libsonde.so: a served HTTP request whose parent comes out of 12
 * headers, with its required attributes and its duration; a batch of 100 messages, each with a context of its own and a
 * send time, linked to one consumer span: contexts extracted before, and from three headers each. */
#include "tests/bench/reader.h"
#include <sonde/carrier/http.h>

enum { ROUTES = 64, BATCH = 100, HEADERS = 12 };
static char routes[ROUTES][24], paths[ROUTES][24], parents[1024][SONDE_TRACEPARENT_SIZE + 1];
static struct sonde_http_header request_headers[HEADERS];

static void http_server_span(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_http_server request;
        request_headers[HEADERS - 1] = (struct sonde_http_header){{"traceparent", 11}, {parents[i & 1023], 55}};
        struct sonde_http_headers list = {.headers = request_headers, .count = HEADERS};
        struct sonde_carrier headers = sonde_http_carrier(&list);
        sonde_http_server_init(&request);
        request.method = i & 1 ? (struct sonde_string){"POST", 4} : (struct sonde_string){"GET", 3};
        request.scheme = (struct sonde_string){"https", 5};
        request.path = (struct sonde_string){paths[i % ROUTES], 16};
        request.route = (struct sonde_string){routes[i % ROUTES], 16};
        sonde_http_server_start(&request, &headers);
        request.status_code = 200 + (int)(i & 3);
        sonde_http_server_end(&request);
        after(i);
    }
}

static struct sonde_http_header message_headers[BATCH][3];
static struct sonde_http_headers message_lists[BATCH];
static struct sonde_message messages[BATCH], known_messages[BATCH];
static struct sonde_context contexts[BATCH];
static char sent[BATCH][32];

static void consume(uint64_t count, const struct sonde_message *batch) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_messaging process;
        sonde_messaging_init(&process, SONDE_MESSAGING_PROCESS);
        process.system = (struct sonde_string){"kafka", 5};
        process.destination = (struct sonde_string){"orders", 6};
        process.consumer_group = (struct sonde_string){"shipping", 8};
        process.messages = batch;
        process.message_count = BATCH;
        sonde_messaging_start(&process);
        sonde_messaging_end(&process);
        if (i % 32 == 31) /* a record has 5 KiB */
            reader_advance();
    }
}

/* The contexts are at hand; extraction has figures of its own. */
static void consume_100(uint64_t count) {
    consume(count, known_messages);
}
static void consume_100_carriers(uint64_t count) {
    consume(count, messages);
}

static const char *check(void) {
    return drops() ? "something was dropped" : NULL;
}

static void prepare(void) {
    static const char *const names[] = {"host",   "user-agent",      "accept",        "accept-encoding",
                                        "cookie", "accept-language", "authorization", "content-type",
                                        "origin", "referer",         "x-request-id"};
    for (int i = 0; i < HEADERS - 1; i++)
        request_headers[i] = (struct sonde_http_header){{names[i], strlen(names[i])}, {"value", 5}};
    for (int i = 0; i < ROUTES; i++) {
        (void)snprintf(routes[i], sizeof routes[i], "/api/%02d/user/{id}", i);
        (void)snprintf(paths[i], sizeof paths[i], "/api/%02d/user/%05d", i, i * 7919);
    }
    for (int i = 0; i < 1024; i++)
        (void)snprintf(parents[i], sizeof parents[i], "00-4bf92f3577b34da6%016x-00f067aa%08x-01", i * 2654435761u + 1,
                       i * 40503u + 1);
    for (int i = 0; i < BATCH; i++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t us = (uint64_t)now.tv_sec * 1000000u - 50000u - (uint64_t)i * 1000u;
        (void)snprintf(sent[i], sizeof sent[i], "sonde=s:%llx", (unsigned long long)us);
        message_headers[i][0] = (struct sonde_http_header){{"content-type", 12}, {"json", 4}};
        message_headers[i][1] = (struct sonde_http_header){{"traceparent", 11}, {parents[i], 55}};
        message_headers[i][2] = (struct sonde_http_header){{"tracestate", 10}, {sent[i], strlen(sent[i])}};
        message_lists[i] = (struct sonde_http_headers){.headers = message_headers[i], .count = 3};
        messages[i].carrier = sonde_http_carrier(&message_lists[i]);
        (void)sonde_extract(&messages[i].carrier, &contexts[i]);
        known_messages[i].context = &contexts[i];
    }
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {"http_server_span", http_server_span, 200000, check, NULL, NULL},
        {"consume_100", consume_100, 5000, check, NULL, NULL},
        {"consume_100_carriers", consume_100_carriers, 5000, check, NULL, NULL},
    };
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    bench_pin(0);
    prepare();
    reader_attach();
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
