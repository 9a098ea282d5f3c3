/* SPDX-License-Identifier: Apache-2.0 */
/* The exporter on fakes: clock, HTTP, log, accounts, pool, memory. After every step the ledger's equation must hold. */
#include "exporters/otlp/otlp_http.h"
#include "instrumentation/ring/own.h"
#include "tests/lib/export_fakes.h"
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define T      SONDE_SIGNAL_TRACES
#define L      SONDE_SIGNAL_LOGS
#define M      SONDE_SIGNAL_METRICS

struct fixture {
    struct export_fakes fakes;
    char name[32]; /* circuit breakers live on under theirs: each test has its own */
    struct sonde__otlp_http_config config;
    void *exporter;
    struct export_request request;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    static unsigned number;
    export_fakes_init(&f->fakes);
    (void)snprintf(f->name, sizeof f->name, "test-%u", number++ % 64);
    f->config = (struct sonde__otlp_http_config){.endpoint = (char *)"http://backend:4318",
                                                 .timeout_ns = 10 * SECOND,
                                                 .compression = 0,
                                                 .compression_level = 1,
                                                 .retry_initial_ns = 500 * MS,
                                                 .retry_max_ns = 30 * SECOND,
                                                 .batch_size = 512 << 10,
                                                 .batch_size_max = 3840 << 10,
                                                 .batch_timeout_ns = 200 * MS,
                                                 .batch_items = 8192,
                                                 .concurrency = 4};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    sonde_exporter_otlp_http.destroy(f->exporter);
    export_fakes_work(&f->fakes); /* what was still on the pool */
    int leaked = f->fakes.fakes.live != 0;
    export_fakes_deinit(&f->fakes);
    free(f);
    return leaked ? -1 : 0;
}

static void create(struct fixture *f) {
    struct sonde_exporter_env env = export_fakes_env(&f->fakes);
    env.name = f->name;
    char text[300] = "";
    int error = sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text);
    if (error)
        fail_msg("create: %s", text);
}

/* Runs at the present moment, pool included; returns the time it asks to be run at. */
static uint64_t run(struct fixture *f) {
    uint64_t next = sonde_exporter_otlp_http.run(f->exporter);
    if (f->fakes.job_count) {
        export_fakes_work(&f->fakes);
        next = sonde_exporter_otlp_http.run(f->exporter);
    }
    assert_true(export_fakes_balance(&f->fakes));
    return next;
}

/* Lets time pass to when the exporter wants to run, and runs. */
static uint64_t run_next(struct fixture *f) {
    uint64_t next = run(f);
    assert_true(next != UINT64_MAX);
    if (next > f->fakes.fakes.monotonic_ns)
        fakes_advance(&f->fakes.fakes, next - f->fakes.fakes.monotonic_ns);
    return run(f);
}

static const char *breaker(const struct fixture *f) {
    struct sonde_exporter_status status;
    sonde_exporter_otlp_http.status(f->exporter, &status);
    return status.breaker;
}

/* Lets time pass until a request is under way; returns its index, SIZE_MAX when the exporter is idle. */
static size_t run_until_open(struct fixture *f) {
    for (int step = 0; step < 1000; step++) {
        uint64_t next = run(f);
        size_t open = http_fake_open(&f->fakes.http);
        if (open != SIZE_MAX || sonde_exporter_otlp_http.idle(f->exporter))
            return open;
        if (next == UINT64_MAX)
            fail_msg("the exporter sleeps, and is not idle");
        if (next > f->fakes.fakes.monotonic_ns)
            fakes_advance(&f->fakes.fakes, next - f->fakes.fakes.monotonic_ns);
    }
    fail_msg("the exporter turns round and does nothing");
    return SIZE_MAX;
}

static void read_exchange(struct fixture *f, size_t index) {
    export_fakes_read(f->fakes.http.exchanges[index], &f->request);
    assert_false(f->request.malformed);
}

static void answer(struct fixture *f, size_t index, int status) {
    http_fake_answer(&f->fakes.http, index, status);
    assert_true(export_fakes_balance(&f->fakes));
    (void)run(f);
}

static uint64_t rejected(const struct fixture *f, int signal) {
    return f->fakes.dropped[signal][SONDE_EXPORT_DROP_REJECTED];
}

/* --- batches --- */

