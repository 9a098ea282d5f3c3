/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sonde_context make(uint8_t id, const char *tracestate) {
    struct sonde_context context = {.span = {.trace_id = {id}, .span_id = {id}, .flags = 1, .is_remote = 1}};
    context.tracestate_length = (uint32_t)strlen(tracestate);
    memcpy(context.tracestate, tracestate, context.tracestate_length);
    return context;
}
static uint8_t current_id(void) {
    return sonde_context_current_span().trace_id[0];
}

static void context_is_invalid_when_nothing_is_attached(void **state) {
    (void)state;
    struct sonde_context context;
    memset(&context, 0xFF, sizeof context);
    sonde_context_current(&context);
    assert_false(sonde_span_context_is_valid(&context.span));
    assert_int_equal(context.tracestate_length, 0);
    struct sonde_span_context half = {.trace_id = {1}};
    assert_false(sonde_span_context_is_valid(&half));
    half.span_id[7] = 1;
    assert_true(sonde_span_context_is_valid(&half));
}

static void context_attached_is_current_until_detached(void **state) {
    (void)state;
    struct sonde_context a = make(1, "vendor=1"), b = make(2, ""), found;
    struct sonde_context_token ta = sonde_context_attach(&a);
    sonde_context_current(&found);
    assert_memory_equal(&found.span, &a.span, sizeof a.span);
    assert_int_equal(found.tracestate_length, 8);
    assert_memory_equal(found.tracestate, "vendor=1", 8);
    struct sonde_context_token tb = sonde_context_attach(&b);
    sonde_context_current(&found);
    assert_int_equal(found.span.trace_id[0], 2);
    assert_int_equal(found.tracestate_length, 0);
    sonde_context_detach(tb);
    sonde_context_current(&found);
    assert_int_equal(found.tracestate_length, 8);
    sonde_context_detach(ta);
    assert_int_equal(current_id(), 0);
}

static void context_invalid_may_be_attached(void **state) {
    (void)state;
    struct sonde_context a = make(1, "x=1"), none = {.tracestate_length = 0};
    struct sonde_context_token ta = sonde_context_attach(&a), tn = sonde_context_attach(&none);
    assert_int_equal(current_id(), 0);
    sonde_context_detach(tn);
    assert_int_equal(current_id(), 1);
    sonde_context_detach(ta);
}

static void context_detach_takes_what_was_left_behind(void **state) {
    (void)state;
    struct sonde_context contexts[3] = {make(1, "a=1"), make(2, "b=2"), make(3, "c=3")};
    struct sonde_context_token tokens[3];
    for (int i = 0; i < 3; i++)
        tokens[i] = sonde_context_attach(&contexts[i]);
    sonde_context_detach(tokens[1]); /* and with it the third */
    assert_int_equal(current_id(), 1);
    sonde_context_detach(tokens[2]); /* gone: nothing */
    sonde_context_detach(tokens[1]); /* used twice: nothing */
    assert_int_equal(current_id(), 1);
    tokens[1] = sonde_context_attach(&contexts[1]);
    sonde_context_detach((struct sonde_context_token){tokens[1].depth, tokens[1].generation - 1});
    sonde_context_detach((struct sonde_context_token){0, 0});
    sonde_context_detach((struct sonde_context_token){1000, 1});
    assert_int_equal(current_id(), 2);
    sonde_context_detach(tokens[0]);
    assert_int_equal(current_id(), 0);
}

static void *detach_here(void *arg) {
    struct sonde_context mine = make(9, "");
    struct sonde_context_token token = sonde_context_attach(&mine);
    sonde_context_detach(*(struct sonde_context_token *)arg);
    uint8_t id = current_id();
    sonde_context_detach(token);
    return (void *)(uintptr_t)id;
}
static void context_token_of_another_thread_does_nothing(void **state) {
    (void)state;
    struct sonde_context a = make(1, "");
    struct sonde_context_token token = sonde_context_attach(&a);
    pthread_t thread;
    void *id;
    assert_int_equal(pthread_create(&thread, NULL, detach_here, &token), 0);
    pthread_join(thread, &id);
    assert_int_equal((uintptr_t)id, 9);
    assert_int_equal(current_id(), 1);
    sonde_context_detach(token);
}

static void context_stack_full_is_counted_and_harmless(void **state) {
    (void)state;
    struct sonde_stats before = {.size = sizeof before}, after = {.size = sizeof after};
    struct sonde_context_token tokens[SONDE_CONTEXT_DEPTH_MAX + 5];
    sonde_stats_get(&before);
    for (int i = 0; i < (int)SONDE_CONTEXT_DEPTH_MAX + 5; i++) {
        struct sonde_context context = make((uint8_t)(i + 1), "");
        tokens[i] = sonde_context_attach(&context);
    }
    sonde_stats_get(&after);
    assert_int_equal(after.contexts_dropped - before.contexts_dropped, 5);
    assert_int_equal(current_id(), SONDE_CONTEXT_DEPTH_MAX);
    struct sonde_span span; /* a span goes on, as a child of what is current */
    sonde_span_start(&span, SONDE_NAME("deep"), NULL);
    assert_int_equal(span.context.trace_id[0], SONDE_CONTEXT_DEPTH_MAX);
    sonde_span_end(&span);
    assert_int_equal(current_id(), SONDE_CONTEXT_DEPTH_MAX);
    for (int i = (int)SONDE_CONTEXT_DEPTH_MAX + 4; i >= 0; i--)
        sonde_context_detach(tokens[i]);
    assert_int_equal(current_id(), 0);
}

static void context_tracestates_share_their_arena(void **state) {
    (void)state;
    char text[1025];
    struct sonde_context context, found;
    struct sonde_context_token tokens[20];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++) {
            memset(text, 'a' + i, 1024);
            memcpy(text, "k=", 2);
            text[1024] = 0;
            context = make((uint8_t)(i + 1), text);
            tokens[i] = sonde_context_attach(&context);
        }
        for (int i = 19; i >= 0; i--) { /* 8 KiB hold eight of them; the others go without */
            sonde_context_current(&found);
            assert_int_equal(found.span.trace_id[0], i + 1);
            assert_int_equal(found.tracestate_length, i < 8 ? 1024 : 0);
            if (i < 8)
                assert_int_equal(found.tracestate[1023], 'a' + i);
            sonde_context_detach(tokens[i]);
        }
    }
    context = make(1, "");
    context.tracestate_length = SONDE_TRACESTATE_SIZE_MAX + 1; /* cannot be */
    tokens[0] = sonde_context_attach(&context);
    sonde_context_current(&found);
    assert_int_equal(found.tracestate_length, 0);
    sonde_context_detach(tokens[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_is_invalid_when_nothing_is_attached),
        cmocka_unit_test(context_attached_is_current_until_detached),
        cmocka_unit_test(context_invalid_may_be_attached),
        cmocka_unit_test(context_detach_takes_what_was_left_behind),
        cmocka_unit_test(context_token_of_another_thread_does_nothing),
        cmocka_unit_test(context_stack_full_is_counted_and_harmless),
        cmocka_unit_test(context_tracestates_share_their_arena),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
