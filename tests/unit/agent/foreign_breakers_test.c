/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers of other libraries, from what each of them exposes to the family that our own have. Expositions are
 * written after the libraries' sources (agent/process/breakers_map.h names them). */
#include "agent/process/breakers_table.h"
#include "agent/process/processor.h"
#include "agent/receive/scrape.h"
#include "exporters/prometheus/text.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

extern const struct sonde_processor_ops sonde_processor_breakers;

struct config { /* as the processor's rows have it */
    struct sonde_string_list sources;
    char *metric, *name_attribute;
    struct sonde_string_map state_map;
};

struct fixture {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_series_store *store;
    struct sonde_series_source *source;
    struct sonde_queue *queue;
    struct sonde_ledger ledger;
    uint32_t cursor;
    uint64_t read; /* of the queue */
    struct config config;
    void *processor;
    char *text;
    size_t text_size;
};

static int create(struct fixture *f, char *text, size_t size) {
    struct sonde_processor_env env = {
        .name = "breakers", .seams = &f->seams, .queue = f->queue, .ledger = &f->ledger, .series = f->store};
    return sonde_processor_breakers.create(&f->config, &env, &f->processor, text, size);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    fakes_init(&f->fakes);
    f->seams = fakes_seams(&f->fakes);
    f->config = (struct config){.metric = "", .name_attribute = "name"};
    *state = f;
    const struct sonde_queue_options options = {.size_max = 1 << 20};
    sonde_ledger_init(&f->ledger);
    return sonde_queue_create(&options, &f->seams, &f->queue) ||
           sonde_queue_cursor_create(f->queue, 1u << SONDE_SIGNAL_LOGS, &f->cursor) ||
           sonde_series_store_create(&f->seams, &f->store) ||
           sonde_series_source_create(f->store, (struct sonde_bytes){NULL, 0}, &f->source);
}
static int teardown(void **state) {
    struct fixture *f = *state;
    sonde_processor_breakers.destroy(f->processor);
    sonde_series_store_destroy(f->store);
    sonde_queue_destroy(f->queue);
    free(f->text);
    int leaked = f->fakes.live != 0;
    free(f);
    return leaked;
}

/* One scrape that answered this. */
static void scraped(struct fixture *f, const char *text) {
    static struct sonde__exposition reader;
    static const struct sonde__scrape_config config;
    struct sonde__scrape_take take = {.source = f->source, .config = &config};
    reader = (struct sonde__exposition){.samples_max = 1000, .sample = sonde__scrape_take_sample, .user = &take};
    assert_int_equal(sonde__exposition_read(&reader, text, strlen(text)), 0);
    assert_int_equal(sonde__scrape_histogram_end(&take), 0);
    sonde_series_sweep(f->source);
}

static int sink_write(void *self, const char *text, size_t size) {
    return fwrite(text, 1, size, self) == size ? 0 : -EIO;
}

/* The family's lines of the store's text. */
static const char *shown(struct fixture *f) {
    free(f->text);
    FILE *out = open_memstream(&f->text, &f->text_size);
    assert_non_null(out);
    struct sonde_prometheus_sink sink = {sink_write, out};
    struct sonde_prometheus_stats stats;
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    sonde_series_refresh(f->store);
    assert_int_equal(sonde_prometheus_write(&feed, &f->seams.alloc, &sink, &stats), 0);
    assert_int_equal(stats.type_conflicts, 0);
    fclose(out);
    return f->text;
}

static int by_text(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    int x_is_bound = strncmp(x, "le=", 3) == 0, y_is_bound = strncmp(y, "le=", 3) == 0; /* these stand last */
    return x_is_bound != y_is_bound ? x_is_bound - y_is_bound : strcmp(x, y);
}

/* The line with its labels sorted, as they are shown. */
static void wanted_line(const char *line, char *wanted, size_t size) {
    char copy[400], *labels[20], *save, *end;
    size_t count = 0, at = strcspn(line, "{");
    assert_true(strlen(line) < sizeof copy && line[at]);
    memcpy(copy, line, strlen(line) + 1);
    end = strrchr(copy, '}');
    *end = '\0';
    for (char *label = strtok_r(copy + at + 1, ",", &save); label; label = strtok_r(NULL, ",", &save))
        labels[count++] = label;
    qsort(labels, count, sizeof *labels, by_text);
    at = (size_t)snprintf(wanted, size, "\n%.*s{", (int)at, line);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(wanted + at, size - at, "%s%s", i ? "," : "", labels[i]);
    (void)snprintf(wanted + at, size - at, "}%s\n", end + 1);
}

