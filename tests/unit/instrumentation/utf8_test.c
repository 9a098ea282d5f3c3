/* SPDX-License-Identifier: Apache-2.0 */
/* Source: The Unicode Standard 15, table 3-7 (well-formed sequences) and table 3-8 (replacement by maximal subparts).
 */
#include "instrumentation/wire/writer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Slow and obvious: decode by the bit patterns of table 3-6, then refuse what is not the shortest form of a scalar. */
static bool reference_is_valid(const uint8_t *s, size_t size) {
    for (size_t i = 0; i < size;) {
        unsigned more;
        uint32_t c;
        if (s[i] < 0x80)
            more = 0, c = s[i];
        else if (s[i] >> 5 == 6)
            more = 1, c = s[i] & 31;
        else if (s[i] >> 4 == 14)
            more = 2, c = s[i] & 15;
        else if (s[i] >> 3 == 30)
            more = 3, c = s[i] & 7;
        else
            return false;
        if (more > size - i - 1)
            return false;
        for (unsigned k = 1; k <= more; k++) {
            if (s[i + k] >> 6 != 2)
                return false;
            c = c << 6 | (s[i + k] & 63);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
            return false;
        i += more + 1;
    }
    return true;
}

static void utf8_is_valid_agrees_with_reference(void **state) {
    (void)state;
    uint8_t s[4];
    for (uint32_t pair = 0; pair < 0x10000; pair++) { /* every two bytes, alone and before two fixed ends */
        s[0] = (uint8_t)(pair >> 8), s[1] = (uint8_t)pair;
        assert_int_equal(sonde__utf8_is_valid(s, 2), reference_is_valid(s, 2));
        s[2] = 0x80, s[3] = 0xBF;
        assert_int_equal(sonde__utf8_is_valid(s, 3), reference_is_valid(s, 3));
        assert_int_equal(sonde__utf8_is_valid(s, 4), reference_is_valid(s, 4));
        s[3] = 'x';
        assert_int_equal(sonde__utf8_is_valid(s, 4), reference_is_valid(s, 4));
    }
}

static void utf8_is_valid_finds_a_bad_byte_at_any_distance(void **state) {
    (void)state;
    char *text = malloc(40);
    for (size_t size = 0; size <= 40; size++) {
        memset(text, 'a', 40);
        assert_true(sonde__utf8_is_valid(text, size));
        for (size_t at = 0; at < size; at++) {
            text[at] = (char)0xFF;
            assert_false(sonde__utf8_is_valid(text, size));
            text[at] = 'a';
        }
    }
    free(text);
}

static void utf8_repair_replaces_maximal_subparts(void **state) {
    (void)state;
#define R "\xEF\xBF\xBD"
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
        {"\xFF", R},
        {"a\x80\x80z", "a" R R "z"},
        {"\xE2\x82", R},                             /* cut character: one */
        {"\xF0\x9F\x98z", R "z"},                    /* cut character: one */
        {"\xC0\xAF", R R},                           /* overlong: byte by byte */
        {"\xED\xA0\x80", R R R},                     /* surrogate */
        {"\xF4\x91\x92\x93\xFF\x41", R R R R R "A"}, /* table 3-10 */
        {"a\xF1\x80\x80\xE1\x80\xC2"
         "b\x80"
         "c\x80\xBF"
         "d",
         "a" R R R "b" R "c" R R "d"}, /* table 3-8 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = strlen(rows[i].in), want = strlen(rows[i].out);
        uint8_t *out = malloc(want + 1);
        assert_int_equal(sonde__utf8_repaired_size(rows[i].in, size), want);
        sonde__utf8_repair(out, rows[i].in, size);
        assert_memory_equal(out, rows[i].out, want);
        assert_true(sonde__utf8_is_valid(out, want));
        free(out);
    }
}

static void utf8_cut_ends_at_a_character(void **state) {
    (void)state;
    const char *text = "a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80"; /* 1 + 2 + 3 + 4 bytes */
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t limit = 0; limit < sizeof want / sizeof *want; limit++)
        assert_int_equal(sonde__utf8_cut(text, 10, limit), want[limit]);
    static const size_t characters[] = {0, 1, 3, 6, 10, 10};
    for (size_t limit = 0; limit < sizeof characters / sizeof *characters; limit++)
        assert_int_equal(sonde__utf8_cut_characters(text, 10, limit), characters[limit]);
    assert_int_equal(sonde__utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5); /* no character to respect */
}

static void utf8_cut_repaired_counts_what_will_be_written(void **state) {
    (void)state;
    assert_int_equal(sonde__utf8_cut_repaired("\xFF\xFF\xFF", 3, 7), 2);
    assert_int_equal(sonde__utf8_cut_repaired("ab\xFF"
                                              "cd",
                                              5, 5),
                     3);
    assert_int_equal(sonde__utf8_cut_repaired("ab\xFF"
                                              "cd",
                                              5, 4),
                     2);
    assert_int_equal(sonde__utf8_cut_repaired("abc", 3, 100), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_valid_agrees_with_reference),
        cmocka_unit_test(utf8_is_valid_finds_a_bad_byte_at_any_distance),
        cmocka_unit_test(utf8_repair_replaces_maximal_subparts),
        cmocka_unit_test(utf8_cut_ends_at_a_character),
        cmocka_unit_test(utf8_cut_repaired_counts_what_will_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
