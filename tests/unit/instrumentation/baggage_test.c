/* SPDX-License-Identifier: Apache-2.0 */
/* Baggage as a value and on the thread: entries, limits, coding, and what reading from headers keeps. The grammar's
 * rows are in tests/vectors/propagators.tsv. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/context/plain_list.h"
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sonde_context context;

static int setup(void **state) {
    (void)state;
    memset(&context, 0x55, sizeof context); /* what lies past the lengths must not matter */
    sonde_context_init(&context);
    return 0;
}

static int set(struct sonde_context *to, const char *key, const char *value) {
    return sonde_baggage_set(to, sonde_text(key), sonde_text(value), sonde_text(""));
}

static void assert_list(const char *want) {
    assert_int_equal(context.baggage_length, strlen(want));
    assert_memory_equal(context.baggage, want, strlen(want));
}

static void assert_current(const char *key, const char *want) {
    char text[64];
    size_t size = 0;
    int error = sonde_baggage_get(NULL, sonde_text(key), text, sizeof text, &size);
    assert_int_equal(error, want ? 0 : SONDE_ENOTFOUND);
    if (want) {
        assert_int_equal(size, strlen(want));
        assert_memory_equal(text, want, size);
    }
}

static void baggage_set_replaces_and_is_last(void **state) {
    (void)state;
    assert_int_equal(set(&context, "a", "1"), 0);
    assert_int_equal(set(&context, "b", "2"), 0);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("c"), sonde_text("3"), sonde_text("p=x; q")), 0);
    assert_list("a=1,b=2,c=3;p=x; q");
    assert_int_equal(set(&context, "a", "x y,z"), 0);
    assert_list("b=2,c=3;p=x; q,a=x%20y%2Cz");
    assert_int_equal(set(&context, "c", ""), 0);
    assert_list("b=2,a=x%20y%2Cz,c=");
    assert_true(sonde_baggage_remove(&context, sonde_text("c")));
    assert_true(sonde_baggage_remove(&context, sonde_text("b")));
    assert_false(sonde_baggage_remove(&context, sonde_text("b")));
    assert_list("a=x%20y%2Cz");
    assert_true(sonde_baggage_remove(&context, sonde_text("a")));
    assert_list("");
}

static void baggage_values_come_back_whatever_their_bytes(void **state) {
    (void)state;
    char bytes[256], back[1024];
    size_t size;
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), (struct sonde_string){bytes, 128}, sonde_text("")),
                     0);
    assert_int_equal(sonde_baggage_get(&context, sonde_text("k"), back, sizeof back, &size), 0);
    assert_int_equal(size, 128);
    assert_memory_equal(back, bytes, 128);
    for (uint32_t i = 0; i < context.baggage_length; i++) /* nothing that a header may not hold */
        assert_true(context.baggage[i] > 0x20 && context.baggage[i] < 0x7f);
    assert_int_equal(set(&context, "k", "\xe2\x82\xac\xff"), 0); /* what is no UTF-8 comes back as U+FFFD */
    assert_int_equal(sonde_baggage_get(&context, sonde_text("k"), back, sizeof back, &size), 0);
    assert_int_equal(size, 6);
    assert_memory_equal(back, "\xe2\x82\xac\xef\xbf\xbd", 6);
    assert_int_equal(sonde_baggage_get(&context, sonde_text("k"), back, 5, &size), SONDE_ETOOBIG);
    assert_int_equal(size, 6);
    assert_int_equal(sonde_baggage_get(&context, sonde_text("x"), back, 5, &size), SONDE_ENOTFOUND);
}

static void baggage_set_takes_its_arguments_from_the_list_itself(void **state) {
    (void)state;
    struct sonde_baggage_entry entry;
    assert_int_equal(set(&context, "first", "1"), 0);
    assert_int_equal(set(&context, "second", "two"), 0);
    assert_true(sonde_baggage_find(&context, sonde_text("second"), &entry));
    assert_int_equal(sonde_baggage_set(&context, entry.value, entry.key, entry.metadata), 0);
    assert_int_equal(sonde_baggage_set(&context, entry.key, entry.key, entry.metadata), 0);
    assert_list("first=1,two=second,second=second");
}

