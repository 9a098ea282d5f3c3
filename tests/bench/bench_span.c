/* SPDX-License-Identifier: Apache-2.0 */
/* Spans and logs as a service makes them: through libsonde.so, literal keys and names, varying values, child of the
 * current span and made current. The reader is in this process (reader.h). What is left behind of the last burst is
 * read back, counted and its bytes compared. */
#include "tests/bench/reader.h"
#include <pthread.h>

/* ---- the work ---- */

static char routes[64][17], users[1024][17];
static struct sonde_span_options server = SONDE_SPAN_OPTIONS_INIT, one_thread = SONDE_SPAN_OPTIONS_INIT;

static void span_0(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), &one_thread);
        sonde_span_end(&span);
        after(i);
    }
}
static inline void four(struct sonde_span *span, uint64_t i) {
    sonde_span_set_string(span, SONDE_KEY("http.route"), routes[i & 63], 16);
    sonde_span_set_string(span, SONDE_KEY("enduser.id"), users[i & 1023], 16);
    sonde_span_set_int64(span, SONDE_KEY("http.response.status_code"), 200 + (int64_t)(i & 3) * 100);
    sonde_span_set_int64(span, SONDE_KEY("http.response.body.size"), (int64_t)((i * 7919) & 0xfffff));
}
static void span_4(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), &one_thread);
        four(&span, i);
        sonde_span_end(&span);
        after(i);
    }
}
static void span_4_shared(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), &server);
        four(&span, i);
        sonde_span_end(&span);
        after(i);
    }
}
/* Pointers the compiler cannot see through: keys as they come from another language's binding. */
static const char *volatile cstr_keys[4] = {"http.route", "enduser.id", "http.response.status_code",
                                            "http.response.body.size"};
static void span_4_cstr(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), &one_thread);
        sonde_span_set_cstr(&span, sonde_key_cstr(cstr_keys[0]), routes[i & 63]);
        sonde_span_set_cstr(&span, sonde_key_cstr(cstr_keys[1]), users[i & 1023]);
        sonde_span_set_int64(&span, sonde_key_cstr(cstr_keys[2]), 200 + (int64_t)(i & 3) * 100);
        sonde_span_set_int64(&span, sonde_key_cstr(cstr_keys[3]), (int64_t)((i * 7919) & 0xfffff));
        sonde_span_end(&span);
        after(i);
    }
}
static void span_12(uint64_t count) { /* an HTTP server span */
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), &one_thread);
        four(&span, i);
        sonde_span_set_string(&span, SONDE_KEY("http.request.method"), "GET", 3);
        sonde_span_set_string(&span, SONDE_KEY("url.path"), "/v1/users/12345/orders/7", 24);
        sonde_span_set_string(&span, SONDE_KEY("server.address"), "api.shop.example.com", 20);
        sonde_span_set_int64(&span, SONDE_KEY("server.port"), 8443);
        sonde_span_set_string(&span, SONDE_KEY("network.protocol.version"), "1.1", 3);
        sonde_span_set_string(&span, SONDE_KEY("user_agent.original"),
                              "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", 50);
        sonde_span_set_string(&span, SONDE_KEY("client.address"), "10.1.22.133", 11);
        sonde_span_set_string(&span, SONDE_KEY("url.scheme"), "https", 5);
        sonde_span_end(&span);
        after(i);
    }
}
/* In a trace that is sampled by ratio, here or by the agent's word: the span carries the tracestate that says so. */
static void span_0_th(uint64_t count) {
    struct sonde_context remote = {.span = {.trace_id = {1}, .span_id = {2}, .flags = SONDE_TRACE_FLAG_SAMPLED}};
    struct sonde_context_token token;
    struct sonde_span parent;
    remote.span.is_remote = 1;
    remote.span.trace_id[9] = 0xFF;
    memcpy(remote.tracestate, "ot=th:8", 7);
    remote.tracestate_length = 7;
    token = sonde_context_attach(&remote);
    sonde_span_start(&parent, SONDE_NAME("parent"), NULL);
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), &one_thread);
        sonde_span_end(&span);
        after(i);
    }
    sonde_context_detach(token); /* the parent stays open, and is not counted */
    sonde_span_end(&parent);
    reader_advance();
}
static void span_unsampled(uint64_t count) {
    struct sonde_context parent = {.span = {.trace_id = {1}, .span_id = {2}}};
    struct sonde_context_token token = sonde_context_attach(&parent);
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /api/users/{id}"), NULL);
        sonde_span_end(&span);
    }
    sonde_context_detach(token);
}
static void log_2(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct sonde_attribute attributes[2] = {
            sonde_attribute_string_n(SONDE_KEY("enduser.id"), users[i & 1023], 16),
            sonde_attribute_int64(SONDE_KEY("http.response.status_code"), 200 + (int64_t)(i & 3) * 100)};
        sonde_log(SONDE_SEVERITY_INFO, "order accepted", 14, attributes, 2);
        after(i);
    }
}

