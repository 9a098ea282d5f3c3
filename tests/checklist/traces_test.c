/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: traces. Each test is named after its item in items.tsv. */
#include "tests/checklist/checklist.h"
#include "tests/lib/records.h"
#include <pthread.h>

/* The span just ended, decoded; freed by the next call. */
static Pb__Span *ended(struct sonde_span *span) {
    static Pb__Span *last;
    if (last)
        pb__span__free_unpacked(last, NULL);
    sonde_span_end(span);
    return last = records_span();
}

/* ---- provider ---- */

static void get_a_tracer(void **state) {
    (void)state;
    uint32_t scope = sonde_scope_register("checklist.tracer", "1.2", NULL, NULL, 0);
    assert_true(scope > 0 && scope < SONDE_SCOPES_MAX);
    assert_int_equal(sonde_scope_register("checklist.tracer", "1.2", NULL, NULL, 0), scope);
    assert_int_not_equal(sonde_scope_register("checklist.tracer", "1.3", NULL, NULL, 0), scope);
}

static void get_a_tracer_with_schema_url(void **state) {
    (void)state;
    uint32_t scope = sonde_scope_register("checklist.schema", "1", "https://opentelemetry.io/schemas/1.44.0", NULL, 0);
    assert_int_not_equal(scope, sonde_scope_register("checklist.schema", "1", NULL, NULL, 0));
    assert_true(descriptor_has(scope, "https://opentelemetry.io/schemas/1.44.0"));
}

static void get_a_tracer_with_scope_attributes(void **state) {
    (void)state;
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("library.part"), "checklist-part");
    uint32_t scope = sonde_scope_register("checklist.attributes", NULL, NULL, &attribute, 1);
    assert_true(scope > 0);
    assert_true(descriptor_has(scope, "checklist-part"));
}

static void a_tracer_is_tied_to_its_scope(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.scope = sonde_scope_register("checklist.tied", NULL, NULL, NULL, 0);
    sonde_span_start(&span, SONDE_NAME("work"), &options);
    sonde_span_end(&span);
    const struct sonde__record *record = records_next();
    assert_non_null(record);
    assert_int_equal(record->scope, options.scope);
}

static void *register_scopes(void *ret) {
    for (int i = 0; i < 200; i++)
        *(uint32_t *)ret = sonde_scope_register("checklist.concurrent", NULL, NULL, NULL, 0);
    return NULL;
}

static void the_provider_is_safe_for_concurrent_calls(void **state) {
    (void)state;
    pthread_t threads[4];
    uint32_t scopes[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, register_scopes, &scopes[i]), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 1; i < 4; i++)
        assert_int_equal(scopes[i], scopes[0]);
}

static void shut_down(void) {
    struct sonde_span span;
    (void)sonde_shutdown(1000);
    sonde_span_start(&span, SONDE_NAME("late"), NULL);
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_end(&span);
    CHECK(sonde_flush(0) == SONDE_EDISABLED);
}
static void shutdown(void **state) {
    (void)state;
    assert_int_equal(child_run(shut_down), 0);
}

static void flush_nobody(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_end(&span);
    CHECK(sonde_flush(1000) == SONDE_ENOAGENT);
}
/* With an agent: tests/integration/daemon_test.py. */
static void force_flush(void **state) {
    (void)state;
    assert_int_equal(child_run(flush_nobody), 0);
}

/* ---- context and tracer ---- */

static void create_a_span(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("GET /users/{id}"), NULL);
    Pb__Span *pb = ended(&span);
    assert_string_equal(pb->name, "GET /users/{id}");
    assert_true(pb->start_time_unix_nano > 0 && pb->end_time_unix_nano >= pb->start_time_unix_nano);
}

static void get_the_active_span(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    struct sonde_span_context current = sonde_context_current_span();
    assert_memory_equal(current.span_id, span.context.span_id, 8);
    (void)ended(&span);
}