static void baggage_set_refuses_what_cannot_be_sent(void **state) {
    (void)state;
    static const char *const bad_keys[] = {"", "a b", "a=b", "a,b", "\xc3\xa9", "a\n", "a\"", "(a)"};
    assert_int_equal(set(&context, "ok", "1"), 0);
    for (size_t i = 0; i < sizeof bad_keys / sizeof *bad_keys; i++)
        assert_int_equal(set(&context, bad_keys[i], "1"), SONDE_EINVALID);
    static const char *const bad_metadata[] = {"a,b", "a\r\nb", "\xc3\xa9", "\"q\""};
    for (size_t i = 0; i < sizeof bad_metadata / sizeof *bad_metadata; i++)
        assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), sonde_text("v"), sonde_text(bad_metadata[i])),
                         SONDE_EINVALID);
    assert_list("ok=1");
}

static void baggage_holds_what_the_limits_say(void **state) {
    (void)state;
    static char text[SONDE_BAGGAGE_SIZE_MAX];
    memset(text, 'v', sizeof text);
    struct sonde_string value = {text, SONDE_BAGGAGE_SIZE_MAX - 2};
    assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), value, sonde_text("")), 0);
    assert_int_equal(context.baggage_length, SONDE_BAGGAGE_SIZE_MAX);
    assert_int_equal(set(&context, "l", ""), SONDE_ETOOBIG);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), value, sonde_text("")), 0); /* in its own place */
    value.size++;
    assert_int_equal(sonde_baggage_set(&context, sonde_text("k"), value, sonde_text("")), SONDE_ETOOBIG);
    assert_int_equal(context.baggage_length, SONDE_BAGGAGE_SIZE_MAX);
    sonde_baggage_clear(&context);
    for (int i = 0; i <= (int)SONDE_BAGGAGE_ENTRIES_MAX; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set(&context, key, ""), i < (int)SONDE_BAGGAGE_ENTRIES_MAX ? 0 : SONDE_ETOOBIG);
    }
    assert_int_equal(set(&context, "k7", "x"), 0); /* replacing needs no place */
}

static void feed(struct sonde__baggage_reader *reader, const char *text) {
    char *copy = malloc(strlen(text) + 1); /* of the exact size, so that the sanitizer sees a read past it */
    memcpy(copy, text, strlen(text));
    sonde__baggage_reader_feed(reader, copy, strlen(text));
    free(copy);
}

static void baggage_of_several_headers_is_one_list(void **state) {
    (void)state;
    struct sonde__baggage_reader reader;
    sonde__baggage_reader_init(&reader, &context);
    feed(&reader, "a=1,b=2,c=3");
    feed(&reader, " d = 4 ;x, b=5,,e=6;m ");
    assert_false(reader.partial);
    assert_list("a=1,c=3,d=4;x,b=5,e=6;m");
    assert_int_equal(reader.count, 5);
    feed(&reader, "bad,f=7,g=%4");
    assert_true(reader.partial);
    assert_list("a=1,c=3,d=4;x,b=5,e=6;m,f=7");
    sonde__baggage_reader_init(&reader, &context); /* goes on with what there is */
    feed(&reader, "a=2");
    assert_list("c=3,d=4;x,b=5,e=6;m,f=7,a=2");
    assert_int_equal(reader.count, 6);
}

static void baggage_value_is_judged_at_every_position(void **state) {
    for (size_t at = 0; at < 40; at++)
        for (int byte = 1; byte < 256; byte++) {
            struct sonde__baggage_reader reader;
            char text[45] = "k=";
            memset(text + 2, '~', 40);
            text[2 + at] = (char)byte;
            (void)setup(state);
            sonde__baggage_reader_init(&reader, &context);
            feed(&reader, text);
            bool octet = byte > 0x20 && byte < 0x7f && !strchr("\",;\\%", byte); /* the grammar's words */
            bool ends = byte == ',' || byte == ';';
            bool edge = (byte == ' ' || byte == '\t') && (at == 0 || at == 39);
            assert_int_equal(reader.partial, !octet && !edge && !(ends && (byte == ';' || at == 39)));
            if (octet)
                assert_list(text);
        }
}