/* ---- two threads ---- */

enum { PAIR_COUNT = 400000 };
static pthread_barrier_t barrier;
static void *worker(void *arg) {
    static _Thread_local double ns;
    uint64_t threads = (uint64_t)(uintptr_t)arg & 3;
    bench_pin((int)((uintptr_t)arg >> 2));
    reader_attach();
    struct sonde_span parent;
    sonde_span_start(&parent, SONDE_NAME("parent"), NULL);
    span_4(PAIR_COUNT / 8);
    if (threads == 2)
        pthread_barrier_wait(&barrier);
    uint64_t start = bench_now_ns();
    span_4(PAIR_COUNT);
    ns = (double)(bench_now_ns() - start) / PAIR_COUNT;
    if (threads == 2)
        pthread_barrier_wait(&barrier); /* neither may run alone while it is measured */
    sonde_span_end(&parent);
    reader_advance();
    double *result = malloc(sizeof *result);
    if (result)
        *result = ns;
    return result;
}
static double join(pthread_t thread) {
    void *result = NULL;
    pthread_join(thread, &result);
    double ns = result ? *(double *)result : 0;
    free(result);
    return ns;
}
static bool alone(double *ret_ns) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, worker, (void *)(uintptr_t)1) != 0)
        return false;
    *ret_ns = join(thread);
    return true;
}
/* ns of the slower of two threads, each on its own processor. */
static double span_4_2t(uint64_t count) {
    pthread_t threads[2];
    (void)count;
    pthread_barrier_init(&barrier, NULL, 2);
    for (uintptr_t t = 0; t < 2; t++)
        if (pthread_create(&threads[t], NULL, worker, (void *)(t << 2 | 2)) != 0)
            exit(1);
    double a = join(threads[0]), b = join(threads[1]);
    pthread_barrier_destroy(&barrier);
    return a > b ? a : b;
}

/* ---- what was written ---- */

