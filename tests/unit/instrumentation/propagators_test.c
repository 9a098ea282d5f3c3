/* SPDX-License-Identifier: Apache-2.0 */
/* All propagators together: the choice among them, decisions that are no span context, entry modes. The formats' rows
 * are in tests/vectors/propagators.tsv, round trips between every two of them in round_trips_test.c. */
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/trace/sampler.h"
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/kafka.h>
#include <sonde/carrier/redis_streams.h>
#include <sonde/err.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HEADERS_MAX = 64 };

static struct sonde_http_header headers[HEADERS_MAX];
static char text[SONDE_HTTP_INJECT_SIZE];
static struct sonde_http_headers list;
static struct sonde_carrier carrier;
static struct sonde_context context, back;

static int setup(void **state) {
    (void)state;
    list = (struct sonde_http_headers){headers, 0, HEADERS_MAX, text, sizeof text, 0};
    carrier = sonde_http_carrier(&list);
    sonde_context_init(&context);
    memcpy(context.span.trace_id, "0123456789abcdef", 16);
    memcpy(context.span.span_id, "ABCDEFGH", 8);
    context.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    assert_int_equal(sonde_propagators_set(""), 0);
    return 0;
}

static void add(const char *name, const char *value) {
    headers[list.count++] = (struct sonde_http_header){sonde_text(name), sonde_text(value)};
}

static const char *value_of(const char *name) {
    static char value[SONDE_BAGGAGE_SIZE_MAX];
    struct sonde_string found;
    if (!carrier.ops->get(carrier.self, sonde_text(name), &found))
        return NULL;
    (void)snprintf(value, sizeof value, "%.*s", (int)found.size, found.data);
    return value;
}

static enum sonde_extract_reason extract_as(const char *propagators, enum sonde_entry entry,
                                            struct sonde_context *ret_link) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = propagators;
    options.entry = entry;
    options.ret_link = ret_link;
    return sonde_extract_with(&carrier, &options, &back);
}

/* ---- the choice ---- */

static char reported[256];
static void report(void *user, const char *message) {
    (void)user;
    (void)snprintf(reported, sizeof reported, "%s", message);
}

/* First of all, for the environment is read once. */
static void propagators_come_from_the_environment(void **state) {
    (void)state;
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.report = report;
    assert_int_equal(sonde_start(&options), 0);
    list = (struct sonde_http_headers){headers, 0, HEADERS_MAX, text, sizeof text, 0};
    carrier = sonde_http_carrier(&list);
    sonde_context_init(&context);
    context.span.trace_id[15] = context.span.span_id[7] = 1;
    assert_int_equal(sonde_inject(&context, &carrier), 0);
    assert_int_equal(list.count, 2); /* "b3, nonsense ,tracecontext,b3": skipped, and folded */
    assert_string_equal(value_of("b3"), "00000000000000000000000000000001-0000000000000001-0");
    assert_non_null(value_of("traceparent"));
    assert_string_equal(reported, "OTEL_PROPAGATORS: no propagator nonsense, skipped");
}

static size_t count_injected(void) {
    list.count = list.text_used = 0;
    assert_int_equal(sonde_inject(&context, &carrier), 0);
    return list.count;
}

static void propagators_are_set_by_name(void **state) {
    (void)state;
    assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), sonde_text("v"), sonde_text("")), 0);
    assert_int_equal(count_injected(), 2); /* tracecontext,baggage */
    assert_int_equal(sonde_propagators_set(" gcloud ,\tgcloud,xray"), 0);
    assert_int_equal(count_injected(), 2);
    assert_non_null(value_of("x-cloud-trace-context"));
    assert_int_equal(sonde_propagators_set("none"), 0);
    assert_int_equal(count_injected(), 0);
    add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_int_equal(sonde_extract(&carrier, &back), SONDE_EXTRACT_ABSENT);
    assert_int_equal(sonde_propagators_set("what, b3"), SONDE_EINVALID);
    assert_int_equal(count_injected(), 1);
    assert_int_equal(sonde_propagators_set(" , "), 0); /* empty: the default */
    assert_int_equal(count_injected(), 2);
}

static bool count_name(void *user, struct sonde_string name) {
    static char last[32];
    char now[32];
    unsigned *count = user;
    (void)snprintf(now, sizeof now, "%.*s", (int)name.size, name.data);
    assert_true((*count)++ == 0 || strcmp(last, now) < 0);
    memcpy(last, now, sizeof last);
    assert_int_equal(sonde_propagators_set(now), 0);
    return true;
}