static void has(struct fixture *f, const char *line) {
    char wanted[500];
    wanted_line(line, wanted, sizeof wanted);
    if (!strstr(shown(f), wanted))
        fail_msg("missing: %s\nin:\n%s", line, f->text);
}
static void has_not(struct fixture *f, const char *part) {
    if (strstr(shown(f), part))
        fail_msg("there: %s\nin:\n%s", part, f->text);
}
/* Exactly this state, of six that are shown. */
static void is_in(struct fixture *f, const char *labels_behind, const char *labels_before, const char *state) {
    char line[400];
    for (size_t i = 0; breakers_state_names[i]; i++) {
        (void)snprintf(line, sizeof line, "sonde_circuit_breaker_state{%s,state=\"%s\"%s} %d", labels_before,
                       breakers_state_names[i], labels_behind, strcmp(state, breakers_state_names[i]) == 0);
        has(f, line);
    }
}

#define NAMED(name, source) "name=\"" name "\",source=\"" source "\""
#define R4J_STATE(state, value)                                                                                        \
    "resilience4j_circuitbreaker_state{group=\"g\",name=\"pay\",state=\"" state "\",} " value "\n"
#define R4J_STATES(closed, open, half)                                                                                 \
    "# TYPE resilience4j_circuitbreaker_state gauge\n" R4J_STATE("closed", closed) R4J_STATE("open", open)             \
        R4J_STATE("half_open", half) R4J_STATE("forced_open", "0.0") R4J_STATE("disabled", "0.0")                      \
            R4J_STATE("metrics_only", "0.0")

static void resilience4j(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(
        f,
        R4J_STATES(
            "1.0", "0.0",
            "0.0") "# TYPE resilience4j_circuitbreaker_calls_seconds summary\n"
                   "resilience4j_circuitbreaker_calls_seconds_count{kind=\"successful\",name=\"pay\",} 7.0\n"
                   "resilience4j_circuitbreaker_calls_seconds_sum{kind=\"successful\",name=\"pay\",} 1.5\n"
                   "resilience4j_circuitbreaker_calls_seconds_count{kind=\"failed\",name=\"pay\",} 3.0\n"
                   "resilience4j_circuitbreaker_calls_seconds_count{kind=\"ignored\",name=\"pay\",} 1.0\n"
                   "# TYPE resilience4j_circuitbreaker_not_permitted_calls_total counter\n"
                   "resilience4j_circuitbreaker_not_permitted_calls_total{kind=\"not_permitted\",name=\"pay\",} 4.0\n"
                   "resilience4j_circuitbreaker_failure_rate{name=\"pay\",} 25.0\n"
                   "resilience4j_circuitbreaker_slow_call_rate{name=\"pay\",} -1.0\n"
                   "# TYPE resilience4j_retry_calls_total counter\n"
                   "resilience4j_retry_calls_total{kind=\"failed_with_retry\",name=\"r\",} 2.0\n");
    is_in(f, "", "group=\"g\"," NAMED("pay", "resilience4j"), "closed");
#define OUTCOME(outcome, value)                                                                                        \
    "sonde_circuit_breaker_call_total{name=\"pay\",outcome=\"" outcome "\",source=\"resilience4j\"} " value
    has(f, OUTCOME("success", "7"));
    has(f, OUTCOME("failure", "3"));
    has(f, OUTCOME("ignored", "1"));
    has(f, OUTCOME("rejected", "4"));
    has(f, "sonde_circuit_breaker_failure_ratio{" NAMED("pay", "resilience4j") "} 0.25");
    has_not(f, "slow_call_ratio{");
    has(f, "sonde_resilience_retry_total{sonde_resilience_source=\"resilience4j\",sonde_resilience_name=\"r\","
           "sonde_resilience_outcome=\"failure_with_retry\"} 2");
}

