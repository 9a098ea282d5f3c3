/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent against a slow reference written from the grammar: every byte value at every position, every length, both
 * ways of doing hex. The portable way is compiled into this file under other names, so that one program holds both. */
#include <sonde/propagation.h>

bool portable_write(const struct sonde_span_context *context, char ret_text[SONDE_TRACEPARENT_SIZE]);
enum sonde_extract_reason portable_read(const char *text, size_t size, struct sonde_span_context *ret_context);
#ifndef SONDE_NO_SIMD
#define SONDE_NO_SIMD
#endif
#define sonde_traceparent_write portable_write
#define sonde_traceparent_read  portable_read
#include "instrumentation/propagation/traceparent.c"
#undef sonde_traceparent_write
#undef sonde_traceparent_read

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static bool reference_hex(const char *text, size_t size, uint8_t *ret_bytes) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        ret_bytes[i / 2] = (uint8_t)(i % 2 ? ret_bytes[i / 2] | (digit - digits) : (digit - digits) << 4);
    }
    return true;
}

/** The grammar, word by word. */
static bool reference_read(const char *text, size_t size, struct sonde_span_context *ret_context) {
    while (size && strchr(" \t", text[0]) && text[0])
        text++, size--;
    while (size && strchr(" \t", text[size - 1]) && text[size - 1])
        size--;
    uint8_t version, flags, zero[16] = {0};
    struct sonde_span_context found = {.is_remote = 1};
    if (size < 55 || !reference_hex(text, 2, &version) || version == 0xff)
        return false;
    if (version == 0 ? size != 55 : size > 55 && text[55] != '-')
        return false;
    if (text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    if (!reference_hex(text + 3, 32, found.trace_id) || !reference_hex(text + 36, 16, found.span_id) ||
        !reference_hex(text + 53, 2, &flags))
        return false;
    if (memcmp(found.trace_id, zero, 16) == 0 || memcmp(found.span_id, zero, 8) == 0)
        return false;
    found.flags = flags & 3;
    *ret_context = found;
    return true;
}

/** Both implementations and the reference agree on this text; it stands in memory of its exact size. */
static void check(const char *text, size_t size) {
    char *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, text, size);
    struct sonde_span_context want, simd, plain, untouched;
    memset(&want, 0x5a, sizeof want);
    simd = plain = untouched = want;
    bool ok = reference_read(exact, size, &want);
    enum sonde_extract_reason reason = sonde_traceparent_read(exact, size, &simd);
    if ((reason == SONDE_EXTRACT_OK) != ok)
        fail_msg("\"%.*s\" (%zu bytes): %s expected, reason %d", (int)size, text, size, ok ? "good" : "bad",
                 (int)reason);
    assert_int_equal(reason, portable_read(exact, size, &plain));
    assert_memory_equal(&simd, ok ? &want : &untouched, sizeof want);
    assert_memory_equal(&plain, &simd, sizeof plain);
    free(exact);
}

static void traceparent_agrees_with_the_grammar_for_every_byte_at_every_position(void **state) {
    (void)state;
    static const char *const texts[] = {good, "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-next",
                                        "00-00000000000000000000000000000001-8000000000000000-00",
                                        "00-01000000000000000000000000000000-0000000000000001-03"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        char text[64];
        size_t size = strlen(texts[t]);
        for (size_t at = 0; at < size; at++)
            for (int byte = 0; byte < 256; byte++) {
                memcpy(text, texts[t], size);
                text[at] = (char)byte;
                check(text, size);
            }
    }
}

static void traceparent_agrees_with_the_grammar_for_every_length(void **state) {
    (void)state;
    for (int version = 0; version < 256; version++) {
        char text[80];
        (void)snprintf(text, sizeof text, "%02x%s-%s", (unsigned)version, good + 2, "0123456789");
        for (size_t size = 0; size <= strlen(text); size++)
            check(text, size);
    }
}

static void traceparent_agrees_with_the_grammar_for_random_digits(void **state) {
    (void)state;
    static const char likely[] = "0123456789abcdefABCDEFg/:`@-_ \t\n";
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[58];
        memcpy(text, good, 55);
        memcpy(text + 55, "-x", 2);
        for (int change = 0; change < 3; change++) {
            seed = seed * 1664525u + 1013904223u;
            text[(seed >> 8) % 57] = likely[(seed >> 16) % (sizeof likely - 1)];
        }
        check(text, 55 + (seed >> 30) % 3);
    }
}