static void baggage_reading_is_bounded(void **state) {
    (void)state;
    struct sonde__baggage_reader reader;
    static char text[40000];
    memset(text, ' ', sizeof text - 1);
    memcpy(text, "a=1,", 4);
    memcpy(text + 39990, ",b=2", 4);
    sonde__baggage_reader_init(&reader, &context);
    feed(&reader, text);
    assert_true(reader.partial);
    assert_list("a=1");
    feed(&reader, "c=3"); /* the work is used up */
    assert_list("a=1");
}

static void baggage_goes_with_spans_and_threads_of_contexts(void **state) {
    (void)state;
    struct sonde_span outer, inner;
    struct sonde_context found;
    assert_int_equal(set(NULL, "k", "v"), SONDE_ENOTFOUND); /* nothing is current */
    assert_current("k", NULL);
    assert_int_equal(set(&context, "tenant", "a b"), 0);
    struct sonde_context_token token = sonde_context_attach(&context); /* baggage alone, without ids */
    assert_current("tenant", "a b");
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    assert_current("tenant", "a b");
    assert_int_equal(set(NULL, "step", "1"), 0); /* until outer ends */
    sonde_span_start(&inner, SONDE_NAME("inner"), NULL);
    assert_current("step", "1");
    assert_int_equal(set(NULL, "step", "2"), 0);
    assert_true(sonde_baggage_remove(NULL, sonde_text("tenant")));
    assert_current("tenant", NULL);
    sonde_span_context_get(&outer, &found); /* each span's own */
    assert_int_equal(found.baggage_length, strlen("tenant=a%20b,step=1"));
    sonde_span_end(&inner);
    assert_current("step", "1");
    assert_current("tenant", "a b");
    sonde_span_end(&outer);
    assert_current("step", NULL);
    sonde_baggage_clear(NULL);
    assert_current("tenant", NULL);
    sonde_context_detach(token);
    sonde_context_current(&found);
    assert_int_equal(found.baggage_length, 0);
}

static void baggage_of_an_explicit_parent_is_that_of_the_span(void **state) {
    (void)state;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span, aside;
    struct sonde_context found;
    for (int valid = 0; valid < 2; valid++) {
        context.span.trace_id[0] = context.span.span_id[0] = (uint8_t)valid;
        assert_int_equal(set(&context, "from", "remote"), 0);
        options.parent = &context;
        sonde_span_start(&span, SONDE_NAME("server"), &options);
        assert_current("from", "remote");
        options = (struct sonde_span_options)SONDE_SPAN_OPTIONS_INIT;
        options.not_current = true;
        sonde_span_start(&aside, SONDE_NAME("client"), &options); /* asynchronous: goes out with the current baggage */
        sonde_span_context_get(&aside, &found);
        assert_int_equal(found.baggage_length, strlen("from=remote"));
        sonde_span_end(&aside);
        options.not_current = false;
        sonde_span_end(&span);
        assert_current("from", NULL);
    }
}

static void baggage_arena_of_a_thread_is_bounded(void **state) {
    (void)state;
    struct sonde_context_token tokens[10];
    static char text[SONDE_BAGGAGE_SIZE_MAX - 2];
    struct sonde_context found;
    for (int same = 0; same < 2; same++)
        for (int i = 0; i < 10; i++) {
            memset(text, same ? 'x' : 'a' + i, sizeof text);
            sonde_baggage_clear(&context);
            (void)sonde_baggage_set(&context, sonde_text("k"), (struct sonde_string){text, sizeof text},
                                    sonde_text(""));
            tokens[i] = sonde_context_attach(&context);
            sonde_context_current(&found); /* 56 KiB hold seven of the longest; equal ones share their place */
            assert_int_equal(found.baggage_length, same || i < 7 ? SONDE_BAGGAGE_SIZE_MAX : 0);
            if (i == 9)
                for (int k = 9; k >= 0; k--)
                    sonde_context_detach(tokens[k]);
        }
    context.baggage_length = SONDE_BAGGAGE_SIZE_MAX + 1; /* cannot be */
    tokens[0] = sonde_context_attach(&context);
    sonde_context_current(&found);
    assert_int_equal(found.baggage_length, 0);
    assert_false(sonde_baggage_remove(&context, sonde_text("k")));
    assert_int_equal(set(&context, "k", "v"), 0);
    assert_list("k=v");
    sonde_context_detach(tokens[0]);
}

