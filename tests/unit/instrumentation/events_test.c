/* SPDX-License-Identifier: Apache-2.0 */
/* Events, exceptions, links, status and names of spans. */
#include "tests/lib/records.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sonde_span span;

static void start(void) {
    sonde_span_start(&span, SONDE_NAME("test"), NULL);
    assert_true(sonde_span_is_recording(&span));
}
static Pb__Span *finish(void) {
    sonde_span_end(&span);
    return records_span();
}

static void event_has_name_time_and_attributes(void **state) {
    (void)state;
    struct sonde_attribute attributes[] = {sonde_attribute_int64(SONDE_KEY("n"), 5),
                                           sonde_attribute_string(SONDE_KEY("s"), "value"),
                                           sonde_attribute_int64(sonde_key_cstr(""), 1)};
    start();
    sonde_span_add_event(&span, SONDE_NAME("cache miss"), 1700000000000000001u, attributes, 3);
    sonde_span_add_event(&span, SONDE_NAME("now"), 0, NULL, 0);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_events, 2);
    assert_string_equal(pb->events[0]->name, "cache miss");
    assert_true(pb->events[0]->time_unix_nano == 1700000000000000001u);
    assert_int_equal(pb->events[0]->n_attributes, 2);
    assert_int_equal(pb->events[0]->dropped_attributes_count, 1);
    assert_int_equal(records_value(pb->events[0]->attributes, 2, "n")->int_value, 5);
    assert_string_equal(records_value(pb->events[0]->attributes, 2, "s")->string_value, "value");
    assert_true(pb->events[1]->time_unix_nano >= pb->start_time_unix_nano);
    assert_true(pb->events[1]->time_unix_nano <= pb->end_time_unix_nano);
    pb__span__free_unpacked(pb, NULL);
}

static void events_over_the_limit_are_dropped_and_counted(void **state) {
    (void)state;
    start();
    for (int i = 0; i < 131; i++)
        sonde_span_add_event(&span, SONDE_NAME("tick"), 1, NULL, 0);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_events, SONDE_SPAN_EVENTS_MAX);
    assert_int_equal(pb->dropped_events_count, 3);
    pb__span__free_unpacked(pb, NULL);
}

static void event_attributes_over_the_limit_are_dropped_and_counted(void **state) {
    (void)state;
    static char keys[130][8];
    struct sonde_attribute attributes[130];
    for (int i = 0; i < 130; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        attributes[i] = sonde_attribute_int64(sonde_key_cstr(keys[i]), i);
    }
    start();
    sonde_span_add_event(&span, SONDE_NAME("wide"), 1, attributes, 130);
    Pb__Span *pb = finish();
    assert_int_equal(pb->events[0]->n_attributes, SONDE_EVENT_ATTRIBUTES_MAX);
    assert_int_equal(pb->events[0]->dropped_attributes_count, 2);
    pb__span__free_unpacked(pb, NULL);
}

static void exception_is_an_event_with_its_stack_trace(void **state) {
    (void)state;
    char *trace = malloc(16385);
    for (int i = 0; i < 16384; i++)
        trace[i] = (char)(i % 64 == 63 ? '\n' : 'a' + i % 26);
    trace[16384] = 0;
    start();
    for (int i = 0; i < 128; i++) { /* and it fits beside as many attributes as there may be */
        char key[16];
        snprintf(key, sizeof key, "key.%d", i);
        sonde_span_set_string(&span, sonde_key_cstr(key), "0123456789abcdef0123456789abcdef", 32);
    }
    sonde_span_record_exception(&span, "KeyError", "no such order", trace);
    sonde_span_record_exception(&span, NULL, NULL, trace); /* says nothing: ignored */
    sonde_span_record_exception(&span, "", "message only", "");
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 128);
    assert_int_equal(pb->n_events, 2);
    Pb__Event *event = pb->events[0];
    assert_string_equal(event->name, "exception");
    assert_string_equal(records_value(event->attributes, event->n_attributes, "exception.type")->string_value,
                        "KeyError");
    assert_string_equal(records_value(event->attributes, event->n_attributes, "exception.message")->string_value,
                        "no such order");
    assert_string_equal(records_value(event->attributes, event->n_attributes, "exception.stacktrace")->string_value,
                        trace);
    assert_int_equal(pb->events[1]->n_attributes, 1);
    assert_null(pb->status);
    assert_int_equal(pb->dropped_attributes_count + pb->dropped_events_count, 0);
    pb__span__free_unpacked(pb, NULL);
    free(trace);
}

