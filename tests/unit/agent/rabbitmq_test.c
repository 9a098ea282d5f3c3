/* SPDX-License-Identifier: Apache-2.0 */
/* The RabbitMQ collector's table, and its management source on recorded and made-up answers: what is asked and when, what is
 * remembered, what is missing, pages, other nodes. The real server is in tests/integration/collect_rabbitmq_test.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/collect/rabbitmq.h"
#include "agent/log.h"
#include "tests/lib/fakes.h"
#include "tests/lib/http_fake.h"
#include <errno.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000000)
extern const struct sonde_collector_ops sonde_collector_rabbitmq;

/* --- the loop's timers, and a table of series, by hand --- */

struct sonde_timer {
    sonde_timer_fn fn;
    void *user;
    uint64_t at_ns;
    bool used;
};
static struct sonde_timer timers[4];

int sonde_timer_create(struct sonde_loop *loop, sonde_timer_fn fn, void *user, struct sonde_timer **ret_timer) {
    size_t i = 0;
    (void)loop;
    while (timers[i].used)
        i++;
    assert_true(i < sizeof timers / sizeof *timers);
    timers[i] = (struct sonde_timer){fn, user, UINT64_MAX, true};
    *ret_timer = &timers[i];
    return 0;
}
void sonde_timer_set(struct sonde_timer *timer, uint64_t monotonic_ns) {
    timer->at_ns = monotonic_ns;
}
void sonde_timer_clear(struct sonde_timer *timer) {
    timer->at_ns = UINT64_MAX;
}
void sonde_timer_destroy(struct sonde_timer *timer) {
    if (timer)
        timer->used = false;
}

/* Of AMQP's thread, which these cases do not have. */
int sonde_watch_create(struct sonde_loop *loop, int fd, int events, sonde_watch_fn fn, void *user,
                       struct sonde_watch **ret_watch) {
    (void)loop, (void)fd, (void)events, (void)fn, (void)user, (void)ret_watch;
    return -ENOMEM;
}
void sonde_watch_destroy(struct sonde_watch *watch) {
    (void)watch;
}

static struct {
    char name[64], labels[320];
    double value;
    bool set;
} table[128];
static size_t table_count;

int sonde_series_set(struct sonde_series_source *source, const struct sonde_series_value *value) {
    char labels[320] = "";
    size_t at = 0, i = 0;
    (void)source;
    for (size_t k = 0; k < value->attribute_count; k++) {
        const struct sonde_attribute *a = &value->attributes[k];
        if (a->type == SONDE_VALUE_STRING)
            at += (size_t)snprintf(labels + at, sizeof labels - at, "%.*s=%.*s;", (int)a->key.length, a->key.text,
                                   (int)a->size, a->value.string);
    }
    while (i < table_count && (strcmp(table[i].name, value->name) != 0 || strcmp(table[i].labels, labels) != 0))
        i++;
    assert_true(i < sizeof table / sizeof *table);
    table_count += i == table_count;
    (void)snprintf(table[i].name, sizeof table[i].name, "%s", value->name);
    memcpy(table[i].labels, labels, sizeof labels);
    table[i].value = value->is_double ? value->float64 : (double)value->int64;
    table[i].set = true;
    return 0;
}
void sonde_series_sweep(struct sonde_series_source *source) {
    size_t kept = 0;
    (void)source;
    for (size_t i = 0; i < table_count; i++)
        if (table[i].set) {
            table[kept] = table[i];
            table[kept++].set = false;
        }
    table_count = kept;
}

/** NaN when there is none. */
static double value_of(const char *name, const char *word, const char *other) {
    for (size_t i = 0; i < table_count; i++)
        if (strcmp(table[i].name, name) == 0 && (!word || strstr(table[i].labels, word)) &&
            (!other || strstr(table[i].labels, other)))
            return table[i].value;
    return (double)NAN;
}
#define assert_value(value, ...) assert_true(value_of(__VA_ARGS__) == (value))
#define assert_no_value(...)     assert_true(value_of(__VA_ARGS__) != value_of(__VA_ARGS__))
#define LAG                      "sonde.messaging.consumer.lag"
#define MESSAGE                  "sonde.messaging.queue.message"
#define ERRORS                   "sonde.messaging.poll.errors"