static void small_batch_waits_for_its_time_and_no_longer(void **state) {
    struct fixture *f = *state;
    create(f);
    assert_true(run(f) == UINT64_MAX);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 3, 100);
    uint64_t start = f->fakes.fakes.monotonic_ns;
    assert_int_equal(run(f), start + 200 * MS);
    fakes_advance(&f->fakes.fakes, 199 * MS);
    assert_int_equal(run(f), start + 200 * MS);
    assert_int_equal(f->fakes.http.count, 0);
    fakes_advance(&f->fakes.fakes, 1 * MS);
    assert_true(run(f) == UINT64_MAX);
    assert_int_equal(f->fakes.http.count, 1);
    const struct http_fake_exchange *exchange = f->fakes.http.exchanges[0];
    assert_string_equal(exchange->method, "POST");
    assert_string_equal(exchange->url, "http://backend:4318/v1/traces");
    assert_string_equal(exchange->content_type, "application/x-protobuf");
    assert_string_equal(exchange->content_encoding, "");
    assert_int_equal(exchange->timeout_ns, 10 * SECOND);
    assert_int_equal(exchange->response_size_max, 4u << 20);
    assert_false(sonde_exporter_otlp_http.idle(f->exporter));
    assert_int_equal(f->fakes.in_flight[T], 3);
    answer(f, 0, 200);
    assert_int_equal(f->fakes.delivered[T], 3);
    assert_int_equal(f->fakes.in_flight[T], 0);
    assert_int_equal(f->fakes.released, 1);
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
}

static void full_batch_is_sent_at_once(void **state) {
    struct fixture *f = *state;
    create(f);
    for (int i = 0; i < 6; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 100, 1000);
    (void)run(f);
    assert_int_equal(f->fakes.http.count, 1);
    assert_true(f->fakes.http.exchanges[0]->body_size >= 512 << 10);
}

static void signals_and_users_are_never_mixed(void **state) {
    struct fixture *f = *state;
    f->config.concurrency = 64;
    create(f);
    for (uint32_t i = 0; i < 60; i++)
        export_fakes_append(&f->fakes, (enum sonde_signal)(i % 3), 1 + i % 4, 1 + i % 5, i % 4, 2, 50);
    (void)run_next(f);
    size_t items = 0;
    for (size_t i = 0; i < f->fakes.http.count; i++) {
        static const char *const paths[] = {"/v1/traces", "/v1/logs", "/v1/metrics"};
        read_exchange(f, i);
        items += f->request.count;
        const struct sonde_record_view *first = &f->fakes.records[f->request.items[0].sequence - 1];
        assert_non_null(strstr(f->fakes.http.exchanges[i]->url, paths[first->signal]));
        for (size_t j = 0; j < f->request.count; j++) {
            const struct sonde_record_view *record = &f->fakes.records[f->request.items[j].sequence - 1];
            assert_int_equal(record->signal, first->signal);
            assert_int_equal(record->uid, first->uid);
            assert_int_equal(f->request.items[j].resource, 'a' + record->resource_id % 26);
            assert_int_equal(f->request.items[j].scope, 'a' + record->scope_id % 26);
        }
    }
    assert_int_equal(items, 120);
}

static void a_request_has_each_resource_and_scope_once_in_order(void **state) {
    struct fixture *f = *state;
    create(f);
    for (uint32_t i = 0; i < 60; i++)
        export_fakes_append(&f->fakes, T, 1 + i % 3, 1 + i % 2, 0, 2, 50);
    (void)run_next(f);
    assert_int_equal(f->fakes.http.count, 1);
    read_exchange(f, 0);
    assert_int_equal(f->request.count, 120);
    assert_int_equal(f->request.resources, 3);
    assert_int_equal(f->request.scopes, 6);
    for (size_t i = 1; i < f->request.count; i++) { /* within a scope the log's order is kept */
        const struct export_item *a = &f->request.items[i - 1], *b = &f->request.items[i];
        if (a->resource == b->resource && a->scope == b->scope)
            assert_true(a->sequence < b->sequence || (a->sequence == b->sequence && a->index + 1 == b->index));
    }
}

static void no_request_passes_the_limit_and_too_big_items_go_alone(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 4096;
    f->config.batch_size_max = 5000;
    f->config.concurrency = 64;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 20, 1000); /* more than a request: cut between items */
    export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 6000);  /* one item more than a request: dropped */
    export_fakes_append(&f->fakes, T, 1, 1, 0, 3, 900);
    export_fakes_append_raw(&f->fakes, T, 4, memset(f->request.items, 'x', 9000), 9000); /* nothing to cut at */
    export_fakes_append(&f->fakes, T, 1, 1, 0, 3, 900);
    (void)run_next(f);
    size_t items = 0;
    for (size_t i = 0; i < f->fakes.http.count; i++) {
        assert_true(f->fakes.http.exchanges[i]->body_size <= 5000);
        read_exchange(f, i);
        items += f->request.count;
        answer(f, i, 200);
    }
    assert_int_equal(items, 26);
    assert_int_equal(f->fakes.dropped[T][SONDE_EXPORT_DROP_TOO_BIG], 5);
    assert_int_equal(f->fakes.delivered[T], 26);
    assert_int_equal(f->fakes.released, 5);
}

