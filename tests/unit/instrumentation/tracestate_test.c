/* SPDX-License-Identifier: Apache-2.0 */
/* tracestate: reading by several values, shortening, editing. The grammar's rows are in tests/vectors/w3c.tsv. */
#include "instrumentation/propagation/tracestate.h"
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sonde_context context;

static int setup(void **state) {
    (void)state;
    memset(&context, 0, sizeof context);
    memset(context.tracestate, '#', sizeof context.tracestate); /* undefined bytes must not matter */
    return 0;
}

static bool append(const char *text) {
    return sonde_tracestate_append(&context, text, strlen(text));
}

static void assert_list(const char *want) {
    assert_int_equal(context.tracestate_length, strlen(want));
    assert_memory_equal(context.tracestate, want, strlen(want));
}

/** "k=xx..x" of a given size, with a comma before it unless first. */
static size_t member(char *to, bool first, char key, size_t size) {
    size_t at = 0;
    if (!first)
        to[at++] = ',';
    to[at++] = key;
    to[at++] = '=';
    memset(to + at, 'x', size - 2);
    return at + size - 2;
}

static void tracestate_joins_values_in_order_and_keeps_the_first_of_a_key(void **state) {
    (void)state;
    assert_true(append("a=1, b=2 ,,"));
    assert_true(append(""));
    assert_true(append("\t c=3,a=9"));
    assert_list("a=1,b=2,c=3");
}

static void tracestate_is_dropped_by_one_bad_member(void **state) {
    (void)state;
    static const char *const bad[] = {"A=1",   "a",    "a=",   "=1",   "a=1=2", "a=\x7f",
                                      "a b=1", "a =1", "-a=1", "@a=1", "a=1;\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)setup(state);
        assert_true(append("ok=1"));
        assert_false(append(bad[i]));
        assert_int_equal(context.tracestate_length, 0);
    }
}

static void tracestate_counts_members_over_all_values(void **state) {
    (void)state;
    struct sonde__tracestate_reader reader;
    sonde__tracestate_reader_init(&reader, &context);
    for (int i = 0; i < 32; i++) { /* repeated keys count: the sender's list had 32 members */
        char text[16];
        int size = snprintf(text, sizeof text, "k%d=1", i % 20);
        assert_true(sonde__tracestate_reader_feed(&reader, text, (size_t)size));
    }
    assert_int_equal(reader.count, 20);
    assert_false(sonde__tracestate_reader_feed(&reader, "z=1", 3));
    assert_int_equal(context.tracestate_length, 0);
    assert_false(sonde__tracestate_reader_feed(&reader, "a=1", 3)); /* for good */
    assert_int_equal(context.tracestate_length, 0);
}

static void tracestate_stops_on_endless_white_space_and_empty_members(void **state) {
    (void)state;
    size_t size = 1u << 20;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, ',', size);
    assert_false(sonde_tracestate_append(&context, text, size));
    memset(text, ' ', size);
    assert_false(sonde_tracestate_append(&context, text, size));
    free(text);
    struct sonde__tracestate_reader reader;
    sonde__tracestate_reader_init(&reader, &context);
    size_t fed = 0;
    while (fed < 100000 && sonde__tracestate_reader_feed(&reader, "", 0))
        fed++;
    assert_true(fed < 100000);
}

/** What the rules of shortening give when applied once, to the whole list. */
static size_t reference_shorten(char keys[], size_t sizes[], size_t count, size_t size_max) {
    for (;;) {
        size_t total = 0, gone = count;
        for (size_t i = 0; i < count; i++)
            total += sizes[i] + (i > 0);
        if (total <= size_max || count == 0)
            return count;
        for (size_t i = 0; i < count; i++)
            if (sizes[i] > 128)
                gone = i;
        if (gone == count)
            gone = count - 1;
        memmove(keys + gone, keys + gone + 1, count - gone - 1);
        memmove(sizes + gone, sizes + gone + 1, (count - gone - 1) * sizeof *sizes);
        count--;
    }
}

static void tracestate_shortened_on_arrival_is_the_list_shortened_at_once(void **state) {
    uint32_t seed = 7;
    static const char names[] = "abcdefghijklmnopqrstuvwxyz012345";
    for (int round = 0; round < 3000; round++) {
        (void)setup(state);
        char keys[32], text[520], want[SONDE_TRACESTATE_SIZE_MAX + 1];
        size_t sizes[32], count = 1 + (seed >> 9) % 32;
        struct sonde__tracestate_reader reader;
        sonde__tracestate_reader_init(&reader, &context);
        for (size_t i = 0; i < count; i++) {
            seed = seed * 1664525u + 1013904223u;
            keys[i] = names[i];
            sizes[i] = 3 + (seed >> 10) % ((seed >> 28) < 10 ? 125 : 250);
            size_t size = member(text, true, keys[i], sizes[i]);
            assert_true(sonde__tracestate_reader_feed(&reader, text, size));
            assert_true(context.tracestate_length <= SONDE_TRACESTATE_SIZE_MAX);
        }
        count = reference_shorten(keys, sizes, count, SONDE_TRACESTATE_SIZE_MAX);
        size_t at = 0;
        for (size_t i = 0; i < count; i++)
            at += member(want + at, i == 0, keys[i], sizes[i]);
        assert_int_equal(context.tracestate_length, at);
        assert_memory_equal(context.tracestate, want, at);
        assert_int_equal(reader.count, count);
    }
}

