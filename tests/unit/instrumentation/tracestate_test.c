/* SPDX-License-Identifier: Apache-2.0 */
/* tracestate: reading by several values, shortening, editing. The grammar's rows are in tests/vectors/w3c.tsv. */
#include "instrumentation/context/plain_list.h"
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

/* ---- the ways in one pass against reading member by member ---- */

typedef uint32_t plain(char *text, size_t size);

/** Reads one value member by member: an empty value before it takes the reader off the short way. */
static bool read_by_members(struct sonde_context *ret_context, const char *text, size_t size, uint32_t *ret_count) {
    struct sonde__tracestate_reader reader;
    sonde_context_init(ret_context);
    sonde__tracestate_reader_init(&reader, ret_context);
    bool good = sonde__tracestate_reader_feed(&reader, "", 0) && sonde__tracestate_reader_feed(&reader, text, size);
    assert_true(reader.is_listed);
    *ret_count = reader.count;
    return good;
}

/** A list as it is to be kept, or not. Returns the number of members when it is. */
static uint32_t kept_whole(const char *text, size_t size) {
    static struct sonde_context kept;
    uint32_t count;
    bool good = read_by_members(&kept, text, size, &count);
    return good && size && kept.tracestate_length == size && memcmp(kept.tracestate, text, size) == 0 ? count : 0;
}

static void assert_plain(plain *way, const char *text, size_t size, uint32_t want) {
    static char buffer[SONDE_TRACESTATE_SIZE_MAX + SONDE__PLAIN_PADDING];
    memset(buffer, '#', sizeof buffer);
    memcpy(buffer, text, size);
    uint32_t count = way(buffer, size);
    if (count != want && count)
        print_message("%.*s\n", (int)size, text);
    assert_true(count == want || count == 0); /* 0 is "ask the other way" */
    assert_memory_equal(buffer, text, size);
    for (size_t i = size + SONDE__PLAIN_PADDING; i < sizeof buffer; i++)
        assert_int_equal(buffer[i], '#');
}

static void assert_ways_agree(const char *text, size_t size) {
    uint32_t want = kept_whole(text, size), count;
    static struct sonde_context whole, members;
    assert_plain(sonde__plain_tracestate_c, text, size, want);
#if defined(__SSE2__)
    assert_plain(sonde__plain_tracestate_sse2, text, size, want);
    if (sonde__plain_has_avx2())
        assert_plain(sonde__plain_tracestate_avx2, text, size, want);
#endif
    sonde_context_init(&whole);
    assert_int_equal(sonde_tracestate_append(&whole, text, size), read_by_members(&members, text, size, &count));
    assert_int_equal(whole.tracestate_length, members.tracestate_length);
    assert_memory_equal(whole.tracestate, members.tracestate, members.tracestate_length);
}

/** Adds a member whose key is one of few, so that some come twice. */
static size_t add_random_member(char *to, bool first) {
    static const char key_chars[] = "abz019_-*/@", value_chars[] = "!.az09AZ:;~{ ";
    size_t at = 0, key = (size_t)(rand() % 4 ? rand() % 6 : rand() % 100), value = (size_t)(rand() % 40);
    if (!first)
        to[at++] = ',';
    to[at++] = (char)('a' + rand() % 26);
    for (size_t i = 0; i < key; i++)
        to[at++] = key_chars[(size_t)rand() % (sizeof key_chars - 1)];
    to[at++] = '=';
    for (size_t i = 0; i < value; i++)
        to[at++] = value_chars[(size_t)rand() % (sizeof value_chars - (rand() % 8 ? 2 : 1))];
    to[at++] = 'x';
    return at;
}

static void tracestate_read_in_one_pass_is_as_read_by_members(void **state) {
    (void)state;
    static const char changes[] = ",=, \t.aA0_-*@/~\x7f\x80\xac\xff";
    char text[1024];
    srand(7);
    for (int round = 0; round < 20000; round++) {
        size_t size = 0;
        int members = rand() % 4 ? rand() % 8 : rand() % 40;
        for (int i = 0; i < members && size < 800; i++)
            size += add_random_member(text + size, size == 0);
        for (int changed = rand() % 3; changed > 0 && size; changed--)
            text[(size_t)rand() % size] = changes[(size_t)rand() % (sizeof changes - 1)];
        if (size > 1 && rand() % 4 == 0)
            size -= (size_t)rand() % 2;
        assert_ways_agree(text, size);
    }
}

/** Every byte at every place of a block and of its neighbours. */
static void tracestate_read_in_one_pass_knows_every_byte(void **state) {
    (void)state;
    static const char list[] =
        "a=1,bb=22,key_of@vendor=value.of.it,d-e*f/g=with a space,z=9,congo=t61rcWkgMzE,rojo=00f0";
    char text[sizeof list];
    for (size_t i = 0; i < sizeof list - 1; i++) {
        memcpy(text, list, sizeof list);
        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            assert_ways_agree(text, sizeof list - 1);
        }
    }
    for (size_t size = 0; size < sizeof list; size++)
        assert_ways_agree(list, size);
}

/** What the usual lists must not be sent away for. */
static void tracestate_usual_lists_are_read_in_one_pass(void **state) {
    (void)state;
    char full[1024];
    size_t size = 0;
    for (int i = 0; i < 32; i++)
        size += (size_t)snprintf(full + size, sizeof full - size, "%sbar%02d=%02d", i ? "," : "", i + 1, i + 1);
    const char *lists[] = {"a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "dd=s:1;o:rum;p:00f067aa0ba902b7",
                           "1234@nr=0-0-1-2-3-4--5-6-7", full};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char text[SONDE_TRACESTATE_SIZE_MAX + SONDE__PLAIN_PADDING];
        size = strlen(lists[i]);
        memcpy(text, lists[i], size);
        assert_int_equal(sonde__plain_tracestate(text, size), kept_whole(lists[i], size));
        assert_int_not_equal(kept_whole(lists[i], size), 0);
        assert_int_equal(sonde__plain_tracestate_c(text, size), kept_whole(lists[i], size));
    }
}

static void tracestate_goes_on_by_members_after_one_pass(void **state) {
    (void)state;
    struct sonde__tracestate_reader reader;
    sonde__tracestate_reader_init(&reader, &context);
    assert_true(sonde__tracestate_reader_feed(&reader, "a=1,b=2", 7));
    assert_false(reader.is_listed);
    assert_true(sonde__tracestate_reader_feed(&reader, "b=3, c=4", 8));
    assert_int_equal(reader.seen, 4);
    assert_list("a=1,b=2,c=4");
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
        cmocka_unit_test_setup(tracestate_read_in_one_pass_is_as_read_by_members, setup),
        cmocka_unit_test_setup(tracestate_read_in_one_pass_knows_every_byte, setup),
        cmocka_unit_test_setup(tracestate_usual_lists_are_read_in_one_pass, setup),
        cmocka_unit_test_setup(tracestate_goes_on_by_members_after_one_pass, setup),
        cmocka_unit_test_setup(tracestate_get_finds_a_value, setup),
        cmocka_unit_test_setup(tracestate_set_moves_the_member_to_the_left, setup),
        cmocka_unit_test_setup(tracestate_set_changes_nothing_when_it_refuses, setup),
        cmocka_unit_test_setup(tracestate_set_makes_room_but_never_at_its_own_cost, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