static void gzip_is_done_on_the_pool_and_inflates_to_the_same(void **state) {
    struct fixture *f = *state;
    f->config.compression = 1;
    create(f);
    export_fakes_append(&f->fakes, L, 1, 1, 0, 500, 200);
    (void)run(f);
    fakes_advance(&f->fakes.fakes, 200 * MS);
    (void)sonde_exporter_otlp_http.run(f->exporter);
    assert_int_equal(f->fakes.http.count, 0); /* it is with the pool */
    assert_int_equal(f->fakes.job_count, 1);
    export_fakes_work(&f->fakes);
    assert_int_equal(f->fakes.http.count, 1);
    assert_string_equal(f->fakes.http.exchanges[0]->content_encoding, "gzip");
    read_exchange(f, 0);
    assert_int_equal(f->request.count, 500);
    answer(f, 0, 503);
    (void)run_next(f);
    assert_int_equal(f->fakes.http.count, 2); /* the same bytes, not compressed again */
    assert_int_equal(f->fakes.http.exchanges[1]->body_size, f->fakes.http.exchanges[0]->body_size);
    assert_memory_equal(f->fakes.http.exchanges[1]->body, f->fakes.http.exchanges[0]->body,
                        f->fakes.http.exchanges[0]->body_size);
    answer(f, 1, 200);
    struct sonde_exporter_status status;
    sonde_exporter_otlp_http.status(f->exporter, &status);
    assert_true(status.bytes_sent < status.bytes_uncompressed / 2);
    assert_int_equal(status.requests, 2);
    assert_int_equal(status.retries, 1);
}

/* --- order and places --- */