static void set_the_active_span(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_context context;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.not_current = true;
    sonde_span_start(&span, SONDE_NAME("asynchronous"), &options);
    struct sonde_span_context current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
    sonde_span_context_get(&span, &context);
    struct sonde_context_token token = sonde_context_attach(&context);
    current = sonde_context_current_span();
    assert_memory_equal(current.span_id, span.context.span_id, 8);
    sonde_context_detach(token);
    current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
    (void)ended(&span);
}

static void *make_spans(void *unused) {
    for (int i = 0; i < 100; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("concurrent"), NULL);
        sonde_span_end(&span);
    }
    assert_int_equal(records_skip(), 100);
    return unused;
}

static void the_tracer_is_safe_for_concurrent_calls(void **state) {
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_spans, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* ---- span context ---- */

static void is_valid(void **state) {
    (void)state;
    struct sonde_span_context context = {.trace_id = {1}};
    assert_false(sonde_span_context_is_valid(&context));
    context.span_id[7] = 1;
    assert_true(sonde_span_context_is_valid(&context));
    context.trace_id[0] = 0;
    assert_false(sonde_span_context_is_valid(&context));
}

static void is_remote(void **state) {
    (void)state;
    struct sonde_span_context context;
    assert_int_equal(sonde_traceparent_read(A_TRACEPARENT, SONDE_TRACEPARENT_SIZE, &context), SONDE_EXTRACT_OK);
    assert_int_equal(context.is_remote, 1);
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("local"), NULL);
    assert_int_equal(span.context.is_remote, 0);
    (void)ended(&span);
}

/* All of it: the vectors and the W3C harness' own tests (tests/interop/w3c_harness_test.py). */
static void the_span_context_conforms_to_w3c(void **state) {
    (void)state;
    struct sonde_span_context context;
    char text[SONDE_TRACEPARENT_SIZE];
    assert_int_equal(sonde_traceparent_read(A_TRACEPARENT, SONDE_TRACEPARENT_SIZE, &context), SONDE_EXTRACT_OK);
    assert_true(sonde_traceparent_write(&context, text));
    assert_memory_equal(text, A_TRACEPARENT, SONDE_TRACEPARENT_SIZE);
    assert_int_equal(sonde_traceparent_read("00-" A_TRACE_ID "-0000000000000000-01", SONDE_TRACEPARENT_SIZE, &context),
                     SONDE_EXTRACT_ZERO_ID);
}

static void level_2_randomness(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    assert_true(span.context.flags & SONDE_TRACE_FLAG_RANDOM);
    (void)ended(&span);
    struct sonde_context parent = remote_parent(SONDE_TRACE_FLAG_SAMPLED); /* not said to be random: not made up */
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("child"), &options);
    assert_false(span.context.flags & SONDE_TRACE_FLAG_RANDOM);
    (void)ended(&span);
}

/* ---- span ---- */

static void create_a_root_span(void **state) {
    (void)state;
    struct sonde_span outer, span;
    struct sonde_context none;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    sonde_context_init(&none);
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    options.parent = &none;
    sonde_span_start(&span, SONDE_NAME("root"), &options);
    assert_memory_not_equal(span.context.trace_id, outer.context.trace_id, 16);
    assert_int_equal(ended(&span)->parent_span_id.len, 0);
    (void)ended(&outer);
}

static void the_default_parent_is_the_active_span(void **state) {
    (void)state;
    struct sonde_span outer, span;
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    sonde_span_start(&span, SONDE_NAME("inner"), NULL);
    Pb__Span *pb = ended(&span);
    assert_memory_equal(pb->trace_id.data, outer.context.trace_id, 16);
    assert_memory_equal(pb->parent_span_id.data, outer.context.span_id, 8);
    (void)ended(&outer);
}

static void parent_from_a_context(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_context parent = remote_parent(SONDE_TRACE_FLAG_SAMPLED);
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    Pb__Span *pb = ended(&span);
    assert_memory_equal(pb->trace_id.data, parent.span.trace_id, 16);
    assert_memory_equal(pb->parent_span_id.data, parent.span.span_id, 8);
}

