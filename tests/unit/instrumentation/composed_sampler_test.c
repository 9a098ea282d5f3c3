/* SPDX-License-Identifier: Apache-2.0 */
/* Composed samplers (sonde/sampler.h): what each one decides for chosen trace ids, and what it does to the tracestate. */
#include "instrumentation/context/pattern.h"
#include "instrumentation/trace/composed.h"
#include "tests/lib/child.h"
#include "tests/lib/records.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sonde_context new_span(bool has_parent, bool remote, uint8_t flags, const char *tracestate) {
    struct sonde_context context;
    sonde_context_init(&context);
    memcpy(context.span.trace_id, "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36", 16);
    context.span.span_id[0] = has_parent;
    context.span.is_remote = remote;
    context.span.flags = flags;
    context.tracestate_length = (uint32_t)strlen(tracestate);
    memcpy(context.tracestate, tracestate, context.tracestate_length);
    return context;
}

static struct sonde__sampling sampling;
static struct sonde_context context;

static bool decide_named(const struct sonde_sampler *sampler, struct sonde_key name,
                         const struct sonde_span_options *options) {
    static struct sonde__settings settings;
    settings.composed_sampler = sampler;
    sampling = (struct sonde__sampling){.context = &context, .name = name, .options = options};
    return sonde__sampler_decide(&settings, &sampling);
}
static bool decide(const struct sonde_sampler *sampler) {
    return decide_named(sampler, SONDE_NAME("GET /users"), NULL);
}
static void tracestate_is(const char *text) {
    assert_int_equal(context.tracestate_length, strlen(text));
    assert_memory_equal(context.tracestate, text, strlen(text));
}
static const struct sonde_sampler *probability(double ratio) {
    const struct sonde_sampler *sampler = NULL;
    assert_int_equal(sonde_sampler_probability(ratio, &sampler), 0);
    return sampler;
}

static void composable_always_on_and_off(void **state) {
    (void)state;
    context = new_span(false, false, 0, "a=1");
    assert_true(decide(sonde_sampler_always_on()));
    tracestate_is("ot=th:0,a=1");
    context = new_span(true, true, 1, "ot=th:c;rv:ffffffffffffff");
    assert_false(decide(sonde_sampler_always_off()));
    tracestate_is("ot=rv:ffffffffffffff"); /* a drop takes th away */
}

/* R = ce929d0e0e4736 */
static void composable_probability(void **state) {
    (void)state;
    static const struct {
        double ratio;
        const char *in, *out;
        bool sampled;
    } rows[] = {
        {0.25, "", "ot=th:c", true},
        {0.2, "", "ot=th:cccd", true},
        {0.1, "", "", false},
        {0, "", "", false},
        {0.25, "ot=rv:bfffffffffffff", "ot=rv:bfffffffffffff", false},
        {0.25, "ot=rv:c0000000000000", "ot=th:c;rv:c0000000000000", true},
        {0.25, "b=2,ot=th:c", "b=2,ot=th:c", true}, /* nothing to change */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        context = new_span(true, true, 0, rows[i].in);
        assert_int_equal(decide(probability(rows[i].ratio)), rows[i].sampled);
        tracestate_is(rows[i].out);
    }
}

static void composable_parent_threshold(void **state) {
    (void)state;
    static const struct {
        bool parent;
        uint8_t flags, decision;
        const char *in, *out;
        bool sampled;
    } rows[] = {
        {false, 0, 0, "", "ot=th:c", true}, /* the root decides */
        {true, 1, 0, "", "", true},         /* a parent that says nothing: its flag, no th */
        {true, 0, 0, "", "", false},
        {true, 1, 0, "ot=th:8", "ot=th:8", true}, /* the parent's th */
        {true, 0, 0, "ot=th:8", "ot=th:8", true}, /* by which we keep what it kept by chance */
        {true, 1, 0, "ot=th:e666", "", false},
        {true, 1, 0, "ot=th:zz", "", true}, /* malformed: as none */
        {true, 0, SONDE_DECISION_DEFER, "", "ot=th:c", true},
        {true, 0, SONDE_DECISION_DEBUG, "ot=th:f", "", true},
        {false, 0, SONDE_DECISION_DENY, "", "", false},
        {false, 0, SONDE_DECISION_ACCEPT, "", "", true},
    };
    const struct sonde_sampler *sampler;
    assert_int_equal(sonde_sampler_parent_threshold(probability(0.25), &sampler), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        context = new_span(rows[i].parent, true, rows[i].flags, rows[i].in);
        context.span.decision = rows[i].decision;
        assert_int_equal(decide(sampler), rows[i].sampled);
        tracestate_is(rows[i].out);
    }
}