/* --- the collector --- */

static struct fakes fakes;
static struct sonde_seams seams;
static struct http_fake http;
static struct sonde__rabbitmq_config config;
static struct sonde_collector_env env;
static void *collector;

static int setup(void **state) {
    static char empty[] = "", guest[] = "guest";
    (void)state;
    config = (struct sonde__rabbitmq_config){.source = SONDE__RABBITMQ_MANAGEMENT,
                                             .management_port = 15672,
                                             .prometheus_port = 15692,
                                             .amqp_port = 5672,
                                             .page_size = 2,
                                             .queues_max = 100,
                                             .username = guest,
                                             .password = guest,
                                             .interval_ns = 10 * S,
                                             .timeout_ns = 5 * S,
                                             .detail_interval_ns = 20 * S,
                                             .response_size_max = 1 << 20,
                                             .ca_file = empty,
                                             .cert_file = empty,
                                             .key_file = empty};
    fakes_init(&fakes);
    seams = fakes_seams(&fakes);
    http_fake_init(&http);
    env = (struct sonde_collector_env){.name = "rabbitmq", .seams = &seams, .http = http_fake_client(&http)};
    table_count = 0;
    collector = NULL;
    sonde_agent_log_level_set(SONDE_LOG_ERROR);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sonde_collector_rabbitmq.destroy(collector);
    http_fake_deinit(&http);
    return fakes.live != 0 || timers[0].used || timers[1].used;
}

/** To the earliest timer, and its call. */
static void turn(void) {
    struct sonde_timer *next = NULL;
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
        if (timers[i].used && timers[i].at_ns != UINT64_MAX && (!next || timers[i].at_ns < next->at_ns))
            next = &timers[i];
    assert_non_null(next);
    if (next->at_ns > fakes.monotonic_ns)
        fakes_advance(&fakes, next->at_ns - fakes.monotonic_ns);
    next->at_ns = UINT64_MAX;
    next->fn(next->user);
}

static void start(void) {
    char text[256] = "";
    int error = sonde_collector_rabbitmq.create(&config, &env, &collector, text, sizeof text);
    if (error)
        fail_msg("%s", text);
    turn();
}

/** The one request that is open begins with this, behind its scheme; answers it. */
static void expect(const char *url, int status, const char *body) {
    size_t index = http_fake_open(&http);
    assert_int_equal(http.open_count, 1);
    if (strncmp(http.exchanges[index]->url + sizeof "http://" - 1, url, strlen(url)) != 0)
        fail_msg("asked for %s, not %s", http.exchanges[index]->url, url);
    http_fake_respond(
        &http, index,
        (struct sonde_http_response){.status = status, .body = (const uint8_t *)body, .body_size = strlen(body)});
}

#define HOST     "127.0.0.1:15672"
#define OVERVIEW "{\"cluster_name\":\"c1\",\"message_stats\":{\"drop_unroutable\":4}}"
#define PAGE_1                                                                                                         \
    "{\"page_count\":2,\"items\":[{\"name\":\"a\",\"vhost\":\"/\",\"type\":\"classic\",\"state\":\"running\","         \
    "\"messages_ready\":7,\"messages_unacknowledged\":1},{\"name\":\"s\",\"vhost\":\"/\",\"type\":\"stream\","         \
    "\"state\":\"running\",\"totals\":null}]}"
#define PAGE_2                                                                                                         \
    "{\"page_count\":2,\"items\":[{\"name\":\"q\",\"vhost\":\"v\",\"type\":\"quorum\",\"state\":\"minority\"}]}"