/* How many log records came, of which the last has these texts. */
static uint32_t told(struct fixture *f, const char *const *texts) {
    struct sonde_record_log log = sonde_queue_log(f->queue);
    struct sonde_record_view view;
    uint32_t count = 0;
    while (log.next(log.self, f->cursor, f->read, &view)) {
        assert_non_null(memmem(view.data.data, view.data.size, "sonde.circuit_breaker.state_change", 34));
        for (size_t i = 0; texts[i]; i++)
            if (!memmem(view.data.data, view.data.size, texts[i], strlen(texts[i])))
                fail_msg("missing: %s", texts[i]);
        count += view.count;
        f->read = view.sequence;
        log.release(log.self, f->cursor, view.sequence);
    }
    return count;
}
#define TOLD(f, ...) told(f, (const char *const[]){__VA_ARGS__, NULL})

#define CALLS(part, kind, value)                                                                                       \
    "resilience4j_circuitbreaker_calls_seconds" part "{kind=\"" kind "\",name=\"pay\",} " value "\n"
#define BUCKETS(kind, low, all, sum)                                                                                   \
    "resilience4j_circuitbreaker_calls_seconds_bucket{kind=\"" kind "\",name=\"pay\",le=\"0.05\"} " low "\n"           \
    "resilience4j_circuitbreaker_calls_seconds_bucket{kind=\"" kind "\",name=\"pay\",le=\"+Inf\"} " all                \
    "\n" CALLS("_count", kind, all) CALLS("_sum", kind, sum)
#define DURATION(part, more, value)                                                                                    \
    "sonde_circuit_breaker_call_duration_seconds" part "{" NAMED("pay", "resilience4j") more "} " value

static void durations_of_calls(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    /* Timers without buckets, with quantiles: count and sum. Ignored calls are no calls of the peer's. */
    scraped(
        f, "# TYPE resilience4j_circuitbreaker_calls_seconds summary\n"
           "resilience4j_circuitbreaker_calls_seconds{kind=\"successful\",name=\"pay\",quantile=\"0.5\",} 0.25\n" CALLS(
               "_count", "successful", "7") CALLS("_sum", "successful", "1.5") CALLS("_count", "failed", "3")
               CALLS("_sum", "failed", "0.5") CALLS("_count", "ignored", "9") CALLS("_sum", "ignored", "90"));
    has(f, DURATION("_bucket", ",le=\"+Inf\"", "10"));
    has(f, DURATION("_sum", "", "2"));
    has(f, DURATION("_count", "", "10"));
    has(f, OUTCOME("success", "7"));
    scraped(f, "a 1\n"); /* restarted, configured otherwise */
    /* With buckets. */
    scraped(f, "# TYPE resilience4j_circuitbreaker_calls_seconds histogram\n" BUCKETS("successful", "6", "8", "1.75")
                   BUCKETS("failed", "1", "3", "0.5") BUCKETS("ignored", "9", "9", "90"));
    has(f, DURATION("_bucket", ",le=\"0.05\"", "7"));
    has(f, DURATION("_bucket", ",le=\"+Inf\"", "11"));
    has(f, DURATION("_sum", "", "2.25"));
    has(f, OUTCOME("success", "8"));
    has(f, OUTCOME("failure", "3"));
    has(f, OUTCOME("ignored", "9"));
    /* Other bounds among them: what can be added up is. */
    scraped(f, "# TYPE resilience4j_circuitbreaker_calls_seconds histogram\n" BUCKETS(
                   "successful", "6", "8", "1.75") "resilience4j_circuitbreaker_calls_seconds_bucket{kind=\"failed\","
                                                   "name=\"pay\",le=\"9\"} 1\n" CALLS("_count", "failed", "3")
                                                       CALLS("_sum", "failed", "0.5"));
    has_not(f, "call_duration_seconds_bucket{name=\"pay\",source=\"resilience4j\",le=\"0.05\"}");
    has(f, DURATION("_bucket", ",le=\"+Inf\"", "11"));
    scraped(f, "a 1\n");
    has_not(f, "call_duration");
}

static void changes_are_log_records(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, R4J_STATES("1", "0", "0"));
    assert_int_equal(TOLD(f, ""), 0);
    scraped(f, R4J_STATES("0", "1", "0") "resilience4j_circuitbreaker_failure_rate{group=\"g\",name=\"pay\",} 62.5\n");
    assert_int_equal(TOLD(f, "circuit breaker pay of resilience4j: closed -> open", "WARN", "foreign",
                          "sonde.circuit_breaker.failure_ratio"),
                     1);
    scraped(f, R4J_STATES("0", "1", "0"));
    scraped(f, "a 1\n");
    scraped(f, R4J_STATES("1", "0", "0")); /* what it was in between nobody knows */
    assert_int_equal(TOLD(f, ""), 0);
    assert_int_equal(f->ledger.intake[SONDE_SIGNAL_LOGS].appended, 1);
}