struct tally {
    uint64_t records, bytes;
};
/* Walks what stands in the ring since the tail. */
static struct tally read_back(enum sonde__record_kind kind) {
    struct tally tally = {0, 0};
    uint64_t head = atomic_load(&region->head), at = atomic_load(&region->tail), base = atomic_load(&region->base);
    at = at > base ? at : base;
    while (at < head) {
        struct sonde__record record;
        memcpy(&record, ring + (at & (SONDE__RING_SIZE - 1)), sizeof record);
        tally.records += record.kind == kind;
        tally.bytes += record.length;
        at += sizeof record + ((record.length + 7) & ~7u);
    }
    reader_advance();
    return tally;
}
/* A burst more: as many records as were made, and as many bytes as their encoding takes by the protobuf rules. */
static const char *check(void (*run)(uint64_t), enum sonde__record_kind kind, uint64_t bytes_each) {
    reader_advance();
    run(BURST - 1);
    struct tally tally = read_back(kind);
    bench_dropped(drops());
    if (tally.records != BURST - 1)
        return "records are missing";
    if (bytes_each && tally.bytes != (BURST - 1) * bytes_each + 0)
        return "records have a wrong size";
    return drops() ? "records were dropped" : NULL;
}
/* ids, times, kind, flags, parent: 64 bytes; name 2 + 19. */
#define SPAN_BYTES (64u + 21u)
static const char *check_0(void) {
    return check(span_0, SONDE__RECORD_SPAN, SPAN_BYTES);
}
/* Values of varying length: the least and the most there can be. */
static const char *check_range(void (*run)(uint64_t), uint64_t least, uint64_t most) {
    reader_advance();
    run(BURST - 1);
    struct tally tally = read_back(SONDE__RECORD_SPAN);
    bench_dropped(drops());
    if (tally.records != BURST - 1)
        return "records are missing";
    if (tally.bytes < (BURST - 1) * least || tally.bytes > (BURST - 1) * most)
        return "records have a wrong size";
    return drops() ? "records were dropped" : NULL;
}
/* string: 8 + key + value; int64: 7 + key + varint (2 for a status, 1..3 for a size). */
#define FOUR_LEAST (2u * (8 + 10 + 16) + (7 + 25 + 2) + (7 + 23 + 1))
#define FOUR_MOST  (FOUR_LEAST + 2u)
static const char *check_4(void) {
    return check_range(span_4, SPAN_BYTES + FOUR_LEAST, SPAN_BYTES + FOUR_MOST);
}
static const char *check_4_shared(void) {
    return check_range(span_4_shared, SPAN_BYTES + FOUR_LEAST, SPAN_BYTES + FOUR_MOST);
}
static const char *check_4_cstr(void) {
    return check_range(span_4_cstr, SPAN_BYTES + FOUR_LEAST, SPAN_BYTES + FOUR_MOST);
}
#define EIGHT_MORE                                                                                                     \
    ((8u + 19 + 3) + (8 + 8 + 24) + (8 + 14 + 20) + (7 + 11 + 2) + (8 + 24 + 3) + (8 + 19 + 50) + (8 + 14 + 11) +      \
     (8 + 10 + 5))
static const char *check_12(void) {
    return check_range(span_12, SPAN_BYTES + FOUR_LEAST + EIGHT_MORE, SPAN_BYTES + FOUR_MOST + EIGHT_MORE);
}
static const char *check_unsampled(void) {
    reader_advance();
    span_unsampled(BURST);
    return read_back(SONDE__RECORD_SPAN).records || drops() ? "an unsampled span was recorded" : NULL;
}
/* times 18, severity 2, ids and flags 33, body 4 + 14, attributes. */
static const char *check_log(void) {
    return check(log_2, SONDE__RECORD_LOG, 18 + 2 + 33 + 18 + (8 + 10 + 16) + (7 + 25 + 2));
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {"span_0", span_0, 500000, check_0, NULL, NULL},
        {"span_0_th", span_0_th, 500000, NULL, NULL, NULL},
        {"span_4", span_4, 400000, check_4, NULL, NULL},
        {"span_4_shared", span_4_shared, 300000, check_4_shared, NULL, NULL},
        {"span_4_cstr", span_4_cstr, 300000, check_4_cstr, NULL, NULL},
        {"span_12", span_12, 200000, check_12, NULL, NULL},
        {"span_unsampled", span_unsampled, 2000000, check_unsampled, NULL, NULL},
        {"log_2", log_2, 500000, check_log, NULL, NULL},
        {"span_4_2t", NULL, PAIR_COUNT, NULL, span_4_2t, alone},
    };
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1); /* no agent: the reader is here */
    bench_pin(0);
    srand(1);
    for (int i = 0; i < 64; i++)
        snprintf(routes[i], sizeof routes[i], "/v1/route/%06d", i);
    for (int i = 0; i < 1024; i++)
        snprintf(users[i], sizeof users[i], "%08x%08x", (unsigned)rand(), (unsigned)rand());
    server.kind = one_thread.kind = SONDE_SPAN_KIND_SERVER;
    one_thread.one_thread = true;
    reader_attach();
    struct sonde_span parent;
    sonde_span_start(&parent, SONDE_NAME("parent"), NULL);
    int status = bench_main(argc, argv, rows, sizeof rows / sizeof *rows);
    sonde_span_end(&parent);
    return status;
}
