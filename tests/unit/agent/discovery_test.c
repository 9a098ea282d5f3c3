/* SPDX-License-Identifier: Apache-2.0 */
/* Discoverers against registries that are scripted: questions to the letter, answers in the documented shapes and in none.
 * Shapes after developer.hashicorp.com/consul/api-docs (catalog, health, blocking queries) and Netflix/eureka's JSON. */
#include "agent/discover/discover.h"
#include "agent/discover/read.h"
#include "agent/log.h"
#include "agent/receive/scrape.h"
#include "tests/lib/fakes.h"
#include "tests/lib/http_fake.h"
#include <errno.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

struct fixture {
    struct sonde_loop *loop;
    struct sonde_timer *look;
    struct http_fake http;
    struct sonde_series_store *store;
    struct sonde_discover_config config;
    const struct sonde_discoverer_ops *ops;
    void *discoverer;
    size_t found; /* calls */
    char targets[4096];
    const size_t *watched;
    size_t wanted;
    uint64_t until_ns;
};

static size_t on_found(void *user, const char *source, const struct sonde_discovered *const *targets, size_t count) {
    struct fixture *f = user;
    assert_string_equal(source, f->ops->name);
    size_t at = 0;
    f->targets[0] = '\0';
    for (size_t i = 0; i < count && at < sizeof f->targets; i++)
        for (int k = 0; k < SONDE_DISCOVERED_FIELDS && at < sizeof f->targets; k++)
            at += (size_t)snprintf(f->targets + at, sizeof f->targets - at, "%s%s", targets[i]->fields[k],
                                   k == SONDE_DISCOVERED_FIELDS - 1 ? "\n" : " ");
    f->found++;
    return 0;
}

static uint64_t now(struct fixture *f) {
    const struct sonde_time *time = &sonde_loop_seams(f->loop)->time;
    return time->monotonic_ns(time->self);
}

static void on_look(void *user) {
    struct fixture *f = user;
    if (*f->watched >= f->wanted || now(f) > f->until_ns)
        sonde_loop_stop(f->loop);
    else
        sonde_timer_set(f->look, now(f) + 1000000);
}

/* Runs the loop until a number is that high; a minute at most. */
static void run_until(struct fixture *f, const size_t *watched, size_t wanted) {
    f->watched = watched;
    f->wanted = wanted;
    f->until_ns = now(f) + 60 * SECOND;
    sonde_timer_set(f->look, 0);
    sonde_loop_run(f->loop);
    assert_true(*watched >= wanted);
}

static void run_for(struct fixture *f, uint64_t ms) {
    static const size_t never = 0;
    f->watched = &never;
    f->wanted = 1;
    f->until_ns = now(f) + ms * 1000000;
    sonde_timer_set(f->look, 0);
    sonde_loop_run(f->loop);
}

static int setup(void **state) {
    static char empty[] = "";
    struct fixture *f = calloc(1, sizeof *f);
    http_fake_init(&f->http);
    f->config = (struct sonde_discover_config){.consul = {.address = empty,
                                                          .token = empty,
                                                          .datacenter = empty,
                                                          .namespace = empty,
                                                          .partition = empty,
                                                          .allow_stale = true,
                                                          .wait_ns = 120 * SECOND,
                                                          .refresh_ns = SECOND / 10,
                                                          .timeout_ns = 10 * SECOND,
                                                          .answer_size_max = 1000,
                                                          .watches_max = 64,
                                                          .tls = {empty, empty, empty, false}},
                                               .eureka = {.username = empty,
                                                          .password = empty,
                                                          .up_only = true,
                                                          .refresh_ns = SECOND / 10,
                                                          .timeout_ns = 10 * SECOND,
                                                          .answer_size_max = 1000,
                                                          .tls = {empty, empty, empty, false}}};
    *state = f;
    return sonde_loop_create(&f->loop) || sonde_timer_create(f->loop, on_look, f, &f->look) ||
           sonde_series_store_create(sonde_loop_seams(f->loop), &f->store);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->ops)
        f->ops->destroy(f->discoverer);
    sonde_series_store_destroy(f->store);
    http_fake_deinit(&f->http);
    sonde_timer_destroy(f->look);
    sonde_loop_destroy(f->loop);
    free(f);
    return 0;
}

static void start(struct fixture *f, const char *name) {
    char text[200];
    for (size_t i = 0; sonde_discoverers[i]; i++)
        if (strcmp(sonde_discoverers[i]->name, name) == 0)
            f->ops = sonde_discoverers[i];
    assert_non_null(f->ops);
    assert_true(f->ops->is_wanted(&f->config));
    assert_int_equal(f->ops->check(&f->config, text, sizeof text), 0);
    const struct sonde_discover_env env = {.name = "prometheus_scrape",
                                           .loop = f->loop,
                                           .seams = sonde_loop_seams(f->loop),
                                           .http = http_fake_client(&f->http),
                                           .series = f->store,
                                           .found = on_found,
                                           .user = f};
    assert_int_equal(f->ops->create(&f->config, &env, &f->discoverer), 0);
}