/* The option takes a whole context: a span or a span context alone is another type. */
static void no_bare_span_as_parent(void **state) {
    (void)state;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    assert_true(_Generic(options.parent, const struct sonde_context * : true, default : false));
}

static void update_name(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("GET"), NULL);
    sonde_span_set_name(&span, SONDE_NAME("GET /users/{id}"));
    assert_string_equal(ended(&span)->name, "GET /users/{id}");
}

static void user_defined_start_time(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.start_unix_ns = 1700000000000000123u;
    sonde_span_start(&span, SONDE_NAME("work"), &options);
    assert_true(ended(&span)->start_time_unix_nano == 1700000000000000123u);
}

static void end(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    (void)ended(&span);
    sonde_span_end(&span); /* ending twice does nothing */
    assert_null(records_next());
}

static void end_with_a_time(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.start_unix_ns = 1700000000000000123u;
    sonde_span_start(&span, SONDE_NAME("work"), &options);
    sonde_span_end_at(&span, 1700000000000000456u);
    Pb__Span *pb = records_span();
    assert_true(pb->end_time_unix_nano == 1700000000000000456u);
    pb__span__free_unpacked(pb, NULL);
}

static void is_recording(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    assert_true(sonde_span_is_recording(&span));
    (void)ended(&span);
}

static void is_recording_becomes_false_after_the_end(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    struct sonde_span copy = span;
    (void)ended(&span);
    assert_false(sonde_span_is_recording(&span));
    assert_false(sonde_span_is_recording(&copy));
}

static void set_status_unset_ok_error(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    assert_null(ended(&span)->status);
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_set_status(&span, SONDE_STATUS_ERROR, "refused");
    Pb__Span *pb = ended(&span);
    assert_int_equal(pb->status->code, SONDE_STATUS_ERROR);
    assert_string_equal(pb->status->message, "refused");
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_set_status(&span, SONDE_STATUS_OK, "ignored");
    sonde_span_set_status(&span, SONDE_STATUS_ERROR, "too late");
    pb = ended(&span);
    assert_int_equal(pb->status->code, SONDE_STATUS_OK);
    assert_string_equal(pb->status->message, "");
}

static void *set_attributes(void *span) {
    char key[16];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d.%lx", i, (unsigned long)pthread_self() & 0xFFF);
        sonde_span_set_int64(span, sonde_key_cstr(key), i);
        sonde_span_add_event(span, SONDE_NAME("e"), 0, NULL, 0);
    }
    return NULL;
}

static void a_span_is_safe_for_concurrent_calls(void **state) {
    (void)state;
    pthread_t threads[3];
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("shared"), NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, set_attributes, &span), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    Pb__Span *pb = ended(&span);
    assert_int_equal(pb->n_events, 60);
    assert_true(pb->n_attributes >= 20); /* thread names may collide: a key is replaced then */
}

static void limits(void) {
    setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3", 1);
    setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2", 1);
    setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "1", 1);
    setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4", 1);
    struct sonde_span span;
    struct sonde_context context = remote_parent(1);
    struct sonde_link link = sonde_link_to(&context);
    sonde_span_start(&span, SONDE_NAME("limited"), NULL);
    for (int i = 0; i < 5; i++) {
        char key[] = {'k', (char)('0' + i), 0};
        sonde_span_set_cstr(&span, sonde_key_cstr(key), "longer");
        sonde_span_add_event(&span, SONDE_NAME("e"), 0, NULL, 0);
        sonde_span_add_link(&span, &link);
    }
    Pb__Span *pb = ended(&span);
    CHECK(pb->n_attributes == 3 && pb->dropped_attributes_count == 2);
    CHECK(strcmp(pb->attributes[0]->value->string_value, "long") == 0);
    CHECK(pb->n_events == 2 && pb->dropped_events_count == 3);
    CHECK(pb->n_links == 1 && pb->dropped_links_count == 4);
}
static void the_number_of_events_is_limited(void **state) {
    (void)state;
    assert_int_equal(child_run(limits), 0);
}
static void the_number_of_attributes_is_limited(void **state) {
    (void)state;
    assert_int_equal(child_run(limits), 0);
}
static void the_number_of_links_is_limited(void **state) {
    (void)state;
    assert_int_equal(child_run(limits), 0);
}

