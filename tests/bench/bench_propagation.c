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
enum { COMPOSITE = 20 };
static struct sonde_http_header composite[COMPOSITE];
static char tracestate[1024];
static const char baggage[] = "userId=alice,serverNode=DF%2028,isProduction=false,tenant=blue,region=eu-west-1,"
                              "session=8f3c2a,experiment=checkout-b,priority=high,channel=mobile,locale=de-DE";
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

/* Three formats (five names of b3's two forms among them) out of 20 headers, of which four are theirs. */
static void extract_composite(uint64_t count) {
    static struct sonde_context context;
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    uint64_t sum = 0;
    options.propagators = NULL;
    if (sonde_propagators_set("tracecontext,baggage,b3"))
        abort();
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_http_header *at = composite + COMPOSITE - 4;
        at[0].value.data = texts[i % VARIANTS];
        struct sonde_http_headers list = {.headers = composite, .count = COMPOSITE};
        struct sonde_carrier carrier = sonde_http_carrier(&list);
        sum += (uint64_t)sonde_extract_with(&carrier, &options, &context) + context.span.span_id[3];
    }
    sink += sum;
    (void)sonde_propagators_set("");
}

static const char *check_composite(void) {
    static struct sonde_context context;
    struct sonde_http_headers list = {.headers = composite, .count = COMPOSITE};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = "tracecontext,baggage,b3";
    bool good = sonde_extract_with(&carrier, &options, &context) == SONDE_EXTRACT_OK &&
                context.baggage_length == sizeof "tenant=blue,user=42" - 1 && context.span.trace_id[0] == 0x80;
    return good ? NULL : "the composite did not find its context and baggage";
}

/* The list of 32 members of the W3C harness, carried on as it came: read into a context, copied out again. */
static void tracestate_32(uint64_t count) {
    static struct sonde_context context;
    uint64_t sum = 0;
    size_t size = strlen(tracestate);
    for (uint64_t i = 0; i < count; i++) {
        context.tracestate_length = 0;
        sum += sonde_tracestate_append(&context, tracestate, size);
        memcpy(headers_text, context.tracestate, context.tracestate_length);
        sum += (uint8_t)headers_text[i % size];
    }
    sink += sum;
}

static const char *check_tracestate(void) {
    return memcmp(headers_text, tracestate, strlen(tracestate)) == 0 ? NULL : "the list did not go on as it came";
}

static void extract_baggage_10(uint64_t count) {
    static struct sonde_context context;
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    uint64_t sum = 0;
    (void)sonde_propagators_set("baggage");
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_http_header in[1] = {{{"baggage", 7}, {baggage, strlen(baggage)}}};
        struct sonde_http_headers list = {.headers = in, .count = 1};
        struct sonde_carrier carrier = sonde_http_carrier(&list);
        sum += (uint64_t)sonde_extract_with(&carrier, &options, &context) + context.baggage_length;
    }
    if (sum != count * (SONDE_EXTRACT_BAGGAGE + strlen(baggage)))
        abort();
    sink += sum;
    (void)sonde_propagators_set("");
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
        {"extract_composite", extract_composite, 200000, check_composite, NULL, NULL},
        {"tracestate_32", tracestate_32, 100000, check_tracestate, NULL, NULL},
        {"extract_baggage_10", extract_baggage_10, 200000, NULL, NULL, NULL},
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
    static const char *const more[COMPOSITE - HEADERS + 1 - 4] = {"Referer", "Origin", "Cookie", "X-Real-Ip",
                                                                  "Forwarded"};
    for (int i = 0; i < COMPOSITE - 4; i++) {
        const char *name = i < HEADERS - 1 ? names[i] : more[i - HEADERS + 1];
        composite[i] = (struct sonde_http_header){{name, strlen(name)}, {"some value of a header", 22}};
    }
    composite[COMPOSITE - 4] = (struct sonde_http_header){{"traceparent", 11}, {texts[0], 55}};
    composite[COMPOSITE - 3] = (struct sonde_http_header){{"tracestate", 10}, {"a=1,vendor=xyz", 14}};
    composite[COMPOSITE - 2] = (struct sonde_http_header){{"baggage", 7}, {"tenant=blue,user=42", 19}};
    composite[COMPOSITE - 1] =
        (struct sonde_http_header){{"b3", 2}, {"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1", 51}};
    for (int i = 0, at = 0; i < 32; i++)
        at += snprintf(tracestate + at, sizeof tracestate - (size_t)at, "%sbar%02d=%02d", i ? "," : "", i + 1, i + 1);
    return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
}
