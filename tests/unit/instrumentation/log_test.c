/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/records.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void log_has_all_its_fields(void **state) {
    (void)state;
    struct sonde_attribute attributes[] = {sonde_attribute_string(SONDE_KEY("user"), "u1"),
                                           sonde_attribute_int64(SONDE_KEY("n"), -1)};
    struct sonde_span_context context = {.trace_id = {1}, .span_id = {2}, .flags = 1};
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.severity = SONDE_SEVERITY_WARN + 1;
    record.severity_text = "WARN2";
    record.body = "disk \xFF full";
    record.body_size = 11;
    record.event_name = SONDE_NAME("disk.full");
    record.time_unix_ns = 1700000000000000001u;
    record.context = &context;
    record.attributes = attributes;
    record.attribute_count = 2;
    sonde_log_emit(&record);
    Pb__LogRecord *pb = records_log();
    assert_true(pb->time_unix_nano == 1700000000000000001u);
    assert_true(pb->observed_time_unix_nano > 1700000000000000001u);
    assert_int_equal(pb->severity_number, 14);
    assert_string_equal(pb->severity_text, "WARN2");
    assert_string_equal(pb->body->string_value, "disk \xEF\xBF\xBD full");
    assert_string_equal(pb->event_name, "disk.full");
    assert_int_equal(pb->n_attributes, 2);
    assert_string_equal(records_value(pb->attributes, 2, "user")->string_value, "u1");
    assert_int_equal(records_value(pb->attributes, 2, "n")->int_value, -1);
    assert_int_equal(pb->trace_id.len, 16);
    assert_memory_equal(pb->trace_id.data, context.trace_id, 16);
    assert_memory_equal(pb->span_id.data, context.span_id, 8);
    assert_int_equal(pb->flags, 1);
    pb__log_record__free_unpacked(pb, NULL);
}

static void log_short_form_is_in_the_current_span(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("request"), NULL);
    sonde_log(SONDE_SEVERITY_INFO, "hello", 5, NULL, 0);
    Pb__LogRecord *pb = records_log();
    assert_memory_equal(pb->trace_id.data, span.context.trace_id, 16);
    assert_memory_equal(pb->span_id.data, span.context.span_id, 8);
    assert_string_equal(pb->body->string_value, "hello");
    assert_true(pb->time_unix_nano == pb->observed_time_unix_nano);
    pb__log_record__free_unpacked(pb, NULL);
    sonde_span_end(&span);
    records_skip();
    sonde_log(0, NULL, 0, NULL, 0);
    pb = records_log();
    assert_int_equal(pb->trace_id.len, 0);
    assert_int_equal(pb->span_id.len, 0);
    assert_int_equal(pb->severity_number, 0);
    assert_null(pb->body);
    pb__log_record__free_unpacked(pb, NULL);
}

static void log_of_error_severity_is_flagged_for_the_doorbell(void **state) {
    (void)state;
    sonde_log(SONDE_SEVERITY_WARN, "w", 1, NULL, 0);
    sonde_log(SONDE_SEVERITY_ERROR, "e", 1, NULL, 0);
    assert_int_equal(records_next()->flags, 0);
    assert_int_equal(records_next()->flags, SONDE__RECORD_FLAG_ERROR);
    assert_null(records_next());
}

static void log_body_of_every_size_survives(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 99, 100, 101, 127, 128, 129, 300, 16383, 16384, 65000};
    char *body = malloc(65001);
    memset(body, 'b', 65000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("n"), 5);
        sonde_log(SONDE_SEVERITY_INFO, body, sizes[i], &attribute, 1);
        Pb__LogRecord *pb = records_log();
        assert_int_equal(strlen(pb->body->string_value), sizes[i]);
        assert_int_equal(pb->n_attributes, 1);
        pb__log_record__free_unpacked(pb, NULL);
    }
    free(body);
}

static uint64_t lost(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats.attributes_dropped;
}