static void parent_based_asks_the_one_for_its_parent(void **state) {
    (void)state;
    struct sonde_sampler_parents parents = SONDE_SAMPLER_PARENTS_INIT;
    const struct sonde_sampler *sampler;
    assert_int_equal(sonde_sampler_parent_based(&parents, &sampler), SONDE_EINVALID); /* no root */
    parents.root = sonde_sampler_always_off();
    parents.remote_sampled = probability(0.1);
    parents.local_not_sampled = sonde_sampler_always_on();
    assert_int_equal(sonde_sampler_parent_based(&parents, &sampler), 0);
    assert_false(sonde__sampler_follows_parents(sampler));
    context = new_span(false, false, 0, "");
    assert_false(decide(sampler));
    context = new_span(true, true, 1, "");
    assert_false(decide(sampler)); /* R is below 0.1's */
    context = new_span(true, false, 0, "");
    assert_true(decide(sampler));
    context = new_span(true, true, 0, "ot=th:e666"); /* nobody for it: as the parent did, tracestate and all */
    assert_false(decide(sampler));
    tracestate_is("ot=th:e666");
    parents.local_not_sampled = NULL;
    assert_int_equal(sonde_sampler_parent_based(&parents, &sampler), 0);
    assert_true(sonde__sampler_follows_parents(sampler) && sonde__sampler_asks_about_remote(sampler));
}

static void patterns_fit_or_not(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool fits;
    } rows[] = {{"", "", true},
                {"", "a", false},
                {"*", "", true},
                {"a*", "abc", true},
                {"*c", "abcc", true},
                {"a?c", "abc", true},
                {"a?c", "ac", false},
                {"GET /health*", "GET /healthz", true},
                {"GET /health*", "POST /healthz", false},
                {"*/users/*/orders", "GET /users/7/orders", true},
                {"*/users/*/orders", "GET /users/7/orders/1", false},
                {"***a***", "bab", true},
                {"abc", "ab", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(
            sonde__pattern_fits(rows[i].pattern, (struct sonde_string){rows[i].text, strlen(rows[i].text)}, false),
            rows[i].fits);
}

static void rules_look_at_kind_name_attributes_and_parent(void **state) {
    (void)state;
    struct sonde_attribute wanted[2] = {sonde_attribute_string(SONDE_KEY("tier"), "gold"),
                                        sonde_attribute_int64(SONDE_KEY("n"), 7)};
    struct sonde_sampler_rule rules[4] = {SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT,
                                          SONDE_SAMPLER_RULE_INIT};
    rules[0].name = "GET /health*";
    rules[0].sampler = sonde_sampler_always_off();
    rules[1].attributes = wanted;
    rules[1].attribute_count = 2;
    rules[1].sampler = sonde_sampler_always_on();
    rules[2].kind = SONDE_SPAN_KIND_SERVER;
    rules[2].parent = SONDE_PARENT_REMOTE;
    rules[2].sampler = probability(0.25);
    rules[3].parent = SONDE_PARENT_NONE;
    rules[3].sampler = probability(0.5);
    const struct sonde_sampler *sampler;
    assert_int_equal(sonde_sampler_rule_based(rules, 4, &sampler), 0);
    struct sonde_attribute given[3] = {sonde_attribute_string(SONDE_KEY("tier"), "gold"),
                                       sonde_attribute_int64(sonde_key_cstr("n"), 6),
                                       sonde_attribute_int64(sonde_key_cstr("n"), 7)}; /* the last one counts */
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.attributes = given;
    options.attribute_count = 3;
    context = new_span(false, false, 0, "");
    assert_false(decide_named(sampler, SONDE_NAME("GET /healthz"), &options)); /* the first that holds */
    assert_true(decide_named(sampler, SONDE_NAME("GET /"), &options));
    tracestate_is("ot=th:0");
    options.attribute_count = 2;
    context = new_span(false, false, 0, "");
    assert_true(decide_named(sampler, SONDE_NAME("GET /"), &options));
    tracestate_is("ot=th:8");
    context = new_span(true, true, 0, "");
    assert_false(decide_named(sampler, SONDE_NAME("GET /"), &options)); /* INTERNAL: no rule holds */
    options.kind = SONDE_SPAN_KIND_SERVER;
    assert_true(decide_named(sampler, SONDE_NAME("GET /"), &options));
    tracestate_is("ot=th:c");
    context = new_span(true, false, 1, "");
    assert_false(decide_named(sampler, SONDE_NAME("GET /"), &options));
}

/* Rules never look at chance: whatever they are, a trace kept at a ratio is kept at every larger one. */
static void rule_based_keeps_nested_sets(void **state) {
    (void)state;
    static const double ratios[] = {0.01, 0.1, 0.5, 1};
    const struct sonde_sampler *samplers[4];
    for (int r = 0; r < 4; r++) {
        struct sonde_sampler_rule rule = SONDE_SAMPLER_RULE_INIT;
        rule.name = "GET *";
        rule.sampler = probability(ratios[r]);
        assert_int_equal(sonde_sampler_rule_based(&rule, 1, &samplers[r]), 0);
    }
    uint64_t seed = 1, kept[4] = {0};
    for (int i = 0; i < 10000; i++) {
        bool before = false;
        struct sonde_context span = new_span(false, false, 0, "");
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = seed ^ (seed >> 29);
        memcpy(span.span.trace_id + 8, &bits, 8);
        for (int r = 0; r < 4; r++) {
            context = span;
            bool sampled = decide(samplers[r]);
            assert_true(sampled || !before);
            kept[r] += before = sampled;
        }
    }
    for (int r = 0; r < 4; r++) {
        double off = (double)kept[r] - 10000 * ratios[r];
        assert_true(off > -260 && off < 260); /* five sigma */
    }
}

static void annotating_adds_attributes(void **state) {
    (void)state;
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("sampled.by"), "rule 3");
    const struct sonde_sampler *inner, *sampler;
    assert_int_equal(sonde_sampler_annotating(probability(0.25), &attribute, 1, &inner), 0);
    assert_int_equal(sonde_sampler_annotating(inner, &attribute, 1, &sampler), 0);
    context = new_span(false, false, 0, "");
    assert_true(decide(sampler));
    tracestate_is("ot=th:c");
    assert_int_equal(sampling.added_count, 2);
    assert_int_equal(sampling.added[0].count, 1);
    assert_memory_equal(sampling.added[0].attributes[0].value.string, "rule 3", 6);
}