static void answers_out_of_order_release_in_order(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    create(f);
    for (int i = 0; i < 8; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    (void)run(f);
    assert_int_equal(f->fakes.http.count, 4); /* as many as there are places */
    answer(f, 2, 200);
    answer(f, 1, 200);
    assert_int_equal(f->fakes.released, 0);
    assert_int_equal(f->fakes.delivered[T], 0); /* accounted when the cursor passes */
    answer(f, 0, 200);
    assert_int_equal(f->fakes.released, 3);
    assert_int_equal(f->fakes.delivered[T], 3);
    for (size_t i = 3; i < 8; i++)
        answer(f, i, 200);
    assert_int_equal(f->fakes.released, 8);
    assert_int_equal(f->fakes.http.open_max, 4);
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
}

static void many_random_answers_lose_and_double_nothing(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 2048;
    f->config.compression = 1;
    create(f);
    enum { RECORDS = 300 };
    static uint8_t seen[RECORDS + 1][8];
    memset(seen, 0, sizeof seen);
    struct sonde_seams seams = fakes_seams(&f->fakes.fakes);
    size_t appended = 0;
    for (int step = 0; step < 20000 && f->fakes.released < RECORDS; step++) {
        uint64_t random = seams.random.next(seams.random.self);
        if (appended < RECORDS && random % 3 == 0) {
            export_fakes_append(&f->fakes, (enum sonde_signal)(random / 3 % 3), (uint32_t)(random / 9 % 3),
                                (uint32_t)(random / 27 % 2), (uint32_t)(random / 54 % 2),
                                (uint32_t)(1 + random / 108 % 8), 60 + random / 1000 % 500);
            appended++;
        }
        (void)run(f);
        fakes_advance(&f->fakes.fakes, random / 7 % (300 * MS));
        size_t open = f->fakes.http.open_count ? random / 11 % f->fakes.http.count : SIZE_MAX;
        while (open < f->fakes.http.count && !f->fakes.http.exchanges[open]->open)
            open++;
        if (open >= f->fakes.http.count)
            continue;
        read_exchange(f, open);
        int status = random / 13 % 4 ? 200 : 503;
        for (size_t i = 0; i < f->request.count && status == 200; i++)
            seen[f->request.items[i].sequence][f->request.items[i].index]++;
        answer(f, open, status);
    }
    assert_int_equal(f->fakes.released, RECORDS);
    for (size_t i = 0; i < RECORDS; i++) {
        for (uint32_t j = 0; j < f->fakes.records[i].count; j++)
            assert_int_equal(seen[i + 1][j], 1);
    }
}

/* --- retry --- */

static void every_status_is_retried_or_final_as_the_table_says(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    create(f);
    for (int status = 100; status < 600; status++) {
        bool success = status / 100 == 2, retryable = status == 429 || (status >= 502 && status <= 504);
        uint64_t delivered = f->fakes.delivered[T], dropped = rejected(f, T);
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
        (void)run(f);
        answer(f, f->fakes.http.count - 1, status);
        assert_int_equal(f->fakes.delivered[T] - delivered, success);
        assert_int_equal(rejected(f, T) - dropped, !success && !retryable);
        if (retryable) {
            assert_false(sonde_exporter_otlp_http.idle(f->exporter));
            (void)run_next(f);
            answer(f, f->fakes.http.count - 1, 200);
            assert_int_equal(f->fakes.delivered[T] - delivered, 1);
        }
        assert_true(sonde_exporter_otlp_http.idle(f->exporter));
    }
}

static void lost_connections_are_retried_for_ever_with_growing_pauses(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
    (void)run_next(f);
    uint64_t open = 500 * MS, open_max = 30 * SECOND - 30 * SECOND / 9;
    for (size_t i = 0; i < 500; i++) {
        http_fake_respond(&f->fakes.http, i, (struct sonde_http_response){.error = i % 2 ? -ETIMEDOUT : -ECONNREFUSED});
        uint64_t before = f->fakes.fakes.monotonic_ns;
        (void)run_next(f);
        uint64_t pause = f->fakes.fakes.monotonic_ns - before;
        if (i < 2) { /* the batch's back-off */
            assert_string_equal(breaker(f), "closed");
            assert_true(pause <= 500 * MS << i);
        } else { /* the breaker's wait, and up to an eighth or the first wait more; then this request is its probe */
            assert_string_equal(breaker(f), "half_open");
            assert_true(pause >= open && pause <= open + (open / 8 > 500 * MS ? open / 8 : 500 * MS));
            open = open * 2 < open_max ? open * 2 : open_max;
        }
        assert_true(pause <= 30 * SECOND);
        assert_int_equal(f->fakes.http.count, i + 2);
    }
    assert_int_equal(f->fakes.reports, 1); /* one line for the outage */
    assert_int_equal(f->fakes.report_level, 'w');
    assert_non_null(strstr(f->fakes.report_text, "retrying in "));
    struct sonde_exporter_status status;
    sonde_exporter_otlp_http.status(f->exporter, &status);
    assert_true(status.failing);
    assert_int_equal(status.request_errors, 500);
    answer(f, 500, 200);
    assert_int_equal(f->fakes.delivered[T], 5);
    assert_int_equal(f->fakes.reports, 2); /* and one for its end */
    assert_int_equal(f->fakes.report_level, 'i');
    sonde_exporter_otlp_http.status(f->exporter, &status);
    assert_false(status.failing);
}

static void one_request_probes_while_the_backend_fails(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    create(f);
    for (int i = 0; i < 10; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    (void)run(f);
    assert_int_equal(f->fakes.http.open_count, 4);
    for (size_t i = 0; i < 4; i++)
        answer(f, i, 503);
    for (size_t i = 4; i < 10; i++) {
        (void)run_next(f);
        assert_int_equal(f->fakes.http.open_count, 1);
        if (i < 9)
            answer(f, i, 503);
    }
    assert_string_equal(breaker(f), "half_open");
    answer(f, 9, 200);
    assert_string_equal(breaker(f), "closed");
    assert_int_equal(f->fakes.http.open_count, 4); /* back at full width, at once: those that failed wait no longer */
}

static void an_open_breaker_delays_and_loses_nothing(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    create(f);
    for (int i = 0; i < 40; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    size_t answered = 0;
    for (int outage = 0; outage < 10; outage++) {
        while (strcmp(breaker(f), "open") != 0 || f->fakes.http.open_count > 0)
            answer(f, run_until_open(f), 503);
        uint64_t next = run(f), before = f->fakes.fakes.monotonic_ns;
        assert_true(next >= before + 500 * MS); /* nobody is asked while it is open, whoever wakes the exporter */
        fakes_advance(&f->fakes.fakes, 499 * MS);
        for (int i = 0; i < 10; i++)
            assert_int_equal(run(f), next);
        for (; answered < (size_t)outage * 4 + 3; answered++)
            answer(f, run_until_open(f), 200);
    }
    for (size_t open; (open = run_until_open(f)) != SIZE_MAX;)
        answer(f, open, 200);
    assert_int_equal(f->fakes.delivered[T], 40);
    assert_string_equal(breaker(f), "closed");
}

static void an_exporter_of_a_known_name_begins_closed(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
    while (strcmp(breaker(f), "open") != 0)
        answer(f, run_until_open(f), 503);
    sonde_exporter_otlp_http.destroy(f->exporter);
    create(f);
    assert_string_equal(breaker(f), "closed");
    answer(f, run_until_open(f), 200);
    assert_int_equal(f->fakes.delivered[T], 5);
}

static void a_batch_that_fails_alone_does_not_stop_the_others(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    create(f);
    for (int i = 0; i < 50; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    while (f->fakes.http.count < 60) {
        size_t open = run_until_open(f);
        read_exchange(f, open);
        answer(f, open, f->request.items[0].sequence == 7 ? 503 : 200);
    }
    assert_int_equal(f->fakes.released, 6);
    size_t tries = 0, others = 0;
    for (size_t i = 0; i < f->fakes.http.count; i++) {
        read_exchange(f, i);
        *(f->request.items[0].sequence == 7 ? &tries : &others) += 1;
    }
    assert_int_equal(others, 49); /* all went through, once */
    assert_true(tries > 1);
}

static void retry_after_is_honoured_and_bounded(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *text;
        uint64_t least_ns, most_ns;
    } cases[] = {{"7", 7 * SECOND, 8125 * MS}, /* an eighth more at most, and half the first back-off */
                 {"1000000000", 300 * SECOND, 337750 * MS},
                 {"0", 0, 30 * SECOND},
                 {"Thu, 01 Jan 1970 00:00:00 GMT", 0, 30 * SECOND},
                 {"Fri, 31 Dec 9999 23:59:59 GMT", 300 * SECOND, 337750 * MS},
                 {"nonsense", 0, 30 * SECOND}};
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
    (void)run_next(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_fake_respond(&f->fakes.http, i,
                          (struct sonde_http_response){.status = i % 2 ? 503 : 429, .retry_after = cases[i].text});
        uint64_t before = f->fakes.fakes.monotonic_ns;
        struct sonde_exporter_status status;
        sonde_exporter_otlp_http.status(f->exporter, &status);
        assert_true(!cases[i].least_ns || status.pause_until_ns > before);
        (void)run_next(f);
        uint64_t pause = f->fakes.fakes.monotonic_ns - before;
        assert_int_equal(f->fakes.http.count, i + 2);
        assert_true(pause >= cases[i].least_ns && pause <= cases[i].most_ns);
    }
}

static void a_request_that_cannot_start_is_tried_again(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
    f->fakes.http.start_error = -EMFILE;
    for (int i = 0; i < 20; i++)
        (void)run_next(f);
    f->fakes.http.start_error = 0;
    (void)run_next(f);
    answer(f, 0, 200);
    assert_int_equal(f->fakes.delivered[T], 5);
}

/* --- refusals --- */

/* A backend that refuses every request with a bad item in it. Returns the requests it took to become idle. */
static size_t refuse(struct fixture *f, bool (*is_bad)(const struct export_item *item), int status) {
    for (size_t open; (open = run_until_open(f)) != SIZE_MAX;) {
        read_exchange(f, open);
        size_t bad = 0;
        for (size_t i = 0; i < f->request.count; i++)
            bad += is_bad(&f->request.items[i]);
        answer(f, open, bad ? status : 200);
    }
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
    return f->fakes.http.count;
}

static bool one_is_bad(const struct export_item *item) {
    return item->sequence == 17 && item->index == 3;
}
static bool three_are_bad(const struct export_item *item) {
    return (item->sequence == 1 && item->index == 0) || one_is_bad(item) || (item->sequence == 40 && item->index == 24);
}
static bool all_are_bad(const struct export_item *item) {
    (void)item;
    return true;
}

static void bisecting_finds_exactly_the_refused_items(void **state) {
    struct fixture *f = *state;
    create(f);
    for (int i = 0; i < 40; i++)
        export_fakes_append(&f->fakes, T, 1 + (uint32_t)i % 3, 1, 0, 25, 100);
    size_t requests = refuse(f, three_are_bad, 400);
    assert_int_equal(rejected(f, T), 3);
    assert_int_equal(f->fakes.delivered[T], 997);
    assert_true(requests <= 70); /* 2 log2(1000) for each, and the first */
    assert_int_equal(f->fakes.released, 40);
    assert_int_equal(f->fakes.report_level, 'e');
}

static void bisecting_of_too_large_requests_ends_at_single_items(void **state) {
    struct fixture *f = *state;
    create(f);
    for (int i = 0; i < 32; i++)
        export_fakes_append(&f->fakes, L, 1, 1, 0, 16, 100);
    (void)refuse(f, one_is_bad, 413);
    assert_int_equal(rejected(f, L), 1);
    assert_int_equal(f->fakes.delivered[L], 511);
}

static void a_backend_that_refuses_everything_is_not_flooded(void **state) {
    struct fixture *f = *state;
    create(f);
    for (int i = 0; i < 40; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 100, 100);
    size_t first = refuse(f, all_are_bad, 400);
    assert_true(first <= 48);
    assert_int_equal(rejected(f, T), 4000);
    struct sonde_exporter_status status;
    sonde_exporter_otlp_http.status(f->exporter, &status);
    assert_true(status.failing);
    for (int i = 0; i < 40; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 100, 100);
    assert_true(refuse(f, all_are_bad, 400) - first <= 9); /* it learns */
    assert_int_equal(rejected(f, T), 8000);
    assert_int_equal(f->fakes.reports, 1); /* and says it once */
}

static void final_statuses_drop_the_batch_without_a_search(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 100, 100);
    (void)run_next(f);
    answer(f, 0, 401);
    assert_int_equal(f->fakes.http.count, 1);
    assert_int_equal(rejected(f, T), 100);
    assert_non_null(strstr(f->fakes.report_text, "HTTP 401"));
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
}

static void a_record_that_is_no_items_is_dropped_whole(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append_raw(&f->fakes, T, 4, "\x12\x02xx\x12\x7fx", 7);
    (void)run_next(f);
    answer(f, 0, 400);
    assert_int_equal(rejected(f, T), 4);
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
}

static void partial_success_counts_as_refused_and_is_never_retried(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, M, 1, 1, 0, 2, 100);
    export_fakes_append(&f->fakes, M, 1, 1, 0, 5, 100);
    (void)run_next(f);
    http_fake_respond(
        &f->fakes.http, 0,
        (struct sonde_http_response){.status = 200, .body = (const uint8_t *)"\x0a\x02\x08\x03", .body_size = 4});
    assert_true(run(f) == UINT64_MAX);
    assert_int_equal(f->fakes.refused[M], 3);
    assert_int_equal(f->fakes.delivered[M], 4);
    assert_int_equal(f->fakes.http.count, 1);
    /* more refused than sent */
    export_fakes_append(&f->fakes, M, 1, 1, 0, 2, 100);
    (void)run_next(f);
    http_fake_respond(
        &f->fakes.http, 1,
        (struct sonde_http_response){.status = 200, .body = (const uint8_t *)"\x0a\x02\x08\x7f", .body_size = 4});
    assert_int_equal(f->fakes.refused[M], 5);
    assert_true(export_fakes_balance(&f->fakes));
    /* warnings are told once */
    uint32_t reports = f->fakes.reports;
    for (size_t i = 2; i < 5; i++) {
        export_fakes_append(&f->fakes, M, 1, 1, 0, 2, 100);
        (void)run_next(f);
        http_fake_respond(
            &f->fakes.http, i,
            (struct sonde_http_response){.status = 200, .body = (const uint8_t *)"\x0a\x03\x12\x01!", .body_size = 5});
    }
    assert_int_equal(f->fakes.reports, reports + 1);
    assert_int_equal(f->fakes.delivered[M], 10);
}

static void losses_are_told_within_a_minute_and_at_the_end(void **state) {
    struct fixture *f = *state;
    create(f);
    static const int statuses[] = {401, 403, 404, 401};
    for (size_t i = 0; i < 3; i++) {
        export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
        (void)run_next(f);
        answer(f, i, statuses[i]);
    }
    assert_int_equal(f->fakes.reports, 1);
    assert_non_null(strstr(f->fakes.report_text, "5 records were dropped for good: HTTP 401"));
    uint64_t before = f->fakes.fakes.monotonic_ns;
    (void)run_next(f);
    assert_int_equal(f->fakes.reports, 2);
    assert_non_null(strstr(f->fakes.report_text, "10 records were dropped for good: HTTP 404"));
    assert_true(f->fakes.fakes.monotonic_ns - before <= 60 * SECOND);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 3, 100);
    (void)run_next(f);
    answer(f, 3, statuses[3]);
    assert_int_equal(f->fakes.reports, 2);
    sonde_exporter_otlp_http.destroy(f->exporter);
    f->exporter = NULL;
    assert_int_equal(f->fakes.reports, 3);
    assert_non_null(strstr(f->fakes.report_text, "3 records were dropped for good: HTTP 401"));
}