static void traceparent_trims_white_space(void **state) {
    (void)state;
    char text[128];
    for (int before = 0; before < 4; before++)
        for (int after = 0; after < 4; after++) {
            int size = snprintf(text, sizeof text, "%.*s%s%.*s", before, " \t ", good, after, "\t \t");
            check(text, (size_t)size);
        }
}

static void traceparent_read_names_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum sonde_extract_reason reason;
    } cases[] = {
        {"", SONDE_EXTRACT_VERSION},
        {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", SONDE_EXTRACT_VERSION},
        {"0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", SONDE_EXTRACT_VERSION},
        {"00-0af7651916cd43dd-b7ad6b7169203331-01", SONDE_EXTRACT_LENGTH},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", SONDE_EXTRACT_LENGTH},
        {"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01", SONDE_EXTRACT_DELIMITER},
        {"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", SONDE_EXTRACT_HEX},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x", SONDE_EXTRACT_HEX},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", SONDE_EXTRACT_ZERO_ID},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", SONDE_EXTRACT_ZERO_ID},
    };
    struct sonde_span_context context;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(sonde_traceparent_read(cases[i].text, strlen(cases[i].text), &context), cases[i].reason);
}

static void traceparent_read_is_bounded_on_a_megabyte_of_space(void **state) {
    (void)state;
    size_t size = 1u << 20;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, ' ', size);
    struct sonde_span_context context;
    assert_int_equal(sonde_traceparent_read(text, size, &context), SONDE_EXTRACT_VERSION);
    memcpy(text, good, 55);
    assert_int_equal(sonde_traceparent_read(text, size, &context), SONDE_EXTRACT_LENGTH);
    free(text);
}

static void traceparent_comes_back_as_it_was_written(void **state) {
    (void)state;
    for (int i = 0; i < 24 * 256; i++) {
        struct sonde_span_context context = {.flags = (uint8_t)i}, back;
        memset(context.trace_id, 0x11 + i % 7, 16);
        memset(context.span_id, 0xe0 + i % 5, 8);
        uint8_t *byte = i / 256 < 16 ? &context.trace_id[i / 256] : &context.span_id[i / 256 - 16];
        *byte = (uint8_t)i;
        char text[SONDE_TRACEPARENT_SIZE], plain[SONDE_TRACEPARENT_SIZE], want[SONDE_TRACEPARENT_SIZE + 1] = "00-";
        for (int b = 0; b < 16; b++)
            (void)snprintf(want + 3 + 2 * b, 3, "%02x", context.trace_id[b]);
        want[35] = '-';
        for (int b = 0; b < 8; b++)
            (void)snprintf(want + 36 + 2 * b, 3, "%02x", context.span_id[b]);
        (void)snprintf(want + 52, 4, "-%02x", context.flags & 3u);
        assert_true(sonde_traceparent_write(&context, text));
        assert_true(portable_write(&context, plain));
        assert_memory_equal(text, want, sizeof text);
        assert_memory_equal(plain, want, sizeof text);
        assert_int_equal(sonde_traceparent_read(text, sizeof text, &back), SONDE_EXTRACT_OK);
        context.flags &= 3;
        context.is_remote = 1;
        assert_memory_equal(&back, &context, sizeof back);
    }
}

static void traceparent_is_not_written_when_an_id_is_zero(void **state) {
    (void)state;
    char text[SONDE_TRACEPARENT_SIZE];
    memset(text, 'x', sizeof text);
    struct sonde_span_context no_trace = {.span_id = {[7] = 1}}, no_span = {.trace_id = {[15] = 1}};
    assert_false(sonde_traceparent_write(&no_trace, text));
    assert_false(sonde_traceparent_write(&no_span, text));
    assert_false(portable_write(&no_span, text));
    assert_int_equal(text[0], 'x');
    no_trace.trace_id[0] = 0x80;
    assert_true(sonde_traceparent_write(&no_trace, text));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparent_agrees_with_the_grammar_for_every_byte_at_every_position),
        cmocka_unit_test(traceparent_agrees_with_the_grammar_for_every_length),
        cmocka_unit_test(traceparent_agrees_with_the_grammar_for_random_digits),
        cmocka_unit_test(traceparent_trims_white_space),
        cmocka_unit_test(traceparent_read_names_the_reason),
        cmocka_unit_test(traceparent_read_is_bounded_on_a_megabyte_of_space),
        cmocka_unit_test(traceparent_comes_back_as_it_was_written),
        cmocka_unit_test(traceparent_is_not_written_when_an_id_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