static void answer(struct fixture *f, size_t index, const char *body, const char *header) {
    http_fake_respond(&f->http, index,
                      (struct sonde_http_response){
                          .status = 200, .header = header, .body = (const uint8_t *)body, .body_size = strlen(body)});
}

static const char *trouble(struct fixture *f) {
    static struct sonde_discovery_view view;
    f->ops->view(f->discoverer, &view);
    return view.trouble;
}

static const char *url_of(struct fixture *f, size_t index) {
    assert_true(index < f->http.count);
    return f->http.exchanges[index]->url;
}

/* ---- Consul ---- */

#define NODE                                                                                                           \
    "\"Node\":{\"ID\":\"40e4\",\"Node\":\"n1\",\"Address\":\"10.1.10.12\",\"Datacenter\":\"dc1\",\"Meta\":{\"zone\":"  \
    "\"nz\"}}"
#define WEB(id, port)                                                                                                  \
    "{" NODE ",\"Service\":{\"ID\":\"" id "\",\"Service\":\"web\",\"Tags\":[\"prod\"],\"Address\":\"10.1.10.13\","     \
    "\"Meta\":{\"version\":\"1.2\"},\"Port\":" port                                                                    \
    ",\"Namespace\":\"default\",\"Partition\":\"team\"},\"Checks\":[]}"
#define WEB_LINE(id, port) "10.1.10.13:" port "   web " id " 1.2 team nz\n"

static void consul_is_asked_as_documented(void **state) {
    struct fixture *f = *state;
    char address[] = "https://c.example:8501/prefix/", token[] = "s3cret", dc[] = "dc1", partition[] = "a b";
    char prod[] = "prod", *tags[] = {prod};
    f->config.consul.address = address;
    f->config.consul.token = token;
    f->config.consul.datacenter = dc;
    f->config.consul.partition = partition;
    f->config.consul.tags = (struct sonde_string_list){tags, 1};
    f->config.consul.passing_only = true;
    start(f, "consul");
    run_until(f, &f->http.count, 1);
    assert_string_equal(url_of(f, 0),
                        "https://c.example:8501/prefix/v1/catalog/services?dc=dc1&partition=a%20b&stale=1");
    assert_string_equal(f->http.exchanges[0]->method, "GET");
    assert_non_null(strstr(f->http.exchanges[0]->headers, "X-Consul-Token: s3cret\n"));
    assert_string_equal(f->http.exchanges[0]->response_header, "X-Consul-Index");
    assert_int_equal(f->http.exchanges[0]->timeout_ns, 10 * SECOND);
    assert_int_equal(f->http.exchanges[0]->response_size_max, 1000);
    answer(f, 0, "{\"consul\":[],\"we b\":[\"prod\",\"v1\"],\"db\":[\"test\"]}", "7");
    run_until(f, &f->http.count, 3);
    size_t catalog = strstr(url_of(f, 1), "catalog") ? 1 : 2;
    assert_string_equal(url_of(f, 3 - catalog), "https://c.example:8501/prefix/v1/health/service/"
                                                "we%20b?dc=dc1&partition=a%20b&stale=1&passing=1&tag=prod");
    assert_string_equal(url_of(f, catalog), "https://c.example:8501/prefix/v1/catalog/"
                                            "services?dc=dc1&partition=a%20b&stale=1&index=7&wait=120000ms");
    /* The server adds up to a sixteenth to the wait. */
    assert_int_equal(f->http.exchanges[catalog]->timeout_ns, 10 * SECOND + 120 * SECOND + 120 * SECOND / 16);
}

static void named(struct fixture *f) {
    static char address[] = "c:8500", web[] = "web", *names[] = {web};
    f->config.consul.address = address;
    f->config.consul.services = (struct sonde_string_list){names, 1};
    start(f, "consul");
    run_until(f, &f->http.count, 1);
    assert_string_equal(url_of(f, 0), "http://c:8500/v1/health/service/web?stale=1");
}

