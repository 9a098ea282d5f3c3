/* SPDX-License-Identifier: Apache-2.0 */
/* What all conventions share: their scope, and the series that were seen before, which threads find and add at the same
 * time without a lock (seen.c). */
#include "instrumentation/conventions/seen.h"
#include "tests/unit/instrumentation/conventional.h"
#include <pthread.h>
#include <stdatomic.h>

static uint32_t scope_of_next_record(void) {
    const struct sonde__record *record = records_next();
    assert_non_null(record);
    return record->scope;
}

static void spans_and_metrics_have_the_scope_of_the_conventions(void **state) {
    static const struct sonde__metric_memory memory = {memory_read, NULL};
    struct sonde_http_client request;
    struct sonde_string scope, schema_url;
    (void)state;
    for (int own = 0; own < 2; own++) {
        sonde_http_client_init(&request);
        request.method = sonde_text("GET");
        request.url = sonde_text("http://users.example/");
        request.scope = own ? sonde_scope_register("mine", NULL, NULL, NULL, 0) : 0;
        sonde_http_client_start(&request, NULL);
        sonde_http_client_end(&request);
        uint32_t number = scope_of_next_record();
        assert_true(own ? number == request.scope : number == sonde__convention_scope_own());
        assert_true(number != 0);
    }
    struct sonde__metric_reader *reader = sonde__metric_reader_create(memory_resize, NULL);
    assert_int_equal(sonde__metric_reader_refresh(reader, &memory), 0);
    uint32_t seen = 0;
    for (uint32_t i = 1; i <= sonde__metric_reader_instrument_max(reader); i++) {
        struct sonde__metric_instrument instrument;
        if (!sonde__metric_reader_instrument(reader, i, &instrument) || instrument.name.size != 28 ||
            memcmp(instrument.name.data, "http.client.request.duration", 28) != 0)
            continue;
        sonde__metric_reader_scope(reader, instrument.scope, &scope, &schema_url);
        assert_non_null(memmem(scope.data, scope.size, "sonde.conventions", 17));
        assert_int_equal(schema_url.size, strlen("https://opentelemetry.io/schemas/1.44.0"));
        assert_memory_equal(schema_url.data, "https://opentelemetry.io/schemas/1.44.0", schema_url.size);
        seen++;
    }
    assert_int_equal(seen, 1);
    sonde__metric_reader_destroy(reader);
}

/* ---- entry points ---- */

static void serve(const struct sonde_extract_options *entry, struct envelope *envelope) {
    struct sonde_carrier headers = sonde_http_carrier(&envelope->headers);
    struct sonde_http_server request;
    sonde_http_server_init(&request);
    request.method = sonde_text("GET");
    request.path = sonde_text("/");
    request.scheme = sonde_text("http");
    request.entry = entry;
    sonde_http_server_start(&request, &headers);
    sonde_http_server_end(&request);
    span_take("GET", SONDE_SPAN_KIND_SERVER);
}

static bool is_child(void) {
    return span_pb->parent_span_id.len == 8 && memcmp(span_pb->parent_span_id.data, PARENT_ID, 8) == 0 &&
           memcmp(span_pb->trace_id.data, TRACE_ID, 16) == 0;
}