/* --- the end --- */

static void stop_sends_at_once_and_shortens_waits(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
    (void)run(f);
    sonde_exporter_otlp_http.stop(f->exporter);
    (void)run(f);
    assert_int_equal(f->fakes.http.count, 1);
    assert_true(f->fakes.http.exchanges[0]->timeout_ns <= 2 * SECOND);
    for (size_t i = 0; i < 10; i++) {
        http_fake_respond(&f->fakes.http, i, (struct sonde_http_response){.status = 503, .retry_after = "60"});
        uint64_t before = f->fakes.fakes.monotonic_ns;
        (void)run_next(f);
        assert_int_equal(f->fakes.http.count, i + 2);
        assert_true(f->fakes.fakes.monotonic_ns - before <= 250 * MS);
    }
    export_fakes_append(&f->fakes, T, 1, 1, 0, 2, 100); /* what comes late leaves too */
    answer(f, 10, 200);
    (void)run(f);
    answer(f, 11, 200);
    assert_int_equal(f->fakes.delivered[T], 7);
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
}

static void stop_waits_for_no_breaker(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    create(f);
    for (int i = 0; i < 6; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    for (int i = 0; i < 12; i++) /* the wait has grown */
        answer(f, run_until_open(f), 503);
    assert_int_equal(f->fakes.http.open_count, 0);
    sonde_exporter_otlp_http.stop(f->exporter);
    (void)run(f);
    assert_string_equal(breaker(f), "open");
    assert_int_equal(f->fakes.http.open_count, 1);
    uint64_t before = f->fakes.fakes.monotonic_ns;
    answer(f, run_until_open(f), 503);
    answer(f, run_until_open(f), 503); /* and again, one at a time */
    assert_int_equal(f->fakes.fakes.monotonic_ns - before, 250 * MS);
    for (size_t open; (open = run_until_open(f)) != SIZE_MAX;)
        answer(f, open, 200);
    assert_true(f->fakes.fakes.monotonic_ns - before <= 1 * SECOND);
    assert_int_equal(f->fakes.delivered[T], 6);
}

static void stop_ends_a_long_pause(void **state) {
    struct fixture *f = *state;
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 5, 100);
    (void)run_next(f);
    http_fake_respond(&f->fakes.http, 0, (struct sonde_http_response){.status = 503, .retry_after = "300"});
    (void)run(f);
    assert_int_equal(f->fakes.http.count, 1);
    sonde_exporter_otlp_http.stop(f->exporter);
    (void)run(f);
    assert_int_equal(f->fakes.http.count, 2);
}