static void consul_blocks_by_the_index_of_the_answer(void **state) {
    struct fixture *f = *state;
    named(f);
    answer(f, 0, "[" WEB("web-1", "80") "," WEB("web-2", "81") "]", "5");
    run_until(f, &f->found, 1);
    assert_string_equal(f->targets, WEB_LINE("web-1", "80") WEB_LINE("web-2", "81"));
    run_until(f, &f->http.count, 2);
    assert_string_equal(url_of(f, 1), "http://c:8500/v1/health/service/web?stale=1&index=5&wait=120000ms");
    answer(f, 1, "[" WEB("web-2", "81") "," WEB("web-1", "80") "]",
           "18446744073709551"); /* another order is no change */
    run_until(f, &f->http.count, 3);
    assert_string_equal(url_of(f, 2),
                        "http://c:8500/v1/health/service/web?stale=1&index=18446744073709551&wait=120000ms");
    assert_int_equal(f->found, 1);
    answer(f, 2, "[]", "18446744073709552");
    run_until(f, &f->found, 2);
    assert_string_equal(f->targets, "");
    run_until(f, &f->http.count, 4);
    answer(f, 3, "[" WEB("web-1", "80") "]", "18446744073709553");
    run_until(f, &f->found, 3);
    assert_string_equal(f->targets, WEB_LINE("web-1", "80"));
}

static void consul_forgets_an_index_that_goes_back_or_is_none(void **state) {
    static const char *const none[] = {"0", "", "x", "-3", "99999999999999999999", "7 "};
    struct fixture *f = *state;
    named(f);
    answer(f, 0, "[]", "5");
    run_until(f, &f->http.count, 2);
    answer(f, 1, "[]", "4");
    run_until(f, &f->http.count, 3);
    assert_string_equal(url_of(f, 2), "http://c:8500/v1/health/service/web?stale=1");
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        answer(f, 2 + i, "[]", none[i]);
        run_until(f, &f->http.count, 4 + i); /* by refresh: does not spin, and blocks on nothing */
        assert_string_equal(url_of(f, 3 + i), "http://c:8500/v1/health/service/web?stale=1");
    }
    assert_string_equal(trouble(f), "");
}

static void consul_is_not_asked_all_the_time(void **state) {
    struct fixture *f = *state;
    char header[24];
    named(f);
    uint64_t begin = now(f);
    for (size_t i = 0; i < 4; i++) { /* changes whenever it is asked */
        (void)snprintf(header, sizeof header, "%zu", 10 + i);
        answer(f, i, "[]", header);
        run_until(f, &f->http.count, i + 2);
    }
    assert_true(now(f) - begin >= 4 * 150 * UINT64_C(1000000)); /* four gaps of 200 ms, less jitter */
}

static void what_consul_said_last_stays_when_it_errs(void **state) {
    static const struct {
        struct sonde_http_response response;
        const char *body, *trouble;
    } cases[] = {
        {{.status = 500}, "No cluster leader", "http_status: status 500: No cluster leader"},
        {{.status = 403}, "ACL not found", "unauthorized: status 403: ACL not found"},
        {{.status = 401}, "", "unauthorized"},
        {{.status = 404}, "", "not_found"},
        {{.status = 301}, "", "http_status"},
        {{.status = 200}, "", "malformed"},
        {{.status = 200}, "[[[", "malformed"},
        {{.status = 200}, "{\"a\":1}", "malformed"},
        {{.status = 200}, "[1]", "malformed"},
        {{.status = 200}, "[{\"Node\":{}}]", "malformed"},
        {{.error = SONDE_ETOOBIG, .error_text = "too big"}, "", "answer_size_limit: too big"},
        {{.error = -ETIMEDOUT}, "", "timeout"},
        {{.error = -ECONNREFUSED}, "", "connection_refused"},
        {{.error = -ECONNRESET}, "", "connection_reset"},
        {{.error = -EHOSTUNREACH}, "", "host_unreachable"},
        {{.error = -EPROTO}, "", "protocol_error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i) {
            teardown(state);
            assert_int_equal(setup(state), 0);
        }
        struct fixture *f = *state;
        named(f);
        answer(f, 0, "[" WEB("web-1", "80") "]", "5");
        run_until(f, &f->found, 1);
        run_until(f, &f->http.count, 2);
        struct sonde_http_response response = cases[i].response;
        response.body = (const uint8_t *)cases[i].body;
        response.body_size = strlen(cases[i].body);
        http_fake_respond(&f->http, 1, response);
        assert_true(strncmp(trouble(f), cases[i].trouble, strlen(cases[i].trouble)) == 0);
        assert_int_equal(f->http.open_count, 0); /* after a back-off */
        if (i)
            continue; /* the rest takes a second: once */
        run_until(f, &f->http.count, 3);
        assert_string_equal(url_of(f, 2), "http://c:8500/v1/health/service/web?stale=1"); /* the index is forgotten */
        assert_int_equal(f->found, 1);
        answer(f, 2, "[]", "9");
        assert_string_equal(trouble(f), "");
        run_until(f, &f->found, 2);
    }
}