static void states_make_times_and_transitions(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, R4J_STATES("1", "0", "0"));
    fakes_advance(&f->fakes, 10000000000u);
    scraped(f, R4J_STATES("0", "1", "0"));
    fakes_advance(&f->fakes, 5000000000u);
    scraped(f, R4J_STATES("0", "0", "1"));
#define TIME(state, value)                                                                                             \
    "sonde_circuit_breaker_state_time_seconds_total{group=\"g\",estimated=\"true\"," NAMED(                            \
        "pay", "resilience4j") ",state=\"" state "\"} " value
    has(f, TIME("closed", "10"));
    has(f, TIME("open", "5"));
    has(f, TIME("half_open", "0"));
    has(f, "sonde_circuit_breaker_transition_total{group=\"g\",estimated=\"true\","
           "from=\"closed\",name=\"pay\",source="
           "\"resilience4j\",to=\"open\"} 1");
    /* A scrape that failed: nothing is known, and the time is nobody's. */
    fakes_advance(&f->fakes, 100000000000u);
    scraped(f, "a 1\n");
    has_not(f, "sonde_circuit_breaker");
    fakes_advance(&f->fakes, 100000000000u);
    scraped(f, R4J_STATES("1", "0", "0"));
    has(f, TIME("half_open", "0"));
    has(f, TIME("closed", "10"));
    /* None on, or two: not known, so no state. */
    scraped(f, R4J_STATES("1", "1", "0"));
    has_not(f, "sonde_circuit_breaker_state{");
}

#define POLLY(event, exception, value)                                                                                 \
    "resilience_polly_strategy_events_total{event_name=\"" event "\",event_severity=\"Error\",pipeline_name=\"p\","    \
    "strategy_name=\"cb\",operation_key=\"k\",exception_type=\"" exception "\"} " value "\n"
#define IS_POLLY(state) is_in(f, "", NAMED("p/cb", "polly"), state)

static void polly(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, POLLY("OnCircuitOpened", "A", "1") POLLY("OnCircuitOpened", "B", "1")
                   POLLY("OnCircuitHalfOpened", "A", "1") POLLY("OnTimeout", "A", "6"));
    IS_POLLY("open");
    has(f, "sonde_circuit_breaker_transition_total{" NAMED("p/cb", "polly") ",to=\"open\"} 2");
    has(f, "sonde_resilience_timeout_total{sonde_resilience_source=\"polly\",sonde_resilience_name=\"p/cb\"} 6");
    scraped(f, POLLY("OnCircuitOpened", "A", "2") POLLY("OnCircuitHalfOpened", "A", "2"));
    IS_POLLY("half_open");
    scraped(f, POLLY("OnCircuitOpened", "A", "2") POLLY("OnCircuitHalfOpened", "A", "2")
                   POLLY("OnCircuitClosed", "A", "1"));
    IS_POLLY("closed");
    scraped(f, POLLY("OnCircuitOpened", "A", "3") POLLY("OnCircuitHalfOpened", "A", "3")
                   POLLY("OnCircuitClosed", "A", "2"));
    IS_POLLY("closed");
    has_not(f, "sonde_circuit_breaker_from");
}

static void counters_of_changes_are_log_records_too(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, POLLY("OnCircuitOpened", "A", "1"));
    assert_int_equal(TOLD(f, ""), 0); /* when that was nobody knows */
    scraped(f, POLLY("OnCircuitOpened", "A", "1") POLLY("OnCircuitHalfOpened", "A", "1"));
    assert_int_equal(TOLD(f, "circuit breaker p/cb of polly: open -> half_open"), 1);
    scraped(f, POLLY("OnCircuitOpened", "A", "3") POLLY("OnCircuitHalfOpened", "A", "2"));
    assert_int_equal(TOLD(f, "circuit breaker p/cb of polly: ? -> open", "? -> half_open"), 3);
    scraped(f, POLLY("OnCircuitOpened", "A", "1000000")); /* the process is another: from nothing; and within reason */
    assert_int_equal(TOLD(f, "? -> open"), 8);
}

#define PIPELINE(part, exception, value)                                                                               \
    "resilience_polly_pipeline_duration_milliseconds" part "{pipeline_name=\"p\",operation_key=\"k\",event_name="      \
    "\"PipelineExecuted\",event_severity=\"Information\"," exception "} " value "\n"
