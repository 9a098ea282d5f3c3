/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: environment variables, each by what it does to a process that knows nothing of it. Each
 * test is named after its item in items.tsv. All accepted and bad values: tests/unit/instrumentation/settings_test.c. */
#include "instrumentation/resource/resource.h"
#include "tests/checklist/checklist.h"
#include "tests/lib/records.h"
/* after cmocka.h */
#include "tests/unit/instrumentation/read_back.h"
#include <sonde/carrier/http.h>
#include <sonde/err.h>

static void release(void);

/* Runs the case in a child process with one variable set. */
#define WITH(name, variable, value)                                                                                    \
    static void name##_case(void) {                                                                                    \
        setenv(variable, value, 1);                                                                                    \
        name##_holds();                                                                                                \
        release();                                                                                                     \
    }                                                                                                                  \
    static void name(void **state) {                                                                                   \
        (void)state;                                                                                                   \
        assert_int_equal(child_run(name##_case), 0);                                                                   \
    }

/* What the library reported. */
static char reports[4096];
static void on_report(void *user, const char *message) {
    (void)user;
    size_t used = strlen(reports);
    snprintf(reports + used, sizeof reports - used, "%s\n", message);
}
static void start(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.report = on_report;
    CHECK(sonde_start(&options) == 0);
}

static bool records_a_span(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    bool recording = sonde_span_is_recording(&span);
    sonde_span_end(&span);
    CHECK((records_skip() == 1) == recording);
    return recording;
}
static bool resource_has(const char *text) {
    static uint8_t bytes[SONDE_RESOURCE_SIZE_MAX];
    uint32_t size = sonde__resource_encode(bytes, sizeof bytes);
    return memmem(bytes, size, text, strlen(text)) != NULL;
}

static void otel_sdk_disabled_holds(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    CHECK(!sonde_span_is_recording(&span));
    CHECK(sonde_flush(0) == SONDE_EDISABLED);
    CHECK(child_threads("sonde-link") == 0);
}
WITH(otel_sdk_disabled, "OTEL_SDK_DISABLED", "TRUE")

static void otel_service_name_holds(void) {
    CHECK(resource_has("orders"));
}
WITH(otel_service_name, "OTEL_SERVICE_NAME", "orders")

static void otel_resource_attributes_holds(void) {
    CHECK(resource_has("a value, with comma"));
}
WITH(otel_resource_attributes, "OTEL_RESOURCE_ATTRIBUTES", "team=x,key=a%20value%2C%20with%20comma")

static void otel_log_level_holds(void) {
    setenv("OTEL_TRACES_SAMPLER", "sometimes", 1);
    start();
    CHECK(!*reports); /* a warning, which nobody wants to see */
}
WITH(otel_log_level, "OTEL_LOG_LEVEL", "none")

static struct sonde_string first_field(void) {
    struct sonde_context context = remote_parent(1);
    static struct sonde_http_header storage[8];
    static char text[512];
    struct sonde_http_headers headers = {.headers = storage, .capacity = 8, .text = text, .text_size = sizeof text};
    struct sonde_carrier carrier = sonde_http_carrier(&headers);
    CHECK(sonde_inject(&context, &carrier) == 0);
    CHECK(headers.count == 1);
    return headers.headers[0].name;
}
static void otel_propagators_holds(void) {
    struct sonde_string name = first_field();
    CHECK(name.size == 2 && memcmp(name.data, "b3", 2) == 0);
}
WITH(otel_propagators, "OTEL_PROPAGATORS", "b3")

static void otel_traces_sampler_holds(void) {
    CHECK(!records_a_span());
}
WITH(otel_traces_sampler, "OTEL_TRACES_SAMPLER", "always_off")

static void otel_traces_sampler_arg_holds(void) {
    setenv("OTEL_TRACES_SAMPLER", "traceidratio", 1);
    CHECK(!records_a_span());
}
WITH(otel_traces_sampler_arg, "OTEL_TRACES_SAMPLER_ARG", "0")

static void otel_traces_exporter_holds(void) {
    CHECK(!records_a_span());
    sonde_log(SONDE_SEVERITY_INFO, "x", 1, NULL, 0);
    CHECK(records_skip() == 1);
}
WITH(otel_traces_exporter, "OTEL_TRACES_EXPORTER", "none")

static void otel_logs_exporter_holds(void) {
    sonde_log(SONDE_SEVERITY_INFO, "x", 1, NULL, 0);
    CHECK(records_skip() == 0);
    CHECK(records_a_span());
}
WITH(otel_logs_exporter, "OTEL_LOGS_EXPORTER", "none")

static void otel_metrics_exporter_holds(void) {
    struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_COUNTER, .name = "off"};
    struct sonde_instrument instrument;
    CHECK(sonde_instrument_create(&options, &instrument) == SONDE_EDISABLED && instrument.index == 0);
    CHECK(records_a_span());
}
WITH(otel_metrics_exporter, "OTEL_METRICS_EXPORTER", "none")

/* Decoded; freed at the end of a case. */
static Pb__Span *spans[4];
static Pb__LogRecord *logs[4];
static void release(void) {
    for (int i = 0; i < 4; i++) {
        if (spans[i])
            pb__span__free_unpacked(spans[i], NULL);
        if (logs[i])
            pb__log_record__free_unpacked(logs[i], NULL);
    }
}

/* A span with two of everything, each with two attributes of five characters. */
static Pb__Span *full_span(void) {
    struct sonde_span span;
    struct sonde_context context = remote_parent(1);
    struct sonde_attribute attributes[2] = {sonde_attribute_string(SONDE_KEY("a"), "12345"),
                                            sonde_attribute_string(SONDE_KEY("b"), "12345")};
    struct sonde_link link = sonde_link_to(&context);
    link.attributes = attributes;
    link.attribute_count = 2;
    sonde_span_start(&span, SONDE_NAME("full"), NULL);
    for (int i = 0; i < 2; i++) {
        sonde_span_set(&span, &attributes[i]);
        sonde_span_add_event(&span, SONDE_NAME("e"), 0, attributes, 2);
        sonde_span_add_link(&span, &link);
    }
    sonde_span_end(&span);
    static int count;
    return spans[count++] = records_span();
}
static Pb__LogRecord *full_log(void) {
    struct sonde_attribute attributes[2] = {sonde_attribute_string(SONDE_KEY("a"), "12345"),
                                            sonde_attribute_string(SONDE_KEY("b"), "12345")};
    sonde_log(SONDE_SEVERITY_INFO, "x", 1, attributes, 2);
    static int count;
    return logs[count++] = records_log();
}

static void otel_span_attribute_count_limit_holds(void) {
    Pb__Span *span = full_span();
    CHECK(span->n_attributes == 1 && span->dropped_attributes_count == 1 && span->events[0]->n_attributes == 2);
}
WITH(otel_span_attribute_count_limit, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")

static void otel_span_attribute_value_length_limit_holds(void) {
    CHECK(strcmp(full_span()->attributes[0]->value->string_value, "123") == 0);
    CHECK(strcmp(full_log()->attributes[0]->value->string_value, "12345") == 0);
}
WITH(otel_span_attribute_value_length_limit, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")

static void otel_span_event_count_limit_holds(void) {
    Pb__Span *span = full_span();
    CHECK(span->n_events == 1 && span->dropped_events_count == 1);
}
WITH(otel_span_event_count_limit, "OTEL_SPAN_EVENT_COUNT_LIMIT", "1")

static void otel_span_link_count_limit_holds(void) {
    Pb__Span *span = full_span();
    CHECK(span->n_links == 1 && span->dropped_links_count == 1);
}
WITH(otel_span_link_count_limit, "OTEL_SPAN_LINK_COUNT_LIMIT", "1")

static void otel_event_attribute_count_limit_holds(void) {
    Pb__Span *span = full_span();
    CHECK(span->events[0]->n_attributes == 1 && span->events[0]->dropped_attributes_count == 1);
    CHECK(span->n_attributes == 2);
}
WITH(otel_event_attribute_count_limit, "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1")

static void otel_link_attribute_count_limit_holds(void) {
    Pb__Span *span = full_span();
    CHECK(span->links[0]->n_attributes == 1 && span->links[0]->dropped_attributes_count == 1);
    CHECK(span->n_attributes == 2);
}
WITH(otel_link_attribute_count_limit, "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "1")

static void otel_logrecord_attribute_count_limit_holds(void) {
    Pb__LogRecord *log = full_log();
    CHECK(log->n_attributes == 1 && log->dropped_attributes_count == 1 && full_span()->n_attributes == 2);
}
WITH(otel_logrecord_attribute_count_limit, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1")

static void otel_logrecord_attribute_value_length_limit_holds(void) {
    CHECK(strcmp(full_log()->attributes[0]->value->string_value, "123") == 0);
    CHECK(strcmp(full_span()->attributes[0]->value->string_value, "12345") == 0);
}
WITH(otel_logrecord_attribute_value_length_limit, "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")

static void otel_attribute_count_limit_holds(void) {
    Pb__Span *span = full_span();
    CHECK(span->n_attributes == 1 && span->events[0]->n_attributes == 1 && span->links[0]->n_attributes == 1);
    CHECK(full_log()->n_attributes == 1);
}
WITH(otel_attribute_count_limit, "OTEL_ATTRIBUTE_COUNT_LIMIT", "1")

static void otel_attribute_value_length_limit_holds(void) {
    CHECK(strcmp(full_span()->attributes[0]->value->string_value, "123") == 0);
    CHECK(strcmp(full_log()->attributes[0]->value->string_value, "123") == 0);
}
WITH(otel_attribute_value_length_limit, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")

static void otel_config_file_is_reported_as_not_read_holds(void) {
    start();
    CHECK(strstr(reports, "OTEL_CONFIG_FILE") && strstr(reports, "read"));
    CHECK(records_a_span());
}
WITH(otel_config_file_is_reported_as_not_read, "OTEL_CONFIG_FILE", "/etc/otel.yaml")

static void an_empty_value_is_as_none_holds(void) {
    setenv("OTEL_SDK_DISABLED", "", 1);
    setenv("OTEL_TRACES_SAMPLER", "", 1);
    setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "", 1);
    setenv("OTEL_PROPAGATORS", "", 1);
    start();
    CHECK(!*reports);
    CHECK(full_span()->n_attributes == 2);
    CHECK(first_field().size == strlen("traceparent"));
}
WITH(an_empty_value_is_as_none, "OTEL_SERVICE_NAME", "")

static void a_bad_value_is_ignored_and_reported_holds(void) {
    setenv("OTEL_TRACES_SAMPLER", "sometimes", 1);
    start();
    CHECK(strstr(reports, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT") && strstr(reports, "OTEL_TRACES_SAMPLER"));
    CHECK(full_span()->n_attributes == 2);
}
WITH(a_bad_value_is_ignored_and_reported, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "one")

/* How many exemplars a measurement outside of any span leaves. */
static void otel_metrics_exemplar_filter_holds(void) {
    struct sonde_instrument instrument;
    struct sonde_instrument_options options = SONDE_INSTRUMENT_OPTIONS_INIT;
    struct sonde__metric_series series;
    uint32_t collection;
    options.kind = SONDE_COUNTER;
    options.name = "filter";
    CHECK(setup(NULL) == 0 && sonde_instrument_create(&options, &instrument) == 0);
    sonde_instrument_add(instrument, 1, NULL, 0);
    CHECK(sonde__metric_reader_refresh(reader, &memory) == 0);
    CHECK(sonde__metric_reader_exemplars_refresh(reader, &memory, &collection) == 0);
    CHECK(find(instrument, NULL, &series) && series.exemplar_count == 1);
    (void)teardown(NULL);
}
WITH(otel_metrics_exemplar_filter, "OTEL_METRICS_EXEMPLAR_FILTER", "Always_On")

static void otel_exporter_otlp_metrics_default_histogram_aggregation_holds(void) {
    struct sonde_instrument instrument;
    struct sonde_instrument_options options = SONDE_INSTRUMENT_OPTIONS_INIT;
    struct sonde__metric_instrument described;
    options.kind = SONDE_HISTOGRAM;
    options.name = "latency";
    CHECK(setup(NULL) == 0 && sonde_instrument_create(&options, &instrument) == 0);
    CHECK(sonde__metric_reader_refresh(reader, &memory) == 0);
    CHECK(sonde__metric_reader_instrument(reader, instrument.index, &described) && described.bound_count == 15);
    (void)teardown(NULL);
}
WITH(otel_exporter_otlp_metrics_default_histogram_aggregation,
     "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram")

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(otel_sdk_disabled),
        cmocka_unit_test(otel_service_name),
        cmocka_unit_test(otel_resource_attributes),
        cmocka_unit_test(otel_log_level),
        cmocka_unit_test(otel_propagators),
        cmocka_unit_test(otel_traces_sampler),
        cmocka_unit_test(otel_traces_sampler_arg),
        cmocka_unit_test(otel_traces_exporter),
        cmocka_unit_test(otel_logs_exporter),
        cmocka_unit_test(otel_metrics_exporter),
        cmocka_unit_test(otel_span_attribute_count_limit),
        cmocka_unit_test(otel_span_attribute_value_length_limit),
        cmocka_unit_test(otel_span_event_count_limit),
        cmocka_unit_test(otel_span_link_count_limit),
        cmocka_unit_test(otel_event_attribute_count_limit),
        cmocka_unit_test(otel_link_attribute_count_limit),
        cmocka_unit_test(otel_logrecord_attribute_count_limit),
        cmocka_unit_test(otel_logrecord_attribute_value_length_limit),
        cmocka_unit_test(otel_attribute_count_limit),
        cmocka_unit_test(otel_attribute_value_length_limit),
        cmocka_unit_test(otel_metrics_exemplar_filter),
        cmocka_unit_test(otel_exporter_otlp_metrics_default_histogram_aggregation),
        cmocka_unit_test(otel_config_file_is_reported_as_not_read),
        cmocka_unit_test(an_empty_value_is_as_none),
        cmocka_unit_test(a_bad_value_is_ignored_and_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