static void tracestate_get_finds_a_value(void **state) {
    (void)state;
    struct sonde_string value;
    assert_true(append("a=1,bb= x y,c@d=3"));
    assert_true(sonde_tracestate_get(&context, "bb", 2, &value));
    assert_int_equal(value.size, 4);
    assert_memory_equal(value.data, " x y", 4);
    assert_true(sonde_tracestate_get(&context, "c@d", 3, &value));
    assert_false(sonde_tracestate_get(&context, "b", 1, &value));
    assert_false(sonde_tracestate_get(&context, "", 0, &value));
}

static void tracestate_set_moves_the_member_to_the_left(void **state) {
    (void)state;
    assert_int_equal(sonde_tracestate_set(&context, "b", 1, "1", 1), 0);
    assert_int_equal(sonde_tracestate_set(&context, "a", 1, "22", 2), 0);
    assert_list("a=22,b=1");
    assert_int_equal(sonde_tracestate_set(&context, "b", 1, "333", 3), 0);
    assert_list("b=333,a=22");
    struct sonde_string value; /* a value taken from the list itself */
    assert_true(sonde_tracestate_get(&context, "a", 1, &value));
    assert_int_equal(sonde_tracestate_set(&context, "c", 1, value.data, value.size), 0);
    assert_list("c=22,b=333,a=22");
    sonde_tracestate_remove(&context, "b", 1);
    assert_list("c=22,a=22");
    sonde_tracestate_remove(&context, "x", 1);
    sonde_tracestate_remove(&context, "c", 1);
    sonde_tracestate_remove(&context, "a", 1);
    assert_list("");
}

static void tracestate_set_changes_nothing_when_it_refuses(void **state) {
    (void)state;
    static const char *const keys[] = {"", "A", "1a", "a b", "@a", "a@", "a@1", "a@b@c", "a@abcdefghijklmno"};
    static const char *const values[] = {"", "a,b", "a=b", "a ", "\x80", "a\n"};
    assert_true(append("ok=1"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(sonde_tracestate_set(&context, keys[i], strlen(keys[i]), "1", 1), SONDE_EINVALID);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(sonde_tracestate_set(&context, "a", 1, values[i], strlen(values[i])), SONDE_EINVALID);
    assert_list("ok=1");
    assert_int_equal(sonde_tracestate_set(&context, "1a@b", 4, "1", 1), 0); /* a tenant may begin with a digit */
}

static void tracestate_set_makes_room_but_never_at_its_own_cost(void **state) {
    (void)state;
    char text[520], *longest = text;
    memset(longest, 'v', 256);
    for (char key = 'a'; key <= 'h'; key++)
        assert_int_equal(sonde_tracestate_set(&context, &key, 1, longest, 256), 0);
    assert_int_equal(context.tracestate_length, 3 * 258 + 2); /* h, g, f: what fits */
    assert_memory_equal(context.tracestate, "h=v", 3);
    char key[256];
    memset(key, 'k', sizeof key);
    assert_int_equal(sonde_tracestate_set(&context, key, sizeof key, longest, 256), 0);
    assert_memory_equal(context.tracestate, key, sizeof key);
    assert_true(context.tracestate_length <= SONDE_TRACESTATE_SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tracestate_joins_values_in_order_and_keeps_the_first_of_a_key, setup),
        cmocka_unit_test_setup(tracestate_is_dropped_by_one_bad_member, setup),
        cmocka_unit_test_setup(tracestate_counts_members_over_all_values, setup),
        cmocka_unit_test_setup(tracestate_stops_on_endless_white_space_and_empty_members, setup),
        cmocka_unit_test_setup(tracestate_shortened_on_arrival_is_the_list_shortened_at_once, setup),
        cmocka_unit_test_setup(tracestate_get_finds_a_value, setup),
        cmocka_unit_test_setup(tracestate_set_moves_the_member_to_the_left, setup),
        cmocka_unit_test_setup(tracestate_set_changes_nothing_when_it_refuses, setup),
        cmocka_unit_test_setup(tracestate_set_makes_room_but_never_at_its_own_cost, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
