/* SPDX-License-Identifier: Apache-2.0 */
/* The threshold rule. Rows computed by the reference of the specification's text:
 * trace/tracestate-probability-sampling.md and trace/tracestate-handling.md. */
#include "instrumentation/trace/sampler.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t trace_id[16] = {0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6,
                                     0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}; /* R = ce929d0e0e4736 */

static struct sonde_context parent(uint8_t flags, const char *tracestate) {
    struct sonde_context context = {.span = {.flags = flags, .is_remote = 1, .span_id = {1}}};
    memcpy(context.span.trace_id, trace_id, 16);
    context.tracestate_length = (uint32_t)strlen(tracestate);
    memcpy(context.tracestate, tracestate, context.tracestate_length);
    return context;
}

static bool decide(const struct sonde__settings *settings, struct sonde_context *context) {
    struct sonde__sampling sampling = {.context = context};
    return sonde__sampler_decide(settings, &sampling);
}

static void threshold_has_the_digits_of_the_table(void **state) {
    (void)state;
    static const struct {
        double ratio;
        int precision;
        const char *th;
    } rows[] = {{1, 4, "0"},
                {0.75, 4, "4"},
                {0.25, 4, "c"},
                {0.2, 4, "cccd"},
                {0.1, 4, "e666"},
                {0.0625, 4, "f"},
                {0.05, 4, "f3333"},
                {0.01, 4, "fd70a"},
                {0.0001, 4, "fff9724"},
                {0.00001, 4, "ffff583a"},
                {0.000001, 4, "ffffef39"},
                {1.0 / 3, 3, "aab"},
                {1.0 / 3, 4, "aaab"},
                {1.0 / 3, 5, "aaaab"},
                {0.9, 4, "199a"},
                {0.99, 4, "028f"},
                {0.96875, 4, "08"},
                {0.999999, 4, "0"},
                {0.1, 5, "e6666"},
                {0.2, 3, "ccd"},
                {1.3877787807814457e-17, 4, "ffffffffffffff"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[15] = "";
        uint64_t threshold = sonde__sampler_threshold(rows[i].ratio, rows[i].precision);
        unsigned size = sonde__sampler_threshold_text(threshold, text);
        text[size] = 0;
        assert_string_equal(text, rows[i].th);
    }
    assert_true(sonde__sampler_threshold(0, 4) == SONDE__THRESHOLD_MAX);
    assert_true(sonde__sampler_threshold(-1, 4) == SONDE__THRESHOLD_MAX);
}

static void ot_member_is_read(void **state) {
    (void)state;
    static const struct {
        const char *tracestate;
        uint64_t randomness, threshold;
        bool has_th, bad_th, has_rv;
    } rows[] = {
        {"", 0xce929d0e0e4736, 0, false, false, false},
        {"ot=th:c", 0xce929d0e0e4736, 0xc0000000000000, true, false, false},
        {"ot=th:0", 0xce929d0e0e4736, 0, true, false, false},
        {"ot=rv:6e6d1a75832a2f;th:6e6d1a75832a2f", 0x6e6d1a75832a2f, 0x6e6d1a75832a2f, true, false, true},
        {"ot=rv:6e6d1a75832a2f", 0x6e6d1a75832a2f, 0, false, false, true},
        {"ot=p:8;r:62", 0xce929d0e0e4736, 0, false, false, false},
        {"ot=th:", 0xce929d0e0e4736, 0, false, true, false},
        {"ot=th:C", 0xce929d0e0e4736, 0, false, true, false},
        {"ot=th:123456789012345", 0xce929d0e0e4736, 0, false, true, false},
        {"ot=rv:6e6d1a75832a2", 0xce929d0e0e4736, 0, false, false, false},
        {"foo=1,ot=th:c;zz:A.b-_", 0xce929d0e0e4736, 0xc0000000000000, true, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde_context context = parent(1, rows[i].tracestate);
        struct sonde__ot ot;
        sonde__ot_read(&context, &ot);
        assert_true(ot.randomness == rows[i].randomness);
        assert_true(ot.threshold == rows[i].threshold);
        assert_int_equal(ot.has_th, rows[i].has_th);
        assert_int_equal(ot.bad_th, rows[i].bad_th);
        assert_int_equal(ot.has_rv, rows[i].has_rv);
    }
}

/* What a parent-based sampler hands on: never invented, never changed but to take a false th away. */
static void parent_based_follows_the_flag_and_erases_a_false_th(void **state) {
    (void)state;
    static const struct {
        uint8_t flags;
        const char *in, *out;
    } rows[] = {
        {1, "ot=th:c", "ot=th:c"},
        {1, "ot=th:e666", ""}, /* sampled, yet R below T */
        {0, "ot=th:e666", "ot=th:e666"},
        {0, "ot=th:c", ""}, /* the flag says no, R says yes */
        {1, "ot=rv:6e6d1a75832a2f;th:6e6d1a75832a2f", "ot=rv:6e6d1a75832a2f;th:6e6d1a75832a2f"},
        {1, "ot=rv:ffffffffffffff;th:fffffffffffffe", "ot=rv:ffffffffffffff;th:fffffffffffffe"},
        {0, "ot=rv:ffffffffffffff;th:fffffffffffffe", "ot=rv:ffffffffffffff"},
        {1, "ot=rv:6e6d1a75832a2f", "ot=rv:6e6d1a75832a2f"},
        {1, "ot=p:8;r:62", "ot=p:8;r:62"},
        {1, "ot=th:", ""},
        {1, "ot=th:C;rv:6e6d1a75832a2f", "ot=rv:6e6d1a75832a2f"},
        {1, "foo=1,ot=th:c;zz:A.b-_", "foo=1,ot=th:c;zz:A.b-_"},
        {0, "foo=1,ot=th:c;zz:A.b-_", "ot=zz:A.b-_,foo=1"}, /* a changed member goes to the left */
        {1, "foo=1", "foo=1"},
        {1, "", ""},
    };
    struct sonde__settings *settings = calloc(1, sizeof *settings);
    settings->sampler_parent_based = true;
    settings->sampler = SONDE__SAMPLER_ALWAYS_OFF; /* for roots only */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde_context context = parent(rows[i].flags, rows[i].in);
        assert_int_equal(decide(settings, &context), rows[i].flags & 1);
        assert_int_equal(context.tracestate_length, strlen(rows[i].out));
        assert_memory_equal(context.tracestate, rows[i].out, strlen(rows[i].out));
    }
    struct sonde_context root = parent(SONDE_TRACE_FLAG_RANDOM, "");
    memset(root.span.span_id, 0, 8);
    assert_false(decide(settings, &root));
    free(settings);
}

static void ratio_samples_by_the_threshold_and_says_so(void **state) {
    (void)state;
    static const struct {
        double ratio;
        const char *in;
        bool sampled;
        const char *out;
    } rows[] = {
        {1, "", true, "ot=th:0"},
        {0.5, "", true, "ot=th:8"},
        {0.25, "", true, "ot=th:c"},
        {0.2, "", true, "ot=th:cccd"},
        {0.1, "", false, ""},
        {0, "", false, ""},
        {0.25, "foo=1", true, "ot=th:c,foo=1"},
        {0.25, "ot=rv:00000000000000", false, "ot=rv:00000000000000"},
        {1, "ot=rv:00000000000000", true, "ot=th:0;rv:00000000000000"},
        {0.25, "foo=1,ot=th:8;zz:1", true, "ot=th:c;zz:1,foo=1"},
        {0.1, "ot=th:8", false, ""},
    };
    struct sonde__settings *settings = calloc(1, sizeof *settings);
    settings->sampler = SONDE__SAMPLER_RATIO;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde_context context = parent(0, rows[i].in);
        settings->sampler_ratio = rows[i].ratio;
        assert_int_equal(decide(settings, &context), rows[i].sampled);
        assert_int_equal(context.tracestate_length, strlen(rows[i].out));
        assert_memory_equal(context.tracestate, rows[i].out, strlen(rows[i].out));
    }
    free(settings);
}