#define DETAILS                                                                                                        \
    "{\"page_count\":1,\"items\":[{\"name\":\"a\",\"vhost\":\"/\",\"type\":\"classic\",\"messages\":8,"                \
    "\"consumers\":2,\"message_bytes\":800,\"head_message_timestamp\":1,\"message_stats\":{\"publish\":10,\"ack\":2}}" \
    ",{\"name\":\"s\",\"vhost\":\"/\",\"type\":\"stream\",\"messages\":11,\"message_stats\":{\"publish\":10}}]}"
#define CONSUMERS                                                                                                      \
    "[{\"offset\":3,\"offset_lag\":7,\"properties\":{\"name\":\"g\"},\"queue\":{\"name\":\"s\",\"vhost\":\"/\"}},"     \
    "{\"offset\":1,\"offset_lag\":9,\"properties\":{\"name\":\"g\"},\"queue\":{\"name\":\"s\",\"vhost\":\"/\"}},"      \
    "{\"active\":false,\"offset\":0,\"offset_lag\":99,\"properties\":{\"name\":\"g\"},"                                \
    "\"queue\":{\"name\":\"s\",\"vhost\":\"/\"}}]"

static void details(const char *host_and_vhost) {
    expect(HOST "/api/overview?columns=cluster_name", 200, OVERVIEW);
    expect(HOST "/api/nodes?columns=", 200, "[]");
    expect(host_and_vhost, 200, DETAILS);
}

static void queues_are_listed_and_details_remembered(void **state) {
    (void)state;
    start();
    details(HOST "/api/queues/detailed?page=1&page_size=2&columns=name,vhost,type,messages,");
    expect(HOST "/api/queues?disable_stats=true&enable_queue_totals=true&page=1&page_size=2&columns=", 200, PAGE_1);
    expect(HOST "/api/queues?disable_stats=true&enable_queue_totals=true&page=2&", 200, PAGE_2);
    expect(HOST "/api/stream/consumers", 200, CONSUMERS);
    turn(); /* series */
    assert_value(7, LAG, "destination.name=a;", NULL);
    assert_value(9, LAG, "destination.name=s;", "group.name=g;");
    assert_value(1, "sonde.messaging.consumer.offset", "destination.name=s;", "group.name=g;");
    assert_no_value(LAG, "destination.name=q;", NULL);
    assert_value(1, MESSAGE, "destination.name=a;", "state=unacked");
    assert_value(11, MESSAGE, "destination.name=s;", "state=retained");
    assert_no_value(MESSAGE, "destination.name=s;", "state=ready");
    assert_value(2, "sonde.messaging.consumer.active", "destination.name=a;", "rabbitmq.vhost=/;");
    assert_no_value("sonde.messaging.consumer.active", "destination.name=s;", NULL);
    assert_value(10, "sonde.messaging.queue.published", "destination.name=a;", "rabbitmq.cluster.name=c1;");
    assert_no_value("sonde.messaging.queue.delivered", NULL, NULL);
    assert_value(4, "sonde.messaging.queue.dropped", NULL, NULL);
    assert_value(1, ERRORS, "error.type=queue_down", NULL);
    assert_value(1, "sonde.messaging.poll.up", NULL, NULL);
    turn(); /* the next poll: messages only; q and s are gone */
    expect(HOST "/api/queues?disable_stats=true", 200,
           "{\"page_count\":1,\"items\":[{\"name\":\"a\",\"vhost\":\"/\",\"type\":\"classic\",\"messages_ready\":0,"
           "\"messages_unacknowledged\":0}]}");
    turn();
    assert_value(0, LAG, "destination.name=a;", NULL);
    assert_value(0, "sonde.messaging.queue.oldest_message.age", "destination.name=a;", NULL);
    assert_value(2, "sonde.messaging.consumer.active", "destination.name=a;", NULL);
    assert_no_value(MESSAGE, "destination.name=s;", NULL);
    turn();
    details(HOST "/api/queues/detailed?page=1");
}