static void event_too_big_is_dropped_and_counted(void **state) {
    (void)state;
    char *text = malloc(65001);
    memset(text, 'x', 65000);
    text[65000] = 0;
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("big"), text);
    start();
    for (int i = 0; i < 2; i++)
        sonde_span_add_event(&span, SONDE_NAME("big"), 1, &attribute, 1);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_events, 1);
    assert_int_equal(pb->dropped_events_count, 1);
    pb__span__free_unpacked(pb, NULL);
    free(text);
}

static struct sonde_link link_to(uint8_t trace, const char *tracestate) {
    return (struct sonde_link){.context = {.trace_id = {trace}, .span_id = {1}, .flags = 1, .is_remote = 1},
                               .tracestate = {tracestate, strlen(tracestate)}};
}

static void link_is_recorded_at_start_and_later(void **state) {
    (void)state;
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("n"), 5);
    struct sonde_link links[] = {link_to(1, "a=1"), link_to(2, "")}, none = {.attribute_count = 0}, odd = none;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    links[0].attributes = odd.attributes = &attribute;
    links[0].attribute_count = odd.attribute_count = 1;
    links[1].context.is_remote = 0;
    options.links = links;
    options.link_count = 2;
    sonde_span_start(&span, SONDE_NAME("consumer"), &options);
    struct sonde_link later = link_to(3, "");
    sonde_span_add_link(&span, &later);
    sonde_span_add_link(&span, &none); /* to nothing, says nothing */
    sonde_span_add_link(&span, &odd);  /* to nothing, but says something */
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_links, 4);
    assert_memory_equal(pb->links[0]->trace_id.data, links[0].context.trace_id, 16);
    assert_memory_equal(pb->links[0]->span_id.data, links[0].context.span_id, 8);
    assert_string_equal(pb->links[0]->trace_state, "a=1");
    assert_int_equal(pb->links[0]->flags, 0x301);
    assert_int_equal(records_value(pb->links[0]->attributes, pb->links[0]->n_attributes, "n")->int_value, 5);
    assert_int_equal(pb->links[1]->flags, 0x101);
    assert_int_equal(pb->links[2]->trace_id.data[0], 3);
    assert_int_equal(pb->links[3]->n_attributes, 1);
    assert_string_equal(pb->name, "consumer");
    pb__span__free_unpacked(pb, NULL);
}

static void links_over_the_limit_are_dropped_and_counted(void **state) {
    (void)state;
    start();
    for (int i = 0; i < 130; i++) {
        struct sonde_link link = link_to((uint8_t)(i + 1), "");
        sonde_span_add_link(&span, &link);
    }
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_links, SONDE_SPAN_LINKS_MAX);
    assert_int_equal(pb->dropped_links_count, 2);
    pb__span__free_unpacked(pb, NULL);
}