static void propagators_are_listed_in_order(void **state) {
    (void)state;
    unsigned count = 0;
    sonde_propagators_list(count_name, &count);
    assert_int_equal(count, 11);
}

/* ---- every format ---- */

static const char *const formats[] = {"tracecontext,baggage", "b3",     "b3multi", "jaeger",  "xray",
                                      "xray-lambda",          "gcloud", "datadog", "ottrace", "grpc-trace-bin"};
enum { FORMATS = sizeof formats / sizeof *formats };

static void inject_leaves_the_carrier_alone_without_anything_to_say(void **state) {
    (void)state;
    sonde_context_init(&context);
    for (int i = 0; i < FORMATS; i++) {
        assert_int_equal(sonde_inject_as(formats[i], &context, &carrier), 0);
        assert_int_equal(list.count, 0);
    }
}

static void inject_without_room_leaves_nothing_that_reads_as_another_context(void **state) {
    (void)state;
    assert_int_equal(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a b"), sonde_text("")), 0);
    for (int i = 0; i < FORMATS; i++)
        for (size_t room = 0; room < 200; room++) {
            list = (struct sonde_http_headers){headers, 0, HEADERS_MAX, text, room, 0};
            (void)sonde_inject_as(formats[i], &context, &carrier);
            enum sonde_extract_reason reason = extract_as(formats[i], SONDE_ENTRY_TRUST, NULL);
            if (sonde__reason_is_found(reason)) {
                assert_memory_equal(back.span.span_id, context.span.span_id, 8);
                assert_memory_equal(back.span.trace_id + 8, context.span.trace_id + 8, 8);
            }
        }
}

/* ---- decisions ---- */

/** A carrier as it is after a hop that starts a span, by the formats that are set. */
static void hop(void) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span server, client;
    (void)sonde_extract(&carrier, &back);
    options.parent = &back;
    sonde_span_start(&server, SONDE_NAME("server"), &options);
    sonde_span_start(&client, SONDE_NAME("client"), NULL);
    list.count = list.text_used = 0;
    assert_int_equal(sonde_inject(NULL, &carrier), 0);
    sonde_span_end(&client);
    sonde_span_end(&server);
}

static char state_after_hop(const char *b3) {
    assert_int_equal(sonde_propagators_set("b3"), 0);
    list.count = list.text_used = 0;
    add("b3", b3);
    hop();
    const char *value = value_of("b3");
    assert_non_null(value);
    assert_int_equal(strlen(value), 51);
    return value[50];
}

static void b3_states_are_obeyed_and_debug_survives(void **state) {
    (void)state;
    assert_int_equal(state_after_hop("0"), '0');
    assert_int_equal(state_after_hop("1"), '1');
    assert_int_equal(state_after_hop("d"), 'd');
    assert_int_equal(state_after_hop("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d"), 'd');
    assert_int_equal(state_after_hop("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0"), '0');
    assert_int_equal(state_after_hop("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"), '1');
    /* Nobody has decided: our sampler does, which keeps everything. */
    assert_int_equal(state_after_hop("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1"), '1');
}

static void decisions_survive_plain_forwarding(void **state) {
    (void)state;
    static const char *const values[] = {"0", "1", "d", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1",
                                         "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        list.count = list.text_used = 0;
        add("b3", values[i]);
        (void)extract_as("b3", SONDE_ENTRY_TRUST, NULL);
        struct sonde_context_token token = sonde_context_attach(&back); /* through the thread's stack too */
        list.count = 0;
        assert_int_equal(sonde_inject_as("b3", NULL, &carrier), 0);
        assert_string_equal(value_of("b3"), values[i]);
        sonde_context_detach(token);
    }
}

static bool decide(const struct sonde__settings *settings, struct sonde_context *parent) {
    struct sonde__sampling sampling = {.context = parent};
    return sonde__sampler_decide(settings, &sampling);
}