static void older_brokers_have_one_listing_and_no_stream_plugin(void **state) {
    (void)state;
    config.stream_offsets = true;
    start();
    expect(HOST "/api/overview", 200, OVERVIEW);
    expect(HOST "/api/nodes", 401, "");
    expect(HOST "/api/queues/detailed?", 404, "");
    expect(HOST "/api/queues?page=1&page_size=2&columns=", 200, DETAILS);
    expect(HOST "/api/queues?disable_stats=true&enable_queue_totals=true&page=1", 200, PAGE_1);
    expect(HOST "/api/queues?disable_stats=true&enable_queue_totals=true&page=2", 400, ""); /* they went meanwhile */
    expect(HOST "/api/stream/consumers", 404, "");
    turn();
    assert_value(7, LAG, "destination.name=a;", NULL);
    assert_value(1, "sonde.messaging.poll.up", NULL, NULL);
    turn();
    expect(HOST "/api/queues?disable_stats=true", 200, PAGE_1);
    expect(HOST "/api/queues?disable_stats=true", 200, PAGE_2);
    turn(); /* consumers are not asked for again */
    assert_int_equal(http.open_count, 0);
    turn();
    expect(HOST "/api/overview", 200, OVERVIEW);
    expect(HOST "/api/nodes", 200, "[{\"name\":\"n\",\"running\":true,\"mem_alarm\":true,\"partitions\":[\"x\"]}]");
    expect(HOST "/api/queues?page=1&page_size=2&columns=", 200, DETAILS);
    expect(HOST "/api/queues?disable_stats=true", 200, PAGE_1);
    expect(HOST "/api/queues?disable_stats=true", 200, PAGE_2);
    expect(HOST "/api/stream/consumers", 200, CONSUMERS);
    expect(HOST "/api/stream/%2F/s/tracking?type=offset", 200, "{\"offsets\":{\"g\":2,\"late\":4,\"ahead\":50}}");
    turn();
    assert_value(1, ERRORS, "error.type=memory_alarm", NULL);
    assert_value(1, ERRORS, "error.type=partition", NULL);
    assert_value(6, LAG, "destination.name=s;", "group.name=late;");
    assert_value(0, LAG, "destination.name=s;", "group.name=ahead;");
    assert_value(9, LAG, "destination.name=s;", "group.name=g;");
}

static void vhosts_are_asked_one_by_one_and_limits_are_told(void **state) {
    static char one[] = "a/b c", other[] = "none", *vhosts[] = {one, other};
    (void)state;
    config.vhosts = (struct sonde_string_list){vhosts, 2};
    config.queues_max = 1;
    start();
    expect(HOST "/api/overview", 200, OVERVIEW);
    expect(HOST "/api/nodes", 200, "[]");
    expect(HOST "/api/queues/a%2Fb%20c?page=1&", 200,
           "{\"page_count\":9,\"items\":[{\"name\":\"x\",\"vhost\":\"a/b c\"},{\"name\":\"y\",\"vhost\":\"a/b c\"}]}");
    expect(HOST "/api/queues/none?page=1&", 404, "");
    expect(HOST "/api/queues/a%2Fb%20c?disable_stats=true", 200,
           "{\"page_count\":1,\"items\":[{\"name\":\"x\",\"vhost\":\"a/b c\",\"messages_ready\":3}]}");
    expect(HOST "/api/queues/none?disable_stats=true", 404, "");
    turn();
    assert_value(3, LAG, "destination.name=x;", "vhost=a/b c;");
    assert_value(1, ERRORS, "error.type=not_found", NULL);
    assert_value(1, "sonde.messaging.poll.truncated", NULL, NULL);
}