/* Services come and go by the catalog; those that stay are not asked anew. */
static void consul_services_follow_the_catalog(void **state) {
    static char address[] = "c:8500";
    struct fixture *f = *state;
    f->config.consul.address = address;
    start(f, "consul");
    run_until(f, &f->http.count, 1);
    answer(f, 0, "{\"web\":[],\"old\":null}", "1");
    run_until(f, &f->http.count, 4); /* old, web, catalog */
    size_t catalog = SIZE_MAX, web = SIZE_MAX, old = SIZE_MAX;
    for (size_t i = 1; i < 4; i++)
        *(strstr(url_of(f, i), "catalog") ? &catalog : strstr(url_of(f, i), "/web") ? &web : &old) = i;
    answer(f, web, "[" WEB("web-1", "80") "]", "1");
    answer(f, old, "[" WEB("old-1", "90") "]", "1");
    run_until(f, &f->found, 1);
    assert_non_null(strstr(f->targets, WEB_LINE("web-1", "80")));
    assert_non_null(strstr(f->targets, WEB_LINE("old-1", "90")));
    run_until(f, &f->http.open_count, 3);
    size_t asked = f->http.count;
    answer(f, catalog, "{\"web\":[],\"consul\":[]}", "2");
    assert_int_equal(f->http.cancelled, 1); /* the question about old */
    run_until(f, &f->found, 2);
    assert_string_equal(f->targets, WEB_LINE("web-1", "80"));
    run_until(f, &f->http.count, asked + 1);
    assert_non_null(strstr(url_of(f, asked), "catalog"));
    f->ops->stop(f->discoverer);
    assert_int_equal(f->http.open_count, 0);
}

static void consul_is_asked_so_many_questions_at_once(void **state) {
    static char address[] = "c:8500";
    struct fixture *f = *state;
    char body[1024];
    size_t at = 0;
    for (int i = 0; i < 40; i++)
        at += (size_t)snprintf(body + at, sizeof body - at, "%c\"s%d\":[]", i ? ',' : '{', i);
    (void)snprintf(body + at, sizeof body - at, "}");
    f->config.consul.address = address;
    f->config.consul.watches_max = 2;
    f->config.consul.refresh_ns = 3600 * SECOND;
    start(f, "consul");
    run_until(f, &f->http.count, 1);
    answer(f, 0, body, "1");
    run_until(f, &f->http.open_count, 17); /* sixteen, and the catalog's */
    run_for(f, 300);
    assert_int_equal(f->http.open_max, 17);
    for (size_t answered = 0; answered < 40;) { /* the plain ones */
        for (size_t i = 0; i < f->http.count; i++)
            if (f->http.exchanges[i]->open && !strstr(url_of(f, i), "index=")) {
                answer(f, i, "[]", "3");
                answered++;
            }
        if (answered < 40)
            run_until(f, &f->http.count, 2 + answered + 1);
    }
    run_for(f, 500);
    assert_int_equal(f->http.open_count, 3); /* the catalog's, and two of the services; the others wait for refresh */
    assert_int_equal(f->http.count, 1 + 1 + 40 + 2);
}

/* ---- Eureka ---- */

#define INSTANCE(id, port)                                                                                             \
    "{\"instanceId\":\"" id "\",\"hostName\":\"h\",\"app\":\"PAY\",\"ipAddr\":\"10.0.0.1\",\"status\":\"UP\","         \
    "\"port\":{\"$\":" port ",\"@enabled\":\"true\"},\"securePort\":{\"$\":443,\"@enabled\":\"false\"},"               \
    "\"dataCenterInfo\":{\"@class\":\"x\",\"name\":\"MyOwn\"},\"metadata\":{\"@class\":\"java.util.Collections$"       \
    "EmptyMap\"}}"
#define APPS(instances)                                                                                                \
    "{\"applications\":{\"versions__delta\":\"1\",\"apps__hashcode\":\"UP_1_\",\"application\":[{\"name\":\"PAY\","    \
    "\"instance\":[" instances "]}]}}"