/* Rows of "sample iff R >= T", T given as the digits themselves. */
static void randomness_equal_to_the_threshold_is_sampled(void **state) {
    (void)state;
    static const struct {
        const char *tracestate;
        bool sampled;
    } rows[] = {
        {"ot=th:8", true},
        {"ot=th:c", true},
        {"ot=th:cccd", true},
        {"ot=th:ce929d0e0e4736", true},
        {"ot=th:ce929d0e0e4737", false},
        {"ot=th:0", true},
        {"ot=rv:00000000000000;th:0", true},
        {"ot=rv:00000000000000;th:00000000000001", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde_context context = parent(1, rows[i].tracestate);
        struct sonde__ot ot;
        sonde__ot_read(&context, &ot);
        assert_true(ot.has_th);
        assert_int_equal(ot.randomness >= ot.threshold, rows[i].sampled);
    }
}

static void always_samplers_ignore_the_parent_unless_told(void **state) {
    (void)state;
    struct sonde__settings *settings = calloc(1, sizeof *settings);
    struct sonde_context context = parent(0, "foo=1");
    settings->sampler = SONDE__SAMPLER_ALWAYS_ON;
    assert_true(decide(settings, &context));
    context = parent(1, "foo=1,ot=th:8");
    settings->sampler = SONDE__SAMPLER_ALWAYS_OFF;
    assert_false(decide(settings, &context));
    assert_int_equal(context.tracestate_length, 5); /* th would be a lie now */
    free(settings);
}

/* Every trace that a small ratio keeps, a larger one keeps: the sets are nested, and of about the right size. */
static void ratios_keep_nested_sets(void **state) {
    (void)state;
    static const double ratios[] = {0.01, 0.1, 0.5, 0.9, 1};
    struct sonde__settings *settings = calloc(1, sizeof *settings);
    uint64_t seed = 1, kept[5] = {0};
    settings->sampler = SONDE__SAMPLER_RATIO;
    for (int i = 0; i < 20000; i++) {
        bool before = false;
        struct sonde_context context = parent(2, "");
        for (int k = 0; k < 2; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t bits = seed ^ (seed >> 29);
            memcpy(context.span.trace_id + 8 * k, &bits, 8);
        }
        for (int r = 0; r < 5; r++) {
            struct sonde_context copy = context;
            settings->sampler_ratio = ratios[r];
            bool sampled = decide(settings, &copy);
            assert_true(sampled || !before);
            kept[r] += before = sampled;
        }
    }
    for (int r = 0; r < 5; r++) { /* five sigma */
        double off = (double)kept[r] - 20000 * ratios[r];
        assert_true(off > -360 && off < 360);
    }
    free(settings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threshold_has_the_digits_of_the_table),
        cmocka_unit_test(ot_member_is_read),
        cmocka_unit_test(parent_based_follows_the_flag_and_erases_a_false_th),
        cmocka_unit_test(ratio_samples_by_the_threshold_and_says_so),
        cmocka_unit_test(randomness_equal_to_the_threshold_is_sampled),
        cmocka_unit_test(always_samplers_ignore_the_parent_unless_told),
        cmocka_unit_test(ratios_keep_nested_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
