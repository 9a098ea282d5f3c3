/* SPDX-License-Identifier: Apache-2.0 */
/* Every format into every other: out by the first, in again, out by the second, in again. What both can carry arrives,
 * to the byte; what one of them cannot say is gone, and nothing else comes in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sonde/carrier/http.h>
#include <sonde/sonde.h>

/* What a format carries beside 64 bits of the trace id, the span id and the sampled flag.
 * WIDE all 128 bits; RANDOM the flag; TRACESTATE the list; DEBUG, DEFER the decisions beside ids; ALONE decisions
 * without ids; ORIGIN Datadog's origin and tags; LINEAGE that of X-Ray; BAGGAGE names in lower case; CASED with case;
 * METADATA of entries. */
enum {
    WIDE = 1,
    RANDOM = 2,
    TRACESTATE = 4,
    DEBUG = 8,
    DEFER = 16,
    ALONE = 32,
    ORIGIN = 64,
    LINEAGE = 128,
    BAGGAGE = 256,
    CASED = 512,
    METADATA = 1024,
};

static const struct format {
    const char *name;
    unsigned carries;
} formats[] = {
    {"tracecontext,baggage", WIDE | RANDOM | TRACESTATE | ORIGIN | LINEAGE | BAGGAGE | CASED | METADATA},
    {"tracecontext", WIDE | RANDOM | TRACESTATE | ORIGIN},
    {"b3", WIDE | DEBUG | DEFER | ALONE},
    {"b3multi", WIDE | DEBUG | DEFER | ALONE},
    {"jaeger", WIDE | DEBUG | BAGGAGE},
    {"xray", WIDE | DEFER | LINEAGE},
    {"xray-lambda", WIDE | DEFER | LINEAGE},
    {"gcloud", WIDE | DEFER},
    {"datadog", WIDE | DEFER | ORIGIN},
    {"ottrace", DEFER | BAGGAGE},
    {"grpc-trace-bin", WIDE | RANDOM},
    {"b3,baggage", WIDE | DEBUG | DEFER | ALONE | LINEAGE | BAGGAGE | CASED | METADATA},
    /* All at once: what any of them can say arrives, but for the low half that the later ones agree on. */
    {"tracecontext,baggage,b3,jaeger,xray,gcloud,datadog",
     WIDE | RANDOM | TRACESTATE | ORIGIN | LINEAGE | BAGGAGE | CASED | METADATA | ALONE},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static struct sonde_http_header headers[64];
static char text[65536];
static struct sonde_http_headers list;
static struct sonde_carrier carrier;
static struct sonde_context context, middle, last;

static int setup(void **state) {
    (void)state;
    sonde_context_init(&context);
    memcpy(context.span.trace_id, "0123456789abcdef", 16);
    memcpy(context.span.span_id, "ABCDEFGH", 8);
    return 0;
}

static enum sonde_extract_reason pass(const struct format *format, const struct sonde_context *from,
                                      struct sonde_context *ret_to) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    list = (struct sonde_http_headers){headers, 0, sizeof headers / sizeof *headers, text, sizeof text, 0};
    carrier = sonde_http_carrier(&list);
    assert_int_equal(sonde_inject_as(format->name, from, &carrier), 0);
    options.propagators = format->name;
    return sonde_extract_with(&carrier, &options, ret_to);
}

static unsigned both_pass(const struct format *a, const struct format *b) {
    assert_int_equal(pass(a, &context, &middle), SONDE_EXTRACT_OK);
    assert_int_equal(pass(b, &middle, &last), SONDE_EXTRACT_OK);
    return a->carries & b->carries;
}

static void each_pair(void (*check)(const struct format *a, const struct format *b)) {
    for (int i = 0; i < FORMATS * FORMATS; i++)
        check(&formats[i / FORMATS], &formats[i % FORMATS]);
}

/* ---- ids and flags ---- */