#define BROKEN "exception_type=\"Polly.CircuitBreaker.BrokenCircuitException\","

static void polly_tells_rejections_by_pipeline(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f,
            "# TYPE resilience_polly_pipeline_duration_milliseconds histogram\n" PIPELINE("_bucket", "le=\"25\"", "6")
                PIPELINE("_bucket", "le=\"+Inf\"", "8") PIPELINE("_sum", "", "1500") PIPELINE("_count", "", "8")
                    PIPELINE("_bucket", BROKEN "le=\"25\"", "4") PIPELINE("_bucket", BROKEN "le=\"+Inf\"", "4")
                        PIPELINE("_sum", BROKEN, "1") PIPELINE("_count", BROKEN, "4")
                            PIPELINE("_bucket", "exception_type=\"System.TimeoutException\",le=\"25\"", "0")
                                PIPELINE("_bucket", "exception_type=\"System.TimeoutException\",le=\"+Inf\"", "2")
                                    PIPELINE("_sum", "exception_type=\"System.TimeoutException\"", "500"));
#define POLLY_DURATION(part, more, value)                                                                              \
    "sonde_circuit_breaker_call_duration_seconds" part "{" NAMED("p", "polly") more "} " value
    has(f, POLLY_DURATION("_bucket", ",le=\"0.025\"", "6"));
    has(f, POLLY_DURATION("_count", "", "10"));
    has(f, POLLY_DURATION("_sum", "", "2"));
    has(f, "sonde_circuit_breaker_call_total{" NAMED("p", "polly") ",outcome=\"rejected\"} 4");
    has(f, "sonde_circuit_breaker_call_total{" NAMED("p", "polly") ",outcome=\"success\"} 8");
    has(f, "sonde_circuit_breaker_call_total{" NAMED("p", "polly") ",outcome=\"failure\"} 2");
    has_not(f, "sonde_circuit_breaker_state{");
}

static void polly_before_any_event_is_assumed_closed(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, POLLY("OnCircuitOpened", "A", "0"));
    has(f, "sonde_circuit_breaker_state{assumed=\"true\"," NAMED("p/cb", "polly") ",state=\"closed\"} 1");
    scraped(f, POLLY("OnCircuitOpened", "A", "0"));
    has(f, "sonde_circuit_breaker_state{assumed=\"true\"," NAMED("p/cb", "polly") ",state=\"closed\"} 1");
    scraped(f, POLLY("OnCircuitOpened", "A", "1"));
    IS_POLLY("open");
    has_not(f, "assumed");
}