/* Source: trace/api.md#set-status: OK is final, UNSET is ignored, a description is for ERROR only. */
static void status_follows_the_rules(void **state) {
    (void)state;
    enum { NONE = -1 };
    static const struct {
        struct {
            enum sonde_status status;
            const char *description;
        } set[3];
        int code;
        const char *message;
    } rows[] = {
        {{{SONDE_STATUS_UNSET, NULL}}, NONE, NULL},
        {{{SONDE_STATUS_OK, "ignored"}}, 1, ""},
        {{{SONDE_STATUS_ERROR, "bad"}}, 2, "bad"},
        {{{SONDE_STATUS_ERROR, NULL}}, 2, ""},
        {{{SONDE_STATUS_ERROR, "one"}, {SONDE_STATUS_ERROR, "two"}}, 2, "two"},
        {{{SONDE_STATUS_ERROR, "one"}, {SONDE_STATUS_ERROR, NULL}}, 2, ""},
        {{{SONDE_STATUS_ERROR, "one"}, {SONDE_STATUS_UNSET, NULL}}, 2, "one"},
        {{{SONDE_STATUS_ERROR, "one"}, {SONDE_STATUS_OK, NULL}}, 1, ""},
        {{{SONDE_STATUS_OK, NULL}, {SONDE_STATUS_ERROR, "late"}}, 1, ""},
        {{{SONDE_STATUS_OK, NULL}, {SONDE_STATUS_UNSET, NULL}}, 1, ""},
        {{{(enum sonde_status)7, "unknown"}}, NONE, NULL},
        {{{SONDE_STATUS_ERROR, "caf\xE9"}}, 2, "caf\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        start();
        for (int k = 0; k < 3; k++) {
            sonde_span_set_status(&span, rows[i].set[k].status, rows[i].set[k].description);
            sonde_span_set_int64(&span, SONDE_KEY("between"), k);
        }
        sonde_span_end(&span);
        const struct sonde__record *record = records_next();
        assert_int_equal(record->flags, rows[i].code == 2 ? SONDE__RECORD_FLAG_ERROR : 0);
        Pb__Span *pb = pb__span__unpack(NULL, record->length, (const uint8_t *)(record + 1));
        assert_non_null(pb);
        assert_int_equal(pb->status != NULL, rows[i].code != NONE);
        if (pb->status) {
            assert_int_equal(pb->status->code, rows[i].code);
            assert_string_equal(pb->status->message, rows[i].message);
        }
        pb__span__free_unpacked(pb, NULL);
    }
}

/* protobuf-c shows the last of two names; the bytes must hold one only, for readers that look at the first. */
static size_t names_in(const struct sonde__record *record) {
    const uint8_t *at = (const uint8_t *)(record + 1), *end = at + record->length;
    size_t names = 0;
    at += SONDE__BODY_ROOT;
    while (at < end) {
        names += *at == 0x2A;
        size_t size = *++at & 0x7F, shift = 7;
        while (*at++ & 0x80) {
            size |= (size_t)(*at & 0x7F) << shift;
            shift += 7;
        }
        at += size;
    }
    return names;
}

static void name_is_replaced_and_stands_once(void **state) {
    (void)state;
    static const char *const names[] = {"longer than it was before, by far", "x", "", "test", "caf\xC3\xA9"};
    char *big = malloc(5000);
    memset(big, 'x', 5000);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        start();
        sonde_span_set_int64(&span, SONDE_KEY("before"), 1);
        if (i % 2)
            sonde_span_set_string(&span, SONDE_KEY("big"), big, 5000); /* the name comes to lie in an extent */
        sonde_span_set_name(&span, SONDE_NAME("first"));
        sonde_span_set_int64(&span, SONDE_KEY("before"), 2); /* moves the name */
        sonde_span_set_name(&span, sonde_key_cstr(names[i]));
        sonde_span_set_int64(&span, SONDE_KEY("after"), 3);
        sonde_span_end(&span);
        const struct sonde__record *record = records_next();
        Pb__Span *pb = pb__span__unpack(NULL, record->length, (const uint8_t *)(record + 1));
        assert_non_null(pb);
        assert_string_equal(pb->name, names[i]);
        assert_int_equal(names_in(record), 1);
        assert_int_equal(pb->n_attributes, 2 + i % 2);
        assert_int_equal(records_value(pb->attributes, pb->n_attributes, "before")->int_value, 2);
        pb__span__free_unpacked(pb, NULL);
    }
    free(big);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_has_name_time_and_attributes),
        cmocka_unit_test(events_over_the_limit_are_dropped_and_counted),
        cmocka_unit_test(event_attributes_over_the_limit_are_dropped_and_counted),
        cmocka_unit_test(exception_is_an_event_with_its_stack_trace),
        cmocka_unit_test(event_too_big_is_dropped_and_counted),
        cmocka_unit_test(link_is_recorded_at_start_and_later),
        cmocka_unit_test(links_over_the_limit_are_dropped_and_counted),
        cmocka_unit_test(status_follows_the_rules),
        cmocka_unit_test(name_is_replaced_and_stands_once),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