static void eureka_servers_are_asked_in_turn(void **state) {
    struct fixture *f = *state;
    char a[] = "http://a/eureka/", b[] = "https://b:1/eureka", *servers[] = {a, b}, user[] = "me", password[] = "pw";
    f->config.eureka.servers = (struct sonde_string_list){servers, 2};
    f->config.eureka.username = user;
    f->config.eureka.password = password;
    start(f, "eureka");
    run_until(f, &f->http.count, 1);
    assert_string_equal(url_of(f, 0), "http://a/eureka/apps");
    assert_string_equal(f->http.exchanges[0]->headers, "Accept: application/json\nAuthorization: Basic bWU6cHc=\n");
    http_fake_respond(&f->http, 0, (struct sonde_http_response){.error = -ECONNREFUSED});
    run_until(f, &f->http.count, 2);
    assert_string_equal(url_of(f, 1), "https://b:1/eureka/apps");
    assert_non_null(strstr(trouble(f), "connection_refused"));
    answer(f, 1, APPS(INSTANCE("i1", "8080")), "");
    assert_string_equal(trouble(f), "");
    assert_string_equal(f->targets, "h:8080   pay i1   \n");
    run_until(f, &f->http.count, 3); /* by refresh, and the one that answered */
    assert_string_equal(url_of(f, 2), "https://b:1/eureka/apps");
    answer(f, 2, APPS(INSTANCE("i1", "8080")), "");
    assert_int_equal(f->found, 1);
    run_until(f, &f->http.count, 4);
    answer(f, 3, "<applications/>", "");
    assert_non_null(strstr(trouble(f), "malformed"));
    run_until(f, &f->http.count, 5);
    assert_string_equal(url_of(f, 4), "http://a/eureka/apps");
    http_fake_answer(&f->http, 4, 404);
    assert_non_null(strstr(trouble(f), "not_found"));
    assert_int_equal(f->found, 1);
    run_until(f, &f->http.count, 6); /* all failed: after a back-off */
    answer(f, 5, APPS(""), "");
    assert_int_equal(f->found, 2);
    assert_string_equal(f->targets, "");
}

/* ---- readers ---- */

static void read_line(int err, struct sonde__discovered_set *set, const struct sonde_alloc *alloc, char *text,
                      size_t size) {
    size_t at = 0;
    text[0] = '\0';
    if (err)
        (void)snprintf(text, size, "%s", err == SONDE_EMALFORMED ? "malformed" : sonde_strerror(err));
    for (size_t i = 0; !err && i < set->count; i++)
        for (int k = 0; k < SONDE_DISCOVERED_FIELDS; k++)
            at += (size_t)snprintf(text + at, size - at, "%s%s", set->items[i]->fields[k],
                                   k == SONDE_DISCOVERED_FIELDS - 1 ? "\n" : "|");
    if (!err && set->left_out)
        (void)snprintf(text + at, size - at, "left out %u", (unsigned)set->left_out);
    sonde__discovered_deinit(set, alloc);
}

