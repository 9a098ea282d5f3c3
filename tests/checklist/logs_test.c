/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: logs. Each test is named after its item in items.tsv. */
#include "tests/checklist/checklist.h"
#include "tests/lib/records.h"

/* The record just emitted, decoded; freed by the next call. */
static Pb__LogRecord *emitted(void) {
    static Pb__LogRecord *last;
    if (last)
        pb__log_record__free_unpacked(last, NULL);
    return last = records_log();
}

static void shut_down(void) {
    sonde_log(SONDE_SEVERITY_INFO, "early", 5, NULL, 0);
    CHECK(records_skip() == 1);
    (void)sonde_shutdown(1000);
    sonde_log(SONDE_SEVERITY_INFO, "late", 4, NULL, 0);
    CHECK(records_next() == NULL);
}
static void shutdown(void **state) {
    (void)state;
    assert_int_equal(child_run(shut_down), 0);
}

static void flush_nobody(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    sonde_log(SONDE_SEVERITY_INFO, "x", 1, NULL, 0);
    CHECK(sonde_flush(1000) == SONDE_ENOAGENT);
}
/* With an agent: tests/integration/daemon_test.py. */
static void force_flush(void **state) {
    (void)state;
    assert_int_equal(child_run(flush_nobody), 0);
}

static void limits(void) {
    setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "2", 1);
    setenv("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3", 1);
    struct sonde_attribute attributes[3] = {sonde_attribute_string(SONDE_KEY("a"), "longer"),
                                            sonde_attribute_int64(SONDE_KEY("b"), 1),
                                            sonde_attribute_int64(SONDE_KEY("c"), 2)};
    sonde_log(SONDE_SEVERITY_INFO, "x", 1, attributes, 3);
    Pb__LogRecord *pb = emitted();
    CHECK(pb->n_attributes == 2 && pb->dropped_attributes_count == 1);
    CHECK(strcmp(pb->attributes[0]->value->string_value, "lon") == 0);
}
static void log_record_limits(void **state) {
    (void)state;
    assert_int_equal(child_run(limits), 0);
}

static void logs_are_off(void) {
    setenv("OTEL_LOGS_EXPORTER", "none", 1);
    CHECK(!sonde_log_enabled(SONDE_SEVERITY_FATAL));
}
static void library_is_off(void) {
    setenv("OTEL_SDK_DISABLED", "true", 1);
    CHECK(!sonde_log_enabled(SONDE_SEVERITY_FATAL));
}
static void shut_down_later(void) {
    CHECK(sonde_log_enabled(SONDE_SEVERITY_TRACE));
    (void)sonde_shutdown(1000);
    CHECK(!sonde_log_enabled(SONDE_SEVERITY_FATAL));
}
/* By the agent's minimum severity: tests/unit/instrumentation/steering_test.c. */
static void enabled(void **state) {
    (void)state;
    assert_int_equal(child_run(logs_are_off), 0);
    assert_int_equal(child_run(library_is_off), 0);
    assert_int_equal(child_run(shut_down_later), 0);
}

static void get_a_logger(void **state) {
    (void)state;
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.scope = sonde_scope_register("checklist.logger", "1", "https://opentelemetry.io/schemas/1.44.0", NULL, 0);
    assert_true(record.scope > 0);
    sonde_log_emit(&record);
    const struct sonde__record *ring = records_next();
    assert_non_null(ring);
    assert_int_equal(ring->scope, record.scope);
    assert_true(descriptor_has(record.scope, "https://opentelemetry.io/schemas/1.44.0"));
}

static void get_a_logger_with_attributes(void **state) {
    (void)state;
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("library.part"), "logger-part");
    uint32_t scope = sonde_scope_register("checklist.logger.attributes", NULL, NULL, &attribute, 1);
    assert_true(descriptor_has(scope, "logger-part"));
}

static void emit_a_log_record(void **state) {
    (void)state;
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("user"), "u1");
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.severity = SONDE_SEVERITY_WARN;
    record.severity_text = "WARN";
    record.body = "disk full";
    record.body_size = 9;
    record.time_unix_ns = 1700000000000000001u;
    record.attributes = &attribute;
    record.attribute_count = 1;
    sonde_log_emit(&record);
    Pb__LogRecord *pb = emitted();
    assert_int_equal(pb->severity_number, 13);
    assert_string_equal(pb->severity_text, "WARN");
    assert_string_equal(pb->body->string_value, "disk full");
    assert_true(pb->time_unix_nano == 1700000000000000001u);
    assert_true(pb->observed_time_unix_nano > pb->time_unix_nano);
    assert_string_equal(records_value(pb->attributes, pb->n_attributes, "user")->string_value, "u1");
}

static void emit_with_an_exception(void **state) {
    (void)state;
    struct sonde_exception exception = {"KeyError", "no such order", "main.c:1"};
    struct sonde_attribute attributes[2] = {sonde_attribute_string(SONDE_KEY("exception.type"), "mine"),
                                            sonde_attribute_int64(SONDE_KEY("order"), 5)};
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.severity = SONDE_SEVERITY_ERROR;
    record.exception = &exception;
    record.attributes = attributes;
    record.attribute_count = 2;
    sonde_log_emit(&record);
    Pb__LogRecord *pb = emitted();
    assert_int_equal(pb->n_attributes, 4);
    assert_string_equal(records_value(pb->attributes, 4, "exception.type")->string_value, "mine");
    assert_string_equal(records_value(pb->attributes, 4, "exception.message")->string_value, "no such order");
    assert_string_equal(records_value(pb->attributes, 4, "exception.stacktrace")->string_value, "main.c:1");
    assert_true(records_value(pb->attributes, 4, "order")->int_value == 5);
}

static void event_name(void **state) {
    (void)state;
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.event_name = SONDE_NAME("disk.full");
    sonde_log_emit(&record);
    assert_string_equal(emitted()->event_name, "disk.full");
}

static void the_ergonomic_api(void **state) {
    (void)state;
    sonde_log(SONDE_SEVERITY_INFO, "hello", 5, NULL, 0);
    Pb__LogRecord *pb = emitted();
    assert_string_equal(pb->body->string_value, "hello");
    assert_int_equal(pb->severity_number, SONDE_SEVERITY_INFO);
}

static void trace_context_is_injected(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("request"), NULL);
    sonde_log(SONDE_SEVERITY_INFO, "inside", 6, NULL, 0);
    Pb__LogRecord *pb = emitted();
    assert_memory_equal(pb->trace_id.data, span.context.trace_id, 16);
    assert_memory_equal(pb->span_id.data, span.context.span_id, 8);
    assert_int_equal(pb->flags, span.context.flags);
    sonde_span_end(&span);
    (void)records_skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shutdown),
        cmocka_unit_test(force_flush),
        cmocka_unit_test(log_record_limits),
        cmocka_unit_test(enabled),
        cmocka_unit_test(get_a_logger),
        cmocka_unit_test(get_a_logger_with_attributes),
        cmocka_unit_test(emit_a_log_record),
        cmocka_unit_test(emit_with_an_exception),
        cmocka_unit_test(event_name),
        cmocka_unit_test(the_ergonomic_api),
        cmocka_unit_test(trace_context_is_injected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