static void servers_trust_a_peer_as_far_as_they_are_told(void **state) {
    struct sonde_extract_options entry = SONDE_EXTRACT_OPTIONS_INIT;
    struct sonde_context link;
    struct envelope envelope;
    struct sonde_rpc call;
    (void)state;
    struct sonde_carrier headers = envelope_open(&envelope);
    envelope_put(&envelope, "traceparent", PARENT);
    serve(NULL, &envelope);
    assert_true(is_child());
    serve(&entry, &envelope);
    assert_true(is_child());
    entry.entry = SONDE_ENTRY_LINK;
    entry.ret_link = &link;
    serve(&entry, &envelope);
    assert_int_equal(span_pb->parent_span_id.len, 0);
    assert_int_equal(span_pb->n_links, 1);
    assert_memory_equal(span_pb->links[0]->trace_id.data, TRACE_ID, 16);
    assert_memory_equal(link.span.trace_id, TRACE_ID, 16);
    entry.entry = SONDE_ENTRY_IGNORE;
    serve(&entry, &envelope);
    assert_int_equal(span_pb->parent_span_id.len + span_pb->n_links, 0);
    entry.entry = SONDE_ENTRY_RESAMPLE; /* 00 from outside does not blind us */
    envelope.items[0].value = sonde_text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    serve(&entry, &envelope);
    assert_true(is_child());
    sonde_rpc_init(&call);
    call.method = sonde_text("s/m");
    entry.entry = SONDE_ENTRY_LINK;
    call.entry = &entry;
    sonde_rpc_server_start(&call, &headers);
    sonde_rpc_server_end(&call);
    span_take("s/m", SONDE_SPAN_KIND_SERVER);
    assert_int_equal(span_pb->n_links, 1);
    assert_int_equal(span_pb->parent_span_id.len, 0);
}

static void root_of_a_load_balancer_is_an_attribute(void **state) {
    struct envelope envelope;
    (void)state;
    (void)envelope_open(&envelope);
    envelope_put(&envelope, "X-Amzn-Trace-Id", "Root=1-8a3c60f7-d188f8fa79d48a391a778fa6");
    assert_int_equal(sonde_propagators_set("xray"), 0);
    serve(NULL, &envelope);
    assert_int_equal(sonde_propagators_set(""), 0);
    span_has_text("sonde.xray.root", "1-8a3c60f7-d188f8fa79d48a391a778fa6");
    assert_int_equal(span_pb->parent_span_id.len, 0);
    serve(NULL, &envelope);
    span_has_not("sonde.xray.root");
}

/* ---- many threads, more sets than there is room for ---- */

enum { THREADS = 4, SETS = 701, ROUNDS = 12 };
static _Atomic int waiting;

static void *measure_all(void *user) {
    unsigned step = 1 + 2 * (unsigned)(uintptr_t)user; /* each thread in an order of its own; 701 is prime */
    atomic_fetch_add(&waiting, 1);
    while (atomic_load(&waiting) < THREADS)
        continue;
    for (unsigned i = 0; i < ROUNDS * SETS; i++) {
        struct sonde__set set;
        char destination[24];
        (void)snprintf(destination, sizeof destination, "destination-%u.", i * step * 13 % SETS);
        sonde__set_init(&set);
        sonde__set_add(&set, SONDE_KEY("messaging.destination.name"), sonde_text(destination));
        sonde__set_add(&set, SONDE_KEY("messaging.system"), sonde_text("kafka"));
        sonde_counter_add(sonde__series_of(SONDE__METRIC_MESSAGING_SENT, &set), 1);
    }
    return NULL;
}

static void series_found_by_many_threads_are_the_right_ones(void **state) {
    pthread_t threads[THREADS];
    (void)state;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, measure_all, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    struct measured all = measured("messaging.client.sent.messages", NULL);
    assert_int_equal(all.series, SETS);
    assert_int_equal(all.count, THREADS * ROUNDS * SETS);
    for (unsigned i = 0; i < SETS; i += 23) {
        char destination[24];
        (void)snprintf(destination, sizeof destination, "destination-%u.", i);
        assert_int_equal(measured("messaging.client.sent.messages", destination, NULL).count, THREADS * ROUNDS);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, conventional_setup, conventional_teardown)
    const struct CMUnitTest tests[] = {
        CASE(spans_and_metrics_have_the_scope_of_the_conventions),
        CASE(servers_trust_a_peer_as_far_as_they_are_told),
        CASE(root_of_a_load_balancer_is_an_attribute),
        CASE(series_found_by_many_threads_are_the_right_ones),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