static void consul_entries_are_read(void **state) {
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"[]", ""},
        {"[" WEB("w", "80") "]", "10.1.10.13:80|||web|w|1.2|team|nz\n"},
        /* the node's address, an IPv6 one, a namespace, a locality */
        {"[{\"Node\":{\"Address\":\"fd00::1\"},\"Service\":{\"ID\":\"w\",\"Service\":\"web\",\"Address\":\"\",\"Port\":"
         "1,"
         "\"Namespace\":\"ns\",\"Partition\":\"p\",\"Locality\":{\"Region\":\"r\",\"Zone\":\"lz\"},\"Meta\":{\"zone\":"
         "\"z\"}}}]",
         "[fd00::1]:1|||web|w||ns|lz\n"},
        /* metadata chooses, with either separator */
        {"[{\"Node\":{\"Address\":\"a\"},\"Service\":{\"Service\":\"web\",\"Port\":0,\"Meta\":{\"prometheus_port\":"
         "\"9\","
         "\"prometheus-path\":\"/p\",\"prometheus_scheme\":\"https\",\"service_version\":\"2\",\"version\":\"1\","
         "\"service_namespace\":\"s\",\"zone\":\"z\"}}}]",
         "a:9|https|/p|web||2|s|z\n"},
        {"[{\"Node\":{\"Address\":\"a\"},\"Service\":{\"Service\":\"web\",\"Port\":5,\"Meta\":{\"prometheus_port\":"
         "\"nine\","
         "\"prometheus_scheme\":\"gopher\",\"management_port\":\"70000\"}}}]",
         "a:5|||web||||\n"},
        /* neither port nor address */
        {"[{\"Node\":{\"Address\":\"a\"},\"Service\":{\"Port\":0}},{\"Node\":{},\"Service\":{\"Port\":1}},"
         "{\"Node\":{\"Address\":\"a\"},\"Service\":{\"Port\":70000}},{\"Node\":{\"Address\":\"a\"},\"Service\":{"
         "\"Port\":-1}}]",
         "left out 4"},
        {"[{\"Node\":{\"Address\":7},\"Service\":{\"Address\":[],\"Port\":{},\"Meta\":[]}}]", "left out 1"},
        {"", "malformed"},
        {"null", "malformed"},
        {"[null]", "malformed"},
        {"[{\"Service\":{}}]", "malformed"},
        {"[] []", "malformed"},
        {"[\"\xff\"]", "malformed"},
    };
    struct fixture *f = *state;
    const struct sonde_alloc *alloc = &sonde_loop_seams(f->loop)->alloc;
    char text[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sonde__discovered_set set = {.items = NULL};
        int err = sonde__consul_read_health(&f->config.consul, alloc, cases[i].body, strlen(cases[i].body), &set);
        read_line(err, &set, alloc, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static void eureka_instances_are_read(void **state) {
#define ONE(rest) "{\"applications\":{\"application\":{\"name\":\"PAY\",\"instance\":{\"instanceId\":\"i\"," rest "}}}}"
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{\"applications\":{\"versions__delta\":\"1\",\"apps__hashcode\":\"\",\"application\":[]}}", ""},
        {"{\"applications\":{\"versions__delta\":1,\"apps__hashcode\":\"\"}}", ""},
        {"{\"applications\":{\"application\":null}}", ""},
        {APPS(INSTANCE("i1", "1") "," INSTANCE("i2", "2")), "h:1|||pay|i1|||\nh:2|||pay|i2|||\n"},
        /* a list of one that is none, a port that is text, a truth that is one */
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":\"8080\",\"@enabled\":true}"),
         "h:8080|||pay|i|||\n"},
        {ONE("\"hostName\":\"h\",\"status\":\"DOWN\",\"port\":{\"$\":1,\"@enabled\":\"true\"}"), ""},
        {ONE("\"hostName\":\"h\",\"port\":{\"$\":1,\"@enabled\":\"true\"}"), ""},
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"false\"},"
             "\"securePort\":{\"$\":443,\"@enabled\":\"true\"}"),
         "h:443|https||pay|i|||\n"},
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"true\"},"
             "\"securePort\":{\"$\":443,\"@enabled\":\"true\"},\"metadata\":{\"prometheus.scheme\":\"https\"}"),
         "h:443|https||pay|i|||\n"},
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"true\"},"
             "\"securePort\":{\"$\":443,\"@enabled\":\"true\"}"),
         "h:443|https||pay|i|||\n"},
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"true\"},"
             "\"securePort\":{\"$\":443,\"@enabled\":\"true\"},\"metadata\":{\"prometheus.scheme\":\"http\"}"),
         "h:80|http||pay|i|||\n"},
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"false\"}"), "left out 1"},
        {ONE("\"ipAddr\":\"10.0.0.1\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"true\"},\"metadata\":{"
             "\"management.port\":\"81\",\"prometheus.path\":\"/"
             "m\",\"version\":\"1\",\"service.namespace\":\"s\",\"zone\":\"z\"}"),
         "10.0.0.1:81||/m|pay|i|1|s|z\n"},
        {ONE("\"hostName\":\"h\",\"status\":\"UP\",\"port\":{\"$\":80,\"@enabled\":\"true\"},\"metadata\":{"
             "\"management.port\":\"81\",\"prometheus.port\":\"82\",\"zone\":\"z\"},"
             "\"dataCenterInfo\":{\"name\":\"Amazon\",\"metadata\":{\"availability-zone\":\"us-east-1a\"}}"),
         "h:82|||pay|i|||us-east-1a\n"},
        {"{}", "malformed"},
        {"[]", "malformed"},
        {"{\"applications\":[]}", "malformed"},
        {"{\"applications\":{\"application\":[1]}}", "malformed"},
        {"{\"applications\":{\"application\":[{\"instance\":[1]}]}}", "malformed"},
        {"<applications/>", "malformed"},
    };
    struct fixture *f = *state;
    const struct sonde_alloc *alloc = &sonde_loop_seams(f->loop)->alloc;
    char text[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sonde__discovered_set set = {.items = NULL};
        int err = sonde__eureka_read(&f->config.eureka, alloc, cases[i].body, strlen(cases[i].body), &set);
        read_line(err, &set, alloc, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static void readers_survive_without_memory(void **state) {
    static const char services[] = "{\"a\":[],\"b\":[]}", health[] = "[" WEB("a", "1") "," WEB("b", "2") "]";
    static const char apps[] = APPS(INSTANCE("i1", "1") "," INSTANCE("i2", "2"));
    struct fixture *f = *state;
    struct fakes fakes;
    int good = 0;
    for (int64_t n = 0; n < 5; n++) {
        fakes_init(&fakes);
        struct sonde_seams seams = fakes_seams(&fakes);
        struct sonde__discover_names names = {.items = NULL};
        struct sonde__discovered_set a = {.items = NULL}, b = {.items = NULL};
        int wanted = n < 3 ? -ENOMEM : 0; /* a list and two items */
        fakes.allocations_until_failure = n;
        assert_int_equal(
            sonde__consul_read_services(&f->config.consul, &seams.alloc, services, sizeof services - 1, &names),
            wanted);
        sonde__discover_names_deinit(&names, &seams.alloc);
        fakes.allocations_until_failure = n;
        assert_int_equal(sonde__consul_read_health(&f->config.consul, &seams.alloc, health, sizeof health - 1, &a),
                         wanted);
        sonde__discovered_deinit(&a, &seams.alloc);
        fakes.allocations_until_failure = n;
        assert_int_equal(sonde__eureka_read(&f->config.eureka, &seams.alloc, apps, sizeof apps - 1, &b), wanted);
        sonde__discovered_deinit(&b, &seams.alloc);
        assert_int_equal(fakes.live, 0);
        good += !wanted;
    }
    assert_int_equal(good, 2);
}

static void too_many_are_left_out(void **state) {
    struct fixture *f = *state;
    const struct sonde_alloc *alloc = &sonde_loop_seams(f->loop)->alloc;
    struct sonde__discovered_set set = {.items = NULL};
    struct sonde__discover_names names = {.items = NULL};
    const unsigned count = SONDE__CONSUL_SERVICES_MAX + 3;
    const size_t size = count * 100;
    char *body = malloc(size);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++)
        at += (size_t)snprintf(body + at, size - at,
                               "%c{\"Node\":{\"Address\":\"a\"},\"Service\":{\"ID\":\"%u\",\"Port\":1}}", i ? ',' : '[',
                               i);
    at += (size_t)snprintf(body + at, size - at, "]");
    assert_int_equal(sonde__consul_read_health(&f->config.consul, alloc, body, at, &set), 0);
    assert_int_equal(set.count, SONDE_DISCOVERED_MAX);
    assert_int_equal(set.left_out, count - SONDE_DISCOVERED_MAX);
    sonde__discovered_deinit(&set, alloc);
    at = 0;
    for (unsigned i = 0; i < count; i++)
        at += (size_t)snprintf(body + at, size - at, "%c\"s%u\":[]", i ? ',' : '{', i);
    at += (size_t)snprintf(body + at, size - at, "}");
    assert_int_equal(sonde__consul_read_services(&f->config.consul, alloc, body, at, &names), 0);
    assert_int_equal(names.count, SONDE__CONSUL_SERVICES_MAX);
    assert_int_equal(names.left_out, 3);
    sonde__discover_names_deinit(&names, alloc);
    free(body);
}

/* What the target says, then the configuration's labels, then discovery, then job and host:port. */
static void resource_has_what_nobody_better_said(void **state) {
    static const struct {
        const char *label, *told, *present[3], *absent[3];
    } cases[] = {
        {NULL, NULL, {"found-name", "found-id", "found-version"}, {"the-job", "h:80"}},
        {NULL, "service_version", {"found-name", "found-id", "told-it"}, {"found-version"}},
        {NULL, "service_name", {"told-it", "found-id", "found-version"}, {"found-name", "the-job"}},
        {NULL, "job", {"found-name"}, {"told-it"}},
        {NULL, "server_address", {"found-name"}, {"told-it"}},
        {NULL, "team", {"found-name", "team", "told-it"}, {NULL}},
        {"service.version", NULL, {"found-name", "found-id"}, {"found-version", "labelled"}},
        {"service_version", NULL, {"found-name", "found-id"}, {"found-version", "labelled"}},
        {"service.name", NULL, {"the-job", "found-id", "found-version"}, {"found-name"}},
        {"service.instance.id", NULL, {"found-name", "h:80"}, {"found-id"}},
    };
    static struct sonde__scrape_told told;
    uint8_t buffer[SONDE__SCRAPE_RESOURCE_SIZE_MAX];
    const char *fields[SONDE_DISCOVERED_FIELDS] = {"h:80", "", "", "found-name", "found-id", "found-version", "", ""};
    struct sonde_discovered *found = sonde__discovered_copy(&sonde_heap, fields);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char key[32], value[] = "labelled", job[] = "the-job", *keys[] = {key}, *values[] = {value};
        (void)snprintf(key, sizeof key, "%s", cases[i].label ? cases[i].label : "");
        const struct sonde__scrape_config config = {.job = job, .labels = {keys, values, cases[i].label ? 1 : 0}};
        const struct sonde__scrape_address address = {.instance = "h:80", .host = "h", .scheme = "http", .port = 80};
        told.count = cases[i].told ? 1 : 0;
        (void)snprintf(told.labels[0].name, sizeof told.labels[0].name, "%s", cases[i].told ? cases[i].told : "");
        (void)snprintf(told.labels[0].value, sizeof told.labels[0].value, "told-it");
        struct sonde_bytes resource =
            sonde__scrape_resource(&config, &address, &(struct sonde__scrape_origin){"consul", found}, &told, buffer);
        assert_non_null(memmem(resource.data, resource.size, "consul", 6));
        for (size_t k = 0; k < 3 && cases[i].present[k]; k++)
            assert_non_null(memmem(resource.data, resource.size, cases[i].present[k], strlen(cases[i].present[k])));
        for (size_t k = 0; k < 3 && cases[i].absent[k]; k++)
            assert_null(memmem(resource.data, resource.size, cases[i].absent[k], strlen(cases[i].absent[k])));
        resource = sonde__scrape_resource(&config, &address, NULL, &told, buffer);
        assert_null(memmem(resource.data, resource.size, "found-", 6));
        assert_null(memmem(resource.data, resource.size, "sonde.discovery", 15));
    }
    sonde_alloc_free(&sonde_heap, found);
}