static void destroy_leaves_unanswered_records_in_the_log(void **state) {
    struct fixture *f = *state;
    f->config.batch_size = 1024;
    f->config.compression = 1;
    create(f);
    for (int i = 0; i < 4; i++)
        export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    (void)run(f);
    answer(f, 0, 200);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 1100);
    (void)sonde_exporter_otlp_http.run(f->exporter); /* this one is with the pool */
    assert_int_equal(f->fakes.job_count, 1);
    sonde_exporter_otlp_http.destroy(f->exporter);
    f->exporter = NULL;
    assert_int_equal(f->fakes.http.open_count, 0);
    assert_int_equal(f->fakes.http.cancelled, 3);
    assert_int_equal(f->fakes.released, 1);
    assert_int_equal(f->fakes.in_flight[T], 0);
    assert_true(export_fakes_balance(&f->fakes));
    export_fakes_work(&f->fakes);
    assert_int_equal(f->fakes.http.count, 4);
}

/* --- memory --- */

/* Everything there is: gzip, two users, a refusal that is searched, a retry, out-of-order answers. */
static void scenario(struct fixture *f) {
    for (int i = 0; i < 24; i++)
        export_fakes_append(&f->fakes, i % 2 ? T : L, 1 + (uint32_t)i % 3, 1, (uint32_t)i % 2, 4, 100);
    bool failed_once = false;
    for (size_t open; (open = run_until_open(f)) != SIZE_MAX;) {
        read_exchange(f, open);
        bool bad = false;
        for (size_t i = 0; i < f->request.count; i++)
            bad = bad || one_is_bad(&f->request.items[i]);
        http_fake_answer(&f->fakes.http, open, bad ? 400 : failed_once ? 200 : 503);
        failed_once = true;
        assert_true(export_fakes_balance(&f->fakes));
    }
}