static void context_copy_takes_what_is_used(void **state) {
    (void)state;
    static struct sonde_context copy;
    assert_int_equal(set(&context, "k", "v"), 0);
    assert_true(sonde_tracestate_append(&context, "a=1", 3));
    memset(&copy, 0x77, sizeof copy);
    sonde_context_copy(&copy, &context);
    assert_memory_equal(copy.baggage, "k=v\x77", 4);
    assert_memory_equal(copy.tracestate, "a=1\x77", 4);
    context.baggage_length = context.tracestate_length = UINT32_MAX;
    sonde_context_copy(&copy, &context);
    assert_int_equal(copy.baggage_length + copy.tracestate_length, 0);
}

/* ---- the ways in one pass against reading member by member ---- */

typedef uint32_t plain(char *text, size_t size);

/* An empty value before it takes the reader off the short way. */
static void read_by_members(struct sonde__baggage_reader *ret_reader, struct sonde_context *ret_context,
                            const char *text, size_t size) {
    sonde_context_init(ret_context);
    sonde__baggage_reader_init(ret_reader, ret_context);
    sonde__baggage_reader_feed(ret_reader, "", 0);
    assert_true(ret_reader->is_listed);
    sonde__baggage_reader_feed(ret_reader, text, size);
}

static void assert_plain(plain *way, const char *text, size_t size, uint32_t want) {
    static char buffer[SONDE_BAGGAGE_SIZE_MAX + SONDE__PLAIN_PADDING];
    memcpy(buffer, text, size);
    uint32_t count = way(buffer, size);
    if (count != want && count)
        print_message("%.*s\n", (int)size, text);
    assert_true(count == want || count == 0); /* 0 is "ask the other way" */
    assert_memory_equal(buffer, text, size);
}

static void assert_ways_agree(const char *text, size_t size) {
    static struct sonde_context members, whole;
    struct sonde__baggage_reader reader, once;
    read_by_members(&reader, &members, text, size);
    bool kept = size && !reader.partial && members.baggage_length == size && memcmp(members.baggage, text, size) == 0;
    assert_plain(sonde__plain_baggage_c, text, size, kept ? reader.count : 0);
#if defined(__SSE2__)
    assert_plain(sonde__plain_baggage_sse2, text, size, kept ? reader.count : 0);
    if (sonde__plain_has_avx2())
        assert_plain(sonde__plain_baggage_avx2, text, size, kept ? reader.count : 0);
#endif
    sonde_context_init(&whole);
    sonde__baggage_reader_init(&once, &whole);
    sonde__baggage_reader_feed(&once, text, size);
    assert_int_equal(once.partial, reader.partial);
    assert_int_equal(once.count, reader.count);
    assert_int_equal(whole.baggage_length, members.baggage_length);
    assert_memory_equal(whole.baggage, members.baggage, members.baggage_length);
}

static size_t add_random_member(char *to, bool first) {
    static const char key_chars[] = "abzAZ019_-*!#$%&'+.^`|~", value_chars[] = "abzAZ019_-=()/:<>?@[]{}%";
    size_t at = 0, key = (size_t)(rand() % 4 ? rand() % 5 : rand() % 100), value = (size_t)(rand() % 40);
    if (!first)
        to[at++] = ',';
    to[at++] = (char)('a' + rand() % 26);
    for (size_t i = 0; i < key; i++)
        to[at++] = key_chars[(size_t)rand() % (sizeof key_chars - 1)];
    to[at++] = '=';
    for (size_t i = 0; i < value; i++) {
        char c = value_chars[(size_t)rand() % (sizeof value_chars - (rand() % 8 ? 2 : 1))];
        to[at++] = c;
        if (c == '%' && rand() % 8) {
            to[at++] = "09afAF"[rand() % 6];
            to[at++] = "09afAF"[rand() % 6];
        }
    }
    return at;
}