/* A registry that says http does not get what was configured for https sent in clear. */
static void credentials_are_not_sent_in_clear(void **state) {
    static const struct {
        const char *wanted, *said, *token, *user;
        int err;
    } cases[] = {
        {"https", "http", "t", "", SONDE_EINVALID},
        {"https", "http", "", "u", SONDE_EINVALID},
        {"https", "http", "", "", 0},
        {"https", "https", "t", "", 0},
        {"https", "", "t", "u", 0},
        {"http", "http", "t", "u", 0},
    };
    static struct sonde__scrape_told told;
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char texts[6][16] = {"job", "/metrics", ""};
        (void)snprintf(texts[3], sizeof texts[3], "%s", cases[i].wanted);
        (void)snprintf(texts[4], sizeof texts[4], "%s", cases[i].token);
        (void)snprintf(texts[5], sizeof texts[5], "%s", cases[i].user);
        const struct sonde__scrape_config config = {.job = texts[0],
                                                    .metrics_path = texts[1],
                                                    .password = texts[2],
                                                    .scheme = texts[3],
                                                    .bearer_token = texts[4],
                                                    .username = texts[5],
                                                    .interval_ns = SECOND};
        const char *fields[SONDE_DISCOVERED_FIELDS] = {"h:80", cases[i].said, "", "name", "id", "", "", ""};
        struct sonde_discovered *found = sonde__discovered_copy(&sonde_heap, fields);
        struct sonde__scrape_shared shared = {
            .config = &config,
            .env = {.name = "scrape", .loop = f->loop, .seams = sonde_loop_seams(f->loop), .series = f->store},
            .told = &told};
        struct sonde__scrape_target *target = NULL;
        assert_int_equal(sonde__scrape_target_create(&shared, "h:80", &(struct sonde__scrape_origin){"eureka", found},
                                                     UINT64_MAX / 2, &target),
                         cases[i].err);
        assert_true((target != NULL) == (cases[i].err == 0));
        sonde__scrape_target_destroy(target);
        sonde_alloc_free(&sonde_heap, found);
    }
}