static void memory_that_fails_for_a_while_loses_nothing(void **state) {
    for (int64_t fail_at = 0;; fail_at++) {
        void *again = NULL;
        assert_int_equal(setup(&again), 0);
        struct fixture *f = again;
        f->config.compression = 1;
        f->config.batch_size = 1024;
        struct sonde_exporter_env env = export_fakes_env(&f->fakes);
        char text[300];
        /* The allocation fails, and so do all after it, until time has passed once. */
        f->fakes.fakes.allocations_until_failure = fail_at;
        if (sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text) == 0) {
            for (int i = 0; i < 24; i++)
                export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 300);
            (void)run(f);
            fakes_advance(&f->fakes.fakes, 200 * MS);
            (void)run(f);
            for (size_t open; (open = http_fake_open(&f->fakes.http)) != SIZE_MAX;)
                http_fake_answer(&f->fakes.http, open, open == 1 ? 400 : 200);
            (void)run(f);
            assert_true(export_fakes_balance(&f->fakes));
            bool reached = f->fakes.fakes.allocations_until_failure == 0;
            f->fakes.fakes.allocations_until_failure = -1; /* what was kept back goes through now */
            for (size_t open; (open = run_until_open(f)) != SIZE_MAX;)
                http_fake_answer(&f->fakes.http, open, 200);
            assert_true(sonde_exporter_otlp_http.idle(f->exporter));
            assert_int_equal(f->fakes.delivered[T] + rejected(f, T), 24);
            assert_true(rejected(f, T) <= 4);
            if (!reached) {
                assert_int_equal(teardown(&again), 0);
                break;
            }
        }
        assert_int_equal(teardown(&again), 0);
        assert_true(fail_at < 500);
    }
    struct fixture *f = *state;
    f->config.compression = 1;
    f->config.batch_size = 1024;
    create(f);
    scenario(f);
    assert_int_equal(rejected(f, T) + rejected(f, L), 1);
    assert_int_equal(f->fakes.delivered[T] + f->fakes.delivered[L], 95);
}

