/* SPDX-License-Identifier: Apache-2.0 */
/* The NATS collector on recorded and made-up answers: who leads, pages, times, what is missing, what is nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/collect/collector.h"
#include "agent/collect/nats_history.h"
#include "agent/collect/nats_jsz.h"
#include "agent/log.h"
#include "tests/lib/fakes.h"
#include "tests/lib/http_fake.h"
#include "tests/unit/agent/collect_fakes.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>

#define S UINT64_C(1000000000)
extern const struct sonde_collector_ops sonde_collector_nats;

/* --- times and the past --- */

static void time_is_read_strictly(void **state) {
    static const struct {
        const char *text;
        uint64_t unix_ns;
    } cases[] = {
        {"1970-01-01T00:00:01Z", S},
        {"2026-11-24T18:25:50.316269926Z", UINT64_C(1795544750316269926)},
        {"2026-11-24T18:25:50.5Z", UINT64_C(1795544750500000000)},
        {"2026-11-24T20:25:50.5+02:00", UINT64_C(1795544750500000000)},
        {"2024-02-29T12:00:00Z", UINT64_C(1709208000) * S},
        {"0001-01-01T00:00:00Z", 0},
        {"", 0},
        {"2026", 0},
        {"2026-11-24T18:25:50", 0},
        {"2026-11-24 18:25:50Z", 0},
        {"2026-11-24T18:25:50Zx", 0},
        {"2026-13-24T18:25:50Z", 0},
        {"2026-11-24T18:25:50+0200", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(sonde__nats_time_read(cases[i].text), cases[i].unix_ns);
}

static struct fakes fakes;
static struct sonde_seams seams;

static void past_tells_when_a_sequence_was_written(void **state) {
    const struct sonde_string account = {"A", 1}, name = {"s", 1};
    struct sonde__nats_history history;
    struct sonde__nats_past *past = NULL;
    const char *estimate = NULL;
    (void)state;
    assert_int_equal(sonde__nats_history_init(&history, &seams.alloc, 2), 0);
    static const uint64_t polls[][3] = {/* last sequence, its time, the poll's */
                                        {10, 100 * S, 105 * S},
                                        {10, 100 * S, 115 * S},
                                        {20, 118 * S, 120 * S}};
    for (size_t i = 0; i < 3; i++) {
        sonde__nats_history_begin(&history);
        past = sonde__nats_history_take(&history, account, name, polls[i][0], polls[i][1], polls[i][2]);
        assert_non_null(past);
    }
    assert_int_equal(sonde__nats_written_unix_ns(past, 20, &estimate), 118 * S);
    assert_string_equal(estimate, "exact");
    assert_int_equal(sonde__nats_written_unix_ns(past, 10, &estimate), 100 * S);
    assert_string_equal(estimate, "exact");
    /* Between the last poll that did not see it, at 115 s, and the last message of the one that did. */
    assert_in_range(sonde__nats_written_unix_ns(past, 11, &estimate), 115 * S, 116 * S);
    assert_string_equal(estimate, "interpolated");
    assert_in_range(sonde__nats_written_unix_ns(past, 19, &estimate), 117 * S, 118 * S);
    assert_int_equal(sonde__nats_written_unix_ns(past, 3, &estimate), 100 * S);
    assert_string_equal(estimate, "floor");
    assert_int_equal(sonde__nats_written_unix_ns(past, 21, &estimate), 0);
    /* Made anew: what was known is forgotten. */
    past = sonde__nats_history_take(&history, account, name, 4, 130 * S, 131 * S);
    assert_int_equal(sonde__nats_written_unix_ns(past, 10, &estimate), 0);
    /* More than the ring holds. */
    for (uint64_t i = 0; i < 300; i++)
        past = sonde__nats_history_take(&history, account, name, 10 + i, (200 + i) * S, (200 + i) * S);
    assert_int_equal(sonde__nats_written_unix_ns(past, 309, &estimate), 499 * S);
    (void)sonde__nats_written_unix_ns(past, 15, &estimate);
    assert_string_equal(estimate, "floor");
    /* No more streams than were allowed, and those not seen in a round make room. */
    assert_non_null(sonde__nats_history_take(&history, name, account, 1, S, S));
    assert_null(sonde__nats_history_take(&history, name, name, 1, S, S));
    sonde__nats_history_begin(&history);
    assert_non_null(sonde__nats_history_take(&history, account, name, 400, 600 * S, 600 * S));
    sonde__nats_history_begin(&history);
    assert_non_null(sonde__nats_history_take(&history, name, name, 1, S, S));
    assert_int_equal(history.count, 2);
    sonde__nats_history_deinit(&history);
    assert_int_equal(fakes.live, 0);
}

/* --- the collector --- */

static struct http_fake http;
static void *collector;
static uint64_t config[64];
static struct sonde_collector_env env;
static char *servers[] = {(char[]){"http://a:1"}, (char[]){"b:2"}};

static void *field(const char *key) {
    for (const struct sonde_option *row = sonde_collector_nats.options; row->key; row++)
        if (strcmp(row->key, key) == 0)
            return (char *)config + row->offset;
    fail_msg("no option %s", key);
    return NULL;
}

static int setup(void **state) {
    static const char *const texts[] = {"username",     "password", "bearer_token", "tls.ca_file", "tls.cert_file",
                                        "tls.key_file", NULL};
    (void)state;
    assert_true(sonde_collector_nats.config_size <= sizeof config);
    memset(config, 0, sizeof config);
    for (size_t i = 0; texts[i]; i++)
        *(char **)field(texts[i]) = (char *)(uintptr_t) "";
    *(struct sonde_string_list *)field("servers") = (struct sonde_string_list){servers, 1};
    *(uint64_t *)field("interval") = 15 * S;
    *(uint64_t *)field("timeout") = 8 * S;
    *(uint64_t *)field("stall_after") = 300 * S;
    *(int64_t *)field("accounts_per_page") = 2;
    *(int64_t *)field("streams_max") = 10;
    *(int64_t *)field("consumers_max") = 10;
    *(uint64_t *)field("response_size_max") = 1 << 20;
    fakes_init(&fakes);
    seams = fakes_seams(&fakes);
    http_fake_init(&http);
    env = (struct sonde_collector_env){.name = "nats", .seams = &seams, .http = http_fake_client(&http)};
    table_count = 0;
    timer_exists = false;
    sonde_agent_log_level_set(SONDE_LOG_ERROR);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    sonde_collector_nats.destroy(collector);
    collector = NULL;
    http_fake_deinit(&http);
    assert_int_equal(fakes.live, 0);
    return 0;
}

static void start(size_t server_count) {
    char error[256] = "";
    *(struct sonde_string_list *)field("servers") = (struct sonde_string_list){servers, server_count};
    assert_int_equal(sonde_collector_nats.create(config, &env, &collector, error, sizeof error), 0);
    timer_runs_out_at(&fakes);
}

/** Answers the oldest request, which must be for this path. */
static void answer(const char *url, int status, const char *body) {
    size_t index = http_fake_open(&http);
    assert_true(index != SIZE_MAX);
    assert_string_equal(http.exchanges[index]->url, url);
    http_fake_respond(
        &http, index,
        (struct sonde_http_response){.status = status, .body = (const uint8_t *)body, .body_size = strlen(body)});
}

#define JSZ(host, offset) "http://" host "/jsz?consumers=true&config=true&limit=2&offset=" #offset
#define PAGE(streams)     "{\"server_id\":\"N\",\"account_details\":[{\"name\":\"A\",\"stream_detail\":[" streams "]}]}"
#define STREAM(name, leader, consumers)                                                                                \
    "{\"name\":\"" name "\",\"cluster\":{\"leader\":\"" leader                                                         \
    "\"},\"state\":{\"messages\":5,\"bytes\":50,\"first_seq\":6,"                                                      \
    "\"first_ts\":\"2025-12-31T23:59:00Z\",\"last_seq\":10,\"last_ts\":\"2025-12-31T23:59:30Z\"},"                     \
    "\"consumer_detail\":[" consumers "]}"
#define CONSUMER(name, leader, pending, unacked, more)                                                                 \
    "{\"name\":\"" name "\",\"created\":\"2025-12-31T23:00:00Z\",\"cluster\":{\"leader\":\"" leader                    \
    "\"},\"config\":{},\"delivered\":{\"consumer_seq\":5,\"stream_seq\":5},\"ack_floor\":{\"consumer_seq\":4,"         \
    "\"stream_seq\":4},\"num_pending\":" #pending ",\"num_ack_pending\":" #unacked                                     \
    ",\"num_waiting\":2,\"num_redelivered\":1" more "}"

#define LAG(word) value_of("sonde.messaging.consumer.lag", "group.name=" word ";")
#define UP        value_of("sonde.messaging.poll.up", NULL)
#define ERRORS(t) value_of("sonde.messaging.poll.errors", "error.type=" t ";")

static void only_the_leader_is_believed(void **state) {
    (void)state;
    start(2);
    answer("http://a:1/varz", 200, "{\"server_name\":\"a\",\"cluster\":{\"name\":\"c1\"}}");
    answer("http://b:2/varz", 200, "{\"server_name\":\"b\"}");
    /* A follower's numbers are old; c is no server of ours. */
    answer(
        JSZ("a:1", 0), 200,
        PAGE(STREAM("s", "a",
                    CONSUMER("g", "b", 999, 0, "") "," CONSUMER("h", "c", 9, 0, "") "," CONSUMER("i", "a", 2, 0, ""))));
    answer(JSZ("b:2", 0), 200, PAGE(STREAM("s", "a", CONSUMER("g", "b", 5, 1, "") "," CONSUMER("i", "a", 7, 0, ""))));
    assert_true(UP == 1);
    assert_true(LAG("g") == 5);
    assert_true(LAG("i") == 2);
    assert_false(has("sonde.messaging.consumer.lag", "group.name=h;"));
    assert_true(ERRORS("leader_unknown") == 1);
    assert_non_null(strstr(table[find("sonde.messaging.consumer.lag", NULL)].labels,
                           "messaging.system=nats;server.address=a;server.port=1;messaging.nats.cluster.name=c1;"));
    /* What it gets next is the stream's first: written a minute before. */
    assert_true(value_of("sonde.messaging.consumer.lag.time", "group.name=g;") == 60);
    assert_true(value_of("sonde.messaging.queue.oldest_message.age", "state=ready;") == 60);
    assert_true(value_of("sonde.messaging.consumer.active", "group.name=g;") == 2);
    assert_true(value_of("sonde.messaging.consumer.redelivering", "group.name=g;") == 1);
    /* Made an hour ago, never given anything, though somebody waits: it stalls. */
    assert_true(value_of("sonde.messaging.consumer.progress", "group.name=g;state=stall;") == 1);
    assert_false(has("sonde.messaging.consumer.since_progress", NULL));
}

static void pages_are_asked_until_one_is_not_full(void **state) {
    (void)state;
    start(1);
    answer("http://a:1/varz", 200, "{\"server_id\":\"a\"}");
    answer(JSZ("a:1", 0), 200,
           "{\"server_id\":\"a\",\"reserved\":18446744073709551615,\"account_details\":[{},{\"name\":\"B\",\"stream_"
           "detail\":["
           "{\"name\":\"one\",\"state\":{\"messages\":0,\"last_seq\":7}}]}]}");
    assert_false(has("sonde.messaging.poll.up", NULL));
    answer(JSZ("a:1", 2), 200, PAGE("{\"name\":\"two\",\"state\":{\"messages\":1}},{\"noname\":1},7"));
    assert_true(UP == 1);
    assert_true(value_of("sonde.messaging.queue.published", "name=one;") == 7);
    assert_true(value_of("sonde.messaging.queue.oldest_message.age", "name=one;") == 0);
    assert_true(value_of("sonde.messaging.queue.message", "name=two;") == 1);
    assert_false(has("sonde.messaging.queue.published", "name=two;")); /* unknown is absent */
}

static void what_is_missing_or_wrong_is_absent(void **state) {
    (void)state;
    start(1);
    answer("http://a:1/varz", 200, "{\"server_name\":\"a\"}");
    answer(JSZ("a:1", 0), 200,
           PAGE(STREAM("s", "a",
                       "{\"name\":\"g\",\"num_pending\":-1,\"num_ack_pending\":\"5\"},{\"name\":\"p\",\"paused\":true,"
                       "\"num_pending\":3,\"config\":{\"filter_subject\":\"x\",\"deliver_subject\":\"d\"}}")));
    assert_true(UP == 1);
    assert_false(has("sonde.messaging.consumer.lag", "group.name=g;"));
    assert_false(has("sonde.messaging.queue.message", "group.name=g;"));
    assert_false(has("sonde.messaging.consumer.active", "group.name=g;"));
    assert_true(LAG("p") == 3);
    assert_false(has("sonde.messaging.consumer.lag.time", "group.name=p;")); /* a filter: which is next is not known */
    assert_true(value_of("sonde.messaging.consumer.group.state", "group.name=p;state=paused;") == 1);
    assert_true(value_of("sonde.messaging.consumer.active", "group.name=p;") == 0); /* nobody is bound */
}

static void limits_leave_out_and_say_so(void **state) {
    (void)state;
    *(int64_t *)field("consumers_max") = 1;
    start(1);
    answer("http://a:1/varz", 200, "{\"server_name\":\"a\"}");
    answer(JSZ("a:1", 0), 200, PAGE(STREAM("s", "a", CONSUMER("g", "a", 1, 0, "") "," CONSUMER("h", "a", 1, 0, ""))));
    assert_true(value_of("sonde.messaging.poll.truncated", NULL) == 1);
    assert_false(has("sonde.messaging.consumer.lag", "group.name=h;"));
}

static void sick_server_costs_what_it_leads(void **state) {
    (void)state;
    start(2);
    answer("http://a:1/varz", 401, "no");
    answer("http://b:2/varz", 200, "{\"server_name\":\"b\"}");
    answer(JSZ("b:2", 0), 200, PAGE(STREAM("s", "b", CONSUMER("g", "b", 4, 0, ""))));
    assert_true(UP == 1);
    assert_true(ERRORS("auth") == 1);
    assert_true(LAG("g") == 4);
}

static void nobody_who_answers_is_down(void **state) {
    static const struct {
        int status;
        const char *varz, *jsz, *type;
    } cases[] = {
        {401, "", NULL, "auth"},
        {200, "<html>", NULL, "protocol"},
        {200, "{}", NULL, "protocol"},
        {200, "{\"server_name\":\"a\"}", "[1,2", "protocol"},
        {200, "{\"server_name\":\"a\"}", "{\"server_id\":\"a\",\"account_details\":7}", "protocol"},
        {200, "{\"server_name\":\"a\"}", "{\"server_id\":\"a\",\"disabled\":true}", "not_found"},
    };
    (void)state;
    start(1);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char word[64];
        answer("http://a:1/varz", cases[c].status, cases[c].varz);
        if (cases[c].jsz)
            answer(JSZ("a:1", 0), 200, cases[c].jsz);
        assert_true(UP == 0);
        (void)snprintf(word, sizeof word, "error.type=%s;", cases[c].type);
        assert_true(value_of("sonde.messaging.poll.errors", word) >= 1);
        timer_runs_out_at(&fakes);
    }
    timer_runs_out_at(&fakes); /* the deadline, nothing having been answered */
    assert_true(ERRORS("timeout") == 1);
    assert_int_equal(http.open_count, 0);
}

static void create_says_what_is_wrong(void **state) {
    char error[256];
    char *bad_servers[] = {(char[]){"ftp://x"}}, *bad_patterns[] = {(char[]){"(("}};
    (void)state;
    *(struct sonde_string_list *)field("servers") = (struct sonde_string_list){bad_servers, 1};
    assert_int_equal(sonde_collector_nats.create(config, &env, &collector, error, sizeof error), SONDE_EINVALID);
    assert_non_null(strstr(error, "ftp://x"));
    *(struct sonde_string_list *)field("servers") = (struct sonde_string_list){servers, 0};
    assert_int_equal(sonde_collector_nats.create(config, &env, &collector, error, sizeof error), SONDE_EINVALID);
    *(struct sonde_string_list *)field("servers") = (struct sonde_string_list){servers, 1};
    *(struct sonde_string_list *)field("exclude") = (struct sonde_string_list){bad_patterns, 1};
    assert_int_equal(sonde_collector_nats.create(config, &env, &collector, error, sizeof error), SONDE_EINVALID);
    assert_non_null(strstr(error, "exclude"));
    assert_int_equal(fakes.live, 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(time_is_read_strictly),
        CASE(past_tells_when_a_sequence_was_written),
        CASE(only_the_leader_is_believed),
        CASE(pages_are_asked_until_one_is_not_full),
        CASE(what_is_missing_or_wrong_is_absent),
        CASE(limits_leave_out_and_say_so),
        CASE(sick_server_costs_what_it_leads),
        CASE(nobody_who_answers_is_down),
        CASE(create_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