static void states_follow_from_counters(void **state) {
    (void)state;
    static const struct {
        enum breakers_state before_state;
        double before[3], now[3]; /* closed, open, half_open */
        enum breakers_state after;
    } rows[] = {
        {BREAKERS_CLOSED, {0, 0, 0}, {0, 1, 0}, BREAKERS_OPEN},
        {BREAKERS_CLOSED, {0, 0, 0}, {0, 1, 1}, BREAKERS_HALF_OPEN},
        {BREAKERS_CLOSED, {0, 0, 0}, {1, 1, 1}, BREAKERS_CLOSED},
        {BREAKERS_CLOSED, {0, 0, 0}, {0, 2, 1}, BREAKERS_OPEN},
        {BREAKERS_OPEN, {0, 1, 0}, {0, 1, 1}, BREAKERS_HALF_OPEN},
        {BREAKERS_OPEN, {0, 1, 0}, {0, 2, 1}, BREAKERS_OPEN},
        {BREAKERS_OPEN, {0, 1, 0}, {1, 1, 1}, BREAKERS_CLOSED},
        {BREAKERS_HALF_OPEN, {0, 1, 1}, {0, 2, 1}, BREAKERS_OPEN},
        {BREAKERS_HALF_OPEN, {0, 1, 1}, {1, 1, 1}, BREAKERS_CLOSED},
        {BREAKERS_HALF_OPEN, {0, 1, 1}, {0, 1, 1}, BREAKERS_HALF_OPEN},
        {BREAKERS_OPEN, {5, 6, 5}, {0, 0, 0}, BREAKERS_CLOSED}, /* restarted */
        {BREAKERS_CLOSED, {5, 5, 5}, {0, 1, 0}, BREAKERS_OPEN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool assumed;
        if (breakers_state_entered(rows[i].before_state, rows[i].before, rows[i].now, &assumed) != rows[i].after)
            fail_msg("row %zu", i);
    }
}

static void hystrix(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
#define HYSTRIX(event, value)                                                                                          \
    "hystrix_execution_total{event=\"" event "\",group=\"G\",key=\"K\",terminal=\"true\"} " value "\n"
    scraped(
        f, "hystrix_circuit_breaker_open{group=\"G\",key=\"K\",} 1.0\n# TYPE hystrix_execution_total counter\n" HYSTRIX(
               "success", "5") HYSTRIX("failure", "2") HYSTRIX("timeout", "3") HYSTRIX("short_circuited", "4")
               HYSTRIX("thread_pool_rejected", "6") HYSTRIX("emit", "9"));
    is_in(f, "", "group=\"G\"," NAMED("K", "hystrix"), "open");
#define HYSTRIX_OUTCOME(outcome, value)                                                                                \
    "sonde_circuit_breaker_call_total{group=\"G\",name=\"K\",outcome="                                                 \
    "\"" outcome "\",source=\"hystrix\"} " value
    has(f, HYSTRIX_OUTCOME("success", "5"));
    has(f, HYSTRIX_OUTCOME("failure", "5")); /* failures and time-outs */
    has(f, HYSTRIX_OUTCOME("rejected", "4"));
    has(f, "sonde_resilience_timeout_total{group=\"G\",sonde_resilience_source=\"hystrix\",sonde_resilience_name="
           "\"K\"} 3");
    has(f, "sonde_resilience_bulkhead_rejected_total{group=\"G\",sonde_resilience_source=\"hystrix\","
           "sonde_resilience_name=\"K\",sonde_resilience_resource=\"thread_pool\"} 6");
}

static void envoy(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
#define ENVOY "{envoy_cluster_name=\"c\"} "
    scraped(f,
            "envoy_cluster_circuit_breakers_default_rq_pending_open" ENVOY "1\n"
            "envoy_cluster_circuit_breakers_high_cx_open" ENVOY "0\n"
            "# TYPE envoy_cluster_upstream_rq_retry_overflow counter\nenvoy_cluster_upstream_rq_retry_overflow" ENVOY
            "3\n"
            "# TYPE envoy_cluster_upstream_cx_overflow counter\nenvoy_cluster_upstream_cx_overflow" ENVOY "2\n"
            "envoy_cluster_membership_total" ENVOY "4\nenvoy_cluster_outlier_detection_ejections_active" ENVOY "1\n");
#define OTHER "sonde_resilience_source=\"envoy\",sonde_resilience_name=\"c\""
    has(f, "sonde_resilience_bulkhead_saturated{" OTHER
           ",sonde_resilience_priority=\"default\",sonde_resilience_resource=\"rq_pending\"} 1");
    has(f, "sonde_resilience_bulkhead_saturated{" OTHER
           ",sonde_resilience_priority=\"high\",sonde_resilience_resource=\"cx\"} 0");
    has(f, "sonde_resilience_retry_suppressed_total{" OTHER ",sonde_resilience_reason=\"budget\"} 3");
    has(f, "sonde_resilience_bulkhead_rejected_total{" OTHER ",sonde_resilience_resource=\"cx\"} 2");
    has(f, "sonde_resilience_endpoint_ejected{" OTHER "} 1");
    has(f, "sonde_resilience_endpoint_ejected_ratio{" OTHER "} 0.25");
    is_in(f, "", NAMED("c", "envoy"), "closed"); /* at capacity, and some ejected: no open circuit */
    scraped(f,
            "envoy_cluster_membership_total" ENVOY "4\nenvoy_cluster_outlier_detection_ejections_active" ENVOY "4\n");
    is_in(f, "", NAMED("c", "envoy"), "open");
}

static void limits_and_what_is_under_way(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, "envoy_cluster_circuit_breakers_default_remaining_cx" ENVOY "1000\n"
               "envoy_cluster_upstream_cx_active" ENVOY "24\nenvoy_cluster_upstream_rq_active" ENVOY "7\n"
               "envoy_cluster_upstream_rq_pending_active" ENVOY "3\n"
               "# TYPE envoy_cluster_upstream_rq_retry_limit_exceeded counter\n"
               "envoy_cluster_upstream_rq_retry_limit_exceeded" ENVOY "5\n"
               "resilience4j_bulkhead_available_concurrent_calls{name=\"b\"} 5\n"
               "resilience4j_bulkhead_max_allowed_concurrent_calls{name=\"b\"} 7\n");
    has(f, "sonde_resilience_bulkhead_limit{" OTHER ",sonde_resilience_resource=\"cx\"} 1024");
    has(f, "sonde_resilience_bulkhead_inflight{" OTHER ",sonde_resilience_resource=\"cx\"} 24");
    has(f, "sonde_resilience_bulkhead_inflight{" OTHER ",sonde_resilience_resource=\"rq\"} 7");
    has(f, "sonde_resilience_bulkhead_queued{" OTHER ",sonde_resilience_resource=\"rq_pending\"} 3");
    has(f, "sonde_resilience_retry_suppressed_total{" OTHER ",sonde_resilience_reason=\"attempts\"} 5");
    has_not(f, "sonde_resilience_bulkhead_limit{" OTHER ",sonde_resilience_resource=\"rq\"}"); /* not tracked */
#define BULKHEAD "sonde_resilience_source=\"resilience4j\",sonde_resilience_name=\"b\""
    has(f, "sonde_resilience_bulkhead_limit{" BULKHEAD "} 7");
    has(f, "sonde_resilience_bulkhead_inflight{" BULKHEAD "} 2");
}

