/* SPDX-License-Identifier: Apache-2.0 */
/* The real exporter, HTTP client, loop and pool, fed from a log of made-up spans; otlp_http_test.py runs it against
 * sink.py. otlp_http_peer key=value ...     prints one JSON line of what was accounted; 0 when the exporter became
 * idle, 1 when the deadline came first Span n has its number in both ids, and the attribute test.refuse where n is in
 * refuse=. */
#include "agent/loop/loop.h"
#include "agent/net/http_client.h"
#include "exporters/otlp/otlp_http.h"
#include "tests/lib/export_fakes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

struct peer {
    struct export_fakes fakes; /* log and accounts */
    struct sonde_loop *loop;
    struct sonde_http_curl *http;
    struct sonde_timer *timer, *deadline, *stopper;
    struct sonde__otlp_http_config config;
    void *exporter;
    bool late;
};

/* The value of key=value, or the fallback. */
static const char *argument(int count, char **arguments, const char *key, const char *fallback) {
    size_t size = strlen(key);
    for (int i = 1; i < count; i++) {
        if (strncmp(arguments[i], key, size) == 0 && arguments[i][size] == '=')
            return arguments[i] + size + 1;
    }
    return fallback;
}
static uint64_t number(int count, char **arguments, const char *key, uint64_t fallback) {
    const char *text = argument(count, arguments, key, NULL);
    return text ? strtoull(text, NULL, 10) : fallback;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t size) {
    memcpy(at, bytes, size);
    return at + size;
}
static uint8_t *put_number(uint8_t *at, uint64_t value, size_t size) { /* big-endian */
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    return at + size;
}

/* One framed span of less than 128 bytes. */
static uint8_t *put_span(uint8_t *at, uint64_t n, uint64_t unix_ns, bool marked) {
    uint8_t *start = at;
    at = put(at, "\x12\x00\x0a\x10", 4);
    at = put_number(put_number(at, 0x0123456789abcdef, 8), n, 8);
    at = put_number(put(at, "\x12\x08", 2), n, 8);
    at = put(at, "\x2a\x04work\x30\x02", 8);
    uint64_t end_ns = unix_ns + 1000;
    at = put(put(at, "\x39", 1), &unix_ns, 8); /* fixed64 is little-endian, and so are we */
    at = put(put(at, "\x41", 1), &end_ns, 8);
    if (marked)
        at = put(at, "\x4a\x12\x0a\x0btest.refuse\x12\x03\x0a\x01y", 20);
    start[1] = (uint8_t)(at - start - 2);
    return at;
}

static void fill(struct peer *peer, int count, char **arguments) {
    uint64_t records = number(count, arguments, "records", 20), items = number(count, arguments, "items", 50), n = 0;
    const char *refuse = argument(count, arguments, "refuse", ",");
    const struct sonde_seams *seams = sonde_loop_seams(peer->loop);
    uint8_t *data = malloc(items * 128);
    if (!data)
        abort();
    for (uint64_t r = 0; r < records; r++) {
        uint8_t *at = data;
        for (uint64_t i = 0; i < items; i++) {
            char name[24];
            n++;
            (void)snprintf(name, sizeof name, ",%llu,", (unsigned long long)n);
            at = put_span(at, n, seams->time.unix_ns(seams->time.self), strstr(refuse, name) != NULL);
        }
        export_fakes_append_raw(&peer->fakes, SONDE_SIGNAL_TRACES, (uint32_t)items, data, (size_t)(at - data));
        /* Resource { service.name = peer }, for the fake's own is no such message. */
        static const uint8_t resource[] = "\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04peer";
        struct sonde_record_view *record = &peer->fakes.records[peer->fakes.record_count - 1];
        free((void *)record->resource.data);
        uint8_t *copy = malloc(sizeof resource);
        if (!copy)
            abort();
        memcpy(copy, resource, sizeof resource);
        record->resource = (struct sonde_bytes){copy, sizeof resource - 1};
        record->scope.size = 0;
    }
    free(data);
}

static void on_timer(void *user) {
    struct peer *peer = user;
    uint64_t next = sonde_exporter_otlp_http.run(peer->exporter);
    if (sonde_exporter_otlp_http.idle(peer->exporter))
        sonde_loop_stop(peer->loop);
    else if (next != UINT64_MAX)
        sonde_timer_set(peer->timer, next);
}
static void on_wake(void *user) {
    sonde_timer_set(((struct peer *)user)->timer, 0);
}
static void on_deadline(void *user) {
    ((struct peer *)user)->late = true;
    sonde_loop_stop(((struct peer *)user)->loop);
}
static void on_stop(void *user) {
    sonde_exporter_otlp_http.stop(((struct peer *)user)->exporter);
}
static void on_report(void *user, char level, const char *text) {
    (void)user;
    (void)fprintf(stderr, "%c %s\n", level, text);
}