static void check_ids(const struct format *a, const struct format *b) {
    static const uint8_t zero[8];
    for (int flags = 0; flags < 4; flags++) {
        context.span.flags = (uint8_t)flags;
        unsigned both = both_pass(a, b);
        assert_memory_equal(last.span.trace_id, both & WIDE ? context.span.trace_id : zero, 8);
        assert_memory_equal(last.span.trace_id + 8, context.span.trace_id + 8, 8);
        assert_memory_equal(last.span.span_id, context.span.span_id, 8);
        assert_int_equal(last.span.is_remote, 1);
        unsigned known = SONDE_TRACE_FLAG_SAMPLED | (both & RANDOM ? SONDE_TRACE_FLAG_RANDOM : 0);
        assert_int_equal(last.span.flags, context.span.flags & known);
    }
}
static void ids_and_flags_pass_between_every_two_formats(void **state) {
    (void)state;
    each_pair(check_ids);
}

/* Ids of 64 bits, and such with a half that is zero. */
static void check_short_ids(const struct format *a, const struct format *b) {
    memset(context.span.trace_id, 0, 8);
    (void)both_pass(a, b);
    assert_memory_equal(last.span.trace_id, context.span.trace_id, 16);
}
static void short_ids_pass_between_every_two_formats(void **state) {
    (void)state;
    each_pair(check_short_ids);
}

/* ---- decisions ---- */

static void check_decisions(const struct format *a, const struct format *b) {
    bool together = strchr(a->name, ',') || strchr(b->name, ',');
    context.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    context.span.decision = SONDE_DECISION_DEBUG;
    unsigned both = both_pass(a, b);
    assert_true(last.span.flags & SONDE_TRACE_FLAG_SAMPLED);
    if (both & DEBUG)
        assert_int_equal(last.span.decision, SONDE_DECISION_DEBUG);
    else if (!together) /* B3 says of a decision what its flag says */
        assert_true(last.span.decision == SONDE_DECISION_NONE || last.span.decision == SONDE_DECISION_ACCEPT);
    context.span.flags = 0;
    context.span.decision = SONDE_DECISION_DEFER;
    both = both_pass(a, b);
    assert_int_equal(last.span.flags & SONDE_TRACE_FLAG_SAMPLED, 0);
    if (both & DEFER)
        assert_int_equal(last.span.decision, SONDE_DECISION_DEFER);
    else if (!together)
        assert_true(last.span.decision == SONDE_DECISION_NONE || last.span.decision == SONDE_DECISION_DENY);
    context.span.decision = SONDE_DECISION_NONE;
    (void)both_pass(a, b);
    assert_true(last.span.decision != SONDE_DECISION_DEFER && last.span.decision != SONDE_DECISION_DEBUG);
}
static void decisions_pass_between_formats_that_know_them(void **state) {
    (void)state;
    each_pair(check_decisions);
}

static void check_decisions_alone(const struct format *a, const struct format *b) {
    static const enum sonde_decision decisions[] = {SONDE_DECISION_DENY, SONDE_DECISION_ACCEPT, SONDE_DECISION_DEBUG};
    for (size_t i = 0; i < sizeof decisions / sizeof *decisions; i++) {
        struct sonde_context alone;
        sonde_context_init(&alone);
        alone.span.decision = (uint8_t)decisions[i];
        (void)pass(a, &alone, &middle);
        enum sonde_extract_reason reason = pass(b, &middle, &last);
        assert_false(sonde_span_context_is_valid(&last.span));
        bool known = a->carries & b->carries & ALONE;
        assert_int_equal(reason, known ? SONDE_EXTRACT_DECISION : SONDE_EXTRACT_ABSENT);
        assert_int_equal(last.span.decision, known ? decisions[i] : SONDE_DECISION_NONE);
    }
}
static void decisions_without_ids_pass_between_formats_that_know_them(void **state) {
    (void)state;
    each_pair(check_decisions_alone);
}

/* ---- what travels beside ---- */