/* ---- attributes, links, events, exceptions ---- */

static void set_an_attribute(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_set_cstr(&span, SONDE_KEY("key"), "first");
    sonde_span_set_cstr(&span, SONDE_KEY("key"), "second");
    Pb__Span *pb = ended(&span);
    assert_string_equal(records_value(pb->attributes, pb->n_attributes, "key")->string_value, "second");
}

static void attributes_string_bool_double_int64(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_set_string(&span, SONDE_KEY("string"), "text", 4);
    sonde_span_set_bool(&span, SONDE_KEY("bool"), true);
    sonde_span_set_double(&span, SONDE_KEY("double"), 0.5);
    sonde_span_set_int64(&span, SONDE_KEY("int64"), INT64_MIN);
    Pb__Span *pb = ended(&span);
    assert_string_equal(records_value(pb->attributes, pb->n_attributes, "string")->string_value, "text");
    assert_true(records_value(pb->attributes, pb->n_attributes, "bool")->bool_value);
    assert_true(records_value(pb->attributes, pb->n_attributes, "double")->double_value == 0.5);
    assert_true(records_value(pb->attributes, pb->n_attributes, "int64")->int_value == INT64_MIN);
}

static void attributes_homogeneous_arrays(void **state) {
    (void)state;
    static const int64_t numbers[] = {1, -2, 3};
    static const struct sonde_string texts[] = {{"a", 1}, {"bc", 2}};
    struct sonde_attribute ints = {
        .key = SONDE_KEY("ints"), .type = SONDE_VALUE_INT64_ARRAY, .size = 3, .value.int64s = numbers};
    struct sonde_attribute strings = {
        .key = SONDE_KEY("strings"), .type = SONDE_VALUE_STRING_ARRAY, .size = 2, .value.strings = texts};
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_set(&span, &ints);
    sonde_span_set(&span, &strings);
    Pb__Span *pb = ended(&span);
    const Pb__AnyValue *value = records_value(pb->attributes, pb->n_attributes, "ints");
    assert_int_equal(value->array_value->n_values, 3);
    assert_true(value->array_value->values[1]->int_value == -2);
    value = records_value(pb->attributes, pb->n_attributes, "strings");
    assert_string_equal(value->array_value->values[1]->string_value, "bc");
}

static void attributes_unicode(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("m\xC3\xBC"), NULL);
    sonde_span_set_cstr(&span, sonde_key_cstr("schl\xC3\xBCssel"), "\xE2\x82\xAC \xF0\x9F\x98\x80");
    sonde_span_set_cstr(&span, SONDE_KEY("bad"), "\xFF");
    Pb__Span *pb = ended(&span);
    assert_string_equal(pb->name, "m\xC3\xBC");
    assert_string_equal(records_value(pb->attributes, pb->n_attributes, "schl\xC3\xBCssel")->string_value,
                        "\xE2\x82\xAC \xF0\x9F\x98\x80");
    assert_string_equal(records_value(pb->attributes, pb->n_attributes, "bad")->string_value, "\xEF\xBF\xBD");
}