static void linkerd_and_failsafe(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f,
            "outbound_http_balancer_endpoints{backend_name=\"web\",endpoint_state=\"pending\"} 2\n"
            "outbound_http_balancer_endpoints{backend_name=\"web\",endpoint_state=\"ready\"} 1\n"
            "# TYPE failsafe_circuit_breaker_state_change_count_total counter\n"
            "failsafe_circuit_breaker_state_change_count_total{failsafe_circuit_breaker_name=\"fs\",failsafe_circuit_"
            "breaker_state=\"open\"} 1\n"
            "# TYPE failsafe_circuit_breaker_execution_count_total counter\n"
            "failsafe_circuit_breaker_execution_count_total{failsafe_circuit_breaker_name=\"fs\",failsafe_circuit_"
            "breaker_outcome=\"failure\"} 8\n");
    has(f, "sonde_resilience_endpoint_unavailable{sonde_resilience_source=\"linkerd\",sonde_resilience_name=\"web\","
           "sonde_resilience_reason=\"unknown\"} 2");
    is_in(f, "", NAMED("fs", "failsafe"), "open");
    has(f, "sonde_circuit_breaker_call_total{name=\"fs\",outcome=\"failure\","
           "source=\"failsafe\"} 8");
}

/* As they come by OTLP: dotted names and attributes. */
static void dotted_names_are_the_same(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    const struct sonde_attribute attributes[] = {
        sonde_attribute_string(SONDE_KEY("failsafe.circuit_breaker.name"), "fs"),
        sonde_attribute_string(SONDE_KEY("failsafe.circuit_breaker.state"), "half_open"),
    };
    const struct sonde_series_value value = {.kind = SONDE_COUNTER,
                                             .name = "failsafe.circuit_breaker.state_change.count",
                                             .unit = "{change}",
                                             .attributes = attributes,
                                             .attribute_count = 2,
                                             .int64 = 1};
    assert_int_equal(sonde_series_set(f->source, &value), 0);
    sonde_series_sweep(f->source);
    is_in(f, "", NAMED("fs", "failsafe"), "half_open");
}

static char *map_keys[] = {(char *)"0", (char *)"1.0", (char *)"2"};
static char *map_values[] = {(char *)"closed", (char *)"open", (char *)"half_open"};

static void numbers_by_state_map(void **state) {
    struct fixture *f = *state;
    f->config.metric = (char *)"gobreaker_state";
    f->config.name_attribute = (char *)"breaker";
    f->config.state_map = (struct sonde_string_map){map_keys, map_values, 3};
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, "gobreaker_state{breaker=\"db\",zone=\"z\"} 1\n" R4J_STATES("1", "0", "0"));
    is_in(f, ",zone=\"z\"", NAMED("db", "state_map"), "open");
    has_not(f, "source=\"resilience4j\"");
    scraped(f, "gobreaker_state{breaker=\"db\",zone=\"z\"} 7\n"); /* nobody said what that is */
    has_not(f, "sonde_circuit_breaker_state{");
}