static void sampler_hears_a_decision_only_when_it_hears_parents(void **state) {
    (void)state;
    struct sonde__settings settings = {.sampler_parent_based = true, .sampler = SONDE__SAMPLER_ALWAYS_OFF};
    static const struct {
        enum sonde_decision decision;
        bool parent, parent_based, always_on, sampled;
    } rows[] = {
        {SONDE_DECISION_DENY, false, true, true, false},   {SONDE_DECISION_ACCEPT, false, true, false, true},
        {SONDE_DECISION_DEBUG, false, true, false, true},  {SONDE_DECISION_DEBUG, true, true, false, true},
        {SONDE_DECISION_DEFER, true, true, true, true},    {SONDE_DECISION_DEFER, true, true, false, false},
        {SONDE_DECISION_DENY, false, false, true, true},   {SONDE_DECISION_DEBUG, true, false, false, false},
        {SONDE_DECISION_ACCEPT, true, true, false, false}, {SONDE_DECISION_NONE, true, true, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde_context parent;
        sonde_context_init(&parent);
        parent.span.trace_id[0] = 1;
        parent.span.span_id[0] = rows[i].parent;
        parent.span.decision = (uint8_t)rows[i].decision;
        settings.sampler_parent_based = rows[i].parent_based;
        settings.sampler = rows[i].always_on ? SONDE__SAMPLER_ALWAYS_ON : SONDE__SAMPLER_ALWAYS_OFF;
        assert_int_equal(decide(&settings, &parent), rows[i].sampled);
    }
    struct sonde_context forced; /* kept by will: th goes, rv stays */
    sonde_context_init(&forced);
    forced.span.trace_id[0] = forced.span.span_id[0] = 1;
    forced.span.decision = SONDE_DECISION_DEBUG;
    assert_true(sonde_tracestate_append(&forced, "ot=th:8;rv:00000000000000,a=1", 29));
    settings.sampler_parent_based = true;
    assert_true(decide(&settings, &forced));
    assert_int_equal(forced.tracestate_length, 24);
    assert_memory_equal(forced.tracestate, "ot=rv:00000000000000,a=1", 24);
}

static void datadog_origin_priority_and_tags_survive_a_hop(void **state) {
    (void)state;
    assert_int_equal(sonde_propagators_set("datadog,tracecontext"), 0);
    add("x-datadog-trace-id", "12379814468735227512");
    add("x-datadog-parent-id", "987");
    add("x-datadog-sampling-priority", "2");
    add("x-datadog-origin", "syn=thetics;~");
    add("x-datadog-tags", "_dd.p.tid=640cfd8d00000000,_dd.p.dm=-4,other=1,_dd.p.usr=a=b");
    hop();
    assert_string_equal(value_of("x-datadog-trace-id"), "12379814468735227512");
    assert_string_equal(value_of("x-datadog-sampling-priority"), "2");
    assert_string_equal(value_of("x-datadog-origin"), "syn=thetics__");
    assert_string_equal(value_of("x-datadog-tags"), "_dd.p.tid=640cfd8d00000000,_dd.p.dm=-4,_dd.p.usr=a=b");
    assert_string_equal(value_of("tracestate"), "dd=s:2;p:00000000000003db;o:syn~thetics__;t.dm:-4;t.usr:a~b");
    /* And from W3C alone, as Datadog's own libraries write it; the flag is newer than s. */
    list.count = list.text_used = 0;
    add("traceparent", "00-640cfd8d00000000abcdefab12345678-00000000000003db-00");
    add("tracestate", "dd=s:2;o:x;t.dm:-1,a=1");
    hop();
    assert_string_equal(value_of("x-datadog-sampling-priority"), "0");
    assert_string_equal(value_of("x-datadog-origin"), "x");
    assert_string_equal(value_of("tracestate"), "dd=s:2;o:x;t.dm:-1,a=1");
}

static void xray_lineage_survives_a_hop(void **state) {
    (void)state;
    assert_int_equal(sonde_propagators_set("xray"), 0);
    add("X-Amzn-Trace-Id", "Self=1-2;Root=1-8a3c60f7-d188f8fa79d48a391a778fa6;Parent=53995c3f42cd8ad8;Sampled=1;"
                           "Lineage=1:e65a2c4d:9");
    hop();
    const char *value = value_of("x-amzn-trace-id");
    assert_non_null(strstr(value, "Root=1-8a3c60f7-d188f8fa79d48a391a778fa6;Parent="));
    assert_non_null(strstr(value, ";Sampled=1;Lineage=1:e65a2c4d:9"));
    assert_null(strstr(value, "53995c3f42cd8ad8"));
}

static void xray_lambda_reads_its_variable_first(void **state) {
    (void)state;
    add("x-amzn-trace-id", "Root=1-8a3c60f7-d188f8fa79d48a391a778fa6;Parent=53995c3f42cd8ad8;Sampled=0");
    assert_int_equal(extract_as("xray-lambda", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.flags, 0);
    setenv("_X_AMZN_TRACE_ID", "Root=1-00000001-000000000000000000000001;Parent=0000000000000001;Sampled=1", 1);
    assert_int_equal(extract_as("xray-lambda", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.flags, SONDE_TRACE_FLAG_SAMPLED);
    add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    assert_int_equal(extract_as("tracecontext,xray-lambda", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.trace_id[0], 0x0a); /* one that is there already stays */
    unsetenv("_X_AMZN_TRACE_ID");
}

static void jaeger_debug_id_asks_for_a_debug_trace(void **state) {
    (void)state;
    add("jaeger-debug-id", "look");
    assert_int_equal(extract_as("jaeger", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_DEBUG);
    add("uber-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:0");
    assert_int_equal(extract_as("jaeger", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.decision, SONDE_DECISION_NONE);
}

static void jaeger_baggage_is_capped(void **state) {
    (void)state;
    static struct sonde_http_header many[80];
    static char more[80][16];
    for (int i = 0; i < 80; i++) {
        (void)snprintf(more[i], sizeof more[i], "Uberctx-K%d", i);
        many[i] = (struct sonde_http_header){sonde_text(more[i]), sonde_text("v%20w")};
    }
    list = (struct sonde_http_headers){.headers = many, .count = 80};
    assert_int_equal(extract_as("jaeger", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_BAGGAGE);
    struct sonde_baggage_entry entry;
    uint32_t at = 0, count = 0;
    while (sonde_baggage_next(&back, &at, &entry))
        count++;
    assert_int_equal(count, SONDE_BAGGAGE_ENTRIES_MAX);
    assert_true(sonde_baggage_find(&back, sonde_text("k7"), &entry)); /* lower case, as HTTP/2 has it */
}

/* ---- several formats ---- */

static void same_ids_in_two_formats_keep_what_one_alone_can_say(void **state) {
    (void)state;
    add("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-03");
    add("tracestate", "a=1");
    add("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d");
    for (int order = 0; order < 2; order++) {
        assert_int_equal(extract_as(order ? "b3,tracecontext" : "tracecontext,b3", SONDE_ENTRY_TRUST, NULL),
                         SONDE_EXTRACT_OK);
        assert_int_equal(back.span.flags, 3);
        assert_int_equal(back.tracestate_length, 3);
        assert_int_equal(back.span.decision, SONDE_DECISION_DEBUG);
    }
    add("b3", "1"); /* ignored: the first b3 counts */
    headers[2].value = sonde_text("90f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
    assert_int_equal(extract_as("tracecontext,b3", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.trace_id[0], 0x90);
    assert_int_equal(back.tracestate_length, 0); /* another context's */
}

static void reasons_tell_the_most_that_is_known(void **state) {
    (void)state;
    const char *all = "tracecontext,baggage,b3";
    assert_int_equal(extract_as(all, SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_ABSENT);
    add("baggage", "k=v,bad");
    assert_int_equal(extract_as(all, SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_BAGGAGE_PART);
    headers[0].value = sonde_text("k=v");
    assert_int_equal(extract_as(all, SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_BAGGAGE);
    add("traceparent", "junk");
    assert_int_equal(extract_as(all, SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_VERSION);
    add("b3", "0");
    assert_int_equal(extract_as(all, SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_DENY);
    assert_int_equal(back.baggage_length, 3);
    headers[1].value = sonde_text("00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01");
    assert_int_equal(extract_as(all, SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.flags, 1); /* a decision without ids does not touch a context with them */
}

static void entry_mode_says_what_a_peer_is_worth(void **state) {
    (void)state;
    struct sonde_context link;
    add("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01");
    add("tracestate", "a=1");
    add("baggage", "k=v");
    add("b3", "d");
    assert_int_equal(extract_as("tracecontext,baggage", SONDE_ENTRY_TRUST, &link), SONDE_EXTRACT_OK);
    assert_true(sonde_span_context_is_valid(&back.span));
    assert_int_equal(back.baggage_length, 3);
    assert_false(sonde_span_context_is_valid(&link.span));
    assert_int_equal(extract_as("tracecontext,baggage", SONDE_ENTRY_LINK, &link), SONDE_EXTRACT_OK);
    assert_false(sonde_span_context_is_valid(&back.span));
    assert_int_equal(back.baggage_length + back.tracestate_length, 0);
    assert_true(sonde_span_context_is_valid(&link.span));
    assert_int_equal(link.tracestate_length, 3);
    assert_int_equal(link.baggage_length, 0);
    assert_int_equal(extract_as("b3", SONDE_ENTRY_LINK, &link), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_NONE); /* no debug from outside */
    assert_int_equal(extract_as(NULL, SONDE_ENTRY_IGNORE, &link), SONDE_EXTRACT_IGNORED);
    assert_false(sonde_span_context_is_valid(&back.span));
    assert_false(sonde_span_context_is_valid(&link.span));
    assert_int_equal(sonde_extract_with(&carrier, NULL, &back), SONDE_EXTRACT_OK);
}

static enum sonde_extract_reason extract_believing(const char *propagators, enum sonde_entry entry,
                                                   struct sonde_entry_budget *budget) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = propagators;
    options.entry = entry;
    options.budget = budget;
    return sonde_extract_with(&carrier, &options, &back);
}

static void entry_mode_resample_takes_the_ids_and_decides_anew(void **state) {
    (void)state;
    add("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-03");
    add("tracestate", "a=1");
    add("b3", "d");
    for (int sampled = 0; sampled < 2; sampled++) {
        headers[0].value = sonde_text(sampled ? "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-03"
                                              : "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-02");
        assert_int_equal(extract_believing("tracecontext", SONDE_ENTRY_RESAMPLE, NULL), SONDE_EXTRACT_OK);
        assert_int_equal(back.span.trace_id[0], 0x80);
        assert_int_equal(back.span.flags, SONDE_TRACE_FLAG_RANDOM);
        assert_int_equal(back.span.decision, SONDE_DECISION_DEFER);
        assert_int_equal(back.tracestate_length, 3);
    }
    assert_int_equal(extract_believing("b3", SONDE_ENTRY_RESAMPLE, NULL), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_NONE);
}

static void entry_budget_bounds_what_peers_can_have_kept(void **state) {
    struct sonde_entry_budget none = {{0}}, few;
    (void)state;
    assert_int_equal(sonde_entry_budget_init(&few, 0.0001, 3), 0); /* three now, the next in hours */
    add("traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00");
    for (int i = 0; i < 10; i++) { /* what does not ask takes nothing */
        assert_int_equal(extract_believing("tracecontext", SONDE_ENTRY_TRUST, &few), SONDE_EXTRACT_OK);
        assert_int_equal(back.span.decision, SONDE_DECISION_NONE);
    }
    headers[0].value = sonde_text("00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01");
    add("b3", "d");
    for (int i = 0; i < 6; i++) {
        assert_int_equal(extract_believing("tracecontext", SONDE_ENTRY_TRUST, &few), SONDE_EXTRACT_OK);
        assert_int_equal(back.span.flags, i < 3 ? SONDE_TRACE_FLAG_SAMPLED : 0);
        assert_int_equal(back.span.decision, i < 3 ? SONDE_DECISION_NONE : SONDE_DECISION_DEFER);
        assert_int_equal(back.span.trace_id[0], 0x80);
    }
    assert_int_equal(extract_believing("b3", SONDE_ENTRY_TRUST, &few), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_NONE); /* nor a debug trace */
    assert_int_equal(extract_believing("b3", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_DEBUG);
    assert_int_equal(extract_believing("tracecontext", SONDE_ENTRY_TRUST, &none), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.decision, SONDE_DECISION_DEFER);
    assert_int_equal(sonde_entry_budget_init(&few, -1, 0), SONDE_EINVALID);
    assert_int_equal(extract_believing("tracecontext", SONDE_ENTRY_TRUST, &few), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.decision, SONDE_DECISION_DEFER);
    assert_int_equal(sonde_entry_budget_init(&few, 0, 0), 0);
}

static void xray_root_without_a_parent_is_noted_and_no_parent(void **state) {
    (void)state;
    add("x-amzn-trace-id", "Self=1-2-3;Root=1-8a3c60f7-d188f8fa79d48a391a778fa6");
    assert_int_equal(extract_as("xray", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_FIELDS);
    assert_false(sonde_span_context_is_valid(&back.span));
    assert_int_equal(back.span.trace_id[0], 0x8a);
    assert_int_equal(back.span.trace_id[15], 0xa6);
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span;
    options.parent = &back;
    sonde_span_start(&span, SONDE_NAME("root"), &options);
    assert_memory_not_equal(span.context.trace_id, back.span.trace_id, 16); /* a trace of its own */
    sonde_span_end(&span);
    add("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
    for (int order = 0; order < 2; order++) {
        assert_int_equal(extract_as(order ? "xray,b3" : "b3,xray", SONDE_ENTRY_TRUST, NULL), SONDE_EXTRACT_OK);
        assert_int_equal(back.span.trace_id[0], 0x80);
    }
    static const char *const bad[] = {"Root=1-8a3c60f7-d188f8fa79d48a391a778fa",
                                      "Root=2-8a3c60f7-d188f8fa79d48a391a778fa6",
                                      "Root=1-00000000-000000000000000000000000", "junk", "Parent=53995c3f42cd8ad8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        static const uint8_t zero[16];
        headers[0].value = sonde_text(bad[i]);
        assert_true(extract_as("xray", SONDE_ENTRY_TRUST, NULL) != SONDE_EXTRACT_OK);
        assert_memory_equal(back.span.trace_id, zero, 16);
    }
}

static void clear_takes_out_what_inject_puts_in(void **state) {
    (void)state;
    char all[256] = "tracecontext,baggage,b3,b3multi,jaeger,xray,gcloud,datadog,ottrace,grpc-trace-bin";
    assert_int_equal(sonde_propagators_set(all), 0);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), sonde_text("v"), sonde_text("")), 0);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("l"), sonde_text("v"), sonde_text("")), 0);
    add("content-type", "text/plain");
    assert_int_equal(sonde_inject(&context, &carrier), 0);
    assert_true(list.count > 18);
    sonde_propagation_clear(&carrier);
    assert_int_equal(list.count, 1);
}

/* Callers look at errno after calls of their own; propagation in between must not touch it. */
static void errno_stays_whatever_comes_in(void **state) {
    (void)state;
    static const char *const all = "tracecontext,baggage,b3,b3multi,jaeger,xray,gcloud,datadog,ottrace,grpc-trace-bin";
    static const char *const names[] = {"traceparent",
                                        "tracestate",
                                        "baggage",
                                        "b3",
                                        "x-b3-traceid",
                                        "x-b3-spanid",
                                        "uber-trace-id",
                                        "uberctx-k",
                                        "x-amzn-trace-id",
                                        "grpc-trace-bin",
                                        "x-cloud-trace-context",
                                        "x-datadog-trace-id",
                                        "ot-tracer-traceid",
                                        "x-datadog-parent-id",
                                        "ot-tracer-spanid"};
    static const char *const values[] = {"", "99999999999999999999999", "-1", "%zz", "0x1", " ", "a=1;b", "1/2;o=9"};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        list.count = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            add(names[i], values[v]);
        errno = ENOTTY;
        (void)extract_as(all, SONDE_ENTRY_TRUST, NULL);
        (void)sonde_inject_as(all, &context, &carrier);
        assert_int_equal(errno, ENOTTY);
    }
}

/* Other SDKs write X-B3-TraceId, X-Amzn-Trace-Id, X-Cloud-Trace-Context: other names, where names have case. */
static void check_canonical(const char *format, const struct sonde_pair *before, size_t count,
                            enum sonde_decision decision) {
    struct sonde_pair pairs[16];
    struct sonde_pairs message = {pairs, count, 16, text, sizeof text, 0};
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    carrier = sonde_kafka_carrier(&message);
    memcpy(pairs, before, count * sizeof *before);
    options.propagators = format;
    assert_int_equal(sonde_extract_with(&carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.trace_id, "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36", 16);
    assert_int_equal(back.span.flags, SONDE_TRACE_FLAG_SAMPLED);
    assert_int_equal(back.span.decision, decision);
    assert_int_equal(sonde_inject_as(format, &context, &carrier), 0); /* sent on: what is left is of this hop */
    for (size_t i = 0; i < message.count; i++)
        assert_int_not_equal(pairs[i].name.data[0], 'X');
    assert_int_equal(sonde_extract_with(&carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_memory_equal(back.span.span_id, context.span.span_id, 8);
    memcpy(pairs, before, count * sizeof *before);
    message.count = count;
    assert_int_equal(sonde_propagators_set(format), 0);
    sonde_propagation_clear(&carrier);
    assert_int_equal(message.count, 0);
}

static void canonical_spellings_are_found_where_names_have_case(void **state) {
    (void)state;
#define PAIR(name, value)                                                                                              \
    {                                                                                                                  \
        {name, sizeof(name) - 1}, {                                                                                    \
            value, sizeof(value) - 1                                                                                   \
        }                                                                                                              \
    }
    static const struct sonde_pair debug[] = {PAIR("X-B3-SpanId", "00f067aa0ba902b7"), PAIR("X-B3-Flags", "1"),
                                              PAIR("X-B3-TraceId", "4bf92f3577b34da6a3ce929d0e0e4736")};
    static const struct sonde_pair accept[] = {PAIR("X-B3-TraceId", "4bf92f3577b34da6a3ce929d0e0e4736"),
                                               PAIR("X-B3-SpanId", "00f067aa0ba902b7"), PAIR("X-B3-Sampled", "1"),
                                               PAIR("X-B3-ParentSpanId", "0000000000000001")};
    static const struct sonde_pair xray[] = {
        PAIR("X-Amzn-Trace-Id", "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1")};
    static const struct sonde_pair gcloud[] = {
        PAIR("X-Cloud-Trace-Context", "4bf92f3577b34da6a3ce929d0e0e4736/67667974448284343;o=1")};
    check_canonical("b3multi", debug, 3, SONDE_DECISION_DEBUG);
    check_canonical("b3multi", accept, 4, SONDE_DECISION_ACCEPT);
    check_canonical("xray", xray, 1, SONDE_DECISION_NONE);
    check_canonical("gcloud", gcloud, 1, SONDE_DECISION_NONE);
#undef PAIR
}

/* What this library writes itself goes first, and a lone canonical decision counts. */
static void canonical_spellings_are_the_second_choice(void **state) {
    (void)state;
    struct sonde_pair pairs[8];
    struct sonde_pairs message = {pairs, 0, 8, text, sizeof text, 0};
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    carrier = sonde_kafka_carrier(&message);
    options.propagators = "b3";
    pairs[0] = (struct sonde_pair){sonde_text("X-B3-Sampled"), sonde_text("0")};
    message.count = 1;
    assert_int_equal(sonde_extract_with(&carrier, &options, &back), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_DENY);
    pairs[1] = (struct sonde_pair){sonde_text("b3"), sonde_text("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")};
    message.count = 2;
    assert_int_equal(sonde_extract_with(&carrier, &options, &back), SONDE_EXTRACT_OK);
    assert_int_equal(back.span.flags, SONDE_TRACE_FLAG_SAMPLED);
    pairs[1] = (struct sonde_pair){sonde_text("x-b3-sampled"), sonde_text("1")};
    assert_int_equal(sonde_extract_with(&carrier, &options, &back), SONDE_EXTRACT_DECISION);
    assert_int_equal(back.span.decision, SONDE_DECISION_ACCEPT);
}

/* A carrier that is no array, and one with more values than are gathered, give the same. */
static void carriers_that_are_asked_name_by_name_give_the_same(void **state) {
    (void)state;
    struct sonde_carrier_ops slow = *carrier.ops;
    slow.array = NULL;
    for (int round = 0; round < 2; round++) {
        list.count = 0;
        for (int i = 0; i < (round ? 40 : 1); i++)
            add("tracestate", "");
        add("Traceparent", "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01");
        add("tracestate", "a=1");
        add("tracestate", "b=2");
        add("baggage", "k=v");
        add("baggage", "l=w");
        for (int i = 0; i < 2; i++) {
            struct sonde_carrier asked = {i ? &slow : carrier.ops, carrier.self};
            assert_int_equal(sonde_extract(&asked, &back), SONDE_EXTRACT_OK);
            assert_int_equal(back.tracestate_length, 7);
            assert_int_equal(back.baggage_length, 7);
        }
    }
}

/* ---- base64 of a trace context, digit by digit ---- */

static enum sonde_extract_reason read_slowly(const char *value, size_t size, struct sonde_span_context *ret_span) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[64];
    size_t count = 0;
    unsigned word = 0, bits = 0;
    if (memchr(value, ',', size))
        return SONDE_EXTRACT_DUPLICATE;
    if (size % 4 == 0 && value[size - 1] == '=')
        size -= value[size - 2] == '=' ? 2 : 1;
    for (size_t i = 0; i < size; i++) {
        const char *digit = memchr(alphabet, value[i], 64);
        if (!digit)
            return SONDE_EXTRACT_ENCODING;
        word = word << 6 | (unsigned)(digit - alphabet);
        if ((bits += 6) >= 8)
            bytes[count++] = (uint8_t)(word >> (bits -= 8));
    }
    return size % 4 == 1 ? SONDE_EXTRACT_ENCODING : sonde__grpc_bin_read(bytes, count, ret_span);
}

static void grpc_trace_bin_is_read_as_digit_by_digit(void **state) {
    (void)state;
    srand(11);
    for (int round = 0; round < 60000; round++) {
        char value[SONDE__GRPC_TEXT_SIZE + 1];
        struct sonde_span_context fast, slow;
        for (int i = 0; i < 16; i++)
            context.span.trace_id[i] = (uint8_t)rand();
        context.span.span_id[round % 8] = (uint8_t)rand();
        context.span.flags = round & 1;
        size_t size = sonde__grpc_text_write(&context.span, value);
        assert_int_equal(size, SONDE__GRPC_TEXT_SIZE);
        value[size] = '=';
        size += round % 2;
        for (int change = rand() % 3; change > 0; change--)
            value[(size_t)rand() % size] = (char)rand();
        memset(&fast, 0, sizeof fast);
        memset(&slow, 0, sizeof slow);
        assert_int_equal(sonde__grpc_text_read(value, size, &fast), read_slowly(value, size, &slow));
        assert_memory_equal(&fast, &slow, sizeof fast);
    }
}

/* ---- the look through an array against a search per name ---- */

static void assert_same_values(const struct sonde_carrier *once, const struct sonde_carrier *asked) {
    struct sonde__source a, b;
    struct sonde_string value_a, value_b;
    sonde__source_init(&a, once, (1u << SONDE__FIELD_COUNT) - 1);
    sonde__source_init(&b, asked, (1u << SONDE__FIELD_COUNT) - 1);
    assert_int_equal(b.gathered, 0);
    for (int i = 0; i < SONDE__FIELD_COUNT; i++) {
        enum sonde__field field = (enum sonde__field)i;
        bool found = sonde__source_get(&a, field, &value_a);
        assert_int_equal(found, sonde__source_get(&b, field, &value_b));
        if (found) {
            assert_int_equal(value_a.size, value_b.size);
            assert_memory_equal(value_a.data, value_b.data, value_a.size);
        }
    }
}

/* Names as they are, in other cases, and with a byte changed, added or cut off. */
static void headers_looked_through_once_are_those_found_by_name(void **state) {
    (void)state;
    static const char changes[] = "abtx-_@`0123=ABTXM\r\x0d\x10\x80";
    struct sonde_carrier_ops slow = *carrier.ops;
    struct sonde_carrier asked = {&slow, carrier.self};
    char names[8][40];
    slow.array = NULL;
    srand(3);
    for (int round = 0; round < 20000; round++) {
        list.count = 0;
        for (int i = 0, count = rand() % 8; i < count; i++) {
            struct sonde_string name = sonde__field_names[rand() % SONDE__FIELD_COUNT];
            memcpy(names[i], name.data, name.size);
            for (size_t k = 0; k < name.size && round % 2; k++)
                names[i][k] = (char)(rand() % 2 ? toupper(names[i][k]) : names[i][k]);
            if (rand() % 3 == 0)
                names[i][(size_t)rand() % name.size] = changes[(size_t)rand() % (sizeof changes - 1)];
            if (rand() % 8 == 0)
                name.size -= (size_t)rand() % (name.size + 1);
            headers[list.count++] = (struct sonde_http_header){{names[i], name.size}, {&"\t 0 1 2 3 "[i], 2}};
        }
        assert_same_values(&carrier, &asked);
    }
}

static void every_name_is_found_in_one_look(void **state) {
    (void)state;
    struct sonde__source source;
    struct sonde_string value;
    for (int i = 0; i < SONDE__FIELD_COUNT; i++) {
        headers[0] = (struct sonde_http_header){sonde__field_names[i], {" x", 2}};
        list.count = 1;
        sonde__source_init(&source, &carrier, SONDE__FIELD_BIT(i));
        assert_int_equal(source.gathered, SONDE__FIELD_BIT(i));
        assert_true(sonde__source_get(&source, (enum sonde__field)i, &value));
        assert_int_equal(value.size, 1);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(propagators_come_from_the_environment),
        CASE(every_name_is_found_in_one_look),
        CASE(grpc_trace_bin_is_read_as_digit_by_digit),
        CASE(headers_looked_through_once_are_those_found_by_name),
        CASE(propagators_are_set_by_name),
        CASE(propagators_are_listed_in_order),
        CASE(inject_leaves_the_carrier_alone_without_anything_to_say),
        CASE(inject_without_room_leaves_nothing_that_reads_as_another_context),
        CASE(b3_states_are_obeyed_and_debug_survives),
        CASE(decisions_survive_plain_forwarding),
        CASE(sampler_hears_a_decision_only_when_it_hears_parents),
        CASE(datadog_origin_priority_and_tags_survive_a_hop),
        CASE(xray_lineage_survives_a_hop),
        CASE(xray_lambda_reads_its_variable_first),
        CASE(jaeger_debug_id_asks_for_a_debug_trace),
        CASE(jaeger_baggage_is_capped),
        CASE(same_ids_in_two_formats_keep_what_one_alone_can_say),
        CASE(reasons_tell_the_most_that_is_known),
        CASE(entry_mode_says_what_a_peer_is_worth),
        CASE(entry_mode_resample_takes_the_ids_and_decides_anew),
        CASE(entry_budget_bounds_what_peers_can_have_kept),
        CASE(xray_root_without_a_parent_is_noted_and_no_parent),
        CASE(clear_takes_out_what_inject_puts_in),
        CASE(errno_stays_whatever_comes_in),
        CASE(carriers_that_are_asked_name_by_name_give_the_same),
        CASE(canonical_spellings_are_found_where_names_have_case),
        CASE(canonical_spellings_are_the_second_choice),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    setenv("OTEL_PROPAGATORS", "b3, nonsense ,tracecontext,b3", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