/* --- configuration --- */

static void bad_configurations_are_refused_with_a_sentence(void **state) {
    struct fixture *f = *state;
    struct sonde_exporter_env env = export_fakes_env(&f->fakes);
    static const char *const urls[] = {"",          "backend:4318", "ftp://backend",           "http://",
                                       "http:///x", "http://a b",   "http://user:secret@host", "http://host/?q=1"};
    char text[300];
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        f->config.endpoint = (char *)urls[i];
        assert_int_equal(sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text),
                         SONDE_EINVALID);
        assert_true(strncmp(text, "endpoint: ", 10) == 0);
        assert_null(strstr(text, "secret"));
    }
    f->config.endpoint = (char *)"https://backend/otlp//";
    char *key = (char *)"Content-Length", *value = (char *)"1";
    f->config.headers = (struct sonde_string_map){&key, &value, 1};
    assert_int_equal(sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text),
                     SONDE_EINVALID);
    key = (char *)"authorization";
    value = (char *)"a\r\nb: c";
    assert_int_equal(sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text),
                     SONDE_EINVALID);
    value = (char *)"Bearer x";
    f->config.cert_file = (char *)"a.pem";
    assert_int_equal(sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text),
                     SONDE_EINVALID);
    f->config.cert_file = NULL;
    char *signal = (char *)"spans";
    f->config.signals = (struct sonde_string_list){&signal, 1};
    assert_int_equal(sonde_exporter_otlp_http.signals_of(&f->config), 0);
    assert_int_equal(sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text),
                     SONDE_EINVALID);
    signal = (char *)"logs";
    assert_int_equal(sonde_exporter_otlp_http.signals_of(&f->config), 1u << L);
    f->config.traces_endpoint = (char *)"http://other/in?x=1";
    create(f);
    export_fakes_append(&f->fakes, T, 1, 1, 0, 1, 100);
    export_fakes_append(&f->fakes, L, 1, 1, 0, 1, 100);
    (void)run_next(f);
    assert_string_equal(f->fakes.http.exchanges[0]->url, "http://other/in?x=1");
    assert_string_equal(f->fakes.http.exchanges[1]->url, "https://backend/otlp/v1/logs");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(small_batch_waits_for_its_time_and_no_longer),
        CASE(full_batch_is_sent_at_once),
        CASE(signals_and_users_are_never_mixed),
        CASE(a_request_has_each_resource_and_scope_once_in_order),
        CASE(no_request_passes_the_limit_and_too_big_items_go_alone),
        CASE(gzip_is_done_on_the_pool_and_inflates_to_the_same),
        CASE(answers_out_of_order_release_in_order),
        CASE(many_random_answers_lose_and_double_nothing),
        CASE(every_status_is_retried_or_final_as_the_table_says),
        CASE(lost_connections_are_retried_for_ever_with_growing_pauses),
        CASE(one_request_probes_while_the_backend_fails),
        CASE(an_open_breaker_delays_and_loses_nothing),
        CASE(an_exporter_of_a_known_name_begins_closed),
        CASE(a_batch_that_fails_alone_does_not_stop_the_others),
        CASE(retry_after_is_honoured_and_bounded),
        CASE(a_request_that_cannot_start_is_tried_again),
        CASE(bisecting_finds_exactly_the_refused_items),
        CASE(bisecting_of_too_large_requests_ends_at_single_items),
        CASE(a_backend_that_refuses_everything_is_not_flooded),
        CASE(final_statuses_drop_the_batch_without_a_search),
        CASE(a_record_that_is_no_items_is_dropped_whole),
        CASE(partial_success_counts_as_refused_and_is_never_retried),
        CASE(losses_are_told_within_a_minute_and_at_the_end),
        CASE(stop_sends_at_once_and_shortens_waits),
        CASE(stop_waits_for_no_breaker),
        CASE(stop_ends_a_long_pause),
        CASE(destroy_leaves_unanswered_records_in_the_log),
        CASE(memory_that_fails_for_a_while_loses_nothing),
        CASE(bad_configurations_are_refused_with_a_sentence),
    };
    sonde__own_begin(); /* no agent is looked for */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