static void next_address_is_asked_when_one_fails(void **state) {
    static char one[] = "one", two[] = "https://two:8443/mq", *addresses[] = {one, two};
    (void)state;
    config.addresses = (struct sonde_string_list){addresses, 2};
    start();
    expect("one:15672/api/overview", 503, "");
    size_t index = http_fake_open(&http);
    assert_true(strncmp(http.exchanges[index]->url, "https://two:8443/mq/api/overview", 32) == 0);
    http_fake_respond(&http, index, (struct sonde_http_response){.error = -ECONNREFUSED, .error_text = "refused"});
    assert_int_equal(http.open_count, 0);
    assert_value(0, "sonde.messaging.poll.up", NULL, NULL);
    assert_value(1, ERRORS, "error.type=server", NULL);
    turn();
    expect("one:15672/api/overview", 401, ""); /* a wrong password is wrong everywhere */
    assert_int_equal(http.open_count, 0);
    assert_value(1, ERRORS, "error.type=auth", NULL);
    turn();
    assert_int_equal(http.open_count, 1);
    turn(); /* silence until the deadline */
    assert_int_equal(http.open_count, 0);
    assert_value(1, ERRORS, "error.type=timeout", NULL);
    turn();
    assert_non_null(strstr(http.exchanges[http_fake_open(&http)]->url, "two:8443"));
}

static void other_sources_are_asked_when_there_is_no_management(void **state) {
    (void)state;
    config.source = SONDE__RABBITMQ_AUTO;
    start();
    http_fake_respond(&http, http_fake_open(&http), (struct sonde_http_response){.error = -ECONNREFUSED});
    expect(
        "127.0.0.1:15692/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&family=queue_metrics",
        404, "");
    expect(
        "127.0.0.1:15692/metrics/per-object", 200,
        "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"a\"} 5\nrabbitmq_identity_info{rabbitmq_cluster=\"c\"} 1\n");
    turn();
    assert_value(5, LAG, "destination.name=a;", "cluster.name=c;");
    assert_value(1, "sonde.messaging.poll.up", NULL, NULL);
    turn();
    expect("127.0.0.1:15692/metrics/detailed", 200, "some 1\n"); /* is that RabbitMQ? */
    http_fake_respond(&http, http_fake_open(&http), (struct sonde_http_response){.error = -ECONNREFUSED});
    assert_value(0, "sonde.messaging.poll.up", NULL, NULL);
    assert_value(1, ERRORS, "error.type=protocol", NULL);
}

static void nonsense_fails_the_poll(void **state) {
    static const char *const bodies[] = {
        "",  "[", "5", "[]", "{\"items\":[]}", "{\"items\":5,\"page_count\":1}", "{\"items\":[],\"page_count\":-1}",
        NULL};
    (void)state;
    config.detail_interval_ns = 3600 * S;
    start();
    for (size_t i = 0; bodies[i]; i++) {
        expect(HOST "/api/overview", 200, OVERVIEW);
        expect(HOST "/api/nodes", 200, "[]");
        expect(HOST "/api/queues/detailed", 200, bodies[i]);
        assert_int_equal(http.open_count, 0);
        assert_value((double)i + 1, ERRORS, "error.type=protocol", NULL);
        turn();
    }
}

static void memory_that_is_not_there_is_an_error(void **state) {
    char text[256];
    (void)state;
    for (int64_t allowed = 0; allowed < 4; allowed++) {
        fakes.allocations_until_failure = allowed;
        int error = sonde_collector_rabbitmq.create(&config, &env, &collector, text, sizeof text);
        if (!error)
            break;
        assert_int_equal(error, -ENOMEM);
        assert_null(collector);
        assert_int_equal(fakes.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(queues_are_listed_and_details_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(older_brokers_have_one_listing_and_no_stream_plugin, setup, teardown),
        cmocka_unit_test_setup_teardown(vhosts_are_asked_one_by_one_and_limits_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(next_address_is_asked_when_one_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(other_sources_are_asked_when_there_is_no_management, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_fails_the_poll, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_that_is_not_there_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
