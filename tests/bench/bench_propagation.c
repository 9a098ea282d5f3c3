/* SPDX-License-Identifier: Apache-2.0 */
/* Context into and out of 55 bytes, and through the HTTP carrier with 12 headers. Values vary; what was written and
 * read is summed, so that nothing is optimised away, and compared afterwards. */
#include "tests/bench/bench.h"
#include <sonde/carrier/http.h>
#include <sonde/sonde.h>

enum { VARIANTS = 1024, HEADERS = 12 };

static struct sonde_span_context contexts[VARIANTS];
static char texts[VARIANTS][SONDE_TRACEPARENT_SIZE];
static struct sonde_http_header headers[HEADERS + 2];
static char headers_text[SONDE_HTTP_INJECT_SIZE];
static volatile uint64_t sink;

static void inject_w3c(uint64_t count) {
    char text[SONDE_TRACEPARENT_SIZE];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += sonde_traceparent_write(&contexts[i % VARIANTS], text) + (uint8_t)text[40];
    sink += sum;
}

static void extract_w3c(uint64_t count) {
    struct sonde_span_context context;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (uint64_t)sonde_traceparent_read(texts[i % VARIANTS], SONDE_TRACEPARENT_SIZE, &context) +
               context.span_id[3];
    sink += sum;
}

static void inject_http(uint64_t count) {
    struct sonde_context context;
    memset(&context, 0, sizeof context);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_http_headers list = {headers, HEADERS - 1, HEADERS + 2, headers_text, sizeof headers_text, 0};
        struct sonde_carrier carrier = sonde_http_carrier(&list);
        context.span = contexts[i % VARIANTS];
        sum += (uint64_t)sonde_inject(&context, &carrier) + list.count;
    }
    sink += sum;
}

static void extract_http(uint64_t count) {
    struct sonde_context context;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        headers[HEADERS - 1] = (struct sonde_http_header){{"Traceparent", 11}, {texts[i % VARIANTS], 55}};
        struct sonde_http_headers list = {.headers = headers, .count = HEADERS};
        struct sonde_carrier carrier = sonde_http_carrier(&list);
        sum += (uint64_t)sonde_extract(&carrier, &context) + context.span.span_id[3];
    }
    sink += sum;
}

static const char *check(void) {
    for (int i = 0; i < VARIANTS; i++) {
        struct sonde_span_context back;
        if (sonde_traceparent_read(texts[i], SONDE_TRACEPARENT_SIZE, &back) != SONDE_EXTRACT_OK ||
            memcmp(back.trace_id, contexts[i].trace_id, 16) != 0 || memcmp(back.span_id, contexts[i].span_id, 8) != 0 ||
            back.flags != contexts[i].flags)
            return "a context did not come back as it was written";
    }
    return NULL;
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {"inject_w3c", inject_w3c, 4000000, check, NULL, NULL},
        {"extract_w3c", extract_w3c, 2000000, check, NULL, NULL},
        {"inject_http", inject_http, 400000, check, NULL, NULL},
        {"extract_http", extract_http, 400000, check, NULL, NULL},
    };
    static const char *const names[HEADERS - 1] = {
        "Host",          "User-Agent",      "Accept",       "Accept-Encoding", "Content-Type",  "Content-Length",
        "Authorization", "X-Forwarded-For", "X-Request-Id", "Cache-Control",   "If-None-Match",
    };
    srand(1);
    for (int i = 0; i < VARIANTS; i++) {
        for (int b = 0; b < 16; b++)
            contexts[i].trace_id[b] = (uint8_t)(1 + rand() % 255);
        for (int b = 0; b < 8; b++)
            contexts[i].span_id[b] = (uint8_t)(1 + rand() % 255);
        contexts[i].flags = (uint8_t)(i & 3);
        (void)sonde_traceparent_write(&contexts[i], texts[i]);
    }
    for (int i = 0; i < HEADERS - 1; i++)
        headers[i] = (struct sonde_http_header){{names[i], strlen(names[i])}, {"some value of a header", 22}};
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