static void what_numbers_mean_is_not_guessed(void **state) {
    struct fixture *f = *state;
    char text[200] = "";
    f->config.metric = (char *)"gobreaker_state";
    assert_int_equal(create(f, text, sizeof text), SONDE_EINVALID);
    assert_non_null(strstr(text, "state_map"));
    char *bad_keys[] = {(char *)"zero"}, *bad_values[] = {(char *)"shut"};
    f->config.state_map = (struct sonde_string_map){bad_keys, map_values, 1};
    assert_int_equal(create(f, text, sizeof text), SONDE_EINVALID);
    f->config.state_map = (struct sonde_string_map){map_keys, bad_values, 1};
    assert_int_equal(create(f, text, sizeof text), SONDE_EINVALID);
    f->config.metric = (char *)"";
    assert_int_equal(create(f, text, sizeof text), SONDE_EINVALID);
    char *sources[] = {(char *)"resilience5j"};
    f->config.state_map.count = 0;
    f->config.sources = (struct sonde_string_list){sources, 1};
    assert_int_equal(create(f, text, sizeof text), SONDE_EINVALID);
}

static void breakers_go_with_their_source(void **state) {
    struct fixture *f = *state;
    struct sonde_processor_figure figures[SONDE_PROCESSOR_FIGURES_MAX];
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, R4J_STATES("1", "0", "0"));
    assert_int_equal(sonde_processor_breakers.figures(f->processor, figures), 2);
    assert_int_equal(figures[0].value, 1);
    for (unsigned i = 0; i <= BREAKERS_MISSED_MAX; i++)
        scraped(f, "a 1\n");
    (void)sonde_processor_breakers.figures(f->processor, figures);
    assert_int_equal(figures[0].value, 0);
    scraped(f, R4J_STATES("1", "0", "0"));
    sonde_series_source_destroy(f->source);
    (void)sonde_processor_breakers.figures(f->processor, figures);
    assert_int_equal(figures[0].value, 0);
    assert_int_equal(sonde_series_source_create(f->store, (struct sonde_bytes){NULL, 0}, &f->source), 0);
}

static void no_memory_costs_series_only(void **state) {
    struct fixture *f = *state;
    assert_int_equal(create(f, NULL, 0), 0);
    scraped(f, "a 1\n");
    for (int64_t at = 0; at < 160; at++) {
        static const struct sonde__scrape_config config;
        static struct sonde__exposition reader;
        struct sonde__scrape_take take = {.source = f->source, .config = &config};
        static const char text[] =
            R4J_STATES("1", "0", "0") "# TYPE resilience4j_circuitbreaker_calls_seconds histogram\n" BUCKETS(
                "failed", "1", "3", "0.5");
        if (at % 2) /* then it is a change, too */
            scraped(f, R4J_STATES("0", "1", "0"));
        f->fakes.allocations_until_failure = at;
        reader = (struct sonde__exposition){.samples_max = 100, .sample = sonde__scrape_take_sample, .user = &take};
        if (!sonde__exposition_read(&reader, text, strlen(text)))
            (void)sonde__scrape_histogram_end(&take);
        sonde_series_sweep(f->source);
        f->fakes.allocations_until_failure = -1;
        scraped(f, "a 1\n");
    }
    scraped(f, R4J_STATES("1", "0", "0"));
    is_in(f, "", "group=\"g\"," NAMED("pay", "resilience4j"), "closed");
    const struct sonde_ledger_intake *logs = &f->ledger.intake[SONDE_SIGNAL_LOGS];
    assert_true(logs->appended > 0 && logs->dropped[SONDE_INTAKE_NO_MEMORY] > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(resilience4j),
        TEST(states_make_times_and_transitions),
        TEST(durations_of_calls),
        TEST(changes_are_log_records),
        TEST(counters_of_changes_are_log_records_too),
        TEST(polly_tells_rejections_by_pipeline),
        TEST(polly),
        TEST(polly_before_any_event_is_assumed_closed),
        TEST(states_follow_from_counters),
        TEST(hystrix),
        TEST(envoy),
        TEST(limits_and_what_is_under_way),
        TEST(linkerd_and_failsafe),
        TEST(dotted_names_are_the_same),
        TEST(numbers_by_state_map),
        TEST(what_numbers_mean_is_not_guessed),
        TEST(breakers_go_with_their_source),
        TEST(no_memory_costs_series_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