static void links_at_creation_and_after_in_order(void **state) {
    (void)state;
    struct sonde_context contexts[3] = {remote_parent(1), remote_parent(1), remote_parent(0)};
    struct sonde_link links[3];
    for (int i = 0; i < 3; i++) {
        contexts[i].span.span_id[7] = (uint8_t)(i + 1);
        links[i] = sonde_link_to(&contexts[i]);
    }
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("offset"), 7);
    links[1].attributes = &attribute;
    links[1].attribute_count = 1;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.links = links;
    options.link_count = 2;
    sonde_span_start(&span, SONDE_NAME("batch"), &options);
    sonde_span_add_link(&span, &links[2]);
    Pb__Span *pb = ended(&span);
    assert_int_equal(pb->n_links, 3);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(pb->links[i]->span_id.data, contexts[i].span.span_id, 8);
    assert_true(records_value(pb->links[1]->attributes, pb->links[1]->n_attributes, "offset")->int_value == 7);
}

static void add_events_in_order(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_add_event(&span, SONDE_NAME("second in time"), 1700000000000000002u, NULL, 0);
    sonde_span_add_event(&span, SONDE_NAME("first in time"), 1700000000000000001u, NULL, 0);
    Pb__Span *pb = ended(&span);
    assert_int_equal(pb->n_events, 2);
    assert_string_equal(pb->events[0]->name, "second in time");
    assert_true(pb->events[1]->time_unix_nano == 1700000000000000001u);
}

static void record_an_exception(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_record_exception(&span, "KeyError", "no such order", "main.c:1");
    Pb__Span *pb = ended(&span);
    assert_int_equal(pb->n_events, 1);
    assert_string_equal(pb->events[0]->name, "exception");
    Pb__KeyValue **attributes = pb->events[0]->attributes;
    size_t count = pb->events[0]->n_attributes;
    assert_string_equal(records_value(attributes, count, "exception.type")->string_value, "KeyError");
    assert_string_equal(records_value(attributes, count, "exception.message")->string_value, "no such order");
    assert_string_equal(records_value(attributes, count, "exception.stacktrace")->string_value, "main.c:1");
    assert_null(pb->status);
}

static void record_an_exception_with_more_attributes(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_exception exception = {.type = "KeyError", .message = "no such order"};
    struct sonde_attribute more[] = {sonde_attribute_string(SONDE_KEY("exception.message"), "mine"),
                                     sonde_attribute_int64(SONDE_KEY("order"), 5)};
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    sonde_span_record_exception_with(&span, &exception, more, 2);
    Pb__Span *pb = ended(&span);
    Pb__KeyValue **attributes = pb->events[0]->attributes;
    size_t count = pb->events[0]->n_attributes;
    assert_int_equal(count, 3);
    assert_string_equal(records_value(attributes, count, "exception.type")->string_value, "KeyError");
    assert_string_equal(records_value(attributes, count, "exception.message")->string_value, "mine");
    assert_true(records_value(attributes, count, "order")->int_value == 5);
}

/* ---- sampling ---- */

static void unsampled(void) {
    setenv("OTEL_TRACES_SAMPLER", "always_off", 1);
    struct sonde_span first, second;
    sonde_span_start(&first, SONDE_NAME("dropped"), NULL);
    sonde_span_start(&second, SONDE_NAME("dropped too"), NULL);
    CHECK(!sonde_span_is_recording(&second));
    CHECK(sonde_span_context_is_valid(&second.context));
    CHECK(memcmp(first.context.span_id, second.context.span_id, 8) != 0);
    CHECK(memcmp(first.context.trace_id, second.context.trace_id, 16) == 0);
    sonde_span_end(&second);
    sonde_span_end(&first);
    CHECK(records_next() == NULL);
}
static void a_new_span_id_for_spans_that_do_not_record(void **state) {
    (void)state;
    assert_int_equal(child_run(unsampled), 0);
}