static void check_tracestate(const struct format *a, const struct format *b) {
    static const char member[] = "rojo=00f067aa0ba902b7,congo= t61rcWkgMzE";
    context.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    context.tracestate_length = 0;
    assert_true(sonde_tracestate_append(&context, member, sizeof member - 1));
    bool passes = both_pass(a, b) & TRACESTATE;
    assert_int_equal(last.tracestate_length, passes ? sizeof member - 1 : 0);
    assert_memory_equal(last.tracestate, member, last.tracestate_length);
}
static void tracestate_passes_where_both_formats_carry_it(void **state) {
    (void)state;
    each_pair(check_tracestate);
}

static void check_origin(const struct format *a, const struct format *b) {
    struct sonde_string value;
    context.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    context.tracestate_length = 0;
    assert_int_equal(sonde_tracestate_set(&context, "dd", 2, "s:2;o:rum;t.dm:-4", 17), 0);
    bool passes = both_pass(a, b) & ORIGIN, found = sonde_tracestate_get(&last, "dd", 2, &value);
    assert_int_equal(found, passes);
    if (passes) {
        assert_non_null(memmem(value.data, value.size, "s:2", 3));
        assert_non_null(memmem(value.data, value.size, "o:rum", 5));
        assert_non_null(memmem(value.data, value.size, "t.dm:-4", 7));
    }
}
static void priority_and_origin_pass_between_datadog_and_tracestate(void **state) {
    (void)state;
    each_pair(check_origin);
}

static void check_baggage(const struct format *a, const struct format *b) {
    struct sonde_baggage_entry entry;
    char value[64];
    size_t size = 0;
    sonde_baggage_clear(&context);
    context.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    assert_int_equal(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a b=%;,+"), sonde_text("ttl=3")), 0);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("Region"), sonde_text("eu"), sonde_text("")), 0);
    unsigned both = both_pass(a, b);
    assert_int_equal(sonde_baggage_find(&last, sonde_text("tenant"), &entry), (both & BAGGAGE) != 0);
    assert_int_equal(sonde_baggage_find(&last, sonde_text(both & CASED ? "Region" : "region"), &entry),
                     (both & BAGGAGE) != 0);
    if (!(both & BAGGAGE)) {
        assert_int_equal(last.baggage_length, 0);
        return;
    }
    assert_int_equal(sonde_baggage_get(&last, sonde_text("tenant"), value, sizeof value, &size), 0);
    assert_int_equal(size, 8);
    assert_memory_equal(value, "a b=%;,+", 8);
    assert_true(sonde_baggage_find(&last, sonde_text("tenant"), &entry));
    assert_int_equal(entry.metadata.size, both & METADATA ? 5 : 0);
}
static void baggage_passes_where_both_formats_carry_it(void **state) {
    (void)state;
    each_pair(check_baggage);
}

static void check_lineage(const struct format *a, const struct format *b) {
    struct sonde_baggage_entry entry;
    sonde_baggage_clear(&context);
    context.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    assert_int_equal(sonde_baggage_set(&context, sonde_text("Lineage"), sonde_text("1:e65a2c4d:9"), sonde_text("")), 0);
    bool passes = both_pass(a, b) & LINEAGE;
    bool found = sonde_baggage_find(&last, sonde_text("Lineage"), &entry);
    assert_int_equal(found, passes);
    if (found) {
        char value[32];
        size_t size;
        assert_int_equal(sonde_baggage_get(&last, sonde_text("Lineage"), value, sizeof value, &size), 0);
        assert_int_equal(size, 12);
        assert_memory_equal(value, "1:e65a2c4d:9", 12);
    }
}
static void lineage_passes_between_xray_and_baggage(void **state) {
    (void)state;
    each_pair(check_lineage);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(ids_and_flags_pass_between_every_two_formats),
        CASE(short_ids_pass_between_every_two_formats),
        CASE(decisions_pass_between_formats_that_know_them),
        CASE(decisions_without_ids_pass_between_formats_that_know_them),
        CASE(tracestate_passes_where_both_formats_carry_it),
        CASE(priority_and_origin_pass_between_datadog_and_tracestate),
        CASE(baggage_passes_where_both_formats_carry_it),
        CASE(lineage_passes_between_xray_and_baggage),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