static void by_baggage(void *user, const struct sonde_sampling_request *request, struct sonde_sampling_result *result) {
    static const struct sonde_attribute attribute = {
        .key = {"why", 3, {0}, 0, 0}, .type = SONDE_VALUE_STRING, .size = 7, .value = {.string = "baggage"}};
    struct sonde_baggage_entry entry;
    (*(int *)user)++;
    assert_int_equal(request->randomness, 0xce929d0e0e4736);
    if (sonde_baggage_find(request->context, sonde_text("keep"), &entry)) {
        result->decision = SONDE_SAMPLING_SAMPLE;
        result->attributes = &attribute;
        result->attribute_count = 1;
    } else if (request->kind == SONDE_SPAN_KIND_CONSUMER) {
        result->decision = SONDE_SAMPLING_THRESHOLD;
        result->threshold = 0xc0000000000000;
    }
    (void)sonde_tracestate_set(request->context, "mine", 4, "1", 1);
    request->context->span.trace_id[0] = 0xFF; /* is not taken */
}

static void custom_sampler_sees_the_parent_and_changes_the_tracestate(void **state) {
    (void)state;
    const struct sonde_sampler *sampler;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    int calls = 0;
    assert_int_equal(sonde_sampler_custom(NULL, NULL, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_custom(by_baggage, &calls, &sampler), 0);
    assert_true(sonde__composed_wants_baggage(sampler));
    context = new_span(true, true, 1, "ot=th:4");
    assert_false(decide(sampler));
    tracestate_is("mine=1");
    assert_int_equal(context.span.trace_id[0], 0x4b);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("keep"), sonde_text("1"), sonde_text("")), 0);
    context.tracestate_length = 0;
    assert_true(decide(sampler));
    tracestate_is("mine=1"); /* kept by will: no th */
    assert_int_equal(sampling.added_count, 1);
    context = new_span(true, true, 1, "");
    options.kind = SONDE_SPAN_KIND_CONSUMER;
    assert_true(decide_named(sampler, SONDE_NAME("receive"), &options));
    tracestate_is("ot=th:c,mine=1");
    assert_int_equal(calls, 3);
}