static void ratio(void) {
    setenv("OTEL_TRACES_SAMPLER", "traceidratio", 1);
    setenv("OTEL_TRACES_SAMPLER_ARG", "0.25", 1);
    int kept = 0;
    for (int i = 0; i < 400; i++) {
        struct sonde_span span;
        struct sonde_context context;
        struct sonde_string value;
        sonde_span_start(&span, SONDE_NAME("work"), NULL);
        sonde_span_context_get(&span, &context);
        bool said = sonde_tracestate_get(&context, "ot", 2, &value);
        CHECK(said == sonde_span_is_recording(&span));
        CHECK(!said || (value.size == 4 && memcmp(value.data, "th:c", 4) == 0));
        kept += said;
        sonde_span_end(&span);
    }
    CHECK(kept > 40 && kept < 180); /* 100, and nine standard deviations */
}
static void the_ratio_sampler_says_its_threshold(void **state) {
    (void)state;
    assert_int_equal(child_run(ratio), 0);
}

/* Those with a child process come first: it must not have used the library before. */
/* ---- sampling: all of it in tests/unit/instrumentation/composed_sampler_test.c and id_generator_test.c ---- */

static void start_with(const struct sonde_sampler *sampler, const struct sonde_id_generator *generator) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.composed_sampler = sampler;
    options.id_generator = generator;
    CHECK(sonde_start(&options) == 0);
}

/* Keeps what has baggage keep=1, and notes that in the tracestate. */
static void by_baggage(void *unused, const struct sonde_sampling_request *request,
                       struct sonde_sampling_result *result) {
    struct sonde_baggage_entry entry;
    (void)unused;
    CHECK(memcmp(request->context->span.span_id, "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7", 8) == 0);
    CHECK(request->context->span.is_remote && request->context->tracestate_length == 3);
    if (sonde_baggage_find(request->context, sonde_text("keep"), &entry))
        result->decision = SONDE_SAMPLING_SAMPLE;
    CHECK(sonde_tracestate_set(request->context, "mine", 4, "1", 1) == 0);
}
static void sampled_by_baggage(void) {
    const struct sonde_sampler *sampler;
    struct sonde_span span;
    struct sonde_context parent = remote_parent(0), context;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    CHECK(sonde_sampler_custom(by_baggage, NULL, &sampler) == 0);
    start_with(sampler, NULL);
    CHECK(sonde_tracestate_append(&parent, "a=1", 3));
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_end(&span);
    CHECK(sonde_baggage_set(&parent, sonde_text("keep"), sonde_text("1"), sonde_text("")) == 0);
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    CHECK(sonde_span_is_recording(&span));
    sonde_span_context_get(&span, &context);
    CHECK(context.tracestate_length == 10 && memcmp(context.tracestate, "mine=1,a=1", 10) == 0);
    CHECK(strcmp(ended(&span)->trace_state, "mine=1,a=1") == 0);
}
static void a_sampler_may_change_the_tracestate(void **state) {
    (void)state;
    assert_int_equal(child_run(sampled_by_baggage), 0);
}
static void a_sampler_gets_the_parent_s_whole_context(void **state) {
    (void)state;
    assert_int_equal(child_run(sampled_by_baggage), 0);
}

static void sampled_by_rules(void) {
    struct sonde_sampler_rule rules[2] = {SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT};
    struct sonde_attribute note = sonde_attribute_string(SONDE_KEY("kept.by"), "rule");
    const struct sonde_sampler *all, *ruled, *sampler;
    struct sonde_span span, child;
    CHECK(sonde_sampler_probability(1, &all) == 0 && sonde_sampler_annotating(all, &note, 1, &rules[1].sampler) == 0);
    rules[0].name = "GET /health*";
    rules[0].sampler = sonde_sampler_always_off();
    CHECK(sonde_sampler_rule_based(rules, 2, &ruled) == 0 && sonde_sampler_parent_threshold(ruled, &sampler) == 0);
    start_with(sampler, NULL);
    sonde_span_start(&span, SONDE_NAME("GET /healthz"), NULL);
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_start(&child, SONDE_NAME("GET /"), NULL); /* as its parent, whatever the rules say */
    CHECK(!sonde_span_is_recording(&child));
    sonde_span_end(&child);
    sonde_span_end(&span);
    sonde_span_start(&span, SONDE_NAME("GET /"), NULL);
    Pb__Span *pb = ended(&span);
    CHECK(strcmp(pb->trace_state, "ot=th:0") == 0);
    CHECK(strcmp(records_value(pb->attributes, pb->n_attributes, "kept.by")->string_value, "rule") == 0);
}
static void composable_samplers(void **state) {
    (void)state;
    assert_int_equal(child_run(sampled_by_rules), 0);
}