static void bad_configurations_are_refused(void **state) {
    struct fixture *f = *state;
    static const char *const bad[] = {"http://u:p@c:1", "ftp://c", "http://", "c:1?x", "c 1", "http://c/#a", ":8500"};
    char text[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char address[32], *servers[] = {address};
        (void)snprintf(address, sizeof address, "%s", bad[i]);
        f->config.consul.address = address;
        assert_int_equal(sonde_discoverers[0]->check(&f->config, text, sizeof text), SONDE_EINVALID);
        assert_true(strncmp(text, "consul.address: ", 16) == 0);
        f->config.eureka.servers = (struct sonde_string_list){servers, 1};
        assert_int_equal(sonde_discoverers[1]->check(&f->config, text, sizeof text), SONDE_EINVALID);
        assert_true(strncmp(text, "eureka.servers: ", 16) == 0);
    }
}

int main(void) {
    sonde_agent_log_level_set(SONDE_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(consul_is_asked_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(consul_blocks_by_the_index_of_the_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(consul_forgets_an_index_that_goes_back_or_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(consul_is_not_asked_all_the_time, setup, teardown),
        cmocka_unit_test_setup_teardown(what_consul_said_last_stays_when_it_errs, setup, teardown),
        cmocka_unit_test_setup_teardown(consul_services_follow_the_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(consul_is_asked_so_many_questions_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(eureka_servers_are_asked_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(consul_entries_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(eureka_instances_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(credentials_are_not_sent_in_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_survive_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_are_left_out, setup, teardown),
        cmocka_unit_test(resource_has_what_nobody_better_said),
        cmocka_unit_test_setup_teardown(bad_configurations_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