static void values_out_of_range_are_refused(void **state) {
    (void)state;
    const struct sonde_sampler *sampler = NULL, *deep = sonde_sampler_always_on();
    struct sonde_attribute list = {.key = SONDE_KEY("k"), .type = SONDE_VALUE_INT64_ARRAY};
    struct sonde_sampler_rule rule = SONDE_SAMPLER_RULE_INIT;
    char name[200];
    assert_int_equal(sonde_sampler_probability(-0.1, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_probability(1.5, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_probability((double)NAN, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_remote(NULL, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_rate_limiting(-1, 0, NULL, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_rate_limiting(1e7, 0, NULL, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_rate_limiting(1e-9, UINT32_MAX, NULL, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_annotating(deep, &list, 1, &sampler), SONDE_EINVALID);
    assert_int_equal(sonde_sampler_rule_based(&rule, 1, &sampler), SONDE_EINVALID); /* no sampler */
    rule.sampler = deep;
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    rule.name = name;
    assert_int_equal(sonde_sampler_rule_based(&rule, 1, &sampler), SONDE_EINVALID);
    assert_null(sampler);
    for (unsigned depth = 2; depth <= SONDE_SAMPLER_DEPTH_MAX; depth++)
        assert_int_equal(sonde_sampler_remote(deep, &deep), 0);
    assert_int_equal(sonde_sampler_remote(deep, &sampler), SONDE_EINVALID);
}

/* ---- through sonde_start() and spans ---- */

static void scope_and_attributes_at_the_start_are_seen_and_set(void) {
    struct sonde_sampler_rule rules[2] = {SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT};
    struct sonde_attribute added = sonde_attribute_bool(SONDE_KEY("by.rule"), true);
    struct sonde_attribute given[2] = {sonde_attribute_string(SONDE_KEY("tier"), "gold"),
                                       sonde_attribute_int64(SONDE_KEY("n"), 7)};
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_span_options span_options = SONDE_SPAN_OPTIONS_INIT;
    const struct sonde_sampler *rated, *root;
    struct sonde_span span, child;
    CHECK(sonde_sampler_rate_limiting(1000, 1000, NULL, &rated) == 0); /* reads the clock: the span's start is that */
    CHECK(sonde_sampler_annotating(rated, &added, 1, &rules[0].sampler) == 0);
    rules[0].scope = "my.*";
    rules[0].attributes = given;
    rules[0].attribute_count = 1;
    rules[1].sampler = sonde_sampler_always_off();
    CHECK(sonde_sampler_rule_based(rules, 2, &root) == 0);
    CHECK(sonde_sampler_parent_threshold(root, &options.composed_sampler) == 0);
    CHECK(sonde_start(&options) == 0);
    span_options.scope = sonde_scope_register("my.library", "1", NULL, NULL, 0);
    sonde_span_start(&span, SONDE_NAME("root"), &span_options); /* no such attribute */
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_end(&span);
    span_options.attributes = given;
    span_options.attribute_count = 2;
    sonde_span_start(&span, SONDE_NAME("root"), &span_options);
    CHECK(sonde_span_is_recording(&span));
    sonde_span_start(&child, SONDE_NAME("child"), &span_options); /* as its parent */
    CHECK(sonde_span_is_recording(&child));
    sonde_span_end(&child);
    Pb__Span *pb = records_span();
    CHECK(pb->n_attributes == 2 && strcmp(pb->attributes[0]->key, "tier") == 0);
    CHECK(pb->attributes[1]->value->int_value == 7);
    pb__span__free_unpacked(pb, NULL);
    sonde_span_end(&span);
    pb = records_span();
    CHECK(pb->n_attributes == 3 && strcmp(pb->attributes[2]->key, "by.rule") == 0);
    CHECK(pb->end_time_unix_nano >= pb->start_time_unix_nano && pb->start_time_unix_nano > 1600000000000000000u);
    pb__span__free_unpacked(pb, NULL);
}

static void start_inside(void *user, const struct sonde_sampling_request *request,
                         struct sonde_sampling_result *result) {
    struct sonde_span span;
    (void)user, (void)request;
    sonde_span_start(&span, SONDE_NAME("not allowed"), NULL);
    sonde_span_end(&span);
    result->decision = SONDE_SAMPLING_SAMPLE;
}

static void custom_sampler_that_calls_the_library_hurts_nobody(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_stats stats = {.size = sizeof stats};
    struct sonde_span span;
    CHECK(sonde_sampler_custom(start_inside, NULL, &options.composed_sampler) == 0);
    CHECK(sonde_start(&options) == 0);
    for (int i = 0; i < 3; i++) {
        sonde_span_start(&span, SONDE_NAME("outer"), NULL);
        CHECK(sonde_span_is_recording(&span));
        sonde_span_end(&span);
    }
    sonde_stats_get(&stats);
    CHECK(stats.dropped[SONDE_SIGNAL_TRACES][SONDE_DROP_BUSY] == 3);
}

/* With a sampler for remote parents that were sampled, an attached remote context is no short cut either. */
static void remote_parents_are_asked_about_when_attached(void) {
    struct sonde_sampler_parents parents = SONDE_SAMPLER_PARENTS_INIT;
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_span span;
    parents.root = sonde_sampler_always_on();
    parents.remote_sampled = sonde_sampler_always_off();
    CHECK(sonde_sampler_parent_based(&parents, &options.composed_sampler) == 0);
    CHECK(sonde_start(&options) == 0);
    context = new_span(true, true, 1, "");
    struct sonde_context_token token = sonde_context_attach(&context);
    sonde_span_start(&span, SONDE_NAME("server"), NULL);
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_end(&span);
    sonde_context_detach(token);
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    CHECK(sonde_span_is_recording(&span));
    sonde_span_end(&span);
}

/* Short ones are written on a way of their own. */
static void children_record_the_tracestate_of_their_parent(void) {
    static const size_t sizes[] = {0, 100, 110, 119, 120, 300, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
        struct sonde_span spans[3];
        char text[SONDE_TRACESTATE_SIZE_MAX] = "ot=th:c,a=";
        size_t size = sizes[i] ? 10 + sizes[i] : 7;
        memset(text + 10, 'x', sizes[i]);
        text[size] = 0;
        context = new_span(true, true, 1, text);
        options.parent = &context;
        for (int k = 0; k < 3; k++)
            sonde_span_start(&spans[k], k == 1 ? SONDE_NAME("gr\xC3\xB6\xC3\x9F") : SONDE_NAME("span"),
                             k ? NULL : &options);
        for (int k = 3; k-- > 0;) {
            sonde_span_set_int64(&spans[k], SONDE_KEY("k"), k);
            sonde_span_end(&spans[k]);
            Pb__Span *pb = records_span();
            CHECK(strcmp(pb->trace_state, text) == 0 && pb->n_attributes == 1);
            CHECK(strcmp(pb->name, k == 1 ? "gr\xC3\xB6\xC3\x9F" : "span") == 0);
            pb__span__free_unpacked(pb, NULL);
        }
    }
}
CHILD_TEST(children_record_the_tracestate_of_their_parent)

CHILD_TEST(scope_and_attributes_at_the_start_are_seen_and_set)
CHILD_TEST(custom_sampler_that_calls_the_library_hurts_nobody)
CHILD_TEST(remote_parents_are_asked_about_when_attached)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composable_always_on_and_off),
        cmocka_unit_test(composable_probability),
        cmocka_unit_test(composable_parent_threshold),
        cmocka_unit_test(parent_based_asks_the_one_for_its_parent),
        cmocka_unit_test(patterns_fit_or_not),
        cmocka_unit_test(rules_look_at_kind_name_attributes_and_parent),
        cmocka_unit_test(rule_based_keeps_nested_sets),
        cmocka_unit_test(annotating_adds_attributes),
        cmocka_unit_test(custom_sampler_sees_the_parent_and_changes_the_tracestate),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(children_record_the_tracestate_of_their_parent_test),
        cmocka_unit_test(scope_and_attributes_at_the_start_are_seen_and_set_test),
        cmocka_unit_test(custom_sampler_that_calls_the_library_hurts_nobody_test),
        cmocka_unit_test(remote_parents_are_asked_about_when_attached_test),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