static void configure(struct peer *peer, int count, char **arguments) {
    static char *keys[] = {(char *)"Authorization", (char *)"X-Empty"};
    static char *values[] = {(char *)"Bearer 123", (char *)""};
    peer->config =
        (struct sonde__otlp_http_config){.endpoint = (char *)argument(count, arguments, "endpoint", ""),
                                         .ca_file = (char *)argument(count, arguments, "ca_file", ""),
                                         .insecure_skip_verify = number(count, arguments, "insecure", 0) != 0,
                                         .timeout_ns = number(count, arguments, "timeout_ms", 2000) * MS,
                                         .compression = (int)number(count, arguments, "gzip", 1),
                                         .compression_level = 1,
                                         .retry_initial_ns = 20 * MS,
                                         .retry_max_ns = 200 * MS,
                                         .batch_size = number(count, arguments, "batch_size", 4096),
                                         .batch_size_max = 3840 << 10,
                                         .batch_timeout_ns = 20 * MS,
                                         .batch_items = 8192,
                                         .concurrency = (int64_t)number(count, arguments, "concurrency", 4),
                                         .headers = {keys, values, 2}};
}

static int start(struct peer *peer, int count, char **arguments) {
    if (sonde_loop_create(&peer->loop) || sonde_http_curl_create(peer->loop, &peer->http) ||
        sonde_timer_create(peer->loop, on_timer, peer, &peer->timer) ||
        sonde_timer_create(peer->loop, on_deadline, peer, &peer->deadline) ||
        sonde_timer_create(peer->loop, on_stop, peer, &peer->stopper))
        return -1;
    fill(peer, count, arguments);
    configure(peer, count, arguments);
    struct sonde_exporter_env env = export_fakes_env(&peer->fakes);
    env.seams = *sonde_loop_seams(peer->loop);
    env.http = sonde_http_curl_interface(peer->http);
    env.pool = sonde_loop_pool(peer->loop);
    env.wake = on_wake;
    env.wake_self = peer;
    env.report = on_report;
    char text[300] = "";
    if (sonde_exporter_otlp_http.create(&peer->config, &env, &peer->exporter, text, sizeof text)) {
        (void)fprintf(stderr, "%s\n", text);
        return -1;
    }
    uint64_t now = env.seams.time.monotonic_ns(env.seams.time.self);
    sonde_timer_set(peer->timer, now);
    sonde_timer_set(peer->deadline, now + number(count, arguments, "deadline_ms", 20000) * MS);
    uint64_t stop_ms = number(count, arguments, "stop_ms", UINT64_MAX);
    if (stop_ms != UINT64_MAX)
        sonde_timer_set(peer->stopper, now + stop_ms * MS);
    return 0;
}

static void print(const struct peer *peer) {
    struct sonde_exporter_status status;
    sonde_exporter_otlp_http.status(peer->exporter, &status);
    const struct export_fakes *fakes = &peer->fakes;
    const int traces = SONDE_SIGNAL_TRACES;
    (void)printf(
        "{\"late\":%s,\"delivered\":%llu,\"refused\":%llu,\"rejected\":%llu,\"in_flight\":%lld,\"released\":%llu,"
        "\"balance\":%s,\"requests\":%llu,\"errors\":%llu,\"retries\":%llu}\n",
        peer->late ? "true" : "false", (unsigned long long)fakes->delivered[traces],
        (unsigned long long)fakes->refused[traces],
        (unsigned long long)fakes->dropped[traces][SONDE_EXPORT_DROP_REJECTED], (long long)fakes->in_flight[traces],
        (unsigned long long)fakes->released, export_fakes_balance(fakes) ? "true" : "false",
        (unsigned long long)status.requests, (unsigned long long)status.request_errors,
        (unsigned long long)status.retries);
}

int main(int count, char **arguments) {
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return 2;
    export_fakes_init(&peer->fakes);
    if (start(peer, count, arguments))
        return 2;
    (void)sonde_loop_run(peer->loop);
    print(peer);
    bool late = peer->late;
    sonde_exporter_otlp_http.destroy(peer->exporter);
    sonde_http_curl_destroy(peer->http);
    sonde_timer_destroy(peer->timer);
    sonde_timer_destroy(peer->deadline);
    sonde_timer_destroy(peer->stopper);
    sonde_loop_destroy(peer->loop);
    export_fakes_deinit(&peer->fakes);
    free(peer);
    return late ? 1 : 0;
}