static void own_trace_id(void *unused, uint8_t ret_id[16]) {
    (void)unused;
    memset(ret_id, 0x11, 16);
}
static void own_span_id(void *unused, uint8_t ret_id[8]) {
    (void)unused;
    memset(ret_id, 0x22, 8);
}
static void ids_are_generated(void) {
    struct sonde_id_generator generator = SONDE_ID_GENERATOR_INIT;
    struct sonde_span span;
    generator.trace_id = own_trace_id;
    generator.span_id = own_span_id;
    start_with(NULL, &generator);
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    Pb__Span *pb = ended(&span);
    CHECK(pb->trace_id.data[0] == 0x11 && pb->trace_id.data[15] == 0x11 && pb->span_id.data[7] == 0x22);
}
static void id_generators(void **state) {
    (void)state;
    assert_int_equal(child_run(ids_are_generated), 0);
}

static void attribute_limits(void **state) {
    (void)state;
    assert_int_equal(child_run(limits), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sampler_may_change_the_tracestate),
        cmocka_unit_test(a_sampler_gets_the_parent_s_whole_context),
        cmocka_unit_test(composable_samplers),
        cmocka_unit_test(id_generators),
        cmocka_unit_test(attribute_limits),
        cmocka_unit_test(shutdown),
        cmocka_unit_test(force_flush),
        cmocka_unit_test(the_number_of_events_is_limited),
        cmocka_unit_test(the_number_of_attributes_is_limited),
        cmocka_unit_test(the_number_of_links_is_limited),
        cmocka_unit_test(a_new_span_id_for_spans_that_do_not_record),
        cmocka_unit_test(the_ratio_sampler_says_its_threshold),
        cmocka_unit_test(get_a_tracer),
        cmocka_unit_test(get_a_tracer_with_schema_url),
        cmocka_unit_test(get_a_tracer_with_scope_attributes),
        cmocka_unit_test(a_tracer_is_tied_to_its_scope),
        cmocka_unit_test(the_provider_is_safe_for_concurrent_calls),
        cmocka_unit_test(create_a_span),
        cmocka_unit_test(get_the_active_span),
        cmocka_unit_test(set_the_active_span),
        cmocka_unit_test(the_tracer_is_safe_for_concurrent_calls),
        cmocka_unit_test(is_valid),
        cmocka_unit_test(is_remote),
        cmocka_unit_test(the_span_context_conforms_to_w3c),
        cmocka_unit_test(level_2_randomness),
        cmocka_unit_test(create_a_root_span),
        cmocka_unit_test(the_default_parent_is_the_active_span),
        cmocka_unit_test(parent_from_a_context),
        cmocka_unit_test(no_bare_span_as_parent),
        cmocka_unit_test(update_name),
        cmocka_unit_test(user_defined_start_time),
        cmocka_unit_test(end),
        cmocka_unit_test(end_with_a_time),
        cmocka_unit_test(is_recording),
        cmocka_unit_test(is_recording_becomes_false_after_the_end),
        cmocka_unit_test(set_status_unset_ok_error),
        cmocka_unit_test(a_span_is_safe_for_concurrent_calls),
        cmocka_unit_test(set_an_attribute),
        cmocka_unit_test(attributes_string_bool_double_int64),
        cmocka_unit_test(attributes_homogeneous_arrays),
        cmocka_unit_test(attributes_unicode),
        cmocka_unit_test(links_at_creation_and_after_in_order),
        cmocka_unit_test(add_events_in_order),
        cmocka_unit_test(record_an_exception),
        cmocka_unit_test(record_an_exception_with_more_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