static void baggage_read_in_one_pass_is_as_read_by_members(void **state) {
    (void)state;
    static const char changes[] = ",=;% \t\"\\.aA0_-@/~g\x7f\x80\xac\xff";
    static char text[SONDE_BAGGAGE_SIZE_MAX];
    srand(7);
    for (int round = 0; round < 20000; round++) {
        size_t size = 0;
        int members = rand() % 4 ? rand() % 8 : rand() % 70;
        for (int i = 0; i < members; i++)
            size += add_random_member(text + size, size == 0);
        for (int changed = rand() % 3; changed > 0 && size; changed--)
            text[(size_t)rand() % size] = changes[(size_t)rand() % (sizeof changes - 1)];
        if (size > 1 && rand() % 4 == 0)
            size -= (size_t)rand() % 2;
        assert_ways_agree(text, size);
    }
}

/* Every byte at every place of a block and of its neighbours, and every length. */
static void baggage_read_in_one_pass_knows_every_byte(void **state) {
    (void)state;
    static const char list[] =
        "a=1,bb=22,userId=alice,serverNode=DF%2028,isProduction=,tenant!=b=l=ue,region=eu-west-1,k=%41%";
    char text[sizeof list];
    for (size_t i = 0; i < sizeof list - 1; i++) {
        memcpy(text, list, sizeof list);
        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            assert_ways_agree(text, sizeof list - 2);
        }
    }
    for (size_t size = 0; size < sizeof list; size++)
        assert_ways_agree(list, size);
}

static void baggage_usual_lists_are_read_in_one_pass(void **state) {
    (void)state;
    static const char *const lists[] = {"tenant=blue,user=42", "k=", "serverNode=DF%2028,x=a=b"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char text[64 + SONDE__PLAIN_PADDING];
        memcpy(text, lists[i], strlen(lists[i]));
        assert_int_equal(sonde__plain_baggage(text, strlen(lists[i])), i == 1 ? 1 : 2);
        assert_int_equal(sonde__plain_baggage_c(text, strlen(lists[i])), i == 1 ? 1 : 2);
    }
}

static void baggage_goes_on_by_members_after_one_pass(void **state) {
    (void)state;
    struct sonde__baggage_reader reader;
    sonde_context_init(&context);
    sonde__baggage_reader_init(&reader, &context);
    sonde__baggage_reader_feed(&reader, "a=1,b=23456789012345678901234567890", 35);
    assert_false(reader.is_listed);
    sonde__baggage_reader_feed(&reader, "a=3;m, c=4", 10);
    assert_int_equal(reader.count, 3);
    assert_list("b=23456789012345678901234567890,a=3;m,c=4");
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baggage_read_in_one_pass_is_as_read_by_members),
        cmocka_unit_test(baggage_read_in_one_pass_knows_every_byte),
        cmocka_unit_test(baggage_usual_lists_are_read_in_one_pass),
        cmocka_unit_test(baggage_goes_on_by_members_after_one_pass),
        CASE(baggage_set_replaces_and_is_last),
        CASE(baggage_values_come_back_whatever_their_bytes),
        CASE(baggage_set_takes_its_arguments_from_the_list_itself),
        CASE(baggage_set_refuses_what_cannot_be_sent),
        CASE(baggage_holds_what_the_limits_say),
        CASE(baggage_of_several_headers_is_one_list),
        CASE(baggage_value_is_judged_at_every_position),
        CASE(baggage_reading_is_bounded),
        CASE(baggage_goes_with_spans_and_threads_of_contexts),
        CASE(baggage_of_an_explicit_parent_is_that_of_the_span),
        CASE(baggage_arena_of_a_thread_is_bounded),
        CASE(context_copy_takes_what_is_used),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