static void log_too_large_is_cut_and_counted(void **state) {
    (void)state;
    char *body = malloc(100000);
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("n"), 5);
    memset(body, 'b', 100000);
    uint64_t before = lost();
    sonde_log(SONDE_SEVERITY_INFO, body, 100000, &attribute, 1);
    const struct sonde__record *record = records_next();
    assert_in_range(record->length, SONDE_LOG_SIZE_MAX - 100, SONDE_LOG_SIZE_MAX);
    Pb__LogRecord *pb = pb__log_record__unpack(NULL, record->length, (const uint8_t *)(record + 1));
    assert_non_null(pb);
    assert_in_range(strlen(pb->body->string_value), SONDE_LOG_SIZE_MAX - 200, SONDE_LOG_SIZE_MAX);
    assert_true(lost() > before);
    pb__log_record__free_unpacked(pb, NULL);

    memset(body, 0xFF, 100000); /* three bytes for each */
    sonde_log(SONDE_SEVERITY_INFO, body, 30000, &attribute, 1);
    pb = records_log();
    assert_in_range(strlen(pb->body->string_value), SONDE_LOG_SIZE_MAX - 200, SONDE_LOG_SIZE_MAX);
    pb__log_record__free_unpacked(pb, NULL);

    before = lost();
    sonde_log(SONDE_SEVERITY_INFO, body, 15000, &attribute, 1); /* 45,000: fits, on the second try */
    pb = records_log();
    assert_int_equal(strlen(pb->body->string_value), 45000);
    assert_int_equal(pb->n_attributes, 1);
    assert_int_equal(lost(), before);
    pb__log_record__free_unpacked(pb, NULL);

    memset(body, 'v', 100000);
    struct sonde_attribute big[3] = {sonde_attribute_string_n(SONDE_KEY("a"), body, 40000),
                                     sonde_attribute_string_n(SONDE_KEY("b"), body, 40000),
                                     sonde_attribute_int64(SONDE_KEY("c"), 1)};
    sonde_log(SONDE_SEVERITY_INFO, "body", 4, big, 3);
    pb = records_log();
    assert_int_equal(pb->n_attributes, 2); /* the small one still finds room */
    assert_int_equal(pb->dropped_attributes_count, 1);
    assert_non_null(records_value(pb->attributes, 2, "c"));
    pb__log_record__free_unpacked(pb, NULL);
    free(body);
}

static void log_attributes_over_the_limit_are_dropped_and_counted(void **state) {
    (void)state;
    static char keys[131][8];
    struct sonde_attribute attributes[131];
    for (int i = 0; i < 131; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        attributes[i] = sonde_attribute_int64(sonde_key_cstr(keys[i]), i);
    }
    sonde_log(SONDE_SEVERITY_INFO, "wide", 4, attributes, 131);
    Pb__LogRecord *pb = records_log();
    assert_int_equal(pb->n_attributes, SONDE_LOG_ATTRIBUTES_MAX);
    assert_int_equal(pb->dropped_attributes_count, 3);
    pb__log_record__free_unpacked(pb, NULL);
}

static void log_with_long_bad_names_is_whole(void **state) {
    (void)state;
    char name[1100];
    memset(name, 0xFF, sizeof name);
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    record.event_name = sonde_key_n(name, sizeof name);
    record.severity_text = "a severity text that is much longer than anybody would ever think of writing down here";
    record.body = "body";
    record.body_size = 4;
    sonde_log_emit(&record);
    Pb__LogRecord *pb = records_log();
    assert_int_equal(strlen(pb->event_name), 1023); /* 341 times U+FFFD */
    assert_int_equal(strlen(pb->severity_text), 64);
    assert_string_equal(pb->body->string_value, "body");
    pb__log_record__free_unpacked(pb, NULL);
}

static void log_is_dropped_and_counted_when_the_ring_is_full(void **state) {
    (void)state;
    struct sonde_stats stats = {.size = sizeof stats};
    char body[1000];
    size_t count = 0;
    memset(body, 'x', sizeof body);
    do {
        sonde_log(SONDE_SEVERITY_INFO, body, sizeof body, NULL, 0);
        count++;
        sonde_stats_get(&stats);
    } while (!stats.dropped[SONDE_SIGNAL_LOGS][SONDE_DROP_RING_FULL]);
    assert_int_equal(records_skip(), count - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_has_all_its_fields),
        cmocka_unit_test(log_short_form_is_in_the_current_span),
        cmocka_unit_test(log_of_error_severity_is_flagged_for_the_doorbell),
        cmocka_unit_test(log_body_of_every_size_survives),
        cmocka_unit_test(log_too_large_is_cut_and_counted),
        cmocka_unit_test(log_attributes_over_the_limit_are_dropped_and_counted),
        cmocka_unit_test(log_with_long_bad_names_is_whole),
        cmocka_unit_test(log_is_dropped_and_counted_when_the_ring_is_full),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
