/* SPDX-License-Identifier: Apache-2.0 */
/* Exporter, queue and ledger together: whatever order the answers come in, the ledger balances and the queue empties.
 */
#include "agent/ledger/ledger.h"
#include "agent/queue/queue.h"
#include "exporters/otlp/otlp_http.h"
#include "instrumentation/ring/own.h"
#include "tests/lib/export_fakes.h"
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

struct fixture {
    struct export_fakes fakes; /* clock, memory, HTTP; its log and accounts are not used */
    struct sonde_queue *queue;
    struct sonde_ledger ledger;
    struct sonde__otlp_http_config config;
    void *exporter;
    uint32_t resources[3], scope;
    struct export_request request;
};

static void start(struct fixture *f) {
    export_fakes_init(&f->fakes);
    struct sonde_exporter_env env = export_fakes_env(&f->fakes);
    const struct sonde_queue_options options = {.size_max = 64 << 20};
    assert_int_equal(sonde_queue_create(&options, &env.seams, &f->queue), 0);
    assert_int_equal(sonde_queue_cursor_create(f->queue, 7, &env.cursor), 0);
    sonde_ledger_init(&f->ledger);
    env.log = sonde_queue_log(f->queue);
    env.account = sonde_ledger_exporter_add(&f->ledger, env.cursor, "otlp_http", 7);
    f->config = (struct sonde__otlp_http_config){.endpoint = (char *)"http://backend:4318",
                                                 .timeout_ns = 1000 * MS,
                                                 .retry_initial_ns = 500 * MS,
                                                 .retry_max_ns = 30000 * MS,
                                                 .batch_size = 2048,
                                                 .batch_size_max = 65536,
                                                 .batch_timeout_ns = 200 * MS,
                                                 .batch_items = 100,
                                                 .concurrency = 4};
    char text[300];
    assert_int_equal(sonde_exporter_otlp_http.create(&f->config, &env, &f->exporter, text, sizeof text), 0);
    for (uint32_t i = 0; i < 3; i++) {
        const uint8_t bytes[10] = {0x0a, 8, 'r', 'e', 's', 'o', 'u', 'r', 'c', (uint8_t)('a' + i)};
        assert_int_equal(sonde_queue_resource(f->queue, (struct sonde_bytes){bytes, 10}, i % 2, &f->resources[i]), 0);
    }
    assert_int_equal(sonde_queue_scope(f->queue, (struct sonde_bytes){(const uint8_t *)"\x0a\x05scopx", 7},
                                       (struct sonde_bytes){(const uint8_t *)"url", 3}, &f->scope),
                     0);
}

static void end(struct fixture *f) {
    sonde_exporter_otlp_http.destroy(f->exporter);
    sonde_queue_destroy(f->queue);
    assert_int_equal(f->fakes.fakes.live, 0);
    export_fakes_deinit(&f->fakes);
}

static void check(struct fixture *f) {
    char text[300];
    if (!sonde_ledger_balances(&f->ledger, f->queue, text, sizeof text))
        fail_msg("%s", text);
}

static void append(struct fixture *f, uint64_t random) {
    uint8_t data[32 * 34];
    uint32_t count = (uint32_t)(1 + random % 32);
    for (uint32_t i = 0; i < count; i++) {
        memset(data + i * 34, 'x', 34);
        data[i * 34] = 0x12;
        data[i * 34 + 1] = 32;
    }
    enum sonde_signal signal = (enum sonde_signal)(random / 64 % 3);
    uint64_t sequence;
    assert_int_equal(sonde_queue_append(f->queue, signal, f->resources[random / 256 % 3], f->scope, count,
                                        (struct sonde_bytes){data, count * 34}, &sequence),
                     0);
    sonde_ledger_appended(&f->ledger, signal, count);
}

/* Answers one open request, any of them, by chance. */
static void answer(struct fixture *f, uint64_t random) {
    static const int statuses[] = {200, 200, 200, 200, 503, 400, 429, 413, 401};
    size_t index = random % f->fakes.http.count;
    while (!f->fakes.http.exchanges[index]->open)
        index = (index + 1) % f->fakes.http.count;
    export_fakes_read(f->fakes.http.exchanges[index], &f->request);
    assert_false(f->request.malformed);
    int status = statuses[random / 4096 % (sizeof statuses / sizeof *statuses)];
    if (random / 65536 % 8 == 0)
        http_fake_respond(
            &f->fakes.http, index,
            (struct sonde_http_response){.status = 200, .body = (const uint8_t *)"\x0a\x02\x08\x05", .body_size = 4});
    else
        http_fake_answer(&f->fakes.http, index, status);
}

static void the_ledger_balances_whatever_the_answers(void **state) {
    (void)state;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    start(f);
    struct sonde_seams seams = fakes_seams(&f->fakes.fakes);
    uint64_t appended = 0;
    for (int step = 0; step < 3000 && f->fakes.http.count < 4000; step++) {
        uint64_t random = seams.random.next(seams.random.self);
        if (step < 1000 && random % 2) {
            append(f, random / 2);
            appended++;
        }
        (void)sonde_exporter_otlp_http.run(f->exporter);
        check(f);
        fakes_advance(&f->fakes.fakes, random / 16 % (step < 1000 ? 50 * MS : 40000 * MS));
        if (f->fakes.http.open_count && random / 8 % 3)
            answer(f, random / 32);
        check(f);
        if (step >= 1000 && sonde_exporter_otlp_http.idle(f->exporter))
            break;
    }
    assert_true(sonde_exporter_otlp_http.idle(f->exporter));
    assert_true(appended > 300);
    for (unsigned signal = 0; signal < SONDE_SIGNAL_COUNT; signal++) {
        const struct sonde_ledger_exporter *account = &f->ledger.exporters[0][signal];
        assert_int_equal(account->in_flight, 0);
        assert_int_equal(sonde_queue_items(f->queue, 0, (enum sonde_signal)signal), 0);
        assert_int_equal(account->appended,
                         account->delivered + account->refused + account->dropped[SONDE_EXPORT_DROP_REJECTED]);
        assert_true(account->delivered > 0 && account->refused > 0);
    }
    assert_int_equal(sonde_queue_released(f->queue), appended);
    end(f);
    free(f);
}

static void what_is_unanswered_at_the_end_stays_in_the_queue(void **state) {
    (void)state;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    start(f);
    for (uint64_t i = 0; i < 20; i++)
        append(f, i * 64 + 31);
    (void)sonde_exporter_otlp_http.run(f->exporter);
    http_fake_answer(&f->fakes.http, 1, 200);
    sonde_exporter_otlp_http.stop(f->exporter);
    (void)sonde_exporter_otlp_http.run(f->exporter);
    sonde_exporter_otlp_http.destroy(f->exporter);
    f->exporter = NULL;
    check(f);
    for (unsigned signal = 0; signal < SONDE_SIGNAL_COUNT; signal++)
        assert_int_equal(f->ledger.exporters[0][signal].in_flight, 0);
    end(f);
    free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_ledger_balances_whatever_the_answers),
                                       cmocka_unit_test(what_is_unanswered_at_the_end_stays_in_the_queue)};
    sonde__own_begin(); /* no agent is looked for */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
